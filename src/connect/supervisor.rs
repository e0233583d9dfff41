//! Who runs what is defined.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::kafka::source;
use super::{ConnectError, sink};
use crate::engine::{Condition, Connectors, DefinedSink, DefinedSource, Live, Source, Switch};

/// How long it takes until what failed is tried again, at first; twice as long each time.
const RETRY_MIN: Duration = Duration::from_millis(100);

/// The longest that it takes.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// How long something has to work until it counts as working: longer than a schema registry is asked in vain.
const WORKED: Duration = Duration::from_secs(30);

/// A producer that is fenced twice in this time has a rival.
const FENCED_AGAIN: Duration = Duration::from_secs(120);

/// How long a source that cannot reach what it reads holds the stream clock back.
pub(super) const HOLD_MAX: Duration = Duration::from_secs(300);

/// How often the stream clock is told to wait for a source that does not read yet: more often than it takes anybody for
/// idle.
const HOLD: Duration = Duration::from_secs(2);

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

async fn supervise(live: Live, mut stopped: watch::Receiver<bool>) {
    let mut connectors = live.connectors();
    let mut running: HashMap<u64, Running> = HashMap::new();
    // Those that were told to end, and may wait for a broker before they do.
    let mut ending: HashMap<u64, JoinHandle<()>> = HashMap::new();
    loop {
        let wanted = runnable(&connectors.borrow_and_update());
        let is_wanted = |id: &u64, turn: u64| {
            wanted.iter().any(|one| one.switch().id == *id && one.switch().run() == Some(turn))
        };
        let over: Vec<u64> =
            running.iter().filter(|(id, r)| !is_wanted(id, r.turn)).map(|(id, _)| *id).collect();
        ending.retain(|_, thread| !thread.is_finished());
        for id in over {
            if let Some(one) = running.remove(&id) {
                let _ = one.stop.send(true);
                ending.insert(id, one.thread);
            }
        }
        for one in wanted {
            let (id, Some(turn)) = (one.switch().id, one.switch().run()) else { continue };
            running.entry(id).or_insert_with(|| begin(one, turn, live.clone(), ending.remove(&id)));
        }
        tokio::select! {
            changed = connectors.changed() => if changed.is_err() { break },
            _ = stopped.wait_for(|is_stopped| *is_stopped) => break,
        }
    }
    let threads = running.into_values().map(|one| {
        let _ = one.stop.send(true);
        one.thread
    });
    join_all(threads.chain(ending.into_values()).collect::<Vec<_>>()).await;
}

fn runnable(connectors: &Connectors) -> Vec<Runnable> {
    let sources = connectors.sources.values().cloned().map(Runnable::Source);
    sources.chain(connectors.sinks.values().cloned().map(Runnable::Sink)).collect()
}

/// Runs `one`, once what ran before in its place has ended.
fn begin(one: Runnable, turn: u64, live: Live, before: Option<JoinHandle<()>>) -> Running {
    let (stop, told) = watch::channel(false);
    let thread = tokio::spawn(async move {
        if let Some(before) = before {
            let _ = before.await;
        }
        let handle = Handle::current();
        let run = tokio::task::spawn_blocking(move || keep_running(&one, &live, &handle, &Stop(told)));
        let _ = run.await;
    });
    Running { turn, stop, thread }
}

/// Runs `one`, again where it fails, until it is to end.
fn keep_running(one: &Runnable, live: &Live, handle: &Handle, stop: &Stop) {
    let activity = &one.switch().activity;
    let (mut wait, mut failing_since) = (RETRY_MIN, Instant::now());
    // While a source fails that has read before, the clock waits for what it would read.
    let held = match one {
        Runnable::Source(source) if source.tells_time() && !source.positions().is_empty() => {
            Some((source, live.sender_of(source)))
        }
        _ => None,
    };
    activity.tell(Condition::Starting);
    let mut fenced_at: Option<Instant> = None;
    while !stop.is_due() {
        let (begun, moved) = (Instant::now(), activity.batches());
        let holding = held
            .as_ref()
            .map(|(source, sender)| handle.spawn(hold(Arc::clone(source), sender.clone(), failing_since)));
        let outcome = one.run(live, handle, stop);
        holding.iter().for_each(JoinHandle::abort);
        let error = match outcome {
            Ok(()) | Err(ConnectError::Ended) => return,
            Err(error) => error,
        };
        // What had worked for a while, or moved something, is tried again soon.
        if activity.batches() > moved || begun.elapsed() > WORKED {
            (wait, failing_since) = (RETRY_MIN, Instant::now());
        }
        let name = one.name();
        // A transaction that took too long looks as if another had taken its place: once, and not again and again.
        let is_fenced = matches!(error, ConnectError::Fenced(_));
        let is_fenced_again = is_fenced && fenced_at.is_some_and(|at| at.elapsed() < FENCED_AGAIN);
        fenced_at = if is_fenced { Some(Instant::now()) } else { fenced_at };
        if error.is_final() || is_fenced_again {
            tracing::error!(name, %error, "it stands still until it is told to go on");
            let _ = held.as_ref().map(|(_, sender)| handle.block_on(sender.leave()));
            return activity.tell(Condition::Failed(error.to_string()));
        }
        tracing::warn!(name, %error, "it is tried again");
        activity.tell(Condition::Retrying(error.to_string()));
        handle.block_on(async {
            if let Some((_, sender)) = held.as_ref().filter(|_| failing_since.elapsed() < HOLD_MAX) {
                let _ = sender.announce().await;
            }
            let _ = tokio::time::timeout(wait, stop.due()).await;
        });
        wait = (2 * wait).min(RETRY_MAX);
    }
}

/// Has the stream clock wait for `source`, which it knows as `sender`, until that reads. To find out that nobody answers
/// takes as long as it takes until who is silent counts as idle.
async fn hold(source: Arc<DefinedSource>, sender: Source, failing_since: Instant) {
    while failing_since.elapsed() < HOLD_MAX {
        let told = match source.switch.activity.condition() {
            Condition::Starting | Condition::Retrying(_) => sender.announce().await,
            // It may have begun to read before the clock was last told.
            Condition::Running | Condition::Failed(_) => {
                let _ = sender.leave().await;
                return;
            }
        };
        if told.is_err() {
            return;
        }
        tokio::time::sleep(HOLD).await;
    }
}
