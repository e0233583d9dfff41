//! Operators that see whole ticks, in order.
//!
//! Time is totally ordered, so an operator with state needs no more than this: once the frontier
//! has passed a tick, everything that happens at it is here, and one call turns it into the changes
//! of the result at the same tick. In a loop the same is true of each round of a tick. Everything about
//! capabilities and frontiers is in this file.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use datafusion::error::Result as DataFusionResult;
use timely::container::NoopBuilder;
use timely::dataflow::Scope;
use timely::dataflow::channels::pact::{DistributorPact, Pipeline};
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::dataflow::operators::{Capability, Concatenate};
use timely::order::TotalOrder;
use timely::progress::Timestamp;
use timely::progress::frontier::MutableAntichain;

use super::collection::{Collection, ERRORS, Edge};
use super::outlet::Outlet;
use super::route::{Route, Router};
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

/// A timestamp: a tick, or a [round](super::recursion::Round) of a loop within one. Totally ordered.
pub trait Time: Timestamp + TotalOrder {
    /// The tick that it is, or is part of.
    fn tick(&self) -> Tick;

    /// The first time of `tick`.
    fn begin(tick: Tick) -> Self;

    /// The last time before this one; `None` where nothing falls due by itself.
    fn previous(&self) -> Option<Self>;
}

impl Time for Tick {
    fn tick(&self) -> Tick {
        *self
    }

    fn begin(tick: Tick) -> Self {
        tick
    }

    fn previous(&self) -> Option<Self> {
        self.checked_sub(1)
    }
}

/// An operator with state, as a function of whole ticks.
pub trait Operator: 'static {
    /// The changes of the result at `tick`, given all that changes in each input at that tick.
    /// Ticks come in ascending order, each at most once; in a loop once a round, with what changes in that round.
    fn tick(&mut self, tick: Tick, inputs: Vec<Vec<Part>>) -> Changes;

    /// More changes at the tick that [`tick`](Self::tick) was called for last; asked for until there are none. Other
    /// operators work in between, so that an operator with very much to say need not say it all at once.
    fn rest(&mut self) -> Option<Changes> {
        None
    }

    /// The next tick at which the result changes without any input, if one is known.
    fn due(&self) -> Option<Tick> {
        None
    }

    /// The rows of the result as they are now, each with its multiplicity, where the state can tell them:
    /// no later change takes away what is not among them.
    fn snapshot(&mut self) -> Option<Vec<Part>> {
        None
    }

    /// The result as it is now, as changes of an empty one; asked for where the state was [saved](Self::save).
    fn current(&mut self) -> Changes {
        Changes { rows: self.snapshot().unwrap_or_default(), errors: vec![] }
    }

    /// The state, for one like it to [go on](super::resume) from in another process, where it can be saved.
    fn save(&mut self) -> Option<DataFusionResult<RecordBatch>> {
        None
    }

    /// Whether what is an error of an input at `tick` is one of the result.
    fn passes_errors(&self, _tick: Tick) -> bool {
        true
    }
}

/// Where an operator is built, and who looks at it.
pub struct Site<'a, 'scope, T: Time> {
    /// The dataflow.
    pub scope: Scope<'scope, T>,
    /// What it is called in timely's logs.
    pub name: &'a str,
    /// What it counts.
    pub counters: Arc<Counters>,
    /// Where other dataflows take its changes from.
    pub outlet: Outlet,
}

/// An operator that says itself when it sees what.
pub(super) trait Scheduled<T: Time>: 'static {
    /// `updates`, which came at `time`, by the times at which they are to be seen: none before `time`.
    fn split(&self, time: &T, updates: Updates) -> Vec<(T, Part)>;

    /// The changes of the result at `time`, given all that is to be seen of each input at that time. What is put
    /// into `later` is seen again, as part of the first input, at a later time.
    fn step(&mut self, time: &T, inputs: Vec<Vec<Part>>, later: &mut Vec<(T, Part)>) -> Changes;

    /// More changes at the time that [`step`](Self::step) was called for last; asked for until there are none.
    fn rest(&mut self) -> Option<Changes> {
        None
    }

    /// The next tick at which the result changes without any input, if one is known.
    fn due(&self) -> Option<Tick>;

    /// As that of an [`Operator`].
    fn snapshot(&mut self) -> Option<Vec<Part>> {
        None
    }

    /// As that of an [`Operator`].
    fn save(&mut self) -> Option<DataFusionResult<RecordBatch>> {
        None
    }

    /// As that of an [`Operator`].
    fn passes_errors(&self, _time: &T) -> bool {
        true
    }
}

/// An operator by ticks sees everything when it happens.
struct ByTick<O>(O);

