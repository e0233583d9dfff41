//! Values of Avro as those of columns: numbers as numbers that hold them, texts and enums as texts and as what can be read
//! from a text, what is nested as JSON. What would lose something is refused, as are numbers without a unit as times.
//!
//! A decimal is a floating point number where each is the other, written with as few digits as tell it from its neighbours.
//! Times without a zone are those of UTC, in a column that has one.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Decimal128Type, Field, Float32Type, Float64Type};
use arrow::error::ArrowError;
use arrow::util::display::array_value_to_string;

use crate::sql::json_lines::json_lines;

/// Whether a column of the type `to` takes the values of the field `from`.
pub(super) fn fits(from: &Field, to: &DataType) -> bool {
    is_uuid(from) && *to == DataType::Utf8 || fits_type(from.data_type(), to)
}

fn fits_type(from: &DataType, to: &DataType) -> bool {
    use DataType::*;
    match (from, to) {
        (Null, _) => true,
        (Dictionary(_, values), _) => fits_type(values, to),
        (Int32 | Int64, Int16 | Int32 | Int64 | Float32 | Float64 | Decimal128(..)) => true,
        (Float32 | Float64, Float32 | Float64 | Decimal128(..)) => true,
        (Decimal128(..) | Decimal256(..), Decimal128(..) | Float32 | Float64) => true,
        // As in JSON, which has no other form for most of these.
        (Utf8, Int16 | Int32 | Int64 | Float32 | Float64 | Decimal128(..) | Date32 | Timestamp(..)) => true,
        (Binary, Binary | Utf8) | (FixedSizeBinary(_), Binary) => true,
        (Date32, Timestamp(..)) | (Timestamp(..), Timestamp(..)) => true,
        (Time32(_) | Time64(_), Time32(_) | Time64(_)) => true,
        (List(from), List(to)) => match from.data_type() {
            Struct(_) | Map(..) => false,
            from => from.is_nested() == to.data_type().is_nested() && fits_type(from, to.data_type()),
        },
        (Struct(_) | Map(..) | List(_), Utf8) => has_json(from),
        (from, to) => from == to,
    }
}

/// Whether what is nested has a form in JSON: unions of several types have none.
fn has_json(of: &DataType) -> bool {
    match of {
        DataType::Struct(fields) => fields.iter().all(|field| has_json(field.data_type())),
        DataType::Map(inner, _) | DataType::List(inner) => has_json(inner.data_type()),
        other => !matches!(other, DataType::Union(..)),
    }
}

/// The values of `column`, of the field `from`, as values of `to`, which [`fits`].
pub(super) fn convert(column: &ArrayRef, from: &Field, to: &DataType) -> Result<ArrayRef, ArrowError> {
    match (from.data_type(), to) {
        (DataType::FixedSizeBinary(_), DataType::Utf8) => Ok(uuids(column)),
        (DataType::Struct(_) | DataType::Map(..) | DataType::List(_), DataType::Utf8) => json(column),
        _ => values(column, to),
    }
}

fn values(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    if let (DataType::List(_), DataType::List(item)) = (column.data_type(), to) {
        let lists = column.as_list::<i32>();
        let items = values(lists.values(), item.data_type())?;
        let (offsets, nulls) = (lists.offsets().clone(), lists.nulls().cloned());
        return Ok(Arc::new(ListArray::try_new(item.clone(), offsets, items, nulls)?));
    }
    let values = cast(column, to)?;
    // Bytes may say more digits than their type has.
    if let (DataType::Decimal128(precision, _), Some(decimals)) =
        (to, values.as_primitive_opt::<Decimal128Type>())
    {
        decimals.validate_decimal_precision(*precision)?;
    }
    match may_lose(column.data_type(), to) {
        true => whole(column, values),
        false => Ok(values),
    }
}

