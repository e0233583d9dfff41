//! What a live database writes to its journal, as bytes and back.

use std::collections::BTreeSet;
use std::io::Cursor;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use crate::delta::expression::guarded;
use crate::delta::row_store::bytes_of;
use crate::delta::updates::{Diff, Run, Tick};
use crate::engine::connectors::Position;
use crate::journal::Record;
use crate::sql::write::Part;
use crate::telemetry::Table;

use super::intake::Incoming;

/// Of zstd: the fastest that is worth it.
const COMPRESSION_LEVEL: i32 = 1;

/// About what a stream of Arrow IPC takes beside its rows.
const STREAM_BYTES: usize = 8 << 10;

/// One thing that happened to a database.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// Rows of streams were accepted, from a sender or from where a source stands.
    Accepted { position: Option<Position>, rows: Vec<Incoming> },
    /// So many rows of streams were accepted, which are in history.
    Kept { position: Option<Position>, rows: Vec<(String, u64)> },
    /// Of what was accepted since the journal began, the workers were given the first `through` at
    /// tick `open`, if nothing was before that.
    Flushed { open: Tick, through: u64 },
    /// A tick was closed, with all that was accepted before.
    Closed { tick: Tick },
    /// A statement that defines something was carried out when the open tick was `open`, unless the next event is that
    /// it failed.
    Defined { open: Tick, text: String },
    /// The table that it creates has these rows: at least one batch, which may be empty.
    Filled { rows: Vec<RecordBatch> },
    /// It failed; ticks up to `closed` were closed by it, if any were.
    Failed { closed: Option<Tick> },
    /// Something that comes with the engine was created, if it was not there, because it was named.
    Named { open: Tick, name: String },
    /// Rows of tables came and went at tick `open`, if nothing did before that.
    Written { open: Tick, tables: Vec<(String, Vec<Part>)> },
    /// Of each of these streams the rows before the one of this number are kept no more.
    Trimmed { streams: Vec<(String, u64)> },
    /// All changes up to `tick` have arrived where sink `sink` writes to.
    Delivered { sink: u64, tick: Tick },
}

/// Bytes that are no event: written by another version, or damaged in spite of their checksum.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record of kind {0} cannot be read; use the version that wrote it")]
pub struct Unreadable(pub u8);

const ACCEPTED: u8 = 11;
const FLUSHED: u8 = 2;
const CLOSED: u8 = 3;
const DEFINED: u8 = 4;
const NAMED: u8 = 5;
const WRITTEN: u8 = 6;
const FAILED: u8 = 7;
const FETCHED: u8 = 12;
const KEPT: u8 = 13;
const KEPT_FETCHED: u8 = 14;
const FILLED: u8 = 15;
const DELIVERED: u8 = 9;
const TRIMMED: u8 = 16;

impl Event {
    /// The event as a record.
    ///
    /// # Errors
    ///
    /// Where Arrow has no form for its rows.
    pub fn record(&self) -> Result<Record, ArrowError> {
        let mut bytes = vec![];
        let kind = match self {
            Event::Accepted { position, rows } => {
                position.iter().for_each(|position| put_position(&mut bytes, position));
                for incoming in rows {
                    put_text(&mut bytes, &incoming.relation);
                    put_number(&mut bytes, incoming.rows.num_rows() as u64);
                    put_rows(&mut bytes, &incoming.rows)?;
                }
                if position.is_some() { FETCHED } else { ACCEPTED }
            }
            Event::Kept { position, rows } => {
                position.iter().for_each(|position| put_position(&mut bytes, position));
                for (relation, count) in rows {
                    put_text(&mut bytes, relation);
                    put_number(&mut bytes, *count);
                }
                if position.is_some() { KEPT_FETCHED } else { KEPT }
            }
            Event::Flushed { open, through } => {
                put_number(&mut bytes, *open);
                put_number(&mut bytes, *through);
                FLUSHED
            }
            Event::Closed { tick } => {
                put_number(&mut bytes, *tick);
                CLOSED
            }
            Event::Defined { open, text } => {
                put_number(&mut bytes, *open);
                put_text(&mut bytes, text);
                DEFINED
            }
            Event::Filled { rows } => {
                rows.iter().try_for_each(|rows| put_rows(&mut bytes, rows))?;
                FILLED
            }
            Event::Failed { closed } => {
                closed.iter().for_each(|tick| put_number(&mut bytes, *tick));
                FAILED
            }
            Event::Named { open, name } => {
                put_number(&mut bytes, *open);
                put_text(&mut bytes, name);
                NAMED
            }
            Event::Delivered { sink, tick } => {
                put_number(&mut bytes, *sink);
                put_number(&mut bytes, *tick);
                DELIVERED
            }
            Event::Trimmed { streams } => {
                for (stream, first) in streams {
                    put_text(&mut bytes, stream);
                    put_number(&mut bytes, *first);
                }
                TRIMMED
            }
            Event::Written { open, tables } => {
                put_number(&mut bytes, *open);
                for (table, parts) in tables {
                    put_text(&mut bytes, table);
                    put_number(&mut bytes, parts.len() as u64);
                    for (rows, diffs) in parts {
                        put_rows(&mut bytes, rows)?;
                        put_diffs(&mut bytes, diffs, rows.num_rows());
                    }
                }
                WRITTEN
            }
        };
        Ok(Record { kind, bytes })
    }

