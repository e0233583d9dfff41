//! The schema `information_schema`, as far as clients ask for it.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::catalog::{MemTable, MemorySchemaProvider, SchemaProvider};
use datafusion::error::Result as DataFusionResult;

use super::keys;
use super::listing::{INDEX, Listed, Listing};
use super::tables::is_json;
use super::{DATABASE, SCHEMA};
use crate::sql::table::{ColumnDefinition, TableDefinition};

/// A column: its name, and whether it holds numbers.
type Column = (&'static str, bool);

/// A value of a row.
enum Value {
    Text(String),
    Number(i32),
    Null,
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.to_owned())
    }
}

/// Tables that are there and have no rows: what they tell of, there is none of.
const EMPTY: &[(&str, &[&str])] = &[
    (
        "constraint_column_usage",
        &[
            "table_catalog",
            "table_schema",
            "table_name",
            "column_name",
            "constraint_catalog",
            "constraint_schema",
            "constraint_name",
        ],
    ),
    (
        "referential_constraints",
        &[
            "constraint_catalog",
            "constraint_schema",
            "constraint_name",
            "unique_constraint_catalog",
            "unique_constraint_schema",
            "unique_constraint_name",
            "match_option",
            "update_rule",
            "delete_rule",
        ],
    ),
    ("check_constraints", &["constraint_catalog", "constraint_schema", "constraint_name", "check_clause"]),
    (
        "routines",
        &[
            "specific_catalog",
            "specific_schema",
            "specific_name",
            "routine_catalog",
            "routine_schema",
            "routine_name",
            "routine_type",
            "data_type",
            "type_udt_name",
            "routine_definition",
        ],
    ),
    (
        "parameters",
        &[
            "specific_catalog",
            "specific_schema",
            "specific_name",
            "ordinal_position",
            "parameter_mode",
            "parameter_name",
            "data_type",
        ],
    ),
    (
        "triggers",
        &[
            "trigger_catalog",
            "trigger_schema",
            "trigger_name",
            "event_manipulation",
            "event_object_schema",
            "event_object_table",
            "action_statement",
            "action_timing",
        ],
    ),
    (
        "sequences",
        &[
            "sequence_catalog",
            "sequence_schema",
            "sequence_name",
            "data_type",
            "start_value",
            "minimum_value",
            "maximum_value",
            "increment",
        ],
    ),
    (
        "column_privileges",
        &[
            "grantor",
            "grantee",
            "table_catalog",
            "table_schema",
            "table_name",
            "column_name",
            "privilege_type",
            "is_grantable",
        ],
    ),
];

/// The schema with the relations of `listing`.
pub(super) fn schema(listing: &Listing) -> DataFusionResult<Arc<dyn SchemaProvider>> {
    let schema = MemorySchemaProvider::new();
    let add = |name: &str, columns: &[Column], rows: Vec<Vec<Value>>| {
        schema.register_table(name.to_owned(), Arc::new(table(columns, &rows)?)).map(drop)
    };
    add(
        "schemata",
        &text(&[
            "catalog_name",
            "schema_name",
            "schema_owner",
            "default_character_set_catalog",
            "default_character_set_schema",
            "default_character_set_name",
            "sql_path",
        ]),
        schemata(),
    )?;
    add(
        "tables",
        &text(&[
            "table_catalog",
            "table_schema",
            "table_name",
            "table_type",
            "is_insertable_into",
            "is_typed",
        ]),
        tables(listing),
    )?;
    add(
        "views",
        &text(&[
            "table_catalog",
            "table_schema",
            "table_name",
            "view_definition",
            "check_option",
            "is_updatable",
        ]),
        views(listing),
    )?;
    add(
        "table_privileges",
        &text(&[
            "grantor",
            "grantee",
            "table_catalog",
            "table_schema",
            "table_name",
            "privilege_type",
            "is_grantable",
            "with_hierarchy",
        ]),
        privileges(listing),
    )?;
    add("columns", COLUMNS, columns(listing))?;
    add("table_constraints", &text(CONSTRAINTS), constraints(listing))?;
    add("key_column_usage", KEY_COLUMNS, key_columns(listing))?;
    for (name, names) in EMPTY {
        add(name, &text(names), vec![])?;
    }
    Ok(Arc::new(schema))
}

