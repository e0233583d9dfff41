//! Workload: the trainticket day (328,848 spans and 168,642 log records, 194 MiB of OTLP JSON; where `UNDERCURRENT_SHARED`
//! does not name the folder that holds it, an hour of a simulated shop) sent to a server with a data directory, whose
//! memory holds 16 MiB of each stream: all the rest is read from history. Log records are sent six times, so that there
//! are a million.
//!
//! Printed: bytes of history against those of OTLP JSON and of the rows in memory, how long the server takes to be ready
//! again, with four views and from a checkpoint of them, and its memory then against before, and how long queries take, with nothing of history in the
//! page cache (where this process may empty it) and with all of it there: the median of seven.
//!
//! `cargo bench --bench history`

#![allow(clippy::unwrap_used)]

mod server;

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use flate2::read::GzDecoder;
use undercurrent::ingest::{Replay, ReplayOptions};

use self::server::Server;

const BINARY: &str = env!("CARGO_BIN_EXE_undercurrent");
const RUNS: usize = 7;
const VIEWS: &str = "service_dependencies, service_health, operation_latency, log_patterns";

/// A server whose memory holds little of each stream, which takes a checkpoint as often as said, and how long it took to
/// be ready.
fn start(data: &Path, interval: &str) -> (Server, f64) {
    let begin = Instant::now();
    let views = ["--engine-views", VIEWS, "--data-checkpoint-interval", interval];
    let memory = ["--engine-stored-bytes-max", "16 MiB", "--limits-statement-timeout", "5m"];
    let server = Server::start(data, &["otlp_http", "postgres"], &[views, memory].concat());
    (server, begin.elapsed().as_secs_f64())
}

/// Files of OTLP JSON lines: of spans and of log records.
fn inputs(folder: &Path) -> [PathBuf; 2] {
    if let Ok(shared) = std::env::var("UNDERCURRENT_SHARED") {
        return ["traces", "logs"]
            .map(|name| Path::new(&shared).join(format!("datasets/trainticket/{name}.jsonl.gz")));
    }
    println!(
        "UNDERCURRENT_SHARED is not set: the trainticket day is left out, a simulated hour takes its place"
    );
    let made = Command::new(BINARY).args(["generate", "--output"]).arg(folder).status().unwrap();
    assert!(made.success());
    ["traces", "logs"].map(|name| {
        let mut found = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        found.find(|path| path.file_name().unwrap().to_string_lossy().starts_with(name)).unwrap()
    })
}

/// The requests of `path`.
fn lines(path: &Path) -> Vec<String> {
    let file = std::fs::File::open(path).unwrap();
    let reader: Box<dyn Read> = if path.extension().is_some_and(|e| e == "gz") {
        Box::new(GzDecoder::new(file))
    } else {
        Box::new(file)
    };
    BufReader::new(reader).lines().map(Result::unwrap).collect()
}

/// Sends `lines` to `path` of the server, in requests on one connection.
fn send(server: &Server, path: &str, lines: &[String]) {
    use std::io::Write;
    let mut stream = std::net::TcpStream::connect(server.address("otlp_http")).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap());
    for line in lines {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: undercurrent\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            line.len()
        );
        loop {
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(line.as_bytes()).unwrap();
            let (mut status, mut length) = (String::new(), 0);
            answers.read_line(&mut status).unwrap();
            loop {
                let mut header = String::new();
                answers.read_line(&mut header).unwrap();
                if header.trim().is_empty() {
                    break;
                }
                if let Some(value) = header.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
            }
            let mut body = vec![0; length];
            answers.read_exact(&mut body).unwrap();
            match status.split(' ').nth(1) {
                Some("200") => break,
                Some("429") => std::thread::sleep(std::time::Duration::from_millis(50)),
                _ => panic!("{status} {}", String::from_utf8_lossy(&body)),
            }
        }
    }
}

/// The bytes that rows of `path` have in memory.
fn bytes_of_rows(path: &Path) -> usize {
    let replay = Replay::open(&[path.to_owned()], ReplayOptions::at(i64::MAX / 2)).unwrap();
    replay.flat_map(|step| step.batches).map(|batch| batch.rows.get_array_memory_size()).sum()
}

