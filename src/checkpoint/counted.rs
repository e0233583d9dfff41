//! Rows with how often each is there, as one batch.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use arrow::error::ArrowError;

use crate::delta::operator::Part;
use crate::delta::updates::Run;

/// The column that says how often a row is there. It is the last.
const DIFF: &str = "__diff";

/// `rows` with a column of their `diffs`.
pub(super) fn with_diffs((rows, diffs): &Part) -> Result<RecordBatch, ArrowError> {
    let mut fields = rows.schema().fields().to_vec();
    fields.push(Arc::new(Field::new(DIFF, DataType::Int64, false)));
    let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
    columns.push(Arc::new(Int64Array::from_iter_values((0..rows.num_rows()).map(|row| diffs.get(row)))));
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
}

/// The rows and the diffs of a batch [with diffs](with_diffs).
pub(super) fn without_diffs(counted: &RecordBatch) -> Result<Part, ArrowError> {
    let missing = || ArrowError::SchemaError(format!("its last column is not {DIFF}"));
    let own = counted.num_columns().checked_sub(1).ok_or_else(missing)?;
    let diffs = counted.column(own).as_primitive_opt::<Int64Type>().ok_or_else(missing)?;
    let rows = counted.project(&(0..own).collect::<Vec<_>>())?;
    Ok((rows, Run::from_vec(diffs.values().to_vec())))
}
