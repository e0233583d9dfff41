//! Operators that see whole ticks, in order.
//!
//! Time is totally ordered, so an operator with state needs no more than this: once the frontier
//! has passed a tick, everything that happens at it is here, and one call turns it into the changes
//! of the result at the same tick. Everything about capabilities and frontiers is in this file.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use timely::container::NoopBuilder;
use timely::dataflow::Scope;
use timely::dataflow::channels::pact::{DistributorPact, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::{Capability, Concatenate};
use timely::progress::frontier::MutableAntichain;

use super::collection::{Collection, ERRORS, Edge};
use super::outlet::Outlet;
use super::route::{Route, Router, earliest};
use super::stats::{Counters, Stopwatch};
use super::updates::{Diff, Run, Tick, Updates};

/// Rows with their diffs, all at one tick.
pub type Part = (RecordBatch, Run<Diff>);

/// What a tick changes in a result.
#[derive(Clone, Default)]
pub struct Changes {
    /// Changed rows.
    pub rows: Vec<Part>,
    /// Changed errors: the message and by how much its count changes.
    pub errors: Vec<(String, Diff)>,
}

impl Changes {
    /// Adds `rows` with `diffs`, unless there are none.
    pub fn push(&mut self, rows: RecordBatch, diffs: Run<Diff>) {
        if rows.num_rows() > 0 {
            self.rows.push((rows, diffs));
        }
    }
}

/// An operator with state, as a function of whole ticks.
pub trait Operator: 'static {
    /// The changes of the result at `tick`, given all that changes in each input at that tick.
    /// Ticks come in ascending order, each at most once.
    fn tick(&mut self, tick: Tick, inputs: Vec<Vec<Part>>) -> Changes;

    /// The next tick at which the result changes without any input, if one is known.
    fn due(&self) -> Option<Tick> {
        None
    }

    /// The rows of the result as they are now, each with its multiplicity, where the state can tell them:
    /// no later change takes away what is not among them.
    fn snapshot(&mut self) -> Option<Vec<Part>> {
        None
    }
}

/// Where an operator is built, and who looks at it.
pub struct Site<'a, 'scope> {
    /// The dataflow.
    pub scope: Scope<'scope, Tick>,
    /// What it is called in timely's logs.
    pub name: &'a str,
    /// What it counts.
    pub counters: Arc<Counters>,
    /// Where other dataflows take its changes from.
    pub outlet: Outlet,
}

/// What has come for a tick that is not whole.
#[derive(Default)]
struct Pending {
    /// Of each input; nothing at all where only errors came.
    inputs: Vec<Vec<Part>>,
    errors: Vec<(String, Diff)>,
}

/// Runs `operator` over `inputs`, each spread over the workers by its route; also calls it at tick
/// `first`, input or not, where one is given. Errors of the inputs come out beside its own.
pub fn by_tick<'scope, O: Operator>(
    site: Site<'_, 'scope>,
    inputs: Vec<(Collection<'scope>, Route)>,
    first: Option<Tick>,
    operator: O,
) -> Collection<'scope> {
    let Site { scope, name, counters, outlet } = site;
    let worker = scope.worker().index();
    let mut builder = OperatorBuilder::new(name.to_owned(), scope);
    let (rows_out, rows) = builder.new_output::<Updates>();
    let (errors_out, errors) = builder.new_output::<Updates>();
    let failed = one(scope, inputs.iter().map(|(collection, _)| collection.errors.clone()).collect());
    let mut handles: Vec<_> = inputs
        .into_iter()
        .map(|(collection, route)| {
            let pact = DistributorPact(move |peers| Router::new(route, worker, peers));
            builder.new_input(collection.rows, pact)
        })
        .collect();
    let mut failed = builder.new_input(failed, Pipeline);
    let mut outputs = Outputs {
        rows: OutputBuilder::from(rows_out),
        errors: OutputBuilder::from(errors_out),
        rows_capability: None,
        errors_capability: None,
        counters: counters.clone(),
        outlet: outlet.clone(),
    };
    let operator = Rc::new(RefCell::new(operator));
    outlet.on_snapshot({
        let operator = operator.clone();
        move || operator.borrow_mut().snapshot()
    });
    builder.build(move |mut capabilities| {
        let mut operator = Some(operator);
        let mut pending: BTreeMap<Tick, Pending> = BTreeMap::new();
        let inputs = handles.len();
        if let Some(first) = first {
            pending.insert(first, Pending { inputs: vec![Vec::new(); inputs], errors: vec![] });
            outputs.errors_capability = capabilities.pop();
            outputs.rows_capability = capabilities.pop();
        }
        drop(capabilities);
        move |frontiers| {
            let mut stopwatch = Stopwatch::new(&counters);
            for (input, handle) in handles.iter_mut().enumerate() {
                handle.for_each(|capability, updates| {
                    stopwatch.begin();
                    let updates = std::mem::take(updates);
                    outputs.hold(earliest(&updates), |port| capability.retain(port));
                    for (time, rows, diffs) in updates.by_time() {
                        let pending = pending.entry(time).or_default();
                        pending.inputs.resize(inputs, Vec::new());
                        pending.inputs[input].push((rows, diffs));
                    }
                });
            }
            failed.for_each(|capability, updates| {
                let updates = std::mem::take(updates);
                outputs.hold(earliest(&updates), |port| capability.retain(port));
                for (time, message, diff) in errors_of(&updates) {
                    pending.entry(time).or_default().errors.push((message, diff));
                }
            });
            if outlet.is_off() {
                pending.clear();
                operator = None;
            }
            let Some(operator) = &operator else { return outputs.release(None) };
            let mut operator = operator.borrow_mut();
            let upper = upper_of(frontiers);
            while let Some(entry) = pending.first_entry().filter(|e| upper.is_none_or(|u| *e.key() < u)) {
                stopwatch.begin();
                let (tick, mut part) = entry.remove_entry();
                let mut changes = Changes::default();
                if !part.inputs.is_empty() {
                    counters.took(part.inputs.iter().flatten().map(|(rows, _)| rows.num_rows()).sum());
                    changes = operator.tick(tick, part.inputs);
                }
                changes.errors.append(&mut part.errors);
                outputs.send(tick, changes);
            }
            if let (Some(due), Some(upper)) = (operator.due(), upper)
                && due < upper
            {
                stopwatch.begin();
                outputs.send(upper - 1, operator.tick(upper - 1, vec![Vec::new(); inputs]));
            }
            let next = [pending.keys().next().copied(), operator.due().filter(|_| upper.is_some())];
            outputs.release(next.into_iter().flatten().min());
            outlet.advance(upper);
        }
    });
    Collection { rows, errors }
}

