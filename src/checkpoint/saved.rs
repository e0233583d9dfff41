//! A checkpoint that is read.

use std::fs::File;
use std::io::Cursor;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;

use super::counted::without_diffs;
use super::folder::{MANIFEST, STATE};
use super::manifest::{Manifest, SavedPart};
use super::{CheckpointError, OperatorKey, SavedSink, SavedView};
use crate::delta::expression::guarded;
use crate::delta::operator::Part;

/// A checkpoint on disk. It can be read for as long as this is there, though another has taken its place.
#[derive(Debug)]
pub struct Saved {
    path: PathBuf,
    manifest: Manifest,
    states: File,
}

impl Saved {
    /// The one in the folder at `path`.
    pub(super) fn open(path: &Path) -> Result<Self, CheckpointError> {
        let manifest = Manifest::read(&path.join(MANIFEST))?;
        let path = path.join(STATE);
        let states = File::open(&path).map_err(CheckpointError::file("open", &path))?;
        Ok(Saved { path, manifest, states })
    }

    /// The tick at whose end it was taken.
    pub fn tick(&self) -> u64 {
        self.manifest.tick
    }

    /// The first tick of those whose rows have to come once more.
    pub fn from_tick(&self) -> u64 {
        self.manifest.tick.saturating_sub(self.manifest.reach_ms)
    }

    /// The view `name`, if it was there and had this `definition`.
    pub fn view(&self, name: &str, definition: &str) -> Option<&SavedView> {
        self.manifest.views.iter().find(|view| view.name == name && view.definition == definition)
    }

    /// The sink of this number, if it was there.
    pub fn sink(&self, id: u64) -> Option<&SavedSink> {
        self.manifest.sinks.iter().find(|sink| sink.id == id)
    }

    /// The rows of `view`, with how often each is there.
    ///
    /// # Errors
    ///
    /// When they cannot be read or are damaged, as for the others.
    pub fn rows(&self, view: &SavedView) -> Result<Vec<Part>, CheckpointError> {
        self.counted(&view.rows)
    }

    /// The errors of `view`, likewise.
    pub fn errors(&self, view: &SavedView) -> Result<Vec<Part>, CheckpointError> {
        self.counted(&view.errors)
    }

    /// Rows of windows that had not ended for `sink`, likewise.
    pub fn open_rows(&self, sink: &SavedSink) -> Result<Vec<Part>, CheckpointError> {
        self.counted(&sink.open)
    }

    /// What the operator `key` had on each worker, if it was saved.
    pub fn state(&self, key: OperatorKey) -> Result<Option<Vec<RecordBatch>>, CheckpointError> {
        let Some(operator) = self.manifest.operators.iter().find(|operator| operator.key == key) else {
            return Ok(None);
        };
        let parts = operator.workers.iter().map(|part| Ok(self.part(part)?.pop()));
        let parts = parts.collect::<Result<Option<Vec<_>>, CheckpointError>>()?;
        parts.map(Some).ok_or_else(|| CheckpointError::damaged(&self.path, "a state is empty"))
    }

    fn counted(&self, part: &SavedPart) -> Result<Vec<Part>, CheckpointError> {
        let parts = self.part(part)?.iter().map(without_diffs).collect::<Result<_, _>>();
        parts.map_err(|error| CheckpointError::damaged(&self.path, error))
    }

    fn part(&self, part: &SavedPart) -> Result<Vec<RecordBatch>, CheckpointError> {
        let damaged = |reason: String| CheckpointError::damaged(&self.path, reason);
        let held = self.states.metadata().map_err(CheckpointError::file("look at", &self.path))?.len();
        if part.offset.checked_add(part.bytes).is_none_or(|end| end > held) {
            return Err(damaged(format!("it ends before byte {}", part.offset.saturating_add(part.bytes))));
        }
        let mut bytes = vec![0; part.bytes as usize];
        let read = self.states.read_exact_at(&mut bytes, part.offset);
        read.map_err(CheckpointError::file("read", &self.path))?;
        if crc32fast::hash(&bytes) != part.checksum {
            return Err(damaged(format!("the part at byte {} does not match its checksum", part.offset)));
        }
        // Arrow takes what it reads for whole.
        let batches = guarded(|| {
            let stream = zstd::stream::decode_all(&bytes[..])?;
            Ok(StreamReader::try_new(Cursor::new(stream), None)?.collect::<Result<Vec<_>, _>>()?)
        });
        batches.map_err(|error| damaged(error.to_string()))
    }
}
