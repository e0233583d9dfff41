//! OTLP in: what is sent by the protocol's real clients is what queries see, and what is not OTLP harms nobody.

pub mod client;
mod collector;
mod day;
mod exporters;
mod full;
mod grpc;
mod hostile;
mod http;
mod tls;

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use tonic::transport::Channel;

use crate::in_process::InProcess;

/// A second of 2026, in nanoseconds.
const AT: u64 = 1_767_225_600_000_000_000;

impl InProcess {
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
        let endpoint = Channel::from_shared(format!("http://{}", self.otlp_grpc())).expect("an address");
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
}

/// A request with the spans `numbers` of the service `web`, all of one trace; `name` is the name of each.
pub fn spans(numbers: std::ops::Range<u64>, name: &str) -> ExportTraceServiceRequest {
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
