//! OTLP over gRPC: the `Export` methods of the three collector services.
//!
//! A call is one message of bytes in a frame, and its answer another. The frame is read here and not by the server of
//! [`tonic`], whose decoder takes the room for a message when its length is announced, before a byte of it has come,
//! and leaves no place for a limit on all calls together or on their time. Statuses are tonic's.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use tonic::{Code, Status};

use super::body::{Buffer, Encoding};
use super::intake::{Accepted, Export, Format, Intake};
use super::refusal::Refusal;
use super::{messages, peer, text};
use crate::telemetry::Signal;

/// A flag, whether the message is compressed, and its length.
const PREFIX_BYTES: usize = 5;

const CONTENT_TYPES: &str = "application/grpc; OTLP over HTTP has a port of its own (otlp.http_listen)";

const METHODS: &str = "opentelemetry.proto.collector.{trace.v1.TraceService, metrics.v1.MetricsService, \
                       logs.v1.LogsService}/Export";

const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// Answers any call.
pub(super) async fn export(State(intake): State<Arc<Intake>>, request: Request<Body>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let signal = signal(head.uri.path());
    let outcome = intake.counted(signal.as_ref().ok().copied(), take(&intake, &head, body).await);
    match (outcome, signal) {
        (Ok(accepted), Ok(signal)) => respond(&messages::accepted(&accepted, signal, Format::Protobuf)),
        (Err(refusal), _) | (_, Err(refusal)) => refuse(&refusal),
    }
}

async fn take(intake: &Arc<Intake>, head: &Parts, body: Body) -> Result<Accepted, Refusal> {
    let found = text(&head.headers, CONTENT_TYPE);
    if !matches!(found.as_str(), "application/grpc" | "application/grpc+proto") {
        return Err(Refusal::ContentType { found, supported: CONTENT_TYPES });
    }
    let signal = signal(head.uri.path())?;
    if head.method != Method::POST {
        return Err(Refusal::Method(head.method.to_string()));
    }
    let encoding = Encoding::named(&text(&head.headers, ENCODING))?;
    let mut export = Export { signal, format: Format::Protobuf, encoding, peer: peer(head) };
    let mut body = intake.read(&export, body, PREFIX_BYTES, false).await?;
    match is_compressed(&body, encoding) {
        Ok(true) => {}
        Ok(false) => export.encoding = Encoding::Identity,
        Err(refusal) => return Err(intake.refuse(&export, refusal, body.bytes())),
    }
    body.skip(PREFIX_BYTES);
    intake.take(export, body).await
}

/// Whether the message in `frame` is compressed.
///
/// # Errors
///
/// [`Refusal::Unreadable`] when the frame is none, or there is not exactly one.
fn is_compressed(frame: &Buffer, encoding: Encoding) -> Result<bool, Refusal> {
    let unreadable = |reason: String| Err(Refusal::Unreadable(reason));
    let Some((&[flag, ref length @ ..], message)) = frame.bytes().split_first_chunk::<PREFIX_BYTES>() else {
        return unreadable(format!("a frame of {PREFIX_BYTES} bytes and a message is expected"));
    };
    let length = u32::from_be_bytes(*length) as usize;
    if length != message.len() {
        let bytes = message.len();
        return unreadable(format!("the frame announces one message of {length} bytes, {bytes} came"));
    }
    match (flag, encoding) {
        (0, _) => Ok(false),
        (1, Encoding::Identity) => {
            unreadable("the message is compressed, but grpc-encoding is not set".to_owned())
        }
        (1, _) => Ok(true),
        _ => unreadable(format!("the compression flag is \"{flag}\", 0 or 1 expected")),
    }
}

fn signal(path: &str) -> Result<Signal, Refusal> {
    match path {
        "/opentelemetry.proto.collector.trace.v1.TraceService/Export" => Ok(Signal::Traces),
        "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export" => Ok(Signal::Metrics),
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export" => Ok(Signal::Logs),
        _ => Err(Refusal::Path { found: path.to_owned(), known: METHODS }),
    }
}

fn respond(message: &[u8]) -> Response<Body> {
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    frame.put_u8(0);
    frame.put_u32(message.len() as u32);
    frame.put_slice(message);
    let trailers = HeaderMap::from_iter([(Status::GRPC_STATUS, HeaderValue::from(Code::Ok as i32))]);
    let trailers = async move { Some(Ok::<_, Infallible>(trailers)) };
    let mut response = Response::new(Body::new(Full::new(frame.freeze()).with_trailers(trailers)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

fn refuse(refusal: &Refusal) -> Response<Body> {
    if matches!(refusal, Refusal::ContentType { .. }) {
        // Not gRPC: what asks would not understand its statuses.
        let mut response = Response::new(Body::from(format!("{refusal}\n")));
        *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return response;
    }
    let details = match refusal.retry_after() {
        Some(_) => messages::refused(refusal, Format::Protobuf),
        None => vec![],
    };
    let status = Status::with_details(refusal.code(), refusal.to_string(), Bytes::from(details));
    let mut response = status.into_http::<Body>();
    if matches!(refusal, Refusal::Encoding(_)) {
        response.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity,gzip,zstd"));
    }
    response
}
