//! PostgreSQL's catalog: `pg_catalog`, `information_schema` and their functions, so that clients that ask a
//! PostgreSQL what it holds are answered.
//!
//! Only statements that [concern](concerns) the catalog are read this way, and only for clients that speak
//! PostgreSQL's protocol: all other queries mean the same everywhere. Tables and functions are those of the
//! crate `datafusion-pg-catalog`; what it lacks or does not know of our relations stands beside it here.

mod functions;
mod information_schema;
mod keys;
mod listing;
mod rewrite;
mod tables;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use arc_swap::ArcSwap;
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, MemoryCatalogProviderList};
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::{SessionConfig, SessionState};
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_pg_catalog::pg_catalog::{PgCatalogSchemaProvider, PgCatalogStaticTables, setup_pg_catalog};
use datafusion_pg_catalog::sql::PostgresCompatibilityParser;

pub(super) use self::keys::add_indexes;
pub(super) use self::listing::{Listed, Listing};
use self::listing::{Owner, Shown};
use super::error::SqlError;
use super::nesting;
use super::statement::Parsed;

/// The name of the database.
const DATABASE: &str = "undercurrent";

/// The schema of all relations.
const SCHEMA: &str = "public";

/// The version that `version()` tells.
pub const VERSION: &str = concat!("PostgreSQL 16.6 (Undercurrent ", env!("CARGO_PKG_VERSION"), ")");

/// Words by which a statement concerns the catalog, beside all that begin with `pg_`.
const WORDS: &[&str] = &[
    "age",
    "col_description",
    "current_catalog",
    "current_database",
    "current_role",
    "current_schema",
    "current_schemas",
    "current_setting",
    "current_user",
    "format_type",
    "has_any_column_privilege",
    "has_column_privilege",
    "has_database_privilege",
    "has_function_privilege",
    "has_schema_privilege",
    "has_table_privilege",
    "inet_client_addr",
    "inet_server_addr",
    "inet_server_port",
    "information_schema",
    "obj_description",
    "parse_ident",
    "quote_ident",
    "quote_literal",
    "regclass",
    "regnamespace",
    "regproc",
    "regprocedure",
    "regrole",
    "regtype",
    "session_user",
    "set_config",
    "shobj_description",
    "to_regclass",
    "txid_current",
    "version",
];

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Client {
    /// The user: what `current_user` says.
    pub user: String,
    /// What `pg_backend_pid()` says.
    pub process_id: i32,
    /// The settings of the session: what `current_setting` reads.
    pub settings: BTreeMap<String, String>,
}

/// The catalog of one process: the same relation has the same OID in all queries.
pub(super) struct PgCatalog {
    /// Functions and types.
    base: SessionState,
    tables: Arc<PgCatalogSchemaProvider<Shown, Owner>>,
    /// What the tables list: the relations of the latest query.
    listing: Arc<ArcSwap<Listing>>,
}

impl PgCatalog {
    /// The catalog, on top of the functions of `base`.
    pub fn new(base: &SessionState) -> DataFusionResult<Self> {
        let catalogs = MemoryCatalogProviderList::new();
        let catalog: Arc<dyn CatalogProvider> = Arc::new(MemoryCatalogProvider::new());
        datafusion::catalog::CatalogProviderList::register_catalog(&catalogs, DATABASE.to_owned(), catalog);
        let state = SessionStateBuilder::new_from_existing(base.clone())
            .with_catalog_list(Arc::new(catalogs))
            .build();
        let context = SessionContext::new_with_state(state);
        setup_pg_catalog(&context, DATABASE, EmptyContextProvider).map_err(|error| *error)?;
        functions::register(&context);
        let listing: Arc<ArcSwap<Listing>> = Arc::default();
        let tables = Arc::new(PgCatalogStaticTables::try_new()?);
        let tables = PgCatalogSchemaProvider::try_new(Shown(listing.clone()), tables, Owner)?;
        Ok(PgCatalog { base: context.state(), tables: Arc::new(tables), listing })
    }

    /// What a query of `client` is planned with, over the relations of `listing`.
    pub fn state(
        &self,
        catalog: &dyn CatalogProvider,
        listing: Listing,
        client: &Arc<Client>,
    ) -> DataFusionResult<SessionStateBuilder> {
        let listing = Arc::new(listing);
        self.listing.store(listing.clone());
        let pg = tables::PgSchema::new(self.tables.clone(), listing.clone(), client.clone());
        catalog.register_schema("pg_catalog", Arc::new(pg))?;
        catalog.register_schema("information_schema", information_schema::schema(&listing)?)?;
        let config: SessionConfig = self.base.config().clone().with_information_schema(false);
        let mut state = self.base.clone();
        functions::register_client(&mut state, &listing, client)?;
        Ok(SessionStateBuilder::new_from_existing(state).with_config(config))
    }
}

