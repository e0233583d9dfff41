//! Changes of one operator read by other dataflows of the same worker.
//!
//! What an operator by ticks computes for one view, others may need too. Its [`Outlet`] hands each whole
//! tick to them: the batches themselves are shared, and so is the state behind them, which is kept once.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion::error::Result as DataFusionResult;
use timely::container::NoopBuilder;
use timely::dataflow::Scope;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::scheduling::Activator;

use super::collection::Collection;
use super::operator::{Changes, Part, error_updates};
use super::updates::{Tick, Updates};

/// Gives the present rows of an operator, where its state can tell them.
type Snapshot = Box<dyn FnMut() -> Option<Vec<Part>>>;

/// Gives the state of an operator, where it can be saved.
type Save = Box<dyn FnMut() -> Option<DataFusionResult<RecordBatch>>>;

/// Where the changes of an operator can be taken from. Clones are the same outlet.
#[derive(Clone, Default)]
pub struct Outlet(Rc<Shared>);

#[derive(Default)]
struct Shared {
    readers: RefCell<Vec<Reader>>,
    /// The first tick that is not whole yet; `None` once nothing comes any more.
    upper: Cell<Upper>,
    snapshot: RefCell<Option<Snapshot>>,
    save: RefCell<Option<Save>>,
    is_off: Cell<bool>,
}

/// The first tick that may still change; closed once none may.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Upper {
    Open(Tick),
    Closed,
}

impl Default for Upper {
    fn default() -> Self {
        Upper::Open(0)
    }
}

/// A dataflow that reads: its queue is gone once it is.
struct Reader {
    queue: Weak<RefCell<Queue>>,
    activator: Activator,
}

/// What a reader has not taken yet.
struct Queue {
    changes: VecDeque<(Tick, Changes)>,
    upper: Upper,
}

impl Outlet {
    /// Hands `changes` of the whole `tick` to those that read.
    pub(super) fn send(&self, tick: Tick, changes: &Changes) {
        if changes.rows.is_empty() && changes.errors.is_empty() {
            return;
        }
        self.0.each(|queue| queue.changes.push_back((tick, changes.clone())));
    }

    /// Tells those that read that all before `upper` is whole; `None`: nothing comes any more.
    pub(super) fn advance(&self, upper: Option<Tick>) {
        let upper = upper.map_or(Upper::Closed, Upper::Open);
        if self.0.upper.replace(upper) != upper {
            self.0.each(|queue| queue.upper = upper);
        }
    }

    /// Says how the present rows are found.
    pub(super) fn on_snapshot(&self, snapshot: impl FnMut() -> Option<Vec<Part>> + 'static) {
        *self.0.snapshot.borrow_mut() = Some(Box::new(snapshot));
    }

    /// Says how the state is saved.
    pub(super) fn on_save(&self, save: impl FnMut() -> Option<DataFusionResult<RecordBatch>> + 'static) {
        *self.0.save.borrow_mut() = Some(Box::new(save));
    }

    /// The state of the operator behind it, as it is after the last whole tick; `None` where it has none that can be saved.
    pub fn save(&self) -> Option<DataFusionResult<RecordBatch>> {
        self.0.save.borrow_mut().as_mut().and_then(|save| save())
    }

    /// Ends the operator behind it: nobody needs what it computes.
    pub fn switch_off(&self) {
        self.0.is_off.set(true);
        *self.0.snapshot.borrow_mut() = None;
        *self.0.save.borrow_mut() = None;
    }

    /// Whether the operator behind it has been ended.
    pub(super) fn is_off(&self) -> bool {
        self.0.is_off.get()
    }

    /// The collection in another dataflow of this worker, in the columns of `schema`: its rows at the last
    /// whole tick, dated `start`, where `needs_snapshot`; then its changes.
    ///
    /// `None` where present rows are needed and the operator cannot tell them. Errors that are present are not
    /// told: there must be none.
    pub fn import<'scope>(
        &self,
        scope: Scope<'scope, Tick>,
        schema: SchemaRef,
        start: Tick,
        needs_snapshot: bool,
    ) -> Option<Collection<'scope>> {
        let mut changes = VecDeque::new();
        if needs_snapshot {
            let rows = self.0.snapshot.borrow_mut().as_mut().and_then(|snapshot| snapshot())?;
            changes.push_back((start, Changes { rows, errors: vec![] }));
        }
        let queue = Rc::new(RefCell::new(Queue { changes, upper: self.0.upper.get() }));
        let (collection, activator) = replay(scope, schema, queue.clone());
        activator.activate();
        self.0.readers.borrow_mut().push(Reader { queue: Rc::downgrade(&queue), activator });
        Some(collection)
    }
}

impl Shared {
    /// Calls `f` for the queue of each dataflow that reads, and wakes it.
    fn each(&self, mut f: impl FnMut(&mut Queue)) {
        self.readers.borrow_mut().retain(|reader| {
            let Some(queue) = reader.queue.upgrade() else { return false };
            f(&mut queue.borrow_mut());
            reader.activator.activate();
            true
        });
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.each(|queue| queue.upper = Upper::Closed);
    }
}

