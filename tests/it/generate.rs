//! `undercurrent generate`: its files replayed, its requests received.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::receiver;

/// What all of these simulate, unless they say otherwise: ten minutes with three faults.
const SYSTEM: &[&str] = &[
    "--seed",
    "3",
    "--duration",
    "10m",
    "--rate",
    "4",
    "--fault",
    "errors:payment:1m:4m:0.5",
    "--fault",
    "dead_dependency:inventory:5m:2m",
    "--fault",
    "new_dependency:search/pricing:2m:5m",
];

fn undercurrent(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_undercurrent")).args(arguments).output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Generates into `folder`.
fn generate(folder: &Path, arguments: &[&str]) {
    let folder = folder.to_str().unwrap();
    let output = undercurrent(&[&["generate", "--quiet", "--output", folder], SYSTEM, arguments].concat());
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
}

/// The rows of one query over what is in `folder`.
fn rows(folder: &Path, sql: &str) -> Vec<Value> {
    let folder = folder.to_str().unwrap();
    let output = undercurrent(&["replay", folder, "--format", "json", "--sql", sql]);
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn truth(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// The files of a folder by name.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    entries.map(|path| (name(&path), fs::read(&path).unwrap())).collect()
}

#[test]
fn a_replay_finds_the_map_that_was_simulated() {
    let folder = tempfile::tempdir().unwrap();
    generate(folder.path(), &[]);
    let mut edges = truth(&folder.path().join("truth.json"))["edges"].as_array().unwrap().clone();
    for view in ["service_dependencies", "service_dependencies_by_kind"] {
        let sql = format!(
            "SELECT source_service AS source, target_service AS target, connection_type, call_count, error_count
             FROM {view}"
        );
        let mut found = rows(folder.path(), &sql);
        found.sort_by_key(Value::to_string);
        edges.sort_by_key(Value::to_string);
        assert_eq!(found, edges, "{view}");
    }
    assert!(edges.len() > 40 && edges.iter().any(|edge| edge["error_count"].as_i64() > Some(0)));
    assert_eq!(rows(folder.path(), "SELECT * FROM ingest_errors"), [] as [Value; 0]);
}

/// Every table in a form in which two replays can be compared.
const TABLES: [&str; 5] = ["spans", "span_events", "span_links", "metrics", "logs"];

#[test]
fn both_formats_have_the_same_rows() {
    let (json, protobuf) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    generate(json.path(), &["--compress", "zstd"]);
    generate(protobuf.path(), &["--format", "protobuf", "--compress", "gzip"]);
    let names: Vec<_> = files(protobuf.path()).into_keys().collect();
    assert_eq!(names, ["logs.pb.gz", "metrics.pb.gz", "traces.pb.gz", "truth.json"]);
    assert_eq!(truth(&json.path().join("truth.json")), truth(&protobuf.path().join("truth.json")));
    for table in TABLES {
        let sql = format!("SELECT * FROM {table}");
        let sorted = |folder: &Path| {
            let mut rows: Vec<_> = rows(folder, &sql).iter().map(Value::to_string).collect();
            rows.sort();
            rows
        };
        let rows = sorted(json.path());
        assert!(rows.len() > 100, "{table} has {} rows", rows.len());
        assert!(rows == sorted(protobuf.path()), "{table} differs");
    }
}

#[test]
fn the_same_command_writes_the_same_bytes() {
    for arguments in [&["--compress", "none"], &["--compress", "gzip"], &["--compress", "zstd"]] {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        generate(first.path(), arguments);
        generate(second.path(), arguments);
        let first = files(first.path());
        assert_eq!(first.len(), 4);
        assert!(first == files(second.path()), "{arguments:?}");
    }
}

#[test]
fn ids_are_hex_and_long_numbers_are_text() {
    let folder = tempfile::tempdir().unwrap();
    generate(folder.path(), &[]);
    let line = |name: &str| -> Value {
        let file = fs::read_to_string(folder.path().join(name)).unwrap();
        serde_json::from_str(file.lines().next().unwrap()).unwrap()
    };
    let span = &line("traces.jsonl")["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    let is_hex = |id: &Value, digits: usize| {
        let id = id.as_str().unwrap();
        id.len() == digits && id.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase())
    };
    assert!(is_hex(&span["traceId"], 32) && is_hex(&span["spanId"], 16), "{span}");
    assert!(span["startTimeUnixNano"].as_str().is_some_and(|t| t.parse::<u64>().is_ok()), "{span}");
    assert!(span["kind"].is_u64(), "{span}");
    let metrics = line("metrics.jsonl")["resourceMetrics"][0]["scopeMetrics"][0]["metrics"].clone();
    let memory = metrics.as_array().unwrap().iter().find(|m| m["name"] == "process.memory.usage").unwrap();
    assert!(memory["gauge"]["dataPoints"][0]["asInt"].is_string(), "{memory}");
}

#[test]
fn a_folder_with_other_telemetry_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("traces.jsonl.gz"), "").unwrap();
    let path = folder.path().to_str().unwrap();
    let output = undercurrent(&["generate", "--output", path, "--duration", "1s"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("holds \"traces.jsonl.gz\" already"), "{}", text(&output.stderr));
    let both = undercurrent(&["generate", "--output", path, "--endpoint", "http://127.0.0.1:1"]);
    assert_eq!(both.status.code(), Some(2));
    assert_eq!(undercurrent(&["generate"]).status.code(), Some(2));
    let unknown = undercurrent(&["generate", "--output", path, "--fault", "latency:kart:1m:1m"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stderr).contains("one of the services gateway"), "{}", text(&unknown.stderr));
}

