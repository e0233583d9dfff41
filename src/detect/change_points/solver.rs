//! The dynamic program over the prefixes of a series, value by value, and back again.

use super::blocks::{self, Blocks};
use super::certain::Certain;
use super::envelope::Envelope;
use super::scale::Measure;
use super::sums::Sums;
use super::{ChangePoint, Cost, Segmentation};

/// Values between two checkpoints.
const CHECKPOINT_LEN: usize = 256;

/// How begins of the last segment are searched.
#[derive(Clone, Debug)]
enum Search {
    Mean(Envelope),
    MeanVariance(Blocks),
}

/// The part of [`Search`] that a rewind cannot cut out of what is kept anyway.
#[derive(Clone, Debug)]
enum SearchMark {
    Mean(Envelope),
    MeanVariance(blocks::Mark),
}

/// What is needed to go back to a length.
#[derive(Clone, Debug)]
struct Checkpoint {
    search: SearchMark,
    certain: super::certain::Mark,
}

/// The optimal segmentations of all prefixes of a series.
#[derive(Clone, Debug)]
pub(super) struct Solver {
    measure: Measure,
    segment_len_min: usize,
    sums: Sums,
    /// By length of the prefix: its least cost, infinite where it is too short for a segment.
    best: Vec<f64>,
    /// By length of the prefix: where the last segment of its optimum begins.
    parents: Vec<u32>,
    search: Search,
    certain: Certain,
    /// Number `i` is of the length `i * CHECKPOINT_LEN`.
    checkpoints: Vec<Checkpoint>,
}

impl Solver {
    pub(super) fn new(cost: Cost, segment_len_min: usize, measure: Measure) -> Self {
        let search = match cost {
            Cost::Mean => Search::Mean(Envelope::new()),
            Cost::MeanVariance => Search::MeanVariance(Blocks::new(segment_len_min, measure.penalty)),
        };
        let mut solver = Self {
            measure,
            segment_len_min,
            sums: Sums::new(),
            best: vec![0.0],
            parents: vec![0],
            search,
            certain: Certain::new(),
            checkpoints: vec![],
        };
        solver.checkpoint();
        solver
    }

    pub(super) fn measure(&self) -> Measure {
        self.measure
    }

    /// Values that it has seen.
    pub(super) fn len(&self) -> usize {
        self.sums.len()
    }

    /// Appends a finite value.
    pub(super) fn push(&mut self, value: f64) {
        self.sums.push(self.measure.scaled(value));
        let end = self.sums.len();
        let likely = self.parents[end - 1] as usize;
        let start = match &mut self.search {
            Search::Mean(envelope) => {
                if let Some(start) = end.checked_sub(self.segment_len_min) {
                    // Lengths of which there is no segmentation cannot be followed by a segment.
                    if self.best[start].is_finite() {
                        envelope.admit(&self.sums, start, self.best[start]);
                    }
                }
                envelope.best_start(&self.sums, end)
            }
            Search::MeanVariance(blocks) => blocks.best_start(&self.sums, &self.best, likely, end),
        };
        let cost = start
            .map_or(f64::INFINITY, |start| self.best[start] + self.cost(start, end) + self.measure.penalty);
        self.best.push(cost);
        self.parents.push(start.unwrap_or(0) as u32);
        self.certain.push(&self.parents, end);
        if end.is_multiple_of(CHECKPOINT_LEN) {
            self.checkpoint();
        }
    }

    fn cost(&self, start: usize, end: usize) -> f64 {
        match self.search {
            Search::Mean(_) => self.sums.squared_error(start, end),
            Search::MeanVariance(_) => self.sums.normal_cost(start, end),
        }
    }

    fn checkpoint(&mut self) {
        let search = match &self.search {
            Search::Mean(envelope) => SearchMark::Mean(envelope.compact()),
            Search::MeanVariance(blocks) => SearchMark::MeanVariance(blocks.mark()),
        };
        self.checkpoints.push(Checkpoint { search, certain: self.certain.mark() });
    }

    /// Forgets values so that at most the first `len` remain: those up to the last checkpoint.
    pub(super) fn rewind(&mut self, len: usize) {
        if len >= self.len() {
            return;
        }
        let number = len / CHECKPOINT_LEN;
        let len = number * CHECKPOINT_LEN;
        self.sums.truncate(len);
        self.best.truncate(len + 1);
        self.parents.truncate(len + 1);
        self.checkpoints.truncate(number + 1);
        let Some(checkpoint) = self.checkpoints.last() else { return };
        match (&mut self.search, &checkpoint.search) {
            (Search::Mean(envelope), SearchMark::Mean(kept)) => *envelope = kept.clone(),
            (Search::MeanVariance(blocks), SearchMark::MeanVariance(mark)) => blocks.rewind(len, *mark),
            _ => {}
        }
        self.certain.rewind(checkpoint.certain);
    }

    /// The optimum of all values seen.
    pub(super) fn segmentation(&self) -> Segmentation {
        let end = self.len();
        let mut segment_ends = vec![];
        let mut certain_lens = vec![];
        for (start, certain_len) in self.certain.entries() {
            segment_ends.push(start);
            certain_lens.push(certain_len);
        }
        segment_ends.reverse();
        certain_lens.reverse();
        let bounds: Vec<usize> = std::iter::once(0).chain(segment_ends).chain([end]).collect();
        let changes = bounds.windows(3).zip(certain_lens);
        let changes =
            changes.map(|(at, certain_len)| self.change_point(at[0], at[1], at[2], certain_len)).collect();
        let objective = if self.best[end].is_finite() { self.best[end] } else { 0.0 };
        Segmentation {
            len: end,
            changes,
            objective,
            scale: self.measure.scale,
            penalty: self.measure.penalty,
        }
    }

    /// The change at `at` between the segments `start..at` and `at..end`.
    fn change_point(&self, start: usize, at: usize, end: usize, certain_len: usize) -> ChangePoint {
        let (before, after) = (self.sums.mean(start, at), self.sums.mean(at, end));
        let squared_error = self.sums.squared_error(start, at) + self.sums.squared_error(at, end);
        let deviation = (squared_error / (end - start) as f64).sqrt();
        ChangePoint {
            index: at,
            certain_len,
            mean_before: self.measure.unscaled(before),
            mean_after: self.measure.unscaled(after),
            size: (after - before) * self.measure.scale,
            size_deviations: if after == before { 0.0 } else { (after - before) / deviation },
        }
    }

    pub(super) fn size_bytes(&self) -> usize {
        let search = match &self.search {
            Search::Mean(envelope) => envelope.size_bytes(),
            Search::MeanVariance(blocks) => blocks.size_bytes(),
        };
        let kept = self.checkpoints.iter().map(|checkpoint| match &checkpoint.search {
            SearchMark::Mean(envelope) => envelope.size_bytes(),
            SearchMark::MeanVariance(_) => 0,
        });
        self.sums.size_bytes()
            + self.best.capacity() * size_of::<f64>()
            + self.parents.capacity() * size_of::<u32>()
            + search
            + self.certain.size_bytes()
            + self.checkpoints.capacity() * size_of::<Checkpoint>()
            + kept.sum::<usize>()
    }
}
