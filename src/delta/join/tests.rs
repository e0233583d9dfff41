//! The text tests and the oracles of joins.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator as Op;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal};
use expect_test::expect;

use super::*;
use crate::delta::plan::Node;
use crate::delta::testing::{Bag, Row, batch, oracle, plan, render, row_texts, schema};
use crate::delta::updates::Updates;

/// Every kind of join: whether it gives pairs, and what it gives for each side alone.
fn kinds() -> Vec<(bool, [Unpaired; 2])> {
    use Unpaired::*;
    vec![
        (true, [Dropped, Dropped]),
        (true, [Padded, Dropped]),
        (true, [Dropped, Padded]),
        (true, [Padded, Padded]),
        (false, [IfMatched, Dropped]),
        (false, [Dropped, IfMatched]),
        (false, [IfUnmatched, Dropped]),
        (false, [Dropped, IfUnmatched]),
        (false, [Marked, Dropped]),
        (false, [Dropped, Marked]),
    ]
}

fn spec(kind: (bool, [Unpaired; 2]), input: SchemaRef, keys: Vec<usize>, retracts: bool) -> JoinSpec {
    let mut fields: Vec<Arc<Field>> = vec![];
    for side in 0..2 {
        if kind.0 || kind.1[side] != Unpaired::Dropped {
            fields.extend(input.fields().iter().cloned());
        }
    }
    if kind.1.contains(&Unpaired::Marked) {
        fields.push(Arc::new(Field::new("mark", DataType::Boolean, true)));
    }
    JoinSpec {
        keys: [keys.clone(), keys],
        null_equals_null: false,
        condition: None,
        pairs: kind.0,
        unpaired: kind.1,
        inputs: [input.clone(), input],
        schema: Arc::new(Schema::new(fields)),
        retracts: [retracts; 2],
        horizon_ms: None,
    }
}

