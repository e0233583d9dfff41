//! Rules of the analyzer that rewrite expressions.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, LogicalPlan};

/// `plan` with all of its expressions rewritten, from the inside out, by a function that is given the columns of the inputs
/// too. Each column keeps its name, by which others refer to it.
pub(super) fn rewritten(
    plan: LogicalPlan,
    rewrite: impl Fn(Expr, &DFSchema) -> Result<Transformed<Expr>>,
) -> Result<LogicalPlan> {
    let node = |node: LogicalPlan| {
        let names = NamePreserver::new(&node);
        let schema = merge_schema(&node.inputs());
        node.map_expressions(|expression| {
            let name = names.save(&expression);
            let rewritten = expression.transform_up(|e| rewrite(e, &schema))?;
            Ok(rewritten.update_data(|expression| name.restore(expression)))
        })
    };
    Ok(plan.transform_up_with_subqueries(node)?.data)
}
