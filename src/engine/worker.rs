//! A worker thread: dataflows, and the commands that feed and close them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use differential_dataflow::trace::ExertionLogic;
use timely::container::NoopBuilder;
use timely::dataflow::InputHandle;
use timely::dataflow::operators::generic::operator::empty;
use timely::dataflow::operators::probe::Handle;
use timely::worker::Worker;
use tokio::sync::Notify;

use super::operators::{Import, OperatorId, Operators};
use super::sharing::Needed;
use super::stream::Kept;
use crate::delta::arrange::Arrangement;
use crate::delta::chunk::ArrowChunk;
use crate::delta::collection::Collection;
use crate::delta::outlet::Outlet;
use crate::delta::plan::{Environment, NodeId};
use crate::delta::resume::{self, Resume};
use crate::delta::stats::Counters;
use crate::delta::updates::{Diff, Run, Tick, Updates};
use crate::history::HistoryError;

/// How long a worker with nothing to do sleeps between looks at its spines.
const IDLE: Duration = Duration::from_millis(100);

/// How many updates a spine merges whenever its operator runs, while it has more to merge than it should: without it
/// merges would never finish.
const MERGE_EFFORT: usize = 1000;

/// Under which name arrangements look up how much to merge.
const EXERTION: &str = "differential/default_exert_logic";

/// What a worker is told.
pub(super) enum Command {
    /// Rows of a stream or of a user's table, at the open tick.
    Append { relation: String, rows: RecordBatch, diffs: Run<Diff>, tick: Tick },
    /// Finish all that happens up to and at `tick`, and hand over what readers may see; then wake whoever waits for it.
    Close { tick: Tick, reply: Sender<Closed>, wake: Arc<Notify> },
    /// Build a view's dataflow.
    Install { install: Arc<Install>, reply: Sender<Result<(), String>> },
    /// Hand over what the operators of all dataflows have, as they are after the tick that was closed last.
    Save { reply: Sender<Result<Vec<(OperatorId, RecordBatch)>, String>> },
    /// Collect the changes of a view from now on.
    Watch { name: String },
    /// Take a view's dataflow away, but for what others need of it and of those taken away before.
    Drop { name: String, needed: Arc<Needed> },
    /// End the thread.
    Stop,
}

/// A view to build.
pub(super) struct Install {
    pub name: String,
    /// Its plan, and what each operator counts.
    pub operators: Arc<Operators>,
    /// The streams that it reads: their columns, and what is stored of them, the open tick included.
    pub streams: BTreeMap<String, (SchemaRef, Kept)>,
    /// The open tick: history counts as its input.
    pub start: Tick,
    /// The closed tick, at which other views are imported.
    pub as_of: Tick,
    /// What was saved of it before the process began, if anything was.
    pub resume: Option<Resume>,
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
}

type Input = InputHandle<Tick, NoopBuilder<Updates>>;

/// A view on one worker.
struct Running {
    dataflow: Dataflow,
    probe: Handle<Tick>,
    arrangement: Arrangement,
    is_watched: bool,
}

/// A dataflow on one worker.
struct Dataflow {
    /// Its number among all dataflows of the engine, and in timely.
    number: u64,
    index: usize,
    inputs: Vec<TableInput>,
    counters: HashMap<NodeId, Arc<Counters>>,
    outlets: HashMap<NodeId, Outlet>,
}

/// The dataflows of one worker: those of views, and those whose views are gone while others read from them.
#[derive(Default)]
struct Dataflows {
    views: BTreeMap<String, Running>,
    retired: Vec<Dataflow>,
}

/// One use of a stream table by a view.
struct TableInput {
    /// The table; constants have none.
    relation: String,
    /// The names of the columns used.
    columns: Vec<String>,
    input: Input,
    counters: Arc<Counters>,
}

