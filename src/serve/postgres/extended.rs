//! The extended protocol: statements that are prepared, bound to parameters, and executed in portions.

use std::sync::Arc;
use std::time::Instant as Moment;

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use pgwire::api::Type;
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{
    Bind, BindComplete, Close, CloseComplete, Describe, Execute, Parse, ParseComplete, PortalSuspended,
};
use pgwire::messages::response::EmptyQueryResponse;
use tokio::time::Instant;

use super::Shared;
use super::answer::{Outcome, Tag};
use super::columns::{Columns, arrow_type, parameter_type};
use super::command::{Command, understand};
use super::cursor::Cursor;
use super::error::Fault;
use super::parameters;
use super::session::{Session, guarded, missing_statement};
use super::simple::{complete, copy_out, with_rows};
use crate::engine::Answer;
use crate::sql::question::{Description, Parameter, Question};
use crate::sql::statement::{Statement, Subscribe};
use crate::sql::words::split;
use crate::sql::write::Write;

/// The most prepared statements, and the most portals, of one session.
const PREPARED_MAX: usize = 4_096;

/// A prepared statement.
pub(super) struct Prepared {
    /// `None`: an empty one.
    command: Option<Command>,
    /// The type of each parameter.
    parameters: Vec<Type>,
    /// The columns of its answer; `None` when it has no rows.
    schema: Option<SchemaRef>,
}

/// A prepared statement with its parameters.
pub(super) struct Portal {
    prepared: Arc<Prepared>,
    parameters: Vec<Parameter>,
    formats: Vec<i16>,
    progress: Progress,
}

/// How far a portal has come.
enum Progress {
    Bound,
    /// Rows are left, until the time is over.
    Suspended(Box<Cursor>, Tag, Instant),
    Done(Tag),
    /// Its time is over.
    Expired,
}

impl Portal {
    /// When what is left of its answer is dropped.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.progress {
            Progress::Suspended(_, _, deadline) => Some(*deadline),
            _ => None,
        }
    }

    /// Drops what is left if its time is over.
    pub fn expire(&mut self, now: Instant) {
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.progress = Progress::Expired;
        }
    }
}

impl Session {
    /// Prepares a statement.
    pub async fn parse(&mut self, parse: Parse) -> Result<(), Fault> {
        let began = Moment::now();
        let result = self.prepare(&parse).await;
        if result.is_err() {
            self.shared.count(began, false);
        }
        let name = parse.name.unwrap_or_default();
        self.prepared.insert(name, Arc::new(result?));
        self.sender.put(PgWireBackendMessage::ParseComplete(ParseComplete::new()))
    }

    async fn prepare(&mut self, parse: &Parse) -> Result<Prepared, Fault> {
        if let Some(name) = parse.name.as_ref().filter(|name| self.prepared.contains_key(*name)) {
            return Err(Fault::error("42P05", format!("prepared statement \"{name}\" already exists")));
        }
        if self.prepared.len() >= PREPARED_MAX {
            let fault =
                Fault::error("54000", format!("{PREPARED_MAX} statements are prepared, no more are kept"));
            return Err(fault.hint("Close some, or DEALLOCATE ALL."));
        }
        let pieces = split(&parse.query).map_err(|error| Fault::of(error, &parse.query))?;
        let sql = match pieces.as_slice() {
            [] => return Ok(Prepared { command: None, parameters: vec![], schema: None }),
            [sql] => *sql,
            _ => {
                return Err(Fault::error(
                    "42601",
                    "cannot insert multiple commands into a prepared statement",
                ));
            }
        };
        let command = understand(sql)?;
        self.check_transaction(&command)?;
        let declared: Vec<Option<Type>> = parse.type_oids.iter().map(|oid| declared(*oid)).collect();
        let shown = match &command {
            Command::Show(_) => self.conduct(&command)?,
            _ => None,
        };
        let timeout = self.statement_timeout();
        let Session { shared, receiver, cancellable, client, .. } = self;
        let work = async {
            let (parameters, schema) = match (&command, shown) {
                (_, Some(Outcome::Rows(source, _))) => (vec![], Some(source.schema())),
                (Command::Catalog(sql), _) => {
                    let question = Question::catalog(sql, client).map_err(|e| shared.fault(e, sql))?;
                    shared.question(&question, sql, declared).await?
                }
                (Command::Ours { statement, sql }, _) => match statement.as_ref() {
                    Statement::Query(query) => {
                        shared.question(&Question::plain(query.as_ref().clone()), sql, declared).await?
                    }
                    Statement::Write(write) => Box::pin(shared.write(write, sql, declared)).await?,
                    other => (vec![], shared.columns(other, sql).await?),
                },
                _ => (vec![], None),
            };
            Ok(Prepared { command: Some(command), parameters, schema })
        };
        guarded(receiver, cancellable, timeout, work).await
    }

