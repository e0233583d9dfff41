//! `percentile_cont(p) WITHIN GROUP (ORDER BY x)`: the exact percentile, interpolated as PostgreSQL does.
//!
//! DataFusion's rounds the weight of the interpolation to six digits.

use std::collections::BTreeMap;
use std::mem::size_of;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::cast::{as_binary_array, as_float64_array};
use datafusion::common::types::{NativeType, logical_float64};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::functions_aggregate::percentile_cont::percentile_cont_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, Coercion, Signature, TypeSignature, TypeSignatureClass, Volatility,
};

use super::accumulator::state_fields;
use super::approx_percentile::literal;
use super::names;
use crate::detect::order_key::{from_order_key, order_key};

/// The aggregate. `x` is numeric and cast to doubles, in whose order NaN is the greatest; `p` is a literal between
/// 0 and 1. The result is a double, null without values.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct PercentileCont {
    signature: Signature,
    aliases: Vec<String>,
}

impl Default for PercentileCont {
    fn default() -> Self {
        let double = Coercion::new_implicit(
            TypeSignatureClass::Native(logical_float64()),
            vec![TypeSignatureClass::Numeric],
            NativeType::Float64,
        );
        let arguments = TypeSignature::Coercible(vec![double.clone(), double]);
        let signature = Signature::new(arguments, Volatility::Immutable);
        // All that DataFusion's has: else that one comes back under its alias.
        Self { signature, aliases: percentile_cont_udaf().aliases().to_vec() }
    }
}

impl AggregateUDFImpl for PercentileCont {
    fn name(&self) -> &str {
        names::PERCENTILE_CONT
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let Some(p) = args.exprs.get(1) else {
            return plan_err!("{} needs a percentile between 0 and 1", names::PERCENTILE_CONT);
        };
        let p = literal(p, "percentile", 0.0, 1.0)?;
        let is_descending = args.order_bys.first().is_some_and(|order| order.options.descending);
        Ok(Box::new(Sorted { p, is_descending, is_distinct: args.is_distinct, ..Sorted::default() }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(state_fields(&args))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn supports_within_group_clause(&self) -> bool {
        true
    }
}

/// All values of a group, sorted, with their counts.
#[derive(Debug, Default)]
struct Sorted {
    p: f64,
    is_descending: bool,
    is_distinct: bool,
    counts: BTreeMap<i64, u64>,
}

impl Sorted {
    fn add(&mut self, value: f64, count: u64) {
        // With DISTINCT, -0.0 is the 0.0 it equals in GROUP BY.
        let value = if self.is_distinct { value + 0.0 } else { value };
        *self.counts.entry(order_key(value)).or_insert(0) += count;
    }

    fn weight(&self, count: u64) -> u64 {
        if self.is_distinct { count.min(1) } else { count }
    }

    /// The value at `rank`, counted from 0.
    fn at(&self, rank: u64) -> Option<f64> {
        let mut left = rank;
        let is_here = |(_, count): &(&i64, &u64)| {
            let count = self.weight(**count);
            let is_here = left < count;
            left = left.saturating_sub(count);
            is_here
        };
        let found = match self.is_descending {
            true => self.counts.iter().rev().find(is_here),
            false => self.counts.iter().find(is_here),
        };
        found.map(|(key, _)| from_order_key(*key))
    }

    fn percentile(&self) -> Option<f64> {
        let total: u64 = self.counts.values().map(|count| self.weight(*count)).sum();
        let position = self.p * total.checked_sub(1)? as f64;
        let (low, high) = (self.at(position.floor() as u64)?, self.at(position.ceil() as u64)?);
        // Between two infinities of one sign there is nothing to interpolate.
        Some(if low == high { low } else { low + (position - position.floor()) * (high - low) })
    }
}

impl Accumulator for Sorted {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(values) = values.first() else { return exec_err!("an aggregate needs an argument") };
        as_float64_array(values)?.iter().flatten().for_each(|value| self.add(value, 1));
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(values) = values.first() else { return exec_err!("an aggregate needs an argument") };
        for value in as_float64_array(values)?.iter().flatten() {
            let value = if self.is_distinct { value + 0.0 } else { value };
            match self.counts.get_mut(&order_key(value)) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(self.counts.remove(&order_key(value))),
            }
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(self.percentile()))
    }

    /// Sixteen bytes for each distinct value: its place in the order and its count.
    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let counts = self.counts.iter();
        let bytes = counts.flat_map(|(key, count)| [key.to_le_bytes(), count.to_le_bytes()].concat());
        Ok(vec![ScalarValue::Binary(Some(bytes.collect()))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let Some(states) = states.first() else { return exec_err!("an aggregate's state has one column") };
        for bytes in as_binary_array(states)?.iter().flatten() {
            let (words, rest) = bytes.as_chunks::<8>();
            let (entries, single) = words.as_chunks::<2>();
            if !rest.is_empty() || !single.is_empty() {
                return exec_err!("state of sorted values has {} bytes", bytes.len());
            }
            for [key, count] in entries {
                let key = i64::from_le_bytes(*key);
                *self.counts.entry(key).or_insert(0) += u64::from_le_bytes(*count);
            }
        }
        Ok(())
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.counts.len() * 2 * size_of::<(i64, u64)>()
    }
}
