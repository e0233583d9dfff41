//! What is kept of a table whose rows only come.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;

use super::history::StreamHistory;
use crate::delta::row_store::bytes_of;
use crate::history::Past;
use crate::sql::table::TableDefinition;

/// Stored batches are joined up to this many rows.
const STORED_BATCH_ROWS: usize = 65_536;

/// Rows in memory after which they are given to history, and bytes.
const SEALED_ROWS: u64 = 131_072;
const SEALED_BYTES: usize = 64 << 20;

/// A stream of telemetry, or a table that a user created append-only.
pub(super) struct Stream {
    pub schema: SchemaRef,
    /// What a user said of it; `None` for telemetry.
    pub definition: Option<Arc<TableDefinition>>,
    /// Whether rows are kept for queries and for views to come.
    pub is_stored: bool,
    /// The latest rows of closed ticks.
    pub stored: Arc<Vec<RecordBatch>>,
    pub open: Vec<RecordBatch>,
    /// All rows that ever came.
    pub rows: u64,
    /// Bytes of the stored rows, and rows that were stored once and can be read no more.
    pub stored_bytes: usize,
    pub evicted_rows: u64,
    /// Its rows on disk, if it has any there.
    pub history: Option<StreamHistory>,
    /// How long rows are kept, in milliseconds of stream time; for ever where nobody said.
    pub retention_ms: Option<u64>,
    /// Rows that were too old and are kept no more, of a stream that is in memory alone.
    pub outdated_rows: u64,
    /// The number of the first stored row.
    first: u64,
    /// The first stored batches, whose rows were given to history: they are joined with no others.
    sealed_batches: usize,
}

/// The rows of a stream that can be read.
#[derive(Clone, Default)]
pub(super) struct Kept {
    /// The first, on disk.
    pub past: Past,
    /// All that come after them.
    pub memory: Vec<RecordBatch>,
}

impl Stream {
    /// No rows yet, but those that its `history` has: they are on their way.
    pub fn new(
        schema: SchemaRef,
        definition: Option<Arc<TableDefinition>>,
        history: Option<StreamHistory>,
    ) -> Self {
        let (stored, open) = Default::default();
        let first = history.as_ref().map_or(0, StreamHistory::rows);
        Stream {
            schema,
            definition,
            is_stored: true,
            stored,
            open,
            rows: 0,
            stored_bytes: 0,
            evicted_rows: 0,
            history,
            retention_ms: None,
            outdated_rows: 0,
            first,
            sealed_batches: 0,
        }
    }

    /// Takes `rows` in at the open tick. Those that are on disk already are not stored.
    pub fn add(&mut self, rows: &RecordBatch) {
        let count = rows.num_rows();
        // What is stored begins at the first row that is not on disk.
        let on_disk = self.first.saturating_sub(self.rows).min(count as u64) as usize;
        self.rows += count as u64;
        if self.is_stored && on_disk < count {
            self.open.push(rows.slice(on_disk, count - on_disk));
        }
    }

    /// Takes `count` rows in that are on disk.
    pub fn skip(&mut self, count: u64) {
        self.rows += count;
    }

    /// All rows that are kept, those of the open tick too.
    pub fn kept(&self) -> Kept {
        let (past, from) = self.past();
        let memory = self.stored[from..].iter().chain(&self.open).cloned().collect();
        Kept { past, memory }
    }

    /// The rows that are to be read from disk, and the first stored batch behind them. What is in memory is read there, as
    /// far as files end where batches do.
    pub fn past(&self) -> (Past, usize) {
        let Some(history) = &self.history else { return Default::default() };
        let files = history.files.clone();
        if self.first >= history.rows() {
            let rows = history.rows().min(self.rows);
            return (Past { files, rows }, 0);
        }
        let later = files.partition_point(|file| file.rows().end < self.first);
        let rows =
            if self.first == 0 { 0 } else { files.get(later).map_or(self.first, |file| file.rows().end) };
        let (mut end, mut from) = (self.first, 0);
        while end < rows && from < self.stored.len() {
            end += self.stored[from].num_rows() as u64;
            from += 1;
        }
        (Past { files, rows }, from)
    }

