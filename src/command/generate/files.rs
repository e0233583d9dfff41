//! Telemetry as files: traces, metrics and logs, each with one request behind the other.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;
use prost::Message;
use serde::Serialize;

use super::arguments::{Compress, Encoding};
use super::requests::{Counts, Requests};
use super::{FILES_DURATION_DEFAULT, GenerateArguments, GenerateError, Progress, simulator, write_truth};

/// How hard zstd tries.
const ZSTD_LEVEL: i32 = 9;

/// The names of the files, without endings.
const NAMES: [&str; 3] = ["traces", "metrics", "logs"];

/// Simulates into `folder`, which is made if it is not there.
pub(super) fn write(arguments: &GenerateArguments, folder: &Path) -> Result<Counts, GenerateError> {
    let duration = arguments.system.duration.unwrap_or(FILES_DURATION_DEFAULT);
    let mut simulator = simulator(&arguments.system, Some(duration))?;
    let endings = endings(arguments.format, arguments.compress);
    prepare(folder, &endings)?;
    let create = |name| Output::create(folder.join(format!("{name}{endings}")), arguments);
    let [traces, metrics, logs] = NAMES;
    let (mut traces, mut metrics, mut logs) = (create(traces)?, create(metrics)?, create(logs)?);
    let progress = Progress::new(arguments, Some(duration));
    let mut counts = Counts::default();
    for portion in simulator.by_ref() {
        counts.add(&portion);
        progress.tell(&counts, &portion);
        let requests = Requests::new(portion);
        requests.traces.iter().try_for_each(|request| traces.write(request))?;
        requests.metrics.iter().try_for_each(|request| metrics.write(request))?;
        requests.logs.iter().try_for_each(|request| logs.write(request))?;
    }
    for output in [traces, metrics, logs] {
        counts.bytes += output.finish()?;
    }
    write_truth(&simulator.truth(), &folder.join("truth.json"))?;
    progress.finish();
    Ok(counts)
}

fn endings(format: Encoding, compress: Compress) -> String {
    let format = match format {
        Encoding::Json => ".jsonl",
        Encoding::Protobuf => ".pb",
    };
    let compress = match compress {
        Compress::None => "",
        Compress::Gzip => ".gz",
        Compress::Zstd => ".zst",
    };
    format!("{format}{compress}")
}

/// Makes the folder. Files of the same names are replaced; those that only a replay of the folder would take for part
/// of the same are not left lying.
fn prepare(folder: &Path, endings: &str) -> Result<(), GenerateError> {
    let failed = |source| GenerateError::Write { path: folder.to_owned(), source };
    fs::create_dir_all(folder).map_err(failed)?;
    for entry in fs::read_dir(folder).map_err(failed)? {
        let name = PathBuf::from(entry.map_err(failed)?.file_name());
        let text = name.to_string_lossy();
        let ending = NAMES.iter().find_map(|n| text.strip_prefix(n)).filter(|e| e.starts_with('.'));
        if ending.is_some_and(|ending| ending != endings) {
            return Err(GenerateError::NotEmpty { folder: folder.to_owned(), file: name });
        }
    }
    Ok(())
}

/// One file.
struct Output {
    path: PathBuf,
    format: Encoding,
    stream: Stream,
    /// The request being written.
    record: Vec<u8>,
}

enum Stream {
    Plain(BufWriter<File>),
    Gzip(GzEncoder<BufWriter<File>>),
    Zstd(zstd::stream::write::Encoder<'static, BufWriter<File>>),
}

impl Output {
    fn create(path: PathBuf, arguments: &GenerateArguments) -> Result<Self, GenerateError> {
        let stream = File::create(&path).and_then(|file| {
            let file = BufWriter::new(file);
            Ok(match arguments.compress {
                Compress::None => Stream::Plain(file),
                // Without a name and a time in its header: the same bytes whenever it is made.
                Compress::Gzip => Stream::Gzip(GzEncoder::new(file, flate2::Compression::default())),
                Compress::Zstd => Stream::Zstd(zstd::stream::write::Encoder::new(file, ZSTD_LEVEL)?),
            })
        });
        match stream {
            Ok(stream) => Ok(Output { path, format: arguments.format, stream, record: vec![] }),
            Err(source) => Err(GenerateError::Write { path, source }),
        }
    }

    fn write<R: Message + Serialize>(&mut self, request: &R) -> Result<(), GenerateError> {
        self.record.clear();
        let encoded = match self.format {
            Encoding::Json => serde_json::to_writer(&mut self.record, request).map_err(io::Error::from),
            Encoding::Protobuf => self.frame(request),
        };
        if self.format == Encoding::Json {
            self.record.push(b'\n');
        }
        let written = encoded.and_then(|()| self.stream.as_write().write_all(&self.record));
        written.map_err(|source| GenerateError::Write { path: self.path.clone(), source })
    }

    fn frame(&mut self, request: &impl Message) -> io::Result<()> {
        let length = u32::try_from(request.encoded_len()).map_err(io::Error::other)?;
        self.record.extend(length.to_be_bytes());
        request.encode(&mut self.record).map_err(io::Error::other)
    }

    /// Writes what is left. Returns the bytes of the file.
    fn finish(self) -> Result<u64, GenerateError> {
        let file = match self.stream {
            Stream::Plain(file) => Ok(file),
            Stream::Gzip(encoder) => encoder.finish(),
            Stream::Zstd(encoder) => encoder.finish(),
        };
        let file = file.and_then(|file| file.into_inner().map_err(io::Error::from));
        let bytes = file.and_then(|file| Ok(file.metadata()?.len()));
        bytes.map_err(|source| GenerateError::Write { path: self.path, source })
    }
}

impl Stream {
    fn as_write(&mut self) -> &mut dyn Write {
        match self {
            Stream::Plain(file) => file,
            Stream::Gzip(encoder) => encoder,
            Stream::Zstd(encoder) => encoder,
        }
    }
}
