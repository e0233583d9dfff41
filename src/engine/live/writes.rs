//! Statements that change rows of tables, beside telemetry and its ticks.

use arrow::datatypes::DataType;
use tokio::sync::oneshot;

use super::{Control, Live, Owner, WAITING_MAX, WriteReply};
use crate::delta::updates::Tick;
use crate::engine::limits::Rows;
use crate::engine::writer::{Request, Written};
use crate::engine::{EngineError, Transaction};
use crate::sql::error::SqlError;
use crate::sql::question::{Description, Parameter, Question};
use crate::sql::statement::Statement;
use crate::sql::write::Write;

impl Live {
    /// Carries out `write` with `parameters`. Once this returns every query sees what it did; writes that many
    /// clients wait for share a tick.
    pub async fn write(&self, write: Write, parameters: Vec<Parameter>) -> Result<Written, SqlError> {
        self.write_each(write, vec![parameters]).await
    }

    /// Carries out `write` once for each of `rows` of parameters: all of them, or none.
    pub async fn write_each(&self, write: Write, rows: Vec<Vec<Parameter>>) -> Result<Written, SqlError> {
        let written = self.write_ahead(write, rows).await?;
        self.visible(written.tick).await?;
        Ok(written)
    }

    /// The same without waiting for queries to see it: [`visible`](Self::visible) does that, once for many.
    /// Statements that write see it at once.
    pub async fn write_ahead(&self, write: Write, rows: Vec<Vec<Parameter>>) -> Result<Written, SqlError> {
        self.knows(&write).await?;
        let request = match write.only_adds() {
            false => Request::Evaluate(write, rows),
            true => {
                let mut evaluated = vec![];
                for parameters in &rows {
                    evaluated.push(self.reader.evaluate(&write, parameters).await?);
                }
                Request::Commit(write.command(), evaluated)
            }
        };
        self.ask(|reply| Control::Write(Box::new(request), reply)).await?
    }

    /// Waits until queries see what was written at `tick`.
    pub async fn visible(&self, tick: Tick) -> Result<(), SqlError> {
        match self.reader.tick() >= tick {
            true => Ok(()),
            false => self.ask(Control::Show).await,
        }
    }

    /// Carries out `write` within `transaction`.
    pub async fn write_within(
        &self,
        transaction: &mut Transaction,
        write: Write,
        parameters: Vec<Parameter>,
    ) -> Result<Written, SqlError> {
        self.knows(&write).await?;
        let reader = self.reader.within(transaction);
        let tick = reader.tick();
        let evaluated = reader.evaluate(&write, &parameters).await?;
        let written = Written::of(write.command(), vec![evaluated.clone()], tick);
        transaction.add(evaluated, tick, !write.only_adds())?;
        Ok(written)
    }

    /// The rows that answer `question` with `parameters`, as `transaction` sees the tables.
    pub async fn rows_within(
        &self,
        transaction: &Transaction,
        question: Question,
        parameters: Vec<Parameter>,
    ) -> Result<Rows, SqlError> {
        self.ensure(&question).await?;
        self.reader.within(transaction).answer(&question, parameters).await
    }

    /// Makes all that `transaction` has changed at once; returns the tick at which queries see it.
    ///
    /// # Errors
    ///
    /// Nothing of it is done then: a key is there already, or others have changed the same table.
    pub async fn commit(&self, transaction: Transaction) -> Result<Tick, SqlError> {
        let request = Request::Commit("COMMIT", transaction.into_done());
        let written: Result<Written, SqlError> =
            self.ask(|reply| Control::Write(Box::new(request), reply)).await?;
        Ok(written?.tick)
    }

    /// Creates the views that come with the engine and that `write` names.
    async fn knows(&self, write: &Write) -> Result<(), SqlError> {
        self.check()?;
        match self.reader.knows_all(&write.relations()) {
            true => Ok(()),
            false => self.prepare(Statement::Write(write.clone())).await,
        }
    }

    /// The parameters of `write`, some of whose types are known, and the columns of its RETURNING.
    pub async fn describe_write(
        &self,
        write: &Write,
        known: &[Option<DataType>],
    ) -> Result<Description, SqlError> {
        self.knows(write).await?;
        self.reader.describe_write(write, known).await
    }
}

impl Owner {
    /// Changes tables at the open tick.
    pub(super) async fn write(&mut self, request: Request, reply: WriteReply) -> Result<(), EngineError> {
        let now = self.now();
        self.database.engine.advance(now);
        let done = self.database.carry_out(request);
        let done = match self.options.queries.timeout {
            None => done.await,
            Some(time) => match tokio::time::timeout(time, done).await {
                Ok(done) => done,
                Err(_) => Err(self.options.queries.too_long()),
            },
        };
        let written = match done {
            Ok(done) => match self.note_write(now, &done.evaluated) {
                Ok(()) => Ok(self.database.written(done)),
                // Nobody has seen it yet.
                Err(error) => match self.database.undo(done.evaluated) {
                    Ok(()) => Err(error),
                    Err(_) => return Err(EngineError::NotDurable(error.to_string())),
                },
            },
            Err(error) => Err(error),
        };
        let _ = reply.send(written);
        self.database.engine.check()?;
        match self.database.engine.open_rows() >= self.options.tick_rows_max {
            true => self.close(),
            false => Ok(()),
        }
    }

    /// Closes the open tick soon, and tells whoever waits for it.
    pub(super) fn show(&mut self, reply: oneshot::Sender<()>) -> Result<(), EngineError> {
        self.waiting.push(reply);
        if self.waiting.len() >= WAITING_MAX { self.close() } else { Ok(()) }
    }
}
