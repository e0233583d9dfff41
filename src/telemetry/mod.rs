//! The nouns of telemetry: Arrow schemas of OpenTelemetry spans, metrics and logs, and the decoding of OTLP
//! (JSON and protobuf) straight into them.
//!
//! ```text
//!  one Export*ServiceRequest              fields as read                columns
//!  json::reader  ── json::{spans,..}     ┐
//!                                        ├─ record::{Span, Log, ..} ──► tables::{Spans, Logs, ..} ──► Batch
//!  protobuf::wire ─ protobuf::{spans,..} ┘        checks live here ▲
//! ```
//!
//! Both formats are read in one pass over the request, without a tree in between. Scalars of a record are borrowed
//! from the request; attributes, bodies and buckets, whose size varies, are written where they will stay: into
//! the open row at the end of their column. A record found wrong drops its open rows and becomes one row of
//! `ingest_errors`; nothing else of its request is touched.
//!
//! No function here reads a clock, does I/O, or fails on what it is given: what is wrong with the input is data.
//!
//! ```
//! use undercurrent::telemetry::{Decoder, Limits, Origin, Table};
//!
//! let mut decoder = Decoder::new(Limits::default(), 1_700_000_000_000_000_000);
//! let line = br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":"GET /cart",
//!     "traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b7",
//!     "startTimeUnixNano":"1700000000000000000","endTimeUnixNano":"1700000000005000000"}]}]}]}"#;
//! decoder.json(line, &Origin { source: "traces.jsonl".into(), position: Some(1) });
//! let batches = decoder.finish();
//! assert_eq!(batches[0].table, Table::Spans);
//! assert_eq!(batches[0].rows.num_rows(), 1);
//! assert_eq!(batches[0].event_time_ns, Some((1_700_000_000_000_000_000, 1_700_000_000_000_000_000)));
//! ```

mod columns;
mod decoder;
mod json;
mod limits;
mod protobuf;
mod record;
mod schema;
mod tables;
#[cfg(test)]
mod tests;
mod text;

use std::fmt;

use arrow::record_batch::RecordBatch;

pub use decoder::Decoder;
pub use limits::Limits;
pub use protobuf::sniff as sniff_protobuf;
pub use schema::Table;

/// The three signals of OTLP that are decoded. A request carries exactly one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Signal {
    /// `ExportTraceServiceRequest`: fills `spans`, `span_links` and `span_events`.
    Traces,
    /// `ExportMetricsServiceRequest`: fills `metrics`.
    Metrics,
    /// `ExportLogsServiceRequest`: fills `logs`.
    Logs,
}

impl Signal {
    /// All signals, in the order of their declaration.
    pub const ALL: [Signal; 3] = [Signal::Traces, Signal::Metrics, Signal::Logs];

    /// `traces`, `metrics` or `logs`.
    pub fn name(self) -> &'static str {
        match self {
            Signal::Traces => "traces",
            Signal::Metrics => "metrics",
            Signal::Logs => "logs",
        }
    }
}

/// Rows of one table, decoded together.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The table the rows belong to; `rows` has its schema.
    pub table: Table,
    /// At least one row.
    pub rows: RecordBatch,
    /// The least and the greatest [`Table::event_time_column`] of `rows`, in nanoseconds since 1970 UTC.
    pub event_time_ns: Option<(i64, i64)>,
}

/// Where a request came from. `ingest_errors.source` shows it as `traces.jsonl.gz:17`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// A file's name, a Kafka partition, a peer's address: what a reader needs to find the request again.
    pub source: String,
    /// The line in the file or the number of the message, as its own tools count; absent where there is none.
    pub position: Option<u64>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        match self.position {
            Some(position) => write!(f, ":{position}"),
            None => Ok(()),
        }
    }
}
