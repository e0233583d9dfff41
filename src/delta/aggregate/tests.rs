//! The text tests and the oracle of aggregates.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema};
use expect_test::expect;

use super::*;
use crate::delta::plan::{Node, Plan};
use crate::delta::temporal_condition::Comparison;
use crate::delta::temporal_filter::RELEASE_ROWS_MAX;
use crate::delta::testing::{Bag, Row, batch, oracle, plan, render, schema};
use crate::delta::updates::Updates;

fn spec_of(function: Function, column: usize, output: DataType) -> AggregateSpec {
    AggregateSpec { function, arguments: vec![column], filter: None, is_distinct: false, output }
}

/// `s`, count(*), sum(n) of batches of `n` and `s`, regrouped so that the group comes first.
pub(super) fn by_text(retracts: bool) -> GroupBySpec {
    let input = Arc::new(Schema::new(vec![
        Field::new("s", DataType::Utf8, true),
        Field::new("n", DataType::Int64, true),
    ]));
    let schema = Arc::new(Schema::new(vec![
        Field::new("s", DataType::Utf8, true),
        Field::new("count", DataType::Int64, true),
        Field::new("sum", DataType::Int64, true),
        Field::new("min", DataType::Int64, true),
    ]));
    let count = AggregateSpec {
        function: Function::Count,
        arguments: vec![],
        filter: None,
        is_distinct: false,
        output: DataType::Int64,
    };
    let sum = spec_of(Function::Sum, 1, DataType::Int64);
    let min = spec_of(Function::Min, 1, DataType::Int64);
    GroupBySpec {
        group_columns: 1,
        aggregates: vec![count, sum, min],
        input,
        schema,
        retracts,
        until: vec![],
        horizon_ms: None,
    }
}

pub(super) fn tick(operator: &mut Aggregate, tick: Tick, parts: &[(&[(i64, &str)], Diff)]) -> String {
    let swap = |rows: RecordBatch| rows.project(&[1, 0]).unwrap();
    let parts = parts.iter().map(|(rows, diff)| (swap(batch(rows)), Run::Constant(*diff))).collect();
    let changes = operator.tick(tick, vec![parts]);
    assert!(changes.errors.is_empty(), "{:?}", changes.errors);
    let updates: Vec<_> = changes.rows.into_iter().map(|(rows, d)| Updates::at(rows, tick, d)).collect();
    render(&updates)
}

