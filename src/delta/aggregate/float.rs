//! Sums, means and deviations of floats, exact and so independent of order.

use arrow::array::{Array, ArrayRef, Float64Array, RecordBatch};
use datafusion::error::Result as DataFusionResult;

use super::accumulator::{Accumulator, Function, downcast, one, retain};
use crate::delta::updates::{Diff, Run};
use crate::detect::exact_sum::ExactSum;
use crate::detect::exact_sum::moments::{Divisor, mean, variance};

/// A count, an exact sum and, for deviations, an exact sum of squares a group.
pub(super) struct FloatAccumulator {
    function: Function,
    column: usize,
    counts: Vec<Diff>,
    sums: Vec<ExactSum>,
    squares: Vec<ExactSum>,
}

impl FloatAccumulator {
    pub fn new(function: Function, column: usize) -> Self {
        FloatAccumulator { function, column, counts: vec![], sums: vec![], squares: vec![] }
    }

    fn needs_squares(&self) -> bool {
        matches!(self.function, Function::Variance { .. })
    }

    fn result(&self, group: usize) -> Option<f64> {
        let count = self.counts[group];
        match self.function {
            Function::Variance { is_sample, is_root } => {
                let divisor = if is_sample { Divisor::Sample } else { Divisor::Population };
                let variance = variance(count, &self.sums[group], &self.squares[group], divisor)?;
                Some(if is_root { variance.sqrt() } else { variance })
            }
            Function::Avg => mean(count, &self.sums[group]),
            _ => (count > 0).then(|| self.sums[group].value()),
        }
    }
}

impl Accumulator for FloatAccumulator {
    fn grow(&mut self, groups: usize) {
        self.counts.resize(groups, 0);
        self.sums.resize_with(groups, ExactSum::default);
        if self.needs_squares() {
            self.squares.resize_with(groups, ExactSum::default);
        }
    }

    fn update(&mut self, rows: &RecordBatch, groups: &[u32], diffs: &Run<Diff>) -> DataFusionResult<()> {
        let values: &Float64Array = downcast(rows.column(self.column))?;
        let needs_squares = self.needs_squares();
        for (row, group) in groups.iter().enumerate() {
            if values.is_valid(row) {
                let (group, value, diff) = (*group as usize, values.value(row), diffs.get(row));
                self.counts[group] += diff;
                self.sums[group].add(value, diff);
                if needs_squares {
                    self.squares[group].add_square(value, diff);
                }
            }
        }
        Ok(())
    }

    fn evaluate(&self, groups: &[u32]) -> DataFusionResult<Vec<ArrayRef>> {
        Ok(one(groups.iter().map(|g| self.result(*g as usize)).collect::<Float64Array>()))
    }

    fn retain(&mut self, kept: &[u32]) {
        retain(&mut self.counts, kept);
        retain(&mut self.sums, kept);
        if self.needs_squares() {
            retain(&mut self.squares, kept);
        }
    }

    fn bytes(&self) -> usize {
        let sums = self.sums.iter().chain(&self.squares);
        self.counts.len() * 8 + sums.map(|s| size_of::<ExactSum>() + s.size_bytes()).sum::<usize>()
    }
}
