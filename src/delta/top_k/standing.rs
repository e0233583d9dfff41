//! Where rows stand in the order of their partition.

use std::ops::Range;

use super::{Numbering, TopKSpec};
use crate::delta::order::peers;
use crate::delta::updates::Diff;

/// What was passed of a partition, from its first row on, on one side of a tick.
#[derive(Default, PartialEq, Eq)]
pub(super) struct Standing<'a> {
    /// How many rows, with their multiplicities.
    rows: u64,
    /// The rank of the last row, and what its peers have in common; 0 and nothing where rows are not ranked.
    rank: u64,
    peers: Option<&'a [u8]>,
}

/// What of a row is in the result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shown {
    /// Its number, the first of them where rows are numbered one by one; 0 for none.
    pub number: u64,
    /// How often it is there.
    pub copies: u64,
}

impl Shown {
    /// The numbers of a row that has one for each copy.
    pub fn numbers(&self) -> Range<u64> {
        self.number..self.number + self.copies
    }
}

impl<'a> Standing<'a> {
    /// Passes a row that is there `count` times; what of it is shown.
    pub fn pass(&mut self, spec: &TopKSpec, row: &'a [u8], count: Diff) -> Shown {
        let count = count.max(0) as u64;
        if count == 0 {
            return Shown::default();
        }
        let first = self.rows + 1;
        self.rows += count;
        if spec.numbering == Numbering::Rank {
            let peers = Some(peers(row));
            if self.peers != peers {
                (self.rank, self.peers) = (first, peers);
            }
            let is_shown = self.rank > spec.skip && self.rank <= spec.last();
            return if is_shown { Shown { number: self.rank, copies: count } } else { Shown::default() };
        }
        let number = first.max(spec.skip + 1);
        let end = self.rows.min(spec.last()).max(number - 1);
        match end + 1 - number {
            0 => Shown::default(),
            copies => Shown { number, copies },
        }
    }

    /// Whether no row that follows is shown.
    pub fn is_past(&self, spec: &TopKSpec) -> bool {
        match spec.numbering {
            Numbering::RowNumber => self.rows >= spec.last(),
            Numbering::Rank => self.rank > spec.last(),
        }
    }

    /// Whether all that is left out at the front is behind both.
    pub fn skipped(&self, spec: &TopKSpec, other: &Standing) -> bool {
        spec.numbering == Numbering::RowNumber && self.rows.min(other.rows) >= spec.skip
    }
}
