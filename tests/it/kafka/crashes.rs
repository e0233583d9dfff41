//! From topic to topic exactly once, however often the engine or the broker is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::Value;
use undercurrent::fault;

use super::broker::Broker;
use super::{rows, run, topic};
use crate::server::{PATIENCE, Server, eventually};

const PARTITIONS: i32 = 4;
const KEYS: u64 = 7;

/// So long that a broker loses its partitions for a while.
const PAUSE: Duration = Duration::from_secs(3);

/// How often something is killed, unless a variable says otherwise.
fn times(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The event `id`: its key, its value, and when it was.
fn event(id: u64) -> (u64, u64, u64) {
    (id % KEYS, (id * 31) % 100, 1_767_225_600_000 + 20 * id)
}

fn payload(id: u64) -> String {
    let (k, v, at) = event(id);
    let at = jiff::Timestamp::from_millisecond(at as i64).expect("a time");
    format!("{{\"id\":{id},\"k\":{k},\"v\":{v},\"at\":\"{at}\"}}")
}

/// Writes events until it is told to stop; how many there are then.
fn produce(broker: &Broker, topic: &str, is_over: &AtomicBool, written: &AtomicU64) {
    let mut config = broker.client();
    let producer: BaseProducer = config.set("enable.idempotence", "true").create().expect("a producer");
    let mut id = 0;
    while !is_over.load(Ordering::Relaxed) {
        for _ in 0..25 {
            let text = payload(id);
            let record =
                BaseRecord::<(), str>::to(topic).partition((id % PARTITIONS as u64) as i32).payload(&text);
            match producer.send(record) {
                Ok(()) => id += 1,
                // It has to wait for the broker.
                Err(_) => break,
            }
        }
        producer.poll(Duration::from_millis(20));
        written.store(id, Ordering::Relaxed);
    }
    producer.flush(PATIENCE).expect("all are written");
    written.store(id, Ordering::Relaxed);
}

/// What is run: events of a topic, three views of them, and a topic of each.
struct Pipeline<'a> {
    broker: &'a Broker,
    name: &'a str,
}