#[test]
fn a_changed_group_is_retracted_and_inserted() {
    let mut aggregate = Aggregate::new(by_text(true), Arc::default()).unwrap();
    expect![[r#"
        a 2 3 1 @1 +1
        b 1 5 5 @1 +1
    "#]]
    .assert_eq(&tick(&mut aggregate, 1, &[(&[(1, "a"), (2, "a"), (5, "b")], 1)]));
    expect![[r#"
        a 1 2 2 @2 +1
        a 2 3 1 @2 -1
        b 1 5 5 @2 -1
    "#]]
    .assert_eq(&tick(&mut aggregate, 2, &[(&[(1, "a"), (5, "b")], -1)]));
    // What cancels out within a tick changes nothing.
    expect![""].assert_eq(&tick(
        &mut aggregate,
        3,
        &[(&[(9, "c"), (2, "a")], 1), (&[(9, "c"), (2, "a")], -1)],
    ));
}

#[test]
fn an_aggregate_over_nothing_is_one_row() {
    let mut spec = by_text(true);
    spec.group_columns = 0;
    spec.schema = Arc::new(Schema::new(spec.schema.fields()[1..].to_vec()));
    let mut aggregate = Aggregate::new(spec, Arc::default()).unwrap();
    expect![[r#"
        0 null null @0 +1
    "#]]
    .assert_eq(&tick(&mut aggregate, 0, &[]));
    expect![[r#"
        0 null null @1 -1
        1 7 7 @1 +1
    "#]]
    .assert_eq(&tick(&mut aggregate, 1, &[(&[(7, "a")], 1)]));
    expect![""].assert_eq(&tick(&mut aggregate, 2, &[]));
}

/// `s`, count(n), sum(n), min(n), max(at), count(distinct n), sum(n) filter (n > 2).
fn wide_plan(retracts: bool) -> Plan {
    use datafusion::logical_expr::Operator as Op;
    use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal};
    let column =
        |name: &str, i| Arc::new(Column::new(name, i)) as Arc<dyn datafusion::physical_expr::PhysicalExpr>;
    let two = Arc::new(Literal::new(datafusion::common::ScalarValue::Int64(Some(2))));
    let large = Arc::new(BinaryExpr::new(column("n", 0), Op::Gt, two));
    let input = Arc::new(Schema::new(vec![
        Field::new("s", DataType::Utf8, true),
        Field::new("n", DataType::Int64, true),
        schema().field(2).clone(),
        Field::new("large", DataType::Boolean, true),
    ]));
    let projection = vec![column("s", 1), column("n", 0), column("at", 2), large as _];
    let map = crate::delta::expression::RowMap {
        predicate: None,
        projection: Some(projection),
        schema: input.clone(),
    };
    let at = schema().field(2).data_type().clone();
    let mut aggregates = vec![
        spec_of(Function::Count, 1, DataType::Int64),
        spec_of(Function::Sum, 1, DataType::Int64),
        spec_of(Function::Min, 1, DataType::Int64),
        spec_of(Function::Max, 2, at),
        AggregateSpec { is_distinct: true, ..spec_of(Function::Count, 1, DataType::Int64) },
        AggregateSpec { filter: Some(3), ..spec_of(Function::Sum, 1, DataType::Int64) },
    ];
    let mut fields = vec![Field::new("s", DataType::Utf8, true)];
    fields.extend(
        aggregates.iter().enumerate().map(|(i, a)| Field::new(format!("a{i}"), a.output.clone(), true)),
    );
    let output = Arc::new(Schema::new(fields));
    aggregates.iter_mut().for_each(|a| a.arguments.dedup());
    let spec = GroupBySpec {
        group_columns: 1,
        aggregates,
        input: input.clone(),
        schema: output.clone(),
        retracts,
        until: vec![],
        horizon_ms: None,
    };
    plan(1, vec![(Node::Map { input: 0, map }, input), (Node::Aggregate { input: 1, spec }, output)])
}

fn expected(rows: &[Row]) -> Bag {
    let mut groups: BTreeMap<String, Vec<&Row>> = BTreeMap::new();
    rows.iter().for_each(|row| groups.entry(row.1.clone()).or_default().push(row));
    let text = |n: Option<i64>| n.map_or("null".to_owned(), |n| n.to_string());
    groups
        .into_iter()
        .map(|(s, rows)| {
            let n: Vec<i64> = rows.iter().filter_map(|r| r.0).collect();
            let latest = rows.iter().filter(|r| r.2.is_some()).max_by_key(|r| r.2);
            let latest =
                latest.map_or("null".to_owned(), |row| crate::delta::testing::row_texts(row)[2].clone());
            let sum = |values: Vec<i64>| text((!values.is_empty()).then(|| values.iter().sum()));
            let distinct: std::collections::BTreeSet<&i64> = n.iter().collect();
            let row = vec![
                s,
                n.len().to_string(),
                sum(n.clone()),
                text(n.iter().min().copied()),
                latest,
                distinct.len().to_string(),
                sum(n.iter().copied().filter(|n| *n > 2).collect()),
            ];
            (row, 1)
        })
        .collect()
}

#[test]
fn equals_recomputation() {
    for retracts in [false, true] {
        oracle(&wide_plan(retracts), 1, retracts, |inputs, _| expected(&inputs[0]));
    }
}

/// `at`, `s`, sum(n), min(n), of the groups while now() is before `at`.
fn ending_plan(retracts: bool, comparison: Comparison) -> Plan {
    use datafusion::physical_expr::PhysicalExpr;
    use datafusion::physical_expr::expressions::Column;
    let column = |name: &str, i| Arc::new(Column::new(name, i)) as Arc<dyn PhysicalExpr>;
    let at = schema().field(2).clone();
    let (n, s) = (Field::new("n", DataType::Int64, true), Field::new("s", DataType::Utf8, true));
    let fields = vec![at.clone(), s.clone(), n.clone(), at.clone().with_name("until")];
    let input = Arc::new(Schema::new(fields));
    let projection = vec![column("at", 2), column("s", 1), column("n", 0), column("at", 2)];
    let map = crate::delta::expression::RowMap {
        predicate: None,
        projection: Some(projection),
        schema: input.clone(),
    };
    let output = Arc::new(Schema::new(vec![at, s, n.clone().with_name("sum"), n.with_name("min")]));
    let spec = GroupBySpec {
        group_columns: 2,
        aggregates: vec![
            spec_of(Function::Sum, 2, DataType::Int64),
            spec_of(Function::Min, 2, DataType::Int64),
        ],
        input: input.clone(),
        schema: output.clone(),
        retracts,
        until: vec![Bound { column: 3, comparison, months: 0 }],
        horizon_ms: None,
    };
    plan(1, vec![(Node::Map { input: 0, map }, input), (Node::Aggregate { input: 1, spec }, output)])
}

#[test]
fn groups_that_end_equal_recomputation() {
    for (retracts, comparison) in
        [(false, Comparison::Before), (true, Comparison::Before), (true, Comparison::BeforeOrAt)]
    {
        oracle(&ending_plan(retracts, comparison), 1, retracts, |inputs, tick| {
            let mut groups: BTreeMap<Vec<String>, Vec<Option<i64>>> = BTreeMap::new();
            for row in &inputs[0] {
                let is_current = row.2.is_some_and(|at| match comparison {
                    Comparison::Before => (tick as i64) < at,
                    _ => tick as i64 <= at,
                });
                if is_current {
                    let key = vec![crate::delta::testing::row_texts(row)[2].clone(), row.1.clone()];
                    groups.entry(key).or_default().push(row.0);
                }
            }
            let text = |n: Option<i64>| n.map_or("null".to_owned(), |n| n.to_string());
            let row = |(mut key, values): (Vec<String>, Vec<Option<i64>>)| {
                let known: Vec<i64> = values.into_iter().flatten().collect();
                key.push(text((!known.is_empty()).then(|| known.iter().sum())));
                key.push(text(known.iter().min().copied()));
                (key, 1)
            };
            groups.into_iter().map(row).collect()
        });
    }
}

#[test]
fn the_state_of_ended_groups_is_given_up_and_late_rows_are_counted() {
    let plan = ending_plan(false, Comparison::Before);
    let Node::Aggregate { spec, .. } = &plan.nodes[2] else { panic!("an aggregate") };
    let counters: Arc<Counters> = Arc::default();
    let mut aggregate = Aggregate::new(spec.clone(), counters.clone()).unwrap();
    for second in 1..100 {
        let tick = second * 1000;
        let rows: Vec<Row> = (0..20).map(|n| (Some(n), n.to_string(), Some(tick as i64 + 5000))).collect();
        let rows = crate::delta::testing::rows_of(rows.iter());
        let rows = rows.project(&[2, 1, 0, 2]).unwrap();
        let rows = RecordBatch::try_new(spec.input.clone(), rows.columns().to_vec()).unwrap();
        aggregate.tick(tick, vec![vec![(rows.clone(), Run::Constant(1))]]);
        while aggregate.rest().is_some() {}
        assert_eq!(aggregate.due(), Some((second.saturating_sub(4).max(1) + 5) * 1000));
        assert!(aggregate.counts.len() <= 2 * 20 * 6, "{} groups", aggregate.counts.len());
        if second == 50 {
            let (rows, late) = ((rows, Run::Constant(1)), counters.late_rows.load(Ordering::Relaxed));
            assert_eq!(late, 0);
            let changes = aggregate.tick(tick + 5000, vec![vec![rows]]);
            assert!(changes.rows.iter().all(|(_, diffs)| *diffs == Run::Constant(-1)));
            assert_eq!(counters.late_rows.load(Ordering::Relaxed), 20);
            return;
        }
    }
}

#[test]
fn groups_that_end_at_once_leave_in_portions() {
    let plan = ending_plan(false, Comparison::Before);
    let Node::Aggregate { spec, .. } = &plan.nodes[2] else { panic!("an aggregate") };
    let mut aggregate = Aggregate::new(spec.clone(), Arc::default()).unwrap();
    let groups = 5 * RELEASE_ROWS_MAX as i64 / 2;
    let rows: Vec<Row> = (0..groups).map(|n| (Some(n), n.to_string(), Some(5000 + n % 3))).collect();
    let rows = crate::delta::testing::rows_of(rows.iter()).project(&[2, 1, 0, 2]).unwrap();
    let rows = RecordBatch::try_new(spec.input.clone(), rows.columns().to_vec()).unwrap();
    aggregate.tick(1000, vec![vec![(rows, Run::Constant(1))]]);
    let size = |changes: &Changes| changes.rows.iter().map(|(rows, _)| rows.num_rows()).sum::<usize>();
    let mut sizes = vec![size(&aggregate.tick(10_000, vec![vec![]]))];
    sizes.extend(std::iter::from_fn(|| aggregate.rest()).map(|changes| size(&changes)));
    assert_eq!(sizes, [RELEASE_ROWS_MAX, RELEASE_ROWS_MAX, RELEASE_ROWS_MAX / 2]);
    assert_eq!(aggregate.due(), None);
    assert!(aggregate.counts.iter().all(|count| *count == 0));
}

#[test]
fn behind_the_horizon_values_are_settled_and_their_retractions_counted() {
    let counters: Arc<Counters> = Arc::default();
    let spec = GroupBySpec { horizon_ms: Some(1000), ..by_text(true) };
    let mut aggregate = Aggregate::new(spec, counters.clone()).unwrap();
    tick(&mut aggregate, 0, &[]);
    tick(&mut aggregate, 100, &[(&[(3, "a"), (7, "a")], 1)]);
    // Within the horizon the least value is found again.
    assert!(tick(&mut aggregate, 1100, &[(&[(3, "a")], -1)]).contains("a 1 7 7 @1100 +1"));
    tick(&mut aggregate, 1200, &[(&[(5, "a")], 1)]);
    tick(&mut aggregate, 2200, &[(&[(9, "a")], 1)]);
    // 5 is one of the older values now, and can still be taken away; 7 is settled.
    assert!(tick(&mut aggregate, 2300, &[(&[(5, "a")], -1)]).contains("a 2 16 7 @2300 +1"));
    assert!(tick(&mut aggregate, 2400, &[(&[(7, "a")], -1)]).contains("a 1 9 7 @2400 +1"));
    let bytes: usize = aggregate.accumulators.iter().map(|a| a.bytes()).sum();
    for second in 3..40 {
        tick(&mut aggregate, second * 1000 + 300, &[(&[(second as i64, "a")], 1)]);
    }
    assert!(aggregate.accumulators.iter().map(|a| a.bytes()).sum::<usize>() <= bytes + 4 * 48);
    assert_eq!(counters.late_rows.load(Ordering::Relaxed), 1);
}
