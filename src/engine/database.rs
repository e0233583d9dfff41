//! Statements carried out: the catalog on top of the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::built_ins::{BuiltIn, BuiltIns};
use super::collector::StateCollector;
use super::reader::{NamedQueries, Reader};
use super::{Engine, EngineError, State, Subscription, View, Written};
use crate::observe::Metrics;
use crate::sql::catalog::{Catalog, Kind, recast};
use crate::sql::error::SqlError;
use crate::sql::session::{Session, missing};
use crate::sql::statement::{CreateView, Statement, parse_query};
use crate::telemetry::Table;

/// The most views, maintained or not.
pub const VIEWS_MAX: usize = 1_000;

/// What a statement gives.
pub enum Answer {
    /// Rows.
    Rows {
        /// Their columns.
        schema: SchemaRef,
        /// The rows.
        batches: Vec<RecordBatch>,
    },
    /// Nothing but that it is done: PostgreSQL's command tag.
    Done(&'static str),
    /// What was done to a table, with the rows of RETURNING.
    Written(Written),
    /// A view's rows, then its changes as they come.
    Subscription(Subscription),
}

/// The engine with its catalog: what a session of a client talks to.
pub struct Database {
    /// The workers and the clock.
    pub engine: Engine,
    pub(super) session: Session,
    pub(super) published: Arc<ArcSwap<State>>,
    /// Named queries that are not maintained, shared with readers.
    pub(super) queries: NamedQueries,
    built_ins: BuiltIns,
    pub(super) metrics: Arc<Metrics>,
    /// How long views keep rows for joining where they do not say, in milliseconds.
    pub(super) horizon_ms: Option<u64>,
    /// How long built-in views keep groups by time, where they do not say, in milliseconds.
    retention_ms: Option<u64>,
    /// How many sources and sinks were ever created.
    pub(super) connectors_created: u64,
}

impl Database {
    /// A database over `engine`. Views keep rows for joining for `horizon_ms` where they do not say.
    pub fn new(engine: Engine, built_ins: BuiltIns, horizon_ms: Option<u64>) -> Self {
        let published = engine.published();
        let session = Session::default();
        let metrics = Metrics::new();
        metrics.register(Box::new(StateCollector::new(published.clone())));
        Database {
            engine,
            session,
            published,
            queries: Arc::default(),
            built_ins,
            metrics,
            horizon_ms,
            retention_ms: None,
            connectors_created: 0,
        }
    }

    /// The same database, whose queries together may hold `bytes` in sorts, groups and joins.
    pub fn with_query_memory(mut self, bytes: usize) -> Self {
        self.session = Session::new(bytes);
        self
    }

    /// The same database, whose built-in views keep groups by time for `retention_ms` where they do not
    /// say.
    pub fn with_retention(mut self, retention_ms: Option<u64>) -> Self {
        self.retention_ms = retention_ms;
        self
    }

    /// Creates the built-in views `names`.
    pub async fn create_built_ins(&mut self, names: &[String]) -> Result<(), SqlError> {
        for name in names {
            self.ensure(name).await?;
            let catalog = self.catalog();
            if !catalog.contains_key(name) {
                return Err(missing(name, &catalog));
            }
        }
        Ok(())
    }

    /// What answers queries beside the database, from any number of threads.
    pub fn reader(&self) -> Reader {
        Reader::new(self)
    }

    /// All relations at the last closed tick.
    pub fn catalog(&self) -> Catalog {
        self.reader().catalog().1
    }