impl Pipeline<'_> {
    fn topic(&self, of: &str) -> String {
        format!("{}_{of}", self.name)
    }

    fn define(&self, server: &Server) {
        let (brokers, input) = (self.broker.address(), self.topic("in"));
        run(
            server,
            &format!(
                "CREATE SOURCE events (id bigint NOT NULL, k bigint, v bigint, at timestamptz) \
                 FROM KAFKA (brokers = '{brokers}', topic = '{input}', event_time = 'at') FORMAT JSON"
            ),
        );
        for (view, query) in QUERIES {
            run(server, &format!("CREATE MATERIALIZED VIEW {view} AS {query}"));
        }
        for (view, how) in [
            ("sums", "KEY (k) ENVELOPE DEBEZIUM"),
            ("kept", "ENVELOPE APPEND"),
            ("windows", "EMIT ON WINDOW CLOSE"),
        ] {
            let topic = self.topic(view);
            run(
                server,
                &format!(
                    "CREATE SINK {view} FROM {view} INTO KAFKA (brokers = '{brokers}', topic = '{topic}') {how}"
                ),
            );
        }
    }

    /// Waits until all `written` events are in the tables and all changes in the topics, and checks both.
    fn check(&self, server: &Server, written: u64) {
        assert_eq!(
            topic::ends(&self.broker.client(), &self.topic("in")),
            written,
            "the topic is not as it was written"
        );
        let count = "SELECT count(*) AS n, count(DISTINCT id) AS ids, max(id) AS last FROM events";
        let all = format!("{{\"ids\":{written},\"last\":{},\"n\":{written}}}", written - 1);
        let told = || (rows(server, count), rows(server, "SELECT * FROM source_stats"));
        eventually(told, |(rows, _)| *rows == [all.clone()]);
        let idle =
            "SELECT sum(waiting_rows) AS n FROM sink_stats WHERE state = 'running' HAVING count(*) = 3";
        let told = || (rows(server, idle), rows(server, "SELECT * FROM sink_stats"));
        eventually(told, |(rows, _)| *rows == ["{\"n\":0}"]);
        assert_eq!(rows(server, "SELECT * FROM ingest_errors"), [""; 0]);
        for (view, query) in QUERIES {
            assert_eq!(rows(server, &format!("SELECT * FROM {view}")), rows(server, query), "{view}");
        }
        self.check_sums(server);
        self.check_kept(written);
        self.check_windows(server);
    }

    /// Each change of a key begins with the row that the one before it ended with.
    fn check_sums(&self, server: &Server) {
        let mut now: BTreeMap<String, Value> = BTreeMap::new();
        let mut told = BTreeSet::new();
        for message in topic::read(&self.broker.client(), &self.topic("sums")) {
            let key = message.key.expect("a key");
            assert!(told.insert((message.tick, key.clone())), "{key} is told twice at {}", message.tick);
            let event: Value = serde_json::from_str(&message.value.expect("an event")).expect("JSON");
            let before = now.insert(key.clone(), event["after"].clone()).unwrap_or(Value::Null);
            assert_eq!(event["before"], before, "{key} at {}: a change is missing", message.tick);
        }
        let mut last: Vec<String> = now.values().map(Value::to_string).collect();
        last.sort();
        assert_eq!(last, rows(server, "SELECT * FROM sums"));
    }

    /// Each row that came is there once.
    fn check_kept(&self, written: u64) {
        let expected: Vec<u64> = (0..written).filter(|id| event(*id).1.is_multiple_of(2)).collect();
        let messages = topic::read(&self.broker.client(), &self.topic("kept"));
        let id = |message: &topic::Read| -> u64 {
            let row: Value = serde_json::from_str(message.value.as_ref().expect("a row")).expect("JSON");
            row["id"].as_u64().expect("an id")
        };
        let mut told: Vec<u64> = messages.iter().map(id).collect();
        told.sort_unstable();
        assert!(told == expected, "{} rows for {}", told.len(), expected.len());
    }

    /// Each window that has ended is there once, as it is.
    fn check_windows(&self, server: &Server) {
        let messages = topic::read(&self.broker.client(), &self.topic("windows"));
        let told: Vec<String> = messages.into_iter().map(|message| message.value.expect("a row")).collect();
        let told = super::normal(&told.iter().map(String::as_str).collect::<Vec<_>>());
        let there = rows(server, "SELECT * FROM windows");
        let distinct: BTreeSet<&String> = told.iter().collect();
        assert_eq!(told.len(), distinct.len(), "a window is told twice");
        // Partitions hold the clock back, whatever is killed: no window is told before its last row is there.
        let others: Vec<&String> = told.iter().filter(|row| !there.contains(row)).collect();
        let corrected = rows(server, "SELECT corrected_rows FROM view_stats WHERE view = 'windows'");
        assert!(
            others.is_empty(),
            "{:?} {} windows of {}, {corrected:?} corrected, are told as they are not: {others:?}",
            there.first(),
            others.len(),
            told.len()
        );
        // But for those that have not ended.
        assert!(
            told.len() + 2 * KEYS as usize >= there.len(),
            "{} windows of {} are told",
            told.len(),
            there.len()
        );
    }
}

const QUERIES: [(&str, &str); 3] = [
    ("sums", "SELECT k, count(*) AS n, sum(v) AS total FROM events GROUP BY k"),
    ("kept", "SELECT id, k FROM events WHERE v % 2 = 0"),
    (
        "windows",
        "SELECT k, window_end, count(*) AS n FROM TUMBLE(events, at, INTERVAL '5 seconds') GROUP BY k, window_end",
    ),
];

