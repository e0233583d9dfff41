//! The oracle of detectors: over any history a view equals the window function of a batch query, to the bit.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::WindowUDFImpl;
use datafusion::logical_expr::function::PartitionEvaluatorArgs;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, Literal};

use super::window::DetectorFunction;
use crate::delta::order::OrderColumn;
use crate::delta::plan::Node;
use crate::delta::series::{SeriesCall, SeriesSpec};
use crate::delta::testing::{Bag, Row, oracle, plan, row_texts, rows_of, schema, texts};

/// A detector with options, over `n` in the order of `at`.
struct Call {
    function: DetectorFunction,
    arguments: Vec<Arc<dyn PhysicalExpr>>,
}

impl Call {
    /// The detector `name`; the options that are not there are null.
    fn new(name: &str, options: &[(&str, ScalarValue)]) -> Self {
        let detector = super::detectors().into_iter().find(|detector| detector.name() == name).unwrap();
        assert!(options.iter().all(|(name, _)| detector.options().contains(name)));
        let value =
            |name: &&str| options.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone());
        let literal =
            |name| Arc::new(Literal::new(value(name).unwrap_or(ScalarValue::Null))) as Arc<dyn PhysicalExpr>;
        let columns = [("at", 2), ("n", 0)]
            .map(|(name, index)| Arc::new(Column::new(name, index)) as Arc<dyn PhysicalExpr>);
        let options: Vec<_> = detector.options().iter().map(literal).collect();
        let function = DetectorFunction::new(detector);
        let hash = function.hash_at().map(|_| Arc::new(Literal::new(number(0))) as Arc<dyn PhysicalExpr>);
        Call { function, arguments: columns.into_iter().chain(hash).chain(options).collect() }
    }

    /// What the window function gives for the rows of one partition.
    fn batch(&self, rows: &RecordBatch) -> ArrayRef {
        let schema = schema();
        let fields: Vec<_> = [2, 0].iter().map(|index| Arc::new(schema.field(*index).clone())).collect();
        let arguments = PartitionEvaluatorArgs::new(&self.arguments, &fields, false, false);
        let mut evaluator = self.function.partition_evaluator(arguments).unwrap();
        let columns = [rows.column(2).clone(), rows.column(0).clone()];
        evaluator.evaluate_all(&columns, rows.num_rows()).unwrap()
    }

    fn series(&self) -> SeriesCall {
        SeriesCall {
            name: "called".to_owned(),
            function: self.function.configure(schema().field(2).data_type(), &self.arguments).unwrap(),
            fields: self.function.fields(),
            place: 2,
            value: 0,
            hash: None,
        }
    }
}

fn result(calls: &[Call]) -> SchemaRef {
    let mut fields = schema().fields().to_vec();
    let of = |call: &Call| Arc::new(Field::new("s", DataType::Struct(call.function.fields()), true));
    fields.extend(calls.iter().map(of));
    Arc::new(Schema::new(fields))
}

/// By `s`, in the order of `at`, ties by `n`.
fn expected(calls: &[Call], rows: &[Row], nulls_first: bool) -> Bag {
    let mut rows: Vec<&Row> = rows.iter().collect();
    rows.sort_by_key(|row| (row.1.clone(), row.2.is_none() != nulls_first, row.2, row.0.is_none(), row.0));
    let mut bag = Bag::new();
    for series in rows.chunk_by(|a, b| a.1 == b.1) {
        let mut columns = rows_of(series.iter().copied()).columns().to_vec();
        let batch = rows_of(series.iter().copied());
        columns.extend(calls.iter().map(|call| call.batch(&batch)));
        let all = RecordBatch::try_new(result(calls), columns).unwrap();
        for (row, texts) in series.iter().zip(texts(&all)) {
            assert_eq!(row_texts(row), texts[..3]);
            *bag.entry(texts).or_default() += 1;
        }
    }
    bag
}