/// An operator that gives what comes in `queue`.
fn replay<'scope>(
    scope: Scope<'scope, Tick>,
    schema: SchemaRef,
    queue: Rc<RefCell<Queue>>,
) -> (Collection<'scope>, Activator) {
    let mut builder = OperatorBuilder::new("Import".to_owned(), scope);
    let (rows_out, rows) = builder.new_output::<Updates>();
    let (errors_out, errors) = builder.new_output::<Updates>();
    let mut rows_out = OutputBuilder::<_, NoopBuilder<Updates>>::from(rows_out);
    let mut errors_out = OutputBuilder::<_, NoopBuilder<Updates>>::from(errors_out);
    let activator = scope.activator_for(builder.operator_info().address);
    builder.build(move |mut capabilities| {
        let mut held = capabilities.pop().zip(capabilities.pop());
        move |_frontiers| {
            let Some((errors_capability, rows_capability)) = &mut held else { return };
            let mut queue = queue.borrow_mut();
            for (tick, changes) in queue.changes.drain(..) {
                let mut output = rows_out.activate();
                let mut session = output.session_with_builder(&*rows_capability);
                for (rows, diffs) in changes.rows {
                    let rows = with_schema(rows, &schema);
                    session.give_container(&mut Updates::at(rows, tick, diffs));
                }
                if !changes.errors.is_empty() {
                    let mut output = errors_out.activate();
                    let mut session = output.session_with_builder(&*errors_capability);
                    session.give_container(&mut error_updates(tick, changes.errors));
                }
            }
            match queue.upper {
                Upper::Closed => held = None,
                Upper::Open(upper) => {
                    for capability in [errors_capability, rows_capability] {
                        if *capability.time() < upper {
                            capability.downgrade(&upper);
                        }
                    }
                }
            }
        }
    });
    (Collection { rows, errors }, activator)
}

