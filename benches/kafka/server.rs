//! The server in a process of its own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// A server with a journal that is killed when dropped.
pub struct Server {
    process: Child,
    url: String,
    _folder: tempfile::TempDir,
}

const VIEWS: &str = "service_dependencies, service_health, operation_latency";

impl Server {
    /// Starts one with ticks of a second, whose clock follows the events.
    pub fn start() -> Server {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_undercurrent"));
        command.args([
            "serve",
            "--log-format",
            "json",
            "--clock-follows-wall",
            "false",
            "--clock-ahead-max",
            "none",
        ]);
        command.args(["--engine-views", VIEWS, "--engine-retention", "none", "--http-listen", "127.0.0.1:0"]);
        for port in ["otlp-grpc", "otlp-http", "postgres", "flight-sql"] {
            command.arg(format!("--{port}-listen")).arg("off");
        }
        command.arg("--data-dir").arg(folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let is_ready = |line: &String| line.contains("\"ready\"");
        let ready: Value = serde_json::from_str(&lines.find(is_ready).unwrap()).unwrap();
        std::thread::spawn(move || lines.for_each(|line| eprintln!("{line}")));
        let address =
            ready["http"].as_str().unwrap().trim_start_matches("Some(").trim_end_matches(')').to_owned();
        Server { process, url: format!("http://{address}/api/v1/sql"), _folder: folder }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The answer to `sql`.
    pub fn run(&self, sql: &str) -> Value {
        let got =
            Command::new("curl").args(["-sS", "--fail-with-body", "--data-binary", sql, &self.url]).output();
        let got = got.unwrap();
        assert!(got.status.success(), "{sql}: {}", String::from_utf8_lossy(&got.stdout));
        serde_json::from_slice(&got.stdout).unwrap()
    }

    /// The number `n` that `query` gives.
    pub fn number(&self, query: &str) -> i64 {
        self.run(query)["rows"][0]["n"].as_i64().unwrap()
    }

    /// Its memory.
    pub fn resident_mib(&self) -> f64 {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.id())).unwrap();
        statm.split(' ').nth(1).unwrap().parse::<f64>().unwrap() * 4096.0 / 1_048_576.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The CPU time that a process has used.
pub fn cpu_seconds(id: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // In hundredths of a second, of the user and of the system.
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}