fn start(folder: &Path, crash_at: Option<&str>) -> Option<Server> {
    let data = folder.to_str().expect("a path");
    let flags = ["--data-dir", data, "--engine-horizon", "none", "--journal-segment-bytes-max", "1 MiB"];
    let crash_at: Vec<(&str, &str)> = crash_at.iter().map(|place| (fault::VARIABLE, *place)).collect();
    Server::start_with(&flags, &crash_at)
}

/// Runs `rounds` while events are written all the time, then checks all of it.
fn with_events(broker: &Broker, pipeline: &Pipeline<'_>, rounds: impl FnOnce(&AtomicU64) -> Server) {
    let (is_over, written) = (AtomicBool::new(false), AtomicU64::new(0));
    let input = pipeline.topic("in");
    std::thread::scope(|scope| {
        let producer = scope.spawn(|| produce(broker, &input, &is_over, &written));
        let server = rounds(&written);
        is_over.store(true, Ordering::Relaxed);
        producer.join().expect("a producer");
        pipeline.check(&server, written.load(Ordering::Relaxed));
    });
}

fn prepare<'a>(broker: &'a Broker, name: &'a str) -> Pipeline<'a> {
    let pipeline = Pipeline { broker, name };
    broker.create_topic(&pipeline.topic("in"), PARTITIONS);
    for view in ["sums", "kept", "windows"] {
        broker.create_topic(&pipeline.topic(view), 2);
    }
    pipeline
}

/// How many messages the source has read since the server started.
fn messages(server: &Server) -> u64 {
    let read = rows(server, "SELECT messages FROM source_stats");
    read.first()
        .map_or(0, |row| row.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0))
}

#[test]
fn exactly_once_from_topic_to_topic_however_often_the_engine_is_killed() {
    let Some(broker) = Broker::shared() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let kills = times("UNDERCURRENT_KILLS", 2 * fault::POINTS.len());
    let random = &mut StdRng::seed_from_u64(5);
    let pipeline = prepare(broker, "kills");
    let mut by_place: BTreeMap<&str, usize> = BTreeMap::new();
    with_events(broker, &pipeline, |_| {
        pipeline.define(&start(folder.path(), None).expect("a server"));
        for round in 0..kills {
            let place = (round % 2 == 0).then(|| fault::POINTS[round / 2 % fault::POINTS.len()]);
            let crash_at = place.map(|place| format!("{place}:{}", random.random_range(1..30)));
            let Some(mut server) = start(folder.path(), crash_at.as_deref()) else {
                *by_place.entry(place.expect("it was not told to end")).or_default() += 1;
                continue;
            };
            match place {
                // No consumer group, no commits to it: it is killed after a while as the others are.
                Some(place) if place != "source.committed" => {
                    eventually(|| server.has_ended(), |has_ended| *has_ended);
                    *by_place.entry(place).or_default() += 1;
                }
                _ => {
                    let read = random.random_range(0..1500);
                    eventually(|| messages(&server), |messages| *messages >= read);
                    server.stop("KILL");
                    *by_place.entry("anywhere").or_default() += 1;
                }
            }
        }
        start(folder.path(), None).expect("a server")
    });
    println!("{kills} kills: {by_place:?}");
}

#[test]
fn exactly_once_from_topic_to_topic_however_often_the_broker_is_killed() {
    let Some(broker) = Broker::start() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let random = &mut StdRng::seed_from_u64(6);
    let faults = times("UNDERCURRENT_BROKER_FAULTS", 3);
    let pipeline = prepare(&broker, "faults");
    with_events(&broker, &pipeline, |_| {
        let server = start(folder.path(), None).expect("a server");
        pipeline.define(&server);
        for round in 0..faults {
            let read = messages(&server) + random.random_range(100..1500);
            eventually(|| messages(&server), |messages| *messages >= read);
            if round % 3 == 2 {
                broker.pause(PAUSE);
            } else {
                broker.kill();
                broker.restart();
            }
        }
        server
    });
    println!("{faults} times the broker was killed or paused");
}
