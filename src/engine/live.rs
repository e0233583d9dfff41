//! A running database that many tasks share.
//!
//! One thread owns the [`Database`]: it takes in what arrives, closes ticks by the stream clock, and
//! carries out the statements that change something. Queries run beside it on a [`Reader`].

mod defining;
mod intake;
mod journal;
mod player;
mod record;
mod ticks;
mod writes;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use self::intake::Intake;
pub(super) use self::intake::Item;
pub use self::intake::{Incoming, IntakeError, Receipt, Source};
pub(super) use self::journal::Durable;
use self::journal::Journalled;
pub use self::journal::{Recovered, RecoveryError};
use super::clock::{ClockOptions, StreamClock};
use super::collector::{IntakeCollector, JournalCollector};
use super::limits::{Limits, PLANNING_STACK_BYTES, Rows};
use super::reader::Reader;
use super::writer::{Request, Written};
use super::{Answer, Connectors, Database, DefinedSource, EngineError, channels};
use crate::journal::Health;
use crate::observe::Metrics;
use crate::sql::error::SqlError;
use crate::sql::question::{Description, Parameter, Question};
use crate::sql::statement::Statement;

/// Small batches are joined up to this many rows before workers get them.
const JOINED_ROWS: usize = 8192;

/// The least time between two ticks that are closed for writes alone: ticks are milliseconds, and may not outrun
/// the clock.
const WRITE_TICK: Duration = Duration::from_millis(1);

/// How long it takes until a journal that could not be written is tried again for a write alone.
const JOURNAL_RETRY: Duration = Duration::from_millis(500);

/// Who may wait for the same tick.
const WAITING_MAX: usize = 256;

/// How a live database takes in telemetry and closes ticks.
#[derive(Clone, Debug)]
pub struct LiveOptions {
    /// How often a tick is closed.
    pub tick: Duration,
    /// A tick is closed early when it holds this many rows.
    pub tick_rows_max: usize,
    /// Bytes of decoded telemetry that no closed tick holds; beyond, senders are told to wait. A tick is closed
    /// early when it holds half of it.
    pub intake_bytes_max: usize,
    /// The stream clock.
    pub clock: ClockOptions,
    /// What bounds queries.
    pub queries: Limits,
}

impl Default for LiveOptions {
    fn default() -> Self {
        LiveOptions {
            tick: Duration::from_secs(1),
            tick_rows_max: 262_144,
            intake_bytes_max: 256 << 20,
            clock: ClockOptions::default(),
            queries: Limits::default(),
        }
    }
}

/// A handle to the running database; cheap to clone.
#[derive(Clone)]
pub struct Live {
    control: mpsc::Sender<Control>,
    intake: Intake,
    reader: Reader,
    metrics: Arc<Metrics>,
    connectors: watch::Receiver<Connectors>,
    /// How its journal does, if it has one.
    journal: Option<Arc<Health>>,
}

/// Where what became of rows is told; queries see it later.
type WriteReply = oneshot::Sender<Result<Written, SqlError>>;

pub(super) enum Control {
    Execute(Box<Statement>, oneshot::Sender<Result<Answer, SqlError>>),
    Prepare(Box<Statement>, oneshot::Sender<Result<(), SqlError>>),
    Write(Box<Request>, WriteReply),
    /// Somebody waits for queries to see what was written.
    Show(oneshot::Sender<()>),
    Stop(oneshot::Sender<()>),
}

