//! Checkpoints: what the dataflows of a database have at the end of a tick, on disk.
//!
//! A folder for the last one, called as its tick, in it two files:
//!
//! ```text
//!  checkpoints/00000001732790400000/state          parts, one behind the other: record batches as an Arrow IPC
//!                                                  stream, compressed with zstd
//!                                   manifest.json  what the parts are, where they are, and the CRC-32 of each
//! ```
//!
//! It is written beside its place, synced, and put there when whoever reads from it later needs nothing that came
//! before: until then, and if the process ends before, the one before it counts.

mod counted;
mod error;
mod folder;
mod manifest;
mod saved;
#[cfg(test)]
mod tests;

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};

pub use self::error::CheckpointError;
pub use self::folder::Folder;
pub use self::manifest::{SavedSink, SavedView};
pub use self::saved::Saved;
use crate::delta::operator::Part;

/// What a database has at the end of a tick.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// The tick.
    pub tick: u64,
    /// For how many milliseconds before it rows have to come once more.
    pub reach_ms: u64,
    /// The views that can go on from it.
    pub views: Vec<ViewContents>,
    /// What operators have: each with what it has on each worker.
    pub operators: Vec<(OperatorKey, Vec<RecordBatch>)>,
    /// The sinks.
    pub sinks: Vec<SinkContents>,
}

/// An operator that ran when a checkpoint was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OperatorKey {
    /// The number of its dataflow.
    pub dataflow: u64,
    /// Its node.
    pub node: usize,
}

/// What an operator counts that a restart does not count anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Losses {
    /// Rows that came too late.
    pub late_rows: u64,
    /// Rows dropped behind the horizon.
    pub expired_rows: u64,
}

/// A view.
#[derive(Clone, Debug, Default)]
pub struct ViewContents {
    /// Its name.
    pub name: String,
    /// What tells its definition from others.
    pub definition: String,
    /// What ran for each operator of its plan.
    pub operators: Vec<(OperatorKey, Losses)>,
    /// Its rows, with how often each is there.
    pub rows: Vec<Part>,
    /// Its errors, likewise.
    pub errors: Vec<Part>,
}

/// A sink.
#[derive(Clone, Debug, Default)]
pub struct SinkContents {
    /// Its number.
    pub id: u64,
    /// Why it can deliver nothing any more, if it cannot.
    pub failure: Option<String>,
    /// Rows of windows that have not ended, with how often each is there.
    pub open: Vec<Part>,
}
