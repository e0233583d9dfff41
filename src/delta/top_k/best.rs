//! The rows up to the last number of partitions that only grow.

use std::cmp::Ordering;

use super::Numbering;
use crate::delta::order::peers;
use crate::delta::ordered_rows::{Arrivals, Change};
use crate::delta::updates::Diff;

/// A row and how often it is there.
pub(super) struct Best {
    row: Box<[u8]>,
    count: Diff,
}

impl Best {
    pub fn as_pair(&self) -> (&[u8], Diff) {
        (&self.row, self.count)
    }
}

/// The rows of one partition in order. Most partitions have one.
#[derive(Default)]
enum Rows {
    #[default]
    None,
    One(Best),
    Many(Vec<Best>),
}

impl Rows {
    fn as_slice(&self) -> &[Best] {
        match self {
            Rows::None => &[],
            Rows::One(row) => std::slice::from_ref(row),
            Rows::Many(rows) => rows,
        }
    }
}

/// The rows up to the last number, by partition.
pub(super) struct AllBest {
    partitions: Vec<Rows>,
    numbering: Numbering,
    last: u64,
    /// Rows kept, and their bytes.
    len: usize,
    bytes: usize,
}

impl AllBest {
    /// No partitions yet, of which rows numbered up to `last` are kept.
    pub fn new(numbering: Numbering, last: u64) -> Self {
        AllBest { partitions: vec![], numbering, last, len: 0, bytes: 0 }
    }

    /// Makes room for the numbers below `partitions`.
    pub fn grow(&mut self, partitions: usize) {
        self.partitions.resize_with(partitions.max(self.partitions.len()), Rows::default);
    }

    /// The rows of `partition`, in order.
    pub fn rows(&self, partition: u32) -> &[Best] {
        self.partitions[partition as usize].as_slice()
    }

    /// Those of `changes`, which are in order, that may get a number up to the last.
    pub fn within<'a>(&self, partition: u32, arrivals: &Arrivals, changes: &'a [Change]) -> &'a [Change] {
        let rows = self.rows(partition);
        let count: u64 = rows.iter().map(|best| best.count as u64).sum();
        let worst = match rows.last() {
            _ if count < self.last => return changes,
            Some(worst) => &*worst.row,
            None => return &[],
        };
        let is_within = |change: &Change| {
            let row = arrivals.row(change);
            row < worst || (self.numbering == Numbering::Rank && peers(row) == peers(worst))
        };
        &changes[..changes.partition_point(is_within)]
    }

    /// Adds the rows that `changes`, which are in order, bring, and drops those that are now behind the last.
    pub fn add(&mut self, partition: u32, arrivals: &Arrivals, changes: &[Change]) {
        let rows = &mut self.partitions[partition as usize];
        self.bytes -= heap_bytes(rows);
        self.len -= rows.as_slice().len();
        let old = match std::mem::take(rows) {
            Rows::None => vec![],
            Rows::One(row) => vec![row],
            Rows::Many(rows) => rows,
        };
        let merged = self.numbering.first_rows(old, arrivals, changes, self.last);
        *rows = match <[Best; 1]>::try_from(merged) {
            Ok([row]) => Rows::One(row),
            Err(merged) if merged.is_empty() => Rows::None,
            Err(mut merged) => {
                merged.shrink_to_fit();
                Rows::Many(merged)
            }
        };
        self.bytes += heap_bytes(rows);
        self.len += rows.as_slice().len();
    }

    /// Forgets the partitions that are false in `keep` and renumbers the others from 0, in order. How many
    /// rows are gone.
    pub fn retain(&mut self, keep: &[bool]) -> u64 {
        let (mut index, mut forgotten) = (0, 0);
        let bytes = &mut self.bytes;
        self.partitions.retain(|rows| {
            index += 1;
            if !keep[index - 1] {
                forgotten += rows.as_slice().len() as u64;
                *bytes -= heap_bytes(rows);
            }
            keep[index - 1]
        });
        self.len -= forgotten as usize;
        forgotten
    }

    /// How many rows are kept.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes + self.partitions.capacity() * size_of::<Rows>()
    }
}

/// Bytes of `rows` beside their place in the list of partitions.
fn heap_bytes(rows: &Rows) -> usize {
    let places = if let Rows::Many(many) = rows { many.capacity() * size_of::<Best>() } else { 0 };
    places + rows.as_slice().iter().map(|best| best.row.len()).sum::<usize>()
}

impl Numbering {
    /// The rows of `old` and those that `changes` bring, in order, up to the number `last`.
    fn first_rows(self, old: Vec<Best>, arrivals: &Arrivals, changes: &[Change], last: u64) -> Vec<Best> {
        let mut rows: Vec<Best> = Vec::with_capacity(old.len() + 1);
        let mut old = old.into_iter().peekable();
        let mut changes = changes.iter().map(|change| (arrivals.row(change), change.diff)).peekable();
        let mut count = 0;
        loop {
            let order = match (old.peek(), changes.peek()) {
                (None, None) => return rows,
                (Some(best), Some((row, _))) => best.row.as_ref().cmp(row),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
            };
            let next = if order.is_le() { old.next() } else { None };
            let change = if order.is_ge() { changes.next() } else { None };
            let diff = change.map_or(0, |(_, diff)| diff);
            let next = match (next, change) {
                (Some(best), _) => Some(Best { count: best.count + diff, ..best }),
                (None, Some((row, _))) => Some(Best { row: row.into(), count: diff }),
                (None, None) => None,
            };
            let Some(mut next) = next else { return rows };
            let is_peer = || rows.last().is_some_and(|best| peers(&best.row) == peers(&next.row));
            if count >= last && (self == Numbering::RowNumber || !is_peer()) {
                return rows;
            }
            if self == Numbering::RowNumber {
                next.count = next.count.min((last - count) as Diff);
            }
            count += next.count as u64;
            rows.push(next);
        }
    }
}
