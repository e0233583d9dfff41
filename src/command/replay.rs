//! `undercurrent replay`: an answer over recorded telemetry.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMillisecondArray, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use crossbeam_channel::TryRecvError;

use super::arguments::{Format, ReplayArguments};
use super::{CommandError, Outcome, output, player};
use crate::engine::{Answer, Change, Database, Subscription};
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
        let snapshot = std::mem::take(&mut subscription.snapshot);
        write_changes(&mut out, format, subscription, &snapshot, &mut is_begun)?;
    }
    let outcome = player::play(&arguments.input, &mut database, &stored, |_| {
        subscriptions.iter_mut().try_for_each(|subscription| {
            let mut changes = vec![];
            loop {
                match subscription.changes.try_recv() {
                    Ok(Change { error: Some(error), .. }) => return Err(CommandError::Subscription(error)),
                    Ok(change) => changes.push(change),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => {
                        let reason = format!("view \"{}\" is gone", subscription.options.relation);
                        return Err(CommandError::Subscription(reason));
                    }
                }
            }
            write_changes(&mut out, format, subscription, &changes, &mut is_begun)
        })
    })?;
    for statement in asked {
        if let Answer::Rows { schema, batches } = runtime.block_on(database.execute(statement))? {
            output::write(&mut out, format, &schema, &batches)?;
        }
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
            Statement::CreateView(_) | Statement::DropView { .. } | Statement::Subscribe(_) => {
                if let Answer::Subscription(subscription) = database.execute(statement).await? {
                    subscriptions.push(subscription);
                }
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

/// Writes changes as rows that begin with the tick and the diff; with PROGRESS, after those of each
/// tick comes a row of diff 0 and nulls.
fn write_changes(
    out: &mut dyn Write,
    format: Format,
    subscription: &Subscription,
    changes: &[Change],
    is_begun: &mut bool,
) -> Result<(), CommandError> {
    let tick_type = DataType::Timestamp(TimeUnit::Millisecond, Some("+00:00".into()));
    let mut fields =
        vec![Field::new("tick_at", tick_type, false), Field::new("diff", DataType::Int64, false)];
    fields.extend(subscription.schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)));
    let schema = Arc::new(Schema::new(fields));
    let mut batches = vec![];
    for change in changes {
        for chunk in &change.chunks {
            let updates = chunk.updates();
            let diffs = (0..updates.len()).map(|row| updates.diffs.get(row)).collect();
            batches.push(stamped(&schema, change.tick, diffs, updates.rows.columns())?);
        }
        if subscription.options.progress {
            let nulls: Vec<_> =
                subscription.schema.fields().iter().map(|f| new_null_array(f.data_type(), 1)).collect();
            batches.push(stamped(&schema, change.tick, vec![0], &nulls)?);
        }
    }
    match batches.is_empty() {
        true => Ok(()),
        false => {
            let with_header = !std::mem::replace(is_begun, true);
            output::write_part(out, format, &schema, &batches, with_header)
        }
    }
}

/// Rows behind their tick and diffs. All that changed since the tick before is told as of `tick`,
/// which is when it is whole.
fn stamped(
    schema: &Arc<Schema>,
    tick: u64,
    diffs: Vec<i64>,
    rows: &[ArrayRef],
) -> Result<RecordBatch, CommandError> {
    let ticks = TimestampMillisecondArray::from_value(tick as i64, diffs.len()).with_timezone("+00:00");
    let mut columns: Vec<ArrayRef> = vec![Arc::new(ticks), Arc::new(Int64Array::from(diffs))];
    columns.extend(rows.iter().cloned());
    RecordBatch::try_new(schema.clone(), columns)
        .map_err(|source| CommandError::Format { format: "changes", source })
}
