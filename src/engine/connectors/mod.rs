//! Sources and sinks as the engine knows them: what is defined, how far each is, and how it does. What moves the rows is
//! beyond the engine.

mod activity;
mod statements;
mod stats;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arrow::datatypes::SchemaRef;
use tokio::sync::watch;

pub use self::activity::{Activity, Condition};
pub(super) use self::stats::{SINK_STATS, SOURCE_STATS, relations};
use super::clock::SourceId;
use super::outbox::Outbox;
use super::worker::Command;
use super::{Engine, EngineError};
use crate::sql::connector::{CreateSink, CreateSource, Direction};

/// The most sources, and the most sinks.
pub const CONNECTORS_MAX: usize = 100;

/// All sources and sinks, by name.
#[derive(Clone, Default)]
pub struct Connectors {
    /// The sources.
    pub sources: BTreeMap<String, Arc<DefinedSource>>,
    /// The sinks.
    pub sinks: BTreeMap<String, Arc<DefinedSink>>,
}

/// What sources and sinks have in common.
pub struct Switch {
    /// Tells it from all others, those that were dropped too.
    pub id: u64,
    is_paused: AtomicBool,
    /// How often it was told to pause or to go on.
    turns: AtomicU64,
    /// How it does.
    pub activity: Activity,
}

impl Switch {
    fn new(id: u64) -> Self {
        Switch {
            id,
            is_paused: AtomicBool::new(false),
            turns: AtomicU64::new(0),
            activity: Activity::default(),
        }
    }

    fn turn(&self, is_paused: bool) {
        self.is_paused.store(is_paused, Ordering::Release);
        self.turns.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether it is to run, as a number that changes whenever it is to begin anew; `None` while it is paused.
    pub fn run(&self) -> Option<u64> {
        let turns = self.turns.load(Ordering::Acquire);
        (!self.is_paused.load(Ordering::Acquire)).then_some(turns)
    }
}

/// A step of a source in one partition: what it read between two offsets is handed over with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The source.
    pub source: u64,
    /// The partition.
    pub partition: i32,
    /// Where it stood before; `None` for a partition that nothing came from yet.
    pub after: Option<i64>,
    /// Where it stands then: the offset of the first message that is not there yet.
    pub through: i64,
}

/// A source.
pub struct DefinedSource {
    /// What it has in common with sinks.
    pub switch: Switch,
    /// Its definition.
    pub definition: CreateSource,
    /// The columns of its table, where it has one of its own.
    pub schema: Option<SchemaRef>,
    /// What the stream clock calls the source as a whole, while it has not begun to read partitions.
    pub(super) sender: OnceLock<SourceId>,
    positions: Mutex<BTreeMap<i32, i64>>,
}

impl DefinedSource {
    /// By partition, the offset of the first message that was not taken in: with a journal, what is before is durable.
    pub fn positions(&self) -> BTreeMap<i32, i64> {
        self.locked().clone()
    }

    /// Whether its rows say when they happened, so that the stream clock follows them, and waits for them.
    pub fn tells_time(&self) -> bool {
        !self.definition.format.has_own_columns() || self.definition.options.get("event_time").is_some()
    }

    /// Whether the stream clock is to wait until it has begun to read.
    pub(super) fn is_awaited(&self) -> bool {
        self.switch.run().is_some() && self.tells_time()
    }

    /// Goes on to `position`; whether what came from there is to be taken in. It is not where something before it was
    /// not: whoever reads goes back then.
    fn take(&self, position: &Position) -> bool {
        let mut positions = self.locked();
        let is_next = positions.get(&position.partition).copied() == position.after;
        if is_next {
            positions.insert(position.partition, position.through);
        }
        is_next
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<i32, i64>> {
        self.positions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sink.
pub struct DefinedSink {
    /// What it has in common with sources.
    pub switch: Switch,
    /// Its definition.
    pub definition: CreateSink,
    /// What waits for it.
    pub outbox: Outbox,
}

impl Engine {
    /// All sources and sinks; whoever runs them is told when that changes.
    pub fn connectors_watched(&self) -> watch::Receiver<Connectors> {
        self.connectors.subscribe()
    }

    /// All sources and sinks as they are now.
    pub(super) fn connectors(&self) -> watch::Ref<'_, Connectors> {
        self.connectors.borrow()
    }

    fn edit_connectors(&self, edit: impl FnOnce(&mut Connectors)) {
        self.connectors.send_modify(edit);
    }

    /// Has the workers hand over all changes of `name`, from the next tick on.
    pub(super) fn watch(&self, name: &str) -> Result<(), EngineError> {
        self.broadcast(|| Command::Watch { name: name.to_owned() })
    }
}

impl Connectors {
    /// The source or the sink called `name`.
    fn switch(&self, direction: Direction, name: &str) -> Option<&Switch> {
        match direction {
            Direction::Source => self.sources.get(name).map(|source| &source.switch),
            Direction::Sink => self.sinks.get(name).map(|sink| &sink.switch),
        }
    }

    fn count(&self, direction: Direction) -> usize {
        match direction {
            Direction::Source => self.sources.len(),
            Direction::Sink => self.sinks.len(),
        }
    }

    /// Whether what came with `position` is to be taken in. Nothing is of a source that was dropped.
    pub(super) fn take(&self, position: &Position) -> bool {
        let source = self.sources.values().find(|source| source.switch.id == position.source);
        source.is_some_and(|source| source.take(position))
    }

    /// The sink `id`, unless it was dropped.
    pub(super) fn sink(&self, id: u64) -> Option<&Arc<DefinedSink>> {
        self.sinks.values().find(|sink| sink.switch.id == id)
    }
}
