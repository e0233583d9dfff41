//! JSON: one request a line, or documents of many lines.

use std::io::{self, BufRead, Read};

use serde::de::IgnoredAny;

use super::records::{Desk, Records, kind};
use crate::telemetry::Origin;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What [`Records::read_line`] found.
enum Line {
    /// Appended to the record, without its end.
    Whole,
    /// Longer than the limit and skipped; `bytes` is its length.
    TooLong { bytes: u64 },
    /// There is none.
    End,
}

impl Records {
    /// The next line that is not empty. False at the end of the file.
    pub(super) fn line(&mut self, desk: &mut Desk) -> io::Result<bool> {
        loop {
            desk.record.clear();
            match self.read_line(desk)? {
                Line::End => return Ok(false),
                Line::TooLong { bytes } => {
                    self.reject_line(desk, bytes);
                    return Ok(true);
                }
                Line::Whole if is_blank(&desk.record) => {}
                Line::Whole => {
                    desk.decoder.json(&desk.record, &self.origin);
                    return Ok(true);
                }
            }
        }
    }

    /// The first line; when that is the start of a document of many lines, all documents of the file.
    ///
    /// A line that ends too early may be the first of a pretty-printed document, or was cut off when the disk was
    /// full. In the second case the line after it is a whole request.
    pub(super) fn first_lines(&mut self, desk: &mut Desk) -> io::Result<bool> {
        loop {
            match self.read_line(desk)? {
                Line::End => return Ok(false),
                Line::TooLong { bytes } => {
                    self.reject_line(desk, bytes);
                    return Ok(true);
                }
                Line::Whole => {}
            }
            if desk.record.starts_with(BYTE_ORDER_MARK) {
                desk.record.drain(..BYTE_ORDER_MARK.len());
            }
            if !is_blank(&desk.record) {
                break;
            }
            desk.record.clear();
        }
        if !is_cut_off(&desk.record) {
            desk.decoder.json(&desk.record, &self.origin);
            return Ok(true);
        }
        self.after_cut_off_line(desk)
    }

    /// Tells by the line after it what the cut-off first line, which is in the record, belongs to.
    fn after_cut_off_line(&mut self, desk: &mut Desk) -> io::Result<bool> {
        let first = Origin { source: self.origin.source.clone(), position: self.origin.position };
        desk.record.push(b'\n');
        let first_end = desk.record.len();
        match self.read_line(desk)? {
            Line::End => desk.decoder.json(&desk.record, &first),
            Line::TooLong { bytes } => {
                desk.decoder.json(&desk.record[..first_end], &first);
                self.reject_line(desk, bytes);
            }
            Line::Whole if is_json(&desk.record[first_end..]) => {
                desk.decoder.json(&desk.record[..first_end], &first);
                desk.decoder.json(&desk.record[first_end..], &self.origin);
            }
            Line::Whole => return self.documents(desk, first.position.unwrap_or(1)),
        }
        Ok(true)
    }

    /// Reads the rest of the file behind the two lines already in the record, the first of them being line
    /// `first_line` of the file, and decodes the documents in it.
    fn documents(&mut self, desk: &mut Desk, first_line: u64) -> io::Result<bool> {
        let limit = desk.record_bytes_max;
        desk.record.push(b'\n');
        let room = (limit + 1).saturating_sub(desk.record.len());
        let read = (&mut self.stream).take(room as u64).read_to_end(&mut desk.record);
        let too_long = desk.record.len() > limit;
        let mut start = 0;
        let mut documents = serde_json::Deserializer::from_slice(&desk.record).into_iter::<IgnoredAny>();
        while let Some(document) = documents.next() {
            self.origin.position = Some(first_line + line_feeds(&desk.record[..start]));
            let Err(error) = document else {
                let end = documents.byte_offset();
                desk.decoder.json(&desk.record[start..end], &self.origin);
                start = end + blanks(&desk.record[end..]);
                continue;
            };
            // After an error there is no telling where the next document starts.
            let reason = if error.is_eof() && too_long {
                format!(
                    "the documents are longer than the limit of {limit} bytes: the rest is skipped. \
                     Write one request a line"
                )
            } else {
                format!("not JSON from here on: {error}. The rest of the file is skipped")
            };
            desk.decoder.reject(&self.origin, kind::MESSAGE, &reason, &desk.record[start..]);
            break;
        }
        read.map(|_| false)
    }

    /// Appends the next line to the record, without its line feed.
    fn read_line(&mut self, desk: &mut Desk) -> io::Result<Line> {
        self.origin.position = Some(self.origin.position.unwrap_or(0) + 1);
        let limit = desk.record_bytes_max as u64;
        let bytes = (&mut self.stream).take(limit + 1).read_until(b'\n', &mut desk.record)? as u64;
        if bytes == 0 {
            return Ok(Line::End);
        }
        if desk.record.last() == Some(&b'\n') {
            desk.record.pop();
        } else if bytes > limit {
            let skipped = self.stream.skip_until(b'\n')? as u64;
            return Ok(Line::TooLong { bytes: bytes + skipped });
        }
        Ok(Line::Whole)
    }

    fn reject_line(&mut self, desk: &mut Desk, bytes: u64) {
        let line = self.origin.position.unwrap_or(0);
        let limit = desk.record_bytes_max;
        let reason = format!("line {line} has {bytes} bytes, the limit is {limit}: skipped");
        desk.decoder.reject(&self.origin, kind::LINE, &reason, &desk.record);
    }
}

fn blanks(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

fn is_blank(line: &[u8]) -> bool {
    blanks(line) == line.len()
}

fn is_json(line: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(line).is_ok()
}

/// JSON that is right as far as it goes.
fn is_cut_off(line: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(line).is_err_and(|error| error.is_eof())
}

fn line_feeds(text: &[u8]) -> u64 {
    text.iter().filter(|&&byte| byte == b'\n').count() as u64
}
