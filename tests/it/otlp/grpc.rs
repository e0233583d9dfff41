//! The rules of OTLP over gRPC.

use std::io::Write;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use tonic::client::Grpc;
use tonic::codec::CompressionEncoding;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use super::client::{JSON, gzip, post};
use super::spans;
use crate::in_process::InProcess;

/// Bytes in the place of a message: a string of the field 1 has the form of any message there.
#[derive(Clone, PartialEq, Message)]
struct Raw {
    #[prost(bytes = "vec", tag = "1")]
    field: Vec<u8>,
}

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Calls `path` with `request`.
fn call(
    service: &InProcess,
    path: &'static str,
    request: impl Message + Default + 'static,
) -> Result<(), Status> {
    let mut client = Grpc::new(service.channel());
    service.runtime.block_on(async {
        client.ready().await.expect("a connection");
        let codec: ProstCodec<_, ExportTraceServiceResponse> = ProstCodec::default();
        client.unary(Request::new(request), PathAndQuery::from_static(path), codec).await.map(|_| ())
    })
}

#[test]
fn all_signals_are_taken_in_with_every_compression() {
    let service = InProcess::start(&[]);
    let (mut number, codings) = (0, [None, Some(CompressionEncoding::Gzip), Some(CompressionEncoding::Zstd)]);
    for coding in codings {
        let mut client = service.trace_client();
        if let Some(coding) = coding {
            client = client.send_compressed(coding);
        }
        // Small ones are decoded where they arrive, large ones beside.
        for count in [1, 5_000] {
            let request = spans(number..number + count, "GET");
            let answer = service.runtime.block_on(client.export(request)).expect("success").into_inner();
            assert_eq!(answer, ExportTraceServiceResponse::default());
            number += count;
        }
    }
    service.wait_for("SELECT count(*), count(DISTINCT span_id) FROM spans", &["15003 | 15003"]);
    let log = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"x"},"timeUnixNano":"1767225600000000000"}]}]}]}"#;
    let log: ExportLogsServiceRequest = serde_json::from_str(log).expect("a request");
    service.runtime.block_on(service.logs_client().export(log)).expect("success");
    service.wait_for("SELECT body FROM logs", &["x"]);
    let metric = r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"m","gauge":{"dataPoints":[{"asInt":"4","timeUnixNano":"1767225600000000000"}]}}]}]}]}"#;
    let metric: ExportMetricsServiceRequest = serde_json::from_str(metric).expect("a request");
    service.runtime.block_on(service.metrics_client().export(metric)).expect("success");
    service.wait_for("SELECT name, value_int FROM metrics", &["m | 4"]);
    assert_eq!(service.requests("protocol=\"otlp_grpc\",signal=\"traces\",status=\"accepted\""), 6);
}

#[test]
fn an_empty_request_is_a_success_and_a_partial_one_says_so() {
    let service = InProcess::start(&[]);
    let mut client = service.trace_client();
    let empty = ExportTraceServiceRequest::default();
    let answer = service.runtime.block_on(client.export(empty)).expect("success").into_inner();
    assert_eq!(answer.partial_success, None);
    let mut request = spans(0..3, "GET");
    request.resource_spans[0].scope_spans[0].spans[0].span_id = vec![0; 8];
    let answer = service.runtime.block_on(client.export(request)).expect("success").into_inner();
    let partial = answer.partial_success.expect("a partial success");
    assert_eq!(partial.rejected_spans, 1);
    assert!(partial.error_message.contains("span id is all zero"), "{}", partial.error_message);
    service.wait_for("SELECT count(*) FROM spans", &["2"]);
    service.wait_for("SELECT source FROM ingest_errors", &["otlp_grpc 127.0.0.1"]);
}

#[test]
fn garbage_is_final_and_unknown_methods_are_unimplemented() {
    let service = InProcess::start(&[]);
    let status = call(&service, EXPORT, Raw { field: vec![0xff] }).expect_err("no request");
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    assert!(status.message().contains("not protobuf"), "{status:?}");
    service.wait_for("SELECT count(*) FROM ingest_errors WHERE kind = 'request'", &["1"]);
    let unknown = call(&service, "/some.Service/Export", Raw { field: vec![] }).expect_err("no service");
    assert_eq!(unknown.code(), Code::Unimplemented);
    assert!(unknown.message().contains("nothing is at \"/some.Service/Export\""), "{unknown:?}");
}

#[test]
fn what_is_too_large_is_final_before_and_after_decompression() {
    let service = InProcess::start(&[("otlp.body_bytes_max", "64 KiB")]);
    for coding in [None, Some(CompressionEncoding::Gzip), Some(CompressionEncoding::Zstd)] {
        let mut client = service.trace_client();
        if let Some(coding) = coding {
            client = client.send_compressed(coding);
        }
        let request = spans(0..1, &"x".repeat(64 << 10));
        let status = service.runtime.block_on(client.export(request)).expect_err("too large");
        assert_eq!(status.code(), Code::ResourceExhausted, "{coding:?}: {status:?}");
        assert!(status.message().contains("more than 65536 bytes"), "{status:?}");
        // With details a sender would try again.
        assert!(status.details().is_empty());
    }
    service.wait_for("SELECT count(*) FROM ingest_errors", &["3"]);
    assert_eq!(service.rows("SELECT count(*) FROM spans"), ["0"]);
}

/// What a call whose body is `frame` is answered: the headers that carry the status, as curl shows them.
fn raw_call(service: &InProcess, content_type: &str, encoding: &str, frame: &[u8]) -> (u16, Option<String>) {
    let headers = [("content-type", content_type), ("grpc-encoding", encoding), ("te", "trailers")];
    let answer = post(service.otlp_grpc(), EXPORT, &headers, frame);
    (answer.status, answer.header("grpc-status").map(str::to_owned))
}

#[test]
fn frames_that_are_none_are_refused() {
    let service = InProcess::start(&[]);
    let message = spans(0..1, "GET").encode_to_vec();
    let frame = |flag: u8, length: usize, message: &[u8]| {
        let mut frame = vec![flag];
        frame.write_all(&(length as u32).to_be_bytes()).expect("memory");
        [frame, message.to_vec()].concat()
    };
    let (grpc, length) = ("application/grpc", message.len());
    let squeezed = gzip(&message);
    let refused = (200, Some("3".to_owned()));
    for (encoding, body, expected) in [
        ("identity", vec![], &refused),
        ("identity", vec![0, 0, 0], &refused),
        ("identity", frame(0, length + 1, &message), &refused),
        ("identity", frame(0, length - 1, &message), &refused),
        ("identity", frame(0, u32::MAX as usize, &message), &refused),
        ("identity", frame(2, length, &message), &refused),
        ("identity", frame(1, squeezed.len(), &squeezed), &refused),
        ("gzip", frame(1, length, &message), &refused),
        ("gzip", [frame(0, length, &message), frame(0, length, &message)].concat(), &refused),
        ("br", frame(1, length, &message), &(200, Some("12".to_owned()))),
        // Taken in: the status comes in trailers, which this client does not look at.
        ("gzip", frame(1, squeezed.len(), &squeezed), &(200, None)),
        ("gzip", frame(0, length, &message), &(200, None)),
    ] {
        assert_eq!(&raw_call(&service, grpc, encoding, &body), expected, "{encoding} {body:?}");
    }
    assert_eq!(raw_call(&service, JSON, "identity", b"{}"), (415, None));
    service.wait_for("SELECT count(*) FROM spans", &["2"]);
    service.wait_for("SELECT count(*) FROM ingest_errors", &["9"]);
}
