//! The order of rows in a file.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};

/// The name of the column that says as which row of its file a row came. It is the last.
const PLACE: &str = "__place";

/// What rows of a file are sorted by, as far as they have it, before the first time that they have: what is alike stands
/// together.
const SORTED_BY: [&str; 3] = ["service_name", "name", "type"];

/// Whether a column of `schema` has the name that files have for their own.
pub(super) fn is_place(schema: &Schema) -> bool {
    schema.fields().iter().any(|field| field.name() == PLACE)
}

/// The columns of a file of rows with `schema`.
pub(super) fn with_place(schema: &SchemaRef) -> SchemaRef {
    let mut fields = schema.fields().to_vec();
    fields.push(Arc::new(Field::new(PLACE, DataType::UInt32, false)));
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// The columns that rows are sorted by.
pub(super) fn sorted_by(schema: &Schema) -> Vec<usize> {
    let is_time = |field: &Arc<Field>| matches!(field.data_type(), DataType::Timestamp(..));
    let named = SORTED_BY.iter().filter_map(|name| schema.index_of(name).ok());
    let named = named.filter(|column| *schema.field(*column).data_type() == DataType::Utf8);
    named.chain(schema.fields().iter().position(is_time)).collect()
}

/// `rows`, which have come in this order, as a file holds them.
pub(super) fn sorted(rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let columns = sorted_by(&rows.schema());
    let mut places: Vec<u32> = (0..rows.num_rows() as u32).collect();
    if !columns.is_empty() {
        let fields = columns.iter().map(|c| SortField::new(rows.column(*c).data_type().clone()));
        let converter = RowConverter::new(fields.collect())?;
        let keys: Vec<ArrayRef> = columns.iter().map(|c| rows.column(*c).clone()).collect();
        let keys = converter.convert_columns(&keys)?;
        places.sort_by_key(|place| keys.row(*place as usize));
    }
    let places = UInt32Array::from(places);
    let rows = if columns.is_empty() { rows.clone() } else { take_record_batch(rows, &places)? };
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(places));
    RecordBatch::try_new(with_place(&rows.schema()), columns)
}

/// The rows of a file in the order in which they came.
pub(super) fn as_they_came(rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let last = rows.num_columns() - 1;
    let places = rows.column(last).as_any().downcast_ref::<UInt32Array>();
    let places = places.ok_or_else(|| ArrowError::SchemaError(format!("its last column is not {PLACE}")))?;
    let mut from = vec![u32::MAX; rows.num_rows()];
    for (row, place) in places.values().iter().enumerate() {
        let free = from.get_mut(*place as usize).filter(|free| **free == u32::MAX);
        *free.ok_or_else(|| ArrowError::InvalidArgumentError(format!("place {place} is there twice")))? =
            row as u32;
    }
    take_record_batch(&rows.project(&(0..last).collect::<Vec<_>>())?, &UInt32Array::from(from))
}
