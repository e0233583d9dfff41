//! Telemetry in a line each, and a database to put it into.
//!
//! ```text
//! 1/2<1 cart SERVER 20ms +3s ERROR name=charge ->7/8 peer.service=x @host.name=y    a span
//! log cart ERROR +3s                                                                a log record
//! gauge|counter|delta|total|summary cpu cart 0.5 +3s peer=x @host.name=y            a data point
//! ```
//!
//! A span is trace/span<parent, service, kind, and then in any order its duration (10 ms unless given), when it began
//! (seconds after the start), its status, its name, links, attributes, and attributes of its resource. `-` is a service
//! or a kind that is not given. `delta`, `total` and `summary` are histograms of delta and cumulative temporality and a
//! summary; their value is `count:sum`.

use std::fmt::Write;

use arrow::util::display::{ArrayFormatter, FormatOptions};
use undercurrent::built_in;
use undercurrent::engine::{Answer, Database, Engine};
use undercurrent::sql::statement::parse;
use undercurrent::telemetry::{Batch, Decoder, Limits, Origin};

/// When the telemetry of the tests begins: 2023-11-14T22:13:00Z, a full minute.
pub const START_NS: i64 = 1_699_999_980_000_000_000;

/// The OTLP request of one line.
fn request(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words[0] {
        "log" => log(&words),
        "gauge" | "counter" | "delta" | "total" | "summary" => metric(&words),
        _ => span(&words),
    }
}

/// What the words after the fixed ones say.
#[derive(Default)]
struct Options {
    at_ns: i64,
    duration_ns: i64,
    is_error: bool,
    name: String,
    links: Vec<String>,
    attributes: Vec<String>,
    resource: Vec<String>,
}

fn options(service: &str, words: &[&str]) -> Options {
    let mut options =
        Options { at_ns: START_NS, duration_ns: 10_000_000, name: "work".into(), ..Options::default() };
    if service != "-" {
        options.resource.push(attribute("service.name", service));
    }
    for word in words {
        if let Some(seconds) = word.strip_prefix('+') {
            options.at_ns += seconds.trim_end_matches('s').parse::<i64>().unwrap() * 1_000_000_000;
        } else if let Some(ids) = word.strip_prefix("->") {
            let (trace, span) = ids.split_once('/').unwrap();
            options.links.push(format!(r#"{{"traceId":"{trace:0>32}","spanId":"{span:0>16}"}}"#));
        } else if let Some((key, value)) = word.split_once('=') {
            match key.strip_prefix('@') {
                Some(key) => options.resource.push(attribute(key, value)),
                None if key == "name" => options.name = value.to_owned(),
                None => options.attributes.push(attribute(key, value)),
            }
        } else if let Some(ms) = word.strip_suffix("ms") {
            options.duration_ns = ms.parse::<i64>().unwrap() * 1_000_000;
        } else {
            assert_eq!(*word, "ERROR");
            options.is_error = true;
        }
    }
    options
}

fn attribute(key: &str, value: &str) -> String {
    format!(r#"{{"key":"{key}","value":{{"stringValue":"{value}"}}}}"#)
}

fn span(words: &[&str]) -> String {
    let (trace, ids) = words[0].split_once('/').unwrap();
    let (id, parent) = ids.split_once('<').map_or((ids, None), |(id, parent)| (id, Some(parent)));
    let kinds = ["-", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"];
    let kind = kinds.iter().position(|k| *k == words[2]).unwrap();
    let o = options(words[1], &words[3..]);
    let mut span = format!(
        r#"{{"traceId":"{trace:0>32}","spanId":"{id:0>16}","name":"{}","kind":{kind},"startTimeUnixNano":"{}","endTimeUnixNano":"{}","status":{{"code":{}}},"attributes":[{}],"links":[{}]"#,
        o.name,
        o.at_ns,
        o.at_ns + o.duration_ns,
        2 * o.is_error as u8,
        o.attributes.join(","),
        o.links.join(","),
    );
    if let Some(parent) = parent {
        write!(span, r#","parentSpanId":"{parent:0>16}""#).unwrap();
    }
    let resource = o.resource.join(",");
    format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{resource}]}},"scopeSpans":[{{"spans":[{span}}}]}}]}}]}}"#
    )
}

