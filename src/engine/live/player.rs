//! A journal that is played again.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};

use arrow::array::RecordBatch;

use super::RecoveryError;
use super::intake::{Incoming, append_joined};
use super::record::Event;
use crate::delta::updates::Tick;
use crate::engine::{Database, EngineError, Position};
use crate::journal::Committer;
use crate::sql::statement::{Statement, parse};

/// Rows that were accepted.
enum Rows {
    /// The journal holds them.
    Here(Vec<Incoming>),
    /// History does: so many of each stream.
    Kept(Vec<(String, u64)>),
}

impl Rows {
    /// Those that the journal holds. What history does was given to the workers before.
    fn here(self) -> Vec<Incoming> {
        match self {
            Rows::Here(rows) => rows,
            Rows::Kept(_) => vec![],
        }
    }
}

/// Rows of one stream that are given to the workers at once, in their order.
struct Flushed {
    here: Vec<RecordBatch>,
    /// They come before those that are here.
    kept: u64,
}

/// A database to which happens again what a journal says.
pub(super) struct Player<'a> {
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
    pub fn new(database: &'a mut Database) -> Self {
        let pending = VecDeque::new();
        Player { database, pending, accepted: 0, flushed: 0, idle: None, defined: None }
    }

    pub async fn play(&mut self, event: Event) -> Result<(), RecoveryError> {
        match &event {
            Event::Failed { .. } => self.defined = None,
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
                if let Some((_, filled)) = &mut self.defined {
                    *filled = Some(rows);
                }
            }
            Event::Failed { closed } => self.close_through(closed)?,
            Event::Delivered { sink, tick } => {
                if let Some(sink) = self.database.engine.connectors().sink(sink) {
                    sink.outbox.delivered(tick);
                }
            }
            Event::Trimmed { streams } => {
                streams.iter().for_each(|(stream, first)| self.database.engine.trim(stream, *first));
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

    /// Closes the ticks up to `closed` that a statement closed which failed: the open one, and nothing comes in the others.
    fn close_through(&mut self, closed: Option<Tick>) -> Result<(), EngineError> {
        let Some(closed) = closed else { return Ok(()) };
        let engine = &mut self.database.engine;
        let first = engine.close(engine.next_tick(0))?;
        if first < closed { engine.close(closed).map(drop) } else { Ok(()) }
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
        for taken in self.taken(through) {
            match taken {
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

    /// The rows of the first `through` requests that the workers do not have, but for those that were not taken in.
    fn taken(&mut self, through: u64) -> Vec<Rows> {
        let mut rows = vec![];
        while self.flushed < through
            && let Some((position, all)) = self.pending.pop_front()
        {
            self.flushed += 1;
            let connectors = self.database.engine.connectors();
            if position.is_none_or(|position| connectors.take(&position)) {
                rows.push(all);
            }
        }
        rows
    }

    /// Carries out what is open, in the journal of `committer`; how many requests there were. The last tick is closed,
    /// so that all that was accepted is visible: a restart is to close the same. Where the journal cannot be written it
    /// stays open, and the rows that it is to hold are given back.
    pub async fn finish(mut self, committer: &Committer) -> Result<(u64, Vec<Incoming>), RecoveryError> {
        // Nobody was told what became of the last statement, if it is the last event.
        let (mut last, before) = (vec![], self.database.engine.closed());
        if let Err(error) = self.define().await {
            let closed = self.database.engine.closed();
            last.push(Event::Failed { closed: (closed > before).then_some(closed) }.record()?);
            tracing::warn!(%error, "the last statement, which nobody was told of, is not carried out");
        }
        self.close_idle()?;
        self.database.engine.end_resuming()?;
        let tick = self.database.engine.next_tick(0);
        last.push(Event::Closed { tick }.record()?);
        let Ok(closed) = committer.append_and_wait(last) else {
            // The journal has said why, and so does /ready. Queries are answered as of the tick before.
            let left = self.taken(self.accepted).into_iter().flat_map(Rows::here).collect();
            self.database.engine.check_history()?;
            return Ok((self.accepted, left));
        };
        self.flush(tick, self.accepted)?;
        self.database.engine.close(tick)?;
        self.database.engine.check_history()?;
        self.database.engine.shorten_journal(closed);
        Ok((self.accepted, vec![]))
    }
}
