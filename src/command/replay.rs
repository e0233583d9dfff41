//! `undercurrent replay`: an answer over recorded telemetry.

use std::collections::BTreeSet;
use std::io::Write;

use super::arguments::{Format, ReplayArguments};
use super::{CommandError, Outcome, output, player};
use crate::engine::{Answer, Database, Subscription, Written};
use crate::sql::statement::{Statement, parse};
use crate::telemetry::Table;

/// Creates what is to be created, plays the input, and answers what is asked.
pub(super) fn run(arguments: &ReplayArguments) -> Result<Outcome, CommandError> {
    let mut statements = vec![];
    for path in &arguments.file {
        let text = std::fs::read_to_string(path)
            .map_err(|source| CommandError::Read { path: path.clone(), source })?;
        statements.extend(parse(&text)?);
    }
    for sql in &arguments.sql {
        statements.extend(parse(sql)?);
    }
    if statements.is_empty() {
        return Err(CommandError::NothingAsked);
    }
    let runtime = runtime()?;
    let mut database = player::database(&arguments.input)?;
    let (asked, mut subscriptions, stored) = runtime.block_on(begin(&mut database, statements))?;
    let format = arguments.input.format;
    let mut out = std::io::stdout().lock();
    // Whether a header is out: one serves all changes, where one view is subscribed to.
    let mut is_begun = false;
    for subscription in &mut subscriptions {
        write_changes(&mut out, format, subscription, &mut is_begun)?;
    }
    let outcome = player::play(&arguments.input, &mut database, &stored, |_| {
        subscriptions.iter_mut().try_for_each(|s| write_changes(&mut out, format, s, &mut is_begun))
    })?;
    for statement in asked {
        let (Answer::Rows { schema, batches }
        | Answer::Written(Written { returning: Some((schema, batches)), .. })) =
            runtime.block_on(database.execute(statement))?
        else {
            continue;
        };
        output::write(&mut out, format, &schema, &batches)?;
    }
    Ok(outcome)
}

/// The runtime that queries run on: reads are short, and workers have threads of their own.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, CommandError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build();
    runtime.map_err(|source| CommandError::System { action: "start the query threads", source })
}

/// Carries out what must come before the data: the queries left, the subscriptions, and the stream
/// tables whose rows queries will read.
async fn begin(
    database: &mut Database,
    statements: Vec<Statement>,
) -> Result<(Vec<Statement>, Vec<Subscription>, BTreeSet<Table>), CommandError> {
    let (mut asked, mut subscriptions, mut stored) = (vec![], vec![], BTreeSet::new());
    for statement in statements {
        match statement {
            Statement::CreateView(_)
            | Statement::DropView { .. }
            | Statement::CreateModel(_)
            | Statement::DropModel { .. }
            | Statement::Subscribe(_)
            | Statement::DropTable { .. } => {
                if let Answer::Subscription(subscription) = database.execute(statement).await? {
                    subscriptions.push(subscription);
                }
            }
            // What needs no telemetry comes before it, so that what is subscribed to does not change for it.
            Statement::CreateTable(create) if create.query.is_none() => {
                database.execute(Statement::CreateTable(create)).await?;
            }
            Statement::Write(write)
                if write.only_adds() && !write.is_returning() && write.relations().len() == 1 =>
            {
                database.execute(Statement::Write(write)).await?;
            }
            query => {
                database.prepare(&query).await?;
                stored.extend(database.streams_read(&query).await?);
                asked.push(query);
            }
        }
    }
    Ok((asked, subscriptions, stored))
}

/// Writes what a subscription has to tell.
fn write_changes(
    out: &mut dyn Write,
    format: Format,
    subscription: &mut Subscription,
    is_begun: &mut bool,
) -> Result<(), CommandError> {
    let schema = subscription.change_schema();
    while let Some(batches) = subscription.try_next()? {
        let with_header = !std::mem::replace(is_begun, true);
        output::write_part(out, format, &schema, &batches, with_header)?;
    }
    Ok(())
}
