//! One file of rows.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::HistoryError;

/// How the names of files end.
const SUFFIX: &str = ".parquet";

/// A file that holds a range of a stream's rows. It does not change.
#[derive(Debug)]
pub struct HistoryFile {
    path: PathBuf,
    rows: Range<u64>,
    bytes: u64,
    /// CRC-32 of its bytes.
    checksum: u32,
    /// Others hold its rows now: it goes with the last who reads it.
    is_replaced: AtomicBool,
}

/// The name of the file of `rows` whose bytes have `checksum`.
pub(super) fn name_of(rows: &Range<u64>, checksum: u32) -> String {
    format!("{:020}-{:020}-{checksum:08x}{SUFFIX}", rows.start, rows.end)
}

/// The rows of the file called `name`, and the checksum of its bytes; `None` for a file that is none of history.
fn named(name: &str) -> Option<(Range<u64>, u32)> {
    let (rows, checksum) = name.strip_suffix(SUFFIX)?.rsplit_once('-')?;
    let (start, end) = rows.split_once('-')?;
    let number = |digits: &str| digits.parse().ok().filter(|_| digits.len() == 20);
    let (start, end): (u64, u64) = (number(start)?, number(end)?);
    let checksum = u32::from_str_radix(checksum, 16).ok().filter(|_| checksum.len() == 8)?;
    (start < end).then_some((start..end, checksum))
}

impl HistoryFile {
    /// The file at `path`; `None` where its name is none of history.
    pub(super) fn at(path: PathBuf) -> Result<Option<Self>, HistoryError> {
        let named = path.file_name().and_then(|name| named(name.to_str()?));
        let Some((rows, checksum)) = named else { return Ok(None) };
        let metadata = fs::metadata(&path).map_err(|error| HistoryError::file("look at", &path, &error))?;
        let (bytes, is_replaced) = (metadata.len(), AtomicBool::new(false));
        Ok(Some(HistoryFile { path, rows, bytes, checksum, is_replaced }))
    }

    /// All of its bytes, which are those that were written.
    pub(super) fn read(&self) -> Result<Vec<u8>, HistoryError> {
        let bytes = fs::read(&self.path).map_err(|error| HistoryError::file("read", &self.path, &error))?;
        match crc32fast::hash(&bytes) == self.checksum {
            true => Ok(bytes),
            false => Err(HistoryError::damaged(&self.path, "its bytes do not match their checksum")),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The numbers of its rows.
    pub fn rows(&self) -> Range<u64> {
        self.rows.clone()
    }

    /// How many rows it holds.
    pub fn count(&self) -> u64 {
        self.rows.end - self.rows.start
    }

    /// Its bytes on disk.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Has it taken away once nobody reads it.
    pub(super) fn replaced(&self) {
        self.is_replaced.store(true, Ordering::Relaxed);
    }
}

impl Drop for HistoryFile {
    fn drop(&mut self) {
        if *self.is_replaced.get_mut() {
            // One that stays is found at the next start, and goes then.
            let _ = fs::remove_file(&self.path);
        }
    }
}
