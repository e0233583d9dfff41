//! DataFusion's physical expressions over batches whose rows may fail one by one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::{cast, concat_batches, filter_record_batch};
use arrow::datatypes::SchemaRef;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::physical_expr::PhysicalExpr;

use super::updates::{columnless, without_nulls};

/// A filter, then a projection: each row gives one row or none, or fails.
#[derive(Clone, Debug)]
pub struct RowMap {
    /// Keeps the rows for which it is true.
    pub predicate: Option<Arc<dyn PhysicalExpr>>,
    /// The columns of the result; `None` keeps those of the input.
    pub projection: Option<Vec<Arc<dyn PhysicalExpr>>>,
    /// The schema of the result.
    pub schema: SchemaRef,
}

/// What became of a batch under a [`RowMap`].
pub struct Mapped {
    /// The resulting rows.
    pub rows: RecordBatch,
    /// Which of the input's rows they stem from; `None` when all do.
    pub kept: Option<BooleanArray>,
    /// Rows that failed, by index, each with its message.
    pub failed: Vec<(usize, String)>,
}

impl RowMap {
    /// Maps `rows`. A row that fails (division by zero, a cast that does not fit) does so alone.
    pub fn apply(&self, rows: &RecordBatch) -> Mapped {
        match guarded(|| self.apply_all(rows)) {
            Ok((rows, kept)) => Mapped { rows, kept, failed: vec![] },
            Err(_) => self.apply_each(rows),
        }
    }

    fn apply_all(&self, rows: &RecordBatch) -> DataFusionResult<(RecordBatch, Option<BooleanArray>)> {
        let kept = match &self.predicate {
            Some(predicate) => Some(evaluate_mask(predicate, rows)?),
            None => None,
        };
        let kept = kept.filter(|mask| mask.true_count() < rows.num_rows());
        let input = match &kept {
            Some(mask) => filter_record_batch(rows, mask)?,
            None => rows.clone(),
        };
        Ok((self.project(&input)?, kept))
    }

    fn project(&self, rows: &RecordBatch) -> DataFusionResult<RecordBatch> {
        let Some(projection) = &self.projection else {
            let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
            let columns = rows.columns().to_vec();
            return Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?);
        };
        let mut columns = Vec::with_capacity(projection.len());
        for (expression, field) in projection.iter().zip(self.schema.fields()) {
            columns.push(evaluate(expression, rows, field.data_type())?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        Ok(RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?)
    }

    /// The slow way, once a batch holds a row that fails.
    fn apply_each(&self, rows: &RecordBatch) -> Mapped {
        let mut mapped = vec![];
        let mut failed = vec![];
        let mut kept = Vec::with_capacity(rows.num_rows());
        for index in 0..rows.num_rows() {
            match guarded(|| self.apply_all(&rows.slice(index, 1))) {
                Ok((row, _)) => {
                    kept.push(row.num_rows() == 1);
                    mapped.push(row);
                }
                Err(error) => {
                    kept.push(false);
                    failed.push((index, message(&error)));
                }
            }
        }
        let rows = if self.schema.fields().is_empty() {
            columnless(self.schema.clone(), mapped.iter().map(RecordBatch::num_rows).sum())
        } else {
            concat_batches(&self.schema, &mapped).expect("batches of one schema")
        };
        Mapped { rows, kept: Some(kept.into()), failed }
    }
}

/// `expression` over `rows` as an array of `data_type`; a dictionary or view is cast to it.
fn evaluate(
    expression: &Arc<dyn PhysicalExpr>,
    rows: &RecordBatch,
    data_type: &arrow::datatypes::DataType,
) -> DataFusionResult<ArrayRef> {
    let array = expression.evaluate(rows)?.into_array(rows.num_rows())?;
    Ok(if array.data_type() == data_type { array } else { cast(&array, data_type)? })
}

/// Runs `f`; a function of a library that panics over a row is an error as any other.
pub(crate) fn guarded<T>(f: impl FnOnce() -> DataFusionResult<T>) -> DataFusionResult<T> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
        Err(DataFusionError::Execution(format!("a function panicked: {text}")))
    })
}

/// A predicate over `rows` with nulls read as false.
pub(crate) fn evaluate_mask(
    predicate: &Arc<dyn PhysicalExpr>,
    rows: &RecordBatch,
) -> DataFusionResult<BooleanArray> {
    let array = guarded(|| predicate.evaluate(rows)?.into_array(rows.num_rows()))?;
    let mask = array.as_any().downcast_ref::<BooleanArray>().ok_or_else(|| {
        DataFusionError::Internal(format!("a predicate of type {}, Boolean expected", array.data_type()))
    })?;
    Ok(without_nulls(mask))
}

/// The root of `error` in one line, as a batch query would show it.
pub(crate) fn message(error: &DataFusionError) -> String {
    error.find_root().strip_backtrace()
}
