//! The OpenTelemetry Collector between exporter and server, unmodified.
//!
//! Needs its binary, which `UNDERCURRENT_COLLECTOR` names (benches/live/collector.yaml says how it is built), and
//! the recorded day.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use tonic::transport::Channel;

use super::day::{self, Sent};
use crate::server::eventually;

/// A Collector that passes on by OTLP what it gets by OTLP; killed when dropped.
struct Collector {
    process: Child,
    address: SocketAddr,
}

impl Collector {
    fn start(binary: &str, exporter: &str) -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        drop(listener);
        let mut config = tempfile::NamedTempFile::with_suffix(".yaml").expect("a file");
        write!(
            config,
            "receivers: {{otlp: {{protocols: {{grpc: {{endpoint: '{address}', max_recv_msg_size_mib: 64}}}}}}}}\n\
             exporters: {{{exporter}}}\n\
             service:\n  telemetry: {{metrics: {{level: none}}, logs: {{level: error}}}}\n  pipelines:\n    \
             traces: {{receivers: [otlp], exporters: [{name}]}}\n    \
             metrics: {{receivers: [otlp], exporters: [{name}]}}\n    \
             logs: {{receivers: [otlp], exporters: [{name}]}}\n",
            name = exporter.split(':').next().expect("a name"),
        )
        .expect("a file");
        let (_, path) = config.keep().expect("a file that stays");
        let process = Command::new(binary)
            .args(["--config".as_ref(), path.as_os_str()])
            .stdin(Stdio::null())
            .spawn()
            .expect("the Collector");
        eventually(|| std::net::TcpStream::connect(address).is_ok(), |is_up| *is_up);
        Collector { process, address }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn the_day_through_a_collector_ends_in_the_tables_of_its_replay() {
    let Ok(binary) = std::env::var("UNDERCURRENT_COLLECTOR") else {
        println!("left out: UNDERCURRENT_COLLECTOR is not set");
        return;
    };
    let Some((requests, expected, rows)) = day::whole() else { return };
    for protocol in ["grpc", "http"] {
        let service = day::service();
        let exporter = match protocol {
            "grpc" => format!("otlp: {{endpoint: '{}', tls: {{insecure: true}}}}", service.otlp_grpc()),
            _ => format!("otlphttp: {{endpoint: 'http://{}', compression: gzip}}", service.otlp_http()),
        };
        let collector = Collector::start(&binary, &exporter);
        let endpoint = Channel::from_shared(format!("http://{}", collector.address)).expect("an address");
        let channel = service.runtime.block_on(endpoint.connect()).expect("a connection");
        day::send_all(&service, &requests, |request| {
            service.runtime.block_on(async {
                match request {
                    Sent::Traces(request) => {
                        let mut client = TraceServiceClient::new(channel.clone());
                        drop(client.export(request.clone()).await.expect("success"));
                    }
                    Sent::Metrics(request) => {
                        let mut client = MetricsServiceClient::new(channel.clone());
                        drop(client.export(request.clone()).await.expect("success"));
                    }
                    Sent::Logs(request) => {
                        let mut client = LogsServiceClient::new(channel.clone());
                        drop(client.export(request.clone()).await.expect("success"));
                    }
                }
            });
        });
        day::check(&service, &expected, &rows);
    }
}
