//! What readers see: every relation at one closed tick.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tokio::sync::watch;

use super::connectors::{self, Connectors};
use super::contents::ViewContents;
use super::stream::Stream;
use super::system_tables;
use super::tables::UserTable;
use super::view_stats::{Figures, OPERATOR_STATS, VIEW_STATS, operator_stats, view_stats};
use crate::delta::plan::Plan;
use crate::delta::updates::Tick;
use crate::history::{HistoryFile, Past};
use crate::sql::catalog::{Catalog, Contents, Kind, OnDisk, Relation};
use crate::sql::error::SqlError;
use crate::sql::model::Model;
use crate::sql::table::TableDefinition;

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
    /// The model whose versions it keeps, if it is one's.
    pub model: Option<Model>,
}

/// Every relation as it is at one closed tick.
#[derive(Default)]
pub struct State {
    /// The tick.
    pub tick: Tick,
    /// The streams, the tables, the views and the system tables.
    pub catalog: Catalog,
    views: BTreeMap<String, Arc<ViewContents>>,
    /// What the operators of the views hold and cost.
    pub(super) figures: Arc<Figures>,
}

/// A stream table at one tick.
pub(super) struct StreamState {
    pub name: String,
    pub schema: SchemaRef,
    /// What a user said of it; `None` for telemetry.
    pub definition: Option<Arc<TableDefinition>>,
    pub is_stored: bool,
    pub stored: Arc<Vec<RecordBatch>>,
    pub stored_bytes: usize,
    /// All rows that ever came.
    pub rows: u64,
    /// Rows stored once and dropped since.
    pub evicted_rows: u64,
    /// Rows that were too old and are kept no more.
    pub outdated_rows: u64,
    /// How long rows are kept.
    pub retention_ms: Option<u64>,
    /// The views because of which older rows stay.
    pub held_by: Option<String>,
    /// The rows that are to be read from disk, and the first stored batch behind them.
    pub past: (Past, usize),
}

impl StreamState {
    pub fn of(name: &str, stream: &Stream, held_by: Option<String>) -> Self {
        StreamState {
            name: name.to_owned(),
            schema: stream.schema.clone(),
            definition: stream.definition.clone(),
            is_stored: stream.is_stored,
            stored: stream.stored.clone(),
            stored_bytes: stream.stored_bytes,
            rows: stream.rows,
            evicted_rows: stream.evicted_rows,
            outdated_rows: stream.outdated_rows + stream.first_kept(),
            retention_ms: stream.retention_ms,
            held_by,
            past: stream.past(),
        }
    }

    /// Its files on disk.
    pub fn files(&self) -> &[Arc<HistoryFile>] {
        &self.past.0.files
    }
}

/// The rows of a stream table that are kept.
struct Stored {
    past: Past,
    stored: Arc<Vec<RecordBatch>>,
    /// The first batch in memory that is behind those on disk.
    from: usize,
    schema: SchemaRef,
}

impl Contents for Stored {
    fn read(&self) -> Result<Vec<RecordBatch>, SqlError> {
        let mut rows = vec![];
        for (file, count) in self.past.parts() {
            let all = file.as_they_came(&self.schema).map_err(|error| SqlError::Engine(error.to_string()))?;
            rows.push(all.slice(0, count as usize));
        }
        rows.extend(self.stored[self.from..].iter().cloned());
        Ok(rows)
    }

    fn is_on_disk(&self) -> bool {
        self.past.rows > 0
    }

    fn parts(&self) -> Option<(Arc<dyn OnDisk>, Vec<RecordBatch>)> {
        let memory = || self.stored[self.from..].to_vec();
        self.is_on_disk().then(|| (Arc::new(self.past.clone()) as Arc<dyn OnDisk>, memory()))
    }
}

/// A stream table whose rows are not kept.
struct NotStored(String);

impl Contents for NotStored {
    fn read(&self) -> Result<Vec<RecordBatch>, SqlError> {
        Err(SqlError::Engine(format!("rows of \"{}\" are not stored here", self.0)))
    }
}

impl State {
    pub(super) fn new(
        tick: Tick,
        streams: Vec<StreamState>,
        user_tables: &BTreeMap<String, UserTable>,
        views: &BTreeMap<String, View>,
        tables: BTreeMap<String, ViewContents>,
        figures: impl FnOnce(&BTreeMap<String, Arc<ViewContents>>) -> Figures,
        connectors: &watch::Receiver<Connectors>,
    ) -> Self {
        let mut catalog = Catalog::new();
        for stream in &streams {
            let contents: Arc<dyn Contents> = match stream.is_stored {
                true => {
                    let ((past, from), stored) = (stream.past.clone(), stream.stored.clone());
                    Arc::new(Stored { past, stored, from, schema: stream.schema.clone() })
                }
                false => Arc::new(NotStored(stream.name.clone())),
            };
            let kind = match &stream.definition {
                Some(definition) => Kind::Table { contents, definition: definition.clone() },
                None => Kind::Stream(contents),
            };
            catalog.insert(stream.name.clone(), Relation { schema: stream.schema.clone(), kind });
        }
        let tables: BTreeMap<String, Arc<ViewContents>> =
            tables.into_iter().map(|(name, contents)| (name, Arc::new(contents))).collect();
        for (name, table) in user_tables {
            let Some(contents) = tables.get(name) else { continue };
            let (contents, definition) = (contents.clone(), table.definition.clone());
            let schema = definition.schema.clone();
            catalog.insert(name.clone(), Relation { schema, kind: Kind::Table { contents, definition } });
        }
        for (name, view) in views {
            let Some(contents) = tables.get(name) else { continue };
            let kind =
                Kind::View { contents: contents.clone(), retracts: view.retracts, query: view.query.clone() };
            catalog.insert(name.clone(), Relation { schema: view.schema.clone(), kind });
        }
        let figures = Arc::new(figures(&tables));
        catalog.insert(VIEW_STATS.to_owned(), view_stats(figures.clone()));
        catalog.insert(OPERATOR_STATS.to_owned(), operator_stats(figures.clone()));
        catalog.insert(system_tables::STREAM_STATS.to_owned(), system_tables::stream_stats(&streams));
        for (name, relation) in connectors::relations(connectors) {
            catalog.insert(name.to_owned(), relation);
        }
        State { tick, catalog, views: tables, figures }
    }

    /// The distinct rows of a view or of an ordinary table with their multiplicities, for a snapshot. Empty for one that is
    /// not there.
    pub(super) fn view(&self, name: &str) -> Option<&Arc<ViewContents>> {
        self.views.get(name)
    }
}
