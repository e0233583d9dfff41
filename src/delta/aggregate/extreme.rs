//! The least and the greatest value.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, RecordBatch, new_empty_array, new_null_array};
use arrow::compute::interleave;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, RowParser, SortField};
use datafusion::error::Result as DataFusionResult;

use super::accumulator::{Accumulator, retain};
use crate::delta::updates::{Diff, Run};

/// The greatest (or least) value of each group, in Arrow's row format, whose bytes sort as the values.
pub(super) struct ExtremeAccumulator {
    is_max: bool,
    column: usize,
    data_type: DataType,
    converter: RowConverter,
    parser: RowParser,
    values: Values,
}

enum Values {
    /// Rows only come: the extreme itself, empty before the first.
    Extreme(Vec<Vec<u8>>),
    /// Rows may go: every value with its multiplicity.
    All(Vec<BTreeMap<Box<[u8]>, Diff>>),
}

impl ExtremeAccumulator {
    pub fn new(is_max: bool, column: usize, data_type: DataType, retracts: bool) -> DataFusionResult<Self> {
        let converter = RowConverter::new(vec![SortField::new(data_type.clone())])?;
        let values = if retracts { Values::All(vec![]) } else { Values::Extreme(vec![]) };
        Ok(ExtremeAccumulator { is_max, column, data_type, parser: converter.parser(), converter, values })
    }

    fn extreme(&self, group: usize) -> Option<&[u8]> {
        match &self.values {
            Values::Extreme(values) => Some(values[group].as_slice()).filter(|v| !v.is_empty()),
            Values::All(values) => {
                // A value retracted before it came has a negative multiplicity and is not there.
                let mut present = values[group].iter().filter(|(_, diff)| **diff > 0);
                let found = if self.is_max { present.next_back() } else { present.next() };
                found.map(|(value, _)| value.as_ref())
            }
        }
    }
}

impl Accumulator for ExtremeAccumulator {
    fn grow(&mut self, groups: usize) {
        match &mut self.values {
            Values::Extreme(values) => values.resize_with(groups, Vec::new),
            Values::All(values) => values.resize_with(groups, BTreeMap::new),
        }
    }

    fn update(&mut self, rows: &RecordBatch, groups: &[u32], diffs: &Run<Diff>) -> DataFusionResult<()> {
        let column = rows.column(self.column);
        let nulls = column.logical_nulls();
        let encoded = self.converter.convert_columns(std::slice::from_ref(column))?;
        for (row, group) in groups.iter().enumerate() {
            if nulls.as_ref().is_some_and(|n| n.is_null(row)) {
                continue;
            }
            let value = encoded.row(row);
            let value: &[u8] = value.as_ref();
            match &mut self.values {
                Values::Extreme(values) => {
                    let best = &mut values[*group as usize];
                    if best.is_empty()
                        || (value != best.as_slice() && (value > best.as_slice()) == self.is_max)
                    {
                        best.clear();
                        best.extend_from_slice(value);
                    }
                }
                Values::All(values) => {
                    let values = &mut values[*group as usize];
                    let diff = values.entry(value.into()).or_insert(0);
                    *diff += diffs.get(row);
                    if *diff == 0 {
                        values.remove(value);
                    }
                }
            }
        }
        Ok(())
    }

    fn evaluate(&self, groups: &[u32]) -> DataFusionResult<Vec<ArrayRef>> {
        let found: Vec<Option<&[u8]>> = groups.iter().map(|g| self.extreme(*g as usize)).collect();
        let rows = found.iter().flatten().map(|value| self.parser.parse(value));
        let values = match found.iter().any(Option::is_some) {
            true => self.converter.convert_rows(rows)?.swap_remove(0),
            false => new_empty_array(&self.data_type),
        };
        if values.len() == groups.len() {
            return Ok(vec![values]);
        }
        let null = new_null_array(&self.data_type, 1);
        let mut next = 0;
        let places: Vec<(usize, usize)> = found
            .iter()
            .map(|value| match value {
                None => (0, 0),
                Some(_) => {
                    next += 1;
                    (1, next - 1)
                }
            })
            .collect();
        Ok(vec![interleave(&[null.as_ref(), values.as_ref()], &places)?])
    }

    fn retain(&mut self, kept: &[u32]) {
        match &mut self.values {
            Values::Extreme(values) => retain(values, kept),
            Values::All(values) => retain(values, kept),
        }
    }

    fn bytes(&self) -> usize {
        match &self.values {
            Values::Extreme(values) => values.iter().map(|v| size_of::<Vec<u8>>() + v.capacity()).sum(),
            Values::All(values) => values.iter().map(|v| v.len() * 48).sum(),
        }
    }
}
