//! Services, their operations, and who calls whom.

use std::time::{SystemTime, UNIX_EPOCH};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::super::Http;
use super::super::error::ApiError;
use super::{JaegerError, envelope, rows};
use crate::sql::question::Parameter;

const SERVICES: &str = "
    SELECT DISTINCT service_name FROM spans WHERE service_name IS NOT NULL ORDER BY service_name";

/// $1: the service; $2: the kind of span in capitals, or null.
const OPERATIONS: &str = "
    SELECT DISTINCT name, kind FROM spans
    WHERE service_name = $1 AND coalesce($2, kind) = kind
    ORDER BY name, kind";

/// $1, $2: when the window begins and ends. Minutes count that overlap it.
const DEPENDENCIES: &str = "
    SELECT source_service, target_service, sum(call_count) AS call_count
    FROM service_dependencies_1m
    WHERE minute_at + INTERVAL '1 minute' > $1 AND minute_at <= $2
    GROUP BY source_service, target_service
    ORDER BY source_service, target_service";

/// `GET /api/services`.
pub(in crate::serve::http) async fn services(State(http): State<Http>) -> Result<Response, JaegerError> {
    let batches = rows(&http, SERVICES, &[]).await?;
    Ok(envelope(batches.iter().flat_map(|b| texts(b, 0)).map(Json::from).collect()))
}

/// `GET /api/services/{service}/operations`: their names.
pub(in crate::serve::http) async fn operations_of(
    State(http): State<Http>,
    Path(service): Path<String>,
) -> Result<Response, JaegerError> {
    let batches =
        rows(&http, OPERATIONS, &[Parameter::from(service.as_str()), Parameter::Utf8(None)]).await?;
    let mut names: Vec<String> = batches.iter().flat_map(|b| texts(b, 0)).collect();
    // One name comes once a kind.
    names.dedup();
    Ok(envelope(names.into_iter().map(Json::from).collect()))
}

/// The query string of [`operations`].
#[derive(Deserialize)]
pub(in crate::serve::http) struct OfService {
    service: String,
    #[serde(rename = "spanKind")]
    span_kind: Option<String>,
}

/// `GET /api/operations?service=`: names and kinds.
pub(in crate::serve::http) async fn operations(
    State(http): State<Http>,
    question: Result<Query<OfService>, QueryRejection>,
) -> Result<Response, JaegerError> {
    let Query(question) = question.map_err(|e| ApiError::bad_request(e.body_text()))?;
    let kind = question.span_kind.filter(|kind| !kind.is_empty()).map(|kind| kind.to_uppercase());
    let batches =
        rows(&http, OPERATIONS, &[Parameter::from(question.service.as_str()), Parameter::Utf8(kind)]).await?;
    let operation = |(name, kind): (String, String)| json!({ "name": name, "spanKind": kind.to_lowercase() });
    Ok(envelope(batches.iter().flat_map(|b| texts(b, 0).zip(texts(b, 1))).map(operation).collect()))
}

/// The query string of [`dependencies`], in milliseconds.
#[derive(Deserialize)]
pub(in crate::serve::http) struct Window {
    #[serde(rename = "endTs")]
    end_ms: Option<i64>,
    lookback: Option<i64>,
}

/// `GET /api/dependencies?endTs=&lookback=`: calls between services in the window, or in all of time.
pub(in crate::serve::http) async fn dependencies(
    State(http): State<Http>,
    window: Result<Query<Window>, QueryRejection>,
) -> Result<Response, JaegerError> {
    let Query(Window { end_ms, lookback }) = window.map_err(|e| ApiError::bad_request(e.body_text()))?;
    // A window without an end ends now, as Jaeger's does.
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64);
    let end_ms = end_ms.unwrap_or(if lookback.is_some() { now_ms } else { i64::MAX });
    let begin_ms = lookback.map_or(0, |lookback| end_ms.saturating_sub(lookback));
    let batches =
        rows(&http, DEPENDENCIES, &[instant(begin_ms, 1_000_000), instant(end_ms, 1_000_000)]).await?;
    let links = batches.iter().flat_map(|batch| {
        let counts = batch.column(2).as_primitive::<Int64Type>();
        let edges = texts(batch, 0).zip(texts(batch, 1)).zip(counts.values().to_vec());
        edges.map(|((parent, child), count)| json!({ "parent": parent, "child": child, "callCount": count }))
    });
    Ok(envelope(links.collect()))
}

/// A point in time `units` of `unit_ns` after 1970; one that cannot be told in nanoseconds is the last that can.
pub(super) fn instant(units: i64, unit_ns: i64) -> Parameter {
    Parameter::TimestampNanosecond(Some(units.saturating_mul(unit_ns)), Some("+00:00".into()))
}

/// The texts of a column without nulls.
fn texts(batch: &RecordBatch, column: usize) -> impl Iterator<Item = String> {
    let column = batch.column(column).as_string::<i32>().clone();
    (0..column.len()).map(move |row| column.value(row).to_owned())
}
