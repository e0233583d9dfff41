//! The text tests and the oracle of series.

use std::ops::Range;
use std::sync::atomic::Ordering;

use arrow::array::{ArrayRef, Float64Array};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field};
use expect_test::expect;

use super::*;
use crate::delta::plan::Node;
use crate::delta::testing::{Bag, Row, batch, oracle, plan, render, row_texts, schema, texts};
use crate::delta::updates::{Diff, Run, Updates};

/// The sum of a value and the one before it; NaN counts as nothing. Panics over 13.
#[derive(Clone, Debug)]
struct Sums {
    /// Whether all is always computed anew.
    is_whole: bool,
    values: Vec<f64>,
}

impl SeriesFunction for Sums {
    fn begin(&self, _: u64) -> Box<dyn SeriesState> {
        Box::new(self.clone())
    }
}

impl SeriesState for Sums {
    fn affected(&mut self, edits: &[Edit]) -> Option<Vec<Range<usize>>> {
        let affected = edits.iter().map(|edit| edit.position + edit.removed).map(|at| at..at + 1);
        (!self.is_whole).then(|| affected.collect())
    }

    fn apply(&mut self, edits: &[Edit]) {
        for (position, edit) in in_turn(edits) {
            let new = std::iter::repeat_n(edit.value, edit.inserted);
            self.values.splice(position..position + edit.removed, new);
        }
    }

    fn result(&mut self, position: usize, numbers: &mut Vec<f64>) {
        let value = |position: usize| Some(self.values[position]).filter(|v| !v.is_nan()).unwrap_or(0.0);
        let sum = value(position) + position.checked_sub(1).map_or(0.0, value);
        assert!(sum != 13.0, "thirteen");
        numbers.push(sum);
    }

    fn bytes(&self) -> usize {
        self.values.capacity() * size_of::<f64>()
    }
}

fn fields() -> Fields {
    Fields::from(vec![Field::new("sum", DataType::Float64, true)])
}

fn spec(input: SchemaRef, partition: Vec<usize>, is_whole: bool, retracts: bool) -> SeriesSpec {
    let mut all = input.fields().to_vec();
    all.push(Arc::new(Field::new("s", DataType::Struct(fields()), true)));
    let function = Arc::new(Sums { is_whole, values: vec![] });
    SeriesSpec {
        partition,
        order: vec![OrderColumn { column: 0, options: SortOptions { descending: false, nulls_first: true } }],
        calls: vec![SeriesCall {
            name: "sums".to_owned(),
            function,
            fields: fields(),
            place: 0,
            value: 0,
            hash: None,
        }],
        input,
        schema: Arc::new(Schema::new(all)),
        retracts,
        horizon_ms: None,
    }
}

fn operator(retracts: bool, horizon_ms: Option<u64>) -> Series {
    let spec = SeriesSpec { horizon_ms, ..spec(batch(&[]).schema(), vec![1], false, retracts) };
    Series::new(spec, Arc::default()).unwrap()
}

/// The changes of a tick as text, errors last.
fn tick(operator: &mut Series, tick: Tick, parts: &[(&[(i64, &str)], Diff)]) -> String {
    let parts = parts.iter().map(|(rows, diff)| (batch(rows), Run::Constant(*diff))).collect();
    let changes = operator.tick(tick, vec![parts]);
    let updates: Vec<_> = changes.rows.into_iter().map(|(rows, d)| Updates::at(rows, tick, d)).collect();
    let errors = changes.errors.into_iter().map(|(message, diff)| format!("{message} {diff:+}\n"));
    render(&updates) + &errors.collect::<String>()
}

