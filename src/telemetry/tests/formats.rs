//! The same request in JSON and in protobuf gives the same rows. Both are written by `opentelemetry-proto`.

use expect_test::expect;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use serde::Serialize;

use super::made::Made;
use super::{NOW_NS, decoder, origin, reasons, shown};
use crate::telemetry::{Signal, sniff_protobuf};

/// Decodes both forms of a request and compares the rows; returns how many there are.
fn compare(signal: Signal, request: &(impl Message + Serialize)) -> usize {
    let (protobuf, json) = (request.encode_to_vec(), serde_json::to_vec(request).unwrap());
    let (mut of_protobuf, mut of_json) = (decoder(), decoder());
    of_protobuf.protobuf(signal, &protobuf, &origin());
    of_json.json(&json, &origin());
    assert_eq!(of_protobuf.rows(), of_json.rows());
    assert_eq!(of_protobuf.event_time_ns(), of_json.event_time_ns());
    let (rows, rejected) = (of_json.rows(), of_json.rejected() + of_protobuf.rejected());
    let (of_protobuf, of_json) = (of_protobuf.finish(), of_json.finish());
    assert_eq!(rejected, 0, "{}", shown(&of_json));
    for (protobuf, json) in of_protobuf.iter().zip(&of_json) {
        assert_eq!(protobuf.table, json.table);
        assert_eq!(protobuf.event_time_ns, json.event_time_ns);
        if protobuf.rows != json.rows {
            differ(&shown(&of_protobuf), &shown(&of_json));
        }
    }
    rows
}

fn differ(protobuf: &str, json: &str) {
    for (protobuf, json) in protobuf.lines().zip(json.lines()) {
        assert_eq!(protobuf, json);
    }
    panic!("rows differ in what is not shown");
}

#[test]
fn both_formats_give_the_same_rows() {
    let mut rows = [0; 3];
    for seed in 0..200 {
        let mut made = Made::new(seed);
        rows[0] += compare(Signal::Traces, &made.traces(3));
        rows[1] += compare(Signal::Metrics, &made.metrics(3));
        rows[2] += compare(Signal::Logs, &made.logs(3));
    }
    assert!(rows[0] > 200 * 12 && rows[1] == 200 * 12 && rows[2] == 200 * 9, "{rows:?}");
}

#[test]
fn protobuf_tells_its_signal() {
    for seed in 0..100 {
        let mut made = Made::new(seed);
        assert_eq!(sniff_protobuf(&made.traces(1).encode_to_vec()), Some(Signal::Traces));
        assert_eq!(sniff_protobuf(&made.metrics(1).encode_to_vec()), Some(Signal::Metrics));
        assert_eq!(sniff_protobuf(&made.logs(1).encode_to_vec()), Some(Signal::Logs));
    }
    assert_eq!(sniff_protobuf(&Made::new(0).traces(0).encode_to_vec()), None);
    assert_eq!(sniff_protobuf(b""), None);
    assert_eq!(sniff_protobuf(br#"{"resourceSpans":[]}"#), None);
    let metric =
        Metric { name: "sixteen letters.".into(), description: "and 8 ..".into(), ..Metric::default() };
    let scope_metrics = vec![ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() }];
    let resource_metrics = vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }];
    let like_ids = ExportMetricsServiceRequest { resource_metrics };
    // A span would say when it was.
    assert_eq!(sniff_protobuf(&like_ids.encode_to_vec()), Some(Signal::Metrics));
}

