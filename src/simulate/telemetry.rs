//! Spans and log records in the form of OTLP.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, SeverityNumber};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};

use super::model::{Operation, Protocol, Template, integer, text};

/// Flags of W3C trace context: sampled; and of OTLP: it is known whether the parent is remote, and it is.
const SAMPLED: u32 = 0x01;
const PARENT_IS_KNOWN: u32 = 0x100;
const PARENT_IS_REMOTE: u32 = 0x200;

/// Attributes added to those of the template.
const MORE_ATTRIBUTES: usize = 2;

/// The place of a span.
#[derive(Clone, Copy)]
pub(super) struct Ids {
    pub trace_id: [u8; 16],
    pub span_id: [u8; 8],
    pub parent: Option<[u8; 8]>,
}

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// By itself.
    Own,
    /// Because of whom it called.
    Dependency(&'static str),
    /// Nobody was there.
    Refused,
    /// Nobody answered in time.
    TimedOut,
}

#[derive(Clone, Copy)]
pub(super) enum Severity {
    Info,
    Warn,
    Error,
}

/// A span with the attributes of `template` and those that tell how it ended.
pub(super) fn span(
    template: &Template,
    ids: Ids,
    start_ns: i64,
    end_ns: i64,
    failure: Option<Failure>,
) -> Span {
    let mut attributes = Vec::with_capacity(template.attributes.len() + MORE_ATTRIBUTES);
    attributes.extend_from_slice(&template.attributes);
    outcome(&mut attributes, template.protocol, failure);
    let is_remote = matches!(template.kind, SpanKind::Server);
    let mut events = vec![];
    if let Some(Failure::Refused | Failure::TimedOut) = failure {
        let (kind, message) = match failure {
            Some(Failure::Refused) => ("ConnectException", "connection refused"),
            _ => ("TimeoutException", "no answer within 1000 ms"),
        };
        events.push(exception_event(kind, message, &template.name, end_ns));
    }
    Span {
        trace_id: ids.trace_id.to_vec(),
        span_id: ids.span_id.to_vec(),
        parent_span_id: ids.parent.map_or_else(Vec::new, |parent| parent.to_vec()),
        flags: SAMPLED | PARENT_IS_KNOWN | if is_remote { PARENT_IS_REMOTE } else { 0 },
        name: template.name.clone(),
        kind: template.kind.into(),
        start_time_unix_nano: start_ns as u64,
        end_time_unix_nano: end_ns as u64,
        attributes,
        events,
        status: failure.map(|failure| Status { message: message(failure), code: StatusCode::Error.into() }),
        ..Span::default()
    }
}

fn message(failure: Failure) -> String {
    match failure {
        Failure::Own => "internal error".to_owned(),
        Failure::Dependency(peer) => format!("request to {peer} failed"),
        Failure::Refused => "connection refused".to_owned(),
        Failure::TimedOut => "timeout".to_owned(),
    }
}

/// How a request ended, as the semantic conventions of its protocol tell it.
fn outcome(attributes: &mut Vec<KeyValue>, protocol: Protocol, failure: Option<Failure>) {
    let unanswered = match failure {
        Some(Failure::Refused) => Some("connection_refused"),
        Some(Failure::TimedOut) => Some("timeout"),
        _ => None,
    };
    let is_own = failure == Some(Failure::Own);
    match (protocol, unanswered) {
        (Protocol::Grpc, Some(kind)) => {
            attributes.push(integer("rpc.grpc.status_code", if kind == "timeout" { 4 } else { 14 }));
            attributes.push(text("error.type", kind));
        }
        (_, Some(kind)) => attributes.push(text("error.type", kind)),
        (Protocol::Http, None) => {
            let status = if failure.is_none() {
                200
            } else if is_own {
                500
            } else {
                503
            };
            attributes.push(integer("http.response.status_code", status));
            if failure.is_some() {
                attributes.push(text("error.type", if is_own { "500" } else { "503" }));
            }
        }
        (Protocol::Grpc, None) => {
            let status = match failure {
                None => 0,
                Some(_) if is_own => 13,
                Some(_) => 14,
            };
            attributes.push(integer("rpc.grpc.status_code", status));
            if failure.is_some() {
                attributes.push(text("error.type", if is_own { "INTERNAL" } else { "UNAVAILABLE" }));
            }
        }
        (Protocol::Kafka | Protocol::Database, None) if failure.is_some() => {
            attributes.push(text("error.type", "server_error"));
        }
        _ => {}
    }
}

/// The exception that ended an operation.
pub(super) fn exception(operation: &Operation, failure: Failure, at_ns: i64) -> Event {
    let (kind, own_message) = operation.spec.exception;
    match failure {
        Failure::Own => exception_event(kind, own_message, &operation.name, at_ns),
        failure => exception_event("UpstreamException", &message(failure), &operation.name, at_ns),
    }
}

fn exception_event(kind: &str, message: &str, operation: &str, at_ns: i64) -> Event {
    Event {
        time_unix_nano: at_ns as u64,
        name: "exception".to_owned(),
        attributes: vec![
            text("exception.type", kind),
            text("exception.message", message),
            text("exception.stacktrace", &format!("{kind}: {message}\n    at {operation}")),
        ],
        ..Event::default()
    }
}

/// A link to the span that sent a message.
pub(super) fn link(producer: Ids) -> Link {
    Link {
        trace_id: producer.trace_id.to_vec(),
        span_id: producer.span_id.to_vec(),
        flags: SAMPLED | PARENT_IS_KNOWN | PARENT_IS_REMOTE,
        ..Link::default()
    }
}

/// A log record, of a span where there are `ids`.
pub(super) fn log(at_ns: i64, severity: Severity, line: String, ids: Option<Ids>) -> LogRecord {
    let (number, name) = match severity {
        Severity::Info => (SeverityNumber::Info, "INFO"),
        Severity::Warn => (SeverityNumber::Warn, "WARN"),
        Severity::Error => (SeverityNumber::Error, "ERROR"),
    };
    LogRecord {
        time_unix_nano: at_ns as u64,
        observed_time_unix_nano: at_ns as u64,
        severity_number: number.into(),
        severity_text: name.to_owned(),
        body: Some(AnyValue { value: Some(any_value::Value::StringValue(line)) }),
        flags: if ids.is_some() { SAMPLED } else { 0 },
        trace_id: ids.map_or_else(Vec::new, |ids| ids.trace_id.to_vec()),
        span_id: ids.map_or_else(Vec::new, |ids| ids.span_id.to_vec()),
        ..LogRecord::default()
    }
}
