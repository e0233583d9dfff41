//! Operators that see whole ticks, in order.
//!
//! Time is totally ordered, so an operator with state needs no more than this: once the frontier
//! has passed a tick, everything that happens at it is here, and one call turns it into the changes
//! of the result at the same tick. Everything about capabilities and frontiers is in this file.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use timely::container::NoopBuilder;
use timely::dataflow::Scope;
use timely::dataflow::channels::pact::DistributorPact;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::frontier::MutableAntichain;

use super::collection::{ERRORS, Edge};
use super::route::{Route, Router, earliest};
use super::updates::{Diff, Run, Tick, Updates};

/// Rows with their diffs, all at one tick.
pub type Part = (RecordBatch, Run<Diff>);

/// What a tick changes in a result.
#[derive(Default)]
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

    /// More changes at the tick that [`tick`](Self::tick) was called for last; asked for until there are none. Other
    /// operators work in between, so that an operator with very much to say need not say it all at once.
    fn rest(&mut self) -> Option<Changes> {
        None
    }

    /// The next tick at which the result changes without any input, if one is known.
    fn due(&self) -> Option<Tick> {
        None
    }
}

/// Runs `operator` over `inputs`, each spread over the workers by its route; also calls it at tick
/// `first`, input or not, where one is given. The outputs are its rows and its errors.
pub fn by_tick<'scope, O: Operator>(
    scope: Scope<'scope, Tick>,
    name: &str,
    inputs: Vec<(Edge<'scope>, Route)>,
    first: Option<Tick>,
    mut operator: O,
) -> (Edge<'scope>, Edge<'scope>) {
    let worker = scope.worker().index();
    let mut builder = OperatorBuilder::new(name.to_owned(), scope);
    let activator = scope.activator_for(builder.operator_info().address);
    let (rows_out, rows) = builder.new_output::<Updates>();
    let (errors_out, errors) = builder.new_output::<Updates>();
    let mut handles: Vec<_> = inputs
        .into_iter()
        .map(|(edge, route)| {
            builder.new_input(edge, DistributorPact(move |peers| Router::new(route, worker, peers)))
        })
        .collect();
    let mut outputs = Outputs {
        rows: OutputBuilder::from(rows_out),
        errors: OutputBuilder::from(errors_out),
        rows_capability: None,
        errors_capability: None,
    };
    builder.build(move |mut capabilities| {
        let mut pending: BTreeMap<Tick, Vec<Vec<Part>>> = BTreeMap::new();
        if let Some(first) = first {
            pending.insert(first, vec![Vec::new(); handles.len()]);
            outputs.errors_capability = capabilities.pop();
            outputs.rows_capability = capabilities.pop();
        }
        drop(capabilities);
        let inputs = handles.len();
        // The tick that the operator has not said everything about.
        let mut unfinished: Option<Tick> = None;
        move |frontiers| {
            for (input, handle) in handles.iter_mut().enumerate() {
                handle.for_each(|capability, updates| {
                    let updates = std::mem::take(updates);
                    outputs.hold(earliest(&updates), |port| capability.retain(port));
                    for (time, rows, diffs) in updates.by_time() {
                        pending.entry(time).or_insert_with(|| vec![Vec::new(); inputs])[input]
                            .push((rows, diffs));
                    }
                });
            }
            let upper = upper_of(frontiers);
            loop {
                if let Some(tick) = unfinished.take()
                    && let Some(changes) = operator.rest()
                {
                    outputs.send(tick, changes);
                    unfinished = Some(tick);
                    activator.activate();
                    return;
                }
                let complete = pending.first_entry().filter(|e| upper.is_none_or(|u| *e.key() < u));
                let (tick, parts) = match (complete, operator.due(), upper) {
                    (Some(entry), ..) => entry.remove_entry(),
                    (None, Some(due), Some(upper)) if due < upper => (upper - 1, vec![Vec::new(); inputs]),
                    _ => break,
                };
                outputs.send(tick, operator.tick(tick, parts));
                unfinished = Some(tick);
            }
            let next = [pending.keys().next().copied(), operator.due().filter(|_| upper.is_some())];
            outputs.release(next.into_iter().flatten().min());
        }
    });
    (rows, errors)
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
    let messages: ArrayRef = std::sync::Arc::new(StringArray::from(messages));
    let rows = RecordBatch::try_new(ERRORS.clone(), vec![messages]).expect("the schema of errors");
    Updates::at(rows, tick, Run::from_vec(diffs))
}