/// Empties the page cache; whether that is allowed.
fn empty_cache() -> bool {
    let _ = Command::new("sync").status();
    std::fs::write("/proc/sys/vm/drop_caches", "3").is_ok()
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

#[tokio::main]
async fn main() {
    let (folder, data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let [traces, logs] = inputs(folder.path()).map(|path| (lines(&path), path));
    let json: usize = traces.0.iter().chain(&logs.0).map(String::len).sum();
    let memory = bytes_of_rows(&traces.1) + bytes_of_rows(&logs.1);
    let (server, _) = start(data.path(), "none");
    let begin = Instant::now();
    send(&server, "/v1/traces", &traces.0);
    send(&server, "/v1/logs", &logs.0);
    println!("taken in on one connection: {:.1} s", begin.elapsed().as_secs_f64());
    let (steady, peak) = (server.memory_mib("VmRSS"), server.memory_mib("VmHWM"));
    drop(server);
    let (server, seconds) = start(data.path(), "none");
    println!(
        "killed and started: ready in {:.2} s, {:.0} MiB resident and {:.0} at most, {steady:.0} and {peak:.0} before",
        seconds,
        server.memory_mib("VmRSS"),
        server.memory_mib("VmHWM")
    );
    let rows = "SELECT sum(row_count) AS n FROM stream_stats";
    while server.number(rows) != server.number("SELECT sum(history_rows) AS n FROM stream_stats") {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let (rows, history) =
        (server.number(rows), server.number("SELECT sum(history_bytes) AS n FROM stream_stats"));
    let mib = |bytes: usize| bytes as f64 / (1 << 20) as f64;
    println!(
        "{rows} rows: {:.1} MiB of OTLP JSON, {:.1} MiB in memory, {:.1} MiB of history: {:.1}:1 and {:.1}:1",
        mib(json),
        mib(memory),
        mib(history as usize),
        json as f64 / history as f64,
        memory as f64 / history as f64
    );
    let of = server.run("SELECT stream, history_rows, history_files, history_bytes FROM stream_stats");
    of["rows"].as_array().unwrap().iter().for_each(|row| println!("  {row}"));
    (1..6).for_each(|_| send(&server, "/v1/logs", &logs.0));
    drop(server);
    let server = restart(data.path(), "none", "nothing to go on from");
    drop(server);
    let (server, _) = start(data.path(), "1s");
    let taken =
        "SELECT count(checkpoint_at) AS n, max(bytes) AS bytes, max(duration_ms) AS ms FROM checkpoint_stats";
    while server.number(taken) == 0 {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    println!("a checkpoint: {}", server.run(taken)["rows"]);
    drop(server);
    let server = restart(data.path(), "none", "a checkpoint");
    time_queries(&server).await;
}

/// A server that is started again where another was killed, once all of its rows are in history.
fn restart(data: &Path, interval: &str, from: &str) -> Server {
    let (server, seconds) = start(data, interval);
    while server.number("SELECT sum(row_count - history_rows)::bigint AS n FROM stream_stats") > 0 {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    println!(
        "{} spans and {} log records, killed and started with {from}: ready in {:.2} s, {:.0} MiB resident and {:.0} at most",
        server.number("SELECT count(*) AS n FROM spans"),
        server.number("SELECT count(*) AS n FROM logs"),
        seconds,
        server.memory_mib("VmRSS"),
        server.memory_mib("VmHWM")
    );
    server
}

async fn time_queries(server: &Server) {
    let trace = server.run("SELECT trace_id FROM spans ORDER BY started_at, span_id LIMIT 1 OFFSET 100000");
    let trace = trace["rows"][0]["trace_id"].as_str().unwrap_or_default().to_owned();
    let address = server.address("postgres").rsplit_once(':').unwrap();
    let config = format!("host={} port={} user=bench dbname=undercurrent", address.0, address.1);
    let (client, connection) = tokio_postgres::connect(&config, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    for (what, sql) in [
        ("a trace by its id", format!("SELECT * FROM spans WHERE trace_id = '{trace}'")),
        (
            "errors by service",
            "SELECT service_name, count(*) FROM spans WHERE status_code = 'ERROR' GROUP BY 1 ORDER BY 2 DESC"
                .to_owned(),
        ),
        (
            "a text in log records",
            "SELECT ts, body FROM logs WHERE body LIKE '%refused%' LIMIT 1000".to_owned(),
        ),
        ("how often it is there", "SELECT count(*) FROM logs WHERE body LIKE '%NullPointer%'".to_owned()),
        (
            "latency by minute of a service",
            "SELECT date_bin(INTERVAL '1 minute', started_at) AS at, avg(duration_ns) FROM spans \
             WHERE service_name = 'ts-order-service' GROUP BY 1"
                .to_owned(),
        ),
    ] {
        let (mut cold, mut warm, mut rows) = (vec![], vec![], 0);
        for _ in 0..RUNS {
            let is_cold = empty_cache();
            for times in [Some(&mut cold).filter(|_| is_cold), Some(&mut warm)].into_iter().flatten() {
                let begin = Instant::now();
                rows = client.query(sql.as_str(), &[]).await.unwrap().len();
                times.push(begin.elapsed().as_secs_f64() * 1000.0);
            }
        }
        let cold =
            if cold.is_empty() { "not measured".to_owned() } else { format!("{:.1} ms", median(cold)) };
        println!("{what}: {rows} rows, cold {cold}, warm {:.1} ms", median(warm));
    }
}
