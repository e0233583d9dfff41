//! The folder of the last checkpoint.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use arrow::ipc::writer::StreamWriter;

use super::counted::with_diffs;
use super::manifest::{Manifest, SavedOperator, SavedPart, SavedSink, SavedView};
use super::{CheckpointError, Contents, Saved};
use crate::delta::operator::Part;
use crate::fault;

/// The file of the parts.
pub(super) const STATE: &str = "state";

/// The file that says what they are.
pub(super) const MANIFEST: &str = "manifest.json";

/// How the name of a checkpoint ends that is not in its place.
const UNFINISHED: &str = ".new";

/// Of zstd: the fastest that is worth it.
const COMPRESSION_LEVEL: i32 = 1;

/// Where the checkpoints of a database are.
#[derive(Clone, Debug)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The folder at `root`, and the last checkpoint in it. What an end of the process left behind is taken away.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or the last checkpoint is damaged or of another version.
    pub fn open(root: &Path) -> Result<(Self, Option<Saved>), CheckpointError> {
        let folder = Folder::at(root);
        fs::create_dir_all(root).map_err(CheckpointError::file("create", root))?;
        let in_place = folder.all()?.into_iter().filter(|(path, tick)| *path == folder.of(*tick));
        let last = in_place.map(|(_, tick)| tick).max();
        folder.remove_but(last)?;
        let saved = last.map(|tick| Saved::open(&folder.of(tick))).transpose()?;
        Ok((folder, saved))
    }

    /// The folder at `root`, whatever is in it.
    pub fn at(root: &Path) -> Self {
        Folder { root: root.to_owned() }
    }

    /// Where the checkpoint of `tick` is.
    fn of(&self, tick: u64) -> PathBuf {
        self.root.join(format!("{tick:020}"))
    }

    fn unfinished(&self, tick: u64) -> PathBuf {
        self.root.join(format!("{tick:020}{UNFINISHED}"))
    }

    /// The checkpoints that are here, in their place or not, each with its tick. What else is here is not ours.
    fn all(&self) -> Result<Vec<(PathBuf, u64)>, CheckpointError> {
        let entries = fs::read_dir(&self.root).and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()
        });
        let tick = |path: &PathBuf| {
            let name = path.file_name()?.to_str()?;
            name.strip_suffix(UNFINISHED).unwrap_or(name).parse().ok()
        };
        let entries = entries.map_err(CheckpointError::file("list", &self.root))?;
        Ok(entries.into_iter().filter_map(|path| tick(&path).map(|tick| (path, tick))).collect())
    }

    /// Takes all checkpoints away but for the checkpoint of `tick`.
    fn remove_but(&self, tick: Option<u64>) -> Result<(), CheckpointError> {
        let kept = tick.map(|tick| self.of(tick));
        for (path, _) in self.all()?.into_iter().filter(|(path, _)| Some(path) != kept.as_ref()) {
            fs::remove_dir_all(&path).map_err(CheckpointError::file("remove", &path))?;
        }
        Ok(())
    }

    /// Writes `contents`, which is durable once this returns, but counts only when it is [put in place](Self::commit).
    /// How many bytes it takes.
    ///
    /// # Errors
    ///
    /// When the system refuses it, or Arrow has no form for a state.
    pub fn write(&self, contents: &Contents) -> Result<u64, CheckpointError> {
        let path = self.unfinished(contents.tick);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).map_err(CheckpointError::file("create", &path))?;
        let mut states = States::create(&path.join(STATE))?;
        let mut manifest = Manifest::new(contents.tick, contents.reach_ms);
        for view in &contents.views {
            manifest.views.push(SavedView {
                name: view.name.clone(),
                definition: view.definition.clone(),
                operators: view.operators.clone(),
                rows: states.put_counted(&view.rows)?,
                errors: states.put_counted(&view.errors)?,
            });
        }
        for (key, workers) in &contents.operators {
            let workers = workers.iter().map(|state| states.put(std::slice::from_ref(state)));
            let workers = workers.collect::<Result<_, _>>()?;
            manifest.operators.push(SavedOperator { key: *key, workers });
        }
        for sink in &contents.sinks {
            let open = states.put_counted(&sink.open)?;
            manifest.sinks.push(SavedSink { id: sink.id, failure: sink.failure.clone(), open });
        }
        let bytes = states.finish()?;
        let (path, text) = (path.join(MANIFEST), manifest.text());
        let write = |path: &Path| {
            let mut file = File::create(path)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        };
        write(&path).map_err(CheckpointError::file("write", &path))?;
        sync(&self.unfinished(contents.tick))?;
        fault::point("checkpoint.written");
        Ok(bytes + text.len() as u64)
    }

    /// Puts the checkpoint of `tick`, which is written, in its place, and takes those before it away.
    ///
    /// # Errors
    ///
    /// When the system refuses it. It may be in its place then.
    pub fn commit(&self, tick: u64) -> Result<(), CheckpointError> {
        let (from, to) = (self.unfinished(tick), self.of(tick));
        if !to.exists() {
            fs::rename(&from, &to).map_err(CheckpointError::file("rename", &from))?;
        }
        sync(&self.root)?;
        fault::point("checkpoint.committed");
        self.remove_but(Some(tick))
    }
}

/// Returns once the names in the folder at `path` are durable.
fn sync(path: &Path) -> Result<(), CheckpointError> {
    let synced = File::open(path).and_then(|folder| folder.sync_all());
    synced.map_err(CheckpointError::file("sync", path))
}

/// The file of the parts, which is being written.
struct States {
    path: PathBuf,
    file: BufWriter<File>,
    bytes: u64,
}

impl States {
    fn create(path: &Path) -> Result<Self, CheckpointError> {
        let file = File::create(path).map_err(CheckpointError::file("create", path))?;
        Ok(States { path: path.to_owned(), file: BufWriter::new(file), bytes: 0 })
    }

    /// Adds `batches`, which have the same columns.
    fn put(&mut self, batches: &[RecordBatch]) -> Result<SavedPart, CheckpointError> {
        let schema = batches.first().map_or_else(|| Schema::empty().into(), RecordBatch::schema);
        let failed = CheckpointError::file("write", &self.path);
        let compressor = zstd::stream::Encoder::new(Vec::new(), COMPRESSION_LEVEL).map_err(failed)?;
        let mut writer = StreamWriter::try_new(compressor, &schema)?;
        batches.iter().try_for_each(|batch| writer.write(batch))?;
        let compressor = writer.into_inner()?;
        let bytes = compressor.finish().map_err(CheckpointError::file("write", &self.path))?;
        self.file.write_all(&bytes).map_err(CheckpointError::file("write", &self.path))?;
        let offset = self.bytes;
        self.bytes += bytes.len() as u64;
        Ok(SavedPart { offset, bytes: bytes.len() as u64, checksum: crc32fast::hash(&bytes) })
    }

    /// Adds rows with how often each is there.
    fn put_counted(&mut self, rows: &[Part]) -> Result<SavedPart, CheckpointError> {
        self.put(&rows.iter().map(with_diffs).collect::<Result<Vec<_>, _>>()?)
    }

    /// Returns once all is durable: how many bytes it takes.
    fn finish(self) -> Result<u64, CheckpointError> {
        let synced =
            self.file.into_inner().map_err(|error| error.into_error()).and_then(|file| file.sync_all());
        synced.map_err(CheckpointError::file("write", &self.path))?;
        Ok(self.bytes)
    }
}
