//! Servers within the process of the tests, so that telemetry goes in without a protocol and answers come without one.

use std::future::Future;
use std::net::SocketAddr;
use std::process::Command;

use serde_json::Value;
use tokio::runtime::Runtime;
use undercurrent::built_in;
use undercurrent::config::Config;
use undercurrent::engine::{Answer, Live, Source};
use undercurrent::serve::{Addresses, Servers};
use undercurrent::sql::error::SqlError;
use undercurrent::sql::statement::parse;
use undercurrent::telemetry::{Batch, Decoder, Limits, Origin};

use crate::queries::notation::{START_NS, decoded, lines};
use crate::server::{PATIENCE, eventually};
use crate::support::{Rows, batch, table};

/// What the servers of tests are set to, unless a test sets it otherwise: every protocol on a port of its own, ticks of
/// 20 ms, a clock that stands still at the end of the data, nothing forgotten.
const SETTINGS: [(&str, &str); 12] = [
    ("otlp.grpc_listen", "127.0.0.1:0"),
    ("otlp.http_listen", "127.0.0.1:0"),
    ("postgres.listen", "127.0.0.1:0"),
    ("flight_sql.listen", "127.0.0.1:0"),
    ("http.listen", "127.0.0.1:0"),
    ("engine.tick", "20ms"),
    ("engine.views", ""),
    ("engine.horizon", "none"),
    ("engine.retention", "none"),
    ("clock.follows_wall", "false"),
    ("clock.ahead_max", "none"),
    ("clock.disorder", "10ms"),
];

/// A running database with its servers, stopped when dropped.
pub struct InProcess {
    pub live: Live,
    pub runtime: Runtime,
    pub addresses: Addresses,
    source: Source,
    servers: Option<Servers>,
}

impl InProcess {
    /// Starts one with `settings`.
    pub fn start(settings: &[(&'static str, &str)]) -> InProcess {
        let open = async |config: &Config| {
            config.open(built_in::views().expect("the built-in views")).await.expect("a live database")
        };
        InProcess::over(open, settings)
    }

    /// Starts one over the database that `open` gives.
    pub fn over(open: impl AsyncFnOnce(&Config) -> Live, settings: &[(&'static str, &str)]) -> InProcess {
        let all: Vec<_> =
            SETTINGS.iter().chain(settings).map(|(key, value)| (*key, (*value).to_owned())).collect();
        let config = Config::load(None, |_| None, &all).expect("settings");
        let runtime = Runtime::new().expect("a runtime");
        let live = runtime.block_on(open(&config));
        let servers = runtime.block_on(Servers::start(config, live.clone())).expect("ports");
        InProcess {
            addresses: servers.addresses,
            source: live.source(),
            live,
            runtime,
            servers: Some(servers),
        }
    }

    /// The address of `path` over HTTP.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http())
    }

    /// Where HTTP is spoken.
    pub fn http(&self) -> SocketAddr {
        self.addresses.http.expect("HTTP")
    }

    /// Where Flight SQL is spoken.
    pub fn flight_sql(&self) -> SocketAddr {
        self.addresses.flight_sql.expect("Flight SQL")
    }

    /// Where PostgreSQL's protocol is spoken.
    pub fn postgres(&self) -> SocketAddr {
        self.addresses.postgres.expect("PostgreSQL")
    }

    /// Where OTLP over gRPC is spoken.
    pub fn otlp_grpc(&self) -> SocketAddr {
        self.addresses.otlp_grpc.expect("OTLP over gRPC")
    }

    /// Where OTLP over HTTP is spoken.
    pub fn otlp_http(&self) -> SocketAddr {
        self.addresses.otlp_http.expect("OTLP over HTTP")
    }

    /// Takes in rows of the stream table `name`.
    pub fn append(&self, name: &str, rows: &[Value]) {
        let _ = self.source.try_send(vec![batch(table(name), rows)]).expect("space");
    }

    /// Takes telemetry in, as `queries::notation` writes it, and waits until queries see it.
    pub fn send(&self, text: &str) {
        self.take_in(decoded(&lines(text)));
    }

    /// Takes a request of OTLP as JSON in, and waits until queries see it.
    pub fn send_otlp(&self, request: &Value) {
        let mut decoder = Decoder::new(Limits::default(), START_NS);
        decoder.json(request.to_string().as_bytes(), &Origin { source: "test".to_owned(), position: None });
        assert_eq!(decoder.rejected(), 0);
        self.take_in(decoder.finish());
    }

    fn take_in(&self, batches: Vec<Batch>) {
        let counts: Vec<(&str, usize)> =
            batches.iter().map(|b| (b.table.name(), b.rows.num_rows())).collect();
        let before: Vec<usize> = counts.iter().map(|(table, _)| self.count(table)).collect();
        let _ = self.source.try_send(batches).expect("space");
        for ((table, rows), before) in counts.iter().zip(before) {
            eventually(|| self.count(table), |count| *count == before + rows);
        }
    }

    fn count(&self, table: &str) -> usize {
        self.query(&format!("SELECT count(*) FROM {table}")).rows[0][0].parse().expect("a number")
    }

    /// Carries out the statements of `sql`, past all servers.
    pub fn answer(&self, sql: &str) -> Result<Answer, SqlError> {
        let mut answer = Answer::Done("nothing");
        for statement in parse(sql)? {
            answer = self.runtime.block_on(self.live.execute(statement))?;
        }
        Ok(answer)
    }

    /// The rows of `sql`, past all servers.
    pub fn query(&self, sql: &str) -> Rows {
        match self.answer(sql) {
            Ok(Answer::Rows { schema, batches }) => Rows::new(&schema, &batches),
            Ok(_) => panic!("not a query: {sql}"),
            Err(error) => panic!("{sql}: {error}"),
        }
    }

    /// The rows of `sql` as lines, in the order of their text.
    pub fn rows(&self, sql: &str) -> Vec<String> {
        self.query(sql).sorted()
    }

    /// Waits until `sql` gives `expected`.
    pub fn wait_for(&self, sql: &str, expected: &[&str]) {
        eventually(|| self.rows(sql), |rows| rows == expected);
    }

    /// Waits for `work`, for as long as a test may.
    pub fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        let within = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, work).await });
        within.expect("an answer in time")
    }

    /// Runs `work` beside the test.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(work);
    }

    /// Stops the servers and the database.
    pub fn stop(&mut self) {
        if let Some(servers) = self.servers.take() {
            self.wait(servers.stop());
        }
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        if let Some(servers) = self.servers.take() {
            let _ = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, servers.stop()).await });
        }
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
    pub fn json(&self) -> Value {
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
