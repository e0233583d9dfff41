//! What can be wrong with what is to be simulated.

use super::fault::FaultKind;
use super::{
    CYCLE_MAX, CYCLE_MIN, DURATION_MAX, FAULTS_MAX, REQUESTS_PER_SECOND_MAX, REQUESTS_PER_SECOND_MIN,
};

/// Why nothing is simulated.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SimulateError {
    /// [`super::Settings::requests_per_second`] out of range.
    #[error(
        "a rate of \"{rate}\" requests per second is out of range: from {REQUESTS_PER_SECOND_MIN} to \
         {REQUESTS_PER_SECOND_MAX}"
    )]
    Rate {
        /// The rate given.
        rate: f64,
    },
    /// [`super::Settings::start_ns`] or the end of the simulation out of range.
    #[error("the time simulated is out of range: it begins after 1970 and ends before 2200")]
    Time,
    /// [`super::Settings::duration`] out of range.
    #[error("a duration of \"{duration_s} s\" is out of range: from 1 second to {} days", DURATION_MAX.as_secs() / 86_400)]
    Duration {
        /// The duration given, in seconds.
        duration_s: f64,
    },
    /// The cycle of scheduled faults out of range.
    #[error(
        "a fault cycle of \"{cycle_s} s\" is out of range: from {} minutes to {} days",
        CYCLE_MIN.as_secs() / 60,
        CYCLE_MAX.as_secs() / 86_400
    )]
    Cycle {
        /// The cycle given, in seconds.
        cycle_s: u64,
    },
    /// More faults than can be asked for.
    #[error("{faults} faults are more than the {FAULTS_MAX} that can be asked for")]
    TooManyFaults {
        /// How many were asked for.
        faults: usize,
    },
    /// A fault that is not written as faults are.
    #[error(
        "fault \"{text}\": {problem}. It is written KIND:TARGET:START_OFFSET:DURATION[:STRENGTH], as latency:cart:10m:5m:8"
    )]
    Syntax {
        /// As it was written.
        text: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A fault whose target is not part of the system, or not of a kind that can have this fault.
    #[error("a {} fault cannot have the target \"{target}\": {expected}", kind.name())]
    Target {
        /// The kind of fault.
        kind: FaultKind,
        /// The target given.
        target: String,
        /// What it can be.
        expected: String,
    },
    /// A fault that can have no effect.
    #[error(
        "the {} fault of \"{target}\" has no time: it begins at the end of the simulation or later, or lasts no time",
        kind.name()
    )]
    NoTime {
        /// The kind of fault.
        kind: FaultKind,
        /// Its target.
        target: String,
    },
    /// The strength of a fault out of its range.
    #[error(
        "a {} fault cannot have the strength \"{strength}\": {}, from {} to {}",
        kind.name(),
        kind.strength_meaning(),
        kind.strengths().0,
        kind.strengths().1
    )]
    Strength {
        /// The kind of fault.
        kind: FaultKind,
        /// The strength given.
        strength: f64,
    },
}
