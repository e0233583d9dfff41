//! What readers see: every relation at one closed tick.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::Stream;
use super::contents::ViewContents;
use super::operators::{Operators, Rate};
use super::system_tables;
use super::view_stats::{Figures, OPERATOR_STATS, VIEW_STATS, ViewFigures, operator_stats, view_stats};
use crate::delta::plan::Plan;
use crate::delta::updates::Tick;
use crate::sql::catalog::{Catalog, Contents, Kind, Relation};
use crate::sql::error::SqlError;
use crate::telemetry::Table;

/// A maintained query.
#[derive(Clone)]
pub struct View {
    /// Its dataflow.
    pub plan: Arc<Plan>,
    /// Its columns.
    pub schema: SchemaRef,
    /// Whether its rows can be retracted.
    pub retracts: bool,
    /// The SELECT that defines it.
    pub query: String,
    /// How long it keeps rows for joining, in milliseconds.
    pub horizon_ms: Option<u64>,
}

/// Every relation as it is at one closed tick.
#[derive(Default)]
pub struct State {
    /// The tick.
    pub tick: Tick,
    /// The streams, the views and the system tables.
    pub catalog: Catalog,
    views: BTreeMap<String, Arc<ViewContents>>,
    /// What the operators of the views hold and cost.
    pub(super) figures: Arc<Figures>,
}

/// A stream table at one tick.
pub(super) struct StreamState {
    pub table: Table,
    pub is_stored: bool,
    pub stored: Arc<Vec<RecordBatch>>,
    pub stored_bytes: usize,
    /// All rows that ever came.
    pub rows: u64,
    /// Rows stored once and dropped since.
    pub evicted_rows: u64,
}

impl StreamState {
    pub fn of(table: Table, stream: &Stream) -> Self {
        StreamState {
            table,
            is_stored: stream.is_stored,
            stored: stream.stored.clone(),
            stored_bytes: stream.stored_bytes,
            rows: stream.rows,
            evicted_rows: stream.evicted_rows,
        }
    }
}

/// The rows of a stream table that are kept.
struct Stored(Arc<Vec<RecordBatch>>);

impl Contents for Stored {
    fn read(&self) -> Result<Vec<RecordBatch>, SqlError> {
        Ok(self.0.to_vec())
    }
}

/// A stream table whose rows are not kept.
struct NotStored(Table);

impl Contents for NotStored {
    fn read(&self) -> Result<Vec<RecordBatch>, SqlError> {
        Err(SqlError::Engine(format!("rows of \"{}\" are not stored here", self.0.name())))
    }
}

impl State {
    pub(super) fn new(
        tick: Tick,
        streams: Vec<StreamState>,
        views: &BTreeMap<String, View>,
        tables: BTreeMap<String, ViewContents>,
        running: &BTreeMap<String, (Arc<Operators>, Rate)>,
    ) -> Self {
        let mut catalog = Catalog::new();
        for stream in &streams {
            let contents: Arc<dyn Contents> = match stream.is_stored {
                true => Arc::new(Stored(stream.stored.clone())),
                false => Arc::new(NotStored(stream.table)),
            };
            catalog.insert(
                stream.table.name().to_owned(),
                Relation { schema: stream.table.schema(), kind: Kind::Stream(contents) },
            );
        }
        let tables: BTreeMap<String, Arc<ViewContents>> =
            tables.into_iter().map(|(name, contents)| (name, Arc::new(contents))).collect();
        for (name, view) in views {
            let Some(contents) = tables.get(name) else { continue };
            let kind =
                Kind::View { contents: contents.clone(), retracts: view.retracts, query: view.query.clone() };
            catalog.insert(name.clone(), Relation { schema: view.schema.clone(), kind });
        }
        let figures = running.iter().filter_map(|(name, (operators, rate))| {
            Some(ViewFigures {
                name: name.clone(),
                horizon_ms: views.get(name)?.horizon_ms,
                contents: tables.get(name)?.clone(),
                operators: operators.clone(),
                updates_per_second: rate.per_second(),
            })
        });
        let figures = Arc::new(Figures { tick, views: figures.collect() });
        catalog.insert(VIEW_STATS.to_owned(), view_stats(figures.clone()));
        catalog.insert(OPERATOR_STATS.to_owned(), operator_stats(figures.clone()));
        catalog.insert(system_tables::STREAM_STATS.to_owned(), system_tables::stream_stats(&streams));
        State { tick, catalog, views: tables, figures }
    }

    /// The distinct rows of a view with their multiplicities, for a snapshot. Empty for one that is
    /// not there.
    pub(super) fn view(&self, name: &str) -> Option<&Arc<ViewContents>> {
        self.views.get(name)
    }
}
