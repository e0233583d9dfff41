//! The changes of a view as rows, for whoever follows them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMillisecondArray, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use tokio::sync::mpsc::Receiver;
use tokio::sync::mpsc::error::TryRecvError;

use super::channels::CHANGES_MAX;
use super::closing::Closing;
use super::contents::ViewContents;
use super::database::engine_error;
use super::{Answer, Database, Engine};
use crate::delta::chunk::ArrowChunk;
use crate::delta::updates::{Diff, Tick, Updates};
use crate::sql::error::SqlError;
use crate::sql::session::missing;
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
    /// What holds rows back until their windows have ended, where that was asked for.
    pub(super) closing: Option<Closing>,
}

impl Subscription {
    /// The columns of the rows that tell changes: `tick_at`, `diff`, and those of the view, nullable.
    pub fn change_schema(&self) -> SchemaRef {
        change_schema(&self.schema)
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
    fn rows(&mut self, change: &Change) -> Result<Vec<RecordBatch>, SqlError> {
        if let Some(error) = &change.error {
            return Err(SqlError::Ended { view: self.options.relation.clone(), reason: error.clone() });
        }
        let ended = self.closing.as_mut().map(|closing| closing.next(change)).transpose()?;
        let chunks = ended.as_ref().unwrap_or(&change.chunks);
        let schema = self.change_schema();
        let mut batches = vec![];
        for chunk in chunks {
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

impl Engine {
    /// Tells subscribers and sinks the changes of the tick just closed, by view.
    pub(super) fn tell(
        &mut self,
        changes: &BTreeMap<String, Vec<ArrowChunk>>,
        contents: &BTreeMap<String, ViewContents>,
    ) {
        let change = |name: &String| {
            let chunks = changes.get(name).cloned().unwrap_or_default();
            let error = contents.get(name).and_then(|t| t.check().err()).map(|e| e.to_string());
            Change { tick: self.closed, chunks, error }
        };
        for (name, subscribers) in &mut self.subscriptions {
            let change = change(name);
            // A subscriber that left, or that fell too far behind, is let go: it cannot hold back a tick.
            subscribers.retain(|s| s.try_send(change.clone()).is_ok());
        }
        self.subscriptions.retain(|_, subscribers| !subscribers.is_empty());
        let connectors = self.connectors.borrow();
        connectors.sinks.values().for_each(|sink| sink.outbox.push(&change(&sink.definition.relation)));
        drop(connectors);
    }
}

impl Database {
    /// The changes of a view from here on, its rows first where they are asked for.
    pub(super) async fn subscribe(&mut self, options: Subscribe) -> Result<Answer, SqlError> {
        let schema = self.watchable(&options.relation)?;
        let (tick, snapshot, closing) = self.beginning(&options).await?;
        let changes = self.engine.subscribe(&options.relation).map_err(engine_error)?;
        debug_assert_eq!(tick, self.engine.closed(), "no tick is closed in between");
        let snapshot = snapshot.into_iter().collect();
        Ok(Answer::Subscription(Subscription { schema, snapshot, changes, options, closing }))
    }

    /// The columns of a relation that has a stream of changes.
    pub(super) fn watchable(&self, name: &str) -> Result<SchemaRef, SqlError> {
        let of_view = self.engine.views().get(name).map(|view| view.schema.clone());
        let of_table = || self.engine.table_definition(name).filter(|table| !table.is_append_only);
        let schema = of_view.or_else(|| of_table().map(|table| table.schema.clone()));
        schema.ok_or_else(|| {
            let catalog = self.catalog();
            match catalog.contains_key(name) {
                true => SqlError::Syntax(format!(
                    "\"{name}\" is no materialized view, and only those and ordinary tables have a stream of changes; create one of it"
                )),
                false => missing(name, &catalog),
            }
        })
    }

    /// What is told of the last closed tick before the changes after it, that tick, and what holds rows back.
    pub(super) async fn beginning(
        &mut self,
        options: &Subscribe,
    ) -> Result<(Tick, Option<Change>, Option<Closing>), SqlError> {
        let name = &options.relation;
        let ends = match options.on_window_close {
            true => Some(self.session.window_ends(name, &self.catalog()).await?),
            false => None,
        };
        let state = self.published.load_full();
        let mut snapshot = None;
        // Of a window that has not ended all rows are told one day, those that are there already too.
        if let (true, Some(contents)) = (options.snapshot || ends.is_some(), state.view(name)) {
            contents.check()?;
            let chunks = contents.counted().iter().flat_map(|(rows, diffs)| {
                let updates = Updates::at(rows.clone(), state.tick, diffs.clone());
                ArrowChunk::form(&[updates])
            });
            snapshot = Some(Change { tick: state.tick, chunks: chunks.collect(), error: None });
        }
        let mut closing = ends.map(|ends| {
            let told = if options.snapshot { 0 } else { state.tick };
            Closing::new(ends, told, self.engine.corrected_rows(name))
        });
        if let (Some(closing), false) = (&mut closing, options.snapshot) {
            snapshot.take().iter().try_for_each(|rows| closing.begin(rows))?;
        }
        Ok((state.tick, snapshot, closing))
    }
}

/// The columns of the rows that tell changes of a view with the columns `view`: `tick_at`, `diff`, and those
/// of the view, nullable.
pub fn change_schema(view: &Schema) -> SchemaRef {
    let tick_type = DataType::Timestamp(TimeUnit::Millisecond, Some("+00:00".into()));
    let mut fields =
        vec![Field::new("tick_at", tick_type, false), Field::new("diff", DataType::Int64, false)];
    fields.extend(view.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)));
    Arc::new(Schema::new(fields))
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
