//! Rows that leave memory and the journal for files, and are there all the same.

use std::net::SocketAddr;
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

/// When `id` was, in nanoseconds.
fn at(id: u64) -> u64 {
    1_767_225_600_000_000_000 + id * 10_000_000
}

/// A request of what `what` makes of the numbers from `first` on, under `name` in `scope`, by service.
fn request(first: u64, count: u64, [resource, scope, name]: [&str; 3], what: impl Fn(u64) -> Value) -> Value {
    let of = |service: u64| {
        let ids = (first..first + count).filter(|id| id % 3 == service);
        let name_of = json!([{ "key": "service.name", "value": { "stringValue": format!("s{service}") } }]);
        json!({ "resource": { "attributes": name_of }, scope: [{ name: ids.map(&what).collect::<Vec<_>>() }] })
    };
    json!({ resource: (0..3).map(of).collect::<Vec<_>>() })
}

pub fn traces(first: u64, count: u64) -> Value {
    request(first, count, ["resourceSpans", "scopeSpans", "spans"], |id| {
        json!({
            "traceId": format!("{:032x}", id / 4), "spanId": format!("{id:016x}"), "name": format!("work {}", id % 7),
            "kind": 2, "startTimeUnixNano": at(id).to_string(), "endTimeUnixNano": (at(id) + id * 1000).to_string(),
            "attributes": [{ "key": "user", "value": { "intValue": (id % 11).to_string() } }],
            "status": { "code": if id % 10 == 3 { 2 } else { 0 } },
        })
    })
}

fn logs(first: u64, count: u64) -> Value {
    request(first, count, ["resourceLogs", "scopeLogs", "logRecords"], |id| {
        let body = format!("order {id} is paid");
        json!({ "timeUnixNano": at(id).to_string(), "severityNumber": 9, "body": { "stringValue": body } })
    })
}

/// Sends `body`; whether it was acknowledged.
pub fn is_taken(address: SocketAddr, path: &str, body: &Value) -> bool {
    let body = body.to_string();
    let request = head("POST", path, &[("content-type", JSON)], body.len());
    let answer = exchange(connect(address), &[request.as_bytes(), body.as_bytes()].concat());
    answer.starts_with(b"HTTP/1.1 200")
}

/// Sends spans and log records with the numbers from `first` on.
fn send(server: &Server, first: u64) {
    let address = server.address("otlp_http");
    assert!(is_taken(address, "/v1/traces", &traces(first, ROWS)));
    assert!(is_taken(address, "/v1/logs", &logs(first, ROWS)));
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
pub fn number(server: &Server, query: &str) -> u64 {
    let row: Value = serde_json::from_str(&rows(server, query)[0]).expect("a row");
    row.as_object().expect("columns").values().next().and_then(Value::as_u64).expect("a number")
}

pub fn files(folder: &Path, stream: &str) -> Vec<PathBuf> {
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
    eventually(|| number(&server, "SELECT count(*) AS n FROM spans"), |rows| *rows == all + ROWS);
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
pub fn refusal(folder: &Path) -> String {
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

#[test]
fn a_table_made_of_one_that_is_gone_has_the_rows_that_it_had() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = start(folder.path(), &SMALL);
    for statement in [
        "CREATE TABLE a (n bigint) WITH (append_only = true)",
        "INSERT INTO a SELECT n FROM generate_series(1, 5000) AS s(n)",
        "CREATE TABLE b AS SELECT n, random() AS r FROM a WHERE n % 2 = 0",
        "CREATE TABLE c WITH (append_only = true) AS SELECT n, random() AS r FROM a",
        "CREATE TABLE e AS SELECT n FROM a WHERE n < 0",
        "CREATE MATERIALIZED VIEW v AS SELECT count(*) AS n, sum(r) AS r FROM c",
        "DROP TABLE a",
        "CREATE TABLE a (n bigint) WITH (append_only = true)",
        "DELETE FROM b WHERE n < 100",
        "INSERT INTO c VALUES (-1, 0.5)",
        "INSERT INTO a VALUES (7)",
    ] {
        rows(&server, statement);
    }
    assert!(sql(&server, "CREATE TABLE b AS SELECT n FROM a").status != 200);
    let questions = ["a", "b", "c", "e", "v"].map(|table| format!("SELECT * FROM {table}"));
    let answers = |server: &Server| questions.clone().map(|question| rows(server, &question));
    let before = answers(&server);
    assert_eq!(before.each_ref().map(Vec::len), [1, 2451, 5001, 0, 1]);
    for signal in ["KILL", "TERM", "KILL"] {
        server.stop(signal);
        server = start(folder.path(), &SMALL);
        assert!(answers(&server) == before, "after SIG{signal}");
    }
}

#[test]
fn a_table_whose_drop_did_not_end_is_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = filled(folder.path());
    server.stop("TERM");
    let data = folder.path().to_str().expect("a path");
    // The first time is that of the table that had the name before, at the start.
    let crash = [(undercurrent::fault::VARIABLE, "history.emptying:2")];
    let flags = [&["--data-dir", data, "--engine-horizon", "none"], &SMALL[..]].concat();
    let mut server = Server::start_with(&flags, &crash).expect("a server");
    assert_eq!(number(&server, "SELECT count(*) AS n FROM noted"), 105);
    // Whether it is answered is up to which thread comes first.
    let _ = sql(&server, "DROP TABLE noted");
    eventually(|| server.has_ended(), |has_ended| *has_ended);
    for _ in 0..2 {
        server = start(folder.path(), &SMALL);
        assert!(sql(&server, "SELECT * FROM noted").status != 200);
        assert_eq!(number(&server, "SELECT count(*) AS n FROM spans"), 15 * ROWS);
        let left = std::fs::read_dir(folder.path().join("history")).expect("folders");
        let left = left.map(|entry| entry.expect("a folder").file_name().into_string().expect("a name"));
        let left = left.filter(|name| name.starts_with("noted"));
        assert!(left.into_iter().all(|name| files(folder.path(), &name).is_empty()));
        server.stop("KILL");
    }
}

#[test]
fn a_journal_that_was_full_goes_on_when_history_has_its_rows() {
    let folder = tempfile::tempdir().expect("a folder");
    let flags = [&SMALL[..], &["--journal-bytes-max", "100 KiB"]].concat();
    let server = start(folder.path(), &flags);
    // Its rows are hundreds of KiB there: it is full now and then, and not for long.
    let address = server.address("otlp_http");
    for first in 0..60 {
        eventually(|| is_taken(address, "/v1/traces", &traces((first + 2) * 50, 50)), |is_taken| *is_taken);
    }
    eventually(|| number(&server, "SELECT count(*) AS n FROM spans"), |rows| *rows == 3000);
}

#[test]
fn a_journal_older_than_its_history_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = filled(folder.path());
    let all = 15 * ROWS;
    eventually(
        || number(&server, "SELECT history_rows FROM stream_stats WHERE stream = 'logs'"),
        |rows| *rows > 0,
    );
    server.stop("TERM");
    drop(start(folder.path(), &SMALL));
    std::fs::rename(folder.path().join("journal"), folder.path().join("elsewhere")).expect("moved");
    let said = refusal(folder.path());
    assert!(said.contains("it is of another time than the journal"), "{said}");
    std::fs::remove_dir_all(folder.path().join("journal")).expect("removed");
    std::fs::rename(folder.path().join("elsewhere"), folder.path().join("journal")).expect("moved back");
    assert_eq!(number(&start(folder.path(), &SMALL), "SELECT count(*) AS n FROM spans"), all);
}
