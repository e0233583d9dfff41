//! Collections kept as sorted Arrow chunks, to be read and to be imported elsewhere.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use differential_dataflow::operators::arrange::TraceAgent;
use differential_dataflow::trace::chunk::{ChunkBatch, ChunkSpine};
use differential_dataflow::trace::{Description, ExertionLogic, Trace, TraceReader};
use timely::container::{CapacityContainerBuilder, NoopBuilder};
use timely::dataflow::Scope;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::operators::probe::{Handle, Probe};
use timely::progress::Antichain;
use timely::progress::frontier::AntichainRef;

use super::chunk::ArrowChunk;
use super::collection::{Collection, Edge};
use super::stats::{Counters, Stopwatch};
use super::updates::{Run, Tick, Updates};

type Spine = ChunkSpine<ArrowChunk>;
type Batch = Rc<ChunkBatch<ArrowChunk>>;

/// A collection's rows and errors of one worker, indexed by row and compacted behind its readers.
pub struct Arrangement {
    rows: TraceAgent<Spine>,
    errors: TraceAgent<Spine>,
    /// The changes of rows since they were last taken, once somebody watches.
    changes: Rc<RefCell<Option<Vec<ArrowChunk>>>>,
}

impl Arrangement {
    /// Arranges `collection`, each worker what it has; `probe` sees when a tick is complete.
    pub fn new<'scope>(
        scope: Scope<'scope, Tick>,
        collection: Collection<'scope>,
        probe: &Handle<Tick>,
    ) -> Self {
        Arrangement::counted(scope, collection, probe, Arc::default())
    }

    /// As [`new`](Self::new), with the updates of rows that it takes in and those that are left of them once they
    /// are summed counted by `counters`.
    pub fn counted<'scope>(
        scope: Scope<'scope, Tick>,
        collection: Collection<'scope>,
        probe: &Handle<Tick>,
        counters: Arc<Counters>,
    ) -> Self {
        let changes = Rc::default();
        Arrangement {
            rows: arrange(scope, collection.rows, probe, Rc::clone(&changes), counters),
            errors: arrange(scope, collection.errors, probe, Rc::default(), Arc::default()),
            changes,
        }
    }

    /// Collects the changes of rows from now on, for [`take_changes`](Self::take_changes).
    pub fn watch(&mut self) {
        self.changes.borrow_mut().get_or_insert_default();
    }

    /// The changes of rows since this was last called.
    pub fn take_changes(&mut self) -> Vec<ArrowChunk> {
        self.changes.borrow_mut().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The chunks of rows, and of errors, as they are now.
    pub fn chunks(&self) -> (Vec<ArrowChunk>, Vec<ArrowChunk>) {
        (chunks(&self.rows), chunks(&self.errors))
    }

    /// Lets history before `tick` be compacted: nobody reads at an earlier time any more. The tick
    /// must be closed.
    pub fn compact(&mut self, tick: Tick) {
        for trace in [&mut self.rows, &mut self.errors] {
            trace.set_logical_compaction(AntichainRef::new(&[tick]));
            trace.set_physical_compaction(AntichainRef::new(&[tick]));
        }
    }

    /// The collection in another dataflow of this worker: as it is at `as_of`, then as it changes.
    pub fn import<'scope>(&mut self, scope: Scope<'scope, Tick>, as_of: Tick) -> Collection<'scope> {
        let rows = self.rows.import(scope).stream;
        let errors = self.errors.import(scope).stream;
        Collection { rows: flatten(rows, as_of), errors: flatten(errors, as_of) }
    }
}

fn chunks(trace: &TraceAgent<Spine>) -> Vec<ArrowChunk> {
    let mut chunks = vec![];
    trace.map_batches(|batch| chunks.extend(batch.chunks.iter().cloned()));
    chunks
}

/// An operator that forms one batch for each advance of its input, and merges them in a spine.
fn arrange<'scope>(
    scope: Scope<'scope, Tick>,
    input: Edge<'scope>,
    probe: &Handle<Tick>,
    changes: Rc<RefCell<Option<Vec<ArrowChunk>>>>,
    counters: Arc<Counters>,
) -> TraceAgent<Spine> {
    let mut builder = OperatorBuilder::new("Arrange".to_owned(), scope);
    let info = builder.operator_info();
    let (output, stream) = builder.new_output::<Vec<Batch>>();
    let mut input = builder.new_input(input, Pipeline);
    let mut output = OutputBuilder::<_, CapacityContainerBuilder<Vec<Batch>>>::from(output);
    let activator = scope.activator_for(Rc::clone(&info.address));
    let mut spine = Spine::new(info.clone(), None, Some(activator));
    if let Some(logic) = scope.worker().config().get::<ExertionLogic>("differential/default_exert_logic") {
        spine.set_exert_logic(logic.clone());
    }
    let (agent, mut writer) = TraceAgent::new(spine, info, None);
    builder.build(move |capabilities| {
        let mut capability = capabilities.into_iter().next();
        let mut pending: Vec<Updates> = vec![];
        let mut lower = Antichain::from_elem(0);
        move |frontiers| {
            let mut stopwatch = Stopwatch::new(&counters);
            input.for_each(|_, updates| {
                stopwatch.begin();
                pending.push(std::mem::take(updates));
            });
            let upper = frontiers[0].frontier();
            if upper != lower.borrow() {
                if !pending.is_empty() {
                    stopwatch.begin();
                }
                let ready = split_ready(&mut pending, upper);
                let upper = upper.to_owned();
                let chunks = ArrowChunk::form(&ready);
                counters.took(ready.iter().map(Updates::len).sum());
                counters.gave(chunks.iter().map(|chunk| chunk.updates().len()).sum());
                if let Some(changes) = changes.borrow_mut().as_mut() {
                    changes.extend(chunks.iter().cloned());
                }
                let hint = capability.as_ref().map(|c| *c.time());
                if let (false, Some(capability)) = (chunks.is_empty(), &capability) {
                    let since = Antichain::from_elem(0);
                    let description = Description::new(lower.clone(), upper.clone(), since);
                    let batch = Rc::new(ChunkBatch::new(chunks, description));
                    writer.insert(batch.clone(), hint);
                    output.activate().session(capability).give(batch);
                } else {
                    writer.seal(upper.clone());
                }
                match (upper.first(), &mut capability) {
                    (Some(time), Some(capability)) => capability.downgrade(time),
                    _ => capability = None,
                }
                lower = upper;
            }
            writer.exert();
        }
    });
    stream.probe_with(probe);
    agent
}

