//! The bytes of a request: read within time and room, and decompressed within the same room.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use flate2::bufread::MultiGzDecoder;
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::refusal::Refusal;

/// The least bytes by which a buffer grows, and the unit in which room is counted.
const GROWTH_BYTES: usize = 16 << 10;

/// How much of a body that is refused is still read, so that its sender gets to read the answer instead of finding
/// the connection broken.
const DRAINED_BYTES_MAX: usize = 128 << 20;

/// The largest window of zstd, 8 MiB: what the content coding of HTTP allows (RFC 9659). The decompressor holds it
/// besides the buffer.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Bytes decompressed at a time.
const CHUNK_BYTES: usize = 32 << 10;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

impl Encoding {
    /// The encoding called `name` in `Content-Encoding` or `grpc-encoding`.
    pub fn named(name: &str) -> Result<Self, Refusal> {
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" | "none" => Ok(Encoding::Identity),
            "gzip" => Ok(Encoding::Gzip),
            "zstd" => Ok(Encoding::Zstd),
            _ => Err(Refusal::Encoding(name.to_owned())),
        }
    }
}

/// Room for the bodies of all requests that are under way.
#[derive(Clone)]
pub(super) struct Room {
    units: Arc<Semaphore>,
    bytes_max: usize,
}

impl Room {
    /// Room for `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Self {
        let units = bytes_max.div_ceil(GROWTH_BYTES).min(u32::MAX as usize);
        Room { units: Arc::new(Semaphore::new(units)), bytes_max }
    }

    /// A buffer for at most `bytes_max` bytes.
    pub fn buffer(&self, bytes_max: usize) -> Buffer {
        Buffer { bytes: vec![], start: 0, bytes_max, room: self.clone(), held: None }
    }
}

/// Bytes that take room until they are dropped.
pub(super) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    bytes_max: usize,
    room: Room,
    held: Option<OwnedSemaphorePermit>,
}

impl Buffer {
    /// What is in it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Leaves out the first `count` bytes.
    pub fn skip(&mut self, count: usize) {
        self.start = (self.start + count).min(self.bytes.len());
    }

    /// Adds `part`.
    ///
    /// # Errors
    ///
    /// [`Refusal::TooLarge`] or [`Refusal::Full`]; nothing is allocated then.
    pub fn push(&mut self, part: &[u8]) -> Result<(), Refusal> {
        let bytes = self.bytes.len() + part.len();
        if bytes > self.bytes_max {
            return Err(Refusal::TooLarge { bytes_max: self.bytes_max });
        }
        if bytes > self.bytes.capacity() {
            let capacity = (2 * self.bytes.capacity()).max(GROWTH_BYTES).min(self.bytes_max).max(bytes);
            self.hold(capacity)?;
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(part);
        Ok(())
    }

    fn hold(&mut self, bytes: usize) -> Result<(), Refusal> {
        let held = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = bytes.div_ceil(GROWTH_BYTES).saturating_sub(held);
        let permit = self.room.units.clone().try_acquire_many_owned(missing as u32).map_err(|_| {
            Refusal::Full(format!("requests under way have more than {} bytes", self.room.bytes_max))
        })?;
        match &mut self.held {
            Some(held) => held.merge(permit),
            none => *none = Some(permit),
        }
        Ok(())
    }
}

/// Reads `body` into `buffer`, within `time`.
///
/// # Errors
///
/// When it is refused; the rest of it is read and forgotten first, up to [`DRAINED_BYTES_MAX`], unless its sender
/// waits to be asked for it (`is_awaited`).
pub(super) async fn read(
    mut body: Body,
    buffer: &mut Buffer,
    time: Duration,
    is_awaited: bool,
) -> Result<(), Refusal> {
    let deadline = Instant::now() + time;
    let read = timeout_at(deadline, collect(&mut body, buffer)).await.unwrap_or(Err(Refusal::Slow(time)));
    if read.is_err() && !is_awaited {
        let _ = timeout_at(deadline, drain(&mut body)).await;
    }
    read
}

async fn collect(body: &mut Body, buffer: &mut Buffer) -> Result<(), Refusal> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Refusal::Broken(error.to_string()))?;
        if let Some(data) = frame.data_ref() {
            buffer.push(data)?;
        }
    }
    Ok(())
}

