//! Queries whose answer SQL leaves open, made definite: the same for a batch query and a view.
//!
//! | query | rule |
//! |---|---|
//! | `ORDER BY a LIMIT n` | ties in `a` are ordered by all other columns of what is sorted, ascending, nulls last |
//! | `LIMIT n` alone | by all columns; where one is a map, any rows are as good (refused in views) |
//! | `DISTINCT ON (a) ... ORDER BY a, b` | as `row_number() OVER (PARTITION BY a ORDER BY a, b) = 1` |
//! | `row_number`, `ntile`, `lag`, `lead`, and every `ROWS` frame | ties in the window's `ORDER BY` as above |
//! | `first_value`, `last_value`, `nth_value` | as above; all peers of a row still see the same frame |
//! | `rank`, `dense_rank`, `percent_rank`, `cume_dist`, aggregates over `RANGE` and `GROUPS` frames | peers stay peers |
//!
//! All columns means those that the query uses at that place, in the order of the relation.

mod window;

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::context::SessionState;
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::expr_rewriter::normalize_cols;
use datafusion::logical_expr::{
    Distinct, DistinctOn, Expr, ExprFunctionExt, ExprSchemable, Limit, LogicalPlan, LogicalPlanBuilder, Sort,
    SortExpr, col, lit,
};
use datafusion::optimizer::OptimizerRule;
use datafusion::optimizer::optimize_projections::OptimizeProjections;

pub use self::window::refuse_open;

/// The name of the number of a row among those of its DISTINCT ON.
const FIRST: &str = "#first";

/// `plan` with a rule for every tie on which its answer depends.
pub fn break_ties(plan: LogicalPlan, state: &SessionState) -> DataFusionResult<LogicalPlan> {
    if !has_ties(&plan)? {
        return Ok(plan);
    }
    let plan = plan.transform_up_with_subqueries(distinct_on)?.data;
    // Columns that nobody reads would make ties to order by them.
    let plan = OptimizeProjections::new().rewrite(plan, state)?.data;
    let ordered = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Limit(limit) => limited(limit),
        LogicalPlan::Window(window) => window::ordered(window),
        other => Ok(Transformed::no(other)),
    });
    Ok(ordered?.data)
}

fn has_ties(plan: &LogicalPlan) -> DataFusionResult<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= matches!(
            node,
            LogicalPlan::Limit(_) | LogicalPlan::Window(_) | LogicalPlan::Distinct(Distinct::On(_))
        );
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// All columns of `schema` that `known` does not name, in order.
fn other_columns<'a>(schema: &'a DFSchema, known: &'a [&Expr]) -> impl Iterator<Item = SortExpr> + 'a {
    let columns = schema.iter().map(|field| Expr::Column(Column::from(field)));
    columns.filter(|column| !known.contains(&column)).map(|column| column.sort(true, false))
}

/// LIMIT over an order of all columns.
fn limited(limit: Limit) -> DataFusionResult<Transformed<LogicalPlan>> {
    // The limit of a correlated EXISTS is dropped with the correlation, which a sort would hinder.
    let is_correlated = !limit.input.all_out_ref_exprs().is_empty();
    let input = match ordered(&limit.input)? {
        Some(input) => input,
        None if is_correlated || limit.input.schema().fields().iter().any(|f| has_map(f.data_type())) => {
            return Ok(Transformed::no(LogicalPlan::Limit(limit)));
        }
        None => {
            let expr: Vec<SortExpr> = other_columns(limit.input.schema(), &[]).collect();
            if expr.is_empty() {
                return Ok(Transformed::no(LogicalPlan::Limit(limit)));
            }
            LogicalPlan::Sort(Sort { expr, input: limit.input.clone(), fetch: None })
        }
    };
    Ok(Transformed::yes(LogicalPlan::Limit(Limit { input: Arc::new(input), ..limit })))
}

/// `plan` with its order completed; `None` where it has none.
fn ordered(plan: &LogicalPlan) -> DataFusionResult<Option<LogicalPlan>> {
    match plan {
        LogicalPlan::Sort(sort) => {
            let known: Vec<&Expr> = sort.expr.iter().map(|e| &e.expr).collect();
            let expr = sort.expr.iter().cloned().chain(other_columns(sort.input.schema(), &known)).collect();
            Ok(Some(LogicalPlan::Sort(Sort { expr, ..sort.clone() })))
        }
        // An inner limit is ordered already.
        LogicalPlan::Limit(limit) => Ok(ordered(&limit.input)?.map(|_| plan.clone())),
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) => {
            let input = ordered(plan.inputs()[0])?;
            input.map(|input| plan.with_new_exprs(plan.expressions(), vec![input])).transpose()
        }
        _ => Ok(None),
    }
}

fn has_map(data_type: &DataType) -> bool {
    match data_type {
        DataType::Map(..) => true,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            has_map(item.data_type())
        }
        DataType::Struct(fields) => fields.iter().any(|field| has_map(field.data_type())),
        _ => false,
    }
}

/// DISTINCT ON as the first row of each partition.
fn distinct_on(node: LogicalPlan) -> DataFusionResult<Transformed<LogicalPlan>> {
    let LogicalPlan::Distinct(Distinct::On(distinct)) = node else { return Ok(Transformed::no(node)) };
    let DistinctOn { on_expr, select_expr, sort_expr, input, schema } = distinct;
    let keys = on_expr.len();
    let keys_of = |on: Vec<Expr>| -> DataFusionResult<Vec<Expr>> {
        let key = |expression: Expr| -> DataFusionResult<Expr> {
            // Adding zero makes -0.0 the 0.0 that it equals.
            let is_float = expression.get_type(input.schema())?.is_floating();
            Ok(if is_float { expression + lit(0.0) } else { expression })
        };
        normalize_cols(on, &input)?.into_iter().map(key).collect()
    };
    let order = sort_expr.unwrap_or_default();
    let number = row_number().partition_by(keys_of(on_expr)?).order_by(order.clone()).build()?;
    let select = normalize_cols(select_expr, &input)?.into_iter().zip(schema.iter());
    let select = select
        .map(|(expression, (qualifier, field))| expression.alias_qualified(qualifier.cloned(), field.name()));
    let select: Vec<Expr> = select.collect();
    let mut plan = LogicalPlanBuilder::from(input.as_ref().clone())
        .window(vec![number.alias(FIRST)])?
        .filter(col(FIRST).eq(lit(1_u64)))?;
    if !order.is_empty() {
        plan = plan.sort(order.into_iter().take(keys))?;
    }
    Ok(Transformed::yes(plan.project(select)?.build()?))
}
