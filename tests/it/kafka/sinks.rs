//! Sinks.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use super::broker::Broker;
use super::{rows, run, topic, wait_for};
use crate::server::{Server, eventually};

/// Waits until all that `sink` has to tell is told.
fn drained(server: &Server, sink: &str) {
    let query = format!("SELECT state, waiting_rows FROM sink_stats WHERE sink = '{sink}'");
    wait_for(server, &query, &["{\"state\":\"running\",\"waiting_rows\":0}"]);
}

fn stock(server: &Server) {
    run(server, "CREATE TABLE stock (item text PRIMARY KEY, n bigint)");
    run(server, "INSERT INTO stock VALUES ('a', 1), ('b', 2)");
}

#[test]
fn a_key_has_its_last_row_or_none() {
    let Some(broker) = Broker::shared() else { return };
    let server = Server::start(&[]);
    stock(&server);
    let brokers = broker.address();
    run(
        &server,
        &format!(
            "CREATE SINK k FROM stock INTO KAFKA (brokers = '{brokers}', topic = 'stock', partitions = 2, \
             replication_factor = 1) KEY (item)"
        ),
    );
    drained(&server, "k");
    run(&server, "UPDATE stock SET n = n + 10 WHERE item = 'a'");
    run(&server, "DELETE FROM stock WHERE item = 'b'");
    run(&server, "INSERT INTO stock VALUES ('c', 3)");
    drained(&server, "k");
    let mut last: BTreeMap<String, Option<String>> = BTreeMap::new();
    let messages = topic::read(&broker.client(), "stock");
    assert_eq!(messages.len(), 5, "{messages:?}");
    for message in messages {
        last.insert(message.key.expect("a key"), message.value);
    }
    let expected = [
        ("{\"item\":\"a\"}", Some("{\"item\":\"a\",\"n\":11}")),
        ("{\"item\":\"b\"}", None),
        ("{\"item\":\"c\"}", Some("{\"item\":\"c\",\"n\":3}")),
    ];
    let shown: Vec<(&str, Option<&str>)> =
        last.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
    assert_eq!(shown, expected);
    assert!(rows(&server, "SHOW SINKS")[0].contains("ENVELOPE UPSERT"));
    // What it tells of cannot go before it.
    let refused = crate::in_process::curl(&[
        "--data-binary",
        "DROP TABLE stock",
        &format!("http://{}/api/v1/sql", server.address("http")),
    ]);
    assert!(refused.text().contains("cannot drop \\\"stock\\\": sink k reads it"), "{}", refused.text());
    run(&server, "DROP SINK k");
    run(&server, "DROP TABLE stock");
}

#[test]
fn each_change_has_a_before_and_an_after() {
    let Some(broker) = Broker::shared() else { return };
    let server = Server::start(&[]);
    stock(&server);
    broker.create_topic("changes", 1);
    let brokers = broker.address();
    run(
        &server,
        &format!(
            "CREATE SINK k FROM stock INTO KAFKA (brokers = '{brokers}', topic = 'changes') KEY (item) \
             ENVELOPE DEBEZIUM WITH (snapshot = false)"
        ),
    );
    run(&server, "UPDATE stock SET n = 7 WHERE item = 'a'");
    run(&server, "DELETE FROM stock WHERE item = 'b'");
    run(&server, "INSERT INTO stock VALUES ('c', 3)");
    drained(&server, "k");
    let shown: Vec<String> = topic::read(&broker.client(), "changes")
        .iter()
        .map(|message| {
            let event: Value = serde_json::from_str(message.value.as_ref().expect("an event")).expect("JSON");
            assert_eq!(event["ts_ms"], message.tick);
            format!("{} {} {}", event["op"], event["before"], event["after"])
        })
        .collect();
    assert_eq!(
        shown,
        [
            "\"u\" {\"item\":\"a\",\"n\":1} {\"item\":\"a\",\"n\":7}",
            "\"d\" {\"item\":\"b\",\"n\":2} null",
            "\"c\" null {\"item\":\"c\",\"n\":3}",
        ]
    );
}

