//! A live database whose journal says what happened to it, in the order in which it did.
//!
//! Telemetry is taken in once it is durable, and whoever sent it is answered then. A tick is closed, and what a statement
//! did is answered, once the journal says so. Played again into a database without rows, the journal leads to the same
//! tables at the same ticks.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use tokio::sync::mpsc;

use super::intake::{Incoming, append_joined};
use super::record::{Event, Unreadable, shortened};
use super::{IntakeError, Item, Owner};
use crate::delta::updates::Tick;
use crate::engine::history::KeptError;
use crate::engine::{Database, DefinedSink, EngineError, Position, channels};
use crate::history::{HistoryError, Keeper};
use crate::journal::{Committer, Folder, JournalError, Options, Recovery, Rewriter, Sequence};
use crate::sql::error::SqlError;
use crate::sql::statement::{Statement, parse};
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
    Arrow(#[from] arrow::error::ArrowError),
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
        let accepted = player.finish(&committer).await?;
        Ok(Recovered { committer, accepted })
    }

    /// The thread that writes the journal.
    pub(super) fn committer(&self) -> &Committer {
        &self.committer
    }
}

/// Rows that were accepted.
enum Rows {
    /// The journal holds them.
    Here(Vec<Incoming>),
    /// History does: so many of each stream.
    Kept(Vec<(String, u64)>),
}

/// Rows of one stream that are given to the workers at once, in their order.
#[derive(Default)]
struct Flushed {
    here: Vec<RecordBatch>,
    /// They come before those that are here.
    kept: u64,
}

/// A database to which happens again what a journal says.
struct Player<'a> {
    database: &'a mut Database,
    /// What was accepted and the workers do not have.
    pending: VecDeque<(Option<Position>, Rows)>,
    accepted: u64,
    flushed: u64,
    /// The last of the ticks that were closed after each other with nothing between. The others leave nothing that it does
    /// not, but where a sink tells what changed at each.
    idle: Option<Tick>,
    /// A statement of which the next event says whether it failed, and the rows of the table that it creates.
    defined: Option<(String, Option<Vec<RecordBatch>>)>,
}

impl<'a> Player<'a> {
    fn new(database: &'a mut Database) -> Self {
        let pending = VecDeque::new();
        Player { database, pending, accepted: 0, flushed: 0, idle: None, defined: None }
    }

    async fn play(&mut self, event: Event) -> Result<(), RecoveryError> {
        match &event {
            Event::Failed => self.defined = None,
            Event::Filled { .. } => {}
            _ => self.define().await?,
        }
        if !matches!(event, Event::Closed { .. }) {
            self.close_idle()?;
        }
        match event {
            Event::Accepted { position, rows } => {
                self.accepted += 1;
                self.pending.push_back((position, Rows::Here(rows)));
            }
            Event::Kept { position, rows } => {
                self.accepted += 1;
                self.pending.push_back((position, Rows::Kept(rows)));
            }
            Event::Flushed { open, through } => self.flush(open, through)?,
            Event::Closed { tick } if self.is_idle() => {
                self.idle = Some(tick);
            }
            Event::Closed { tick } => {
                self.flush(tick, self.accepted)?;
                self.database.engine.close(tick)?;
                self.database.engine.await_history();
            }
            Event::Defined { open, text } => {
                self.database.engine.defines();
                self.database.engine.advance(open);
                self.defined = Some((text, None));
            }
            Event::Filled { rows } => {
                self.defined.iter_mut().for_each(|(_, filled)| *filled = Some(rows.clone()))
            }
            Event::Failed => {}
            Event::Delivered { sink, tick } => {
                if let Some(sink) = self.database.engine.connectors().sink(sink) {
                    sink.outbox.delivered(tick);
                }
            }
            // Where it cannot be created now, whoever names it next is told why.
            Event::Named { open, name } => {
                self.database.engine.advance(open);
                if let Err(error) = self.database.prepare(&Statement::ShowColumns(name.clone())).await {
                    tracing::warn!(%error, name, "what came with the engine and was there cannot be created");
                }
            }
            Event::Written { open, tables } => {
                self.database.engine.advance(open);
                for (table, parts) in tables {
                    let applied = self.database.engine.apply(&table, parts);
                    applied.map_err(|reason| RecoveryError::Rows { table, reason })?;
                }
            }
        }
        self.database.engine.check()?;
        Ok(())
    }

    /// Whether a tick that is closed now needs not be closed if the next is.
    fn is_idle(&self) -> bool {
        let engine = &self.database.engine;
        self.pending.is_empty() && engine.open_rows() == 0 && engine.connectors().sinks.is_empty()
    }

    /// Carries out a statement that did not fail.
    async fn define(&mut self) -> Result<(), RecoveryError> {
        let Some((text, rows)) = self.defined.take() else { return Ok(()) };
        let failed = |reason| RecoveryError::Statement { text: text.clone(), reason };
        for statement in parse(&text).map_err(failed)? {
            match (&statement, &rows) {
                // A query over what is there now may give other rows than it gave.
                (Statement::CreateTable(create), Some(rows)) => {
                    self.database.create_filled(create, rows).map_err(failed)?;
                }
                _ => drop(self.database.execute(statement).await.map_err(failed)?),
            }
        }
        Ok(())
    }

    fn close_idle(&mut self) -> Result<(), EngineError> {
        match self.idle.take() {
            Some(tick) => self.database.engine.close(tick).map(drop),
            None => Ok(()),
        }
    }

