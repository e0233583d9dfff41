//! The text tests and the oracles of joins of many inputs.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator as Op;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal};
use expect_test::expect;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::delta::join::{Join, JoinSpec, Unpaired};
use crate::delta::plan::Node;
use crate::delta::testing::{
    Bag, History, Row, bag, batch, history, oracle, plan, render, row_texts, rows_of, schema,
};
use crate::delta::updates::Updates;

fn joined(inputs: &[SchemaRef]) -> SchemaRef {
    let fields = inputs.iter().flat_map(|schema| schema.fields().iter().cloned());
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn spec(inputs: usize, input: SchemaRef, keys: Vec<usize>, retracts: bool) -> MultiJoinSpec {
    let schemas = vec![input; inputs];
    MultiJoinSpec {
        keys: vec![keys; inputs],
        null_equals_null: false,
        conditions: vec![],
        schema: joined(&schemas),
        inputs: schemas,
        retracts: vec![retracts; inputs],
        horizon_ms: None,
    }
}

fn column(index: usize) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new("c", index))
}

fn binary(left: Arc<dyn PhysicalExpr>, op: Op, right: Arc<dyn PhysicalExpr>) -> Arc<dyn PhysicalExpr> {
    Arc::new(BinaryExpr::new(left, op, right))
}

fn condition(inputs: usize, expression: Arc<dyn PhysicalExpr>) -> Condition {
    Condition { inputs, expression }
}

