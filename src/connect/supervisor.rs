//! Who runs what is defined.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::kafka::source;
use super::{ConnectError, sink};
use crate::engine::{Condition, Connectors, DefinedSink, DefinedSource, Live, Switch};

/// How long it takes until what failed is tried again, at first; twice as long each time.
const RETRY_MIN: Duration = Duration::from_millis(100);

/// The longest that it takes.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// How long a source that cannot reach what it reads holds the stream clock back.
pub(super) const HOLD_MAX: Duration = Duration::from_secs(300);

/// All sources and sinks that run.
pub struct Connections {
    supervisor: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Connections {
    /// Runs what is defined in `live`, now and from now on, on the threads of the runtime that this is called on.
    pub fn start(live: Live) -> Self {
        let (stop, stopped) = watch::channel(false);
        Connections { supervisor: tokio::spawn(supervise(live, stopped)), stop }
    }

    /// Ends all sources and sinks, and waits until they have ended.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        let _ = self.supervisor.await;
    }
}

/// Told to a thread that it is to end.
#[derive(Clone)]
pub(super) struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Whether it is to end.
    pub fn is_due(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Waits until it is.
    pub async fn due(&self) {
        let mut told = self.0.clone();
        // An error says that whoever could tell is gone.
        let _ = told.wait_for(|is_due| *is_due).await;
    }
}

/// A source or a sink.
#[derive(Clone)]
enum Runnable {
    Source(Arc<DefinedSource>),
    Sink(Arc<DefinedSink>),
}

impl Runnable {
    fn switch(&self) -> &Switch {
        match self {
            Runnable::Source(source) => &source.switch,
            Runnable::Sink(sink) => &sink.switch,
        }
    }

    fn name(&self) -> &str {
        match self {
            Runnable::Source(source) => &source.definition.name,
            Runnable::Sink(sink) => &sink.definition.name,
        }
    }

    /// Moves rows until it is to end or fails.
    fn run(&self, live: &Live, handle: &Handle, stop: &Stop) -> Result<(), ConnectError> {
        match self {
            Runnable::Source(source) => source::run(source, live, handle, stop),
            Runnable::Sink(sink) => sink::run(sink, handle, stop),
        }
    }
}

struct Running {
    turn: u64,
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Running {
    async fn end(self) {
        let _ = self.stop.send(true);
        let _ = self.thread.await;
    }
}

async fn supervise(live: Live, mut stopped: watch::Receiver<bool>) {
    let mut connectors = live.connectors();
    let mut running: HashMap<u64, Running> = HashMap::new();
    loop {
        let wanted = runnable(&connectors.borrow_and_update());
        let is_wanted = |id: &u64, turn: u64| {
            wanted.iter().any(|one| one.switch().id == *id && one.switch().run() == Some(turn))
        };
        let over: Vec<u64> =
            running.iter().filter(|(id, r)| !is_wanted(id, r.turn)).map(|(id, _)| *id).collect();
        for id in over {
            if let Some(one) = running.remove(&id) {
                one.end().await;
            }
        }
        for one in wanted {
            let (id, Some(turn)) = (one.switch().id, one.switch().run()) else { continue };
            running.entry(id).or_insert_with(|| begin(one, turn, live.clone()));
        }
        tokio::select! {
            changed = connectors.changed() => if changed.is_err() { break },
            _ = stopped.wait_for(|is_stopped| *is_stopped) => break,
        }
    }
    for (_, one) in running {
        one.end().await;
    }
}

fn runnable(connectors: &Connectors) -> Vec<Runnable> {
    let sources = connectors.sources.values().cloned().map(Runnable::Source);
    sources.chain(connectors.sinks.values().cloned().map(Runnable::Sink)).collect()
}

fn begin(one: Runnable, turn: u64, live: Live) -> Running {
    let (stop, told) = watch::channel(false);
    let handle = Handle::current();
    let thread = tokio::task::spawn_blocking(move || keep_running(&one, &live, &handle, &Stop(told)));
    Running { turn, stop, thread }
}

/// Runs `one`, again where it fails, until it is to end.
fn keep_running(one: &Runnable, live: &Live, handle: &Handle, stop: &Stop) {
    let activity = &one.switch().activity;
    let (mut wait, mut failing_since) = (RETRY_MIN, Instant::now());
    // While a source fails the clock waits for what it would read.
    let held = match one {
        Runnable::Source(source) => Some(live.sender_of(source)),
        Runnable::Sink(_) => None,
    };
    activity.tell(Condition::Starting);
    while !stop.is_due() {
        let error = match one.run(live, handle, stop) {
            Ok(()) | Err(ConnectError::Ended) => return,
            Err(error) => error,
        };
        // What had worked is tried again soon.
        if activity.condition() == Condition::Running {
            (wait, failing_since) = (RETRY_MIN, Instant::now());
        }
        let name = one.name();
        if error.is_final() {
            tracing::error!(name, %error, "it stands still until it is told to go on");
            let _ = held.as_ref().map(|held| handle.block_on(held.leave()));
            return activity.tell(Condition::Failed(error.to_string()));
        }
        tracing::warn!(name, %error, "it is tried again");
        activity.tell(Condition::Retrying(error.to_string()));
        handle.block_on(async {
            if let Some(held) = held.as_ref().filter(|_| failing_since.elapsed() < HOLD_MAX) {
                let _ = held.announce().await;
            }
            let _ = tokio::time::timeout(wait, stop.due()).await;
        });
        wait = (2 * wait).min(RETRY_MAX);
    }
}
