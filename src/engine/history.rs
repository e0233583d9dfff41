//! Streams whose rows are kept on disk, and a journal that is shortened for it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::{Engine, EngineError};
use crate::history::{Done, Folder, Health, Held, HistoryError, HistoryFile, Job, Keeper, can_hold};
use crate::journal::Sequence;

/// Bytes of rows of streams that wait for being written before nothing more is taken.
const WAITING_BYTES_MAX: usize = 1 << 30;

/// How long is waited between looks at what history has written.
const LOOK: Duration = Duration::from_millis(10);

/// The rows of a stream on disk.
#[derive(Clone)]
pub(super) struct StreamHistory {
    pub folder: Folder,
    pub files: Arc<Vec<Arc<HistoryFile>>>,
    /// The stream was dropped later: its rows come once more while the journal is played, and are nowhere.
    pub is_dropped: bool,
    /// The number of the first row that is kept.
    pub first: u64,
    /// Files of rows before it.
    pub trimmed: Vec<Arc<HistoryFile>>,
    /// Whether a restart needs none of them.
    pub is_trimmed_for_good: bool,
    /// What was handed over to be written and is not known to be.
    pub writing: usize,
    /// The file that was read last, whole.
    read: Option<(u64, RecordBatch)>,
}

impl StreamHistory {
    /// How many rows are on disk.
    pub fn rows(&self) -> u64 {
        if self.is_dropped { u64::MAX } else { self.files.last().map_or(self.first, |file| file.rows().end) }
    }

    /// Takes the rows before number `first` out of sight.
    pub fn trim(&mut self, first: u64) {
        self.first = first;
        self.forget_trimmed(self.files.clone());
    }

    /// Has `files`, but for those whose rows are out of sight.
    fn forget_trimmed(&mut self, files: Arc<Vec<Arc<HistoryFile>>>) {
        let is_known = |file: &Arc<HistoryFile>| self.trimmed.iter().any(|known| Arc::ptr_eq(known, file));
        let (trimmed, left): (Vec<_>, Vec<_>) =
            files.iter().cloned().partition(|file| file.rows().end <= self.first);
        let new: Vec<_> = trimmed.into_iter().filter(|file| !is_known(file)).collect();
        self.trimmed.extend(new);
        self.files = if left.len() == files.len() { files } else { Arc::new(left) };
    }

    /// That rows which are to be there are not.
    fn missing(&self, from: u64, to: u64) -> HistoryError {
        HistoryError::Missing { folder: self.folder.path().display().to_string(), from, to }
    }

    /// Up to `count` rows in the order in which they came, from number `first` on.
    fn take(&mut self, first: u64, count: u64, schema: &SchemaRef) -> Result<RecordBatch, HistoryError> {
        let missing = || self.missing(first, first + count);
        let place = self.files.partition_point(|file| file.rows().end <= first);
        let file = self.files.get(place).filter(|file| file.rows().start <= first).ok_or_else(missing)?;
        let start = file.rows().start;
        let rows = match self.read.take().filter(|(read, _)| *read == start) {
            Some((_, rows)) => rows,
            None => file.as_they_came(schema)?,
        };
        let offset = (first - start) as usize;
        let taken = rows.slice(offset, (count as usize).min(rows.num_rows() - offset));
        self.read = (offset + taken.num_rows() < rows.num_rows()).then_some((start, rows));
        Ok(taken)
    }
}

/// What keeps the streams of an engine on disk.
pub(super) struct History {
    root: PathBuf,
    keeper: Keeper,
    /// What the journal may be shorter by, once rows are on disk.
    marks: VecDeque<Mark>,
    /// By how many bytes it is shorter since that was asked last.
    shortened: u64,
    /// Streams for whose rows there is no form.
    without: BTreeSet<String>,
    /// Streams that are no more.
    dropped: Vec<StreamHistory>,
}

/// All records of the journal up to one hold rows of streams up to some alone.
struct Mark {
    through: Sequence,
    /// By the folder of the stream.
    rows: HashMap<PathBuf, u64>,
}

impl Engine {
    /// Has `keeper` keep the rows of streams below `root`: those that are there already come once more.
    ///
    /// # Errors
    ///
    /// When history cannot be read.
    pub fn keep_history(&mut self, root: PathBuf, keeper: Keeper) -> Result<(), HistoryError> {
        let (marks, without, dropped) = Default::default();
        self.history = Some(History { root, keeper, marks, shortened: 0, without, dropped });
        let names: Vec<String> = self.streams.keys().cloned().collect();
        for name in names {
            let schema = self.streams[&name].schema.clone();
            // Telemetry was there before anything happened.
            let history = self.open_history(&name, &schema, 0)?;
            if let Some(stream) = self.streams.get_mut(&name) {
                let definition = stream.definition.clone();
                *stream = super::Stream::new(schema, definition, history);
            }
        }
        Ok(())
    }

