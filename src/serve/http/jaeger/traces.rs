//! One trace, and what the search shares with it.

use std::sync::LazyLock;

use axum::extract::{Path, State};
use axum::response::Response;

use super::super::Http;
use super::super::error::ApiError;
use super::spans::{EVENT_COLUMNS, LINK_COLUMNS, SPAN_COLUMNS, Traces};
use super::{JaegerError, envelope, not_found, rows};
use crate::sql::error::SqlError;
use crate::sql::question::Parameter;

/// The most spans of one answer.
pub(super) const SPANS_MAX: usize = 50_000;

/// The hexadecimal digits of a trace id.
const TRACE_ID_DIGITS: usize = 32;

/// Three queries for everything about some traces.
pub(super) struct TraceQueries {
    spans: String,
    events: String,
    links: String,
}

impl TraceQueries {
    /// The traces that `ids` names: an expression, or a query of one column.
    pub fn new(ids: &str) -> Self {
        let all = |columns: &str, table: &str, order: &str| {
            format!(
                "SELECT {columns} FROM {table} WHERE trace_id IN ({ids}) ORDER BY trace_id, {order} LIMIT {}",
                SPANS_MAX + 1
            )
        };
        TraceQueries {
            spans: all(SPAN_COLUMNS, "spans", "started_at, span_id"),
            events: all(EVENT_COLUMNS, "span_events", "ts, span_id"),
            links: all(LINK_COLUMNS, "span_links", "span_id"),
        }
    }

    /// The traces as Jaeger writes them. Beyond [`SPANS_MAX`] spans, events or links the others are left out,
    /// which a warning says.
    pub async fn run(&self, http: &Http, values: &[Parameter]) -> Result<Vec<serde_json::Value>, SqlError> {
        let mut traces = Traces::default();
        let mut count = 0;
        for batch in rows(http, &self.spans, values).await? {
            count += batch.num_rows();
            traces.add_spans(&batch)?;
        }
        let mut is_cut = count > SPANS_MAX;
        if traces.span_count() > 0 {
            for (query, add) in [
                (&self.events, Traces::add_events as fn(&mut Traces, &_) -> _),
                (&self.links, Traces::add_links),
            ] {
                let batches = rows(http, query, values).await?;
                is_cut |= batches.iter().map(|b| b.num_rows()).sum::<usize>() > SPANS_MAX;
                batches.iter().try_for_each(|batch| add(&mut traces, batch))?;
            }
        }
        let warning = format!("not all is told: an answer holds {SPANS_MAX} spans, events and links at most");
        Ok(traces.finish(is_cut.then_some(warning.as_str())))
    }
}

/// $1: the id.
static TRACE: LazyLock<TraceQueries> = LazyLock::new(|| TraceQueries::new("$1"));

/// `GET /api/traces/{id}`.
pub(in crate::serve::http) async fn trace(
    State(http): State<Http>,
    Path(id): Path<String>,
) -> Result<Response, JaegerError> {
    let traces = TRACE.run(&http, &[trace_id(&id)?]).await?;
    match traces.is_empty() {
        true => Err(not_found("trace not found")),
        false => Ok(envelope(traces)),
    }
}

/// A trace id as it stands in our tables: Jaeger leaves leading zeros out.
pub(super) fn trace_id(text: &str) -> Result<Parameter, ApiError> {
    let is_id = (1..=TRACE_ID_DIGITS).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    match is_id {
        true => Ok(Parameter::from(format!("{:0>TRACE_ID_DIGITS$}", text.to_ascii_lowercase()))),
        false => Err(ApiError::bad_request(format!(
            "\"{text}\" is no trace id: 1 to {TRACE_ID_DIGITS} hexadecimal digits are expected"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_id_is_filled_up_with_zeros() {
        assert_eq!(trace_id("AbC").unwrap(), Parameter::from(format!("{}abc", "0".repeat(29))));
        for wrong in ["", "xyz", "1'", &"1".repeat(33)] {
            assert!(trace_id(wrong).is_err(), "{wrong}");
        }
    }
}
