//! `/api/v1/subscribe`: the changes of a view as server-sent events.
//!
//! | event | data |
//! |---|---|
//! | `schema` | `{"view": ..., "columns": [{"name", "type"}, ...]}`, first and once |
//! | `change` | `{"tick_at": ..., "diff": 1 or -1 or more, "row": {...}}`: a row that came or went |
//! | `progress` | `{"tick_at": ...}`: all changes up to this tick were told; with `progress=true`, every tick |
//! | `error` | as the member `error` of other answers: the subscription has ended |
//! | `end` | `{"reason": ...}`: the server stops |
//!
//! With `emit=on_window_close` there is a `change` for each row once, when its window has ended.
//!
//! The id of an event is its tick in milliseconds since 1970 UTC. A subscription cannot be taken up again where
//! it broke off: a client that reconnects gets the rows as they are then.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMillisecondType};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, SecondsFormat};
use futures::{Stream, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::error::ApiError;
use super::{Http, PROTOCOL};
use crate::engine::{Answer, Subscription};
use crate::serve::flow::pieces_of;
use crate::serve::measured::Measured;
use crate::serve::stopped;
use crate::serve::subscribers::Place;
use crate::sql::error::SqlError;
use crate::sql::json_lines::json_lines;
use crate::sql::statement::{Statement, Subscribe};

/// A silent stream tells that often, in a comment, that it is there.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// The columns of a change before those of the view: its tick and its diff.
const CHANGE_COLUMNS: usize = 2;

/// What is subscribed to.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    view: String,
    #[serde(default = "yes")]
    snapshot: bool,
    #[serde(default)]
    progress: bool,
    #[serde(default)]
    emit: Emit,
}

/// What is told of a view.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Emit {
    /// Every change.
    #[default]
    Changes,
    /// Each row once, when its window has ended.
    OnWindowClose,
}

fn yes() -> bool {
    true
}

/// A stream of events that ends with the view, with the client, or with the server.
pub(super) async fn subscribe(
    State(http): State<Http>,
    question: Result<Query<Question>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(Question { view, snapshot, progress, emit }) = question.map_err(|e| {
        ApiError::bad_request(e.body_text()).with_hint(
            "GET /api/v1/subscribe?view=NAME[&snapshot=false][&progress=true][&emit=on_window_close]",
        )
    })?;
    let mut measured = Measured::begin(http.context.live.metrics(), PROTOCOL);
    let too_many = |error| ApiError { status: StatusCode::TOO_MANY_REQUESTS, ..ApiError::from(error) };
    let place = http.subscribers.enter().map_err(too_many)?;
    let statement = Statement::Subscribe(Subscribe {
        relation: view,
        snapshot,
        progress,
        on_window_close: emit == Emit::OnWindowClose,
    });
    let Answer::Subscription(subscription) = http.context.live.execute(statement).await? else {
        return Err(ApiError::bad_request("this cannot be subscribed to"));
    };
    measured.ok();
    let (rows, events) = (VecDeque::new(), VecDeque::from([schema(&subscription)]));
    let changes = Changes {
        subscription,
        rows,
        events,
        stop: http.context.stop.clone(),
        is_over: false,
        _place: place,
    };
    let sse = Sse::new(changes.stream()).keep_alive(KeepAlive::new().interval(HEARTBEAT));
    Ok(sse.into_response())
}

/// A subscription on its way to a client.
struct Changes {
    subscription: Subscription,
    /// Rows of a tick that are not events yet: a snapshot can be large.
    rows: VecDeque<RecordBatch>,
    /// Events to be sent before more rows are made events.
    events: VecDeque<Event>,
    stop: watch::Receiver<bool>,
    is_over: bool,
    _place: Place,
}

impl Changes {
    fn stream(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, async |mut changes| Some((Ok(changes.next().await?), changes)))
    }

    async fn next(&mut self) -> Option<Event> {
        while self.events.is_empty() && !self.is_over {
            if let Err(error) = self.fill().await {
                self.is_over = true;
                let json = ApiError::from(error).to_json();
                self.events.push_back(Event::default().event("error").data(json.to_string()));
            }
        }
        self.events.pop_front()
    }

    /// Makes events of rows, or waits for rows.
    async fn fill(&mut self) -> Result<(), SqlError> {
        if let Some(rows) = self.rows.pop_front() {
            self.events.extend(events(&rows)?);
            return Ok(());
        }
        tokio::select! {
            () = stopped(&mut self.stop) => {
                self.is_over = true;
                let json = json!({ "reason": "the server stops" });
                self.events.push_back(Event::default().event("end").data(json.to_string()));
            }
            next = self.subscription.next() => self.rows.extend(next?.iter().flat_map(pieces_of)),
        }
        Ok(())
    }
}

fn schema(subscription: &Subscription) -> Event {
    let columns = subscription.schema.fields().iter();
    let columns = columns.map(|f| json!({ "name": f.name(), "type": f.data_type().to_string() }));
    let json = json!({ "view": subscription.options.relation, "columns": Value::from_iter(columns) });
    Event::default().event("schema").data(json.to_string())
}

/// The events of some rows: their tick, their diff, and the columns of the view.
fn events(rows: &RecordBatch) -> Result<Vec<Event>, SqlError> {
    let ticks = rows.column(0).as_primitive::<TimestampMillisecondType>();
    let diffs = rows.column(1).as_primitive::<Int64Type>();
    let columns: Vec<usize> = (CHANGE_COLUMNS..rows.num_columns()).collect();
    // Each row is one line.
    let lines = json_lines(&rows.project(&columns)?)?;
    let lines = String::from_utf8_lossy(&lines);
    let changes = ticks.values().iter().zip(diffs.values()).zip(lines.lines());
    Ok(changes.map(|((tick, diff), line)| event(*tick, *diff, line)).collect())
}

fn event(tick: i64, diff: i64, row: &str) -> Event {
    let tick_at = DateTime::from_timestamp_millis(tick).unwrap_or_default();
    let tick_at = tick_at.to_rfc3339_opts(SecondsFormat::Millis, true);
    let event = Event::default().id(tick.to_string());
    match diff {
        // A row of diff 0 marks the end of a tick.
        0 => event.event("progress").data(json!({ "tick_at": tick_at }).to_string()),
        diff => event.event("change").data(format!(r#"{{"tick_at":"{tick_at}","diff":{diff},"row":{row}}}"#)),
    }
}
