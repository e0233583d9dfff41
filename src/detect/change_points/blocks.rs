//! The search for the mean-and-variance cost: exact, and cheap where plain PELT is dearest.
//!
//! PELT (Killick, Fearnhead, Eckley, *Optimal detection of changepoints with a linear computational cost*,
//! JASA 107, 2012) drops a begin `s` of the last segment for good once `best(s) + cost(s, t)` is no less than
//! `best(t)`. On a quiet series that never happens, and each value is compared with all before it. But
//! whether `s` is the best *now* is a weaker question. Splitting a segment never costs more (without the
//! penalty), so for a block of begins up to `b` and any `a >= b`
//!
//! ```text
//! best(s) + cost(s, t)  >=  min over the block of (best(s) + cost(s, a))  +  cost(a, t)
//! ```
//!
//! and the first term on the right is a number kept with the block. If the right side is no better than the
//! best known, the block is passed over in one step. Blocks of four are blocks again. On quiet series the
//! bound is short by what one split gains by chance, much less than a penalty, so that a value costs the
//! logarithm of the length. The block that holds the begin which was the best for the value before would be
//! looked into each time; as that begin's cost is known, the least of the others is kept as well.
//!
//! The worst case is linear in the begins from the oldest on that PELT would keep, and a twelfth for blocks.
//!
//! The anchor `a` lies the least segment length after the block, as of segments shorter than that the
//! variance is anything. Begins are dropped for good, by blocks and from the oldest, by PELT's rule, which
//! holds for ends that are a whole segment later: that is when it is applied.

use std::ops::Range;

use super::sums::{Reference, Sums};

/// Begins of a smallest block.
const LEAF_LEN: usize = 16;
/// Binary logarithm of the blocks in a block.
const FANOUT_BITS: usize = 2;

/// Begins of a block at `level`.
fn block_len(level: usize) -> usize {
    LEAF_LEN << (FANOUT_BITS * level)
}

/// What is known of the costs `best(s) + cost(s, anchor)` over a block of begins `s`.
#[derive(Clone, Copy, Debug)]
struct Block {
    least: f64,
    /// Whose cost is the least.
    start: usize,
    /// The least of the others.
    second: f64,
}

/// What is known of the least of `best(s) + cost(s, end)`.
#[derive(Clone, Copy)]
struct Least {
    cost: f64,
    start: usize,
    /// Begins before this one are, and stay, worse than a segment that begins at the end.
    hopeless_before: usize,
}

/// The first values, which the last segment is looked for of.
#[derive(Clone, Copy)]
struct Prefix<'a> {
    sums: &'a Sums,
    best: &'a [f64],
    end: usize,
    /// Of a segment that is likely to be the last.
    reference: Reference,
    /// A begin that need not be looked at.
    known_start: Option<usize>,
}

impl Prefix<'_> {
    /// `before` and the cost of what is from `start` on; if that is no less than `known`, something between
    /// the two.
    fn cost(&self, before: f64, start: usize, known: f64) -> f64 {
        if start < self.end {
            let floor = before + self.sums.normal_cost_floor(start, self.end, &self.reference);
            if floor >= known {
                return floor;
            }
        }
        before + self.sums.normal_cost(start, self.end)
    }
}

/// All that is not a function of the values alone, and so must be kept to go back.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mark {
    /// Begins before this one are dropped.
    live_from: usize,
    /// What `live_from` becomes, and the end at which it does.
    next: Option<(usize, usize)>,
}

/// Blocks of begins of the last segment.
#[derive(Clone, Debug)]
pub(super) struct Blocks {
    segment_len_min: usize,
    penalty: f64,
    /// By level.
    levels: Vec<Vec<Block>>,
    mark: Mark,
}

impl Blocks {
    pub(super) fn new(segment_len_min: usize, penalty: f64) -> Self {
        Self { segment_len_min, penalty, levels: vec![], mark: Mark::default() }
    }

    pub(super) fn mark(&self) -> Mark {
        self.mark
    }

    /// Back to when the first `len` values were known.
    pub(super) fn rewind(&mut self, len: usize, mark: Mark) {
        let admitted = (len + 1).saturating_sub(self.segment_len_min);
        for (level, blocks) in self.levels.iter_mut().enumerate() {
            blocks.truncate(admitted / block_len(level));
        }
        self.mark = mark;
    }

