//! Sums of integers and decimals, and means of decimals.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, LargeBinaryArray, PrimitiveArray, RecordBatch,
};
use arrow::datatypes::{ArrowNativeType, DataType, Decimal128Type, Int64Type, UInt64Type};
use datafusion::common::exec_datafusion_err;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion_functions_aggregate_common::utils::DecimalAverager;

use super::accumulator::{Accumulator, Function, retain};
use super::state::{read_each, write_each};
use crate::delta::updates::{Diff, Run};
use crate::detect::bytes::{put_signed, put_wide};

/// The wrapping sum of integers, or the sum of 128-bit decimals, and a count a group.
///
/// Sums of 64-bit integers wrap around as DataFusion's do.
pub(super) struct IntegerAccumulator {
    function: Function,
    column: usize,
    input: DataType,
    output: DataType,
    counts: Vec<Diff>,
    sums: Vec<i128>,
}

impl IntegerAccumulator {
    pub fn new(
        function: Function,
        column: usize,
        input: DataType,
        output: DataType,
    ) -> DataFusionResult<Self> {
        let fits = matches!(
            (&function, &input),
            (Function::Sum, DataType::Int64 | DataType::UInt64)
                | (Function::Sum | Function::Avg, DataType::Decimal128(..))
        );
        if !fits {
            return Err(DataFusionError::NotImplemented(format!(
                "{function:?} of {input} in a continuous view; cast it to a double or an integer"
            )));
        }
        Ok(IntegerAccumulator { function, column, input, output, counts: vec![], sums: vec![] })
    }

    fn add<T>(
        &mut self,
        values: &PrimitiveArray<T>,
        groups: &[u32],
        diffs: &Run<Diff>,
        widen: impl Fn(T::Native) -> i128,
    ) where
        T: arrow::array::ArrowPrimitiveType,
    {
        for (row, group) in groups.iter().enumerate() {
            if values.is_valid(row) {
                let (group, diff) = (*group as usize, diffs.get(row));
                self.counts[group] += diff;
                let change = widen(values.value(row)).wrapping_mul(i128::from(diff));
                self.sums[group] = self.sums[group].wrapping_add(change);
            }
        }
    }

    fn decimal(
        &self,
        group: usize,
        averager: Option<&DecimalAverager<Decimal128Type>>,
    ) -> DataFusionResult<Option<i128>> {
        match (self.counts[group] > 0, averager) {
            (false, _) => Ok(None),
            (true, None) => Ok(Some(self.sums[group])),
            (true, Some(averager)) => {
                Ok(Some(averager.avg(self.sums[group], i128::from(self.counts[group]))?))
            }
        }
    }
}

impl Accumulator for IntegerAccumulator {
    fn grow(&mut self, groups: usize) {
        self.counts.resize(groups, 0);
        self.sums.resize(groups, 0);
    }

    fn update(&mut self, rows: &RecordBatch, groups: &[u32], diffs: &Run<Diff>) -> DataFusionResult<()> {
        let column = rows.column(self.column);
        match &self.input {
            DataType::Int64 => self.add(column.as_primitive::<Int64Type>(), groups, diffs, i128::from),
            DataType::UInt64 => self.add(column.as_primitive::<UInt64Type>(), groups, diffs, i128::from),
            _ => self.add(column.as_primitive::<Decimal128Type>(), groups, diffs, |v| v),
        }
        Ok(())
    }

    fn evaluate(&self, groups: &[u32]) -> DataFusionResult<Vec<ArrayRef>> {
        let present = |g: &u32| self.counts[*g as usize] > 0;
        let sums = |g: &u32| self.sums[*g as usize];
        let array: ArrayRef = match &self.output {
            DataType::Int64 => Arc::new(
                groups
                    .iter()
                    .map(|g| present(g).then(|| sums(g) as i64))
                    .collect::<PrimitiveArray<Int64Type>>(),
            ),
            DataType::UInt64 => Arc::new(
                groups
                    .iter()
                    .map(|g| present(g).then(|| sums(g) as u64))
                    .collect::<PrimitiveArray<UInt64Type>>(),
            ),
            DataType::Decimal128(precision, scale) => {
                let averager = match (&self.function, &self.input) {
                    (Function::Avg, DataType::Decimal128(_, from)) => {
                        Some(DecimalAverager::<Decimal128Type>::try_new(*from, *precision, *scale)?)
                    }
                    _ => None,
                };
                let values = groups.iter().map(|g| self.decimal(g.as_usize(), averager.as_ref()));
                let values = values.collect::<DataFusionResult<Decimal128Array>>()?;
                Arc::new(values.with_precision_and_scale(*precision, *scale)?)
            }
            other => return Err(exec_datafusion_err!("a sum of type {other}")),
        };
        Ok(vec![array])
    }

    fn retain(&mut self, kept: &[u32]) {
        retain(&mut self.counts, kept);
        retain(&mut self.sums, kept);
    }

    fn is_empty(&self, group: u32) -> bool {
        self.counts[group as usize] == 0 && self.sums[group as usize] == 0
    }

    fn save(&mut self, groups: &[u32]) -> DataFusionResult<LargeBinaryArray> {
        Ok(write_each(groups, |group, out| {
            put_signed(out, self.counts[group as usize]);
            put_wide(out, self.sums[group as usize]);
        }))
    }

    fn load(&mut self, groups: &[u32], states: &LargeBinaryArray) -> DataFusionResult<()> {
        read_each("sum of integers", groups, states, |group, reader| {
            self.counts[group as usize] = reader.signed()?;
            self.sums[group as usize] = reader.wide()?;
            Ok(())
        })
    }

    fn bytes(&self) -> usize {
        self.counts.len() * 24
    }
}
