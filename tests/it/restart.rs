//! A server that ends at any moment, and begins again where it was.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::in_process::{Got, curl};
use crate::otlp::client::{JSON, connect, exchange, head};
use crate::server::{Server, eventually};

/// What `sql` gives, or is refused with.
pub fn sql(server: &Server, sql: &str) -> Got {
    curl(&["--data-binary", sql, &format!("http://{}/api/v1/sql", server.address("http"))])
}

/// The rows of `query`, each as a text, sorted; or nothing for what gives none.
pub fn rows(server: &Server, query: &str) -> Vec<String> {
    let answer = sql(server, query);
    assert_eq!(answer.status, 200, "{query}: {}", answer.text());
    let json = answer.json();
    let mut rows: Vec<String> = json["rows"].as_array().expect("rows").iter().map(Value::to_string).collect();
    rows.sort();
    rows
}

/// A request with one span.
fn span(id: u64) -> Value {
    let at = 1_767_225_600_000_000_000 + id * 50_000_000;
    json!({ "resourceSpans": [{
        "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": format!("s{}", id % 3) } }] },
        "scopeSpans": [{ "spans": [{
            "traceId": format!("{id:032x}"), "spanId": format!("{id:016x}"), "name": "work", "kind": 2,
            "startTimeUnixNano": at.to_string(), "endTimeUnixNano": (at + 1_000_000).to_string(),
        }] }],
    }] })
}

/// Sends the span `id`; whether it was acknowledged. Whoever is killed does not answer.
fn is_acknowledged(address: SocketAddr, id: u64) -> bool {
    let body = span(id).to_string();
    let request = head("POST", "/v1/traces", &[("content-type", JSON)], body.len());
    let answer = match std::net::TcpStream::connect(address) {
        Ok(_) => exchange(connect(address), &[request.as_bytes(), body.as_bytes()].concat()),
        Err(_) => vec![],
    };
    answer.starts_with(b"HTTP/1.1 200")
}

/// Views and their texts.
const VIEWS: [(&str, &str); 3] = [
    ("by_service", "SELECT service_name, count(*) AS n, max(started_at) AS last_at FROM spans GROUP BY 1"),
    (
        "owned",
        "SELECT o.team, count(s.span_id) AS n FROM owners o LEFT JOIN spans s ON s.service_name = o.service GROUP BY 1",
    ),
    ("noted", "SELECT count(*) AS n, max(id) AS last FROM notes"),
];

pub fn start(folder: &std::path::Path, more: &[&str]) -> Server {
    let flags = ["--data-dir", folder.to_str().expect("a path"), "--engine-horizon", "none"];
    Server::start(&[&flags[..], more].concat())
}

fn define(server: &Server) {
    rows(server, "CREATE TABLE owners (service text PRIMARY KEY, team text)");
    rows(server, "CREATE TABLE notes (id bigint) WITH (append_only = true)");
    rows(server, "INSERT INTO owners VALUES ('s0', 'a'), ('s1', 'b'), ('s9', 'c')");
    for (name, query) in VIEWS {
        rows(server, &format!("CREATE MATERIALIZED VIEW {name} AS {query}"));
    }
}

/// Sends spans and writes rows until the server is killed in the middle of it.
struct Round {
    spans: Mutex<BTreeSet<u64>>,
    /// Those that were sent, acknowledged or not.
    sent: Mutex<BTreeSet<u64>>,
    notes: AtomicU64,
}

impl Round {
    fn run(&self, server: &mut Server, next: &AtomicU64, kill_after: usize) {
        let (otlp, http) = (server.address("otlp_http"), server.address("http"));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    loop {
                        let id = next.fetch_add(1, Ordering::Relaxed);
                        self.sent.lock().unwrap().insert(id);
                        match is_acknowledged(otlp, id) {
                            true => drop(self.spans.lock().unwrap().insert(id)),
                            false => return,
                        }
                    }
                });
            }
            scope.spawn(|| {
                loop {
                    let id = self.notes.load(Ordering::Relaxed) + 1;
                    let statement = format!("INSERT INTO notes VALUES ({id})");
                    let request = head("POST", "/api/v1/sql", &[], statement.len());
                    let Ok(stream) = std::net::TcpStream::connect(http) else { return };
                    let answer = exchange(stream, (request + &statement).as_bytes());
                    if !answer.starts_with(b"HTTP/1.1 200") {
                        return;
                    }
                    self.notes.store(id, Ordering::Relaxed);
                }
            });
            while self.spans.lock().unwrap().len() < kill_after {
                std::thread::yield_now();
            }
            server.stop("KILL");
        });
    }
}