    /// Gives a prepared statement its parameters.
    pub fn bind(&mut self, mut bind: Bind) -> Result<(), Fault> {
        let name = bind.portal_name.take().unwrap_or_default();
        let statement = bind.statement_name.take().unwrap_or_default();
        let prepared = self.prepared.get(&statement).ok_or_else(|| missing_statement(&statement))?.clone();
        if let Some(command) = &prepared.command {
            self.check_transaction(command)?;
        }
        if !name.is_empty() && self.portals.contains_key(&name) {
            return Err(Fault::error("42P03", format!("portal \"{name}\" already exists")));
        }
        if self.portals.len() >= PREPARED_MAX {
            return Err(Fault::error("54000", format!("{PREPARED_MAX} portals are open, no more are kept")));
        }
        let formats = std::mem::take(&mut bind.result_column_format_codes);
        if let Some(schema) = &prepared.schema {
            Columns::new(schema, &formats)?;
        }
        let parameters = parameters::read(&mut bind, &prepared.parameters)?;
        self.portals.insert(name, Portal { prepared, parameters, formats, progress: Progress::Bound });
        self.sender.put(PgWireBackendMessage::BindComplete(BindComplete::new()))
    }

    /// Tells parameters and columns.
    pub fn describe(&mut self, describe: &Describe) -> Result<(), Fault> {
        let name = describe.name.clone().unwrap_or_default();
        let (prepared, formats) = match describe.target_type {
            b'S' => {
                let prepared = self.prepared.get(&name).ok_or_else(|| missing_statement(&name))?.clone();
                let types = prepared.parameters.iter().map(Type::oid).collect();
                self.sender
                    .put(PgWireBackendMessage::ParameterDescription(ParameterDescription::new(types)))?;
                (prepared, vec![])
            }
            b'P' => {
                let portal = self.portals.get(&name).ok_or_else(|| missing_portal(&name))?;
                (portal.prepared.clone(), portal.formats.clone())
            }
            other => {
                return Err(Fault::fatal("08P01", format!("nothing of kind {other:#04x} can be described")));
            }
        };
        self.sender.put(match &prepared.schema {
            Some(schema) => {
                PgWireBackendMessage::RowDescription(Columns::new(schema, &formats)?.description())
            }
            None => PgWireBackendMessage::NoData(NoData::new()),
        })
    }

    /// Carries out a portal, or goes on with it.
    pub async fn execute(&mut self, execute: &Execute) -> Result<(), Fault> {
        let name = execute.name.clone().unwrap_or_default();
        let Some(mut portal) = self.portals.remove(&name) else { return Err(missing_portal(&name)) };
        let began = Moment::now();
        let is_first = matches!(portal.progress, Progress::Bound);
        let rows_max = match usize::try_from(execute.max_rows) {
            Ok(0) | Err(_) => usize::MAX,
            Ok(rows) => rows,
        };
        let result = self.advance(&mut portal, rows_max).await;
        if is_first || result.is_err() {
            self.shared.count(began, result.is_ok());
        }
        result?;
        self.portals.insert(name, portal);
        Ok(())
    }

    async fn advance(&mut self, portal: &mut Portal, rows_max: usize) -> Result<(), Fault> {
        let prepared = portal.prepared.clone();
        let Some(command) = &prepared.command else {
            return self.sender.put(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new()));
        };
        self.check_transaction(command)?;
        if let (Command::CopyIn(target), Progress::Bound) = (command, &portal.progress) {
            portal.progress = Progress::Done(Tag::Word(""));
            return Box::pin(self.copy_in(target)).await;
        }
        let done = match portal.progress {
            Progress::Bound => {
                self.settle(command).await?;
                self.conduct(command)?
            }
            _ => None,
        };
        let timeout = self.statement_timeout();
        let Session { shared, receiver, sender, cancellable, client, writing, .. } = self;
        let limit = shared.context.config.statement_timeout;
        let work = async {
            let (cursor, tag, deadline) = match std::mem::replace(&mut portal.progress, Progress::Expired) {
                Progress::Suspended(cursor, tag, deadline) => (cursor, tag, deadline),
                Progress::Done(tag) => {
                    let message = with_rows(&tag, 0);
                    portal.progress = Progress::Done(tag);
                    return complete(sender, message);
                }
                Progress::Expired => {
                    return Err(Fault::error(
                        "57014",
                        format!("the rows of this portal were not fetched within {limit:?}"),
                    )
                    .hint("Fetch them sooner, or raise limits.statement_timeout of the server."));
                }
                Progress::Bound => {
                    let deadline = Instant::now() + limit;
                    let parameters = std::mem::take(&mut portal.parameters);
                    let (inner, copy) = match command {
                        Command::Copy { from, format } => (from.as_ref(), Some(format)),
                        other => (other, None),
                    };
                    let outcome = match done {
                        Some(outcome) => outcome,
                        None => shared.answer(inner, client, writing, parameters).await?,
                    };
                    match (outcome, copy) {
                        (Outcome::Done(tag), _) => {
                            portal.progress = Progress::Done(Tag::Word(""));
                            return complete(sender, tag);
                        }
                        (Outcome::Rows(source, _), Some(format)) => {
                            return copy_out(shared, sender, Cursor::new(source, &[])?, format).await;
                        }
                        (Outcome::Rows(source, tag), None) => {
                            let cursor = Cursor::new(source, &portal.formats)?;
                            same_columns(prepared.schema.as_ref(), &cursor)?;
                            (Box::new(cursor), tag, deadline)
                        }
                    }
                }
            };
            let mut cursor = cursor;
            let (rows, has_more) = cursor.send(shared, sender, None, rows_max).await?;
            if has_more {
                portal.progress = Progress::Suspended(cursor, tag, deadline);
                return sender.put(PgWireBackendMessage::PortalSuspended(PortalSuspended::new()));
            }
            let message = with_rows(&tag, rows);
            portal.progress = Progress::Done(tag);
            complete(sender, message)
        };
        guarded(receiver, cancellable, timeout, work).await
    }

    /// Forgets a statement or a portal.
    pub fn close(&mut self, close: &Close) -> Result<(), Fault> {
        let name = close.name.clone().unwrap_or_default();
        match close.target_type {
            b'S' => drop(self.prepared.remove(&name)),
            b'P' => drop(self.portals.remove(&name)),
            other => {
                return Err(Fault::fatal("08P01", format!("nothing of kind {other:#04x} can be closed")));
            }
        }
        self.sender.put(PgWireBackendMessage::CloseComplete(CloseComplete::new()))
    }
}

