//! From a fault as it is asked for to what it does.

use jiff::Timestamp;

use super::SimulateError;
use super::effect::{Effect, Place};
use super::fault::{Fault, FaultKind, FaultRequest};
use super::graph::{affected, answers_calls};
use super::model::{MODEL, Target};
use super::shop::{APIS, STORES};

/// What `request` does in a simulation that starts at `start_ns`, besides those in `known`.
///
/// # Errors
/// A target that is not there or cannot have this fault; a strength or a time out of range.
pub(super) fn effect(
    request: &FaultRequest,
    start_ns: i64,
    known: &[Effect],
) -> Result<Effect, SimulateError> {
    let FaultRequest { kind, ref target, strength, .. } = *request;
    let (least, greatest) = kind.strengths();
    if !(least..=greatest).contains(&strength) {
        return Err(SimulateError::Strength { kind, strength });
    }
    let refused = |expected: String| SimulateError::Target { kind, target: target.clone(), expected };
    let mut callee = None;
    let place = match kind {
        FaultKind::Latency | FaultKind::Errors => part(target).map_err(refused)?,
        FaultKind::DeadDependency => dependency(target).map_err(refused)?,
        FaultKind::MemoryLeak | FaultKind::LogStorm => service(target).map_err(refused)?,
        FaultKind::NewDependency => {
            let (caller, target) = new_dependency(target, known).map_err(refused)?;
            callee = Some(target);
            caller
        }
        FaultKind::TrafficSpike => entrance(target).map_err(refused)?,
    };
    let nanoseconds = |duration: std::time::Duration| i64::try_from(duration.as_nanos()).ok();
    let from_ns = nanoseconds(request.start_offset).and_then(|offset| start_ns.checked_add(offset));
    let until_ns = from_ns.zip(nanoseconds(request.duration)).and_then(|(from, d)| from.checked_add(d));
    let (from_ns, until_ns) = from_ns.zip(until_ns).ok_or(SimulateError::Time)?;
    Ok(Effect { kind, place, callee, from_ns, until_ns, strength })
}

/// How `effect` is told.
pub(super) fn fault(effect: &Effect, target: &str) -> Fault {
    let Effect { kind, strength, .. } = *effect;
    let percent = (strength * 1000.0).round() / 10.0;
    let description = match kind {
        FaultKind::Latency => format!("the work of {target} takes {strength} times as long"),
        FaultKind::Errors => format!("{percent} % of the requests to {target} fail"),
        FaultKind::DeadDependency => {
            format!("{percent} % of the requests to {target} are refused or time out")
        }
        FaultKind::MemoryLeak => format!("each instance of {target} loses {strength} MiB of memory a minute"),
        FaultKind::NewDependency => {
            let (caller, callee) = target.split_once('/').unwrap_or((target, ""));
            format!("{caller} begins to call {callee}, in {percent} % of its requests")
        }
        FaultKind::LogStorm => format!("{target} writes {strength} more log records a second"),
        FaultKind::TrafficSpike => format!("{strength} times as many visitors come to {target}"),
    };
    Fault {
        kind,
        target: target.to_owned(),
        started_at: timestamp(effect.from_ns),
        ended_at: timestamp(effect.until_ns),
        strength,
        description,
        affected: affected(effect),
    }
}

/// A moment in nanoseconds since 1970. All 64-bit values are timestamps.
pub(super) fn timestamp(at_ns: i64) -> Timestamp {
    Timestamp::from_nanosecond(at_ns.into()).unwrap_or(Timestamp::MAX)
}

fn service(name: &str) -> Result<Place, String> {
    let names: Vec<_> = MODEL.services.iter().map(|s| s.spec.name).collect();
    MODEL.service(name).map(Place::Service).ok_or_else(|| format!("one of the services {}", names.join(", ")))
}

fn store_or_api(name: &str) -> Option<Place> {
    let store = STORES.iter().position(|s| s.name == name).map(Place::Store);
    store.or_else(|| APIS.iter().position(|a| a.name == name).map(Place::Api))
}

fn part(target: &str) -> Result<Place, String> {
    if let Some(place) = store_or_api(target) {
        return Ok(place);
    }
    let Some((owner, operation)) = target.split_once('/') else {
        let others: Vec<_> = STORES.iter().map(|s| s.name).chain(APIS.iter().map(|a| a.name)).collect();
        return service(target).map_err(|services| format!("{services}, or of {}", others.join(", ")));
    };
    let Place::Service(index) = service(owner)? else { return Err(String::new()) };
    let mut operations = MODEL.services[index].operations.clone();
    let names: Vec<_> = operations.clone().map(|o| MODEL.operations[o].name.as_str()).collect();
    let found = operations.find(|o| MODEL.operations[*o].name == operation);
    found
        .map(|o| Place::Operation(o, index))
        .ok_or_else(|| format!("one of the operations {} of {owner}", names.join(", ")))
}

fn dependency(target: &str) -> Result<Place, String> {
    if let Some(place) = store_or_api(target) {
        return Ok(place);
    }
    let place = service(target)?;
    match MODEL.is_called(target) {
        true => Ok(place),
        false => Err("no service calls it".to_owned()),
    }
}

fn entrance(target: &str) -> Result<Place, String> {
    let entrances: Vec<_> =
        MODEL.visits.iter().map(|v| MODEL.operations[v.operation].name.as_str()).collect();
    match part(target) {
        Ok(place @ Place::Service(s))
            if MODEL.visits.iter().any(|v| MODEL.operations[v.operation].service == s) =>
        {
            Ok(place)
        }
        Ok(place @ Place::Operation(o, _)) if MODEL.visits.iter().any(|v| v.operation == o) => Ok(place),
        _ => Err(format!("visitors come to gateway and its operations {}", entrances.join(", "))),
    }
}

/// The caller, and what it calls: the first operation of a service, or the lookup of a store.
fn new_dependency(target: &str, known: &[Effect]) -> Result<(Place, Target), String> {
    let (caller, callee) =
        target.split_once('/').ok_or_else(|| "CALLER/CALLEE is expected, as cart/accounts".to_owned())?;
    let place = service(caller)?;
    let called = match store_or_api(callee) {
        Some(Place::Store(store)) => Target::Query(store),
        Some(_) => return Err(format!("\"{callee}\" is neither a service nor a store")),
        None => {
            let Place::Service(index) = service(callee)? else { return Err(String::new()) };
            let first = MODEL.services[index].operations.clone().find(|o| answers_calls(*o));
            Target::Operation(first.ok_or_else(|| format!("\"{callee}\" answers no calls"))?)
        }
    };
    let caller = MODEL.name(place);
    if MODEL.calls().contains(&(caller, callee)) {
        return Err(format!("\"{caller}\" calls \"{callee}\" already"));
    }
    let callee = MODEL.peer(called).unwrap_or_default();
    if MODEL.leads_to(callee, caller, known) {
        return Err(format!("\"{callee}\" calls \"{caller}\", if only by way of others"));
    }
    Ok((place, called))
}
