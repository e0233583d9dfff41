//! Values of Avro as those of columns: numbers as numbers that hold them, texts and enums as texts and as what can be read
//! from a text, what is nested as JSON. What would lose something is refused, as are numbers without a unit as times.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Decimal128Type, Field};
use arrow::error::ArrowError;

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
        (List(from), List(to)) => fits_type(from.data_type(), to.data_type()),
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
        _ => {
            let strictly = CastOptions { safe: false, ..Default::default() };
            let values = cast_with_options(column, to, &strictly)?;
            // Bytes may say more digits than their type has.
            if let (DataType::Decimal128(precision, _), Some(decimals)) =
                (to, values.as_primitive_opt::<Decimal128Type>())
            {
                decimals.validate_decimal_precision(*precision)?;
            }
            Ok(values)
        }
    }
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
