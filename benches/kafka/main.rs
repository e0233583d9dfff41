//! Workload: spans of the trainticket day (where `UNDERCURRENT_SHARED` names the folder that holds it, else of the simulated
//! shop), in requests of OTLP protobuf with about a thousand each, repeated under other trace ids; in a topic of four
//! partitions on a broker of Apache Kafka on the same machine. A server in a process of its own, one worker, with a journal and history,
//! reads them, maintains `service_dependencies`, `service_health`, `operation_latency` and a count by service, and writes
//! the first and the last of these back to topics, in transactions.
//!
//! Printed:
//! - spans per second of wall clock, and per CPU-second of the server, from creating the source until all of the topic is in
//!   the views and all changes are in the topics; the broker's CPU time beside it;
//! - at half that rate, or 100,000 spans a second if that is less: the time from producing the n-th span until the topic
//!   shows that n have arrived, and the server's memory meanwhile. It grows with each span: copies have the times of the day,
//!   so that the stream clock stands still and no horizon passes.
//!
//! `cargo bench --bench kafka [-- --seconds 30]`; needs java and mvn.

#![allow(clippy::unwrap_used)]

mod broker;
#[path = "../live/input.rs"]
mod input;
#[path = "../server.rs"]
mod server;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use self::broker::Broker;
use self::input::Input;
use self::server::Server;

/// The views that it has from its start, and groups that stay.
const FLAGS: [&str; 4] = [
    "--engine-views",
    "service_dependencies, service_health, operation_latency",
    "--engine-retention",
    "none",
];

const PARTITIONS: i32 = 4;

/// Spans that the first part reads.
const SPANS: usize = 2_000_000;

/// What the second part sends a second, at most.
const RATE_MAX: f64 = 100_000.0;

/// A request, of which each copy has traces under ids of its own.
struct Template {
    spans: usize,
    body: Vec<u8>,
    /// Where the first four bytes of the trace ids are.
    places: Vec<usize>,
}

impl Template {
    fn new(spans: usize, body: &[u8]) -> Self {
        let encoded = |prefix: [u8; 4]| {
            let mut request = ExportTraceServiceRequest::decode(body).unwrap();
            let scopes = request.resource_spans.iter_mut().flat_map(|resource| &mut resource.scope_spans);
            scopes
                .flat_map(|scope| &mut scope.spans)
                .for_each(|span| span.trace_id[..4].copy_from_slice(&prefix));
            request.encode_to_vec()
        };
        // They are the bytes in which two such requests differ.
        let (zeros, ones) = (encoded([0; 4]), encoded([255; 4]));
        let differs = |place: &usize| zeros[*place] != ones[*place];
        let places = (0..zeros.len()).filter(differs).step_by(4).collect();
        Template { spans, body: zeros, places }
    }

    fn copy(&self, number: u32) -> Vec<u8> {
        let mut body = self.body.clone();
        self.places.iter().for_each(|place| body[*place..place + 4].copy_from_slice(&number.to_be_bytes()));
        body
    }
}

/// Copies of all requests, from number `first` on, without an end; each with its spans.
fn copies(templates: &[Template], first: u32) -> impl Iterator<Item = (usize, Vec<u8>)> + '_ {
    (first..).flat_map(move |number| templates.iter().map(move |one| (one.spans, one.copy(number))))
}

fn produce(producer: &BaseProducer, topic: &str, place: usize, payload: &[u8]) {
    let partition = place as i32 % PARTITIONS;
    let mut record = BaseRecord::<(), [u8]>::to(topic).partition(partition).payload(payload);
    while let Err((_, again)) = producer.send(record) {
        producer.poll(Duration::from_millis(5));
        record = again;
    }
    producer.poll(Duration::ZERO);
}

