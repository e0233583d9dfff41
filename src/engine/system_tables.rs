//! Tables about the engine itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::contents::ViewContents;
use super::state::{StreamState, View};
use super::worker::Counted;
use crate::delta::updates::Tick;
use crate::sql::catalog::{Contents, Kind, Relation, Rows};
use crate::sql::error::SqlError;

/// The system table of the views.
pub(super) const VIEW_STATS: &str = "view_stats";

/// The system table of the streams.
pub(super) const STREAM_STATS: &str = "stream_stats";

/// `view_stats`: one row a view. Built when it is read: counting rows costs a merge.
struct ViewStats {
    schema: SchemaRef,
    tick: Tick,
    views: Vec<(String, Option<u64>, Arc<ViewContents>, Counted)>,
}

/// The relation `view_stats`.
pub(super) fn view_stats(
    tick: Tick,
    views: &BTreeMap<String, View>,
    contents: BTreeMap<String, Arc<ViewContents>>,
    counted: BTreeMap<String, Counted>,
) -> Relation {
    let number = |name: &str, nullable: bool| Field::new(name, DataType::Int64, nullable);
    let at = DataType::Timestamp(TimeUnit::Millisecond, Some("+00:00".into()));
    let schema = Arc::new(Schema::new(vec![
        Field::new("view", DataType::Utf8, false),
        Field::new("closed_at", at, false),
        number("row_count", true),
        Field::new("error", DataType::Utf8, true),
        number("state_bytes", false),
        number("late_rows", false),
        number("expired_rows", false),
        number("horizon_ms", true),
        number("corrected_rows", false),
    ]));
    let views = contents.into_iter().map(|(name, contents)| {
        let horizon_ms = views.get(&name).and_then(|v| v.horizon_ms);
        let counted = counted.get(&name).cloned().unwrap_or_default();
        (name, horizon_ms, contents, counted)
    });
    let stats = ViewStats { schema: schema.clone(), tick, views: views.collect() };
    Relation { schema, kind: Kind::System(Arc::new(stats)) }
}

impl Contents for ViewStats {
    fn read(&self) -> Result<Vec<RecordBatch>, SqlError> {
        let count = |c: &ViewContents| {
            let parts = c.counted().iter();
            parts.map(|(rows, diffs)| (0..rows.num_rows()).map(|i| diffs.get(i)).sum::<i64>()).sum::<i64>()
        };
        let errors: Vec<Option<String>> =
            self.views.iter().map(|v| v.2.check().err().map(|e| e.to_string())).collect();
        let number = |f: &dyn Fn(&Counted) -> u64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(self.views.iter().map(|v| f(&v.3) as i64)))
        };
        let closed = TimestampMillisecondArray::from_iter_values(self.views.iter().map(|_| self.tick as i64));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(self.views.iter().map(|v| &v.0))),
            Arc::new(closed.with_timezone("+00:00")),
            Arc::new(Int64Array::from_iter(
                self.views.iter().zip(&errors).map(|(v, error)| error.is_none().then(|| count(&v.2))),
            )),
            Arc::new(StringArray::from(errors.clone())),
            number(&|c| c.state_bytes),
            number(&|c| c.late_rows),
            number(&|c| c.expired_rows),
            Arc::new(Int64Array::from_iter(self.views.iter().map(|v| v.1.map(|ms| ms as i64)))),
            number(&|c| c.corrected_rows),
        ];
        Ok(vec![RecordBatch::try_new(self.schema.clone(), columns)?])
    }
}

/// The relation `stream_stats`: how many rows each stream and each append-only table has taken in, how many of them are
/// stored for queries, in how many bytes, and how many were stored and had to go.
pub(super) fn stream_stats(streams: &[StreamState]) -> Relation {
    const COUNTS: [&str; 4] = ["row_count", "stored_rows", "stored_bytes", "evicted_rows"];
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
    ];
    let batch = RecordBatch::try_new(schema.clone(), columns).expect("columns of one length");
    Relation { schema, kind: Kind::System(Arc::new(Rows(vec![batch]))) }
}
