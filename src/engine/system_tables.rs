//! Tables about the streams.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

use super::checkpoints::Figures;
use super::state::StreamState;
use crate::sql::catalog::{Kind, Relation, Rows};

/// The system table of the streams.
pub(super) const STREAM_STATS: &str = "stream_stats";

/// The system table of the checkpoints.
pub(super) const CHECKPOINT_STATS: &str = "checkpoint_stats";

/// The relation `stream_stats`: how many rows each stream and each append-only table has taken in, how many of them are
/// stored in memory, in how many bytes, how many were stored and can be read no more, how many are on disk, in how many
/// files and bytes, how many were older than its retention and are gone, that retention, and the views because of which
/// rows that are older stay.
pub(super) fn stream_stats(streams: &[StreamState]) -> Relation {
    const COUNTS: [&str; 8] = [
        "row_count",
        "stored_rows",
        "stored_bytes",
        "evicted_rows",
        "history_rows",
        "history_files",
        "history_bytes",
        "outdated_rows",
    ];
    let mut fields = vec![Field::new("stream", DataType::Utf8, false)];
    fields.extend(COUNTS.map(|name| Field::new(name, DataType::Int64, false)));
    fields.push(Field::new("retention_ms", DataType::Int64, true));
    fields.push(Field::new("held_by", DataType::Utf8, true));
    let schema = Arc::new(Schema::new(fields));
    let number = |f: &dyn Fn(&StreamState) -> u64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(streams.iter().map(|s| f(s) as i64)))
    };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(streams.iter().map(|s| &s.name))),
        number(&|s| s.rows),
        number(&|s| s.stored.iter().map(|b| b.num_rows() as u64).sum()),
        number(&|s| s.stored_bytes as u64),
        number(&|s| s.evicted_rows),
        number(&|s| s.files().iter().map(|file| file.count()).sum()),
        number(&|s| s.files().len() as u64),
        number(&|s| s.files().iter().map(|file| file.bytes()).sum()),
        number(&|s| s.outdated_rows),
        Arc::new(Int64Array::from_iter(streams.iter().map(|s| Some(s.retention_ms? as i64)))),
        Arc::new(StringArray::from_iter(streams.iter().map(|s| s.held_by.as_ref()))),
    ];
    let batch = RecordBatch::try_new(schema.clone(), columns).expect("columns of one length");
    Relation { schema, kind: Kind::System(Arc::new(Rows(vec![batch]))) }
}

/// The relation `checkpoint_stats`, of one row: the tick of the last checkpoint that is in its place, its bytes and how long
/// it took; the tick of one that is on its way and what it waits for; why the last attempt led to none; the tick that
/// this process went on from when it started, and how many views did; and the views that cannot be part of one, each with the
/// operator that holds all rows which ever came.
pub(super) fn checkpoint_stats(figures: &Figures) -> Relation {
    let at = || DataType::Timestamp(TimeUnit::Millisecond, Some("+00:00".into()));
    let time = |tick: Option<u64>| -> ArrayRef {
        let times = TimestampMillisecondArray::from(vec![tick.map(|tick| tick as i64)]);
        Arc::new(times.with_timezone("+00:00"))
    };
    let number =
        |number: Option<u64>| -> ArrayRef { Arc::new(Int64Array::from(vec![number.map(|n| n as i64)])) };
    let text = |text: Option<&str>| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
    let last = figures.last.as_ref();
    let (next, waits_for) = figures.next.unzip();
    let columns: Vec<(&str, DataType, ArrayRef)> = vec![
        ("checkpoint_at", at(), time(last.map(|last| last.tick))),
        ("bytes", DataType::Int64, number(last.map(|last| last.bytes))),
        ("duration_ms", DataType::Int64, number(last.map(|last| last.duration.as_millis() as u64))),
        ("next_at", at(), time(next)),
        ("next_waits_for", DataType::Utf8, text(waits_for)),
        ("error", DataType::Utf8, text(figures.error.as_deref())),
        ("resumed_at", at(), time(figures.resumed.map(|(tick, _)| tick))),
        ("resumed_view_count", DataType::Int64, number(figures.resumed.map(|(_, views)| views as u64))),
        ("views_without", DataType::Utf8, text(figures.without.as_deref())),
    ];
    let fields = columns.iter().map(|(name, data_type, _)| Field::new(*name, data_type.clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let columns = columns.into_iter().map(|(.., column)| column).collect();
    let batch = RecordBatch::try_new(schema.clone(), columns).expect("columns of one row");
    Relation { schema, kind: Kind::System(Arc::new(Rows(vec![batch]))) }
}