impl<T: Time, O: Operator> Scheduled<T> for ByTick<O> {
    fn split(&self, time: &T, updates: Updates) -> Vec<(T, Part)> {
        let at = |tick: Tick| if tick > time.tick() { T::begin(tick) } else { time.clone() };
        updates.by_time().into_iter().map(|(tick, rows, diffs)| (at(tick), (rows, diffs))).collect()
    }

    fn step(&mut self, time: &T, inputs: Vec<Vec<Part>>, _: &mut Vec<(T, Part)>) -> Changes {
        self.0.tick(time.tick(), inputs)
    }

    fn rest(&mut self) -> Option<Changes> {
        self.0.rest()
    }

    fn due(&self) -> Option<Tick> {
        self.0.due()
    }

    fn snapshot(&mut self) -> Option<Vec<Part>> {
        self.0.snapshot()
    }

    fn save(&mut self) -> Option<DataFusionResult<RecordBatch>> {
        self.0.save()
    }

    fn passes_errors(&self, time: &T) -> bool {
        self.0.passes_errors(time.tick())
    }
}

/// What has come for a time that is not whole.
#[derive(Default)]
struct Pending {
    /// Of each input; nothing at all where only errors came.
    inputs: Vec<Vec<Part>>,
    errors: Vec<(String, Diff)>,
}

/// Runs `operator` over `inputs`, each spread over the workers by its route; also calls it at tick
/// `first`, input or not, where one is given. Errors of the inputs come out beside its own, when their
/// time is whole.
pub fn by_tick<'scope, T: Time, O: Operator>(
    site: Site<'_, 'scope, T>,
    inputs: Vec<(Collection<'scope, T>, Route)>,
    first: Option<Tick>,
    operator: O,
) -> Collection<'scope, T> {
    scheduled(site, inputs, first, ByTick(operator))
}

/// The same for an operator that says itself when it sees what.
pub(super) fn scheduled<'scope, T: Time>(
    site: Site<'_, 'scope, T>,
    inputs: Vec<(Collection<'scope, T>, Route)>,
    first: Option<Tick>,
    operator: impl Scheduled<T>,
) -> Collection<'scope, T> {
    let Site { scope, name, counters, outlet } = site;
    let worker = scope.worker().index();
    let mut builder = OperatorBuilder::new(name.to_owned(), scope);
    let activator = scope.activator_for(builder.operator_info().address);
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
    outlet.on_save({
        let operator = operator.clone();
        move || operator.borrow_mut().save()
    });
    builder.build(move |mut capabilities| {
        let mut operator = Some(operator);
        let mut pending: BTreeMap<T, Pending> = BTreeMap::new();
        let inputs = handles.len();
        let idle = move || vec![Vec::new(); inputs];
        if let Some(first) = first {
            pending.insert(T::begin(first), Pending { inputs: idle(), errors: vec![] });
            outputs.errors_capability = capabilities.pop();
            outputs.rows_capability = capabilities.pop();
        }
        drop(capabilities);
        let mut later = vec![];
        // The tick that the operator has not said everything about.
        let mut unfinished: Option<T> = None;
        move |frontiers| {
            if outlet.is_off() {
                operator = None;
                pending.clear();
            }
            let Some(operator) = &operator else {
                handles.iter_mut().for_each(|handle| handle.for_each(|_, _| {}));
                failed.for_each(|_, _| {});
                return outputs.release(None);
            };
            let mut stopwatch = Stopwatch::new(&counters);
            let mut operator = operator.borrow_mut();
            for (input, handle) in handles.iter_mut().enumerate() {
                handle.for_each(|capability, updates| {
                    stopwatch.begin();
                    let parts = operator.split(capability.time(), std::mem::take(updates));
                    if let Some(earliest) = parts.iter().map(|(time, _)| time).min() {
                        outputs.hold(earliest, |port| capability.retain(port));
                    }
                    for (time, part) in parts {
                        pending.entry(time).or_default().of(input, inputs).push(part);
                    }
                });
            }
            failed.for_each(|capability, updates| {
                for (time, error) in errors_of(capability.time(), updates) {
                    outputs.hold(&time, |port| capability.retain(port));
                    pending.entry(time).or_default().errors.push(error);
                }
            });
            let upper = upper_of(frontiers);
            loop {
                if let Some(time) = unfinished.take() {
                    stopwatch.begin();
                    if let Some(changes) = operator.rest() {
                        outputs.send(&time, changes);
                        unfinished = Some(time);
                        activator.activate();
                        return;
                    }
                }
                let complete = pending.first_entry().filter(|e| upper.as_ref().is_none_or(|u| e.key() < u));
                let due = operator.due().map(T::begin);
                let last = upper.as_ref().filter(|upper| due.is_some_and(|due| due < **upper));
                let (time, part) = match (complete, last.and_then(Time::previous)) {
                    (Some(entry), _) => entry.remove_entry(),
                    (None, Some(last)) => (last, Pending { inputs: idle(), errors: vec![] }),
                    _ => break,
                };
                stopwatch.begin();
                if !part.errors.is_empty() && operator.passes_errors(&time) {
                    outputs.send(&time, Changes { rows: vec![], errors: part.errors });
                }
                if part.inputs.is_empty() {
                    continue;
                }
                counters.took(part.inputs.iter().flatten().map(|(rows, _)| rows.num_rows()).sum());
                outputs.send(&time, operator.step(&time, part.inputs, &mut later));
                for (time, part) in later.drain(..) {
                    pending.entry(time).or_default().of(0, inputs).push(part);
                }
                unfinished = Some(time);
            }
            let due = operator.due().filter(|_| upper.is_some()).map(T::begin);
            outputs.release(pending.keys().next().cloned().into_iter().chain(due).min());
            outlet.advance(upper.map(|upper| upper.tick()));
        }
    });
    Collection { rows, errors }
}

