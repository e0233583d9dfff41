//! How a source or a sink does, told by whoever runs it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What a source or a sink does now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// It has not begun yet.
    #[default]
    Starting,
    /// It moves rows.
    Running,
    /// It tries again soon: why.
    Retrying(String),
    /// It has given up, until it is told to go on: why.
    Failed(String),
}

/// What was moved since the start, and how it goes.
#[derive(Debug, Default)]
pub struct Activity {
    condition: Mutex<Condition>,
    messages: AtomicU64,
    bytes: AtomicU64,
    /// Batches that were handed over, or transactions that were committed.
    batches: AtomicU64,
    /// Attempts that failed.
    failures: AtomicU64,
    /// By partition of a source, the offset behind its last message.
    ends: Mutex<BTreeMap<i32, i64>>,
}

impl Activity {
    /// It does something else now.
    pub fn tell(&self, condition: Condition) {
        let mut now = self.condition.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(condition, Condition::Retrying(_) | Condition::Failed(_)) {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        *now = condition;
    }

    /// What it got over by itself is over.
    pub fn goes_on(&self) {
        let mut now = self.condition.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*now, Condition::Retrying(_)) {
            *now = Condition::Running;
        }
    }

    /// What it does now.
    pub fn condition(&self) -> Condition {
        self.condition.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A batch, or transaction, of `messages` with together `bytes` has arrived.
    pub fn moved(&self, messages: u64, bytes: u64) {
        self.messages.fetch_add(messages, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
    }

    /// Batches, or transactions, that have arrived.
    pub fn batches(&self) -> u64 {
        self.batches.load(Ordering::Relaxed)
    }

    /// The offset behind the last message that there is in `partition`; `None` once it is another's to read.
    pub fn end(&self, partition: i32, end: Option<i64>) {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        match end {
            Some(end) => drop(ends.insert(partition, end)),
            None => drop(ends.remove(&partition)),
        }
    }

    /// Messages, bytes, batches and failures since the start.
    pub(super) fn counts(&self) -> [u64; 4] {
        [&self.messages, &self.bytes, &self.batches, &self.failures]
            .map(|count| count.load(Ordering::Relaxed))
    }

    pub(super) fn ends(&self) -> BTreeMap<i32, i64> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
