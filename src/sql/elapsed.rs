//! Time that has passed beside an interval: `now() - ts < INTERVAL '1 day'`.
//!
//! A difference of two times has no days, and DataFusion compares intervals part by part: any number of hours would be
//! less than one day. As in PostgreSQL a day counts as 24 hours here, and a month as 30 days.

use arrow::datatypes::{DataType, IntervalMonthDayNano};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, lit};
use datafusion::optimizer::AnalyzerRule;

use super::expressions;

const DAY_NS: i64 = 86_400_000_000_000;
const MONTH_DAYS: i64 = 30;

/// The rule; it comes after the coercion of types, which casts differences to intervals.
#[derive(Debug)]
pub struct Elapsed;

impl AnalyzerRule for Elapsed {
    fn name(&self) -> &str {
        "elapsed"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> DataFusionResult<LogicalPlan> {
        expressions::rewritten(plan, compared)
    }
}

/// A comparison of time that has passed, with intervals by their length.
fn compared(expression: Expr, schema: &DFSchema) -> DataFusionResult<Transformed<Expr>> {
    Ok(match expression {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(op) => {
            let lengths = match (has_passed(&left, schema), has_passed(&right, schema)) {
                (true, _) => (None, length(&right)),
                (_, true) => (length(&left), None),
                _ => (None, None),
            };
            let is_changed = lengths.0.is_some() || lengths.1.is_some();
            let left = lengths.0.map_or(left, Box::new);
            let right = lengths.1.map_or(right, Box::new);
            let comparison = Expr::BinaryExpr(BinaryExpr { left, op, right });
            if is_changed { Transformed::yes(comparison) } else { Transformed::no(comparison) }
        }
        Expr::Between(Between { expr, negated, low, high }) if has_passed(&expr, schema) => {
            let low = length(&low).map_or(low, Box::new);
            let high = length(&high).map_or(high, Box::new);
            Transformed::yes(Expr::Between(Between { expr, negated, low, high }))
        }
        other => Transformed::no(other),
    })
}

fn is_comparison(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq)
}

/// Whether `expression` is a difference of times, cast to be compared.
fn has_passed(expression: &Expr, schema: &DFSchema) -> bool {
    let Expr::Cast(cast) = expression else { return false };
    matches!(cast.field.data_type(), DataType::Interval(_))
        && matches!(cast.expr.get_type(schema), Ok(DataType::Duration(_)))
}

/// An interval with days or months as one of nanoseconds alone.
fn length(expression: &Expr) -> Option<Expr> {
    let Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _) = expression else { return None };
    if interval.months == 0 && interval.days == 0 {
        return None;
    }
    let days = i64::from(interval.months) * MONTH_DAYS + i64::from(interval.days);
    let nanos = days.checked_mul(DAY_NS)?.checked_add(interval.nanoseconds)?;
    Some(lit(ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(0, 0, nanos)))))
}