type Rows<'a> = &'a [(i64, &'a str)];

fn tick(join: &mut MultiJoin, tick: Tick, inputs: &[&[(Rows, Diff)]]) -> String {
    let parts = |input: &&[(Rows, Diff)]| {
        input.iter().map(|(rows, diff)| (batch(rows), Run::Constant(*diff))).collect()
    };
    let changes = join.tick(tick, inputs.iter().map(parts).collect());
    assert!(changes.errors.is_empty(), "{:?}", changes.errors);
    let updates: Vec<_> = changes.rows.into_iter().map(|(rows, d)| Updates::at(rows, tick, d)).collect();
    render(&updates)
}

#[test]
fn combinations_come_with_the_last_row_and_go_with_any() {
    let spec = spec(3, batch(&[]).schema(), vec![0], true);
    let counters: Arc<Counters> = Arc::default();
    let mut join = MultiJoin::new(spec, counters.clone()).unwrap();
    assert_eq!(tick(&mut join, 1, &[&[(&[(1, "a"), (2, "a")], 1)], &[(&[(1, "b"), (1, "B")], 1)], &[]]), "");
    // Four rows, and no pair of them.
    assert_eq!(counters.read().state_rows, 4);
    expect![[r#"
        1 a 1 B 1 c @2 +2
        1 a 1 b 1 c @2 +2
    "#]]
    .assert_eq(&tick(&mut join, 2, &[&[], &[], &[(&[(1, "c")], 2), (&[(3, "c")], 1)]]));
    // All three at once: each combination once.
    expect![[r#"
        3 a 3 b 3 c @3 +1
        4 a 4 b 4 c @3 +1
    "#]]
    .assert_eq(&tick(
        &mut join,
        3,
        &[&[(&[(3, "a"), (4, "a")], 1)], &[(&[(3, "b"), (4, "b")], 1)], &[(&[(4, "c")], 1)]],
    ));
    expect![[r#"
        1 a 1 B 1 c @4 -2
        3 a 3 b 3 c @4 -1
        3 a 3 b 3 d @4 +1
    "#]]
    .assert_eq(&tick(&mut join, 4, &[&[], &[(&[(1, "B")], -1)], &[(&[(3, "c")], -1), (&[(3, "d")], 1)]]));
}

#[test]
fn behind_the_horizon_rows_are_dropped_and_counted() {
    let mut spec = spec(3, batch(&[]).schema(), vec![0], false);
    spec.retracts[1] = true;
    spec.horizon_ms = Some(100);
    let counters: Arc<Counters> = Arc::default();
    let mut join = MultiJoin::new(spec, counters.clone()).unwrap();
    let old: Vec<(i64, &str)> = (0..8).map(|n| (n, "a")).collect();
    tick(&mut join, 1000, &[&[(&old, 1)], &[(&old, 1)], &[]]);
    assert_eq!(tick(&mut join, 1050, &[&[], &[], &[(&[(3, "c")], 1)]]), "3 a 3 a 3 c @1050 +1\n");
    tick(&mut join, 1101, &[&[], &[], &[]]);
    assert_eq!(tick(&mut join, 1102, &[&[], &[], &[(&[(4, "c")], 1)]]), "");
    // Rows of the second input may be retracted, so that they stay.
    assert_eq!(counters.expired_rows.load(Ordering::Relaxed), 8);
    assert_eq!(tick(&mut join, 1103, &[&[(&[(4, "new")], 1)], &[], &[]]), "4 new 4 a 4 c @1103 +1\n");
}

#[test]
fn keys_of_two_types_are_refused() {
    let mut spec = spec(3, batch(&[]).schema(), vec![0], false);
    spec.keys[2] = vec![1];
    let refusal = MultiJoin::new(spec, Arc::default()).err().unwrap().to_string();
    assert_eq!(refusal, "Error during planning: keys of a join are of two types: Int64 and Utf8");
}

/// What `inputs` give: each row of the first with what `meets` it of the next, and so on.
fn recomputed(inputs: &[Vec<Row>], meets: impl Fn(&[&Row]) -> bool) -> Bag {
    let mut combinations: Vec<Vec<&Row>> = vec![vec![]];
    for input in inputs {
        let longer = combinations.iter().flat_map(|combination| {
            input.iter().map(move |row| combination.iter().copied().chain([row]).collect::<Vec<_>>())
        });
        combinations = longer.filter(|combination| meets(combination)).collect();
    }
    let mut bag = Bag::new();
    for combination in combinations {
        *bag.entry(combination.into_iter().flat_map(row_texts).collect()).or_default() += 1;
    }
    bag
}

#[test]
fn three_inputs_equal_recomputation() {
    for (retracts, is_conditional) in [(false, false), (true, false), (true, true)] {
        let mut spec = spec(3, schema(), vec![0, 1], retracts);
        if is_conditional {
            // The first is due before the last input is looked up, unless that is what changes.
            let earlier = |left, right| binary(column(left), Op::LtEq, column(right));
            spec.conditions = vec![condition(2, earlier(2, 5)), condition(3, earlier(5, 8))];
        }
        let output = spec.schema.clone();
        let node = Node::MultiJoin { inputs: vec![0, 1, 2], spec };
        oracle(&plan(3, vec![(node, output)]), 3, retracts, |inputs, _| {
            recomputed(inputs, |rows| {
                let (first, last) = (rows[0], rows[rows.len() - 1]);
                let is_ordered =
                    rows.windows(2).all(|w| w[0].2.is_some() && w[1].2.is_some() && w[0].2 <= w[1].2);
                let is_met = !is_conditional || is_ordered;
                last.0.is_some() && (last.0, &last.1) == (first.0, &first.1) && is_met
            })
        });
    }
}

#[test]
fn four_inputs_of_which_two_are_the_same_equal_recomputation() {
    for null_equals_null in [false, true] {
        let mut spec = spec(4, schema(), vec![2, 0], true);
        spec.null_equals_null = null_equals_null;
        let output = spec.schema.clone();
        let node = Node::MultiJoin { inputs: vec![0, 1, 0, 2], spec };
        oracle(&plan(3, vec![(node, output)]), 3, true, |inputs, _| {
            let inputs = [0, 1, 0, 2].map(|input| inputs[input].clone());
            recomputed(&inputs, |rows| {
                let (first, last) = (rows[0], rows[rows.len() - 1]);
                let has_null = last.0.is_none() || last.2.is_none();
                (last.0, last.2) == (first.0, first.2) && (null_equals_null || !has_null)
            })
        });
    }
}

/// Two joins that give what a join of three inputs gives.
fn chain(spec: &MultiJoinSpec) -> [Join; 2] {
    let two = |inputs: [SchemaRef; 2], condition: &Condition| {
        let spec = JoinSpec {
            keys: [spec.keys[0].clone(), spec.keys[1].clone()],
            null_equals_null: spec.null_equals_null,
            condition: Some(condition.expression.clone()),
            pairs: true,
            unpaired: [Unpaired::Dropped; 2],
            schema: joined(&inputs),
            inputs,
            retracts: [true; 2],
            horizon_ms: None,
        };
        Join::new(spec, Arc::default()).unwrap()
    };
    let pairs = joined(&spec.inputs[..2]);
    [
        two([spec.inputs[0].clone(), spec.inputs[1].clone()], &spec.conditions[0]),
        two([pairs, spec.inputs[2].clone()], &spec.conditions[1]),
    ]
}

fn parts(history: &History, tick: usize) -> Vec<Vec<Part>> {
    let part = |changes: &Vec<(Row, Diff)>| {
        let diffs = Run::from_vec(changes.iter().map(|c| c.1).collect());
        vec![(rows_of(changes.iter().map(|c| &c.0)), diffs)]
    };
    history[tick].1.iter().map(part).collect()
}

/// Changes as what they come to: rows and errors.
fn summed(rows: &[Part], errors: &[(String, Diff)]) -> (Bag, BTreeMap<String, Diff>) {
    let mut sums = BTreeMap::new();
    errors.iter().for_each(|(error, diff)| *sums.entry(error.clone()).or_default() += diff);
    sums.retain(|_, diff| *diff != 0);
    let mut rows = bag(rows);
    rows.retain(|_, diff| *diff != 0);
    (rows, sums)
}

#[test]
fn it_gives_what_a_chain_gives_errors_among_it() {
    let six_by = |index| {
        let six = Arc::new(Literal::new(ScalarValue::Int64(Some(6))));
        binary(six, Op::Divide, column(index))
    };
    let mut spec = spec(3, schema(), vec![1, 2], true);
    // The rows with 0 fail: for pairs that may be in no combination, and for combinations.
    spec.conditions = vec![
        condition(2, binary(six_by(0), Op::NotEq, column(3))),
        condition(3, binary(six_by(6), Op::NotEq, column(0))),
    ];
    let (mut failed, mut told) = (0, 0);
    for seed in 0..40 {
        let history = history(&mut StdRng::seed_from_u64(seed), 3, true);
        let mut join = MultiJoin::new(spec.clone(), Arc::default()).unwrap();
        let [mut first, mut second] = chain(&spec);
        let (mut rows, mut errors) = (vec![], vec![]);
        for (index, (tick, _)) in history.iter().enumerate() {
            let mut inputs = parts(&history, index);
            let actual = join.tick(*tick, inputs.clone());
            let last = inputs.pop().unwrap();
            let pairs = first.tick(*tick, inputs);
            let mut expected = second.tick(*tick, vec![pairs.rows, last]);
            expected.errors.extend(pairs.errors);
            assert_eq!(
                summed(&actual.rows, &actual.errors),
                summed(&expected.rows, &expected.errors),
                "seed {seed}, tick {tick}"
            );
            rows.extend(actual.rows);
            errors.extend(actual.errors);
            let (present, standing) = summed(&rows, &errors);
            match join.snapshot() {
                Some(rows) => {
                    assert_eq!((summed(&rows, &[]).0, standing), (present, BTreeMap::new()));
                    told += 1;
                }
                None => {
                    assert!(!standing.is_empty());
                    failed += 1;
                }
            }
        }
    }
    assert!(failed > 20 && told > 20, "{failed} ticks with errors, {told} without");
}
