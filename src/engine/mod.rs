//! Where threads meet: workers that run dataflows, the clock, the lives of views, and what readers
//! see.
//!
//! The [`Engine`] is the control side. It gives every batch the tick it belongs to, sends it to a
//! worker, and closes ticks: all workers finish a tick before any begins the next, so that what they
//! publish at a tick is the state of every view at that tick and of no other. Readers hold an
//! immutable [`State`] and never wait for a worker.

mod built_ins;
mod channels;
mod checkpoints;
mod clock;
mod closing;
mod collector;
mod connectors;
mod contents;
mod database;
mod error;
mod explain;
mod history;
mod limits;
mod live;
mod models;
mod operators;
mod outbox;
mod reader;
mod resuming;
mod retention;
mod sharing;
mod state;
mod stream;
mod subscription;
mod system_tables;
mod tables;
mod ticks;
mod transaction;
mod view_stats;
mod worker;
mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use tokio::sync::{mpsc, watch};

pub use self::built_ins::BuiltIns;
use self::checkpoints::Checkpoints;
pub use self::clock::{ClockOptions, SOURCES_MAX, SourceId, StreamClock};
pub use self::closing::OPEN_ROWS_MAX;
pub use self::connectors::{
    Activity, CONNECTORS_MAX, Condition, Connectors, DefinedSink, DefinedSource, Position, Switch,
};
use self::contents::ViewContents;
pub use self::database::{Answer, Database};
pub use self::error::EngineError;
use self::history::History;
pub use self::limits::{Limits, PLANNING_STACK_BYTES, Rows, Turn};
pub use self::live::{Incoming, IntakeError, Live, LiveOptions, Receipt, Recovered, RecoveryError, Source};
use self::operators::{Operators, Rate};
pub use self::outbox::{Delivery, Outbox, Progress, WAITING_ROWS_MAX};
pub use self::reader::{NamedQueries, Reader};
use self::resuming::{Found, Resuming};
use self::sharing::Dataflows;
use self::state::StreamState;
pub use self::state::{State, View};
use self::stream::{Kept, Stream};
pub use self::subscription::{Change, Subscription, change_schema};
pub use self::tables::TABLES_MAX;
use self::tables::UserTable;
pub use self::transaction::Transaction;
use self::view_stats::{Figures, ViewFigures};
use self::worker::{Closed, Command, Install};
pub use self::writer::Written;
use crate::delta::chunk::ArrowChunk;
use crate::delta::plan::Plan;
use crate::delta::updates::{Diff, Run, Tick};
use crate::telemetry::{Batch, Table};

/// The most workers.
pub const WORKERS_MAX: usize = 64;

/// How long the control side waits for a worker before it looks whether one is lost.
const LOST_CHECK: Duration = Duration::from_millis(100);

/// The control side of the workers.
pub struct Engine {
    workers: Vec<Sender<Command>>,
    threads: Option<timely::communication::WorkerGuards<()>>,
    is_lost: Arc<AtomicBool>,
    /// The tables whose rows only come: telemetry, and what users created append-only.
    streams: BTreeMap<String, Stream>,
    tables: BTreeMap<String, UserTable>,
    views: BTreeMap<String, View>,
    /// The tick at which each view was created.
    filled_at: BTreeMap<String, Tick>,
    /// What runs for each view and each ordinary table, and how fast its rows change.
    running: BTreeMap<String, (Arc<Operators>, Rate)>,
    dataflows: Dataflows,
    subscriptions: BTreeMap<String, Vec<mpsc::Sender<Change>>>,
    connectors: watch::Sender<Connectors>,
    /// By view: rows that came when a subscription had told their window.
    corrected_rows: BTreeMap<String, Arc<AtomicU64>>,
    next_worker: usize,
    /// The last closed tick.
    closed: Tick,
    /// The tick that open updates belong to, once it is after the closed one.
    open: Tick,
    /// Rows that came since.
    open_rows: usize,
    published: Arc<ArcSwap<State>>,
    stored_bytes_max: usize,
    /// What keeps streams on disk, if anything does.
    history: Option<History>,
    /// What takes checkpoints, if anything does.
    checkpoints: Option<Checkpoints>,
    /// The checkpoint that views go on from, while the journal is played.
    resuming: Option<Resuming>,
    /// Statements that ever defined something, or failed to.
    definitions: u64,
}

