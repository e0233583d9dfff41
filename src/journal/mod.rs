//! The journal: what was accepted, on disk, in the order in which it was.
//!
//! A folder of segments; each is a header and frames, each frame a record with its sequence number and a checksum (CRC-32).
//! Records are bytes: what they mean is up to whoever writes them.
//!
//! ```text
//!  00000000000000000001.journal   magic, version, first sequence number, checksum
//!                                 frame: checksum, length, sequence, durable, kind, flags | bytes
//!                                 ...
//!  00000000000000004711.journal   ...
//! ```
//!
//! - **Durable.** A [`Committer`] writes what waits at once and syncs once for all of it; whoever waits is told after that.
//!   What is told to have failed is taken back, so that it is not there after a restart. When it fails to sync, what a
//!   file holds behind its durable end is unknown: the next records go to a new segment, whose first sequence number
//!   says where the old one ends.
//! - **Whole.** Records that are appended together, a group, come back together or not at all.
//! - **Recovered.** [`Recovery`] reads all groups in order. Each frame says up to which record all was durable when it was
//!   written. So a torn write, behind which nothing can have been acknowledged, is told from a damaged record: the former
//!   is taken away from the end of the last segment, the latter is an error that names its place.
//! - **Shortened.** A [`Rewriter`] puts other records in the place of those of ended segments, each under its number: what
//!   is kept elsewhere needs not be kept here.
//! - **Locked.** One process has the folder at a time.
//!
//! Limits: [`RECORD_BYTES_MAX`], [`Options::bytes_max`].

mod committer;
mod error;
mod files;
mod frame;
mod recovery;
mod rewriting;
mod segments;
#[cfg(test)]
mod tests;

pub use self::committer::{Committer, Health};
pub use self::error::JournalError;
pub use self::files::{Files, Folder, Output};
pub use self::recovery::{Recovery, TornEnd};
pub use self::rewriting::Rewriter;
pub use self::segments::Journal;

/// The most bytes of a record.
pub const RECORD_BYTES_MAX: usize = 2 << 30;

/// The number of a record: 1 for the first, then one more each.
pub type Sequence = u64;

/// Bytes of a kind, both of which mean something to whoever writes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The kind.
    pub kind: u8,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// Sizes of a journal.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes after which a new segment begins.
    pub segment_bytes_max: u64,
    /// The most bytes of all segments: beyond, nothing is taken.
    pub bytes_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options { segment_bytes_max: 64 << 20, bytes_max: 16 << 30 }
    }
}
