//! The text tests and the oracle of first rows.

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field};
use expect_test::expect;

use super::*;
use crate::delta::plan::Node;
use crate::delta::testing::{Bag, Row, batch, oracle, plan, render, row_texts, schema};
use crate::delta::updates::Updates;

/// The first rows by `s` descending of each `n`.
fn spec(input: SchemaRef, numbering: Numbering, range: (u64, Option<u64>), has_number: bool) -> TopKSpec {
    let mut fields = input.fields().to_vec();
    if has_number {
        fields.push(Arc::new(Field::new("number", DataType::UInt64, true)));
    }
    let options = SortOptions { descending: true, nulls_first: true };
    TopKSpec {
        partition: vec![0],
        order: vec![OrderColumn { column: 1, options }],
        numbering,
        skip: range.0,
        fetch: range.1,
        has_number,
        input,
        schema: Arc::new(Schema::new(fields)),
        retracts: true,
        horizon_ms: None,
    }
}

fn operator(numbering: Numbering, range: (u64, Option<u64>), retracts: bool) -> TopK {
    let spec = spec(batch(&[]).schema(), numbering, range, true);
    TopK::new(TopKSpec { retracts, horizon_ms: Some(10), ..spec }, Arc::default()).unwrap()
}

fn tick(operator: &mut TopK, tick: Tick, parts: &[(&[(i64, &str)], Diff)]) -> String {
    let parts = parts.iter().map(|(rows, diff)| (batch(rows), Run::Constant(*diff))).collect();
    let changes = operator.tick(tick, vec![parts]);
    assert!(changes.errors.is_empty(), "{:?}", changes.errors);
    let updates: Vec<_> = changes.rows.into_iter().map(|(rows, d)| Updates::at(rows, tick, d)).collect();
    render(&updates)
}

#[test]
fn a_better_row_moves_the_others() {
    for retracts in [false, true] {
        let mut operator = operator(Numbering::RowNumber, (0, Some(2)), retracts);
        expect![[r#"
            1 b 2 @1 +1
            1 c 1 @1 +1
            2 a 1 @1 +1
            2 a 2 @1 +1
        "#]]
        .assert_eq(&tick(&mut operator, 1, &[(&[(1, "a"), (1, "b"), (1, "c"), (2, "a"), (2, "a")], 1)]));
        expect![""].assert_eq(&tick(&mut operator, 2, &[(&[(1, "a"), (1, "aa"), (2, "a")], 1)]));
        expect![[r#"
            1 b 2 @3 -1
            1 c 1 @3 -1
            1 c 2 @3 +1
            1 d 1 @3 +1
            2 a 1 @3 -1
            2 b 1 @3 +1
        "#]]
        .assert_eq(&tick(&mut operator, 3, &[(&[(1, "d"), (2, "b")], 1)]));
    }
}

#[test]
fn what_was_behind_comes_to_the_front() {
    let mut operator = operator(Numbering::RowNumber, (1, Some(1)), true);
    tick(&mut operator, 1, &[(&[(1, "a"), (1, "b"), (1, "c"), (1, "c")], 1)]);
    expect![[r#"
        1 b 2 @2 +1
        1 c 2 @2 -1
    "#]]
    .assert_eq(&tick(&mut operator, 2, &[(&[(1, "c")], -1)]));
    expect![[r#"
        1 a 2 @3 +1
        1 b 2 @3 -1
    "#]]
    .assert_eq(&tick(&mut operator, 3, &[(&[(1, "c")], -1)]));
}

#[test]
fn rows_of_one_rank_come_and_go_together() {
    let rows: &[(i64, &str)] = &[(1, "a"), (1, "b"), (1, "b"), (1, "c")];
    for retracts in [false, true] {
        let mut operator = operator(Numbering::Rank, (0, Some(2)), retracts);
        expect![[r#"
            1 b 2 @1 +2
            1 c 1 @1 +1
        "#]]
        .assert_eq(&tick(&mut operator, 1, &[(rows, 1)]));
        expect![[r#"
            1 b 2 @2 -2
            1 c 1 @2 +1
        "#]]
        .assert_eq(&tick(&mut operator, 2, &[(&[(1, "c")], 1)]));
    }
}

#[test]
fn only_rows_up_to_the_last_number_are_kept_where_none_is_retracted() {
    let mut operator = operator(Numbering::RowNumber, (0, Some(1)), false);
    let rows: Vec<(i64, &str)> = (0..100).map(|n| (n % 4, "a")).collect();
    tick(&mut operator, 1, &[(&rows, 1)]);
    let State::Best(best) = &operator.state else { unreachable!("no retractions") };
    assert!(
        (0..4).all(|partition| best.rows(partition).len() == 1 && best.rows(partition)[0].as_pair().1 == 1)
    );
}

#[test]
fn a_partition_that_nothing_comes_for_is_forgotten() {
    let mut operator = operator(Numbering::RowNumber, (0, Some(1)), false);
    let rows: Vec<(i64, &str)> = (0..8).map(|n| (n, "b")).collect();
    tick(&mut operator, 1, &[(&rows, 1)]);
    tick(&mut operator, 20, &[(&[(7, "a")], 1)]);
    assert_eq!(operator.counters.expired_rows.load(Ordering::Relaxed), 7);
    expect![[r#"
        1 a 1 @21 +1
        7 b 1 @21 -1
        7 c 1 @21 +1
    "#]]
    .assert_eq(&tick(&mut operator, 21, &[(&[(1, "a"), (7, "c"), (7, "b")], 1)]));
}

fn expected(rows: &[Row], spec: &TopKSpec) -> Bag {
    let mut rows: Vec<&Row> = rows.iter().collect();
    let key = |row: &Row| if spec.partition.is_empty() { None } else { row.0 };
    rows.sort_by_key(|row| {
        (key(row), std::cmp::Reverse(row.1.clone()), row.0.is_none(), row.0, row.2.is_none(), row.2)
    });
    let mut bag = Bag::new();
    for group in rows.chunk_by(|a, b| key(a) == key(b)) {
        for (index, row) in group.iter().enumerate() {
            let number = match spec.numbering {
                Numbering::RowNumber => index as u64 + 1,
                Numbering::Rank => group.iter().filter(|other| other.1 > row.1).count() as u64 + 1,
            };
            if number <= spec.skip || number > spec.last() {
                continue;
            }
            let mut texts = row_texts(row);
            texts.extend(spec.has_number.then(|| number.to_string()));
            *bag.entry(texts).or_default() += 1;
        }
    }
    bag
}

#[test]
fn equals_recomputation() {
    use Numbering::{Rank, RowNumber};
    let cases = [
        (RowNumber, (0, Some(1)), false, vec![0]),
        (RowNumber, (0, Some(3)), true, vec![0]),
        (RowNumber, (2, Some(3)), false, vec![]),
        (RowNumber, (5, None), false, vec![]),
        (RowNumber, (1, Some(4)), true, vec![]),
        (Rank, (0, Some(1)), false, vec![0]),
        (Rank, (0, Some(4)), true, vec![]),
    ];
    for (numbering, range, has_number, partition) in cases {
        for retracts in [true, false] {
            let spec = TopKSpec {
                partition: partition.clone(),
                retracts,
                ..spec(schema(), numbering, range, has_number)
            };
            let plan = plan(1, vec![(Node::TopK { input: 0, spec: spec.clone() }, spec.schema.clone())]);
            oracle(&plan, 1, retracts, |inputs, _| expected(&inputs[0], &spec));
        }
    }
}
