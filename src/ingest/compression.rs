//! The bytes of a file, decompressed as they are read and counted as they come off the disk.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

use super::paths::Compression;

/// Large enough that a call into the operating system or the decompressor is nothing beside the work on it.
const BUFFER_BYTES: usize = 128 * 1024;

/// How many bytes of a file on disk have been read: compressed bytes, for a progress bar.
#[derive(Clone, Default)]
pub(super) struct ReadBytes(Arc<AtomicU64>);

impl ReadBytes {
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

struct Counting<R> {
    inner: R,
    read: ReadBytes,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.inner.read(buffer)?;
        self.read.0.fetch_add(bytes as u64, Ordering::Relaxed);
        Ok(bytes)
    }
}

/// What `file` holds once decompressed; gzip of several members and zstd of several frames are read through.
///
/// # Errors
/// When the decompressor cannot be made. A damaged stream is an error of a later read.
pub(super) fn stream(
    file: File,
    compression: Compression,
    read: ReadBytes,
) -> io::Result<Box<dyn BufRead + Send>> {
    let raw = BufReader::with_capacity(BUFFER_BYTES, Counting { inner: file, read });
    Ok(match compression {
        Compression::None => Box::new(raw),
        Compression::Gzip => Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(raw))),
        Compression::Zstd => {
            let plain = zstd::stream::read::Decoder::with_buffer(raw)?;
            Box::new(BufReader::with_capacity(BUFFER_BYTES, plain))
        }
    })
}
