//! What is kept of a table whose rows only come.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;

use crate::delta::row_store::bytes_of;
use crate::sql::table::TableDefinition;

/// Stored batches are joined up to this many rows.
const STORED_BATCH_ROWS: usize = 65_536;

/// A stream of telemetry, or a table that a user created append-only.
pub(super) struct Stream {
    pub schema: SchemaRef,
    /// What a user said of it; `None` for telemetry.
    pub definition: Option<Arc<TableDefinition>>,
    /// Whether rows are kept for queries and for views to come.
    pub is_stored: bool,
    pub stored: Arc<Vec<RecordBatch>>,
    pub open: Vec<RecordBatch>,
    /// All rows that ever came.
    pub rows: u64,
    /// Bytes of the stored rows, and rows that were stored once and had to go.
    pub stored_bytes: usize,
    pub evicted_rows: u64,
}

impl Stream {
    /// No rows yet.
    pub fn new(schema: SchemaRef, definition: Option<Arc<TableDefinition>>) -> Self {
        let (stored, open) = Default::default();
        Stream {
            schema,
            definition,
            is_stored: true,
            stored,
            open,
            rows: 0,
            stored_bytes: 0,
            evicted_rows: 0,
        }
    }

    /// All rows that are kept, those of the open tick too.
    pub fn kept(&self) -> Vec<RecordBatch> {
        self.stored.iter().chain(&self.open).cloned().collect()
    }

    /// Whether all rows that ever came can be read still.
    pub fn is_whole(&self) -> bool {
        self.rows == 0 || (self.is_stored && self.evicted_rows == 0)
    }

    /// Moves the rows of the tick just closed behind the others; small batches are joined, and the
    /// oldest dropped while all together take more than `bytes_max`.
    pub fn store(&mut self, bytes_max: usize) {
        if self.open.is_empty() {
            return;
        }
        let stored = Arc::make_mut(&mut self.stored);
        for batch in self.open.drain(..) {
            self.stored_bytes += bytes_of(&batch);
            match stored.last_mut() {
                // Joined to its predecessor while both are small, each row is copied but a few times.
                Some(last)
                    if last.num_rows() <= batch.num_rows()
                        && last.num_rows() + batch.num_rows() <= STORED_BATCH_ROWS =>
                {
                    match concat_batches(&batch.schema(), [&*last, &batch]) {
                        Ok(joined) => {
                            self.stored_bytes -= bytes_of(last) + bytes_of(&batch);
                            self.stored_bytes += bytes_of(&joined);
                            *last = joined;
                        }
                        Err(_) => stored.push(batch),
                    }
                }
                _ => stored.push(batch),
            }
        }
        let mut evicted = 0;
        while self.stored_bytes > bytes_max && evicted < stored.len() {
            self.stored_bytes -= bytes_of(&stored[evicted]);
            self.evicted_rows += stored[evicted].num_rows() as u64;
            evicted += 1;
        }
        stored.drain(..evicted);
    }
}
