//! Events that flow from a topic through views to topics while something fails, and whether each is there once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::Value;
use undercurrent::fault;

use super::broker::Broker;
use super::{rows, run, topic};
use crate::server::{PATIENCE, Server, eventually};

const PARTITIONS: i32 = 4;
const KEYS: u64 = 7;

/// How often something fails, unless a variable says otherwise.
pub fn times(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// When events happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// One after the other on a day that is long over. The stream clock stands still at the last.
    Once,
    /// As they are written. The stream clock goes on without them, unless it has to wait for some.
    Now,
}

/// The event `id`: its key and its value.
fn event(id: u64) -> (u64, u64) {
    (id % KEYS, (id * 31) % 100)
}

fn payload(id: u64, when: When) -> String {
    let (k, v) = event(id);
    let at = match when {
        When::Once => jiff::Timestamp::from_millisecond(1_767_225_600_000 + 20 * id as i64).expect("a time"),
        When::Now => jiff::Timestamp::now(),
    };
    format!("{{\"id\":{id},\"k\":{k},\"v\":{v},\"at\":\"{at}\"}}")
}

/// Writes events until it is told to stop; how many there are then.
fn produce(pipeline: &Pipeline<'_>, is_over: &AtomicBool, written: &AtomicU64) {
    let (mut config, topic) = (pipeline.broker.client(), pipeline.topic("in"));
    let producer: BaseProducer = config.set("enable.idempotence", "true").create().expect("a producer");
    let mut id = 0;
    while !is_over.load(Ordering::Relaxed) {
        for _ in 0..25 {
            let text = payload(id, pipeline.when);
            let record =
                BaseRecord::<(), str>::to(&topic).partition((id % PARTITIONS as u64) as i32).payload(&text);
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
pub struct Pipeline<'a> {
    broker: &'a Broker,
    /// Where the engine finds it.
    brokers: String,
    name: &'a str,
    when: When,
}

impl Pipeline<'_> {
    fn topic(&self, of: &str) -> String {
        format!("{}_{of}", self.name)
    }

    /// The same pipeline with events that happen at other times.
    pub fn with_events_of(self, when: When) -> Self {
        Pipeline { when, ..self }
    }

    /// Starts a server on `folder`, which may be told to end at a place.
    pub fn start(&self, folder: &Path, crash_at: Option<&str>) -> Option<Server> {
        self.start_within(&[], folder, crash_at)
    }

    /// The same by way of the command `within`.
    pub fn start_within(&self, within: &[String], folder: &Path, crash_at: Option<&str>) -> Option<Server> {
        let data = folder.to_str().expect("a path");
        let follows = if self.when == When::Now { "true" } else { "false" };
        let mut flags = vec!["--data-dir", data, "--engine-horizon", "none"];
        flags.extend(["--clock-follows-wall", follows]);
        // Small, so that rows go to history all the time.
        flags.extend(["--journal-segment-bytes-max", "64 KiB", "--engine-stored-bytes-max", "200 KiB"]);
        flags.extend(["--data-checkpoint-interval", "300ms"]);
        let crash_at: Vec<(&str, &str)> = crash_at.iter().map(|place| (fault::VARIABLE, *place)).collect();
        Server::start_within(within, &flags, &crash_at)
    }

    pub fn define(&self, server: &Server) {
        let (brokers, input) = (&self.brokers, self.topic("in"));
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

    /// Waits until all `written` events are in the tables and all changes in the topics, and checks both; how many messages
    /// these hold.
    fn check(&self, server: &Server, written: u64) -> usize {
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
        self.check_sums(server) + self.check_kept(written) + self.check_windows(server)
    }

    /// Each change of a key begins with the row that the one before it ended with.
    fn check_sums(&self, server: &Server) -> usize {
        let mut now: BTreeMap<String, Value> = BTreeMap::new();
        let mut told = BTreeSet::new();
        let messages = topic::read(&self.broker.client(), &self.topic("sums"));
        let count = messages.len();
        for message in messages {
            let key = message.key.expect("a key");
            assert!(told.insert((message.tick, key.clone())), "{key} is told twice at {}", message.tick);
            let event: Value = serde_json::from_str(&message.value.expect("an event")).expect("JSON");
            let before = now.insert(key.clone(), event["after"].clone()).unwrap_or(Value::Null);
            assert_eq!(event["before"], before, "{key} at {}: a change is missing", message.tick);
        }
        let mut last: Vec<String> = now.values().map(Value::to_string).collect();
        last.sort();
        assert_eq!(last, rows(server, "SELECT * FROM sums"));
        count
    }

    /// Each row that came is there once.
    fn check_kept(&self, written: u64) -> usize {
        let expected: Vec<u64> = (0..written).filter(|id| event(*id).1.is_multiple_of(2)).collect();
        let messages = topic::read(&self.broker.client(), &self.topic("kept"));
        let id = |message: &topic::Read| -> u64 {
            let row: Value = serde_json::from_str(message.value.as_ref().expect("a row")).expect("JSON");
            row["id"].as_u64().expect("an id")
        };
        let mut told: Vec<u64> = messages.iter().map(id).collect();
        told.sort_unstable();
        assert!(told == expected, "{} rows for {}", told.len(), expected.len());
        told.len()
    }

    /// Each window that has ended is there once, as it is.
    fn check_windows(&self, server: &Server) -> usize {
        let read = || topic::read(&self.broker.client(), &self.topic("windows"));
        // Sources hold the clock back for a while once they have read all. Windows that have not ended are not told.
        let counts = || (read().len(), rows(server, "SELECT * FROM windows").len());
        eventually(counts, |(told, there)| told + 2 * KEYS as usize >= *there);
        let messages = read();
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
        told.len()
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

/// Tells the producer to end, also where what it stands for fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `rounds` while events are written all the time, then checks all of it; what that was.
pub fn with_events(pipeline: &Pipeline<'_>, rounds: impl FnOnce(&AtomicU64) -> Server) -> String {
    let (is_over, written) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let producer = scope.spawn(|| produce(pipeline, &is_over, &written));
        let over = Over(&is_over);
        let server = rounds(&written);
        drop(over);
        producer.join().expect("a producer");
        let written = written.load(Ordering::Relaxed);
        let messages = pipeline.check(&server, written);
        format!("{written} events and {messages} messages made of them, each there once")
    })
}

/// Waits until `events` more are written.
pub fn wait_for_events(written: &AtomicU64, events: u64) {
    let mut left = events;
    while left > 0 {
        // What takes longer than a test waits is waited for piece by piece.
        let piece = left.min(2000);
        let end = written.load(Ordering::Relaxed) + piece;
        eventually(|| written.load(Ordering::Relaxed), |written| *written >= end);
        left -= piece;
    }
}

/// The topics of a pipeline called `name`, whose engine finds the broker at `brokers`.
pub fn prepare<'a>(broker: &'a Broker, brokers: String, name: &'a str) -> Pipeline<'a> {
    let pipeline = Pipeline { broker, brokers, name, when: When::Once };
    broker.create_topic(&pipeline.topic("in"), PARTITIONS);
    for view in ["sums", "kept", "windows"] {
        broker.create_topic(&pipeline.topic(view), 2);
    }
    pipeline
}

/// How many messages the source has read since the server started.
pub fn messages(server: &Server) -> u64 {
    let read = rows(server, "SELECT messages FROM source_stats");
    read.first()
        .map_or(0, |row| row.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0))
}

/// Waits until the source has read `count` messages more.
pub fn wait_for_messages(server: &Server, count: u64) {
    let read = messages(server) + count;
    eventually(|| messages(server), |messages| *messages >= read);
}
