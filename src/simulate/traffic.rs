//! Requests, and all that follows from them.

use super::chance::Chance;
use super::edge::{ConnectionType, Edges};
use super::effect::{Effects, Place};
use super::fault::FaultKind;
use super::log_text::Facts;
use super::model::{MODEL, Operation, Request, Target, Template};
use super::pods::{PodId, Pods};
use super::queue::Queues;
use super::season::SECOND_NS;
use super::second::{Pending, Queried, Served};
use super::telemetry::{self, Failure, Ids, Severity};

/// How long a caller waits for somebody who does not answer.
const TIMEOUT_NS: i64 = SECOND_NS;

/// How long it takes to be refused.
const REFUSAL_NS: f64 = 1e6;

/// The wait before the second attempt; it doubles with each more.
const BACKOFF_NS: i64 = 40_000_000;

/// A request that takes longer is worth a line in the log.
const SLOW_NS: i64 = SECOND_NS;

/// Calls within calls, beyond which no new dependency is followed. The longest chain described has seven.
const DEPTH_MAX: u32 = 12;

/// The system as it stands at the beginning of a second.
pub(super) struct Traffic {
    pub chance: Chance,
    pub pods: Pods,
    pub effects: Effects,
    pub pending: Pending,
    pub edges: Edges,
    pub queues: Queues,
    /// Requests as a multiple of the average.
    pub load: f64,
}

/// Who makes a call.
#[derive(Clone, Copy)]
struct Caller {
    service: usize,
    pod: PodId,
    trace_id: [u8; 16],
    span_id: [u8; 8],
    visit: Visit,
}

/// What a request and all that follows from it share, other traces included.
#[derive(Clone, Copy)]
struct Visit {
    /// Tells who it is, and what about: logs name the same user and order all along.
    number: u64,
    /// Calls within calls so far.
    depth: u32,
}

/// Where a request comes from.
enum Origin {
    /// A visitor.
    Outside,
    /// A service, by the span of its call.
    Call(Ids, Visit),
    /// A message that another trace left.
    Message(Ids, Visit),
}

/// When something ended, and how.
type End = (i64, Option<Failure>);

impl Traffic {
    /// The requests of visitors for one operation that begin in the second from `begin_ns` on; `mean` are expected.
    pub fn visit(&mut self, operation: usize, begin_ns: i64, mean: f64) {
        for _ in 0..self.chance.poisson(mean) {
            let start_ns = begin_ns + (self.chance.unit() * SECOND_NS as f64) as i64;
            let (_, failure) = self.serve(operation, Origin::Outside, start_ns);
            let name = service_name(MODEL.operations[operation].service);
            self.edges.count("user", name, ConnectionType::VirtualNode, failure.is_some());
        }
    }

    /// The lines of log storms in the second from `begin_ns` on.
    pub fn storm(&mut self, begin_ns: i64) {
        let storms: Vec<_> = self.effects.of(FaultKind::LogStorm, begin_ns).copied().collect();
        for storm in storms {
            let Place::Service(service) = storm.place else { continue };
            for _ in 0..self.chance.poisson(storm.strength) {
                let at_ns = begin_ns + (self.chance.unit() * SECOND_NS as f64) as i64;
                let pod = self.pods.pick(service, at_ns, &mut self.chance);
                let line = MODEL.services[service].storm_log.line(&mut self.chance, Facts::default());
                self.log(pod, at_ns, Severity::Warn, line, None);
            }
        }
    }

    /// A line of `pod`, of the trace of `ids` where it belongs to one.
    pub fn log(&mut self, pod: PodId, at_ns: i64, severity: Severity, line: String, ids: Option<Ids>) {
        let record = telemetry::log(at_ns, severity, line, ids);
        self.pending.at(at_ns).logs.entry(pod).or_default().push(record);
    }