    /// The event that `record` is.
    pub fn read(record: &Record) -> Result<Event, Unreadable> {
        // Arrow takes what it reads for whole.
        guarded(|| Ok(Event::parse(record))).ok().flatten().ok_or(Unreadable(record.kind))
    }

    fn parse(record: &Record) -> Option<Event> {
        let mut bytes = &record.bytes[..];
        match record.kind {
            ACCEPTED => Some(Event::Accepted { position: None, rows: take_incoming(&mut bytes)? }),
            FETCHED => {
                let position = Some(take_position(&mut bytes)?);
                Some(Event::Accepted { position, rows: take_incoming(&mut bytes)? })
            }
            KEPT => Some(Event::Kept { position: None, rows: take_counts(&mut bytes, false)? }),
            KEPT_FETCHED => {
                let position = Some(take_position(&mut bytes)?);
                Some(Event::Kept { position, rows: take_counts(&mut bytes, false)? })
            }
            FLUSHED => {
                let open = take_number(&mut bytes)?;
                Some(Event::Flushed { open, through: take_number(&mut bytes)? })
            }
            CLOSED => Some(Event::Closed { tick: take_number(&mut bytes)? }),
            DEFINED => {
                let open = take_number(&mut bytes)?;
                Some(Event::Defined { open, text: take_text(&mut bytes)? })
            }
            FILLED => {
                let mut rows = vec![];
                while !bytes.is_empty() {
                    rows.push(take_rows(&mut bytes)?);
                }
                Some(Event::Filled { rows })
            }
            FAILED if bytes.is_empty() => Some(Event::Failed { closed: None }),
            FAILED => Some(Event::Failed { closed: Some(take_number(&mut bytes)?) }),
            NAMED => {
                let open = take_number(&mut bytes)?;
                Some(Event::Named { open, name: take_text(&mut bytes)? })
            }
            DELIVERED => {
                let sink = take_number(&mut bytes)?;
                Some(Event::Delivered { sink, tick: take_number(&mut bytes)? })
            }
            TRIMMED => Some(Event::Trimmed { streams: take_counts(&mut bytes, false)? }),
            WRITTEN => {
                let open = take_number(&mut bytes)?;
                let mut tables = vec![];
                while !bytes.is_empty() {
                    let table = take_text(&mut bytes)?;
                    let count = take_number(&mut bytes)?;
                    let part = |_| {
                        let rows = take_rows(&mut bytes)?;
                        let diffs = take_diffs(&mut bytes, rows.num_rows())?;
                        Some((rows, diffs))
                    };
                    tables.push((table, (0..count).map(part).collect::<Option<Vec<Part>>>()?));
                }
                Some(Event::Written { open, tables })
            }
            _ => None,
        }
    }
}

/// What is left of `record` once its rows are in history: `None` where it has none, or where it has rows of a stream that is
/// among those `without`.
pub(super) fn shortened(record: &Record, without: &BTreeSet<String>) -> Option<Record> {
    let mut bytes = &record.bytes[..];
    let position = match record.kind {
        ACCEPTED => None,
        FETCHED => Some(take_position(&mut bytes)?),
        _ => return None,
    };
    let rows = take_counts(&mut bytes, true)?;
    let is_kept = rows.iter().all(|(relation, _)| !without.contains(relation));
    Event::Kept { position, rows }.record().ok().filter(|_| is_kept)
}

