//! `/api/v1/sql`: a statement, and its answer.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use axum::body::{Body, Bytes};
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt, stream};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Deserialize;

use super::accept::Format;
use super::error::ApiError;
use super::format::Encoder;
use super::{Http, PROTOCOL};
use crate::engine::Answer;
use crate::serve::flow::Flow;
use crate::serve::measured::Measured;
use crate::sql::error::SqlError;
use crate::sql::question::{Parameter, Question};
use crate::sql::statement::{Statement, parse};

/// A statement as JSON.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// The text of one statement.
    sql: String,
    /// The values of `$1`, `$2`, ...: text, numbers, booleans and null.
    #[serde(default)]
    parameters: Vec<serde_json::Value>,
}

/// The query string of a GET.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GetAsked {
    sql: String,
}

/// Carries out the statement of the body: its text, or JSON with `sql` and `parameters`.
pub(super) async fn post(State(http): State<Http>, request: Request) -> Result<Response, ApiError> {
    let (head, body) = request.into_parts();
    let format = Format::of(&head.headers)?;
    let is_json = is_json(&head.headers)?;
    let body = read(&http, body).await?;
    let asked = match is_json {
        true => serde_json::from_slice(&body)
            .map_err(|e| ApiError::bad_request(format!("the body is not {{\"sql\": \"...\"}}: {e}")))?,
        false => {
            let sql = String::from_utf8(body.to_vec());
            let sql = sql.map_err(|e| ApiError::bad_request(format!("the statement is no UTF-8: {e}")))?;
            Asked { sql, parameters: vec![] }
        }
    };
    answer(&http, format, &asked, false).await
}

/// Answers the query of the query string; what changes something takes a POST.
pub(super) async fn get(
    State(http): State<Http>,
    headers: HeaderMap,
    asked: Result<Query<GetAsked>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, ApiError> {
    let format = Format::of(&headers)?;
    let Query(asked) = asked.map_err(|e| ApiError::bad_request(e.body_text()))?;
    answer(&http, format, &Asked { sql: asked.sql, parameters: vec![] }, true).await
}

/// Whether the body is JSON; curl sends text as a form unless told otherwise.
fn is_json(headers: &HeaderMap) -> Result<bool, ApiError> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(false) };
    let text = value.to_str().unwrap_or_default();
    match text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "application/json" => Ok(true),
        "" | "text/plain" | "application/sql" | "application/x-www-form-urlencoded" => Ok(false),
        _ => {
            let message = format!("a body of type \"{text}\" is not understood");
            Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
                .with_hint("send text/plain, application/sql or application/json"))
        }
    }
}

/// The whole body, in time and within the limit.
async fn read(http: &Http, body: Body) -> Result<Bytes, ApiError> {
    let config = &http.context.config;
    let max = config.statement_bytes_max;
    let whole = Limited::new(body, max).collect();
    match tokio::time::timeout(config.request_timeout, whole).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let message = format!("the statement is longer than {max} bytes (limits.statement_bytes_max)");
            Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "program_limit_exceeded", message))
        }
        Ok(Err(error)) => Err(ApiError::bad_request(format!("the body broke off: {error}"))),
        Err(_) => {
            let time = config.request_timeout;
            let message = format!("the body did not come within {time:?} (limits.request_timeout)");
            Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "query_canceled", message))
        }
    }
}

