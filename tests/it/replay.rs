//! The binary over files: what it prints, how it ends, and what it makes of bad input.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A second of 2026, in nanoseconds.
const AT: u64 = 1_767_225_600_000_000_000;

fn span(trace: &str, start: &str, end: &str) -> String {
    format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"web"}}}}]}},"scopeSpans":[{{"spans":[{{"name":"GET","kind":2,"traceId":"{trace}","spanId":"00f067aa0ba902b7","startTimeUnixNano":"{start}","endTimeUnixNano":"{end}"}}]}}]}}]}}"#
    )
}

fn good(n: u64) -> String {
    span(&format!("{n:032x}"), &(AT + n).to_string(), &(AT + n + 1_000).to_string())
}

/// A folder with the files of one test.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Files(tempfile::tempdir().expect("a temporary folder"))
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).expect("a file");
        path
    }
}

fn undercurrent(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_undercurrent"));
    command.args(arguments);
    command
}

fn replay(path: &Path, arguments: &[&str]) -> Output {
    undercurrent(&["replay"]).arg(path).args(arguments).output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Reasons of all rejections of a file called `name`, sorted.
fn reasons(name: &str, content: impl AsRef<[u8]>) -> Vec<String> {
    let files = Files::new();
    let path = files.write(name, content);
    let sql = "SELECT kind || ': ' || reason AS r FROM ingest_errors ORDER BY 1";
    let output = replay(&path, &["--format", "json", "--sql", sql]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let rows = rows.as_array().expect("an array");
    rows.iter().map(|row| row["r"].as_str().expect("a reason").to_owned()).collect()
}

#[test]
fn the_status_tells_how_it_ended() {
    let files = Files::new();
    let path = files.write("a.jsonl", good(1));
    let count = "SELECT count(*) AS n FROM spans";
    assert_eq!(replay(&path, &["--sql", count]).status.code(), Some(0));
    for (sql, message) in [("SELECT", "SQL"), ("SELECT * FROM spams", "did you mean \"spans\"")] {
        let output = replay(&path, &["--sql", sql]);
        assert_eq!(output.status.code(), Some(1), "{sql}");
        assert!(text(&output.stderr).contains(message), "{}", text(&output.stderr));
    }
    let missing = replay(&files.0.path().join("none.jsonl"), &["--sql", count]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing.stderr).contains("none.jsonl"), "{}", text(&missing.stderr));
    assert_eq!(replay(&path, &["--sql", count, "--workers", "0"]).status.code(), Some(2));
    assert_eq!(undercurrent(&["fly"]).output().expect("it runs").status.code(), Some(2));
    let bad = files.write("b.jsonl", format!("{}\nnonsense\n", good(1)));
    assert_eq!(replay(&bad, &["--sql", count]).status.code(), Some(3));
}

#[test]
fn answers_come_in_each_format() {
    let files = Files::new();
    let path = files.write("a.jsonl", format!("{}\n{}\n", good(1), good(2)));
    let sql = "SELECT service_name, count(*) AS n FROM spans GROUP BY 1";
    let answer = |format| {
        let output = replay(&path, &["--format", format, "--sql", sql]);
        assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
        output.stdout
    };
    assert_eq!(text(&answer("csv")), "service_name,n\nweb,2\n");
    assert_eq!(text(&answer("json")), "[{\"service_name\":\"web\",\"n\":2}]\n");
    assert!(text(&answer("table")).contains("| web          | 2 |"));
    let parquet = answer("parquet");
    assert!(parquet.starts_with(b"PAR1") && parquet.ends_with(b"PAR1"));
}

#[test]
fn views_come_from_files_and_folders() {
    let files = Files::new();
    let path = files.write("a.jsonl", good(1));
    let query =
        files.write("q.sql", "CREATE MATERIALIZED VIEW v AS SELECT name FROM spans; SELECT * FROM v;");
    let output = replay(&path, &["--format", "csv", "--file", query.to_str().expect("a path")]);
    assert_eq!(text(&output.stdout), "name\nGET\n");
    let folder = Files::new();
    folder.write("w.sql", "CREATE MATERIALIZED VIEW w AS SELECT count(*) AS n FROM spans");
    let folder = folder.0.path().to_str().expect("a path").to_owned();
    let output = replay(&path, &["--format", "csv", "--queries", &folder, "--sql", "SELECT * FROM w"]);
    assert_eq!(text(&output.stdout), "n\n1\n", "{}", text(&output.stderr));
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let files = Files::new();
    let path = files.write("a.jsonl", (1..5_000).map(|n| good(n) + "\n").collect::<String>());
    let mut child = undercurrent(&["replay", "--sql", "SELECT * FROM spans"])
        .arg(&path)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), String::new()));
}

