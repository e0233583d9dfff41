//! The files of a replay, merged by event time.

use std::fs::File;
use std::path::PathBuf;

use super::compression::{ReadBytes, stream};
use super::parquet_file::ParquetFile;
use super::paths::{Format, Input, inputs};
use super::portion::Portion;
use super::records::{Desk, Records, kind};
use super::{IngestError, ReplayOptions};
use crate::telemetry::{Batch, Decoder, Origin, Table};

/// A portion of records is not extended beyond about this much, so that few but huge records stay few. In bytes of
/// Arrow buffers.
const PORTION_BYTES_MAX: usize = 32 << 20;

/// The next rows of a replay.
#[derive(Debug)]
pub struct Step {
    /// At least one row; at most [`ReplayOptions::batch_rows`] rows of each table.
    pub batches: Vec<Batch>,
    /// The stream clock after these rows, in nanoseconds since 1970: every unfinished file has reached this event
    /// time, either with a row delivered or because its next row is not before it. Never falls. `None` as long as no
    /// row had a time. A file need not be in order, so rows before the clock may follow: they are late.
    pub clock_ns: Option<i64>,
}

/// Recorded telemetry, delivered in portions in the order of event time.
///
/// Files are merged by the first event time each has yet to deliver; rows of one file and table keep their order.
/// Each file holds one portion in memory: one record, or as many as make up [`ReplayOptions::batch_rows`] rows.
///
/// ```no_run
/// use undercurrent::ingest::{Replay, ReplayOptions};
///
/// # fn main() -> Result<(), undercurrent::ingest::IngestError> {
/// let now_ns = 1_700_000_000_000_000_000;
/// let mut replay = Replay::open(&["recorded/".into()], ReplayOptions::at(now_ns))?;
/// while let Some(step) = replay.next() {
///     println!("{} tables up to {:?}, {} bytes read", step.batches.len(), step.clock_ns, replay.bytes_read());
/// }
/// # Ok(())
/// # }
/// ```
pub struct Replay {
    options: ReplayOptions,
    desk: Desk,
    /// Files with rows to deliver, in the order of their paths, which decides between equal times.
    open: Vec<OpenFile>,
    clock_ns: Option<i64>,
    /// The largest event time delivered by any file.
    seen_ns: Option<i64>,
    bytes_total: u64,
    /// Sizes of the files that are done.
    bytes_done: u64,
}

struct OpenFile {
    source: Source,
    portion: Portion,
    /// `portion.due_ns`.
    due_ns: Option<i64>,
    /// The largest event time delivered.
    seen_ns: Option<i64>,
    bytes: u64,
}

enum Source {
    Records(Records),
    Parquet(Box<ParquetFile>),
    /// Nothing of the file can be read.
    Damaged {
        origin: Origin,
        reason: String,
    },
    Done,
}

impl Replay {
    /// Opens every file of `paths`, files or folders, and reads the first record of each.
    ///
    /// Folders are walked to the bottom for files of a known ending. A file named twice is read once.
    ///
    /// # Errors
    /// [`IngestError`]: what was asked for does not exist, cannot be opened, is no telemetry, or is too much.
    pub fn open(paths: &[PathBuf], options: ReplayOptions) -> Result<Replay, IngestError> {
        options.check()?;
        if paths.is_empty() {
            return Err(IngestError::NoPath);
        }
        let inputs = inputs(paths)?;
        if inputs.len() > options.files_max {
            return Err(IngestError::TooManyFiles { files: inputs.len(), files_max: options.files_max });
        }
        let desk = Desk {
            decoder: Decoder::new(options.limits.clone(), options.now_ns),
            record: Vec::new(),
            record_bytes_max: options.line_bytes_max,
        };
        let mut replay = Replay {
            options,
            desk,
            open: Vec::with_capacity(inputs.len()),
            clock_ns: None,
            seen_ns: None,
            bytes_total: 0,
            bytes_done: 0,
        };
        for input in inputs {
            replay.open_file(input)?;
        }
        Ok(replay)
    }

    /// Sizes of all files on the disk, in bytes.
    pub fn bytes_total(&self) -> u64 {
        self.bytes_total
    }

    /// How much of [`Replay::bytes_total`] has been read, for a progress bar. Equal to it at the end.
    pub fn bytes_read(&self) -> u64 {
        // A file that is still being written to has more bytes by now than it had.
        let open = self.open.iter().map(|file| file.source.bytes_read(file.bytes).min(file.bytes));
        self.bytes_done + open.sum::<u64>()
    }

    fn open_file(&mut self, input: Input) -> Result<(), IngestError> {
        let cannot_open = |source| IngestError::Open { path: input.path.clone(), source };
        let file = File::open(&input.path).map_err(cannot_open)?;
        let bytes = file.metadata().map_err(cannot_open)?.len();
        let name = input.path.display().to_string();
        let mut source = match input.format {
            Format::Parquet => match ParquetFile::open(file, &input.path, &self.options)? {
                Ok(parquet) => Source::Parquet(Box::new(parquet)),
                Err(reason) => Source::Damaged { origin: Origin { source: name, position: None }, reason },
            },
            format => {
                let read = ReadBytes::default();
                let stream = stream(file, input.compression, read.clone()).map_err(cannot_open)?;
                Source::Records(Records::new(stream, name, format, read))
            }
        };
        self.bytes_total += bytes;
        // One record is enough to know when the file's turn comes: a thousand files wait at the cost of a line each.
        match source.read(&mut self.desk, self.options.batch_rows, i64::MIN) {
            Some(portion) => {
                let due_ns = portion.due_ns(self.options.batch_rows);
                self.open.push(OpenFile { source, portion, due_ns, seen_ns: None, bytes });
            }
            None => self.bytes_done += bytes,
        }
        Ok(())
    }

