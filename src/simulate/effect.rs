//! What faults do to the system at a moment.

use super::fault::FaultKind;
use super::model::Target;

/// A part of the system that a fault may touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Service(usize),
    /// An operation, of a service.
    Operation(usize, usize),
    Store(usize),
    Api(usize),
}

impl Place {
    /// Whether what happens to `self` happens to `part`.
    fn holds(self, part: Place) -> bool {
        match (self, part) {
            (Place::Service(service), Place::Operation(_, owner)) => service == owner,
            _ => self == part,
        }
    }
}

/// A fault with its names resolved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effect {
    pub kind: FaultKind,
    pub place: Place,
    /// Of a new dependency: what is called.
    pub callee: Option<Target>,
    pub from_ns: i64,
    pub until_ns: i64,
    pub strength: f64,
}

impl Effect {
    pub fn covers(&self, at_ns: i64) -> bool {
        self.from_ns <= at_ns && at_ns < self.until_ns
    }
}

/// How far ahead of the clock the effects of requests may reach. Beyond it no fault is seen to begin.
const AHEAD_NS: i64 = 3_600_000_000_000;

/// The effects of all faults.
#[derive(Default)]
pub(super) struct Effects {
    known: Vec<Effect>,
    /// Those that may matter to requests that begin now: nearly always none or one.
    near: Vec<Effect>,
}

impl Effects {
    pub fn add(&mut self, effect: Effect) {
        self.known.push(effect);
    }

    pub fn known(&self) -> &[Effect] {
        &self.known
    }

    /// Moves to a later time.
    pub fn advance(&mut self, now_ns: i64) {
        self.known.retain(|e| e.until_ns > now_ns);
        self.near.clear();
        self.near.extend(self.known.iter().filter(|e| e.from_ns < now_ns.saturating_add(AHEAD_NS)));
    }

    /// The effects of `kind` at a moment, wherever they are.
    pub fn of(&self, kind: FaultKind, at_ns: i64) -> impl Iterator<Item = &Effect> {
        self.near.iter().filter(move |e| e.kind == kind && e.covers(at_ns))
    }

    fn at(&self, kind: FaultKind, part: Place, at_ns: i64) -> impl Iterator<Item = &Effect> {
        self.of(kind, at_ns).filter(move |e| e.place.holds(part))
    }

    /// How many times as long `part` takes.
    pub fn slowdown(&self, part: Place, at_ns: i64) -> f64 {
        self.at(FaultKind::Latency, part, at_ns).map(|e| e.strength).product()
    }

    /// The share of requests to `part` that fail beyond those that always do.
    pub fn error_share(&self, part: Place, at_ns: i64) -> f64 {
        self.at(FaultKind::Errors, part, at_ns).map(|e| e.strength).fold(0.0, f64::max)
    }

    /// The share of requests to `part` that nobody answers.
    pub fn dead_share(&self, part: Place, at_ns: i64) -> f64 {
        self.at(FaultKind::DeadDependency, part, at_ns).map(|e| e.strength).fold(0.0, f64::max)
    }

    /// How many times as many requests come from outside for `part`.
    pub fn visitors(&self, part: Place, at_ns: i64) -> f64 {
        self.at(FaultKind::TrafficSpike, part, at_ns).map(|e| e.strength).product()
    }

    /// The calls that `part` has come to make, with the share of requests that make them.
    pub fn new_calls(&self, part: Place, at_ns: i64) -> Vec<(Target, f64)> {
        let calls = self.at(FaultKind::NewDependency, part, at_ns);
        calls.filter_map(|e| e.callee.map(|callee| (callee, e.strength))).collect()
    }

    /// The memory leak of a service at a moment.
    pub fn leak(&self, service: usize, at_ns: i64) -> Option<&Effect> {
        self.at(FaultKind::MemoryLeak, Place::Service(service), at_ns).next()
    }
}
