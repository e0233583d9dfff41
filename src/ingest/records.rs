//! A stream of requests, taken one at a time: what lines, documents and frames have in common.

use std::io::{self, BufRead};

use super::compression::ReadBytes;
use super::paths::Format;
use crate::telemetry::{Decoder, Origin};

/// A record's buffer that grew beyond this is given back after the record: few are larger, and 64 MiB kept for the
/// sake of one line would be a high price.
const RECORD_BYTES_KEPT: usize = 8 << 20;

/// The kinds of `ingest_errors` that arise here; those of the contents come from the decoder.
pub(super) mod kind {
    /// A line that could not be taken in.
    pub const LINE: &str = "line";
    /// A whole message, a frame or a document, that could not be taken in.
    pub const MESSAGE: &str = "message";
    /// Columns of a file that are not used, or not in full.
    pub const COLUMNS: &str = "columns";
    /// Rows of a file that could not be taken in.
    pub const ROWS: &str = "rows";
    /// A file that cannot be read further.
    pub const FILE: &str = "file";
}

/// Where records are turned into rows. One serves all files in turn, so that a thousand files that wait for their
/// time hold no buffers.
pub(super) struct Desk {
    pub decoder: Decoder,
    /// The record being read; no more than `record_bytes_max` and a byte.
    pub record: Vec<u8>,
    /// The longest line, document or frame that is taken in, in bytes after decompression.
    pub record_bytes_max: usize,
}

impl Desk {
    pub fn clear_record(&mut self) {
        self.record.clear();
        self.record.shrink_to(RECORD_BYTES_KEPT);
    }
}

/// What the next call will find.
enum Form {
    New(Format),
    Lines,
    Frames,
    Done,
}

/// The requests of one file of JSON or protobuf.
pub(super) struct Records {
    pub(super) stream: Box<dyn BufRead + Send>,
    /// The file, and the line or frame last read, counted from 1.
    pub(super) origin: Origin,
    read: ReadBytes,
    form: Form,
}

impl Records {
    pub fn new(stream: Box<dyn BufRead + Send>, source: String, format: Format, read: ReadBytes) -> Self {
        Records { stream, origin: Origin { source, position: None }, read, form: Form::New(format) }
    }

    /// Compressed bytes taken from the disk so far.
    pub fn bytes_read(&self) -> u64 {
        self.read.get()
    }

    /// Decodes the next record into `desk.decoder`, a bad one into a row of `ingest_errors`. False at the end of the
    /// file, and where damage makes the rest unreadable.
    pub fn next(&mut self, desk: &mut Desk) -> bool {
        let read = match self.form {
            Form::New(format) => self.first(format, desk),
            Form::Lines => self.line(desk),
            Form::Frames => self.frame(desk),
            Form::Done => Ok(false),
        };
        let more = read.unwrap_or_else(|error| {
            let reason = format!("cannot be read further: {error}. What was read before stays");
            desk.decoder.reject(&self.origin, kind::FILE, &reason, &desk.record);
            false
        });
        desk.clear_record();
        if !more {
            self.form = Form::Done;
        }
        more
    }

    /// Tells by the first byte what the file holds, and reads the first record of it.
    fn first(&mut self, format: Format, desk: &mut Desk) -> io::Result<bool> {
        let Some(&first) = self.stream.fill_buf()?.first() else { return Ok(false) };
        let framed = match format {
            // The Collector's file exporter frames JSON too when it compresses; text never starts with these bytes,
            // and a frame within any sensible limit does.
            Format::Json => first <= 0x04,
            // A request starts with the tag of its field 1. As the first byte of a frame's length that would be
            // at least 160 MiB.
            Format::Protobuf => first != 0x0a,
            Format::Parquet => unreachable!("parquet is not a stream of requests"),
        };
        if framed {
            self.form = Form::Frames;
            self.frame(desk)
        } else if format == Format::Protobuf {
            self.single_message(desk)
        } else {
            self.form = Form::Lines;
            self.first_lines(desk)
        }
    }
}
