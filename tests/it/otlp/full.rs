//! An intake that is full, and an engine that has stopped.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use tonic::Code;

use super::client::{Answer, JSON, PROTOBUF, post};
use super::spans;
use crate::in_process::InProcess;
use crate::server::eventually;

/// Pairs all spans of a trace with each other: the square of their number.
const SLOW: &str = "CREATE MATERIALIZED VIEW slow AS SELECT count(*) AS n \
                    FROM spans a JOIN spans b ON a.trace_id = b.trace_id AND a.name <> b.service_name";

/// Spans that keep the view above busy for a good while.
const BUSY_SPANS: u64 = 4_000;

/// A `google.rpc.Status` with `google.rpc.RetryInfo` in its details.
#[derive(Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

#[derive(Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<prost_types::Duration>,
}

/// A span of a trace of its own whose name fills much of a small intake.
fn bulky(n: u64) -> ExportTraceServiceRequest {
    let mut request = spans(n..n + 1, &"x".repeat(200 << 10));
    request.resource_spans[0].scope_spans[0].spans[0].trace_id = u128::from(n).to_be_bytes().to_vec();
    request
}

/// A service whose workers are busy and whose intake holds two bulky spans.
fn busy() -> InProcess {
    let service = InProcess::start(&[("intake.bytes_max", "512 KiB")]);
    service.answer(SLOW).expect("a view");
    let busy = spans(0..BUSY_SPANS, "GET").encode_to_vec();
    assert_eq!(post(service.otlp_http(), "/v1/traces", &[("content-type", PROTOBUF)], &busy).status, 200);
    service
}

const COUNT: &str = "SELECT count(*) FROM spans WHERE length(name) > 1000";

fn retried(status: &[u8]) -> bool {
    let status = Status::decode(status).expect("a status");
    let infos = status.details.iter().filter(|any| any.type_url.ends_with("/google.rpc.RetryInfo"));
    let delays = infos.map(|any| RetryInfo::decode(&any.value[..]).expect("details").retry_delay);
    status.code == 14 && delays.flatten().any(|delay| delay.seconds >= 1)
}

#[test]
fn a_full_intake_has_http_senders_try_again_and_shows_nothing_of_what_it_refused() {
    let service = busy();
    let send =
        |n| post(service.otlp_http(), "/v1/traces", &[("content-type", PROTOBUF)], &bulky(n).encode_to_vec());
    // The workers are busy for longer than it takes to fill the intake; on a machine where they are not, more
    // of the same will.
    let mut sent = 0;
    let refused: Answer = eventually(
        || {
            sent += 1;
            send(10_000 + sent)
        },
        |answer| answer.status != 200,
    );
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")), "{refused:?}");
    assert!(retried(&refused.body), "{refused:?}");
    let accepted = (sent - 1).to_string();
    service.wait_for(COUNT, &[&accepted]);
    assert_eq!(service.rows("SELECT count(*) FROM ingest_errors"), ["0"]);
    assert_eq!(service.requests("status=\"full\""), 1);
    // Sent again, it is taken in, and nothing was there twice.
    eventually(|| send(10_000 + sent).status, |status| *status == 200);
    service.wait_for(COUNT, &[&sent.to_string()]);
}

#[test]
fn a_full_intake_has_grpc_senders_try_again() {
    let service = busy();
    let mut client = service.trace_client();
    let mut sent = 0;
    let mut send = |n| service.runtime.block_on(client.export(bulky(n)));
    let refused = eventually(
        || {
            sent += 1;
            send(10_000 + sent)
        },
        |answer| answer.is_err(),
    );
    let status = refused.expect_err("a refusal");
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(retried(status.details()), "{status:?}");
    service.wait_for(COUNT, &[&(sent - 1).to_string()]);
    eventually(|| send(10_000 + sent).is_ok(), |is_accepted| *is_accepted);
    service.wait_for(COUNT, &[&sent.to_string()]);
}

#[test]
fn a_stopped_engine_takes_nothing() {
    let service = InProcess::start(&[]);
    service.runtime.block_on(service.live.stop());
    for content_type in [PROTOBUF, JSON] {
        let answer = post(service.otlp_http(), "/v1/traces", &[("content-type", content_type)], b"{}");
        assert_eq!((answer.status, answer.header("retry-after")), (503, None), "{answer:?}");
    }
    let mut client = service.trace_client();
    let status = service.runtime.block_on(client.export(spans(0..1, "GET"))).expect_err("a refusal");
    assert_eq!((status.code(), status.details()), (Code::Unavailable, &b""[..]), "{status:?}");
    assert_eq!(service.requests("status=\"stopped\""), 3);
}

#[test]
fn what_was_acknowledged_before_a_stop_is_there_after_it() {
    let mut service = InProcess::start(&[("engine.tick", "1 hour")]);
    // The first tick is closed at once, and no other before the stop.
    let closed = || service.live.metrics().text().contains("undercurrent_tick_duration_seconds_count 1");
    eventually(closed, |closed| *closed);
    let body = spans(0..100, "GET").encode_to_vec();
    assert_eq!(post(service.otlp_http(), "/v1/traces", &[("content-type", PROTOBUF)], &body).status, 200);
    assert_eq!(service.live.metrics().ingest_rows.with_label_values(&["spans"]).get(), 0);
    service.stop();
    assert_eq!(service.live.metrics().ingest_rows.with_label_values(&["spans"]).get(), 100);
}