    /// Carries out one statement.
    pub async fn execute(&mut self, statement: Statement) -> Result<Answer, SqlError> {
        self.engine.check().map_err(engine_error)?;
        self.prepare(&statement).await?;
        match statement {
            Statement::Query(statement) => {
                let (schema, batches) = self.reader().query(*statement).await?;
                Ok(Answer::Rows { schema, batches })
            }
            Statement::CreateView(view) => self.create_view(view).await,
            Statement::DropView { names, if_exists } => {
                self.drop_views(&names, if_exists)?;
                Ok(Answer::Done("DROP VIEW"))
            }
            Statement::CreateModel(model) => self.create_model(&model).await,
            Statement::DropModel { names, if_exists } => self.drop_models(&names, if_exists),
            Statement::ShowModels => self.show_models().await,
            Statement::ShowTables => self.show_tables(),
            Statement::ShowViews => self.show_views(),
            Statement::ShowViewStats(view) => self.show_view_stats(view.as_deref()).await,
            Statement::ShowColumns(name) => self.show_columns(&name).await,
            Statement::ShowCreate(name) => self.show_create(&name),
            Statement::ExplainDataflow(target) => self.explain(&target).await,
            Statement::Subscribe(options) => self.subscribe(options).await,
            Statement::CreateSource(source) => self.create_source(*source).await,
            Statement::CreateSink(sink) => self.create_sink(*sink).await,
            Statement::DropConnectors { direction, names, if_exists } => {
                self.drop_connectors(direction, &names, if_exists).await
            }
            Statement::Alter(alter) => self.alter(&alter),
            Statement::SetRetention(set) => {
                self.engine.set_retention(&set.table, set.retention_ms)?;
                Ok(Answer::Done("ALTER TABLE"))
            }
            Statement::ShowConnectors(direction) => self.show_connectors(direction),
            Statement::CreateTable(_)
            | Statement::DropTable { .. }
            | Statement::Truncate(_)
            | Statement::Write(_) => self.change_tables(statement).await,
        }
    }

    /// What `statement` names of what comes with the engine and is not there yet.
    pub(super) fn idle_built_ins(&self, statement: &Statement) -> Result<Vec<String>, SqlError> {
        let names = self.names(statement)?.into_iter();
        Ok(names.filter(|name| self.built_ins.statements.contains_key(name)).collect())
    }

    /// Creates the built-in views that `statement` names, and those that these read.
    pub async fn prepare(&mut self, statement: &Statement) -> Result<(), SqlError> {
        for name in self.names(statement)? {
            Box::pin(self.ensure(&name)).await?;
        }
        Ok(())
    }

    /// The relations that `statement` names.
    fn names(&self, statement: &Statement) -> Result<Vec<String>, SqlError> {
        Ok(match statement {
            Statement::Query(statement) => self.session.references(statement)?,
            Statement::CreateView(view) => self.session.references(&parse_query(&view.query)?)?,
            Statement::ShowColumns(name) | Statement::ShowCreate(name) => vec![name.clone()],
            Statement::Subscribe(subscribe) => vec![subscribe.relation.clone()],
            Statement::ExplainDataflow(target) => match parse_query(target) {
                Ok(query) => self.session.references(&query)?,
                Err(_) => vec![target.trim().to_lowercase()],
            },
            Statement::ShowViewStats(Some(name)) => vec![name.clone()],
            Statement::CreateSink(sink) => vec![sink.relation.clone()],
            Statement::ShowTables
            | Statement::ShowViews
            | Statement::ShowModels
            | Statement::ShowViewStats(None)
            | Statement::CreateSource(_)
            | Statement::DropConnectors { .. }
            | Statement::Alter(_)
            | Statement::SetRetention(_)
            | Statement::ShowConnectors(_) => vec![],
            Statement::CreateModel(model) => self.session.references(&parse_query(&model.query)?)?,
            Statement::DropView { names, .. }
            | Statement::DropModel { names, .. }
            | Statement::DropTable { names, .. } => names.clone(),
            Statement::Truncate(names) => names.clone(),
            Statement::Write(write) => write.relations(),
            Statement::CreateTable(create) => self.relations_of(create)?,
        })
    }

    /// Creates the built-in view `name`, unless it exists or is none.
    async fn ensure(&mut self, name: &str) -> Result<(), SqlError> {
        let is_table = self.engine.table_definition(name).is_some();
        if is_table || self.queries.load().contains_key(name) || self.engine.views().contains_key(name) {
            return Ok(());
        }
        // Taken out first, so that one that reads itself ends with an error and not in a loop.
        let Some(built_in) = self.built_ins.statements.remove(name) else { return Ok(()) };
        let created = match built_in.clone() {
            BuiltIn::View(view) => self.create_built_in(*view).await,
            BuiltIn::Model(model) => Box::pin(self.execute(Statement::CreateModel(model))).await.map(drop),
            BuiltIn::Table(table) => Box::pin(self.execute(Statement::CreateTable(table))).await.map(drop),
        };
        if let Err(error) = created {
            self.built_ins.statements.insert(name.to_owned(), built_in);
            return Err(error);
        }
        Ok(())
    }

