//! EMIT ON WINDOW CLOSE: the rows of a window, once it has ended.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::subscription::Change;
use crate::delta::chunk::ArrowChunk;
use crate::delta::operator::Part;
use crate::delta::updates::{Run, Tick, Updates};
use crate::sql::error::SqlError;
use crate::sql::windows::closing::{WindowEnd, ends_ms};

/// The most rows of windows that have not ended that a subscription holds.
pub const OPEN_ROWS_MAX: usize = 4_000_000;

/// Changes are summed up by row once as many came as there were rows, and at least so many.
const SETTLE_ROWS_MIN: usize = 8192;

/// The rows of windows that have not ended yet. Each is told once, at the first tick that is not before the end of its
/// window, as it is then; changes after that are counted and not told. A row whose window has no end is never told.
pub(super) struct Closing {
    ends: Vec<WindowEnd>,
    /// Changes by the tick from which on their window has ended.
    open: BTreeMap<Tick, Vec<Updates>>,
    open_rows: usize,
    /// How many open rows there may be before changes are summed up.
    settle_rows: usize,
    /// The last tick: windows that end at it, or before, have been told.
    closed: Tick,
    /// Rows that came when their window had been told.
    corrected_rows: Arc<AtomicU64>,
}

impl Closing {
    /// A subscription to a view with windows that end by `ends`. Of those that had ended at `closed` nothing is told.
    pub fn new(ends: Vec<WindowEnd>, closed: Tick, corrected_rows: Arc<AtomicU64>) -> Self {
        let settle_rows = SETTLE_ROWS_MIN;
        Closing { ends, open: BTreeMap::new(), open_rows: 0, settle_rows, closed, corrected_rows }
    }

    /// The rows of open windows with their diffs.
    pub fn open(&self) -> impl Iterator<Item = Part> + '_ {
        self.open.values().flatten().map(|updates| (updates.rows.clone(), updates.diffs.clone()))
    }

    /// Takes in, at tick `closed`, rows that were [open](Self::open), in place of all that came.
    pub fn go_on(&mut self, closed: Tick, open: Vec<Part>) -> Result<(), SqlError> {
        (self.open, self.open_rows, self.closed) = (BTreeMap::new(), 0, closed);
        let updates: Vec<Updates> =
            open.into_iter().map(|(rows, diffs)| Updates::at(rows, closed, diffs)).collect();
        self.begin(&Change { tick: closed, chunks: ArrowChunk::form(&updates), error: None })
    }

    /// Takes in the rows of the beginning, which correct nothing.
    pub fn begin(&mut self, snapshot: &Change) -> Result<(), SqlError> {
        self.add(snapshot).map(drop)
    }

    /// What is told when `change` has come: the rows of windows that have ended since the last.
    pub fn next(&mut self, change: &Change) -> Result<Vec<ArrowChunk>, SqlError> {
        let corrected = self.add(change)?;
        self.corrected_rows.fetch_add(corrected, Ordering::Relaxed);
        let open = self.open.split_off(&(change.tick + 1));
        let ended = std::mem::replace(&mut self.open, open);
        self.closed = change.tick;
        let ended = ended.into_values().flatten().collect::<Vec<_>>();
        self.open_rows -= ended.iter().map(Updates::len).sum::<usize>();
        Ok(sums(ended, change.tick))
    }

    /// Adds the changes of open windows; how many rows came for others.
    fn add(&mut self, change: &Change) -> Result<u64, SqlError> {
        let mut corrected = 0;
        for chunk in &change.chunks {
            let updates = chunk.updates();
            let mut by_end: BTreeMap<Tick, Vec<u32>> = BTreeMap::new();
            for (row, end_ms) in ends_ms(&self.ends, updates.rows.columns())?.into_iter().enumerate() {
                let Some(end_ms) = end_ms else { continue };
                match Tick::try_from(end_ms).unwrap_or(0) {
                    end if end > self.closed => by_end.entry(end).or_default().push(row as u32),
                    _ => corrected += updates.diffs.get(row).max(0) as u64,
                }
            }
            for (end, rows) in by_end {
                let changes = updates.take(&rows);
                self.open_rows += changes.len();
                self.open.entry(end).or_default().push(changes);
            }
        }
        if self.open_rows > self.settle_rows {
            self.settle(change.tick)?;
        }
        Ok(corrected)
    }

    /// Sums the changes of open windows up by row.
    fn settle(&mut self, tick: Tick) -> Result<(), SqlError> {
        self.open_rows = 0;
        for changes in self.open.values_mut() {
            let summed = sums(std::mem::take(changes), tick);
            *changes = summed.iter().map(|chunk| chunk.updates().clone()).collect();
            self.open_rows += changes.iter().map(Updates::len).sum::<usize>();
        }
        self.settle_rows = (2 * self.open_rows).max(SETTLE_ROWS_MIN);
        match self.open_rows > OPEN_ROWS_MAX {
            false => Ok(()),
            true => Err(SqlError::Limit {
                what: "windows that have not ended hold more rows than",
                limit: OPEN_ROWS_MAX.to_string(),
                hint: "subscribe to a view with fewer rows in a window, or without EMIT ON WINDOW CLOSE",
            }),
        }
    }
}

/// `changes` summed up by row, as if all had come at `tick`.
fn sums(mut changes: Vec<Updates>, tick: Tick) -> Vec<ArrowChunk> {
    changes.iter_mut().for_each(|c| c.times = Run::Constant(tick));
    ArrowChunk::form(&changes)
}
