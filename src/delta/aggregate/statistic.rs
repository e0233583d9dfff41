//! Statistics of floats, independent of order: exact sums, means and deviations, percentiles, and what is asked of
//! pairs.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, LargeBinaryArray, RecordBatch};
use datafusion::error::Result as DataFusionResult;

use super::accumulator::{Accumulator, downcast, retain};
use super::state::{read_each, write_each};
use crate::delta::updates::{Diff, Run};
use crate::detect::pairs::{Pairs, PairsQuestion};
use crate::detect::retractable::Retractable;

/// One retractable state a group, asked one or more questions.
pub(super) struct StatisticAccumulator<S: Retractable> {
    /// What is asked; all share the state.
    questions: Vec<S::Question>,
    column: usize,
    states: Vec<S>,
}

impl<S: Retractable> StatisticAccumulator<S> {
    pub fn new(questions: Vec<S::Question>, column: usize) -> Self {
        StatisticAccumulator { questions, column, states: vec![] }
    }
}

impl<S: Retractable> Accumulator for StatisticAccumulator<S> {
    fn grow(&mut self, groups: usize) {
        self.states.resize_with(groups, S::default);
    }

    fn update(&mut self, rows: &RecordBatch, groups: &[u32], diffs: &Run<Diff>) -> DataFusionResult<()> {
        let values: &Float64Array = downcast(rows.column(self.column))?;
        let Some(question) = self.questions.first() else { return Ok(()) };
        for (row, group) in groups.iter().enumerate() {
            if values.is_valid(row) {
                self.states[*group as usize].add(question, values.value(row), diffs.get(row));
            }
        }
        Ok(())
    }

    fn evaluate(&self, groups: &[u32]) -> DataFusionResult<Vec<ArrayRef>> {
        let answers = |question: &S::Question| -> ArrayRef {
            let answers = groups.iter().map(|group| self.states[*group as usize].answer(question));
            Arc::new(answers.collect::<Float64Array>())
        };
        Ok(self.questions.iter().map(answers).collect())
    }

    fn retain(&mut self, kept: &[u32]) {
        retain(&mut self.states, kept);
    }

    fn is_empty(&self, group: u32) -> bool {
        self.states[group as usize] == S::default()
    }

    fn save(&mut self, groups: &[u32]) -> DataFusionResult<LargeBinaryArray> {
        Ok(write_each(groups, |group, out| self.states[group as usize].write_bytes(out)))
    }

    fn load(&mut self, groups: &[u32], states: &LargeBinaryArray) -> DataFusionResult<()> {
        read_each("statistic", groups, states, |group, reader| {
            self.states[group as usize].merge_bytes(reader.take_rest())
        })
    }

    fn bytes(&self) -> usize {
        self.states.iter().map(|s| size_of::<S>() + s.heap_bytes()).sum()
    }
}

/// One state of pairs a group, asked one or more questions. Pairs with a null do not count.
pub(super) struct PairsAccumulator {
    questions: Vec<PairsQuestion>,
    /// The columns of y and x.
    columns: [usize; 2],
    states: Vec<Pairs>,
}

impl PairsAccumulator {
    /// Over the columns of y and x, or of one that is both.
    pub fn new(questions: Vec<PairsQuestion>, arguments: &[usize]) -> Self {
        let column = |index: usize| arguments.get(index).or(arguments.last()).copied().unwrap_or_default();
        PairsAccumulator { questions, columns: [column(0), column(1)], states: vec![] }
    }
}

impl Accumulator for PairsAccumulator {
    fn grow(&mut self, groups: usize) {
        self.states.resize_with(groups, Pairs::default);
    }

    fn update(&mut self, rows: &RecordBatch, groups: &[u32], diffs: &Run<Diff>) -> DataFusionResult<()> {
        let y: &Float64Array = downcast(rows.column(self.columns[0]))?;
        let x: &Float64Array = downcast(rows.column(self.columns[1]))?;
        for (row, group) in groups.iter().enumerate() {
            if y.is_valid(row) && x.is_valid(row) {
                self.states[*group as usize].add(y.value(row), x.value(row), diffs.get(row));
            }
        }
        Ok(())
    }

    fn evaluate(&self, groups: &[u32]) -> DataFusionResult<Vec<ArrayRef>> {
        let answers = |question: &PairsQuestion| -> ArrayRef {
            let answers = groups.iter().map(|group| self.states[*group as usize].answer(*question));
            Arc::new(answers.collect::<Float64Array>())
        };
        Ok(self.questions.iter().map(answers).collect())
    }

    fn retain(&mut self, kept: &[u32]) {
        retain(&mut self.states, kept);
    }

    fn is_empty(&self, group: u32) -> bool {
        self.states[group as usize] == Pairs::default()
    }

    fn save(&mut self, groups: &[u32]) -> DataFusionResult<LargeBinaryArray> {
        Ok(write_each(groups, |group, out| self.states[group as usize].write_bytes(out)))
    }

    fn load(&mut self, groups: &[u32], states: &LargeBinaryArray) -> DataFusionResult<()> {
        read_each("pairs", groups, states, |group, reader| {
            self.states[group as usize].merge_bytes(reader.take_rest())
        })
    }

    fn bytes(&self) -> usize {
        self.states.iter().map(|s| size_of::<Pairs>() + s.heap_bytes()).sum()
    }
}
