//! Workload: half an hour of the simulated shop at 200 requests per second, default seed and faults, in memory.
//! Making the portions, nothing else; with their protobuf; with their JSON. Printed: spans per CPU-second of this
//! thread (metrics and logs are made along with them), the best of five runs.
//!
//! `cargo bench --bench simulate`

#![allow(clippy::unwrap_used)]

use std::fs;
use std::hint::black_box;
use std::time::Duration;

use prost::Message;
use undercurrent::simulate::{Portion, Settings, Simulator};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// CPU-seconds of this process.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/schedstat").unwrap();
    stat.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1e9
}

fn report(name: &str, mut each: impl FnMut(&Portion)) {
    let rates = (0..5).map(|_| {
        let settings = Settings {
            duration: Some(Duration::from_secs(1_800)),
            requests_per_second: 200.0,
            ..Settings::default()
        };
        let (begin, mut spans) = (cpu_seconds(), 0);
        for portion in Simulator::new(settings).unwrap() {
            let scopes = portion.traces.resource_spans.iter().flat_map(|r| &r.scope_spans);
            spans += scopes.map(|s| s.spans.len()).sum::<usize>();
            each(&portion);
        }
        spans as f64 / (cpu_seconds() - begin)
    });
    println!("{name:<12}{:>8.2} M spans per CPU-second", rates.fold(0.0, f64::max) / 1e6);
}

fn main() {
    report("portions", |portion| {
        black_box(portion);
    });
    report("protobuf", |portion| {
        let parts =
            [portion.traces.encode_to_vec(), portion.metrics.encode_to_vec(), portion.logs.encode_to_vec()];
        black_box(parts);
    });
    report("JSON", |portion| {
        let parts = [
            serde_json::to_vec(&portion.traces).unwrap(),
            serde_json::to_vec(&portion.metrics).unwrap(),
            serde_json::to_vec(&portion.logs).unwrap(),
        ];
        black_box(parts);
    });
}