    fn flush(&mut self, open: Tick, through: u64) -> Result<(), RecoveryError> {
        self.database.engine.advance(open);
        let mut rows: BTreeMap<Cow<'static, str>, Vec<Flushed>> = BTreeMap::new();
        while self.flushed < through
            && let Some((position, all)) = self.pending.pop_front()
        {
            self.flushed += 1;
            let is_taken = position.is_none_or(|position| self.database.engine.connectors().take(&position));
            match all {
                _ if !is_taken => {}
                Rows::Here(all) => all.into_iter().for_each(|incoming| {
                    let flushed = rows.entry(incoming.relation).or_default();
                    match flushed.last_mut() {
                        Some(last) => last.here.push(incoming.rows),
                        None => flushed.push(Flushed { here: vec![incoming.rows], kept: 0 }),
                    }
                }),
                Rows::Kept(all) => all.into_iter().for_each(|(relation, count)| {
                    let flushed = rows.entry(relation.into()).or_default();
                    match flushed.last_mut().filter(|last| last.here.is_empty()) {
                        Some(last) => last.kept += count,
                        None => flushed.push(Flushed { here: vec![], kept: count }),
                    }
                }),
            }
        }
        let engine = &mut self.database.engine;
        for (relation, flushed) in rows {
            for Flushed { kept, here } in flushed {
                engine.append_kept(&relation, kept)?;
                append_joined(engine, &relation, here)?;
            }
        }
        Ok(())
    }

    /// Carries out what is open, in the journal of `committer`; how many requests there were. The last tick is closed,
    /// so that all that was accepted is visible: a restart is to close the same.
    async fn finish(mut self, committer: &Committer) -> Result<u64, RecoveryError> {
        // Nobody was told what became of the last statement, if it is the last event.
        if let Err(error) = self.define().await {
            committer.append_and_wait(vec![Event::Failed.record()?])?;
            tracing::warn!(%error, "the last statement, which nobody was told of, is not carried out");
        }
        self.close_idle()?;
        let tick = self.database.engine.next_tick(0);
        let closed = committer.append_and_wait(vec![Event::Closed { tick }.record()?])?;
        self.flush(tick, self.accepted)?;
        self.database.engine.close(tick)?;
        self.database.engine.check_history()?;
        self.database.engine.shorten_journal(closed);
        Ok(self.accepted)
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
    pub fn new(recovered: Recovered) -> Self {
        let (durable, told) = channels::durable();
        let segments = recovered.committer.health().segments();
        Journalled {
            committer: recovered.committer,
            accepted: recovered.accepted,
            flushed: None,
            segments,
            durable,
            told,
        }
    }

    /// The next request of which it is known whether it is durable.
    pub async fn next(&mut self) -> Option<Durable> {
        self.told.recv().await
    }

    /// Waits until `events` are durable, all or none, with all before them.
    pub(super) fn commit(&mut self, events: &[Event]) -> Result<Sequence, SqlError> {
        let flushed =
            self.flushed.iter().map(|(open, through)| Event::Flushed { open: *open, through: *through });
        let flushed: Vec<Event> = flushed.collect();
        let records = flushed.iter().chain(events).map(Event::record).collect::<Result<_, _>>()?;
        let outcome = self.committer.append_and_wait(records);
        let last = outcome.map_err(|error| SqlError::NotDurable(error.to_string()))?;
        self.flushed = None;
        Ok(last)
    }
}

impl Owner {
    /// Has a request made durable; without a journal it is taken in at once.
    pub(super) fn accept(&mut self, mut item: Item) -> Result<(), EngineError> {
        let (Some(journal), Some(record)) = (&self.journal, item.record.take()) else {
            return self.take(item);
        };
        let durable = journal.durable.clone();
        // The thread of the journal outlives nobody who listens.
        journal.committer.append(vec![record], move |outcome| drop(durable.send(Durable { item, outcome })));
        Ok(())
    }

    /// Takes in what is durable, and answers whoever sent it.
    pub(super) fn settle(&mut self, durable: Durable) {
        let Durable { mut item, outcome } = durable;
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

    /// Notes that the workers are given what is pending, at the tick that is open.
    pub(super) fn note_flush(&mut self, open: Tick) {
        if let Some(journal) = &mut self.journal {
            // What is open stays at the tick of its first rows.
            let (first, _) = journal.flushed.unwrap_or((open, 0));
            journal.flushed = Some((first, journal.accepted));
        }
    }

    /// The record that says that the tick is closed, once it is durable; then all is taken in that was accepted before.
    pub(super) fn note_close(&mut self, tick: Tick) -> Option<Sequence> {
        let Some(journal) = &mut self.journal else { return Some(0) };
        let connectors = self.database.engine.connectors();
        let delivered = |sink: &Arc<DefinedSink>| {
            let tick = sink.outbox.to_note()?;
            Some((sink.clone(), tick))
        };
        let noted: Vec<(Arc<DefinedSink>, Tick)> = connectors.sinks.values().filter_map(delivered).collect();
        drop(connectors);
        let delivered =
            noted.iter().map(|(sink, tick)| Event::Delivered { sink: sink.switch.id, tick: *tick });
        let events: Vec<Event> = delivered.chain([Event::Closed { tick }]).collect();
        let closed = journal.commit(&events).ok()?;
        noted.iter().for_each(|(sink, tick)| sink.outbox.noted(*tick));
        while let Some(durable) = self.journal.as_mut().and_then(|journal| journal.told.try_recv().ok()) {
            self.settle(durable);
        }
        Some(closed)
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
