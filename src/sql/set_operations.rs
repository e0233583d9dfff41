//! INTERSECT and EXCEPT as SQL has them: over multisets, by counting.
//!
//! DataFusion plans them as semi and anti joins, which is wrong for ALL: there a row is to come out `min(l, r)`
//! times of an INTERSECT and `max(l - r, 0)` times of an EXCEPT, if it is `l` times on the left and `r` times on
//! the right. Here all four are one aggregation, in batch queries and in views: rows of both sides grouped by all of
//! their columns, with how many come from each side. Without ALL, a filter on the two counts follows; with ALL, a
//! [`Repeat`], which is a change of multiplicity in a view, and an unnested series in a batch query.

use std::fmt;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DFSchemaRef, JoinType, NullEquality, UnnestOptions};
use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::sum;
use datafusion::functions_nested::expr_fn::range;
use datafusion::logical_expr::{
    Distinct, Expr, Extension, Join, LogicalPlan, LogicalPlanBuilder, UserDefinedLogicalNode,
    UserDefinedLogicalNodeCore, lit, when,
};
use datafusion::optimizer::AnalyzerRule;

// How often a row is on the left, how often on the right, and how often it comes out.
const LEFT: &str = "$left";
const RIGHT: &str = "$right";
const TIMES: &str = "$times";

/// The rows of a plan, each as often as its last column says, without that column.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Repeat {
    /// What is repeated; its last column is an `Int64`.
    pub input: LogicalPlan,
    schema: DFSchemaRef,
}

impl PartialOrd for Repeat {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        self.input.partial_cmp(&other.input)
    }
}

impl Repeat {
    fn new(input: LogicalPlan) -> Result<Self> {
        let schema = input.schema();
        let fields = schema.iter().take(schema.fields().len() - 1);
        let fields = fields.map(|(qualifier, field)| (qualifier.cloned(), field.clone())).collect();
        let schema = DFSchema::new_with_metadata(fields, schema.metadata().clone())?;
        Ok(Repeat { input, schema: Arc::new(schema) })
    }

    /// The node as one of these, if it is one.
    pub fn of(node: &dyn UserDefinedLogicalNode) -> Option<&Repeat> {
        node.as_any().downcast_ref()
    }
}

impl UserDefinedLogicalNodeCore for Repeat {
    fn name(&self) -> &str {
        "Repeat"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        vec![]
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Repeat: each row {TIMES} times")
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        Repeat::new(inputs.swap_remove(0))
    }
}

/// `query`, as the planner made it, with each INTERSECT and EXCEPT by counts. Those without ALL stay joins, which are
/// right too, inside a recursive query, whose rounds can join and cannot group with what is not theirs, and where they
/// are correlated, which a union cannot be.
pub fn count_rows(query: LogicalPlan) -> Result<LogicalPlan> {
    let query = query.transform_up_with_subqueries(|node| match set_operation(&node) {
        Some((join, left, true)) => Ok(Transformed::yes(counted(join, left, true)?)),
        _ => Ok(Transformed::no(node)),
    })?;
    let query = query.data.transform_down_with_subqueries(|node| match set_operation(&node) {
        Some((join, left, is_all)) if node.all_out_ref_exprs().is_empty() => {
            Ok(Transformed::yes(counted(join, left, is_all)?))
        }
        _ if matches!(node, LogicalPlan::RecursiveQuery(_)) => {
            Ok(Transformed::new(node, false, TreeNodeRecursion::Jump))
        }
        _ => Ok(Transformed::no(node)),
    })?;
    Ok(query.data)
}

