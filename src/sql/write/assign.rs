//! Values made fit for their columns, as PostgreSQL assigns them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::can_cast_types;
use arrow::datatypes::{DataType, Field};
use datafusion::functions::encoding::expr_fn::decode;
use datafusion::functions::math::expr_fn::round;
use datafusion::functions::string::expr_fn::starts_with;
use datafusion::functions::unicode::expr_fn::substr;
use datafusion::logical_expr::{Expr, cast, lit, when};

use crate::sql::error::{SqlError, WriteError};
use crate::sql::table::TableDefinition;

/// `value`, which is of type `from`, as a value of `column`: numbers are rounded to integers, and all else
/// is cast.
///
/// # Errors
///
/// When no cast leads from one to the other. A value that does not fit fails when it is computed.
pub(super) fn assigned(value: Expr, from: &DataType, column: &Field) -> Result<Expr, SqlError> {
    let to = column.data_type();
    if from == to {
        return Ok(value);
    }
    if !is_assignable(from, to) {
        let (expected, found) = (to.to_string(), from.to_string());
        return Err(WriteError::Type { column: column.name().clone(), expected, found }.into());
    }
    if (from, to) == (&DataType::Utf8, &DataType::Binary) {
        // As PostgreSQL writes bytes, or else the bytes of the text.
        let is_hex = starts_with(value.clone(), lit("\\x"));
        let hex = decode(substr(value.clone(), lit(3)), lit("hex"));
        return Ok(when(is_hex, hex).otherwise(cast(value, to.clone()))?);
    }
    let is_rounded = to.is_integer() && (from.is_floating() || from.is_decimal());
    Ok(cast(if is_rounded { round(vec![value]) } else { value }, to.clone()))
}

/// Whether PostgreSQL would cast by itself: within numbers, within times, to text, and from what is written as
/// text. Numbers are no times and no truth values.
fn is_assignable(from: &DataType, to: &DataType) -> bool {
    let kind = |data_type: &DataType| match data_type {
        other if other.is_numeric() => 0,
        other if other.is_temporal() => 1,
        DataType::Boolean => 2,
        _ => 3,
    };
    let is_text =
        |data_type: &DataType| matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    match from {
        DataType::Null => true,
        _ => can_cast_types(from, to) && (is_text(from) || is_text(to) || kind(from) == kind(to)),
    }
}

/// `columns` as rows of the table `table`.
///
/// # Errors
///
/// A null where there may be none, or a text that is too long.
pub(super) fn checked(
    table: &str,
    definition: &Arc<TableDefinition>,
    columns: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch, SqlError> {
    for ((field, column), values) in definition.schema.fields().iter().zip(&definition.columns).zip(&columns)
    {
        if !field.is_nullable() && values.null_count() > 0 {
            let (table, column) = (table.to_owned(), field.name().clone());
            return Err(WriteError::Null { table, column }.into());
        }
        if let (Some(length_max), DataType::Utf8) = (column.length_max, values.data_type()) {
            let texts = values.as_string::<i32>();
            let is_long =
                |text: &str| text.len() as u64 > length_max && text.chars().count() as u64 > length_max;
            if texts.iter().flatten().any(is_long) {
                return Err(WriteError::TooLong { column: field.name().clone(), length_max }.into());
            }
        }
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(definition.schema.clone(), columns, &options)?)
}
