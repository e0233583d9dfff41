//! What can go wrong with a checkpoint.

use std::path::{Path, PathBuf};

/// Why a checkpoint cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The system refuses something.
    #[error("cannot {verb} \"{}\"", path.display())]
    File {
        /// What was tried.
        verb: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// What is in a file is not what was written.
    #[error("checkpoint \"{}\" is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Another version has written it.
    #[error("checkpoint \"{}\" is of version {found}, {expected} can be read; use the version that wrote it", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The one that is read.
        expected: u32,
    },
    /// Arrow has no form for a state.
    #[error("a state cannot be written")]
    Arrow(#[from] arrow::error::ArrowError),
}

impl CheckpointError {
    pub(super) fn file(verb: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| CheckpointError::File { verb, path, source }
    }

    pub(super) fn damaged(path: &Path, reason: impl ToString) -> Self {
        CheckpointError::Damaged { path: path.to_owned(), reason: reason.to_string() }
    }
}