fn log(words: &[&str]) -> String {
    let o = options(words[1], &words[3..]);
    let severity = match words[2].parse::<i32>() {
        Ok(number) => format!(r#""severityNumber":{number}"#),
        Err(_) => format!(r#""severityText":"{}""#, words[2]),
    };
    let resource = o.resource.join(",");
    format!(
        r#"{{"resourceLogs":[{{"resource":{{"attributes":[{resource}]}},"scopeLogs":[{{"logRecords":[{{"timeUnixNano":"{}",{severity},"body":{{"stringValue":"text"}}}}]}}]}}]}}"#,
        o.at_ns
    )
}

fn metric(words: &[&str]) -> String {
    let (kind, name, service, value) = (words[0], words[1], words[2], words[3]);
    let o = options(service, &words[4..]);
    let (count, sum) = value.split_once(':').unwrap_or(("0", value));
    let common = format!(r#""timeUnixNano":"{}","attributes":[{}]"#, o.at_ns, o.attributes.join(","));
    let counted = format!(r#"{{{common},"count":"{count}","sum":{sum}}}"#);
    let data = match kind {
        "gauge" => format!(r#""gauge":{{"dataPoints":[{{{common},"asDouble":{value}}}]}}"#),
        "counter" => format!(
            r#""sum":{{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{{{common},"asInt":"{value}"}}]}}"#
        ),
        "delta" => format!(r#""histogram":{{"aggregationTemporality":1,"dataPoints":[{counted}]}}"#),
        "total" => format!(r#""histogram":{{"aggregationTemporality":2,"dataPoints":[{counted}]}}"#),
        _ => format!(r#""summary":{{"dataPoints":[{counted}]}}"#),
    };
    let resource = o.resource.join(",");
    format!(
        r#"{{"resourceMetrics":[{{"resource":{{"attributes":[{resource}]}},"scopeMetrics":[{{"metrics":[{{"name":"{name}",{data}}}]}}]}}]}}"#
    )
}

/// The rows of `lines`, decoded together.
pub fn decoded(lines: &[String]) -> Vec<Batch> {
    let mut decoder = Decoder::new(Limits::default(), START_NS);
    for line in lines {
        decoder.json(request(line).as_bytes(), &Origin { source: line.clone(), position: None });
    }
    assert_eq!(decoder.rejected(), 0, "{lines:?}");
    decoder.finish()
}

/// The lines of a text without its indentation.
pub fn lines(text: &str) -> Vec<String> {
    text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

/// A database with its runtime.
pub struct Session {
    database: Database,
    runtime: tokio::runtime::Runtime,
}

impl Session {
    /// A database with the built-in views at hand, none of them created.
    pub fn new(workers: usize) -> Session {
        let engine = Engine::start(workers).unwrap();
        Session {
            database: Database::new(engine, built_in::views().unwrap(), None),
            runtime: tokio::runtime::Builder::new_current_thread().build().unwrap(),
        }
    }

    /// A database with all built-in views.
    pub fn with_built_ins(workers: usize) -> Session {
        let mut session = Session::new(workers);
        for (file, _) in built_in::QUERIES {
            session.prepare(&format!("SHOW COLUMNS FROM {}", file.trim_end_matches(".sql")));
        }
        session
    }

    /// Creates the built-in views that `sql` reads.
    pub fn prepare(&mut self, sql: &str) {
        let statement = parse(sql).unwrap().pop().unwrap();
        self.runtime.block_on(self.database.prepare(&statement)).unwrap();
    }

    /// Takes `lines` in as one batch of each table.
    pub fn append(&mut self, lines: &[String]) {
        self.take(&decoded(lines));
    }

    /// Closes a tick.
    pub fn close(&mut self) {
        self.close_at(0);
    }

    /// Closes a tick at `clock_ms`, if that is later than the next.
    pub fn close_at(&mut self, clock_ms: i64) {
        self.database.engine.close(clock_ms as u64).unwrap();
    }

    /// Closes a tick `minutes` minutes after the first telemetry.
    pub fn close_after(&mut self, minutes: i64) {
        self.close_at(START_NS / 1_000_000 + minutes * 60_000);
    }

    /// Takes in what was decoded elsewhere.
    pub fn take(&mut self, batches: &[Batch]) {
        batches.iter().for_each(|batch| self.database.engine.append(batch).unwrap());
    }

    /// Carries out `sql`.
    pub fn run(&mut self, sql: &str) {
        self.prepare(sql);
        let statement = parse(sql).unwrap().pop().unwrap();
        let done = self.runtime.block_on(self.database.execute(statement));
        assert!(done.is_ok(), "{sql}: {}", done.err().unwrap());
    }

    /// How many rows of a table `sql` changes.
    pub fn write(&mut self, sql: &str) -> u64 {
        self.prepare(sql);
        let statement = parse(sql).unwrap().pop().unwrap();
        match self.runtime.block_on(self.database.execute(statement)) {
            Ok(Answer::Written(written)) => written.rows,
            Ok(_) => panic!("{sql} writes nothing"),
            Err(error) => panic!("{sql}: {error}"),
        }
    }

    /// The rows that `sql` gives.
    pub fn rows(&mut self, sql: &str) -> Vec<Vec<String>> {
        let statement = parse(sql).unwrap().pop().unwrap();
        let answer =
            self.runtime.block_on(self.database.execute(statement)).unwrap_or_else(|e| panic!("{sql}: {e}"));
        let Answer::Rows { batches, .. } = answer else { panic!("{sql} gives no rows") };
        let options = FormatOptions::default().with_null("null");
        let mut rows = vec![];
        for batch in batches {
            let columns: Vec<_> = batch
                .columns()
                .iter()
                .map(|c| ArrayFormatter::try_new(c.as_ref(), &options).unwrap())
                .collect();
            rows.extend(
                (0..batch.num_rows()).map(|row| columns.iter().map(|c| c.value(row).to_string()).collect()),
            );
        }
        rows
    }
}

/// `rows` as lines of words.
pub fn shown(rows: &[Vec<String>]) -> String {
    rows.iter().map(|row| row.join(" ") + "\n").collect()
}
