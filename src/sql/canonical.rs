//! Aggregates made independent of the order of rows, in batch queries and views alike.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::functions::core::expr_fn::r#struct;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Operator, lit, when};
use datafusion::optimizer::AnalyzerRule;

use super::expressions;
use super::functions::Ordered;

/// Replaces, in GROUP BY and in aggregates over everything:
///
/// - functions whose result depends on the order of rows, by the same over one canonical order ([`Ordered`]);
/// - `count(DISTINCT a, b)`, which DataFusion plans and cannot run, by the count of distinct structs of which no
///   field is null;
/// - floats in `count(DISTINCT x)` by `x + 0.0`: DataFusion counts `-0.0` and `0.0`, which are equal, as two.
///
/// Aggregates over windows are left alone: there the window says in what order rows come.
#[derive(Debug)]
pub struct CanonicalAggregates;

impl AnalyzerRule for CanonicalAggregates {
    fn name(&self) -> &str {
        "canonical_aggregates"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        expressions::rewritten(plan, canonical)
    }
}

fn canonical(expression: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::AggregateFunction(mut call) = expression else { return Ok(Transformed::no(expression)) };
    if let Some(ordered) = Ordered::in_place_of(&call.func, call.params.distinct) {
        call.func = Arc::new(ordered);
        return Ok(Transformed::yes(Expr::AggregateFunction(call)));
    }
    if call.func.name() != "count" || !call.params.distinct {
        return Ok(Transformed::no(Expr::AggregateFunction(call)));
    }
    let args = std::mem::take(&mut call.params.args).into_iter().map(|arg| with_one_zero(arg, schema));
    let args = args.collect::<Result<Vec<_>>>()?;
    call.params.args = match (args.len(), conjunction(args.iter().cloned().map(Expr::is_not_null))) {
        (2.., Some(complete)) => vec![when(complete, r#struct(args)).end()?],
        _ => args,
    };
    Ok(Transformed::yes(Expr::AggregateFunction(call)))
}

/// `argument` with `0.0` for `-0.0`; rewritten once more, it stays as it is.
fn with_one_zero(argument: Expr, schema: &DFSchema) -> Result<Expr> {
    let zero = match argument.get_type(schema)? {
        DataType::Float64 => lit(0.0_f64),
        DataType::Float32 => lit(0.0_f32),
        _ => return Ok(argument),
    };
    let is_done =
        matches!(&argument, Expr::BinaryExpr(sum) if sum.op == Operator::Plus && *sum.right == zero);
    Ok(if is_done { argument } else { argument + zero })
}
