//! A number for each series.

use std::sync::Arc;

use arrow::array::Int64Array;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use datafusion::common::utils::normalize_float_zero;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};
use twox_hash::XxHash64;

/// `key_hash(value, ...)`: the XXH64 of the bytes by which Arrow orders rows of these values. The two zeros are one value.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct KeyHash {
    signature: Signature,
}

impl Default for KeyHash {
    fn default() -> Self {
        KeyHash { signature: Signature::variadic_any(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for KeyHash {
    fn name(&self) -> &str {
        "key_hash"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&args.args)?;
        let columns: Vec<_> = columns.iter().map(normalize_float_zero).collect();
        let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
        let rows = RowConverter::new(fields)?.convert_columns(&columns)?;
        let hashes = rows.iter().map(|row| XxHash64::oneshot(0, row.as_ref()) as i64);
        Ok(ColumnarValue::Array(Arc::new(Int64Array::from_iter_values(hashes))))
    }
}