    async fn create_built_in(&mut self, mut view: CreateView) -> Result<(), SqlError> {
        self.prepare(&Statement::CreateView(view.clone())).await?;
        if let (Some(retention_ms), None, true) = (self.retention_ms, view.retention_ms, view.is_materialized)
        {
            let retained = self.session.retained(&view.query, &self.catalog(), retention_ms).await?;
            view.query = retained.unwrap_or(view.query);
        }
        self.create_view(view).await.map(drop)
    }

    pub(super) async fn create_view(&mut self, mut view: CreateView) -> Result<Answer, SqlError> {
        let catalog = self.catalog();
        let tag = if view.is_materialized { "CREATE MATERIALIZED VIEW" } else { "CREATE VIEW" };
        let exists = catalog.contains_key(&view.name);
        if exists && view.if_not_exists {
            return Ok(Answer::Done(tag));
        }
        if exists && self.session.references(&parse_query(&view.query)?)?.contains(&view.name) {
            return Err(SqlError::Syntax(format!("view \"{}\" cannot read itself", view.name)));
        }
        let is_view =
            self.queries.load().contains_key(&view.name) || self.engine.views().contains_key(&view.name);
        if exists && !(view.or_replace && is_view) {
            return Err(SqlError::Exists(view.name));
        }
        if self.queries.load().len() + self.engine.views().len() >= VIEWS_MAX {
            return Err(SqlError::Limit {
                what: "there are as many views as there may be:",
                limit: VIEWS_MAX.to_string(),
                hint: "drop one",
            });
        }
        // Planned before anything is dropped: a view that cannot be replaced stays.
        if !view.is_materialized {
            let query = plain_query(&view)?;
            self.session.plan(parse_query(&query)?, &catalog, 0).await?;
            self.replace(&view.name, exists)?;
            self.edit_queries(|queries| drop(queries.insert(view.name.clone(), query.clone())));
            return Ok(Answer::Done(tag));
        }
        if let Some(retention_ms) = view.retention_ms {
            let retained = self.session.retained(&view.query, &catalog, retention_ms).await?;
            view.query = retained.ok_or_else(|| SqlError::Option {
                name: "retention".to_owned(),
                value: format!("{retention_ms} ms"),
                expected:
                    "a view has one whose groups are by a timestamp, as GROUP BY date_bin(...) makes them"
                        .to_owned(),
            })?;
        }
        let horizon_ms = view.horizon_ms.or(self.horizon_ms);
        let lowered = self.session.compile(&view.query, &catalog, horizon_ms).await?;
        let schema = renamed(&lowered.schema, &view.columns)?;
        let before = self.engine.views().get(&view.name).cloned();
        self.replace(&view.name, exists)?;
        let maintained = View {
            plan: Arc::new(lowered.plan),
            schema,
            retracts: lowered.retracts,
            query: view.query,
            horizon_ms,
            model: view.model,
        };
        if let Err(error) = self.engine.create_view(&view.name, maintained) {
            // What it was to take the place of stays: a restart would have it too.
            before
                .map_or(Ok(()), |before| self.engine.create_view(&view.name, before))
                .map_err(engine_error)?;
            return Err(engine_error(error));
        }
        Ok(Answer::Done(tag))
    }

    fn replace(&mut self, name: &str, exists: bool) -> Result<(), SqlError> {
        if exists { self.drop_views(&[name.to_owned()], false) } else { Ok(()) }
    }

    fn edit_queries(&self, edit: impl Fn(&mut BTreeMap<String, String>)) {
        self.queries.rcu(|queries| {
            let mut queries = BTreeMap::clone(queries);
            edit(&mut queries);
            queries
        });
    }