/// Whether a client that sends `sql` asks for what only PostgreSQL's catalog knows. A column or an alias that
/// shares a name with something of it does not count: the query means the same on every port.
pub fn concerns(sql: &str) -> bool {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize().unwrap_or_default();
    let tokens: Vec<&Token> = tokens.iter().filter(|token| !matches!(token, Token::Whitespace(_))).collect();
    let word = |index: usize| match tokens.get(index) {
        Some(Token::Word(word)) => word.value.to_lowercase(),
        _ => String::new(),
    };
    // Views cannot read the catalog, and what is no query is not rewritten.
    let is_query = ["select", "with", "values", "table", "explain"].contains(&word(0).as_str());
    is_query && word(1) != "dataflow" && (0..tokens.len()).any(|index| is_of_catalog(&tokens, &word, index))
}

/// Whether the token at `index` names something of the catalog, judged by its neighbours.
fn is_of_catalog(tokens: &[&Token], word: &impl Fn(usize) -> String, index: usize) -> bool {
    let name = word(index);
    let before = index.checked_sub(1).and_then(|before| tokens.get(before)).copied();
    let word_before = index.checked_sub(1).map(word).unwrap_or_default();
    let is_before = |token: &Token| tokens.get(index + 1) == Some(&token);
    let is_part = before == Some(&Token::Period);
    let is_call = is_before(&Token::LParen) && !is_part;
    match name.as_str() {
        "pg_catalog" | "information_schema" => is_before(&Token::Period),
        "current_catalog" | "current_role" | "current_schema" | "current_user" | "session_user" => {
            !is_part && word_before != "as"
        }
        _ if name.starts_with("reg") => {
            WORDS.binary_search(&name.as_str()).is_ok()
                && (before == Some(&Token::DoubleColon) || word_before == "as")
        }
        _ if name.starts_with("pg_") => {
            is_call
                || before == Some(&Token::Comma)
                || ["from", "join", "table", "only"].contains(&word_before.as_str())
        }
        _ => is_call && WORDS.binary_search(&name.as_str()).is_ok(),
    }
}

/// A client's question about the catalog, rewritten to what can be planned.
pub(super) fn parse(sql: &str) -> Result<Parsed, SqlError> {
    static PARSER: LazyLock<PostgresCompatibilityParser> = LazyLock::new(PostgresCompatibilityParser::new);
    nesting::check(sql)?;
    let sql = rewrite::with_defaults(sql);
    let mut statements = PARSER.parse(&sql).map_err(|e| SqlError::DataFusion(e.into()))?;
    match (statements.pop(), statements.is_empty()) {
        (Some(mut statement), true) => {
            rewrite::rewrite(&mut statement);
            Ok(Parsed::Statement(Box::new(statement)))
        }
        _ => Err(SqlError::Syntax("one statement is expected".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_questions_about_the_catalog_concern_it() {
        assert!(WORDS.is_sorted());
        for sql in [
            "SELECT version()",
            "select relname from PG_CLASS",
            "SELECT CAST(current_setting('server_version_num') AS INT)/100",
            "SELECT * FROM information_schema.tables",
            "SELECT 'spans'::regclass",
            "SELECT CAST('spans' AS regclass)",
            "SELECT a, pg_backend_pid() FROM v, pg_settings",
            "SELECT * FROM \"pg_catalog\".\"pg_class\"",
            "SELECT current_user",
            "select age (datfrozenxid) from d",
        ] {
            assert!(concerns(sql), "{sql}");
        }
        for sql in [
            "SELECT 'pg_class' FROM spans",
            "SELECT now() - max(started_at) AS age, count(*) FROM spans",
            "SELECT version FROM (SELECT resource_attributes['service.version'] AS version FROM spans) AS s",
            "SELECT s.age, s.current_user AS pg_total FROM v AS s",
            "EXPLAIN DATAFLOW SELECT version() FROM spans",
            "SELECT count(*) FROM spans",
            "CREATE VIEW v AS SELECT relname FROM pg_class",
            "SHOW TABLES",
        ] {
            assert!(!concerns(sql), "{sql}");
        }
    }
}