#[test]
fn only_rows_with_other_results_are_sent() {
    let mut operator = operator(true, None);
    expect![[r#"
        1 a {sum: 1.0} @1 +1
        2 a {sum: 3.0} @1 +1
        5 a {sum: 7.0} @1 +1
        5 b {sum: 5.0} @1 +1
    "#]]
    .assert_eq(&tick(&mut operator, 1, &[(&[(5, "a"), (1, "a"), (5, "b")], 1), (&[(2, "a")], 1)]));
    // One at the end changes no other, and a late one that behind it.
    expect![[r#"
        3 a {sum: 5.0} @2 +1
        5 a {sum: 7.0} @2 -1
        5 a {sum: 8.0} @2 +1
        6 b {sum: 11.0} @2 +1
    "#]]
    .assert_eq(&tick(&mut operator, 2, &[(&[(3, "a"), (6, "b")], 1)]));
    // What goes and comes again is not sent.
    expect![""].assert_eq(&tick(
        &mut operator,
        3,
        &[(&[(3, "a"), (6, "b")], 1), (&[(6, "b"), (3, "a")], -1)],
    ));
    // A correction is a row that goes and one that comes.
    expect![[r#"
        6 b {sum: 11.0} @4 -1
        7 b {sum: 12.0} @4 +1
    "#]]
    .assert_eq(&tick(&mut operator, 4, &[(&[(6, "b")], -1), (&[(7, "b")], 1)]));
}

#[test]
fn copies_of_a_row_are_rows() {
    let mut operator = operator(true, None);
    expect![[r#"
        2 a {sum: 2.0} @1 +1
        2 a {sum: 4.0} @1 +1
        2 a {sum: 4.0} @1 +1
    "#]]
    .assert_eq(&tick(&mut operator, 1, &[(&[(2, "a")], 3)]));
    expect![[r#"
        2 a {sum: 4.0} @2 -1
    "#]]
    .assert_eq(&tick(&mut operator, 2, &[(&[(2, "a")], -1)]));
    expect![[r#"
        2 a {sum: 2.0} @3 -1
        2 a {sum: 4.0} @3 -1
    "#]]
    .assert_eq(&tick(&mut operator, 3, &[(&[(2, "a")], -2)]));
    expect![""].assert_eq(&tick(&mut operator, 4, &[(&[(2, "a")], 1), (&[(2, "a")], -1)]));
}

#[test]
fn an_error_stands_until_its_row_is_gone() {
    let mut operator = operator(true, None);
    tick(&mut operator, 1, &[(&[(1, "a"), (3, "a"), (1, "b")], 1)]);
    expect![[r#"
        1 a {sum: 1.0} @2 -1
        2 b {sum: 3.0} @2 +1
        3 a {sum: 4.0} @2 -1
        Execution error: a function panicked: thirteen +1
    "#]]
    .assert_eq(&tick(&mut operator, 2, &[(&[(10, "a"), (2, "b")], 1)]));
    expect![[r#"
        1 a {sum: 1.0} @3 +1
        11 a {sum: 14.0} @3 +1
        3 a {sum: 4.0} @3 +1
        Execution error: a function panicked: thirteen -1
    "#]]
    .assert_eq(&tick(&mut operator, 3, &[(&[(10, "a")], -1), (&[(11, "a")], 1)]));
}

#[test]
fn a_series_that_nothing_comes_for_is_forgotten() {
    let mut operator = operator(false, Some(10));
    let names: Vec<String> = (0..8).map(|n| n.to_string()).collect();
    let rows: Vec<(i64, &str)> = names.iter().map(|name| (1, name.as_str())).collect();
    tick(&mut operator, 1, &[(&rows, 1)]);
    tick(&mut operator, 20, &[(&[(2, "7")], 1)]);
    assert_eq!(operator.counters.expired_rows.load(Ordering::Relaxed), 7);
    expect![[r#"
        2 0 {sum: 2.0} @21 +1
        3 7 {sum: 5.0} @21 +1
    "#]]
    .assert_eq(&tick(&mut operator, 21, &[(&[(2, "0"), (3, "7")], 1)]));
    assert_eq!(operator.counters.read().state_rows, 4);
}

#[test]
fn series_without_rows_give_their_numbers_back() {
    let mut operator = operator(true, None);
    let names: Vec<String> = (0..12).map(|n| n.to_string()).collect();
    let rows: Vec<(i64, &str)> = names.iter().map(|name| (1, name.as_str())).collect();
    tick(&mut operator, 1, &[(&rows, 1)]);
    tick(&mut operator, 2, &[(&rows[1..], -1)]);
    assert_eq!((operator.partitions.count(), operator.series.len()), (1, 1));
    expect![[r#"
        2 0 {sum: 3.0} @3 +1
        2 5 {sum: 2.0} @3 +1
    "#]]
    .assert_eq(&tick(&mut operator, 3, &[(&[(2, "0"), (2, "5")], 1)]));
}

/// By `s`, in the order of `n`, nulls first, ties by `s` and `at`.
fn expected(rows: &[Row], by_text: bool) -> Bag {
    let mut rows: Vec<&Row> = rows.iter().collect();
    let key = |row: &Row| if by_text { row.1.clone() } else { String::new() };
    rows.sort_by_key(|row| (key(row), row.0, row.1.clone(), row.2.is_none(), row.2));
    let mut bag = Bag::new();
    for series in rows.chunk_by(|a, b| key(a) == key(b)) {
        let mut before = 0.0;
        for row in series {
            let value = row.0.unwrap_or(0) as f64;
            let sums: ArrayRef = Arc::new(Float64Array::from(vec![value + before]));
            before = value;
            let sums = arrow::array::StructArray::new(fields(), vec![sums], None);
            let columns = vec![Arc::new(sums) as ArrayRef];
            let schema = Schema::new(vec![Field::new("s", DataType::Struct(fields()), true)]);
            let result = texts(&RecordBatch::try_new(Arc::new(schema), columns).unwrap());
            *bag.entry([row_texts(row), result[0].clone()].concat()).or_default() += 1;
        }
    }
    bag
}

#[test]
fn equals_recomputation() {
    for (partition, is_whole, retracts) in
        [(vec![1], false, true), (vec![1], true, true), (vec![1], false, false), (vec![], false, true)]
    {
        let by_text = !partition.is_empty();
        let spec = spec(schema(), partition, is_whole, retracts);
        let result = spec.schema.clone();
        let plan = plan(1, vec![(Node::Series { input: 0, spec }, result)]);
        oracle(&plan, 1, retracts, |inputs, _| expected(&inputs[0], by_text));
    }
}
