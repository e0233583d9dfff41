//! Workload: telemetry sent over loopback, from this process, to a server in a process of its own: the
//! trainticket day where `UNDERCURRENT_SHARED` names the folder that holds it, else two hours of the simulated
//! shop; in the order recorded, as requests of OTLP protobuf with about a thousand records each, four at a
//! time. The server maintains `service_dependencies`, `operation_latency` and `log_rates`, one worker.
//!
//! Printed, each over gRPC and HTTP:
//! - records per CPU-second of the server, from the first request until SQL shows the last record, and per
//!   second of wall clock; median of three;
//! - the same of spans into `service_dependencies_by_kind` alone, whose rule is that of the Collector's connector;
//! - the same for the OpenTelemetry Collector with its servicegraph connector over the same spans, where
//!   `UNDERCURRENT_COLLECTOR` names its binary (benches/live/collector.yaml says how it is built); until the
//!   last request is answered;
//! - at half the rate reached: freshness (from sending a record to reading it by SQL) and the time of small
//!   SELECTs, a thousand a second over PostgreSQL's protocol.
//!
//! `cargo bench --bench live`

#![allow(clippy::unwrap_used)]

mod client;
mod freshness;
mod input;
mod process;

use std::sync::Arc;
use std::time::Instant;

use self::client::Protocol;
use self::input::Input;
use self::process::Server;

const RUNS: usize = 3;

const THREE_VIEWS: &str = "service_dependencies, operation_latency, log_rates";

/// What the Collector's connector does, with its rule; exact all the same.
const PAIRS_BY_KIND: &str = "service_dependencies_by_kind";

/// What one run cost.
struct Cost {
    cpu_seconds: f64,
    seconds: f64,
    peak_mib: f64,
}

fn median(mut costs: Vec<Cost>) -> Cost {
    costs.sort_by(|a, b| a.cpu_seconds.total_cmp(&b.cpu_seconds));
    costs.swap_remove(costs.len() / 2)
}

fn print(name: &str, records: usize, cost: &Cost) {
    println!(
        "{name:<44} {:>9.0} records/CPU-s {:>9.0} records/s {:>7.0} MiB",
        records as f64 / cost.cpu_seconds,
        records as f64 / cost.seconds,
        cost.peak_mib
    );
}

async fn undercurrent(input: &Arc<Input>, protocol: Protocol, views: &str) -> Cost {
    let server = Server::undercurrent(views);
    let sql = server.sql().await;
    let (begin, before) = (Instant::now(), server.cpu_seconds());
    client::send_all(&server, input, protocol, None).await;
    while client::rows_taken_in(&sql).await < input.records as i64 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    Cost {
        cpu_seconds: server.cpu_seconds() - before,
        seconds: begin.elapsed().as_secs_f64(),
        peak_mib: server.peak_mib(),
    }
}

async fn collector(input: &Arc<Input>, protocol: Protocol, binary: &str) -> Cost {
    let server = Server::collector(binary).await;
    let (begin, before) = (Instant::now(), server.cpu_seconds());
    client::send_all(&server, input, protocol, None).await;
    Cost {
        cpu_seconds: server.cpu_seconds() - before,
        seconds: begin.elapsed().as_secs_f64(),
        peak_mib: server.peak_mib(),
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() {
    let all = Arc::new(Input::load());
    let spans = Arc::new(all.spans_alone());
    println!("{}: {} records, {} of them spans", all.name, all.records, spans.records);
    let binary = std::env::var("UNDERCURRENT_COLLECTOR").ok();
    for protocol in [Protocol::Grpc, Protocol::Http] {
        let (mut of_all, mut of_spans, mut of_pairs, mut of_collector) = (vec![], vec![], vec![], vec![]);
        for _ in 0..RUNS {
            of_all.push(undercurrent(&all, protocol, THREE_VIEWS).await);
            of_spans.push(undercurrent(&spans, protocol, THREE_VIEWS).await);
            of_pairs.push(undercurrent(&spans, protocol, PAIRS_BY_KIND).await);
            if let Some(binary) = &binary {
                of_collector.push(collector(&spans, protocol, binary).await);
            }
        }
        let (of_all, of_spans, of_pairs) = (median(of_all), median(of_spans), median(of_pairs));
        print(&format!("{protocol:?}: spans, metrics and logs"), all.records, &of_all);
        print(&format!("{protocol:?}: spans"), spans.records, &of_spans);
        print(&format!("{protocol:?}: spans, paired by kind alone"), spans.records, &of_pairs);
        if binary.is_some() {
            let of_collector = median(of_collector);
            print(&format!("{protocol:?}: spans, Collector's servicegraph"), spans.records, &of_collector);
            let ratio = |cost: &Cost| of_collector.cpu_seconds / cost.cpu_seconds;
            println!(
                "  to the Collector: {:.2}, paired by kind alone {:.2}",
                ratio(&of_spans),
                ratio(&of_pairs)
            );
        }
        let half = all.records as f64 / of_all.seconds / 2.0;
        freshness::measure(&all, protocol, half).await;
    }
}
