//! What can be wrong with history.

use std::io;
use std::path::Path;

/// Why history cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// A file could not be read or written.
    #[error("cannot {action} \"{file}\": {reason}")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file or the folder.
        file: String,
        /// What the system says.
        reason: String,
    },
    /// A file is not what was written.
    #[error("the history is damaged: \"{file}\" cannot be read ({reason}); restore it from a copy")]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// Rows are not there.
    #[error(
        "the history is not whole: rows {from} to {to} are missing in \"{folder}\"; restore their file from a copy"
    )]
    Missing {
        /// The folder of the stream.
        folder: String,
        /// The first row.
        from: u64,
        /// The row behind the last.
        to: u64,
    },
    /// What is on disk is not of the journal beside it.
    #[error(
        "the history in \"{folder}\" has {on_disk} rows, and {rows} came; it is of another time than the journal: restore both from one copy"
    )]
    Other {
        /// The folder of the stream.
        folder: String,
        /// Rows on disk.
        on_disk: u64,
        /// Rows that came, as the journal says.
        rows: u64,
    },
    /// The first rows are gone, and what views made of them is not there either.
    #[error(
        "the first {rows} rows in \"{folder}\" are not kept any more, and there is no checkpoint to go on from; restore it from a copy"
    )]
    Trimmed {
        /// The folder of the stream.
        folder: String,
        /// How many.
        rows: u64,
    },
    /// Rows have no form in a file.
    #[error("rows {from} to {to} for \"{file}\" cannot be written ({reason})")]
    Rows {
        /// The folder of the stream.
        file: String,
        /// The first row.
        from: u64,
        /// The row behind the last.
        to: u64,
        /// Why not.
        reason: String,
    },
}

impl HistoryError {
    /// That `action` failed on `path`.
    pub(super) fn file(action: &'static str, path: &Path, error: &io::Error) -> Self {
        HistoryError::File { action, file: path.display().to_string(), reason: error.to_string() }
    }

    /// That what `path` holds is not what was written.
    pub(super) fn damaged(path: &Path, reason: impl ToString) -> Self {
        HistoryError::Damaged { file: path.display().to_string(), reason: reason.to_string() }
    }
}
