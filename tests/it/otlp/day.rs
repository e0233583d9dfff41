//! A recorded day of a real system, sent live: the tables end as those of its replay, while queries run.
//!
//! Needs the folder that `UNDERCURRENT_SHARED` names, with `datasets/trainticket` in it.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampNanosecondType};
use flate2::bufread::MultiGzDecoder;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status as SpanStatus, TraceFlags, TraceId, TraceState,
};
use opentelemetry_otlp::{Compression, WithExportConfig, WithTonicConfig};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter, SpanLinks};
use prost::Message;
use tonic::codec::CompressionEncoding;
use undercurrent::built_in;
use undercurrent::engine::{Database, Engine};
use undercurrent::ingest::{Replay, ReplayOptions};
use undercurrent::telemetry::{Batch, Table};

use super::client::{JSON, PROTOBUF, gzip, post, zstd};
use crate::in_process::InProcess;
use crate::server::eventually;
use crate::support;

const VIEWS: [&str; 3] = ["service_dependencies", "operation_latency", "log_rates"];

/// Senders at once.
const SENDERS: usize = 4;

/// The folder of the day, or nothing where the data is not there.
fn folder() -> Option<PathBuf> {
    let Some(shared) = std::env::var_os("UNDERCURRENT_SHARED") else {
        println!("left out: UNDERCURRENT_SHARED is not set");
        return None;
    };
    Some(PathBuf::from(shared).join("datasets/trainticket"))
}

/// The lines of the file of `signal`.
fn lines(signal: &str) -> Option<Vec<Vec<u8>>> {
    let file = std::fs::File::open(folder()?.join(format!("{signal}.jsonl.gz"))).expect("a file");
    let reader = std::io::BufReader::new(MultiGzDecoder::new(std::io::BufReader::new(file)));
    Some(reader.split(b'\n').map(|line| line.expect("a line")).collect())
}

/// What a replay of `batches` ends in: the rows of each view.
fn replayed(batches: impl IntoIterator<Item = Batch>) -> Vec<Vec<String>> {
    let engine = Engine::start(1).expect("worker threads");
    let mut database = Database::new(engine, built_in::views().expect("views"), None);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(database.create_built_ins(&VIEWS.map(str::to_owned))).expect("views");
    for batch in batches {
        database.engine.append(&batch).expect("an engine that runs");
        if database.engine.open_rows() > 100_000 {
            database.engine.close(0).expect("an engine that runs");
        }
    }
    database.engine.close(0).expect("an engine that runs");
    let rows = |view| {
        let statement = undercurrent::sql::statement::parse(&format!("SELECT * FROM {view}")).expect("SQL");
        let statement = statement.into_iter().next().expect("a statement");
        match runtime.block_on(database.execute(statement)).expect("rows") {
            undercurrent::engine::Answer::Rows { schema, batches } => {
                support::Rows::new(&schema, &batches).sorted()
            }
            _ => panic!("no rows of {view}"),
        }
    };
    VIEWS.into_iter().map(rows).collect()
}

/// The batches of `files` as a replay reads them.
fn recorded(files: &[&str]) -> Vec<Batch> {
    let folder = folder().expect("the data");
    let paths: Vec<PathBuf> = files.iter().map(|file| folder.join(file)).collect();
    let replay = Replay::open(&paths, ReplayOptions::at(i64::MAX / 2)).expect("recorded telemetry");
    replay.flat_map(|step| step.batches).collect()
}

/// A service with the views, which are there before the first row.
pub(super) fn service() -> InProcess {
    let service = InProcess::start(&[("engine.stored_bytes_max", "1 MiB")]);
    VIEWS.iter().for_each(|view| drop(service.rows(&format!("SELECT count(*) FROM {view}"))));
    service
}

/// Calls `send` with every item, some at once, while queries run; what they count never shrinks.
pub(super) fn send_all<T: Sync>(service: &InProcess, items: &[T], send: impl Fn(&T) + Sync) {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let query = scope.spawn(|| {
            let (mut queries, mut last) = (0_u64, [0_i64; 2]);
            while !is_over.load(Ordering::Relaxed) {
                let sql = "SELECT (SELECT coalesce(sum(call_count), 0) FROM operation_latency), \
                           (SELECT coalesce(sum(record_count), 0) FROM log_rates)";
                let row = service.rows(sql).remove(0);
                let counts: Vec<i64> = row.split(" | ").map(|n| n.parse().expect("a number")).collect();
                assert!(counts[0] >= last[0] && counts[1] >= last[1], "{counts:?} after {last:?}");
                last = [counts[0], counts[1]];
                queries += 1;
            }
            queries
        });
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let send = &send;
                scope.spawn(move || items.iter().skip(sender).step_by(SENDERS).for_each(send))
            })
            .collect();
        let sent: Vec<_> = senders.into_iter().map(|sender| sender.join()).collect();
        is_over.store(true, Ordering::Relaxed);
        let queries = query.join().expect("queries that succeed");
        assert!(sent.iter().all(Result::is_ok));
        assert!(queries > 10, "{queries} queries ran meanwhile");
    });
}

