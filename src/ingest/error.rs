//! What can be wrong with a replay before it starts.

use std::io;
use std::path::PathBuf;

use super::{BATCH_ROWS_MAX, MERGE_SLACK_NS_MAX, paths};

/// Why a replay cannot start.
///
/// Each is a mistake in what was asked for, or in access to it. Damage *inside* a file is no error: it becomes
/// rows of `ingest_errors`, and everything else is read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IngestError {
    /// No path was given.
    #[error("no file to replay. Name at least one file or folder")]
    NoPath,
    /// A path that does not exist or cannot be looked at.
    #[error("cannot find {path:?}. Check the spelling and that the folder above it may be entered")]
    Missing {
        /// As it was given.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A folder that cannot be listed.
    #[error("cannot list the folder {path:?}. Check that it may be read")]
    Folder {
        /// The folder, which may lie below the one that was given.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A folder in which no file has a known ending.
    #[error("the folder {path:?} holds no recorded telemetry. Known endings: {}", paths::ENDINGS)]
    NothingInFolder {
        /// As it was given.
        path: PathBuf,
    },
    /// A file, named by itself, whose ending says nothing about its format.
    #[error("the ending of {path:?} is not known. Known endings: {}", paths::ENDINGS)]
    Ending {
        /// As it was given.
        path: PathBuf,
    },
    /// More files than may be open at once.
    #[error(
        "{files} files are more than the {files_max} that may be open at once. Replay them in several parts"
    )]
    TooManyFiles {
        /// Different files found.
        files: usize,
        /// The limit, [`super::ReplayOptions::files_max`].
        files_max: usize,
    },
    /// A file that is there but cannot be opened.
    #[error("cannot open {path:?}. Check that it may be read and that the limit of open files allows it")]
    Open {
        /// As it was given or found.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A Parquet file whose columns are those of no table.
    #[error("{path:?} fits no table: {table:?}, the nearest, needs the missing column {column:?}")]
    ParquetTable {
        /// As it was given or found.
        path: PathBuf,
        /// The table that shares most columns with the file.
        table: &'static str,
        /// The first column of that table that must be there and is not.
        column: String,
    },
    /// A Parquet file with columns of one of our tables, one of them of another kind of type.
    #[error(
        "{path:?} has column {column:?} as {found}, but table {table:?} has it as {expected}. Cast it to that"
    )]
    ParquetColumn {
        /// As it was given or found.
        path: PathBuf,
        /// The table the file was taken for.
        table: &'static str,
        /// The column.
        column: String,
        /// Its type in the file.
        found: String,
        /// Its type in the table.
        expected: String,
    },
    /// [`super::ReplayOptions::columns`] names a column that its table does not have.
    #[error("table {table:?} has no column {column:?}")]
    Column {
        /// The table.
        table: &'static str,
        /// The column asked for.
        column: String,
    },
    /// [`super::ReplayOptions::batch_rows`] out of range.
    #[error("batch_rows {batch_rows} is not in 1..={}", BATCH_ROWS_MAX)]
    BatchRows {
        /// The value given.
        batch_rows: usize,
    },
    /// [`super::ReplayOptions::merge_slack_ns`] out of range.
    #[error("merge_slack_ns {merge_slack_ns} is not in 0..={}", MERGE_SLACK_NS_MAX)]
    MergeSlack {
        /// The value given, in nanoseconds.
        merge_slack_ns: i64,
    },
}
