//! Why a request is refused, and what that is called in each protocol.

use std::time::Duration;

use axum::http::StatusCode;
use tonic::Code;

use crate::engine::IntakeError;

/// When to try again, where that can help.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why nothing of a request was taken in. Only [`Refusal::Full`] and [`Refusal::Stopped`] are for senders to try
/// again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// The body is not what it says to be.
    #[error("{0}")]
    Unreadable(String),
    /// The body has more bytes than allowed, as it came or decompressed.
    #[error(
        "the request has more than {bytes_max} bytes (otlp.body_bytes_max), decompressed; send smaller batches"
    )]
    TooLarge {
        /// The limit.
        bytes_max: usize,
    },
    /// The body did not come in time.
    #[error("the request took longer than {0:?} (limits.request_timeout)")]
    Slow(Duration),
    /// The connection broke.
    #[error("the request ends early: {0}")]
    Broken(String),
    /// There is no room now.
    #[error("{0}; try again later")]
    Full(String),
    /// The engine takes nothing any more.
    #[error("{0}")]
    Stopped(String),
    /// A content type that is not spoken here.
    #[error("content type \"{found}\" is not supported; send {supported}")]
    ContentType {
        /// What the request has.
        found: String,
        /// What it may have.
        supported: &'static str,
    },
    /// A content encoding that is not spoken here.
    #[error("content encoding \"{0}\" is not supported; send gzip, zstd or none")]
    Encoding(String),
    /// There is nothing at this path.
    #[error("nothing is at \"{found}\"; telemetry goes to {known}")]
    Path {
        /// The path.
        found: String,
        /// The paths where something is.
        known: &'static str,
    },
    /// Only POST is understood.
    #[error("method \"{0}\" is not supported; send POST")]
    Method(String),
}

impl Refusal {
    /// The status of HTTP.
    pub fn http_status(&self) -> StatusCode {
        match self {
            Refusal::Unreadable(_) | Refusal::Broken(_) => StatusCode::BAD_REQUEST,
            Refusal::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::Slow(_) => StatusCode::REQUEST_TIMEOUT,
            Refusal::Full(_) => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Stopped(_) => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::ContentType { .. } | Refusal::Encoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Refusal::Path { .. } => StatusCode::NOT_FOUND,
            Refusal::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
        }
    }

    /// The code of gRPC and of `google.rpc.Status`.
    pub fn code(&self) -> Code {
        match self {
            Refusal::Unreadable(_) | Refusal::ContentType { .. } => Code::InvalidArgument,
            Refusal::TooLarge { .. } => Code::ResourceExhausted,
            Refusal::Slow(_) => Code::DeadlineExceeded,
            Refusal::Broken(_) => Code::Cancelled,
            Refusal::Full(_) | Refusal::Stopped(_) => Code::Unavailable,
            Refusal::Encoding(_) | Refusal::Path { .. } | Refusal::Method(_) => Code::Unimplemented,
        }
    }

    /// When to send the request again; `None`: that is of no use, or nobody can tell.
    pub fn retry_after(&self) -> Option<Duration> {
        matches!(self, Refusal::Full(_)).then_some(RETRY_AFTER)
    }

    /// Whether telemetry is lost by it, so that `ingest_errors` has to say so.
    pub fn loses_telemetry(&self) -> bool {
        matches!(self, Refusal::Unreadable(_) | Refusal::TooLarge { .. })
    }

    /// The value of the label `status` of the metric of requests.
    pub fn status(&self) -> &'static str {
        match self {
            Refusal::Unreadable(_) => "rejected",
            Refusal::TooLarge { .. } => "too_large",
            Refusal::Slow(_) => "timeout",
            Refusal::Broken(_) => "broken",
            Refusal::Full(_) => "full",
            Refusal::Stopped(_) => "stopped",
            Refusal::ContentType { .. } | Refusal::Encoding(_) => "unsupported",
            Refusal::Path { .. } | Refusal::Method(_) => "unknown",
        }
    }
}

impl From<IntakeError> for Refusal {
    fn from(error: IntakeError) -> Self {
        match error {
            IntakeError::Full(bytes) => {
                Refusal::Full(format!("the intake is full: {bytes} bytes wait for the workers"))
            }
            IntakeError::NotDurable => Refusal::Full(error.to_string()),
            IntakeError::Stopped | IntakeError::OutOfOrder => Refusal::Stopped(error.to_string()),
        }
    }
}
