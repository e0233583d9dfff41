//! A sequence that changes, each value beside those before it.

use std::ops::Range;

use super::super::finite::Finite;
use super::{Judged, Samples, ThreeSigmaError, ThreeSigmaOptions};

/// A sequence to which values are appended, into which late ones come, and from which values are taken back.
///
/// What [`Series::judge`] gives is what [`three_sigma`](super::three_sigma) gives of the values that are there now,
/// exactly. The samples before one place are kept, and go from there to where they are asked for: judging an
/// appended value takes `O(1)` steps, and one at a distance `d` from the one before `O(d)`, or `O(window)` if that is less.
///
/// Memory: 8 bytes a value; where the deviation is robust, 40 more for each distinct value of the window.
#[derive(Clone, Debug)]
pub struct Series {
    options: ThreeSigmaOptions,
    values: Finite,
    samples: Samples,
    /// The rank of the value that the samples are before.
    at: usize,
}

impl Series {
    /// Without values.
    pub fn new(options: ThreeSigmaOptions) -> Result<Self, ThreeSigmaError> {
        options.check()?;
        Ok(Self { options, values: Finite::default(), samples: Samples::new(options.deviation), at: 0 })
    }

    /// Values, finite or not.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether it has no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts `values` in the place of the `removed` values from `index` on; indices beyond the end are the end.
    pub fn splice(&mut self, index: usize, removed: usize, values: &[f64]) {
        let rank = self.values.rank(index.min(self.len()));
        if rank < self.at {
            self.seek(rank);
        }
        self.values.splice(index, removed, values);
    }

    /// The values that may be judged otherwise when the one at `index` goes, or one comes before it.
    pub fn reach(&self, index: usize) -> Range<usize> {
        let index = index.min(self.len());
        let last = self.options.window.map(|window| self.values.rank(index).saturating_add(window));
        let last = last.filter(|last| *last < self.values.values().len());
        index..last.map_or(self.len(), |last| self.values.index(last) + 1)
    }

    /// The value at `index` beside those before it.
    pub fn judge(&mut self, index: usize) -> Option<Judged> {
        let rank = self.values.finite(index)?;
        self.seek(rank);
        self.samples.judge(self.values.values()[rank], &self.options)
    }

    /// Bytes held, with what is reserved for growth.
    pub fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.values.size_bytes() + self.samples.size_bytes()
    }

    /// Makes the samples those before the value of a rank.
    fn seek(&mut self, rank: usize) {
        let values = self.values.values();
        let first = self.options.window.map_or(0, |window| rank.saturating_sub(window));
        if rank.abs_diff(self.at) > rank - first {
            self.samples = Samples::new(self.options.deviation);
            values[first..rank].iter().for_each(|value| self.samples.add(*value));
            self.at = rank;
        }
        // The one that comes into the window as a value goes back, or leaves it as one comes.
        let oldest = |at: usize| self.options.window.and_then(|window| at.checked_sub(window));
        while self.at < rank {
            self.samples.add(values[self.at]);
            oldest(self.at).into_iter().for_each(|oldest| self.samples.retract(values[oldest]));
            self.at += 1;
        }
        while self.at > rank {
            self.at -= 1;
            self.samples.retract(values[self.at]);
            oldest(self.at).into_iter().for_each(|oldest| self.samples.add(values[oldest]));
        }
    }
}
