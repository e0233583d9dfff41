//! The thread that writes history.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arrow::array::RecordBatch;
use crossbeam_channel::{Receiver, Sender, TryRecvError, TrySendError, bounded, unbounded};

use super::write::{join, write};
use super::{Folder, HistoryError, HistoryFile};
use crate::journal::{Record, Rewriter, Sequence};

/// Jobs that may wait.
pub const JOBS_MAX: usize = 64;

/// How long it takes until a job that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// A file with fewer rows is joined with its neighbour.
const SMALL_ROWS: u64 = 65_536;

/// Files of more bytes together are not joined.
const JOINED_BYTES_MAX: u64 = 32 << 20;

/// What the journal keeps of a record of rows of which all are in history but those of the streams named; `None` where the
/// record stays.
pub type Shorten = Box<dyn Fn(&Record, &BTreeSet<String>) -> Option<Record> + Send>;

/// Something to write.
pub enum Job {
    /// Rows of a stream, behind those that were written before.
    Write {
        /// Where the stream is kept.
        folder: Folder,
        /// Its files.
        files: Arc<Vec<Arc<HistoryFile>>>,
        /// The number of the first row.
        first: u64,
        /// The rows.
        batches: Vec<RecordBatch>,
        /// A column of times, and how much these may be apart in a file that is joined from others, in nanoseconds.
        span_max: Option<(String, i64)>,
    },
    /// The records of the journal up to a sequence number, of which all rows are in history.
    Shorten {
        /// The last record.
        through: Sequence,
        /// Streams without history.
        except: BTreeSet<String>,
    },
    /// The first rows of a stream are not kept any more.
    Trim {
        /// Where it is kept.
        folder: Folder,
        /// The files of these rows.
        files: Vec<Arc<HistoryFile>>,
        /// The number of the first row that stays.
        first: u64,
    },
    /// A stream is no more.
    Empty {
        /// Where it was kept.
        folder: Folder,
        /// Its files.
        files: Arc<Vec<Arc<HistoryFile>>>,
    },
}

/// What was done.
pub enum Done {
    /// The files that the stream kept in `folder` now has.
    Written {
        /// Its folder.
        folder: Folder,
        /// All of its files.
        files: Arc<Vec<Arc<HistoryFile>>>,
    },
    /// The journal is so many bytes shorter.
    Shortened(u64),
}

/// How the writing of history does.
#[derive(Debug, Default)]
pub struct Health {
    failure: Mutex<Option<String>>,
    failures: AtomicU64,
}

impl Health {
    /// Why nothing can be written now; `None` while all is well.
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Attempts since the start that failed.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    fn tell(&self, outcome: &Result<(), String>) {
        self.failures.fetch_add(u64::from(outcome.is_err()), Ordering::Relaxed);
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = outcome.clone().err();
    }
}

/// A handle to the thread that writes history, which ends with it.
pub struct Keeper {
    /// `None` at its end.
    jobs: Option<Sender<Job>>,
    done: Receiver<Done>,
    health: Arc<Health>,
    /// Gone, the thread begins nothing, and tries nothing again.
    running: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        (self.jobs, self.running) = (None, None);
        // One that has panicked has said so.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Keeper {
    /// Starts the thread. Records of the journal are rewritten by `rewriter` as `shorten` says.
    ///
    /// # Errors
    ///
    /// When the system has no thread.
    pub fn start(rewriter: Rewriter, shorten: Shorten) -> Result<Self, std::io::Error> {
        let (jobs, waiting) = bounded(JOBS_MAX);
        let (tell, done) = unbounded();
        let (running, stopped) = bounded(0);
        let health = Arc::<Health>::default();
        let (latest, told) = (BTreeMap::new(), health.clone());
        let mut thread = Thread { rewriter, shorten, tell, latest, health: told, stopped };
        let builder = std::thread::Builder::new().name("history".to_owned());
        let thread =
            builder.spawn(move || waiting.iter().take_while(|job| thread.carry_out(job)).for_each(drop))?;
        Ok(Keeper { jobs: Some(jobs), done, health, running: Some(running), thread: Some(thread) })
    }

    /// Hands `job` over; gives it back where too many wait.
    pub fn try_send(&self, job: Job) -> Result<(), Job> {
        let Some(jobs) = &self.jobs else { return Err(job) };
        jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(job) | TrySendError::Disconnected(job) => job,
        })
    }

    /// What has been done since.
    pub fn done(&self) -> impl Iterator<Item = Done> + '_ {
        self.done.try_iter()
    }

    /// How it does.
    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }
}