    /// Drops all of `names`, or none where one cannot be dropped; readers go before what they read.
    pub(super) fn drop_views(&mut self, names: &[String], if_exists: bool) -> Result<(), SqlError> {
        let mut left: Vec<&String> = vec![];
        for name in names {
            let is_there = self.queries.load().contains_key(name) || self.engine.views().contains_key(name);
            match is_there {
                true if !left.contains(&name) => left.push(name),
                true => {}
                false if if_exists => {}
                false => {
                    let hint = String::new();
                    return Err(SqlError::Missing { kind: "view", name: name.clone(), hint });
                }
            }
            let readers: Vec<String> =
                self.readers(name)?.into_iter().filter(|reader| !names.contains(reader)).collect();
            if !readers.is_empty() {
                return Err(SqlError::HasReaders { name: name.clone(), readers });
            }
        }
        while !left.is_empty() {
            let free = |name: &&String| self.readers(name).is_ok_and(|readers| readers.is_empty());
            let place = left.iter().position(free).unwrap_or(0);
            let name = left.swap_remove(place).clone();
            self.drop_view(&name)?;
        }
        Ok(())
    }

    fn drop_view(&mut self, name: &str) -> Result<(), SqlError> {
        if self.queries.load().contains_key(name) {
            self.edit_queries(|queries| drop(queries.remove(name)));
            return Ok(());
        }
        self.engine.drop_view(name).map_err(engine_error)
    }

    /// The views that read `name`.
    pub(super) fn readers(&self, name: &str) -> Result<Vec<String>, SqlError> {
        let maintained = self.engine.views().iter().map(|(reader, view)| (reader, &view.query));
        let mut readers = BTreeSet::new();
        let queries = self.queries.load();
        for (reader, query) in maintained.chain(queries.iter()) {
            let reads = self.session.references(&parse_query(query)?)?.iter().any(|r| r == name);
            if reads && reader != name {
                readers.insert(reader.clone());
            }
        }
        let connectors = self.engine.connectors();
        if connectors.sources.get(name).is_some_and(|source| source.schema.is_some()) {
            readers.insert(format!("source {name}"));
        }
        let sinks = connectors.sinks.values().filter(|sink| sink.definition.relation == name);
        readers.extend(sinks.map(|sink| format!("sink {}", sink.definition.name)));
        Ok(readers.into_iter().collect())
    }

    fn show_tables(&self) -> Result<Answer, SqlError> {
        let catalog = self.catalog();
        let rows = catalog.iter().map(|(name, r)| [name.clone(), r.kind_name().to_owned()]);
        let idle = self.built_ins.statements.iter();
        let idle = idle.map(|(name, built_in)| [name.clone(), built_in.kind().to_owned()]);
        texts(["name", "kind"], rows.chain(idle).collect())
    }

    fn show_views(&self) -> Result<Answer, SqlError> {
        let catalog = self.catalog();
        let rows = catalog.iter().filter_map(|(name, relation)| match &relation.kind {
            Kind::View { query, .. } | Kind::Query(query) => {
                Some([name.clone(), relation.kind_name().to_owned(), query.clone()])
            }
            _ => None,
        });
        let idle = self.built_ins.statements.iter();
        let idle =
            idle.filter_map(|(name, b)| Some([name.clone(), b.kind().to_owned(), b.query()?.to_owned()]));
        texts(["name", "kind", "definition"], rows.chain(idle).collect())
    }

    async fn show_columns(&self, name: &str) -> Result<Answer, SqlError> {
        let catalog = self.catalog();
        let relation = catalog.get(name).ok_or_else(|| missing(name, &catalog))?;
        let schema = match &relation.kind {
            Kind::Query(query) => {
                let (_, plan) = self.session.plan(parse_query(query)?, &catalog, 0).await?;
                Arc::new(plan.schema().as_arrow().clone())
            }
            _ => relation.schema.clone(),
        };
        let row = |f: &Arc<Field>| [f.name().clone(), f.data_type().to_string(), f.is_nullable().to_string()];
        texts(["column", "type", "nullable"], schema.fields().iter().map(row).collect())
    }