/// How many rows of which streams; the rows that follow each count, where they do, are left out.
fn take_counts(bytes: &mut &[u8], has_rows: bool) -> Option<Vec<(String, u64)>> {
    let mut all = vec![];
    while !bytes.is_empty() {
        all.push((take_text(bytes)?, take_number(bytes)?));
        if has_rows {
            take_bytes(bytes)?;
        }
    }
    Some(all)
}

fn put_number(bytes: &mut Vec<u8>, number: u64) {
    bytes.extend_from_slice(&number.to_le_bytes());
}

fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let (number, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(u64::from_le_bytes(*number))
}

fn put_bytes(bytes: &mut Vec<u8>, more: &[u8]) {
    put_number(bytes, more.len() as u64);
    bytes.extend_from_slice(more);
}

fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_number(bytes)?).ok()?;
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put_bytes(bytes, text.as_bytes());
}

fn take_text(bytes: &mut &[u8]) -> Option<String> {
    String::from_utf8(take_bytes(bytes)?.to_vec()).ok()
}

fn put_position(bytes: &mut Vec<u8>, position: &Position) {
    put_number(bytes, position.source);
    put_number(bytes, position.partition as u64);
    // Offsets begin at zero.
    put_number(bytes, position.after.unwrap_or(-1) as u64);
    put_number(bytes, position.through as u64);
}

fn take_position(bytes: &mut &[u8]) -> Option<Position> {
    let mut number = || take_number(bytes);
    let (source, partition, after, through) =
        (number()?, number()? as i32, number()? as i64, number()? as i64);
    Some(Position { source, partition, after: (after >= 0).then_some(after), through })
}

fn take_incoming(bytes: &mut &[u8]) -> Option<Vec<Incoming>> {
    let mut all = vec![];
    while !bytes.is_empty() {
        let relation = take_text(bytes)?;
        let count = take_number(bytes)?;
        let rows = take_rows(bytes).filter(|rows| rows.num_rows() as u64 == count)?;
        all.push(match Table::all().into_iter().find(|table| table.name() == relation) {
            Some(table) => Incoming::new(table.name(), rows.with_schema(table.schema()).ok()?, None),
            None => Incoming::new(relation, rows, None),
        });
    }
    Some(all)
}

/// The rows as an Arrow IPC stream, compressed.
fn put_rows(bytes: &mut Vec<u8>, rows: &RecordBatch) -> Result<(), ArrowError> {
    // Room for the rows, so that it is not copied again and again as it grows.
    let mut stream = Vec::with_capacity(bytes_of(rows) + STREAM_BYTES);
    let mut writer = StreamWriter::try_new(&mut stream, &rows.schema())?;
    writer.write(rows)?;
    writer.finish()?;
    put_bytes(bytes, &zstd::bulk::compress(&stream, COMPRESSION_LEVEL)?);
    Ok(())
}

fn take_rows(bytes: &mut &[u8]) -> Option<RecordBatch> {
    let stream = zstd::stream::decode_all(take_bytes(bytes)?).ok()?;
    let mut reader = StreamReader::try_new(Cursor::new(stream), None).ok()?;
    reader.next()?.ok()
}

/// How often each row comes or goes: one number where all are the same.
fn put_diffs(bytes: &mut Vec<u8>, diffs: &Run<Diff>, rows: usize) {
    match diffs {
        Run::Constant(diff) => {
            put_number(bytes, 1);
            put_number(bytes, *diff as u64);
        }
        each => {
            put_number(bytes, 0);
            (0..rows).for_each(|row| put_number(bytes, each.get(row) as u64));
        }
    }
}

