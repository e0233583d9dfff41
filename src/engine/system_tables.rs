//! Tables about the streams.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};

use super::state::StreamState;
use crate::sql::catalog::{Kind, Relation, Rows};

/// The system table of the streams.
pub(super) const STREAM_STATS: &str = "stream_stats";

/// The relation `stream_stats`: how many rows each stream and each append-only table has taken in, how many of them are
/// stored in memory, in how many bytes, how many were stored and can be read no more, and how many are on disk, in how many
/// files and bytes.
pub(super) fn stream_stats(streams: &[StreamState]) -> Relation {
    const COUNTS: [&str; 7] = [
        "row_count",
        "stored_rows",
        "stored_bytes",
        "evicted_rows",
        "history_rows",
        "history_files",
        "history_bytes",
    ];
    let mut fields = vec![Field::new("stream", DataType::Utf8, false)];
    fields.extend(COUNTS.map(|name| Field::new(name, DataType::Int64, false)));
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
        number(&|s| s.files().last().map_or(0, |file| file.rows().end)),
        number(&|s| s.files().len() as u64),
        number(&|s| s.files().iter().map(|file| file.bytes()).sum()),
    ];
    let batch = RecordBatch::try_new(schema.clone(), columns).expect("columns of one length");
    Relation { schema, kind: Kind::System(Arc::new(Rows(vec![batch]))) }
}
