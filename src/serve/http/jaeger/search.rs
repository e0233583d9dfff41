//! Traces that have a span with what is searched for.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::{RawQuery, State};
use axum::response::Response;

use super::super::Http;
use super::super::error::ApiError;
use super::graph::instant;
use super::traces::{TraceQueries, trace_id};
use super::{JaegerError, envelope};
use crate::sql::question::Parameter;

/// The most traces of one answer.
const TRACES_MAX: i64 = 1_500;

/// Traces of an answer where the question does not say.
const TRACES_DEFAULT: i64 = 20;

/// The most tags of a question.
const TAGS_MAX: usize = 16;

/// The most ids of a question.
const IDS_MAX: usize = 100;

/// The latest traces that have a span of service $1 and operation $2 (any where null) that began between $3 and
/// $4 and took from $5 to $6 nanoseconds; $7 of them.
const SEARCH: &str = "
    SELECT trace_id FROM spans
    WHERE service_name = $1 AND coalesce($2, name) = name AND started_at BETWEEN $3 AND $4
        AND duration_ns BETWEEN $5 AND $6 {tags}
    GROUP BY trace_id ORDER BY max(started_at) DESC, trace_id LIMIT $7";

/// `GET /api/traces?service=`, with `operation`, `start` and `end` (microseconds), `minDuration` and
/// `maxDuration` (such as 1.2ms), `tags` (a JSON object) and `limit`; or `GET /api/traces?traceID=`.
pub(in crate::serve::http) async fn search(
    State(http): State<Http>,
    RawQuery(query): RawQuery,
) -> Result<Response, JaegerError> {
    let question = Question::read(query.as_deref().unwrap_or_default())?;
    let (ids, values) = match question.ids.is_empty() {
        false => {
            let places: Vec<String> = (1..=question.ids.len()).map(|number| format!("${number}")).collect();
            (places.join(", "), question.ids.iter().map(|id| trace_id(id)).collect::<Result<_, _>>()?)
        }
        true => question.search()?,
    };
    Ok(envelope(TraceQueries::new(&ids).run(&http, &values).await?))
}

/// The query string.
#[derive(Debug, Default)]
struct Question {
    ids: Vec<String>,
    members: BTreeMap<String, String>,
    tags: BTreeMap<String, String>,
}

impl Question {
    fn read(query: &str) -> Result<Self, ApiError> {
        let mut question = Question::default();
        for (key, value) in pairs(query)?.into_iter().filter(|(_, value)| !value.is_empty()) {
            match key.as_str() {
                "traceID" => question.ids.push(value),
                "tag" => {
                    let (key, value) =
                        value.split_once(':').ok_or_else(|| wrong("tag", &value, "key:value"))?;
                    question.tags.insert(key.to_owned(), value.to_owned());
                }
                "tags" => question.tags.extend(
                    serde_json::from_str::<BTreeMap<String, serde_json::Value>>(&value)
                        .map_err(|_| wrong("tags", &value, "a JSON object"))?
                        .into_iter()
                        .map(|(key, value)| (key, value.as_str().map_or(value.to_string(), str::to_owned))),
                ),
                _ => drop(question.members.insert(key, value)),
            }
        }
        match () {
            () if question.ids.len() > IDS_MAX => {
                Err(ApiError::bad_request(format!("{IDS_MAX} ids are allowed")))
            }
            () if question.tags.len() > TAGS_MAX => {
                Err(ApiError::bad_request(format!("{TAGS_MAX} tags are allowed")))
            }
            () => Ok(question),
        }
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.members.get(key).map(String::as_str)
    }

    fn integer(&self, key: &str) -> Result<Option<i64>, ApiError> {
        let parse = |text: &str| text.parse().map_err(|_| wrong(key, text, "an integer"));
        self.get(key).map(parse).transpose()
    }

    fn duration_ns(&self, key: &str) -> Result<Option<i64>, ApiError> {
        let parse =
            |text: &str| duration_ns(text).ok_or_else(|| wrong(key, text, "a duration such as 1.2ms"));
        self.get(key).map(parse).transpose()
    }

