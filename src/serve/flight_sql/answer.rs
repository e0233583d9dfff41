//! What a statement takes and gives, and its rows as a stream.

use std::pin::Pin;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow_flight::FlightData;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use tokio::sync::watch;
use tonic::{Response, Status};

use super::status::status;
use super::{FlightSql, PROTOCOL};
use crate::engine::{Answer, Subscription, change_schema};
use crate::serve::flow::Flow;
use crate::serve::measured::Measured;
use crate::serve::stopped;
use crate::serve::subscribers::Place;
use crate::sql::error::SqlError;
use crate::sql::question::{Parameter, Question};
use crate::sql::session::missing;
use crate::sql::statement::{Statement, parse};

/// A stream of rows on the wire.
pub(super) type DataStream = Pin<Box<dyn Stream<Item = Result<FlightData, Status>> + Send>>;

/// What a statement takes and gives.
pub(super) struct Shape {
    /// Its columns; none where it changes something.
    pub columns: SchemaRef,
    /// Its parameters, `$1` first.
    pub parameters: Schema,
    /// Whether it changes something and has no rows.
    pub is_command: bool,
}

/// The same columns, all of them nullable: which of them hold no nulls is only known when they are there.
fn nullable(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|f| Field::new(f.name(), f.data_type().clone(), true));
    SchemaRef::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The only statement of `sql`.
pub(super) fn one(sql: &str) -> Result<Statement, Status> {
    let mut statements = parse(sql).map_err(status)?;
    match (statements.pop(), statements.len()) {
        (Some(statement), 0) => Ok(statement),
        (None, _) => Err(Status::invalid_argument("there is no statement")),
        (Some(_), others) => Err(Status::invalid_argument(format!(
            "{} statements came, and one is taken at a time",
            others + 1
        ))),
    }
}

impl FlightSql {
    /// What `statement` takes and gives.
    pub(super) async fn shape(&self, statement: Statement) -> Result<Shape, Status> {
        let live = &self.context.live;
        let is_command = statement.is_command();
        let (columns, parameters) = match statement {
            Statement::Write(write) => {
                let described = live.describe_write(&write, &[]).await.map_err(status)?;
                (nullable(&described.schema), described.parameters)
            }
            _ if is_command => (SchemaRef::new(Schema::empty()), vec![]),
            Statement::Query(query) => {
                let described = live.describe(&Question::plain(*query), &[]).await.map_err(status)?;
                (nullable(&described.schema), described.parameters)
            }
            Statement::Subscribe(subscribe) => {
                let view = subscribe.relation.clone();
                live.prepare(Statement::Subscribe(subscribe)).await.map_err(status)?;
                let (_, catalog) = live.reader().catalog();
                let relation = catalog.get(&view).ok_or_else(|| status(missing(&view, &catalog)))?;
                (change_schema(&relation.schema), vec![])
            }
            // What these give is small and known only when it is there.
            other => match live.execute(other).await.map_err(status)? {
                Answer::Rows { schema, .. } => (schema, vec![]),
                _ => (SchemaRef::new(Schema::empty()), vec![]),
            },
        };
        let parameter =
            |(index, wanted): (usize, DataType)| Field::new(format!("${}", index + 1), wanted, true);
        let parameters: Vec<Field> = parameters.into_iter().enumerate().map(parameter).collect();
        Ok(Shape { columns, parameters: Schema::new(parameters), is_command })
    }

    /// Carries out a statement whose rows nobody wants, once for each of `rows` of parameters; returns how many
    /// rows of a table it changed.
    pub(super) async fn command(
        &self,
        statement: Statement,
        rows: Vec<Vec<Parameter>>,
    ) -> Result<i64, Status> {
        let mut measured = Measured::begin(self.context.live.metrics(), PROTOCOL);
        let live = &self.context.live;
        let count = match statement {
            Statement::Write(write) => {
                let rows = if rows.is_empty() { vec![vec![]] } else { rows };
                live.write_each(write, rows).await.map_err(status)?.rows as i64
            }
            other => {
                live.execute(other).await.map_err(status)?;
                0
            }
        };
        measured.ok();
        Ok(count)
    }

