//! Workload: spans of the trainticket day (where `UNDERCURRENT_SHARED` names the folder that holds it, else of the simulated
//! shop), in requests of OTLP protobuf with about a thousand each, repeated; in a topic of four partitions on a broker of
//! Apache Kafka on the same machine. Copies have other trace ids and later times, so that the stream clock moves as it would
//! live: spans begin one after the other, [`EVENT_RATE`] in each second of stream time, in the order of the recording and as
//! late as they came in it, and keep their durations. A server in a process of its own, one worker, with a journal and history,
//! reads them, maintains `service_dependencies`, `service_health`, `operation_latency` and a count by service, and writes
//! the first and the last of these back to topics, in transactions.
//!
//! Printed:
//! - spans per second of wall clock, and per CPU-second of the server, from creating the source until all of the topic is in
//!   the views and all changes are in the topics; the broker's CPU time beside it;
//! - at half that rate, or 100,000 spans a second if that is less: the time from producing the n-th span until the topic
//!   shows that n have arrived, how fast the stream clock went, and the server's memory, thirty times and as a line through
//!   the second half of them.
//!
//! `cargo bench --bench kafka [-- --seconds 30] [--rate 50000]`; needs java and mvn. With `--seconds 1800 --rate 20000` the
//! stream clock passes 5 hours: rows go after 15 minutes and groups after one hour.

#![allow(clippy::unwrap_used)]

mod broker;
mod copies;
#[path = "../live/input.rs"]
mod input;
#[path = "../server.rs"]
mod server;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message as _;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use self::broker::Broker;
use self::copies::{Copies, EVENT_RATE};
use self::input::Input;
use self::server::Server;

/// The views that it has from its start, and how long these keep rows and groups, in stream time.
const FLAGS: [&str; 6] = [
    "--engine-views",
    "service_dependencies, service_health, operation_latency",
    "--engine-horizon",
    "15 minutes",
    "--engine-retention",
    "1 hour",
];

const PARTITIONS: i32 = 4;

/// Spans that the first part reads.
const SPANS: usize = 2_000_000;

/// What the second part sends a second, at most.
const RATE_MAX: f64 = 100_000.0;

/// How often the second part looks at the memory.
const LOOKS: usize = 30;

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

/// Waits until the source reads and both sinks write.
fn running(server: &Server) {
    let runs = "SELECT count(*) AS n FROM (SELECT state FROM source_stats UNION ALL SELECT state FROM sink_stats) \
                WHERE state = 'running'";
    while server.number(runs) < 3 {
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until `spans` are in the views and all changes in the topics.
fn settled(server: &Server, spans: usize) {
    let arrived = "SELECT coalesce(sum(n), 0) AS n FROM arrived";
    while server.number(arrived) < spans as i64 {
        // Each question takes a few milliseconds of a core, which the server is to have.
        std::thread::sleep(Duration::from_millis(100));
    }
    while server.number("SELECT sum(waiting_rows) AS n FROM sink_stats") > 0 {
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn throughput(broker: &Broker, name: &str, copies: &Copies) -> f64 {
    broker.create_topic("through", PARTITIONS);
    let producer: BaseProducer = broker.client().create().unwrap();
    let (mut spans, mut bytes) = (0, 0);
    for (place, (count, body)) in copies.iter().enumerate() {
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

fn freshness(broker: &Broker, copies: &Copies, rate: f64, seconds: f64) {
    broker.create_topic("fresh", PARTITIONS);
    broker.create_topic("fresh_arrived", 1);
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[], &FLAGS);
    define(&server, broker, "fresh");
    running(&server);
    let (sent, is_over) = (Sent::default(), AtomicBool::new(false));
    let mut memory = vec![];
    let mut times = std::thread::scope(|scope| {
        let following = scope.spawn(|| follow(broker, "fresh_arrived", &sent, &is_over));
        let producer: BaseProducer = broker.client().set("linger.ms", "5").create().unwrap();
        let (begin, mut count) = (Instant::now(), 0_usize);
        for (place, (spans, body)) in copies.iter().enumerate() {
            let due = begin + Duration::from_secs_f64(count as f64 / rate);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if due > begin + Duration::from_secs_f64(seconds) {
                break;
            }
            if due >= begin + Duration::from_secs_f64(seconds * memory.len() as f64 / LOOKS as f64) {
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
        "{rate:.0} spans/s for {seconds:.0} s, the stream clock {:.1} times as fast as the wall clock: until the topic shows \
         them p50 {:.0} ms, p99 {:.0} ms, at most {:.0} ms",
        rate / EVENT_RATE as f64,
        at(0.5),
        at(0.99),
        at(1.0)
    );
    let minutes = seconds / 60.0 / LOOKS as f64;
    let half = &memory[memory.len() / 2..];
    let (slope, mean) = line_through(half);
    println!(
        "MiB of memory every {:.1} s {memory:?}; in the second half {mean:.0} and {:+.1} a minute",
        minutes * 60.0,
        slope / minutes
    );
}

/// By how much `values` rise from one to the next (least squares), and their mean.
fn line_through(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let (middle, mean) = ((count - 1.0) / 2.0, values.iter().sum::<f64>() / count);
    let places = || (0..values.len()).map(|place| place as f64 - middle);
    let together: f64 = places().zip(values).map(|(place, value)| place * (value - mean)).sum();
    (together / places().map(|place| place * place).sum::<f64>(), mean)
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let after =
        |flag: &str| arguments.iter().skip_while(|a| *a != flag).nth(1).and_then(|text| text.parse().ok());
    let input = Input::load().spans_alone();
    assert!(input.records > 0, "there are spans");
    let copies = Copies::new(&input.requests);
    let broker = Broker::start();
    let reached = throughput(&broker, input.name, &copies);
    let rate = after("--rate").unwrap_or((reached / 2.0).min(RATE_MAX));
    freshness(&broker, &copies, rate, after("--seconds").unwrap_or(30.0));
}
