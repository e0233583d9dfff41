//! Plans as text, for EXPLAIN DATAFLOW.

use std::fmt::{self, Write};

use super::aggregate::{AggregateSpec, Function, Reads};
use super::join::{JoinSpec, Unpaired};
use super::order::OrderColumn;
use super::plan::{Node, NodeId, Plan};
use super::recursion::{ROUNDS_MAX, import};
use super::temporal_condition::{Bound, Condition};
use super::top_k::{Numbering, TopKSpec};

/// Writes the tree under the result of `plan`; a node with several readers is written out once and
/// referred to by its number after that.
pub(super) fn write_plan(plan: &Plan, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut is_written = vec![false; plan.nodes.len()];
    write_node(plan, plan.nodes.len() - 1, 0, &mut is_written, f)
}

fn write_node(
    plan: &Plan,
    id: NodeId,
    depth: usize,
    is_written: &mut [bool],
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let readers = plan.nodes.iter().flat_map(Plan::inputs).filter(|input| *input == id).count();
    write!(f, "{:indent$}", "", indent = depth * 2)?;
    if std::mem::replace(&mut is_written[id], true) {
        return writeln!(f, "see #{id}");
    }
    if readers > 1 {
        write!(f, "#{id} ")?;
    }
    writeln!(f, "{}", describe(plan, id))?;
    if let Node::Recursion { base, imports, spec } = &plan.nodes[id] {
        let label = |f: &mut fmt::Formatter<'_>, label: &str| {
            writeln!(f, "{:indent$}{label}", "", indent = depth * 2 + 2)
        };
        label(f, "first round")?;
        write_node(plan, *base, depth + 2, is_written, f)?;
        for (index, id) in imports.iter().enumerate() {
            label(f, &import(index))?;
            write_node(plan, *id, depth + 2, is_written, f)?;
        }
        label(f, "each further round")?;
        let body = &spec.body;
        return write_node(body, body.nodes.len() - 1, depth + 2, &mut vec![false; body.nodes.len()], f);
    }
    Plan::inputs(&plan.nodes[id]).into_iter().try_for_each(|i| write_node(plan, i, depth + 1, is_written, f))
}

fn columns(plan: &Plan, id: NodeId, columns: impl IntoIterator<Item = usize>) -> String {
    let names: Vec<&str> = columns.into_iter().map(|c| plan.schemas[id].field(c).name().as_str()).collect();
    names.join(", ")
}

