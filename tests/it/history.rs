//! Rows that leave memory and the journal for files, and are there all the same.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::otlp::client::{JSON, connect, exchange, head};
use crate::restart::{rows, sql, start};
use crate::server::{Server, eventually};

/// Memory and segments so small that rows are on disk soon.
pub const SMALL: [&str; 4] =
    ["--engine-stored-bytes-max", "200 KiB", "--journal-segment-bytes-max", "16 KiB"];

/// Spans and logs in one request.
const ROWS: u64 = 200;

/// Sends spans and log records with the numbers from `first` on.
fn send(server: &Server, first: u64) {
    let at = |id: u64| 1_767_225_600_000_000_000 + id * 10_000_000;
    let service =
        |id: u64| json!([{ "key": "service.name", "value": { "stringValue": format!("s{}", id % 3) } }]);
    let span = |id: u64| {
        json!({
            "traceId": format!("{:032x}", id / 4), "spanId": format!("{id:016x}"), "name": format!("work {}", id % 7),
            "kind": 2, "startTimeUnixNano": at(id).to_string(), "endTimeUnixNano": (at(id) + id * 1000).to_string(),
            "attributes": [{ "key": "user", "value": { "intValue": (id % 11).to_string() } }],
            "status": { "code": if id % 10 == 3 { 2 } else { 0 } },
        })
    };
    let log = |id: u64| {
        json!({
            "timeUnixNano": at(id).to_string(), "severityNumber": 9, "body": { "stringValue": format!("order {id} is paid") },
        })
    };
    let of = |rest: u64, what: &dyn Fn(u64) -> Value| -> Vec<Value> {
        (first..first + ROWS).filter(|id| id % 3 == rest).map(what).collect()
    };
    let spans: Vec<Value> = (0..3)
        .map(|s| json!({ "resource": { "attributes": service(s) }, "scopeSpans": [{ "spans": of(s, &span) }] }))
        .collect();
    let logs: Vec<Value> = (0..3)
        .map(|s| json!({ "resource": { "attributes": service(s) }, "scopeLogs": [{ "logRecords": of(s, &log) }] }))
        .collect();
    for (path, body) in
        [("/v1/traces", json!({ "resourceSpans": spans })), ("/v1/logs", json!({ "resourceLogs": logs }))]
    {
        let body = body.to_string();
        let request = head("POST", path, &[("content-type", JSON)], body.len());
        let address = server.address("otlp_http");
        let answer = exchange(connect(address), &[request.as_bytes(), body.as_bytes()].concat());
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    }
}

const QUESTIONS: [&str; 8] = [
    "SELECT count(*) AS n, min(started_at) AS first_at, max(span_id) AS last, sum(duration_ns) AS d FROM spans",
    "SELECT service_name, name, count(*) AS n FROM spans WHERE status_code = 'ERROR' GROUP BY 1, 2",
    "SELECT * FROM spans WHERE trace_id = '00000000000000000000000000000190'",
    "SELECT count(*) AS n FROM spans WHERE attributes['user'] = '7' AND started_at < '2026-01-01 00:00:09Z'",
    "SELECT ts, body FROM logs WHERE body LIKE '%order 1_17 %'",
    "SELECT l.body, s.name FROM logs l JOIN spans s ON s.started_at = l.ts WHERE s.span_id = '0000000000000309'",
    "SELECT kind, count(*) AS n, sum(a) AS a FROM noted GROUP BY 1",
    "SELECT * FROM by_service",
];

fn answers(server: &Server) -> Vec<(&'static str, Vec<String>)> {
    QUESTIONS.iter().map(|question| (*question, rows(server, question))).collect()
}

/// One number that `query` gives.
fn number(server: &Server, query: &str) -> u64 {
    let row: Value = serde_json::from_str(&rows(server, query)[0]).expect("a row");
    row.as_object().expect("columns").values().next().and_then(Value::as_u64).expect("a number")
}

fn files(folder: &Path, stream: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder.join("history").join(stream)).expect("a folder");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "parquet"));
    files.sort();
    files
}

/// A server with rows on disk and in memory, in `folder`.
fn filled(folder: &Path) -> Server {
    let server = start(folder, &SMALL);
    rows(&server, "CREATE TABLE noted (kind text, a bigint) WITH (append_only = true)");
    rows(&server, "INSERT INTO noted VALUES ('old', 1)");
    rows(&server, "DROP TABLE noted");
    rows(&server, "CREATE TABLE noted (kind text, a bigint) WITH (append_only = true)");
    rows(
        &server,
        "CREATE MATERIALIZED VIEW by_service AS SELECT service_name, count(*) AS n, sum(duration_ns) AS d FROM spans GROUP BY 1",
    );
    for round in 0..15 {
        send(&server, (round + 2) * ROWS);
        rows(&server, &format!("INSERT INTO noted SELECT 'r', n FROM generate_series(1, {round}) AS s(n)"));
    }
    server
}

