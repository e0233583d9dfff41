//! Statements that change rows of tables, beside telemetry and its ticks.

use arrow::datatypes::DataType;

use super::{Control, Live, Owner, WAITING_MAX, WriteReply};
use crate::engine::EngineError;
use crate::engine::writer::{Request, Written};
use crate::sql::error::SqlError;
use crate::sql::question::{Description, Parameter};
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
        self.check()?;
        if !self.reader.knows_all(&write.relations()) {
            self.prepare(Statement::Write(write.clone())).await?;
        }
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

    /// The parameters of `write`, some of whose types are known, and the columns of its RETURNING.
    pub async fn describe_write(
        &self,
        write: &Write,
        known: &[Option<DataType>],
    ) -> Result<Description, SqlError> {
        self.check()?;
        if !self.reader.knows_all(&write.relations()) {
            self.prepare(Statement::Write(write.clone())).await?;
        }
        self.reader.describe_write(write, known).await
    }
}

impl Owner {
    /// Changes tables at the open tick; who asked is told when that is closed.
    pub(super) async fn write(&mut self, request: Request, reply: WriteReply) -> Result<(), EngineError> {
        let now = self.now();
        self.database.engine.advance(now);
        let written = self.database.carry_out(request);
        let written = match self.options.queries.timeout {
            None => written.await,
            Some(time) => match tokio::time::timeout(time, written).await {
                Ok(written) => written,
                Err(_) => Err(self.options.queries.too_long()),
            },
        };
        match written {
            Ok(written) => self.waiting.push((reply, written)),
            Err(error) => drop(reply.send(Err(error))),
        }
        self.database.engine.check()?;
        if self.waiting.len() >= WAITING_MAX { self.close() } else { Ok(()) }
    }
}
