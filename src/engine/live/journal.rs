//! A live database whose journal says what happened to it, in the order in which it did.
//!
//! Telemetry is taken in once it is durable, and whoever sent it is answered then. A tick is closed, and what a statement
//! did is answered, once the journal says so. Played again into a database without rows, the journal leads to the same
//! tables at the same ticks.

use std::collections::{BTreeMap, VecDeque};

use arrow::array::RecordBatch;
use tokio::sync::mpsc;

use super::record::{Event, Unreadable};
use super::{IntakeError, Item, Owner, append_joined};
use crate::engine::{Database, EngineError, channels};
use crate::journal::{Committer, JournalError, Recovery};
use crate::sql::error::SqlError;
use crate::sql::statement::{Statement, parse};
use crate::sql::write::Evaluated;
use crate::telemetry::{Batch, Table};

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
    /// The journal's thread could not be started.
    #[error("cannot start the thread of the journal")]
    Thread(#[source] std::io::Error),
}

/// The journal of a database that is brought back, and where the database stands in it.
pub struct Recovered {
    committer: Committer,
    /// Requests of telemetry in it.
    accepted: u64,
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
        let accepted = player.finish().await?;
        let committer = Committer::start(recovery.finish()?).map_err(RecoveryError::Thread)?;
        Ok(Recovered { committer, accepted })
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
    pending: VecDeque<Vec<Batch>>,
    accepted: u64,
    flushed: u64,
    /// The clock of the last of the ticks that were closed after each other with nothing between: the others leave
    /// nothing that it does not.
    idle_ms: Option<u64>,
    /// A statement of which the next event says whether it failed.
    defined: Option<String>,
}