#[test]
fn rows_on_disk_are_read_as_those_in_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = filled(folder.path());
    let all = 15 * ROWS;
    // Memory has few of them, and all can be read.
    let stats = "SELECT stream, row_count, stored_rows, evicted_rows, history_rows FROM stream_stats WHERE stream = 'spans'";
    let is_mostly_on_disk = |rows: &Vec<String>| {
        let row: Value = serde_json::from_str(&rows[0]).expect("a row");
        row["evicted_rows"] == 0
            && row["row_count"] == all
            && row["stored_rows"].as_u64() < Some(all / 2)
            && row["history_rows"].as_u64() > Some(all / 2)
    };
    eventually(|| rows(&server, stats), is_mostly_on_disk);
    let before = answers(&server);
    assert_eq!(number(&server, "SELECT count(*) AS n FROM spans"), all);
    assert_eq!(before[2].1.len(), 4);
    // A view that is created now has what a query has.
    let view = "SELECT service_name, count(*) AS n, max(name) AS last FROM spans WHERE duration_ns > 1000 GROUP BY 1";
    rows(&server, &format!("CREATE MATERIALIZED VIEW late AS {view}"));
    assert_eq!(rows(&server, "SELECT * FROM late"), rows(&server, view));
    for (round, signal) in ["TERM", "KILL", "KILL"].into_iter().enumerate() {
        server.stop(signal);
        server = start(folder.path(), &SMALL);
        assert_eq!(answers(&server), before, "after SIG{signal}");
        assert_eq!(rows(&server, "SELECT * FROM late"), rows(&server, view), "after SIG{signal}");
        if round == 1 {
            break;
        }
    }
    // What is on disk is not in the journal too.
    let journal =
        "SELECT sum(value)::bigint AS n FROM engine_metrics WHERE name = 'undercurrent_journal_bytes'";
    let json_bytes = 500 * all;
    eventually(|| number(&server, journal), |bytes| *bytes < json_bytes / 20);
    send(&server, all + 2 * ROWS);
    assert_eq!(number(&server, "SELECT count(*) AS n FROM spans"), all + ROWS);
    // A table that is dropped leaves nothing on disk.
    rows(&server, "DROP TABLE noted");
    let is_empty = |counts: &Vec<usize>| counts.iter().all(|count| *count == 0);
    let folders = || -> Vec<String> {
        let entries = std::fs::read_dir(folder.path().join("history")).expect("folders");
        let names = entries.map(|entry| entry.expect("a folder").file_name().into_string().expect("a name"));
        names.filter(|name| name.starts_with("noted")).collect()
    };
    assert_eq!(folders().len(), 2);
    eventually(|| folders().iter().map(|name| files(folder.path(), name).len()).collect(), is_empty);
    server.stop("KILL");
    server = start(folder.path(), &SMALL);
    assert_eq!(number(&server, "SELECT count(*) AS n FROM spans"), all + ROWS);
    assert!(sql(&server, "SELECT * FROM noted").text().contains("noted"));
}

/// What a server says that does not start in `folder`.
fn refusal(folder: &Path) -> String {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_undercurrent"))
        .args(["serve", "--data-dir", folder.to_str().expect("a path")])
        .args(["--otlp-grpc-listen", "off", "--otlp-http-listen", "off", "--postgres-listen", "off"])
        .args(["--flight-sql-listen", "off", "--http-listen", "off"])
        .output()
        .expect("the binary runs");
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn history_that_is_damaged_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = filled(folder.path());
    eventually(
        || number(&server, "SELECT history_rows FROM stream_stats WHERE stream = 'spans'"),
        |rows| *rows > 0,
    );
    server.stop("TERM");
    // What was in memory is written, and nothing is left in the journal.
    let mut server = start(folder.path(), &SMALL);
    let all = 15 * ROWS;
    eventually(
        || number(&server, "SELECT history_rows FROM stream_stats WHERE stream = 'spans'"),
        |rows| *rows == all,
    );
    let journal =
        "SELECT sum(value)::bigint AS n FROM engine_metrics WHERE name = 'undercurrent_journal_bytes'";
    eventually(|| number(&server, journal), |bytes| *bytes < 60_000);
    server.stop("TERM");
    let file = files(folder.path(), "spans.0").remove(0);
    let whole = std::fs::read(&file).expect("a file");
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    std::fs::write(&file, damaged).expect("written");
    let name = file.file_name().and_then(|name| name.to_str()).expect("a name");
    let said = refusal(folder.path());
    assert!(said.contains("the history is damaged") && said.contains(name), "{said}");
    std::fs::remove_file(&file).expect("removed");
    let said = refusal(folder.path());
    assert!(said.contains("the history is not whole: rows 0 to"), "{said}");
    std::fs::write(&file, whole).expect("written");
    let server = start(folder.path(), &SMALL);
    assert_eq!(number(&server, "SELECT count(*) AS n FROM spans"), all);
}
