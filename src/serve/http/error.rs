//! Errors as answers.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::serve::failure::{Failure, message_and_hint};
use crate::sql::error::SqlError;

/// How long a client is asked to wait before it tries again, in seconds.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// An error and the status it is answered with.
#[derive(Debug)]
pub(super) struct ApiError {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: String,
    pub hint: Option<String>,
}

impl ApiError {
    pub fn new(status: StatusCode, code: &'static str, message: String) -> Self {
        ApiError { status, code, message, hint: None }
    }

    /// A request that cannot be understood.
    pub fn bad_request(message: impl Into<String>) -> Self {
        ApiError::new(StatusCode::BAD_REQUEST, "invalid_parameter_value", message.into())
    }

    /// The same, with what to do about it.
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        ApiError { hint: Some(hint.into()), ..self }
    }

    /// What goes into the member `error` of an answer.
    pub fn to_json(&self) -> Value {
        json!({ "code": self.code, "message": self.message, "hint": self.hint })
    }
}

impl From<SqlError> for ApiError {
    fn from(error: SqlError) -> Self {
        ApiError::from(&error)
    }
}

impl From<&SqlError> for ApiError {
    fn from(error: &SqlError) -> Self {
        let failure = Failure::of(error);
        let (message, hint) = message_and_hint(error);
        ApiError { status: status(failure), code: failure.code(), message, hint }
    }
}

fn status(failure: Failure) -> StatusCode {
    match failure {
        Failure::Syntax | Failure::Unsupported | Failure::Value => StatusCode::BAD_REQUEST,
        Failure::Missing => StatusCode::NOT_FOUND,
        Failure::Exists | Failure::InUse | Failure::Ended | Failure::Unique | Failure::Conflict => {
            StatusCode::CONFLICT
        }
        Failure::WrongObject => StatusCode::BAD_REQUEST,
        Failure::NotNull | Failure::TooLong => StatusCode::UNPROCESSABLE_ENTITY,
        Failure::Data | Failure::TooLarge => StatusCode::UNPROCESSABLE_ENTITY,
        Failure::Timeout => StatusCode::GATEWAY_TIMEOUT,
        Failure::OutOfMemory | Failure::NotDurable | Failure::Stopped => StatusCode::SERVICE_UNAVAILABLE,
        Failure::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(json!({ "error": self.to_json() }))).into_response();
        if self.status == StatusCode::SERVICE_UNAVAILABLE || self.status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_SECONDS);
        }
        response
    }
}
