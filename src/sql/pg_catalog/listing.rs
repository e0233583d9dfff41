//! What the catalog lists: all relations with their columns.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::datasource::TableType;
use datafusion::error::DataFusionError;
use datafusion_pg_catalog::pg_catalog::PG_CATALOG_TABLES;
use datafusion_pg_catalog::pg_catalog::catalog_info::CatalogInfo;
use datafusion_pg_catalog::pg_catalog::context::{PgCatalogContextProvider, Role};

use super::{DATABASE, SCHEMA};
use crate::sql::table::TableDefinition;

/// One relation.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its columns.
    pub schema: SchemaRef,
    /// PostgreSQL's `relkind`: `r` a table, `v` a view, `m` a materialized view, [`INDEX`].
    pub kind: char,
    /// The SELECT that defines a view, or the statement that would create an index.
    pub definition: Option<String>,
    /// What a user said of a table that is theirs.
    pub table: Option<Arc<TableDefinition>>,
}

/// The kind of the index of a primary key.
pub(super) const INDEX: char = 'i';

/// All relations by name.
pub type Listing = BTreeMap<String, Listed>;

/// The tables of the catalog read the relations of the latest query.
#[derive(Clone)]
pub(super) struct Shown(pub Arc<ArcSwap<Listing>>);

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shown").finish_non_exhaustive()
    }
}

/// The one role: whoever connects may do all there is.
#[derive(Clone, Debug)]
pub(super) struct Owner;

#[async_trait]
impl PgCatalogContextProvider for Owner {
    async fn roles(&self) -> Vec<String> {
        vec![DATABASE.to_owned()]
    }

    async fn role(&self, name: &str) -> Option<Role> {
        (name == DATABASE).then(|| Role {
            name: name.to_owned(),
            is_superuser: false,
            can_login: true,
            can_create_db: false,
            can_create_role: false,
            can_create_user: false,
            can_replication: false,
            grants: vec![],
            inherited_roles: vec![],
        })
    }
}

#[async_trait]
impl CatalogInfo for Shown {
    async fn catalog_names(&self) -> Result<Vec<String>, DataFusionError> {
        Ok(vec![DATABASE.to_owned()])
    }

    async fn schema_names(&self, _catalog: &str) -> Result<Option<Vec<String>>, DataFusionError> {
        Ok(Some([SCHEMA, "pg_catalog", "information_schema"].map(str::to_owned).into()))
    }

    async fn table_names(
        &self,
        _catalog: &str,
        schema: &str,
    ) -> Result<Option<Vec<String>>, DataFusionError> {
        Ok(Some(match schema {
            SCHEMA => self.0.load().keys().cloned().collect(),
            "pg_catalog" => PG_CATALOG_TABLES.iter().map(|name| (*name).to_owned()).collect(),
            _ => vec![],
        }))
    }

    async fn table_schema(
        &self,
        _catalog: &str,
        schema: &str,
        table: &str,
    ) -> Result<Option<SchemaRef>, DataFusionError> {
        Ok(match schema {
            SCHEMA => self.0.load().get(table).map(|listed| listed.schema.clone()),
            // Listed by name alone: `'pg_class'::regclass` is asked for, their columns are not.
            _ => Some(Arc::new(Schema::empty())),
        })
    }

    async fn table_type(
        &self,
        _catalog: &str,
        _schema: &str,
        _table: &str,
    ) -> Result<Option<TableType>, DataFusionError> {
        Ok(Some(TableType::Base))
    }
}