async fn answer(http: &Http, format: Format, asked: &Asked, is_reading: bool) -> Result<Response, ApiError> {
    let measured = Measured::begin(http.context.live.metrics(), PROTOCOL);
    let values = asked.parameters.iter().enumerate().map(value).collect::<Result<Vec<_>, _>>()?;
    let statement = one(&asked.sql)?;
    if is_reading && statement.changes_something() {
        let message = "this statement changes something".to_owned();
        return Err(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "read_only_sql_transaction", message)
            .with_hint("send it with POST"));
    }
    let live = &http.context.live;
    let (flow, command) = match statement {
        Statement::Query(query) => {
            let rows = live.rows(Question::plain(*query), values).await?;
            (Flow::start(rows, http.context.config.statement_timeout), None)
        }
        Statement::Subscribe(subscribe) => {
            let view = subscribe.relation;
            let message = "a subscription has no end, which this answer must have".to_owned();
            return Err(ApiError::bad_request(message)
                .with_hint(format!("GET /api/v1/subscribe?view={view} sends it as events")));
        }
        Statement::Write(write) => {
            let written = live.write(write, values).await?;
            match written.returning {
                Some((schema, batches)) => (Flow::of(schema, batches), None),
                None => (Flow::of(empty_schema(), vec![]), Some(written.tag())),
            }
        }
        _ if !values.is_empty() => {
            return Err(ApiError::bad_request("only queries, INSERT, UPDATE and DELETE take parameters"));
        }
        other => match live.execute(other).await? {
            Answer::Rows { schema, batches } => (Flow::of(schema, batches), None),
            Answer::Done(command) => (Flow::of(empty_schema(), vec![]), Some(command.to_owned())),
            Answer::Written(written) => (Flow::of(empty_schema(), vec![]), Some(written.tag())),
            Answer::Subscription(_) => return Err(ApiError::bad_request("a subscription has no end")),
        },
    };
    respond(format, flow, command.as_deref(), measured).await
}

/// The answer with its first rows, or all of them where they are few: an error before those has a status of its
/// own.
async fn respond(
    format: Format,
    mut flow: Flow,
    command: Option<&str>,
    mut measured: Measured,
) -> Result<Response, ApiError> {
    let headers = [(header::CONTENT_TYPE, format.content_type())];
    let mut encoder = Encoder::new(format, flow.schema())?;
    let mut begin = encoder.begin(command)?;
    match flow.next().await? {
        None => {
            begin.extend(encoder.end()?);
            measured.ok();
            Ok((headers, begin).into_response())
        }
        Some(rows) => {
            begin.extend(encoder.rows(&rows)?);
            let rest = Rest { flow, encoder, measured, is_over: false };
            let body = stream::iter([Ok(Bytes::from(begin))]).chain(rest.pieces());
            Ok((headers, Body::from_stream(body)).into_response())
        }
    }
}

/// What of an answer is still to be sent.
struct Rest {
    flow: Flow,
    encoder: Encoder,
    measured: Measured,
    is_over: bool,
}

impl Rest {
    fn pieces(self) -> impl Stream<Item = Result<Bytes, SqlError>> {
        stream::unfold(self, async |mut rest| match rest.is_over {
            true => None,
            false => Some((rest.piece().await.map(Bytes::from), rest)),
        })
    }

    async fn piece(&mut self) -> Result<Vec<u8>, SqlError> {
        let piece = match self.flow.next().await {
            Ok(Some(rows)) => self.encoder.rows(&rows),
            Ok(None) => {
                self.is_over = true;
                self.measured.ok();
                self.encoder.end()
            }
            Err(error) => Err(error),
        };
        piece.or_else(|error| {
            self.is_over = true;
            tracing::debug!(%error, "an answer broke off");
            match self.encoder.fail(&error) {
                Some(last) => Ok(last),
                None => Err(error),
            }
        })
    }
}

/// The only statement of `sql`.
pub(super) fn one(sql: &str) -> Result<Statement, ApiError> {
    let mut statements = parse(sql)?;
    match (statements.pop(), statements.len()) {
        (Some(statement), 0) => Ok(statement),
        (None, _) => Err(ApiError::bad_request("there is no statement")),
        (Some(_), others) => {
            Err(ApiError::bad_request(format!("{} statements came, and one is taken at a time", others + 1)))
        }
    }
}

/// A value of JSON as that of parameter `$index + 1`.
fn value((index, json): (usize, &serde_json::Value)) -> Result<Parameter, ApiError> {
    use serde_json::Value as Json;
    match json {
        Json::Null => Ok(Parameter::Null),
        Json::Bool(value) => Ok(Parameter::from(*value)),
        Json::String(value) => Ok(Parameter::from(value.as_str())),
        Json::Number(value) => match value.as_i64() {
            Some(integer) => Ok(Parameter::from(integer)),
            None => Ok(Parameter::from(value.as_f64())),
        },
        Json::Array(_) | Json::Object(_) => {
            let message = format!("parameter ${} is neither text, number, boolean nor null", index + 1);
            Err(ApiError::bad_request(message))
        }
    }
}

fn empty_schema() -> SchemaRef {
    Arc::new(Schema::empty())
}
