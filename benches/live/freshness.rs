//! How old an answer is, and how long it takes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use crate::client::{self, Protocol, Sender};
use crate::input::{Input, Request};
use crate::process::Server;

/// SELECTs a second, over four connections.
const SELECTS_PER_SECOND: f64 = 1000.0;
const CONNECTIONS: usize = 4;

/// Those who send and look for probes.
const PROBERS: usize = 8;

/// A log record of a service that nobody else is.
fn probe(number: usize) -> Request {
    let text = |text: String| Some(AnyValue { value: Some(Value::StringValue(text)) });
    let name = KeyValue {
        key: "service.name".to_owned(),
        value: text(format!("probe-{number}")),
        ..Default::default()
    };
    let record = LogRecord {
        time_unix_nano: 1_700_000_000_000_000_000,
        body: text("probe".to_owned()),
        ..Default::default()
    };
    let request = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(Resource { attributes: vec![name], ..Default::default() }),
            scope_logs: vec![ScopeLogs { log_records: vec![record], ..Default::default() }],
            ..Default::default()
        }],
    };
    Request { signal: "logs", records: 1, body: request.encode_to_vec().into() }
}

/// The middle and the 99th of a hundred, in milliseconds.
fn quantiles(mut times: Vec<Duration>) -> (f64, f64) {
    times.sort();
    let at = |q: f64| times[((times.len() - 1) as f64 * q) as usize].as_secs_f64() * 1e3;
    (at(0.5), at(0.99))
}

/// Sends `input` at `rate` records a second; meanwhile probes and SELECTs.
pub async fn measure(input: &Arc<Input>, protocol: Protocol, rate: f64) {
    let server = Arc::new(Server::undercurrent(crate::THREE_VIEWS));
    let mut probing = tokio::task::JoinSet::new();
    for prober in 0..PROBERS {
        probing.spawn(probes(server.clone(), protocol, prober));
    }
    let mut selecting = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        selecting.spawn(selects(server.clone()));
    }
    let (begin, before) = (Instant::now(), server.cpu_seconds());
    client::send_all(&server, input, protocol, Some(rate)).await;
    let (seconds, cpu_seconds) = (begin.elapsed().as_secs_f64(), server.cpu_seconds() - before);
    probing.abort_all();
    let fresh = FRESH.lock().unwrap().split_off(0);
    selecting.abort_all();
    let times = SELECTED.lock().unwrap().split_off(0);
    println!("  at {rate:.0} records/s for {seconds:.0} s, {:.0} % of a CPU:", 100.0 * cpu_seconds / seconds);
    let count = times.len() as f64;
    for (name, times) in [("freshness", fresh), ("SELECT", times)] {
        let (p50, p99) = quantiles(times);
        println!("    {name:<10} p50 {p50:>7.1} ms  p99 {p99:>7.1} ms");
    }
    println!("    {:.0} SELECTs/s", count / seconds);
}

static FRESH: std::sync::Mutex<Vec<Duration>> = std::sync::Mutex::new(vec![]);
static SELECTED: std::sync::Mutex<Vec<Duration>> = std::sync::Mutex::new(vec![]);

/// One probe after the other: sent, then asked for until it is there. Probers begin at all moments of a tick.
async fn probes(server: Arc<Server>, protocol: Protocol, prober: usize) {
    let sql = server.sql().await;
    let mut sender = Sender::connect(&server, protocol).await;
    for number in (prober..).step_by(PROBERS) {
        // A new one each time, so that probes keep out of step with the ticks.
        let pause = (number * 619) % 1000;
        tokio::time::sleep(Duration::from_millis(pause as u64)).await;
        let begin = Instant::now();
        sender.send(&probe(number)).await;
        let query = format!("SELECT count(*) FROM log_rates WHERE service_name = 'probe-{number}'");
        while sql.query_one(&query, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        FRESH.lock().unwrap().push(begin.elapsed());
    }
}

async fn selects(server: Arc<Server>) {
    let sql = server.sql().await;
    let statement = "SELECT target_service, call_count, latency_ms_p99 FROM service_dependencies WHERE source_service = $1";
    let statement = sql.prepare(statement).await.unwrap();
    let mut pace = tokio::time::interval(Duration::from_secs_f64(CONNECTIONS as f64 / SELECTS_PER_SECOND));
    loop {
        pace.tick().await;
        let begin = Instant::now();
        sql.query(&statement, &[&"ts-order-service"]).await.unwrap();
        SELECTED.lock().unwrap().push(begin.elapsed());
    }
}
