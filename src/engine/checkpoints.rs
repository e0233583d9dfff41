//! Checkpoints: what a restart goes on from, instead of all that ever came.
//!
//! Once in a while, between two ticks, each worker hands over what its operators have, and a thread writes it with the rows
//! of the views. Written, it waits until every sink has delivered all up to its tick: what a sink tells of earlier ticks
//! is not to be had from it. Then it takes the place of the one before. Rows that a stream is to keep no longer are taken
//! away then: no view needs them any more.
//!
//! A view of which some operator holds all rows that ever came (the first rows of a stream by a column, say) is not part of
//! it. It is computed anew at a restart, and what it reads stays.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use crossbeam_channel::{Receiver, bounded};

use super::contents::ViewContents;
use super::operators::OperatorId;
use super::resuming::{Resuming, definition};
use super::worker::Command;
use super::{Engine, EngineError, channels};
use crate::checkpoint::{self, CheckpointError, Contents, Folder, Losses, OperatorKey, SinkContents};
use crate::delta::updates::Tick;

/// How many earlier checkpoints are remembered.
const EARLIER_MAX: usize = 1_000;

/// What takes checkpoints of an engine.
pub(super) struct Checkpoints {
    folder: Folder,
    interval: Duration,
    begun: Instant,
    /// One that is not in its place.
    taking: Option<Taking>,
    /// What became of the last that is.
    last: Option<Taken>,
    /// The tick that this process went on from, and how many views did.
    pub resumed: Option<(Tick, usize)>,
    /// Why the last attempt led to none.
    failure: Option<String>,
    /// Views that cannot be part of one, and the operators because of which.
    pub without: BTreeMap<String, String>,
    /// How many rows streams had at earlier checkpoints, the latest last.
    earlier: VecDeque<(Tick, BTreeMap<String, u64>)>,
    /// For how many milliseconds rows have to come once more.
    reach_ms: u64,
}

/// What is told of checkpoints.
#[derive(Default)]
pub(super) struct Figures {
    /// The last one.
    pub last: Option<Taken>,
    /// The tick of one on its way, and what it waits for.
    pub next: Option<(Tick, &'static str)>,
    /// Why the last attempt led to none.
    pub error: Option<String>,
    /// The tick that this process went on from, and how many views did.
    pub resumed: Option<(Tick, usize)>,
    /// The views that cannot be part of one.
    pub without: Option<String>,
}

/// A checkpoint on its way.
struct Taking {
    tick: Tick,
    begun: Instant,
    written: Receiver<Result<u64, CheckpointError>>,
    bytes: Option<u64>,
    /// The sinks that have to deliver all up to the tick.
    sinks: Vec<u64>,
}

/// Why there is nothing to write.
enum NotTaken {
    /// The engine has failed.
    Engine(EngineError),
    /// An operator cannot say what it has.
    State(String),
}

impl From<EngineError> for NotTaken {
    fn from(error: EngineError) -> Self {
        NotTaken::Engine(error)
    }
}

/// A checkpoint in its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    pub tick: Tick,
    pub bytes: u64,
    pub duration: Duration,
}

impl Engine {
    /// Goes on from the last checkpoint in the folder at `root`, and takes another whenever `interval` has passed, if one is
    /// given.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read, or another version wrote what is in it.
    pub fn keep_checkpoints(
        &mut self,
        root: &Path,
        interval: Option<Duration>,
    ) -> Result<(), CheckpointError> {
        let (folder, saved) = match Folder::open(root) {
            Err(error @ CheckpointError::Damaged { .. }) => {
                tracing::error!(%error, "all is computed anew from what came");
                (Folder::at(root), None)
            }
            opened => opened?,
        };
        self.resuming = saved.map(Resuming::new);
        self.checkpoints = interval.map(|interval| Checkpoints {
            folder,
            interval,
            begun: Instant::now(),
            taking: None,
            last: None,
            resumed: None,
            failure: None,
            without: BTreeMap::new(),
            earlier: VecDeque::new(),
            reach_ms: 0,
        });
        Ok(())
    }