/// Waits until the tables of `service` are `expected`.
pub(super) fn check(service: &InProcess, expected: &[Vec<String>], rows: &BTreeMap<Table, u64>) {
    for (table, rows) in rows {
        let ingested = || service.live.metrics().ingest_rows.with_label_values(&[table.name()]).get();
        assert_eq!(eventually(ingested, |n| n >= rows), *rows, "{}", table.name());
    }
    for (view, expected) in VIEWS.iter().zip(expected) {
        let sql = format!("SELECT * FROM {view}");
        // Compared here, not shown: there are thousands of rows.
        eventually(|| (view, service.rows(&sql) == *expected), |(_, is_equal)| *is_equal);
    }
}

/// One request of the day.
pub(super) enum Sent {
    Traces(ExportTraceServiceRequest),
    Metrics(ExportMetricsServiceRequest),
    Logs(ExportLogsServiceRequest),
}

impl Sent {
    fn path(&self) -> &'static str {
        match self {
            Sent::Traces(_) => "/v1/traces",
            Sent::Metrics(_) => "/v1/metrics",
            Sent::Logs(_) => "/v1/logs",
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Sent::Traces(request) => request.encode_to_vec(),
            Sent::Metrics(request) => request.encode_to_vec(),
            Sent::Logs(request) => request.encode_to_vec(),
        }
    }
}

fn parse(signal: &str, line: &[u8]) -> Sent {
    // Protobuf cannot say the negative times of wrong clocks: they become ones of the far future, as wrong.
    let text = std::str::from_utf8(line).expect("text").replace("UnixNano\":\"-", "UnixNano\":\"1");
    let line = text.as_bytes();
    match signal {
        "traces" => Sent::Traces(serde_json::from_slice(line).expect("a request")),
        "metrics" => Sent::Metrics(serde_json::from_slice(line).expect("a request")),
        _ => Sent::Logs(serde_json::from_slice(line).expect("a request")),
    }
}

/// What the receiver rejects of a request that it answers with success.
macro_rules! rejected {
    ($client:expr, $request:expr, $field:ident) => {{
        let answer = $client.clone().export($request.clone()).await.expect("success").into_inner();
        answer.partial_success.map_or(0, |partial| partial.$field)
    }};
}

/// The lines of the day with their signals, the rows of each view after its replay, and how many rows each table
/// got; nothing where the data is not there.
type Day<R> = (Vec<R>, Vec<Vec<String>>, BTreeMap<Table, u64>);