impl Shared {
    /// The types of a query's parameters, the client's own first, and its columns.
    async fn question(
        &self,
        question: &Question,
        sql: &str,
        declared: Vec<Option<Type>>,
    ) -> Result<(Vec<Type>, Option<SchemaRef>), Fault> {
        let known: Vec<Option<DataType>> = declared.iter().map(|t| t.as_ref().and_then(arrow_type)).collect();
        let live = &self.context.live;
        let description = live.describe(question, &known).await.map_err(|error| self.fault(error, sql))?;
        Ok((parameter_types(&description, &declared)?, Some(description.schema)))
    }

    /// The types of the parameters of a statement that changes rows, the client's own first, and the columns of its
    /// RETURNING.
    async fn write(
        &self,
        write: &Write,
        sql: &str,
        declared: Vec<Option<Type>>,
    ) -> Result<(Vec<Type>, Option<SchemaRef>), Fault> {
        let known: Vec<Option<DataType>> = declared.iter().map(|t| t.as_ref().and_then(arrow_type)).collect();
        let described = self.context.live.describe_write(write, &known).await;
        let described = described.map_err(|error| self.fault(error, sql))?;
        let types = parameter_types(&described, &declared)?;
        Ok((types, write.is_returning().then_some(described.schema)))
    }

    /// The columns of a statement of ours that is no query; `None` when it has no rows.
    async fn columns(&self, statement: &Statement, sql: &str) -> Result<Option<SchemaRef>, Fault> {
        if sql_has_parameters(sql) {
            return Err(Fault::error(
                "0A000",
                "parameters are taken in queries, INSERT, UPDATE and DELETE alone",
            )
            .hint("Write the value into the statement."));
        }
        let statement = match statement {
            statement if statement.is_command() => return Ok(None),
            Statement::Subscribe(subscribe) => {
                Statement::Subscribe(Subscribe { snapshot: false, ..subscribe.clone() })
            }
            // What only shows something can be asked for its columns.
            other => other.clone(),
        };
        match self.context.live.execute(statement).await.map_err(|error| self.fault(error, sql))? {
            Answer::Rows { schema, .. } => Ok(Some(schema)),
            Answer::Subscription(subscription) => Ok(Some(subscription.change_schema())),
            Answer::Done(_) | Answer::Written(_) => Ok(None),
        }
    }
}

/// The types of parameters: those that the client names, else those that follow from the statement.
fn parameter_types(description: &Description, declared: &[Option<Type>]) -> Result<Vec<Type>, Fault> {
    let inferred = description.parameters.iter().enumerate();
    let types = inferred.map(|(at, inferred)| match declared.get(at).cloned().flatten() {
        Some(declared) => Ok(declared),
        None => parameter_type(inferred),
    });
    types.collect()
}

/// Whether `sql` has a parameter such as `$1`.
fn sql_has_parameters(sql: &str) -> bool {
    use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
    use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql).tokenize().unwrap_or_default();
    tokens.iter().any(|token| matches!(token, Token::Placeholder(_)))
}

/// The type that a client names for a parameter, if it names one.
fn declared(oid: u32) -> Option<Type> {
    Type::from_oid(oid).filter(|t| *t != Type::UNKNOWN)
}

fn missing_portal(name: &str) -> Fault {
    Fault::error("34000", format!("portal \"{name}\" does not exist"))
}

/// An error when the columns are not what the client was told.
fn same_columns(told: Option<&SchemaRef>, cursor: &Cursor) -> Result<(), Fault> {
    let empty = Arc::new(Schema::new(Vec::<Field>::new()));
    let told = Columns::new(told.unwrap_or(&empty), &[])?;
    match told.types() == cursor.columns.types() {
        true => Ok(()),
        false => Err(Fault::error("0A000", "cached plan must not change result type")
            .hint("What the statement reads was replaced since it was prepared: prepare it again.")),
    }
}
