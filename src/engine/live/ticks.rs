//! How what was accepted gets to the workers, tick by tick.
//!
//! Nothing waits where something else could be done: while the journal is written that a tick is closed, workers get what is
//! of that tick, and while they close it, what is of the next becomes durable.

use std::time::Instant;

use arrow::array::RecordBatch;

use super::intake::{self, IntakeError, Item, Presence, append_joined};
use super::{JOINED_ROWS, JOURNAL_RETRY, Journalled, Owner, next_durable, wall_ms};
use crate::delta::updates::Tick;
use crate::engine::EngineError;
use crate::fault;
use crate::journal::Sequence;

impl Owner {
    /// Gives the workers what is pending, and closes the tick, where there is enough of it.
    pub(super) async fn relieve(&mut self) -> Result<(), EngineError> {
        let is_full = self.held_bytes >= self.options.intake_bytes_max / 2;
        if !is_full && self.clock.is_waiting(Instant::now()) {
            return Ok(());
        }
        if self.pending_rows >= JOINED_ROWS {
            self.flush()?;
        }
        match is_full || self.database.engine.open_rows() >= self.options.tick_rows_max {
            true => self.close().await,
            false => Ok(()),
        }
    }

    /// Takes in what `item` holds, if it is the next of its source.
    pub(super) fn hold(&mut self, item: Item) -> Result<(), IntakeError> {
        if item.position.is_some_and(|position| !self.database.engine.connectors().take(&position)) {
            return Err(IntakeError::OutOfOrder);
        }
        let wall_ms = wall_ms();
        self.oldest = self.oldest.or(Some(item.received));
        self.behind = Some(item.received);
        self.held_bytes += item.space.num_permits() * intake::PERMIT_BYTES;
        self.held.push(item.space);
        match item.presence {
            Presence::Sends => {}
            Presence::Expected => self.clock.expect(item.source, item.received),
            Presence::Gone => self.clock.forget(item.source),
        }
        for latest_ns in item.rows.iter().filter_map(|incoming| incoming.latest_ns) {
            self.clock.observe(item.source, latest_ns, item.received, wall_ms);
        }
        self.await_tick(item.rows);
        Ok(())
    }

    /// The stream clock.
    pub(super) fn now(&mut self) -> u64 {
        let waiting = self.journal.as_ref().and_then(Journalled::waiting_since);
        let as_of = waiting.into_iter().chain(self.behind).min();
        self.clock.now(as_of.unwrap_or_else(Instant::now), wall_ms())
    }

    /// Gives the workers what is pending.
    pub(super) fn flush(&mut self) -> Result<(), EngineError> {
        if self.pending_rows == 0 {
            return Ok(());
        }
        let now = self.now();
        // What was taken back may have opened the tick before.
        self.database.engine.advance(now);
        self.note_flush(self.database.engine.open_tick());
        self.give(now)?;
        fault::point("engine.flushed");
        Ok(())
    }

    /// Gives the workers what is pending, at `now`.
    fn give(&mut self, now: u64) -> Result<(), EngineError> {
        self.database.engine.advance(now);
        self.pending_rows = 0;
        for (relation, batches) in std::mem::take(&mut self.pending) {
            self.metrics.ingested(&relation, batches.iter().map(RecordBatch::num_rows).sum());
            append_joined(&mut self.database.engine, &relation, batches)?;
        }
        Ok(())
    }

    /// It is time to close a tick.
    pub(super) async fn tick(&mut self) -> Result<(), EngineError> {
        self.behind = self.behind.filter(|_| !self.items.is_empty());
        self.take_if_stalled().await?;
        if self.clock.is_waiting(Instant::now()) { Ok(()) } else { self.close().await }
    }

    /// Closes the open tick, if the journal can be written.
    pub(super) async fn close(&mut self) -> Result<(), EngineError> {
        self.flush()?;
        let begin = Instant::now();
        let now = self.now();
        let Some(noted) = self.close_durably(now).await? else {
            // The journal has said why, and so does /ready: the tick stays open. History may make room.
            self.database.engine.tend_history();
            self.free_journal();
            self.last_close = Instant::now() + JOURNAL_RETRY;
            return Ok(());
        };
        fault::point("engine.closing");
        self.give(now)?;
        let (held, oldest) = ((self.held.len(), self.held_bytes), self.oldest.take());
        let tick = self.close_meanwhile(now).await?;
        fault::point("engine.closed");
        self.tend_journal(noted);
        // Before the workers are given what is of the next tick.
        self.tend_checkpoint()?;
        self.release(held);
        self.last_close = Instant::now();
        for reply in self.waiting.drain(..) {
            let _ = reply.send(());
        }
        self.metrics.closed(tick, begin.elapsed(), self.database.engine.views().len());
        if let Some(oldest) = oldest {
            self.metrics.visible(oldest.elapsed());
        }
        let has_more = self.pending_rows >= JOINED_ROWS && !self.clock.is_waiting(Instant::now());
        if has_more { self.flush() } else { Ok(()) }
    }

    /// The record that says that the tick is closed at `now`, once it is durable; then all is taken in that was accepted
    /// before.
    async fn close_durably(&mut self, now: u64) -> Result<Option<Sequence>, EngineError> {
        let mut closing = self.note_close(self.database.engine.next_tick(now));
        let mut is_given = false;
        let closed = loop {
            tokio::select! {
                biased;
                Some(durable) = next_durable(&mut self.journal) => {
                    self.settle(durable);
                    // What is durable before is of this tick.
                    if self.pending_rows >= JOINED_ROWS {
                        self.give(now)?;
                        is_given = true;
                    }
                }
                closed = closing.durable() => break closed,
            }
        };
        self.settle_all();
        self.noted_close(closing, closed.is_some());
        if closed.is_none() && is_given {
            // The tick is open still, with what the workers were given.
            self.note_flush(self.database.engine.open_tick());
            self.give(now)?;
        }
        Ok(closed)
    }

    /// Closes the tick at `now`; meanwhile the journal is given what is accepted, and what is durable is taken in.
    async fn close_meanwhile(&mut self, now: u64) -> Result<Tick, EngineError> {
        let mut closing = self.database.engine.begin_close(now)?;
        loop {
            tokio::select! {
                biased;
                done = self.database.engine.await_close(&mut closing) => break done?,
                Some(durable) = next_durable(&mut self.journal) => self.settle(durable),
                Some(item) = self.items.recv() => drop(self.receive(item)),
            }
        }
        Ok(self.database.engine.finish_close(closing))
    }
}
