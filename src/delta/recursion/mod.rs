//! Iteration: what follows from some rows, and from what follows, until nothing new does.
//!
//! Round 0 has the rows of the base; each further round has what the body makes of the rows of the round
//! before. The result is all rounds together. With [`Recursion::is_distinct`] a row is part of the first round
//! only that gives it, so that a loop among the rows ends: the working table of SQL's WITH RECURSIVE, round by
//! round as a batch engine computes it.
//!
//! # Mechanism
//!
//! The round of a row is its last column, and the body is an ordinary [`Plan`] over rows with
//! that column: one join serves all rounds, the rows of the relations that it reads are kept once, and a change
//! of theirs meets the rows of every round at once. Rows go round a timely loop whose time is a [`Round`]: tick
//! first, then round, totally ordered. Since a tick ends before the next one begins, it needs no partial order:
//! operators in a loop are the same functions of whole times as outside, and hold one state instead of a
//! history of times.
//!
//! What circulates are changes since the tick before of each round taken by itself. So a retraction is exact in
//! cycles, too: a row that is there only because of rows of later rounds loses these in ascending order of the
//! rounds, and itself with them. The work of a tick goes with the number of rows that come, go or move to another
//! round, not with the size of the result.
//!
//! # Limits
//!
//! [`ROUNDS_MAX`] and [`ROWS_MAX`]: what goes beyond is held back, and is an error of the result until it is gone.

mod first_rounds;
mod gate;
mod head;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use timely::dataflow::Scope;
use timely::dataflow::operators::{Concatenate, ConnectLoop, Enter, Feedback, Leave};

pub use self::gate::{endless, too_many};
use self::head::Head;
use super::collection::Collection;
use super::map::project;
use super::operator::{Site, Time, scheduled};
use super::outlet::Outlet;
use super::plan::{Environment, NodeId, Plan};
use super::route::Route;
use super::stats::Counters;
use super::updates::Tick;

/// The most rounds after the first; what a further round has is an error.
pub const ROUNDS_MAX: u32 = 10_000;

/// The most rows of all rounds together, in a view on one worker.
pub const ROWS_MAX: i64 = 10_000_000;

/// The name of the column that holds the round.
pub const ROUND: &str = "$round";

/// A round of a tick.
pub type Round = (Tick, u32);

impl Time for Round {
    fn tick(&self) -> Tick {
        self.0
    }

    fn begin(tick: Tick) -> Self {
        (tick, 0)
    }

    fn previous(&self) -> Option<Self> {
        None
    }
}

/// How a round follows from the one before.
#[derive(Clone, Debug)]
pub struct Recursion {
    /// What it is called.
    pub name: String,
    /// Computes a round, with its number in the last column. Reads the source [`previous`] for the round before,
    /// and the sources [`import`] 0, 1, ... for collections from outside.
    pub body: Plan,
    /// Whether a row is part of the first round only that gives it.
    pub is_distinct: bool,
    /// The schema of a round: the rows, then the column [`ROUND`].
    pub schema: SchemaRef,
}

/// The source that stands for the round before, in the recursion called `name`.
pub fn previous(name: &str) -> String {
    format!("{name} of the round before")
}

/// The source that stands for the collection at place `index` of those from outside.
pub fn import(index: usize) -> String {
    format!("input {index}")
}

/// `rows` with a column for the round.
pub fn with_round(rows: &SchemaRef) -> SchemaRef {
    let round = Arc::new(Field::new(ROUND, DataType::UInt32, true));
    Arc::new(Schema::new(rows.fields().iter().cloned().chain([round]).collect::<Vec<_>>()))
}

impl Recursion {
    /// Tries every operator once.
    pub fn check(&self) -> DataFusionResult<()> {
        Head::new(self, Arc::default())?;
        self.body.check()
    }

    /// How many columns a row has, the round apart.
    pub fn columns(&self) -> usize {
        self.schema.fields().len() - 1
    }
}

/// Times at which a recursion can be built.
pub trait Nest: Time {
    /// All rounds of `spec` from `base` on, each row as often as it is in any; `imports` are the collections from
    /// outside that it reads. `counters` are of the rounds, those of the body are put into `within`.
    fn recursion<'scope>(
        scope: Scope<'scope, Self>,
        spec: &Recursion,
        base: Collection<'scope, Self>,
        imports: Vec<Collection<'scope, Self>>,
        counters: Arc<Counters>,
        within: &mut HashMap<NodeId, Arc<Counters>>,
    ) -> DataFusionResult<Collection<'scope, Self>>;
}

impl Nest for Round {
    fn recursion<'scope>(
        _: Scope<'scope, Self>,
        spec: &Recursion,
        _: Collection<'scope, Self>,
        _: Vec<Collection<'scope, Self>>,
        _: Arc<Counters>,
        _: &mut HashMap<NodeId, Arc<Counters>>,
    ) -> DataFusionResult<Collection<'scope, Self>> {
        let name = &spec.name;
        Err(DataFusionError::NotImplemented(format!("the recursion \"{name}\" within a recursion")))
    }
}

impl Nest for Tick {
    fn recursion<'scope>(
        scope: Scope<'scope, Self>,
        spec: &Recursion,
        base: Collection<'scope, Self>,
        imports: Vec<Collection<'scope, Self>>,
        counters: Arc<Counters>,
        within: &mut HashMap<NodeId, Arc<Counters>>,
    ) -> DataFusionResult<Collection<'scope, Self>> {
        let head = Head::new(spec, counters.clone())?;
        let rows: Vec<usize> = (0..spec.columns()).collect();
        // All rounds of a row meet on one worker.
        let route = if rows.is_empty() { Route::First } else { Route::Columns(rows.clone()) };
        let all = scope.scoped::<Round, _, _>("Recursion", |inner| {
            let (handle, cycle) = inner.feedback((0, 1));
            let candidates = inner.concatenate([base.rows.enter(inner), cycle]);
            let no_errors = timely::dataflow::operators::generic::operator::empty(inner);
            let candidates = Collection { rows: candidates, errors: no_errors.clone() };
            let site =
                Site { scope: inner, name: "Rounds", counters: counters.clone(), outlet: Outlet::default() };
            let Collection { rows, errors } = scheduled(site, vec![(candidates, route)], None, head);
            let current = Collection { rows: rows.clone(), errors: no_errors };
            let imports: Vec<_> = imports
                .into_iter()
                .map(|c| Collection { rows: c.rows.enter(inner), errors: c.errors.enter(inner) })
                .collect();
            let environment = Environment {
                sources: &mut |relation, columns, counters| {
                    let place = (0..imports.len()).find(|index| import(*index) == relation);
                    let source = place.map_or(&current, |index| &imports[index]);
                    project(inner, source.clone(), columns, counters)
                },
                constants: &mut |_, _| unreachable!("constants come from outside"),
                imports: HashMap::new(),
                start: 0,
                resume: None,
                counters: within,
                outlets: &mut HashMap::new(),
            };
            let next = spec.body.render(inner, environment)?;
            next.rows.connect_loop(handle);
            let errors = inner.concatenate([errors, next.errors]).leave(scope);
            Ok::<_, DataFusionError>(Collection { rows: rows.leave(scope), errors })
        })?;
        let errors = scope.concatenate([all.errors, base.errors]);
        Ok(project(scope, Collection { rows: all.rows, errors }, &rows, Arc::default()))
    }
}
