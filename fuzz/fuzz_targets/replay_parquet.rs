//! Recorded files of Parquet.
#![no_main]

libfuzzer_sys::fuzz_target!(|content: &[u8]| undercurrent_fuzz::replay("a.parquet", content));
