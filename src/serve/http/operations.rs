//! What those ask who operate the server.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Http;
use super::error::ApiError;

/// What there is, for people.
const INDEX: &str = "\
Undercurrent: SQL over live telemetry

  POST /api/v1/sql                      a statement as text, or {\"sql\": ..., \"parameters\": [...]};
                                        Accept: application/json, text/csv or
                                        application/vnd.apache.arrow.stream
  GET  /api/v1/sql?sql=SELECT ...       the same for queries
  GET  /api/v1/subscribe?view=NAME      the changes of a view as server-sent events;
                                        &snapshot=false, &progress=true
  GET  /health                          whether the process lives
  GET  /ready                           whether it answers
  GET  /metrics                         its own metrics, for Prometheus
  GET  /api/services, /api/traces, /api/traces/ID, /api/dependencies, /api/operations
                                        Jaeger's queries, for Grafana
";

/// The text format of Prometheus and its version.
const METRICS_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `GET /`.
pub(super) async fn index() -> &'static str {
    INDEX
}

/// `GET /health`: the process lives.
pub(super) async fn health() -> Response {
    Json(json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") })).into_response()
}

/// `GET /ready`: statements are answered, from tables that are up to date.
pub(super) async fn ready(State(http): State<Http>) -> Response {
    match http.context.live.check() {
        _ if *http.context.stop.borrow() => not_ready("the server stops"),
        Ok(()) if let Some(reason) = http.context.live.stalled() => not_ready(&reason),
        Ok(()) => Json(json!({ "status": "ready" })).into_response(),
        Err(error) => not_ready(&error.to_string()),
    }
}

fn not_ready(reason: &str) -> Response {
    let json = json!({ "status": "not ready", "reason": reason });
    (StatusCode::SERVICE_UNAVAILABLE, Json(json)).into_response()
}

/// `GET /metrics`. Told as long as the process lives: how it died is in them.
pub(super) async fn metrics(State(http): State<Http>) -> Result<Response, ApiError> {
    // Counting the rows of views merges them, which other connections are not to wait for.
    let metrics = http.context.live.metrics().clone();
    let text = tokio::task::spawn_blocking(move || metrics.text()).await.map_err(|error| {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", error.to_string())
    })?;
    Ok(([(header::CONTENT_TYPE, METRICS_CONTENT_TYPE)], text).into_response())
}
