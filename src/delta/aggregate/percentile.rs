//! DDSketch percentiles.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, RecordBatch};
use datafusion::error::Result as DataFusionResult;

use super::accumulator::{Accumulator, downcast, retain};
use crate::delta::updates::{Diff, Run};
use crate::detect::quantile_sketch::{Bins, Mapping};

/// One sketch a group, asked for several ranks at once.
pub(super) struct PercentileAccumulator {
    ranks: Vec<f64>,
    column: usize,
    mapping: Mapping,
    sketches: Vec<Bins>,
}

impl PercentileAccumulator {
    pub fn new(ranks: Vec<f64>, relative_error: f64, column: usize) -> Self {
        PercentileAccumulator { ranks, column, mapping: Mapping::new(relative_error), sketches: vec![] }
    }
}

impl Accumulator for PercentileAccumulator {
    fn grow(&mut self, groups: usize) {
        self.sketches.resize_with(groups, Bins::default);
    }

    fn update(&mut self, rows: &RecordBatch, groups: &[u32], diffs: &Run<Diff>) -> DataFusionResult<()> {
        let values: &Float64Array = downcast(rows.column(self.column))?;
        for (row, group) in groups.iter().enumerate() {
            if values.is_valid(row) {
                self.sketches[*group as usize].add(&self.mapping, values.value(row), diffs.get(row));
            }
        }
        Ok(())
    }

    fn evaluate(&self, groups: &[u32]) -> DataFusionResult<Vec<ArrayRef>> {
        let mut columns: Vec<Vec<Option<f64>>> = vec![Vec::with_capacity(groups.len()); self.ranks.len()];
        for group in groups {
            let quantiles = self.sketches[*group as usize].quantiles(&self.mapping, &self.ranks);
            columns.iter_mut().zip(quantiles).for_each(|(column, value)| column.push(value));
        }
        Ok(columns.into_iter().map(|c| Arc::new(Float64Array::from(c)) as ArrayRef).collect())
    }

    fn retain(&mut self, kept: &[u32]) {
        retain(&mut self.sketches, kept);
    }

    fn bytes(&self) -> usize {
        self.sketches.len() * size_of::<Bins>() + self.sketches.iter().map(Bins::size_bytes).sum::<usize>()
    }
}
