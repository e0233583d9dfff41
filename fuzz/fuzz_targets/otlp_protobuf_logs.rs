//! Requests of logs in protobuf.
#![no_main]

use undercurrent::telemetry::Signal;

libfuzzer_sys::fuzz_target!(|request: &[u8]| undercurrent_fuzz::protobuf(Signal::Logs, request));
