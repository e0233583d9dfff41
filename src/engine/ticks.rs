//! Ticks are closed: all workers finish one before any begins the next.

use std::sync::Arc;

use crossbeam_channel::Receiver;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::worker::{Closed, Command};
use super::{Engine, EngineError, LOST_CHECK, channels};
use crate::delta::updates::Tick;

/// A tick that workers are closing. Until it is closed nothing is to be added to the engine.
pub(super) struct ClosingTick {
    tick: Tick,
    replies: Receiver<Closed>,
    closed: Vec<Closed>,
    /// Told after each reply.
    wake: Arc<Notify>,
}

impl Engine {
    /// Closes the open tick: it ends at `clock_ms`, or as soon as time allows where the clock has not
    /// moved. Returns once every view holds its answer at that tick, and readers see it.
    pub fn close(&mut self, clock_ms: u64) -> Result<Tick, EngineError> {
        let mut closing = self.begin_close(clock_ms)?;
        closing.closed = self.gather(closing.replies.clone())?;
        Ok(self.finish_close(closing))
    }

    /// Has the workers close the open tick.
    pub(super) fn begin_close(&mut self, clock_ms: u64) -> Result<ClosingTick, EngineError> {
        let tick = self.next_tick(clock_ms);
        let ((reply, replies), wake) = (channels::replies(self.workers.len()), Arc::<Notify>::default());
        self.broadcast(|| Command::Close { tick, reply: reply.clone(), wake: wake.clone() })?;
        Ok(ClosingTick { tick, replies, closed: vec![], wake })
    }

    /// Waits until all workers have done their part of `closing`; to be called again where that was given up.
    pub(super) async fn await_close(&self, closing: &mut ClosingTick) -> Result<(), EngineError> {
        loop {
            closing.closed.extend(closing.replies.try_iter());
            self.check()?;
            if closing.closed.len() == self.workers.len() {
                return Ok(());
            }
            // A worker that is lost wakes nobody.
            let _ = timeout(LOST_CHECK, closing.wake.notified()).await;
        }
    }

    /// Shows readers the tick that all workers have closed.
    pub(super) fn finish_close(&mut self, closing: ClosingTick) -> Tick {
        self.closed = closing.tick;
        self.open_rows = 0;
        self.store();
        self.forget_outdated();
        for table in self.tables.values_mut() {
            table.open.clear();
        }
        self.publish(closing.closed);
        closing.tick
    }
}
