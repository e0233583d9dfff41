//! Requests of all signals in JSON: the key at their top tells them apart.
#![no_main]

libfuzzer_sys::fuzz_target!(|request: &[u8]| undercurrent_fuzz::json(request));