fn text(names: &[&'static str]) -> Vec<Column> {
    names.iter().map(|name| (*name, false)).collect()
}

fn table(columns: &[Column], rows: &[Vec<Value>]) -> DataFusionResult<MemTable> {
    let mut fields = vec![];
    let mut arrays: Vec<ArrayRef> = vec![];
    for (at, (name, is_number)) in columns.iter().enumerate() {
        fields.push(Field::new(*name, if *is_number { DataType::Int32 } else { DataType::Utf8 }, true));
        arrays.push(match is_number {
            true => Arc::new(Int32Array::from_iter(rows.iter().map(|row| match &row[at] {
                Value::Number(number) => Some(*number),
                _ => None,
            }))),
            false => Arc::new(StringArray::from_iter(rows.iter().map(|row| match &row[at] {
                Value::Text(text) => Some(text.as_str()),
                _ => None,
            }))),
        });
    }
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(schema.clone(), arrays)?;
    MemTable::try_new(schema, vec![vec![batch]])
}

fn schemata() -> Vec<Vec<Value>> {
    let row = |name: &str| {
        vec![
            DATABASE.into(),
            name.into(),
            DATABASE.into(),
            Value::Null,
            Value::Null,
            Value::Null,
            Value::Null,
        ]
    };
    [SCHEMA, "pg_catalog", "information_schema"].map(row).into()
}

/// As in PostgreSQL a materialized view would not be here at all; clients that list tables want it.
fn tables(listing: &Listing) -> Vec<Vec<Value>> {
    let row = |(name, listed): (&String, &Listed)| {
        let kind = if listed.kind == 'v' { "VIEW" } else { "BASE TABLE" };
        vec![DATABASE.into(), SCHEMA.into(), name.as_str().into(), kind.into(), "NO".into(), "NO".into()]
    };
    relations(listing).map(row).collect()
}

/// What is no index.
fn relations(listing: &Listing) -> impl Iterator<Item = (&String, &Listed)> {
    listing.iter().filter(|(_, listed)| listed.kind != INDEX)
}

fn views(listing: &Listing) -> Vec<Vec<Value>> {
    let views = listing.iter().filter(|(_, listed)| listed.kind == 'v');
    let row = |(name, listed): (&String, &Listed)| {
        let definition = listed.definition.as_deref().map_or(Value::Null, Value::from);
        vec![DATABASE.into(), SCHEMA.into(), name.as_str().into(), definition, "NONE".into(), "NO".into()]
    };
    views.map(row).collect()
}

fn privileges(listing: &Listing) -> Vec<Vec<Value>> {
    let row = |name: &String| {
        let text = [DATABASE, "PUBLIC", DATABASE, SCHEMA, name, "SELECT", "NO", "YES"];
        text.map(Value::from).into()
    };
    relations(listing).map(|(name, _)| row(name)).collect()
}

const CONSTRAINTS: &[&str] = &[
    "constraint_catalog",
    "constraint_schema",
    "constraint_name",
    "table_catalog",
    "table_schema",
    "table_name",
    "constraint_type",
    "is_deferrable",
    "initially_deferred",
    "enforced",
];

const KEY_COLUMNS: &[Column] = &[
    ("constraint_catalog", false),
    ("constraint_schema", false),
    ("constraint_name", false),
    ("table_catalog", false),
    ("table_schema", false),
    ("table_name", false),
    ("column_name", false),
    ("ordinal_position", true),
    ("position_in_unique_constraint", true),
];

/// What a constraint and its table are called, for the rows of both tables about constraints.
fn key_of(table: &str) -> Vec<Value> {
    let name = TableDefinition::key_name(table);
    [DATABASE, SCHEMA, &name, DATABASE, SCHEMA, table].map(Value::from).into()
}

fn constraints(listing: &Listing) -> Vec<Vec<Value>> {
    let keys = keys::tables(listing).filter(|(_, table)| !table.primary_key.is_empty());
    let row = |(name, _): (&str, &TableDefinition)| {
        let mut row = key_of(name);
        row.extend(["PRIMARY KEY", "NO", "NO", "YES"].map(Value::from));
        row
    };
    keys.map(row).collect()
}

fn key_columns(listing: &Listing) -> Vec<Vec<Value>> {
    let mut rows = vec![];
    for (name, table) in keys::tables(listing) {
        for (place, at) in table.primary_key.iter().enumerate() {
            let mut row = key_of(name);
            row.push(table.schema.field(*at).name().as_str().into());
            row.extend([Value::Number(place as i32 + 1), Value::Null]);
            rows.push(row);
        }
    }
    rows
}

const COLUMNS: &[Column] = &[
    ("table_catalog", false),
    ("table_schema", false),
    ("table_name", false),
    ("column_name", false),
    ("ordinal_position", true),
    ("column_default", false),
    ("is_nullable", false),
    ("data_type", false),
    ("character_maximum_length", true),
    ("character_octet_length", true),
    ("numeric_precision", true),
    ("numeric_precision_radix", true),
    ("numeric_scale", true),
    ("datetime_precision", true),
    ("udt_catalog", false),
    ("udt_schema", false),
    ("udt_name", false),
    ("is_identity", false),
    ("is_generated", false),
    ("is_updatable", false),
];

/// A column of a relation, its place, and what a user said of it.
type Cell<'a> = (&'a String, usize, &'a Arc<Field>, Option<&'a ColumnDefinition>);

