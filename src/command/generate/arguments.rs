//! Flags of `undercurrent generate`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::Timestamp;

use crate::simulate::{CYCLE_DEFAULT, FaultPlan, FaultRequest, REQUESTS_PER_SECOND_DEFAULT, SimulateError};
use crate::sql::statement::parse_duration_ms;

const FAULT_HELP: &str = "\
A fault, and none that is not given: KIND:TARGET:START_OFFSET:DURATION[:STRENGTH], as latency:cart:10m:5m:8; kinds: \
latency, errors, dead_dependency, memory_leak, new_dependency, log_storm, traffic_spike";

/// What `undercurrent generate` is given.
#[derive(Debug, Args)]
#[group(id = "destination", required = true, multiple = true)]
pub(in crate::command) struct GenerateArguments {
    /// Write traces, metrics, logs and truth.json into this folder
    #[arg(long, value_name = "DIR", conflicts_with = "endpoint", group = "destination")]
    pub output: Option<PathBuf>,
    /// Send by OTLP over gRPC to this address, such as http://127.0.0.1:4317
    #[arg(long, value_name = "URL", group = "destination")]
    pub endpoint: Option<String>,
    #[command(flatten)]
    pub system: SystemArguments,
    /// How files are written: one request a line of JSON, or frames of protobuf, each behind its length
    #[arg(long, value_enum, default_value_t = Encoding::Json, conflicts_with = "endpoint")]
    pub format: Encoding,
    /// How files, or the requests that are sent, are compressed
    #[arg(long, value_enum, default_value_t = Compress::None)]
    pub compress: Compress,
    /// Send this many times faster than the events happen (1x, 60x), or as fast as they are taken in (max)
    #[arg(long, value_name = "FACTOR", default_value = "1x", value_parser = parse_speed, conflicts_with = "output")]
    pub speed: Speed,
    /// Write the truth into this file when the sending ends; interrupted, it is up to a few seconds ahead of what was sent
    #[arg(long, value_name = "FILE", conflicts_with = "output")]
    pub truth: Option<PathBuf>,
    /// No progress bar and no summary on standard error
    #[arg(long, short)]
    pub quiet: bool,
}

/// The system that is simulated.
#[derive(Debug, Args)]
#[group(skip)]
pub(in crate::command) struct SystemArguments {
    /// What chance is drawn from: the same seed and settings give the same bytes
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// When the simulation starts: a time such as 2026-01-05T00:00:00Z, or now
    #[arg(long, value_name = "TIMESTAMP", default_value = "2026-01-05T00:00:00Z", value_parser = parse_start)]
    pub start: Start,
    /// How much time is simulated: an hour for files, without end when sending
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// Requests of visitors per second, averaged over a week; each makes some fifteen spans
    #[arg(long, value_name = "REQUESTS_PER_SECOND", default_value_t = REQUESTS_PER_SECOND_DEFAULT)]
    pub rate: f64,
    /// Faults and deploys drawn from the seed: each kind once a day (daily), once in a cycle of another length (6h), or
    /// none
    #[arg(long, value_name = "PLAN", default_value = "daily", value_parser = parse_plan, conflicts_with = "fault")]
    pub faults: FaultPlan,
    /// Faults that are asked for one by one
    #[arg(long, value_name = "FAULT", value_parser = parse_fault, help = FAULT_HELP)]
    pub fault: Vec<FaultRequest>,
}

impl SystemArguments {
    /// The faults that are asked for.
    pub fn plan(&self) -> FaultPlan {
        if self.fault.is_empty() { self.faults.clone() } else { FaultPlan::Exactly(self.fault.clone()) }
    }
}

/// How requests are written to files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::command) enum Encoding {
    /// OTLP/JSON, one request a line
    Json,
    /// OTLP protobuf, each request behind its length in four bytes
    Protobuf,
}

/// How bytes are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::command) enum Compress {
    /// Not at all
    None,
    /// gzip
    Gzip,
    /// Zstandard
    Zstd,
}

/// When a simulation starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::command) enum Start {
    Now,
    At(Timestamp),
}

/// How fast simulated time passes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::command) enum Speed {
    /// This many times as fast as on the clock.
    Times(f64),
    /// As fast as it can be sent.
    Max,
}

fn parse_speed(text: &str) -> Result<Speed, String> {
    if text == "max" {
        return Ok(Speed::Max);
    }
    let factor: Option<f64> = text.trim_end_matches(['x', 'X']).parse().ok();
    factor
        .filter(|f| *f >= 0.001 && *f <= 1e9)
        .map(Speed::Times)
        .ok_or_else(|| "a factor from 0.001x to 1000000000x, or max, is expected".to_owned())
}

fn parse_start(text: &str) -> Result<Start, String> {
    match text {
        "now" => Ok(Start::Now),
        _ => text
            .parse()
            .map(Start::At)
            .map_err(|_| "a time such as 2026-01-05T00:00:00Z is expected, or now".to_owned()),
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    parse_duration_ms(text)
        .map(Duration::from_millis)
        .ok_or_else(|| "a duration such as 15m or 1h is expected, from 1 second to 100 years".to_owned())
}

fn parse_plan(text: &str) -> Result<FaultPlan, String> {
    match text {
        "none" => Ok(FaultPlan::None),
        "daily" => Ok(FaultPlan::Scheduled { cycle: CYCLE_DEFAULT }),
        _ => match parse_duration(text) {
            Ok(cycle) => Ok(FaultPlan::Scheduled { cycle }),
            Err(_) => Err("daily, none, or the length of a cycle such as 6h is expected".to_owned()),
        },
    }
}

fn parse_fault(text: &str) -> Result<FaultRequest, SimulateError> {
    text.parse()
}
