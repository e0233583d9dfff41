//! One group's state as DataFusion's `Accumulator`, plain and `DISTINCT`; both retract.

use std::mem::size_of;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BinaryArray, Float64Array};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::cast::{as_binary_array, as_float64_array};
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_err};
use datafusion::logical_expr::Accumulator;
use datafusion::logical_expr::function::StateFieldsArgs;
use datafusion::logical_expr::utils::format_state_name;
use hashbrown::HashMap;

use crate::detect::DecodeError;
use crate::detect::retractable::Retractable;

/// The one column that a partial aggregate hands on: the state as bytes, null when nothing is in it.
pub(super) fn state_fields(args: &StateFieldsArgs) -> Vec<FieldRef> {
    vec![Arc::new(Field::new(format_state_name(args.name, "state"), DataType::Binary, true))]
}

pub(super) fn decode_error(error: DecodeError) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// The accumulator of a group, for a query with or without `DISTINCT`.
pub(super) fn accumulator<R: Retractable>(question: R::Question, is_distinct: bool) -> Box<dyn Accumulator> {
    let plain = Plain::<R> { question, state: R::default() };
    if is_distinct { Box::new(Distinct { plain, counts: HashMap::new() }) } else { Box::new(plain) }
}

fn first(values: &[ArrayRef]) -> Result<&ArrayRef> {
    values.first().map_or_else(|| exec_err!("an aggregate needs an argument"), Ok)
}

/// Calls `each` with every value that is not null.
fn for_each_value(values: &Float64Array, mut each: impl FnMut(f64)) {
    if values.null_count() == 0 {
        values.values().iter().for_each(|value| each(*value));
    } else {
        values.iter().flatten().for_each(each);
    }
}

fn for_each_state(states: &BinaryArray, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    states.iter().flatten().try_for_each(&mut each)
}

#[derive(Debug)]
struct Plain<R: Retractable> {
    question: R::Question,
    state: R,
}

impl<R: Retractable> Plain<R> {
    fn add(&mut self, values: &[ArrayRef], weight: i64) -> Result<()> {
        let Self { question, state } = self;
        for_each_value(as_float64_array(first(values)?)?, |value| state.add(question, value, weight));
        Ok(())
    }
}

impl<R: Retractable> Accumulator for Plain<R> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(values, 1)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(values, -1)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(self.state.answer(&self.question)))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let mut bytes = Vec::new();
        self.state.write_bytes(&mut bytes);
        Ok(vec![ScalarValue::Binary(Some(bytes))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let merge = |bytes: &[u8]| self.state.merge_bytes(bytes).map_err(decode_error);
        for_each_state(as_binary_array(first(states)?)?, merge)
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.state.heap_bytes()
    }
}

/// Counts each value, and lets only its first and last occurrence through to the state.
#[derive(Debug)]
struct Distinct<R: Retractable> {
    plain: Plain<R>,
    /// Occurrences by bit pattern; zero ones are absent.
    counts: HashMap<u64, i64>,
}

impl<R: Retractable> Distinct<R> {
    fn add(&mut self, value: f64, weight: i64) {
        // Adding zero makes -0.0 the 0.0 it equals in GROUP BY.
        let value = value + 0.0;
        let count = self.counts.entry(value.to_bits()).or_insert(0);
        let was_present = *count > 0;
        *count += weight;
        let (is_present, is_gone) = (*count > 0, *count == 0);
        if is_gone {
            self.counts.remove(&value.to_bits());
        }
        if is_present != was_present {
            self.plain.state.add(&self.plain.question, value, if is_present { 1 } else { -1 });
        }
    }
}

impl<R: Retractable> Accumulator for Distinct<R> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for_each_value(as_float64_array(first(values)?)?, |value| self.add(value, 1));
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for_each_value(as_float64_array(first(values)?)?, |value| self.add(value, -1));
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.plain.evaluate()
    }

    /// The distinct values, eight bytes each, in no particular order.
    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let bytes = self.counts.keys().flat_map(|bits| bits.to_le_bytes()).collect();
        Ok(vec![ScalarValue::Binary(Some(bytes))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for_each_state(as_binary_array(first(states)?)?, |bytes| {
            let (values, rest) = bytes.as_chunks::<8>();
            if !rest.is_empty() {
                return exec_err!("state of distinct values has {} bytes left over", rest.len());
            }
            values.iter().for_each(|bytes| self.add(f64::from_le_bytes(*bytes), 1));
            Ok(())
        })
    }

    fn size(&self) -> usize {
        self.plain.size() + self.counts.allocation_size()
    }
}
