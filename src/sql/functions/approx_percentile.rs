//! `approx_percentile(x, p [, relative_error])`: a quantile from a DDSketch.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::common::types::{NativeType, logical_float64};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, Coercion, ColumnarValue, GroupsAccumulator, ReversedUDAF, Signature,
    TypeSignature, TypeSignatureClass, Volatility,
};
use datafusion::physical_expr::PhysicalExpr;

use super::accumulator::{accumulator, state_fields};
use super::groups::Groups;
use super::names;
use crate::detect::quantile_sketch::{
    Bins, Mapping, RELATIVE_ERROR_DEFAULT, RELATIVE_ERROR_MAX, RELATIVE_ERROR_MIN,
};
use crate::detect::retractable::PercentileQuestion;

/// The aggregate. `x` is numeric and cast to doubles; `p` and `relative_error` are literals.
///
/// The result is a double within `relative_error` (default 0.01) of the value at the lower rank
/// `floor(p * (n - 1))`, so never more than that away from a value that is in the input.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ApproxPercentile {
    signature: Signature,
}

impl Default for ApproxPercentile {
    fn default() -> Self {
        let double = || {
            Coercion::new_implicit(
                TypeSignatureClass::Native(logical_float64()),
                vec![TypeSignatureClass::Numeric],
                NativeType::Float64,
            )
        };
        let arguments = |count| TypeSignature::Coercible((0..count).map(|_| double()).collect());
        Self { signature: Signature::one_of(vec![arguments(2), arguments(3)], Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for ApproxPercentile {
    fn name(&self) -> &str {
        names::APPROX_PERCENTILE
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(accumulator::<Bins>(percentile_question(args.exprs)?, args.is_distinct))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(state_fields(&args))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Groups::<Bins>::new(percentile_question(args.exprs)?)))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }
}

/// What the arguments of `approx_percentile` after the first ask for; an error unless they are literals
/// in their ranges.
pub fn percentile_question(arguments: &[Arc<dyn PhysicalExpr>]) -> Result<PercentileQuestion> {
    let Some(p) = arguments.get(1) else {
        return plan_err!("{} needs a percentile between 0 and 1", names::APPROX_PERCENTILE);
    };
    let p = literal(p, "percentile", 0.0, 1.0)?;
    let relative_error = match arguments.get(2) {
        Some(argument) => literal(argument, "relative error", RELATIVE_ERROR_MIN, RELATIVE_ERROR_MAX)?,
        None => RELATIVE_ERROR_DEFAULT,
    };
    Ok(PercentileQuestion { p, mapping: Mapping::new(relative_error) })
}

/// The value of an argument that does not depend on a row, if it is in `min..=max`.
pub(super) fn literal(argument: &Arc<dyn PhysicalExpr>, what: &str, min: f64, max: f64) -> Result<f64> {
    let no_rows = RecordBatch::new_empty(Arc::new(Schema::empty()));
    let value = match argument.evaluate(&no_rows) {
        Ok(ColumnarValue::Scalar(value)) => value,
        _ => return plan_err!("{what} \"{argument}\" is not a literal between {min} and {max}"),
    };
    match value.cast_to(&DataType::Float64) {
        Ok(ScalarValue::Float64(Some(number))) if (min..=max).contains(&number) => Ok(number),
        _ => plan_err!("{what} \"{value}\" is not between {min} and {max}"),
    }
}
