//! Which of our tables a Parquet file holds, and what has to be done to its columns.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::compute::can_cast_types;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};

use super::IngestError;
use crate::telemetry::Table;

/// How to make rows of a table from a Parquet file's.
pub(super) struct TablePlan {
    pub table: Table,
    /// The schema of the batches delivered.
    pub schema: SchemaRef,
    /// The columns to make, in the order of the table's schema: those of `schema`, and the event time in any case.
    pub columns: Vec<PlannedColumn>,
    /// Where in `columns` the event time stands.
    pub event_time: usize,
    /// The event time was not asked for and is dropped once the rows are placed in time.
    pub event_time_dropped: bool,
    /// The file's columns to read, ascending.
    pub roots: Vec<usize>,
    /// Columns of the file that the table does not have.
    pub extra: Vec<String>,
}

/// One column to make.
pub(super) struct PlannedColumn {
    pub field: FieldRef,
    /// Its index in the file; `None` when the file lacks it and it is null throughout.
    pub root: Option<usize>,
}

impl TablePlan {
    /// The plan for a file with the columns of `file`.
    ///
    /// # Errors
    /// The file fits no table, or a column that is needed has a type that is not a variant of the table's.
    pub fn new(
        path: &Path,
        file: &Schema,
        needed: Option<&BTreeMap<Table, Vec<String>>>,
    ) -> Result<TablePlan, IngestError> {
        let table = table_of(path, file)?;
        let schema = table.schema();
        let needed = needed.and_then(|tables| tables.get(&table));
        let is_needed =
            |field: &Field| needed.is_none_or(|names| names.iter().any(|name| name == field.name()));

        let mut columns = Vec::new();
        let mut delivered = Vec::new();
        let mut event_time = 0;
        let mut event_time_dropped = false;
        for field in schema.fields() {
            let is_event_time = field.name() == table.event_time_column();
            if is_event_time {
                event_time = columns.len();
                event_time_dropped = !is_needed(field);
            }
            if is_needed(field) {
                delivered.push(field.clone());
            } else if !is_event_time {
                continue;
            }
            let found = file.index_of(field.name()).ok();
            if let Some(root) =
                found.filter(|&root| !is_variant(file.field(root).data_type(), field.data_type()))
            {
                return Err(IngestError::ParquetColumn {
                    path: path.to_owned(),
                    table: table.name(),
                    column: field.name().clone(),
                    found: file.field(root).data_type().to_string(),
                    expected: field.data_type().to_string(),
                });
            }
            columns.push(PlannedColumn { field: field.clone(), root: found });
        }
        let mut roots: Vec<usize> = columns.iter().filter_map(|column| column.root).collect();
        roots.sort_unstable();
        let extra = file.fields().iter().filter(|field| schema.index_of(field.name()).is_err());
        let extra = extra.map(|field| field.name().clone()).collect();
        let schema = Arc::new(Schema::new(delivered));
        Ok(TablePlan { table, schema, columns, event_time, event_time_dropped, roots, extra })
    }

    /// The file's schema with every text column as the table wants it: reading into that at once is cheaper than a
    /// cast of each batch. Other differences are left to casts, which lose nothing unseen.
    pub fn preferred(&self, file: &Schema) -> Schema {
        let fields = file.fields().iter().enumerate().map(|(root, field)| {
            let column = self.columns.iter().find(|column| column.root == Some(root));
            match column.map(|column| column.field.data_type()) {
                Some(DataType::Utf8) => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8)),
                _ => field.clone(),
            }
        });
        Schema::new_with_metadata(fields.collect::<Vec<_>>(), file.metadata().clone())
    }
}

/// The table whose needed columns are all in the file; of several, the one that shares most columns with it.
fn table_of(path: &Path, file: &Schema) -> Result<Table, IngestError> {
    let has = |field: &FieldRef| file.index_of(field.name()).is_ok();
    let lacks = |table: Table| {
        let schema = table.schema();
        schema
            .fields()
            .iter()
            .find(|field| !field.is_nullable() && !has(field))
            .map(|field| field.name().clone())
    };
    let rank = |table: &Table| {
        let schema = table.schema();
        let shared = schema.fields().iter().filter(|field| has(field)).count();
        // Among equals the table that the file covers better.
        (lacks(*table).is_none(), shared, usize::MAX - schema.fields().len())
    };
    let table = Table::all().into_iter().max_by_key(rank).unwrap_or(Table::Spans);
    match lacks(table) {
        None => Ok(table),
        Some(column) => Err(IngestError::ParquetTable { path: path.to_owned(), table: table.name(), column }),
    }
}

/// The same kind of value in another width or layout.
///
/// Arrow casts far more, text to numbers and numbers to times for instance; that would be a guess at what a file
/// means.
fn is_variant(from: &DataType, to: &DataType) -> bool {
    use DataType::*;
    let kinds_match = match (from, to) {
        _ if from == to => return true,
        (Dictionary(_, values), _) => is_variant(values, to),
        (Utf8 | LargeUtf8 | Utf8View, Utf8) => true,
        (Timestamp(..), Timestamp(..)) => true,
        (Float16 | Float32, Float64) => true,
        (List(from) | LargeList(from) | FixedSizeList(from, _), List(to)) => {
            is_variant(from.data_type(), to.data_type())
        }
        (Map(from, _), Map(to, _)) => is_variant(from.data_type(), to.data_type()),
        (Struct(from), Struct(to)) => {
            from.len() == to.len()
                && from.iter().zip(to).all(|(from, to)| is_variant(from.data_type(), to.data_type()))
        }
        _ => from.is_integer() && to.is_integer(),
    };
    kinds_match && can_cast_types(from, to)
}
