//! What clients ask about the server and its tables.

use std::sync::{Arc, LazyLock};

use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow_flight::error::FlightError;
use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder};
use arrow_flight::sql::{
    CommandGetCatalogs, CommandGetDbSchemas, CommandGetTables, SqlInfo, SqlNullOrdering,
    SqlSupportedCaseSensitivity, SqlSupportedTransaction,
};
use tonic::Status;

use crate::engine::Live;
use crate::sql::catalog::{Kind, Relation};
use crate::sql::error::SqlError;
use crate::sql::question::Question;
use crate::sql::session::{CATALOG, SCHEMA};
use crate::sql::statement::parse_query;

/// What tables are, to clients.
const TABLE_TYPES: [&str; 4] = ["MATERIALIZED VIEW", "SYSTEM TABLE", "TABLE", "VIEW"];

fn table_type(relation: &Relation) -> &'static str {
    match relation.kind {
        Kind::Stream(_) | Kind::Table { .. } => TABLE_TYPES[2],
        Kind::View { .. } => TABLE_TYPES[0],
        Kind::Query(_) => TABLE_TYPES[3],
        Kind::System(_) => TABLE_TYPES[1],
    }
}

static SQL_INFO: LazyLock<Result<SqlInfoData, FlightError>> = LazyLock::new(|| {
    let mut info = SqlInfoDataBuilder::new();
    info.append(SqlInfo::FlightSqlServerName, "Undercurrent");
    info.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    info.append(SqlInfo::FlightSqlServerArrowVersion, "1.3");
    info.append(SqlInfo::FlightSqlServerReadOnly, false);
    info.append(SqlInfo::FlightSqlServerSql, true);
    info.append(SqlInfo::FlightSqlServerSubstrait, false);
    info.append(SqlInfo::FlightSqlServerTransaction, SqlSupportedTransaction::None as i32);
    info.append(SqlInfo::FlightSqlServerCancel, true);
    info.append(SqlInfo::FlightSqlServerBulkIngestion, false);
    info.append(SqlInfo::SqlDdlCatalog, false);
    info.append(SqlInfo::SqlDdlSchema, false);
    info.append(SqlInfo::SqlDdlTable, false);
    info.append(SqlInfo::SqlIdentifierCase, SqlSupportedCaseSensitivity::SqlCaseSensitivityLowercase as i32);
    info.append(SqlInfo::SqlIdentifierQuoteChar, "\"");
    info.append(
        SqlInfo::SqlQuotedIdentifierCase,
        SqlSupportedCaseSensitivity::SqlCaseSensitivityCaseInsensitive as i32,
    );
    info.append(SqlInfo::SqlNullOrdering, SqlNullOrdering::SqlNullsSortedHigh as i32);
    info.build()
});

/// What the server can do.
pub(super) fn sql_info() -> Result<&'static SqlInfoData, Status> {
    SQL_INFO.as_ref().map_err(|error| Status::internal(error.to_string()))
}

/// The catalog.
pub(super) fn catalogs(query: CommandGetCatalogs) -> Result<RecordBatch, ArrowError> {
    let mut builder = query.into_builder();
    builder.append(CATALOG);
    builder.build().map_err(external)
}

/// The schema, where it passes the filters.
pub(super) fn schemas(query: CommandGetDbSchemas) -> Result<RecordBatch, ArrowError> {
    let mut builder = query.into_builder();
    builder.append(CATALOG, SCHEMA);
    builder.build().map_err(external)
}

/// The kinds of tables.
pub(super) fn table_types() -> Result<RecordBatch, ArrowError> {
    let schema = Arc::new(Schema::new(vec![Field::new("table_type", DataType::Utf8, false)]));
    RecordBatch::try_new(schema, vec![Arc::new(StringArray::from(TABLE_TYPES.to_vec()))])
}

/// The tables that pass the filters, with their columns where asked for.
pub(super) async fn tables(query: CommandGetTables, live: &Live) -> Result<RecordBatch, SqlError> {
    let wants_columns = query.include_schema;
    let mut builder = query.into_builder();
    let (_, catalog) = live.reader().catalog();
    for (name, relation) in &catalog {
        let columns = match &relation.kind {
            Kind::Query(query) if wants_columns => {
                // One that names what is gone has no columns, and does not hide the others.
                let described = live.describe(&Question::plain(parse_query(query)?), &[]).await;
                described.map_or_else(|_| SchemaRef::new(Schema::empty()), |described| described.schema)
            }
            _ => relation.schema.clone(),
        };
        builder.append(CATALOG, SCHEMA, name, table_type(relation), &columns).map_err(external)?;
    }
    Ok(builder.build().map_err(external)?)
}

/// An error of Flight as one of Arrow.
pub(super) fn external(error: FlightError) -> ArrowError {
    ArrowError::ExternalError(Box::new(error))
}
