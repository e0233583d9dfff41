//! One NaN from arithmetic.
//!
//! Which of two NaNs their sum is depends on how the compiler ordered them, so on where in a batch a row stands; and
//! Arrow, which compares all bits, has NaNs with a sign before all numbers and the others behind them. As in PostgreSQL
//! there is one here, and it is greater than any number.

#[cfg(test)]
mod tests;

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray};
use arrow::datatypes::{ArrowPrimitiveType, DataType, FieldRef, Float32Type, Float64Type};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ExprSchema, ScalarValue, plan_err};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;

use super::expressions;

static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    Arc::new(ScalarUDF::new_from_impl(WithOneNan { signature: Signature::any(1, Volatility::Immutable) }))
});

/// The rule; it comes after the coercion of types. Nothing is done about arithmetic with a number that makes no NaN.
#[derive(Debug)]
pub struct OneNan;

impl AnalyzerRule for OneNan {
    fn name(&self) -> &str {
        "one_nan"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> DataFusionResult<LogicalPlan> {
        expressions::rewritten(plan, |expression, schema| Ok(with_one_nan(expression, schema)))
    }
}

/// Arithmetic over floats in a call of the function; rewritten once more, it stays as it is.
fn with_one_nan(expression: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expression {
        Expr::ScalarFunction(mut call) if is_ours(&call) => match call.args.pop() {
            Some(Expr::ScalarFunction(inner)) if is_ours(&inner) => {
                Transformed::yes(Expr::ScalarFunction(inner))
            }
            arg => {
                call.args.extend(arg);
                Transformed::no(Expr::ScalarFunction(call))
            }
        },
        arithmetic if makes_nans(&arithmetic, schema) => {
            let call = ScalarFunction::new_udf(FUNCTION.clone(), vec![arithmetic]);
            Transformed::yes(Expr::ScalarFunction(call))
        }
        other => Transformed::no(other),
    }
}

fn is_ours(call: &ScalarFunction) -> bool {
    call.func.inner().downcast_ref::<WithOneNan>().is_some()
}

/// Whether `expression` may be a NaN that none of its columns is.
fn makes_nans(expression: &Expr, schema: &DFSchema) -> bool {
    use Operator::{Divide, Minus, Modulo, Multiply, Plus};
    let may_make = match expression {
        Expr::BinaryExpr(arithmetic) => {
            let is_safe = is_harmless(&arithmetic.left) || is_harmless(&arithmetic.right);
            match arithmetic.op {
                Plus | Minus | Multiply | Divide => !is_safe,
                op => op == Modulo,
            }
        }
        Expr::Negative(inner) => !is_harmless(inner),
        _ => false,
    };
    may_make && expression.get_type(schema).is_ok_and(|t| matches!(t, DataType::Float32 | DataType::Float64))
}

/// Whether `expression` is a constant of which no sum, difference, product or quotient with a number is NaN.
fn is_harmless(expression: &Expr) -> bool {
    match expression {
        Expr::Literal(value, _) => {
            let number = value.cast_to(&DataType::Float64);
            let is_number = value.data_type().is_numeric();
            is_number && matches!(number, Ok(ScalarValue::Float64(Some(n))) if n.is_finite() && n != 0.0)
        }
        Expr::Cast(cast) => is_harmless(&cast.expr),
        Expr::Negative(inner) => is_harmless(inner),
        _ => false,
    }
}

/// A float as it is, with one NaN for all. A column of it is named like its argument; no statement can call it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct WithOneNan {
    signature: Signature,
}

impl ScalarUDFImpl for WithOneNan {
    fn name(&self) -> &str {
        "one_nan"
    }

    fn schema_name(&self, args: &[Expr]) -> DataFusionResult<String> {
        Ok(args.iter().map(|arg| arg.schema_name().to_string()).collect())
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        match types {
            [data_type] => Ok(data_type.clone()),
            _ => plan_err!("one_nan: one argument is expected"),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> DataFusionResult<FieldRef> {
        match args.arg_fields {
            [field] => Ok(field.clone()),
            _ => plan_err!("one_nan: one argument is expected"),
        }
    }

    fn is_nullable(&self, args: &[Expr], schema: &dyn ExprSchema) -> bool {
        args.iter().any(|arg| arg.nullable(schema).unwrap_or(true))
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        Ok(match args.args.pop() {
            Some(ColumnarValue::Array(values)) => ColumnarValue::Array(one_nan(&values)),
            Some(ColumnarValue::Scalar(scalar)) => ColumnarValue::Scalar(match scalar {
                ScalarValue::Float64(Some(value)) if value.is_nan() => f64::NAN.into(),
                ScalarValue::Float32(Some(value)) if value.is_nan() => f32::NAN.into(),
                other => other,
            }),
            None => return plan_err!("one_nan: one argument is expected"),
        })
    }
}

fn one_nan(values: &ArrayRef) -> ArrayRef {
    match values.data_type() {
        DataType::Float64 => replaced(values, values.as_primitive::<Float64Type>(), f64::NAN),
        DataType::Float32 => replaced(values, values.as_primitive::<Float32Type>(), f32::NAN),
        _ => values.clone(),
    }
}

/// `values` with `nan` for each NaN; most have none, and are given back.
fn replaced<T: ArrowPrimitiveType>(values: &ArrayRef, floats: &PrimitiveArray<T>, nan: T::Native) -> ArrayRef
where
    T::Native: PartialOrd,
{
    // A NaN alone is not equal to itself.
    let is_nan = |value: &T::Native| value.partial_cmp(value).is_none();
    if !floats.values().iter().fold(false, |any, value| any | is_nan(value)) {
        return values.clone();
    }
    Arc::new(floats.unary::<_, T>(|value| if is_nan(&value) { nan } else { value }))
}
