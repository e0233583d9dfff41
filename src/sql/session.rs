//! Planning and running queries over one state of the catalog.

use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use chrono::DateTime;
use datafusion::catalog::{CatalogProvider, MemorySchemaProvider, SchemaProvider};
use datafusion::common::ExprSchema;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::ViewTable;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::{SQLOptions, SessionConfig, SessionState};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::{AnalyzerRule, Optimizer, OptimizerRule};
use datafusion::physical_plan::common::collect;
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement;

use super::canonical::CanonicalAggregates;
use super::catalog::{Catalog, Kind, RelationTable, without_disk};
use super::elapsed::Elapsed;
use super::error::SqlError;
use super::lower::{self, Lowered};
use super::one_nan::OneNan;
use super::pg_catalog::{Client, Listed, Listing, PgCatalog, add_indexes};
use super::question::{Description, Parameter, Question, parameter_types, with_parameters};
use super::set_operations::{UnnestRepeats, count_rows};
use super::{detectors, from, functions, json, physical_rules, subquery, ties, windows};

/// The catalog, which clients call the database.
pub const CATALOG: &str = "undercurrent";
/// The schema that all relations are in.
pub const SCHEMA: &str = "public";

/// The most nodes of a query's plan, views expanded.
const PLAN_NODES_MAX: usize = 10_000;

/// How deep views on views may go.
const VIEW_DEPTH_MAX: usize = 32;

/// The rows of a query, as they come.
pub type RowStream = datafusion::execution::SendableRecordBatchStream;

/// DataFusion with our functions and settings; cheap to clone.
#[derive(Clone)]
pub struct Session {
    base: SessionState,
    /// Made when the first client asks for it.
    pg_catalog: Arc<OnceLock<PgCatalog>>,
}

impl Default for Session {
    fn default() -> Self {
        Session::new(usize::MAX)
    }
}

impl Session {
    /// A session whose queries together may hold `memory_bytes_max` in sorts, groups and joins.
    pub fn new(memory_bytes_max: usize) -> Self {
        let mut config = SessionConfig::new()
            .with_default_catalog_and_schema(CATALOG, SCHEMA)
            .with_create_default_catalog_and_schema(false)
            .with_information_schema(true);
        let options = config.options_mut();
        // One text type everywhere: views of text cannot be gathered from many segments cheaply.
        options.sql_parser.map_string_types_to_utf8view = false;
        options.sql_parser.dialect = datafusion::config::Dialect::PostgreSQL;
        options.execution.time_zone = Some("+00:00".to_owned());
        // DataFusion's check of nullability fails on valid queries after outer joins.
        options.execution.skip_physical_aggregate_schema_check = true;
        // A subquery beside the plan is said to have a value, and may have none; joined, as in views, it may be null.
        options.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
        // Panics on some valid queries.
        options.optimizer.enable_topk_aggregation = false;
        let runtime = RuntimeEnv {
            memory_pool: Arc::new(GreedyMemoryPool::new(memory_bytes_max)),
            ..RuntimeEnv::default()
        };
        let mut context = SessionContext::new_with_config_rt(config, Arc::new(runtime));
        functions::register(&context);
        windows::register(&context);
        // A session of DataFusion takes any function.
        let _ = json::register(&mut context).and_then(|()| detectors::register(&mut context));
        let state = context.state();
        let rules = physical_rules::of(&state);
        let builder = SessionStateBuilder::new_from_existing(state).with_physical_optimizer_rules(rules);
        let builder = builder
            .with_analyzer_rule(Arc::new(CanonicalAggregates))
            .with_analyzer_rule(Arc::new(UnnestRepeats))
            .with_analyzer_rule(Arc::new(Elapsed))
            .with_analyzer_rule(Arc::new(OneNan));
        let base = builder.with_optimizer_rules(logical_rules().collect()).build();
        Session { base, pg_catalog: Arc::default() }
    }

    /// Plans `statement` over `catalog` at `tick` (milliseconds), which is its `now()`.
    pub async fn plan(
        &self,
        statement: Statement,
        catalog: &Catalog,
        tick: u64,
    ) -> Result<(SessionState, LogicalPlan), SqlError> {
        let state = self.state(tick);
        let plan = Box::pin(bind(&state, statement, catalog, 0)).await?;
        let plan = ties::break_ties(plan, &state)?;
        Ok((state, plan))
    }

    /// Plans `question` with its parameters, as [`plan`](Self::plan) does.
    pub async fn plan_question(
        &self,
        question: &Question,
        parameters: Vec<Parameter>,
        catalog: &Catalog,
        tick: u64,
    ) -> Result<(SessionState, LogicalPlan), SqlError> {
        let (state, plan) = self.bind_question(question, catalog, tick).await?;
        let plan = ties::break_ties(with_parameters(plan, parameters)?, &state)?;
        Ok((state, plan))
    }