    /// The latest event time to deliver now, in nanoseconds: the first that a file other than `index` has yet to
    /// deliver, and the slack.
    fn horizon_ns(&self, index: usize) -> i64 {
        let others = self.open.iter().enumerate().filter(|&(other, _)| other != index);
        let first = others.filter_map(|(_, file)| file.due_ns).min();
        first.map_or(i64::MAX, |first| first.saturating_add(self.options.merge_slack_ns))
    }

    fn advance_clock(&mut self) {
        let clock_ns = if self.open.is_empty() {
            self.seen_ns
        } else {
            // A file of which no time is known yet is the least, and holds the clock where it is.
            self.open.iter().map(|file| file.seen_ns.max(file.due_ns)).min().flatten()
        };
        self.clock_ns = self.clock_ns.max(clock_ns);
    }
}

impl Iterator for Replay {
    type Item = Step;

    /// The next rows in the order of event time; `None` after the last.
    fn next(&mut self) -> Option<Step> {
        // A linear search: it costs a microsecond or two for a thousand files, and a step is thousands of rows.
        let index = (0..self.open.len()).min_by_key(|&index| self.open[index].due_ns)?;
        let horizon_ns = self.horizon_ns(index);
        let file = &mut self.open[index];
        let batches = file.portion.take(self.options.batch_rows, horizon_ns);
        assert!(!batches.is_empty(), "a step without rows would never end");

        let last_ns = batches.iter().filter_map(|batch| batch.event_time_ns).map(|(_, last)| last).max();
        file.seen_ns = file.seen_ns.max(last_ns);
        self.seen_ns = self.seen_ns.max(last_ns);
        // Until the horizon all other files stay behind, so this one may gather its records into one portion.
        if file.read_on(&mut self.desk, self.options.batch_rows, horizon_ns) {
            file.due_ns = file.portion.due_ns(self.options.batch_rows);
        } else {
            self.bytes_done += file.bytes;
            self.open.remove(index);
        }
        self.advance_clock();
        Some(Step { batches, clock_ns: self.clock_ns })
    }
}

impl OpenFile {
    /// Reads the next portion when this one is used up. False at the end of the file.
    fn read_on(&mut self, desk: &mut Desk, batch_rows: usize, until_ns: i64) -> bool {
        if self.portion.is_empty() {
            let Some(portion) = self.source.read(desk, batch_rows, until_ns) else { return false };
            self.portion = portion;
        }
        true
    }
}

impl Source {
    /// The next portion: records until they are `batch_rows` rows, are large, or reach beyond `until_ns`; `None` at the end.
    fn read(&mut self, desk: &mut Desk, batch_rows: usize, until_ns: i64) -> Option<Portion> {
        loop {
            let (mut batches, more) = match self {
                Source::Records(records) => {
                    let more = gather(records, desk, batch_rows, until_ns);
                    (Vec::new(), more)
                }
                Source::Parquet(parquet) => match parquet.next(&mut desk.decoder) {
                    Some(batch) => (vec![batch], true),
                    None => (Vec::new(), false),
                },
                Source::Damaged { origin, reason } => {
                    desk.decoder.reject(origin, kind::FILE, reason, &[]);
                    (Vec::new(), false)
                }
                Source::Done => return None,
            };
            if !more {
                *self = Source::Done;
            }
            for mut batch in desk.decoder.finish() {
                if batch.table == Table::IngestErrors {
                    // Dated now, not when the data arose: it must not move the stream clock.
                    batch.event_time_ns = None;
                }
                batches.push(batch);
            }
            if let Some(portion) = Portion::new(batches) {
                return Some(portion);
            }
        }
    }

    /// How many of the `bytes` of the file have been read.
    fn bytes_read(&self, bytes: u64) -> u64 {
        match self {
            Source::Records(records) => records.bytes_read(),
            Source::Parquet(parquet) => parquet.bytes_read(bytes),
            Source::Damaged { .. } | Source::Done => bytes,
        }
    }
}

/// Decodes at least one record. False at the end of the file.
fn gather(records: &mut Records, desk: &mut Desk, batch_rows: usize, until_ns: i64) -> bool {
    loop {
        let before = desk.decoder.rows();
        if !records.next(desk) {
            return false;
        }
        let rows = desk.decoder.rows();
        // The next record is taken to be as large as this one: better a step somewhat short than one cut in two.
        let full = rows + (rows - before) > batch_rows || desk.decoder.bytes() > PORTION_BYTES_MAX;
        let ahead = desk.decoder.event_time_ns().is_some_and(|(_, last)| last > until_ns);
        if rows > 0 && (full || ahead) {
            return true;
        }
    }
}