    /// Whether all rows that ever came can be read still.
    pub fn is_whole(&self) -> bool {
        let is_dropped = self.history.as_ref().is_some_and(|history| history.is_dropped);
        let is_gone = self.evicted_rows + self.outdated_rows + self.first_kept() > 0;
        self.rows == 0 || (self.is_stored && !is_gone && !is_dropped)
    }

    /// Moves the rows of the tick just closed behind the others; small batches are joined.
    pub fn store(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let stored = Arc::make_mut(&mut self.stored);
        for batch in self.open.drain(..) {
            self.stored_bytes += bytes_of(&batch);
            let is_alone = stored.len() <= self.sealed_batches;
            match stored.last_mut().filter(|_| !is_alone) {
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
    }

    /// The stored rows that history is to be given: if they are enough, or all of them. The number of the first, and the
    /// rows.
    pub fn unsealed(&self, all: bool) -> Option<(u64, Vec<RecordBatch>)> {
        self.history.as_ref().filter(|history| !history.is_dropped)?;
        let batches = &self.stored[self.sealed_batches..];
        let rows: u64 = batches.iter().map(|batch| batch.num_rows() as u64).sum();
        let bytes = batches.iter().map(bytes_of).sum::<usize>();
        if rows == 0 || !(all || rows >= SEALED_ROWS || bytes >= SEALED_BYTES) {
            return None;
        }
        // A large statement may bring more than a file is to hold; a single batch is never split.
        let sums = batches.iter().scan(0, |bytes, batch| {
            *bytes += bytes_of(batch);
            Some(*bytes)
        });
        let count = sums.take_while(|bytes| *bytes <= 2 * SEALED_BYTES).count().max(1);
        Some((self.sealed_rows(), batches[..count].to_vec()))
    }

    /// Takes note that history was given the next `batches`.
    pub fn sealed(&mut self, batches: usize) {
        self.sealed_batches += batches;
    }

    /// How many rows history was given.
    pub fn sealed_rows(&self) -> u64 {
        self.stored[..self.sealed_batches]
            .iter()
            .fold(self.first, |rows, batch| rows + batch.num_rows() as u64)
    }

    /// The number of the first stored row.
    pub fn first_stored(&self) -> u64 {
        self.first
    }

    /// Drops the stored rows before number `end`.
    pub fn drop_before(&mut self, end: u64) {
        let (mut dropped, mut first) = (0, self.first);
        while let Some(batch) = self.stored.get(dropped).filter(|_| first < end) {
            let behind = first + batch.num_rows() as u64;
            self.stored_bytes -= bytes_of(batch);
            if behind > end {
                let rest = batch.slice((end - first) as usize, (behind - end) as usize);
                self.stored_bytes += bytes_of(&rest);
                Arc::make_mut(&mut self.stored)[dropped] = rest;
                first = end;
                break;
            }
            (first, dropped) = (behind, dropped + 1);
        }
        Arc::make_mut(&mut self.stored).drain(..dropped);
        self.first = first;
        self.sealed_batches = self.sealed_batches.saturating_sub(dropped);
    }

    /// Drops the oldest stored rows while all together take more than `bytes_max`: those that are on disk, where the stream
    /// has history.
    pub fn evict(&mut self, bytes_max: usize) {
        let kept_to = self.history.as_ref().map(StreamHistory::rows);
        let (mut evicted, mut first) = (0, self.first);
        while self.stored_bytes > bytes_max
            && let Some(batch) = self.stored.get(evicted)
        {
            let end = first + batch.num_rows() as u64;
            match kept_to {
                Some(kept_to) if end > kept_to => break,
                Some(_) => {}
                None => self.evicted_rows += batch.num_rows() as u64,
            }
            self.stored_bytes -= bytes_of(batch);
            (first, evicted) = (end, evicted + 1);
        }
        if evicted > 0 {
            Arc::make_mut(&mut self.stored).drain(..evicted);
            self.first = first;
            self.sealed_batches = self.sealed_batches.saturating_sub(evicted);
        }
    }
}
