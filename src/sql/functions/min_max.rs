//! `min` and `max`: in the order of `ORDER BY` over doubles, DataFusion's own over everything else.
//!
//! DataFusion's compare doubles as IEEE 754 does. So whether a group's result is a NaN, or which of
//! the two zeros it is, depends on the order of rows; and the maximum of nothing but negative
//! infinities is the lowest finite double.

use std::collections::BTreeMap;
use std::mem::size_of;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray, Float64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::cast::as_float64_array;
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, EmitTo, GroupsAccumulator, ReversedUDAF,
    SetMonotonicity, Signature, StatisticsArgs,
};

use super::groups::{for_each_row, kept_rows};
use crate::detect::order_key::{from_order_key, order_key};

/// One of the two functions, over floats of any width.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Extremum {
    stock: Arc<AggregateUDF>,
    side: Side,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Side {
    Min,
    Max,
}

impl Side {
    /// No value's key: every other one is preferred to it.
    fn nothing(self) -> i64 {
        match self {
            Self::Min => i64::MAX,
            Self::Max => i64::MIN,
        }
    }

    #[inline(always)]
    fn prefer(self, one: i64, other: i64) -> i64 {
        match self {
            Self::Min => one.min(other),
            Self::Max => one.max(other),
        }
    }

    fn value(self, key: i64) -> Option<f64> {
        (key != self.nothing()).then(|| from_order_key(key))
    }
}

impl Extremum {
    pub(super) fn all() -> [Self; 2] {
        [Self { stock: min_udaf(), side: Side::Min }, Self { stock: max_udaf(), side: Side::Max }]
    }
}

impl AggregateUDFImpl for Extremum {
    fn name(&self) -> &str {
        self.stock.name()
    }

    fn signature(&self) -> &Signature {
        self.stock.signature()
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.stock.coerce_types(arg_types)
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.stock.return_type(arg_types)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.return_type().is_floating() {
            let (side, result) = (self.side, args.return_type().clone());
            return Ok(Box::new(One { side, result, key: side.nothing() }));
        }
        self.stock.accumulator(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.return_type().is_floating() {
            let (side, result) = (self.side, args.return_type().clone());
            return Ok(Box::new(Sliding { side, result, counts: BTreeMap::new() }));
        }
        self.stock.create_sliding_accumulator(args)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        if args.return_type().is_floating() {
            let name = format_state_name(args.name, "state");
            return Ok(vec![Arc::new(Field::new(name, DataType::Float64, true))]);
        }
        self.stock.state_fields(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.stock.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        if args.return_type().is_floating() {
            let (side, result) = (self.side, args.return_type().clone());
            return Ok(Box::new(Many { side, result, keys: Vec::new() }));
        }
        self.stock.create_groups_accumulator(args)
    }

    /// Statistics of floats do not tell of NaNs.
    fn value_from_stats(&self, args: &StatisticsArgs) -> Option<ScalarValue> {
        if args.return_type.is_floating() {
            return None;
        }
        self.stock.value_from_stats(args)
    }

    fn is_descending(&self) -> Option<bool> {
        self.stock.is_descending()
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.stock.inner().set_monotonicity(data_type)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.stock.documentation()
    }
}

/// The argument, or the state, as doubles.
fn doubles(values: &[ArrayRef]) -> Result<ArrayRef> {
    match values.first() {
        Some(values) if *values.data_type() == DataType::Float64 => Ok(Arc::clone(values)),
        Some(values) => Ok(cast(values, &DataType::Float64)?),
        None => exec_err!("an aggregate needs an argument"),
    }
}

fn keys(values: &[ArrayRef], mut each: impl FnMut(i64)) -> Result<()> {
    as_float64_array(&doubles(values)?)?.iter().flatten().for_each(|value| each(order_key(value)));
    Ok(())
}

/// The extremum of one group, to which nothing but values is added.
#[derive(Debug)]
struct One {
    side: Side,
    result: DataType,
    key: i64,
}

impl Accumulator for One {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        keys(values, |key| self.key = self.side.prefer(self.key, key))
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        ScalarValue::Float64(self.side.value(self.key)).cast_to(&self.result)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Float64(self.side.value(self.key))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }
}

/// All values of a sliding window frame, with their counts.
#[derive(Debug)]
struct Sliding {
    side: Side,
    result: DataType,
    counts: BTreeMap<i64, u64>,
}

impl Sliding {
    fn value(&self) -> Option<f64> {
        let first = match self.side {
            Side::Min => self.counts.first_key_value(),
            Side::Max => self.counts.last_key_value(),
        };
        first.map(|(key, _)| from_order_key(*key))
    }
}

impl Accumulator for Sliding {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        keys(values, |key| *self.counts.entry(key).or_insert(0) += 1)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        keys(values, |key| match self.counts.get_mut(&key) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(self.counts.remove(&key)),
        })
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        ScalarValue::Float64(self.value()).cast_to(&self.result)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Float64(self.value())])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.counts.len() * 2 * size_of::<(i64, u64)>()
    }
}

/// The extrema of many groups.
struct Many {
    side: Side,
    result: DataType,
    keys: Vec<i64>,
}

impl Many {
    fn take(&mut self, emit_to: EmitTo) -> ArrayRef {
        let keys = emit_to.take_needed(&mut self.keys);
        Arc::new(keys.into_iter().map(|key| self.side.value(key)).collect::<Float64Array>())
    }
}

impl GroupsAccumulator for Many {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        let values = doubles(values)?;
        let values = as_float64_array(&values)?;
        assert_eq!(values.len(), group_indices.len());
        self.keys.resize(total_num_groups.max(self.keys.len()), self.side.nothing());
        let (keys, rows, side) = (&mut self.keys, values.values(), self.side);
        for_each_row(rows.len(), kept_rows(values, opt_filter).as_ref(), |row| {
            let key = &mut keys[group_indices[row]];
            *key = side.prefer(*key, order_key(rows[row]));
        });
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        Ok(cast(&self.take(emit_to), &self.result)?)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.take(emit_to)])
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.update_batch(values, group_indices, None, total_num_groups)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let values = doubles(values)?;
        let values = as_float64_array(&values)?;
        let kept = kept_rows(values, opt_filter);
        Ok(vec![Arc::new(Float64Array::new(values.values().clone(), kept))])
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.keys.capacity() * size_of::<i64>()
    }
}
