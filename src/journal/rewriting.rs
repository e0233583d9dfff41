//! Segments that have ended, with fewer bytes in the place of their records.

use std::collections::BTreeSet;

use super::files::Files;
use super::frame::{self, HEADER_BYTES};
use super::segments::{first_named, name_of};
use super::{JournalError, Record, Sequence};
use crate::fault;

/// Puts other records in the place of those of segments that have ended. What a record becomes has its number, so that
/// the journal is as whole as before; a crash leaves a segment as it was or as it is to be.
pub struct Rewriter {
    files: Box<dyn Files>,
    /// The first records of the segments that are done.
    done: BTreeSet<Sequence>,
}

impl Rewriter {
    /// One for the journal in `files`.
    pub fn new(files: Box<dyn Files>) -> Self {
        Rewriter { files, done: BTreeSet::new() }
    }

    /// Puts what `shorten` makes of a record in its place, where it makes something of it, in all segments whose records
    /// are all at most `through`. The last segment stays. `shorter` is told of each by how many bytes the journal is shorter.
    ///
    /// # Errors
    ///
    /// When a segment cannot be read or written: it is as it was, and those before it are done.
    pub fn rewrite(
        &mut self,
        through: Sequence,
        shorten: impl Fn(&Record) -> Option<Record>,
        mut shorter: impl FnMut(u64),
    ) -> Result<(), JournalError> {
        let names = self.files.names().map_err(|e| JournalError::file("list", &self.files.path(""), &e))?;
        let firsts: BTreeSet<Sequence> = names.iter().filter_map(|name| first_named(name)).collect();
        self.done.retain(|first| firsts.contains(first));
        for (first, next) in firsts.iter().zip(firsts.iter().skip(1)) {
            if *next > through + 1 {
                break;
            }
            if !self.done.contains(first) {
                shorter(self.rewrite_segment(*first, *next, &shorten)?);
                self.done.insert(*first);
            }
        }
        Ok(())
    }

    /// Rewrites the segment of the records from `first` to the one before `next`; by how many bytes it is shorter.
    fn rewrite_segment(
        &self,
        first: Sequence,
        next: Sequence,
        shorten: impl Fn(&Record) -> Option<Record>,
    ) -> Result<u64, JournalError> {
        let name = name_of(first);
        let file = self.files.path(&name);
        let bytes = self.files.read(&name).map_err(|e| JournalError::file("read", &file, &e))?;
        let mut shorter = frame::header(first).to_vec();
        let (mut at, mut is_changed) = (HEADER_BYTES, false);
        for sequence in first..next {
            let Some(frame) = frame::read(&bytes, at).filter(|frame| frame.sequence == sequence) else {
                let (offset, reason) = (at as u64, "does not match its checksum");
                return Err(JournalError::Corrupt { file, offset, sequence, reason });
            };
            let record = Record { kind: frame.kind, bytes: frame.bytes.to_vec() };
            let instead = shorten(&record);
            is_changed |= instead.is_some();
            let record = instead.unwrap_or(record);
            // All of it is durable when it is in place: nothing may be torn off.
            frame::put(&mut shorter, &record, sequence, sequence - 1, frame.is_last_of_group);
            at = frame.end;
        }
        if !is_changed {
            return Ok(0);
        }
        fault::point("journal.shortening");
        self.files.replace(&name, &shorter).map_err(|e| JournalError::file("replace", &file, &e))?;
        fault::point("journal.shortened");
        Ok((bytes.len() as u64).saturating_sub(shorter.len() as u64))
    }
}
