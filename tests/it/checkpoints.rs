//! A restart that goes on from a checkpoint has what a server has that never stopped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use undercurrent::built_in::QUERIES;

use crate::history::{files, is_taken, number, refusal, traces};
use crate::restart::{rows, sql};
use crate::server::{Server, eventually};

/// What a system tells in the time that the tests are about: longer than the horizon, and than views keep rows.
const SYSTEM: [&str; 10] = [
    "--seed",
    "5",
    "--duration",
    "40m",
    "--rate",
    "2",
    "--fault",
    "errors:payment:11m:6m:0.5",
    "--fault",
    "new_dependency:search/pricing:21m:9m",
];

/// How many requests there are of each signal.
const REQUESTS: usize = 60;

/// How long rows are kept for joining, and groups by time.
const FLAGS: [&str; 8] = [
    "--engine-horizon",
    "3 minutes",
    "--engine-retention",
    "25 minutes",
    "--engine-stored-bytes-max",
    "200 KiB",
    "--journal-segment-bytes-max",
    "64 KiB",
];

/// Views of a user's own beside those that come with the engine.
const VIEWS: [&str; 6] = [
    "CREATE MATERIALIZED VIEW recent AS SELECT service_name, count(*) AS n, max(duration_ns) AS longest FROM spans \
     WHERE started_at > now() - INTERVAL '7 minutes' GROUP BY 1",
    "CREATE MATERIALIZED VIEW failed AS SELECT trace_id, span_id, service_name, name FROM spans WHERE status_code = 'ERROR'",
    "CREATE MATERIALIZED VIEW slowest AS SELECT service_name, name, p FROM (SELECT service_name, name, p, \
     row_number() OVER (PARTITION BY service_name ORDER BY p DESC, name) AS rank FROM (SELECT service_name, name, \
     approx_percentile(duration_ns, 0.9) AS p FROM spans GROUP BY 1, 2) AS by_name) AS ranked WHERE rank <= 2",
    "CREATE MATERIALIZED VIEW told AS SELECT s.service_name, count(*) AS n, count(DISTINCT l.body) AS texts FROM spans s \
     JOIN logs l ON l.trace_id = s.trace_id AND l.span_id = s.span_id GROUP BY 1",
    "CREATE MATERIALIZED VIEW names AS SELECT DISTINCT service_name, name FROM spans",
    // All rows that ever came: it is computed anew.
    "CREATE MATERIALIZED VIEW longest AS SELECT span_id, duration_ns FROM spans ORDER BY duration_ns DESC, span_id LIMIT 5",
];

/// The requests that a simulated system sends, each with its path, in the order of time.
fn requests(folder: &Path) -> Vec<(&'static str, Value)> {
    let output = folder.to_str().expect("a path");
    let generated = Command::new(env!("CARGO_BIN_EXE_undercurrent"))
        .args(["generate", "--quiet", "--output", output])
        .args(SYSTEM)
        .status()
        .expect("the binary runs");
    assert!(generated.success());
    let mut all = vec![];
    let signals = [("traces", "resourceSpans"), ("metrics", "resourceMetrics"), ("logs", "resourceLogs")];
    for ((file, resources), path) in signals.into_iter().zip(["/v1/traces", "/v1/metrics", "/v1/logs"]) {
        let text = fs::read_to_string(folder.join(format!("{file}.jsonl"))).expect("a file");
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("a request")).collect();
        for (number, some) in lines.chunks(lines.len().div_ceil(REQUESTS)).enumerate() {
            let of = |line: &Value| line[resources].as_array().cloned().unwrap_or_default();
            let joined: Vec<Value> = some.iter().flat_map(of).collect();
            all.push((number, path, json!({ resources: joined })));
        }
    }
    all.sort_by_key(|(number, ..)| *number);
    all.into_iter().map(|(_, path, request)| (path, request)).collect()
}

fn start(folder: &Path, flags: &[&str]) -> Server {
    let data = ["--data-dir", folder.to_str().expect("a path")];
    Server::start(&[&data[..], &FLAGS, flags].concat())
}

fn send(server: &Server, requests: &[(&str, Value)]) {
    let address = server.address("otlp_http");
    for (path, request) in requests {
        eventually(|| is_taken(address, path, request), |is_taken| *is_taken);
    }
}

