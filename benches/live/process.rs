//! Servers in processes of their own.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

/// A server that is killed when dropped.
pub struct Server {
    process: Child,
    pub grpc: SocketAddr,
    pub http: SocketAddr,
    postgres: Option<SocketAddr>,
}

impl Server {
    /// Undercurrent with ticks of a second, over `views`.
    pub fn undercurrent(views: &str) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_undercurrent"));
        command.args(["serve", "--log-format", "json", "--clock-follows-wall", "false"]);
        command.args([
            "--clock-ahead-max",
            "none",
            "--engine-retention",
            "none",
            "--http-listen",
            "off",
            "--flight-sql-listen",
            "off",
        ]);
        command.args(["--engine-views", views]);
        for port in ["--otlp-grpc-listen", "--otlp-http-listen", "--postgres-listen"] {
            command.args([port, "127.0.0.1:0"]);
        }
        let mut process = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let ready = lines
            .by_ref()
            .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap())
            .find(|entry| entry["message"] == "ready");
        let ready = ready.unwrap();
        std::thread::spawn(move || lines.for_each(drop));
        let address = |name: &str| {
            let text = ready[name].as_str().unwrap();
            text.trim_start_matches("Some(").trim_end_matches(')').parse().unwrap()
        };
        Server {
            process,
            grpc: address("otlp_grpc"),
            http: address("otlp_http"),
            postgres: Some(address("postgres")),
        }
    }

    /// The Collector: OTLP into its servicegraph connector, whose metrics go nowhere.
    pub async fn collector(binary: &str) -> Server {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (grpc, http) = (free(), free());
        let mut config = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
        write!(
            config,
            "receivers: {{otlp: {{protocols: {{grpc: {{endpoint: '{grpc}', max_recv_msg_size_mib: 64}}, http: {{endpoint: '{http}'}}}}}}}}\n\
             connectors: {{servicegraph: {{store: {{ttl: 10s, max_items: 100000}}}}}}\n\
             exporters: {{nop: {{}}}}\n\
             service:\n  telemetry: {{metrics: {{level: none}}, logs: {{level: error}}}}\n  pipelines:\n    \
             traces: {{receivers: [otlp], exporters: [servicegraph]}}\n    \
             metrics: {{receivers: [servicegraph], exporters: [nop]}}\n"
        )
        .unwrap();
        let path = config.into_temp_path();
        let process = Command::new(binary).arg("--config").arg(&path).spawn().unwrap();
        while tokio::net::TcpStream::connect(grpc).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Server { process, grpc, http, postgres: None }
    }

    /// A connection to SQL.
    pub async fn sql(&self) -> tokio_postgres::Client {
        let address = self.postgres.unwrap();
        let text = format!("host={} port={} dbname=undercurrent user=bench", address.ip(), address.port());
        let (client, connection) = tokio_postgres::connect(&text, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// CPU-seconds so far, of all threads.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
    }

    /// The peak of resident memory.
    pub fn peak_mib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