    fn show_create(&self, name: &str) -> Result<Answer, SqlError> {
        let catalog = self.catalog();
        let relation = catalog.get(name).ok_or_else(|| missing(name, &catalog))?;
        let (kind, query) = match &relation.kind {
            Kind::View { query, .. } => {
                let horizon_ms = self.engine.views().get(name).and_then(|v| v.horizon_ms);
                let columns: Vec<String> =
                    relation.schema.fields().iter().map(|f| format!("\"{}\"", f.name())).collect();
                let with = horizon_ms.map_or(String::new(), |ms| format!(" WITH (horizon = '{ms} ms')"));
                let text =
                    format!("CREATE MATERIALIZED VIEW {name} ({}){with} AS {query}", columns.join(", "));
                return texts(["name", "statement"], vec![[name.to_owned(), text]]);
            }
            Kind::Query(query) => ("VIEW", query),
            _ => return Err(SqlError::Missing { kind: "view", name: name.to_owned(), hint: String::new() }),
        };
        texts(["name", "statement"], vec![[name.to_owned(), format!("CREATE {kind} {name} AS {query}")]])
    }

    /// The stream tables that `statement` reads, not counting those that only views read.
    pub async fn streams_read(&self, statement: &Statement) -> Result<Vec<Table>, SqlError> {
        let catalog = self.catalog();
        let mut names = match statement {
            Statement::Query(statement) => self.session.references(statement)?,
            Statement::Write(write) => write.relations(),
            Statement::CreateTable(create) => self.relations_of(create)?,
            _ => return Ok(vec![]),
        };
        let (mut found, mut seen) = (vec![], BTreeSet::new());
        // A named query stands for its text.
        while let Some(name) = names.pop() {
            if !seen.insert(name.clone()) {
                continue;
            }
            if let Some(Kind::Query(query)) = catalog.get(&name).map(|r| &r.kind) {
                names.extend(self.session.references(&parse_query(query)?)?);
            }
            found.extend(Table::all().into_iter().filter(|t| t.name() == name));
        }
        Ok(found)
    }
}

/// `schema` under other column names, where some are given.
pub(super) fn renamed(schema: &SchemaRef, names: &[String]) -> Result<SchemaRef, SqlError> {
    let own: Vec<String> = schema.fields().iter().map(|f| f.name().clone()).collect();
    let all = if names.is_empty() { &own } else { names };
    let mut seen = BTreeSet::new();
    if let Some(twice) = all.iter().find(|name| !seen.insert(*name)) {
        return Err(SqlError::Syntax(format!(
            "column \"{twice}\" is there twice; name one of the two with AS"
        )));
    }
    if names.is_empty() {
        return Ok(schema.clone());
    }
    if names.len() != schema.fields().len() {
        let (given, expected) = (names.len(), schema.fields().len());
        return Err(SqlError::Syntax(format!("{given} column names for a query of {expected} columns")));
    }
    let fields = schema.fields().iter().zip(names).map(|(f, name)| f.as_ref().clone().with_name(name));
    Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}

/// The text that stands for a view that is not maintained.
fn plain_query(view: &CreateView) -> Result<String, SqlError> {
    for (name, value) in [("horizon", view.horizon_ms), ("retention", view.retention_ms)] {
        if let Some(ms) = value {
            return Err(SqlError::Option {
                name: name.to_owned(),
                value: format!("{ms} ms"),
                expected: "only a materialized view keeps rows".to_owned(),
            });
        }
    }
    Ok(match view.columns.is_empty() {
        true => view.query.clone(),
        false => {
            let columns: Vec<String> = view.columns.iter().map(|c| format!("\"{c}\"")).collect();
            format!("SELECT * FROM ({}) AS \"{}\" ({})", view.query, view.name, columns.join(", "))
        }
    })
}

pub(super) fn engine_error(error: EngineError) -> SqlError {
    error.into()
}

/// Rows of text under `names`.
pub(super) fn texts<const N: usize>(names: [&str; N], rows: Vec<[String; N]>) -> Result<Answer, SqlError> {
    let fields: Vec<Field> = names.iter().map(|n| Field::new(*n, DataType::Utf8, false)).collect();
    let schema = Arc::new(Schema::new(fields));
    let columns =
        (0..N).map(|i| Arc::new(StringArray::from_iter_values(rows.iter().map(|r| &r[i]))) as ArrayRef);
    let batch = RecordBatch::try_new(schema.clone(), columns.collect())?;
    Ok(Answer::Rows { batches: vec![recast(&batch, &schema)?], schema })
}
