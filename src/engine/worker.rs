//! A worker thread: dataflows, and the commands that feed and close them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use timely::container::NoopBuilder;
use timely::dataflow::InputHandle;
use timely::dataflow::operators::generic::operator::empty;
use timely::dataflow::operators::probe::Handle;
use timely::worker::Worker;

use crate::delta::arrange::Arrangement;
use crate::delta::chunk::ArrowChunk;
use crate::delta::collection::Collection;
use crate::delta::plan::{Environment, Plan};
use crate::delta::stats::Counters;
use crate::delta::updates::{Diff, Run, Tick, Updates};

/// How long a worker with nothing to do sleeps between looks at its spines.
const IDLE: Duration = Duration::from_millis(100);

/// Effort that spines spend on merging while idle: without it they never finish.
const IDLE_MERGE_EFFORT: isize = 1000;

/// What a worker is told.
pub(super) enum Command {
    /// Rows of a stream or of a user's table, at the open tick.
    Append { relation: String, rows: RecordBatch, diffs: Run<Diff>, tick: Tick },
    /// Finish all that happens up to and at `tick`, and hand over what readers may see.
    Close { tick: Tick, reply: Sender<Closed> },
    /// Build a view's dataflow.
    Install { install: Arc<Install>, reply: Sender<Result<(), String>> },
    /// Collect the changes of a view from now on.
    Watch { name: String },
    /// Take a view's dataflow away.
    Drop { name: String },
    /// End the thread.
    Stop,
}

/// A view to build.
pub(super) struct Install {
    pub name: String,
    pub plan: Arc<Plan>,
    /// The streams that it reads: their columns, and what is stored of them, the open tick included.
    pub streams: BTreeMap<String, (SchemaRef, Vec<RecordBatch>)>,
    /// The open tick: history counts as its input.
    pub start: Tick,
    /// The closed tick, at which other views are imported.
    pub as_of: Tick,
}

/// A worker's part of all views at a closed tick.
pub(super) struct Closed {
    pub views: Vec<ClosedView>,
}

/// A worker's part of one view at a closed tick.
pub(super) struct ClosedView {
    pub name: String,
    pub rows: Vec<ArrowChunk>,
    pub errors: Vec<ArrowChunk>,
    /// What the tick changed, where somebody watches.
    pub changes: Vec<ArrowChunk>,
    pub counted: Counted,
}

/// Sums of the counters of a view's operators.
#[derive(Clone, Debug, Default)]
pub(super) struct Counted {
    pub state_bytes: u64,
    pub late_rows: u64,
    pub expired_rows: u64,
    /// Rows that came when a subscription had told their window: counted there.
    pub corrected_rows: u64,
}

impl Counted {
    pub fn add(&mut self, other: &Counted) {
        self.state_bytes += other.state_bytes;
        self.late_rows += other.late_rows;
        self.expired_rows += other.expired_rows;
    }
}

type Input = InputHandle<Tick, NoopBuilder<Updates>>;

/// A view on one worker.
struct Running {
    dataflow: usize,
    /// For each use of a stream table: its name, the columns used, and where they go in; constants
    /// have no name.
    inputs: Vec<(String, Vec<String>, Input)>,
    probe: Handle<Tick>,
    arrangement: Arrangement,
    counters: HashMap<usize, Arc<Counters>>,
    is_watched: bool,
}

/// Starts a worker thread for each of `commands`. A panic in one marks all as lost.
pub(super) fn start(
    commands: Vec<Receiver<Command>>,
    is_lost: Arc<AtomicBool>,
) -> Result<timely::communication::WorkerGuards<()>, String> {
    let mut config = timely::Config::process(commands.len());
    let differential = differential_dataflow::Config::default().idle_merge_effort(Some(IDLE_MERGE_EFFORT));
    differential_dataflow::configure(&mut config.worker, &differential);
    let commands = Mutex::new(commands.into_iter().map(Some).collect::<Vec<_>>());
    timely::execute(config, move |worker| {
        let mine = commands.lock().ok().and_then(|mut all| all[worker.index()].take());
        let guard = LostGuard(is_lost.clone());
        if let Some(mine) = mine {
            run(worker, &mine, &is_lost);
        }
        std::mem::forget(guard);
    })
}

/// Marks the engine as lost when dropped by a panic.
struct LostGuard(Arc<AtomicBool>);

