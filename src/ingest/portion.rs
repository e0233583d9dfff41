//! What one file has read but not yet delivered.

use arrow::array::{Array, RecordBatch, TimestampNanosecondArray};

use crate::telemetry::{Batch, Table};

/// A few thousand rows of one file, or one record of it that is larger.
pub(super) struct Portion {
    parts: Vec<Part>,
}

/// The rows of one table.
struct Part {
    batch: Batch,
    /// Event times ascend, so that the rows can be cut at a time. A part that does not ascend is only cut by number:
    /// cutting it at the first row that is late would leave crumbs.
    ascending: bool,
}

impl Portion {
    /// The portion of these batches; `None` when they hold no row.
    pub fn new(batches: Vec<Batch>) -> Option<Self> {
        let parts: Vec<Part> = batches.into_iter().filter(|b| b.rows.num_rows() > 0).map(Part::new).collect();
        (!parts.is_empty()).then_some(Portion { parts })
    }

    /// The first event time of the next `batch_rows` rows of each table, in nanoseconds since 1970. `None` when no
    /// row has a time, which rows of `ingest_errors` have not.
    pub fn due_ns(&self, batch_rows: usize) -> Option<i64> {
        self.parts.iter().filter_map(|part| part.due_ns(batch_rows)).min()
    }

    /// Takes the next rows, at most `batch_rows` of each table and, as far as they ascend, none later than
    /// `horizon_ns`.
    pub fn take(&mut self, batch_rows: usize, horizon_ns: i64) -> Vec<Batch> {
        let mut taken = Vec::with_capacity(self.parts.len());
        self.parts.retain_mut(|part| {
            let rows = part.rows_until(batch_rows, horizon_ns);
            let left = part.batch.rows.num_rows() - rows;
            if rows > 0 {
                taken.push(part.slice(0, rows));
            }
            if rows > 0 && left > 0 {
                part.batch = part.slice(rows, left);
            }
            left > 0
        });
        taken
    }

    /// Nothing is left to take.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }
}

impl Part {
    fn new(batch: Batch) -> Self {
        let ascending = times(&batch).is_some_and(|times| times.is_sorted());
        Part { batch, ascending }
    }

    fn due_ns(&self, batch_rows: usize) -> Option<i64> {
        match times(&self.batch) {
            Some(times) if self.ascending => times.first().copied(),
            Some(times) if times.len() > batch_rows => times[..batch_rows].iter().min().copied(),
            _ => self.batch.event_time_ns.map(|(first, _)| first),
        }
    }

    fn rows_until(&self, batch_rows: usize, horizon_ns: i64) -> usize {
        let rows = self.batch.rows.num_rows().min(batch_rows);
        match times(&self.batch) {
            Some(times) if self.ascending => times[..rows].partition_point(|&time| time <= horizon_ns),
            _ => rows,
        }
    }

    fn slice(&self, offset: usize, rows: usize) -> Batch {
        let mut batch = Batch {
            table: self.batch.table,
            rows: self.batch.rows.slice(offset, rows),
            event_time_ns: self.batch.event_time_ns,
        };
        if rows == self.batch.rows.num_rows() {
            return batch;
        }
        // Without the times at hand (a projection left them out) the bounds of the whole stand: they hold, if wider.
        let bounds = times(&batch).and_then(|times| Some((*times.iter().min()?, *times.iter().max()?)));
        batch.event_time_ns = bounds.or(batch.event_time_ns);
        batch
    }
}

/// Event times of the rows, in nanoseconds; `None` when the batch is not placed in event time or lacks the column.
fn times(batch: &Batch) -> Option<&[i64]> {
    batch.event_time_ns?;
    event_times(batch.table, &batch.rows).map(|times| &times.values()[..])
}

/// The column of event times, when it is there and without nulls.
fn event_times(table: Table, rows: &RecordBatch) -> Option<&TimestampNanosecondArray> {
    let column = rows.column_by_name(table.event_time_column())?.as_any().downcast_ref()?;
    let times: &TimestampNanosecondArray = column;
    (times.null_count() == 0).then_some(times)
}
