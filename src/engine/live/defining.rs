//! Statements that define something, noted before they are carried out.

use arrow::array::RecordBatch;
use tokio::sync::oneshot;

use super::record::Event;
use super::{Answer, Owner};
use crate::delta::updates::Tick;
use crate::engine::EngineError;
use crate::sql::error::SqlError;
use crate::sql::statement::Statement;

impl Owner {
    /// Carries out `statement`, and tells whoever asked for it.
    pub(super) async fn define(
        &mut self,
        statement: Statement,
        reply: oneshot::Sender<Result<Answer, SqlError>>,
    ) -> Result<(), EngineError> {
        let noted = self.note_statement(&statement).await;
        let before = self.database.engine.closed();
        let answer = match (noted, &statement) {
            (Err(error), _) => {
                let _ = reply.send(Err(error));
                return Ok(());
            }
            (Ok(Some(rows)), Statement::CreateTable(create)) => self.database.create_filled(create, &rows),
            (Ok(_), _) => self.database.execute(statement.clone()).await,
        };
        if answer.is_err() {
            let closed = self.database.engine.closed();
            self.note_failed(&statement, (closed > before).then_some(closed))?;
        }
        let _ = reply.send(answer);
        Ok(())
    }

    /// Creates what `statement` names for the first time of what comes with the engine, each noted before.
    pub(super) async fn create_named(&mut self, statement: &Statement) -> Result<(), SqlError> {
        for name in self.database.idle_built_ins(statement)? {
            if let Some(journal) = &mut self.journal {
                let open = self.database.engine.next_tick(0);
                journal.commit(&[Event::Named { open, name: name.clone() }])?;
            }
            self.database.prepare(&Statement::ShowColumns(name)).await?;
        }
        Ok(())
    }

    /// Notes that `statement` is about to be carried out, and the rows of the table that it creates as a query gives them,
    /// which another time may give others.
    async fn note_statement(&mut self, statement: &Statement) -> Result<Option<Vec<RecordBatch>>, SqlError> {
        self.create_named(statement).await?;
        let rows = match statement {
            Statement::CreateTable(create) => self.database.rows_of(create).await?,
            _ => None,
        };
        let (Some(journal), Some(text)) = (&mut self.journal, statement.definition()) else {
            return Ok(rows);
        };
        let defined = Event::Defined { open: self.database.engine.next_tick(0), text };
        let filled = rows.iter().map(|rows| Event::Filled { rows: rows.clone() });
        journal.commit(&std::iter::once(defined).chain(filled).collect::<Vec<_>>())?;
        self.database.engine.defines();
        Ok(rows)
    }

    /// Notes that the statement failed that was last noted as about to be carried out, if it defines something, and up to
    /// where it `closed` ticks all the same. Where that is not durable, nothing is from here on: a restart would carry it
    /// out.
    fn note_failed(&mut self, statement: &Statement, closed: Option<Tick>) -> Result<(), EngineError> {
        match (&mut self.journal, statement.definition()) {
            (Some(journal), Some(_)) => {
                let noted = journal.commit(&[Event::Failed { closed }]).map(drop);
                noted.map_err(|error| EngineError::NotDurable(error.to_string()))
            }
            _ => Ok(()),
        }
    }
}