impl Drop for LostGuard {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn run(worker: &mut Worker, commands: &Receiver<Command>, is_lost: &AtomicBool) {
    let mut views: BTreeMap<String, Running> = BTreeMap::new();
    loop {
        let command = match commands.recv_timeout(IDLE) {
            Ok(command) => command,
            Err(RecvTimeoutError::Timeout) => {
                worker.step();
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        match command {
            Command::Append { relation, rows, diffs, tick } => {
                for view in views.values_mut() {
                    view.append(&relation, &rows, &diffs, tick);
                }
                worker.step();
            }
            Command::Close { tick, reply } => {
                for input in views.values_mut().flat_map(|v| &mut v.inputs) {
                    input.2.advance_to(tick + 1);
                }
                while views.values().any(|v| v.probe.less_than(&(tick + 1))) {
                    if is_lost.load(Ordering::Acquire) {
                        return;
                    }
                    worker.step_or_park(Some(Duration::from_millis(1)));
                }
                let views = views.iter_mut().map(|(name, view)| view.close(name, tick)).collect();
                let _ = reply.send(Closed { views });
            }
            Command::Install { install, reply } => {
                let result = build(worker, &install, &mut views);
                let _ = reply.send(result.map(|view| drop(views.insert(install.name.clone(), view))));
            }
            Command::Watch { name } => {
                if let Some(view) = views.get_mut(&name) {
                    view.arrangement.watch();
                    view.is_watched = true;
                }
            }
            Command::Drop { name } => {
                if let Some(view) = views.remove(&name) {
                    let dataflow = view.dataflow;
                    drop(view);
                    worker.drop_dataflow(dataflow);
                }
            }
            Command::Stop => return,
        }
    }
}

impl Running {
    fn append(&mut self, relation: &str, rows: &RecordBatch, diffs: &Run<Diff>, tick: Tick) {
        for (name, columns, input) in &mut self.inputs {
            if name != relation {
                continue;
            }
            // A reader of files may have left out columns that no view reads: names tell, not places.
            let places: Result<Vec<usize>, _> = columns.iter().map(|c| rows.schema().index_of(c)).collect();
            let rows = places.and_then(|places| rows.project(&places));
            let rows = rows.expect("a batch with the columns of its table");
            input.send_batch(&mut Updates::at(rows, tick, diffs.clone()));
        }
    }

    /// Takes in the constants, on the first worker, and this worker's share of the history.
    fn fill(&mut self, worker: &mut Worker, install: &Install, constants: Vec<(RecordBatch, Input)>) {
        for (rows, mut input) in constants {
            if worker.index() == 0 && rows.num_rows() > 0 {
                input.send_batch(&mut Updates::insert(rows, install.start));
            }
            self.inputs.push((String::new(), vec![], input));
        }
        for (relation, (_, batches)) in &install.streams {
            for rows in batches.iter().skip(worker.index()).step_by(worker.peers()) {
                self.append(relation, rows, &Run::Constant(1), install.start);
                worker.step();
            }
        }
    }

    fn close(&mut self, name: &str, tick: Tick) -> ClosedView {
        let (rows, errors) = self.arrangement.chunks();
        let changes = if self.is_watched { self.arrangement.take_changes() } else { vec![] };
        self.arrangement.compact(tick);
        let mut counted = Counted::default();
        for counters in self.counters.values() {
            counted.add(&Counted {
                state_bytes: counters.read_state_bytes(),
                late_rows: counters.late_rows.load(Ordering::Relaxed),
                expired_rows: counters.expired_rows.load(Ordering::Relaxed),
                ..Counted::default()
            });
        }
        ClosedView { name: name.to_owned(), rows, errors, changes, counted }
    }
}

/// Builds the dataflow of a view and gives it its history, of which each worker takes its share.
fn build(
    worker: &mut Worker,
    install: &Install,
    views: &mut BTreeMap<String, Running>,
) -> Result<Running, String> {
    let dataflow = worker.next_dataflow_index();
    let probe = Handle::new();
    let mut inputs: Vec<(String, Vec<String>, Input)> = vec![];
    let mut counters = HashMap::new();
    let mut constants: Vec<(RecordBatch, Input)> = vec![];
    let arrangement = worker.dataflow::<Tick, _, _>(|scope| {
        let mut unknown = None;
        let open = |input: &mut Input| {
            let rows = input.to_stream(scope);
            input.advance_to(install.start);
            Collection { rows, errors: empty(scope) }
        };
        let mut sources = |relation: &str, columns: &[usize]| {
            if let Some(view) = views.get_mut(relation) {
                let collection = view.arrangement.import(scope, install.as_of);
                return crate::delta::map::project(scope, collection, columns);
            }
            let mut input = Input::new_with_builder();
            let collection = open(&mut input);
            match install.streams.get(relation).map(|(schema, _)| column_names(schema, columns)) {
                Some(names) => inputs.push((relation.to_owned(), names, input)),
                None => unknown = Some(relation.to_owned()),
            }
            collection
        };
        // Rows that are always there come through an input too: its frontier is the clock.
        let mut constant_rows = |rows: &RecordBatch| {
            let mut input = Input::new_with_builder();
            let collection = open(&mut input);
            constants.push((rows.clone(), input));
            collection
        };
        let environment = Environment {
            sources: &mut sources,
            constants: &mut constant_rows,
            start: install.start,
            counters: &mut counters,
        };
        let collection = install.plan.render(scope, environment).map_err(|e| e.to_string())?;
        match unknown {
            Some(relation) => Err(format!("it reads \"{relation}\", which is not there")),
            None => Ok(Arrangement::new(scope, collection, &probe)),
        }
    });
    let arrangement = match arrangement {
        Ok(arrangement) => arrangement,
        Err(reason) => {
            worker.drop_dataflow(dataflow);
            return Err(reason);
        }
    };
    let mut running = Running { dataflow, inputs, probe, arrangement, counters, is_watched: false };
    running.fill(worker, install, constants);
    Ok(running)
}

/// The names of the columns of `schema` at `columns`.
fn column_names(schema: &SchemaRef, columns: &[usize]) -> Vec<String> {
    columns.iter().map(|c| schema.field(*c).name().clone()).collect()
}
