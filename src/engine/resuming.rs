//! Views that go on from the last checkpoint while the journal is played.
//!
//! A view that is created again as it was, at a tick before that of the checkpoint, has at once what it had there. What
//! happens up to the checkpoint changes nothing of it: rows of streams are needed for operators that are not saved alone,
//! and those are given that came within the reach of these.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::Ordering;

use arrow::array::AsArray;
use twox_hash::XxHash64;

use super::operators::{OperatorId, Operators};
use super::outbox::Outbox;
use super::state::View;
use super::stream::Kept;
use super::{Engine, EngineError};
use crate::checkpoint::{CheckpointError, Losses, OperatorKey, Saved};
use crate::delta::operator::Part;
use crate::delta::plan::{NodeId, Plan};
use crate::delta::resume::Resume;
use crate::delta::updates::{Diff, Tick};
use crate::sql::error::SqlError;

/// What is told where all rows of a view are there still.
const UNUSABLE: &str = "what was saved of a view cannot be used: it is computed anew";

/// A checkpoint that views go on from.
pub(super) struct Resuming {
    saved: Saved,
    /// The views that did.
    views: BTreeSet<String>,
    /// Those that were not found in it, though they were created before it was taken.
    begun: BTreeSet<String>,
    /// What operators that run now were then.
    previous: BTreeMap<OperatorId, OperatorKey>,
}

/// What a view goes on from.
pub(super) struct Found {
    pub resume: Resume,
    /// What ran for each operator of its plan.
    pub operators: Vec<(OperatorKey, Losses)>,
    /// Whether rows that are kept are of no use to it.
    pub needs_no_rows: bool,
}

/// What is shared between operators that run and those of a view which goes on: `None` for one that begins.
#[derive(Clone, Copy)]
pub(super) struct Before<'a> {
    /// What ran for each operator of the plan.
    pub operators: &'a [(OperatorKey, Losses)],
    /// What those that run now were.
    pub previous: &'a BTreeMap<OperatorId, OperatorKey>,
}

impl Before<'_> {
    /// Whether `node` of the plan was computed by what is `operator` now.
    pub fn was_shared(&self, node: NodeId, operator: OperatorId) -> bool {
        let then = self.operators.get(node).map(|(key, _)| key);
        then.is_some() && self.previous.get(&operator) == then
    }
}

impl Resuming {
    pub fn new(saved: Saved) -> Self {
        let (views, begun, previous) = Default::default();
        Resuming { saved, views, begun, previous }
    }

    /// The checkpoint.
    pub fn saved(&self) -> &Saved {
        &self.saved
    }

    /// Whether `view` has what comes at `tick` already, with all that its operators need of it.
    fn has(&self, view: &str, tick: Tick) -> bool {
        self.views.contains(view) && tick < self.saved.from_tick()
    }

    pub fn before<'a>(&'a self, found: &'a Found) -> Before<'a> {
        Before { operators: &found.operators, previous: &self.previous }
    }

    /// Takes note that `operators` go on from what was `found`.
    pub fn resumed(&mut self, name: &str, operators: &Operators, found: &Found) {
        self.views.insert(name.to_owned());
        for (operator, (key, losses)) in operators.nodes.iter().zip(&found.operators) {
            if operator.id.dataflow == operators.dataflow() {
                self.previous.insert(operator.id, *key);
                let counters = &operator.counters[0];
                counters.late_rows.fetch_add(losses.late_rows, Ordering::Relaxed);
                counters.expired_rows.fetch_add(losses.expired_rows, Ordering::Relaxed);
            }
        }
    }

    /// Takes note that the view `name` is gone.
    pub fn dropped(&mut self, name: &str) {
        self.views.remove(name);
        self.begun.remove(name);
    }
}

impl Engine {
    /// What the view `name`, created at tick `start`, goes on from; `None` where it begins.
    pub(super) fn found(&mut self, name: &str, view: &View) -> Result<Option<Found>, EngineError> {
        let start = self.open_tick();
        let Some(resuming) = self.resuming.as_mut().filter(|r| start <= r.saved.tick()) else {
            return Ok(None);
        };
        let found = find(&resuming.saved, name, view, start);
        if !matches!(found, Ok(Some(_))) {
            resuming.begun.insert(name.to_owned());
        }
        match found {
            Err(error) if !self.is_cut(view) => {
                tracing::warn!(%error, view = name, "{UNUSABLE}");
                Ok(None)
            }
            found => {
                found.map_err(|error| EngineError::Build { view: name.to_owned(), reason: error.to_string() })
            }
        }
    }

