//! Faults: how they are asked for, and how they are told.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Serialize, Serializer};

use super::SimulateError;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// A service, one of its operations, a database or an interface outside takes several times as long.
    Latency,
    /// A share of the requests to a service, one of its operations, a database or an interface outside fails.
    Errors,
    /// A service, a database or an interface outside cannot be reached: callers see refusals and time-outs.
    DeadDependency,
    /// The instances of a service use more and more memory until they are killed and start again.
    MemoryLeak,
    /// A service begins to call one that it never called.
    NewDependency,
    /// A service writes one line over and over.
    LogStorm,
    /// More visitors come than the time of day explains.
    TrafficSpike,
}

impl FaultKind {
    /// All of them.
    pub const ALL: [FaultKind; 7] = [
        FaultKind::Latency,
        FaultKind::Errors,
        FaultKind::DeadDependency,
        FaultKind::MemoryLeak,
        FaultKind::NewDependency,
        FaultKind::LogStorm,
        FaultKind::TrafficSpike,
    ];

    /// As it is written: `dead_dependency`.
    pub fn name(self) -> &'static str {
        match self {
            FaultKind::Latency => "latency",
            FaultKind::Errors => "errors",
            FaultKind::DeadDependency => "dead_dependency",
            FaultKind::MemoryLeak => "memory_leak",
            FaultKind::NewDependency => "new_dependency",
            FaultKind::LogStorm => "log_storm",
            FaultKind::TrafficSpike => "traffic_spike",
        }
    }

    /// The least and the greatest strength.
    pub fn strengths(self) -> (f64, f64) {
        match self {
            FaultKind::Latency => (1.0, 1_000.0),
            FaultKind::Errors | FaultKind::DeadDependency | FaultKind::NewDependency => (0.0, 1.0),
            FaultKind::MemoryLeak => (0.1, 1_000.0),
            FaultKind::LogStorm => (0.1, 10_000.0),
            FaultKind::TrafficSpike => (0.0, 10.0),
        }
    }

    /// What the strength is, in words.
    pub fn strength_meaning(self) -> &'static str {
        match self {
            FaultKind::Latency => "the factor by which its own work takes longer",
            FaultKind::Errors => "the share of requests that fail",
            FaultKind::DeadDependency => "the share of requests that are not answered",
            FaultKind::MemoryLeak => "mebibytes a minute that an instance loses",
            FaultKind::NewDependency => "the share of requests that make the new call",
            FaultKind::LogStorm => "log records a second",
            FaultKind::TrafficSpike => "the factor by which there are more visitors",
        }
    }

    /// The strength where none is given.
    pub fn strength_default(self) -> f64 {
        match self {
            FaultKind::Latency => 8.0,
            FaultKind::Errors => 0.3,
            FaultKind::DeadDependency => 1.0,
            FaultKind::MemoryLeak => 40.0,
            FaultKind::NewDependency => 0.5,
            FaultKind::LogStorm => 100.0,
            FaultKind::TrafficSpike => 3.0,
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A fault that is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultRequest {
    /// What goes wrong.
    pub kind: FaultKind,
    /// Where: the name of a service, database or interface; `SERVICE/OPERATION` for one operation, as
    /// `cart/GET /cart`; for a new dependency `CALLER/CALLEE`.
    pub target: String,
    /// When it begins, counted from the start of the simulation.
    pub start_offset: Duration,
    /// How long it lasts.
    pub duration: Duration,
    /// How much: see [`FaultKind::strength_meaning`].
    pub strength: f64,
}

impl FromStr for FaultRequest {
    type Err = SimulateError;

    /// Reads `KIND:TARGET:START_OFFSET:DURATION[:STRENGTH]`, as `latency:cart:10m:5m:8`.
    fn from_str(text: &str) -> Result<Self, SimulateError> {
        let wrong = |problem: String| SimulateError::Syntax { text: text.to_owned(), problem };
        let parts: Vec<&str> = text.split(':').collect();
        let (&[kind, target, start, duration], rest) = parts
            .split_first_chunk::<4>()
            .filter(|(_, rest)| rest.len() <= 1)
            .ok_or_else(|| wrong(format!("{} parts where 4 or 5 are expected", parts.len())))?;
        let kind = FaultKind::ALL.into_iter().find(|k| k.name() == kind).ok_or_else(|| {
            let known: Vec<_> = FaultKind::ALL.into_iter().map(FaultKind::name).collect();
            wrong(format!("kind \"{kind}\" is none of {}", known.join(", ")))
        })?;
        let time = |what: &str, text: &str| {
            let span: Option<SignedDuration> = text.parse().ok();
            let span = span.and_then(|span| Duration::try_from(span).ok());
            span.ok_or_else(|| wrong(format!("{what} \"{text}\" is no duration such as 90s or 1h30m")))
        };
        let strength = match rest {
            [text] => text.parse().map_err(|_| wrong(format!("strength \"{text}\" is no number")))?,
            _ => kind.strength_default(),
        };
        let (start_offset, duration) = (time("start offset", start)?, time("duration", duration)?);
        Ok(FaultRequest { kind, target: target.to_owned(), start_offset, duration, strength })
    }
}

/// Which faults there are.
#[derive(Clone, Debug, PartialEq)]
pub enum FaultPlan {
    /// None, and no deploys either: nothing but the daily season changes.
    None,
    /// Drawn from the seed: in each cycle, counted from the start, each kind once, with quiet between them. Some
    /// services are deployed in the quiet.
    Scheduled {
        /// The length of a cycle; a day by default.
        cycle: Duration,
    },
    /// Exactly these, and no deploys.
    Exactly(Vec<FaultRequest>),
}

/// A fault as it happens: the truth that a detector is measured by.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// Where: see [`FaultRequest::target`].
    pub target: String,
    /// The first moment at which it has an effect.
    #[serde(serialize_with = "as_text")]
    pub started_at: Timestamp,
    /// The first moment at which it has none.
    #[serde(serialize_with = "as_text")]
    pub ended_at: Timestamp,
    /// How much: see [`FaultKind::strength_meaning`].
    pub strength: f64,
    /// The same in a sentence.
    pub description: String,
    /// The services, databases and interfaces that show it, and the edges (`caller -> callee`) it spreads along.
    pub affected: Vec<String>,
}

/// A new version of a service.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Deploy {
    /// The service.
    pub service: String,
    /// Its version before.
    pub version_before: String,
    /// Its version from now on.
    pub version: String,
    /// When the first instance is replaced.
    #[serde(serialize_with = "as_text")]
    pub started_at: Timestamp,
    /// When the last instance is warm.
    #[serde(serialize_with = "as_text")]
    pub ended_at: Timestamp,
}

/// RFC 3339.
pub(super) fn as_text<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(at)
}