/// The join that the planner made of an INTERSECT or EXCEPT, its left side, and whether it is one with ALL.
fn set_operation(node: &LogicalPlan) -> Option<(&Join, &Arc<LogicalPlan>, bool)> {
    let LogicalPlan::Join(join) = node else { return None };
    // Of all that SQL can say, the planner makes only these joins such that null equals null.
    let is_one = matches!(join.join_type, JoinType::LeftSemi | JoinType::LeftAnti)
        && join.null_equality == NullEquality::NullEqualsNull
        && join.filter.is_none();
    // Over distinct rows on the left ALL changes nothing.
    is_one.then(|| match join.left.as_ref() {
        LogicalPlan::Distinct(Distinct::All(input)) => (join, input, false),
        _ => (join, &join.left, true),
    })
}

fn counted(join: &Join, left: &Arc<LogicalPlan>, is_all: bool) -> Result<LogicalPlan> {
    let is_intersect = join.join_type == JoinType::LeftSemi;
    let names: Vec<String> = (0..join.schema.fields().len()).map(|i| format!("${i}")).collect();
    let both = side(left, &names, [1, 0])?.union(side(&join.right, &names, [0, 1])?.build()?)?;
    let counts = [sum(column(LEFT)).alias(LEFT), sum(column(RIGHT)).alias(RIGHT)];
    let grouped = both.aggregate(names.iter().map(|n| column(n)), counts)?;
    let is_on = |side| column(side).gt(lit(0_i64));
    let (grouped, times) = match (is_all, is_intersect) {
        (false, true) => (grouped.filter(is_on(LEFT).and(is_on(RIGHT)))?, None),
        (false, false) => (grouped.filter(is_on(LEFT).and(column(RIGHT).eq(lit(0_i64))))?, None),
        (true, true) => {
            let least = when(column(LEFT).lt(column(RIGHT)), column(LEFT)).otherwise(column(RIGHT))?;
            (grouped, Some(least))
        }
        (true, false) => (grouped, Some(column(LEFT) - column(RIGHT))),
    };
    let renamed = names.iter().zip(join.schema.iter()).map(|(name, (qualifier, field))| {
        column(name).alias_qualified(qualifier.cloned(), field.name().clone())
    });
    let times_column = times.clone().map(|times| times.alias(TIMES));
    let projected = grouped.project(renamed.chain(times_column))?.build()?;
    Ok(match times {
        None => projected,
        Some(_) => LogicalPlan::Extension(Extension { node: Arc::new(Repeat::new(projected)?) }),
    })
}

/// The rows of one side, its columns called `names`, and how each counts.
fn side(input: &LogicalPlan, names: &[String], counts: [i64; 2]) -> Result<LogicalPlanBuilder> {
    let columns = input.schema().columns().into_iter().zip(names);
    let columns = columns.map(|(column, name)| Expr::Column(column).alias(name));
    let counts = [lit(counts[0]).alias(LEFT), lit(counts[1]).alias(RIGHT)];
    LogicalPlanBuilder::from(input.clone()).project(columns.chain(counts))
}

/// A column by its exact name.
fn column(name: &str) -> Expr {
    Expr::Column(Column::from_name(name))
}

/// Unnests a series of that length in place of a [`Repeat`], for batch queries.
#[derive(Debug)]
pub struct UnnestRepeats;

impl AnalyzerRule for UnnestRepeats {
    fn name(&self) -> &str {
        "unnest_repeats"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(unnest)?.data)
    }
}

fn unnest(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Extension(extension) = &node else { return Ok(Transformed::no(node)) };
    let Some(repeat) = Repeat::of(extension.node.as_ref()) else { return Ok(Transformed::no(node)) };
    let columns: Vec<Expr> = repeat.schema.columns().into_iter().map(Expr::Column).collect();
    let series = range(lit(0_i64), column(TIMES), lit(1_i64)).alias(TIMES);
    let options = UnnestOptions::new().with_preserve_nulls(false);
    let unnested = LogicalPlanBuilder::from(repeat.input.clone())
        .filter(column(TIMES).gt(lit(0_i64)))?
        .project(columns.iter().cloned().chain([series]))?
        .unnest_column_with_options(TIMES, options)?
        .project(columns)?;
    Ok(Transformed::yes(unnested.build()?))
}