#[test]
fn what_was_acknowledged_is_there_once_after_a_kill() {
    kills(&[]);
}

#[test]
fn what_is_on_disk_is_there_once_after_a_kill() {
    kills(&["--engine-stored-bytes-max", "20 KiB", "--journal-segment-bytes-max", "8 KiB"]);
}

fn kills(flags: &[&str]) {
    let folder = tempfile::tempdir().expect("a folder");
    let random = &mut StdRng::seed_from_u64(6);
    let next = AtomicU64::new(1);
    let (mut acknowledged, mut sent, mut notes) = (BTreeSet::new(), BTreeSet::new(), 0);
    let mut server = start(folder.path(), flags);
    define(&server);
    for round in 0..6 {
        let state = Round { spans: Mutex::default(), sent: Mutex::default(), notes: AtomicU64::new(notes) };
        state.run(&mut server, &next, random.random_range(20..120));
        acknowledged.extend(state.spans.into_inner().unwrap());
        sent.extend(state.sent.into_inner().unwrap());
        server = start(folder.path(), flags);
        let there = rows(&server, "SELECT trace_id FROM spans");
        let ids: BTreeSet<u64> = there
            .iter()
            .map(|row| row.trim_start_matches("{\"trace_id\":\"").trim_end_matches("\"}"))
            .map(|id| u64::from_str_radix(id, 16).unwrap_or_else(|_| panic!("{id}")))
            .collect();
        assert_eq!(ids.len(), there.len(), "round {round}: a span is there twice");
        assert!(ids.is_superset(&acknowledged), "round {round}: an acknowledged span is lost");
        assert!(ids.is_subset(&sent), "round {round}: a span nobody sent");
        // The last statement may have been carried out without an answer.
        let written = rows(&server, "SELECT count(*) AS n, max(id) AS last FROM notes");
        let answered = state.notes.into_inner();
        let counts: Vec<u64> = written[0]
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|number| number.parse().ok())
            .collect();
        notes = *counts.last().unwrap_or(&0);
        assert!(counts.iter().all(|count| *count == notes), "round {round}: {written:?}");
        assert!((answered..=answered + 1).contains(&notes), "round {round}: {notes} after {answered}");
        for (name, query) in VIEWS {
            assert_eq!(rows(&server, &format!("SELECT * FROM {name}")), rows(&server, query), "{name}");
        }
    }
    assert!(acknowledged.len() > 100);
}

#[test]
fn all_that_was_defined_and_written_is_there_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = start(folder.path(), &[]);
    define(&server);
    for id in 1..200 {
        assert!(is_acknowledged(server.address("otlp_http"), id));
    }
    for statement in [
        "UPDATE owners SET team = 'z' WHERE service = 's1'",
        "DELETE FROM owners WHERE service = 's9'",
        "INSERT INTO owners VALUES ('s1', 'x') ON CONFLICT (service) DO UPDATE SET team = 'y'",
        "CREATE TABLE gone (a int)",
        "INSERT INTO gone VALUES (1)",
        "DROP TABLE gone",
        "CREATE TABLE emptied AS SELECT service, team FROM owners",
        "TRUNCATE emptied",
        "INSERT INTO emptied VALUES ('after', NULL)",
        "CREATE VIEW plain AS SELECT * FROM by_service WHERE n > 1",
        "CREATE MODEL m USING isolation_forest AS SELECT started_at, duration_ns FROM spans",
        "CREATE OR REPLACE MATERIALIZED VIEW noted AS SELECT count(*) + 1 AS n FROM notes",
        // Named for the first time.
        "SELECT * FROM service_health",
    ] {
        rows(&server, statement);
    }
    let refused = sql(&server, "INSERT INTO owners VALUES ('s1', 'twice')");
    assert!(refused.status != 200, "{}", refused.text());
    // What failed is not carried out by a restart, though it could be by then.
    for statement in
        ["CREATE VIEW early AS SELECT * FROM later", "CREATE TABLE owners (a int)", "DROP VIEW nothing"]
    {
        assert!(sql(&server, statement).status != 200, "{statement}");
    }
    rows(&server, "CREATE TABLE later (a int)");
    let questions = [
        "SHOW TABLES",
        "SELECT * FROM owners",
        "SELECT * FROM emptied",
        "SELECT * FROM plain",
        "SELECT * FROM by_service",
        "SELECT * FROM owned",
        "SELECT * FROM noted",
        "SELECT * FROM service_health",
        "SELECT trace_id, service_name, started_at FROM spans",
        "SHOW VIEWS",
        "SHOW MODELS",
    ];
    let answers = |server: &Server| questions.map(|question| (question, rows(server, question)));
    let before = answers(&server);
    for signal in ["TERM", "KILL"] {
        server.stop(signal);
        server = start(folder.path(), &[]);
        assert_eq!(answers(&server), before, "after SIG{signal}");
    }
}

