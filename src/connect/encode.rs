//! Changes of a view as messages.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use serde_json::value::RawValue;
use tokio::runtime::Handle;

use super::ConnectError;
use super::avro::AvroWriter;
use super::registry::Registry;
use super::settings::required;
use super::supervisor::Stop;
use crate::delta::updates::{Diff, Tick};
use crate::engine::Delivery;
use crate::sql::connector::{CreateSink, Envelope, Format};
use crate::sql::json_lines::json_lines;

/// What is told of one change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// What it is about; `None` where messages replace none.
    pub key: Option<Vec<u8>>,
    /// What there is now; `None` says that there is nothing.
    pub value: Option<Vec<u8>>,
}

impl Message {
    /// The message as members of a JSON object.
    pub fn json(&self) -> Result<Members<'_>, ConnectError> {
        let key = self.key.as_deref().map(raw).transpose()?;
        Ok(Members { key, change: self.value.as_deref().map(raw).transpose()? })
    }
}

/// What a message says, as JSON.
#[derive(serde::Serialize)]
pub(super) struct Members<'a> {
    /// The key, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<&'a RawValue>,
    /// The row, or what the envelope makes of it; null for a key that has none any more.
    pub change: Option<&'a RawValue>,
}

/// Makes messages of the changes of one view.
pub(super) struct Encoder {
    envelope: Envelope,
    /// The places of the columns of the key.
    key: Vec<usize>,
    form: Form,
}

/// How rows are written.
enum Form {
    Json,
    Avro(Box<AvroWriter>),
}

/// Of one key at one tick: the rows that went and those that came, each as often as it did.
#[derive(Default)]
struct Change {
    gone: Vec<Vec<u8>>,
    come: Vec<Vec<u8>>,
}

impl Encoder {
    /// Of the sink `sink`, of a view with the columns `schema`. The schema registry, where there is one, knows what it
    /// writes from now on.
    pub fn new(
        sink: &CreateSink,
        schema: &Schema,
        handle: &Handle,
        stop: &Stop,
    ) -> Result<Self, ConnectError> {
        let mut encoder = Encoder::of_json(sink, schema);
        if sink.format == Format::Avro {
            let writer = AvroWriter::new(sink, schema, &encoder.key)?;
            let registry = Registry::of(&sink.options, handle, stop)?;
            let topic = required(&sink.options, "topic")?;
            encoder.form = Form::Avro(Box::new(writer.registered(&registry, &topic)?));
        }
        Ok(encoder)
    }

    fn of_json(sink: &CreateSink, schema: &Schema) -> Self {
        let key = sink.key.iter().filter_map(|name| schema.index_of(name).ok()).collect();
        Encoder { envelope: sink.envelope, key, form: Form::Json }
    }

    /// The messages that tell of the changes of one tick, those of one key together.
    ///
    /// # Errors
    ///
    /// Where the envelope has no word for a change.
    pub fn messages(&self, delivery: &Delivery) -> Result<Vec<Message>, ConnectError> {
        let mut changes: BTreeMap<Option<Vec<u8>>, Change> = BTreeMap::new();
        for chunk in &delivery.settled() {
            let updates = chunk.updates();
            let keys = match self.key.is_empty() {
                true => None,
                false => {
                    let keys = updates.rows.project(&self.key).map_err(crate::sql::error::SqlError::from)?;
                    Some(self.form.keys(&keys)?)
                }
            };
            for (row, line) in self.form.rows(&updates.rows)?.into_iter().enumerate() {
                let change = changes.entry(keys.as_ref().map(|keys| keys[row].clone())).or_default();
                add(change, line, updates.diffs.get(row));
            }
        }
        let mut messages = vec![];
        for (key, change) in changes {
            self.tell(key, change, delivery.tick, &mut messages)?;
        }
        Ok(messages)
    }

