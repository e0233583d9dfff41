//! Metrics of what is published: views, streams and the intake, read when they are asked for.

use std::sync::Arc;

use arc_swap::ArcSwap;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{CounterVec, GaugeVec, Opts};
use tokio::sync::Semaphore;

use super::State;
use super::connectors::{SINK_STATS, SOURCE_STATS};
use super::system_tables::STREAM_STATS;
use super::view_stats::VIEW_STATS;
use crate::history;
use crate::journal::Health;
use crate::sql::catalog::Kind;

/// Whether a metric only grows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Counter,
    Gauge,
}

/// A column of a system table as a metric: table, column, name, help, and shape. The first column of the
/// table is the label.
type Column = (&'static str, &'static str, &'static str, &'static str, Shape);

const COLUMNS: &[Column] = &[
    (VIEW_STATS, "row_count", "undercurrent_view_rows", "Rows of a view", Shape::Gauge),
    (
        VIEW_STATS,
        "result_bytes",
        "undercurrent_view_result_bytes",
        "Memory of the rows of a view",
        Shape::Gauge,
    ),
    (
        VIEW_STATS,
        "updates",
        "undercurrent_view_updates_total",
        "Changes of the rows of a view",
        Shape::Counter,
    ),
    (
        VIEW_STATS,
        "cpu_seconds",
        "undercurrent_view_cpu_seconds_total",
        "Time that workers spent in the operators of a view, shared ones included",
        Shape::Counter,
    ),
    (
        VIEW_STATS,
        "shared_state_bytes",
        "undercurrent_view_shared_state_bytes",
        "State of those operators of a view that other views use too",
        Shape::Gauge,
    ),
    (VIEW_STATS, "state_bytes", "undercurrent_view_state_bytes", "State of a view's operators", Shape::Gauge),
    (
        VIEW_STATS,
        "late_rows",
        "undercurrent_view_late_rows_total",
        "Rows that came behind a view's horizon",
        Shape::Counter,
    ),
    (
        VIEW_STATS,
        "expired_rows",
        "undercurrent_view_expired_rows_total",
        "Rows that a view's horizon has passed",
        Shape::Counter,
    ),
    (STREAM_STATS, "row_count", "undercurrent_stream_rows_total", "Rows that ever came", Shape::Counter),
    (STREAM_STATS, "stored_rows", "undercurrent_stream_stored_rows", "Rows kept for queries", Shape::Gauge),
    (
        STREAM_STATS,
        "stored_bytes",
        "undercurrent_stream_stored_bytes",
        "Memory of the rows kept for queries",
        Shape::Gauge,
    ),
    (
        STREAM_STATS,
        "evicted_rows",
        "undercurrent_stream_evicted_rows_total",
        "Rows kept once that had to go",
        Shape::Counter,
    ),
    (STREAM_STATS, "history_rows", "undercurrent_stream_history_rows", "Rows on disk", Shape::Gauge),
    (STREAM_STATS, "history_files", "undercurrent_stream_history_files", "Files of these", Shape::Gauge),
    (STREAM_STATS, "history_bytes", "undercurrent_stream_history_bytes", "Bytes of these", Shape::Gauge),
    (SOURCE_STATS, "messages", "undercurrent_source_messages_total", "Messages taken in", Shape::Counter),
    (SOURCE_STATS, "bytes", "undercurrent_source_bytes_total", "Their bytes", Shape::Counter),
    (SOURCE_STATS, "failures", "undercurrent_source_failures_total", "Attempts that failed", Shape::Counter),
    (
        SOURCE_STATS,
        "lag_messages",
        "undercurrent_source_lag_messages",
        "Messages that are there and were not taken in",
        Shape::Gauge,
    ),
    (SINK_STATS, "messages", "undercurrent_sink_messages_total", "Messages delivered", Shape::Counter),
    (SINK_STATS, "failures", "undercurrent_sink_failures_total", "Attempts that failed", Shape::Counter),
    (
        SINK_STATS,
        "waiting_rows",
        "undercurrent_sink_waiting_rows",
        "Changes that wait for a sink",
        Shape::Gauge,
    ),
];

/// By system table, what tells its rows apart: the name of its first column.
const LABELS: [(&str, &str); 4] =
    [(VIEW_STATS, "view"), (STREAM_STATS, "stream"), (SOURCE_STATS, "source"), (SINK_STATS, "sink")];

const WITHOUT_ANSWER: (&str, &str) =
    ("undercurrent_view_failed", "1 for a view that has no answer because some of its rows failed, else 0");
const INTAKE: (&str, &str) = ("undercurrent_intake_bytes", "Decoded telemetry that waits for the workers");
const INTAKE_LIMIT: (&str, &str) =
    ("undercurrent_intake_limit_bytes", "How much of it may wait before senders are told to");

/// Makes metrics of the state published last.
pub(super) struct StateCollector {
    published: Arc<ArcSwap<State>>,
    descriptions: Vec<Desc>,
}

impl StateCollector {
    pub fn new(published: Arc<ArcSwap<State>>) -> Self {
        let named = COLUMNS.iter().map(|(table, _, name, help, _)| (label(table), *name, *help));
        let named = named.chain([(label(VIEW_STATS), WITHOUT_ANSWER.0, WITHOUT_ANSWER.1)]);
        let descriptions = named.map(|(label, name, help)| describe(name, help, &[label])).collect();
        StateCollector { published, descriptions }
    }

    fn table(&self, name: &str) -> Option<RecordBatch> {
        let state = self.published.load();
        match &state.catalog.get(name)?.kind {
            Kind::System(contents) => contents.read().ok()?.pop(),
            _ => None,
        }
    }
}

