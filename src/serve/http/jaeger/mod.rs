//! Jaeger's queries, as Jaeger's own interface and Grafana's data source ask them.
//!
//! | path | answer |
//! |---|---|
//! | `/api/services` | the services of the spans that are stored |
//! | `/api/services/{service}/operations`, `/api/operations?service=` | their operations |
//! | `/api/dependencies?endTs=&lookback=` | who called whom how often ([`graph`]) |
//! | `/api/traces/{id}`, `/api/traces?service=` | spans by trace, or by what is searched for ([`search`]) |
//!
//! All are SQL over our own tables, with what clients send as parameters.

mod graph;
mod search;
mod spans;
mod traces;

use arrow::array::RecordBatch;
use axum::Json;
use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};

use super::error::ApiError;
use super::{Http, PROTOCOL};
use crate::serve::measured::Measured;
use crate::sql::error::SqlError;
use crate::sql::question::{Parameter, Question};
use crate::sql::statement::parse_query;

pub(super) fn router() -> Router<Http> {
    Router::new()
        .route("/api/services", get(graph::services))
        .route("/api/services/{service}/operations", get(graph::operations_of))
        .route("/api/operations", get(graph::operations))
        .route("/api/dependencies", get(graph::dependencies))
        .route("/api/traces", get(search::search))
        .route("/api/traces/{id}", get(traces::trace))
}

/// An error in Jaeger's envelope.
struct JaegerError(ApiError);

impl<E: Into<ApiError>> From<E> for JaegerError {
    fn from(error: E) -> Self {
        JaegerError(error.into())
    }
}

impl IntoResponse for JaegerError {
    fn into_response(self) -> Response {
        let ApiError { status, message, hint, .. } = self.0;
        let message = hint.map_or(message.clone(), |hint| format!("{message}; {hint}"));
        let errors = json!([{ "code": status.as_u16(), "msg": message }]);
        let envelope = json!({ "data": null, "total": 0, "limit": 0, "offset": 0, "errors": errors });
        (status, Json(envelope)).into_response()
    }
}

/// `data` in Jaeger's envelope.
fn envelope(data: Vec<Value>) -> Response {
    let total = data.len();
    Json(json!({ "data": data, "total": total, "limit": 0, "offset": 0, "errors": null })).into_response()
}

fn not_found(message: &str) -> JaegerError {
    ApiError::new(StatusCode::NOT_FOUND, "not_found", message.to_owned()).into()
}

/// All rows of the query `text` with `values` for its parameters.
async fn rows(http: &Http, text: &str, values: &[Parameter]) -> Result<Vec<RecordBatch>, SqlError> {
    let live = &http.context.live;
    let mut measured = Measured::begin(live.metrics(), PROTOCOL);
    let mut rows = live.rows(Question::plain(parse_query(text)?), values.to_vec()).await?;
    let mut batches = vec![];
    while let Some(batch) = rows.next().await? {
        batches.push(batch);
    }
    measured.ok();
    Ok(batches)
}