impl Live {
    /// Hands `database` over to a thread of its own. With the `journal` that it was brought back from, what happens to it
    /// from now on is durable before anybody is told of it.
    pub fn start(
        database: Database,
        options: LiveOptions,
        journal: Option<Recovered>,
    ) -> Result<Self, EngineError> {
        let metrics = database.metrics.clone();
        let (control, controls) = channels::controls();
        let (sender, items) = channels::intake();
        let intake = Intake {
            items: sender,
            space: Arc::new(Semaphore::new(options.intake_bytes_max / intake::PERMIT_BYTES)),
            bytes_max: options.intake_bytes_max,
            next_source: Arc::default(),
            is_journalled: journal.is_some(),
        };
        let health = journal.as_ref().map(|journal| journal.committer().health().clone());
        let history = database.engine.history_health();
        let collector = |health: &Arc<Health>| JournalCollector::new(health.clone(), history.clone());
        health.iter().for_each(|health| metrics.register(Box::new(collector(health))));
        let (space, bytes_max) = (intake.space.clone(), options.intake_bytes_max);
        metrics.register(Box::new(IntakeCollector::new(space, intake::PERMIT_BYTES, bytes_max)));
        let connectors = database.engine.connectors_watched();
        let reader = database.reader().with_limits(options.queries.clone());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(EngineError::Thread)?;
        let mut owner = Owner {
            database,
            clock: StreamClock::new(options.clock.clone()),
            options,
            pending: BTreeMap::new(),
            pending_rows: 0,
            oldest: None,
            behind: None,
            held: vec![],
            held_bytes: 0,
            waiting: vec![],
            last_close: Instant::now(),
            metrics: metrics.clone(),
            journal: None,
            items,
            stopping: None,
        };
        journal.into_iter().for_each(|recovered| owner.go_on(recovered));
        // What sources have to read since the last stop comes before the clock goes on.
        for source in connectors.borrow().sources.values().filter(|source| source.is_awaited()) {
            owner.clock.expect(intake.sender_of(source), Instant::now());
        }
        std::thread::Builder::new()
            .name("engine".to_owned())
            .stack_size(PLANNING_STACK_BYTES)
            .spawn(move || runtime.block_on(owner.run(controls)))
            .map_err(EngineError::Thread)?;
        Ok(Live { control, intake, reader, metrics, connectors, journal: health })
    }

    /// Carries out `statement`; a query runs in the caller's task.
    pub async fn execute(&self, statement: Statement) -> Result<Answer, SqlError> {
        match statement {
            Statement::Query(query) => {
                let mut rows = self.rows(Question::plain(*query), vec![]).await?;
                Ok(Answer::Rows { schema: rows.schema(), batches: rows.all().await? })
            }
            Statement::Write(write) => Ok(Answer::Written(self.write(write, vec![]).await?)),
            other => self.ask(|reply| Control::Execute(Box::new(other), reply)).await?,
        }
    }

    /// The rows that answer `question` with `parameters`, as they come, in the caller's task.
    pub async fn rows(&self, question: Question, parameters: Vec<Parameter>) -> Result<Rows, SqlError> {
        self.ensure(&question).await?;
        self.reader.answer(&question, parameters).await
    }

    /// The columns and the parameters of `question`, some of whose types are known. Nothing is run.
    pub async fn describe(
        &self,
        question: &Question,
        known: &[Option<DataType>],
    ) -> Result<Description, SqlError> {
        self.ensure(question).await?;
        self.reader.describe(question, known).await
    }

    /// Creates the views that come with the engine and that `question` names, unless they are there.
    async fn ensure(&self, question: &Question) -> Result<(), SqlError> {
        self.check()?;
        match self.reader.knows(question.statement())? {
            true => Ok(()),
            false => self.prepare(Statement::Query(Box::new(question.statement().clone()))).await,
        }
    }

    /// Creates the views that come with the engine and that `statement` names.
    pub async fn prepare(&self, statement: Statement) -> Result<(), SqlError> {
        self.ask(|reply| Control::Prepare(Box::new(statement), reply)).await?
    }

    /// What answers queries over what is published, without the owning thread.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// The engine's own metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// An error once a worker is gone or the engine has stopped.
    pub fn check(&self) -> Result<(), SqlError> {
        self.reader.check()?;
        if self.control.is_closed() { Err(stopped()) } else { Ok(()) }
    }

    /// Why nothing can be taken in now, though queries are answered; `None` while all is well.
    pub fn stalled(&self) -> Option<String> {
        self.journal.as_ref()?.failure().map(|error| error.to_string())
    }

    /// The sources and sinks that are defined, for whoever runs them.
    pub fn connectors(&self) -> watch::Receiver<Connectors> {
        self.connectors.clone()
    }

    /// A sender of telemetry that was not there before.
    pub fn source(&self) -> Source {
        Source { id: self.intake.next_sender(), intake: self.intake.clone() }
    }

    /// The sender that `source` is as a whole, before it reads any partition.
    pub fn sender_of(&self, source: &DefinedSource) -> Source {
        Source { id: self.intake.sender_of(source), intake: self.intake.clone() }
    }

    /// Takes in what was accepted, closes a last tick and ends the owning thread. Whoever is still
    /// subscribed learns of the last tick before its subscription ends.
    pub async fn stop(&self) {
        let (reply, done) = oneshot::channel();
        if self.control.send(Control::Stop(reply)).await.is_ok() {
            let _ = done.await;
        }
    }

