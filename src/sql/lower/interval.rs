//! Intervals of a fixed length, as the durations that they are.
//!
//! Arrow adds an interval to a timestamp by way of the calendar, since months differ in length and days may; a
//! duration is one addition of integers.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator, lit};

/// `expression` over `schema` with `timestamp ± INTERVAL` written with durations, where the two are the same.
pub(super) fn with_durations(expression: Expr, schema: &DFSchema) -> DataFusionResult<Expr> {
    let replaced = expression.transform_up(|e| {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = &e else { return Ok(Transformed::no(e)) };
        let (left, right) = match op {
            Operator::Plus | Operator::Minus => match duration(right, left, schema)? {
                Some(duration) => (left.clone(), Box::new(duration)),
                None => return Ok(Transformed::no(e)),
            },
            _ => return Ok(Transformed::no(e)),
        };
        Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op: *op, right })))
    })?;
    Ok(replaced.data)
}

/// The literal `interval` as a duration in the unit of `timestamp`, where it has neither days nor months and is whole
/// in that unit.
fn duration(interval: &Expr, timestamp: &Expr, schema: &DFSchema) -> DataFusionResult<Option<Expr>> {
    let nanos = match interval {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(i)), _) if i.months == 0 && i.days == 0 => {
            i.nanoseconds
        }
        _ => return Ok(None),
    };
    let DataType::Timestamp(unit, _) = timestamp.get_type(schema)? else { return Ok(None) };
    let (unit_ns, scalar): (i64, fn(Option<i64>) -> ScalarValue) = match unit {
        TimeUnit::Second => (1_000_000_000, ScalarValue::DurationSecond),
        TimeUnit::Millisecond => (1_000_000, ScalarValue::DurationMillisecond),
        TimeUnit::Microsecond => (1_000, ScalarValue::DurationMicrosecond),
        TimeUnit::Nanosecond => (1, ScalarValue::DurationNanosecond),
    };
    Ok((nanos % unit_ns == 0).then(|| lit(scalar(Some(nanos / unit_ns)))))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, IntervalMonthDayNano, Schema};
    use datafusion::logical_expr::{binary_expr, col};

    use super::*;

    fn interval(months: i32, days: i32, nanoseconds: i64) -> Expr {
        lit(ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano { months, days, nanoseconds })))
    }

    #[test]
    fn only_what_is_whole_and_fixed_becomes_a_duration() {
        let at = Field::new("at", DataType::Timestamp(TimeUnit::Millisecond, None), true);
        let schema = DFSchema::try_from(Schema::new(vec![at])).unwrap();
        let added = |op, interval| with_durations(binary_expr(col("at"), op, interval), &schema).unwrap();
        let expected = |op, ms| binary_expr(col("at"), op, lit(ScalarValue::DurationMillisecond(Some(ms))));
        assert_eq!(added(Operator::Plus, interval(0, 0, 2_000_000_000)), expected(Operator::Plus, 2_000));
        assert_eq!(added(Operator::Minus, interval(0, 0, -5_000_000)), expected(Operator::Minus, -5));
        for other in [interval(1, 0, 0), interval(0, 1, 0), interval(0, 0, 1)] {
            let unchanged = binary_expr(col("at"), Operator::Plus, other.clone());
            assert_eq!(added(Operator::Plus, other), unchanged);
        }
    }
}
