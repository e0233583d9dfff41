use std::collections::BTreeSet;

use arrow::array::{Int64Array, RecordBatch, UInt32Array};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator as Op;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, Column, Literal};
use expect_test::expect;

use super::gate::Gate;
use super::*;
use crate::delta::aggregate::{AggregateSpec, Function, GroupBySpec};
use crate::delta::expression::RowMap;
use crate::delta::join::{JoinSpec, Unpaired};
use crate::delta::operator::{Changes, Part, Scheduled};
use crate::delta::plan::Node;
use crate::delta::testing::{Bag, Row, oracle, plan, render};
use crate::delta::updates::{Run, Updates};

type Expression = Arc<dyn PhysicalExpr>;

fn column(index: usize) -> Expression {
    Arc::new(Column::new("c", index))
}

fn number(value: ScalarValue) -> Expression {
    Arc::new(Literal::new(value))
}

fn binary(left: Expression, op: Op, right: Expression) -> Expression {
    Arc::new(BinaryExpr::new(left, op, right))
}

fn numbers(names: &[&str]) -> SchemaRef {
    Arc::new(Schema::new(names.iter().map(|n| Field::new(*n, DataType::Int64, true)).collect::<Vec<_>>()))
}

fn map(input: NodeId, projection: Vec<Expression>, schema: &SchemaRef) -> (Node, SchemaRef) {
    let map = RowMap { predicate: None, projection: Some(projection), schema: schema.clone() };
    (Node::Map { input, map }, schema.clone())
}

/// An edge from `n` to the milliseconds of `at` modulo 7.
fn edges(input: NodeId) -> (Node, SchemaRef) {
    let nanos: Expression = Arc::new(CastExpr::new(column(2), DataType::Int64, None));
    let ms = binary(nanos, Op::Divide, number(ScalarValue::Int64(Some(1_000_000))));
    let target = binary(ms, Op::Modulo, number(ScalarValue::Int64(Some(7))));
    map(input, vec![column(0), target], &numbers(&["source", "target"]))
}

type Edge = (Option<i64>, Option<i64>);

fn edges_of(rows: &[Row]) -> Vec<Edge> {
    rows.iter().map(|(n, _, at)| (*n, at.map(|ms| ms % 7))).collect()
}

/// What a round makes of (source, target, hops): `source` and where an edge leads from `target`, unless in the second
/// input, and one hop more; none after `hops_max`.
fn body(previous_schema: &SchemaRef, hops_max: Option<i64>, hops: bool) -> Plan {
    let mut body = Plan::default();
    let width = previous_schema.fields().len();
    let edge = numbers(&["source", "target"]);
    let all: Vec<usize> = (0..width).collect();
    body.push(Node::Source { relation: previous("r"), columns: all }, previous_schema.clone());
    body.push(Node::Source { relation: import(0), columns: vec![0, 1] }, edge.clone());
    let fields = previous_schema.fields().iter().chain(edge.fields()).cloned().collect::<Vec<_>>();
    let spec = JoinSpec {
        keys: [vec![1], vec![0]],
        null_equals_null: false,
        condition: hops_max.map(|max| binary(column(2), Op::Lt, number(ScalarValue::Int64(Some(max))))),
        pairs: true,
        unpaired: [Unpaired::Dropped; 2],
        inputs: [previous_schema.clone(), edge],
        schema: Arc::new(Schema::new(fields)),
        retracts: [true, true],
        horizon_ms: None,
    };
    let joined = spec.schema.clone();
    body.push(Node::Join { left: 0, right: 1, spec }, joined);
    let next = binary(column(width - 1), Op::Plus, number(ScalarValue::UInt32(Some(1))));
    let mut projection = vec![column(0), column(width + 1)];
    if hops {
        projection.push(binary(column(2), Op::Plus, number(ScalarValue::Int64(Some(1)))));
    }
    projection.push(next);
    let (node, schema) = map(2, projection, previous_schema);
    body.push(node, schema);
    body
}

/// The recursion over the edges of input 0.
fn recursion(columns: &[&str], is_distinct: bool, body: Plan, inputs: usize) -> Plan {
    let rows = numbers(columns);
    let schema = with_round(&rows);
    let mut base: Vec<Expression> = vec![column(0), column(1)];
    base.extend((2..columns.len()).map(|_| number(ScalarValue::Int64(Some(1)))));
    base.push(number(ScalarValue::UInt32(Some(0))));
    let spec = Recursion { name: "r".to_owned(), body, is_distinct, schema: schema.clone() };
    let mut nodes: Vec<_> = (0..inputs).map(edges).collect();
    nodes.push(map(inputs, base, &schema));
    let imports = (inputs..inputs * 2).collect();
    nodes.push((Node::Recursion { base: inputs * 2, imports, spec: Arc::new(spec) }, rows));
    plan(inputs, nodes)
}

fn text(value: Option<i64>) -> String {
    value.map_or("null".to_owned(), |v| v.to_string())
}

