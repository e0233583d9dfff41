//! OTLP in: what is sent by the protocol's real clients is what queries see, and what is not OTLP harms nobody.

mod client;
mod collector;
mod day;
mod exporters;
mod full;
mod grpc;
mod hostile;
mod http;
mod tls;

use std::net::SocketAddr;

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use tonic::transport::Channel;
use undercurrent::built_in;
use undercurrent::config::Config;
use undercurrent::engine::{Answer, Live};
use undercurrent::serve::Servers;
use undercurrent::sql::error::SqlError;
use undercurrent::sql::statement::parse;

use crate::server::eventually;
use crate::support::Rows;

/// A second of 2026, in nanoseconds.
const AT: u64 = 1_767_225_600_000_000_000;

/// Servers for OTLP in this process, over a database whose answers can be read.
struct Service {
    runtime: tokio::runtime::Runtime,
    live: Live,
    servers: Option<Servers>,
    grpc: SocketAddr,
    http: SocketAddr,
}

impl Service {
    /// Starts them with ticks of 20 ms, a clock that stands still at the end of the data, and `settings`.
    fn start(settings: &[(&'static str, &str)]) -> Service {
        let common = [
            ("otlp.grpc_listen", "127.0.0.1:0"),
            ("otlp.http_listen", "127.0.0.1:0"),
            ("postgres.listen", "off"),
            ("flight_sql.listen", "off"),
            ("http.listen", "off"),
            ("engine.tick", "20ms"),
            ("engine.horizon", "none"),
            ("engine.retention", "none"),
            ("engine.views", ""),
            ("clock.follows_wall", "false"),
            ("clock.ahead_max", "none"),
        ];
        let flags: Vec<_> =
            common.iter().chain(settings).map(|(key, value)| (*key, (*value).to_owned())).collect();
        let config = Config::load(None, |_| None, &flags).expect("settings");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let views = built_in::views().expect("views");
        let live = runtime.block_on(config.open(views)).expect("a live database");
        let servers = runtime.block_on(Servers::start(config, live.clone())).expect("ports");
        let (grpc, http) = (servers.addresses.otlp_grpc, servers.addresses.otlp_http);
        let (grpc, http) = (grpc.expect("an address"), http.expect("an address"));
        Service { runtime, live, servers: Some(servers), grpc, http }
    }

    /// Carries out the statements of `sql`.
    fn answer(&self, sql: &str) -> Result<Answer, SqlError> {
        let mut answer = Answer::Done("nothing");
        for statement in parse(sql)? {
            answer = self.runtime.block_on(self.live.execute(statement))?;
        }
        Ok(answer)
    }

    /// The rows that `sql` gives, in the order of their text.
    fn rows(&self, sql: &str) -> Vec<String> {
        match self.answer(sql) {
            Ok(Answer::Rows { schema, batches }) => Rows::new(&schema, &batches).sorted(),
            Ok(_) => panic!("not a query: {sql}"),
            Err(error) => panic!("{sql}: {error}"),
        }
    }

    /// Waits until `sql` gives `expected`.
    fn wait_for(&self, sql: &str, expected: &[&str]) {
        eventually(|| self.rows(sql), |rows| rows == expected);
    }

    /// The value of the metric of requests for `labels`, such as `signal="traces",status="full"`.
    fn requests(&self, labels: &str) -> u64 {
        let text = self.live.metrics().text();
        let lines = text
            .lines()
            .filter(|line| line.starts_with("undercurrent_ingest_requests_total") && line.contains(labels));
        lines.map(|line| line.rsplit(' ').next().expect("a value").parse::<u64>().expect("a number")).sum()
    }

    /// A connection to the port of gRPC.
    fn channel(&self) -> Channel {
        let endpoint = Channel::from_shared(format!("http://{}", self.grpc)).expect("an address");
        self.runtime.block_on(endpoint.connect()).expect("a connection")
    }

    fn trace_client(&self) -> TraceServiceClient<Channel> {
        TraceServiceClient::new(self.channel())
    }

    fn logs_client(&self) -> LogsServiceClient<Channel> {
        LogsServiceClient::new(self.channel())
    }

    fn metrics_client(&self) -> MetricsServiceClient<Channel> {
        MetricsServiceClient::new(self.channel())
    }

    /// Stops the servers and the engine.
    fn stop(&mut self) {
        if let Some(servers) = self.servers.take() {
            self.runtime.block_on(servers.stop());
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A request with the spans `numbers` of the service `web`, all of one trace; `name` is the name of each.
fn spans(numbers: std::ops::Range<u64>, name: &str) -> ExportTraceServiceRequest {
    let span = |n: u64| Span {
        trace_id: 7_u128.to_be_bytes().to_vec(),
        span_id: (n + 1).to_be_bytes().to_vec(),
        name: name.to_owned(),
        kind: 2,
        start_time_unix_nano: AT + n * 1_000_000,
        end_time_unix_nano: AT + n * 1_000_000 + 500_000,
        ..Span::default()
    };
    let value = AnyValue { value: Some(Value::StringValue("web".to_owned())) };
    let attribute = KeyValue { key: "service.name".to_owned(), value: Some(value), ..KeyValue::default() };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource { attributes: vec![attribute], ..Resource::default() }),
            scope_spans: vec![ScopeSpans { spans: numbers.map(span).collect(), ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        }],
    }
}

/// The same span as JSON.
fn span_json(n: u64) -> String {
    serde_json::to_string(&spans(n..n + 1, "GET")).expect("JSON")
}
