//! What a checkpoint says of itself.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{CheckpointError, Losses, OperatorKey};

/// The version of the form of checkpoints.
const VERSION: u32 = 1;

/// Where a part of the file of states is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct SavedPart {
    pub offset: u64,
    pub bytes: u64,
    /// CRC-32 of the bytes.
    pub checksum: u32,
}

/// What the parts of a checkpoint are.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    version: u32,
    pub tick: u64,
    pub reach_ms: u64,
    pub views: Vec<SavedView>,
    pub operators: Vec<SavedOperator>,
    pub sinks: Vec<SavedSink>,
}

/// A view of a checkpoint.
#[derive(Debug, Serialize, Deserialize)]
pub struct SavedView {
    pub(super) name: String,
    pub(super) definition: String,
    /// What ran for each operator of its plan, and what that had counted.
    pub operators: Vec<(OperatorKey, Losses)>,
    pub(super) rows: SavedPart,
    pub(super) errors: SavedPart,
}

/// What an operator had on each worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SavedOperator {
    pub key: OperatorKey,
    pub workers: Vec<SavedPart>,
}

/// A sink of a checkpoint.
#[derive(Debug, Serialize, Deserialize)]
pub struct SavedSink {
    pub(super) id: u64,
    /// Why it can deliver nothing any more, if it cannot.
    pub failure: Option<String>,
    pub(super) open: SavedPart,
}

impl Manifest {
    pub fn new(tick: u64, reach_ms: u64) -> Self {
        let (views, operators, sinks) = Default::default();
        Manifest { version: VERSION, tick, reach_ms, views, operators, sinks }
    }

    /// Its text, the last line of which is the CRC-32 of those before.
    pub fn text(&self) -> String {
        // Maps with keys that are no texts, which JSON has not, do not occur.
        let text = serde_json::to_string_pretty(self).unwrap_or_default() + "\n";
        let checksum = crc32fast::hash(text.as_bytes());
        format!("{text}{checksum:08x}\n")
    }

    /// The manifest in the file at `path`.
    pub fn read(path: &Path) -> Result<Self, CheckpointError> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let damaged = |reason: &str| CheckpointError::damaged(path, reason);
        let text = fs::read_to_string(path).map_err(CheckpointError::file("read", path))?;
        let last = text.trim_end().rfind('\n').ok_or_else(|| damaged("it has no checksum"))?;
        let (text, checksum) = text.split_at(last + 1);
        if checksum != format!("{:08x}\n", crc32fast::hash(text.as_bytes())) {
            return Err(damaged("it does not match its checksum"));
        }
        let unread = |error: serde_json::Error| CheckpointError::damaged(path, error);
        let Version { version } = serde_json::from_str(text).map_err(unread)?;
        if version != VERSION {
            return Err(CheckpointError::Version {
                path: path.to_owned(),
                found: version,
                expected: VERSION,
            });
        }
        serde_json::from_str(text).map_err(unread)
    }
}