/// All that there is to compare.
fn relations() -> Vec<String> {
    let built_in = QUERIES.iter().map(|(file, _)| file.trim_end_matches(".sql").to_owned());
    // What time it takes is not what it is about.
    let built_in = built_in.filter(|name| name != "slow_queries");
    let own = VIEWS.iter().map(|view| view.split(' ').nth(3).expect("a name").to_owned());
    built_in.chain(own).chain(["spans", "logs"].map(str::to_owned)).collect()
}

fn define(server: &Server) {
    rows(server, "CREATE TABLE marks (at timestamptz)");
    VIEWS.iter().for_each(|view| drop(rows(server, view)));
    relations().iter().for_each(|name| drop(sql(server, &format!("SELECT * FROM {name} LIMIT 1"))));
}

/// The rows of all relations, once the last tick has told all that was sent.
fn answers(server: &Server, spans: &str) -> Vec<(String, Vec<String>)> {
    // Answered with a tick that has all that was sent before.
    rows(server, "INSERT INTO marks VALUES (now())");
    assert_eq!(rows(server, "SELECT count(*) AS n FROM spans"), [spans]);
    let of = |name: String| {
        let query = match name.as_str() {
            "spans" | "logs" => format!("SELECT count(*) AS n, min(service_name) AS first FROM {name}"),
            _ => format!("SELECT * FROM {name}"),
        };
        let rows = rows(server, &query);
        (name, rows)
    };
    relations().into_iter().map(of).collect()
}

fn checkpoint(server: &Server) -> Value {
    serde_json::from_str(&rows(server, "SELECT * FROM checkpoint_stats")[0]).expect("a row")
}

/// The number of the present rows of `spans`.
fn spans(requests: &[(&str, Value)]) -> String {
    let of = |request: &Value| -> usize {
        let resources = request["resourceSpans"].as_array().into_iter().flatten();
        let scopes = resources.flat_map(|resource| resource["scopeSpans"].as_array().into_iter().flatten());
        scopes.map(|scope| scope["spans"].as_array().map_or(0, Vec::len)).sum()
    };
    let count: usize = requests.iter().map(|(_, request)| of(request)).sum();
    format!("{{\"n\":{count}}}")
}

