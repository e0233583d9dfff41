//! Aggregates made independent of the order of rows, in batch queries and views alike.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::functions::core::expr_fn::r#struct;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan, when};
use datafusion::optimizer::AnalyzerRule;

use super::functions::Ordered;

/// Replaces, in GROUP BY and in aggregates over everything:
///
/// - functions whose result depends on the order of rows, by the same over one canonical order ([`Ordered`]);
/// - `count(DISTINCT a, b)`, which DataFusion plans and cannot run, by the count of distinct structs of which no
///   field is null.
///
/// Aggregates over windows are left alone: there the window says in what order rows come.
#[derive(Debug)]
pub struct CanonicalAggregates;

impl AnalyzerRule for CanonicalAggregates {
    fn name(&self) -> &str {
        "canonical_aggregates"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(rewrite)?.data)
    }
}

fn rewrite(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    if !matches!(node, LogicalPlan::Aggregate(_)) {
        return Ok(Transformed::no(node));
    }
    let names = NamePreserver::new(&node);
    node.map_expressions(|expression| {
        let name = names.save(&expression);
        Ok(expression.transform_up(canonical)?.update_data(|expression| name.restore(expression)))
    })
}

fn canonical(expression: Expr) -> Result<Transformed<Expr>> {
    let Expr::AggregateFunction(mut call) = expression else { return Ok(Transformed::no(expression)) };
    if let Some(ordered) = Ordered::in_place_of(&call.func, call.params.distinct) {
        call.func = Arc::new(ordered);
        return Ok(Transformed::yes(Expr::AggregateFunction(call)));
    }
    if call.func.name() == "count" && call.params.distinct && call.params.args.len() > 1 {
        let args = std::mem::take(&mut call.params.args);
        if let Some(complete) = conjunction(args.iter().cloned().map(Expr::is_not_null)) {
            call.params.args = vec![when(complete, r#struct(args)).end()?];
        }
        return Ok(Transformed::yes(Expr::AggregateFunction(call)));
    }
    Ok(Transformed::no(Expr::AggregateFunction(call)))
}