impl Engine {
    /// Starts `workers` worker threads.
    pub fn start(workers: usize) -> Result<Self, EngineError> {
        let is_lost = Arc::new(AtomicBool::new(false));
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..workers).map(|_| channels::commands()).unzip();
        let threads = worker::start(receivers, is_lost.clone())
            .map_err(|reason| EngineError::Start { workers, reason })?;
        let stream = |table: Table| (table.name().to_owned(), Stream::new(table.schema(), None, None));
        let mut engine = Engine {
            workers: senders,
            threads: Some(threads),
            is_lost,
            streams: Table::all().into_iter().map(stream).collect(),
            tables: BTreeMap::new(),
            views: BTreeMap::new(),
            filled_at: BTreeMap::new(),
            running: BTreeMap::new(),
            dataflows: Dataflows::default(),
            subscriptions: BTreeMap::new(),
            connectors: channels::connectors(),
            corrected_rows: BTreeMap::new(),
            next_worker: 0,
            closed: 0,
            open: 0,
            open_rows: 0,
            published: Arc::default(),
            stored_bytes_max: usize::MAX,
            history: None,
            checkpoints: None,
            resuming: None,
            definitions: 0,
        };
        engine.publish(vec![]);
        Ok(engine)
    }

    /// What readers see; follows every closed tick.
    pub fn published(&self) -> Arc<ArcSwap<State>> {
        self.published.clone()
    }

    /// The last closed tick.
    pub fn closed(&self) -> Tick {
        self.closed
    }

    /// Rows that came since the last closed tick.
    pub fn open_rows(&self) -> usize {
        self.open_rows
    }

    /// Keeps rows of the stream tables in `tables` alone; of the others only views see them.
    pub fn store_only(&mut self, tables: &[Table]) {
        for table in Table::all() {
            if let Some(stream) = self.streams.get_mut(table.name()) {
                stream.is_stored = tables.contains(&table);
            }
        }
    }

    /// Keeps at most about `bytes` of each stream table in memory: the oldest rows go first. Where they are not on disk they
    /// are counted: views that are there have seen them; queries, and views to come, do not.
    pub fn store_at_most(&mut self, bytes: usize) {
        self.stored_bytes_max = bytes;
    }

    /// Moves the clock to `clock_ms` before rows are added: those of a tick are dated by the clock at
    /// its first row, from which horizons count.
    pub fn advance(&mut self, clock_ms: u64) {
        if self.open_rows == 0 {
            self.open = self.open.max(clock_ms);
        }
    }

    /// The tick that is closed next, when the clock shows `clock_ms`.
    pub(crate) fn next_tick(&self, clock_ms: u64) -> Tick {
        clock_ms.max(self.open_tick())
    }

    /// The tick that rows added now belong to.
    fn open_tick(&self) -> Tick {
        self.open.max(self.closed + 1)
    }

    /// Adds rows to a stream table, at the open tick.
    pub fn append(&mut self, batch: &Batch) -> Result<(), EngineError> {
        self.append_rows(batch.table.name(), &batch.rows)
    }

    /// Adds `rows` to the stream `name`, at the open tick.
    fn append_rows(&mut self, name: &str, rows: &RecordBatch) -> Result<(), EngineError> {
        let count = rows.num_rows();
        let Some(stream) = self.streams.get_mut(name).filter(|_| count > 0) else { return Ok(()) };
        stream.add(rows);
        self.open_rows += count;
        match self.views.values().any(|v| v.plan.relations().contains(&name)) {
            true => self.send_rows(name, rows.clone(), Run::Constant(1)),
            false => Ok(()),
        }
    }

    /// Hands rows of `relation` to one of the workers, at the open tick.
    fn send_rows(&mut self, relation: &str, rows: RecordBatch, diffs: Run<Diff>) -> Result<(), EngineError> {
        self.next_worker = (self.next_worker + 1) % self.workers.len();
        let tick = self.open_tick();
        let command = Command::Append { relation: relation.to_owned(), rows, diffs, tick };
        self.workers[self.next_worker].send(command).map_err(|_| EngineError::WorkerLost)
    }

    /// Installs `view`, which must not exist, fills it from what is stored, and closes a tick.
    pub fn create_view(&mut self, name: &str, view: View) -> Result<(), EngineError> {
        let start = self.open_tick();
        match self.found(name, &view)? {
            Some(found) => self.go_on(name, &view, found)?,
            None => self.install(name, view.plan.clone(), self.kept(&view.plan), None)?,
        }
        self.filled_at.insert(name.to_owned(), start);
        self.views.insert(name.to_owned(), view);
        self.close(self.closed + 1)?;
        Ok(())
    }

    /// What is kept of the streams that `plan` reads, with their columns.
    fn kept(&self, plan: &Plan) -> BTreeMap<String, (SchemaRef, Kept)> {
        let stream = |name: &str| self.streams.get(name).map(|s| (s.schema.clone(), s.kept()));
        plan.relations().into_iter().filter_map(|name| Some((name.to_owned(), stream(name)?))).collect()
    }

    /// Builds the dataflow of a view or of a table, which must not exist.
    fn install(
        &mut self,
        name: &str,
        plan: Arc<Plan>,
        streams: BTreeMap<String, (SchemaRef, Kept)>,
        found: Option<Found>,
    ) -> Result<(), EngineError> {
        let is_stored = |relation: &str| match self.streams.get(relation) {
            Some(stream) => stream.is_whole(),
            None => self.views.contains_key(relation) || self.tables.contains_key(relation),
        };
        let before =
            self.resuming.as_ref().zip(found.as_ref()).map(|(resuming, found)| resuming.before(found));
        let operators = self.dataflows.add(plan, self.workers.len(), is_stored, before);
        if let (Some(resuming), Some(found)) = (&mut self.resuming, &found) {
            resuming.resumed(name, &operators, found);
        }
        let dataflow = operators.dataflow();
        let install = Arc::new(Install {
            name: name.to_owned(),
            operators: operators.clone(),
            streams,
            start: self.open_tick(),
            as_of: self.closed,
            resume: found.map(|found| found.resume),
        });
        let (sender, receiver) = channels::replies(self.workers.len());
        self.broadcast(|| Command::Install { install: install.clone(), reply: sender.clone() })?;
        drop(sender);
        let results: Vec<Result<(), String>> = self.gather(receiver)?;
        if let Some(reason) = results.into_iter().find_map(Result::err) {
            self.retire(name, dataflow)?;
            return Err(EngineError::Build { view: name.to_owned(), reason });
        }
        self.running.insert(name.to_owned(), (operators, Rate::new(Instant::now())));
        Ok(())
    }

    /// Takes the dataflow of a view or of a table away, but for what other views read from it.
    fn uninstall(&mut self, name: &str) -> Result<(), EngineError> {
        match self.running.remove(name) {
            Some((operators, _)) => self.retire(name, operators.dataflow()),
            None => Ok(()),
        }
    }

    fn retire(&mut self, name: &str, dataflow: u64) -> Result<(), EngineError> {
        let live = self.running.values().map(|(operators, _)| operators.dataflow());
        let needed = Arc::new(self.dataflows.retire(dataflow, live));
        self.broadcast(|| Command::Drop { name: name.to_owned(), needed: needed.clone() })
    }

    /// Takes a view away, with its operators and their memory.
    pub fn drop_view(&mut self, name: &str) -> Result<(), EngineError> {
        self.views.remove(name);
        self.filled_at.remove(name);
        self.subscriptions.remove(name);
        self.corrected_rows.remove(name);
        self.resuming.iter_mut().for_each(|resuming| resuming.dropped(name));
        self.uninstall(name)?;
        self.close(self.closed + 1)?;
        Ok(())
    }

    /// The views, by name.
    pub fn views(&self) -> &BTreeMap<String, View> {
        &self.views
    }

    /// All changes of view `name` from the next tick on; a tick without changes comes too.
    pub fn subscribe(&mut self, name: &str) -> Result<mpsc::Receiver<Change>, EngineError> {
        let (sender, receiver) = channels::changes();
        self.subscriptions.entry(name.to_owned()).or_default().push(sender);
        self.watch(name)?;
        Ok(receiver)
    }

    /// The count of rows of view `name` that came when a subscription had told their window.
    fn corrected_rows(&mut self, name: &str) -> Arc<AtomicU64> {
        self.corrected_rows.entry(name.to_owned()).or_default().clone()
    }

    fn broadcast(&self, command: impl Fn() -> Command) -> Result<(), EngineError> {
        self.workers.iter().try_for_each(|w| w.send(command()).map_err(|_| EngineError::WorkerLost))
    }

    /// One reply of each worker.
    fn gather<R>(&self, receiver: Receiver<R>) -> Result<Vec<R>, EngineError> {
        let mut replies = Vec::with_capacity(self.workers.len());
        while replies.len() < self.workers.len() {
            // A worker that panics leaves its command, and the way to reply, in its queue: look up
            // now and then instead of waiting for ever.
            match receiver.recv_timeout(LOST_CHECK) {
                Ok(reply) => replies.push(reply),
                Err(RecvTimeoutError::Timeout) => self.check()?,
                Err(RecvTimeoutError::Disconnected) => return Err(EngineError::WorkerLost),
            }
        }
        self.check().map(|()| replies)
    }

    /// An error once a worker is gone: nothing is served from then on, least of all stale tables.
    pub fn check(&self) -> Result<(), EngineError> {
        match self.is_lost.load(Ordering::Acquire) {
            true => Err(EngineError::WorkerLost),
            false => Ok(()),
        }
    }

    /// Makes what the workers hand over at a tick visible, all at once.
    fn publish(&mut self, closed: Vec<Closed>) {
        let mut tables: BTreeMap<String, ViewContents> = BTreeMap::new();
        let mut changes: BTreeMap<String, Vec<ArrowChunk>> = BTreeMap::new();
        for view in closed.into_iter().flat_map(|c| c.views) {
            let table =
                tables.entry(view.name.clone()).or_insert_with(|| ViewContents::new(&view.name, self.closed));
            table.extend(view.rows, view.errors);
            changes.entry(view.name).or_default().extend(view.changes);
        }
        self.tell(&changes, &tables);
        let streams = self.streams.iter();
        let streams =
            streams.map(|(name, stream)| StreamState::of(name, stream, self.held_by(name))).collect();
        let now = Instant::now();
        for (operators, rate) in self.running.values_mut() {
            rate.observe(operators.result.counts().rows_out, now);
        }
        let figures = |contents: &_| self.figures(contents);
        let connectors = self.connectors.subscribe();
        let mut state =
            State::new(self.closed, streams, &self.tables, &self.views, tables, figures, &connectors);
        let checkpoints = system_tables::checkpoint_stats(&self.checkpoint_figures());
        state.catalog.insert(system_tables::CHECKPOINT_STATS.to_owned(), checkpoints);
        self.published.store(Arc::new(state));
    }

    /// What is told of the views, whose rows are `contents`.
    fn figures(&self, contents: &BTreeMap<String, Arc<ViewContents>>) -> Figures {
        let figures = self.views.iter().filter_map(|(name, view)| {
            let (operators, rate) = self.running.get(name)?;
            let corrected_rows = self.corrected_rows.get(name);
            Some(ViewFigures {
                name: name.clone(),
                horizon_ms: view.horizon_ms,
                contents: contents.get(name)?.clone(),
                operators: operators.clone(),
                updates_per_second: rate.per_second(),
                corrected_rows: corrected_rows.map_or(0, |rows| rows.load(Ordering::Relaxed)),
            })
        });
        Figures { tick: self.closed, views: figures.collect() }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.broadcast(|| Command::Stop);
        self.workers.clear();
        let Some(threads) = self.threads.take() else { return };
        // Beside a lost worker the others wait for what will never come: joining them would hang.
        match self.check() {
            Ok(()) => threads.join().into_iter().for_each(drop),
            Err(_) => std::mem::forget(threads),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Schema;

    use super::*;
    use crate::delta::plan::{Node, Plan};

    /// An engine that has lost a worker.
    fn lost(workers: usize) -> Engine {
        let mut engine = Engine::start(workers).unwrap();
        engine.close(1_000).unwrap();
        let schema = Arc::new(Schema::empty());
        let mut plan = Plan::default();
        // Nothing that the compiler makes: a column that is not there panics the worker.
        plan.push(Node::Source { relation: "spans".to_owned(), columns: vec![1_000] }, schema.clone());
        let view = View {
            plan: Arc::new(plan),
            schema,
            retracts: false,
            query: String::new(),
            horizon_ms: None,
            model: None,
        };
        assert!(matches!(engine.create_view("v", view), Err(EngineError::WorkerLost)));
        engine
    }

    #[test]
    fn a_lost_worker_is_an_error_and_not_a_wait() {
        for workers in [1, 2] {
            assert!(matches!(lost(workers).close(2_000), Err(EngineError::WorkerLost)));
        }
    }

    #[test]
    fn nothing_is_served_and_nothing_taken_once_a_worker_is_lost() {
        let database = Database::new(lost(2), BuiltIns::default(), None);
        let live = Live::start(database, LiveOptions::default(), None).unwrap();
        let statement = |sql: &str| crate::sql::statement::parse(sql).unwrap().remove(0);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        for sql in ["SELECT 1", "SELECT * FROM spans", "SHOW TABLES", "SUBSCRIBE TO v"] {
            let refused = runtime.block_on(live.execute(statement(sql))).map(drop).unwrap_err();
            assert!(refused.to_string().starts_with("the engine has stopped"), "{refused}");
        }
        assert!(live.check().is_err());
        let source = live.source();
        // The owning thread learns of it when it closes a tick; until then what comes waits.
        while !matches!(source.try_send(vec![]), Err(IntakeError::Stopped)) {
            std::thread::yield_now();
        }
        runtime.block_on(live.stop());
    }
}