#[test]
fn what_a_sink_cannot_say_is_refused_or_stops_it() {
    let Some(broker) = Broker::shared() else { return };
    let server = Server::start(&[]);
    stock(&server);
    let (brokers, url) = (broker.address(), format!("http://{}/api/v1/sql", server.address("http")));
    let sink = |of: &str, more: &str| {
        format!(
            "CREATE SINK k FROM {of} INTO KAFKA (brokers = '{brokers}', topic = 'wrong', partitions = 1) {more}"
        )
    };
    for (sql, expected) in [
        (sink("stock", ""), "rows of \\\"stock\\\" change and go"),
        (sink("stock", "KEY (colour)"), "a column of \\\"stock\\\" is expected"),
        (sink("logs", ""), "\\\"logs\\\" is no materialized view"),
        (sink("nothing", ""), "relation \\\"nothing\\\" does not exist"),
    ] {
        let got = crate::in_process::curl(&["--data-binary", &sql, &url]);
        assert!(got.status >= 400 && got.text().contains(expected), "{sql}: {}", got.text());
    }
    // The column is no key: two rows have one.
    run(&server, "INSERT INTO stock VALUES ('d', 2)");
    run(&server, &sink("stock", "KEY (n)"));
    let twice = crate::in_process::curl(&["--data-binary", &sink("stock", "KEY (item)"), &url]);
    assert!(twice.text().contains("sink \\\"k\\\" already exists; drop it first"), "{}", twice.text());
    let state = "SELECT state, error, waiting_rows FROM sink_stats";
    wait_for(
        &server,
        state,
        &[
            "{\"state\":\"failed\",\"error\":\"key {\\\"n\\\":2} has more than one row at a tick: it is no key of the view\",\"waiting_rows\":3}",
        ],
    );
    run(&server, "DROP SINK k");
    assert!(topic::read(&broker.client(), "wrong").is_empty());
}

#[test]
fn a_broker_that_is_away_holds_back_its_sink_alone() {
    let Some(broker) = Broker::start() else { return };
    let server = Server::start(&[]);
    stock(&server);
    broker.create_topic("away", 1);
    let brokers = broker.address();
    run(
        &server,
        &format!("CREATE SINK k FROM stock INTO KAFKA (brokers = '{brokers}', topic = 'away') KEY (item)"),
    );
    drained(&server, "k");
    broker.kill();
    for n in 0..20 {
        run(&server, &format!("UPDATE stock SET n = {n} WHERE item = 'a'"));
    }
    assert_eq!(rows(&server, "SELECT n FROM stock WHERE item = 'a'"), ["{\"n\":19}"]);
    eventually(
        || rows(&server, "SELECT waiting_rows > 0 AS waits FROM sink_stats"),
        |r| r == &["{\"waits\":true}"],
    );
    broker.restart();
    drained(&server, "k");
    let mut last = topic::read(&broker.client(), "away");
    last.retain(|message| message.key.as_deref() == Some("{\"item\":\"a\"}"));
    assert_eq!(last.last().expect("a message").value.as_deref(), Some("{\"item\":\"a\",\"n\":19}"));
    let ticks: Vec<u64> = last.iter().map(|message| message.tick).collect();
    let mut distinct = ticks.clone();
    distinct.dedup();
    assert_eq!(ticks, distinct, "a change is told twice");
}

#[test]
fn the_brokers_own_consumer_reads_what_a_sink_writes() {
    let Some(broker) = Broker::shared() else { return };
    let server = Server::start(&[]);
    let brokers = broker.address();
    run(&server, "CREATE MATERIALIZED VIEW said AS SELECT body, severity_text FROM logs");
    run(
        &server,
        &format!(
            "CREATE SINK said FROM said INTO KAFKA (brokers = '{brokers}', topic = 'said', partitions = 1)"
        ),
    );
    let log = |text: &str| {
        serde_json::json!({"timeUnixNano": "1767225600000000000", "severityText": "WARN",
            "body": {"stringValue": text}})
    };
    let request =
        serde_json::json!({"resourceLogs": [{"scopeLogs": [{"logRecords": [log("one"), log("two")]}]}]});
    let url = format!("http://{}/v1/logs", server.address("otlp_http"));
    let sent = crate::in_process::curl(&[
        "-H",
        "content-type: application/json",
        "--data-binary",
        &request.to_string(),
        &url,
    ]);
    assert_eq!(sent.status, 200, "{}", sent.text());
    drained(&server, "said");
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/console_consumer.sh");
    let read = Command::new(script).arg(broker.jars()).args([&brokers, "said", "2"]).output().expect("bash");
    let mut lines: Vec<&str> = std::str::from_utf8(&read.stdout).expect("text").lines().collect();
    lines.sort_unstable();
    assert_eq!(
        lines,
        ["{\"body\":\"one\",\"severity_text\":\"WARN\"}", "{\"body\":\"two\",\"severity_text\":\"WARN\"}",]
    );
}

