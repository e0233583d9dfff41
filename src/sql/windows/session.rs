//! The begin and the end of sessions.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::compute::kernels::cmp::gt_eq;
use arrow::compute::kernels::numeric::add;
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::arrow_err;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{PartitionEvaluator, Signature, Volatility, WindowUDFImpl};

use super::{names, time_and_intervals};

/// `session_start(time, gap)` or `session_end(time, gap)`, over rows in the order of `time`: a session is a run of rows
/// each of which is less than `gap` after the one before. It begins with its first time and ends `gap` after its last.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Edge {
    is_end: bool,
    signature: Signature,
}

impl Edge {
    /// Both functions.
    pub fn all() -> [Edge; 2] {
        [false, true].map(|is_end| Edge { is_end, signature: Signature::user_defined(Volatility::Immutable) })
    }
}

impl WindowUDFImpl for Edge {
    fn name(&self) -> &str {
        if self.is_end { names::SESSION_END } else { names::SESSION_START }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        time_and_intervals(self.name(), types, &[1])
    }

    fn field(&self, args: WindowUDFFieldArgs) -> DataFusionResult<FieldRef> {
        let time = args.get_input_field(0).map_or(DataType::Null, |f| f.data_type().clone());
        Ok(Arc::new(Field::new(args.name(), time, true)))
    }

    fn partition_evaluator(
        &self,
        _args: PartitionEvaluatorArgs,
    ) -> DataFusionResult<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Sessions { is_end: self.is_end }))
    }
}

#[derive(Debug)]
struct Sessions {
    is_end: bool,
}

impl PartitionEvaluator for Sessions {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> DataFusionResult<ArrayRef> {
        let times = &values[0];
        let ends = add(times, &values[1])?;
        if rows < 2 {
            return Ok(if self.is_end { ends } else { times.clone() });
        }
        // Whether each row but the first begins a session.
        let begins = gt_eq(&times.slice(1, rows - 1), &ends.slice(0, rows - 1))?;
        let is_first = |row: usize| row == 0 || (begins.is_valid(row - 1) && begins.value(row - 1));
        let mut places = vec![0_u32; rows];
        if self.is_end {
            let mut last = rows - 1;
            for row in (0..rows).rev() {
                places[row] = last as u32;
                last = if is_first(row) && row > 0 { row - 1 } else { last };
            }
        } else {
            let mut first = 0;
            for (row, place) in places.iter_mut().enumerate() {
                first = if is_first(row) { row } else { first };
                *place = first as u32;
            }
        }
        let taken = take(if self.is_end { &ends } else { times }, &UInt32Array::from(places), None);
        taken.or_else(|error| arrow_err!(error))
    }
}
