//! Avro with a schema registry.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::broker::{Broker, WHOLE};
use super::registry::{Manner, Registry};
use super::{rows, run, topic, wait_for};
use crate::python;
use crate::server::{Server, eventually};

/// A message of the schema `id`.
fn message(id: u32, record: &[u8]) -> Vec<u8> {
    [&[0], &id.to_be_bytes()[..], record].concat()
}

fn schema(fields: Value) -> Value {
    json!({"schema": json!({"type": "record", "name": "click", "fields": fields}).to_string()})
}

fn clicks(registry: &Registry) -> (u32, u32) {
    let id = json!({"name": "id", "type": "long"});
    let page = json!({"name": "page", "type": ["null", "string"], "default": null});
    let at = json!({"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}});
    let first = registry.register("clicks-value", schema(json!([id, at])));
    let second =
        registry.register("clicks-value", schema(json!([page, id, {"name": "more", "type": "int"}, at])));
    (first, second)
}

/// The time in three seconds, in milliseconds, as Avro writes it.
fn soon() -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time");
    let (mut rest, mut bytes) = (2 * (now.as_millis() as u64 + 3_000), vec![]);
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

/// 2026-01-01T00:00:00Z in milliseconds, as Avro writes it.
const BEGIN: &[u8] = b"\x80\xa0\xd5\xed\xee\x66";

fn source(name: &str, brokers: &str, topic: &str, options: &str) -> String {
    format!(
        "CREATE SOURCE {name} (id bigint NOT NULL, page text, at timestamptz) \
         FROM KAFKA (brokers = '{brokers}', topic = '{topic}', event_time = 'at', {options}) FORMAT AVRO"
    )
}

#[test]
fn records_of_several_schemas_fill_a_table_once_across_restarts() {
    let Some(broker) = Broker::shared() else { return };
    let (client, registry) = (broker.client(), Registry::start());
    let (first, second) = clicks(&registry);
    broker.create_topic("avro", 2);
    let old = |id: u8| message(first, &[&[2 * id], BEGIN].concat());
    let new = |id: u8| message(second, &[&[2, 2, b'p', 2 * id, 0], BEGIN].concat());
    let mut messages: Vec<(i32, Vec<u8>)> =
        (0..40).map(|id| (i32::from(id % 2), if id % 3 == 0 { old(id) } else { new(id) })).collect();
    let proto = registry.register("p-value", json!({"schemaType": "PROTOBUF", "schema": "message M {}"}));
    messages.extend([
        (0, message(99, b"\x02")),
        (0, old(60)[..8].to_vec()),
        (0, b"{\"id\": 1}".to_vec()),
        (0, vec![]),
        (1, message(proto, b"\x02")),
        (1, old(41)),
    ]);
    topic::write(&client, "avro", &messages);
    let folder = tempfile::tempdir().expect("a folder");
    let flags = ["--data-dir", folder.path().to_str().expect("a path")];
    let mut server = Server::start(&flags);
    run(&server, &source("clicks", &broker.address(), "avro", &registry.options()));
    let count = "SELECT count(*) AS n, count(DISTINCT id) AS ids, count(page) AS pages, max(at)::text AS at FROM clicks";
    let expected = |n: u32, pages: u32| {
        format!("{{\"n\":{n},\"ids\":{n},\"pages\":{pages},\"at\":\"2026-01-01T00:00:00Z\"}}")
    };
    wait_for(&server, count, &[&expected(41, 26)]);
    let errors = [
        "{\"source\":\"kafka avro/0:20\",\"reason\":\"schema 99: the schema registry does not have it: not found\"}",
        "{\"source\":\"kafka avro/0:21\",\"reason\":\"the record cannot be read: Parser error: bad varint\"}",
        "{\"source\":\"kafka avro/0:22\",\"reason\":\"a message begins with a zero byte and the four bytes of a schema's id\"}",
        "{\"source\":\"kafka avro/1:20\",\"reason\":\"schema 3: it is of the type PROTOBUF, AVRO is expected\"}",
    ];
    wait_for(&server, "SELECT source, reason FROM ingest_errors", &errors);
    assert_eq!(registry.asked(&format!("/schemas/ids/{first}")), 1, "schemas are kept");
    let said = run(&server, "SHOW SOURCES").to_string();
    assert!(said.contains("FORMAT AVRO") && !said.contains("secret"), "{said}");
    server.stop("KILL");
    topic::write(&client, "avro", &[(0, new(50)), (1, old(51))]);
    server = Server::start(&flags);
    wait_for(&server, count, &[&expected(43, 27)]);
    assert_eq!(rows(&server, "SELECT * FROM ingest_errors").len(), 4);
}

#[test]
fn a_registry_that_does_not_answer_loses_no_message() {
    let Some(broker) = Broker::shared() else { return };
    let (client, registry) = (broker.client(), Registry::start());
    let (first, second) = clicks(&registry);
    broker.create_topic("unregistered", 1);
    let old = |id: u8| (0, message(first, &[&[2 * id], BEGIN].concat()));
    topic::write(&client, "unregistered", &[old(1), old(2)]);
    let server = Server::start(&[]);
    let state = || rows(&server, "SELECT state, error FROM source_stats WHERE source = 's'").join("");
    registry.behave(Manner::Away);
    run(&server, &source("s", &broker.address(), "unregistered", &registry.options()));
    eventually(state, |state| {
        state.contains("retrying") && state.contains("cannot ask the schema registry at")
    });
    registry.behave(Manner::Busy);
    eventually(state, |state| state.contains("retrying") && state.contains("503"));
    assert!(rows(&server, "SELECT * FROM ingest_errors").is_empty());
    registry.behave(Manner::Well);
    wait_for(&server, "SELECT id FROM s", &["{\"id\":1}", "{\"id\":2}"]);
    // What it has learned it knows while the registry is away; what is new waits.
    registry.behave(Manner::Away);
    topic::write(&client, "unregistered", &[old(3)]);
    wait_for(&server, "SELECT id FROM s WHERE id > 2", &["{\"id\":3}"]);
    topic::write(&client, "unregistered", &[(0, message(second, &[&[0, 8, 0], BEGIN].concat()))]);
    eventually(state, |state| state.contains("retrying"));
    registry.behave(Manner::Well);
    wait_for(&server, "SELECT id FROM s WHERE id > 3", &["{\"id\":4}"]);
    // Something else is at the address: that is no fault of the messages.
    registry.behave(Manner::Other);
    topic::write(&client, "unregistered", &[(0, message(98, b"\x02"))]);
    eventually(state, |state| state.contains("failed") && state.contains("404 Not Found"));
    registry.behave(Manner::Proxy);
    run(&server, "ALTER SOURCE s RESUME");
    eventually(state, |state| state.contains("failed") && state.contains("403 Forbidden"));
    registry.behave(Manner::Well);
    run(&server, "ALTER SOURCE s RESUME");
    wait_for(&server, "SELECT source FROM ingest_errors", &["{\"source\":\"kafka unregistered/0:4\"}"]);
    wait_for(&server, "SELECT count(*) AS n FROM s", &["{\"n\":4}"]);
    // Nobody that it knows.
    run(&server, "DROP SOURCE s");
    let stranger = registry.options().replace("who:secret", "who:guess");
    run(&server, &source("s", &broker.address(), "unregistered", &stranger));
    eventually(state, |state| {
        state.contains("failed") && state.contains("who are you") && !state.contains("guess")
    });
}

#[test]
fn the_clock_waits_for_a_registry_that_says_nothing() {
    let Some(broker) = Broker::shared() else { return };
    let (client, registry) = (broker.client(), Registry::start());
    let (first, second) = clicks(&registry);
    broker.create_topic("stalled", 2);
    let folder = tempfile::tempdir().expect("a folder");
    let server =
        Server::start(&["--clock-idle", "5s", "--clock-follows-wall", "true", "--engine-horizon", "none"]);
    let at = soon();
    let old = message(first, &[&[2], &at[..]].concat());
    let new = message(second, &[&[0, 4, 0], &at[..]].concat());
    registry.behave(Manner::Stalled(second));
    topic::write(&client, "stalled", &[(0, old.clone()), (1, new)]);
    run(&server, &source("s", &broker.address(), "stalled", &registry.options()));
    run(
        &server,
        "CREATE MATERIALIZED VIEW windows AS \
         SELECT window_end, count(*) AS n FROM TUMBLE(s, at, INTERVAL '5 seconds') GROUP BY window_end",
    );
    let path = folder.path().join("windows");
    run(
        &server,
        &format!(
            "CREATE SINK windows FROM windows INTO FILE (path = '{}') EMIT ON WINDOW CLOSE",
            path.display()
        ),
    );
    // Longer than the clock waits for what is idle, and until the wall clock shows the end of the window.
    std::thread::sleep(Duration::from_secs(9));
    registry.behave(Manner::Well);
    wait_for(&server, "SELECT n FROM windows", &["{\"n\":2}"]);
    let told = || std::fs::read_to_string(&path).unwrap_or_default();
    let with_state = || (told(), rows(&server, "SELECT * FROM sink_stats"));
    eventually(with_state, |(told, _)| told.contains("\"n\":2"));
    assert_eq!(told().lines().count(), 1, "the window is told once: {}", told());
    assert!(registry.asked(&format!("/schemas/ids/{second}")) > 1);
    // It says nothing for longer: the source begins anew, and says why.
    let third = registry.register("more", schema(json!([{"name": "id", "type": "long"}])));
    registry.behave(Manner::Stalled(third));
    topic::write(&client, "stalled", &[(0, message(third, b"\x06")), (1, old)]);
    let state = || rows(&server, "SELECT state, error FROM source_stats").join("");
    eventually(state, |state| state.contains("retrying") && state.contains("cannot ask the schema registry"));
    registry.behave(Manner::Well);
    wait_for(&server, "SELECT count(*) AS n FROM s", &["{\"n\":4}"]);
    assert!(rows(&server, "SELECT * FROM ingest_errors").is_empty());
}

#[test]
fn a_schema_may_follow_the_messages() {
    let Some(broker) = Broker::shared() else { return };
    let (client, registry) = (broker.client(), Registry::start());
    let (first, _) = clicks(&registry);
    broker.create_topic("early", 1);
    let old = |id: u8| (0, message(first, &[&[2 * id], BEGIN].concat()));
    topic::write(&client, "early", &[old(1)]);
    let server = Server::start_with(&[], &[("REGISTRY_URLS", &format!("{0}, {0}/", registry.url()))]);
    let server = server.expect("a server");
    let options = registry.options().replace(&registry.url(), "${REGISTRY_URLS}");
    run(&server, &source("s", &broker.address(), "early", &options));
    wait_for(&server, "SELECT id FROM s", &["{\"id\":1}"]);
    let path = "/schemas/ids/3";
    topic::write(&client, "early", &[(0, message(3, b"\x04")), old(3), (0, message(77, b"\x04"))]);
    eventually(|| registry.asked(path), |asked| *asked > 0);
    let third = registry.register("more", schema(json!([{"name": "id", "type": "long"}])));
    assert_eq!(third, 3);
    wait_for(&server, "SELECT id FROM s", &["{\"id\":1}", "{\"id\":2}", "{\"id\":3}"]);
    wait_for(&server, "SELECT source FROM ingest_errors", &["{\"source\":\"kafka early/0:3\"}"]);
    // What an environment variable holds is not shown.
    registry.behave(Manner::Proxy);
    topic::write(&client, "early", &[(0, message(78, b"\x04"))]);
    let state = || rows(&server, "SELECT state, error FROM source_stats").join("");
    let is_told = |state: &String| state.contains("403") && state.contains("${REGISTRY_URLS}");
    eventually(state, is_told);
    assert!(!state().contains("127.0.0.1"), "{}", state());
}

/// Where Confluent's client is.
fn confluent() -> Option<&'static Path> {
    python::registry_environment(std::env::var_os(WHOLE).is_some())
}

/// What Confluent's client, which is in `confluent`, reads of `topic`: keys and values.
fn read(confluent: &Path, broker: &Broker, registry: &Registry, topic: &str, count: usize) -> Vec<Value> {
    let arguments = ["read", &broker.address(), &registry.url(), "who:secret", topic, &count.to_string()];
    let text = python::script_in(confluent, "confluent_avro.py", &arguments.map(str::to_owned));
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn confluents_client_writes_what_a_source_reads() {
    let (Some(broker), Some(confluent)) = (Broker::shared(), confluent()) else { return };
    let registry = Registry::start();
    broker.create_topic("orders", 1);
    let schema = json!({"type": "record", "name": "shop.Order", "doc": "an \"order\"", "fields": [
        {"name": "id", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["NEW", "SENT"]}},
        {"name": "at", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}]},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
        {"name": "customer", "type": {"type": "record", "name": "Customer", "fields": [{"name": "name", "type": "string"}]}},
    ]});
    let orders = [
        json!({"id": "00000000-0000-4000-8000-000000000001", "price": {"decimal": "12.30"}, "state": "NEW",
            "at": {"time": "2026-01-01T00:00:00.000001+00:00"}, "tags": ["a", "b"], "customer": {"name": "Ann"}}),
        json!({"id": "00000000-0000-4000-8000-000000000002", "price": {"decimal": "-0.01"}, "state": "SENT", "at": null,
            "tags": [], "customer": {"name": "Bob"}}),
    ];
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), format!("{schema}\n{}\n{}", orders[0], orders[1])).expect("the file");
    let path = file.path().to_str().expect("a path");
    let arguments =
        ["write", &broker.address(), &registry.url(), "who:secret", "orders", path].map(str::to_owned);
    python::script_in(confluent, "confluent_avro.py", &arguments);
    let server = Server::start(&[]);
    run(
        &server,
        &format!(
            "CREATE SOURCE orders (id uuid, price numeric(9, 2), state text, at timestamptz, tags text[], customer json) \
             FROM KAFKA (brokers = '{}', topic = 'orders', {}) FORMAT AVRO",
            broker.address(),
            registry.options()
        ),
    );
    wait_for(
        &server,
        "SELECT id, price::text AS price, state, at::text AS at, cardinality(tags) AS tags, customer ->> 'name' AS name FROM orders",
        &[
            "{\"id\":\"00000000-0000-4000-8000-000000000001\",\"price\":\"12.30\",\"state\":\"NEW\",\
             \"at\":\"2026-01-01T00:00:00.000001Z\",\"tags\":2,\"name\":\"Ann\"}",
            "{\"id\":\"00000000-0000-4000-8000-000000000002\",\"price\":\"-0.01\",\"state\":\"SENT\",\
             \"at\":null,\"tags\":0,\"name\":\"Bob\"}",
        ],
    );
    assert!(rows(&server, "SELECT * FROM ingest_errors").is_empty());
}

