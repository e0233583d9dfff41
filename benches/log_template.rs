//! Workload: 200,000 messages of ten forms (requests, addresses, JSON, key=value, lists, a stack trace), made from a
//! seed; where `UNDERCURRENT_SHARED` is set, also the 168,642 messages of the Train-Ticket data set. Templates are
//! made of all of them into one buffer, in memory. Each figure is the best of five runs, in million lines and in
//! megabytes per second of one core's time (of the clock, where the system does not tell the former). Then the
//! merging of as many distinct templates as are said, which a maintained view does for the few that are new.
//!
//! `cargo bench --bench log_template`

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::hint::black_box;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use undercurrent::detect::log_template::{merge, template, template_into};

const MESSAGES: usize = 200_000;
const NAMES: [&str; 6] = ["anna", "bert", "carl", "dora", "emil", "fred"];

fn main() {
    let mut random = StdRng::seed_from_u64(7);
    let messages: Vec<String> = (0..MESSAGES).map(|_| message(&mut random)).collect();
    report("generated", &messages);
    match std::env::var_os("UNDERCURRENT_SHARED") {
        Some(shared) => report("Train-Ticket", &train_ticket(Path::new(&shared))),
        None => println!("Train-Ticket left out: UNDERCURRENT_SHARED is not set"),
    }
    merging(&mut random);
}

fn message(random: &mut StdRng) -> String {
    let (a, b, c) = (random.random::<u32>(), random.random::<u64>(), random.random_range(0..1000));
    let name = NAMES.choose(random).unwrap();
    match random.random_range(0..10) {
        0 => format!("GET /api/v1/orders/{a}/items?limit={c} HTTP/1.1 200 {c} ms"),
        1 => format!("Received block blk_{b} of size {a} from /10.{}.{}.3:50010", a % 256, b % 256),
        2 => format!(
            r#"{{"level":"info","msg":"order {a} is paid","user":"{name}","trace_id":"{b:032x}","ms":{c}}}"#
        ),
        3 => format!(
            "level=warn ts=2024-01-31T10:20:30.{c:03}Z caller=pool.go:{c} msg=\"slow query\" took={c}ms"
        ),
        4 => format!("Failed password for {name} from 10.0.{}.7 port {} ssh2", a % 256, b % 65536),
        5 => format!("Seats: [Seat(no={a}, type={name}), Seat(no={c}, type={name}), Seat(no={b}, type=a b)]"),
        6 => format!("task_{a}_{c:04}_m_{b:06} moved from RUNNING to DONE after {c} attempts"),
        7 => format!(
            "Request {b:016x} failed\njava.io.IOException: reset by peer\n\tat a.B.c(B.java:{c})\n\t... {c} more"
        ),
        8 => format!("Connection to db-{c}.example.com:5432 was closed, {c} left in the pool"),
        _ => "Nothing to do, the queue is empty".to_owned(),
    }
}

fn train_ticket(shared: &Path) -> Vec<String> {
    let file = std::fs::File::open(shared.join("datasets/trainticket/logs.jsonl.gz")).unwrap();
    let mut messages = Vec::new();
    for line in BufReader::new(flate2::read::MultiGzDecoder::new(file)).lines() {
        let request: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        for resource in request["resourceLogs"].as_array().unwrap() {
            for scope in resource["scopeLogs"].as_array().unwrap() {
                let records = scope["logRecords"].as_array().unwrap().iter();
                messages
                    .extend(records.map(|record| record["body"]["stringValue"].as_str().unwrap().to_owned()));
            }
        }
    }
    messages
}

/// Seconds that this thread has run, as Linux counts them; those of the clock elsewhere.
fn seconds(start: Instant) -> f64 {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = statistics.split(' ').next().and_then(|field| field.parse::<f64>().ok());
    nanoseconds.map_or_else(|| start.elapsed().as_secs_f64(), |nanoseconds| nanoseconds / 1e9)
}

/// Seconds of the best of five runs.
fn best(mut run: impl FnMut()) -> f64 {
    let start = Instant::now();
    let runs = (0..5).map(|_| {
        let before = seconds(start);
        run();
        seconds(start) - before
    });
    runs.fold(f64::INFINITY, f64::min)
}

fn report(name: &str, messages: &[String]) {
    let mut buffer = String::new();
    let seconds = best(|| {
        for message in messages {
            template_into(message, &mut buffer);
            black_box(&buffer);
        }
    });
    let megabytes = messages.iter().map(String::len).sum::<usize>() as f64 / 1e6;
    let templates: BTreeSet<String> = messages.iter().map(|message| template(message)).collect();
    let patterns: BTreeSet<String> = merge(templates.iter().map(String::as_str)).into_values().collect();
    let rate = messages.len() as f64 / seconds / 1e6;
    println!(
        "{name:<16}{rate:>8.2} M lines/s {:>8.0} MB/s, {} templates, {} patterns",
        megabytes / seconds,
        templates.len(),
        patterns.len()
    );
}

fn merging(random: &mut StdRng) {
    for count in [1000, 10_000, 100_000] {
        let templates: BTreeSet<String> = (0..count)
            .map(|_| {
                let words: Vec<String> = (0..3).map(|_| format!("q{:x}", random.random::<u16>())).collect();
                let form = random.random_range(0..100);
                format!("form {form} of {} was moved to {} by the user {}", words[0], words[1], words[2])
            })
            .collect();
        let templates: Vec<&str> = templates.iter().map(String::as_str).collect();
        let seconds = best(|| {
            black_box(merge(templates.iter().copied()));
        });
        println!(
            "merge {:>8} templates {:>12.3} M templates/s",
            templates.len(),
            templates.len() as f64 / seconds / 1e6
        );
    }
}
