//! Messages as rows.

use std::time::{SystemTime, UNIX_EPOCH};

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::{cast, max};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit, TimestampNanosecondType};
use arrow::error::ArrowError;
use arrow::json::ReaderBuilder;
use tokio::runtime::Handle;

use super::source::Fetched;
use crate::connect::ConnectError;
use crate::connect::avro::AvroReader;
use crate::connect::registry::Waiting;
use crate::connect::supervisor::Stop;
use crate::engine::{DefinedSource, Incoming};
use crate::sql::connector::Format;
use crate::telemetry::{Decoder, Limits, Origin, Signal, sniff_protobuf};

/// How messages of a source become rows.
pub(super) enum Decoding {
    Protobuf,
    Json,
    /// Into a table of the source's own.
    Rows {
        relation: String,
        event_time: Option<String>,
        form: RowForm,
    },
}

/// What a message is that is a row.
pub(super) enum RowForm {
    /// A JSON object, for a table with these columns.
    Json(SchemaRef),
    Avro(Box<AvroReader>),
}

fn decoder() -> Decoder {
    let now = SystemTime::now();
    let received_at_ns = now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as i64);
    Decoder::new(Limits::default(), received_at_ns)
}

fn origin(topic: &str, partition: i32, offset: i64) -> Origin {
    Origin { source: format!("kafka {topic}/{partition}"), position: u64::try_from(offset).ok() }
}

/// A row of `ingest_errors` that says what was lost.
pub(super) fn reject(topic: &str, partition: i32, offset: i64, reason: &str) -> Vec<Incoming> {
    let mut decoder = decoder();
    decoder.reject(&origin(topic, partition, offset), "message", reason, &[]);
    decoder.finish().into_iter().map(Incoming::from).collect()
}

impl Decoding {
    /// As `source` says.
    pub fn of(source: &DefinedSource, handle: &Handle, stop: &Stop) -> Result<Self, ConnectError> {
        let definition = &source.definition;
        let schema = || source.schema.clone().unwrap_or_else(|| arrow::datatypes::Schema::empty().into());
        let rows = |form| Decoding::Rows {
            relation: definition.name.clone(),
            event_time: definition.options.get("event_time").map(str::to_owned),
            form,
        };
        Ok(match definition.format {
            Format::OtlpProtobuf => Decoding::Protobuf,
            Format::OtlpJson => Decoding::Json,
            Format::Json => rows(RowForm::Json(schema())),
            Format::Avro => {
                let reader = AvroReader::new(&definition.options, schema(), handle, stop)?;
                rows(RowForm::Avro(Box::new(reader)))
            }
        })
    }

    /// The rows of `messages`. What cannot be read becomes a row of `ingest_errors`. While something else has to answer
    /// first, `waiting` is told so.
    ///
    /// # Errors
    ///
    /// Where it cannot be known now whether they can be read.
    pub fn rows(
        &self,
        topic: &str,
        partition: i32,
        messages: &[Fetched],
        waiting: Waiting<'_>,
    ) -> Result<Vec<Incoming>, ConnectError> {
        let mut decoder = decoder();
        let mut rows = vec![];
        match self {
            Decoding::Protobuf => {
                for message in messages {
                    // One without records fits all signals, and one that fits none is told of as any.
                    let signal = sniff_protobuf(&message.payload).unwrap_or(Signal::Traces);
                    decoder.protobuf(signal, &message.payload, &origin(topic, partition, message.offset));
                }
            }
            Decoding::Json => {
                for message in messages.iter().filter(|message| !message.payload.is_empty()) {
                    decoder.json(&message.payload, &origin(topic, partition, message.offset));
                }
            }
            Decoding::Rows { relation, event_time, form } => {
                let there: Vec<&Fetched> =
                    messages.iter().filter(|message| !message.payload.is_empty()).collect();
                let read = form.rows(&there, waiting, |message, reason| {
                    let origin = origin(topic, partition, message.offset);
                    decoder.reject(&origin, "message", reason, &message.payload);
                })?;
                let incoming = |batch: RecordBatch| {
                    let latest_ns = event_time.as_ref().and_then(|column| latest_ns(&batch, column));
                    Incoming::new(relation.clone(), batch, latest_ns)
                };
                rows.extend(read.into_iter().map(incoming));
            }
        }
        rows.extend(decoder.finish().into_iter().map(Incoming::from));
        Ok(rows)
    }
}

impl RowForm {
    /// Each of `messages` as a row; `refuse` is told of each that is none.
    fn rows(
        &self,
        messages: &[&Fetched],
        waiting: Waiting<'_>,
        mut refuse: impl FnMut(&Fetched, &str),
    ) -> Result<Vec<RecordBatch>, ConnectError> {
        match self {
            RowForm::Json(schema) => Ok(objects(schema, messages, refuse)),
            RowForm::Avro(reader) => {
                let payloads: Vec<&[u8]> = messages.iter().map(|message| &message.payload[..]).collect();
                reader.rows(&payloads, waiting, |place, error| refuse(messages[place], &error.to_string()))
            }
        }
    }
}