/// Takes out of `pending` what is before `upper`.
fn split_ready(pending: &mut Vec<Updates>, upper: AntichainRef<Tick>) -> Vec<Updates> {
    let is_ready = |time: Tick| !upper.less_equal(&time);
    let mut ready = vec![];
    for updates in std::mem::take(pending) {
        for (time, rows, diffs) in updates.by_time() {
            let side = if is_ready(time) { &mut ready } else { &mut *pending };
            side.push(Updates { rows, times: Run::Constant(time), diffs });
        }
    }
    ready
}

/// The updates of a stream of batches, none earlier than `as_of`.
fn flatten<'scope>(batches: timely::dataflow::Stream<'scope, Tick, Vec<Batch>>, as_of: Tick) -> Edge<'scope> {
    batches.unary::<NoopBuilder<Updates>, _, _, _>(Pipeline, "Flatten", move |_, _| {
        move |input, output| {
            input.for_each(|capability, batches| {
                let chunks = batches.drain(..).flat_map(|batch| batch.chunks.clone());
                let mut output = output.session_with_builder(&capability);
                for chunk in chunks {
                    let mut updates = chunk.updates().clone();
                    updates.times = updates.times.map(|time| time.max(as_of));
                    output.give_container(&mut updates);
                }
            });
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use timely::container::NoopBuilder;
    use timely::dataflow::InputHandle;
    use timely::dataflow::operators::generic::operator::empty;

    use super::*;
    use crate::delta::chunk::rows_at;
    use crate::delta::testing::{Bag, bag, history, present_at, row_texts, rows_of};

    /// An arrangement imported by a dataflow built at any later tick equals the original from then
    /// on, whatever was compacted before; and both can be dropped.
    #[test]
    fn an_import_equals_its_original() {
        for seed in 0..30 {
            let mut rng = StdRng::seed_from_u64(seed);
            let history = history(&mut rng, 1, true);
            let late = seed as usize % history.len();
            let results: Arc<Mutex<Vec<(Tick, Bag)>>> = Arc::default();
            let (shared, given) = (results.clone(), history.clone());
            timely::execute_directly(move |worker| {
                let (probe, second_probe) = (Handle::new(), Handle::new());
                let mut input = InputHandle::<Tick, NoopBuilder<Updates>>::new_with_builder();
                let mut original = worker.dataflow::<Tick, _, _>(|scope| {
                    let collection = Collection { rows: input.to_stream(scope), errors: empty(scope) };
                    Arrangement::new(scope, collection, &probe)
                });
                let mut imported: Option<(usize, Arrangement)> = None;
                for (index, (tick, changes)) in given.iter().enumerate() {
                    let diffs = Run::from_vec(changes[0].iter().map(|c| c.1).collect());
                    let rows = rows_of(changes[0].iter().map(|c| &c.0));
                    input.send_batch(&mut Updates::at(rows, *tick, diffs));
                    input.advance_to(tick + 1);
                    while probe.less_than(&(tick + 1))
                        || (imported.is_some() && second_probe.less_than(&(tick + 1)))
                    {
                        worker.step();
                    }
                    original.compact(*tick);
                    if let Some((_, imported)) = &mut imported {
                        shared.lock().unwrap().push((*tick, bag(&rows_at(&imported.chunks().0, *tick))));
                        imported.compact(*tick);
                    }
                    if index == late {
                        let dataflow = worker.next_dataflow_index();
                        let arrangement = worker.dataflow::<Tick, _, _>(|scope| {
                            let collection = original.import(scope, *tick);
                            Arrangement::new(scope, collection, &second_probe)
                        });
                        imported = Some((dataflow, arrangement));
                    }
                }
                if let Some((dataflow, arrangement)) = imported {
                    drop(arrangement);
                    worker.drop_dataflow(dataflow);
                }
                assert_eq!(worker.installed_dataflows().len(), 1, "a dropped import leaves nothing behind");
            });
            let results = std::mem::take(&mut *results.lock().unwrap());
            assert_eq!(results.len(), history.len() - 1 - late);
            for (tick, actual) in results {
                let mut expected = Bag::new();
                for row in present_at(&history, 0, tick) {
                    *expected.entry(row_texts(&row)).or_default() += 1;
                }
                assert_eq!(actual, expected, "seed {seed}, tick {tick}");
            }
        }
    }
}
