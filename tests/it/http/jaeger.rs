//! Jaeger's queries: their shapes and their values.

use serde_json::{Value, json};

use crate::in_process::{InProcess, curl};

/// When the telemetry begins, in microseconds.
const START_US: i64 = 1_699_999_980_000_000;

const SPANS: &str = "
    a/1   web  SERVER 100ms name=GET @host.name=h
    a/2<1 web  CLIENT 50ms name=call http.route=/x
    a/3<2 cart SERVER 20ms +1s name=add ERROR
    b/1   web  SERVER 10ms +120s name=PUT @host.name=h
    b/2<1 cart CONSUMER 20ms +121s name=take ->a/2
";

fn get(server: &InProcess, path: &str) -> Value {
    let got = curl(&[&server.url(path)]);
    assert_eq!(got.status, 200, "{path}: {}", got.text());
    let json = got.json();
    assert!(json["errors"].is_null() && json["total"] == json["data"].as_array().unwrap().len(), "{json}");
    json["data"].clone()
}

fn id(trace: char) -> String {
    format!("{trace:0>32}")
}

fn ids(traces: &Value) -> Vec<&str> {
    traces
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["traceID"].as_str().unwrap().trim_start_matches('0'))
        .collect()
}

#[test]
fn services_operations_and_who_calls_whom() {
    let server = InProcess::start(&[]);
    server.send(SPANS);
    assert_eq!(get(&server, "/api/services"), json!(["cart", "web"]));
    assert_eq!(get(&server, "/api/services/web/operations"), json!(["GET", "PUT", "call"]));
    assert_eq!(get(&server, "/api/services/we%27b/operations"), json!([]));
    assert_eq!(
        get(&server, "/api/operations?service=cart"),
        json!([{ "name": "add", "spanKind": "server" }, { "name": "take", "spanKind": "consumer" }])
    );
    assert_eq!(
        get(&server, "/api/operations?service=cart&spanKind=server"),
        json!([{ "name": "add", "spanKind": "server" }])
    );
    let links = json!([
        { "parent": "user", "child": "web", "callCount": 2 },
        { "parent": "web", "child": "cart", "callCount": 2 },
    ]);
    assert_eq!(get(&server, "/api/dependencies"), links);
    let start_ms = START_US / 1_000;
    let all = format!("/api/dependencies?endTs={}&lookback=3600000", start_ms + 600_000);
    assert_eq!(get(&server, &all), links);
    let first = format!("/api/dependencies?endTs={}&lookback=60000", start_ms + 59_000);
    assert_eq!(
        get(&server, &first),
        json!([
            { "parent": "user", "child": "web", "callCount": 1 },
            { "parent": "web", "child": "cart", "callCount": 1 },
        ])
    );
}

#[test]
fn a_trace_has_processes_references_tags_and_logs() {
    let server = InProcess::start(&[]);
    // Exported twice.
    server.send(SPANS);
    server.send(SPANS);
    let traces = get(&server, &format!("/api/traces/{}", id('a')));
    let trace = &traces[0];
    assert_eq!(trace["traceID"], id('a'));
    let spans = trace["spans"].as_array().unwrap();
    assert_eq!(spans.len(), 3);
    let span = |name: &str| spans.iter().find(|s| s["operationName"] == name).unwrap();
    let get = span("GET");
    assert_eq!((get["startTime"].as_i64(), get["duration"].as_i64()), (Some(START_US), Some(100_000)));
    assert_eq!((&get["references"], &get["flags"]), (&json!([]), &json!(1)));
    assert_eq!(get["tags"], json!([{ "key": "span.kind", "type": "string", "value": "server" }]));
    assert_eq!(
        trace["processes"][get["processID"].as_str().unwrap()],
        json!({ "serviceName": "web", "tags": [{ "key": "host.name", "type": "string", "value": "h" }] })
    );
    let call = span("call");
    assert_eq!(
        call["references"],
        json!([{ "refType": "CHILD_OF", "traceID": id('a'), "spanID": format!("{:0>16}", 1) }])
    );
    assert_eq!(call["tags"][0], json!({ "key": "http.route", "type": "string", "value": "/x" }));
    let add = span("add");
    assert_eq!(trace["processes"][add["processID"].as_str().unwrap()]["serviceName"], "cart");
    assert!(
        add["tags"].as_array().unwrap().contains(&json!({ "key": "error", "type": "bool", "value": true }))
    );
    // Zeros in front may be left out; a link goes to the other trace, and is told once.
    let linked = curl(&[&server.url("/api/traces/B")]).json()["data"][0].clone();
    let take =
        linked["spans"].as_array().unwrap().iter().find(|s| s["operationName"] == "take").unwrap().clone();
    assert_eq!(
        take["references"],
        json!([
            { "refType": "CHILD_OF", "traceID": id('b'), "spanID": format!("{:0>16}", 1) },
            { "refType": "FOLLOWS_FROM", "traceID": id('a'), "spanID": format!("{:0>16}", 2) },
        ])
    );
}

