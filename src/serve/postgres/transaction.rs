//! What a client has changed and others do not see yet.

use super::Shared;
use super::command::Command;
use super::error::Fault;
use super::session::Session;
use crate::delta::updates::Tick;
use crate::engine::{Rows, Transaction, Written};
use crate::sql::error::SqlError;
use crate::sql::question::{Parameter, Question};
use crate::sql::write::Write;

/// The most savepoints of a transaction.
const SAVEPOINTS_MAX: usize = 10_000;

/// The changes of a client.
#[derive(Default)]
pub(super) struct Writing {
    /// Whether they wait for COMMIT.
    pub is_open: bool,
    transaction: Transaction,
    /// By name, how many statements came before it; the latest last.
    savepoints: Vec<(String, usize)>,
    /// The tick at which queries see what is done already.
    unseen: Tick,
}

impl Writing {
    /// Begins or ends a transaction; what is not committed is gone.
    pub fn turn(&mut self, is_open: bool) {
        if self.is_open != is_open {
            *self = Writing { is_open, unseen: self.unseen, ..Writing::default() };
        }
    }

    /// Remembers where the transaction stands.
    pub fn save(&mut self, name: &str) -> Result<(), Fault> {
        if self.savepoints.len() >= SAVEPOINTS_MAX {
            return Err(Fault::error(
                "54000",
                format!("{SAVEPOINTS_MAX} savepoints are set, no more are kept"),
            ));
        }
        self.savepoints.push((name.to_owned(), self.transaction.mark()));
        Ok(())
    }

    /// Forgets a savepoint and those after it.
    pub fn release(&mut self, name: &str) -> Result<(), Fault> {
        let place = self.savepoint(name)?;
        self.savepoints.truncate(place);
        Ok(())
    }

    /// Takes back what came after a savepoint, which stays.
    pub fn roll_back_to(&mut self, name: &str) -> Result<(), Fault> {
        let place = self.savepoint(name)?;
        self.transaction.roll_back_to(self.savepoints[place].1);
        self.savepoints.truncate(place + 1);
        Ok(())
    }

    fn savepoint(&self, name: &str) -> Result<usize, Fault> {
        let place = self.savepoints.iter().rposition(|(own, _)| own == name);
        place.ok_or_else(|| Fault::error("3B001", format!("savepoint \"{name}\" does not exist")))
    }

    /// Carries out `write`. Outside a transaction it is done now, and queries see it after [`Shared::show`].
    pub async fn write(
        &mut self,
        shared: &Shared,
        write: Write,
        parameters: Vec<Parameter>,
    ) -> Result<Written, SqlError> {
        let live = &shared.context.live;
        if self.is_open {
            return live.write_within(&mut self.transaction, write, parameters).await;
        }
        let written = live.write_ahead(write, vec![parameters]).await?;
        self.unseen = written.tick;
        Ok(written)
    }

    /// The rows that answer `question`, those that the client has changed among them.
    pub async fn rows(
        &mut self,
        shared: &Shared,
        question: Question,
        parameters: Vec<Parameter>,
    ) -> Result<Rows, SqlError> {
        shared.show(self).await?;
        let live = &shared.context.live;
        match self.transaction.is_empty() {
            true => live.rows(question, parameters).await,
            false => live.rows_within(&self.transaction, question, parameters).await,
        }
    }
}

impl Shared {
    /// Waits until queries see what the client has done.
    pub async fn show(&self, writing: &Writing) -> Result<(), SqlError> {
        self.context.live.visible(writing.unseen).await
    }
}

impl Session {
    /// Commits what the client has changed, if `command` says so. Where that fails, all of it is gone.
    pub async fn settle(&mut self, command: &Command) -> Result<(), Fault> {
        if !matches!(command, Command::Commit) || self.writing.transaction.is_empty() || self.has_failed() {
            return Ok(());
        }
        let transaction = std::mem::take(&mut self.writing.transaction);
        match self.shared.context.live.commit(transaction).await {
            Ok(tick) => self.writing.unseen = tick,
            Err(error) => {
                self.end_transaction();
                return Err(self.shared.fault(error, ""));
            }
        }
        Ok(())
    }
}