fn describe(plan: &Plan, id: NodeId) -> String {
    match &plan.nodes[id] {
        Node::Source { relation, .. } => {
            format!("Source {relation} [{}]", columns(plan, id, 0..plan.schemas[id].fields().len()))
        }
        Node::Constant(rows) => format!("Constant rows={}", rows.num_rows()),
        Node::Map { map, .. } => {
            let mut text = "Map".to_owned();
            if let Some(predicate) = &map.predicate {
                let _ = write!(text, " where={predicate}");
            }
            if let Some(projection) = &map.projection {
                let list: Vec<String> = projection.iter().map(|e| e.to_string()).collect();
                let _ = write!(text, " [{}]", list.join(", "));
            }
            text
        }
        Node::Union(_) => "Union".to_owned(),
        Node::Negate(_) => "Negate".to_owned(),
        Node::Repeat(input) => {
            let last = plan.schemas[*input].fields().len() - 1;
            format!("Repeat times={} state=none", columns(plan, *input, [last]))
        }
        Node::Consolidate(_) => "Consolidate state=none".to_owned(),
        Node::Distinct { retracts, horizon_ms, .. } => {
            let kept = if *retracts { "each distinct row and its count" } else { "each distinct row" };
            format!("Distinct state=({kept}){}", horizon(*horizon_ms))
        }
        Node::Aggregate { input, spec } => {
            let aggregates: Vec<String> =
                spec.aggregates.iter().map(|a| aggregate(plan, *input, a, spec.retracts)).collect();
            format!(
                "Aggregate by=[{}] aggregates=[{}] state=(one entry a group){}{}",
                columns(plan, *input, 0..spec.group_columns),
                aggregates.join(", "),
                if spec.until.is_empty() {
                    String::new()
                } else {
                    format!(" while=[{}]", conditions(plan, *input, &spec.until))
                },
                if spec.retracts { " retractions=yes" } else { "" }
            )
        }
        Node::Partition { input, spec } => format!(
            "Partition by=[{}] order=[{}] compute=[{}] state=(all rows in order){}",
            columns(plan, *input, spec.partition.iter().copied()),
            order(plan, *input, &spec.order),
            spec.function,
            horizon(spec.horizon_ms.filter(|_| !spec.retracts))
        ),
        Node::TopK { input, spec } => top_k(plan, *input, spec),
        Node::Join { left, right, spec } => join(plan, *left, *right, spec),
        Node::Single { input, spec } => {
            format!("Single by=[{}] state=(each distinct row)", columns(plan, *input, 0..spec.key_columns))
        }
        Node::Unnest { input, spec } => {
            let unnested =
                spec.lists.iter().map(|l| l.index_in_input_schema).chain(spec.structs.iter().copied());
            format!("Unnest [{}]", columns(plan, *input, unnested))
        }
        Node::Recursion { spec, .. } => {
            let kept = if spec.is_distinct { "(each row and the rounds that give it)" } else { "none" };
            let union = if spec.is_distinct { "distinct" } else { "all" };
            format!("Recursion {} union={union} state={kept} rounds_max={ROUNDS_MAX}", spec.name)
        }
        Node::TemporalFilter { input, condition, .. } => {
            let condition = temporal(plan, *input, condition);
            format!("TemporalFilter [{condition}] state=(current and future rows)")
        }
    }
}

/// `now() < a and now() <= b`.
fn conditions(plan: &Plan, input: NodeId, bounds: &[Bound]) -> String {
    temporal(plan, input, &Condition::And(bounds.iter().map(|b| Condition::Bound(*b)).collect()))
}

fn temporal(plan: &Plan, input: NodeId, condition: &Condition) -> String {
    let mut text = String::new();
    let _ = condition.write(&|column| columns(plan, input, [column]), &mut text);
    text
}

fn top_k(plan: &Plan, input: NodeId, spec: &TopKSpec) -> String {
    let numbers = match (spec.skip, spec.fetch) {
        (skip, None) => format!(" > {skip}"),
        (0, Some(fetch)) => format!(" <= {fetch}"),
        (skip, Some(_)) => format!(" > {skip} and <= {}", spec.last()),
    };
    let numbering = match spec.numbering {
        Numbering::RowNumber => "row_number",
        Numbering::Rank => "rank",
    };
    let kept = match (spec.retracts, spec.fetch) {
        (false, Some(_)) => format!("rows with {numbering} <= {}", spec.last()),
        _ => "all rows in order".to_owned(),
    };
    format!(
        "TopK by=[{}] order=[{}] where={numbering}{numbers} state=({kept}){}",
        columns(plan, input, spec.partition.iter().copied()),
        order(plan, input, &spec.order),
        horizon(spec.horizon_ms.filter(|_| !spec.retracts))
    )
}

/// `ts DESC, name NULLS FIRST`, as PostgreSQL reads it.
fn order(plan: &Plan, input: NodeId, order: &[OrderColumn]) -> String {
    let column = |order: &OrderColumn| {
        let direction = if order.options.descending { " DESC" } else { "" };
        let nulls = match (order.options.descending, order.options.nulls_first) {
            (true, false) => " NULLS LAST",
            (false, true) => " NULLS FIRST",
            _ => "",
        };
        format!("{}{direction}{nulls}", columns(plan, input, [order.column]))
    };
    order.iter().map(column).collect::<Vec<_>>().join(", ")
}

