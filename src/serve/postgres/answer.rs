//! Statements that the engine answers.

use std::collections::VecDeque;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use tokio::sync::watch;

use super::Shared;
use super::command::Command;
use super::error::Fault;
use super::transaction::Writing;
use crate::engine::{Answer, Subscription, Written};
use crate::serve::flow::Flow;
use crate::serve::stopped;
use crate::serve::subscribers::Place;
use crate::sql::error::SqlError;
use crate::sql::pg_catalog::Client;
use crate::sql::question::{Parameter, Question};
use crate::sql::statement::Statement;

/// What a statement came to.
pub(super) enum Outcome {
    /// Rows, and the word before their number when they are complete.
    Rows(Source, Tag),
    /// It is done: PostgreSQL's command tag.
    Done(String),
}

/// What tells of rows when they are complete.
#[derive(Clone)]
pub(super) enum Tag {
    /// A word, and the number of rows behind it where clients look for it.
    Word(&'static str),
    /// All of it.
    Whole(String),
}

/// Where rows come from.
pub(super) enum Source {
    Query(Flow),
    Batches { schema: SchemaRef, batches: VecDeque<RecordBatch> },
    Changes { subscription: Box<Subscription>, stop: watch::Receiver<bool>, _place: Option<Place> },
}

impl Source {
    /// Rows that are there already.
    pub fn of(schema: SchemaRef, batches: Vec<RecordBatch>) -> Self {
        Source::Batches { schema, batches: batches.into() }
    }

    pub fn schema(&self) -> SchemaRef {
        match self {
            Source::Query(rows) => rows.schema(),
            Source::Batches { schema, .. } => schema.clone(),
            Source::Changes { subscription, .. } => subscription.change_schema(),
        }
    }

    /// Whether rows come without an end, so that each is to be seen at once.
    pub fn is_endless(&self) -> bool {
        matches!(self, Source::Changes { .. })
    }

    /// The next rows; `None` after the last.
    pub async fn next(&mut self, shared: &Shared) -> Result<Option<Vec<RecordBatch>>, Fault> {
        let next = match self {
            Source::Query(rows) => rows.next().await.map(|batch| batch.map(|batch| vec![batch])),
            Source::Batches { batches, .. } => Ok(batches.pop_front().map(|batch| vec![batch])),
            Source::Changes { subscription, stop, .. } => tokio::select! {
                batches = subscription.next() => batches.map(Some),
                () = stopped(stop) => return Err(shutdown()),
            },
        };
        next.map_err(|error| shared.fault(error, ""))
    }
}

/// That the server stops.
pub(super) fn shutdown() -> Fault {
    Fault::fatal("57P01", "terminating connection due to administrator command")
}

impl Shared {
    /// An error as the client is told; the end of the connection once the engine has stopped.
    pub fn fault(&self, error: SqlError, sql: &str) -> Fault {
        match self.context.live.check() {
            Ok(()) => Fault::of(error, sql),
            Err(error) => Fault::of(error, sql).and_fatal("57P03"),
        }
    }

    /// Asks the engine.
    pub async fn answer(
        &self,
        command: &Command,
        client: &Arc<Client>,
        writing: &mut Writing,
        parameters: Vec<Parameter>,
    ) -> Result<Outcome, Fault> {
        let live = &self.context.live;
        let (statement, sql) = match command {
            Command::Ours { statement, sql } => (statement.as_ref(), sql),
            Command::Catalog(sql) => {
                let question = Question::catalog(sql, client).map_err(|e| self.fault(e, sql))?;
                return self.rows(question, sql, writing, parameters).await;
            }
            _ => return Err(Fault::error("XX000", "this statement is not one of the engine")),
        };
        if let Statement::Query(query) = statement {
            return self.rows(Question::plain(query.as_ref().clone()), sql, writing, parameters).await;
        }
        if let Statement::Write(write) = statement {
            let written = Box::pin(writing.write(self, write.clone(), parameters)).await;
            return Ok(written_outcome(written.map_err(|error| self.fault(error, sql))?));
        }
        self.show(writing).await.map_err(|error| self.fault(error, sql))?;
        let place = match statement {
            Statement::Subscribe(_) => Some(self.subscribers.enter().map_err(|e| self.fault(e, sql))?),
            _ => None,
        };
        match Box::pin(live.execute(statement.clone())).await.map_err(|error| self.fault(error, sql))? {
            Answer::Rows { schema, batches } => {
                Ok(Outcome::Rows(Source::of(schema, batches), Tag::Word(tag(statement))))
            }
            Answer::Done(tag) => Ok(Outcome::Done(tag.to_owned())),
            Answer::Written(written) => Ok(written_outcome(written)),
            Answer::Subscription(subscription) => {
                let source = Source::Changes {
                    subscription: Box::new(subscription),
                    stop: self.context.stop.clone(),
                    _place: place,
                };
                Ok(Outcome::Rows(source, Tag::Word("SELECT")))
            }
        }
    }

    async fn rows(
        &self,
        question: Question,
        sql: &str,
        writing: &mut Writing,
        parameters: Vec<Parameter>,
    ) -> Result<Outcome, Fault> {
        let tag = question.tag();
        let rows = writing.rows(self, question, parameters).await;
        let rows = rows.map_err(|error| self.fault(error, sql))?;
        // Whoever reads slowly keeps the place of a query no longer than a statement may take.
        let flow = Flow::start(rows, self.context.config.statement_timeout);
        Ok(Outcome::Rows(Source::Query(flow), Tag::Word(tag)))
    }
}

fn written_outcome(written: Written) -> Outcome {
    let tag = written.tag();
    match written.returning {
        Some((schema, batches)) => Outcome::Rows(Source::of(schema, batches), Tag::Whole(tag)),
        None => Outcome::Done(tag),
    }
}

fn tag(statement: &Statement) -> &'static str {
    match statement {
        Statement::ExplainDataflow(_) => "EXPLAIN",
        Statement::ShowTables
        | Statement::ShowViews
        | Statement::ShowModels
        | Statement::ShowConnectors(_)
        | Statement::ShowViewStats(_)
        | Statement::ShowColumns(_)
        | Statement::ShowCreate(_) => "SHOW",
        _ => "SELECT",
    }
}