/// Reads the rest of `body` and forgets it.
async fn drain(body: &mut Body) {
    let mut bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        bytes += frame.data_ref().map_or(0, bytes::Bytes::len);
        if bytes > DRAINED_BYTES_MAX {
            return;
        }
    }
}

/// What `compressed` holds. At no time are more than the limit of the buffer and some chunks allocated, whatever the
/// bytes say.
pub(super) fn decompressed(encoding: Encoding, compressed: Buffer) -> Result<Buffer, Refusal> {
    // Some senders say to compress and then have nothing to send.
    if compressed.bytes().is_empty() {
        return Ok(compressed);
    }
    let mut plain = compressed.room.buffer(compressed.bytes_max);
    match encoding {
        Encoding::Identity => return Ok(compressed),
        Encoding::Gzip => fill(&mut plain, MultiGzDecoder::new(compressed.bytes()), "gzip")?,
        Encoding::Zstd => {
            let damaged = |error| unreadable("zstd", &error);
            let mut reader = zstd::stream::read::Decoder::with_buffer(compressed.bytes()).map_err(damaged)?;
            reader.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(damaged)?;
            fill(&mut plain, reader, "zstd")?;
        }
    }
    Ok(plain)
}

fn fill(plain: &mut Buffer, mut reader: impl Read, name: &str) -> Result<(), Refusal> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match reader.read(&mut chunk).map_err(|error| unreadable(name, &error))? {
            0 => return Ok(()),
            bytes => plain.push(&chunk[..bytes])?,
        }
    }
}

fn unreadable(name: &str, error: &std::io::Error) -> Refusal {
    Refusal::Unreadable(format!("the body cannot be decompressed as {name}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(plain: &[u8]) -> Vec<u8> {
        zstd::stream::encode_all(plain, 1).unwrap()
    }

    /// The result of decompressing `compressed` where `bytes_max` bytes are allowed.
    fn result(encoding: Encoding, compressed: &[u8], bytes_max: usize) -> Result<Vec<u8>, Refusal> {
        let room = Room::new(1 << 20);
        let mut buffer = room.buffer(bytes_max);
        buffer.push(compressed)?;
        decompressed(encoding, buffer).map(|plain| plain.bytes().to_vec())
    }

    #[test]
    fn what_was_compressed_comes_back_up_to_the_limit() {
        let plain = vec![7; 100_000];
        for (encoding, compressed) in [(Encoding::Gzip, gzip(&plain)), (Encoding::Zstd, zstd(&plain))] {
            assert_eq!(result(encoding, &compressed, plain.len()), Ok(plain.clone()));
            let bytes_max = plain.len() - 1;
            assert_eq!(result(encoding, &compressed, bytes_max), Err(Refusal::TooLarge { bytes_max }));
            let cut = result(encoding, &compressed[..compressed.len() - 2], plain.len());
            assert!(matches!(cut, Err(Refusal::Unreadable(_))), "{cut:?}");
            let twice = [&compressed[..], &compressed[..]].concat();
            assert_eq!(result(encoding, &twice, 2 * plain.len()).map(|plain| plain.len()), Ok(200_000));
            assert_eq!(result(encoding, &[], 1), Ok(vec![]));
        }
    }

    #[test]
    fn a_zstd_frame_that_asks_for_a_window_beyond_the_limit_is_refused() {
        let mut encoder = zstd::stream::write::Encoder::new(vec![], 1).unwrap();
        encoder.window_log(ZSTD_WINDOW_LOG_MAX + 1).unwrap();
        encoder.include_contentsize(false).unwrap();
        encoder.write_all(&[7; 100_000]).unwrap();
        let frame = encoder.finish().unwrap();
        assert!(matches!(result(Encoding::Zstd, &frame, 1 << 20), Err(Refusal::Unreadable(_))));
    }

    #[test]
    fn room_is_shared_and_given_back() {
        let room = Room::new(4 * GROWTH_BYTES);
        let mut first = room.buffer(usize::MAX);
        first.push(&[0; 3 * GROWTH_BYTES]).unwrap();
        let mut second = room.buffer(usize::MAX);
        second.push(&[0; GROWTH_BYTES]).unwrap();
        assert!(matches!(second.push(&[0]), Err(Refusal::Full(_))));
        assert_eq!(second.bytes().len(), GROWTH_BYTES);
        drop(first);
        second.push(&[0]).unwrap();
    }
}
