//! Dataflows that go on from what was saved of another like them.
//!
//! Between two ticks the operators of a dataflow that [can](super::operator::Operator::save) are saved, and so are the rows of its result. A
//! dataflow that is built later, perhaps in another process and on another number of workers, goes on from there: what
//! happens up to the tick of the state is in it already and is passed over, and what happens after it changes the same
//! result in the same way. Operators that are not saved have their state again once their inputs have come once more: what
//! a saved operator has comes at the first tick, as if all of it had come then, and of the rows of a source those that
//! [`Plan::reach`](super::plan::Plan::reach) says.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use datafusion::error::Result as DataFusionResult;
use timely::dataflow::Scope;

use super::aggregate::Aggregate;
use super::collection::Collection;
use super::operator::{Changes, Operator, Part, Site, by_tick};
use super::outlet::Outlet;
use super::plan::NodeId;
use super::route::Route;
use super::updates::{Diff, Tick};

/// What a dataflow goes on from: its state at the end of a tick.
#[derive(Clone, Debug, Default)]
pub struct Resume {
    /// The tick.
    pub as_of: Tick,
    /// The first tick of the dataflow: at it, all that was saved is there.
    pub start: Tick,
    /// What was saved of operators, by their node: what each worker had.
    pub states: HashMap<NodeId, Vec<RecordBatch>>,
    /// The rows of the result.
    pub rows: Vec<Part>,
    /// Why the result is none, and how often.
    pub errors: Vec<(String, Diff)>,
}

/// An operator that can take in what was saved of one like it.
pub(super) trait Load: Operator {
    /// Takes in a part of what was saved, before the first tick.
    ///
    /// # Errors
    ///
    /// Where it is not the state of such an operator.
    fn load(&mut self, saved: &RecordBatch) -> DataFusionResult<()>;
}

impl Load for Aggregate {
    fn load(&mut self, saved: &RecordBatch) -> DataFusionResult<()> {
        self.load_groups(saved)
    }
}

/// `operator` of `node`, with its share of what was saved of it if anything was: it has to be called at the tick that
/// is given then. `route` is the one of its input, and it runs on `worker`, an index out of so many.
pub(super) fn go_on(
    mut operator: impl Load,
    resume: Option<&Resume>,
    node: NodeId,
    route: &Route,
    (index, peers): (usize, usize),
) -> DataFusionResult<(Box<dyn Operator>, Option<Tick>)> {
    let saved = resume.and_then(|resume| Some((resume, resume.states.get(&node)?)));
    let Some((resume, parts)) = saved else { return Ok((Box::new(operator), None)) };
    for (from, part) in parts.iter().enumerate() {
        operator.load(&route.share(part, from, index, peers))?;
    }
    let resumed = Resumed { operator, as_of: resume.as_of, is_told: false, has_begun: false };
    Ok((Box::new(resumed), Some(resume.start)))
}

/// `collection`, the result of a dataflow, as it goes on from what was saved of it.
pub fn result<'scope>(
    scope: Scope<'scope, Tick>,
    collection: Collection<'scope>,
    resume: &Resume,
) -> Collection<'scope> {
    // Whoever reads sums up what the workers have: the first may have it all.
    let is_first = scope.worker().index() == 0;
    let changes = Changes { rows: resume.rows.clone(), errors: resume.errors.clone() };
    let operator = ResumedResult { saved: is_first.then_some(changes), as_of: resume.as_of };
    let site = Site { scope, name: "Resume", counters: Default::default(), outlet: Outlet::default() };
    by_tick(site, vec![(collection, Route::Local)], Some(resume.start), operator)
}

/// An operator whose state is that of the end of tick `as_of`. At its first tick it tells what it has; it passes over what
/// comes up to that tick.
struct Resumed<O> {
    operator: O,
    as_of: Tick,
    is_told: bool,
    has_begun: bool,
}

impl<O: Operator> Operator for Resumed<O> {
    fn tick(&mut self, tick: Tick, inputs: Vec<Vec<Part>>) -> Changes {
        let mut changes = Changes::default();
        if !std::mem::replace(&mut self.is_told, true) {
            changes = self.operator.current();
        }
        self.has_begun = tick > self.as_of;
        if self.has_begun {
            let more = self.operator.tick(tick, inputs);
            changes.rows.extend(more.rows);
            changes.errors.extend(more.errors);
        }
        changes
    }

    fn rest(&mut self) -> Option<Changes> {
        if self.has_begun { self.operator.rest() } else { None }
    }

    fn due(&self) -> Option<Tick> {
        self.operator.due().map(|due| due.max(self.as_of + 1))
    }

    fn snapshot(&mut self) -> Option<Vec<Part>> {
        self.operator.snapshot()
    }

    fn current(&mut self) -> Changes {
        self.operator.current()
    }

    fn save(&mut self) -> Option<DataFusionResult<RecordBatch>> {
        self.operator.save()
    }
}

/// A result that is what was saved up to the end of tick `as_of`, and changes from then on.
struct ResumedResult {
    saved: Option<Changes>,
    as_of: Tick,
}

impl Operator for ResumedResult {
    fn tick(&mut self, tick: Tick, mut inputs: Vec<Vec<Part>>) -> Changes {
        let mut changes = self.saved.take().unwrap_or_default();
        if tick > self.as_of {
            changes.rows.extend(inputs.swap_remove(0));
        }
        changes
    }

    fn passes_errors(&self, tick: Tick) -> bool {
        tick > self.as_of
    }
}

impl Operator for Box<dyn Operator> {
    fn tick(&mut self, tick: Tick, inputs: Vec<Vec<Part>>) -> Changes {
        (**self).tick(tick, inputs)
    }

    fn rest(&mut self) -> Option<Changes> {
        (**self).rest()
    }

    fn due(&self) -> Option<Tick> {
        (**self).due()
    }

    fn snapshot(&mut self) -> Option<Vec<Part>> {
        (**self).snapshot()
    }

    fn current(&mut self) -> Changes {
        (**self).current()
    }

    fn save(&mut self) -> Option<DataFusionResult<RecordBatch>> {
        (**self).save()
    }

    fn passes_errors(&self, tick: Tick) -> bool {
        (**self).passes_errors(tick)
    }
}
