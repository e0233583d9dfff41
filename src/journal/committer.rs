//! The thread that writes a journal: one sync for all who wait.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, SendError, Sender, bounded, unbounded};

use super::{Journal, JournalError, Record, Sequence};

/// Bytes of records that are written before those behind them wait for the next sync.
const COMMIT_BYTES_MAX: usize = 16 << 20;

/// What is done when a group is durable, with the number of its last record, or has failed.
type Done = Box<dyn FnOnce(Result<Sequence, JournalError>) + Send>;

/// What the thread is told.
enum Order {
    Append(Waiting),
    /// Segments that have ended are so many bytes shorter.
    Shortened(u64),
}

struct Waiting {
    records: Vec<Record>,
    done: Done,
}

/// How the journal does.
#[derive(Debug, Default)]
pub struct Health {
    failure: Mutex<Option<JournalError>>,
    bytes: AtomicU64,
    segments: AtomicU64,
    records: AtomicU64,
    syncs: AtomicU64,
    failures: AtomicU64,
}

impl Health {
    /// Why nothing could be appended last; `None` while all is well.
    pub fn failure(&self) -> Option<JournalError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How many segments there are.
    pub fn segments(&self) -> u64 {
        self.segments.load(Ordering::Relaxed)
    }

    /// All records that ever became durable.
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// Syncs since the start; each makes all records durable that waited.
    pub fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    /// Attempts since the start that failed.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    fn measure(&self, journal: &Journal) {
        self.bytes.store(journal.bytes(), Ordering::Relaxed);
        self.segments.store(journal.segments() as u64, Ordering::Relaxed);
        self.records.store(journal.next() - 1, Ordering::Relaxed);
    }

    fn tell(&self, journal: &Journal, outcome: &Result<(), JournalError>) {
        self.measure(journal);
        let counter = if outcome.is_ok() { &self.syncs } else { &self.failures };
        counter.fetch_add(1, Ordering::Relaxed);
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = outcome.clone().err();
    }
}

/// A handle to the thread that writes a journal; cheap to clone. The journal is closed once all are gone.
///
/// Groups become durable, and are told of, in the order in which they were handed over. How many wait is bounded by
/// those who hand them over.
#[derive(Clone)]
pub struct Committer {
    sender: Sender<Order>,
    health: Arc<Health>,
}

impl Committer {
    /// Starts the thread of `journal`.
    pub fn start(journal: Journal) -> Result<Self, std::io::Error> {
        let (sender, receiver) = unbounded();
        let health = Arc::new(Health::default());
        health.measure(&journal);
        let told = health.clone();
        let thread = std::thread::Builder::new().name("journal".to_owned());
        thread.spawn(move || run(journal, &receiver, &told))?;
        Ok(Committer { sender, health })
    }

    /// Hands `records` over, a group. `done` runs on the thread of the journal, and must not wait.
    pub fn append(
        &self,
        records: Vec<Record>,
        done: impl FnOnce(Result<Sequence, JournalError>) + Send + 'static,
    ) {
        let waiting = Waiting { records, done: Box::new(done) };
        if let Err(SendError(Order::Append(refused))) = self.sender.send(Order::Append(waiting)) {
            (refused.done)(Err(JournalError::Closed));
        }
    }

    /// Takes note that the segments that have ended are `bytes` shorter.
    pub fn shortened(&self, bytes: u64) {
        // Nothing is appended to a journal that is closed.
        let _ = self.sender.send(Order::Shortened(bytes));
    }

    /// Waits until `records`, a group, are durable, with all that was handed over before.
    pub fn append_and_wait(&self, records: Vec<Record>) -> Result<Sequence, JournalError> {
        let (sender, receiver) = bounded(1);
        self.append(records, move |outcome| drop(sender.send(outcome)));
        receiver.recv().unwrap_or(Err(JournalError::Closed))
    }

    /// How the journal does.
    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }
}

fn run(mut journal: Journal, receiver: &Receiver<Order>, health: &Health) {
    while let Ok(first) = receiver.recv() {
        let (mut bytes, mut waiting) = (0, vec![]);
        let mut next = Some(first);
        while let Some(order) = next.take() {
            match order {
                Order::Shortened(bytes) => {
                    journal.shortened(bytes);
                    health.measure(&journal);
                }
                Order::Append(group) => {
                    bytes += size(&group);
                    waiting.push(group);
                }
            }
            next = if bytes < COMMIT_BYTES_MAX { receiver.try_recv().ok() } else { None };
        }
        if waiting.is_empty() {
            continue;
        }
        let mut last = journal.next() - 1;
        let groups: Vec<&[Record]> = waiting.iter().map(|group| group.records.as_slice()).collect();
        let outcome = journal.append(&groups);
        let was_failing = health.failure().is_some();
        match &outcome {
            Err(error) if !was_failing => {
                tracing::error!(%error, "nothing is taken: the journal cannot be written");
            }
            Ok(()) if was_failing => tracing::info!("the journal can be written again"),
            _ => {}
        }
        health.tell(&journal, &outcome);
        for group in waiting {
            last += group.records.len() as Sequence;
            (group.done)(outcome.clone().map(|()| last));
        }
    }
}

fn size(waiting: &Waiting) -> usize {
    waiting.records.iter().map(|record| record.bytes.len()).sum()
}
