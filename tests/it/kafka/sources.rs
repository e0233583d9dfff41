//! Sources.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use super::broker::Broker;
use super::{rows, run, topic, wait_for};
use crate::server::{PATIENCE, Server};

/// A request with one span of `service`, in protobuf.
fn span(service: &str, id: u64) -> Vec<u8> {
    let value = Some(AnyValue { value: Some(Value::StringValue(service.to_owned())) });
    let resource = Resource {
        attributes: vec![KeyValue { key: "service.name".to_owned(), value, ..Default::default() }],
        ..Default::default()
    };
    let begin = 1_767_225_600_000_000_000 + id * 1_000_000;
    let span = Span {
        trace_id: (u128::from(id) + 1).to_be_bytes().to_vec(),
        span_id: (id + 1).to_be_bytes().to_vec(),
        name: "work".to_owned(),
        kind: 2,
        start_time_unix_nano: begin,
        end_time_unix_nano: begin + 1_000,
        ..Default::default()
    };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..Default::default() }];
    let resource_spans = vec![ResourceSpans { resource: Some(resource), scope_spans, ..Default::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

fn start(folder: &std::path::Path) -> Server {
    Server::start(&["--data-dir", folder.to_str().expect("a path"), "--engine-horizon", "none"])
}

#[test]
fn spans_are_read_once_across_restarts() {
    let Some(broker) = Broker::shared() else { return };
    let (client, folder) = (broker.client(), tempfile::tempdir().expect("a folder"));
    broker.create_topic("spans", 3);
    let messages = |ids: std::ops::Range<u64>| -> Vec<(i32, Vec<u8>)> {
        ids.map(|id| ((id % 3) as i32, span(["web", "db"][(id % 2) as usize], id))).collect()
    };
    topic::write(&client, "spans", &messages(0..300));
    topic::write(&client, "spans", &[(1, b"poison".to_vec()), (1, vec![])]);
    let mut server = start(folder.path());
    run(
        &server,
        "CREATE MATERIALIZED VIEW calls AS SELECT service_name, count(*) AS n FROM spans GROUP BY service_name",
    );
    let brokers = broker.address();
    let source = format!(
        "CREATE SOURCE otlp FROM KAFKA (brokers = '{brokers}', topic = 'spans', client.rack = 'a') FORMAT OTLP_PROTO"
    );
    run(&server, &source);
    wait_for(
        &server,
        "SELECT * FROM calls",
        &["{\"service_name\":\"db\",\"n\":150}", "{\"service_name\":\"web\",\"n\":150}"],
    );
    // What cannot be read is told of, with where it is.
    let errors = "SELECT source, sample FROM ingest_errors";
    wait_for(&server, errors, &["{\"source\":\"kafka spans/1:100\",\"sample\":\"poison\"}"]);
    wait_for(
        &server,
        "SELECT partition, position, lag_messages FROM source_partition_stats",
        &[
            "{\"partition\":0,\"position\":100,\"lag_messages\":0}",
            "{\"partition\":1,\"position\":102,\"lag_messages\":0}",
            "{\"partition\":2,\"position\":100,\"lag_messages\":0}",
        ],
    );
    for round in 1..4 {
        server.stop(["KILL", "TERM"][round % 2]);
        topic::write(&client, "spans", &messages(300 * round as u64..300 * (round as u64 + 1)));
        server = start(folder.path());
        let n = 150 * (round + 1);
        wait_for(&server, "SELECT n FROM calls", &[&format!("{{\"n\":{n}}}"), &format!("{{\"n\":{n}}}")]);
        let distinct = "SELECT count(*) AS n, count(DISTINCT span_id) AS ids FROM spans";
        assert_eq!(rows(&server, distinct), [format!("{{\"ids\":{},\"n\":{}}}", 2 * n, 2 * n)]);
        assert_eq!(rows(&server, errors).len(), 1, "the message that cannot be read is not read again");
    }
    let shown = run(&server, "SHOW SOURCES").to_string();
    assert!(shown.contains("OTLP_PROTO"), "{shown}");
    run(&server, "DROP SOURCE otlp");
    assert!(rows(&server, "SELECT * FROM source_stats").is_empty());
}

#[test]
fn json_fills_a_table_of_its_own() {
    let Some(broker) = Broker::shared() else { return };
    let client = broker.client();
    broker.create_topic("clicks", 2);
    let click = |id: u64| {
        let text =
            format!("{{\"id\":{id},\"page\":\"p{}\",\"at\":\"2026-01-01T00:00:{:02}Z\"}}", id % 3, id % 60);
        ((id % 2) as i32, text.into_bytes())
    };
    topic::write(&client, "clicks", &(0..50).map(click).collect::<Vec<_>>());
    topic::write(&client, "clicks", &[(0, b"{\"id\":".to_vec()), (1, b"{\"page\":\"without\"}".to_vec())]);
    let server = Server::start(&[]);
    let brokers = broker.address();
    run(
        &server,
        &format!(
            "CREATE SOURCE clicks (id bigint NOT NULL, page text, at timestamptz) \
             FROM KAFKA (brokers = '{brokers}', topic = 'clicks', event_time = 'at') FORMAT JSON"
        ),
    );
    run(&server, "CREATE MATERIALIZED VIEW pages AS SELECT page, count(*) AS n FROM clicks GROUP BY page");
    wait_for(
        &server,
        "SELECT * FROM pages",
        &["{\"page\":\"p0\",\"n\":17}", "{\"page\":\"p1\",\"n\":17}", "{\"page\":\"p2\",\"n\":16}"],
    );
    wait_for(
        &server,
        "SELECT source, kind FROM ingest_errors",
        &[
            "{\"source\":\"kafka clicks/0:25\",\"kind\":\"message\"}",
            "{\"source\":\"kafka clicks/1:25\",\"kind\":\"message\"}",
        ],
    );
    // Paused it reads nothing, and goes on where it was.
    run(&server, "ALTER SOURCE clicks PAUSE");
    wait_for(&server, "SELECT state FROM source_stats", &["{\"state\":\"paused\"}"]);
    topic::write(&client, "clicks", &(50..60).map(click).collect::<Vec<_>>());
    assert_eq!(rows(&server, "SELECT count(*) AS n FROM clicks"), ["{\"n\":50}"]);
    run(&server, "ALTER SOURCE clicks RESUME");
    wait_for(&server, "SELECT count(*) AS n FROM clicks", &["{\"n\":60}"]);
    // The clock went with the events.
    assert_eq!(
        rows(&server, "SELECT max(at)::text AS at FROM clicks"),
        ["{\"at\":\"2026-01-01T00:00:59Z\"}"]
    );
    run(&server, "DROP VIEW pages");
    run(&server, "DROP SOURCE clicks");
}

#[test]
fn a_group_deals_partitions_out_without_loss_or_repetition() {
    let Some(broker) = Broker::shared() else { return };
    let client = broker.client();
    broker.create_topic("shared", 4);
    let brokers = broker.address();
    let source = format!(
        "CREATE SOURCE shared (id bigint) FROM KAFKA (brokers = '{brokers}', topic = 'shared', group = 'both', \
         session.timeout.ms = 6000) FORMAT JSON"
    );
    let numbers = |ids: std::ops::Range<i32>| -> Vec<(i32, Vec<u8>)> {
        ids.map(|id| (id % 4, format!("{{\"id\":{id}}}").into_bytes())).collect()
    };
    let ids = |server: &Server| -> Vec<String> { rows(server, "SELECT id FROM shared") };
    topic::write(&client, "shared", &numbers(0..100));
    let first = Server::start(&[]);
    run(&first, &source);
    wait_for(&first, "SELECT count(*) AS n FROM shared", &["{\"n\":100}"]);
    let second = Server::start(&[]);
    run(&second, &source);
    // Each gets two of the partitions.
    let dealt = "SELECT count(*) AS n FROM source_partition_stats WHERE end_position IS NOT NULL";
    wait_for(&second, dealt, &["{\"n\":2}"]);
    wait_for(&first, dealt, &["{\"n\":2}"]);
    topic::write(&client, "shared", &numbers(100..300));
    crate::server::eventually(|| ids(&first).len() + ids(&second).len(), |n| *n == 300);
    // The first leaves: all is the second's.
    run(&first, "ALTER SOURCE shared PAUSE");
    wait_for(&second, dealt, &["{\"n\":4}"]);
    topic::write(&client, "shared", &numbers(300..400));
    crate::server::eventually(|| ids(&first).len() + ids(&second).len(), |n| *n == 400);
    let mut all: Vec<String> = ids(&first).into_iter().chain(ids(&second)).collect();
    all.sort();
    let mut expected: Vec<String> = (0..400).map(|id| format!("{{\"id\":{id}}}")).collect();
    expected.sort();
    assert_eq!(all, expected);
    // What is durable was committed: others see no lag.
    run(&second, "ALTER SOURCE shared PAUSE");
    wait_for(&second, "SELECT state FROM source_stats", &["{\"state\":\"paused\"}"]);
    let committed = || -> Vec<Option<i64>> {
        let mut config = client.clone();
        let consumer: BaseConsumer = config.set("group.id", "both").create().expect("a consumer");
        let mut list = TopicPartitionList::new();
        list.add_partition_range("shared", 0, 3);
        let committed = consumer.committed_offsets(list, PATIENCE).expect("an answer");
        let position = |offset: Offset| match offset {
            Offset::Offset(position) => Some(position),
            _ => None,
        };
        committed.elements().iter().map(|element| position(element.offset())).collect()
    };
    crate::server::eventually(committed, |positions| *positions == [Some(100); 4]);
}

#[test]
fn what_was_deleted_unread_is_told_of_and_other_mistakes_too() {
    let Some(broker) = Broker::shared() else { return };
    let (client, brokers) = (broker.client(), broker.address());
    let server = Server::start(&[]);
    let source = |name: &str, topic: &str, more: &str| {
        format!(
            "CREATE SOURCE {name} (id bigint) FROM KAFKA (brokers = '{brokers}', topic = '{topic}'{more}) FORMAT JSON"
        )
    };
    run(&server, &source("nowhere", "no_such_topic", ""));
    let state = |name: &str| format!("SELECT state, error FROM source_stats WHERE source = '{name}'");
    crate::server::eventually(
        || rows(&server, &state("nowhere")),
        |rows| rows[0].contains("retrying") && rows[0].contains("no_such_topic"),
    );
    run(&server, &source("secret", "t", ", sasl.password = '${NO_SUCH_VARIABLE_IS_SET}'"));
    wait_for(
        &server,
        &state("secret"),
        &[
            "{\"state\":\"failed\",\"error\":\"option sasl.password: the environment variable \\\"NO_SUCH_VARIABLE_IS_SET\\\" is not set\"}",
        ],
    );
    run(&server, &source("unknown", "t", ", no.such.property = '1'"));
    crate::server::eventually(
        || rows(&server, &state("unknown")),
        |rows| rows[0].contains("failed") && rows[0].contains("no.such.property"),
    );
    // A source begins at the first message that there is, at the next, or at a time.
    broker.create_topic("begun", 1);
    let number = |id: i32| (0, format!("{{\"id\":{id}}}").into_bytes());
    topic::write(&client, "begun", &[number(1), number(2)]);
    run(&server, &source("latest", "begun", ", start = 'latest'"));
    run(&server, &source("timed", "begun", ", start = '2020-01-01T00:00:00Z'"));
    wait_for(
        &server,
        "SELECT position FROM source_partition_stats WHERE source = 'latest'",
        &["{\"position\":2}"],
    );
    topic::write(&client, "begun", &[number(3)]);
    wait_for(&server, "SELECT id FROM latest", &["{\"id\":3}"]);
    wait_for(&server, "SELECT id FROM timed", &["{\"id\":1}", "{\"id\":2}", "{\"id\":3}"]);
    // Records that go while nobody reads.
    run(&server, "ALTER SOURCE timed PAUSE");
    wait_for(&server, "SELECT state FROM source_stats WHERE source = 'timed'", &["{\"state\":\"paused\"}"]);
    topic::write(&client, "begun", &[number(4), number(5), number(6)]);
    broker.delete_before("begun", 0, 5);
    run(&server, "ALTER SOURCE timed RESUME");
    wait_for(&server, "SELECT id FROM timed WHERE id > 3", &["{\"id\":6}"]);
    wait_for(
        &server,
        "SELECT source, reason FROM ingest_errors",
        &[
            "{\"source\":\"kafka begun/0:3\",\"reason\":\"messages 3 to 4 were deleted before they were read\"}",
        ],
    );
}