    async fn bind_question(
        &self,
        question: &Question,
        catalog: &Catalog,
        tick: u64,
    ) -> Result<(SessionState, LogicalPlan), SqlError> {
        let state = match &question.client {
            None => self.state(tick),
            Some(client) => self.client_state(client, catalog, tick).await?,
        };
        let plan = Box::pin(bind(&state, question.statement.clone(), catalog, 0)).await?;
        Ok((state, plan))
    }

    /// The columns and the parameters of `question`, some of whose types are known. Nothing is read for it.
    pub async fn describe(
        &self,
        question: &Question,
        known: &[Option<DataType>],
        catalog: &Catalog,
        tick: u64,
    ) -> Result<Description, SqlError> {
        let (state, plan) = self.bind_question(question, catalog, tick).await?;
        let parameters = parameter_types(&plan, known)?;
        let nulls = parameters.iter().map(|t| Parameter::try_from(t).map_err(SqlError::from));
        let plan = with_parameters(plan, nulls.collect::<Result<_, _>>()?)?;
        // Only the optimizer settles the types of columns.
        let plan = state.optimize(&plan)?;
        Ok(Description { schema: Arc::new(plan.schema().as_arrow().clone()), parameters })
    }

    /// Runs a query over `catalog` as it is at `tick`.
    pub async fn query(
        &self,
        statement: Statement,
        catalog: &Catalog,
        tick: u64,
    ) -> Result<(SchemaRef, Vec<RecordBatch>), SqlError> {
        let (state, plan) = self.plan(statement, catalog, tick).await?;
        let rows = self.run(&state, &plan).await?;
        let schema = rows.schema();
        Ok((schema, collect(rows).await?))
    }

