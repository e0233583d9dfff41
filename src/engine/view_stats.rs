//! The tables `view_stats` and `operator_stats`: what views and their operators hold and cost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::contents::ViewContents;
use super::operators::{OperatorId, Operators, users};
use crate::delta::stats::Counts;
use crate::delta::updates::Tick;
use crate::sql::catalog::{Contents, Kind, Relation};
use crate::sql::error::SqlError;

/// The system table of the views.
pub(super) const VIEW_STATS: &str = "view_stats";

/// The system table of their operators.
pub(super) const OPERATOR_STATS: &str = "operator_stats";

/// What keeps the rows of a view, in `operator_stats` and EXPLAIN DATAFLOW.
pub(super) const ARRANGE: &str = "Arrange";

/// A view as it is at one closed tick, with what its operators count now.
pub(super) struct ViewFigures {
    pub name: String,
    pub horizon_ms: Option<u64>,
    pub contents: Arc<ViewContents>,
    pub operators: Arc<Operators>,
    pub updates_per_second: f64,
    /// Rows that came when a subscription had told their window.
    pub corrected_rows: u64,
}

impl ViewFigures {
    /// What the operator that keeps the result counts: its state is the view's own rows.
    pub fn result(&self) -> Counts {
        let (rows, bytes) = self.contents.size();
        let counts = self.operators.result.counts();
        Counts { state_rows: rows as u64, state_bytes: bytes as u64, ..counts }
    }
}

/// The views at one closed tick, by name. Tables are built when they are read: counting rows costs a merge.
#[derive(Default)]
pub(super) struct Figures {
    pub tick: Tick,
    pub views: Vec<ViewFigures>,
}

impl Figures {
    /// The views that use each operator.
    pub fn users(&self) -> BTreeMap<OperatorId, Vec<&str>> {
        users(self.views.iter().map(|view| (view.name.as_str(), view.operators.as_ref())))
    }
}

/// The views other than `view` that use an operator; none where it alone does.
pub(super) fn shared_with(
    users: &BTreeMap<OperatorId, Vec<&str>>,
    id: OperatorId,
    view: &str,
) -> Option<String> {
    let others = users.get(&id).into_iter().flatten().copied().filter(|user| *user != view);
    let others: Vec<&str> = others.collect();
    (!others.is_empty()).then(|| others.join(", "))
}

fn number(name: &str, is_nullable: bool) -> Field {
    Field::new(name, DataType::Int64, is_nullable)
}

fn text(name: &str, is_nullable: bool) -> Field {
    Field::new(name, DataType::Utf8, is_nullable)
}

fn float(name: &str) -> Field {
    Field::new(name, DataType::Float64, false)
}

fn integers(values: impl Iterator<Item = u64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values.map(|value| value as i64)))
}

fn seconds(values: impl Iterator<Item = u64>) -> ArrayRef {
    Arc::new(Float64Array::from_iter_values(values.map(|ns| ns as f64 / 1e9)))
}

/// `view_stats`: one row a view.
struct ViewStats {
    schema: SchemaRef,
    figures: Arc<Figures>,
}

/// The relation `view_stats`.
pub(super) fn view_stats(figures: Arc<Figures>) -> Relation {
    let at = DataType::Timestamp(TimeUnit::Millisecond, Some("+00:00".into()));
    let schema = Arc::new(Schema::new(vec![
        text("view", false),
        Field::new("closed_at", at, false),
        number("lag_ms", false),
        number("row_count", true),
        number("result_bytes", false),
        text("error", true),
        number("updates", false),
        float("updates_per_second"),
        float("cpu_seconds"),
        number("state_rows", false),
        number("state_bytes", false),
        number("shared_state_bytes", false),
        number("late_rows", false),
        number("expired_rows", false),
        number("horizon_ms", true),
        number("corrected_rows", false),
    ]));
    let stats = ViewStats { schema: schema.clone(), figures };
    Relation { schema, kind: Kind::System(Arc::new(stats)) }
}

/// The sums of one view.
struct Sums {
    result: Counts,
    /// Of all operators but that which keeps the result.
    operators: Counts,
    /// Bytes of those that other views use too.
    shared_bytes: u64,
}

impl Sums {
    fn of(view: &ViewFigures, users: &BTreeMap<OperatorId, Vec<&str>>) -> Self {
        let mut sums = Sums { result: view.result(), operators: Counts::default(), shared_bytes: 0 };
        for (operator, counts) in view.operators.nodes.iter().zip(view.operators.counts()) {
            sums.operators += counts;
            if users.get(&operator.id).is_some_and(|users| users.len() > 1) {
                sums.shared_bytes += counts.state_bytes;
            }
        }
        sums
    }
}

