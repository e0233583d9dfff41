//! Plans as text, for EXPLAIN DATAFLOW.

use std::fmt::Write;

use super::aggregate::{AggregateSpec, Function, GroupBySpec, Reads};
use super::join::multi::MultiJoinSpec;
use super::join::{JoinSpec, Unpaired};
use super::order::OrderColumn;
use super::partition::PartitionSpec;
use super::plan::{Node, NodeId, Plan};
use super::recursion::{ROUNDS_MAX, import};
use super::series::SeriesSpec;
use super::temporal_condition::{Bound, Condition};
use super::top_k::{Numbering, TopKSpec};

/// A line of text, with the number of the operator that it is about; one that refers to an earlier line, or says
/// what those below are, has none.
pub(super) type Line = (Option<NodeId>, String);

/// The tree under the result of `plan`, one node a line; a node with several readers is written out once
/// and referred to by its number after that.
pub(super) fn lines(plan: &Plan) -> Vec<Line> {
    let mut lines = vec![];
    if let Some(result) = plan.nodes.len().checked_sub(1) {
        Tree { plan, first: 0, is_written: vec![false; plan.nodes.len()], lines: &mut lines }
            .write(result, 0);
    }
    lines
}

/// A plan that is being written: the whole one, or the body of a recursion.
struct Tree<'a> {
    plan: &'a Plan,
    /// The number of its first operator.
    first: NodeId,
    is_written: Vec<bool>,
    lines: &'a mut Vec<Line>,
}

impl Tree<'_> {
    fn write(&mut self, id: NodeId, depth: usize) {
        let (indent, number) = ("  ".repeat(depth), self.first + id);
        if std::mem::replace(&mut self.is_written[id], true) {
            return self.lines.push((None, format!("{indent}see #{number}")));
        }
        let text = describe(self.plan, id, self.first);
        self.lines.push((Some(number), format!("{indent}#{number} {text}")));
        let plan = self.plan;
        let Node::Recursion { base, imports, spec } = &plan.nodes[id] else {
            return Plan::inputs(&plan.nodes[id]).into_iter().for_each(|input| self.write(input, depth + 1));
        };
        let label = |name: &str| (None, format!("{indent}  {name}"));
        self.lines.push(label("first round"));
        self.write(*base, depth + 2);
        for (index, id) in imports.iter().enumerate() {
            self.lines.push(label(&import(index)));
            self.write(*id, depth + 2);
        }
        self.lines.push(label("each further round"));
        let is_written = vec![false; spec.body.nodes.len()];
        let first = plan.first_within(id);
        Tree { plan: &spec.body, first, is_written, lines: self.lines }
            .write(spec.body.nodes.len() - 1, depth + 2);
    }
}

fn columns(plan: &Plan, id: NodeId, columns: impl IntoIterator<Item = usize>) -> String {
    let names: Vec<&str> = columns.into_iter().map(|c| plan.schemas[id].field(c).name().as_str()).collect();
    names.join(", ")
}

/// The first word about the operator numbered `number`: what kind it is.
pub(super) fn name(plan: &Plan, number: NodeId) -> String {
    let (plan, id) = plan.locate(number);
    let text = describe(plan, id, 0);
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// What node `id` of `plan` does, whose first operator is numbered `first`.
fn describe(plan: &Plan, id: NodeId, first: NodeId) -> String {
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
            format!("Repeat times={}", columns(plan, *input, [last]))
        }
        Node::Consolidate(_) => "Consolidate by=[all columns]".to_owned(),
        Node::Distinct { input, retracts, horizon_ms } => {
            let kept = if *retracts { "each distinct row and its count" } else { "each distinct row" };
            // Rows that can be retracted are kept as long as they are there.
            let bound = match horizon_ms.filter(|_| !retracts) {
                Some(ms) => format!("rows seen within {}", seconds(ms)),
                None => GROWS.to_owned(),
            };
            let from = retractions(&[(first + input, *retracts)]);
            format!("Distinct by=[all columns] state=({kept}) bound=({bound}) {from}")
        }
        Node::Aggregate { input, spec } => group_by(plan, *input, spec, first),
        Node::Partition { input, spec } => partition(plan, *input, spec, first),
        Node::Series { input, spec } => series(plan, *input, spec, first),
        Node::TopK { input, spec } => top_k(plan, *input, spec, first),
        Node::Join { left, right, spec } => join(plan, *left, *right, spec, first),
        Node::MultiJoin { inputs, spec } => multi_join(plan, inputs, spec, first),
        Node::Single { input, spec } => {
            let key = columns(plan, *input, 0..spec.key_columns);
            format!("Single by=[{key}] state=(each distinct row) bound=({GROWS})")
        }
        Node::Unnest { input, spec } => {
            let unnested =
                spec.lists.iter().map(|l| l.index_in_input_schema).chain(spec.structs.iter().copied());
            format!("Unnest [{}]", columns(plan, *input, unnested))
        }
        Node::Recursion { spec, .. } => {
            let kept = if spec.is_distinct { "(each row and the rounds that give it)" } else { "none" };
            let union = if spec.is_distinct { "distinct" } else { "all" };
            format!("Recursion {} union={union} state={kept} bound=(rows of {ROUNDS_MAX} rounds)", spec.name)
        }
        Node::TemporalFilter { input, condition, .. } => {
            let condition = temporal(plan, *input, condition);
            format!("TemporalFilter [{condition}] state=({TO_COME}) bound=({TO_COME})")
        }
    }
}

/// What bounds state that nothing bounds.
const GROWS: &str = "grows with the input";

/// What a filter on time keeps: rows that will come or go.
const TO_COME: &str = "rows that come or go later";