#[test]
fn events_are_logs() {
    let server = InProcess::start(&[]);
    let request = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [{
        "traceId": id('c'), "spanId": format!("{:0>16}", 1), "name": "work",
        "startTimeUnixNano": "1699999980000000000", "endTimeUnixNano": "1699999981000000000",
        "events": [{ "name": "exception", "timeUnixNano": "1699999980500000000",
            "attributes": [{ "key": "exception.type", "value": { "stringValue": "E" } }] }],
    }] }] }] });
    server.send_otlp(&request);
    let trace = &get(&server, &format!("/api/traces/{}", id('c')))[0];
    assert_eq!(
        trace["spans"][0]["logs"],
        json!([{ "timestamp": START_US + 500_000, "fields": [
            { "key": "event", "type": "string", "value": "exception" },
            { "key": "exception.type", "type": "string", "value": "E" },
        ] }])
    );
    assert_eq!(trace["processes"]["p1"]["serviceName"], "unknown_service");
}

#[test]
fn a_search_finds_the_latest_traces_with_a_span_of_that_kind() {
    let server = InProcess::start(&[]);
    server.send(SPANS);
    let search = |question: &str| get(&server, &format!("/api/traces?{question}"));
    let both = search("service=cart");
    assert_eq!(ids(&both), ["b", "a"]);
    // The whole traces, not only the spans that were found.
    assert_eq!(both[1]["spans"].as_array().unwrap().len(), 3);
    for (question, expected) in [
        ("service=cart&limit=1", vec!["b"]),
        ("service=cart&operation=add", vec!["a"]),
        ("service=web&operation=add", vec![]),
        ("service=web&minDuration=60ms", vec!["a"]),
        ("service=web&maxDuration=20ms", vec!["b"]),
        ("service=cart&tags=%7B%22error%22%3A%22true%22%7D", vec!["a"]),
        ("service=web&tags=%7B%22http.route%22%3A%22%2Fx%22%7D", vec!["a"]),
        ("service=web&tags=%7B%22host.name%22%3A%22h%22%7D", vec!["b", "a"]),
        ("service=web&tag=http.route:/y", vec![]),
        ("service=web%27%20OR%20true--", vec![]),
        ("traceID=a&traceID=b", vec!["b", "a"]),
        ("traceID=f", vec![]),
    ] {
        assert_eq!(ids(&search(question)), expected, "{question}");
    }
    let window = format!("service=web&start={}&end={}", START_US + 1, START_US + 200_000_000);
    assert_eq!(ids(&search(&window)), ["b"]);
}

#[test]
fn errors_come_in_jaegers_form() {
    let server = InProcess::start(&[]);
    for (path, status, message) in [
        ("/api/traces/f", 404, "trace not found"),
        ("/api/traces/xyz", 400, "\"xyz\" is no trace id: 1 to 32 hexadecimal digits are expected"),
        ("/api/traces", 400, "parameter service is missing"),
        ("/api/traces?service=a&limit=many", 400, "parameter limit = \"many\": an integer is expected"),
        (
            "/api/traces?service=a&minDuration=1",
            400,
            "parameter minDuration = \"1\": a duration such as 1.2ms is expected",
        ),
        ("/api/traces?service=a&tags=x", 400, "parameter tags = \"x\": a JSON object is expected"),
    ] {
        let got = curl(&[&server.url(path)]);
        assert_eq!(got.status, status, "{path}");
        assert_eq!(got.json()["errors"], json!([{ "code": status, "msg": message }]), "{path}");
        assert!(got.json()["data"].is_null());
    }
}
