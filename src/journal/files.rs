//! The files of a journal: a folder of the system, or what tests put in its place.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::JournalError;

/// The file whose lock says that a process has the folder.
const LOCK: &str = "lock";

/// How the name of a file ends that is to take the place of another.
const UNFINISHED: &str = ".new";

/// A folder of files.
pub trait Files: Send {
    /// What users call the file `name`.
    fn path(&self, name: &str) -> String;
    /// The names of all files.
    fn names(&self) -> io::Result<Vec<String>>;
    /// All bytes of the file `name`.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
    /// The first bytes of the file `name`, at most `bytes_max`, and how many it has.
    fn head(&self, name: &str, bytes_max: usize) -> io::Result<(Vec<u8>, u64)>;
    /// An empty file `name`, in the place of one that is there.
    fn create(&self, name: &str) -> io::Result<Box<dyn Output>>;
    /// The file `name`, to be written at its end.
    fn open(&self, name: &str) -> io::Result<Box<dyn Output>>;
    /// Puts `bytes` in the place of those of the file `name`, all or nothing, and returns once they are durable.
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()>;
    /// Takes the file `name` away.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Returns once all names are durable.
    fn sync(&self) -> io::Result<()>;
}

/// A file that is written at its end.
pub trait Output: Send {
    /// Adds `bytes`, all of them or, when it fails, any part of them.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Returns once all that was written is durable.
    fn sync(&mut self) -> io::Result<()>;
    /// Takes away what is behind the first `length` bytes.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

/// A folder of the file system, for this process alone: it is given up once all copies are gone.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    /// Gives the folder up when closed.
    _lock: Arc<File>,
}

impl Folder {
    /// The folder at `path`, created where it is not there.
    ///
    /// # Errors
    ///
    /// [`JournalError::Locked`] while another process has it, and [`JournalError::File`].
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let name = path.display().to_string();
        fs::create_dir_all(path).map_err(|error| JournalError::file("create", &name, &error))?;
        if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
            let synced = File::open(above).and_then(|above| above.sync_all());
            synced.map_err(|error| JournalError::file("sync", &above.display().to_string(), &error))?;
        }
        let lock = path.join(LOCK);
        let opened = OpenOptions::new().create(true).truncate(false).write(true).open(&lock);
        let opened =
            opened.map_err(|error| JournalError::file("open", &lock.display().to_string(), &error))?;
        match opened.try_lock() {
            Ok(()) => Ok(Folder { path: path.to_owned(), _lock: Arc::new(opened) }),
            Err(TryLockError::WouldBlock) => Err(JournalError::Locked(name)),
            Err(TryLockError::Error(error)) => Err(JournalError::file("lock", &name, &error)),
        }
    }
}

impl Files for Folder {
    fn path(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.path)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(Result::transpose).collect()
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path.join(name))
    }

    fn head(&self, name: &str, bytes_max: usize) -> io::Result<(Vec<u8>, u64)> {
        let file = File::open(self.path.join(name))?;
        let length = file.metadata()?.len();
        let mut bytes = vec![];
        file.take(bytes_max as u64).read_to_end(&mut bytes)?;
        Ok((bytes, length))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn Output>> {
        let file = OpenOptions::new().create(true).truncate(true).write(true).open(self.path.join(name))?;
        Ok(Box::new(Written(file)))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn Output>> {
        let mut file = OpenOptions::new().write(true).open(self.path.join(name))?;
        file.seek(SeekFrom::End(0))?;
        Ok(Box::new(Written(file)))
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let written = self.path.join(format!("{name}{UNFINISHED}"));
        let mut file = File::create(&written)?;
        file.write_all(bytes)
            .and_then(|()| file.sync_all())
            .inspect_err(|_| drop(fs::remove_file(&written)))?;
        fs::rename(&written, self.path.join(name))?;
        self.sync()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

struct Written(File);

impl Output for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.0.set_len(length)?;
        self.0.seek(SeekFrom::Start(length)).map(drop)
    }
}