/// Whether some values of `from` are none of `to` and become others, as a cast has it.
fn may_lose(from: &DataType, to: &DataType) -> bool {
    use DataType::*;
    match (from, to) {
        (from, to) if from == to => false,
        (Int32 | Int64 | Decimal128(..) | Decimal256(..), Float32 | Float64) => true,
        (Float64, Float32) | (Float32 | Float64 | Decimal128(..) | Decimal256(..), Decimal128(..)) => true,
        (Date32 | Timestamp(..), Timestamp(..)) | (Time32(_) | Time64(_), Time32(_) | Time64(_)) => true,
        _ => false,
    }
}

/// `values`, where they are those of `column`: made into what they were, they are the same.
fn whole(column: &ArrayRef, values: ArrayRef) -> Result<ArrayRef, ArrowError> {
    let is_whole = |column: &ArrayRef, values: &ArrayRef| {
        cast(values, column.data_type()).is_ok_and(|back| are_same(&back, column))
    };
    if is_whole(column, &values) {
        return Ok(values);
    }
    let is_other = |row: &usize| !is_whole(&column.slice(*row, 1), &values.slice(*row, 1));
    let row = (0..column.len()).find(is_other).unwrap_or_default();
    let value = array_value_to_string(column, row)?;
    Err(ArrowError::CastError(format!("\"{value}\" would lose something as {}", values.data_type())))
}

fn are_same(one: &ArrayRef, other: &ArrayRef) -> bool {
    // One that is no number is as good as another.
    if let (Some(one), Some(other)) =
        (one.as_primitive_opt::<Float64Type>(), other.as_primitive_opt::<Float64Type>())
    {
        return one
            .iter()
            .zip(other)
            .all(|(a, b)| a == b || a.zip(b).is_some_and(|(a, b)| a.is_nan() && b.is_nan()));
    }
    one == other
}

/// The values of `column` as values of `to`; numbers and times are rounded to those that there are.
fn cast(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    use DataType::*;
    let strictly = CastOptions { safe: false, ..Default::default() };
    // As texts decimals are not rounded twice.
    let column = match (column.data_type(), to) {
        (Float32, Decimal128(..) | Decimal256(..)) => {
            let texts =
                column.as_primitive::<Float32Type>().iter().map(|value| value.map(|value| value.to_string()));
            &(Arc::new(texts.collect::<StringArray>()) as ArrayRef)
        }
        (Float64, Decimal128(..) | Decimal256(..)) => {
            let texts =
                column.as_primitive::<Float64Type>().iter().map(|value| value.map(|value| value.to_string()));
            &(Arc::new(texts.collect::<StringArray>()) as ArrayRef)
        }
        (Decimal128(..) | Decimal256(..), Float32 | Float64) => &cast_with_options(column, &Utf8, &strictly)?,
        _ => column,
    };
    cast_with_options(column, to, &strictly)
}

fn is_uuid(field: &Field) -> bool {
    let logical = field.metadata().get("logicalType").map(String::as_str);
    *field.data_type() == DataType::FixedSizeBinary(16) && logical == Some("uuid")
}

/// 16 bytes each as the text of a UUID.
fn uuids(column: &ArrayRef) -> ArrayRef {
    let text = |bytes: &[u8]| {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|place| digits[place].to_owned());
        parts.join("-")
    };
    let texts = column.as_fixed_size_binary().iter().map(|bytes| bytes.map(text));
    Arc::new(texts.collect::<StringArray>())
}

/// Each value as JSON.
fn json(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let lines = json_lines(&RecordBatch::try_from_iter([("v", column.clone())])?)
        .map_err(|error| ArrowError::JsonError(error.to_string()))?;
    let lines = std::str::from_utf8(&lines).map_err(|error| ArrowError::JsonError(error.to_string()))?;
    let value = |line: &str| Some(line.strip_prefix("{\"v\":")?.strip_suffix('}')?.to_owned());
    let texts = lines.lines().enumerate().map(|(row, line)| value(line).filter(|_| column.is_valid(row)));
    Ok(Arc::new(texts.collect::<StringArray>()))
}