fn horizon(horizon_ms: Option<u64>) -> String {
    horizon_ms.map_or(" horizon=none".to_owned(), |ms| format!(" horizon={}s", ms as f64 / 1000.0))
}

fn aggregate(plan: &Plan, input: NodeId, spec: &AggregateSpec, retracts: bool) -> String {
    let function = match &spec.function {
        Function::Percentile { ranks, relative_error } => {
            format!("percentile{ranks:?} relative_error={relative_error}")
        }
        Function::Bits(function) => format!("bit_{function:?}").to_lowercase(),
        Function::Pairs { questions } => format!("pairs{questions:?}").to_lowercase(),
        Function::Variance { is_sample, is_root } => {
            format!("{}_{}", if *is_root { "stddev" } else { "var" }, if *is_sample { "samp" } else { "pop" })
        }
        Function::BoolAnd => "bool_and".to_owned(),
        Function::BoolOr => "bool_or".to_owned(),
        Function::Recomputed(call) => call.function.fun().name().to_owned(),
        other => format!("{other:?}").to_lowercase(),
    };
    let distinct = if spec.is_distinct { "distinct " } else { "" };
    let filter = spec.filter.map_or(String::new(), |c| format!(" filter={}", columns(plan, input, [c])));
    let arguments = columns(plan, input, spec.arguments.iter().copied());
    let (how, kept) = (how(&spec.function), kept(spec, retracts));
    let each = if spec.is_distinct && how == "incremental" { "each distinct value, " } else { "" };
    format!("{function}({distinct}{arguments}){filter} {how}=({each}{kept})")
}

fn how(function: &Function) -> &'static str {
    if matches!(function, Function::Recomputed(_)) { "recomputed" } else { "incremental" }
}

/// What an aggregate keeps for each group.
fn kept(spec: &AggregateSpec, retracts: bool) -> &'static str {
    let is_float = spec.output.is_floating();
    match &spec.function {
        Function::Count => "a count",
        Function::Sum | Function::Avg if is_float => "an exact sum, a count",
        Function::Sum | Function::Avg => "a sum, a count",
        Function::Variance { .. } => "two exact sums, a count",
        Function::Min | Function::Max if retracts => "all distinct values",
        Function::Min | Function::Max => "one value",
        Function::Bits(_) => "a count of each bit",
        Function::BoolAnd | Function::BoolOr => "two counts",
        Function::Percentile { .. } => "a sketch",
        Function::Pairs { .. } => "five exact sums, a count",
        Function::Recomputed(call) if !retracts && call.reads != Reads::All => "the values that it reads",
        Function::Recomputed(_) if spec.is_distinct => "all distinct values",
        Function::Recomputed(_) => "all values",
    }
}

fn join(plan: &Plan, left: NodeId, right: NodeId, spec: &JoinSpec) -> String {
    let kind = match (spec.pairs, spec.unpaired) {
        (true, [Unpaired::Dropped, Unpaired::Dropped]) => "inner",
        (true, [Unpaired::Padded, Unpaired::Padded]) => "full",
        (true, [Unpaired::Padded, _]) => "left",
        (true, _) => "right",
        (false, [Unpaired::IfMatched, _] | [_, Unpaired::IfMatched]) => "semi",
        (false, [Unpaired::IfUnmatched, _] | [_, Unpaired::IfUnmatched]) => "anti",
        (false, _) => "mark",
    };
    let keys: Vec<String> = spec.keys[0]
        .iter()
        .zip(&spec.keys[1])
        .map(|(l, r)| format!("{} = {}", columns(plan, left, [*l]), columns(plan, right, [*r])))
        .collect();
    let condition = spec.condition.as_ref().map_or(String::new(), |c| format!(" condition={c}"));
    format!(
        "Join {kind} on=[{}]{condition} state=(rows of both sides){}",
        keys.join(", "),
        horizon(spec.horizon_ms)
    )
}
