//! The rules of OTLP over HTTP.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use serde_json::json;

use super::client::{JSON, PROTOBUF, connect, gzip, head, post, send, zstd};
use super::{span_json, spans};
use crate::in_process::InProcess;

/// A `google.rpc.Status`.
#[derive(Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

/// A request and its answer, as the table below orders them.
type Case = (&'static str, &'static str, &'static str, &'static str, Vec<u8>, u16, &'static str);

#[test]
fn each_request_gets_the_answer_the_specification_wants() {
    let service = InProcess::start(&[]);
    let plain = |n| spans(n..n + 1, "GET").encode_to_vec();
    let (t, m, l) = ("/v1/traces", "/v1/metrics", "/v1/logs");
    let known = "telemetry goes to /v1/traces, /v1/metrics and /v1/logs";
    // Method, path, content type, content encoding, body; status, a part of the message.
    let table: Vec<Case> = vec![
        ("POST", t, PROTOBUF, "", plain(0), 200, ""),
        ("POST", t, PROTOBUF, "identity", plain(1), 200, ""),
        ("POST", t, PROTOBUF, "gzip", gzip(&plain(2)), 200, ""),
        ("POST", t, PROTOBUF, "GZIP", gzip(&plain(3)), 200, ""),
        ("POST", t, PROTOBUF, "zstd", zstd(&plain(4)), 200, ""),
        ("POST", t, JSON, "", span_json(5).into(), 200, ""),
        ("POST", t, "Application/JSON; charset=utf-8", "", span_json(6).into(), 200, ""),
        ("POST", t, JSON, "gzip", gzip(span_json(7).as_bytes()), 200, ""),
        ("POST", t, JSON, "zstd", zstd(span_json(8).as_bytes()), 200, ""),
        ("POST", t, PROTOBUF, "", vec![], 200, ""),
        ("POST", m, PROTOBUF, "gzip", vec![], 200, ""),
        ("POST", m, PROTOBUF, "gzip", gzip(b""), 200, ""),
        ("POST", l, JSON, "", b"{}".to_vec(), 200, ""),
        ("POST", l, JSON, "", vec![], 200, ""),
        ("POST", t, JSON, "", b"{\"resourceSpans\":[".to_vec(), 400, "not JSON at line 1 column 19"),
        ("POST", t, JSON, "", b"[1]".to_vec(), 400, "an object expected"),
        ("POST", t, JSON, "", b"{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[{\"body\":{\"stringValue\":\"x\"},\"timeUnixNano\":\"1767225600000000000\"}]}]}]}".to_vec(), 400, "a request of traces holds rows of logs"),
        ("POST", t, PROTOBUF, "", b"\x0a\xff".to_vec(), 400, "not protobuf"),
        ("POST", t, PROTOBUF, "gzip", plain(9), 400, "cannot be decompressed as gzip"),
        ("POST", t, PROTOBUF, "zstd", plain(9), 400, "cannot be decompressed as zstd"),
        ("POST", t, PROTOBUF, "gzip", gzip(&plain(9))[..20].to_vec(), 400, "as gzip"),
        ("POST", t, PROTOBUF, "br", plain(9), 415, "encoding \"br\" is not supported; send gzip, zstd or none"),
        ("POST", t, PROTOBUF, "gzip, gzip", gzip(&plain(9)), 415, "send gzip, zstd or none"),
        ("POST", t, "text/plain", "", plain(9), 415, "send application/x-protobuf or application/json"),
        ("POST", t, "application/grpc", "", plain(9), 415, "type \"application/grpc\" is not supported"),
        ("GET", t, JSON, "", vec![], 405, "method \"GET\" is not supported; send POST"),
        ("PUT", l, PROTOBUF, "", plain(9), 405, "send POST"),
        ("POST", "/v1/spans", JSON, "", vec![], 404, known),
        ("POST", "/v1/traces/", PROTOBUF, "", plain(9), 404, known),
        ("GET", "/", "", "", vec![], 404, known),
    ];
    for (method, path, content_type, encoding, body, status, message) in table {
        let mut headers = vec![("content-type", content_type), ("content-encoding", encoding)];
        headers.retain(|(_, value)| !value.is_empty());
        let answer = send(connect(service.otlp_http()), &head(method, path, &headers, body.len()), &body);
        let what = format!("{method} {path} {content_type} {encoding}: {answer:?}");
        assert_eq!(answer.status, status, "{what}");
        let is_protobuf = content_type == PROTOBUF;
        assert_eq!(answer.header("content-type"), Some(if is_protobuf { PROTOBUF } else { JSON }), "{what}");
        let told = match (status, is_protobuf) {
            (200, true) => {
                let response = ExportTraceServiceResponse::decode(&answer.body[..]).expect("a message");
                assert_eq!(response, ExportTraceServiceResponse::default(), "{what}");
                String::new()
            }
            (200, false) => {
                assert_eq!(answer.json(), json!({}), "{what}");
                String::new()
            }
            (_, true) => Status::decode(&answer.body[..]).expect("a status").message,
            (_, false) => answer.json()["message"].as_str().expect("a message").to_owned(),
        };
        assert!(told.contains(message), "{what}");
        assert_eq!(answer.header("allow"), (status == 405).then_some("post"), "{what}");
    }
    service.wait_for("SELECT count(*), count(DISTINCT span_id) FROM spans", &["9 | 9"]);
    assert_eq!(service.rows("SELECT count(*) FROM logs"), ["0"]);
    let errors = "SELECT count(*), min(source), max(source), min(kind) FROM ingest_errors";
    service.wait_for(errors, &["7 | otlp_http 127.0.0.1 | otlp_http 127.0.0.1 | request"]);
    assert_eq!(service.requests("signal=\"traces\",status=\"accepted\""), 10);
    assert_eq!(service.requests("signal=\"traces\",status=\"rejected\""), 7);
    assert_eq!(service.requests("status=\"unsupported\""), 4);
    assert_eq!(service.requests("status=\"unknown\""), 5);
}

#[test]
fn statuses_have_the_codes_of_grpc() {
    let service = InProcess::start(&[]);
    let answer = post(service.otlp_http(), "/v1/traces", &[("content-type", JSON)], b"nonsense");
    assert_eq!((answer.status, answer.json()["code"].as_i64()), (400, Some(3)));
    let answer = post(service.otlp_http(), "/v1/traces", &[("content-type", PROTOBUF)], b"\xff");
    assert_eq!((answer.status, Status::decode(&answer.body[..]).expect("a status").code), (400, 3));
}

#[test]
fn what_is_rejected_is_counted_and_the_rest_is_kept() {
    let service = InProcess::start(&[]);
    let mut request = spans(0..5, "GET");
    let records = &mut request.resource_spans[0].scope_spans[0].spans;
    records[1].trace_id = vec![1, 2];
    records[3].name = String::new();
    records[3].end_time_unix_nano = 5;
    let body = request.encode_to_vec();
    let answer = post(service.otlp_http(), "/v1/traces", &[("content-type", PROTOBUF)], &body);
    let partial = ExportTraceServiceResponse::decode(&answer.body[..]).expect("a message").partial_success;
    let partial = partial.expect("a partial success");
    assert_eq!((answer.status, partial.rejected_spans), (200, 2));
    assert!(partial.error_message.contains("trace id \"0102\" has 2 bytes, 16 expected"), "{partial:?}");
    assert!(partial.error_message.ends_with("; ingest_errors tells of the others"), "{partial:?}");
    service.wait_for("SELECT count(*) FROM spans", &["3"]);
    service.wait_for("SELECT count(*) FROM ingest_errors WHERE kind = 'span'", &["2"]);
    assert_eq!(service.requests("status=\"partial\""), 1);
    // The other signals count what is theirs.
    let log = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"traceId":"xyz"},{"traceId":"zyx"}]}]}]}"#;
    let metric = r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m","gauge":{"dataPoints":[{"asInt":"1"}]}}]}]}]}"#;
    for (path, body, name, count) in
        [("/v1/logs", log, "rejectedLogRecords", "2"), ("/v1/metrics", metric, "rejectedDataPoints", "1")]
    {
        let answer = post(service.otlp_http(), path, &[("content-type", JSON)], body.as_bytes());
        assert_eq!((answer.status, &answer.json()["partialSuccess"][name]), (200, &json!(count)));
    }
}