type Rows<'a> = &'a [(i64, &'a str)];

fn tick(join: &mut Join, tick: Tick, left: &[(Rows, Diff)], right: &[(Rows, Diff)]) -> String {
    let parts =
        |side: &[(Rows, Diff)]| side.iter().map(|(rows, d)| (batch(rows), Run::Constant(*d))).collect();
    let changes = join.tick(tick, vec![parts(left), parts(right)]);
    assert!(changes.errors.is_empty(), "{:?}", changes.errors);
    let updates: Vec<_> = changes.rows.into_iter().map(|(rows, d)| Updates::at(rows, tick, d)).collect();
    render(&updates)
}

#[test]
fn pairs_come_with_either_side_and_go_with_either() {
    let input = batch(&[]).schema();
    let mut join =
        Join::new(spec((true, [Unpaired::Dropped; 2]), input, vec![0], true), Arc::default()).unwrap();
    expect![""].assert_eq(&tick(&mut join, 1, &[(&[(1, "l"), (2, "l")], 1)], &[]));
    expect![[r#"
        1 l 1 r @2 +1
        1 l 1 s @2 +1
    "#]]
    .assert_eq(&tick(&mut join, 2, &[], &[(&[(1, "r"), (1, "s"), (3, "r")], 1)]));
    // Both sides at once: each pair once.
    expect![[r#"
        3 l 3 r @3 +1
        4 l 4 r @3 +1
    "#]]
    .assert_eq(&tick(&mut join, 3, &[(&[(3, "l"), (4, "l")], 1)], &[(&[(4, "r")], 1)]));
    expect![[r#"
        1 l 1 r @4 -1
        1 l 1 s @4 -1
    "#]]
    .assert_eq(&tick(&mut join, 4, &[(&[(1, "l")], -1)], &[]));
}

#[test]
fn an_outer_row_is_padded_while_it_has_no_pair() {
    let input = batch(&[]).schema();
    let kind = (true, [Unpaired::Padded, Unpaired::Dropped]);
    let mut join = Join::new(spec(kind, input, vec![0], true), Arc::default()).unwrap();
    expect![[r#"
        1 l null null @1 +1
    "#]]
    .assert_eq(&tick(&mut join, 1, &[(&[(1, "l")], 1)], &[]));
    expect![[r#"
        1 l 1 r @2 +1
        1 l null null @2 -1
    "#]]
    .assert_eq(&tick(&mut join, 2, &[], &[(&[(1, "r")], 1)]));
    expect![[r#"
        1 l 1 r @3 -1
        1 l null null @3 +1
    "#]]
    .assert_eq(&tick(&mut join, 3, &[], &[(&[(1, "r")], -1)]));
}

#[test]
fn behind_the_horizon_rows_are_dropped_and_counted() {
    let input = batch(&[]).schema();
    let mut spec = spec((true, [Unpaired::Dropped; 2]), input, vec![0], false);
    spec.horizon_ms = Some(100);
    let counters: Arc<crate::delta::stats::Counters> = Arc::default();
    let mut join = Join::new(spec, counters.clone()).unwrap();
    let old: Vec<(i64, &str)> = (0..8).map(|n| (n, "l")).collect();
    tick(&mut join, 1000, &[(&old, 1)], &[]);
    assert_eq!(tick(&mut join, 1050, &[], &[(&[(3, "r")], 1)]), "3 l 3 r @1050 +1\n");
    tick(&mut join, 1101, &[], &[]);
    assert_eq!(tick(&mut join, 1102, &[], &[(&[(4, "r")], 1)]), "");
    assert_eq!(counters.expired_rows.load(std::sync::atomic::Ordering::Relaxed), 8);
}

/// Whether a pair meets the condition of the oracle: the left text sorts before the right.
fn meets(condition: bool, left: &Row, right: &Row) -> bool {
    left.0.is_some() && left.0 == right.0 && (!condition || left.1 < right.1)
}

fn recomputed(kind: (bool, [Unpaired; 2]), condition: bool, inputs: &[Vec<Row>]) -> Bag {
    let mut bag = Bag::new();
    let mut add = |row: Vec<String>| *bag.entry(row).or_default() += 1;
    if kind.0 {
        for left in &inputs[0] {
            for right in inputs[1].iter().filter(|right| meets(condition, left, right)) {
                add([row_texts(left), row_texts(right)].concat());
            }
        }
    }
    for side in 0..2 {
        for row in &inputs[side] {
            let matched = inputs[1 - side].iter().any(|other| match side {
                0 => meets(condition, row, other),
                _ => meets(condition, other, row),
            });
            let texts = row_texts(row);
            let nulls = vec!["null".to_owned(); 3];
            match kind.1[side] {
                Unpaired::Padded if !matched && side == 0 => add([texts, nulls].concat()),
                Unpaired::Padded if !matched => add([nulls, texts].concat()),
                Unpaired::IfMatched if matched => add(texts),
                Unpaired::IfUnmatched if !matched => add(texts),
                Unpaired::Marked => add([texts, vec![matched.to_string()]].concat()),
                _ => {}
            }
        }
    }
    bag
}

#[test]
fn equals_recomputation() {
    let column = |name: &str, i| Arc::new(Column::new(name, i)) as Arc<dyn PhysicalExpr>;
    let before: Arc<dyn PhysicalExpr> = Arc::new(BinaryExpr::new(column("s", 1), Op::Lt, column("s", 4)));
    for kind in kinds() {
        for (retracts, condition) in [(false, false), (true, false), (true, true)] {
            let mut spec = spec(kind, schema(), vec![0], retracts);
            spec.condition = condition.then(|| before.clone());
            let output = spec.schema.clone();
            let node = Node::Join { left: 0, right: 1, spec };
            oracle(&plan(2, vec![(node, output)]), 2, retracts, |inputs, _| {
                recomputed(kind, condition, inputs)
            });
        }
    }
}

#[test]
fn a_condition_that_fails_is_an_error_while_its_pair_exists() {
    let input = batch(&[]).schema();
    let mut spec = spec((true, [Unpaired::Dropped; 2]), input, vec![1], true);
    let one = Arc::new(Literal::new(ScalarValue::Int64(Some(1))));
    let right = Arc::new(Column::new("n", 2));
    let ratio = Arc::new(BinaryExpr::new(one.clone(), Op::Divide, right));
    spec.condition = Some(Arc::new(BinaryExpr::new(ratio, Op::Eq, one)));
    let mut join = Join::new(spec, Arc::default()).unwrap();
    let part = |rows: Rows, diff| vec![(batch(rows), Run::Constant(diff))];
    let changes = join.tick(1, vec![part(&[(7, "a")], 1), part(&[(0, "a"), (1, "a")], 1)]);
    assert_eq!(changes.rows.len(), 1);
    expect![[r#"[("Arrow error: Divide by zero error", 1)]"#]].assert_eq(&format!("{:?}", changes.errors));
    let changes = join.tick(2, vec![vec![], part(&[(0, "a")], -1)]);
    expect![[r#"[("Arrow error: Divide by zero error", -1)]"#]].assert_eq(&format!("{:?}", changes.errors));
}