/// Each of `messages` as a row: all at once, or one by one where that fails, to know which it was.
fn objects(
    schema: &SchemaRef,
    messages: &[&Fetched],
    mut refuse: impl FnMut(&Fetched, &str),
) -> Vec<RecordBatch> {
    match read(schema, messages) {
        Ok(Some(batch)) if batch.num_rows() == messages.len() => return vec![batch],
        Ok(None) if messages.is_empty() => return vec![],
        _ => {}
    }
    let mut batches = vec![];
    for &message in messages {
        match read(schema, &[message]) {
            Ok(Some(batch)) if batch.num_rows() == 1 => batches.push(batch),
            Ok(_) => refuse(message, "one JSON object is expected"),
            Err(error) => refuse(message, &error.to_string()),
        }
    }
    batches
}

/// The JSON objects in `messages`, which need not be one each.
fn read(schema: &SchemaRef, messages: &[&Fetched]) -> Result<Option<RecordBatch>, ArrowError> {
    let builder = ReaderBuilder::new(schema.clone()).with_batch_size(messages.len().max(1) + 1);
    let mut decoder = builder.build_decoder()?;
    for message in messages {
        let mut rest = &message.payload[..];
        while !rest.is_empty() {
            match decoder.decode(rest)? {
                // The batch is full: more objects than messages.
                0 => return Ok(None),
                taken => rest = &rest[taken..],
            }
        }
        // An object that is cut off does not go on in the next message.
        if decoder.has_partial_record() {
            return Err(ArrowError::JsonError("the object does not end".to_owned()));
        }
    }
    decoder.flush()
}

fn latest_ns(batch: &RecordBatch, column: &str) -> Option<i64> {
    let nanoseconds = DataType::Timestamp(TimeUnit::Nanosecond, None);
    let times = cast(batch.column_by_name(column)?, &nanoseconds).ok()?;
    max(times.as_primitive_opt::<TimestampNanosecondType>()?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{Field, Schema};

    use super::*;

    fn schema() -> SchemaRef {
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
        Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("name", DataType::Utf8, true),
            Field::new("at", time, true),
        ]))
    }

    fn decoded(payloads: &[&str]) -> Vec<String> {
        let decoding = Decoding::Rows {
            relation: "own".to_owned(),
            event_time: Some("at".to_owned()),
            form: RowForm::Json(schema()),
        };
        let fetched = |(offset, payload): (usize, &&str)| Fetched {
            offset: offset as i64,
            payload: payload.as_bytes().to_vec(),
        };
        let messages: Vec<Fetched> = payloads.iter().enumerate().map(fetched).collect();
        let shown = |incoming: Incoming| {
            let text = arrow::util::pretty::pretty_format_batches(&[incoming.rows]).unwrap().to_string();
            // Behind the header and without borders; of an error without when it was.
            let cells = |line: &str| line.split('|').map(str::trim).collect::<Vec<_>>().join("|");
            let lines: Vec<String> = text.lines().skip(3).filter(|l| l.starts_with('|')).map(cells).collect();
            let lines: Vec<String> = match incoming.relation.as_ref() {
                "ingest_errors" => {
                    lines.iter().map(|l| l.splitn(3, '|').last().unwrap().to_owned()).collect()
                }
                _ => lines,
            };
            format!("{} {:?} {}", incoming.relation, incoming.latest_ns, lines.join(" "))
        };
        decoding.rows("t", 3, &messages, &|| Ok(())).unwrap().into_iter().map(shown).collect()
    }

    #[test]
    fn a_message_is_a_row() {
        let all = decoded(&[
            r#"{"id": 1, "name": "a", "at": "2026-01-01T00:00:00Z", "other": [1]}"#,
            r#" {"id": 2} "#,
            "",
        ]);
        assert_eq!(all, ["own Some(1767225600000000000) |1|a|2026-01-01T00:00:00Z| |2|||"]);
        assert!(decoded(&[]).is_empty());
    }

    #[test]
    fn a_message_that_cannot_be_read_is_told_of_and_takes_no_other_with_it() {
        for (poison, reason) in [
            ("{\"id\": 2", "the object does not end"),
            ("{\"id\": 2}{\"id\": 3}", "one JSON object is expected"),
            ("{\"id\": \"x\"}", "\"x\""),
            ("{\"name\": \"without\"}", "id"),
            ("\u{1}\u{2}", ""),
        ] {
            let all = decoded(&["{\"id\": 1}", poison, "{\"id\": 4}"]);
            assert_eq!(all.len(), 3, "{poison}: {all:?}");
            assert_eq!(all[..2], ["own None |1|||", "own None |4|||"], "{poison}");
            assert!(all[2].contains("kafka t/3:1|message|"), "{poison}: {}", all[2]);
            assert!(all[2].contains(reason), "{poison}: {}", all[2]);
        }
    }
}