/// Starts a worker thread for each of `commands`. A panic in one marks all as lost.
pub(super) fn start(
    commands: Vec<Receiver<Command>>,
    is_lost: Arc<AtomicBool>,
) -> Result<timely::communication::WorkerGuards<()>, String> {
    let mut config = timely::Config::process(commands.len());
    differential_dataflow::configure(&mut config.worker, &differential_dataflow::Config::default());
    let exertion: ExertionLogic = Arc::new(|layers| has_to_merge(layers).then_some(MERGE_EFFORT));
    config.worker.set(EXERTION.to_owned(), exertion);
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

/// Whether a spine of `layers` (the place, the batches and the updates of each) goes on merging: it finishes what it has
/// begun, and joins its layers once those behind the largest hold half as much, so that each update is merged but a few
/// times. To join them whenever there is time would merge a large view anew with every tick.
fn has_to_merge(layers: &[(usize, usize, usize)]) -> bool {
    let is_merging = layers.iter().any(|(_, batches, _)| *batches > 1);
    let largest = layers.iter().map(|(_, _, updates)| *updates).max().unwrap_or_default();
    let all: usize = layers.iter().map(|(_, _, updates)| *updates).sum();
    is_merging || (all - largest) * 2 > largest
}

/// Marks the engine as lost when dropped by a panic.
struct LostGuard(Arc<AtomicBool>);

impl Drop for LostGuard {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

fn run(worker: &mut Worker, commands: &Receiver<Command>, is_lost: &AtomicBool) {
    let mut dataflows = Dataflows::default();
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
                dataflows.all().for_each(|dataflow| dataflow.append(&relation, &rows, &diffs, tick));
                worker.step();
            }
            Command::Close { tick, reply, wake } => {
                for input in dataflows.all().flat_map(|dataflow| &mut dataflow.inputs) {
                    input.input.advance_to(tick + 1);
                }
                while dataflows.views.values().any(|v| v.probe.less_than(&(tick + 1))) {
                    if is_lost.load(Ordering::Acquire) {
                        return;
                    }
                    worker.step_or_park(Some(Duration::from_millis(1)));
                }
                let views = dataflows.views.iter_mut().map(|(name, view)| view.close(name, tick)).collect();
                let _ = reply.send(Closed { views });
                wake.notify_one();
            }
            Command::Install { install, reply } => {
                let result = build(worker, &install, &mut dataflows);
                let _ =
                    reply.send(result.map(|view| drop(dataflows.views.insert(install.name.clone(), view))));
            }
            Command::Save { reply } => {
                let saved = dataflows.all().flat_map(|dataflow| dataflow.save()).collect();
                let _ = reply.send(saved);
            }
            Command::Watch { name } => {
                if let Some(view) = dataflows.views.get_mut(&name) {
                    view.arrangement.watch();
                    view.is_watched = true;
                }
            }
            Command::Drop { name, needed } => dataflows.retire(worker, &name, &needed),
            Command::Stop => return,
        }
    }
}

impl TableInput {
    /// `rows` at `tick`, each with its diff.
    fn send(&mut self, rows: RecordBatch, diffs: Run<Diff>, tick: Tick) {
        self.counters.gave(rows.num_rows());
        self.input.send_batch(&mut Updates::at(rows, tick, diffs));
    }
}

impl Dataflows {
    fn all(&mut self) -> impl Iterator<Item = &mut Dataflow> {
        self.views.values_mut().map(|view| &mut view.dataflow).chain(&mut self.retired)
    }

    /// Where the changes of `operator` can be taken from.
    fn outlet(&self, operator: OperatorId) -> Option<Outlet> {
        let mut all = self.views.values().map(|view| &view.dataflow).chain(&self.retired);
        all.find(|dataflow| dataflow.number == operator.dataflow)?.outlets.get(&operator.node).cloned()
    }

