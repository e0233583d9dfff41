//! OTLP over HTTP: protobuf or JSON, told by the content type, compressed or not.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{ACCEPT_ENCODING, ALLOW, CONTENT_ENCODING, CONTENT_TYPE, EXPECT, RETRY_AFTER};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response};

use super::body::Encoding;
use super::intake::{Accepted, Export, Format, Intake};
use super::refusal::Refusal;
use super::{messages, peer, text};
use crate::telemetry::Signal;

const PATHS: &str = "/v1/traces, /v1/metrics and /v1/logs";

/// Answers any request.
pub(super) async fn export(State(intake): State<Arc<Intake>>, request: Request<Body>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let signal = signal(head.uri.path());
    let outcome = intake.counted(signal.as_ref().ok().copied(), take(&intake, &head, body).await);
    // Whoever asks for something else gets an answer that people can read.
    let format = format(&head.headers).unwrap_or(Format::Json);
    match (outcome, signal) {
        (Ok(accepted), Ok(signal)) => respond(format, messages::accepted(&accepted, signal, format)),
        (Err(refusal), _) | (_, Err(refusal)) => refuse(&refusal, format),
    }
}

async fn take(intake: &Arc<Intake>, head: &Parts, body: Body) -> Result<Accepted, Refusal> {
    let signal = signal(head.uri.path())?;
    if head.method != Method::POST {
        return Err(Refusal::Method(head.method.to_string()));
    }
    let format = format(&head.headers)?;
    let encoding = Encoding::named(&text(&head.headers, CONTENT_ENCODING))?;
    let export = Export { signal, format, encoding, peer: peer(head) };
    let body = intake.read(&export, body, 0, head.headers.contains_key(EXPECT)).await?;
    intake.take(export, body).await
}

fn signal(path: &str) -> Result<Signal, Refusal> {
    let name = path.strip_prefix("/v1/").unwrap_or_default();
    Signal::ALL
        .into_iter()
        .find(|signal| signal.name() == name)
        .ok_or_else(|| Refusal::Path { found: path.to_owned(), known: PATHS })
}

fn format(headers: &HeaderMap) -> Result<Format, Refusal> {
    let found = text(headers, CONTENT_TYPE);
    match found.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "application/x-protobuf" => Ok(Format::Protobuf),
        "application/json" => Ok(Format::Json),
        _ => {
            let supported = "application/x-protobuf or application/json";
            Err(Refusal::ContentType { found, supported })
        }
    }
}

fn respond(format: Format, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    let content_type = match format {
        Format::Protobuf => "application/x-protobuf",
        Format::Json => "application/json",
    };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn refuse(refusal: &Refusal, format: Format) -> Response<Body> {
    let mut response = respond(format, messages::refused(refusal, format));
    *response.status_mut() = refusal.http_status();
    let headers = response.headers_mut();
    if let Some(delay) = refusal.retry_after() {
        headers.insert(RETRY_AFTER, HeaderValue::from(delay.as_secs()));
    }
    match refusal {
        Refusal::Method(_) => headers.insert(ALLOW, HeaderValue::from_static("POST")),
        Refusal::Encoding(_) => headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, zstd")),
        _ => None,
    };
    response
}