    /// Carries out an operation.
    fn serve(&mut self, index: usize, origin: Origin, start_ns: i64) -> End {
        let operation = &MODEL.operations[index];
        let pod = self.pods.pick(operation.service, start_ns, &mut self.chance);
        let (trace_id, parent, visit) = match &origin {
            Origin::Outside => (self.chance.id(), None, Visit { number: self.chance.number(), depth: 0 }),
            Origin::Call(caller, visit) => (caller.trace_id, Some(caller.span_id), *visit),
            Origin::Message(_, visit) => (self.chance.id(), None, *visit),
        };
        let ids = Ids { trace_id, span_id: self.chance.id(), parent };
        let caller = Caller { service: operation.service, pod, trace_id, span_id: ids.span_id, visit };
        let (end_ns, failure) = self.work(index, caller, start_ns);
        let mut span = telemetry::span(&operation.answer, ids, start_ns, end_ns, failure);
        if let Some(failure) = failure {
            span.events.push(telemetry::exception(operation, failure, end_ns));
        }
        if let Origin::Message(producer, _) = origin {
            span.links.push(telemetry::link(producer));
        }
        self.log_request(operation, caller, end_ns, end_ns - start_ns, failure);
        let second = self.pending.at(end_ns);
        second.spans.entry(pod).or_default().push(span);
        let is_error = failure.is_some();
        second.served.push(Served { pod, operation: index, is_error, duration_ns: end_ns - start_ns });
        (end_ns, failure)
    }

    /// The steps of an operation, between them its own work.
    fn work(&mut self, index: usize, caller: Caller, start_ns: i64) -> End {
        let operation = &MODEL.operations[index];
        let place = Place::Operation(index, operation.service);
        let slowdown = self.slowdown(place, start_ns) * self.pods.get(caller.pod).coldness(start_ns);
        let own_ns = self.chance.sample(&operation.self_time) * slowdown;
        let piece_ns = (own_ns / (operation.stages.len() + 1) as f64) as i64;
        let mut at_ns = start_ns + piece_ns;
        let share = self.effects.error_share(place, start_ns).max(operation.spec.error_share);
        if self.chance.happens(share) {
            return (at_ns, Some(Failure::Own));
        }
        for stage in &operation.stages {
            let (end_ns, failure) = self.stage(caller, stage, at_ns);
            at_ns = end_ns;
            if failure.is_some() {
                return (at_ns, failure);
            }
            at_ns += piece_ns;
        }
        if caller.visit.depth < DEPTH_MAX {
            for (to, share) in self.effects.new_calls(place, at_ns) {
                let request = Request { to, share, attempts: 1, is_required: false };
                at_ns = self.stage(caller, &[request], at_ns).0;
            }
        }
        (at_ns, None)
    }

    /// Calls that are made at the same time.
    fn stage(&mut self, caller: Caller, requests: &[Request], start_ns: i64) -> End {
        let (mut end_ns, mut failure) = (start_ns, None);
        for request in requests {
            if !self.chance.happens(request.share) {
                continue;
            }
            let (call_end_ns, call_failure) = self.call(caller, request, start_ns);
            end_ns = end_ns.max(call_end_ns);
            if request.is_required && failure.is_none() {
                failure = call_failure.map(|_| Failure::Dependency(peer_name(request.to)));
            }
        }
        (end_ns, failure)
    }

    /// A call with its attempts.
    fn call(&mut self, caller: Caller, request: &Request, start_ns: i64) -> End {
        let mut start_ns = start_ns;
        for attempt in 1.. {
            let (end_ns, failure) = self.attempt(caller, request.to, start_ns);
            if failure.is_none() || attempt >= request.attempts {
                return (end_ns, failure);
            }
            let wait_ns = BACKOFF_NS << (attempt - 1).min(10);
            let facts = Facts {
                ms: Some(wait_ns as f64 / 1e6),
                peer: peer_name(request.to),
                count: Some(u64::from(attempt)),
                visit: Some(caller.visit.number),
            };
            let line = MODEL.services[caller.service].retry_log.line(&mut self.chance, facts);
            self.log(caller.pod, end_ns, Severity::Warn, line, Some(caller.ids()));
            start_ns = end_ns + wait_ns;
        }
        (start_ns, None)
    }

