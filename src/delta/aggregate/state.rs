//! The states of single groups as bytes.

use arrow::array::{ArrayRef, LargeBinaryArray, LargeBinaryBuilder};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::row::RowConverter;
use datafusion::error::{DataFusionError, Result as DataFusionResult};

use super::saved::SavedError;
use crate::delta::expression::guarded;
use crate::detect::DecodeError;
use crate::detect::bytes::Reader;

/// What `write` appends for each of `groups`.
pub(super) fn write_each(groups: &[u32], mut write: impl FnMut(u32, &mut Vec<u8>)) -> LargeBinaryArray {
    let mut states = LargeBinaryBuilder::with_capacity(groups.len(), 0);
    let mut state = vec![];
    for group in groups {
        state.clear();
        write(*group, &mut state);
        states.append_value(&state);
    }
    states.finish()
}

/// Has `read` read each of `states`, to its end, into its group; `kind` names them in errors.
pub(super) fn read_each<'a>(
    kind: &'static str,
    groups: &[u32],
    states: &'a LargeBinaryArray,
    mut read: impl FnMut(u32, &mut Reader<'a>) -> Result<(), DecodeError>,
) -> DataFusionResult<()> {
    for (row, group) in groups.iter().enumerate() {
        let mut reader = Reader::new(kind, states.value(row));
        read(*group, &mut reader).and_then(|()| reader.end()).map_err(SavedError::State)?;
    }
    Ok(())
}

/// The columns, of `types`, of `rows` in the row format of `converter`. Bytes that it would not write are an error:
/// what is looked up by its bytes must have those that its value has.
pub(super) fn decode<'a>(
    kind: &'static str,
    converter: &RowConverter,
    types: impl Iterator<Item = &'a DataType>,
    rows: &[&[u8]],
) -> DataFusionResult<Vec<ArrayRef>> {
    let parser = converter.parser();
    // Arrow panics over bytes that are no row.
    let columns = guarded(|| {
        let columns = converter.convert_rows(rows.iter().map(|row| parser.parse(row)))?;
        // Of a dictionary it gives the values.
        let columns = columns.iter().zip(types).map(|(column, data_type)| cast(column, data_type));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let is_same = match columns.is_empty() {
            true => rows.iter().all(|row| row.is_empty()),
            false => {
                converter.convert_columns(&columns)?.iter().map(|row| row.data()).eq(rows.iter().copied())
            }
        };
        Ok(is_same.then_some(columns))
    });
    columns.ok().flatten().ok_or_else(|| SavedError::Rows { kind }.into())
}

/// A number that no state has.
pub(super) fn out_of_range(kind: &'static str, what: &'static str, value: impl ToString) -> DataFusionError {
    SavedError::State(DecodeError::OutOfRange { kind, what, value: value.to_string() }).into()
}
