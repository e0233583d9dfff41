//! Which files a replay reads, and how each is written.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::IngestError;

/// The endings [`form_of`] knows, as error messages list them.
pub(super) const ENDINGS: &str = ".jsonl, .ndjson, .json, .pb, .binpb, .protobuf, .proto.bin \
    (each also with .gz or .zst) and .parquet";

const JSON: [&str; 3] = [".jsonl", ".ndjson", ".json"];
const PROTOBUF: [&str; 4] = [".pb", ".binpb", ".protobuf", ".proto.bin"];
const PARQUET: &str = ".parquet";

/// How the records of a file are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Protobuf,
    Parquet,
}

/// How a whole file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Zstd,
}

/// One file to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Input {
    pub path: PathBuf,
    pub format: Format,
    pub compression: Compression,
}

/// Format and compression by the ending of the file's name, in any case; `None` when it is not a known one.
pub(super) fn form_of(path: &Path) -> Option<(Format, Compression)> {
    let name = path.file_name()?.to_string_lossy().to_ascii_lowercase();
    if name.ends_with(PARQUET) {
        // Parquet compresses its own pages and must be read from its end: it never comes as .gz.
        return Some((Format::Parquet, Compression::None));
    }
    let (stem, compression) = if let Some(stem) = name.strip_suffix(".gz") {
        (stem, Compression::Gzip)
    } else if let Some(stem) = name.strip_suffix(".zst") {
        (stem, Compression::Zstd)
    } else {
        (name.as_str(), Compression::None)
    };
    let one_of = |endings: &[&str]| endings.iter().any(|ending| stem.ends_with(ending));
    if one_of(&JSON) {
        Some((Format::Json, compression))
    } else if one_of(&PROTOBUF) {
        Some((Format::Protobuf, compression))
    } else {
        None
    }
}

/// Every file below `paths`, each once, sorted by path: the same files named in another way are the same replay.
///
/// # Errors
/// A path that is missing, a folder that cannot be listed or holds nothing known, a file of unknown ending.
pub(super) fn inputs(paths: &[PathBuf]) -> Result<Vec<Input>, IngestError> {
    let mut found = Found::default();
    for path in paths {
        let missing = |source| IngestError::Missing { path: path.clone(), source };
        let metadata = fs::metadata(path).map_err(missing)?;
        if metadata.is_dir() {
            found.known_in_folder = false;
            found.folder(path)?;
            if !found.known_in_folder {
                return Err(IngestError::NothingInFolder { path: path.clone() });
            }
        } else {
            let form = form_of(path).ok_or_else(|| IngestError::Ending { path: path.clone() })?;
            found.file(path, form);
        }
    }
    found.inputs.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found.inputs)
}

#[derive(Default)]
struct Found {
    inputs: Vec<Input>,
    /// Real paths of the files already listed, and of the folders: a link may lead back up.
    files: HashSet<PathBuf>,
    folders: HashSet<PathBuf>,
    known_in_folder: bool,
}

impl Found {
    fn file(&mut self, path: &Path, (format, compression): (Format, Compression)) {
        // What cannot be resolved is kept under its own name; opening it will say why.
        let real = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if self.files.insert(real) {
            self.inputs.push(Input { path: path.to_owned(), format, compression });
        }
    }

    fn folder(&mut self, root: &Path) -> Result<(), IngestError> {
        let mut folders = vec![root.to_owned()];
        // A folder named again is no folder without files, so what is known of it is walked anew for each root.
        self.folders.clear();
        while let Some(folder) = folders.pop() {
            let unlisted = |source| IngestError::Folder { path: folder.clone(), source };
            if !self.folders.insert(fs::canonicalize(&folder).map_err(unlisted)?) {
                continue;
            }
            for entry in fs::read_dir(&folder).map_err(unlisted)? {
                let path = entry.map_err(unlisted)?.path();
                // A dangling link or a file that went away meanwhile is not part of the folder.
                let Ok(metadata) = fs::metadata(&path) else { continue };
                if metadata.is_dir() {
                    folders.push(path);
                } else if let Some(form) = form_of(&path).filter(|_| metadata.is_file()) {
                    self.known_in_folder = true;
                    self.file(&path, form);
                }
            }
        }
        Ok(())
    }
}