fn columns(listing: &Listing) -> Vec<Vec<Value>> {
    let fields = relations(listing).flat_map(|(relation, listed)| {
        let table = listed.table.as_ref();
        let fields = listed.schema.fields().iter().enumerate();
        fields.map(move |(at, field)| (relation, at, field, table.map(|table| &table.columns[at])))
    });
    let row = |(relation, at, field, column): Cell| {
        let (name, udt) = type_names(field.data_type());
        let precision = match udt.as_str() {
            "timestamptz" | "timestamp" => Value::Number(6),
            _ => Value::Null,
        };
        vec![
            DATABASE.into(),
            SCHEMA.into(),
            relation.as_str().into(),
            field.name().as_str().into(),
            Value::Number(at as i32 + 1),
            column.and_then(|c| c.default.as_deref()).map_or(Value::Null, Value::from),
            if field.is_nullable() { "YES" } else { "NO" }.into(),
            Value::Text(name),
            column.and_then(|c| c.length_max).map_or(Value::Null, |length| Value::Number(length as i32)),
            Value::Null,
            Value::Null,
            Value::Null,
            Value::Null,
            precision,
            DATABASE.into(),
            "pg_catalog".into(),
            Value::Text(udt),
            "NO".into(),
            "NEVER".into(),
            "NO".into(),
        ]
    };
    fields.map(row).collect()
}

/// The name of a type in the SQL standard, and in PostgreSQL.
fn type_names(data_type: &DataType) -> (String, String) {
    use DataType::{
        Binary, BinaryView, Boolean, Date32, Date64, Decimal128, Dictionary, Duration, Float32, Float64,
        Int8, Int16, Int32, Int64, Interval, LargeBinary, List, Timestamp, UInt8, UInt16, UInt32, UInt64,
    };
    let (name, udt) = match data_type {
        other if is_json(other) => ("json", "json"),
        Boolean => ("boolean", "bool"),
        Int8 | Int16 | UInt8 => ("smallint", "int2"),
        Int32 | UInt16 => ("integer", "int4"),
        Int64 | UInt32 => ("bigint", "int8"),
        UInt64 | Decimal128(..) => ("numeric", "numeric"),
        Float32 => ("real", "float4"),
        Float64 => ("double precision", "float8"),
        Timestamp(_, Some(_)) => ("timestamp with time zone", "timestamptz"),
        Timestamp(
            TimeUnit::Second | TimeUnit::Millisecond | TimeUnit::Microsecond | TimeUnit::Nanosecond,
            None,
        ) => ("timestamp without time zone", "timestamp"),
        Date32 | Date64 => ("date", "date"),
        Interval(_) | Duration(_) => ("interval", "interval"),
        Binary | LargeBinary | BinaryView => ("bytea", "bytea"),
        Dictionary(_, of) => return type_names(of),
        List(of) => return ("ARRAY".to_owned(), format!("_{}", type_names(of.data_type()).1)),
        _ => ("text", "text"),
    };
    (name.to_owned(), udt.to_owned())
}
