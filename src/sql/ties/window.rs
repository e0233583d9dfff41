//! The order of peers in windows.

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::error::Result as DataFusionResult;
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::logical_expr::expr::{NullTreatment, WindowFunction};
use datafusion::logical_expr::{
    Expr, LogicalPlan, LogicalPlanBuilder, Window, WindowFrame, WindowFrameBound, WindowFrameUnits,
    WindowFunctionDefinition, lit, when,
};

use super::other_columns;
use crate::sql::error::SqlError;
use crate::sql::functions::names;
use crate::sql::windows::names::{SESSION_END, SESSION_START};

/// Aggregates that do not depend on the order of rows.
const UNORDERED: [&str; 18] = [
    "count",
    names::SUM,
    names::AVG,
    names::MIN,
    names::MAX,
    names::VAR,
    names::VAR_POP,
    names::STDDEV,
    names::STDDEV_POP,
    names::APPROX_PERCENTILE,
    "median",
    "percentile_cont",
    "approx_distinct",
    "bool_and",
    "bool_or",
    "bit_and",
    "bit_or",
    "bit_xor",
];

/// What makes the answer of a window function definite.
enum Rule {
    /// It is already.
    None,
    /// An order of all rows in the partition.
    Order,
    /// An order of all rows among the peers of each row, which alone are seen.
    AmongPeers,
    /// An order of all rows in the partition, where the frame has at least as many rows as the number asked for.
    Nth,
    /// There is none.
    Open,
}

/// The windows of `window` with their orders completed, over columns alone: DataFusion fails to plan some that are
/// over expressions.
pub fn ordered(window: Window) -> DataFusionResult<Transformed<LogicalPlan>> {
    let schema = window.input.schema().clone();
    let inputs: Vec<Expr> = schema.iter().map(|field| Expr::Column(Column::from(field))).collect();
    let (mut functions, mut keys, mut columns) = (vec![], vec![], inputs.clone());
    let mut is_changed = false;
    for (expression, (qualifier, field)) in
        window.window_expr.iter().zip(window.schema.iter().skip(schema.fields().len()))
    {
        let rewritten = expression.clone().unalias().transform_up(|e| match e {
            Expr::WindowFunction(function) => complete(*function, &schema),
            other => Ok(Transformed::no(other)),
        })?;
        is_changed |= rewritten.transformed;
        let column = rewritten.data.transform_down(|e| match e {
            Expr::WindowFunction(function) => {
                let function = Expr::from(over_columns(*function, &mut keys));
                let column = Expr::Column(Column::new_unqualified(function.schema_name().to_string()));
                if !functions.contains(&function) {
                    functions.push(function);
                }
                Ok(Transformed::new(column, true, TreeNodeRecursion::Jump))
            }
            other => Ok(Transformed::no(other)),
        })?;
        columns.push(column.data.alias_qualified(qualifier.cloned(), field.name()));
    }
    if !is_changed && keys.is_empty() {
        return Ok(Transformed::no(LogicalPlan::Window(window)));
    }
    let mut input = LogicalPlanBuilder::from(window.input.as_ref().clone());
    if !keys.is_empty() {
        let keys = keys.into_iter().enumerate().map(|(index, key)| key.alias(key_name(index)));
        input = input.project(inputs.into_iter().chain(keys))?;
    }
    let plan = LogicalPlanBuilder::window_plan(input.build()?, functions)?;
    Ok(Transformed::yes(LogicalPlanBuilder::from(plan).project(columns)?.build()?))
}

fn key_name(index: usize) -> String {
    format!("#key{index}")
}

/// `function` with columns for what it is partitioned and ordered by, of which `keys` are the expressions.
fn over_columns(mut function: WindowFunction, keys: &mut Vec<Expr>) -> WindowFunction {
    let params = &mut function.params;
    let ordered = params.order_by.iter_mut().map(|sort| &mut sort.expr);
    for key in params.partition_by.iter_mut().chain(ordered) {
        // What comes from outside of a subquery stays where it is looked for.
        if matches!(key, Expr::Column(_) | Expr::Literal(..)) || key.contains_outer() {
            continue;
        }
        let index = keys.iter().position(|known| known == key).unwrap_or_else(|| {
            keys.push(key.clone());
            keys.len() - 1
        });
        *key = Expr::Column(Column::new_unqualified(key_name(index)));
    }
    function
}