/// The pairs between which there is a path.
fn closure(edges: &[Edge], is_allowed: impl Fn(&Edge) -> bool) -> BTreeSet<Edge> {
    let mut reached: BTreeSet<Edge> = edges.iter().copied().collect();
    loop {
        let mut more = reached.clone();
        for (source, via) in &reached {
            let onward = edges.iter().filter(|(from, _)| from.is_some() && from == via);
            more.extend(onward.map(|(_, target)| (*source, *target)).filter(&is_allowed));
        }
        if more.len() == reached.len() {
            return reached;
        }
        reached = more;
    }
}

#[test]
fn paths_equal_recomputation() {
    let schema = with_round(&numbers(&["source", "target"]));
    let plan = recursion(&["source", "target"], true, body(&schema, None, false), 1);
    oracle(&plan, 1, true, |inputs, _| {
        let paths = closure(&edges_of(&inputs[0]), |_| true);
        paths.into_iter().map(|(source, target)| (vec![text(source), text(target)], 1)).collect()
    });
}

/// Rows of (source, target, hops) with `hops` up to `hops_max`, round by round, as often as there are paths.
fn walks(edges: &[Edge], hops_max: i64) -> Vec<(Edge, i64)> {
    let mut all: Vec<(Edge, i64)> = edges.iter().map(|edge| (*edge, 1)).collect();
    let mut round = all.clone();
    while !round.is_empty() {
        let mut next = vec![];
        for ((source, via), hops) in round.iter().filter(|(_, hops)| *hops < hops_max) {
            let onward = edges.iter().filter(|(from, _)| from.is_some() && from == via);
            next.extend(onward.map(|(_, target)| ((*source, *target), hops + 1)));
        }
        all.extend(&next);
        round = next;
    }
    all
}

#[test]
fn walks_equal_recomputation() {
    let columns = ["source", "target", "hops"];
    let schema = with_round(&numbers(&columns));
    for (is_distinct, hops_max) in [(false, 2), (true, 4)] {
        let plan = recursion(&columns, is_distinct, body(&schema, Some(hops_max), true), 1);
        oracle(&plan, 1, true, |inputs, _| {
            let edges = edges_of(&inputs[0]);
            // Only how often a walk is found is different.
            let distinct: Vec<Edge> = edges.iter().copied().collect::<BTreeSet<_>>().into_iter().collect();
            let mut bag = Bag::new();
            for ((source, target), hops) in walks(if is_distinct { &distinct } else { &edges }, hops_max) {
                let count = bag.entry(vec![text(source), text(target), text(Some(hops))]).or_default();
                *count = if is_distinct { 1 } else { *count + 1 };
            }
            bag
        });
    }
}

/// Groups of a round, and rows without a partner in what comes from outside, which may come and go.
#[test]
fn groups_and_exclusions_equal_recomputation() {
    let schema = with_round(&numbers(&["source", "target"]));
    let edge = numbers(&["source", "target"]);
    let mut body = body(&schema, None, false);
    body.push(Node::Source { relation: import(1), columns: vec![0, 1] }, edge.clone());
    let spec = JoinSpec {
        keys: [vec![0, 1], vec![0, 1]],
        null_equals_null: false,
        condition: None,
        pairs: false,
        unpaired: [Unpaired::IfUnmatched, Unpaired::Dropped],
        inputs: [schema.clone(), edge],
        schema: schema.clone(),
        retracts: [true, true],
        horizon_ms: None,
    };
    body.push(Node::Join { left: 3, right: 4, spec }, schema.clone());
    let aggregates = vec![AggregateSpec {
        function: Function::Max,
        arguments: vec![2],
        filter: None,
        is_distinct: false,
        output: DataType::UInt32,
    }];
    // By source, target and round: the greatest round is the round.
    let spec = GroupBySpec {
        group_columns: 2,
        aggregates,
        input: schema.clone(),
        schema: schema.clone(),
        retracts: true,
        until: vec![],
        horizon_ms: None,
    };
    let mut by_round = spec.clone();
    by_round.group_columns = 3;
    let with_max = schema.fields().iter().cloned().chain([schema.fields()[2].clone()]);
    by_round.schema = Arc::new(Schema::new(with_max.collect::<Vec<_>>()));
    let grouped = by_round.schema.clone();
    body.push(Node::Aggregate { input: 5, spec: by_round }, grouped);
    let (node, map_schema) = map(6, vec![column(0), column(1), column(3)], &schema);
    body.push(node, map_schema);
    let plan = recursion(&["source", "target"], true, body, 2);
    oracle(&plan, 2, true, |inputs, _| {
        let blocked = edges_of(&inputs[1]);
        let is_blocked = |edge: &Edge| edge.0.is_some() && edge.1.is_some() && blocked.contains(edge);
        let paths = closure(&edges_of(&inputs[0]), |edge| !is_blocked(edge));
        paths.into_iter().map(|(source, target)| (vec![text(source), text(target)], 1)).collect()
    });
}

