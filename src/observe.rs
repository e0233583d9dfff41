//! The engine's own metrics, in the forms of Prometheus and of SQL.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use prometheus::core::Collector;
use prometheus::proto::MetricType;
use prometheus::{
    Gauge, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

/// Bounds of the buckets of durations, in seconds: from a tenth of a millisecond to half a minute.
const DURATION_BOUNDS_SECONDS: [f64; 12] =
    [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0];

/// All metrics of one engine and its servers. Names follow Prometheus; each is also in the SQL table
/// `engine_metrics`.
pub struct Metrics {
    registry: Registry,
    /// Rows taken in, by `table`.
    pub ingest_rows: IntCounterVec,
    /// Requests of telemetry, by `protocol`, `signal` and `status` (`accepted`, `partial`, `rejected`, `full`, ...).
    pub ingest_requests: IntCounterVec,
    /// Bytes of telemetry as they came in, after decompression, by `protocol` and `signal`.
    pub ingest_bytes: IntCounterVec,
    /// Statements of clients, by `protocol` and `status` (`ok`, `error`).
    pub statements: IntCounterVec,
    /// How long statements took, in seconds, by `protocol`.
    pub statement_duration_seconds: HistogramVec,
    /// Open connections, by `protocol`.
    pub connections: IntGaugeVec,
    /// Connections turned away, by `protocol` and `reason`.
    pub connections_refused: IntCounterVec,
    /// Open subscriptions, by `protocol`.
    pub subscriptions: IntGaugeVec,
    ticks: HistogramVec,
    freshness: HistogramVec,
    stream_clock_seconds: Gauge,
    views: IntGauge,
}

const CLOCK_HELP: &str = "The last closed tick of the stream clock, since 1970 UTC";

/// Name, labels, type and value.
type Row = (String, String, &'static str, f64);

impl Metrics {
    /// All metrics at zero.
    pub fn new() -> Arc<Self> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let metric = IntCounterVec::new(Opts::new(name, help), labels).expect(VALID);
            registry.register(Box::new(metric.clone())).expect(VALID);
            metric
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            let metric = IntGaugeVec::new(Opts::new(name, help), labels).expect(VALID);
            registry.register(Box::new(metric.clone())).expect(VALID);
            metric
        };
        let gauge = |name: &str, help: &str| {
            let metric = IntGauge::new(name, help).expect(VALID);
            registry.register(Box::new(metric.clone())).expect(VALID);
            metric
        };
        let durations = |name: &str, help: &str, labels: &[&str]| {
            let options = HistogramOpts::new(name, help).buckets(DURATION_BOUNDS_SECONDS.to_vec());
            let metric = HistogramVec::new(options, labels).expect(VALID);
            registry.register(Box::new(metric.clone())).expect(VALID);
            metric
        };
        gauges("undercurrent_build_info", "The version that runs; always 1", &["version"])
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        #[cfg(target_os = "linux")]
        registry
            .register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))
            .expect(VALID);
        Arc::new(Metrics {
            ingest_rows: counter("undercurrent_ingest_rows_total", "Rows taken in, by table", &["table"]),
            ingest_requests: counter(
                "undercurrent_ingest_requests_total",
                "Requests of telemetry, by what became of them",
                &["protocol", "signal", "status"],
            ),
            ingest_bytes: counter(
                "undercurrent_ingest_bytes_total",
                "Bytes of telemetry, decompressed",
                &["protocol", "signal"],
            ),
            statements: counter(
                "undercurrent_statements_total",
                "Statements of clients, by how they ended",
                &["protocol", "status"],
            ),
            statement_duration_seconds: durations(
                "undercurrent_statement_duration_seconds",
                "How long statements took",
                &["protocol"],
            ),
            connections: gauges("undercurrent_connections", "Open connections", &["protocol"]),
            connections_refused: counter(
                "undercurrent_connections_refused_total",
                "Connections turned away",
                &["protocol", "reason"],
            ),
            subscriptions: gauges("undercurrent_subscriptions", "Open subscriptions", &["protocol"]),
            ticks: durations("undercurrent_tick_duration_seconds", "How long closing a tick took", &[]),
            freshness: durations(
                "undercurrent_freshness_seconds",
                "From the receipt of telemetry to the tick in which queries see it, for the first request of each tick",
                &[],
            ),
            stream_clock_seconds: {
                let clock =
                    Gauge::new("undercurrent_stream_clock_timestamp_seconds", CLOCK_HELP).expect(VALID);
                registry.register(Box::new(clock.clone())).expect(VALID);
                clock
            },
            views: gauge("undercurrent_views", "Materialized views"),
            registry,
        })
    }

    /// Adds what `collector` tells, each time somebody asks.
    pub fn register(&self, collector: Box<dyn Collector>) {
        // The names of collectors are constants of their own: only a second database of one set of metrics
        // could bring them twice, and then the first keeps telling.
        if let Err(error) = self.registry.register(collector) {
            tracing::warn!(%error, "some metrics are not told");
        }
    }

    /// Telemetry received `age` ago is visible to queries from now on.
    pub fn visible(&self, age: Duration) {
        self.freshness.with_label_values::<&str>(&[]).observe(age.as_secs_f64());
    }

    /// `rows` more rows of `table` went to the workers.
    pub fn ingested(&self, table: &str, rows: usize) {
        self.ingest_rows.with_label_values(&[table]).inc_by(rows as u64);
    }

    /// A tick was closed in `duration`, over `views` views.
    pub fn closed(&self, tick_ms: u64, duration: Duration, views: usize) {
        self.ticks.with_label_values::<&str>(&[]).observe(duration.as_secs_f64());
        self.stream_clock_seconds.set(tick_ms as f64 / 1e3);
        self.views.set(views as i64);
    }

    /// The text that Prometheus scrapes.
    pub fn text(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }

    /// The columns of `engine_metrics`: `name`, `labels` (as `key="value"`, separated by commas), `type`,
    /// `value`.
    pub fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("name", DataType::Utf8, false),
            Field::new("labels", DataType::Utf8, false),
            Field::new("type", DataType::Utf8, false),
            Field::new("value", DataType::Float64, false),
        ]))
    }

    /// The rows of `engine_metrics`: one a metric and set of labels; of a histogram its `_count` and
    /// `_sum`.
    pub fn rows(&self) -> RecordBatch {
        let mut rows: Vec<Row> = vec![];
        for family in self.registry.gather() {
            for metric in family.get_metric() {
                let labels: Vec<String> =
                    metric.get_label().iter().map(|l| format!("{}={:?}", l.name(), l.value())).collect();
                let (name, labels) = (family.name().to_owned(), labels.join(","));
                match family.get_field_type() {
                    MetricType::COUNTER => {
                        rows.push((name, labels, "counter", metric.get_counter().get_value()));
                    }
                    MetricType::HISTOGRAM => {
                        let histogram = metric.get_histogram();
                        let count = histogram.get_sample_count() as f64;
                        rows.push((format!("{name}_count"), labels.clone(), "counter", count));
                        rows.push((format!("{name}_sum"), labels, "counter", histogram.get_sample_sum()));
                    }
                    _ => rows.push((name, labels, "gauge", metric.get_gauge().get_value())),
                }
            }
        }
        let text = |f: &dyn Fn(&Row) -> String| -> ArrayRef {
            Arc::new(StringArray::from_iter_values(rows.iter().map(f)))
        };
        let columns: Vec<ArrayRef> = vec![
            text(&|r| r.0.clone()),
            text(&|r| r.1.clone()),
            text(&|r| r.2.to_owned()),
            Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.3))),
        ];
        RecordBatch::try_new(Self::schema(), columns).expect("columns of one length")
    }
}

/// Names, labels and bounds above are constants, each used once.
const VALID: &str = "a metric with a valid name of its own";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_rows_tell_the_same() {
        let metrics = Metrics::new();
        metrics.ingested("spans", 3);
        metrics.closed(5_000, Duration::from_millis(2), 1);
        assert!(metrics.text().contains("undercurrent_ingest_rows_total{table=\"spans\"} 3"));
        let rows = metrics.rows();
        let names = rows.column(0).as_any().downcast_ref::<StringArray>().expect("text");
        let values = rows.column(3).as_any().downcast_ref::<Float64Array>().expect("numbers");
        let value = |name: &str| names.iter().position(|n| n == Some(name)).map(|row| values.value(row));
        assert_eq!(value("undercurrent_ingest_rows_total"), Some(3.0));
        assert_eq!(value("undercurrent_stream_clock_timestamp_seconds"), Some(5.0));
        assert_eq!(value("undercurrent_tick_duration_seconds_count"), Some(1.0));
        assert_eq!(value("process_resident_memory_bytes").map(|bytes| bytes > 1e6), Some(true));
    }
}
