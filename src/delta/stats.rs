//! What an operator tells about itself, readable from any thread.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one operator on one worker.
#[derive(Debug, Default)]
pub struct Counters {
    /// Rows that the horizon dropped from the state.
    pub expired_rows: AtomicU64,
    /// Rows that came when nothing could be done with them any more.
    pub late_rows: AtomicU64,
    state_bytes: AtomicU64,
}

impl Counters {
    /// Notes the bytes of state held now.
    pub fn state_bytes(&self, bytes: usize) {
        self.state_bytes.store(bytes as u64, Ordering::Relaxed);
    }

    /// The bytes of state last noted.
    pub fn read_state_bytes(&self) -> u64 {
        self.state_bytes.load(Ordering::Relaxed)
    }
}