fn take_diffs(bytes: &mut &[u8], rows: usize) -> Option<Run<Diff>> {
    match take_number(bytes)? {
        1 => Some(Run::Constant(take_number(bytes)? as Diff)),
        _ => {
            let diffs = (0..rows).map(|_| take_number(bytes).map(|diff| diff as Diff));
            Some(Run::from_vec(diffs.collect::<Option<Vec<_>>>()?))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::telemetry::{Batch, Decoder, Limits, Origin};

    fn rows() -> RecordBatch {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), Some("it's"), None]));
        RecordBatch::try_from_iter([("n", numbers), ("t", texts)]).unwrap()
    }

    /// A span with attributes, an event and a link.
    fn batches() -> Vec<Batch> {
        let request = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"web"}}]},
            "scopeSpans":[{"spans":[{"traceId":"00000000000000000000000000000001","spanId":"0000000000000001","name":"w",
            "startTimeUnixNano":"1700000000000000000","endTimeUnixNano":"1700000000000000001","attributes":[{"key":"a","value":{"intValue":"7"}}],
            "events":[{"timeUnixNano":"1700000000000000000","name":"e"}],"links":[{"traceId":"00000000000000000000000000000002",
            "spanId":"0000000000000002"}]}]}]}]}"#;
        let mut decoder = Decoder::new(Limits::default(), 1);
        decoder.json(request.as_bytes(), &Origin { source: "test".to_owned(), position: None });
        decoder.finish()
    }

    fn events() -> Vec<Event> {
        let parts = vec![(rows(), Run::Constant(-1)), (rows(), Run::from_vec(vec![2, -1, 1]))];
        let own = vec![Incoming::new("clicks".to_owned(), rows(), None)];
        let filled = vec![rows(), RecordBatch::new_empty(rows().schema())];
        let rows: Vec<Incoming> = batches().into_iter().map(Incoming::from).collect();
        let first = Position { source: 1, partition: 0, after: None, through: 1 };
        let position = Position { source: u64::MAX, partition: 7, after: Some(0), through: i64::MAX };
        vec![
            Event::Accepted { position: None, rows: rows.clone() },
            Event::Accepted { position: Some(first), rows },
            Event::Accepted { position: Some(position), rows: own },
            Event::Accepted { position: None, rows: vec![] },
            Event::Kept { position: None, rows: vec![("spans".to_owned(), 3), ("t".to_owned(), 0)] },
            Event::Kept { position: Some(first), rows: vec![] },
            Event::Flushed { open: 7, through: u64::MAX },
            Event::Closed { tick: u64::MAX },
            Event::Defined { open: 8, text: "CREATE VIEW v AS SELECT 1".to_owned() },
            Event::Filled { rows: filled },
            Event::Failed { closed: None },
            Event::Failed { closed: Some(9) },
            Event::Named { open: 9, name: "service_health".to_owned() },
            Event::Delivered { sink: 2, tick: 10 },
            Event::Trimmed { streams: vec![("spans".to_owned(), 3), ("logs".to_owned(), 1 << 40)] },
            Event::Written { open: 0, tables: vec![("t".to_owned(), parts), ("u".to_owned(), vec![])] },
        ]
    }

    /// An event as text; of telemetry its tables and rows.
    fn shown(event: &Event) -> String {
        match event {
            Event::Accepted { position, rows } => {
                let rows = rows.iter().map(|rows| format!("{} {:?}\n", rows.relation, rows.rows));
                format!("{position:?} {}", rows.collect::<String>())
            }
            Event::Written { open, tables } => {
                let diffs = |(rows, diffs): &Part| -> String {
                    (0..rows.num_rows()).map(|row| format!("{} ", diffs.get(row))).collect()
                };
                let table = |(name, parts): &(String, Vec<Part>)| {
                    let parts = parts.iter().map(|part| format!("{:?} {}", part.0, diffs(part)));
                    format!("{name} {}", parts.collect::<String>())
                };
                format!("{open} {}", tables.iter().map(table).collect::<String>())
            }
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let tables: Vec<&str> = batches().iter().map(|batch| batch.table.name()).collect();
        assert_eq!(tables, ["spans", "span_links", "span_events"]);
        for event in events() {
            let read = Event::read(&event.record().unwrap()).unwrap();
            assert_eq!(shown(&read), shown(&event));
        }
    }

    #[test]
    fn other_bytes_are_an_error_and_no_panic() {
        let random = &mut StdRng::seed_from_u64(1);
        for event in events() {
            let record = event.record().unwrap();
            for _ in 0..300 {
                let mut damaged = record.clone();
                damaged.bytes.truncate(random.random_range(0..=record.bytes.len()));
                if let (true, Some(length)) = (random.random_bool(0.7), damaged.bytes.len().checked_sub(1)) {
                    damaged.bytes[random.random_range(0..=length)] ^= 1 << random.random_range(0..8);
                }
                let _ = Event::read(&damaged);
            }
        }
        let unknown = Event::read(&Record { kind: 99, bytes: vec![] }).unwrap_err().to_string();
        assert_eq!(unknown, "a record of kind 99 cannot be read; use the version that wrote it");
    }
}