    /// Puts a checkpoint in its place once it is written and no sink needs what came before it. Whether it is time for
    /// another.
    pub(super) fn tend_checkpoint(&mut self) -> bool {
        let Some(mut checkpoints) = self.checkpoints.take() else { return false };
        if let Some(taking) = checkpoints.taking.take() {
            checkpoints.taking = self.tend(&mut checkpoints, taking);
        }
        let is_due = checkpoints.taking.is_none() && checkpoints.begun.elapsed() >= checkpoints.interval;
        if is_due {
            self.look_at_views(&mut checkpoints);
        }
        self.checkpoints = Some(checkpoints);
        is_due
    }

    /// Finds which views cannot be part of the next checkpoint, and how much has to come once more for the others.
    fn look_at_views(&self, checkpoints: &mut Checkpoints) {
        checkpoints.without.clear();
        checkpoints.reach_ms = 0;
        for (name, view) in &self.views {
            match view.plan.reach(|relation| !self.streams.contains_key(relation)) {
                Ok(reach_ms) => checkpoints.reach_ms = checkpoints.reach_ms.max(reach_ms),
                Err(node) => drop(checkpoints.without.insert(name.clone(), view.plan.name(node))),
            }
        }
    }

    /// The same of `taking`, which is given back while it is on its way.
    fn tend(&mut self, checkpoints: &mut Checkpoints, mut taking: Taking) -> Option<Taking> {
        if taking.bytes.is_none() {
            match taking.written.try_recv() {
                Ok(Ok(bytes)) => taking.bytes = Some(bytes),
                Ok(Err(error)) => return checkpoints.fail(&error),
                Err(error) if error.is_empty() => return Some(taking),
                Err(_) => return checkpoints.fail(&"the thread that writes it has ended"),
            }
        }
        if !self.is_delivered(&taking) {
            return Some(taking);
        }
        match checkpoints.folder.commit(taking.tick) {
            Ok(()) => {
                let (tick, duration) = (taking.tick, taking.begun.elapsed());
                checkpoints.last = Some(Taken { tick, bytes: taking.bytes.unwrap_or_default(), duration });
                checkpoints.failure = None;
                self.let_go_of_trimmed();
                None
            }
            Err(error) => checkpoints.fail(&error),
        }
    }

    /// Whether sinks have delivered all up to the tick of `taking`.
    fn is_delivered(&self, taking: &Taking) -> bool {
        let connectors = self.connectors();
        let mut sinks = taking.sinks.iter().filter_map(|id| connectors.sink(*id));
        sinks.all(|sink| sink.outbox.is_past(taking.tick))
    }

    /// Takes a checkpoint of what was closed last.
    ///
    /// # Errors
    ///
    /// When a worker is lost. What else fails is told in SQL.
    pub(super) fn take_checkpoint(&mut self) -> Result<(), EngineError> {
        let Some(mut checkpoints) = self.checkpoints.take() else { return Ok(()) };
        let begun = Instant::now();
        checkpoints.begun = begun;
        let taken = self.contents(&checkpoints);
        self.checkpoints = Some(checkpoints);
        let Some(checkpoints) = &mut self.checkpoints else { return Ok(()) };
        let (contents, views) = match taken {
            Ok(taken) => taken,
            Err(NotTaken::Engine(error)) => return Err(error),
            Err(NotTaken::State(reason)) => {
                checkpoints.fail(&reason);
                return Ok(());
            }
        };
        let (tick, sinks) = (contents.tick, contents.sinks.iter().map(|sink| sink.id).collect());
        let (sender, written) = bounded(1);
        let folder = checkpoints.folder.clone();
        let write = move || {
            let _ = sender.send(folder.write(&filled(contents, views)));
        };
        match std::thread::Builder::new().name("checkpoint".to_owned()).spawn(write) {
            Ok(_) => checkpoints.taking = Some(Taking { tick, begun, written, bytes: None, sinks }),
            Err(error) => drop(checkpoints.fail(&error)),
        }
        let rows = self.streams.iter().map(|(name, stream)| (name.clone(), stream.rows)).collect();
        checkpoints.earlier.push_back((tick, rows));
        if checkpoints.earlier.len() > EARLIER_MAX {
            checkpoints.earlier.pop_front();
        }
        Ok(())
    }