#[test]
fn a_restart_that_goes_on_from_a_checkpoint_has_what_was_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let requests = requests(folder.path());
    let count = spans(&requests);
    let [steady, killed] = ["steady", "killed"].map(|name| folder.path().join(name));
    let expected = {
        let server = start(&steady, &["--data-checkpoint-interval", "none"]);
        define(&server);
        send(&server, &requests);
        answers(&server, &count)
    };
    let portions: Vec<_> = requests.chunks(requests.len().div_ceil(7)).collect();
    for (number, portion) in portions.iter().enumerate() {
        // On another number of workers each time.
        let workers = (1 + number % 3).to_string();
        let flags = ["--engine-workers", &workers, "--data-checkpoint-interval", "200ms"];
        let mut server = start(&killed, &flags);
        match number {
            0 => define(&server),
            _ => {
                let resumed = checkpoint(&server);
                assert!(resumed["resumed_view_count"].as_u64() > Some(20), "{resumed}");
                assert!(
                    resumed["views_without"].as_str().is_none_or(|views| views == "longest (TopK)"),
                    "{resumed}"
                );
            }
        }
        let (most, last) = portion.split_at(portion.len() - portion.len().min(5));
        send(&server, most);
        let before = checkpoint(&server);
        eventually(|| checkpoint(&server), |now| now["checkpoint_at"] != before["checkpoint_at"]);
        send(&server, last);
        if number + 1 == portions.len() {
            let found = answers(&server, &count);
            let differences: Vec<String> = expected
                .iter()
                .zip(&found)
                .filter(|(expected, found)| expected != found)
                .map(|((name, expected), (_, found))| {
                    let more = |these: &[String], those: &[String]| -> Vec<String> {
                        these.iter().filter(|row| !those.contains(row)).take(3).cloned().collect()
                    };
                    let (found_more, expected_more) = (more(found, expected), more(expected, found));
                    let counts = (found.len(), expected.len());
                    format!("{name} {counts:?}:\n  found {found_more:?}\n  expected {expected_more:?}\n")
                })
                .collect();
            assert!(differences.is_empty(), "{}", differences.concat());
            assert!(expected.iter().filter(|(_, rows)| !rows.is_empty()).count() > 25);
            // Nothing ends behind the horizon.
            let minutes = rows(
                &server,
                "SELECT metric_name, count(DISTINCT minute_at) AS n FROM performance_metrics GROUP BY 1",
            );
            assert!(minutes.iter().all(|row| row.contains(r#""n":40"#)), "{minutes:?}");
        }
        server.stop("KILL");
    }
}

/// Spans that are sent, 200 of them every 20 s.
struct Spans {
    next: u64,
    sent: u64,
}

impl Spans {
    fn new() -> Self {
        Spans { next: 200, sent: 0 }
    }

    fn send(&mut self, server: &Server) {
        assert!(is_taken(server.address("otlp_http"), "/v1/traces", &traces(self.next, 200)));
        (self.next, self.sent) = (self.next + 2_000, self.sent + 200);
    }

    /// Sends until so many rows were too old and are gone.
    fn send_until_outdated(&mut self, server: &Server, count: u64) {
        let outdated = || {
            self.send(server);
            number(server, "SELECT outdated_rows AS n FROM stream_stats WHERE stream = 'spans'")
        };
        eventually(outdated, |outdated| *outdated >= count);
    }
}

fn stats(server: &Server) -> Value {
    serde_json::from_str(&rows(server, "SELECT * FROM stream_stats WHERE stream = 'spans'")[0])
        .expect("a row")
}

#[test]
fn rows_that_are_too_old_go_and_views_keep_what_they_made_of_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let flags = ["--data-checkpoint-interval", "200ms"];
    let mut server = start(folder.path(), &flags);
    let by_service = "SELECT service_name, count(*) AS n, max(span_id) AS last FROM spans GROUP BY 1";
    rows(&server, &format!("CREATE MATERIALIZED VIEW by_service AS {by_service}"));
    rows(
        &server,
        "CREATE MATERIALIZED VIEW per_minute WITH (retention = '1 day') AS \
         SELECT date_bin(INTERVAL '1 minute', started_at) AS minute_at, count(*) AS n, \
         approx_percentile(duration_ns, 0.9) AS p FROM spans GROUP BY 1",
    );
    rows(&server, "CREATE MATERIALIZED VIEW last AS SELECT span_id FROM spans ORDER BY span_id DESC LIMIT 3");
    rows(&server, "ALTER TABLE spans SET (retention = '20 seconds')");
    let mut spans = Spans::new();
    (0..30).for_each(|_| spans.send(&server));
    // It holds all rows that ever came, and is not there after a restart without them.
    eventually(
        || (checkpoint(&server)["checkpoint_at"].clone(), stats(&server)["held_by"].clone()),
        |(taken_at, held_by)| !taken_at.is_null() && held_by == "last",
    );
    (0..5).for_each(|_| spans.send(&server));
    assert_eq!(stats(&server)["outdated_rows"], 0);
    rows(&server, "DROP VIEW last");
    // Rows have to be older than what joins need too.
    spans.send_until_outdated(&server, 2_000);
    for round in 0..3 {
        let questions =
            ["SELECT * FROM by_service", "SELECT * FROM per_minute", "SELECT * FROM service_health"];
        let answers = |server: &Server| questions.map(|question| rows(server, question));
        let seen = |server: &Server| number(server, "SELECT sum(n)::bigint AS n FROM by_service");
        eventually(|| seen(&server), |seen| *seen == spans.sent);
        let (before, gone) = (answers(&server), stats(&server)["outdated_rows"].as_u64().expect("a number"));
        server.stop("KILL");
        server = start(folder.path(), &flags);
        assert_eq!(answers(&server), before, "round {round}");
        let stats = stats(&server);
        assert_eq!((&stats["row_count"], &stats["outdated_rows"]), (&spans.sent.into(), &gone.into()));
        assert_eq!(number(&server, "SELECT count(*) AS n FROM spans"), spans.sent - gone);
        // A view that comes now has what a query has.
        rows(&server, &format!("CREATE MATERIALIZED VIEW late AS {by_service}"));
        assert_eq!(rows(&server, "SELECT * FROM late"), rows(&server, by_service));
        rows(&server, "DROP VIEW late");
        spans.send_until_outdated(&server, gone + 1_000);
    }
    // Nothing on disk has them.
    let first = || {
        let files = files(folder.path(), "spans.0");
        let name = files[0].file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        name[..20].parse::<u64>().expect("a number")
    };
    let gone = stats(&server)["outdated_rows"].as_u64().expect("a number");
    eventually(first, |first| *first >= gone);
    rows(&server, "ALTER TABLE spans RESET (retention)");
    assert!(stats(&server)["retention_ms"].is_null());
}

/// What is in the folder of the only checkpoint below `folder`.
fn checkpoint_file(folder: &Path, name: &str) -> PathBuf {
    let mut found =
        fs::read_dir(folder.join("checkpoints")).expect("a folder").map(|entry| entry.expect("a name"));
    let finished = found.find(|entry| !entry.file_name().to_string_lossy().ends_with(".new"));
    finished.expect("a checkpoint").path().join(name)
}

#[test]
fn what_was_saved_and_is_damaged_is_computed_anew_unless_rows_are_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let flags = ["--data-checkpoint-interval", "200ms"];
    let mut server = start(folder.path(), &flags);
    rows(
        &server,
        "CREATE MATERIALIZED VIEW by_service AS SELECT service_name, count(*) AS n FROM spans GROUP BY 1",
    );
    let mut spans = Spans::new();
    (0..20).for_each(|_| spans.send(&server));
    let answers = |server: &Server| {
        ["by_service", "service_health"].map(|view| rows(server, &format!("SELECT * FROM {view}")))
    };
    let seen = |server: &Server| number(server, "SELECT sum(n)::bigint AS n FROM by_service");
    eventually(|| seen(&server), |seen| *seen == spans.sent);
    let before = answers(&server);
    for name in ["manifest.json", "state"] {
        eventually(|| checkpoint(&server)["checkpoint_at"].clone(), |taken_at| !taken_at.is_null());
        server.stop("KILL");
        let path = checkpoint_file(folder.path(), name);
        let mut bytes = fs::read(&path).expect("a file");
        bytes.iter_mut().step_by(100).for_each(|byte| *byte ^= 1);
        fs::write(&path, bytes).expect("written");
        server = start(folder.path(), &flags);
        assert!(answers(&server) == before, "without {name}");
        assert_eq!(checkpoint(&server)["resumed_view_count"].as_u64().unwrap_or(0), 0, "{name}");
    }
    rows(&server, "ALTER TABLE spans SET (retention = '20 seconds')");
    spans.send_until_outdated(&server, 2_000);
    let first = || files(folder.path(), "spans.0")[0].to_string_lossy().contains("/00000000000000000000-");
    eventually(first, |is_first| !is_first);
    server.stop("KILL");
    fs::remove_dir_all(folder.path().join("checkpoints")).expect("removed");
    let said = refusal(folder.path());
    assert!(said.contains("are not kept any more, and there is no checkpoint to go on from"), "{said}");
}

