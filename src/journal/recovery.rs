//! A journal that is read, from its first record to its last.

use std::collections::VecDeque;

use super::files::Files;
use super::frame::{self, HEADER_BYTES, HeaderError};
use super::segments::{first_named, name_of};
use super::{Journal, JournalError, Options, Record, Sequence};

/// A write that did not end: nobody was told that it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornEnd {
    /// The segment.
    pub file: String,
    /// What is left of it.
    pub length: u64,
    /// What was taken away.
    pub bytes: u64,
}

/// The groups of a journal, in their order. One segment is in memory at a time.
pub struct Recovery {
    files: Box<dyn Files>,
    options: Options,
    /// The first records of the segments that are not read yet.
    ahead: VecDeque<Sequence>,
    /// The segment that is read, its bytes, and the place of the next group.
    name: Option<String>,
    segment: Vec<u8>,
    offset: usize,
    next: Sequence,
    bytes_total: u64,
    /// Bytes of segments that were read before.
    bytes_before: u64,
    segments: usize,
    torn_end: Option<TornEnd>,
}

impl Recovery {
    /// The journal in `files`; an empty one where there is none.
    ///
    /// # Errors
    ///
    /// When a segment is missing, of another version, or damaged at its head.
    pub fn open(files: Box<dyn Files>, options: Options) -> Result<Self, JournalError> {
        let names = files.names().map_err(|e| JournalError::file("list", &files.path(""), &e))?;
        let mut firsts: Vec<Sequence> = names.iter().filter_map(|name| first_named(name)).collect();
        firsts.sort_unstable();
        let (mut ahead, mut bytes_total, mut torn_end) = (VecDeque::new(), 0, None);
        for (place, first) in firsts.iter().enumerate() {
            let name = name_of(*first);
            let file = files.path(&name);
            let head = files.head(&name, HEADER_BYTES).map_err(|e| JournalError::file("read", &file, &e));
            let (head, bytes) = head?;
            let is_last = place + 1 == firsts.len();
            match frame::first_of(&head) {
                Ok(found) if found == *first => {
                    ahead.push_back(*first);
                    bytes_total += bytes;
                }
                Err(HeaderError::Version(found)) => {
                    return Err(JournalError::Version { file, found, expected: frame::VERSION });
                }
                // Its header is durable before a record is written to it.
                Err(HeaderError::Unreadable) if is_last && bytes <= HEADER_BYTES as u64 => {
                    let removed = files.remove(&name).and_then(|()| files.sync());
                    removed.map_err(|e| JournalError::file("remove", &file, &e))?;
                    torn_end = Some(TornEnd { file, length: 0, bytes });
                }
                _ => {
                    let reason = "has no header before it";
                    return Err(JournalError::Corrupt { file, offset: 0, sequence: *first, reason });
                }
            }
        }
        if let Some(found) = ahead.front().copied().filter(|first| *first != 1) {
            return Err(JournalError::Missing { file: files.path(&name_of(found)), found, expected: 1 });
        }
        let segments = ahead.len();
        let (name, segment, offset, next, bytes_before) = (None, vec![], 0, 1, 0);
        Ok(Recovery {
            files,
            options,
            ahead,
            name,
            segment,
            offset,
            next,
            bytes_total,
            bytes_before,
            segments,
            torn_end,
        })
    }

    /// The bytes of all segments.
    pub fn bytes_total(&self) -> u64 {
        self.bytes_total
    }

    /// How many of them have been read.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_before + self.offset as u64
    }

    /// What was taken away from the end, once it is reached.
    pub fn torn_end(&self) -> Option<&TornEnd> {
        self.torn_end.as_ref()
    }

    /// The records of the next group, with the number of the first; `None` after the last.
    ///
    /// # Errors
    ///
    /// When a record that was durable is damaged.
    pub fn next_group(&mut self) -> Result<Option<(Sequence, Vec<Record>)>, JournalError> {
        loop {
            // What is behind the record before the next segment was told to have failed.
            let is_at_end = self.ahead.front() == Some(&self.next);
            if self.name.is_some() && self.offset < self.segment.len() && !is_at_end {
                match self.group() {
                    Some((records, end)) => {
                        let first = self.next;
                        self.next += records.len() as Sequence;
                        self.offset = end;
                        return Ok(Some((first, records)));
                    }
                    None => self.unreadable()?,
                }
            }
            if !self.next_segment()? {
                return Ok(None);
            }
        }
    }

    /// The group at the place that was reached, and the place behind it; `None` where it is not whole.
    fn group(&self) -> Option<(Vec<Record>, usize)> {
        let (mut records, mut at) = (vec![], self.offset);
        loop {
            let frame = frame::read(&self.segment, at)?;
            if frame.sequence != self.next + records.len() as Sequence {
                return None;
            }
            records.push(Record { kind: frame.kind, bytes: frame.bytes.to_vec() });
            at = frame.end;
            if frame.is_last_of_group {
                return Some((records, at));
            }
        }
    }

    /// Deals with what is no group: a write that failed or did not end is left out, anything else is an error.
    fn unreadable(&mut self) -> Result<(), JournalError> {
        let name = self.name.clone().unwrap_or_default();
        let file = self.files.path(&name);
        let is_left_over = match self.ahead.front() {
            // The next segment says where this one ends.
            Some(first) => *first == self.next,
            None => !frame::is_vouched_for(&self.segment, self.offset, self.next),
        };
        let length = self.offset as u64;
        if !is_left_over {
            let (sequence, reason) = (self.next, "does not match its checksum");
            return Err(JournalError::Corrupt { file, offset: length, sequence, reason });
        }
        if !self.ahead.is_empty() {
            self.offset = self.segment.len();
            return Ok(());
        }
        let bytes = self.segment.len() as u64 - length;
        let cut = self.files.open(&name).and_then(|mut output| {
            output.truncate(length)?;
            output.sync()
        });
        cut.map_err(|e| JournalError::file("truncate", &file, &e))?;
        self.segment.truncate(self.offset);
        self.bytes_total -= bytes;
        self.torn_end = Some(TornEnd { file, length, bytes });
        Ok(())
    }

    /// Goes to the next segment; whether there is one.
    fn next_segment(&mut self) -> Result<bool, JournalError> {
        let Some(first) = self.ahead.pop_front() else { return Ok(false) };
        let name = name_of(first);
        let file = self.files.path(&name);
        if first != self.next {
            return Err(JournalError::Missing { file, found: first, expected: self.next });
        }
        self.bytes_before += self.segment.len() as u64;
        self.segment = self.files.read(&name).map_err(|e| JournalError::file("read", &file, &e))?;
        self.offset = HEADER_BYTES;
        self.name = Some(name);
        Ok(true)
    }

    /// The journal, whose records were all read, to be written on.
    ///
    /// # Errors
    ///
    /// When the last segment cannot be opened.
    pub fn finish(self) -> Result<Journal, JournalError> {
        let last = self.name.map(|name| (name, self.segment.len() as u64));
        Journal::at_end(self.files, self.options, last, (self.bytes_total, self.segments), self.next)
    }
}