/// Takes requests as a webhook does, and answers each with the next of `statuses`, at last with 200; their keys and bodies.
fn hook(statuses: Vec<u16>) -> (String, std::sync::mpsc::Receiver<(String, Value)>) {
    use std::io::{BufRead, BufReader, Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut statuses = statuses.into_iter();
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut reader = BufReader::new(stream.try_clone().expect("a connection"));
            let (mut length, mut key) = (0, String::new());
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).expect("a header");
                let Some((name, value)) = line.trim_end().split_once(": ") else {
                    if line.trim_end().is_empty() { break } else { continue }
                };
                match name.to_lowercase().as_str() {
                    "content-length" => length = value.parse().expect("a length"),
                    "idempotency-key" => key = value.to_owned(),
                    "authorization" => assert_eq!(value, "Bearer t"),
                    _ => {}
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).expect("a body");
            let status = statuses.next().unwrap_or(200);
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).expect("an answer");
            if sender.send((key, serde_json::from_slice(&body).expect("JSON"))).is_err() {
                return;
            }
        }
    });
    (url, receiver)
}

#[test]
fn a_webhook_is_asked_again_until_it_takes_a_request() {
    let server = Server::start(&[]);
    stock(&server);
    let (url, requests) = hook(vec![503, 500, 200, 302]);
    run(
        &server,
        &format!(
            "CREATE SINK k FROM stock INTO WEBHOOK (url = '{url}', authorization = 'Bearer t') KEY (item) ENVELOPE DEBEZIUM"
        ),
    );
    assert!(!run(&server, "SHOW SINKS").to_string().contains("Bearer"), "a secret is shown");
    let first: Vec<(String, Value)> = requests.iter().take(3).collect();
    assert!(first.iter().all(|request| *request == first[0]), "the same again: {first:?}");
    let changes = first[0].1["changes"].as_array().expect("changes");
    let told = |change: &Value| format!("{} {}", change["key"], change["change"]["after"]);
    assert_eq!(
        changes.iter().map(told).collect::<Vec<_>>(),
        ["{\"item\":\"a\"} {\"item\":\"a\",\"n\":1}", "{\"item\":\"b\"} {\"item\":\"b\",\"n\":2}",]
    );
    drained(&server, "k");
    // It says that it will never take the next.
    run(&server, "UPDATE stock SET n = 5 WHERE item = 'a'");
    wait_for(
        &server,
        "SELECT state, waiting_rows FROM sink_stats",
        &["{\"state\":\"failed\",\"waiting_rows\":2}"],
    );
    let refused = requests.recv().expect("a request");
    run(&server, "ALTER SINK k RESUME");
    drained(&server, "k");
    assert_eq!(requests.recv().expect("a request"), refused);
    assert_ne!(refused.0, first[0].0);
}

#[test]
fn a_file_holds_each_tick_once_across_kills() {
    let (folder, file) =
        (tempfile::tempdir().expect("a folder"), tempfile::NamedTempFile::new().expect("a file"));
    let data = folder.path().to_str().expect("a path");
    let mut server = Server::start(&["--data-dir", data]);
    stock(&server);
    let path = file.path().display();
    run(
        &server,
        &format!("CREATE SINK k FROM stock INTO FILE (path = '{path}') KEY (item) ENVELOPE DEBEZIUM"),
    );
    for round in 0..4 {
        for n in 0..10 {
            run(&server, &format!("UPDATE stock SET n = {} WHERE item = 'a'", 100 * round + n));
        }
        server.stop("KILL");
        // A line that was cut off.
        let whole = std::fs::read_to_string(file.path()).expect("the file");
        std::fs::write(file.path(), whole + "{\"tick_at\":99").expect("the file");
        server = Server::start(&["--data-dir", data]);
    }
    drained(&server, "k");
    let text = std::fs::read_to_string(file.path()).expect("the file");
    let mut now = Value::Null;
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let change = &line["change"];
        if line["key"]["item"] == "a" {
            assert_eq!(change["before"], now, "a change is missing or there twice: {text}");
            now = change["after"].clone();
        }
    }
    assert_eq!(now.to_string(), "{\"item\":\"a\",\"n\":309}");
}

