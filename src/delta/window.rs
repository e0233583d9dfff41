//! DataFusion's window functions over partitions.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{cast, concat};
use arrow::datatypes::SchemaRef;
use datafusion::error::Result as DataFusionResult;
use datafusion::physical_expr::window::WindowExpr;

use super::partition::PartitionFunction;

/// Rows are tried before a dataflow is built: enough for a frame to move on and leave one behind.
const TRIED_ROWS: usize = 3;

/// The first columns of each row, and what window functions give for it.
///
/// The functions are DataFusion's own, evaluated as a batch query does: each over all rows of a partition.
#[derive(Debug)]
pub struct WindowFunctions {
    functions: Vec<Arc<dyn WindowExpr>>,
    columns: usize,
    schema: SchemaRef,
}

impl WindowFunctions {
    /// `functions` over rows of `input`, of which the result, of `schema`, has as many as leave room for the
    /// functions. Fails where a function cannot be computed over its frame.
    pub fn new(
        functions: Vec<Arc<dyn WindowExpr>>,
        input: &SchemaRef,
        schema: SchemaRef,
    ) -> DataFusionResult<Self> {
        let columns = schema.fields().len() - functions.len();
        let windows = WindowFunctions { functions, columns, schema };
        let nulls = input.fields().iter().map(|f| new_null_array(f.data_type(), TRIED_ROWS)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(TRIED_ROWS));
        let rows = RecordBatch::try_new_with_options(input.clone(), nulls, &options)?;
        windows.evaluate(&rows, std::slice::from_ref(&(0..TRIED_ROWS)))?;
        Ok(windows)
    }

    /// What `function` gives for each row.
    fn column(
        function: &Arc<dyn WindowExpr>,
        rows: &RecordBatch,
        partitions: &[Range<usize>],
    ) -> DataFusionResult<ArrayRef> {
        let slices = partitions.iter().map(|range| rows.slice(range.start, range.len()));
        let parts = slices.map(|rows| function.evaluate(&rows)).collect::<DataFusionResult<Vec<_>>>()?;
        let parts: Vec<&dyn Array> = parts.iter().map(|part| part.as_ref()).collect();
        Ok(concat(&parts)?)
    }
}

impl PartitionFunction for WindowFunctions {
    fn evaluate(&self, rows: &RecordBatch, partitions: &[Range<usize>]) -> DataFusionResult<RecordBatch> {
        let mut columns = rows.columns()[..self.columns].to_vec();
        for (function, field) in self.functions.iter().zip(&self.schema.fields()[self.columns..]) {
            let column = Self::column(function, rows, partitions)?;
            let is_right = column.data_type() == field.data_type();
            columns.push(if is_right { column } else { cast(&column, field.data_type())? });
        }
        Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
    }
}

impl fmt::Display for WindowFunctions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.functions.iter().map(|function| function.name()).collect();
        f.write_str(&names.join(", "))
    }
}