    /// The best begin of the last segment of the first `end` values, given the costs of all before and one
    /// begin that is likely. None while the first segment is too short.
    pub(super) fn best_start(
        &mut self,
        sums: &Sums,
        best: &[f64],
        likely: usize,
        end: usize,
    ) -> Option<usize> {
        let admitted = (end + 1).checked_sub(self.segment_len_min).filter(|admitted| *admitted > 0)?;
        if let Some((live_from, _)) = self.mark.next.filter(|(_, at)| *at <= end) {
            self.mark = Mark { live_from, next: None };
        }
        let cost = sums.normal_cost(likely, end);
        let prefix = Prefix {
            sums,
            best,
            end,
            reference: Reference::of(cost, end - likely),
            known_start: Some(likely),
        };
        let likely = Least { cost: best[likely] + cost, start: likely, hopeless_before: 0 };
        let least = self.least(&prefix, self.mark.live_from..admitted, likely);
        if least.hopeless_before > self.mark.live_from && self.mark.next.is_none() {
            self.mark.next = Some((least.hopeless_before, end + self.segment_len_min));
        }
        self.complete(&prefix, admitted);
        Some(least.start)
    }

    /// The least over `starts`, if it is less than `known`; of equals the earliest found.
    fn least(&self, prefix: &Prefix, starts: Range<usize>, known: Least) -> Least {
        let mut least = Least { hopeless_before: starts.start, ..known };
        let mut start = starts.start;
        while start < starts.end {
            let (bound, next) = self.bound(prefix, start, starts.end, least.cost);
            if let Some(bound) = bound {
                let holds_known = prefix.known_start.is_some_and(|known| (start..next).contains(&known));
                if least.hopeless_before == start && bound >= least.cost + self.penalty && !holds_known {
                    least.hopeless_before = next;
                }
                start = next;
                continue;
            }
            for start in (start..next).filter(|start| Some(*start) != prefix.known_start) {
                let cost = prefix.cost(prefix.best[start], start, least.cost);
                if cost < least.cost {
                    (least.cost, least.start) = (cost, start);
                }
                if least.hopeless_before == start && cost >= least.cost + self.penalty {
                    least.hopeless_before = start + 1;
                }
            }
            start = next;
        }
        least
    }

    /// The largest block at `start` that need not be looked into, as its bound and where the next begins;
    /// else no bound, and where the begins end that must be looked at one by one.
    fn bound(&self, prefix: &Prefix, start: usize, starts_end: usize, known: f64) -> (Option<f64>, usize) {
        let leaf_end = (start / LEAF_LEN + 1) * LEAF_LEN;
        if !start.is_multiple_of(LEAF_LEN) {
            return (None, leaf_end.min(starts_end));
        }
        let is_whole = |level: &usize| {
            let len = block_len(*level);
            start.is_multiple_of(len) && start + len <= starts_end && start / len < self.levels[*level].len()
        };
        let levels = (0..self.levels.len()).take_while(is_whole).count();
        for level in (0..levels).rev() {
            let next = start + block_len(level);
            let anchor = next - 1 + self.segment_len_min;
            let block = self.levels[level][start / block_len(level)];
            let is_known = Some(block.start) == prefix.known_start;
            let bound = prefix.cost(if is_known { block.second } else { block.least }, anchor, known);
            if bound >= known {
                return (Some(bound), next);
            }
        }
        (None, leaf_end.min(starts_end))
    }

    /// Makes the blocks whose last begin was admitted with the prefix, whose end is their anchor.
    fn complete(&mut self, prefix: &Prefix, admitted: usize) {
        let mut level = 0;
        while admitted.is_multiple_of(block_len(level)) {
            let starts = admitted - block_len(level)..admitted;
            let none = Least { cost: f64::INFINITY, start: 0, hopeless_before: 0 };
            let least = self.least(&Prefix { known_start: None, ..*prefix }, starts.clone(), none);
            let others = Prefix { known_start: Some(least.start), ..*prefix };
            let second = self.least(&others, starts, none).cost;
            if level == self.levels.len() {
                self.levels.push(vec![]);
            }
            self.levels[level].push(Block { least: least.cost, start: least.start, second });
            level += 1;
        }
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.levels.iter().map(|blocks| blocks.capacity() * size_of::<Block>()).sum()
    }
}