/// The CPU time that a process has used.
fn cpu_seconds(id: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // In hundredths of a second, of the user and of the system.
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn define(server: &Server, broker: &Broker, topic: &str) {
    let brokers = broker.address();
    server
        .run("CREATE MATERIALIZED VIEW arrived AS SELECT service_name, count(*) AS n FROM spans GROUP BY 1");
    for (view, key) in [
        ("service_dependencies", "source_service, target_service, connection_type"),
        ("arrived", "service_name"),
    ] {
        server.run(&format!(
            "CREATE SINK {view} FROM {view} INTO KAFKA (brokers = '{brokers}', topic = '{topic}_{view}', partitions = 1) \
             KEY ({key})"
        ));
    }
    server.run(&format!(
        "CREATE SOURCE otlp FROM KAFKA (brokers = '{brokers}', topic = '{topic}') FORMAT OTLP_PROTO"
    ));
}

/// Waits until `spans` are in the views and all changes in the topics.
fn settled(server: &Server, spans: usize) {
    let arrived = "SELECT coalesce(sum(n), 0) AS n FROM arrived";
    while server.number(arrived) < spans as i64 {
        std::thread::sleep(Duration::from_millis(10));
    }
    while server.number("SELECT sum(waiting_rows) AS n FROM sink_stats") > 0 {
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn throughput(broker: &Broker, name: &str, templates: &[Template]) -> f64 {
    broker.create_topic("through", PARTITIONS);
    let producer: BaseProducer = broker.client().create().unwrap();
    let (mut spans, mut bytes) = (0, 0);
    for (place, (count, body)) in copies(templates, 1).enumerate() {
        if spans >= SPANS {
            break;
        }
        produce(&producer, "through", place, &body);
        (spans, bytes) = (spans + count, bytes + body.len());
    }
    producer.flush(Duration::from_secs(60)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[], &FLAGS);
    let (broker_cpu, server_cpu) = (cpu_seconds(broker.id()), cpu_seconds(server.id()));
    let begin = Instant::now();
    define(&server, broker, "through");
    settled(&server, spans);
    let seconds = begin.elapsed().as_secs_f64();
    let cpu = cpu_seconds(server.id()) - server_cpu;
    println!(
        "{spans} spans of {name}, {:.0} MiB: {:.0} spans/s, {:.0} spans/CPU-s of the server ({cpu:.1} s; the broker's {:.1} s), {:.0} MiB of memory",
        bytes as f64 / 1_048_576.0,
        spans as f64 / seconds,
        spans as f64 / cpu,
        cpu_seconds(broker.id()) - broker_cpu,
        server.memory_mib("VmRSS"),
    );
    spans as f64 / seconds
}

/// When which number of spans was sent, that did not arrive yet.
type Sent = Mutex<VecDeque<(i64, Instant)>>;

/// Reads how many spans have arrived, and notes how long each request took.
fn follow(broker: &Broker, topic: &str, sent: &Sent, is_over: &AtomicBool) -> Vec<Duration> {
    let mut config = broker.client();
    config.set("group.id", "bench").set("isolation.level", "read_committed");
    let consumer: BaseConsumer = config.create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
    consumer.assign(&list).unwrap();
    let (mut counts, mut times) = (BTreeMap::new(), vec![]);
    while !(is_over.load(Ordering::Relaxed) && sent.lock().unwrap().is_empty()) {
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(20)) else { continue };
        let row: serde_json::Value = serde_json::from_slice(message.payload().unwrap()).unwrap();
        counts.insert(row["service_name"].to_string(), row["n"].as_i64().unwrap());
        let (total, now) = (counts.values().sum::<i64>(), Instant::now());
        let mut sent = sent.lock().unwrap();
        while let Some((_, at)) = sent.front().filter(|(count, _)| *count <= total) {
            times.push(now - *at);
            sent.pop_front();
        }
    }
    times
}

fn freshness(broker: &Broker, templates: &[Template], rate: f64, seconds: f64) {
    broker.create_topic("fresh", PARTITIONS);
    broker.create_topic("fresh_arrived", 1);
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[], &FLAGS);
    define(&server, broker, "fresh");
    let (sent, is_over) = (Sent::default(), AtomicBool::new(false));
    let mut memory = vec![];
    let mut times = std::thread::scope(|scope| {
        let following = scope.spawn(|| follow(broker, "fresh_arrived", &sent, &is_over));
        let producer: BaseProducer = broker.client().set("linger.ms", "5").create().unwrap();
        let (begin, mut count) = (Instant::now(), 0_usize);
        for (place, (spans, body)) in copies(templates, 1_000_000).enumerate() {
            let due = begin + Duration::from_secs_f64(count as f64 / rate);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if due > begin + Duration::from_secs_f64(seconds) {
                break;
            }
            if due >= begin + Duration::from_secs_f64(seconds * memory.len() as f64 / 6.0) {
                memory.push(server.memory_mib("VmRSS").round());
            }
            count += spans;
            sent.lock().unwrap().push_back((count as i64, Instant::now()));
            produce(&producer, "fresh", place, &body);
        }
        producer.flush(Duration::from_secs(60)).unwrap();
        is_over.store(true, Ordering::Relaxed);
        following.join().unwrap()
    });
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    println!(
        "{rate:.0} spans/s for {seconds:.0} s: until the topic shows them p50 {:.0} ms, p99 {:.0} ms, at most {:.0} ms; MiB of memory {memory:?}",
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let after =
        |flag: &str| arguments.iter().skip_while(|a| *a != flag).nth(1).and_then(|text| text.parse().ok());
    let input = Input::load().spans_alone();
    assert!(input.records > 0, "there are spans");
    let templates: Vec<Template> =
        input.requests.iter().map(|request| Template::new(request.records, &request.body)).collect();
    let broker = Broker::start();
    let reached = throughput(&broker, input.name, &templates);
    let rate = after("--rate").unwrap_or((reached / 2.0).min(RATE_MAX));
    freshness(&broker, &templates, rate, after("--seconds").unwrap_or(30.0));
}