#[test]
fn a_link_that_is_rejected_is_told_and_counts_as_no_span() {
    let service = InProcess::start(&[]);
    let mut request = serde_json::to_value(spans(0..1, "GET")).expect("JSON");
    request["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["links"] =
        json!([{"traceId": "abc", "spanId": "00f067aa0ba902b7"}]);
    let body = request.to_string();
    let answer = post(service.otlp_http(), "/v1/traces", &[("content-type", JSON)], body.as_bytes());
    let partial = &answer.json()["partialSuccess"];
    assert_eq!((answer.status, &partial["rejectedSpans"]), (200, &json!("0")));
    assert!(partial["errorMessage"].as_str().expect("a message").contains("link"), "{partial}");
    service.wait_for("SELECT count(*) FROM spans", &["1"]);
}

#[test]
fn the_part_of_a_cut_request_that_can_be_read_is_kept() {
    let service = InProcess::start(&[]);
    let body = spans(0..3, "GET").encode_to_vec();
    let cut = &body[..body.len() - 4];
    let answer = post(service.otlp_http(), "/v1/traces", &[("content-type", PROTOBUF)], cut);
    let partial = ExportTraceServiceResponse::decode(&answer.body[..]).expect("a message").partial_success;
    assert_eq!((answer.status, partial.expect("a partial success").rejected_spans), (200, 1));
    service.wait_for("SELECT count(*) FROM spans", &["2"]);
}

#[test]
fn the_limit_of_a_body_holds_before_and_after_decompression() {
    let service = InProcess::start(&[("otlp.body_bytes_max", "64 KiB")]);
    let large = spans(0..1_000, "a name that is long enough to make the request larger than it may be");
    let large = large.encode_to_vec();
    assert!(large.len() > 64 << 10);
    for (encoding, body) in [
        ("", large.clone()),
        ("gzip", gzip(&large)),
        ("zstd", zstd(&large)),
        ("gzip", gzip(&vec![0; 9 << 20])),
    ] {
        let mut headers = vec![("content-type", JSON), ("content-encoding", encoding)];
        headers.retain(|(_, value)| !value.is_empty());
        let answer = post(service.otlp_http(), "/v1/traces", &headers, &body);
        assert_eq!(answer.status, 413, "{encoding}: {answer:?}");
        let message =
            "the request has more than 65536 bytes (otlp.body_bytes_max), decompressed; send smaller batches";
        assert_eq!(answer.json()["message"], message, "{encoding}");
        assert_eq!(answer.json()["code"], 8, "{encoding}");
        assert_eq!(answer.header("retry-after"), None);
    }
    service
        .wait_for("SELECT count(*) FROM ingest_errors WHERE reason LIKE '%more than 65536 bytes%'", &["4"]);
    assert_eq!(service.rows("SELECT count(*) FROM spans"), ["0"]);
    // At the limit to the byte it is taken in.
    let mut exact = span_json(1).into_bytes();
    exact.resize(64 << 10, b' ');
    assert_eq!(post(service.otlp_http(), "/v1/traces", &[("content-type", JSON)], &exact).status, 200);
    exact.push(b' ');
    assert_eq!(post(service.otlp_http(), "/v1/traces", &[("content-type", JSON)], &exact).status, 413);
}

#[test]
fn a_client_that_waits_to_be_asked_sends_nothing_in_vain() {
    let service = InProcess::start(&[]);
    let headers = [("content-type", "text/plain"), ("expect", "100-continue")];
    let answer = send(connect(service.otlp_http()), &head("POST", "/v1/traces", &headers, 1 << 20), b"");
    assert_eq!(answer.status, 415);
}

#[test]
fn times_of_simulated_telemetry_are_taken_in_where_the_clock_follows_them() {
    let later = span_json(0).replace("17672256", "41672256");
    for (ahead_max, expected) in [("none", "1"), ("60s", "0")] {
        let service = InProcess::start(&[("clock.ahead_max", ahead_max)]);
        let answer = post(service.otlp_http(), "/v1/traces", &[("content-type", JSON)], later.as_bytes());
        assert_eq!(answer.status, 200);
        let is_whole = answer.json() == json!({});
        assert_eq!(is_whole, ahead_max == "none", "{answer:?}");
        post(service.otlp_http(), "/v1/traces", &[("content-type", JSON)], b"nonsense");
        service.wait_for("SELECT count(*) FROM ingest_errors WHERE kind = 'request'", &["1"]);
        assert_eq!(service.rows("SELECT count(*) FROM spans"), [expected]);
    }
}