#[test]
fn a_full_journal_is_said_and_queries_are_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = start(folder.path(), &["--journal-bytes-max", "64 KiB"]);
    define(&server);
    let mut id = 1;
    while is_acknowledged(server.address("otlp_http"), id) {
        id += 1;
        assert!(id < 2_000, "the journal is never full");
    }
    let refused = sql(&server, "INSERT INTO owners VALUES ('s7', 'q')");
    assert!(refused.status != 200 && refused.text().contains("journal.bytes_max"), "{}", refused.text());
    let ready = curl(&[&format!("http://{}/ready", server.address("http"))]);
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("journal.bytes_max"), "{}", ready.text());
    assert_eq!(rows(&server, "SELECT team FROM owners WHERE service = 's7'"), [] as [&str; 0]);
    // What was acknowledged is there with more room, and nothing of the rest.
    server.stop("KILL");
    let server = start(folder.path(), &["--journal-bytes-max", "1 GiB"]);
    assert_eq!(rows(&server, "SELECT trace_id FROM spans").len() as u64, id - 1);
    assert!(is_acknowledged(server.address("otlp_http"), id));
}

#[test]
fn a_folder_is_for_one_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let _server = start(folder.path(), &[]);
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_undercurrent"))
        .args(["serve", "--data-dir", folder.path().to_str().expect("a path")])
        .output()
        .expect("the binary runs");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("is in use by another process"), "{error}");
}

#[test]
fn a_model_has_the_versions_that_it_had() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = start(folder.path(), &[]);
    for statement in [
        "CREATE MODEL usual USING isolation_forest WITH (retrain = '2 seconds', window = '4 seconds', rows_min = 20, \
         trees = 10, seed = 3) AS SELECT started_at, duration_ns, length(span_id) AS n FROM spans",
        "CREATE MATERIALIZED VIEW scored AS \
         SELECT span_id, anomaly_score(usual, duration_ns, length(span_id), at => started_at) AS score FROM spans",
    ] {
        rows(&server, statement);
    }
    // A span every 50 ms for half a minute.
    for id in 1..=600 {
        assert!(is_acknowledged(server.address("otlp_http"), id));
    }
    eventually(|| rows(&server, "SELECT count(*) AS n FROM spans"), |rows| *rows == ["{\"n\":600}"]);
    let versions = "SELECT valid_from, row_count, md5(model::text) AS forest FROM usual";
    let shown = eventually(|| rows(&server, versions), |rows| rows.len() > 10);
    let questions = [versions, "SELECT * FROM scored", "SHOW MODELS"];
    let before = questions.map(|question| rows(&server, question));
    assert!(before[1].iter().any(|row| !row.contains("null")), "nothing is scored with {shown:?}");
    for signal in ["KILL", "TERM"] {
        server.stop(signal);
        server = start(folder.path(), &[]);
        assert_eq!(questions.map(|question| rows(&server, question)), before, "after SIG{signal}");
    }
    // It goes on to be trained.
    for id in 601..=800 {
        assert!(is_acknowledged(server.address("otlp_http"), id));
    }
    eventually(|| rows(&server, versions), |rows| rows.len() > shown.len());
}

#[test]
fn a_statement_that_fails_and_of_which_nobody_was_told_does_not_stand_in_the_way() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().to_str().expect("a path").to_owned();
    let flags = ["--data-dir", &data];
    let create = "CREATE VIEW early AS SELECT * FROM later";
    for count in 2..12 {
        // It ends somewhere between noting the statement and noting that it failed, or around that.
        let place = format!("journal.synced:{count}");
        let environment = [(undercurrent::fault::VARIABLE, place.as_str())];
        let Some(server) = Server::start_with(&flags, &environment) else { continue };
        let url = format!("http://{}/api/v1/sql", server.address("http"));
        let _ = std::process::Command::new("curl").args(["-s", "--data-binary", create, &url]).output();
    }
    for _ in 0..2 {
        let server = start(folder.path(), &[]);
        assert_eq!(rows(&server, "SELECT 1 AS n"), ["{\"n\":1}"]);
    }
}
