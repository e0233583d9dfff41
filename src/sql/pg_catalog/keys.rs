//! Defaults and primary keys of tables, as `pg_attrdef`, `pg_index` and `pg_constraint` tell of them.
//!
//! The index of a key is a relation of the listing itself, so that it has an OID and attributes as any other.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int16Array, ListArray, RecordBatch, StringArray, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{can_cast_types, cast};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef};
use datafusion::error::Result as DataFusionResult;

use super::SCHEMA;
use super::listing::{INDEX, Listed, Listing};
use crate::sql::table::TableDefinition;

/// A value of a row of the catalog.
enum Value {
    Text(String),
    Number(i32),
    Switch(bool),
    /// Numbers of columns.
    Numbers(Vec<i16>),
}

/// Columns that have a value; all others have none.
type Row = Vec<(&'static str, Value)>;

/// Adds the indexes of the primary keys of all tables to `listing`.
pub(in crate::sql) fn add_indexes(listing: &mut Listing) {
    let index = |(table, listed): (&String, &Listed)| {
        let definition = listed.table.as_ref().filter(|definition| !definition.primary_key.is_empty())?;
        let fields: Vec<Field> =
            definition.primary_key.iter().map(|at| definition.schema.field(*at).clone()).collect();
        let names: Vec<&String> = fields.iter().map(Field::name).collect();
        let names = names.into_iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
        let name = TableDefinition::key_name(table);
        let text = format!(
            "CREATE UNIQUE INDEX {} ON {SCHEMA}.{} USING btree ({names})",
            quoted(&name),
            quoted(table)
        );
        let schema = Arc::new(Schema::new(fields));
        Some((name, Listed { schema, kind: INDEX, definition: Some(text), table: None }))
    };
    let indexes: Vec<(String, Listed)> = listing.iter().filter_map(index).collect();
    for (name, index) in indexes {
        listing.entry(name).or_insert(index);
    }
}

/// `name`, in quotes where SQL wants them.
fn quoted(name: &str) -> String {
    let is_plain = |c: char| c == '_' || c.is_ascii_lowercase() || c.is_ascii_digit();
    match name.chars().all(is_plain) && !name.starts_with(|c: char| c.is_ascii_digit()) {
        true => name.to_owned(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}

/// The OIDs of the relations in `classes`, rows of `pg_class`.
fn oids(classes: &RecordBatch) -> DataFusionResult<BTreeMap<&str, i32>> {
    let schema = classes.schema();
    let names = classes.column(schema.index_of("relname")?).as_string::<i32>();
    let oids = classes.column(schema.index_of("oid")?).as_primitive::<Int32Type>();
    Ok(names.iter().flatten().zip(oids.values().iter().copied()).collect())
}

/// The rows of `pg_attrdef`: an expression for each column that has a default.
pub(super) fn defaults(
    classes: &RecordBatch,
    listing: &Listing,
    schema: &SchemaRef,
) -> DataFusionResult<RecordBatch> {
    let oids = oids(classes)?;
    let mut rows: Vec<Row> = vec![];
    for (table, definition) in tables(listing) {
        let Some(oid) = oids.get(table) else { continue };
        for (at, column) in definition.columns.iter().enumerate() {
            let Some(default) = &column.default else { continue };
            rows.push(vec![
                ("oid", Value::Number(oid.wrapping_mul(2_000).wrapping_add(at as i32))),
                ("adrelid", Value::Number(*oid)),
                ("adnum", Value::Number(at as i32 + 1)),
                ("adbin", Value::Text(default.clone())),
            ]);
        }
    }
    filled(schema, &rows)
}

/// The rows of `pg_index`.
pub(super) fn indexes(
    classes: &RecordBatch,
    listing: &Listing,
    schema: &SchemaRef,
) -> DataFusionResult<RecordBatch> {
    let oids = oids(classes)?;
    let row = |(table, index, columns): (i32, i32, Vec<i16>)| {
        let count = columns.len() as i32;
        let mut row = vec![
            ("indexrelid", Value::Number(index)),
            ("indrelid", Value::Number(table)),
            ("indnatts", Value::Number(count)),
            ("indnkeyatts", Value::Number(count)),
            ("indkey", Value::Numbers(columns)),
            ("indoption", Value::Numbers(vec![0; count as usize])),
        ];
        for name in ["indisunique", "indisprimary", "indimmediate", "indisvalid", "indisready", "indislive"] {
            row.push((name, Value::Switch(true)));
        }
        row
    };
    filled(schema, &keys(&oids, listing).map(row).collect::<Vec<_>>())
}

/// The rows of `pg_constraint`.
pub(super) fn constraints(
    classes: &RecordBatch,
    listing: &Listing,
    schema: &SchemaRef,
) -> DataFusionResult<RecordBatch> {
    let oids = oids(classes)?;
    let namespaces = classes.column(classes.schema().index_of("relnamespace")?);
    let namespaces = namespaces.as_primitive::<Int32Type>();
    let names = classes.column(classes.schema().index_of("relname")?).as_string::<i32>();
    let by_oid: BTreeMap<i32, (&str, i32)> = names
        .iter()
        .flatten()
        .zip(namespaces.values())
        .filter_map(|(n, s)| Some((*oids.get(n)?, (n, *s))))
        .collect();
    let row = |(table, index, columns): (i32, i32, Vec<i16>)| {
        let (name, namespace) = by_oid.get(&index).copied().unwrap_or_default();
        vec![
            ("oid", Value::Number(index.wrapping_mul(2_000).wrapping_sub(1))),
            ("conname", Value::Text(name.to_owned())),
            ("connamespace", Value::Number(namespace)),
            ("contype", Value::Text("p".to_owned())),
            ("convalidated", Value::Switch(true)),
            ("conislocal", Value::Switch(true)),
            ("conrelid", Value::Number(table)),
            ("conindid", Value::Number(index)),
            ("conkey", Value::Numbers(columns)),
        ]
    };
    filled(schema, &keys(&oids, listing).map(row).collect::<Vec<_>>())
}

/// The tables that users created.
pub(super) fn tables(listing: &Listing) -> impl Iterator<Item = (&str, &TableDefinition)> {
    listing.iter().filter_map(|(name, listed)| Some((name.as_str(), listed.table.as_deref()?)))
}

/// The primary keys: the OIDs of table and index, and the numbers of the columns.
fn keys<'a>(
    oids: &'a BTreeMap<&str, i32>,
    listing: &'a Listing,
) -> impl Iterator<Item = (i32, i32, Vec<i16>)> + 'a {
    tables(listing).filter_map(|(table, definition)| {
        if definition.primary_key.is_empty() {
            return None;
        }
        let index = oids.get(TableDefinition::key_name(table).as_str())?;
        let columns = definition.primary_key.iter().map(|at| *at as i16 + 1).collect();
        Some((*oids.get(table)?, *index, columns))
    })
}

/// `rows` as `schema` has them: what no row says is null, or nothing where it may not be.
fn filled(schema: &SchemaRef, rows: &[Row]) -> DataFusionResult<RecordBatch> {
    let column = |field: &Arc<Field>| -> DataFusionResult<ArrayRef> {
        let values: Vec<Option<&Value>> = rows
            .iter()
            .map(|row| row.iter().find(|(name, _)| name == field.name()).map(|(_, value)| value))
            .collect();
        let array = values_of(&values, field.data_type());
        Ok(match can_cast_types(array.data_type(), field.data_type()) {
            true => cast(&array, field.data_type())?,
            false => new_null_array(field.data_type(), rows.len()),
        })
    };
    let columns = schema.fields().iter().map(column).collect::<DataFusionResult<Vec<_>>>()?;
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    Ok(RecordBatch::try_new(schema, columns)?)
}

/// The values of one column; those that are not there are 0, false or null.
fn values_of(values: &[Option<&Value>], data_type: &DataType) -> ArrayRef {
    let numbers: Vec<Option<Vec<i16>>> = values
        .iter()
        .map(|value| match value {
            Some(Value::Numbers(numbers)) => Some(numbers.clone()),
            _ => None,
        })
        .collect();
    if numbers.iter().any(Option::is_some) {
        return match data_type {
            DataType::List(_) | DataType::LargeList(_) => lists(&numbers),
            // As PostgreSQL writes a vector.
            _ => Arc::new(StringArray::from_iter(numbers.iter().map(|numbers| {
                let texts = numbers.as_ref()?.iter().map(i16::to_string);
                Some(texts.collect::<Vec<_>>().join(" "))
            }))),
        };
    }
    let is_boolean = *data_type == DataType::Boolean;
    let texts = values.iter().map(|value| match value {
        Some(Value::Text(text)) => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        Some(Value::Switch(value)) => Some(value.to_string()),
        Some(Value::Numbers(_)) => None,
        None if is_boolean => Some("false".to_owned()),
        None if data_type.is_integer() => Some("0".to_owned()),
        None => None,
    });
    Arc::new(StringArray::from_iter(texts))
}

fn lists(numbers: &[Option<Vec<i16>>]) -> ArrayRef {
    let lengths = numbers.iter().map(|numbers| numbers.as_ref().map_or(0, Vec::len));
    let offsets = OffsetBuffer::from_lengths(lengths);
    let values = Int16Array::from_iter_values(numbers.iter().flatten().flatten().copied());
    let item = Arc::new(Field::new_list_field(DataType::Int16, true));
    Arc::new(ListArray::new(item, offsets, Arc::new(values), None))
}