struct Thread {
    rewriter: Rewriter,
    shorten: Shorten,
    tell: Sender<Done>,
    /// The files of each stream that was written to, by its folder: those of a job may be older.
    latest: BTreeMap<std::path::PathBuf, Arc<Vec<Arc<HistoryFile>>>>,
    health: Arc<Health>,
    stopped: Receiver<()>,
}

/// Whether the rows of both files are no further apart than they may be.
fn is_within(span_max: Option<&(String, i64)>, before: &HistoryFile, last: &HistoryFile) -> bool {
    let Some((column, span_ns)) = span_max else { return true };
    let times = before.times_ns(column).ok().flatten().zip(last.times_ns(column).ok().flatten());
    times.is_some_and(|(a, b)| a.1.max(b.1).saturating_sub(a.0.min(b.0)) <= *span_ns)
}

impl Thread {
    /// Carries out `job`, however often it takes; `false` once nobody waits for it.
    fn carry_out(&mut self, job: &Job) -> bool {
        let mut is_told = false;
        loop {
            if self.stopped.try_recv() == Err(TryRecvError::Disconnected) {
                return false;
            }
            let outcome = match job {
                Job::Write { folder, files, first, batches, span_max } => {
                    self.write(folder, files, (*first, batches), span_max.as_ref())
                }
                Job::Shorten { through, except } => self.shorten(*through, except),
                Job::Trim { folder, files, first } => self.trim(folder, files, *first),
                Job::Empty { folder, files } => {
                    let files = self.latest.remove(folder.path()).unwrap_or_else(|| files.clone());
                    folder.empty(&files).map_err(|error| error.to_string())
                }
            };
            self.health.tell(&outcome);
            let Err(error) = outcome else {
                if is_told {
                    tracing::info!("history can be written again");
                }
                return true;
            };
            if !is_told {
                tracing::error!(error, "history cannot be written: rows stay in memory and in the journal");
                is_told = true;
            }
            // Woken at the end.
            let _ = self.stopped.recv_timeout(RETRY);
        }
    }

    fn write(
        &mut self,
        folder: &Folder,
        files: &Arc<Vec<Arc<HistoryFile>>>,
        (first, batches): (u64, &[RecordBatch]),
        span_max: Option<&(String, i64)>,
    ) -> Result<(), String> {
        let said = |error: HistoryError| error.to_string();
        let latest = self.latest.entry(folder.path().to_owned()).or_insert_with(|| files.clone());
        let mut files = Vec::clone(latest);
        if files.last().is_none_or(|last| last.rows().end <= first) {
            files.push(Arc::new(write(folder, first, batches).map_err(said)?));
        }
        // Kept before anything is joined: what fails then is tried again without it.
        *latest = Arc::new(files.clone());
        while let [.., before, last] = &files[..]
            && before.count() < SMALL_ROWS
            && before.count() <= 2 * last.count()
            && before.bytes() + last.bytes() <= JOINED_BYTES_MAX
            && is_within(span_max, before, last)
        {
            let joined = match join(folder, &[before, last]) {
                Ok(joined) => joined,
                // What is there is as good as before.
                Err(error) => {
                    tracing::warn!(%error, "small files of history are not joined");
                    break;
                }
            };
            files.truncate(files.len() - 2);
            files.push(Arc::new(joined));
            *latest = Arc::new(files.clone());
        }
        let _ = self.tell.send(Done::Written { folder: folder.clone(), files: latest.clone() });
        Ok(())
    }

    fn trim(&mut self, folder: &Folder, files: &[Arc<HistoryFile>], first: u64) -> Result<(), String> {
        if let Some(latest) = self.latest.get_mut(folder.path()) {
            let left = latest.iter().filter(|file| file.rows().end > first).cloned();
            *latest = Arc::new(left.collect());
        }
        folder.trim(files, first).map_err(|error| error.to_string())
    }

    fn shorten(&mut self, through: Sequence, except: &BTreeSet<String>) -> Result<(), String> {
        let (shorten, tell) = (&self.shorten, &self.tell);
        let shorter = |bytes| drop(tell.send(Done::Shortened(bytes)));
        let outcome = self.rewriter.rewrite(through, |record| shorten(record, except), shorter);
        outcome.map_err(|error| error.to_string())
    }
}