fn rows(values: &[i64], round: u32) -> RecordBatch {
    let schema = with_round(&numbers(&["n"]));
    let rounds = UInt32Array::from_value(round, values.len());
    RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(values.to_vec())), Arc::new(rounds)]).unwrap()
}

fn rendered((tick, _): Round, changes: Changes) -> String {
    let updates: Vec<_> = changes.rows.into_iter().map(|(rows, d)| Updates::at(rows, tick, d)).collect();
    let errors = changes.errors.into_iter().map(|(message, diff)| format!("{message} {diff:+}\n"));
    render(&updates) + &errors.collect::<String>()
}

/// Steps through all rounds at which anything is to be seen, as the dataflow would.
fn tick(head: &mut Head, tick: Tick, parts: &[(&[i64], u32, i64)]) -> String {
    let mut pending: std::collections::BTreeMap<Round, Vec<Part>> = Default::default();
    for (values, round, diff) in parts {
        pending.entry((tick, *round)).or_default().push((rows(values, *round), Run::Constant(*diff)));
    }
    let mut text = String::new();
    while let Some((time, parts)) = pending.pop_first() {
        let mut later = vec![];
        text += &rendered(time, head.step(&time, vec![parts], &mut later));
        for (time, part) in later {
            pending.entry(time).or_default().push(part);
        }
    }
    text
}

fn head() -> Head {
    let schema = with_round(&numbers(&["n"]));
    let body = Plan::default();
    Head::new(&Recursion { name: "r".to_owned(), body, is_distinct: true, schema }, Arc::default()).unwrap()
}

#[test]
fn a_row_is_in_the_first_round_that_gives_it() {
    let mut head = head();
    expect![[r#"
        1 0 @1 +1
        2 1 @1 +1
    "#]]
    .assert_eq(&tick(&mut head, 1, &[(&[1, 1], 0, 1), (&[1, 2], 1, 1), (&[2, 1], 3, 1)]));
    // Round 1 loses 2, which round 3 gives as well.
    expect![[r#"
        2 1 @2 -1
        2 3 @2 +1
    "#]]
    .assert_eq(&tick(&mut head, 2, &[(&[2], 1, -1)]));
    // It moves to the front.
    expect![[r#"
        2 0 @3 +1
        2 3 @3 -1
    "#]]
    .assert_eq(&tick(&mut head, 3, &[(&[2], 0, 1)]));
    // Gone from all rounds at once; 1 is still given twice by round 0, then by the others.
    expect![[r#"
        2 0 @4 -1
    "#]]
    .assert_eq(&tick(&mut head, 4, &[(&[2], 0, -1), (&[2], 3, -1), (&[1], 0, -1)]));
    expect![[r#"
        1 0 @5 -1
        1 1 @5 +1
    "#]]
    .assert_eq(&tick(&mut head, 5, &[(&[1], 0, -1)]));
    // Round 1 gives it no more, and round 3 not any more when it is asked.
    expect![[r#"
        1 1 @6 -1
    "#]]
    .assert_eq(&tick(&mut head, 6, &[(&[1], 1, -1), (&[1], 3, -1)]));
}

#[test]
fn what_is_too_much_is_held_back_until_there_is_room() {
    let schema = with_round(&numbers(&["n"]));
    let mut gate = Gate::with_limits(schema, 2, 3);
    let mut pass = |time: Round, values: &[i64], diff: i64| {
        let (mut given, mut later) = (Changes::default(), vec![]);
        given.push(rows(values, time.1), Run::Constant(diff));
        let text = rendered(time, gate.pass(time, given, &mut later));
        let again: Vec<Round> = later.into_iter().map(|(time, _)| time).collect();
        format!("{text}{again:?}")
    };
    expect![[r#"
        1 0 @1 +1
        2 0 @1 +1
        []"#]]
    .assert_eq(&pass((1, 0), &[1, 2], 1));
    expect![[r#"
        recursion gives more than 3 rows; a filter or UNION in place of UNION ALL makes them fewer +1
        []"#]]
    .assert_eq(&pass((1, 1), &[3, 4], 1));
    // There is room for what is left of it.
    expect![[r#"
        1 0 @2 -1
        [(2, 1)]"#]]
    .assert_eq(&pass((2, 0), &[1], -1));
    expect![[r#"
        3 1 @2 +1
        4 1 @2 +1
        recursion gives more than 3 rows; a filter or UNION in place of UNION ALL makes them fewer -1
        []"#]]
    .assert_eq(&pass((2, 1), &[], 1));
    expect![[r#"
        recursion did not end within 2 rounds; over a cycle UNION ALL never ends, UNION does +1
        []"#]]
    .assert_eq(&pass((3, 3), &[5], 1));
    expect!["[]"].assert_eq(&pass((4, 1), &[], 1));
    expect![[r#"
        recursion did not end within 2 rounds; over a cycle UNION ALL never ends, UNION does -1
        []"#]]
    .assert_eq(&pass((4, 3), &[5], -1));
}