    /// The history of the stream `name` that the statement of number `definition` created; `None` where it has none.
    pub(super) fn open_history(
        &mut self,
        name: &str,
        schema: &SchemaRef,
        definition: u64,
    ) -> Result<Option<StreamHistory>, HistoryError> {
        let Some(history) = &mut self.history else { return Ok(None) };
        if !can_hold(schema) {
            history.without.insert(name.to_owned());
            return Ok(None);
        }
        let folder = Folder::of(&history.root, name, definition);
        let opened = folder.open()?;
        let is_dropped = opened.is_none();
        let Held { first, files } = opened.unwrap_or_default();
        if first > 0 && self.resuming.is_none() {
            return Err(HistoryError::Trimmed { folder: folder.path().display().to_string(), rows: first });
        }
        Ok(Some(StreamHistory {
            folder,
            files: Arc::new(files),
            is_dropped,
            first,
            trimmed: vec![],
            is_trimmed_for_good: false,
            writing: 0,
            read: None,
        }))
    }

    /// Takes the history of the stream `name` away, which is no more.
    pub(super) fn drop_history(&mut self, name: &str) {
        let kept = self.streams.get(name).and_then(|stream| stream.history.as_ref());
        if let (Some(history), Some(kept)) = (&mut self.history, kept.filter(|kept| !kept.is_dropped)) {
            history.dropped.push(kept.clone());
        }
    }

    /// How the writing of history does.
    pub(super) fn history_health(&self) -> Arc<Health> {
        self.history.as_ref().map(|history| history.keeper.health().clone()).unwrap_or_default()
    }

    /// Takes note of a statement that defines something: what it creates has its number.
    pub(super) fn defines(&mut self) {
        self.definitions += 1;
    }

    /// Adds `count` rows that are on disk to the stream `name`, at the open tick.
    pub(super) fn append_kept(&mut self, name: &str, mut count: u64) -> Result<(), KeptError> {
        let is_read = !self.is_passed_over(name, self.open_tick());
        while count > 0 {
            let Some(stream) = self.streams.get_mut(name) else { return Ok(()) };
            let (first, end) = (stream.rows, stream.rows + count);
            let none = || HistoryError::Missing { folder: name.to_owned(), from: first, to: end };
            let history = stream.history.as_mut().ok_or_else(none)?;
            if end > history.rows() {
                return Err(history.missing(first, end).into());
            }
            // Rows that are gone are in what views go on from.
            let gone = history.first.saturating_sub(first).min(count);
            let skipped = if is_read && !history.is_dropped { gone } else { count };
            if skipped > 0 {
                stream.skip(skipped);
                self.open_rows += skipped as usize;
                count -= skipped;
                continue;
            }
            let rows = history.take(first, count, &stream.schema)?;
            count -= rows.num_rows() as u64;
            self.append_rows(name, &rows)?;
        }
        Ok(())
    }

    /// Gives history what the tick just closed leaves to be written, takes note of what was, and lets go of rows that need
    /// not be in memory.
    pub(super) fn store(&mut self) {
        for stream in self.streams.values_mut() {
            stream.store();
        }
        self.tend_history();
        for stream in self.streams.values_mut() {
            stream.evict(self.stored_bytes_max);
        }
    }

    /// Gives history what is to be written, and takes note of what was.
    pub(super) fn tend_history(&mut self) {
        // What was dropped goes first: the journal may need no row of it only when its files are known to be gone.
        self.seal();
        self.note_written();
    }