    /// Takes view `name` away; of all dataflows whose views are gone only what is `needed` stays.
    fn retire(&mut self, worker: &mut Worker, name: &str, needed: &Needed) {
        self.retired.extend(self.views.remove(name).map(|view| view.dataflow));
        for mut dataflow in std::mem::take(&mut self.retired) {
            match needed.get(&dataflow.number) {
                Some(nodes) => {
                    dataflow.keep(nodes);
                    self.retired.push(dataflow);
                }
                None => {
                    let index = dataflow.index;
                    drop(dataflow);
                    worker.drop_dataflow(index);
                }
            }
        }
    }
}

impl Dataflow {
    /// Ends the operators whose nodes are not among `nodes`, and gives up their state.
    fn keep(&mut self, nodes: &BTreeSet<NodeId>) {
        let is_gone = |(node, _): &(&NodeId, &Outlet)| !nodes.contains(node);
        self.outlets.iter().filter(is_gone).for_each(|(_, outlet)| outlet.switch_off());
        let counters = &self.counters;
        let is_read = |input: &TableInput| {
            nodes.iter().any(|node| counters.get(node).is_some_and(|c| Arc::ptr_eq(c, &input.counters)))
        };
        self.inputs.retain(is_read);
    }

    /// What its operators have, where they can be saved.
    fn save(&self) -> impl Iterator<Item = Result<(OperatorId, RecordBatch), String>> + '_ {
        self.outlets.iter().filter_map(|(node, outlet)| {
            let id = OperatorId { dataflow: self.number, node: *node };
            Some(outlet.save()?.map(|state| (id, state)).map_err(|error| error.to_string()))
        })
    }

    fn append(&mut self, relation: &str, rows: &RecordBatch, diffs: &Run<Diff>, tick: Tick) {
        for input in self.inputs.iter_mut().filter(|input| input.relation == relation) {
            // A reader of files may have left out columns that no view reads: names tell, not places.
            let columns = input.columns.iter();
            let places: Result<Vec<usize>, _> = columns.map(|c| rows.schema().index_of(c)).collect();
            let rows = places.and_then(|places| rows.project(&places));
            input.send(rows.expect("a batch with the columns of its table"), diffs.clone(), tick);
        }
    }

    /// Takes in the constants, on the first worker, and this worker's share of the history.
    fn fill(
        &mut self,
        worker: &mut Worker,
        install: &Install,
        constants: Vec<(RecordBatch, TableInput)>,
    ) -> Result<(), HistoryError> {
        for (rows, mut input) in constants {
            if worker.index() == 0 && rows.num_rows() > 0 {
                input.send(rows, Run::Constant(1), install.start);
            }
            self.inputs.push(input);
        }
        for (relation, (_, kept)) in &install.streams {
            let names = self.columns_of(relation);
            for (file, count) in kept.past.parts().skip(worker.index()).step_by(worker.peers()) {
                for rows in file.some_columns(count, &names)? {
                    self.append(relation, &rows?, &Run::Constant(1), install.start);
                    worker.step();
                }
            }
            for rows in kept.memory.iter().skip(worker.index()).step_by(worker.peers()) {
                self.append(relation, rows, &Run::Constant(1), install.start);
                worker.step();
            }
        }
        Ok(())
    }

    /// The columns of `relation` that are used.
    fn columns_of(&self, relation: &str) -> Vec<String> {
        let inputs = self.inputs.iter().filter(|input| input.relation == relation);
        let names: BTreeSet<&String> = inputs.flat_map(|input| &input.columns).collect();
        names.into_iter().cloned().collect()
    }
}

impl Running {
    fn close(&mut self, name: &str, tick: Tick) -> ClosedView {
        let (rows, errors) = self.arrangement.chunks();
        let changes = if self.is_watched { self.arrangement.take_changes() } else { vec![] };
        self.arrangement.compact(tick);
        ClosedView { name: name.to_owned(), rows, errors, changes }
    }
}

