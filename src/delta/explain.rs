//! Plans as text, for EXPLAIN DATAFLOW.

use std::fmt::Write;

use super::aggregate::{AggregateSpec, Function, GroupBySpec};
use super::join::{JoinSpec, Unpaired};
use super::plan::{Node, NodeId, Plan};
use super::temporal_filter::{Bound, Comparison};

/// A line of text, with the node that it is about; one that refers to an earlier line has none.
pub(super) type Line = (Option<NodeId>, String);

/// The tree under the result of `plan`, one node a line; a node with several readers is written out once
/// and referred to by its number after that.
pub(super) fn lines(plan: &Plan) -> Vec<Line> {
    let mut lines = vec![];
    let mut is_written = vec![false; plan.nodes.len()];
    if let Some(result) = plan.nodes.len().checked_sub(1) {
        write_node(plan, result, 0, &mut is_written, &mut lines);
    }
    lines
}

fn write_node(plan: &Plan, id: NodeId, depth: usize, is_written: &mut [bool], lines: &mut Vec<Line>) {
    let indent = "  ".repeat(depth);
    if std::mem::replace(&mut is_written[id], true) {
        return lines.push((None, format!("{indent}see #{id}")));
    }
    lines.push((Some(id), format!("{indent}#{id} {}", describe(plan, id))));
    for input in Plan::inputs(&plan.nodes[id]) {
        write_node(plan, input, depth + 1, is_written, lines);
    }
}

fn columns(plan: &Plan, id: NodeId, columns: impl IntoIterator<Item = usize>) -> String {
    let names: Vec<&str> = columns.into_iter().map(|c| plan.schemas[id].field(c).name().as_str()).collect();
    names.join(", ")
}

/// The first word about a node: what kind of operator it is.
pub(super) fn name(plan: &Plan, id: NodeId) -> String {
    let text = describe(plan, id);
    text.split(' ').next().unwrap_or_default().to_owned()
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
        Node::Consolidate(_) => "Consolidate by=[all columns]".to_owned(),
        Node::Distinct { input, retracts, horizon_ms } => {
            let kept = if *retracts { "each distinct row and its count" } else { "each distinct row" };
            // Rows that can be retracted are kept as long as they are there.
            let bound = match horizon_ms.filter(|_| !retracts) {
                Some(ms) => format!("rows seen within {}", seconds(ms)),
                None => GROWS.to_owned(),
            };
            format!("Distinct by=[all columns] {}", state(&[*input], kept, &bound, &[*retracts]))
        }
        Node::Aggregate { input, spec } => group_by(plan, *input, spec),
        Node::Join { left, right, spec } => join(plan, *left, *right, spec),
        Node::TemporalFilter { input, bounds, .. } => {
            let condition = conditions(plan, *input, bounds);
            let leaves =
                |bound: &Bound| matches!(bound.comparison, Comparison::Before | Comparison::BeforeOrAt);
            let bound = match bounds.iter().any(leaves) {
                true => "current and future rows",
                false => "future rows",
            };
            format!("TemporalFilter [{condition}] state=({bound}) bound=({bound})")
        }
    }
}

/// What bounds state that nothing bounds.
const GROWS: &str = "grows with the input";

fn seconds(ms: u64) -> String {
    format!("{}s", ms as f64 / 1000.0)
}

/// What an operator keeps, what bounds it, and which of its inputs may take rows back.
fn state(inputs: &[NodeId], kept: &str, bound: &str, retracts: &[bool]) -> String {
    let from: Vec<String> = inputs
        .iter()
        .zip(retracts)
        .filter(|(_, retracts)| **retracts)
        .map(|(input, _)| format!("#{input}"))
        .collect();
    let retractions =
        if from.is_empty() { "none".to_owned() } else { format!("from {}", from.join(" and ")) };
    format!("state=({kept}) bound=({bound}) retractions={retractions}")
}

fn group_by(plan: &Plan, input: NodeId, spec: &GroupBySpec) -> String {
    let aggregates: Vec<String> = spec.aggregates.iter().map(|a| aggregate(plan, input, a)).collect();
    let bound = match (spec.group_columns, spec.until.is_empty()) {
        (0, _) => "one entry".to_owned(),
        (_, false) => format!("groups while {}", conditions(plan, input, &spec.until)),
        (_, true) if spec.retracts => "groups with rows".to_owned(),
        (_, true) => "grows with the groups".to_owned(),
    };
    let is_extreme = |a: &AggregateSpec| matches!(a.function, Function::Min | Function::Max);
    let has_values = |a: &AggregateSpec| a.is_distinct || (spec.retracts && is_extreme(a));
    let keeps_values = spec.aggregates.iter().any(has_values);
    let kept = match keeps_values {
        true => "one entry a group, and its distinct values",
        false => "one entry a group",
    };
    let bound = match spec.horizon_ms.filter(|_| keeps_values) {
        Some(ms) => format!("{bound}, single values up to {}", seconds(2 * ms)),
        None => bound,
    };
    format!(
        "Aggregate by=[{}] aggregates=[{}] {}",
        columns(plan, input, 0..spec.group_columns),
        aggregates.join(", "),
        state(&[input], kept, &bound, &[spec.retracts])
    )
}

/// `now() < a and now() <= b`.
fn conditions(plan: &Plan, input: NodeId, bounds: &[Bound]) -> String {
    let condition = |b: &Bound| {
        let comparison = match b.comparison {
            Comparison::Before => "<",
            Comparison::BeforeOrAt => "<=",
            Comparison::After => ">",
            Comparison::AfterOrAt => ">=",
        };
        format!("now() {comparison} {}", columns(plan, input, [b.column]))
    };
    bounds.iter().map(condition).collect::<Vec<_>>().join(" and ")
}

fn aggregate(plan: &Plan, input: NodeId, spec: &AggregateSpec) -> String {
    let function = match &spec.function {
        Function::Percentile { ranks, relative_error } => {
            format!("percentile{ranks:?} relative_error={relative_error}")
        }
        other => format!("{other:?}").to_lowercase(),
    };
    let distinct = if spec.is_distinct { "distinct " } else { "" };
    let filter = spec.filter.map_or(String::new(), |c| format!(" filter={}", columns(plan, input, [c])));
    format!("{function}({distinct}{}){filter}", columns(plan, input, spec.arguments.iter().copied()))
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
    let bound = match (spec.horizon_ms, spec.retracts) {
        (None, _) => GROWS.to_owned(),
        (Some(ms), [false, false]) => format!("rows of the last {}", seconds(ms)),
        // A row that can be retracted is kept as long as it is there.
        (Some(_), [true, true]) => "rows that are there".to_owned(),
        (Some(ms), [is_left, _]) => {
            let (lasting, passing) = if is_left { ("left", "right") } else { ("right", "left") };
            format!("{passing} rows of the last {}, {lasting} rows that are there", seconds(ms))
        }
    };
    let state = state(&[left, right], "rows of both sides", &bound, &spec.retracts);
    format!("Join {kind} on=[{}]{condition} {state}", keys.join(", "))
}
