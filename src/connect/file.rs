//! A sink that writes to a file of JSON lines.
//!
//! Each line is `{"tick_at":1767225600000,"more":0,"key":...,"change":...}`: the tick, in milliseconds since 1970 UTC, how many
//! lines of the same tick follow, the key where there is one, and the row, or what the envelope makes of it. All lines of a
//! tick are made durable together; those of a tick that was cut off are taken away when the file is opened again. A file that
//! holds anything else is left alone.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};

use serde_json::value::RawValue;

use super::ConnectError;
use super::encode::Members;
use super::settings::required;
use super::sink::{Destination, Told};
use crate::delta::updates::Tick;
use crate::sql::connector::CreateSink;

/// How each line begins.
const BEGIN: &[u8] = b"{\"tick_at\":";

/// A line of the file.
#[derive(serde::Serialize, serde::Deserialize)]
struct Line<'a> {
    /// The tick, in milliseconds since 1970 UTC.
    tick_at: Tick,
    /// How many lines of the tick follow.
    more: usize,
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    key: Option<&'a RawValue>,
    #[serde(borrow)]
    change: Option<&'a RawValue>,
}

/// A file that ticks are added to.
pub(super) struct FileSink {
    path: String,
    file: File,
    last: Option<Tick>,
}

impl FileSink {
    /// Opens the file of `sink`, and takes away what is no whole tick.
    pub fn open(sink: &CreateSink) -> Result<Self, ConnectError> {
        let path = required(&sink.options, "path")?;
        let failed = |action| {
            let path = path.clone();
            move |reason| ConnectError::File { action, path: path.clone(), reason }
        };
        let opened = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
        let mut file = opened.map_err(failed("open"))?;
        let (length, last) = whole(&file, &path)?;
        file.set_len(length).map_err(failed("truncate"))?;
        file.seek(SeekFrom::End(0)).map_err(failed("seek in"))?;
        Ok(FileSink { path, file, last })
    }

    fn failed(&self, action: &'static str) -> impl Fn(std::io::Error) -> ConnectError {
        let path = self.path.clone();
        move |reason| ConnectError::File { action, path: path.clone(), reason }
    }
}

/// How many bytes of `file` are whole ticks, and the last of these; behind them there may be a part of one.
fn whole(file: &File, path: &str) -> Result<(u64, Option<Tick>), ConnectError> {
    let (mut read, mut length, mut last) = (0, 0, None);
    let mut reader = BufReader::new(file);
    let mut line = vec![];
    loop {
        line.clear();
        let bytes = reader.read_until(b'\n', &mut line);
        let bytes =
            bytes.map_err(|reason| ConnectError::File { action: "read", path: path.to_owned(), reason })?;
        let Some(text) = line.strip_suffix(b"\n") else {
            // A line that was cut off begins as all do.
            let is_own = BEGIN.starts_with(&line[..line.len().min(BEGIN.len())]) || line.starts_with(BEGIN);
            return if is_own { Ok((length, last)) } else { Err(foreign(path, read)) };
        };
        let parsed = serde_json::from_slice::<Line<'_>>(text).map_err(|_| foreign(path, read))?;
        read += bytes as u64;
        if parsed.more == 0 {
            (length, last) = (read, Some(parsed.tick_at));
        }
    }
}

fn foreign(path: &str, at: u64) -> ConnectError {
    ConnectError::Foreign { path: path.to_owned(), at }
}

impl Destination for FileSink {
    fn last(&mut self) -> Result<Option<Tick>, ConnectError> {
        Ok(self.last)
    }

    fn deliver(&mut self, ticks: &[Told]) -> Result<(), ConnectError> {
        let json = |error: serde_json::Error| self.failed("write")(error.into());
        let mut bytes = vec![];
        for told in ticks {
            for (place, message) in told.messages.iter().enumerate() {
                let Members { key, change } = message.json()?;
                let line = Line { tick_at: told.tick, more: told.messages.len() - place - 1, key, change };
                serde_json::to_writer(&mut bytes, &line).map_err(json)?;
                bytes.push(b'\n');
            }
        }
        let written = self.file.write_all(&bytes).and_then(|()| self.file.sync_data());
        // What is there of it is taken away when the file is opened again.
        written.map_err(self.failed("write"))
    }
}
