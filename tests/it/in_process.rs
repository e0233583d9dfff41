//! Servers within the process of the tests, so that telemetry goes in without a protocol.

use std::net::SocketAddr;
use std::process::Command;

use undercurrent::built_in;
use undercurrent::config::Config;
use undercurrent::engine::{Answer, Live, Source};
use undercurrent::serve::Servers;
use undercurrent::sql::statement::parse;
use undercurrent::telemetry::{Batch, Decoder, Limits, Origin};

use crate::queries::notation::{START_NS, decoded, lines};
use crate::server::eventually;
use crate::support::Rows;

/// A running database with its servers, stopped when dropped.
pub struct InProcess {
    pub live: Live,
    pub runtime: tokio::runtime::Runtime,
    source: Source,
    servers: Option<Servers>,
    http: SocketAddr,
    flight_sql: SocketAddr,
}

impl InProcess {
    /// Starts one with ticks of 20 ms, a clock that stands still at the end of the data, and `settings`.
    pub fn start(settings: &[(&'static str, &str)]) -> InProcess {
        let fixed = [
            ("postgres.listen", "off"),
            ("otlp.grpc_listen", "off"),
            ("otlp.http_listen", "off"),
            ("engine.tick", "20ms"),
            ("clock.follows_wall", "false"),
            ("clock.ahead_max", "none"),
            ("engine.views", ""),
            ("engine.retention", "none"),
            ("clock.disorder", "10ms"),
            ("http.listen", "127.0.0.1:0"),
            ("flight_sql.listen", "127.0.0.1:0"),
        ];
        let all: Vec<_> =
            fixed.iter().chain(settings).map(|(key, value)| (*key, (*value).to_owned())).collect();
        let config = Config::load(None, |_| None, &all).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let live = runtime.block_on(config.open(built_in::views().unwrap())).unwrap();
        let servers = runtime.block_on(Servers::start(config, live.clone())).unwrap();
        let (http, flight_sql) = (servers.addresses.http.unwrap(), servers.addresses.flight_sql.unwrap());
        InProcess { source: live.source(), live, runtime, servers: Some(servers), http, flight_sql }
    }

    /// The address of `path` over HTTP.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http)
    }

    /// Where HTTP is spoken.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where Flight SQL is spoken.
    pub fn flight_sql(&self) -> SocketAddr {
        self.flight_sql
    }

    /// Takes telemetry in, as `queries::notation` writes it, and waits until queries see it.
    pub fn send(&self, text: &str) {
        self.take_in(decoded(&lines(text)));
    }

    /// Takes a request of OTLP as JSON in, and waits until queries see it.
    pub fn send_otlp(&self, request: &serde_json::Value) {
        let mut decoder = Decoder::new(Limits::default(), START_NS);
        decoder.json(request.to_string().as_bytes(), &Origin { source: "test".to_owned(), position: None });
        assert_eq!(decoder.rejected(), 0);
        self.take_in(decoder.finish());
    }

    fn take_in(&self, batches: Vec<Batch>) {
        let counts: Vec<(&str, usize)> =
            batches.iter().map(|b| (b.table.name(), b.rows.num_rows())).collect();
        let before: Vec<usize> = counts.iter().map(|(table, _)| self.count(table)).collect();
        self.source.try_send(batches).unwrap();
        for ((table, rows), before) in counts.iter().zip(before) {
            eventually(|| self.count(table), |count| *count == before + rows);
        }
    }

    fn count(&self, table: &str) -> usize {
        self.query(&format!("SELECT count(*) FROM {table}")).rows[0][0].parse().unwrap()
    }

    /// The rows of `sql`, past all servers.
    pub fn query(&self, sql: &str) -> Rows {
        let statement = parse(sql).unwrap().pop().unwrap();
        match self.runtime.block_on(self.live.execute(statement)) {
            Ok(Answer::Rows { schema, batches }) => Rows::new(&schema, &batches),
            Ok(_) => panic!("not a query: {sql}"),
            Err(error) => panic!("{sql}: {error}"),
        }
    }

    /// Stops the servers and the database.
    pub fn stop(&mut self) {
        if let Some(servers) = self.servers.take() {
            self.runtime.block_on(servers.stop());
        }
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What `curl` got.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    pub content_type: String,
    pub body: Vec<u8>,
    /// curl's own exit status: 0 where the answer came whole.
    pub exit: i32,
}

impl Got {
    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.text()))
    }
}

/// Runs curl with `arguments`.
pub fn curl(arguments: &[&str]) -> Got {
    let output = Command::new("curl")
        .args(["-sS", "--max-time", "60", "-w", "%{stderr}%{http_code} %{content_type}\n"])
        .args(arguments)
        .output()
        .expect("curl is installed");
    let said = String::from_utf8(output.stderr).unwrap();
    let line = said
        .lines()
        .find(|line| line.starts_with(|c: char| c.is_ascii_digit()))
        .unwrap_or_else(|| panic!("{said}"));
    let (status, content_type) = line.split_once(' ').unwrap();
    Got {
        status: status.parse().unwrap(),
        content_type: content_type.to_owned(),
        body: output.stdout,
        exit: output.status.code().unwrap(),
    }
}
