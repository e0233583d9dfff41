//! The server in a process of its own, for benches that ask it in SQL.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// All ports that a server can open.
const PORTS: [&str; 5] = ["otlp_grpc", "otlp_http", "postgres", "flight_sql", "http"];

/// A running server, which is killed when dropped.
pub struct Server {
    process: Child,
    /// What it said when it was ready.
    ready: Value,
}

impl Server {
    /// Starts one over `data`, whose clock follows the events, with `open` ports besides that of HTTP, and `flags`; returns
    /// when it is ready.
    pub fn start(data: &Path, open: &[&str], flags: &[&str]) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_undercurrent"));
        command.args(["serve", "--log-format", "json", "--clock-follows-wall", "false"]);
        command.args(["--clock-ahead-max", "none", "--data-dir"]).arg(data).args(flags);
        for port in PORTS {
            let is_open = port == "http" || open.contains(&port);
            let address = if is_open { "127.0.0.1:0" } else { "off" };
            command.arg(format!("--{}-listen", port.replace('_', "-"))).arg(address);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let is_ready = |line: &String| line.contains("\"ready\"");
        let ready = serde_json::from_str(&lines.find(is_ready).unwrap()).unwrap();
        std::thread::spawn(move || lines.for_each(|line| eprintln!("{line}")));
        Server { process, ready }
    }

    /// Where `port` is.
    pub fn address(&self, port: &str) -> &str {
        self.ready[port].as_str().unwrap().trim_start_matches("Some(").trim_end_matches(')')
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The answer to `sql`.
    pub fn run(&self, sql: &str) -> Value {
        let url = format!("http://{}/api/v1/sql", self.address("http"));
        let got = Command::new("curl").args(["-sS", "--fail-with-body", "--data-binary", sql, &url]).output();
        let got = got.unwrap();
        assert!(got.status.success(), "{sql}: {}", String::from_utf8_lossy(&got.stdout));
        serde_json::from_slice(&got.stdout).unwrap()
    }

    /// The number `n` that `query` gives.
    pub fn number(&self, query: &str) -> i64 {
        self.run(query)["rows"][0]["n"].as_i64().unwrap()
    }

    /// Its memory, in MiB: what is resident (`VmRSS`), or was at most (`VmHWM`).
    pub fn memory_mib(&self, line: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find(|other| other.starts_with(line)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