fn day() -> Option<Day<(&'static str, Vec<u8>)>> {
    let all = [("traces", lines("traces")?), ("logs", lines("logs")?), ("metrics", lines("metrics")?)];
    let batches = recorded(&["traces.jsonl.gz", "logs.jsonl.gz", "metrics.jsonl.gz"]);
    let mut rows = BTreeMap::new();
    for batch in &batches {
        *rows.entry(batch.table).or_insert(0) += batch.rows.num_rows() as u64;
    }
    let with_signal =
        |(signal, lines): (&'static str, Vec<Vec<u8>>)| lines.into_iter().map(move |line| (signal, line));
    Some((all.into_iter().flat_map(with_signal).collect(), replayed(batches), rows))
}

/// The same as requests.
pub(super) fn whole() -> Option<Day<Sent>> {
    let (lines, expected, rows) = day()?;
    Some((lines.iter().map(|(signal, line)| parse(signal, line)).collect(), expected, rows))
}

#[test]
fn the_day_ends_in_the_tables_of_its_replay_by_every_way() {
    let Some((lines, expected, rows)) = day() else { return };

    let json = service();
    let json_rejected = AtomicU64::new(0);
    send_all(&json, &lines, |(signal, line)| {
        let headers = [("content-type", JSON), ("content-encoding", "gzip")];
        let answer = post(json.otlp_http(), &format!("/v1/{signal}"), &headers, &gzip(line));
        assert_eq!(answer.status, 200, "{answer:?}");
        let rejected = &answer.json()["partialSuccess"]["rejectedLogRecords"];
        json_rejected
            .fetch_add(rejected.as_str().map_or(0, |n| n.parse().expect("a number")), Ordering::Relaxed);
    });
    // The day holds records whose clocks were wrong.
    let rejected = rows[&Table::IngestErrors];
    assert!(rejected > 0);
    assert_eq!(json_rejected.into_inner(), rejected);
    check(&json, &expected, &rows);
    drop(json);

    let requests: Vec<Sent> = lines.iter().map(|(signal, line)| parse(signal, line)).collect();
    drop(lines);
    let protobuf = service();
    send_all(&protobuf, &requests, |request| {
        let headers = [("content-type", PROTOBUF), ("content-encoding", "zstd")];
        let answer = post(protobuf.otlp_http(), request.path(), &headers, &zstd(&request.bytes()));
        assert_eq!(answer.status, 200, "{answer:?}");
    });
    check(&protobuf, &expected, &rows);
    drop(protobuf);

    let grpc = service();
    let grpc_rejected = AtomicU64::new(0);
    let (traces, metrics, logs) = (grpc.trace_client(), grpc.metrics_client(), grpc.logs_client());
    let (traces, metrics, logs) = (
        traces.send_compressed(CompressionEncoding::Gzip),
        metrics.send_compressed(CompressionEncoding::Gzip),
        logs.send_compressed(CompressionEncoding::Gzip),
    );
    send_all(&grpc, &requests, |request| {
        let rejected = grpc.runtime.block_on(async {
            match request {
                Sent::Traces(request) => rejected!(traces, request, rejected_spans),
                Sent::Metrics(request) => rejected!(metrics, request, rejected_data_points),
                Sent::Logs(request) => rejected!(logs, request, rejected_log_records),
            }
        });
        grpc_rejected.fetch_add(rejected as u64, Ordering::Relaxed);
    });
    assert_eq!(grpc_rejected.into_inner(), rejected);
    check(&grpc, &expected, &rows);
}

/// Spans for the exporter of the SDK, by service.
fn span_data(rows: &RecordBatch) -> BTreeMap<String, Vec<SpanData>> {
    let text = |name: &str| rows.column_by_name(name).expect("a column").as_string::<i32>();
    let started =
        rows.column_by_name("started_at").expect("a column").as_primitive::<TimestampNanosecondType>();
    let durations = rows.column_by_name("duration_ns").expect("a column").as_primitive::<Int64Type>();
    let mut by_service: BTreeMap<String, Vec<SpanData>> = BTreeMap::new();
    for row in 0..rows.num_rows() {
        let id = |name: &str| SpanId::from_hex(text(name).value(row)).unwrap_or(SpanId::INVALID);
        let start_time = SystemTime::UNIX_EPOCH + Duration::from_nanos(started.value(row) as u64);
        let trace_id = TraceId::from_hex(text("trace_id").value(row)).expect("an id");
        let is_error = text("status_code").value(row) == "ERROR";
        by_service.entry(text("service_name").value(row).to_owned()).or_default().push(SpanData {
            span_context: SpanContext::new(
                trace_id,
                id("span_id"),
                TraceFlags::SAMPLED,
                false,
                TraceState::NONE,
            ),
            parent_span_id: id("parent_span_id"),
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: text("name").value(row).to_owned().into(),
            start_time,
            end_time: start_time + Duration::from_nanos(durations.value(row) as u64),
            attributes: vec![],
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: if is_error { SpanStatus::error("") } else { SpanStatus::Unset },
            instrumentation_scope: Default::default(),
        });
    }
    by_service
}

/// Spans of the day that the exporter of the SDK sends, in batches of its own size.
const EXPORTED_ROWS: usize = 60_000;

/// What a batch processor of the SDK exports at once.
const EXPORT_ROWS: usize = 512;

#[test]
fn spans_sent_by_the_exporter_of_the_sdk_end_in_the_tables_of_their_replay() {
    if folder().is_none() {
        return;
    }
    let mut taken = 0;
    let batches: Vec<Batch> = recorded(&["traces.jsonl.gz"])
        .into_iter()
        .filter(|batch| batch.table == Table::Spans)
        .take_while(|batch| {
            taken += batch.rows.num_rows();
            taken <= EXPORTED_ROWS
        })
        .collect();
    let service = service();
    let mut rows = 0;
    for batch in &batches {
        for (name, spans) in span_data(&batch.rows) {
            let exporter = {
                let _runtime = service.runtime.enter();
                opentelemetry_otlp::SpanExporter::builder()
                    .with_tonic()
                    .with_endpoint(format!("http://{}", service.otlp_grpc()))
                    .with_compression(Compression::Gzip)
                    .build()
            };
            let mut exporter = exporter.expect("an exporter");
            exporter.set_resource(&Resource::builder_empty().with_service_name(name).build());
            for part in spans.chunks(EXPORT_ROWS) {
                rows += part.len() as u64;
                service.runtime.block_on(exporter.export(part.to_vec())).expect("success");
            }
        }
    }
    assert!(rows > EXPORTED_ROWS as u64 / 2, "{rows}");
    check(&service, &replayed(batches), &BTreeMap::from([(Table::Spans, rows)]));
}