/// The same columns under the names of `schema`.
fn with_schema(rows: RecordBatch, schema: &SchemaRef) -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), rows.columns().to_vec(), &options)
        .expect("columns of the types of the plan that reads them")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::{Arc, Mutex};

    use arrow::datatypes::{DataType, Field, Schema};
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    use timely::dataflow::InputHandle;
    use timely::dataflow::operators::generic::operator::empty;
    use timely::dataflow::operators::probe::Handle;
    use timely::worker::Worker;

    use super::*;
    use crate::delta::aggregate::{AggregateSpec, Function, GroupBySpec};
    use crate::delta::arrange::Arrangement;
    use crate::delta::chunk::{ArrowChunk, rows_at};
    use crate::delta::join::{JoinSpec, Unpaired};
    use crate::delta::plan::{Environment, Node, NodeId, Plan};
    use crate::delta::testing::{History, bag, history, plan, rows_of, schema};
    use crate::delta::updates::Run;

    /// A plan whose last node is the operator to be shared.
    fn join(pairs: bool, unpaired: [Unpaired; 2]) -> Plan {
        let sides = [0, 1].map(|side| pairs || unpaired[side] != Unpaired::Dropped);
        let columns = schema().fields().iter().cloned().collect::<Vec<_>>();
        let mut fields: Vec<Arc<Field>> =
            sides.iter().filter(|s| **s).flat_map(|_| columns.clone()).collect();
        if unpaired.contains(&Unpaired::Marked) {
            fields.push(Arc::new(Field::new("mark", DataType::Boolean, true)));
        }
        let schema_of_pairs = Arc::new(Schema::new(fields));
        let spec = JoinSpec {
            keys: [vec![0], vec![0]],
            null_equals_null: false,
            condition: None,
            pairs,
            unpaired,
            inputs: [schema(), schema()],
            schema: schema_of_pairs.clone(),
            retracts: [true; 2],
            horizon_ms: None,
        };
        plan(2, vec![(Node::Join { left: 0, right: 1, spec }, schema_of_pairs)])
    }

    fn aggregate(group_columns: usize) -> Plan {
        let count = AggregateSpec {
            function: Function::Count,
            arguments: vec![],
            filter: None,
            is_distinct: false,
            output: DataType::Int64,
        };
        let mut fields = schema().fields()[..group_columns].to_vec();
        fields.push(Arc::new(Field::new("count", DataType::Int64, false)));
        let output = Arc::new(Schema::new(fields));
        let spec = GroupBySpec {
            group_columns,
            aggregates: vec![count],
            input: schema(),
            schema: output.clone(),
            retracts: true,
            until: vec![],
            horizon_ms: None,
        };
        plan(2, vec![(Node::Aggregate { input: 0, spec }, output)])
    }

    fn plans() -> Vec<Plan> {
        use Unpaired::*;
        let distinct = Node::Distinct { input: 0, retracts: true, horizon_ms: None };
        vec![
            plan(2, vec![(distinct, schema())]),
            aggregate(0),
            aggregate(2),
            join(true, [Dropped, Dropped]),
            join(true, [Padded, Padded]),
            join(false, [IfMatched, Dropped]),
            join(false, [Dropped, IfUnmatched]),
            join(false, [Marked, Dropped]),
        ]
    }

    struct Built {
        index: usize,
        inputs: Vec<InputHandle<Tick, NoopBuilder<Updates>>>,
        arrangement: Arrangement,
        outlets: HashMap<NodeId, Outlet>,
        probe: Handle<Tick>,
    }

    /// The dataflow of `plan`, reading its last node from `outlet` where one is given.
    fn build(worker: &mut Worker, plan: &Plan, start: Tick, outlet: Option<(&Outlet, bool)>) -> Built {
        let (index, probe) = (worker.next_dataflow_index(), Handle::new());
        let mut inputs: Vec<_> = (0..2).map(|_| InputHandle::new_with_builder()).collect();
        let mut outlets = HashMap::new();
        let arrangement = worker.dataflow::<Tick, _, _>(|scope| {
            let edges: Vec<_> = inputs.iter_mut().map(|input| input.to_stream(scope)).collect();
            let mut sources = |name: &str, _: &[usize], _: Arc<_>| Collection {
                rows: edges[name.parse::<usize>().unwrap()].clone(),
                errors: empty(scope),
            };
            let last = plan.nodes.len() - 1;
            let imported = outlet.map(|(outlet, needs_snapshot)| {
                (last, outlet.import(scope, plan.schemas[last].clone(), start, needs_snapshot).unwrap())
            });
            let environment = Environment {
                sources: &mut sources,
                constants: &mut |_, _| unreachable!("no constants here"),
                imports: imported.into_iter().collect(),
                start,
                resume: None,
                counters: &mut HashMap::new(),
                outlets: &mut outlets,
            };
            let collection = plan.render(scope, environment).unwrap();
            Arrangement::new(scope, collection, &probe)
        });
        Built { index, inputs, arrangement, outlets, probe }
    }

    type Answers = Arc<Mutex<HashMap<Tick, [Vec<ArrowChunk>; 2]>>>;

    /// The original from the start, and a reader of it from the tick numbered `late` on, with its present rows unless
    /// nothing came yet.
    fn live(worker: &mut Worker, plan: &Plan, history: &History, late: usize, answers: &Answers) {
        let mut original = build(worker, plan, 0, None);
        let last = plan.nodes.len() - 1;
        let mut reader: Option<Built> = None;
        for (index, (tick, changes)) in history.iter().enumerate() {
            if index == late {
                let needs_snapshot = late > 0;
                let outlet = original.outlets[&last].clone();
                let built = build(worker, plan, *tick, Some((&outlet, needs_snapshot)));
                // All that it gets comes from the original.
                reader = Some(Built { inputs: vec![], ..built });
            }
            for (side, changes) in changes.iter().enumerate() {
                if worker.index() == side % worker.peers() {
                    let diffs = Run::from_vec(changes.iter().map(|c| c.1).collect());
                    let rows = rows_of(changes.iter().map(|c| &c.0));
                    original.inputs[side].send_batch(&mut Updates::at(rows, *tick, diffs));
                }
                original.inputs[side].advance_to(tick + 1);
            }
            while original.probe.less_than(&(tick + 1))
                || reader.as_ref().is_some_and(|reader| reader.probe.less_than(&(tick + 1)))
            {
                worker.step();
            }
            original.arrangement.compact(*tick);
            if let Some(reader) = &mut reader {
                let mut answers = answers.lock().unwrap();
                let entry = answers.entry(*tick).or_default();
                entry[0].extend(original.arrangement.chunks().0);
                entry[1].extend(reader.arrangement.chunks().0);
                reader.arrangement.compact(*tick);
            }
        }
        let Built { index, inputs, arrangement, outlets, .. } = original;
        drop((inputs, arrangement, outlets));
        worker.drop_dataflow(index);
        while reader.as_ref().is_some_and(|reader| !reader.probe.done()) {
            // What it read from is gone, so nothing can come any more.
            worker.step();
        }
        let reader = reader.unwrap();
        let index = reader.index;
        drop(reader);
        worker.drop_dataflow(index);
        assert_eq!(worker.installed_dataflows().len(), 0, "nothing is left behind");
    }

    #[test]
    fn a_reader_that_comes_later_sees_what_the_original_sees() {
        for seed in 0..12 {
            for (number, plan) in plans().into_iter().enumerate() {
                let mut random = StdRng::seed_from_u64(seed);
                let history = history(&mut random, 2, true);
                let late = random.random_range(0..history.len());
                let workers = 1 + seed as usize % 3;
                let answers = Answers::default();
                let (shared, given) = (answers.clone(), (plan, history));
                let guards = timely::execute(timely::Config::process(workers), move |worker| {
                    live(worker, &given.0, &given.1, late, &shared);
                });
                guards.unwrap().join().into_iter().for_each(|worker| worker.unwrap());
                let answers = std::mem::take(&mut *answers.lock().unwrap());
                assert!(!answers.is_empty());
                for (tick, [original, reader]) in answers {
                    let (original, reader) = (bag(&rows_at(&original, tick)), bag(&rows_at(&reader, tick)));
                    assert_eq!(reader, original, "seed {seed}, plan {number}, from {late}, tick {tick}");
                }
            }
        }
    }
}
