//! Flags and arguments.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, ValueEnum};

use super::demo::DemoArguments;
use super::generate::GenerateArguments;
use crate::engine::WORKERS_MAX;
use crate::ingest::{BATCH_ROWS_DEFAULT, BATCH_ROWS_MAX};
use crate::sql::statement::parse_duration_ms;

/// Rows after which a replay closes a tick.
const TICK_ROWS_DEFAULT: usize = 65_536;

const EXIT_STATUS: &str = "\
Exit status:
  0  done, all input was taken in
  1  failed: a statement was refused, a file cannot be read
  2  wrong usage
  3  done, but some input was rejected; the table ingest_errors tells what and why";

/// SQL over live telemetry, kept up to date by differential dataflow.
#[derive(Debug, Parser)]
#[command(name = "undercurrent", version, after_help = EXIT_STATUS)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub command: Subcommand,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum Subcommand {
    /// Replay recorded telemetry and print the answer of SQL over the final views
    #[command(after_help = EXIT_STATUS)]
    Replay(ReplayArguments),
    /// Replay recorded telemetry, then read SQL from the terminal or from standard input
    #[command(after_help = EXIT_STATUS)]
    Sql(InputArguments),
    /// Simulate a system of services, and write its telemetry to files or send it to a receiver
    #[command(after_help = EXIT_STATUS)]
    Generate(GenerateArguments),
    /// Run the engine and its servers on a simulated system, and show its service map as it lives
    Demo(DemoArguments),
    /// Print the completion script of a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(super) struct ReplayArguments {
    #[command(flatten)]
    pub input: InputArguments,
    /// Statements, separated by semicolons: views are created before the replay, queries answered after it
    #[arg(long, value_name = "SQL")]
    pub sql: Vec<String>,
    /// A file of such statements
    #[arg(long, value_name = "FILE")]
    pub file: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct InputArguments {
    /// Files or folders: OTLP JSON lines (.jsonl, .json, .ndjson), OTLP protobuf (.pb, .binpb), Parquet; also .gz and .zst
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// How answers are written
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Replay this many times faster than the events happened (60x), instead of as fast as possible
    #[arg(long, value_name = "FACTOR", value_parser = parse_speed)]
    pub speed: Option<f64>,
    /// Worker threads that maintain views
    #[arg(long, value_name = "N", default_value_t = NonZeroUsize::MIN, value_parser = parse_workers)]
    pub workers: NonZeroUsize,
    /// Rows in one batch
    #[arg(long, value_name = "N", default_value_t = BATCH_ROWS_DEFAULT, value_parser = parse_batch_rows)]
    pub batch_rows: usize,
    /// Rows after which a tick is closed
    #[arg(long, value_name = "N", default_value_t = TICK_ROWS_DEFAULT, value_parser = parse_tick_rows)]
    pub tick_rows: usize,
    /// How long views keep rows for joining, in stream time, where they do not say: unlimited by default
    #[arg(long, value_name = "DURATION", value_parser = parse_horizon)]
    pub horizon: Option<u64>,
    /// A folder of .sql files with views of your own; one takes the place of a built-in view of its name
    #[arg(long, value_name = "DIR")]
    pub queries: Vec<PathBuf>,
    /// Leave the built-in views out
    #[arg(long)]
    pub no_built_in_views: bool,
    /// No progress bar and no notes on standard error
    #[arg(long, short)]
    pub quiet: bool,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Columns with a frame
    Table,
    /// Comma-separated values with a header
    Csv,
    /// One array of objects an answer
    Json,
    /// A Parquet file (one answer)
    Parquet,
}

pub(super) fn parse_speed(text: &str) -> Result<f64, String> {
    let factor: Option<f64> = text.trim_end_matches(['x', 'X']).parse().ok();
    factor
        .filter(|f| *f >= 0.001 && *f <= 1e9)
        .ok_or_else(|| "a factor from 0.001x to 1000000000x is expected".to_owned())
}

fn ranged(text: &str, max: usize) -> Result<usize, String> {
    let number: Option<usize> = text.parse().ok();
    number.filter(|n| (1..=max).contains(n)).ok_or_else(|| format!("a number from 1 to {max} is expected"))
}

fn parse_workers(text: &str) -> Result<NonZeroUsize, String> {
    Ok(NonZeroUsize::new(ranged(text, WORKERS_MAX)?).unwrap_or(NonZeroUsize::MIN))
}

fn parse_batch_rows(text: &str) -> Result<usize, String> {
    ranged(text, BATCH_ROWS_MAX)
}

fn parse_tick_rows(text: &str) -> Result<usize, String> {
    ranged(text, 1 << 30)
}

fn parse_horizon(text: &str) -> Result<u64, String> {
    parse_duration_ms(text)
        .ok_or_else(|| "a duration such as 15m or 1h is expected, from 1 second to 100 years".to_owned())
}
