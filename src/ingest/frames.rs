//! Protobuf: one request as a whole file, or the frames of the OpenTelemetry Collector's file exporter, a length of
//! four bytes, big-endian, before each message.

use std::io::{self, ErrorKind, Read};

use super::records::{Desk, Records, kind};
use crate::telemetry::sniff_protobuf;

const ZSTD_MAGIC: &[u8] = b"\x28\xb5\x2f\xfd";

impl Records {
    /// The next frame. False at the end of the file.
    pub(super) fn frame(&mut self, desk: &mut Desk) -> io::Result<bool> {
        let number = self.origin.position.unwrap_or(0) + 1;
        self.origin.position = Some(number);
        let mut length = Vec::with_capacity(4);
        (&mut self.stream).take(4).read_to_end(&mut length)?;
        if length.is_empty() {
            return Ok(false);
        }
        let Ok(length) = <[u8; 4]>::try_from(length) else {
            return Err(cut_off(number, "its length"));
        };
        let bytes = u64::from(u32::from_be_bytes(length));
        if bytes > desk.record_bytes_max as u64 {
            let limit = desk.record_bytes_max;
            let reason = format!("frame {number} has {bytes} bytes, the limit is {limit}: skipped");
            desk.decoder.reject(&self.origin, kind::MESSAGE, &reason, &[]);
            let skipped = io::copy(&mut (&mut self.stream).take(bytes), &mut io::sink())?;
            return if skipped < bytes { Err(cut_off(number, "its message")) } else { Ok(true) };
        }
        // The buffer grows with what is there, not with what the length promises.
        (&mut self.stream).take(bytes).read_to_end(&mut desk.record)?;
        if (desk.record.len() as u64) < bytes {
            return Err(cut_off(number, "its message"));
        }
        self.message(desk);
        Ok(true)
    }

    /// The whole file as one request.
    pub(super) fn single_message(&mut self, desk: &mut Desk) -> io::Result<bool> {
        let limit = desk.record_bytes_max;
        (&mut self.stream).take(limit as u64 + 1).read_to_end(&mut desk.record)?;
        if desk.record.len() > limit {
            let reason = format!("the request is longer than the limit of {limit} bytes: skipped");
            desk.decoder.reject(&self.origin, kind::MESSAGE, &reason, &desk.record);
        } else {
            self.message(desk);
        }
        Ok(false)
    }

    /// Decodes the record, which may be compressed by itself and may be JSON, as the Collector's file exporter
    /// writes frames when it compresses.
    fn message(&self, desk: &mut Desk) {
        if desk.record.starts_with(ZSTD_MAGIC) {
            let limit = desk.record_bytes_max;
            match decompressed(&desk.record, limit) {
                Ok(plain) if plain.len() > limit => {
                    let reason = format!("longer than the limit of {limit} bytes once decompressed: skipped");
                    return desk.decoder.reject(&self.origin, kind::MESSAGE, &reason, &plain);
                }
                Ok(plain) => desk.record = plain,
                Err(error) => {
                    let reason = format!("cannot be decompressed: {error}");
                    return desk.decoder.reject(&self.origin, kind::MESSAGE, &reason, &desk.record);
                }
            }
        }
        if desk.record.is_empty() {
            // An empty request is a request.
        } else if desk.record[0] == b'{' {
            desk.decoder.json(&desk.record, &self.origin);
        } else if let Some(signal) = sniff_protobuf(&desk.record) {
            desk.decoder.protobuf(signal, &desk.record, &self.origin);
        } else {
            let reason = "neither spans, metrics nor logs in OTLP protobuf";
            desk.decoder.reject(&self.origin, kind::MESSAGE, reason, &desk.record);
        }
    }
}

/// No more than `limit` bytes and one that shows there are more.
fn decompressed(record: &[u8], limit: usize) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    zstd::stream::read::Decoder::with_buffer(record)?.take(limit as u64 + 1).read_to_end(&mut plain)?;
    Ok(plain)
}

fn cut_off(number: u64, part: &str) -> io::Error {
    io::Error::new(ErrorKind::UnexpectedEof, format!("frame {number} is cut off in {part}"))
}
