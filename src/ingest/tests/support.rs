//! Telemetry written to files, and replays as text.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::TimestampNanosecondType;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use tempfile::TempDir;

use crate::ingest::{Replay, ReplayOptions, Step};
use crate::telemetry::Table;

/// Times in these tests are seconds after this; in nanoseconds since 1970.
pub const START_NS: i64 = 1_700_000_000_000_000_000;
pub const SECOND_NS: i64 = 1_000_000_000;

/// One request of spans, each called `name` and started at one of the seconds.
pub fn spans(name: &str, seconds: &[i64]) -> ExportTraceServiceRequest {
    let span = |&second: &i64| {
        let started_ns = (START_NS + second * SECOND_NS) as u64;
        Span {
            trace_id: (second as u128 + 1).to_be_bytes().to_vec(),
            span_id: (second as u64 + 1).to_be_bytes().to_vec(),
            name: name.into(),
            start_time_unix_nano: started_ns,
            end_time_unix_nano: started_ns + 5_000_000,
            ..Span::default()
        }
    };
    let scope = ScopeSpans { spans: seconds.iter().map(span).collect(), ..ScopeSpans::default() };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { scope_spans: vec![scope], ..ResourceSpans::default() }],
    }
}

/// One request of log records without a body.
pub fn logs(seconds: &[i64]) -> ExportLogsServiceRequest {
    let record = |&second: &i64| LogRecord {
        time_unix_nano: (START_NS + second * SECOND_NS) as u64,
        ..LogRecord::default()
    };
    let scope = ScopeLogs { log_records: seconds.iter().map(record).collect(), ..ScopeLogs::default() };
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { scope_logs: vec![scope], ..ResourceLogs::default() }],
    }
}

/// One line of JSON with its end.
pub fn line(request: &impl serde::Serialize) -> String {
    serde_json::to_string(request).unwrap() + "\n"
}

/// A line for each of the seconds, one span in each.
pub fn span_lines(name: &str, seconds: &[i64]) -> String {
    seconds.iter().map(|&second| line(&spans(name, &[second]))).collect()
}

pub fn frame(message: &[u8]) -> Vec<u8> {
    let mut frame = (message.len() as u32).to_be_bytes().to_vec();
    frame.extend_from_slice(message);
    frame
}

pub fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd(plain: &[u8]) -> Vec<u8> {
    zstd::encode_all(plain, 1).unwrap()
}

/// A folder with these files in it.
pub fn folder<Name: AsRef<Path>, Bytes: AsRef<[u8]>>(files: &[(Name, Bytes)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        write(folder.path(), name, bytes);
    }
    folder
}

pub fn write(folder: &Path, name: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

/// Received a minute after the start, merged without slack.
pub fn options() -> ReplayOptions {
    ReplayOptions { merge_slack_ns: 0, ..ReplayOptions::at(START_NS + 60 * SECOND_NS) }
}

/// Every step, checked for what holds of all: sizes, bounds, a clock that does not fall, and bytes that add up.
pub fn steps(paths: &[PathBuf], options: ReplayOptions) -> Vec<Step> {
    let batch_rows = options.batch_rows;
    let mut replay = Replay::open(paths, options).unwrap();
    let mut steps: Vec<Step> = Vec::new();
    let mut read = 0;
    while let Some(step) = replay.next() {
        assert!(!step.batches.is_empty());
        for batch in &step.batches {
            assert!((1..=batch_rows).contains(&batch.rows.num_rows()));
            if batch.table == Table::IngestErrors {
                assert_eq!(batch.event_time_ns, None);
            } else if let Some(times) = times(batch.table, &batch.rows) {
                let bounds = times.iter().min().copied().zip(times.iter().max().copied());
                assert_eq!(batch.event_time_ns, bounds);
            }
        }
        assert!(steps.last().is_none_or(|before| before.clock_ns <= step.clock_ns), "the clock fell");
        assert!(read <= replay.bytes_read());
        read = replay.bytes_read();
        assert!(read <= replay.bytes_total());
        steps.push(step);
    }
    assert_eq!(replay.bytes_read(), replay.bytes_total());
    steps
}

pub fn times(table: Table, rows: &RecordBatch) -> Option<Vec<i64>> {
    let column = rows.column_by_name(table.event_time_column())?;
    Some(column.as_primitive::<TimestampNanosecondType>().values().to_vec())
}

/// All rows of a table, in the order they were delivered; `None` when there are none.
pub fn rows_of(steps: &[Step], table: Table) -> Option<RecordBatch> {
    let batches = steps.iter().flat_map(|step| &step.batches).filter(|batch| batch.table == table);
    let batches: Vec<&RecordBatch> = batches.map(|batch| &batch.rows).collect();
    Some(concat_batches(&batches.first()?.schema(), batches).unwrap())
}

/// The rows of all tables.
pub fn all_rows(steps: &[Step]) -> Vec<Option<RecordBatch>> {
    Table::all().into_iter().map(|table| rows_of(steps, table)).collect()
}

pub fn second(time_ns: i64) -> i64 {
    (time_ns - START_NS).div_euclid(SECOND_NS)
}

/// A line a step: its rows as `table name@second`, and the clock.
pub fn text(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        for batch in &step.batches {
            text += batch.table.name();
            match batch.table {
                Table::IngestErrors => text += &format!(" {}", batch.rows.num_rows()),
                table => {
                    let names = batch.rows.column_by_name("name").map(|names| names.as_string::<i32>());
                    for (row, time) in times(table, &batch.rows).unwrap().into_iter().enumerate() {
                        let name = names.map_or("", |names| names.value(row));
                        text += &format!(" {name}@{}", second(time));
                    }
                }
            }
            text += "; ";
        }
        text += &match step.clock_ns {
            Some(clock_ns) => format!("clock {}\n", second(clock_ns)),
            None => "no clock\n".to_owned(),
        };
    }
    text
}

/// The seconds of all spans, in the order they were delivered.
pub fn span_seconds(steps: &[Step]) -> Vec<i64> {
    let rows = rows_of(steps, Table::Spans);
    let times = rows.and_then(|rows| times(Table::Spans, &rows)).unwrap_or_default();
    times.into_iter().map(second).collect()
}

/// A line an error: `file:position kind: reason`, without the folder.
pub fn errors(steps: &[Step]) -> String {
    let Some(rows) = rows_of(steps, Table::IngestErrors) else { return String::new() };
    let column = |name: &str| rows.column_by_name(name).unwrap().as_string::<i32>().clone();
    let (source, kind, reason) = (column("source"), column("kind"), column("reason"));
    let line = |row: usize| {
        let file = source.value(row).rsplit('/').next().unwrap_or_default();
        format!("{file} {}: {}\n", kind.value(row), reason.value(row))
    };
    (0..source.len()).map(line).collect()
}