/// `function` with a definite answer.
fn complete(mut function: WindowFunction, schema: &DFSchema) -> DataFusionResult<Transformed<Expr>> {
    let rule = rule(&function);
    let original = function.clone();
    match rule {
        Rule::None | Rule::Open => return Ok(Transformed::no(Expr::from(function))),
        Rule::Order => {}
        Rule::AmongPeers => {
            let peers = std::mem::take(&mut function.params.order_by).into_iter().map(|sort| sort.expr);
            function.params.partition_by.extend(peers);
            function.params.window_frame = whole();
        }
        Rule::Nth => function.params.window_frame = whole(),
    }
    let params = &mut function.params;
    let known: Vec<&Expr> =
        params.order_by.iter().map(|sort| &sort.expr).chain(&params.partition_by).collect();
    let others: Vec<_> = other_columns(schema, &known).collect();
    if others.is_empty() && !matches!(rule, Rule::AmongPeers | Rule::Nth) {
        return Ok(Transformed::no(Expr::from(original)));
    }
    params.order_by.extend(others);
    if !matches!(rule, Rule::Nth) {
        return Ok(Transformed::yes(Expr::from(function)));
    }
    let mut rows = WindowFunction::new(count_udaf(), vec![lit(1_i64)]);
    rows.params.partition_by = original.params.partition_by.clone();
    rows.params.order_by = original.params.order_by.clone();
    rows.params.window_frame = original.params.window_frame.clone();
    let number = original.params.args[1].clone();
    let nth = when(Expr::from(rows).gt_eq(number), Expr::from(function)).end()?;
    Ok(Transformed::yes(nth))
}

/// All rows of the partition.
fn whole() -> WindowFrame {
    WindowFrame::new(None)
}

fn rule(function: &WindowFunction) -> Rule {
    let params = &function.params;
    let frame = &params.window_frame;
    let is_whole = frame.start_bound.is_unbounded() && frame.end_bound.is_unbounded();
    let is_rows = frame.units == WindowFrameUnits::Rows;
    match (&function.fun, function.fun.name()) {
        (WindowFunctionDefinition::AggregateUDF(_), name) => match UNORDERED.contains(&name) {
            true if is_whole || !is_rows => Rule::None,
            true => Rule::Order,
            false if is_whole || is_rows => Rule::Order,
            false => Rule::Open,
        },
        (_, "rank" | "dense_rank" | "percent_rank" | "cume_dist") => Rule::None,
        (_, SESSION_START | SESSION_END) => Rule::None,
        (_, "first_value" | "last_value" | "nth_value") if !is_whole && !is_rows => value_rule(function),
        _ => Rule::Order,
    }
}

/// The rule for a value at a place of a frame whose bounds move by peers.
fn value_rule(function: &WindowFunction) -> Rule {
    let params = &function.params;
    let (start, end) = (&params.window_frame.start_bound, &params.window_frame.end_bound);
    let ends_here = matches!(end, WindowFrameBound::CurrentRow);
    let starts_here = matches!(start, WindowFrameBound::CurrentRow);
    let is_positive =
        |e: Option<&Expr>| matches!(e, Some(Expr::Literal(ScalarValue::Int64(Some(n)), _)) if *n > 0);
    let is_bounded_here = (starts_here || start.is_unbounded()) && (ends_here || end.is_unbounded());
    if !is_bounded_here || params.null_treatment == Some(NullTreatment::IgnoreNulls) {
        return Rule::Open;
    }
    match function.fun.name() {
        "first_value" if !starts_here => Rule::Order,
        "last_value" if !ends_here => Rule::Order,
        "first_value" | "last_value" => Rule::AmongPeers,
        _ if starts_here && ends_here => Rule::AmongPeers,
        _ if !starts_here && is_positive(params.args.get(1)) => Rule::Nth,
        _ => Rule::Open,
    }
}

/// Refuses functions of windows for whose answer there is no rule.
pub fn refuse_open(plan: &LogicalPlan) -> Result<(), SqlError> {
    let mut found = None;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|e| {
                if let Expr::WindowFunction(function) = e
                    && matches!(rule(function), Rule::Open)
                {
                    found = Some(function.fun.name().to_owned());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    match found {
        Some(name) => Err(SqlError::unsupported(
            format!("{name} over this RANGE or GROUPS frame"),
            "which of several rows that are equal in ORDER BY comes first is left open",
            "use a frame of ROWS, for which the other columns decide",
        )),
        None => Ok(()),
    }
}