    fn attempt(&mut self, caller: Caller, to: Target, start_ns: i64) -> End {
        match to {
            Target::Operation(operation) => self.ask(caller, operation, start_ns),
            Target::Query(query) => {
                let query = &MODEL.queries[query];
                let end = self.leave(caller, to, &query.template, ConnectionType::Database, start_ns);
                let duration_ns = end.0 - start_ns;
                let queried = Queried { pod: caller.pod, store: query.store, duration_ns };
                self.pending.at(end.0).queried.push(queried);
                end
            }
            Target::Api(api) => {
                self.leave(caller, to, &MODEL.apis[api].template, ConnectionType::VirtualNode, start_ns)
            }
            Target::Topic(topic) => (self.publish(caller, topic, start_ns), None),
            Target::Internal(step) => {
                let step = &MODEL.internals[step];
                let slowdown = self.slowdown(Place::Service(caller.service), start_ns);
                let end_ns = start_ns + (self.chance.sample(&step.time) * slowdown) as i64;
                self.tell(caller, &step.template, start_ns, end_ns, None);
                (end_ns, None)
            }
        }
    }

    /// A request to a service of the system.
    fn ask(&mut self, caller: Caller, index: usize, start_ns: i64) -> End {
        let operation = &MODEL.operations[index];
        let callee = service_name(operation.service);
        let place = Place::Operation(index, operation.service);
        if let Some(end) = self.unanswered(place, start_ns) {
            self.tell(caller, &operation.request, start_ns, end.0, end.1);
            self.edges.count(service_name(caller.service), callee, ConnectionType::VirtualNode, true);
            return end;
        }
        let ids = Ids { span_id: self.chance.id(), parent: Some(caller.span_id), trace_id: caller.trace_id };
        let there_ns = self.chance.sample(&MODEL.network) as i64;
        let (end_ns, failure) =
            self.serve(index, Origin::Call(ids, caller.visit.within()), start_ns + there_ns);
        let end_ns = end_ns + self.chance.sample(&MODEL.network) as i64;
        let span = telemetry::span(&operation.request, ids, start_ns, end_ns, failure);
        self.pending.at(end_ns).spans.entry(caller.pod).or_default().push(span);
        self.edges.count(service_name(caller.service), callee, ConnectionType::Direct, failure.is_some());
        (end_ns, failure)
    }

    /// A request to something that reports nothing itself.
    fn leave(
        &mut self,
        caller: Caller,
        to: Target,
        template: &'static Template,
        connection_type: ConnectionType,
        start_ns: i64,
    ) -> End {
        let (time, place) = match to {
            Target::Query(q) => (&MODEL.queries[q].time, Place::Store(MODEL.queries[q].store)),
            Target::Api(a) => (&MODEL.apis[a].time, Place::Api(MODEL.apis[a].host)),
            _ => unreachable!("everything else reports its spans"),
        };
        let end = self.unanswered(place, start_ns).unwrap_or_else(|| {
            let taken_ns = self.chance.sample(time) * self.slowdown(place, start_ns);
            let is_error = self.chance.happens(self.effects.error_share(place, start_ns));
            (start_ns + taken_ns as i64, is_error.then_some(Failure::Own))
        });
        self.tell(caller, template, start_ns, end.0, end.1);
        self.edges.count(service_name(caller.service), peer_name(to), connection_type, end.1.is_some());
        end
    }

    /// How a request to something dead ends: some are refused, others are given up.
    fn unanswered(&mut self, place: Place, start_ns: i64) -> Option<End> {
        let share = self.effects.dead_share(place, start_ns);
        if !self.chance.happens(share) {
            return None;
        }
        Some(match self.chance.happens(0.5) {
            true => (start_ns + (REFUSAL_NS * self.chance.between(0.5, 1.5)) as i64, Some(Failure::Refused)),
            false => (start_ns + TIMEOUT_NS, Some(Failure::TimedOut)),
        })
    }

