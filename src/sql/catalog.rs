//! The relations that a statement can name, as they are at one tick.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::union::UnionExec;

use super::error::SqlError;
use super::table::TableDefinition;

/// Where the rows of a relation come from when a query reads it.
pub trait Contents: Send + Sync {
    /// All rows at the catalog's tick.
    fn read(&self) -> Result<Vec<RecordBatch>, SqlError>;

    /// Whether some of the rows are on disk.
    fn is_on_disk(&self) -> bool {
        false
    }

    /// Where some of the rows are on disk: those, and the others.
    fn parts(&self) -> Option<(Arc<dyn OnDisk>, Vec<RecordBatch>)> {
        None
    }
}

/// Rows that a query reads as far as it needs them.
pub trait OnDisk: Send + Sync {
    /// A plan that gives what is `wanted` of them, and maybe rows that do not pass its filters.
    fn scan(&self, wanted: &Wanted<'_>) -> DataFusionResult<Arc<dyn ExecutionPlan>>;
}

/// What a query wants of a relation.
pub struct Wanted<'a> {
    /// What it is planned with.
    pub session: &'a dyn Session,
    /// The columns of the relation.
    pub schema: &'a SchemaRef,
    /// Those that are wanted, in this order.
    pub columns: Vec<usize>,
    /// What rows have to meet: all of it.
    pub filters: &'a [Expr],
}

/// What a relation is.
#[derive(Clone)]
pub enum Kind {
    /// A table that telemetry flows into: rows only come.
    Stream(Arc<dyn Contents>),
    /// A table that a user created.
    Table {
        /// Its rows.
        contents: Arc<dyn Contents>,
        /// Its columns and its key.
        definition: Arc<TableDefinition>,
    },
    /// A maintained query.
    View {
        /// Its rows.
        contents: Arc<dyn Contents>,
        /// Whether its rows can be retracted.
        retracts: bool,
        /// The SELECT that defines it.
        query: String,
    },
    /// A named query, not maintained: its text stands for it wherever it is named.
    Query(String),
    /// A table about the engine itself, which views cannot read.
    System(Arc<dyn Contents>),
}

/// A relation.
#[derive(Clone)]
pub struct Relation {
    /// Its columns; empty for a [`Kind::Query`], whose text says them.
    pub schema: SchemaRef,
    /// What it is.
    pub kind: Kind,
}

impl Relation {
    /// What SHOW TABLES calls it.
    pub fn kind_name(&self) -> &'static str {
        match self.kind {
            Kind::Stream(_) => "stream",
            Kind::Table { .. } => "table",
            Kind::View { .. } => "materialized view",
            Kind::Query(_) => "view",
            Kind::System(_) => "system table",
        }
    }
}

/// All relations by name.
pub type Catalog = BTreeMap<String, Relation>;

/// `catalog` for plans that nothing is read for: filters stay where they are.
pub(super) fn without_disk(catalog: &Catalog) -> Catalog {
    let mut catalog = catalog.clone();
    for relation in catalog.values_mut() {
        if let Kind::Stream(contents) | Kind::Table { contents, .. } = &mut relation.kind
            && contents.is_on_disk()
        {
            *contents = Arc::new(Rows(vec![]));
        }
    }
    catalog
}

/// A relation as DataFusion sees it.
pub(super) struct RelationTable {
    pub schema: SchemaRef,
    pub contents: Arc<dyn Contents>,
}

impl fmt::Debug for RelationTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelationTable").finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for RelationTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        let is_used = self.contents.is_on_disk();
        let support = if is_used {
            TableProviderFilterPushDown::Inexact
        } else {
            TableProviderFilterPushDown::Unsupported
        };
        Ok(vec![support; filters.len()])
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let (on_disk, batches) = match self.contents.parts() {
            Some((on_disk, batches)) => (Some(on_disk), batches),
            None => (None, self.contents.read().map_err(plain)?),
        };
        let batches =
            batches.into_iter().map(|rows| recast(&rows, &self.schema)).collect::<Result<_, _>>()?;
        let source = MemorySourceConfig::try_new_exec(&[batches], self.schema.clone(), projection.cloned())?;
        let Some(on_disk) = on_disk else { return Ok(source) };
        let columns = projection.map_or_else(|| (0..self.schema.fields().len()).collect(), Clone::clone);
        let old = on_disk.scan(&Wanted { session, schema: &self.schema, columns, filters })?;
        UnionExec::try_new(vec![source, old])
    }
}

fn plain(error: SqlError) -> DataFusionError {
    match error {
        SqlError::DataFusion(error) => error,
        other => DataFusionError::External(Box::new(other)),
    }
}

/// The columns of `rows` under the names of `schema`.
pub fn recast(rows: &RecordBatch, schema: &SchemaRef) -> DataFusionResult<RecordBatch> {
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), rows.columns().to_vec(), &options)?)
}

/// Rows that are there already.
pub struct Rows(pub Vec<RecordBatch>);

impl Contents for Rows {
    fn read(&self) -> Result<Vec<RecordBatch>, SqlError> {
        Ok(self.0.clone())
    }
}