#[test]
fn what_has_no_retention_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), &[]);
    rows(&server, "CREATE TABLE kept (id bigint PRIMARY KEY, at timestamptz)");
    rows(&server, "CREATE TABLE timeless (id bigint) WITH (append_only = true)");
    for (statement, reason) in [
        ("ALTER TABLE kept SET (retention = '1 day')", "DELETE takes rows of others away"),
        ("ALTER TABLE timeless SET (retention = '1 day')", "a column of type timestamptz"),
        ("ALTER TABLE nothing SET (retention = '1 day')", "nothing"),
        ("ALTER TABLE spans SET (retention = 'a while')", "a duration such as '7 days' is expected"),
        ("ALTER TABLE spans SET (colour = 'red')", "colour"),
        ("ALTER TABLE spans ADD COLUMN a int", "SET (retention = ...)"),
    ] {
        let answer = sql(&server, statement);
        assert!(answer.status != 200 && answer.text().contains(reason), "{statement}: {}", answer.text());
    }
}

#[test]
fn rows_in_memory_alone_go_when_they_are_too_old() {
    let server = Server::start(&["--engine-horizon", "none"]);
    rows(&server, "CREATE MATERIALIZED VIEW all_spans AS SELECT count(*) AS n FROM spans");
    rows(&server, "ALTER TABLE spans SET (retention = '20 seconds')");
    let mut spans = Spans::new();
    spans.send_until_outdated(&server, 2_000);
    eventually(|| number(&server, "SELECT n FROM all_spans"), |seen| *seen == spans.sent);
    let stats = stats(&server);
    assert_eq!(
        stats["stored_rows"].as_u64(),
        Some(spans.sent - stats["outdated_rows"].as_u64().expect("a number"))
    );
}
