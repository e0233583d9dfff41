//! Subqueries that the optimizer cannot turn into joins, or would turn into wrong ones.
//!
//! DataFusion makes joins of the subqueries that most people write: EXISTS and IN in WHERE, and aggregates over what
//! equals a column outside ([`shape`] says which). All others are made joins here, before a plan is analysed, for batch
//! queries and views alike:
//!
//! | subquery | what it becomes |
//! |---|---|
//! | a value that may have several rows | `single_value` of them, which fails while there are several |
//! | correlated, however | a join with the distinct values outside that it depends on ([`dependent`]) |
//! | EXISTS that depends on nothing outside | a cross join with one row that says whether there is a row |
//! | NOT IN; IN beside OR or as a value; ANY, ALL | EXISTS of equal rows and EXISTS of nulls, three-valued ([`compare`]) |
//! | LATERAL | the same join ([`lateral`]); nothing but a projection where it reads no table |
//!
//! A subquery is computed for all rows outside that the other conditions of the same WHERE leave: one that fails does so
//! even where a CASE would not ask for its value.

mod attach;
mod compare;
mod dependent;
mod lateral;
mod shape;

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, Projection, Subquery};

use super::ties::break_ties;

/// Whether `plan` has subqueries or LATERAL.
pub fn occur_in(plan: &LogicalPlan) -> Result<bool> {
    let mut is_found = false;
    plan.apply(|node| {
        is_found |= matches!(node, LogicalPlan::Subquery(_)) || holds_subquery(node);
        Ok(if is_found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(is_found)
}

/// `plan` with its subqueries as joins, but for those that the optimizer is to make joins of.
pub fn rewrite(plan: LogicalPlan, state: &SessionState) -> Result<LogicalPlan> {
    let mut rewriting = Rewriting { state, names: 0, copied_nodes: 0 };
    Ok(plan.transform_up_with_subqueries(|node| rewriting.node(node).map(Transformed::yes))?.data)
}

/// Whether expressions of `node` itself have subqueries.
fn holds_subquery(node: &LogicalPlan) -> bool {
    let mut is_found = false;
    let visited = node.apply_expressions(|e| {
        is_found |= is_subquery_in(e);
        Ok(TreeNodeRecursion::Continue)
    });
    visited.is_ok() && is_found
}

fn is_subquery_in(expression: &Expr) -> bool {
    let is_subquery = |e: &Expr| {
        matches!(e, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_))
    };
    expression.exists(|e| Ok(is_subquery(e))).unwrap_or(false)
}

/// A rewriting of one statement.
struct Rewriting<'a> {
    state: &'a SessionState,
    /// How many names it has made up.
    names: usize,
    /// How many nodes of the plan it has copied.
    copied_nodes: usize,
}

/// What expressions with subqueries are over.
struct Outer {
    /// As the query has it.
    base: LogicalPlan,
    /// The same rows beside what subqueries were joined to them.
    plan: LogicalPlan,
}

impl Outer {
    fn schema(&self) -> &DFSchema {
        self.plan.schema()
    }
}

impl Rewriting<'_> {
    /// A name that no other relation of the statement has.
    fn name(&mut self, kind: &str) -> String {
        self.names += 1;
        format!("__{kind}_{}", self.names)
    }

    /// What expressions over `plan` are over. It may be computed twice, and must then be the same twice.
    fn outer(&self, plan: LogicalPlan) -> Result<Outer> {
        let plan = break_ties(plan, self.state)?;
        Ok(Outer { base: plan.clone(), plan })
    }

    /// `node`, whose inputs and subqueries are rewritten already.
    fn node(&mut self, node: LogicalPlan) -> Result<LogicalPlan> {
        let node = match node {
            LogicalPlan::Join(join) => return self.join(join),
            // What a join does with it depends on the join.
            LogicalPlan::SubqueryAlias(_) => return node.recompute_schema(),
            other => lateral::unwrap_inputs(other)?.recompute_schema()?,
        };
        if let LogicalPlan::Subquery(subquery) = node {
            let outer_ref_columns = subquery.subquery.all_out_ref_exprs();
            return Ok(LogicalPlan::Subquery(Subquery { outer_ref_columns, ..subquery }));
        }
        if !holds_subquery(&node) {
            return Ok(node);
        }
        match node {
            LogicalPlan::Filter(filter) => self.filter(filter),
            LogicalPlan::Projection(_) => self.expressions(node, true),
            LogicalPlan::Aggregate(_) | LogicalPlan::Window(_) => self.expressions(node, false),
            LogicalPlan::Sort(_) | LogicalPlan::Distinct(_) => {
                let schema = node.schema().clone();
                let sorted = self.expressions(node, false)?;
                only(sorted, &schema)
            }
            other => Ok(other),
        }
    }

    /// The rows that meet the conditions with subqueries, of those that meet the others.
    fn filter(&mut self, filter: Filter) -> Result<LogicalPlan> {
        let schema = filter.input.schema().clone();
        let (hard, plain): (Vec<_>, Vec<_>) =
            split_conjunction_owned(filter.predicate).into_iter().partition(is_subquery_in);
        let mut outer = self.outer(with_filter(Arc::unwrap_or_clone(filter.input), plain)?)?;
        let mut kept = vec![];
        let mut conditions: Vec<Expr> = hard.into_iter().rev().collect();
        while let Some(condition) = conditions.pop() {
            let negated = matches!(&condition, Expr::Not(_));
            let condition = if let Expr::Not(inner) = condition { *inner } else { condition };
            match condition {
                Expr::Exists(mut exists) => {
                    exists.negated ^= negated;
                    kept.extend(self.exists_condition(&mut outer, exists)?);
                }
                Expr::InSubquery(mut membership)
                    if shape::is_plain_in(&membership, negated, outer.schema()) =>
                {
                    membership.negated ^= negated;
                    kept.push(Expr::InSubquery(membership));
                }
                Expr::InSubquery(_) | Expr::SetComparison(_) => {
                    let comparison = self.comparison(&mut outer, condition)?;
                    conditions.extend(comparison.conditions(negated, outer.schema())?);
                }
                other => {
                    let other = if negated { Expr::Not(Box::new(other)) } else { other };
                    kept.push(self.attach(&mut outer, other, true)?);
                }
            }
        }
        only(with_filter(outer.plan, kept)?, &schema)
    }

    /// `node` with the subqueries of its expressions joined to its only input.
    fn expressions(&mut self, node: LogicalPlan, is_projection: bool) -> Result<LogicalPlan> {
        let names = NamePreserver::new(&node);
        let Some(input) = node.inputs().first().map(|input| (*input).clone()) else { return Ok(node) };
        let mut outer = self.outer(input)?;
        let expressions = node.expressions().into_iter().map(|expression| {
            let name = names.save(&expression);
            let expression = self.attach(&mut outer, expression, is_projection)?;
            Ok(if matches!(node, LogicalPlan::Sort(_)) { expression } else { name.restore(expression) })
        });
        let expressions = expressions.collect::<Result<Vec<_>>>()?;
        node.with_new_exprs(expressions, vec![outer.plan])
    }
}

fn with_filter(input: LogicalPlan, conditions: Vec<Expr>) -> Result<LogicalPlan> {
    Ok(match conjunction(conditions) {
        Some(predicate) => LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input))?),
        None => input,
    })
}

/// The columns of `schema` alone, which `plan` has among its own.
fn only(plan: LogicalPlan, schema: &DFSchema) -> Result<LogicalPlan> {
    if plan.schema().fields().len() == schema.fields().len() {
        return Ok(plan);
    }
    let columns = schema.columns().into_iter().map(Expr::Column).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?))
}