/// Builds the dataflow of a view and gives it its history, of which each worker takes its share.
fn build(worker: &mut Worker, install: &Install, dataflows: &mut Dataflows) -> Result<Running, String> {
    let (dataflow, index) = (worker.next_dataflow_index(), worker.index());
    let probe = Handle::new();
    let mut inputs: Vec<TableInput> = vec![];
    let mut constants: Vec<(RecordBatch, TableInput)> = vec![];
    let Operators { plan, nodes, result, imports } = install.operators.as_ref();
    let imports: Vec<(&Import, Option<Outlet>)> =
        imports.iter().map(|import| (import, dataflows.outlet(import.from))).collect();
    let counters = nodes.iter().map(|operator| operator.counters[index].clone());
    let mut counters: HashMap<NodeId, Arc<Counters>> = counters.enumerate().collect();
    let mut outlets: HashMap<NodeId, Outlet> = HashMap::new();
    let arrangement = worker.dataflow::<Tick, _, _>(|scope| {
        let mut unknown = None;
        let open = |input: &mut Input| {
            let rows = input.to_stream(scope);
            input.advance_to(install.start);
            Collection { rows, errors: empty(scope) }
        };
        let mut sources = |relation: &str, columns: &[usize], counters: Arc<Counters>| {
            if let Some(view) = dataflows.views.get_mut(relation) {
                let collection = view.arrangement.import(scope, install.as_of);
                return crate::delta::map::project(scope, collection, columns, counters);
            }
            let mut input = Input::new_with_builder();
            let collection = open(&mut input);
            match install.streams.get(relation).map(|(schema, _)| column_names(schema, columns)) {
                Some(columns) => {
                    inputs.push(TableInput { relation: relation.to_owned(), columns, input, counters });
                }
                None => unknown = Some(relation.to_owned()),
            }
            collection
        };
        // Rows that are always there come through an input too: its frontier is the clock.
        let mut constant_rows = |rows: &RecordBatch, counters: Arc<Counters>| {
            let mut input = Input::new_with_builder();
            let collection = open(&mut input);
            let input = TableInput { relation: String::new(), columns: vec![], input, counters };
            constants.push((rows.clone(), input));
            collection
        };
        let mut imported = HashMap::new();
        for (import, outlet) in &imports {
            let schema = plan.schemas[import.node].clone();
            let collection = outlet
                .as_ref()
                .and_then(|outlet| outlet.import(scope, schema, install.start, import.needs_snapshot))
                .ok_or_else(|| format!("what it shares with other views is gone: {:?}", import.from))?;
            imported.insert(import.node, collection);
        }
        let environment = Environment {
            sources: &mut sources,
            constants: &mut constant_rows,
            imports: imported,
            start: install.start,
            resume: install.resume.as_ref(),
            counters: &mut counters,
            outlets: &mut outlets,
        };
        let collection = plan.render(scope, environment).map_err(|e| e.to_string())?;
        let collection = match &install.resume {
            Some(saved) => resume::result(scope, collection, saved),
            None => collection,
        };
        match unknown {
            Some(relation) => Err(format!("it reads \"{relation}\", which is not there")),
            None => Ok(Arrangement::counted(scope, collection, &probe, result.counters[index].clone())),
        }
    });
    let arrangement = match arrangement {
        Ok(arrangement) => arrangement,
        Err(reason) => {
            worker.drop_dataflow(dataflow);
            return Err(reason);
        }
    };
    let number = install.operators.dataflow();
    let mut dataflow = Dataflow { number, index: dataflow, inputs, counters, outlets };
    if let Err(error) = dataflow.fill(worker, install, constants) {
        let index = dataflow.index;
        drop(dataflow);
        worker.drop_dataflow(index);
        return Err(error.to_string());
    }
    Ok(Running { dataflow, probe, arrangement, is_watched: false })
}

/// The names of the columns of `schema` at `columns`.
fn column_names(schema: &SchemaRef, columns: &[usize]) -> Vec<String> {
    columns.iter().map(|c| schema.field(*c).name().clone()).collect()
}
