//! `undercurrent generate`: telemetry of a simulated system, as files or sent to a receiver.

mod arguments;
mod export;
mod files;
mod requests;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub(super) use arguments::GenerateArguments;
use arguments::{Start, SystemArguments};
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{CommandError, Outcome};
use crate::simulate::{Portion, Settings, SimulateError, Simulator, Truth};
use requests::Counts;

/// Time simulated for files where no duration is given.
const FILES_DURATION_DEFAULT: Duration = Duration::from_secs(3_600);

/// What went wrong with `undercurrent generate`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// Nothing can be simulated as asked for.
    #[error(transparent)]
    Simulate(#[from] SimulateError),
    /// A file could not be written.
    #[error("cannot write \"{}\"", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The folder holds telemetry that a replay of it would mix with the new.
    #[error("folder \"{}\" holds \"{}\" already. Name another folder, or remove that file", folder.display(), file.display())]
    NotEmpty {
        /// The folder.
        folder: PathBuf,
        /// A file in it.
        file: PathBuf,
    },
    /// The endpoint is not written as one.
    #[error("endpoint \"{endpoint}\" is not an address such as http://127.0.0.1:4317")]
    Endpoint {
        /// As it was given.
        endpoint: String,
        /// What is wrong with it.
        source: tonic::transport::Error,
    },
    /// Nobody listens at the endpoint.
    #[error("cannot connect to \"{endpoint}\". Check that a receiver of OTLP over gRPC listens there")]
    Connect {
        /// As it was given.
        endpoint: String,
        /// Why not.
        source: tonic::transport::Error,
    },
    /// A request was refused for good, or refused for too long.
    #[error("\"{endpoint}\" refused a request after {attempts} attempts")]
    Refused {
        /// As it was given.
        endpoint: String,
        /// How often it was sent.
        attempts: u32,
        /// What it was refused with.
        source: Box<tonic::Status>,
    },
}

/// Simulates, and writes or sends what is told.
pub(super) fn run(arguments: &GenerateArguments) -> Result<Outcome, CommandError> {
    let begin = Instant::now();
    let (counts, rejected) = match (&arguments.output, &arguments.endpoint) {
        (Some(folder), _) => (files::write(arguments, folder)?, 0),
        (None, endpoint) => export::send(arguments, endpoint.as_deref().unwrap_or_default())?,
    };
    if !arguments.quiet {
        eprintln!("{}", summary(&counts, begin.elapsed()));
        if rejected > 0 {
            eprintln!("note: the receiver rejected {rejected} of them");
        }
    }
    Ok(if rejected == 0 { Outcome::Complete } else { Outcome::SomeRejected })
}

/// The simulation asked for.
fn simulator(
    arguments: &SystemArguments,
    duration_default: Option<Duration>,
) -> Result<Simulator, SimulateError> {
    let start_ns = match arguments.start {
        Start::Now => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as i64),
        Start::At(at) => i64::try_from(at.as_nanosecond()).map_err(|_| SimulateError::Time)?,
    };
    Simulator::new(Settings {
        seed: arguments.seed,
        start_ns,
        duration: arguments.duration.or(duration_default),
        requests_per_second: arguments.rate,
        faults: arguments.plan(),
    })
}

/// Writes the truth as one JSON object over many lines.
fn write_truth(truth: &Truth, path: &Path) -> Result<(), GenerateError> {
    let failed = |source| GenerateError::Write { path: path.to_owned(), source };
    let mut text = serde_json::to_string_pretty(truth).map_err(|e| failed(e.into()))?;
    text.push('\n');
    std::fs::write(path, text).map_err(failed)
}

fn summary(counts: &Counts, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    format!(
        "{:#} of telemetry in {seconds:.1} s: {} spans, {} metric points, {} log records, {}; {} spans a second",
        jiff::SignedDuration::from_secs(counts.seconds as i64),
        HumanCount(counts.spans),
        HumanCount(counts.points),
        HumanCount(counts.records),
        HumanBytes(counts.bytes),
        HumanCount((counts.spans as f64 / seconds.max(0.001)) as u64),
    )
}

/// How far it is, on a terminal: of the duration, where there is one.
struct Progress(ProgressBar);

impl Progress {
    fn new(arguments: &GenerateArguments, duration: Option<Duration>) -> Self {
        let is_shown = !arguments.quiet && std::io::stderr().is_terminal();
        let target = if is_shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let (template, total) = match duration {
            Some(duration) => ("{bar:40} {msg} {eta}", Some(duration.as_secs())),
            None => ("{spinner} {msg}", None),
        };
        let bar = ProgressBar::with_draw_target(total, target);
        Progress(match ProgressStyle::with_template(template) {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        })
    }

    fn tell(&self, counts: &Counts, portion: &Portion) {
        self.0.set_position(counts.seconds);
        if !self.0.is_hidden() {
            let at = jiff::Timestamp::from_nanosecond(portion.clock_ns.into()).unwrap_or_default();
            self.0.set_message(format!("{at} {} spans", HumanCount(counts.spans)));
        }
    }

    fn finish(&self) {
        self.0.finish_and_clear();
    }
}