#[test]
fn a_receiver_gets_what_files_would_hold() {
    let folder = tempfile::tempdir().unwrap();
    generate(folder.path(), &["--format", "protobuf"]);
    for compress in ["none", "gzip", "zstd"] {
        // Refuses now and then, once with a wait: all is sent again.
        let receiver = receiver::Receiver::start(7);
        let endpoint = format!("http://{}", receiver.address);
        let told = folder.path().join("sent.txt");
        let arguments = ["generate", "--quiet", "--endpoint", &endpoint, "--compress", compress];
        let more = ["--speed", "max", "--truth", told.to_str().unwrap()];
        let output = undercurrent(&[&arguments, SYSTEM, &more].concat());
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
        let received = receiver.stop();
        assert!(received.refused > 10, "{}", received.refused);
        let files = files(folder.path());
        assert!(received.traces == files["traces.pb"], "traces sent with {compress} differ");
        assert!(received.metrics == files["metrics.pb"], "metrics sent with {compress} differ");
        assert!(received.logs == files["logs.pb"], "logs sent with {compress} differ");
        assert_eq!(files["sent.txt"], files["truth.json"]);
    }
}

#[test]
#[cfg(unix)]
fn an_interruption_ends_the_sending_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = receiver::Receiver::start(usize::MAX);
    let (endpoint, told) = (format!("http://{}", receiver.address), folder.path().join("truth.json"));
    let child = Command::new(env!("CARGO_BIN_EXE_undercurrent"))
        .args(["generate", "--endpoint", &endpoint, "--speed", "1000x", "--truth", told.to_str().unwrap()])
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    // Without an end of its own.
    receiver.await_traces(1 << 20);
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("spans a second"), "{}", text(&output.stderr));
    assert!(truth(&told)["edges"].as_array().is_some_and(|edges| edges.len() > 40));
    assert!(receiver.stop().traces.len() >= 1 << 20);
}

#[test]
fn nobody_at_the_endpoint_is_told() {
    let output = undercurrent(&["generate", "--endpoint", "http://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("cannot connect to \"http://127.0.0.1:1\""),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn the_sample_is_what_its_command_gives() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets/shop");
    let readme = fs::read_to_string(sample.join("README.md")).unwrap();
    let command =
        readme.lines().find_map(|line| line.strip_prefix("undercurrent generate --output datasets/shop "));
    let arguments: Vec<&str> = command.expect("the command").split_whitespace().collect();
    let made = tempfile::tempdir().unwrap();
    let folder = made.path().to_str().unwrap();
    let output = undercurrent(&[&["generate", "--quiet", "--output", folder], &arguments[..]].concat());
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
    // Compressors of other versions may write other bytes for the same.
    let plain = |folder: &Path| -> BTreeMap<String, Vec<u8>> {
        let decompressed = |(name, bytes): (String, Vec<u8>)| {
            let bytes = if name.ends_with(".zst") { zstd::decode_all(&bytes[..]).unwrap() } else { bytes };
            (name, bytes)
        };
        files(folder).into_iter().map(decompressed).filter(|(name, _)| name != "README.md").collect()
    };
    let made = plain(made.path());
    assert_eq!(
        made.keys().collect::<Vec<_>>(),
        ["logs.jsonl.zst", "metrics.jsonl.zst", "traces.jsonl.zst", "truth.json"]
    );
    assert!(made == plain(&sample), "datasets/shop is not what its README says: run the command again");
    assert_eq!(rows(&sample, "SELECT * FROM ingest_errors"), [] as [Value; 0]);
}
