//! Filters on `now()` over groups: a group that has ended leaves with its state.
//!
//! The optimizer would push such a filter below the aggregation, where it is a filter on every row, each to
//! be kept until it is retracted. Over the group's columns the two are the same, so the condition is kept
//! at the aggregation, which forgets a whole group at once.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use datafusion::common::DFSchemaRef;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    BinaryExpr, Expr, Extension, Filter, LogicalPlan, Operator, UserDefinedLogicalNode,
    UserDefinedLogicalNodeCore,
};
use datafusion::optimizer::push_down_filter::replace_cols_by_name;

use super::solve::interval;
use super::temporal::uses_now;

/// The groups of an aggregation while all conditions on `now()` and their columns hold. No rule of the
/// optimizer moves it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd)]
pub struct CurrentGroups {
    /// Comparisons that end with time: `now() - INTERVAL '1 day' < minute_at`.
    pub conditions: Vec<Expr>,
    /// The aggregation.
    pub input: LogicalPlan,
}

impl UserDefinedLogicalNodeCore for CurrentGroups {
    fn name(&self) -> &str {
        "CurrentGroups"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        self.conditions.clone()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "CurrentGroups: {:?}", self.conditions)
    }

    fn with_exprs_and_inputs(
        &self,
        conditions: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> DataFusionResult<Self> {
        Ok(CurrentGroups { conditions, input: inputs.swap_remove(0) })
    }
}

/// `query` with every filter that ends groups kept at their aggregation.
pub fn keep_at_groups(query: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    Ok(query.transform_down_with_subqueries(keep)?.data)
}

fn keep(node: LogicalPlan) -> DataFusionResult<Transformed<LogicalPlan>> {
    let LogicalPlan::Filter(filter) = node else { return Ok(Transformed::no(node)) };
    let mut input = filter.input.as_ref().clone();
    let (mut rest, mut is_changed) = (vec![], false);
    for condition in split_conjunction_owned(filter.predicate.clone()) {
        match ends(&condition).then(|| place(&condition, &input)).transpose()?.flatten() {
            Some(placed) => (input, is_changed) = (placed, true),
            None => rest.push(condition),
        }
    }
    Ok(match (is_changed, conjunction(rest)) {
        (false, _) => Transformed::no(LogicalPlan::Filter(filter)),
        (true, None) => Transformed::yes(input),
        (true, Some(rest)) => Transformed::yes(LogicalPlan::Filter(Filter::try_new(rest, Arc::new(input))?)),
    })
}

/// Whether `condition` compares `now()` so that what is true can only become false.
fn ends(condition: &Expr) -> bool {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return false };
    // Months end row by row, not by one bound; what `now()` is taken away from compares the other way round.
    if has_months(condition) || condition.exists(|e| Ok(is_taken_away(e))).unwrap_or(true) {
        return false;
    }
    // A subquery becomes a join, which can only happen in a filter.
    if super::find_subquery(condition).map_or(true, |found| found.is_some()) {
        return false;
    }
    let op = match (uses_now(left), uses_now(right)) {
        (true, false) => Some(*op),
        (false, true) => op.swap(),
        _ => None,
    };
    matches!(op, Some(Operator::Lt | Operator::LtEq))
}

/// `x - now()`.
fn is_taken_away(expression: &Expr) -> bool {
    matches!(expression, Expr::BinaryExpr(BinaryExpr { op: Operator::Minus, right, .. }) if uses_now(right))
}

fn has_months(condition: &Expr) -> bool {
    let is_months = |e: &Expr| Ok(interval(e).is_some_and(|interval| interval.months != 0));
    condition.exists(is_months).unwrap_or(true)
}

/// `plan` with `condition`, which is over its columns, kept at the aggregation whose groups it is about;
/// `None` where it is about something else.
pub fn place(condition: &Expr, plan: &LogicalPlan) -> DataFusionResult<Option<LogicalPlan>> {
    let below = |condition: Expr, input: &LogicalPlan| match place(&condition, input)? {
        Some(input) => Ok(Some(plan.with_new_exprs(plan.expressions(), vec![input])?)),
        None => Ok(None),
    };
    match plan {
        LogicalPlan::Projection(projection) => {
            let sources = projection.expr.iter().map(|e| e.clone().unalias());
            below(substitute(condition, &projection.schema, sources)?, &projection.input)
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let sources = alias.input.schema().columns().into_iter().map(Expr::Column);
            below(substitute(condition, &alias.schema, sources)?, &alias.input)
        }
        LogicalPlan::Filter(filter) => below(condition.clone(), &filter.input),
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => below(condition.clone(), &sort.input),
        LogicalPlan::Extension(extension) => {
            let Some(groups) = current_groups(extension.node.as_ref()) else { return Ok(None) };
            let mut groups = groups.clone();
            groups.conditions.push(condition.clone());
            Ok(Some(LogicalPlan::Extension(Extension { node: Arc::new(groups) })))
        }
        LogicalPlan::Aggregate(aggregate) => {
            let is_plain = !aggregate.group_expr.iter().any(|e| matches!(e, Expr::GroupingSet(_)));
            let groups = &aggregate.schema.columns()[..aggregate.group_expr.len()];
            let columns = condition.column_refs();
            let is_about_groups = !columns.is_empty() && columns.iter().all(|c| groups.contains(c));
            if !is_plain || !is_about_groups || aggregate.aggr_expr.is_empty() {
                return Ok(None);
            }
            let groups = CurrentGroups { conditions: vec![condition.clone()], input: plan.clone() };
            Ok(Some(LogicalPlan::Extension(Extension { node: Arc::new(groups) })))
        }
        _ => Ok(None),
    }
}

/// The node as [`CurrentGroups`], if it is one.
pub fn current_groups(node: &dyn UserDefinedLogicalNode) -> Option<&CurrentGroups> {
    node.as_any().downcast_ref()
}

/// `condition` over the columns of `schema` as one over what each of them is made of.
pub fn substitute(
    condition: &Expr,
    schema: &DFSchemaRef,
    sources: impl Iterator<Item = Expr>,
) -> DataFusionResult<Expr> {
    let columns = schema.columns();
    let map: HashMap<String, Expr> = columns.iter().map(|c| c.flat_name()).zip(sources).collect();
    replace_cols_by_name(condition.clone(), &map)
}
