//! A live database whose journal says what happened to it, in the order in which it did.
//!
//! Telemetry is taken in once it is durable, and whoever sent it is answered then. A tick is closed, and what a statement
//! did is answered, once the journal says so. Played again into a database without rows, the journal leads to the same
//! tables at the same ticks.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arrow::array::RecordBatch;
use tokio::sync::mpsc;

use super::intake::{Incoming, append_joined};
use super::record::{Event, Unreadable};
use super::{IntakeError, Item, Owner};
use crate::delta::updates::Tick;
use crate::engine::{Database, DefinedSink, EngineError, Position, channels};
use crate::journal::{Committer, JournalError, Recovery};
use crate::sql::error::SqlError;
use crate::sql::statement::{Statement, parse};
use crate::sql::write::{Evaluated, Part};

/// Why a database cannot be brought back.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The journal cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
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
    /// The journal's thread could not be started.
    #[error("cannot start the thread of the journal")]
    Thread(#[source] std::io::Error),
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
    /// Plays `recovery` into `database`, which has no rows yet.
    ///
    /// # Errors
    ///
    /// When the journal is damaged or of another version, or the engine fails.
    pub async fn play(mut recovery: Recovery, database: &mut Database) -> Result<Self, RecoveryError> {
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

/// A database to which happens again what a journal says.
struct Player<'a> {
    database: &'a mut Database,
    /// What was accepted and the workers do not have.
    pending: VecDeque<(Option<Position>, Vec<Incoming>)>,
    accepted: u64,
    flushed: u64,
    /// The last of the ticks that were closed after each other with nothing between. The others leave nothing that it does
    /// not, but where a sink tells what changed at each.
    idle: Option<Tick>,
    /// A statement of which the next event says whether it failed.
    defined: Option<String>,
}

impl<'a> Player<'a> {
    fn new(database: &'a mut Database) -> Self {
        let pending = VecDeque::new();
        Player { database, pending, accepted: 0, flushed: 0, idle: None, defined: None }
    }

    async fn play(&mut self, event: Event) -> Result<(), RecoveryError> {
        match event {
            Event::Failed => self.defined = None,
            _ => self.define().await?,
        }
        if !matches!(event, Event::Closed { .. }) {
            self.close_idle()?;
        }
        match event {
            Event::Accepted { position, rows } => {
                self.accepted += 1;
                self.pending.push_back((position, rows));
            }
            Event::Flushed { open, through } => self.flush(open, through)?,
            Event::Closed { tick } if self.is_idle() => {
                self.idle = Some(tick);
            }
            Event::Closed { tick } => {
                self.flush(tick, self.accepted)?;
                self.database.engine.close(tick)?;
            }
            Event::Defined { open, text } => {
                self.database.engine.advance(open);
                self.defined = Some(text);
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
        let Some(text) = self.defined.take() else { return Ok(()) };
        let failed = |reason| RecoveryError::Statement { text: text.clone(), reason };
        for statement in parse(&text).map_err(failed)? {
            self.database.execute(statement).await.map_err(failed)?;
        }
        Ok(())
    }

    fn close_idle(&mut self) -> Result<(), EngineError> {
        match self.idle.take() {
            Some(tick) => self.database.engine.close(tick).map(drop),
            None => Ok(()),
        }
    }

    fn flush(&mut self, open: Tick, through: u64) -> Result<(), EngineError> {
        self.database.engine.advance(open);
        let mut rows: BTreeMap<Cow<'static, str>, Vec<RecordBatch>> = BTreeMap::new();
        for incoming in self.taken(through) {
            rows.entry(incoming.relation).or_default().push(incoming.rows);
        }
        rows.into_iter()
            .try_for_each(|(relation, batches)| append_joined(&mut self.database.engine, &relation, batches))
    }

    /// The rows of the first `through` requests that the workers do not have, but for those that were not taken in.
    fn taken(&mut self, through: u64) -> Vec<Incoming> {
        let mut rows = vec![];
        while self.flushed < through
            && let Some((position, all)) = self.pending.pop_front()
        {
            self.flushed += 1;
            let connectors = self.database.engine.connectors();
            if position.is_none_or(|position| connectors.take(&position)) {
                rows.extend(all);
            }
        }
        rows
    }

    /// Carries out what is open, in the journal of `committer`; how many requests there were. The last tick is closed,
    /// so that all that was accepted is visible: a restart is to close the same. Where the journal cannot be written it
    /// stays open, and the rows that it is to hold are given back.
    async fn finish(mut self, committer: &Committer) -> Result<(u64, Vec<Incoming>), RecoveryError> {
        // Nobody was told what became of the last statement, if it is the last event.
        if let Err(error) = self.define().await {
            committer.append_and_wait(vec![Event::Failed.record()?])?;
            tracing::warn!(%error, "the last statement, which nobody was told of, is not carried out");
        }
        self.close_idle()?;
        let tick = self.database.engine.next_tick(0);
        if committer.append_and_wait(vec![Event::Closed { tick }.record()?]).is_err() {
            // The journal has said why, and so does /ready. Queries are answered as of the tick before.
            return Ok((self.accepted, self.taken(self.accepted)));
        }
        self.flush(tick, self.accepted)?;
        self.database.engine.close(tick)?;
        Ok((self.accepted, vec![]))
    }
}

/// The journal of a live database.
pub(super) struct Journalled {
    committer: Committer,
    /// Requests whose telemetry is durable and was taken in.
    accepted: u64,
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
        Journalled { committer, accepted, durable, told }
    }

    /// The next request of which it is known whether it is durable.
    pub async fn next(&mut self) -> Option<Durable> {
        self.told.recv().await
    }

    /// Waits until `events` are durable, all or none, with all before them.
    fn commit(&self, events: &[Event]) -> Result<(), SqlError> {
        let records = events.iter().map(Event::record).collect::<Result<_, _>>()?;
        let outcome = self.committer.append_and_wait(records);
        outcome.map(drop).map_err(|error| SqlError::NotDurable(error.to_string()))
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

    /// Keeps `rows` for the next tick.
    pub(super) fn await_tick(&mut self, rows: Vec<Incoming>) {
        for Incoming { relation, rows, .. } in rows {
            self.pending_rows += rows.num_rows();
            self.pending.entry(relation).or_default().push(rows);
        }
    }

    /// Notes that the workers are given what is pending, at the tick that is open.
    pub(super) fn note_flush(&self, open: Tick) {
        let Some(journal) = &self.journal else { return };
        let event = Event::Flushed { open, through: journal.accepted };
        // Where it fails the tick is not closed, and what closes it later says as much.
        event.record().into_iter().for_each(|record| journal.committer.append(vec![record], drop));
    }

    /// Whether it is durable that the tick is closed; then all is taken in that was accepted before.
    pub(super) fn note_close(&mut self, tick: Tick) -> bool {
        let Some(journal) = &self.journal else { return true };
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
        if journal.commit(&events).is_err() {
            return false;
        }
        noted.iter().for_each(|(sink, tick)| sink.outbox.noted(*tick));
        while let Some(durable) = self.journal.as_mut().and_then(|journal| journal.told.try_recv().ok()) {
            self.settle(durable);
        }
        true
    }

    /// Creates what `statement` names for the first time of what comes with the engine, each noted before.
    pub(super) async fn create_named(&mut self, statement: &Statement) -> Result<(), SqlError> {
        for name in self.database.idle_built_ins(statement)? {
            if let Some(journal) = &self.journal {
                let open = self.database.engine.next_tick(0);
                journal.commit(&[Event::Named { open, name: name.clone() }])?;
            }
            self.database.prepare(&Statement::ShowColumns(name)).await?;
        }
        Ok(())
    }

    /// Notes that `statement` is about to be carried out.
    pub(super) async fn note_statement(&mut self, statement: &Statement) -> Result<(), SqlError> {
        self.create_named(statement).await?;
        match (&self.journal, statement.definition()) {
            (Some(journal), Some(text)) => {
                journal.commit(&[Event::Defined { open: self.database.engine.next_tick(0), text }])
            }
            _ => Ok(()),
        }
    }

    /// Notes that the statement failed that was last noted as about to be carried out, if it defines something. Where
    /// that is not durable, nothing is from here on: a restart would carry it out.
    pub(super) fn note_failed(&self, statement: &Statement) -> Result<(), EngineError> {
        match (&self.journal, statement.definition()) {
            (Some(journal), Some(_)) => {
                journal.commit(&[Event::Failed]).map_err(|error| EngineError::NotDurable(error.to_string()))
            }
            _ => Ok(()),
        }
    }

    /// Notes what statements did to tables, which stands once this returns.
    pub(super) fn note_writes<'a>(
        &self,
        open: Tick,
        statements: impl Iterator<Item = &'a [Evaluated]>,
    ) -> Result<(), SqlError> {
        let Some(journal) = &self.journal else { return Ok(()) };
        let tables = |done: &[Evaluated]| -> Vec<(String, Vec<Part>)> {
            done.iter().map(|evaluated| (evaluated.table.clone(), evaluated.parts.clone())).collect()
        };
        let changing = statements.filter(|done| done.iter().any(|d| !d.parts.is_empty()));
        let events: Vec<Event> = changing.map(|done| Event::Written { open, tables: tables(done) }).collect();
        if events.is_empty() { Ok(()) } else { journal.commit(&events) }
    }
}
