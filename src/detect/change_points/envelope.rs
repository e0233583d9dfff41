//! Functional pruning for the mean cost: FPOP of Maidstone, Hocking, Rigaill, Fearnhead, *On optimal multiple
//! changepoint algorithms for large data*, Statistics and Computing 27 (2017).
//!
//! Suppose the last segment began at `s` and has level `m`. The first `t` values then cost the optimum of the
//! first `s`, the penalty, and the sum of `(y - m)²` over `s..t`. As a function of `m`, what tells candidates
//! apart is
//!
//! ```text
//! best(s) - squares(s) + 2 m sum(s) - s m²
//! ```
//!
//! which does not depend on `t`: all of them gain the same by every further value. A candidate that is nowhere
//! the least will never be. The least of them by level is kept as intervals of levels, each with its
//! candidate. Of quiet noise there are few, however long it lasts.
//!
//! With a least segment length `l`, a candidate enters only when `l` values have come after it. It is as good
//! a function then as it would have been before, so that nothing is lost and the optimum stays exact.

use super::sums::Sums;

/// Levels up to `level_max`, from that of the piece before, at which `start` is the best begin of the last
/// segment.
#[derive(Clone, Copy, Debug)]
struct Piece {
    level_max: f64,
    /// `best(start) - squares(start)`.
    constant: f64,
    /// `sum(start)`.
    sum: f64,
    start: u32,
}

/// For each level, the best begin of a last segment at that level.
#[derive(Clone, Debug)]
pub(super) struct Envelope {
    /// In the order of levels; the last goes to infinity.
    pieces: Vec<Piece>,
    /// Where the next pieces are put together.
    spare: Vec<Piece>,
}

/// Lengthens the pieces by `piece`, which ends at its `level_max`.
fn emit(pieces: &mut Vec<Piece>, piece: Piece, level_max: f64) {
    match pieces.last_mut() {
        Some(last) if last.start == piece.start => last.level_max = level_max,
        _ => pieces.push(Piece { level_max, ..piece }),
    }
}

impl Envelope {
    pub(super) fn new() -> Self {
        Self { pieces: vec![], spare: vec![] }
    }

    /// A copy without room to spare, for keeping.
    pub(super) fn compact(&self) -> Self {
        Self { pieces: self.pieces.clone(), spare: vec![] }
    }

    /// Admits `start` as the begin of a segment; `best` is the cost of what is before it. Later than all
    /// others.
    pub(super) fn admit(&mut self, sums: &Sums, start: usize, best: f64) {
        let sum = sums.value(start);
        let new =
            Piece { level_max: f64::INFINITY, constant: best - sums.square(start), sum, start: start as u32 };
        self.spare.clear();
        let mut level_min = f64::NEG_INFINITY;
        for piece in &self.pieces {
            // The new candidate is worse within `radius` of the mean of the values between the two, and
            // better beyond.
            let lead = f64::from(new.start - piece.start);
            let middle = (new.sum - piece.sum) / lead;
            let radius = (middle * middle + (new.constant - piece.constant) / lead).max(0.0).sqrt();
            let (low, high) = (middle - radius, middle + radius);
            let level_max = piece.level_max;
            if high > level_min && low < level_max && radius > 0.0 {
                if low > level_min {
                    emit(&mut self.spare, new, low);
                }
                emit(&mut self.spare, *piece, high.min(level_max));
                if high < level_max {
                    emit(&mut self.spare, new, level_max);
                }
            } else {
                emit(&mut self.spare, new, level_max);
            }
            level_min = level_max;
        }
        if self.pieces.is_empty() {
            self.spare.push(new);
        }
        std::mem::swap(&mut self.pieces, &mut self.spare);
    }

    /// The best begin of the last segment of the first `end` values; the earliest of equals. None before any
    /// is admitted.
    pub(super) fn best_start(&self, sums: &Sums, end: usize) -> Option<usize> {
        let (sum, mut best) = (sums.value(end), (f64::INFINITY, None));
        for piece in &self.pieces {
            let above = sum - piece.sum;
            let cost = piece.constant - above * above / (end as f64 - f64::from(piece.start));
            if cost < best.0 || (cost == best.0 && best.1.is_some_and(|start| piece.start < start)) {
                best = (cost, Some(piece.start));
            }
        }
        best.1.map(|start| start as usize)
    }

    /// Intervals of levels that are kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }

    pub(super) fn size_bytes(&self) -> usize {
        (self.pieces.capacity() + self.spare.capacity()) * size_of::<Piece>()
    }
}