    /// The search with the values of its parameters.
    fn search(&self) -> Result<(String, Vec<Parameter>), ApiError> {
        let Some(service) = self.get("service") else {
            return Err(ApiError::bad_request("parameter service is missing"));
        };
        let end = self.integer("end")?.unwrap_or(i64::MAX);
        let start = self.integer("start")?.unwrap_or(0);
        let limit = self.integer("limit")?.unwrap_or(TRACES_DEFAULT).clamp(1, TRACES_MAX);
        let mut values = vec![
            Parameter::from(service),
            Parameter::Utf8(self.get("operation").filter(|o| *o != "all").map(str::to_owned)),
            instant(start, 1_000),
            instant(end, 1_000),
            Parameter::from(self.duration_ns("minDuration")?.unwrap_or(0)),
            Parameter::from(self.duration_ns("maxDuration")?.unwrap_or(i64::MAX)),
            Parameter::from(limit),
        ];
        let mut conditions = String::new();
        for (key, value) in &self.tags {
            let next = values.len() + 1;
            let (condition, more) = condition(key, value, next);
            conditions += &condition;
            values.extend(more);
        }
        Ok((SEARCH.replace("{tags}", &conditions), values))
    }
}

/// What tag `key` asks of a span, with parameters from number `next` on: tags that Jaeger makes of other columns
/// are looked for there.
fn condition(key: &str, value: &str, next: usize) -> (String, Vec<Parameter>) {
    match key {
        "error" => {
            let is_error = if value == "true" { "=" } else { "<>" };
            (format!(" AND status_code {is_error} 'ERROR'"), vec![])
        }
        "span.kind" => (format!(" AND kind = ${next}"), vec![Parameter::from(value.to_uppercase())]),
        "otel.status_code" => {
            (format!(" AND status_code = ${next}"), vec![Parameter::from(value.to_uppercase())])
        }
        _ => (
            format!(
                " AND (map_extract(attributes, ${next})[1] = ${0} OR map_extract(resource_attributes, ${next})[1] = ${0})",
                next + 1
            ),
            vec![Parameter::from(key), Parameter::from(value)],
        ),
    }
}

/// The keys and values of a query string, decoded.
fn pairs(query: &str) -> Result<Vec<(String, String)>, ApiError> {
    use axum::extract::Query;
    let uri =
        format!("/?{query}").parse().map_err(|_| ApiError::bad_request("the query string is no text"))?;
    let Query(pairs) = Query::try_from_uri(&uri).map_err(|e| ApiError::bad_request(e.body_text()))?;
    Ok(pairs)
}

fn wrong(key: &str, value: &str, expected: &str) -> ApiError {
    ApiError::bad_request(format!("parameter {key} = \"{value}\": {expected} is expected"))
}

/// A duration as Go writes it, of one number and a unit.
fn duration_ns(text: &str) -> Option<i64> {
    const UNITS: [(&str, f64); 7] =
        [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3_600.0)];
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.')?);
    let (_, seconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let duration = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
    i64::try_from(duration.as_nanos()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_go_writes_them() {
        for (text, expected) in [
            ("1.5ms", Some(1_500_000)),
            ("100us", Some(100_000)),
            ("2h", Some(7_200_000_000_000)),
            ("7", None),
            ("1 day", None),
            ("-1s", None),
            ("1e400s", None),
        ] {
            assert_eq!(duration_ns(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_searched_for_is_never_part_of_the_text() {
        let question =
            Question::read("service=a'b&tags=%7B%22x%27%22%3A%22y%27%22%2C%22n%22%3A1%7D").unwrap();
        let (text, values) = question.search().unwrap();
        assert!(!text.contains("a'b") && !text.contains("x'") && !text.contains("y'"), "{text}");
        assert!(text.contains("$11"), "{text}");
        assert_eq!(values.len(), 7 + 4);
        assert_eq!(values[8], Parameter::from("1"));
        assert!(Question::read("service=a&limit=x").unwrap().search().is_err());
        assert!(Question::read("tags=x").is_err());
    }
}