impl Collector for StateCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let tables = LABELS.map(|(table, _)| (table, self.table(table)));
        let table = |name: &str| tables.iter().find(|(table, _)| *table == name)?.1.as_ref();
        let mut families = vec![];
        for (name_of, column, name, help, shape) in COLUMNS {
            let Some(rows) = table(name_of) else { continue };
            let numbers = rows.column_by_name(column).and_then(|c| cast(c, &DataType::Float64).ok());
            let Some(numbers) = numbers else { continue };
            let values = numbers.as_primitive::<Float64Type>().iter().map(|value| value.map(|v| v.max(0.0)));
            families.extend(family(rows, name, help, *shape, values));
        }
        if let Some(rows) = table(VIEW_STATS)
            && let Some(errors) = rows.column_by_name("error")
        {
            let values = (0..rows.num_rows()).map(|row| Some(f64::from(errors.is_valid(row))));
            families.extend(family(rows, WITHOUT_ANSWER.0, WITHOUT_ANSWER.1, Shape::Gauge, values));
        }
        families
    }
}

/// The label that tells the rows of `table` apart: the name of its first column.
fn label(table: &str) -> &'static str {
    LABELS.iter().find(|(name, _)| *name == table).map_or("", |(_, label)| label)
}

/// One metric with a value for each row of `rows`, labelled by its first column; rows without one are left out.
fn family(
    rows: &RecordBatch,
    name: &str,
    help: &str,
    shape: Shape,
    values: impl Iterator<Item = Option<f64>>,
) -> Vec<MetricFamily> {
    let schema = rows.schema();
    let (labels, options) = ([schema.field(0).name().as_str()], Opts::new(name, help));
    let names = rows.column(0).as_string::<i32>().iter().map(Option::unwrap_or_default);
    let values = names.zip(values).filter_map(|(name, value)| Some((name, value?)));
    match shape {
        Shape::Counter => {
            let metric = CounterVec::new(options, &labels).expect(VALID);
            values.for_each(|(name, value)| metric.with_label_values(&[name]).inc_by(value));
            metric.collect()
        }
        Shape::Gauge => {
            let metric = GaugeVec::new(options, &labels).expect(VALID);
            values.for_each(|(name, value)| metric.with_label_values(&[name]).set(value));
            metric.collect()
        }
    }
}

/// Makes metrics of the intake.
pub(super) struct IntakeCollector {
    space: Arc<Semaphore>,
    permit_bytes: usize,
    bytes_max: usize,
    descriptions: [Desc; 2],
}

impl IntakeCollector {
    /// Of an intake of `bytes_max`, of which `space` is free in units of `permit_bytes`.
    pub fn new(space: Arc<Semaphore>, permit_bytes: usize, bytes_max: usize) -> Self {
        let descriptions = [INTAKE, INTAKE_LIMIT].map(|(name, help)| describe(name, help, &[]));
        IntakeCollector { space, permit_bytes, bytes_max, descriptions }
    }
}

impl Collector for IntakeCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let waiting = self.bytes_max.saturating_sub(self.space.available_permits() * self.permit_bytes);
        let gauge = |(name, help): (&str, &str), value: usize| {
            let metric = prometheus::IntGauge::new(name, help).expect(VALID);
            metric.set(value as i64);
            metric.collect()
        };
        [gauge(INTAKE, waiting), gauge(INTAKE_LIMIT, self.bytes_max)].concat()
    }
}

/// Makes metrics of the journal and of history.
pub(super) struct JournalCollector {
    health: Arc<Health>,
    history: Arc<history::Health>,
    descriptions: Vec<Desc>,
}

/// What is told of them: name, help, and whether it is a counter.
const JOURNAL: [(&str, &str, bool); 8] = [
    ("undercurrent_journal_bytes", "Bytes of the journal.", false),
    ("undercurrent_journal_segments", "Segments of the journal.", false),
    ("undercurrent_journal_up", "1 while the journal can be written, else 0.", false),
    ("undercurrent_journal_records_total", "Records that ever became durable.", true),
    (
        "undercurrent_journal_syncs_total",
        "Syncs of the journal; each makes all records durable that waited.",
        true,
    ),
    ("undercurrent_journal_failures_total", "Attempts to write the journal that failed.", true),
    ("undercurrent_history_up", "1 while history can be written, else 0.", false),
    ("undercurrent_history_failures_total", "Attempts to write history that failed.", true),
];

impl JournalCollector {
    /// Of the journal that does as `health` says, and of what does as `history` says.
    pub fn new(health: Arc<Health>, history: Arc<history::Health>) -> Self {
        let descriptions = JOURNAL.map(|(name, help, _)| describe(name, help, &[])).into();
        JournalCollector { health, history, descriptions }
    }
}

impl Collector for JournalCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let (health, history) = (&self.health, &self.history);
        let values = [
            health.bytes(),
            health.segments(),
            u64::from(health.failure().is_none()),
            health.records(),
            health.syncs(),
            health.failures(),
            u64::from(history.failure().is_none()),
            history.failures(),
        ];
        let metric = |((name, help, is_counter), value): ((&str, &str, bool), u64)| match is_counter {
            true => {
                let metric = prometheus::IntCounter::new(name, help).expect(VALID);
                metric.inc_by(value);
                metric.collect()
            }
            false => {
                let metric = prometheus::IntGauge::new(name, help).expect(VALID);
                metric.set(value as i64);
                metric.collect()
            }
        };
        JOURNAL.into_iter().zip(values).flat_map(metric).collect()
    }
}

fn describe(name: &str, help: &str, labels: &[&str]) -> Desc {
    let labels = labels.iter().map(|&l| l.to_owned()).collect();
    Desc::new(name.to_owned(), help.to_owned(), labels, Default::default()).expect(VALID)
}

/// Names and labels above are constants, each used once.
const VALID: &str = "a metric with a valid name of its own";
