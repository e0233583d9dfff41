//! The folder of a stream.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{HistoryError, HistoryFile};
use crate::fault;

/// How the name of a file ends that is being written.
pub(super) const UNFINISHED: &str = ".new";

/// How much of a stream's name the name of its folder has.
const NAME_CHARACTERS_MAX: usize = 100;

/// How the name of a file begins that says which row is the first that is kept.
const FIRST: &str = "first.";

/// What is left of a stream that was dropped.
const DROPPED: &str = "dropped";

/// What is in a folder.
#[derive(Debug, Default)]
pub struct Held {
    /// The number of the first row that is kept.
    pub first: u64,
    /// The files, in the order of their rows.
    pub files: Vec<Arc<HistoryFile>>,
}

/// The folder of a stream.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// The folder of the stream `name`, below `root`: of the one that has this `number` among all that ever had the name.
    pub fn of(root: &Path, name: &str, number: u64) -> Self {
        // Names of tables are whatever a user quotes; a name of a file is not.
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let escaped = name.chars().map(|c| if plain(c) { c.to_string() } else { format!("%{:x}", c as u32) });
        // The number alone tells them apart.
        let escaped: String = escaped.collect::<String>().chars().take(NAME_CHARACTERS_MAX).collect();
        Folder { path: root.join(format!("{escaped}.{number}")) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is in it; `None` where the stream was dropped. What an end of the process left behind is taken away.
    ///
    /// # Errors
    ///
    /// Where rows are missing between files, and when the folder cannot be read.
    pub fn open(&self) -> Result<Option<Held>, HistoryError> {
        let failed = |error| HistoryError::file("create", &self.path, &error);
        fs::create_dir_all(&self.path).map_err(failed)?;
        for above in self.path.ancestors().skip(1).take(2).filter(|above| !above.as_os_str().is_empty()) {
            sync(above)?;
        }
        if self.path.join(DROPPED).exists() {
            // The process may have ended in the middle of it.
            self.empty(&[])?;
            return Ok(None);
        }
        let failed = |error| HistoryError::file("list", &self.path, &error);
        let (mut files, mut first) = (vec![], 0);
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            match HistoryFile::at(path.clone())? {
                Some(file) => files.push(file),
                None if path.to_string_lossy().ends_with(UNFINISHED) => {
                    fs::remove_file(&path).map_err(|error| HistoryError::file("remove", &path, &error))?;
                }
                None => first = first.max(first_named(&path).unwrap_or(0)),
            }
        }
        files.sort_by_key(|file| (file.rows().start, std::cmp::Reverse(file.rows().end)));
        let mut whole: Vec<Arc<HistoryFile>> = vec![];
        for file in files {
            let end = whole.last().map_or(first, |last| last.rows().end);
            if file.rows().end <= end {
                // Joined with its neighbours, or too old, it was to go.
                file.replaced();
                continue;
            }
            if file.rows().start != end {
                let folder = self.path.display().to_string();
                return Err(HistoryError::Missing { folder, from: end, to: file.rows().start });
            }
            whole.push(Arc::new(file));
        }
        Ok(Some(Held { first, files: whole }))
    }

    /// Notes that `first` is the number of the first row that is kept; `files`, of rows before it, go once nobody reads them.
    ///
    /// # Errors
    ///
    /// When that cannot be noted, or what was noted before cannot be taken away.
    pub fn trim(&self, files: &[Arc<HistoryFile>], first: u64) -> Result<(), HistoryError> {
        let failed = |error| HistoryError::file("trim", &self.path, &error);
        // Noted first: else what is left when the process ends here looks like history with a gap.
        fs::write(self.path.join(format!("{FIRST}{first:020}")), "").map_err(failed)?;
        self.sync()?;
        fault::point("history.trimming");
        files.iter().for_each(|file| file.replaced());
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if first_named(&path).is_some_and(|noted| noted < first) {
                fs::remove_file(path).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Takes away what is in it, and notes that it was; `files` of it go once nobody reads them.
    ///
    /// # Errors
    ///
    /// When a file cannot be taken away.
    pub fn empty(&self, files: &[Arc<HistoryFile>]) -> Result<(), HistoryError> {
        let failed = |error| HistoryError::file("empty", &self.path, &error);
        fs::create_dir_all(&self.path).map_err(failed)?;
        // Noted first: else what is left when the process ends here looks like history with a gap.
        fs::write(self.path.join(DROPPED), "").map_err(failed)?;
        self.sync()?;
        files.iter().for_each(|file| file.replaced());
        fault::point("history.emptying");
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let is_read = files.iter().any(|file| file.path() == path);
            if !is_read && path.file_name().is_some_and(|name| name != DROPPED) {
                fs::remove_file(path).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Returns once all names are durable.
    pub(super) fn sync(&self) -> Result<(), HistoryError> {
        sync(&self.path)
    }
}

/// The number of the first row that is kept, as the name of the file at `path` says, if it says that.
fn first_named(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_prefix(FIRST)?.parse().ok()
}

/// Returns once the names in the folder at `path` are durable.
fn sync(path: &Path) -> Result<(), HistoryError> {
    let synced = fs::File::open(path).and_then(|folder| folder.sync_all());
    synced.map_err(|error| HistoryError::file("sync", path, &error))
}
