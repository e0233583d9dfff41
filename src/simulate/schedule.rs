//! Faults and deploys drawn from the seed.

use std::time::Duration;

use super::chance::{Chance, Use};
use super::fault::{FaultKind, FaultRequest};
use super::model::MODEL;
use super::season::SECOND_NS;
use super::shop::{NEW_DEPENDENCIES, STORES};

/// Services deployed in one cycle.
const DEPLOYS: usize = 4;

/// No fault lasts longer, however long the cycle.
const FAULT_DURATION_MAX_S: f64 = 5_400.0;

/// The faults and deploys of one cycle.
pub(super) struct Cycle {
    /// Offsets are from the start of the simulation. Ordered by them.
    pub faults: Vec<FaultRequest>,
    /// Moments from the start of the simulation, in nanoseconds, and services, ordered.
    pub deploys: Vec<(i64, usize)>,
}

impl Cycle {
    /// The cycle of this `number`: each kind of fault once, in a part of the cycle of its own, and deploys in the
    /// quiet between some of them.
    pub fn draw(seed: u64, number: u64, cycle: Duration) -> Self {
        let mut chance = Chance::new(seed, Use::Schedule, number);
        let part_s = cycle.as_secs_f64() / FaultKind::ALL.len() as f64;
        let begin_s = cycle.as_secs_f64() * number as f64;
        let mut kinds = FaultKind::ALL;
        shuffle(&mut kinds, &mut chance);
        let mut services: Vec<usize> = (0..MODEL.services.len()).collect();
        shuffle(&mut services, &mut chance);
        let mut drawn = Cycle { faults: vec![], deploys: vec![] };
        for (part, kind) in kinds.into_iter().enumerate() {
            let part_begin_s = begin_s + part_s * part as f64;
            // At least a third of each part is quiet: its end, and the beginning of the next.
            let start_s = (part_begin_s + part_s * chance.between(0.12, 0.3)).floor();
            let duration_s = (part_s * chance.between(0.25, 0.5)).min(FAULT_DURATION_MAX_S).floor();
            drawn.faults.push(FaultRequest {
                kind,
                target: target(kind, &mut chance),
                start_offset: Duration::from_secs(start_s as u64),
                duration: Duration::from_secs(duration_s as u64),
                strength: strength(kind, &mut chance),
            });
            if part < DEPLOYS {
                let at_s = (part_begin_s + part_s * 0.88).floor();
                drawn.deploys.push((at_s as i64 * SECOND_NS, services[part]));
            }
        }
        drawn
    }
}

fn shuffle<T>(items: &mut [T], chance: &mut Chance) {
    for last in (1..items.len()).rev() {
        items.swap(last, chance.below(last + 1));
    }
}

fn target(kind: FaultKind, chance: &mut Chance) -> String {
    let called: Vec<&str> =
        MODEL.services.iter().map(|s| s.spec.name).filter(|s| MODEL.is_called(s)).collect();
    let service = called[chance.below(called.len())];
    match kind {
        FaultKind::Latency | FaultKind::Errors => service.to_owned(),
        FaultKind::DeadDependency => {
            let used: Vec<_> = STORES.iter().filter(|s| MODEL.is_called(s.name)).collect();
            used[chance.below(used.len())].name.to_owned()
        }
        FaultKind::MemoryLeak | FaultKind::LogStorm => {
            MODEL.services[chance.below(MODEL.services.len())].spec.name.to_owned()
        }
        FaultKind::NewDependency => {
            let (caller, callee) = NEW_DEPENDENCIES[chance.below(NEW_DEPENDENCIES.len())];
            format!("{caller}/{callee}")
        }
        FaultKind::TrafficSpike => {
            let visit = &MODEL.visits[chance.below(MODEL.visits.len())];
            MODEL.services[MODEL.operations[visit.operation].service].spec.name.to_owned()
        }
    }
}

/// To two digits, so that it reads well.
fn strength(kind: FaultKind, chance: &mut Chance) -> f64 {
    let (low, high) = match kind {
        FaultKind::Latency => (5.0, 15.0),
        FaultKind::Errors => (0.15, 0.5),
        FaultKind::DeadDependency => (0.8, 1.0),
        FaultKind::MemoryLeak => (20.0, 60.0),
        FaultKind::NewDependency => (0.3, 0.8),
        FaultKind::LogStorm => (50.0, 200.0),
        FaultKind::TrafficSpike => (2.0, 4.0),
    };
    (chance.between(low, high) * 100.0).floor() / 100.0
}
