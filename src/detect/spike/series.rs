//! A sequence that changes, and its scores.

use std::collections::VecDeque;

use super::{SpikeError, SpikeOptions, Spikes, Undo};

/// The last values that can be taken back one by one.
const UNDO_VALUES: usize = if cfg!(test) { 16 } else { 256 };

/// A sequence to which values are appended, into which late ones come, and from which values are taken back.
///
/// What [`Series::score`] gives is what [`spike_scores`](super::spike_scores) gives of the values that are there now,
/// exactly. All scores from the first edit on are computed again when they are next asked for; where that is more than
/// 256 values before the end, those before it as well.
///
/// Memory: 16 bytes a value, 80 for its two distances, and about 150 for each of the last 256.
#[derive(Clone, Debug)]
pub struct Series {
    options: SpikeOptions,
    values: Vec<f64>,
    /// Of the first values.
    scores: Vec<f64>,
    /// After the values that have scores.
    spikes: Spikes,
    /// What takes the last of these back, the last one last.
    undos: VecDeque<Undo>,
}

impl Series {
    /// Without values.
    pub fn new(options: SpikeOptions) -> Result<Self, SpikeError> {
        let spikes = Spikes::new(options)?;
        Ok(Self { options, values: vec![], scores: vec![], spikes, undos: VecDeque::new() })
    }

    /// Values, finite or not.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether it has no values.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Puts `values` in the place of the `removed` values from `index` on; indices beyond the end are the end.
    pub fn splice(&mut self, index: usize, removed: usize, values: &[f64]) {
        let index = index.min(self.values.len());
        let end = index.saturating_add(removed).min(self.values.len());
        self.rewind(index);
        self.values.splice(index..end, values.iter().copied());
    }

    /// The score of the value at `index`; `None` beyond the end.
    pub fn score(&mut self, index: usize) -> Option<f64> {
        while self.scores.len() <= index {
            let value = self.values.get(self.scores.len())?;
            let (score, undo) = self.spikes.advance(*value);
            self.scores.push(score);
            if self.undos.len() == UNDO_VALUES {
                self.undos.pop_front();
            }
            self.undos.push_back(undo);
        }
        self.scores.get(index).copied()
    }

    /// Bytes held, with what is reserved for growth.
    pub fn size_bytes(&self) -> usize {
        (self.values.capacity() + self.scores.capacity()) * size_of::<f64>()
            + self.spikes.size_bytes()
            + self.undos.capacity() * size_of::<Undo>()
    }

    /// Takes back the scores from `index` on.
    fn rewind(&mut self, index: usize) {
        if self.scores.len().saturating_sub(index) > self.undos.len() {
            // The options were checked when it was made.
            if let Ok(spikes) = Spikes::new(self.options) {
                self.spikes = spikes;
            }
            self.undos.clear();
            self.scores.clear();
        }
        while self.scores.len() > index {
            self.undos.pop_back().into_iter().for_each(|undo| self.spikes.retreat(undo));
            self.scores.pop();
        }
    }
}