/// One request of one scope with the spans.
fn of_spans(spans: Vec<Span>) -> Vec<u8> {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

fn valid() -> Span {
    Span {
        trace_id: vec![0x4b; 16],
        span_id: vec![0xf0; 8],
        name: "GET ?".into(),
        start_time_unix_nano: NOW_NS as u64,
        end_time_unix_nano: NOW_NS as u64,
        ..Span::default()
    }
}

#[test]
fn wrong_records_of_protobuf() {
    let many = vec![KeyValue::default(); 1025];
    let mut deep = AnyValue::default();
    for _ in 0..33 {
        deep = AnyValue { value: Some(Value::ArrayValue(ArrayValue { values: vec![deep] })) };
    }
    let request = of_spans(vec![
        Span { trace_id: vec![1, 2, 3], ..valid() },
        Span { trace_id: Vec::new(), ..valid() },
        Span { trace_id: vec![0; 16], ..valid() },
        Span { span_id: vec![0; 8], ..valid() },
        Span { parent_span_id: vec![1; 16], ..valid() },
        Span { kind: -1, ..valid() },
        Span { end_time_unix_nano: NOW_NS as u64 - 12_000_000, ..valid() },
        Span { start_time_unix_nano: u64::MAX, ..valid() },
        Span { attributes: many, ..valid() },
        Span {
            attributes: vec![KeyValue { key: "k".into(), value: Some(deep), ..KeyValue::default() }],
            ..valid()
        },
        Span { links: vec![Link::default()], events: vec![Event::default()], ..valid() },
    ]);
    let mut decoder = decoder();
    decoder.protobuf(Signal::Traces, &request, &origin());
    expect![[r#"
        1 accepted, 12 rejected
        span: span "f0f0f0f0f0f0f0f0": trace id "010203" has 3 bytes, 16 expected
        span: span "f0f0f0f0f0f0f0f0": trace id is missing
        span: span "f0f0f0f0f0f0f0f0": trace id is all zero
        span: span of name "GET ?": span id is all zero
        span: span "f0f0f0f0f0f0f0f0": parent span id "01010101010101010101010101010101" has 16 bytes, 8 expected
        span: span "f0f0f0f0f0f0f0f0": kind -1 is outside 0 to 5
        span: span "f0f0f0f0f0f0f0f0": ends 12 ms before it starts (started_at 2023-11-14T22:13:20Z, ended_at 2023-11-14T22:13:19.988Z)
        span: span "f0f0f0f0f0f0f0f0": started_at 18446744073709551615 is beyond 9223372036854775807, the last nanosecond that can be told
        span: span "f0f0f0f0f0f0f0f0": more than 1024 attributes, 1024 allowed
        span: span "f0f0f0f0f0f0f0f0": more than 32 levels of arrays and lists in a value, 32 allowed
        span_link: link of span "f0f0f0f0f0f0f0f0": linked trace id is missing
        span_event: event of span "f0f0f0f0f0f0f0f0": name is missing
    "#]].assert_eq(&reasons(&mut decoder));
}

#[test]
fn invalid_utf_8_in_protobuf_rejects_its_record() {
    let mut request = of_spans(vec![valid(), Span { name: "GET !".into(), ..valid() }]);
    let place = request.iter().position(|&byte| byte == b'?').unwrap();
    request[place] = 0xff;
    let mut decoder = decoder();
    decoder.protobuf(Signal::Traces, &request, &origin());
    expect![[r#"
        1 accepted, 1 rejected
        span: span "f0f0f0f0f0f0f0f0": name "GET �" is not UTF-8
    "#]]
    .assert_eq(&reasons(&mut decoder));
}

#[test]
fn protobuf_that_is_cut_off_keeps_what_is_whole() {
    let request = of_spans(vec![valid(), valid(), valid()]);
    let one = request.len() / 3;
    for (len, expected) in [
        (
            request.len(),
            expect![[r#"
            3 accepted, 0 rejected
        "#]],
        ),
        (
            request.len() - 1,
            expect![[r#"
                2 accepted, 1 rejected
                request: request is cut off, 1 bytes of a message in it are missing
            "#]],
        ),
        (
            request.len() - one,
            expect![[r#"
                1 accepted, 1 rejected
                request: request is cut off, 2 bytes of a message in it are missing
            "#]],
        ),
        (
            3,
            expect![[r#"
                0 accepted, 1 rejected
                request: request is cut off, 168 bytes of a message in it are missing
            "#]],
        ),
        (
            1,
            expect![[r#"
            0 accepted, 1 rejected
            request: not protobuf: message is cut off, 1 more bytes expected
        "#]],
        ),
    ] {
        let mut decoder = decoder();
        decoder.protobuf(Signal::Traces, &request[..len], &origin());
        expected.assert_eq(&reasons(&mut decoder));
    }
}

#[test]
fn protobuf_of_another_signal_or_of_nothing() {
    let mut decoder = decoder();
    decoder.protobuf(Signal::Logs, b"", &origin());
    decoder.protobuf(Signal::Logs, &of_spans(vec![valid()]), &origin());
    decoder.protobuf(Signal::Traces, br#"{"resourceSpans":[]}"#, &origin());
    decoder.protobuf(Signal::Traces, &[0x08, 0x01], &origin());
    expect![[r#"
        0 accepted, 3 rejected
        log: log record: ts is bytes on the wire, fixed 64 bits expected
        request: not protobuf: field 15 has wire type 3, one of 0, 1, 2 and 5 expected
        request: message is a varint on the wire, bytes expected
    "#]]
    .assert_eq(&reasons(&mut decoder));
}
