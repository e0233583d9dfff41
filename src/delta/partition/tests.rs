//! The text tests and the oracle of partitions.

use std::fmt;

use arrow::array::{Array, ArrayRef, Int64Array, StringArray};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field};
use expect_test::expect;

use super::*;
use crate::delta::plan::Node;
use crate::delta::testing::{Bag, Row, batch, oracle, plan, render, row_texts, schema};
use crate::delta::updates::Updates;

/// The number of each row in its partition and the text of the row before; fails where the text is "fail".
#[derive(Debug)]
struct Numbered(SchemaRef);

impl Display for Numbered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("number")
    }
}

impl PartitionFunction for Numbered {
    fn evaluate(&self, rows: &RecordBatch, partitions: &[Range<usize>]) -> DataFusionResult<RecordBatch> {
        let texts = rows.column(1).as_any().downcast_ref::<StringArray>().unwrap();
        if texts.iter().flatten().any(|text| text == "fail") {
            return Err(DataFusionError::Execution("a row says so".to_owned()));
        }
        assert!(partitions.iter().all(|range| !range.is_empty()));
        let numbers = partitions.iter().flat_map(|range| 1..=range.len() as i64);
        let before =
            partitions.iter().flat_map(|range| range.clone().map(move |row| (row, row == range.start)));
        let before = before.map(|(row, is_first)| (!is_first).then(|| texts.value(row - 1)));
        let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
        columns.push(Arc::new(Int64Array::from_iter_values(numbers)));
        columns.push(Arc::new(before.collect::<StringArray>()));
        Ok(RecordBatch::try_new(self.0.clone(), columns)?)
    }
}

fn spec(input: SchemaRef, partition: Vec<usize>, retracts: bool, horizon_ms: Option<u64>) -> PartitionSpec {
    let mut fields = input.fields().to_vec();
    fields.push(Arc::new(Field::new("number", DataType::Int64, true)));
    fields.push(Arc::new(Field::new("before", DataType::Utf8, true)));
    let schema = Arc::new(Schema::new(fields));
    let options = SortOptions { descending: true, nulls_first: true };
    PartitionSpec {
        partition,
        order: vec![OrderColumn { column: 1, options }],
        function: Arc::new(Numbered(schema.clone())),
        input,
        schema,
        retracts,
        horizon_ms,
    }
}

fn operator(retracts: bool, horizon_ms: Option<u64>) -> Partition {
    Partition::new(spec(batch(&[]).schema(), vec![0], retracts, horizon_ms), Arc::default()).unwrap()
}

/// The changes of a tick as text, errors last.
fn tick(operator: &mut Partition, tick: Tick, parts: &[(&[(i64, &str)], Diff)]) -> String {
    let parts = parts.iter().map(|(rows, diff)| (batch(rows), Run::Constant(*diff))).collect();
    let changes = operator.tick(tick, vec![parts]);
    let updates: Vec<_> = changes.rows.into_iter().map(|(rows, d)| Updates::at(rows, tick, d)).collect();
    let errors = changes.errors.into_iter().map(|(message, diff)| format!("{message} {diff:+}\n"));
    render(&updates) + &errors.collect::<String>()
}

#[test]
fn only_what_is_different_is_sent() {
    let mut operator = operator(true, None);
    expect![[r#"
        1 a 2 b @1 +1
        1 b 1 null @1 +1
        2 c 1 null @1 +1
    "#]]
    .assert_eq(&tick(&mut operator, 1, &[(&[(1, "a"), (2, "c")], 1), (&[(1, "b")], 1)]));
    // At the end of a partition nothing else moves, and twice means two numbers.
    expect![[r#"
        1 _ 3 a @2 +1
        1 _ 4 _ @2 +1
    "#]]
    .assert_eq(&tick(&mut operator, 2, &[(&[(1, "_"), (1, "_")], 1)]));
    expect![[r#"
        1 _ 2 a @3 +1
        1 _ 3 _ @3 +1
        1 _ 3 a @3 -1
        1 _ 4 _ @3 -1
        1 a 1 null @3 +1
        1 a 2 b @3 -1
        1 b 1 null @3 -1
    "#]]
    .assert_eq(&tick(&mut operator, 3, &[(&[(1, "b")], -1)]));
    expect![""].assert_eq(&tick(
        &mut operator,
        4,
        &[(&[(2, "c"), (3, "x")], -1), (&[(2, "c"), (3, "x")], 1)],
    ));
}

#[test]
fn an_error_stands_until_its_row_is_gone() {
    let mut operator = operator(true, None);
    expect![[r#"
        2 a 1 null @1 +1
        Execution error: a row says so +1
    "#]]
    .assert_eq(&tick(&mut operator, 1, &[(&[(1, "fail"), (1, "a"), (2, "a")], 1)]));
    expect![[r#"
        1 a 1 null @2 +1
        Execution error: a row says so -1
    "#]]
    .assert_eq(&tick(&mut operator, 2, &[(&[(1, "fail")], -1)]));
}

#[test]
fn a_partition_that_nothing_comes_for_is_forgotten() {
    let mut operator = operator(false, Some(10));
    let rows: Vec<(i64, &str)> = (0..8).map(|n| (n, "a")).collect();
    tick(&mut operator, 1, &[(&rows, 1)]);
    tick(&mut operator, 20, &[(&[(7, "b")], 1)]);
    assert_eq!(operator.counters.expired_rows.load(Ordering::Relaxed), 7);
    expect![[r#"
        1 a 1 null @21 +1
        7 _ 3 a @21 +1
    "#]]
    .assert_eq(&tick(&mut operator, 21, &[(&[(1, "a"), (7, "_")], 1)]));
}

#[test]
fn partitions_without_rows_give_their_numbers_back() {
    let mut operator = operator(true, None);
    let rows: Vec<(i64, &str)> = (0..12).map(|n| (n, "a")).collect();
    tick(&mut operator, 1, &[(&rows, 1)]);
    tick(&mut operator, 2, &[(&rows[1..], -1)]);
    assert_eq!(operator.partitions.count(), 1);
    expect![[r#"
        0 _ 2 a @3 +1
        5 a 1 null @3 +1
    "#]]
    .assert_eq(&tick(&mut operator, 3, &[(&[(0, "_"), (5, "a")], 1)]));
}

/// By `n`, in the descending order of `s`, nulls of `at` last.
fn expected(rows: &[Row], by_number: bool) -> Bag {
    let mut rows: Vec<&Row> = rows.iter().collect();
    let key = |row: &Row| if by_number { row.0 } else { None };
    rows.sort_by_key(|row| {
        (key(row), std::cmp::Reverse(row.1.clone()), row.0.is_none(), row.0, row.2.is_none(), row.2)
    });
    let mut bag = Bag::new();
    for group in rows.chunk_by(|a, b| key(a) == key(b)) {
        for (index, row) in group.iter().enumerate() {
            let before = index.checked_sub(1).map_or("null".to_owned(), |i| group[i].1.clone());
            let mut texts = row_texts(row);
            texts.extend([(index + 1).to_string(), before]);
            *bag.entry(texts).or_default() += 1;
        }
    }
    bag
}

#[test]
fn equals_recomputation() {
    for (partition, retracts) in [(vec![0], true), (vec![0], false), (vec![], true)] {
        let by_number = !partition.is_empty();
        let spec = spec(schema(), partition, retracts, None);
        let schema = spec.schema.clone();
        let plan = plan(1, vec![(Node::Partition { input: 0, spec }, schema)]);
        oracle(&plan, 1, retracts, |inputs, _| expected(&inputs[0], by_number));
    }
}
