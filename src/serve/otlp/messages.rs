//! The messages of answers, in protobuf and in JSON.

use prost::Message;
use prost_types::{Any, Duration};
use serde_json::{Map, Value, json};

use super::intake::{Accepted, Format};
use super::refusal::Refusal;
use crate::telemetry::Signal;

/// An `ExportTraceServiceResponse`, `ExportMetricsServiceResponse` or `ExportLogsServiceResponse`: in protobuf
/// they are the same.
#[derive(Message)]
struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Message)]
struct PartialSuccess {
    /// `rejected_spans`, `rejected_data_points` or `rejected_log_records`.
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

/// A `google.rpc.Status`.
#[derive(Message)]
struct Status {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// A `google.rpc.RetryInfo`.
#[derive(Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Duration>,
}

/// How a detail of the type [`RetryInfo`] is marked.
const RETRY_INFO_TYPE: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// The answer to a request of `signal` that was accepted.
pub(super) fn accepted(accepted: &Accepted, signal: Signal, format: Format) -> Vec<u8> {
    let Accepted { rejected, message } = accepted;
    let is_whole = *rejected == 0 && message.is_empty();
    match format {
        Format::Protobuf if is_whole => vec![],
        Format::Protobuf => {
            let rejected = i64::try_from(*rejected).unwrap_or(i64::MAX);
            let partial_success = Some(PartialSuccess { rejected, error_message: message.clone() });
            ExportResponse { partial_success }.encode_to_vec()
        }
        Format::Json if is_whole => b"{}".to_vec(),
        Format::Json => {
            let name = match signal {
                Signal::Traces => "rejectedSpans",
                Signal::Metrics => "rejectedDataPoints",
                Signal::Logs => "rejectedLogRecords",
            };
            // Integers of 64 bits are text in the JSON of protobuf.
            json!({"partialSuccess": {name: rejected.to_string(), "errorMessage": message}})
                .to_string()
                .into_bytes()
        }
    }
}

/// The `google.rpc.Status` of `refusal`.
pub(super) fn refused(refusal: &Refusal, format: Format) -> Vec<u8> {
    let (code, message) = (refusal.code() as i32, refusal.to_string());
    match format {
        Format::Protobuf => Status { code, message, details: retry_info(refusal) }.encode_to_vec(),
        Format::Json => {
            let mut status = Map::from_iter([
                ("code".to_owned(), Value::from(code)),
                ("message".to_owned(), Value::from(message)),
            ]);
            if let Some(delay) = refusal.retry_after() {
                let delay = format!("{}s", delay.as_secs());
                let info = json!([{"@type": RETRY_INFO_TYPE, "retryDelay": delay}]);
                status.insert("details".to_owned(), info);
            }
            Value::Object(status).to_string().into_bytes()
        }
    }
}

fn retry_info(refusal: &Refusal) -> Vec<Any> {
    let info = refusal.retry_after().map(|delay| {
        let retry_delay = Some(Duration { seconds: delay.as_secs() as i64, nanos: 0 });
        Any { type_url: RETRY_INFO_TYPE.to_owned(), value: RetryInfo { retry_delay }.encode_to_vec() }
    });
    info.into_iter().collect()
}