    /// Runs `plan`, which [`plan`](Self::plan) made with `state`. Errors of its rows are
    /// those of DataFusion.
    pub async fn run(&self, state: &SessionState, plan: &LogicalPlan) -> Result<RowStream, SqlError> {
        SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false)
            .verify_plan(plan)?;
        let physical = state.create_physical_plan(plan).await?;
        execute_stream(physical, state.task_ctx()).map_err(SqlError::from)
    }

    /// Compiles the SELECT `query` to a dataflow over the relations of `catalog`.
    pub async fn compile(
        &self,
        query: &str,
        catalog: &Catalog,
        horizon_ms: Option<u64>,
    ) -> Result<Lowered, SqlError> {
        let statement = super::statement::parse_query(query)?;
        let (state, plan) = self.plan(statement, &without_disk(catalog), 0).await?;
        SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false)
            .verify_plan(&plan)?;
        refuse_system_tables(&plan, catalog)?;
        lower::refuse_unoptimized(&plan)?;
        ties::refuse_open(&plan)?;
        let plan = lower::keep_at_groups(lower::replace_now(plan)?)?;
        let plan = view_optimizer(state, &plan)?.optimize(&plan)?;
        let retracts = |name: &str| match catalog.get(name).map(|r| &r.kind) {
            Some(Kind::View { retracts, .. }) => *retracts,
            Some(Kind::Table { definition, .. }) => !definition.is_append_only,
            _ => false,
        };
        lower::lower(&plan, &lower::Options { retracts: &retracts, horizon_ms })
    }

    /// `query` with its groups of the last `retention_ms` milliseconds of stream time alone, by the first
    /// timestamp that they are grouped by; `None` where they are by none.
    pub async fn retained(
        &self,
        query: &str,
        catalog: &Catalog,
        retention_ms: u64,
    ) -> Result<Option<String>, SqlError> {
        let (_, plan) = self.plan(super::statement::parse_query(query)?, catalog, 0).await?;
        for column in plan.schema().columns() {
            let is_time = matches!(plan.schema().data_type(&column)?, DataType::Timestamp(..));
            if is_time && lower::place(&Expr::Column(column.clone()), &plan)?.is_some() {
                let name = column.name.replace('"', "\"\"");
                return Ok(Some(format!(
                    "SELECT * FROM ({query}) AS retained WHERE retained.\"{name}\" > now() - INTERVAL '{retention_ms} milliseconds'"
                )));
            }
        }
        Ok(None)
    }

    /// The type of a column that is declared as `data_type`, and the most characters of its texts.
    pub async fn storable(
        &self,
        data_type: &datafusion::sql::sqlparser::ast::DataType,
    ) -> Result<(DataType, Option<u64>), SqlError> {
        let (name, length_max) = super::table::storable(data_type)?;
        let query = super::statement::parse_query(&format!("SELECT CAST(NULL AS {name})"))?;
        let (_, plan) = self.plan(query, &Catalog::new(), 0).await?;
        Ok((plan.schema().field(0).data_type().clone(), length_max))
    }

    /// The names of the relations that `statement` reads directly.
    pub fn references(&self, statement: &Statement) -> Result<Vec<String>, SqlError> {
        let references = self.base.resolve_table_references(statement)?;
        let functions = self.base.table_functions();
        let ours = references
            .into_iter()
            .filter(|r| r.schema().is_none_or(|s| s == SCHEMA) && !functions.contains_key(r.table()));
        Ok(ours.map(|r| r.table().to_owned()).collect())
    }

    /// What a question of `client` about PostgreSQL's catalog is planned with.
    async fn client_state(
        &self,
        client: &Arc<Client>,
        catalog: &Catalog,
        tick: u64,
    ) -> Result<SessionState, SqlError> {
        let pg_catalog = match self.pg_catalog.get() {
            Some(pg_catalog) => pg_catalog,
            None => {
                let made = PgCatalog::new(&self.base)?;
                self.pg_catalog.get_or_init(|| made)
            }
        };
        let listing = self.listing(catalog, tick).await;
        let state = self.state(tick);
        let database = state.catalog_list().catalog(CATALOG);
        let database =
            database.ok_or_else(|| SqlError::Engine("the catalog of a session is gone".to_owned()))?;
        let builder = pg_catalog.state(database.as_ref(), listing, client)?;
        Ok(started(builder.with_catalog_list(state.catalog_list().clone()).build(), tick))
    }

    /// All relations of `catalog` with their columns. A view whose query cannot be planned now has none.
    async fn listing(&self, catalog: &Catalog, tick: u64) -> Listing {
        let mut listing = Listing::new();
        for (name, relation) in catalog {
            let schema = relation.schema.clone();
            let mut listed = Listed { schema, kind: 'r', definition: None, table: None };
            match &relation.kind {
                Kind::Stream(_) | Kind::System(_) => {}
                Kind::Table { definition, .. } => listed.table = Some(definition.clone()),
                Kind::View { query, .. } => (listed.kind, listed.definition) = ('m', Some(query.clone())),
                Kind::Query(query) => {
                    (listed.kind, listed.definition) = ('v', Some(query.clone()));
                    let planned = match super::statement::parse_query(query) {
                        Ok(statement) => self.plan(statement, catalog, tick).await,
                        Err(error) => Err(error),
                    };
                    let schema = planned.map(|(_, plan)| plan.schema().as_arrow().clone());
                    listed.schema = Arc::new(schema.unwrap_or_else(|_| Schema::empty()));
                }
            }
            listing.insert(name.clone(), listed);
        }
        add_indexes(&mut listing);
        listing
    }

    fn state(&self, tick: u64) -> SessionState {
        let catalogs = datafusion::catalog::MemoryCatalogProviderList::new();
        let catalog = datafusion::catalog::MemoryCatalogProvider::new();
        let schema: Arc<dyn SchemaProvider> = Arc::new(MemorySchemaProvider::new());
        // Both are fresh and in memory: registering cannot fail.
        let _ = catalog.register_schema(SCHEMA, schema);
        let _ = datafusion::catalog::CatalogProviderList::register_catalog(
            &catalogs,
            CATALOG.to_owned(),
            Arc::new(catalog),
        );
        let state = SessionStateBuilder::new_from_existing(self.base.clone())
            .with_catalog_list(Arc::new(catalogs))
            .build();
        started(state, tick)
    }
}

/// `state` at the begin of a query, whose `now()` is `tick`.
fn started(mut state: SessionState, tick: u64) -> SessionState {
    state.mark_start_execution();
    state.execution_props_mut().query_execution_start_time = DateTime::from_timestamp_millis(tick as i64);
    state
}

/// DataFusion's logical rules without two that pull field accesses towards the scan: they save nothing on rows
/// in memory, and fail on valid queries ("Schema contains qualified field name ...").
fn logical_rules() -> impl Iterator<Item = Arc<dyn OptimizerRule + Send + Sync>> {
    const FAILING: [&str; 2] = ["extract_leaf_expressions", "push_down_leaf_projections"];
    Optimizer::new().rules.into_iter().filter(|rule| !FAILING.contains(&rule.name()))
}

