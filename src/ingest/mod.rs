//! Recorded telemetry: files and folders, replayed in the order of their event times.
//!
//! ```text
//! paths ─┬─ compression ─ records ─┬─ lines (JSON)      ─┬─ Decoder ─┬─ portion ─ replay: merge, stream clock
//!        │                         └─ frames (protobuf) ─┘           │  (one a file)
//!        └─ parquet_file ─ parquet_table ────────────────────────────┘
//! ```
//!
//! Nothing here reads the clock: what is "now" is told by [`ReplayOptions::now_ns`]. Damage inside a file becomes
//! rows of `ingest_errors`; a mistake in what was asked for is an [`IngestError`] before the first row.

mod compression;
mod error;
mod frames;
mod lines;
mod parquet_file;
mod parquet_table;
mod paths;
mod portion;
mod records;
mod replay;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

pub use error::IngestError;
pub use replay::{Replay, Step};

use crate::telemetry::{Limits, Table};

/// Rows of one table in one step, unless told otherwise.
pub const BATCH_ROWS_DEFAULT: usize = 8192;

/// The most rows of one table that a step may be asked to hold.
pub const BATCH_ROWS_MAX: usize = 1 << 20;

/// The longest line, document, message or frame that is read, in bytes after decompression, unless told otherwise.
pub const LINE_BYTES_MAX: usize = 64 << 20;

/// Files open at once, unless told otherwise: what most systems allow a process.
pub const FILES_MAX: usize = 1024;

/// How far one file may run ahead of the others, in nanoseconds, unless told otherwise: one tick of the engine.
pub const MERGE_SLACK_NS_DEFAULT: i64 = 1_000_000_000;

/// The largest slack that can be asked for: a day, in nanoseconds.
pub const MERGE_SLACK_NS_MAX: i64 = 86_400_000_000_000;

/// How a replay reads.
#[derive(Clone, Debug)]
pub struct ReplayOptions {
    /// The most rows of one table in one step; 1 to [`BATCH_ROWS_MAX`].
    pub batch_rows: usize,
    /// What the decoder accepts. Of Parquet files only the bounds of the event time are checked.
    pub limits: Limits,
    /// The longest line, document, message or frame that is read, in bytes after decompression. A longer one is
    /// skipped in bounded memory and leaves a row in `ingest_errors`.
    pub line_bytes_max: usize,
    /// The most files; all of them are open at once.
    pub files_max: usize,
    /// When the data is taken to be received, in nanoseconds since 1970: the `received_at` of `ingest_errors`.
    pub now_ns: i64,
    /// How far, in nanoseconds of event time, a step of one file may reach beyond the first row that another file
    /// has yet to deliver; 0 to [`MERGE_SLACK_NS_MAX`]. More slack makes larger steps of files with few rows a second.
    pub merge_slack_ns: i64,
    /// The columns needed of each table; all of them for a table that is not named. Only Parquet files can leave
    /// columns out, and they do: their batches have just these, in the order of the table's schema. Without the
    /// column of event times among them a file is merged batch by batch, not row by row.
    pub columns: Option<BTreeMap<Table, Vec<String>>>,
}

impl ReplayOptions {
    /// The defaults, for data received at `now_ns`, nanoseconds since 1970.
    pub fn at(now_ns: i64) -> Self {
        ReplayOptions {
            batch_rows: BATCH_ROWS_DEFAULT,
            limits: Limits::at(
                SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(now_ns).unwrap_or(0)),
            ),
            line_bytes_max: LINE_BYTES_MAX,
            files_max: FILES_MAX,
            now_ns,
            merge_slack_ns: MERGE_SLACK_NS_DEFAULT,
            columns: None,
        }
    }

    /// # Errors
    /// A number out of its range, a column that does not exist.
    fn check(&self) -> Result<(), IngestError> {
        if !(1..=BATCH_ROWS_MAX).contains(&self.batch_rows) {
            return Err(IngestError::BatchRows { batch_rows: self.batch_rows });
        }
        if !(0..=MERGE_SLACK_NS_MAX).contains(&self.merge_slack_ns) {
            return Err(IngestError::MergeSlack { merge_slack_ns: self.merge_slack_ns });
        }
        for (table, columns) in self.columns.iter().flatten() {
            let schema = table.schema();
            if let Some(column) = columns.iter().find(|column| schema.index_of(column).is_err()) {
                return Err(IngestError::Column { table: table.name(), column: column.clone() });
            }
        }
        Ok(())
    }
}