/// The changes of `key` in a file, as `c` for a row that came and `d` for one that went.
fn changes(file: &std::path::Path) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for line in std::fs::read_to_string(file).expect("the file").lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let key = line["key"].to_string();
        *all.entry(key).or_default() += line["change"]["op"].as_str().expect("a word");
    }
    all
}

#[test]
fn rows_that_go_as_time_passes_are_told_once_across_kills() {
    let (folder, file) =
        (tempfile::tempdir().expect("a folder"), tempfile::NamedTempFile::new().expect("a file"));
    let flags = ["--data-dir", folder.path().to_str().expect("a path"), "--clock-follows-wall", "true"];
    let mut server = Server::start(&flags);
    run(&server, "CREATE TABLE leases (id bigint PRIMARY KEY, until timestamptz)");
    run(&server, "CREATE MATERIALIZED VIEW held AS SELECT id FROM leases WHERE until > now()");
    let path = file.path().display();
    run(&server, &format!("CREATE SINK k FROM held INTO FILE (path = '{path}') KEY (id) ENVELOPE DEBEZIUM"));
    let lease =
        "SELECT n, now() + (500 + 10 * n || ' milliseconds')::interval FROM generate_series(1, 300) AS g(n)";
    run(&server, &format!("INSERT INTO leases {lease}"));
    for part in [20, 120, 220] {
        let gone = || changes(file.path()).values().filter(|ops| ops.as_str() == "cd").count();
        eventually(gone, |gone| *gone >= part);
        server.stop("KILL");
        server = Server::start(&flags);
    }
    wait_for(&server, "SELECT count(*) AS n FROM held", &["{\"n\":0}"]);
    drained(&server, "k");
    let told = changes(file.path());
    assert_eq!(told.len(), 300);
    assert!(told.values().all(|ops| ops == "cd"), "{told:?}");
}

#[test]
fn a_row_that_came_and_went_within_a_tick_is_not_told() {
    let server = Server::start(&["--clock-follows-wall", "true"]);
    run(&server, "CREATE TABLE points (k bigint, at timestamptz) WITH (append_only = true)");
    run(
        &server,
        "CREATE MATERIALIZED VIEW recent AS SELECT k, count(*) AS n FROM points \
         WHERE at > now() - INTERVAL '300 milliseconds' GROUP BY k",
    );
    let file = tempfile::NamedTempFile::new().expect("a file");
    run(
        &server,
        &format!("CREATE SINK k FROM recent INTO FILE (path = '{}') KEY (k)", file.path().display()),
    );
    for _ in 0..40 {
        run(&server, "INSERT INTO points SELECT n % 3, now() FROM generate_series(1, 9) AS g(n)");
    }
    wait_for(&server, "SELECT count(*) AS n FROM recent", &["{\"n\":0}"]);
    drained(&server, "k");
}

#[test]
fn a_file_of_something_else_is_left_alone() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let server = Server::start(&[]);
    stock(&server);
    for text in ["dear diary\n", "no line", "{\"tick_at\":1,\"more\":0,\"change\":null}\n[]\n"] {
        std::fs::write(file.path(), text).expect("the file");
        run(
            &server,
            &format!("CREATE SINK k FROM stock INTO FILE (path = '{}') KEY (item)", file.path().display()),
        );
        let failed = |rows: &Vec<String>| rows[0].contains("failed") && rows[0].contains("holds at byte");
        eventually(|| rows(&server, "SELECT state, error FROM sink_stats"), failed);
        assert_eq!(std::fs::read_to_string(file.path()).expect("the file"), text);
        run(&server, "DROP SINK k");
    }
}
