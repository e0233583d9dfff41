//! A live database whose journal says what happened to it, in the order in which it did.
//!
//! Telemetry is taken in once it is durable, and whoever sent it is answered then. A tick is closed, and what a statement
//! did is answered, once the journal says so. Played again into a database without rows, the journal leads to the same
//! tables at the same ticks.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use arrow::error::ArrowError;
use tokio::sync::{mpsc, oneshot};

use super::intake::Incoming;
use super::player::Player;
use super::record::{Event, Unreadable, shortened};
use super::{IntakeError, Item, Owner};
use crate::checkpoint::CheckpointError;
use crate::delta::updates::Tick;
use crate::engine::history::KeptError;
use crate::engine::{Database, DefinedSink, EngineError, channels};
use crate::fault;
use crate::history::{HistoryError, Keeper};
use crate::journal::{Committer, Folder, JournalError, Options, Record, Recovery, Rewriter, Sequence};
use crate::sql::error::SqlError;
use crate::sql::write::{Evaluated, Part};

/// Why a database cannot be brought back.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// History cannot be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The folder of checkpoints cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A record cannot be understood.
    #[error(transparent)]
    Record(#[from] Unreadable),
    /// The engine has failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A statement that was carried out once cannot be.
    #[error(
        "\"{text}\" was carried out once and cannot be now: {reason}; use the version that wrote the journal"
    )]
    Statement {
        /// The statement.
        text: String,
        /// Why not.
        reason: SqlError,
    },
    /// Rows that were written once cannot be.
    #[error("rows of table \"{table}\" were written once and cannot be now: {reason}")]
    Rows {
        /// The table.
        table: String,
        /// Why not.
        reason: SqlError,
    },
    /// Arrow has no form for what is to be noted.
    #[error(transparent)]
    Arrow(#[from] ArrowError),
    /// The threads that write could not be started.
    #[error("cannot start the threads of the journal and of history")]
    Thread(#[source] std::io::Error),
}

impl From<KeptError> for RecoveryError {
    fn from(error: KeptError) -> Self {
        match error {
            KeptError::History(error) => error.into(),
            KeptError::Engine(error) => error.into(),
        }
    }
}

/// The journal of a database that is brought back, and where the database stands in it.
pub struct Recovered {
    committer: Committer,
    /// Requests of telemetry in it.
    accepted: u64,
    /// Rows of them that no tick holds yet, since the journal could not be written.
    left: Vec<Incoming>,
}

impl Recovered {
    /// Brings `database`, which has no rows yet, to where it was by what is in `folder`: its rows on disk and its journal.
    ///
    /// # Errors
    ///
    /// When either is damaged or of another version, or the engine fails.
    pub async fn open(
        folder: &Path,
        options: Options,
        database: &mut Database,
    ) -> Result<Self, RecoveryError> {
        let files = Folder::open(&folder.join("journal"))?;
        let rewriter = Rewriter::new(Box::new(files.clone()));
        let keeper = Keeper::start(rewriter, Box::new(shortened)).map_err(RecoveryError::Thread)?;
        database.engine.keep_history(folder.join("history"), keeper)?;
        Recovered::play(Recovery::open(Box::new(files), options)?, database).await
    }

    async fn play(mut recovery: Recovery, database: &mut Database) -> Result<Self, RecoveryError> {
        let mut player = Player::new(database);
        let mut told = 0;
        while let Some((_, records)) = recovery.next_group()? {
            for record in &records {
                player.play(Event::read(record)?).await?;
            }
            let percent = recovery.bytes_read() * 100 / recovery.bytes_total().max(1);
            if percent >= told + 10 {
                told = percent;
                tracing::info!(percent, bytes = recovery.bytes_total(), "reading the journal");
            }
        }
        if let Some(torn) = recovery.torn_end() {
            tracing::warn!(
                file = torn.file,
                bytes = torn.bytes,
                "a write did not end: nobody was told that it did"
            );
        }
        let committer = Committer::start(recovery.finish()?).map_err(RecoveryError::Thread)?;
        let (accepted, left) = player.finish(&committer).await?;
        Ok(Recovered { committer, accepted, left })
    }

    /// The thread that writes the journal.
    pub(super) fn committer(&self) -> &Committer {
        &self.committer
    }
}

/// The journal of a live database.
pub(super) struct Journalled {
    committer: Committer,
    /// Requests whose telemetry is durable and was taken in.
    accepted: u64,
    /// What the workers were given since the last commit: at which tick, and through which request. It is noted with the next,
    /// before anybody sees what comes of it, and in its order.
    flushed: Option<(Tick, u64)>,
    /// When the requests were received of which it is not known yet whether they are durable: they are told of in this order.
    waiting: VecDeque<Instant>,
    /// Segments of the journal when it was last to be shortened.
    segments: u64,
    /// Where it is told that more is.
    durable: mpsc::UnboundedSender<Durable>,
    told: mpsc::UnboundedReceiver<Durable>,
}

/// A request of telemetry, and whether it is durable.
pub struct Durable {
    item: Item,
    outcome: Result<u64, JournalError>,
}

impl Journalled {
    fn new(committer: Committer, accepted: u64) -> Self {
        let (durable, told) = channels::durable();
        // What there is may be shortened once a tick is closed.
        Journalled {
            committer,
            accepted,
            flushed: None,
            waiting: VecDeque::new(),
            segments: 0,
            durable,
            told,
        }
    }

    /// When the first request was received that waits for the journal.
    pub fn waiting_since(&self) -> Option<Instant> {
        self.waiting.front().copied()
    }

    /// The next request of which it is known whether it is durable.
    pub async fn next(&mut self) -> Option<Durable> {
        self.told.recv().await
    }

    /// Waits until `events` are durable, all or none, with all before them.
    pub(super) fn commit(&mut self, events: &[Event]) -> Result<Sequence, SqlError> {
        let outcome = self.committer.append_and_wait(self.records(events)?);
        let last = outcome.map_err(|error| SqlError::NotDurable(error.to_string()))?;
        self.flushed = None;
        Ok(last)
    }

    /// The records of `events`, behind what the workers were given before.
    fn records(&self, events: &[Event]) -> Result<Vec<Record>, ArrowError> {
        let flushed =
            self.flushed.iter().map(|(open, through)| Event::Flushed { open: *open, through: *through });
        let flushed: Vec<Event> = flushed.collect();
        flushed.iter().chain(events).map(Event::record).collect()
    }
}

/// The end of a tick that is being noted.
pub(super) struct NotedClose {
    outcome: oneshot::Receiver<Result<Sequence, JournalError>>,
    /// What is noted with it of sinks: up to where each was.
    delivered: Vec<(Arc<DefinedSink>, Tick)>,
}

impl NotedClose {
    /// Its record, once that is durable; `None` if it cannot be. All requests that became durable before it were told of by
    /// then.
    pub async fn durable(&mut self) -> Option<Sequence> {
        (&mut self.outcome).await.ok()?.ok()
    }
}

impl Owner {
    /// Goes on where `recovered` stands.
    pub(super) fn go_on(&mut self, recovered: Recovered) {
        let Recovered { committer, accepted, left } = recovered;
        self.journal = Some(Journalled::new(committer, accepted));
        self.await_tick(left);
    }

    /// Has a request made durable; without a journal it is taken in at once.
    pub(super) async fn accept(&mut self, item: Item) -> Result<(), EngineError> {
        match self.receive(item) {
            true => self.relieve().await,
            false => Ok(()),
        }
    }

    /// The same, while the workers are not to be given anything; whether it was taken in at once.
    pub(super) fn receive(&mut self, mut item: Item) -> bool {
        if let (Some(journal), Some(record)) = (&mut self.journal, item.record.take()) {
            let durable = journal.durable.clone();
            journal.waiting.push_back(item.received);
            let told = move |outcome| drop(durable.send(Durable { item, outcome }));
            // The thread of the journal outlives nobody who listens.
            journal.committer.append(vec![record], told);
            return false;
        }
        let reply = item.done.take();
        let held = self.hold(item);
        if let Some(reply) = reply {
            let _ = reply.send(held);
        }
        true
    }

    /// Takes in what is durable, and answers whoever sent it.
    pub(super) fn settle(&mut self, durable: Durable) {
        let Durable { mut item, outcome } = durable;
        if let Some(journal) = &mut self.journal {
            journal.waiting.pop_front();
        }
        let reply = item.done.take();
        let answer = outcome.map(drop).map_err(|_| IntakeError::NotDurable).and_then(|()| {
            if let Some(journal) = &mut self.journal {
                journal.accepted += 1;
            }
            self.hold(item)
        });
        if let Some(reply) = reply {
            let _ = reply.send(answer);
        }
    }

    /// Takes in all that is known to be durable.
    pub(super) fn settle_all(&mut self) {
        while let Some(durable) = self.journal.as_mut().and_then(|journal| journal.told.try_recv().ok()) {
            self.settle(durable);
        }
    }

    /// Keeps `rows` for the next tick.
    pub(super) fn await_tick(&mut self, rows: Vec<Incoming>) {
        for Incoming { relation, rows, .. } in rows {
            self.pending_rows += rows.num_rows();
            self.pending.entry(relation).or_default().push(rows);
        }
    }

    /// Notes that the workers are given what is pending, at the tick that is open.
    pub(super) fn note_flush(&mut self, open: Tick) {
        if let Some(journal) = &mut self.journal {
            // What is open stays at the tick of its first rows.
            let (first, _) = journal.flushed.unwrap_or((open, 0));
            journal.flushed = Some((first, journal.accepted));
        }
    }

    /// Has the journal say that `tick` is closed, with all that was accepted before. Nothing is to be accepted until it has.
    pub(super) fn note_close(&mut self, tick: Tick) -> NotedClose {
        let (sender, outcome) = oneshot::channel();
        let Some(journal) = &self.journal else {
            let _ = sender.send(Ok(0));
            return NotedClose { outcome, delivered: vec![] };
        };
        let connectors = self.database.engine.connectors();
        let to_note = |sink: &Arc<DefinedSink>| Some((sink.clone(), sink.outbox.to_note()?));
        let delivered: Vec<(Arc<DefinedSink>, Tick)> =
            connectors.sinks.values().filter_map(to_note).collect();
        drop(connectors);
        let events =
            delivered.iter().map(|(sink, tick)| Event::Delivered { sink: sink.switch.id, tick: *tick });
        let events: Vec<Event> = events.chain([Event::Closed { tick }]).collect();
        // Where there is no form for them, nobody answers.
        if let Ok(records) = journal.records(&events) {
            journal.committer.append(records, move |outcome| drop(sender.send(outcome)));
        }
        NotedClose { outcome, delivered }
    }

    /// Takes note of whether `noted` is durable.
    pub(super) fn noted_close(&mut self, noted: NotedClose, is_durable: bool) {
        if let Some(journal) = self.journal.as_mut().filter(|_| is_durable) {
            journal.flushed = None;
            noted.delivered.iter().for_each(|(sink, tick)| sink.outbox.noted(*tick));
        }
    }

    /// Takes a checkpoint when it is time, and lets rows go that are too old: what was closed last is durable.
    pub(super) fn tend_checkpoint(&mut self) -> Result<(), EngineError> {
        if self.journal.is_none() || !self.database.engine.tend_checkpoint() {
            return Ok(());
        }
        let streams = self.database.engine.outdated();
        if let (Some(journal), false) = (&mut self.journal, streams.is_empty()) {
            let trimmed = Event::Trimmed { streams };
            // The journal has said why not: they stay until the next.
            if journal.commit(std::slice::from_ref(&trimmed)).is_ok()
                && let Event::Trimmed { streams } = trimmed
            {
                fault::point("engine.trimmed");
                streams.iter().for_each(|(stream, first)| self.database.engine.trim(stream, *first));
            }
        }
        self.database.engine.take_checkpoint()
    }

    /// Tells the journal by how much it was shortened.
    pub(super) fn free_journal(&mut self) {
        let shorter = self.database.engine.journal_shortened();
        if let Some(journal) = self.journal.as_ref().filter(|_| shorter > 0) {
            journal.committer.shortened(shorter);
        }
    }

    /// Has the journal shortened whenever a segment has ended, `closed` being the record that closed the last tick.
    pub(super) fn tend_journal(&mut self, closed: Sequence) {
        self.free_journal();
        let Some(journal) = &mut self.journal else { return };
        let segments = journal.committer.health().segments();
        if segments > journal.segments {
            journal.segments = segments;
            self.database.engine.shorten_journal(closed);
        }
    }

    /// Notes what statements did to tables, which stands once this returns.
    pub(super) fn note_writes<'a>(
        &mut self,
        open: Tick,
        statements: impl Iterator<Item = &'a [Evaluated]>,
    ) -> Result<(), SqlError> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        let tables = |done: &[Evaluated]| -> Vec<(String, Vec<Part>)> {
            done.iter().map(|evaluated| (evaluated.table.clone(), evaluated.parts.clone())).collect()
        };
        let changing = statements.filter(|done| done.iter().any(|d| !d.parts.is_empty()));
        let events: Vec<Event> = changing.map(|done| Event::Written { open, tables: tables(done) }).collect();
        if events.is_empty() { Ok(()) } else { journal.commit(&events).map(drop) }
    }
}
