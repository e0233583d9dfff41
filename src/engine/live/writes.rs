//! Statements that change rows of tables, beside telemetry and its ticks.

use arrow::datatypes::DataType;
use tokio::sync::{mpsc, oneshot};

use super::{Control, Live, Owner, WAITING_MAX, WriteReply};
use crate::delta::updates::Tick;
use crate::engine::limits::Rows;
use crate::engine::writer::{Done, Request, Written};
use crate::engine::{EngineError, Transaction};
use crate::sql::error::SqlError;
use crate::sql::question::{Description, Parameter, Question};
use crate::sql::statement::Statement;
use crate::sql::write::Write;

/// Writes that become durable together.
const WRITES_MAX: usize = 256;

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
    /// Carries out `request` and the writes that wait behind it, which become durable together; what waits behind those
    /// is given back.
    pub(super) async fn write(
        &mut self,
        (request, reply): (Box<Request>, WriteReply),
        controls: &mut mpsc::Receiver<Control>,
    ) -> Result<Option<Control>, EngineError> {
        let now = self.now();
        self.database.engine.advance(now);
        let open = self.database.engine.open_tick();
        let (mut written, mut other) = (vec![], None);
        let mut next = Some((request, reply));
        while let Some((request, reply)) = next.take() {
            match self.database.carry_out(*request, &self.options.queries).await {
                Ok(done) => written.push((done, reply)),
                Err(error) => drop(reply.send(Err(error))),
            }
            match controls.try_recv() {
                Ok(Control::Write(request, reply)) if written.len() < WRITES_MAX => {
                    next = Some((request, reply))
                }
                Ok(control) => other = Some(control),
                Err(_) => {}
            }
        }
        self.commit_writes(open, written)?;
        self.database.engine.check()?;
        if self.database.engine.open_rows() >= self.options.tick_rows_max {
            self.close().await?;
        }
        Ok(other)
    }

    /// Makes `written` durable, with one sync, or takes all of it back: nobody has seen it yet.
    fn commit_writes(&mut self, open: Tick, written: Vec<(Done, WriteReply)>) -> Result<(), EngineError> {
        let noted = self.note_writes(open, written.iter().map(|(done, _)| done.evaluated.as_slice()));
        let Err(error) = noted else {
            for (done, reply) in written {
                let _ = reply.send(Ok(self.database.written(done)));
            }
            return Ok(());
        };
        let reason = match error {
            SqlError::NotDurable(reason) => reason,
            other => other.to_string(),
        };
        for (done, reply) in written.into_iter().rev() {
            self.database.undo(done.evaluated).map_err(|_| EngineError::NotDurable(reason.clone()))?;
            let _ = reply.send(Err(SqlError::NotDurable(reason.clone())));
        }
        Ok(())
    }

    /// Closes the open tick soon, and tells whoever waits for it.
    pub(super) async fn show(&mut self, reply: oneshot::Sender<()>) -> Result<(), EngineError> {
        self.waiting.push(reply);
        if self.waiting.len() >= WAITING_MAX { self.close().await } else { Ok(()) }
    }
}