impl Pending {
    /// What came of `input` out of `inputs`.
    fn of(&mut self, input: usize, inputs: usize) -> &mut Vec<Part> {
        self.inputs.resize(inputs, Vec::new());
        &mut self.inputs[input]
    }
}

/// All of `edges` as one.
fn one<'scope, T: Time>(scope: Scope<'scope, T>, mut edges: Vec<Edge<'scope, T>>) -> Edge<'scope, T> {
    match edges.len() {
        1 => edges.swap_remove(0),
        _ => scope.concatenate(edges),
    }
}

/// The least time that may still come on any of the inputs; `None` once all are closed.
fn upper_of<T: Time>(frontiers: &[MutableAntichain<T>]) -> Option<T> {
    frontiers.iter().filter_map(|f| f.frontier().first().cloned()).min()
}

/// Both outputs of an operator, with the capabilities that let it send later.
struct Outputs<T: Time> {
    rows: OutputBuilder<T, NoopBuilder<Updates>>,
    errors: OutputBuilder<T, NoopBuilder<Updates>>,
    rows_capability: Option<Capability<T>>,
    errors_capability: Option<Capability<T>>,
    counters: Arc<Counters>,
    outlet: Outlet,
}

impl<T: Time> Outputs<T> {
    /// Keeps the right to send at `time`.
    fn hold(&mut self, time: &T, retain: impl Fn(usize) -> Capability<T>) {
        for (port, held) in [&mut self.rows_capability, &mut self.errors_capability].into_iter().enumerate() {
            if held.as_ref().is_none_or(|c| time < c.time()) {
                *held = Some(retain(port).delayed(time));
            }
        }
    }

    /// Gives up the right to send before `next`, or at all.
    fn release(&mut self, next: Option<T>) {
        for held in [&mut self.rows_capability, &mut self.errors_capability] {
            match (&next, held.as_mut()) {
                (Some(next), Some(capability)) => capability.downgrade(next),
                _ => *held = None,
            }
        }
    }

    /// Sends `changes` at `time`.
    fn send(&mut self, time: &T, changes: Changes) {
        let tick = time.tick();
        self.counters.gave(changes.rows.iter().map(|(rows, _)| rows.num_rows()).sum());
        self.counters.failed(changes.errors.len());
        self.outlet.send(tick, &changes);
        if let (false, Some(held)) = (changes.rows.is_empty(), &self.rows_capability) {
            let (capability, mut output) = (held.delayed(time), self.rows.activate());
            let mut session = output.session_with_builder(&capability);
            for (rows, diffs) in changes.rows {
                session.give_container(&mut Updates::at(rows, tick, diffs));
            }
        }
        if let (false, Some(held)) = (changes.errors.is_empty(), &self.errors_capability) {
            let (capability, mut output) = (held.delayed(time), self.errors.activate());
            output.session_with_builder(&capability).give_container(&mut error_updates(tick, changes.errors));
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

/// The updates of an error edge that came at `time`, each with the time that it belongs to.
fn errors_of<T: Time>(time: &T, updates: &Updates) -> Vec<(T, (String, Diff))> {
    let messages = updates.rows.column(0).as_string::<i32>();
    let error = |row: usize| {
        let tick = updates.times.get(row);
        let at = if tick > time.tick() { T::begin(tick) } else { time.clone() };
        (at, (messages.value(row).to_owned(), updates.diffs.get(row)))
    };
    (0..updates.len()).map(error).collect()
}