fn check(calls: &[(&str, &[(&str, ScalarValue)])]) {
    let calls: Vec<Call> = calls.iter().map(|(name, options)| Call::new(name, options)).collect();
    for (retracts, nulls_first) in [(true, false), (false, true)] {
        let options = SortOptions { descending: false, nulls_first };
        let spec = SeriesSpec {
            partition: vec![1],
            order: vec![OrderColumn { column: 2, options }],
            calls: calls.iter().map(Call::series).collect(),
            input: schema(),
            schema: result(&calls),
            retracts,
            horizon_ms: None,
        };
        let plan = plan(1, vec![(Node::Series { input: 0, spec }, result(&calls))]);
        oracle(&plan, 1, retracts, |inputs, _| expected(&calls, &inputs[0], nulls_first));
    }
}

fn number(number: i64) -> ScalarValue {
    ScalarValue::Int64(Some(number))
}

fn text(text: &str) -> ScalarValue {
    ScalarValue::Utf8(Some(text.to_owned()))
}

fn on() -> ScalarValue {
    ScalarValue::Boolean(Some(true))
}

fn half_second() -> ScalarValue {
    ScalarValue::new_interval_mdn(0, 0, 500_000_000)
}

#[test]
fn three_sigma_equals_the_window_function() {
    check(&[("three_sigma", &[("min_samples", number(3))])]);
    check(&[("three_sigma", &[("min_samples", number(3)), ("window", number(5))])]);
    check(&[("three_sigma", &[("min_samples", number(3)), ("window", number(2)), ("robust", on())])]);
    check(&[("three_sigma", &[("min_samples", number(3)), ("robust", on())])]);
}

#[test]
fn change_points_equal_the_window_function() {
    check(&[("change_points", &[("min_segment", number(2))])]);
    check(&[("change_points", &[("min_segment", number(2)), ("penalty", number(0))])]);
    check(&[(
        "change_points",
        &[("min_segment", number(3)), ("cost", text("meanvar")), ("penalty", text("aic"))],
    )]);
    check(&[(
        "change_points",
        &[("scaling", text("raw")), ("penalty", number(4)), ("min_segment", number(1))],
    )]);
}

#[test]
fn spikes_equal_the_window_function() {
    check(&[("spikes", &[("period", number(4)), ("quiet_points", number(3)), ("threshold", number(1))])]);
    check(&[("spikes", &[])]);
}

#[test]
fn stl_equals_the_window_function() {
    let short = [("period", number(4)), ("window_periods", number(3))];
    let with = |more: &[(&'static str, ScalarValue)]| {
        short.iter().cloned().chain(more.iter().cloned()).collect::<Vec<_>>()
    };
    check(&[("stl", &with(&[("step", half_second())]))]);
    check(&[("stl", &with(&[("step", half_second()), ("refit_every", number(2)), ("robust", on())]))]);
    check(&[("stl", &short)]);
    check(&[("stl", &[("period_max", number(6)), ("step", half_second()), ("refit_every", number(3))])]);
    check(&[("stl", &[("period", number(4)), ("in_sample", on())])]);
}

#[test]
fn several_detectors_of_one_window_equal_the_window_functions() {
    let short = [("period", number(4)), ("window_periods", number(3)), ("step", half_second())];
    check(&[
        ("change_points", &[("min_segment", number(2)), ("penalty", number(1))]),
        ("three_sigma", &[("min_samples", number(3)), ("window", number(3))]),
        ("stl", &short),
        ("spikes", &[("period", number(2))]),
    ]);
}

/// A history is worth its time only if detectors have something to say about it.
#[test]
fn the_rows_of_the_oracle_are_enough_for_results() {
    let rows: Vec<Row> = (0..40).map(|i| (Some(i % 4), "a".to_owned(), Some(500 * i))).collect();
    for (name, options) in [
        ("three_sigma", vec![]),
        ("stl", vec![("period", number(4)), ("window_periods", number(3)), ("step", half_second())]),
        ("change_points", vec![("min_segment", number(2)), ("penalty", number(0))]),
    ] {
        let results = Call::new(name, &options).batch(&rows_of(rows.iter()));
        let last = results.as_struct().columns().iter().rev().find(|c| c.data_type() == &DataType::Float64);
        let known = cast(last.unwrap(), &DataType::Float64).unwrap();
        assert!(known.as_primitive::<Float64Type>().iter().flatten().count() > 10, "{name}");
    }
}