    /// Sends a message, and has it worked on later. Returns when it was accepted.
    fn publish(&mut self, caller: Caller, topic: usize, start_ns: i64) -> i64 {
        let topic = &MODEL.topics[topic];
        let end_ns = start_ns + self.chance.sample(&topic.time) as i64;
        let producer = self.tell(caller, &topic.template, start_ns, end_ns, None);
        for &consumer in &topic.consumers {
            let delay_ns = (self.chance.sample(&MODEL.queueing) * self.load_factor()) as i64;
            let taken_ns = end_ns + delay_ns + self.queues.wait_ns(consumer, end_ns);
            self.pending.at(end_ns).waiting.push((consumer, 1));
            self.pending.at(taken_ns).waiting.push((consumer, -1));
            let message = Origin::Message(producer, caller.visit.within());
            let (done_ns, failure) = self.serve(consumer, message, taken_ns);
            self.queues.take(consumer, end_ns, done_ns - taken_ns);
            let (from, to) = (service_name(caller.service), service_name(MODEL.operations[consumer].service));
            self.edges.count(from, to, ConnectionType::MessagingSystem, failure.is_some());
        }
        end_ns
    }

    /// A span below that of `caller`.
    fn tell(
        &mut self,
        caller: Caller,
        template: &Template,
        start_ns: i64,
        end_ns: i64,
        failure: Option<Failure>,
    ) -> Ids {
        let ids = Ids { trace_id: caller.trace_id, span_id: self.chance.id(), parent: Some(caller.span_id) };
        let span = telemetry::span(template, ids, start_ns, end_ns, failure);
        self.pending.at(end_ns).spans.entry(caller.pod).or_default().push(span);
        ids
    }

    fn log_request(
        &mut self,
        operation: &Operation,
        caller: Caller,
        end_ns: i64,
        duration_ns: i64,
        failure: Option<Failure>,
    ) {
        let facts = Facts {
            ms: Some(duration_ns as f64 / 1e6),
            peer: &operation.name,
            count: None,
            visit: Some(caller.visit.number),
        };
        let (text, severity) = match failure {
            Some(Failure::Own) => (&operation.failed_log, Severity::Error),
            // Where it broke is logged there; here, what that did.
            Some(_) => (&operation.lost_log, Severity::Error),
            None if duration_ns > SLOW_NS => (&MODEL.services[operation.service].slow_log, Severity::Warn),
            None if self.chance.happens(operation.spec.log.1) => (&operation.done_log, Severity::Info),
            None => return,
        };
        let facts = match failure {
            Some(Failure::Dependency(peer)) => Facts { peer, ..facts },
            _ => facts,
        };
        let line = text.line(&mut self.chance, facts);
        self.log(caller.pod, end_ns, severity, line, Some(caller.ids()));
    }

    /// How many times as long the work of `place` takes.
    fn slowdown(&self, place: Place, at_ns: i64) -> f64 {
        self.load_factor() * self.effects.slowdown(place, at_ns)
    }

    /// Gently more than one above the average load.
    fn load_factor(&self) -> f64 {
        let above = (self.load - 1.0).clamp(0.0, 4.0);
        1.0 + 0.25 * above * above
    }
}

impl Visit {
    fn within(self) -> Self {
        Visit { depth: self.depth + 1, ..self }
    }
}

impl Caller {
    fn ids(self) -> Ids {
        Ids { trace_id: self.trace_id, span_id: self.span_id, parent: None }
    }
}

fn service_name(service: usize) -> &'static str {
    MODEL.services[service].spec.name
}

fn peer_name(to: Target) -> &'static str {
    match to {
        Target::Topic(topic) => MODEL.topics[topic].name,
        to => MODEL.peer(to).unwrap_or("self"),
    }
}