impl Contents for ViewStats {
    fn read(&self) -> Result<Vec<RecordBatch>, SqlError> {
        let Figures { tick, views } = self.figures.as_ref();
        let users = self.figures.users();
        let sums: Vec<Sums> = views.iter().map(|view| Sums::of(view, &users)).collect();
        let errors: Vec<Option<String>> =
            views.iter().map(|v| v.contents.check().err().map(|e| e.to_string())).collect();
        let rows = views.iter().zip(&errors).map(|(v, error)| error.is_none().then(|| v.contents.count()));
        let wall_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
        let closed = TimestampMillisecondArray::from_iter_values(views.iter().map(|_| *tick as i64));
        let rates = views.iter().map(|view| view.updates_per_second);
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(views.iter().map(|view| &view.name))),
            Arc::new(closed.with_timezone("+00:00")),
            integers(views.iter().map(|_| wall_ms.saturating_sub(*tick))),
            Arc::new(Int64Array::from_iter(rows)),
            integers(sums.iter().map(|s| s.result.state_bytes)),
            Arc::new(StringArray::from(errors.clone())),
            integers(sums.iter().map(|s| s.result.rows_out)),
            Arc::new(Float64Array::from_iter_values(rates)),
            seconds(sums.iter().map(|s| s.result.busy_ns + s.operators.busy_ns)),
            integers(sums.iter().map(|s| s.operators.state_rows)),
            integers(sums.iter().map(|s| s.operators.state_bytes)),
            integers(sums.iter().map(|s| s.shared_bytes)),
            integers(sums.iter().map(|s| s.operators.late_rows)),
            integers(sums.iter().map(|s| s.operators.expired_rows)),
            Arc::new(Int64Array::from_iter(views.iter().map(|v| v.horizon_ms.map(|ms| ms as i64)))),
            integers(views.iter().map(|view| view.corrected_rows)),
        ];
        Ok(vec![RecordBatch::try_new(self.schema.clone(), columns)?])
    }
}

/// `operator_stats`: one row an operator of a view.
struct OperatorStats {
    schema: SchemaRef,
    figures: Arc<Figures>,
}

/// The relation `operator_stats`.
pub(super) fn operator_stats(figures: Arc<Figures>) -> Relation {
    let mut fields = vec![
        text("view", false),
        number("operator_id", false),
        text("operator", false),
        text("shared_with", true),
    ];
    fields.extend(counted_fields());
    fields.extend(["late_rows", "expired_rows", "fits"].map(|name| number(name, false)));
    let schema = Arc::new(Schema::new(fields));
    let stats = OperatorStats { schema: schema.clone(), figures };
    Relation { schema, kind: Kind::System(Arc::new(stats)) }
}

/// The figures of an operator that EXPLAIN DATAFLOW shows too.
pub(super) fn counted_fields() -> [Field; 5] {
    let [rows_in, rows_out, rows, bytes] =
        ["rows_in", "rows_out", "state_rows", "state_bytes"].map(|name| number(name, true));
    [rows_in, rows_out, rows, bytes, Field::new("cpu_seconds", DataType::Float64, true)]
}

/// Columns of [`counted_fields`]; null where there are no figures.
pub(super) fn counted_columns(counts: &[Option<Counts>]) -> Vec<ArrayRef> {
    let numbers = |f: fn(&Counts) -> u64| -> ArrayRef {
        Arc::new(Int64Array::from_iter(counts.iter().map(|c| c.as_ref().map(|c| f(c) as i64))))
    };
    let busy = counts.iter().map(|c| c.as_ref().map(|c| c.busy_ns as f64 / 1e9));
    vec![
        numbers(|c| c.rows_in),
        numbers(|c| c.rows_out),
        numbers(|c| c.state_rows),
        numbers(|c| c.state_bytes),
        Arc::new(Float64Array::from_iter(busy)),
    ]
}

impl Contents for OperatorStats {
    fn read(&self) -> Result<Vec<RecordBatch>, SqlError> {
        let users = self.figures.users();
        let mut names: Vec<[String; 2]> = vec![];
        let (mut numbers, mut shared, mut counts): (Vec<i64>, Vec<Option<String>>, Vec<Counts>) =
            Default::default();
        for view in &self.figures.views {
            let Operators { plan, nodes, .. } = view.operators.as_ref();
            let operators = nodes.iter().zip(view.operators.counts()).enumerate();
            for (id, (operator, counted)) in operators {
                names.push([view.name.clone(), plan.name(id)]);
                numbers.push(id as i64);
                shared.push(shared_with(&users, operator.id, &view.name));
                counts.push(counted);
            }
            names.push([view.name.clone(), ARRANGE.to_owned()]);
            numbers.push(nodes.len() as i64);
            shared.push(None);
            counts.push(view.result());
        }
        let counted: Vec<Option<Counts>> = counts.iter().copied().map(Some).collect();
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(names.iter().map(|n| &n[0]))),
            Arc::new(Int64Array::from(numbers)),
            Arc::new(StringArray::from_iter_values(names.iter().map(|n| &n[1]))),
            Arc::new(StringArray::from(shared)),
        ];
        columns.extend(counted_columns(&counted));
        columns.push(integers(counts.iter().map(|c| c.late_rows)));
        columns.push(integers(counts.iter().map(|c| c.expired_rows)));
        columns.push(integers(counts.iter().map(|c| c.fits)));
        Ok(vec![RecordBatch::try_new(self.schema.clone(), columns)?])
    }
}
