//! Queries beside the thread that owns the database.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, SchemaRef};

use super::limits::{Limits, Rows};
use super::transaction::{Grown, Transaction};
use super::{Database, EngineError, State};
use crate::delta::updates::Tick;
use crate::observe::Metrics;
use crate::sql::catalog::{Catalog, Contents, Kind, Relation};
use crate::sql::error::SqlError;
use crate::sql::question::{Description, Parameter, Question};
use crate::sql::session::Session;
use crate::sql::statement::Parsed;
use crate::sql::write::{Evaluated, Part, Write};

/// The system table of the engine's own metrics.
const ENGINE_METRICS: &str = "engine_metrics";

/// Named queries that are not maintained: their SELECTs by name.
pub type NamedQueries = Arc<ArcSwap<BTreeMap<String, String>>>;

/// What answers queries: cheap to clone, shared by all connections. It reads the state published at
/// the last closed tick, and waits for no worker and no other query.
#[derive(Clone)]
pub struct Reader {
    session: Session,
    published: Arc<ArcSwap<State>>,
    queries: NamedQueries,
    is_lost: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
    limits: Limits,
    /// What the tables hold beside, to the eyes of a transaction.
    changes: Arc<BTreeMap<String, Vec<Part>>>,
}

/// The table `engine_metrics`, read when a query reads it.
struct EngineMetrics(Arc<Metrics>);

impl Contents for EngineMetrics {
    fn read(&self) -> Result<Vec<RecordBatch>, SqlError> {
        Ok(vec![self.0.rows()])
    }
}

impl Reader {
    pub(super) fn new(database: &Database) -> Self {
        Reader {
            session: database.session.clone(),
            published: database.engine.published(),
            queries: database.queries.clone(),
            is_lost: database.engine.is_lost.clone(),
            metrics: database.metrics.clone(),
            limits: Limits::default(),
            changes: Arc::default(),
        }
    }

    /// An error once a worker is gone: nothing is served from then on, least of all stale tables.
    pub fn check(&self) -> Result<(), SqlError> {
        match self.is_lost.load(Ordering::Acquire) {
            true => Err(SqlError::Engine(EngineError::WorkerLost.to_string())),
            false => Ok(()),
        }
    }

    /// How statements are planned and run.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The last closed tick, and all relations as they are at it.
    pub fn catalog(&self) -> (Tick, Catalog) {
        let queries = self.queries.load();
        let state = self.published.load();
        let mut catalog = state.catalog.clone();
        for (name, query) in queries.iter() {
            let kind = Kind::Query(query.clone());
            catalog.insert(name.clone(), Relation { schema: Arc::new(Schema::empty()), kind });
        }
        let kind = Kind::System(Arc::new(EngineMetrics(self.metrics.clone())));
        catalog.insert(ENGINE_METRICS.to_owned(), Relation { schema: Metrics::schema(), kind });
        for (name, parts) in self.changes.iter() {
            if let Some(Kind::Table { contents, .. }) = catalog.get_mut(name).map(|r| &mut r.kind) {
                *contents = match state.view(name) {
                    Some(published) => Arc::new(published.changed_by(parts)),
                    None => {
                        let added = parts.iter().map(|(rows, _)| rows.clone()).collect();
                        Arc::new(Grown { base: contents.clone(), added })
                    }
                };
            }
        }
        (state.tick, catalog)
    }

    /// The last closed tick.
    pub fn tick(&self) -> Tick {
        self.published.load().tick
    }

    /// The same reader, as `transaction` sees the tables.
    pub(super) fn within(&self, transaction: &Transaction) -> Self {
        Reader { changes: Arc::new(transaction.changes()), ..self.clone() }
    }

    /// Whether all relations that `statement` names are there: else those that come with the engine are
    /// to be created first.
    pub fn knows(&self, statement: &Parsed) -> Result<bool, SqlError> {
        Ok(self.knows_all(&self.session.references(statement)?))
    }

    /// Whether the relations `names` are all there.
    pub(super) fn knows_all(&self, names: &[String]) -> bool {
        let queries = self.queries.load();
        let state = self.published.load();
        let is_known = |name: &String| {
            name == ENGINE_METRICS || state.catalog.contains_key(name) || queries.contains_key(name)
        };
        names.iter().all(is_known)
    }

    /// The rows of a query at the last closed tick, within the limits of the reader.
    pub async fn rows(&self, statement: Parsed) -> Result<Rows, SqlError> {
        self.answer(&Question::plain(statement), vec![]).await
    }

    /// The rows that answer `question` with `parameters`, as [`rows`](Self::rows) gives them.
    pub async fn answer(&self, question: &Question, parameters: Vec<Parameter>) -> Result<Rows, SqlError> {
        self.check()?;
        let turn = self.limits.begin().await?;
        let (tick, catalog) = self.catalog();
        let plan = self.session.plan_question(question, parameters, &catalog, tick);
        let (state, plan) = turn.within(plan).await?;
        let stream = turn.within(self.session.run(&state, &plan)).await?;
        Ok(turn.rows(stream))
    }

    /// The columns and the parameters of `question`, some of whose types are known. Nothing is run.
    pub async fn describe(
        &self,
        question: &Question,
        known: &[Option<DataType>],
    ) -> Result<Description, SqlError> {
        self.check()?;
        let turn = self.limits.begin().await?;
        let (tick, catalog) = self.catalog();
        turn.within(self.session.describe(question, known, &catalog, tick)).await
    }

    /// What `write` comes to over the state published last, within the limits of the reader.
    pub async fn evaluate(&self, write: &Write, parameters: &[Parameter]) -> Result<Evaluated, SqlError> {
        self.check()?;
        let turn = self.limits.begin().await?;
        let (tick, catalog) = self.catalog();
        turn.within(Box::pin(self.session.evaluate(write, parameters, &catalog, tick))).await
    }

    /// The parameters of `write`, some of whose types are known, and the columns of its RETURNING.
    pub async fn describe_write(
        &self,
        write: &Write,
        known: &[Option<DataType>],
    ) -> Result<Description, SqlError> {
        self.check()?;
        let turn = self.limits.begin().await?;
        let (tick, catalog) = self.catalog();
        turn.within(Box::pin(self.session.describe_write(write, known, &catalog, tick))).await
    }

    /// As [`rows`](Self::rows), all of them at once.
    pub async fn query(&self, statement: Parsed) -> Result<(SchemaRef, Vec<RecordBatch>), SqlError> {
        let mut rows = self.rows(statement).await?;
        Ok((rows.schema(), rows.all().await?))
    }

    /// The same reader with other limits.
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// What bounds its queries.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}
