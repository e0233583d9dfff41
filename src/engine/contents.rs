//! The rows of a view at one tick.

use std::sync::OnceLock;

use arrow::array::{Array, RecordBatch, StringArray, UInt32Array};
use arrow::compute::take_record_batch;

use crate::delta::chunk::{ArrowChunk, rows_at};
use crate::delta::updates::{Diff, Run, Tick, Updates};
use crate::sql::catalog::Contents;
use crate::sql::error::SqlError;
use crate::sql::write::Part;

/// The most rows that copies of equal rows may become when a view is read.
const REPEATED_ROWS_MAX: i64 = 100_000_000;

/// A view's chunks of all workers; put together when first read.
pub(super) struct ViewContents {
    view: String,
    tick: Tick,
    rows: Vec<ArrowChunk>,
    errors: Vec<ArrowChunk>,
    read: OnceLock<Vec<(RecordBatch, Run<Diff>)>>,
}

impl ViewContents {
    pub fn new(view: &str, tick: Tick) -> Self {
        ViewContents { view: view.to_owned(), tick, rows: vec![], errors: vec![], read: OnceLock::new() }
    }

    pub fn extend(&mut self, rows: Vec<ArrowChunk>, errors: Vec<ArrowChunk>) {
        self.rows.extend(rows);
        self.errors.extend(errors);
    }

    /// The same after `parts` have changed it.
    pub fn changed_by(&self, parts: &[Part]) -> Self {
        let updates = |(rows, diffs): &Part| Updates::at(rows.clone(), self.tick, diffs.clone());
        let changes = ArrowChunk::form(&parts.iter().map(updates).collect::<Vec<_>>());
        let rows = self.rows.iter().cloned().chain(changes).collect();
        ViewContents { rows, errors: self.errors.clone(), ..ViewContents::new(&self.view, self.tick) }
    }

    /// Distinct rows with their multiplicities.
    pub fn counted(&self) -> &[(RecordBatch, Run<Diff>)] {
        self.read.get_or_init(|| rows_at(&self.rows, self.tick))
    }

    /// Distinct errors with their multiplicities.
    pub fn errors(&self) -> Vec<(RecordBatch, Run<Diff>)> {
        rows_at(&self.errors, self.tick)
    }

    /// How many rows there are.
    pub fn count(&self) -> i64 {
        let parts = self.counted().iter();
        parts.map(|(rows, diffs)| (0..rows.num_rows()).map(|i| diffs.get(i)).sum::<i64>()).sum()
    }

    /// Rows that are held, and their bytes. Copies of a row are held once; before they are merged, changes of a
    /// row are held beside it.
    pub fn size(&self) -> (usize, usize) {
        let sizes = self.rows.iter().map(|chunk| (chunk.updates().len(), chunk.bytes()));
        sizes.fold((0, 0), |(rows, bytes), (more_rows, more_bytes)| (rows + more_rows, bytes + more_bytes))
    }

    /// The error that stands in place of an answer, if there is one.
    pub fn check(&self) -> Result<(), SqlError> {
        let errors = self.errors();
        let mut first: Option<String> = None;
        let mut count = 0;
        for (rows, diffs) in &errors {
            let messages = rows.column(0).as_any().downcast_ref::<StringArray>();
            for (row, message) in messages.into_iter().flatten().enumerate() {
                count += diffs.get(row);
                let message = message.unwrap_or_default().to_owned();
                first = Some(first.map_or(message.clone(), |f| f.min(message)));
            }
        }
        match first {
            Some(message) => Err(SqlError::View { view: self.view.clone(), message, count }),
            None => Ok(()),
        }
    }
}

impl Contents for ViewContents {
    fn read(&self) -> Result<Vec<RecordBatch>, SqlError> {
        self.check()?;
        self.counted().iter().map(|(rows, diffs)| repeat(&self.view, rows, diffs)).collect()
    }
}

/// Each row as often as it is there.
fn repeat(view: &str, rows: &RecordBatch, diffs: &Run<Diff>) -> Result<RecordBatch, SqlError> {
    if *diffs == Run::Constant(1) {
        return Ok(rows.clone());
    }
    let total: i64 = (0..rows.num_rows()).map(|row| diffs.get(row)).sum();
    if total > REPEATED_ROWS_MAX {
        return Err(SqlError::Engine(format!(
            "view \"{view}\" has {total} rows, {REPEATED_ROWS_MAX} can be read at once; add DISTINCT or GROUP BY to it"
        )));
    }
    let picks = (0..rows.num_rows()).flat_map(|row| std::iter::repeat_n(row as u32, diffs.get(row) as usize));
    let picks = UInt32Array::from_iter_values(picks);
    match rows.num_columns() {
        0 => {
            let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(picks.len()));
            Ok(RecordBatch::try_new_with_options(rows.schema(), vec![], &options)?)
        }
        _ => Ok(take_record_batch(rows, &picks)?),
    }
}
