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
    /// Rows may go: the values of each group with their multiplicities.
    All(Vec<Group>),
}

/// The values of one group. Those that came before the last settling but one are settled: only the extreme
/// of them is known, and none of them can be taken away.
#[derive(Default)]
struct Group {
    recent: BTreeMap<Box<[u8]>, Diff>,
    older: BTreeMap<Box<[u8]>, Diff>,
    settled: Option<Box<[u8]>>,
}

impl Group {
    fn add(&mut self, value: &[u8], diff: Diff) {
        // What is taken away is taken from where it is: the older values, where it is not among the recent.
        let is_recent = diff > 0 || self.recent.contains_key(value) || !self.older.contains_key(value);
        let values = if is_recent { &mut self.recent } else { &mut self.older };
        let sum = values.entry(value.into()).or_insert(0);
        *sum += diff;
        if *sum == 0 {
            values.remove(value);
        }
    }

    fn extreme(&self, is_max: bool) -> Option<&[u8]> {
        let candidates = [best(&self.recent, is_max), best(&self.older, is_max), self.settled.as_deref()];
        let candidates = candidates.into_iter().flatten();
        if is_max { candidates.max() } else { candidates.min() }
    }

    /// Settles the older values; how many retractions are left over, of values that were settled before.
    fn settle(&mut self, is_max: bool) -> u64 {
        let older = std::mem::replace(&mut self.older, std::mem::take(&mut self.recent));
        let candidates = [best(&older, is_max), self.settled.as_deref()].into_iter().flatten();
        let settled = if is_max { candidates.max() } else { candidates.min() };
        self.settled = settled.map(Box::from);
        older.values().filter(|diff| **diff < 0).map(|diff| diff.unsigned_abs()).sum()
    }
}

/// The extreme of those values that are there: one retracted before it came has a negative multiplicity.
fn best(values: &BTreeMap<Box<[u8]>, Diff>, is_max: bool) -> Option<&[u8]> {
    let mut present = values.iter().filter(|(_, diff)| **diff > 0);
    let found = if is_max { present.next_back() } else { present.next() };
    found.map(|(value, _)| value.as_ref())
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
            Values::All(values) => values[group].extreme(self.is_max),
        }
    }
}

impl Accumulator for ExtremeAccumulator {
    fn grow(&mut self, groups: usize) {
        match &mut self.values {
            Values::Extreme(values) => values.resize_with(groups, Vec::new),
            Values::All(values) => values.resize_with(groups, Group::default),
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
                Values::All(values) => values[*group as usize].add(value, diffs.get(row)),
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

    fn settle(&mut self) -> u64 {
        match &mut self.values {
            Values::Extreme(_) => 0,
            Values::All(values) => values.iter_mut().map(|v| v.settle(self.is_max)).sum(),
        }
    }

    fn vanish(&mut self, group: u32) {
        if let Values::All(values) = &mut self.values {
            values[group as usize].settled = None;
        }
    }

    fn bytes(&self) -> usize {
        match &self.values {
            Values::Extreme(values) => values.iter().map(|v| size_of::<Vec<u8>>() + v.capacity()).sum(),
            Values::All(values) => values.iter().map(|v| (v.recent.len() + v.older.len() + 1) * 48).sum(),
        }
    }
}