    /// The rows of `statement` under `columns`, where those were told before.
    pub(super) async fn stream(
        &self,
        statement: Statement,
        values: &[Parameter],
        columns: Option<SchemaRef>,
    ) -> Result<Response<DataStream>, Status> {
        let mut measured = Measured::begin(self.context.live.metrics(), PROTOCOL);
        let live = &self.context.live;
        let flow = match statement {
            Statement::Query(query) => {
                let rows = live.rows(Question::plain(*query), values.to_vec()).await.map_err(status)?;
                Flow::start(rows, self.context.config.statement_timeout)
            }
            statement @ Statement::Subscribe(_) => {
                let place = self.subscribers.enter().map_err(status)?;
                let Answer::Subscription(subscription) = live.execute(statement).await.map_err(status)?
                else {
                    return Err(Status::internal("a subscription has no stream"));
                };
                measured.ok();
                let stop = self.context.stop.clone();
                return Ok(Response::new(subscribed(Changes { subscription, stop, _place: place })));
            }
            Statement::Write(write) => {
                let written = live.write(write, values.to_vec()).await.map_err(status)?;
                let (schema, batches) =
                    written.returning.unwrap_or((SchemaRef::new(Schema::empty()), vec![]));
                Flow::of(schema, batches)
            }
            other => match live.execute(other).await.map_err(status)? {
                Answer::Rows { schema, batches } => Flow::of(schema, batches),
                _ => Flow::of(SchemaRef::new(Schema::empty()), vec![]),
            },
        };
        let schema = columns.unwrap_or_else(|| flow.schema());
        let rows = Answering { flow, schema: schema.clone(), measured };
        Ok(Response::new(encoded(schema, rows.stream())))
    }
}

/// An answer on its way.
struct Answering {
    flow: Flow,
    schema: SchemaRef,
    measured: Measured,
}

impl Answering {
    fn stream(self) -> impl Stream<Item = Result<RecordBatch, Status>> + Send {
        stream::try_unfold(self, async |mut answer| match answer.flow.next().await {
            Ok(Some(rows)) => {
                let rows = under(&rows, &answer.schema).map_err(status)?;
                Ok(Some((rows, answer)))
            }
            Ok(None) => {
                answer.measured.ok();
                Ok(None)
            }
            Err(error) => Err(status(error)),
        })
    }
}

/// `rows` under the columns that were told of them: these are nullable, and of the types that were planned.
fn under(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, SqlError> {
    let columns = rows.columns().iter().zip(schema.fields()).map(|(c, f)| cast(c, f.data_type()));
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns.collect::<Result<_, _>>()?, &options)?)
}

/// A subscription on its way to a client.
struct Changes {
    subscription: Subscription,
    stop: watch::Receiver<bool>,
    _place: Place,
}

/// The changes of a view without end.
fn subscribed(changes: Changes) -> DataStream {
    let schema = changes.subscription.change_schema();
    let batches = stream::try_unfold(changes, async |mut changes| {
        let next = tokio::select! {
            () = stopped(&mut changes.stop) => return Err(Status::unavailable("the server stops")),
            next = changes.subscription.next() => next.map_err(status)?,
        };
        Ok(Some((stream::iter(next.into_iter().map(Ok)), changes)))
    });
    encoded(schema, batches.try_flatten())
}

/// Rows as Flight sends them: the schema first, then batches of a size that clients take.
pub(super) fn encoded(
    schema: SchemaRef,
    rows: impl Stream<Item = Result<RecordBatch, Status>> + Send + 'static,
) -> DataStream {
    let rows = rows.map_err(|error| FlightError::Tonic(Box::new(error)));
    let data = FlightDataEncoderBuilder::new().with_schema(schema).build(rows);
    data.map_err(Status::from).boxed()
}
