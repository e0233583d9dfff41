//! Compressed bodies of requests. The first byte tells the encoding.
#![no_main]

/// Small, so that the limit is met often.
const BYTES_MAX: usize = 64 << 10;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((first, body)) = input.split_first() else { return };
    let encoding = if first % 2 == 0 { "gzip" } else { "zstd" };
    if let Ok(plain) = undercurrent::serve::decompress(encoding, body, BYTES_MAX) {
        assert!(plain.len() <= BYTES_MAX);
    }
});