/// All of `edges` as one.
fn one<'scope>(scope: Scope<'scope, Tick>, mut edges: Vec<Edge<'scope>>) -> Edge<'scope> {
    match edges.len() {
        1 => edges.swap_remove(0),
        _ => scope.concatenate(edges),
    }
}

/// The least time that may still come on any of the inputs; `None` once all are closed.
fn upper_of(frontiers: &[MutableAntichain<Tick>]) -> Option<Tick> {
    frontiers.iter().filter_map(|f| f.frontier().first().copied()).min()
}

/// Both outputs of an operator, with the capabilities that let it send later.
struct Outputs {
    rows: OutputBuilder<Tick, NoopBuilder<Updates>>,
    errors: OutputBuilder<Tick, NoopBuilder<Updates>>,
    rows_capability: Option<Capability<Tick>>,
    errors_capability: Option<Capability<Tick>>,
    counters: Arc<Counters>,
    outlet: Outlet,
}

impl Outputs {
    /// Keeps the right to send at `time`.
    fn hold(&mut self, time: Tick, retain: impl Fn(usize) -> Capability<Tick>) {
        for (port, held) in [&mut self.rows_capability, &mut self.errors_capability].into_iter().enumerate() {
            if held.as_ref().is_none_or(|c| time < *c.time()) {
                *held = Some(retain(port).delayed(&time));
            }
        }
    }

    /// Gives up the right to send before `next`, or at all.
    fn release(&mut self, next: Option<Tick>) {
        for held in [&mut self.rows_capability, &mut self.errors_capability] {
            match (next, held.as_mut()) {
                (Some(next), Some(capability)) => capability.downgrade(&next),
                _ => *held = None,
            }
        }
    }

    fn send(&mut self, tick: Tick, changes: Changes) {
        self.counters.gave(changes.rows.iter().map(|(rows, _)| rows.num_rows()).sum());
        self.counters.failed(changes.errors.len());
        self.outlet.send(tick, &changes);
        if let Some(capability) = &self.rows_capability {
            let mut output = self.rows.activate();
            let mut session = output.session_with_builder(capability);
            for (rows, diffs) in changes.rows {
                session.give_container(&mut Updates::at(rows, tick, diffs));
            }
        }
        if let (false, Some(capability)) = (changes.errors.is_empty(), &self.errors_capability) {
            let mut output = self.errors.activate();
            output.session_with_builder(capability).give_container(&mut error_updates(tick, changes.errors));
        }
    }
}

/// `errors` as updates of an error edge at `tick`.
pub(crate) fn error_updates(tick: Tick, errors: Vec<(String, Diff)>) -> Updates {
    let (messages, diffs): (Vec<_>, Vec<_>) = errors.into_iter().unzip();
    let messages: ArrayRef = Arc::new(StringArray::from(messages));
    let rows = RecordBatch::try_new(ERRORS.clone(), vec![messages]).expect("the schema of errors");
    Updates::at(rows, tick, Run::from_vec(diffs))
}

/// The updates of an error edge, one by one.
fn errors_of(updates: &Updates) -> impl Iterator<Item = (Tick, String, Diff)> + '_ {
    let messages = updates.rows.column(0).as_string::<i32>();
    (0..updates.len())
        .map(move |row| (updates.times.get(row), messages.value(row).to_owned(), updates.diffs.get(row)))
}
