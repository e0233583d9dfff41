//! History: the rows of streams on disk, in columns.
//!
//! A folder for each stream, in it Parquet files of its rows by number: the rows of a stream are numbered in the order in
//! which they came, and a file holds those of one range. Ranges follow each other without a gap. The name ends with the CRC-32 of
//! its bytes, which is compared whenever all of them are read.
//!
//! ```text
//!  history/spans.0/00000000000000000000-00000000000000131072-5f0c21ab.parquet
//!                  00000000000000131072-00000000000000198214-90b3d7e0.parquet
//! ```
//!
//! - **Small.** Rows are sorted by service, name and time, columns are encoded for what they hold and compressed with
//!   zstd. A hidden last column says as which row of its file each came, so that their order can be had back.
//! - **Found.** Files and row groups keep the least and the greatest value of their columns, and Bloom filters of ids: a
//!   query reads those groups that may hold what it looks for, of these the columns that it names, and of most columns
//!   only the rows that pass its conditions.
//! - **Durable.** A file is written beside its place, synced, and put there. A [`Keeper`] does this on a thread of its own,
//!   and joins small neighbours into one file; one that others have taken the place of goes once no query reads it.
//!
//! Limits: [`FILE_ROWS_MAX`], [`JOBS_MAX`].

mod error;
mod file;
mod folder;
mod keeper;
mod order;
mod read;
mod scan;
#[cfg(test)]
mod tests;
mod write;

pub use self::error::HistoryError;
pub use self::file::HistoryFile;
pub use self::folder::{Folder, Held};
pub use self::keeper::{Done, Health, JOBS_MAX, Job, Keeper};
pub use self::write::{FILE_ROWS_MAX, can_hold};

use std::sync::Arc;

/// The first rows of a stream, as far as they are on disk.
#[derive(Clone, Debug, Default)]
pub struct Past {
    /// The files, in the order of their rows.
    pub files: Arc<Vec<Arc<HistoryFile>>>,
    /// How many rows are meant: those of the last file may be more.
    pub rows: u64,
}

impl Past {
    /// The files that hold some of the rows, each with how many of its first ones are meant.
    pub fn parts(&self) -> impl Iterator<Item = (&Arc<HistoryFile>, u64)> {
        let files = self.files.iter().take_while(|file| file.rows().start < self.rows);
        files.map(|file| (file, self.rows.min(file.rows().end) - file.rows().start))
    }
}
