//! Which subqueries DataFusion's optimizer makes the right joins of.

use std::collections::HashSet;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::expr::InSubquery;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator};

/// The columns outside that a subquery reads: those of the query around it, and those further out.
#[derive(Default)]
pub(super) struct References {
    /// Of the query around it, each once, in the order of their first use.
    pub near: Vec<Column>,
    /// Whether it reads any of a query further out.
    pub is_far: bool,
}

/// What `plan`, a subquery over rows of `schema`, reads outside. What subqueries in its own expressions read is theirs.
pub(super) fn references(plan: &LogicalPlan, schema: &DFSchema) -> References {
    let mut references = References::default();
    let mut seen = HashSet::new();
    for_each_reference(plan, &mut |column| match schema.has_column(column) {
        true if seen.insert(column.clone()) => references.near.push(column.clone()),
        true => {}
        false => references.is_far = true,
    });
    references
}

/// Calls `f` for each column outside that `plan` reads.
pub(super) fn for_each_reference(plan: &LogicalPlan, f: &mut impl FnMut(&Column)) {
    // The visitors never fail.
    let _ = plan.apply(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|e| {
                if let Expr::OuterReferenceColumn(_, column) = e {
                    f(column);
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
}

fn reads_outside(plan: &LogicalPlan) -> bool {
    let mut is_found = false;
    for_each_reference(plan, &mut |_| is_found = true);
    is_found
}

/// Whether `subquery`, a value, is best left as it is over rows of `schema`.
pub(super) fn is_plain_value(subquery: &LogicalPlan, schema: &DFSchema) -> bool {
    let references = references(subquery, schema);
    !references.is_far && (references.near.is_empty() || is_plain_aggregate(subquery))
}

/// Whether EXISTS of `subquery` is best left as it is over rows of `schema`.
pub(super) fn is_plain_exists(subquery: &LogicalPlan, schema: &DFSchema) -> bool {
    let references = references(subquery, schema);
    !references.is_far && !references.near.is_empty() && is_plain(subquery, false)
}

/// Whether IN (or, if `negated`, the opposite of what it says) is best left as it is, at the top of WHERE.
pub(super) fn is_plain_in(membership: &InSubquery, negated: bool, schema: &DFSchema) -> bool {
    let subquery = &membership.subquery.subquery;
    let references = references(subquery, schema);
    let is_nullable = membership.expr.nullable(schema).unwrap_or(true)
        || subquery.schema().fields().first().is_none_or(|f| f.is_nullable());
    let is_null_aware = membership.negated != negated && is_nullable;
    !references.is_far
        && !is_null_aware
        && !super::is_subquery_in(&membership.expr)
        && (references.near.is_empty() || is_plain(subquery, false))
}

/// An aggregate over all rows that equal something outside, with no more than projections above it.
fn is_plain_aggregate(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => {
            projection.expr.iter().all(is_local) && is_plain_aggregate(&projection.input)
        }
        LogicalPlan::Aggregate(aggregate) => {
            aggregate.group_expr.is_empty()
                && aggregate.aggr_expr.iter().all(is_local)
                && !aggregate.aggr_expr.iter().any(is_single_value)
                && is_plain(&aggregate.input, true)
        }
        _ => false,
    }
}

/// Fails for every key that it sees, and not only for those that are asked for.
fn is_single_value(expression: &Expr) -> bool {
    let name = crate::sql::functions::names::SINGLE_VALUE;
    let is_it = |e: &Expr| matches!(e, Expr::AggregateFunction(call) if call.func.name() == name);
    expression.exists(|e| Ok(is_it(e))).unwrap_or(true)
}

/// Projections and filters over something that reads nothing outside; filters that do are equalities with a column
/// where `is_equal`.
fn is_plain(plan: &LogicalPlan, is_equal: bool) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => {
            projection.expr.iter().all(is_local) && is_plain(&projection.input, is_equal)
        }
        LogicalPlan::SubqueryAlias(alias) => is_plain(&alias.input, is_equal),
        LogicalPlan::Filter(filter) => {
            let fits = |e: &&Expr| {
                !e.contains_outer() || (!super::is_subquery_in(e) && (!is_equal || is_equality(e)))
            };
            split_conjunction(&filter.predicate).iter().all(fits) && is_plain(&filter.input, is_equal)
        }
        other => !reads_outside(other),
    }
}

fn is_local(expression: &Expr) -> bool {
    !expression.contains_outer() && !super::is_subquery_in(expression)
}

/// `column = something outside`.
fn is_equality(condition: &Expr) -> bool {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else { return false };
    match (left.as_ref(), right.as_ref()) {
        (Expr::Column(_), other) | (other, Expr::Column(_)) => !other.any_column_refs(),
        _ => false,
    }
}