    /// What operators and sinks have, and the contents of the views that are to be put with it.
    fn contents(&self, checkpoints: &Checkpoints) -> Result<(Contents, Vec<Arc<ViewContents>>), NotTaken> {
        let published = self.published.load();
        let mut contents =
            Contents { tick: self.closed, reach_ms: checkpoints.reach_ms, ..Contents::default() };
        let mut views = vec![];
        for (name, view) in self.views.iter().filter(|(name, _)| !checkpoints.without.contains_key(*name)) {
            let (Some((operators, _)), Some(rows)) = (self.running.get(name), published.view(name)) else {
                continue;
            };
            let operators = operators.nodes.iter().map(|operator| {
                let counts = operator.counts();
                let (late_rows, expired_rows) = (counts.late_rows, counts.expired_rows);
                (key(operator.id), Losses { late_rows, expired_rows })
            });
            let (name, operators) = (name.clone(), operators.collect());
            let (definition, rows_of) = (definition(view), rows.clone());
            contents.views.push(checkpoint::ViewContents {
                name,
                definition,
                operators,
                rows: vec![],
                errors: vec![],
            });
            views.push(rows_of);
        }
        contents.operators = self.states()?;
        for sink in self.connectors().sinks.values() {
            let (failure, open) = sink.outbox.to_save();
            contents.sinks.push(SinkContents { id: sink.switch.id, failure, open });
        }
        Ok((contents, views))
    }

    /// What operators have on each worker.
    fn states(&self) -> Result<Vec<(OperatorKey, Vec<RecordBatch>)>, NotTaken> {
        let (sender, receiver) = channels::replies(self.workers.len());
        self.broadcast(|| Command::Save { reply: sender.clone() })?;
        drop(sender);
        let mut states: BTreeMap<OperatorKey, Vec<RecordBatch>> = BTreeMap::new();
        for saved in self.gather(receiver)? {
            for (id, state) in saved.map_err(NotTaken::State)? {
                states.entry(key(id)).or_default().push(state);
            }
        }
        Ok(states.into_iter().collect())
    }

    /// What is told of checkpoints.
    pub(super) fn checkpoint_figures(&self) -> Figures {
        let Some(checkpoints) = &self.checkpoints else { return Figures::default() };
        let next = checkpoints
            .taking
            .as_ref()
            .map(|taking| (taking.tick, if taking.bytes.is_some() { "sinks" } else { "the disk" }));
        let without: Vec<String> =
            checkpoints.without.iter().map(|(view, operator)| format!("{view} ({operator})")).collect();
        Figures {
            last: checkpoints.last,
            next,
            error: checkpoints.failure.clone(),
            resumed: checkpoints.resumed,
            without: (!without.is_empty()).then(|| without.join(", ")),
        }
    }

    /// The first tick of those whose rows have to come once more for the next checkpoint.
    pub(super) fn replayed_from(&self) -> Tick {
        self.closed.saturating_sub(self.checkpoints.as_ref().map_or(0, |checkpoints| checkpoints.reach_ms))
    }

    /// How many rows streams had, by their name, at a tick before that.
    pub(super) fn rows_passed(&self) -> Option<&BTreeMap<String, u64>> {
        let (checkpoints, from) = (self.checkpoints.as_ref()?, self.replayed_from());
        checkpoints.earlier.iter().rev().find(|(tick, _)| *tick <= from).map(|(_, rows)| rows)
    }
}

impl Checkpoints {
    fn fail(&mut self, reason: &dyn std::fmt::Display) -> Option<Taking> {
        tracing::error!(%reason, "a checkpoint could not be taken: a restart goes on from the one before");
        self.failure = Some(reason.to_string());
        None
    }
}

fn key(id: OperatorId) -> OperatorKey {
    OperatorKey { dataflow: id.dataflow, node: id.node }
}

/// `contents` with the rows and the errors of its `views`.
fn filled(mut contents: Contents, views: Vec<Arc<ViewContents>>) -> Contents {
    for (view, rows) in contents.views.iter_mut().zip(views) {
        (view.rows, view.errors) = (rows.counted().to_vec(), rows.errors());
    }
    contents
}
