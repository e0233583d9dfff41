//! A journal that is written: its last segment, and those that come after it.

use super::files::{Files, Output};
use super::frame::{self, HEADER_BYTES};
use super::{JournalError, Options, RECORD_BYTES_MAX, Record, Sequence};
use crate::fault;

/// Bytes for which there may be no room though there is for others.
const LARGE_BYTES: u64 = 16 << 20;

/// Bytes that find room in a full journal, once.
const FIRST_BYTES_MAX: u64 = 4096;

/// How the names of segments end.
const SUFFIX: &str = ".journal";

/// The name of the segment whose first record is `first`.
pub(super) fn name_of(first: Sequence) -> String {
    format!("{first:020}{SUFFIX}")
}

/// The first record of the segment called `name`; `None` for a file that is none.
pub(super) fn first_named(name: &str) -> Option<Sequence> {
    name.strip_suffix(SUFFIX).filter(|digits| digits.len() == 20)?.parse().ok()
}

/// A journal, to whose end records are added.
pub struct Journal {
    files: Box<dyn Files>,
    options: Options,
    /// The last segment, unless the next record begins a new one.
    last: Option<Last>,
    /// The durable bytes of all segments.
    bytes: u64,
    segments: usize,
    next: Sequence,
    is_full: bool,
    /// Nothing was appended since it was read: the first that is, little as it is, finds room, so that one that is full can be
    /// begun with and shortened.
    is_unused: bool,
}

struct Last {
    name: String,
    output: Box<dyn Output>,
    /// Its durable bytes.
    length: u64,
}

impl Journal {
    /// The journal after its last segment, of `length` bytes, was read.
    pub(super) fn at_end(
        files: Box<dyn Files>,
        options: Options,
        last: Option<(String, u64)>,
        (bytes, segments): (u64, usize),
        next: Sequence,
    ) -> Result<Self, JournalError> {
        let last = match last {
            None => None,
            Some((name, length)) => {
                let output = files.open(&name);
                let output = output.map_err(|e| JournalError::file("open", &files.path(&name), &e))?;
                Some(Last { name, output, length })
            }
        };
        Ok(Journal { files, options, last, bytes, segments, next, is_full: false, is_unused: true })
    }

    /// The number that the next record has.
    pub fn next(&self) -> Sequence {
        self.next
    }

    /// The bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many segments there are.
    pub fn segments(&self) -> usize {
        self.segments
    }

    /// Takes note that the segments that have ended are `bytes` shorter.
    pub fn shortened(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.is_full &= bytes == 0;
    }

    /// Appends `groups`, one after the other, and returns when they are durable.
    ///
    /// # Errors
    ///
    /// Nothing of them is there then. The next call tries anew, whatever it was.
    pub fn append(&mut self, groups: &[&[Record]]) -> Result<(), JournalError> {
        let (mut buffer, mut sequence) = (vec![], self.next);
        let durable = self.next - 1;
        for group in groups {
            for (place, record) in group.iter().enumerate() {
                if record.bytes.len() > RECORD_BYTES_MAX {
                    return Err(JournalError::TooLarge { bytes: record.bytes.len() });
                }
                frame::put(&mut buffer, record, sequence, durable, place + 1 == group.len());
                sequence += 1;
            }
        }
        let bytes = buffer.len() as u64;
        // Full, it stays so until it is shorter, though something small might fit: what is refused is to be clear.
        // Only what is large is refused alone.
        let is_over = self.bytes + bytes > self.options.bytes_max;
        self.is_full |= is_over && bytes <= LARGE_BYTES;
        if (is_over || self.is_full) && !(self.is_unused && bytes <= FIRST_BYTES_MAX) {
            return Err(JournalError::Full { bytes: self.bytes, bytes_max: self.options.bytes_max });
        }
        let mut last = match self.last.take().filter(|l| l.length < self.options.segment_bytes_max) {
            Some(last) => last,
            None => {
                let last = begin(self.files.as_ref(), self.next)?;
                self.segments += 1;
                self.bytes += HEADER_BYTES as u64;
                last
            }
        };
        let file = self.files.path(&last.name);
        fault::point("journal.taken");
        if let Err(error) = last.output.write(&buffer) {
            // Taken back, the segment is as it was: else the next record begins a new one, which ends this.
            let is_back = last.output.truncate(last.length).and_then(|()| last.output.sync()).is_ok();
            self.last = is_back.then_some(last);
            return Err(JournalError::file("write", &file, &error));
        }
        fault::point("journal.written");
        if let Err(error) = last.output.sync() {
            let _ = last.output.truncate(last.length).and_then(|()| last.output.sync());
            return Err(JournalError::file("sync", &file, &error));
        }
        fault::point("journal.synced");
        last.length += bytes;
        self.bytes += bytes;
        self.next = sequence;
        self.is_unused = false;
        self.last = Some(last);
        Ok(())
    }
}

/// A new segment for the records from `first` on, durable with its name.
fn begin(files: &dyn Files, first: Sequence) -> Result<Last, JournalError> {
    let name = name_of(first);
    let file = files.path(&name);
    let failed = |action| move |error: std::io::Error| (action, error);
    let made = files.create(&name).map_err(failed("create")).and_then(|mut output| {
        output.write(&frame::header(first)).map_err(failed("write"))?;
        output.sync().map_err(failed("sync"))?;
        files.sync().map_err(failed("sync the folder of"))?;
        Ok(output)
    });
    match made {
        Ok(output) => Ok(Last { name, output, length: HEADER_BYTES as u64 }),
        Err((action, error)) => {
            // One that stays is begun anew: it holds no record.
            let _ = files.remove(&name);
            Err(JournalError::file(action, &file, &error))
        }
    }
}