    /// Gives history the rows that it has not: those of streams that have enough, or that the journal is to hold no longer.
    /// What it does not take now is tried again with the next tick.
    fn seal(&mut self) {
        let Some(history) = &mut self.history else { return };
        while let Some(kept) = history.dropped.pop() {
            let job = Job::Empty { folder: kept.folder.clone(), files: kept.files.clone() };
            if history.keeper.try_send(job).is_err() {
                history.dropped.push(kept);
                return;
            }
        }
        for stream in self.streams.values_mut() {
            if let Some(kept) = stream.history.as_mut().filter(|kept| kept.is_trimmed_for_good) {
                let (folder, files, first) = (kept.folder.clone(), kept.trimmed.clone(), kept.first);
                if history.keeper.try_send(Job::Trim { folder, files, first }).is_err() {
                    return;
                }
                (kept.trimmed, kept.is_trimmed_for_good) = (vec![], false);
            }
            let Some(kept) = &stream.history else { continue };
            // The last mark asks for what those before it do.
            let marked = history.marks.back().and_then(|mark| mark.rows.get(kept.folder.path()));
            let all = marked.is_some_and(|rows| *rows > stream.sealed_rows());
            let Some((first, batches)) = stream.unsealed(all) else { continue };
            let (folder, files, count) = (kept.folder.clone(), kept.files.clone(), batches.len());
            let job = Job::Write { folder, files, first, batches, span_max: stream.span_max() };
            if history.keeper.try_send(job).is_err() {
                return;
            }
            stream.sealed(count);
            stream.history.iter_mut().for_each(|kept| kept.writing += 1);
        }
    }

    /// Takes note of what was written, and shortens the journal where it may be.
    fn note_written(&mut self) {
        let Some(history) = &mut self.history else { return };
        for done in history.keeper.done() {
            match done {
                Done::Shortened(bytes) => history.shortened += bytes,
                Done::Written { folder, files } => {
                    let mut kept = self.streams.values_mut().filter_map(|stream| stream.history.as_mut());
                    if let Some(kept) = kept.find(|kept| kept.folder.path() == folder.path()) {
                        kept.writing = kept.writing.saturating_sub(1);
                        kept.forget_trimmed(files);
                    }
                }
            }
        }
        if !history.dropped.is_empty() {
            return;
        }
        // A stream that is no more needs no rows.
        let kept = || self.streams.values().filter_map(|stream| stream.history.as_ref());
        let has = |kept: &StreamHistory, mark: &Mark| {
            mark.rows.get(kept.folder.path()).is_none_or(|rows| kept.rows() >= *rows)
        };
        while let Some(mark) = history.marks.front()
            && kept().all(|kept| has(kept, mark))
        {
            let job = Job::Shorten { through: mark.through, except: history.without.clone() };
            if history.keeper.try_send(job).is_err() {
                return;
            }
            history.marks.pop_front();
        }
    }

    /// Compares what came while the journal was played with what is on disk.
    ///
    /// # Errors
    ///
    /// Where more is on disk than came, or something is gone that is needed.
    pub(super) fn check_history(&mut self) -> Result<(), HistoryError> {
        for stream in self.streams.values_mut() {
            let rows = stream.rows;
            let Some(history) = &mut stream.history else { continue };
            history.read = None;
            if history.is_dropped || history.rows() > rows {
                let on_disk = if history.is_dropped { 0 } else { history.rows() };
                return Err(HistoryError::Other {
                    folder: history.folder.path().display().to_string(),
                    on_disk,
                    rows,
                });
            }
        }
        Ok(())
    }

    /// Has the journal shortened up to record `through`, once all rows that came until now are on disk.
    pub(super) fn shorten_journal(&mut self, through: Sequence) {
        if self.history.is_none() {
            return;
        }
        let rows = self.streams.values().filter_map(|stream| {
            let kept = stream.history.as_ref().filter(|kept| !kept.is_dropped)?;
            Some((kept.folder.path().to_owned(), stream.rows))
        });
        let mark = Mark { through, rows: rows.collect() };
        let Some(history) = &mut self.history else { return };
        history.marks.push_back(mark);
    }

    /// By how many bytes the journal is shorter since this was asked last.
    pub(super) fn journal_shortened(&mut self) -> u64 {
        self.history.as_mut().map_or(0, |history| std::mem::take(&mut history.shortened))
    }

    /// Whether so many rows wait to be written that no more are to come.
    pub(super) fn history_is_behind(&self) -> bool {
        self.history.is_some()
            && self.streams.values().any(|stream| {
                stream.history.is_some()
                    && stream.stored_bytes
                        > WAITING_BYTES_MAX.max(2 * self.stored_bytes_max.min(usize::MAX / 2))
            })
    }

    /// Waits while history is behind, as long as it gets on.
    pub(super) fn await_history(&mut self) {
        while self.history_is_behind()
            && self.history.as_ref().is_some_and(|history| history.keeper.health().failure().is_none())
        {
            std::thread::sleep(LOOK);
            self.store();
        }
    }
}

/// Why rows that are on disk cannot come once more.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeptError {
    /// They cannot be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The engine has failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
}
