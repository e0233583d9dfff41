//! What can be wrong with a journal.

use std::io;

use super::{RECORD_BYTES_MAX, Sequence};

/// Why a journal cannot be read, or why nothing was appended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// A file could not be read or written.
    #[error("cannot {action} \"{file}\": {reason}{}", hint(*.kind))]
    File {
        /// What was tried.
        action: &'static str,
        /// The file or the folder.
        file: String,
        /// What kind of failure it was.
        kind: io::ErrorKind,
        /// What the system says.
        reason: String,
    },
    /// The limit is reached.
    #[error(
        "the journal has {bytes} bytes and would pass its limit of {bytes_max} (journal.bytes_max); raise it, and start again"
    )]
    Full {
        /// What it has.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// A record is too large.
    #[error(
        "a record has {bytes} bytes, and the journal takes {RECORD_BYTES_MAX} at most; write less at once"
    )]
    TooLarge {
        /// What it has.
        bytes: usize,
    },
    /// What was durable cannot be read.
    #[error(
        "the journal is damaged: record {sequence} in \"{file}\" at byte {offset} {reason}, and what was acknowledged comes after it; restore the file from a copy, or move it and all later ones away to start from the records before it"
    )]
    Corrupt {
        /// The segment.
        file: String,
        /// Where the record should be.
        offset: u64,
        /// The number that it should have.
        sequence: Sequence,
        /// What is wrong.
        reason: &'static str,
    },
    /// A segment is not there.
    #[error(
        "the journal is not whole: \"{file}\" begins with record {found}, record {expected} is missing; restore the segment that holds it from a copy"
    )]
    Missing {
        /// The segment that comes after it.
        file: String,
        /// Its first record.
        found: Sequence,
        /// The record that should be there.
        expected: Sequence,
    },
    /// Written by another version.
    #[error(
        "\"{file}\" has format {found} of the journal, and this version reads {expected}; use the version that wrote it"
    )]
    Version {
        /// The segment.
        file: String,
        /// Its format.
        found: u32,
        /// What is read here.
        expected: u32,
    },
    /// Another process has it.
    #[error(
        "\"{0}\" is in use by another process; stop that one, or choose another data directory (data.dir)"
    )]
    Locked(String),
    /// It is closed.
    #[error("the journal is closed")]
    Closed,
}

impl JournalError {
    /// That `action` failed on `file`.
    pub(super) fn file(action: &'static str, file: &str, error: &io::Error) -> Self {
        JournalError::File { action, file: file.to_owned(), kind: error.kind(), reason: error.to_string() }
    }
}

fn hint(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space: nothing is taken until there is"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; let this process write there: nothing is taken until it can"
        }
        _ => "",
    }
}