fn seconds(ms: u64) -> String {
    format!("{}s", ms as f64 / 1000.0)
}

/// Which of its inputs, by number, may take rows back from an operator.
fn retractions(inputs: &[(NodeId, bool)]) -> String {
    let from: Vec<String> =
        inputs.iter().filter(|(_, retracts)| *retracts).map(|(input, _)| format!("#{input}")).collect();
    let from = if from.is_empty() { "none".to_owned() } else { format!("from {}", from.join(" and ")) };
    format!("retractions={from}")
}

/// What bounds the state of partitions.
fn partitions_kept(horizon_ms: Option<u64>, retracts: bool) -> String {
    match horizon_ms.filter(|_| !retracts) {
        Some(ms) => format!("partitions with a row in the last {}", seconds(ms)),
        None => GROWS.to_owned(),
    }
}

fn series(plan: &Plan, input: NodeId, spec: &SeriesSpec, first: NodeId) -> String {
    let calls: Vec<&str> = spec.calls.iter().map(|call| call.name.as_str()).collect();
    format!(
        "Series by=[{}] order=[{}] compute=[{}] state=(all rows in order, what each function knows of them) \
         bound=({}) {}",
        columns(plan, input, spec.partition.iter().copied()),
        order(plan, input, &spec.order),
        calls.join(", "),
        partitions_kept(spec.horizon_ms, spec.retracts),
        retractions(&[(first + input, spec.retracts)])
    )
}

fn partition(plan: &Plan, input: NodeId, spec: &PartitionSpec, first: NodeId) -> String {
    let bound = partitions_kept(spec.horizon_ms, spec.retracts);
    format!(
        "Partition by=[{}] order=[{}] compute=[{}] state=(all rows in order) bound=({bound}) {}",
        columns(plan, input, spec.partition.iter().copied()),
        order(plan, input, &spec.order),
        spec.function,
        retractions(&[(first + input, spec.retracts)])
    )
}

fn group_by(plan: &Plan, input: NodeId, spec: &GroupBySpec, first: NodeId) -> String {
    let aggregates: Vec<String> =
        spec.aggregates.iter().map(|a| aggregate(plan, input, a, spec.retracts)).collect();
    let bound = match (spec.group_columns, spec.until.is_empty()) {
        (0, _) => "one entry".to_owned(),
        (_, false) => format!("groups while {}", conditions(plan, input, &spec.until)),
        (_, true) if spec.retracts => "groups with rows".to_owned(),
        (_, true) => "grows with the groups".to_owned(),
    };
    format!(
        "Aggregate by=[{}] aggregates=[{}] state=(one entry a group) bound=({bound}) {}",
        columns(plan, input, 0..spec.group_columns),
        aggregates.join(", "),
        retractions(&[(first + input, spec.retracts)])
    )
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

fn top_k(plan: &Plan, input: NodeId, spec: &TopKSpec, first: NodeId) -> String {
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
    let bound = match (spec.horizon_ms.filter(|_| !spec.retracts), spec.fetch.filter(|_| !spec.retracts)) {
        (Some(ms), _) => format!("partitions with a row in the last {}", seconds(ms)),
        (None, Some(_)) if spec.partition.is_empty() => format!("{} rows", spec.last()),
        (None, Some(_)) => "grows with the partitions".to_owned(),
        (None, None) => GROWS.to_owned(),
    };
    format!(
        "TopK by=[{}] order=[{}] where={numbering}{numbers} state=({kept}) bound=({bound}) {}",
        columns(plan, input, spec.partition.iter().copied()),
        order(plan, input, &spec.order),
        retractions(&[(first + input, spec.retracts)])
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

fn join(plan: &Plan, left: NodeId, right: NodeId, spec: &JoinSpec, first: NodeId) -> String {
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
    let from = retractions(&[(first + left, spec.retracts[0]), (first + right, spec.retracts[1])]);
    let keys = keys.join(", ");
    format!("Join {kind} on=[{keys}]{condition} state=(rows of both sides) bound=({bound}) {from}")
}

fn multi_join(plan: &Plan, inputs: &[NodeId], spec: &MultiJoinSpec, first: NodeId) -> String {
    let key = |place: usize| {
        let equal = inputs.iter().zip(&spec.keys).map(|(input, key)| columns(plan, *input, [key[place]]));
        equal.collect::<Vec<_>>().join(" = ")
    };
    let keys: Vec<String> = (0..spec.keys[0].len()).map(key).collect();
    let conditions: Vec<String> = spec.conditions.iter().map(|c| c.expression.to_string()).collect();
    let condition = if conditions.is_empty() { "" } else { " condition=" };
    let bound = match (spec.horizon_ms, spec.retracts.contains(&false), spec.retracts.contains(&true)) {
        (None, ..) => GROWS.to_owned(),
        (Some(ms), _, false) => format!("rows of the last {}", seconds(ms)),
        // A row that can be retracted is kept as long as it is there.
        (Some(_), false, true) => "rows that are there".to_owned(),
        (Some(ms), true, true) => {
            format!("rows of the last {}, of inputs that retract those that are there", seconds(ms))
        }
    };
    // The same input may stand there more than once.
    let mut from: Vec<(NodeId, bool)> =
        inputs.iter().map(|input| first + input).zip(spec.retracts.iter().copied()).collect();
    from.sort_unstable();
    from.dedup();
    format!(
        "Join inner inputs={} on=[{}]{condition}{} state=(rows of all inputs) bound=({bound}) {}",
        inputs.len(),
        keys.join(", "),
        conditions.join(" AND "),
        retractions(&from)
    )
}
