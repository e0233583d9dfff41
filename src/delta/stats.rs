//! What an operator tells about itself, readable from any thread.

use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Counters of one operator on one worker. Written by that worker alone.
#[derive(Debug, Default)]
pub struct Counters {
    /// Rows that the horizon dropped from the state.
    pub expired_rows: AtomicU64,
    /// Rows that came when nothing could be done with them any more.
    pub late_rows: AtomicU64,
    /// Models of many rows that were computed, such as fits of a season.
    pub fits: AtomicU64,
    rows_in: AtomicU64,
    rows_out: AtomicU64,
    errors: AtomicU64,
    state_rows: AtomicU64,
    state_bytes: AtomicU64,
    busy_ns: AtomicU64,
}

/// What counters say, or a sum of such.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Updates of rows taken in, in closed ticks.
    pub rows_in: u64,
    /// Updates of rows given out.
    pub rows_out: u64,
    /// Updates of errors given out, those of its inputs included.
    pub errors: u64,
    /// Entries held now: rows, groups or distinct rows, whichever the operator keeps.
    pub state_rows: u64,
    /// Bytes held now.
    pub state_bytes: u64,
    /// Time that worker threads spent in the operator, in nanoseconds.
    pub busy_ns: u64,
    /// Rows that came when nothing could be done with them any more.
    pub late_rows: u64,
    /// Rows that the horizon dropped from the state.
    pub expired_rows: u64,
    /// Models of many rows that were computed.
    pub fits: u64,
}

impl Counters {
    /// Notes the bytes of state held now.
    pub fn state_bytes(&self, bytes: usize) {
        self.state_bytes.store(bytes as u64, Ordering::Relaxed);
    }

    /// Notes the entries of state held now.
    pub fn state_rows(&self, rows: usize) {
        self.state_rows.store(rows as u64, Ordering::Relaxed);
    }

    /// Counts updates taken in.
    pub fn took(&self, rows: usize) {
        self.rows_in.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// Counts updates given out.
    pub fn gave(&self, rows: usize) {
        self.rows_out.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// Counts updates of errors given out.
    pub fn failed(&self, errors: usize) {
        self.errors.fetch_add(errors as u64, Ordering::Relaxed);
    }

    /// What they say now.
    pub fn read(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            rows_in: read(&self.rows_in),
            rows_out: read(&self.rows_out),
            errors: read(&self.errors),
            state_rows: read(&self.state_rows),
            state_bytes: read(&self.state_bytes),
            busy_ns: read(&self.busy_ns),
            late_rows: read(&self.late_rows),
            expired_rows: read(&self.expired_rows),
            fits: read(&self.fits),
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.rows_in += other.rows_in;
        self.rows_out += other.rows_out;
        self.errors += other.errors;
        self.state_rows += other.state_rows;
        self.state_bytes += other.state_bytes;
        self.busy_ns += other.busy_ns;
        self.late_rows += other.late_rows;
        self.expired_rows += other.expired_rows;
        self.fits += other.fits;
    }
}

/// Times one activation of an operator, from its first piece of work on: an operator that only learns
/// that time has passed is not timed, since reading the clock would cost more than that.
pub(super) struct Stopwatch<'a> {
    counters: &'a Counters,
    begun: Option<Instant>,
}

impl<'a> Stopwatch<'a> {
    pub fn new(counters: &'a Counters) -> Self {
        Stopwatch { counters, begun: None }
    }

    /// There is work.
    #[inline]
    pub fn begin(&mut self) {
        self.begun.get_or_insert_with(Instant::now);
    }
}

impl Drop for Stopwatch<'_> {
    fn drop(&mut self) {
        if let Some(begun) = self.begun {
            let busy_ns = begun.elapsed().as_nanos() as u64;
            self.counters.busy_ns.fetch_add(busy_ns, Ordering::Relaxed);
        }
    }
}