#[test]
fn statements_are_read_from_standard_input() {
    let files = Files::new();
    let path = files.write("a.jsonl", good(1));
    let mut child = undercurrent(&["sql", "--format", "csv"])
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let sql = b"-- a comment\nCREATE VIEW n AS SELECT count(*) AS n FROM spans;\nSELECT n FROM n; SELECT 'a;b' AS x";
    child.stdin.take().expect("a pipe").write_all(sql).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "n\n1\nx\na;b\n".to_owned()));
}

#[test]
fn bad_records_are_told_with_reasons() {
    let start = AT.to_string();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let checks: [(String, &str); 8] = [
        (span("abc", &start, &start), "id"),
        (span(trace, &(AT + 5).to_string(), &start), "end"),
        (span(trace, "1", "2"), "1970"),
        (span(trace, "9223372036854775807", "9223372036854775807"), "2262"),
        (good(1).replace("\"kind\":2", "\"kind\":\"SPAN_KIND_SERVER\""), "kind"),
        (good(1)[..60].to_owned(), "JSON"),
        ("[]".to_owned(), "object"),
        (good(1).replace("\"GET\"", "5"), "name"),
    ];
    for (line, expected) in checks {
        let reasons = reasons("a.jsonl", &line);
        assert_eq!(reasons.len(), 1, "{line}: {reasons:?}");
        assert!(reasons[0].to_lowercase().contains(&expected.to_lowercase()), "{expected}: {reasons:?}");
    }
}

#[test]
fn damaged_files_are_told_with_reasons() {
    let mut invalid = good(1).into_bytes();
    let at = invalid.windows(3).position(|w| w == b"GET").expect("a name");
    invalid[at] = 0xff;
    assert_eq!(reasons("a.jsonl", invalid).len(), 1);
    let mut gzip = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    (0..1_000).for_each(|n| writeln!(gzip, "{}", good(n)).expect("memory"));
    let gzip = gzip.finish().expect("memory");
    let reasons_cut = reasons("a.jsonl.gz", &gzip[..gzip.len() / 2]);
    assert!(!reasons_cut.is_empty());
    let attribute = |n: u64| format!(r#"{{"key":"k{n}","value":{{"intValue":"{n}"}}}}"#);
    let attributes = (0..10_000).map(attribute).collect::<Vec<_>>().join(",");
    let many =
        good(1).replace("\"name\":\"GET\"", &format!("\"name\":\"GET\",\"attributes\":[{attributes}]"));
    let reasons_many = reasons("a.jsonl", many);
    assert!(reasons_many[0].contains("1024"), "{reasons_many:?}");
}

/// The most memory that `child` held, in MiB, as Linux counts it.
fn peak_mib(child: &std::process::Child) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? / 1024)
}

#[test]
fn a_line_of_300_mb_does_not_fill_the_memory() {
    let files = Files::new();
    let path = files.0.path().join("long.jsonl.gz");
    let file = std::fs::File::create(&path).expect("a file");
    let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    let megabyte = vec![b' '; 1 << 20];
    (0..300).for_each(|_| gzip.write_all(&megabyte).expect("a disk with room"));
    writeln!(gzip, "\n{}", good(1)).expect("a disk with room");
    gzip.finish().expect("a disk with room");
    let sql = "SELECT count(*) AS n FROM spans; SELECT reason FROM ingest_errors";
    let mut child = undercurrent(&["replay", "--format", "csv", "--sql", sql])
        .arg(&path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    let mut peak = 0;
    // The mark only rises, so that the last one seen before the end is near enough.
    while let (Some(mib), Ok(None)) = (peak_mib(&child), child.try_wait()) {
        peak = mib.max(peak);
        std::thread::yield_now();
    }
    let output = child.wait_with_output().expect("it ends");
    let answer = text(&output.stdout);
    assert!(answer.starts_with("n\n1\nreason\n"), "{answer}");
    assert!(peak > 0 && peak < 300, "{peak} MiB at its peak");
}
