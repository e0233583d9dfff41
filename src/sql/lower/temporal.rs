//! Filters on `now()`.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DFSchemaRef, ScalarValue};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, lit};
use datafusion::physical_expr::PhysicalExpr;

use super::{Lowering, cast_to, column};
use crate::delta::plan::{Node, NodeId};
use crate::delta::temporal_filter::{Bound, Comparison};
use crate::sql::error::SqlError;

/// What stands for `now()` in a view's plan, so that the optimizer cannot make a constant of it.
const NOW: &str = "$now";

/// `query` with every `now()` replaced by what [`lower`](super::lower) reads as the current tick.
pub fn replace_now(query: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let replaced = query.transform_down_with_subqueries(|node| {
        node.map_expressions(|expression| expression.transform_down(replace))
    })?;
    Ok(replaced.data)
}

fn replace(expression: Expr) -> DataFusionResult<Transformed<Expr>> {
    let Expr::ScalarFunction(call) = &expression else { return Ok(Transformed::no(expression)) };
    if call.func.name() != "now" {
        return Ok(Transformed::no(expression));
    }
    let field = Arc::new(Field::new(NOW, timestamp(), false));
    Ok(Transformed::yes(Expr::Placeholder(Placeholder { id: NOW.to_owned(), field: Some(field) })))
}

pub(super) fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some("+00:00".into()))
}

/// Whether the value of `expression` depends on the current tick.
pub fn uses_now(expression: &Expr) -> bool {
    let mut found = false;
    let visited = expression.apply(|e| {
        found |= matches!(e, Expr::Placeholder(p) if p.id == NOW);
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    visited.is_ok() && found
}

impl Lowering<'_> {
    /// Rows of `input` that meet `plain`, while all of `conditions` on `now()` hold.
    pub(super) fn temporal_filter(
        &mut self,
        input: NodeId,
        from: &DFSchemaRef,
        plain: Option<Arc<dyn PhysicalExpr>>,
        conditions: &[Expr],
    ) -> Result<NodeId, SqlError> {
        let schema = self.plan.schemas[input].clone();
        let columns = schema.fields().len();
        let mut fields = schema.fields().to_vec();
        let mut projection: Vec<_> = (0..columns).map(|i| column(&schema, i)).collect();
        let mut bounds = vec![];
        for condition in conditions {
            let (comparison, limit) = solve(condition, from)?;
            let limit = cast_to(limit, from, &timestamp())?;
            bounds.push(Bound { column: fields.len(), comparison });
            fields.push(Arc::new(Field::new(limit.to_string(), timestamp(), true)));
            projection.push(self.physical(&limit, from)?);
        }
        let with_bounds = self.map(input, plain, Some(projection), Arc::new(Schema::new(fields)));
        let node = Node::TemporalFilter { input: with_bounds, bounds, columns };
        Ok(self.push(node, schema, true))
    }
}

/// `condition` as a comparison of `now()` with an expression without it.
pub(super) fn solve(condition: &Expr, from: &DFSchema) -> Result<(Comparison, Expr), SqlError> {
    let unsolved = || {
        SqlError::unsupported(
            format!("the condition `{}`", condition.to_string().replace(NOW, "now()")),
            "only comparisons of now(), plus or minus a constant interval, with one value can be maintained",
            "write it as `started_at > now() - INTERVAL '1 hour'`",
        )
    };
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return Err(unsolved()) };
    let (side, op, other) = match (uses_now(left), uses_now(right)) {
        (true, false) => (left, *op, right),
        (false, true) => (right, op.swap().ok_or_else(unsolved)?, left),
        _ => return Err(unsolved()),
    };
    let comparison = |op| {
        Some(match op {
            Operator::Lt => Comparison::Before,
            Operator::LtEq => Comparison::BeforeOrAt,
            Operator::Gt => Comparison::After,
            Operator::GtEq => Comparison::AfterOrAt,
            _ => return None,
        })
    };
    let comparison = comparison(op).ok_or_else(unsolved)?;
    let mut side = side.as_ref().clone();
    let mut limit = other.as_ref().clone();
    // now() ± interval ⋚ limit becomes now() ⋚ limit ∓ interval; now() - value ⋚ interval likewise.
    loop {
        match side {
            Expr::Placeholder(_) => return Ok((comparison, limit)),
            // Ticks are whole milliseconds: a cast to coarser units would round them.
            Expr::Cast(cast) if matches!(cast.field.data_type(), DataType::Timestamp(unit, _) if *unit != TimeUnit::Second) => {
                side = *cast.expr
            }
            // Of two times the difference is a duration, which SQL compares with an interval by casting it.
            Expr::Cast(cast) if matches!(cast.field.data_type(), DataType::Interval(_)) => {
                if has_days(&limit) {
                    return Err(SqlError::unsupported(
                        "a difference from now() beside an interval of days",
                        "a difference of times has no days, and any number of hours is less than one",
                        "write it as `started_at > now() - INTERVAL '1 day'`",
                    ));
                }
                side = *cast.expr;
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if uses_now(&left) && !uses_now(&right) => {
                let inverse = match op {
                    Operator::Plus => Operator::Minus,
                    Operator::Minus => Operator::Plus,
                    _ => return Err(unsolved()),
                };
                if has_months(&right) || has_months(&limit) {
                    return Err(SqlError::unsupported(
                        "an interval of months beside now()",
                        "months differ in length",
                        "write days",
                    ));
                }
                // An interval on the other side is added to the value, not the value to it.
                limit = match is_interval(&limit, from)? && inverse == Operator::Plus {
                    true => binary(cast_to(*right, from, &timestamp())?, inverse, limit),
                    false => binary(cast_to(limit, from, &timestamp())?, inverse, *right),
                };
                side = *left;
            }
            _ => return Err(unsolved()),
        }
    }
}

fn binary(left: Expr, op: Operator, right: Expr) -> Expr {
    let right = match right {
        // Timestamps take intervals; a difference of timestamps compares with durations.
        Expr::Literal(ScalarValue::DurationNanosecond(Some(nanos)), _) => {
            lit(ScalarValue::new_interval_mdn(0, 0, nanos))
        }
        other => other,
    };
    Expr::BinaryExpr(BinaryExpr { left: Box::new(left), op, right: Box::new(right) })
}

fn is_interval(expression: &Expr, from: &DFSchema) -> Result<bool, SqlError> {
    Ok(matches!(expression.get_type(from)?, DataType::Interval(_) | DataType::Duration(_)))
}

fn has_months(expression: &Expr) -> bool {
    match expression {
        Expr::Literal(ScalarValue::IntervalYearMonth(Some(_)), _) => true,
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _) => interval.months != 0,
        _ => false,
    }
}

fn has_days(expression: &Expr) -> bool {
    match expression {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _) => {
            interval.days != 0 || interval.months != 0
        }
        _ => true,
    }
}
