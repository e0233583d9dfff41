//! Workload: the queries of Nexmark, q0 to q22 (`benches/nexmark/queries/`), as materialized views over three
//! append-only tables. Events are those of the benchmark's usual generator: one person and three auctions to 46 bids,
//! 10,000 of them in a second of event time, and a tick for every second. All batches are made before the clock
//! starts; nothing but the views is kept of them. Each query runs in a process of its own, with one worker and with
//! two; a horizon is not set, so that all state is kept.
//!
//! Printed, for each query:
//!
//! - thousands of events a CPU-second, of the whole process, with one worker and with two. All events count, also
//!   those of tables that the query does not read;
//! - the time of a tick from its first batch until readers see its result, median and 99th percentile, one worker;
//! - state: bytes of the operators, without the result; and the most resident memory beyond what was there before
//!   the first tick and the batches still to come, one worker;
//! - the same SELECT once over all the events as a batch query of DataFusion, in thousands of events a CPU-second;
//! - the aim.
//!
//! `cargo bench --bench nexmark -- --queries 4,9 --events 1000000 --workers 1,2`
//!
//! `--soak 1h` runs all queries together instead, over the last minute of events, which are made on the way, and
//! prints memory over time as CSV: it must stay flat.

#![allow(clippy::unwrap_used)]

mod events;
mod measure;
mod process;
mod queries;
mod soak;

use std::time::Duration;

use clap::Parser;

use self::measure::{Measured, Workload};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Thousands of events a CPU-second that each query should reach.
const AIMS: [Option<u32>; queries::COUNT] = [
    Some(2_000),
    Some(2_000),
    Some(2_000),
    Some(1_000),
    Some(265),
    Some(200),
    None,
    Some(200),
    Some(1_000),
    Some(57),
    None,
    None,
    None,
    None,
    None,
    Some(150),
    Some(150),
    Some(150),
    Some(85),
    Some(85),
    Some(85),
    None,
    None,
];

/// Events in a second of event time, where nothing else is asked for.
const EVENTS_PER_SECOND: usize = 10_000;

#[derive(Parser)]
struct Arguments {
    /// Numbers of queries; all by default.
    #[arg(long, value_delimiter = ',')]
    queries: Vec<usize>,
    /// How many events.
    #[arg(long, default_value_t = 1_000_000)]
    events: usize,
    /// Events in a second of event time: 10,000 by default, and 1,000 for a soak.
    #[arg(long)]
    events_per_second: Option<usize>,
    /// Numbers of workers.
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    workers: Vec<usize>,
    /// Leaves the batch queries out.
    #[arg(long)]
    views_only: bool,
    /// Runs all queries together for so long, and prints memory over time.
    #[arg(long, value_parser = duration)]
    soak: Option<Duration>,
    /// Runs one query in this process.
    #[arg(long, hide = true)]
    child: bool,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    let span: jiff::SignedDuration = text.parse().map_err(|error| format!("{error}"))?;
    Duration::try_from(span).map_err(|error| format!("{error}"))
}

fn main() {
    let mut arguments = Arguments::parse();
    if arguments.queries.is_empty() {
        arguments.queries = (0..queries::COUNT).collect();
    }
    if let Some(duration) = arguments.soak {
        let per_second = arguments.events_per_second.unwrap_or(1_000);
        return soak::run(&arguments.queries, arguments.workers[0], per_second, duration);
    }
    if arguments.child {
        let workload = Workload {
            query: arguments.queries[0],
            workers: arguments.workers[0],
            events: arguments.events,
            events_per_second: arguments.events_per_second.unwrap_or(EVENTS_PER_SECOND),
            has_batch: !arguments.views_only,
        };
        return println!("{}", serde_json::to_string(&measure::run(&workload)).unwrap());
    }
    table(&arguments);
}

/// Measures all queries and prints a line for each.
fn table(arguments: &Arguments) {
    let per_second = arguments.events_per_second.unwrap_or(EVENTS_PER_SECOND);
    println!("{} events, {per_second} a second and tick", arguments.events);
    let rates: Vec<String> = arguments.workers.iter().map(|w| format!("{w} worker{}", plural(*w))).collect();
    println!("| query | {} | tick p50 | p99 | state | memory | rows | batch | aim |", rates.join(" | "));
    println!("|---|{}---|---|---|---|---|---|---|", "---|".repeat(rates.len()));
    for query in &arguments.queries {
        let measured: Vec<Measured> =
            arguments.workers.iter().enumerate().map(|(i, w)| child(arguments, *query, *w, i == 0)).collect();
        let first = &measured[0];
        if let Some(refusal) = &first.refusal {
            println!("| q{query} | {refusal} |");
            continue;
        }
        let rate = |cpu_seconds: f64| match cpu_seconds > 0.0 {
            true => format!("{:.0}k", arguments.events as f64 / cpu_seconds / 1e3),
            false => "-".to_owned(),
        };
        let rates: Vec<String> = measured.iter().map(|m| rate(m.view_cpu_seconds)).collect();
        println!(
            "| q{query} | {} | {:.1} ms | {:.1} ms | {:.0} MiB | {:.0} MiB | {} | {} | {} |",
            rates.join(" | "),
            first.tick_ms_p50,
            first.tick_ms_p99,
            first.state_bytes as f64 / f64::from(1 << 20),
            first.memory_bytes as f64 / f64::from(1 << 20),
            first.rows,
            rate(first.batch_cpu_seconds),
            AIMS[*query].map_or("-".to_owned(), |aim| format!("{aim}k")),
        );
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// Measures `query` in a process of its own.
fn child(arguments: &Arguments, query: usize, workers: usize, is_first: bool) -> Measured {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.arg("--child").args(["--queries", &query.to_string(), "--workers", &workers.to_string()]);
    command.args(["--events", &arguments.events.to_string()]);
    command
        .args(["--events-per-second", &arguments.events_per_second.unwrap_or(EVENTS_PER_SECOND).to_string()]);
    if arguments.views_only || !is_first {
        command.arg("--views-only");
    }
    let output = command.stderr(std::process::Stdio::inherit()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("q{query}: {error}: {text:?}"))
}
