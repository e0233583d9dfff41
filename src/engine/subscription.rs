//! The changes of a view as rows, for whoever follows them.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMillisecondArray, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use tokio::sync::mpsc::Receiver;
use tokio::sync::mpsc::error::TryRecvError;

use super::channels::CHANGES_MAX;
use crate::delta::chunk::ArrowChunk;
use crate::delta::updates::{Diff, Tick};
use crate::sql::error::SqlError;
use crate::sql::statement::Subscribe;

/// A change to a view, of one tick.
#[derive(Clone)]
pub struct Change {
    /// The tick.
    pub tick: Tick,
    /// Rows with their times and diffs.
    pub chunks: Vec<ArrowChunk>,
    /// Why the view has no answer at this tick, if it has none.
    pub error: Option<String>,
}

/// A view's rows at one tick and all its changes after it.
pub struct Subscription {
    /// The columns of the view.
    pub schema: SchemaRef,
    /// The rows at the tick of subscribing, with their diffs, where they were asked for.
    pub snapshot: Vec<Change>,
    /// What changes after it, tick by tick.
    pub changes: Receiver<Change>,
    /// What was asked for.
    pub options: Subscribe,
}

impl Subscription {
    /// The columns of the rows that tell changes: `tick_at`, `diff`, and those of the view, nullable.
    pub fn change_schema(&self) -> SchemaRef {
        let tick_type = DataType::Timestamp(TimeUnit::Millisecond, Some("+00:00".into()));
        let mut fields =
            vec![Field::new("tick_at", tick_type, false), Field::new("diff", DataType::Int64, false)];
        fields.extend(self.schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)));
        Arc::new(Schema::new(fields))
    }

    /// The next tick that has something to tell, as rows of [`change_schema`](Self::change_schema): the
    /// snapshot first. It is safe to cancel.
    ///
    /// # Errors
    ///
    /// When the view has no answer any more, is dropped, or the reader fell `CHANGES_MAX` ticks behind:
    /// the subscription has ended then.
    pub async fn next(&mut self) -> Result<Vec<RecordBatch>, SqlError> {
        loop {
            let change = match self.snapshot.is_empty() {
                true => self.changes.recv().await.ok_or_else(|| self.ended())?,
                false => self.snapshot.remove(0),
            };
            let rows = self.rows(&change)?;
            if !rows.is_empty() {
                return Ok(rows);
            }
        }
    }

    /// What there is to tell without waiting; errors as for [`next`](Self::next).
    pub fn try_next(&mut self) -> Result<Option<Vec<RecordBatch>>, SqlError> {
        loop {
            let change = match self.snapshot.is_empty() {
                false => self.snapshot.remove(0),
                true => match self.changes.try_recv() {
                    Ok(change) => change,
                    Err(TryRecvError::Empty) => return Ok(None),
                    Err(TryRecvError::Disconnected) => return Err(self.ended()),
                },
            };
            let rows = self.rows(&change)?;
            if !rows.is_empty() {
                return Ok(Some(rows));
            }
        }
    }

    fn ended(&self) -> SqlError {
        SqlError::Ended {
            view: self.options.relation.clone(),
            reason: format!("it was dropped, or its reader fell {CHANGES_MAX} ticks behind"),
        }
    }

    /// A change as rows that begin with the tick and the diff; with PROGRESS, after those of each tick
    /// comes a row of diff 0 and nulls.
    fn rows(&self, change: &Change) -> Result<Vec<RecordBatch>, SqlError> {
        if let Some(error) = &change.error {
            return Err(SqlError::Ended { view: self.options.relation.clone(), reason: error.clone() });
        }
        let schema = self.change_schema();
        let mut batches = vec![];
        for chunk in &change.chunks {
            let updates = chunk.updates();
            let diffs = (0..updates.len()).map(|row| updates.diffs.get(row)).collect();
            batches.push(stamped(&schema, change.tick, diffs, updates.rows.columns())?);
        }
        if self.options.progress {
            let nulls: Vec<_> =
                self.schema.fields().iter().map(|f| new_null_array(f.data_type(), 1)).collect();
            batches.push(stamped(&schema, change.tick, vec![0], &nulls)?);
        }
        Ok(batches)
    }
}

/// Rows behind their tick and diffs. All that changed since the tick before is told as of `tick`,
/// which is when it is whole.
fn stamped(
    schema: &SchemaRef,
    tick: Tick,
    diffs: Vec<Diff>,
    rows: &[ArrayRef],
) -> Result<RecordBatch, SqlError> {
    let ticks = TimestampMillisecondArray::from_value(tick as i64, diffs.len()).with_timezone("+00:00");
    let mut columns: Vec<ArrayRef> = vec![Arc::new(ticks), Arc::new(Int64Array::from(diffs))];
    columns.extend(rows.iter().cloned());
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}
