//! Who calls whom, as described: what a fault can reach.

use std::collections::BTreeSet;

use super::effect::{Effect, Place};
use super::fault::FaultKind;
use super::model::{MODEL, Model, Protocol, Target};
use super::shop::{APIS, STORES};

impl Model {
    /// What a call leads to by name: a service, store or interface. Nothing for steps inside and for topics.
    pub fn peer(&self, target: Target) -> Option<&'static str> {
        Some(match target {
            Target::Operation(o) => self.services[self.operations[o].service].spec.name,
            Target::Query(q) => STORES[self.queries[q].store].name,
            Target::Api(a) => self.apis[a].name,
            Target::Topic(_) | Target::Internal(_) => return None,
        })
    }

    /// The name of a place.
    pub fn name(&self, place: Place) -> &'static str {
        match place {
            Place::Service(service) | Place::Operation(_, service) => self.services[service].spec.name,
            Place::Store(store) => STORES[store].name,
            Place::Api(api) => APIS[api].name,
        }
    }

    /// The place that a call leads to.
    pub fn place(&self, target: Target) -> Option<Place> {
        Some(match target {
            Target::Operation(o) => Place::Operation(o, self.operations[o].service),
            Target::Query(q) => Place::Store(self.queries[q].store),
            Target::Api(a) => Place::Api(self.apis[a].host),
            Target::Topic(_) | Target::Internal(_) => return None,
        })
    }

    fn owner(&self, operation: usize) -> &'static str {
        self.services[self.operations[operation].service].spec.name
    }

    /// All calls between services, and from them to stores and interfaces, that wait for an answer.
    pub fn calls(&self) -> BTreeSet<(&'static str, &'static str)> {
        let mut calls = BTreeSet::new();
        for operation in 0..self.operations.len() {
            let requests = self.operations[operation].stages.iter().flatten();
            calls.extend(requests.filter_map(|r| self.peer(r.to)).map(|peer| (self.owner(operation), peer)));
        }
        calls
    }

    /// Whether `service` is called by another.
    pub fn is_called(&self, service: &str) -> bool {
        self.calls().iter().any(|(_, callee)| *callee == service)
    }

    /// Whether calls lead from `from` to `to`, counting those in `more`.
    pub fn leads_to(&self, from: &'static str, to: &str, more: &[Effect]) -> bool {
        let mut calls = self.calls();
        calls.extend(
            more.iter()
                .filter_map(|e| e.callee.and_then(|c| self.peer(c)).map(|peer| (self.name(e.place), peer))),
        );
        let mut reached = BTreeSet::from([from]);
        loop {
            let next: Vec<_> = calls
                .iter()
                .filter(|(a, b)| reached.contains(a) && !reached.contains(b))
                .map(|c| c.1)
                .collect();
            if next.is_empty() {
                return reached.contains(to);
            }
            reached.extend(next);
        }
    }
}

/// What shows the fault: names first, then edges.
pub(super) fn affected(effect: &Effect) -> Vec<String> {
    let name = MODEL.name(effect.place);
    let (names, edges) = match effect.kind {
        FaultKind::Latency | FaultKind::Errors | FaultKind::DeadDependency => upstream(effect),
        FaultKind::MemoryLeak | FaultKind::LogStorm => (BTreeSet::from([name]), BTreeSet::new()),
        FaultKind::NewDependency => {
            let callee = effect.callee.and_then(|c| MODEL.peer(c)).unwrap_or_default();
            (BTreeSet::from([name, callee]), BTreeSet::from([(name, callee)]))
        }
        FaultKind::TrafficSpike => downstream(effect),
    };
    let names = names.into_iter().map(str::to_owned);
    names.chain(edges.into_iter().map(|(from, to)| format!("{from} -> {to}"))).collect()
}

type Reached = (BTreeSet<&'static str>, BTreeSet<(&'static str, &'static str)>);

/// Those who wait for the place, and those who wait for them.
fn upstream(effect: &Effect) -> Reached {
    let is_slow = effect.kind == FaultKind::Latency;
    let mut names = BTreeSet::from([MODEL.name(effect.place)]);
    let mut edges = BTreeSet::new();
    let mut operations = BTreeSet::new();
    loop {
        let (edges_before, operations_before) = (edges.len(), operations.len());
        for (index, operation) in MODEL.operations.iter().enumerate() {
            for request in operation.stages.iter().flatten() {
                let is_hit = match request.to {
                    Target::Operation(o) => operations.contains(&o) || hits(effect.place, request.to),
                    to => hits(effect.place, to),
                };
                if let (true, Some(peer)) = (is_hit, MODEL.peer(request.to)) {
                    edges.insert((MODEL.owner(index), peer));
                    // Who can do without an answer waits for it, but does not fail.
                    if is_slow || request.is_required {
                        operations.insert(index);
                    }
                }
            }
        }
        if (edges.len(), operations.len()) == (edges_before, operations_before) {
            break;
        }
    }
    names.extend(edges.iter().map(|(from, _)| *from));
    let visits = MODEL.visits.iter().filter(|v| {
        let place = Target::Operation(v.operation);
        operations.contains(&v.operation) || hits(effect.place, place)
    });
    edges.extend(visits.map(|v| ("user", MODEL.owner(v.operation))));
    (names, edges)
}

fn hits(place: Place, target: Target) -> bool {
    match (place, MODEL.place(target)) {
        (Place::Service(service), Some(Place::Operation(_, owner))) => service == owner,
        (place, Some(hit)) => place == hit,
        (_, None) => false,
    }
}

/// Whoever works for the visitors of the place.
fn downstream(effect: &Effect) -> Reached {
    let visits = MODEL.visits.iter().map(|v| v.operation);
    let mut open: Vec<usize> = visits.filter(|o| hits(effect.place, Target::Operation(*o))).collect();
    let mut seen: BTreeSet<usize> = open.iter().copied().collect();
    let mut edges: BTreeSet<_> = open.iter().map(|o| ("user", MODEL.owner(*o))).collect();
    while let Some(index) = open.pop() {
        for request in MODEL.operations[index].stages.iter().flatten() {
            let called: Vec<usize> = match request.to {
                Target::Operation(o) => vec![o],
                Target::Topic(t) => MODEL.topics[t].consumers.clone(),
                _ => vec![],
            };
            edges.extend(called.iter().map(|o| (MODEL.owner(index), MODEL.owner(*o))));
            edges.extend(MODEL.peer(request.to).map(|peer| (MODEL.owner(index), peer)));
            open.extend(called.into_iter().filter(|o| seen.insert(*o)));
        }
    }
    let names = edges.iter().flat_map(|(from, to)| [*from, *to]).filter(|name| *name != "user").collect();
    (names, edges)
}

/// Whether an operation is asked by a call, not by a message.
pub(super) fn answers_calls(operation: usize) -> bool {
    MODEL.operations[operation].answer.protocol != Protocol::Kafka
}