    fn tell(
        &self,
        key: Option<Vec<u8>>,
        change: Change,
        tick: Tick,
        messages: &mut Vec<Message>,
    ) -> Result<(), ConnectError> {
        let Change { mut gone, mut come } = change;
        let value = |row: Vec<u8>| Some(self.form.value(row));
        match self.envelope {
            Envelope::Append => match gone.pop() {
                Some(row) => return Err(ConnectError::Gone(self.form.shown(&row, false))),
                None => messages
                    .extend(come.into_iter().map(|row| Message { key: key.clone(), value: value(row) })),
            },
            Envelope::Upsert => match come.len() {
                0 | 1 => messages.push(Message { key, value: come.pop().and_then(value) }),
                _ => {
                    let key = key.unwrap_or_default();
                    return Err(ConnectError::Ambiguous(self.form.shown(&key, true)));
                }
            },
            Envelope::Debezium => {
                // Without a key nothing says which row became which.
                let pairs = if key.is_some() { gone.len().min(come.len()) } else { 0 };
                let (pairs_gone, pairs_come) = (gone.drain(..pairs), come.drain(..pairs));
                for (before, after) in pairs_gone.zip(pairs_come).collect::<Vec<_>>() {
                    messages.push(self.change(key.clone(), Some(&before), Some(&after), tick)?);
                }
                for before in &gone {
                    messages.push(self.change(key.clone(), Some(before), None, tick)?);
                }
                for after in &come {
                    messages.push(self.change(key.clone(), None, Some(after), tick)?);
                }
            }
        }
        Ok(())
    }
}

impl Encoder {
    fn change(
        &self,
        key: Option<Vec<u8>>,
        before: Option<&Vec<u8>>,
        after: Option<&Vec<u8>>,
        tick: Tick,
    ) -> Result<Message, ConnectError> {
        let op = match (before, after) {
            (None, _) => "c",
            (Some(_), None) => "d",
            (Some(_), Some(_)) => "u",
        };
        let value = match &self.form {
            Form::Json => debezium(before, after, op, tick)?,
            Form::Avro(writer) => {
                writer.change(before.map(Vec::as_slice), after.map(Vec::as_slice), op, tick)
            }
        };
        Ok(Message { key, value: Some(value) })
    }
}

impl Form {
    /// Each row of `keys` as a key.
    fn keys(&self, keys: &RecordBatch) -> Result<Vec<Vec<u8>>, ConnectError> {
        match self {
            Form::Json => lines(keys),
            Form::Avro(writer) => writer.keys(keys),
        }
    }

    /// Each row of `rows`, as it is in a value.
    fn rows(&self, rows: &RecordBatch) -> Result<Vec<Vec<u8>>, ConnectError> {
        match self {
            Form::Json => lines(rows),
            Form::Avro(writer) => writer.rows(rows),
        }
    }

    /// A row as a value.
    fn value(&self, row: Vec<u8>) -> Vec<u8> {
        match self {
            Form::Json => row,
            Form::Avro(writer) => writer.value(&row),
        }
    }

    /// A row, or a key, for people.
    fn shown(&self, bytes: &[u8], is_key: bool) -> String {
        match self {
            Form::Json => String::from_utf8_lossy(bytes).into_owned(),
            Form::Avro(writer) => writer.shown(bytes, is_key),
        }
    }
}

fn add(change: &mut Change, line: Vec<u8>, diff: Diff) {
    let to = if diff < 0 { &mut change.gone } else { &mut change.come };
    let times = usize::try_from(diff.unsigned_abs()).unwrap_or(usize::MAX);
    to.extend(std::iter::repeat_n(line, times));
}

/// Each row as a JSON object.
fn lines(rows: &RecordBatch) -> Result<Vec<Vec<u8>>, ConnectError> {
    let text = json_lines(rows)?;
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    Ok(lines.map(<[u8]>::to_vec).collect())
}

/// The fields of Debezium's change events that say what changed.
#[derive(serde::Serialize)]
struct Event<'a> {
    before: Option<&'a RawValue>,
    after: Option<&'a RawValue>,
    op: &'static str,
    ts_ms: Tick,
}

fn debezium(
    before: Option<&Vec<u8>>,
    after: Option<&Vec<u8>>,
    op: &'static str,
    ts_ms: Tick,
) -> Result<Vec<u8>, ConnectError> {
    let (before, after) = (before.map(|row| raw(row)).transpose()?, after.map(|row| raw(row)).transpose()?);
    serde_json::to_vec(&Event { before, after, op, ts_ms }).map_err(json)
}

/// A row as it is in a larger object.
fn raw(row: &[u8]) -> Result<&RawValue, ConnectError> {
    serde_json::from_slice(row).map_err(json)
}

