//! The simple protocol: a text with any number of statements.

use std::time::Instant;

use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::copy::{CopyDone, CopyOutResponse};
use pgwire::messages::response::{CommandComplete, EmptyQueryResponse};

use super::Shared;
use super::answer::{Outcome, Tag};
use super::command::{Command, understand};
use super::copy::Format;
use super::cursor::Cursor;
use super::error::Fault;
use super::session::{Session, guarded};
use super::wire::Sender;
use crate::sql::words::split;

impl Session {
    /// Carries out the statements of `text` up to the first that fails. Errors returned end the connection.
    pub async fn simple(&mut self, text: &str) -> Result<(), Fault> {
        let pieces = match split(text) {
            Ok(pieces) => pieces,
            Err(error) => return self.tell(Fault::of(error, text)),
        };
        if pieces.is_empty() {
            return self.sender.put(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new()));
        }
        for sql in pieces {
            let began = Instant::now();
            let result = self.statement(sql).await;
            self.shared.count(began, result.is_ok());
            if let Err(fault) = result {
                let before = sql.as_ptr() as usize - text.as_ptr() as usize;
                return self.tell(fault.within(text[..before].chars().count()));
            }
        }
        Ok(())
    }

    async fn statement(&mut self, sql: &str) -> Result<(), Fault> {
        let command = understand(sql)?;
        self.check_transaction(&command)?;
        self.settle(&command).await?;
        if let Command::CopyIn(target) = &command {
            return Box::pin(self.copy_in(target)).await;
        }
        let done = self.conduct(&command)?;
        let timeout = self.statement_timeout();
        let Session { shared, receiver, sender, cancellable, client, writing, .. } = self;
        let work = async {
            let (inner, copy) = match &command {
                Command::Copy { from, format } => (from.as_ref(), Some(format)),
                other => (other, None),
            };
            let outcome = match done {
                Some(outcome) => outcome,
                None => shared.answer(inner, client, writing, vec![]).await?,
            };
            match (outcome, copy) {
                (Outcome::Done(tag), _) => complete(sender, tag),
                (Outcome::Rows(source, tag), None) => {
                    let mut cursor = Cursor::new(source, &[])?;
                    sender.put(PgWireBackendMessage::RowDescription(cursor.columns.description()))?;
                    let (rows, _) = cursor.send(shared, sender, None, usize::MAX).await?;
                    complete(sender, with_rows(&tag, rows))
                }
                (Outcome::Rows(source, _), Some(format)) => {
                    copy_out(shared, sender, Cursor::new(source, &[])?, format).await
                }
            }
        };
        guarded(receiver, cancellable, timeout, work).await
    }
}

/// Sends all rows of `cursor` as a COPY.
pub(super) async fn copy_out(
    shared: &Shared,
    sender: &mut Sender,
    mut cursor: Cursor,
    format: &Format,
) -> Result<(), Fault> {
    let names = cursor.columns.types();
    let response = CopyOutResponse::new(0, names.len() as i16, vec![0; names.len()]);
    sender.put(PgWireBackendMessage::CopyOutResponse(response))?;
    if format.has_header {
        let header = format.header(names.into_iter().map(|(name, _)| name));
        sender.put(PgWireBackendMessage::CopyData(header))?;
    }
    let (rows, _) = cursor.send(shared, sender, Some(format), usize::MAX).await?;
    sender.put(PgWireBackendMessage::CopyDone(CopyDone::new()))?;
    complete(sender, with_rows(&Tag::Word("COPY"), rows))
}

/// Tells that a statement is done.
pub(super) fn complete(sender: &mut Sender, tag: String) -> Result<(), Fault> {
    sender.put(PgWireBackendMessage::CommandComplete(CommandComplete::new(tag)))
}

/// The tag of an answer with rows. Clients look for rows behind a tag that counts them.
pub(super) fn with_rows(tag: &Tag, rows: usize) -> String {
    match tag {
        Tag::Word(word @ ("SELECT" | "COPY")) => format!("{word} {rows}"),
        Tag::Word(other) => (*other).to_owned(),
        Tag::Whole(tag) => tag.clone(),
    }
}

impl Shared {
    /// Counts a statement that began at `began`.
    pub fn count(&self, began: Instant, is_ok: bool) {
        let metrics = self.context.live.metrics();
        let status = if is_ok { "ok" } else { "error" };
        metrics.statements.with_label_values(&["postgres", status]).inc();
        let duration = metrics.statement_duration_seconds.with_label_values(&["postgres"]);
        duration.observe(began.elapsed().as_secs_f64());
    }
}