impl<'a> Player<'a> {
    fn new(database: &'a mut Database) -> Self {
        let pending = VecDeque::new();
        Player { database, pending, accepted: 0, flushed: 0, idle_ms: None, defined: None }
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
            Event::Accepted(batches) => {
                self.accepted += 1;
                self.pending.push_back(batches);
            }
            Event::Flushed { clock_ms, through } => self.flush(clock_ms, through)?,
            Event::Closed { clock_ms }
                if self.pending.is_empty() && self.database.engine.open_rows() == 0 =>
            {
                self.idle_ms = Some(clock_ms);
            }
            Event::Closed { clock_ms } => {
                self.flush(clock_ms, self.accepted)?;
                self.database.engine.close(clock_ms)?;
            }
            Event::Defined(text) => self.defined = Some(text),
            Event::Failed => {}
            // Where it cannot be created now, whoever names it next is told why.
            Event::Named(name) => {
                if let Err(error) = self.database.prepare(&Statement::ShowColumns(name.clone())).await {
                    tracing::warn!(%error, name, "what came with the engine and was there cannot be created");
                }
            }
            Event::Written { clock_ms, tables } => {
                self.database.engine.advance(clock_ms);
                for (table, parts) in tables {
                    let applied = self.database.engine.apply(&table, parts);
                    applied.map_err(|reason| RecoveryError::Rows { table, reason })?;
                }
            }
        }
        self.database.engine.check()?;
        Ok(())
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
        match self.idle_ms.take() {
            Some(clock_ms) => self.database.engine.close(clock_ms).map(drop),
            None => Ok(()),
        }
    }

    fn flush(&mut self, clock_ms: u64, through: u64) -> Result<(), EngineError> {
        self.database.engine.advance(clock_ms);
        let mut rows: BTreeMap<Table, Vec<RecordBatch>> = BTreeMap::new();
        while self.flushed < through
            && let Some(batches) = self.pending.pop_front()
        {
            self.flushed += 1;
            batches.into_iter().for_each(|batch| rows.entry(batch.table).or_default().push(batch.rows));
        }
        rows.into_iter()
            .try_for_each(|(table, batches)| append_joined(&mut self.database.engine, table, batches))
    }

    /// Makes all that was accepted visible; how many requests it was.
    async fn finish(mut self) -> Result<u64, RecoveryError> {
        // Nobody was told what became of the last statement, if it is the last event.
        if let Err(error) = self.define().await {
            tracing::warn!(%error, "the last statement, which nobody was told of, is not carried out");
        }
        self.close_idle()?;
        self.flush(0, self.accepted)?;
        self.database.engine.close(0)?;
        Ok(self.accepted)
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
    pub fn new(recovered: Recovered) -> Self {
        let (durable, told) = channels::durable();
        Journalled { committer: recovered.committer, accepted: recovered.accepted, durable, told }
    }

    /// The next request of which it is known whether it is durable.
    pub async fn next(&mut self) -> Option<Durable> {
        self.told.recv().await
    }

    /// Waits until `event` is durable, with all before it.
    fn commit(&self, event: &Event) -> Result<(), SqlError> {
        let record = event.record()?;
        let outcome = self.committer.append_and_wait(vec![record]);
        outcome.map(drop).map_err(|error| SqlError::NotDurable(error.to_string()))
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
        if outcome.is_ok() {
            if let Some(journal) = &mut self.journal {
                journal.accepted += 1;
            }
            self.hold(item);
        }
        let answer = outcome.map(drop).map_err(|_| IntakeError::NotDurable);
        if let Some(reply) = reply {
            let _ = reply.send(answer);
        }
    }

    /// Notes that the workers are given what is pending.
    pub(super) fn note_flush(&self, clock_ms: u64) {
        let Some(journal) = &self.journal else { return };
        let event = Event::Flushed { clock_ms, through: journal.accepted };
        // Where it fails the tick is not closed, and what closes it later says as much.
        event.record().into_iter().for_each(|record| journal.committer.append(vec![record], drop));
    }

    /// Whether it is durable that the tick is closed; then all is taken in that was accepted before.
    pub(super) fn note_close(&mut self, clock_ms: u64) -> bool {
        let Some(journal) = &self.journal else { return true };
        if journal.commit(&Event::Closed { clock_ms }).is_err() {
            return false;
        }
        while let Some(durable) = self.journal.as_mut().and_then(|journal| journal.told.try_recv().ok()) {
            self.settle(durable);
        }
        true
    }

    /// Notes what `statement` names for the first time, which is created for it.
    pub(super) fn note_named(&self, statement: &Statement) -> Result<(), SqlError> {
        let Some(journal) = &self.journal else { return Ok(()) };
        let names = self.database.idle_built_ins(statement)?;
        names.into_iter().try_for_each(|name| journal.commit(&Event::Named(name)))
    }

    /// Notes that `statement` is about to be carried out.
    pub(super) fn note_statement(&self, statement: &Statement) -> Result<(), SqlError> {
        self.note_named(statement)?;
        match (&self.journal, statement.definition()) {
            (Some(journal), Some(text)) => journal.commit(&Event::Defined(text)),
            _ => Ok(()),
        }
    }

    /// Notes that the statement failed that was last noted as about to be carried out, if it defines something. Where
    /// that is not durable, nothing is from here on: a restart would carry it out.
    pub(super) fn note_failed(&self, statement: &Statement) -> Result<(), EngineError> {
        match (&self.journal, statement.definition()) {
            (Some(journal), Some(_)) => {
                journal.commit(&Event::Failed).map_err(|error| EngineError::NotDurable(error.to_string()))
            }
            _ => Ok(()),
        }
    }

    /// Notes what was done to tables, which stands once this returns.
    pub(super) fn note_write(&self, clock_ms: u64, done: &[Evaluated]) -> Result<(), SqlError> {
        let Some(journal) = self.journal.as_ref().filter(|_| done.iter().any(|d| !d.parts.is_empty())) else {
            return Ok(());
        };
        let tables =
            done.iter().map(|evaluated| (evaluated.table.clone(), evaluated.parts.clone())).collect();
        journal.commit(&Event::Written { clock_ms, tables })
    }
}