fn json(error: serde_json::Error) -> ConnectError {
    ConnectError::Rows(arrow::error::ArrowError::JsonError(error.to_string()).into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;
    use crate::delta::chunk::ArrowChunk;
    use crate::delta::updates::{Run, Updates};
    use crate::sql::statement::{Statement, parse};

    /// What a sink with the envelope `how` tells of `changes` (key, number, diff) of one tick, some of which are dated
    /// before its end.
    fn told(how: &str, changes: &[(&str, i64, Diff)]) -> Result<Vec<String>, String> {
        let sql = format!("CREATE SINK k FROM v INTO FILE (path = 'f') {how}");
        let Statement::CreateSink(sink) = parse(&sql).unwrap().remove(0) else { panic!("no sink") };
        let keys: ArrayRef = Arc::new(StringArray::from_iter_values(changes.iter().map(|change| change.0)));
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(changes.iter().map(|change| change.1)));
        let rows = RecordBatch::try_from_iter([("k", keys), ("n", numbers)]).unwrap();
        let times = Run::from_vec((0..changes.len()).map(|place| 7 + place as Tick / 2).collect());
        let diffs = Run::from_vec(changes.iter().map(|change| change.2).collect());
        let encoder = Encoder::of_json(&sink, &rows.schema());
        let delivery = Delivery { tick: 9, chunks: ArrowChunk::form(&[Updates { rows, times, diffs }]) };
        let text =
            |bytes: Option<Vec<u8>>| bytes.map_or("-".to_owned(), |bytes| Form::Json.shown(&bytes, false));
        let messages = encoder.messages(&delivery).map_err(|error| error.to_string())?;
        let mut lines: Vec<String> = messages
            .into_iter()
            .map(|message| format!("{} {}", text(message.key), text(message.value)))
            .collect();
        lines.sort();
        Ok(lines)
    }

    #[test]
    fn append_tells_rows_that_came() {
        let rows = [("a", 1, 2), ("b", 2, 1)];
        let expected = ["- {\"k\":\"a\",\"n\":1}", "- {\"k\":\"a\",\"n\":1}", "- {\"k\":\"b\",\"n\":2}"];
        assert_eq!(told("", &rows).unwrap(), expected);
        let gone = told("", &[("a", 1, -1)]).unwrap_err();
        assert_eq!(gone, "a row went, and ENVELOPE APPEND has no word for that: {\"k\":\"a\",\"n\":1}");
    }

    #[test]
    fn upsert_tells_the_row_of_a_key_or_that_there_is_none() {
        let changes =
            [("a", 1, -1), ("a", 2, 1), ("a", 2, -1), ("a", 3, 1), ("b", 5, -1), ("c", 6, 1), ("c", 6, -1)];
        let expected = ["{\"k\":\"a\"} {\"k\":\"a\",\"n\":3}", "{\"k\":\"b\"} -"];
        assert_eq!(told("KEY (k)", &changes).unwrap(), expected);
        let two = told("KEY (k)", &[("a", 1, 1), ("a", 2, 1)]).unwrap_err();
        assert_eq!(two, "key {\"k\":\"a\"} has more than one row at a tick: it is no key of the view");
    }

    #[test]
    fn debezium_tells_before_and_after() {
        let changes = [("a", 1, -1), ("a", 2, 1), ("b", 5, -1), ("c", 6, 1)];
        let event = |before: &str, after: &str, op: &str| {
            format!("{{\"before\":{before},\"after\":{after},\"op\":\"{op}\",\"ts_ms\":9}}")
        };
        let row = |key: &str, n: i64| format!("{{\"k\":\"{key}\",\"n\":{n}}}");
        let keyed = |key: &str, event: String| format!("{{\"k\":\"{key}\"}} {event}");
        let expected = [
            keyed("a", event(&row("a", 1), &row("a", 2), "u")),
            keyed("b", event(&row("b", 5), "null", "d")),
            keyed("c", event("null", &row("c", 6), "c")),
        ];
        assert_eq!(told("KEY (k) ENVELOPE DEBEZIUM", &changes).unwrap(), expected);
        // Without a key nothing says which row became which.
        let expected = [
            format!("- {}", event("null", &row("a", 2), "c")),
            format!("- {}", event("null", &row("c", 6), "c")),
            format!("- {}", event(&row("a", 1), "null", "d")),
            format!("- {}", event(&row("b", 5), "null", "d")),
        ];
        assert_eq!(told("ENVELOPE DEBEZIUM", &changes).unwrap(), expected);
    }
}
