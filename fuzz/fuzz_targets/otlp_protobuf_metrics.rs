//! Requests of metrics in protobuf.
#![no_main]

use undercurrent::telemetry::Signal;

libfuzzer_sys::fuzz_target!(|request: &[u8]| undercurrent_fuzz::protobuf(Signal::Metrics, request));
