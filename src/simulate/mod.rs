//! A simulated system of services: its spans, metrics and logs, second by second, and the truth about its faults.
//!
//! ```text
//! shop (described in words of spec) ─ model (resolved) ─┐
//! schedule or FaultRequest ─ resolve ─ effect ──────────┼─ traffic ─ second ─ Portion
//! season ─ how many visitors ───────────────────────────┘    │           │
//!                                                            edge        metrics of pods
//! ```
//!
//! The system is a web shop: a gateway before some fifteen services in several instances, their databases and caches,
//! interfaces of other companies, and topics of Kafka. Requests follow the season of the day and the week; services are
//! deployed; faults come and go, each with its kind, target, time, strength and what it reaches ([`Fault`]).
//!
//! The same [`Settings`] give the same telemetry, byte for byte, on every machine: nothing here reads a clock, and no
//! order is left to chance.

mod chance;
mod edge;
mod effect;
mod error;
mod fault;
mod graph;
mod log_text;
mod metrics;
mod model;
mod pods;
mod queue;
mod resolve;
mod schedule;
mod season;
mod second;
mod shop;
mod simulator;
mod spec;
mod telemetry;
#[cfg(test)]
mod tests;
mod traffic;
mod truth;

use std::time::Duration;

pub use edge::{ConnectionType, Edge};
pub use error::SimulateError;
pub use fault::{Deploy, Fault, FaultKind, FaultPlan, FaultRequest};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
pub use simulator::Simulator;
pub use truth::Truth;

/// The least rate, in requests per second.
pub const REQUESTS_PER_SECOND_MIN: f64 = 0.001;

/// The greatest rate, in requests per second: a portion then holds about 75,000 spans.
pub const REQUESTS_PER_SECOND_MAX: f64 = 5_000.0;

/// The longest simulation that has an end.
pub const DURATION_MAX: Duration = Duration::from_secs(10 * 365 * 86_400);

/// The shortest cycle of scheduled faults.
pub const CYCLE_MIN: Duration = Duration::from_secs(30 * 60);

/// The longest cycle of scheduled faults.
pub const CYCLE_MAX: Duration = Duration::from_secs(30 * 86_400);

/// The cycle of scheduled faults unless told otherwise: a day.
pub const CYCLE_DEFAULT: Duration = Duration::from_secs(86_400);

/// The most faults that can be asked for.
pub const FAULTS_MAX: usize = 1_000;

/// When a simulation starts unless told otherwise: Monday, 5 January 2026, 00:00 UTC, in nanoseconds since 1970.
pub const START_NS_DEFAULT: i64 = 1_767_571_200_000_000_000;

/// The rate unless told otherwise.
pub const REQUESTS_PER_SECOND_DEFAULT: f64 = 20.0;

/// What is to be simulated.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// What chance is drawn from.
    pub seed: u64,
    /// When it starts, in nanoseconds since 1970 UTC.
    pub start_ns: i64,
    /// For how long requests begin, from 1 s to [`DURATION_MAX`], rounded up to whole seconds; `None` for ever. Requests
    /// that have begun are carried to their end, so that there are some more portions.
    pub duration: Option<Duration>,
    /// Requests of visitors per second, averaged over a week; [`REQUESTS_PER_SECOND_MIN`] to
    /// [`REQUESTS_PER_SECOND_MAX`]. One request makes some fifteen spans.
    pub requests_per_second: f64,
    /// What goes wrong.
    pub faults: FaultPlan,
}

impl Default for Settings {
    /// Seed 1, from [`START_NS_DEFAULT`] without an end, 20 requests per second, faults in a cycle of a day.
    fn default() -> Self {
        Settings {
            seed: 1,
            start_ns: START_NS_DEFAULT,
            duration: None,
            requests_per_second: REQUESTS_PER_SECOND_DEFAULT,
            faults: FaultPlan::Scheduled { cycle: CYCLE_DEFAULT },
        }
    }
}

/// What is told of one second.
///
/// A span is told in the second in which it ends, so that children come before their parents, as exporters send them.
#[derive(Clone, Debug, PartialEq)]
pub struct Portion {
    /// The end of the second, in nanoseconds since 1970 UTC. Nothing told is later.
    pub clock_ns: i64,
    /// Spans, grouped by instance.
    pub traces: ExportTraceServiceRequest,
    /// Metrics: each instance exports every 15 seconds.
    pub metrics: ExportMetricsServiceRequest,
    /// Log records, grouped by instance.
    pub logs: ExportLogsServiceRequest,
}
