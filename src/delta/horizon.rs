//! How long state is kept.

use super::distinct::COMPACT_ROWS_MIN;
use super::updates::Tick;

/// When each numbered thing was last touched, so that the old can be forgotten.
pub struct Horizon {
    length_ms: u64,
    last: Vec<Tick>,
    /// The next tick at which looking for old entries is worth it.
    next_sweep: Tick,
}

impl Horizon {
    /// Things untouched for `length_ms` of stream time may be forgotten.
    pub fn new(length_ms: u64) -> Self {
        Horizon { length_ms, last: vec![], next_sweep: 0 }
    }

    /// Notes that `numbers` were touched at `tick`.
    pub fn touch(&mut self, tick: Tick, numbers: &[usize]) {
        for number in numbers {
            if *number >= self.last.len() {
                self.last.resize(*number + 1, tick);
            }
            self.last[*number] = tick;
        }
    }

    /// Which numbers to keep at `tick`, once the half of them are old; they are then renumbered in
    /// order. `None` when nothing should be done yet.
    pub fn expired(&mut self, tick: Tick) -> Option<Vec<bool>> {
        if tick < self.next_sweep || self.last.len() < COMPACT_ROWS_MIN {
            return None;
        }
        let oldest = tick.saturating_sub(self.length_ms);
        let keep: Vec<bool> = self.last.iter().map(|last| *last >= oldest).collect();
        let kept = keep.iter().filter(|k| **k).count();
        if kept * 2 > keep.len() {
            self.next_sweep = tick + self.length_ms / 4;
            return None;
        }
        self.last.retain(|last| *last >= oldest);
        Some(keep)
    }
}