    async fn ask<R>(&self, command: impl FnOnce(oneshot::Sender<R>) -> Control) -> Result<R, SqlError> {
        self.check()?;
        let (reply, answer) = oneshot::channel();
        self.control.send(command(reply)).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())
    }
}

/// What the owning thread has.
struct Owner {
    database: Database,
    options: LiveOptions,
    clock: StreamClock,
    /// Rows that workers do not have yet, and how many.
    pending: BTreeMap<Cow<'static, str>, Vec<RecordBatch>>,
    pending_rows: usize,
    /// When the first request was received of those that no closed tick holds.
    oldest: Option<Instant>,
    /// When the last request that was taken was received, while others wait behind it: who is idle is judged as
    /// of then, for what waits may be theirs.
    behind: Option<Instant>,
    /// The space of what no closed tick holds: it is in memory, wherever it waits.
    held: Vec<OwnedSemaphorePermit>,
    held_bytes: usize,
    /// Who waits for queries to see what was done to tables at the open tick.
    waiting: Vec<oneshot::Sender<()>>,
    last_close: Instant,
    metrics: Arc<Metrics>,
    journal: Option<Journalled>,
    /// What is handed over.
    items: mpsc::Receiver<Item>,
    /// Who waits for the end, once it is asked for.
    stopping: Option<oneshot::Sender<()>>,
}

impl Owner {
    async fn run(&mut self, mut controls: mpsc::Receiver<Control>) {
        let mut ticks = tokio::time::interval(self.options.tick);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let result = tokio::select! {
                biased;
                _ = ticks.tick() => self.tick().await,
                Some(control) = controls.recv() => self.carry_out(control, &mut controls).await,
                // Behind the statements that are there already: they share the tick.
                () = tokio::time::sleep_until((self.last_close + WRITE_TICK).into()), if !self.waiting.is_empty() => {
                    self.close().await
                }
                Some(durable) = next_durable(&mut self.journal) => {
                    self.settle(durable);
                    self.relieve().await
                }
                Some(item) = self.items.recv() => self.accept(item).await,
                else => return,
            };
            if let Err(error) = result {
                // Senders and clients find both channels closed, and readers the mark of the lost worker.
                tracing::error!(%error, "the engine has stopped");
                return;
            }
            if let Some(reply) = self.stopping.take() {
                // Whoever asks from now on is told that it has stopped.
                controls.close();
                self.finish().await;
                let _ = reply.send(());
                return;
            }
        }
    }

    /// Takes in what was accepted, and closes the last tick.
    async fn finish(&mut self) {
        self.items.close();
        while let Some(item) = self.items.recv().await {
            if let Err(error) = self.accept(item).await {
                tracing::error!(%error, "telemetry that was accepted is lost");
                return;
            }
        }
        if let Err(error) = self.close().await {
            tracing::error!(%error, "the last tick could not be closed");
        }
    }

    /// Carries out `control`, and writes that wait behind it with it; what is found behind those too.
    async fn carry_out(
        &mut self,
        control: Control,
        controls: &mut mpsc::Receiver<Control>,
    ) -> Result<(), EngineError> {
        let mut next = Some(control);
        while let Some(control) = next.take() {
            match control {
                Control::Write(request, reply) => next = self.write((request, reply), controls).await?,
                Control::Show(reply) => self.show(reply).await?,
                Control::Stop(reply) => self.stopping = Some(reply),
                other => self.carry_out_one(other).await?,
            }
        }
        Ok(())
    }

    async fn carry_out_one(&mut self, control: Control) -> Result<(), EngineError> {
        // A view that is created now reads what came before.
        self.flush()?;
        match control {
            Control::Execute(statement, reply) => self.define(*statement, reply).await?,
            Control::Prepare(statement, reply) => {
                let _ = reply.send(self.create_named(&statement).await);
            }
            Control::Write(..) | Control::Show(_) | Control::Stop(_) => {}
        }
        self.database.engine.check()
    }
}

/// What the journal tells next; never anything without one.
async fn next_durable(journal: &mut Option<Journalled>) -> Option<Durable> {
    match journal {
        Some(journal) => journal.next().await,
        None => std::future::pending().await,
    }
}

fn stopped() -> SqlError {
    SqlError::Engine("it takes no more statements".to_owned())
}

/// The wall clock, in milliseconds since 1970 UTC.
fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}
