//! Hashes of rows, the same on every worker.

use arrow::array::{ArrayRef, RecordBatch};
use datafusion::common::hash_utils::{RandomState, create_hashes};

/// Weak in unit tests, so that collisions are the rule there and not the exception.
const HASH_MASK: u64 = if cfg!(test) { 0b111 } else { u64::MAX };

const STATE: RandomState = RandomState::with_seed(0x756e_6465_7263);

/// A hash of each row over `columns`: equal rows have equal hashes, on every worker. Rows without
/// columns all hash to 0.
pub fn hash_columns(columns: &[ArrayRef], rows: usize) -> Vec<u64> {
    let mut hashes = vec![0; rows];
    if !columns.is_empty() {
        create_hashes(columns, &STATE, &mut hashes).expect("every type of a column can be hashed");
    }
    if HASH_MASK != u64::MAX {
        hashes.iter_mut().for_each(|h| *h &= HASH_MASK);
    }
    hashes
}

/// A hash of each whole row of `batch`.
pub fn hash_rows(batch: &RecordBatch) -> Vec<u64> {
    hash_columns(batch.columns(), batch.num_rows())
}