    /// Builds the dataflow of `view`, which goes on from what was `found`; or begins, where that cannot be used.
    pub(super) fn go_on(&mut self, name: &str, view: &View, found: Found) -> Result<(), EngineError> {
        let mut streams = self.kept(&view.plan);
        if found.needs_no_rows {
            streams.values_mut().for_each(|(_, kept)| *kept = Kept::default());
        }
        match self.install(name, view.plan.clone(), streams, Some(found)) {
            Err(error @ EngineError::Build { .. }) if !self.is_cut(view) => {
                tracing::warn!(%error, view = name, "{UNUSABLE}");
                if let Some(resuming) = &mut self.resuming {
                    resuming.dropped(name);
                    resuming.begun.insert(name.to_owned());
                }
                self.install(name, view.plan.clone(), self.kept(&view.plan), None)
            }
            installed => installed,
        }
    }

    /// Whether rows are gone of what `view` reads, so that it cannot be computed anew.
    fn is_cut(&self, view: &View) -> bool {
        view.plan.relations().iter().any(|relation| self.is_trimmed(relation))
    }

    /// Whether first rows of the stream `name` are gone.
    fn is_trimmed(&self, name: &str) -> bool {
        self.streams.get(name).is_some_and(|stream| stream.first_kept() > 0)
    }

    /// Whether no view needs the rows of stream `name` that came at `tick`: those that read it went on from a checkpoint.
    pub(super) fn is_passed_over(&self, name: &str, tick: Tick) -> bool {
        let mut readers = self.views.iter().filter(|(_, view)| view.plan.relations().contains(&name));
        readers.all(|(view, _)| self.resuming.as_ref().is_some_and(|resuming| resuming.has(view, tick)))
    }

    /// Has the `outbox` of sink `id`, created at tick `begin`, go on from the checkpoint, if it was there.
    pub(super) fn go_on_with(&self, id: u64, begin: Tick, outbox: &Outbox) -> Result<(), SqlError> {
        let Some(saved) = self.resuming.as_ref().map(Resuming::saved) else { return Ok(()) };
        let Some(sink) = saved.sink(id).filter(|_| begin <= saved.tick()) else { return Ok(()) };
        let open = saved.open_rows(sink).map_err(|error| SqlError::Engine(error.to_string()))?;
        outbox.go_on(saved.tick(), sink.failure.clone(), open);
        Ok(())
    }

    /// All has happened again that had happened. Views that are there, and read streams whose first rows are gone, but did
    /// not go on from the checkpoint, are told of: they were defined otherwise.
    ///
    /// # Errors
    ///
    /// Where the journal ends before the checkpoint.
    pub(super) fn end_resuming(&mut self) -> Result<(), EngineError> {
        let Some(resuming) = self.resuming.take() else { return Ok(()) };
        let tick = resuming.saved.tick();
        if self.closed < tick {
            return Err(EngineError::Ahead { checkpoint: tick, journal: self.closed });
        }
        let begun =
            self.views.iter().filter(|(name, view)| resuming.begun.contains(*name) && self.is_cut(view));
        for (view, _) in begun {
            tracing::warn!(
                view,
                "it is defined otherwise than it was: it has what is made of the rows that are kept"
            );
        }
        let views = resuming.views.len();
        tracing::info!(tick, views, "went on from a checkpoint");
        self.checkpoints.iter_mut().for_each(|checkpoints| checkpoints.resumed = Some((tick, views)));
        Ok(())
    }
}

/// What tells the definition of `view` from others.
pub(super) fn definition(view: &View) -> String {
    let names = view.schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>();
    let plan: &Plan = &view.plan;
    let text = format!("{}\n{:?}\n{names:?}\n{plan}", view.query, view.horizon_ms);
    format!("{:016x}", XxHash64::oneshot(0, text.as_bytes()))
}

fn find(saved: &Saved, name: &str, view: &View, start: Tick) -> Result<Option<Found>, CheckpointError> {
    let Some(entry) = saved.view(name, &definition(view)) else { return Ok(None) };
    let mut states = HashMap::new();
    for (node, (key, _)) in entry.operators.iter().enumerate().take(view.plan.nodes.len()) {
        if let Some(state) = saved.state(*key)? {
            states.insert(node, state);
        }
    }
    let errors = saved.errors(entry)?.into_iter().flat_map(|(rows, diffs)| {
        let messages = rows.column(0).as_string::<i32>();
        (0..rows.num_rows()).map(|row| (messages.value(row).to_owned(), diffs.get(row))).collect::<Vec<_>>()
    });
    let (errors, rows): (Vec<(String, Diff)>, Vec<Part>) = (errors.collect(), saved.rows(entry)?);
    let resume = Resume { as_of: saved.tick(), start, states, rows, errors };
    let needs_no_rows = start < saved.from_tick();
    Ok(Some(Found { resume, operators: entry.operators.clone(), needs_no_rows }))
}