/// Registers what `statement` reads in `state`, views first, and plans it.
async fn bind(
    state: &SessionState,
    mut statement: Statement,
    catalog: &Catalog,
    depth: usize,
) -> Result<LogicalPlan, SqlError> {
    if depth > VIEW_DEPTH_MAX {
        return Err(SqlError::Syntax(format!("views on views deeper than {VIEW_DEPTH_MAX}")));
    }
    from::rewrite(&mut statement, &|name| catalog.contains_key(name))?;
    let schema = state
        .catalog_list()
        .catalog(CATALOG)
        .and_then(|c| c.schema(SCHEMA))
        .ok_or_else(|| SqlError::Engine("the catalog of a session is gone".to_owned()))?;
    for reference in state.resolve_table_references(&statement)? {
        let name = reference.table();
        let is_ours = reference.schema().is_none_or(|s| s == SCHEMA);
        let is_function = !catalog.contains_key(name) && state.table_functions().contains_key(name);
        if !is_ours || is_function || schema.table_exist(name) {
            continue;
        }
        let Some(relation) = catalog.get(name) else { return Err(missing(name, catalog)) };
        let table: Arc<dyn datafusion::catalog::TableProvider> = match &relation.kind {
            Kind::Stream(contents)
            | Kind::System(contents)
            | Kind::View { contents, .. }
            | Kind::Table { contents, .. } => {
                Arc::new(RelationTable { schema: relation.schema.clone(), contents: contents.clone() })
            }
            Kind::Query(query) => {
                let inner = super::statement::parse_query(query)?;
                let plan = Box::pin(bind(state, inner, catalog, depth + 1)).await?;
                Arc::new(ViewTable::new(plan, Some(query.clone())))
            }
        };
        schema.register_table(name.to_owned(), table)?;
    }
    let plan = count_rows(state.statement_to_plan(statement).await?)?;
    refuse_large(&plan)?;
    super::recursion::refuse_in_subqueries(&plan)?;
    if !subquery::occur_in(&plan)? {
        return Ok(plan);
    }
    subquery::rewrite(plan, state).map_err(SqlError::from)
}

/// Refuses a plan that views on views have made very large: each stands in it as often as it is named.
fn refuse_large(plan: &LogicalPlan) -> Result<(), SqlError> {
    let mut nodes = 0;
    plan.apply_with_subqueries(|_| {
        nodes += 1;
        Ok(if nodes > PLAN_NODES_MAX { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    match nodes > PLAN_NODES_MAX {
        false => Ok(()),
        true => Err(SqlError::Limit {
            what: "with the views that it names, the query has more parts than",
            limit: PLAN_NODES_MAX.to_string(),
            hint: "make one of the views a materialized view",
        }),
    }
}

/// The optimizer for views: all subqueries become joins, and no rule hides `now()` behind a column.
fn view_optimizer(state: SessionState, plan: &LogicalPlan) -> Result<SessionState, SqlError> {
    let mut uses_now = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|e| {
            uses_now |= lower::uses_now(e);
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    let rules =
        logical_rules().filter(|rule| !(uses_now && rule.name() == "common_sub_expression_eliminate"));
    // Rows are repeated by their multiplicity.
    let analyzers = state.analyzer().rules.iter().filter(|rule| rule.name() != UnnestRepeats.name());
    let analyzers = analyzers.cloned().collect();
    let builder = SessionStateBuilder::new_from_existing(state);
    let builder = builder.with_analyzer_rules(analyzers);
    Ok(builder.with_optimizer_rules(rules.collect()).build())
}

fn refuse_system_tables(plan: &LogicalPlan, catalog: &Catalog) -> Result<(), SqlError> {
    let (mut found, mut function) = (None, None);
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let name = scan.table_name.table();
            if name.ends_with("()") {
                function = Some(name.to_owned());
            }
            // A recursive query hides a relation of its name.
            let is_relation = super::recursion::work_table(scan).is_none();
            if is_relation
                && matches!(catalog.get(name).map(|r| &r.kind), Some(Kind::System(_) | Kind::Query(_)))
            {
                found = Some(name.to_owned());
            }
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    if let Some(name) = function {
        return Err(SqlError::unsupported(
            format!("the table function {name}"),
            "its rows are no stream",
            "join it when you read the view",
        ));
    }
    match found {
        Some(name) => Err(SqlError::unsupported(
            format!("the system table \"{name}\""),
            "it is not maintained by ticks",
            "read it in a query of its own",
        )),
        None => Ok(()),
    }
}

/// That there is no relation `name`, with the closest name there is.
pub fn missing(name: &str, catalog: &Catalog) -> SqlError {
    let distance = |other: &str| datafusion::common::utils::datafusion_strsim::levenshtein(name, other);
    let closest = catalog.keys().min_by_key(|other| distance(other));
    let hint = match closest.filter(|other| distance(other) <= name.len().div_ceil(3)) {
        Some(other) => format!("; did you mean \"{other}\"?"),
        None => "; SHOW TABLES lists what there is".to_owned(),
    };
    SqlError::Missing { kind: "relation", name: name.to_owned(), hint }
}
