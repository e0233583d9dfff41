//! The windows of a HOP.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::kernels::numeric::{add, sub};
use arrow::compute::{cast, interleave};
use arrow::datatypes::{DataType, Field, IntervalMonthDayNano};
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::Result as DataFusionResult;
use datafusion::functions::datetime::date_bin;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility};

use super::{names, time_and_intervals};
use crate::sql::rewrite::{HOP_WINDOWS_MAX, ratio};

/// `hop_starts(time, hop, size [, offset])`: the begins of the windows of `size` that `time` is in, one of which begins
/// every `hop`, counted from 1970 and `offset`; the latest first. Null where `time` is.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct HopStarts {
    signature: Signature,
}

impl Default for HopStarts {
    fn default() -> Self {
        HopStarts { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for HopStarts {
    fn name(&self) -> &str {
        names::HOP_STARTS
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        time_and_intervals(self.name(), types, &[2, 3])
    }

    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::new_list(types[0].clone(), true))
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let interval = |value: &ColumnarValue| match value {
            ColumnarValue::Scalar(ScalarValue::IntervalMonthDayNano(Some(value))) => Ok(*value),
            _ => exec_err!("{}: the intervals must be constant", names::HOP_STARTS),
        };
        let intervals = args.args[1..].iter().map(interval).collect::<DataFusionResult<Vec<_>>>()?;
        let (hop, size) = (intervals[0], intervals[1]);
        let windows = match ratio(size, hop) {
            Some(windows) if (1..=HOP_WINDOWS_MAX).contains(&windows) => windows as usize,
            _ => return exec_err!("{}: the size must be a whole multiple of the hop", names::HOP_STARTS),
        };
        let time = args.args[0].to_array(args.number_rows)?;
        let offset = intervals.get(2).copied();
        let constant =
            |value: IntervalMonthDayNano| ScalarValue::IntervalMonthDayNano(Some(value)).to_scalar();
        let shifted = match offset {
            Some(offset) => sub(&time, &constant(offset)?)?,
            None => time.clone(),
        };
        args.arg_fields.truncate(2);
        args.arg_fields.swap(0, 1);
        args.return_field = Arc::new(Field::new(date_bin().name(), time.data_type().clone(), true));
        args.args = vec![args.args[1].clone(), ColumnarValue::Array(shifted)];
        let rows = args.number_rows;
        let mut start = date_bin().invoke_with_args(args)?.to_array(rows)?;
        if let Some(offset) = offset {
            start = add(&start, &constant(offset)?)?;
        }
        let start = cast(&start, time.data_type())?;
        let step = |number: i64| -> DataFusionResult<ArrayRef> {
            let back = IntervalMonthDayNano {
                months: hop.months * number as i32,
                days: hop.days * number as i32,
                nanoseconds: hop.nanoseconds * number,
            };
            Ok(sub(&start, &constant(back)?)?)
        };
        let starts = (0..windows as i64).map(step).collect::<DataFusionResult<Vec<_>>>()?;
        Ok(ColumnarValue::Array(Arc::new(lists(&starts, time.data_type())?)))
    }
}

/// A list a row: what each of `columns` has there.
fn lists(columns: &[ArrayRef], data_type: &DataType) -> DataFusionResult<ListArray> {
    let rows = columns.first().map_or(0, |c| c.len());
    let places: Vec<(usize, usize)> =
        (0..rows).flat_map(|row| (0..columns.len()).map(move |c| (c, row))).collect();
    let parts: Vec<&dyn Array> = columns.iter().map(|c| c.as_ref()).collect();
    let values = interleave(&parts, &places)?;
    let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(columns.len(), rows));
    let nulls = columns.first().and_then(|c| c.nulls().cloned());
    Ok(ListArray::try_new(Arc::new(Field::new_list_field(data_type.clone(), true)), offsets, values, nulls)?)
}