#[test]
fn confluents_client_reads_what_a_sink_writes() {
    let (Some(broker), Some(confluent)) = (Broker::shared(), confluent()) else { return };
    let registry = Registry::start();
    let server = Server::start(&[]);
    run(
        &server,
        "CREATE TABLE stock (item text PRIMARY KEY, n bigint, price numeric(9, 2), since date, seen timestamptz, tags text[])",
    );
    run(
        &server,
        "INSERT INTO stock VALUES ('a', 1, 2.50, '2026-01-01', '2026-01-01T00:00:00Z', ARRAY['x', NULL]), \
         ('b', 2, NULL, NULL, NULL, NULL)",
    );
    run(&server, "CREATE TABLE log (line text) WITH (append_only = true)");
    run(&server, "INSERT INTO log VALUES ('one'), ('two')");
    run(&server, "CREATE MATERIALIZED VIEW lines AS SELECT line FROM log");
    let sink = |name: &str, of: &str, how: &str| {
        broker.create_topic(name, 1);
        let (brokers, options) = (broker.address(), registry.options());
        run(
            &server,
            &format!(
                "CREATE SINK {name} FROM {of} INTO KAFKA (brokers = '{brokers}', topic = '{name}', {options}) {how}"
            ),
        );
    };
    sink("avro_upsert", "stock", "KEY (item) FORMAT AVRO");
    sink("avro_debezium", "stock", "KEY (item) FORMAT AVRO ENVELOPE DEBEZIUM WITH (snapshot = false)");
    sink("avro_append", "lines", "FORMAT AVRO");
    let drained = || wait_for(&server, "SELECT sum(waiting_rows) AS n FROM sink_stats", &["{\"n\":0}"]);
    let running = "SELECT count(*) AS n FROM sink_stats WHERE state = 'running'";
    wait_for(&server, running, &["{\"n\":3}"]);
    drained();
    run(&server, "UPDATE stock SET n = 7 WHERE item = 'a'");
    drained();
    run(&server, "DELETE FROM stock WHERE item = 'b'");
    drained();
    let a = |n: i64| {
        json!({"item": "a", "n": n, "price": "2.50", "since": "2026-01-01", "seen": 1_767_225_600_000_000_000i64,
            "tags": ["x", null]})
    };
    let b = json!({"item": "b", "n": 2, "price": null, "since": null, "seen": null, "tags": null});
    let key = |item: &str| json!({ "item": item });
    assert_eq!(
        read(confluent, broker, &registry, "avro_upsert", 4),
        [json!([key("a"), a(1)]), json!([key("b"), b]), json!([key("a"), a(7)]), json!([key("b"), null])]
    );
    let mut changes = read(confluent, broker, &registry, "avro_debezium", 2);
    for change in &mut changes {
        let at = change[1].as_object_mut().expect("a change").remove("ts_ms").expect("a time");
        assert!(at.as_i64().is_some_and(|at| at > 0), "{at}");
    }
    assert_eq!(
        changes,
        [
            json!([key("a"), {"before": a(1), "after": a(7), "op": "u"}]),
            json!([key("b"), {"before": b, "after": null, "op": "d"}]),
        ]
    );
    let mut lines = read(confluent, broker, &registry, "avro_append", 2);
    lines.sort_by_key(Value::to_string);
    assert_eq!(lines, [json!([null, {"line": "one"}]), json!([null, {"line": "two"}])]);
    assert_eq!(
        registry.subjects(),
        [
            "avro_append-value",
            "avro_debezium-key",
            "avro_debezium-value",
            "avro_upsert-key",
            "avro_upsert-value"
        ]
    );
}

#[test]
fn what_an_avro_sink_cannot_say_stops_it() {
    let Some(broker) = Broker::shared() else { return };
    let registry = Registry::start();
    let server = Server::start(&[]);
    run(&server, "CREATE TABLE stock (item text, n bigint)");
    run(&server, "INSERT INTO stock VALUES ('a', 1), ('b', 1)");
    run(&server, "CREATE MATERIALIZED VIEW odd AS SELECT item, n AS \"how many\" FROM stock");
    let (brokers, options) = (broker.address(), registry.options());
    for (of, key, expected) in [
        ("stock", "n", "key {\\\"n\\\":1} has more than one row at a tick: it is no key of the view"),
        ("odd", "item", "column \\\"how many\\\" has no form in Avro: names have letters"),
    ] {
        run(
            &server,
            &format!(
                "CREATE SINK k FROM {of} INTO KAFKA (brokers = '{brokers}', topic = 'avro_wrong', partitions = 1, {options}) \
                 KEY ({key}) FORMAT AVRO"
            ),
        );
        let state = || rows(&server, "SELECT state, error FROM sink_stats").join("");
        eventually(state, |state| state.contains("failed") && state.contains(expected));
        run(&server, "DROP SINK k");
    }
}
