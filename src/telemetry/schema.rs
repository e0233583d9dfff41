//! Names and types of the telemetry tables' columns.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

/// The tables telemetry is decoded into.
///
/// Text is `Utf8`; times are `Timestamp(Nanosecond, "+00:00")`; ids are lower-case hex text; attributes are a map from
/// text to text, in the order they came. Text that was not given is null, never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// One row a span. `parent_span_id` is null for a root; `duration_ns` is never negative.
    Spans,
    /// One row a link from a span to another, which may be of another trace. `started_at` is the span's.
    SpanLinks,
    /// One row an event within a span. `ts` need not lie between the span's ends.
    SpanEvents,
    /// One row a data point, of every kind of metric; columns that its `type` does not have are null. Gauges and sums
    /// fill `value`, and `value_int` too when they were sent as integers. Histograms count
    /// `bucket_counts[i]` values up to and including `explicit_bounds[i]`, the last bucket being open; exponential
    /// ones count, in `positive_bucket_counts[i]`, the values above `base^(positive_offset + i)` up to
    /// `base^(positive_offset + i + 1)` where `base = 2^(2^-scale)`. A point flagged as having no recorded value
    /// keeps its `ts` and has no value, count or sum.
    Metrics,
    /// One row a log record. `ts` is when it was observed if the record does not say when it happened;
    /// `severity_number` is 1 to 24 by the specification and null when unspecified; `body` is text as it is and any
    /// other value as JSON.
    Logs,
    /// One row for each thing that was rejected: `kind` says what it was (`request`, `resource`, `scope`, `span`,
    /// `span_link`, `span_event`, `metric`, `log`, or what the caller of `Decoder::reject` says), `reason` why, and
    /// `sample` how it began.
    IngestErrors,
}

impl Table {
    /// All tables, in the order of their declaration.
    pub fn all() -> [Table; 6] {
        [Table::Spans, Table::SpanLinks, Table::SpanEvents, Table::Metrics, Table::Logs, Table::IngestErrors]
    }

    /// The table's name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Table::Spans => "spans",
            Table::SpanLinks => "span_links",
            Table::SpanEvents => "span_events",
            Table::Metrics => "metrics",
            Table::Logs => "logs",
            Table::IngestErrors => "ingest_errors",
        }
    }

    /// The columns, the same object on every call.
    pub fn schema(self) -> SchemaRef {
        static SCHEMAS: LazyLock<[SchemaRef; 6]> =
            LazyLock::new(|| Table::all().map(|table| Arc::new(Schema::new(columns(table)))));
        SCHEMAS[self as usize].clone()
    }

    /// The column that says when a row happened: what windows and the frontier go by. It is never null.
    pub fn event_time_column(self) -> &'static str {
        match self {
            Table::Spans | Table::SpanLinks => "started_at",
            Table::SpanEvents | Table::Metrics | Table::Logs => "ts",
            Table::IngestErrors => "received_at",
        }
    }
}

/// A point in time: nanoseconds since 1970 UTC.
pub(super) fn time() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some("+00:00".into()))
}

/// The two columns inside an attribute map, named as arrow's `MapBuilder` names them.
pub(super) fn map_fields() -> Fields {
    vec![Field::new("key", DataType::Utf8, false), Field::new("value", DataType::Utf8, true)].into()
}

/// The entries of an attribute map.
pub(super) fn map_entries() -> Field {
    Field::new("entries", DataType::Struct(map_fields()), false)
}

/// An attribute map.
pub(super) fn map() -> DataType {
    DataType::Map(Arc::new(map_entries()), false)
}

/// What one element of `metrics.quantiles` holds.
pub(super) fn quantile_fields() -> Fields {
    vec![required("quantile", DataType::Float64), required("value", DataType::Float64)].into()
}

/// What one element of `metrics.exemplars` holds.
pub(super) fn exemplar_fields() -> Fields {
    vec![
        optional("ts", time()),
        optional("value", DataType::Float64),
        text("trace_id"),
        text("span_id"),
        required("attributes", map()),
    ]
    .into()
}

/// The element of a list, named and nullable as SQL engines on Arrow expect.
pub(super) fn item(of: DataType) -> Arc<Field> {
    Arc::new(Field::new_list_field(of, true))
}

fn optional(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, true)
}

fn required(name: &str, data_type: DataType) -> Field {
    Field::new(name, data_type, false)
}

fn text(name: &str) -> Field {
    optional(name, DataType::Utf8)
}

fn list(name: &str, of: DataType) -> Field {
    optional(name, DataType::List(item(of)))
}

fn columns(table: Table) -> Vec<Field> {
    use DataType::{Int64, Utf8};
    match table {
        Table::Spans => vec![
            required("trace_id", Utf8),
            required("span_id", Utf8),
            text("parent_span_id"),
            text("trace_state"),
            text("service_name"),
            required("name", Utf8),
            required("kind", Utf8),
            required("started_at", time()),
            required("ended_at", time()),
            required("duration_ns", Int64),
            required("status_code", Utf8),
            text("status_message"),
            text("scope_name"),
            text("scope_version"),
            required("attributes", map()),
            required("resource_attributes", map()),
        ],
        Table::SpanLinks => vec![
            required("trace_id", Utf8),
            required("span_id", Utf8),
            required("linked_trace_id", Utf8),
            required("linked_span_id", Utf8),
            text("service_name"),
            required("started_at", time()),
            required("attributes", map()),
        ],
        Table::SpanEvents => vec![
            required("trace_id", Utf8),
            required("span_id", Utf8),
            text("service_name"),
            required("name", Utf8),
            required("ts", time()),
            required("attributes", map()),
        ],
        Table::Metrics => metric_columns(),
        Table::Logs => vec![
            required("ts", time()),
            optional("observed_at", time()),
            optional("severity_number", DataType::Int32),
            text("severity_text"),
            text("body"),
            text("event_name"),
            text("trace_id"),
            text("span_id"),
            text("service_name"),
            required("attributes", map()),
            required("resource_attributes", map()),
            text("scope_name"),
        ],
        Table::IngestErrors => vec![
            required("received_at", time()),
            required("source", Utf8),
            required("kind", Utf8),
            required("reason", Utf8),
            required("sample", Utf8),
        ],
    }
}

fn metric_columns() -> Vec<Field> {
    use DataType::{Boolean, Float64, Int32, Int64, Utf8};
    vec![
        required("name", Utf8),
        required("type", Utf8),
        text("description"),
        text("unit"),
        text("temporality"),
        optional("is_monotonic", Boolean),
        text("service_name"),
        required("attributes", map()),
        required("resource_attributes", map()),
        text("scope_name"),
        optional("started_at", time()),
        required("ts", time()),
        optional("value", Float64),
        optional("value_int", Int64),
        optional("count", Int64),
        optional("sum", Float64),
        optional("min", Float64),
        optional("max", Float64),
        list("bucket_counts", Int64),
        list("explicit_bounds", Float64),
        optional("scale", Int32),
        optional("zero_count", Int64),
        optional("zero_threshold", Float64),
        optional("positive_offset", Int32),
        list("positive_bucket_counts", Int64),
        optional("negative_offset", Int32),
        list("negative_bucket_counts", Int64),
        list("quantiles", DataType::Struct(quantile_fields())),
        list("exemplars", DataType::Struct(exemplar_fields())),
        required("flags", Int32),
    ]
}
