//! Workload: the whole path of the binary, from files on disk to the answer of
//! `SELECT count(*), sum(call_count) FROM service_dependencies`, one worker. The input is the trainticket day
//! (328,848 spans) where `UNDERCURRENT_SHARED` names the folder that holds it, else as many spans
//! made up here in the same shape; as OTLP JSON lines (plain and gzip), as OTLP protobuf in the
//! Collector's frames, and as Parquet.
//!
//! Printed: spans per CPU-second of the process (all threads, start and exit included), median of
//! five runs, and peak memory.
//!
//! `cargo bench --bench replay`

#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

const BINARY: &str = env!("CARGO_BIN_EXE_undercurrent");
const RUNS: usize = 5;
const SQL: &str = "SELECT count(*), sum(call_count) FROM service_dependencies";

/// CPU-seconds of the processes that this one has waited for.
fn cpu_seconds_of_children() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[13].parse::<f64>().unwrap() + fields[14].parse::<f64>().unwrap()) / 100.0
}

/// Replays `path`: the answer, CPU-seconds, and the peak of resident memory in MiB as last seen.
fn replay(path: &Path) -> (String, f64, f64) {
    let before = cpu_seconds_of_children();
    let mut child = Command::new(BINARY)
        .args(["replay", "--quiet", "--format", "csv", "--sql", SQL])
        .arg(path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0.0;
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find(|l| l.starts_with("VmHWM:"));
        if let Some(kib) = line.and_then(|l| l.split_whitespace().nth(1)) {
            peak_kib = kib.parse().unwrap();
        }
        std::thread::yield_now();
    }
    let mut answer = String::new();
    child.stdout.take().unwrap().read_to_string(&mut answer).unwrap();
    (answer.replace('\n', " "), cpu_seconds_of_children() - before, peak_kib / 1024.0)
}

/// The OTLP JSON lines to replay, and how many spans they hold.
fn lines() -> (Vec<String>, usize) {
    if let Ok(shared) = std::env::var("UNDERCURRENT_SHARED") {
        let file = File::open(Path::new(&shared).join("datasets/trainticket/traces.jsonl.gz")).unwrap();
        return (BufReader::new(GzDecoder::new(file)).lines().map(Result::unwrap).collect(), 328_848);
    }
    println!("UNDERCURRENT_SHARED is not set: the trainticket day is left out, made-up spans take its place");
    let lines = (0..660).map(|line| {
        let spans: Vec<String> = (0..500).map(|i| made_up_span(line * 500 + i)).collect();
        format!(
            r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"service-{}"}}}}]}},"scopeSpans":[{{"spans":[{}]}}]}}]}}"#,
            line % 28,
            spans.join(",")
        )
    });
    (lines.collect(), 330_000)
}

/// A span whose parent is of the line before, and so of another service.
fn made_up_span(i: usize) -> String {
    let id = |n: usize| format!("{:016x}", (n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let trace = i % 500 + i / 5000 * 500;
    let start = 1_700_000_000_000_000_000 + i as u64 * 1_000_000;
    let parent = if i < 500 { String::new() } else { id(i - 500) };
    format!(
        r#"{{"traceId":"{}{:016x}","spanId":"{}","parentSpanId":"{parent}","name":"operation-{}","startTimeUnixNano":"{start}","endTimeUnixNano":"{}"}}"#,
        id(trace),
        trace,
        id(i),
        i % 40,
        start + 500_000
    )
}

/// The same spans in each format.
fn write_inputs(folder: &Path, lines: &[String]) -> Vec<PathBuf> {
    let paths =
        ["traces.jsonl", "traces.jsonl.gz", "traces.pb", "traces.parquet"].map(|name| folder.join(name));
    let mut plain = File::create(&paths[0]).unwrap();
    let mut gzip = GzEncoder::new(File::create(&paths[1]).unwrap(), Compression::default());
    let mut frames = std::io::BufWriter::new(File::create(&paths[2]).unwrap());
    for line in lines {
        plain.write_all(format!("{line}\n").as_bytes()).unwrap();
        gzip.write_all(format!("{line}\n").as_bytes()).unwrap();
        let request: ExportTraceServiceRequest = serde_json::from_str(line).unwrap();
        let bytes = request.encode_to_vec();
        frames.write_all(&(bytes.len() as u32).to_be_bytes()).unwrap();
        frames.write_all(&bytes).unwrap();
    }
    gzip.finish().unwrap();
    frames.flush().unwrap();
    let parquet = Command::new(BINARY)
        .args(["replay", "--quiet", "--format", "parquet", "--sql", "SELECT * FROM spans"])
        .arg(&paths[0])
        .output()
        .unwrap();
    fs::write(&paths[3], parquet.stdout).unwrap();
    paths.to_vec()
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let (lines, spans) = lines();
    println!("{:<18} {:>22} {:>12}   answer", "input", "M spans per CPU-second", "peak MiB");
    for path in write_inputs(folder.path(), &lines) {
        let mut runs: Vec<_> = (0..RUNS).map(|_| replay(&path)).collect();
        runs.sort_by(|a, b| a.1.total_cmp(&b.1));
        let (answer, cpu_seconds, _) = &runs[RUNS / 2];
        let peak_mib = runs.iter().map(|r| r.2).fold(0.0, f64::max);
        let name = path.file_name().unwrap().to_string_lossy();
        println!("{name:<18} {:>22.2} {peak_mib:>12.0}   {answer}", spans as f64 / cpu_seconds / 1e6);
    }
}
