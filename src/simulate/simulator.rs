//! The simulation, second by second.

use std::collections::BTreeMap;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};

use super::chance::{Chance, Use};
use super::edge::{Edge, Edges};
use super::effect::{Effects, Place};
use super::fault::{Deploy, Fault, FaultPlan, FaultRequest};
use super::log_text::Facts;
use super::metrics::{self, Surroundings};
use super::model::MODEL;
use super::pods::{COLD_NS, EXPORT_SECONDS, PodId, Pods, ROLLING_NS};
use super::queue::Queues;
use super::resolve::{self, timestamp};
use super::schedule::Cycle;
use super::season::{self, SECOND_NS};
use super::second::{self, Pending, Second};
use super::telemetry::Severity;
use super::traffic::Traffic;
use super::{
    CYCLE_MAX, CYCLE_MIN, DURATION_MAX, FAULTS_MAX, Portion, REQUESTS_PER_SECOND_MAX,
    REQUESTS_PER_SECOND_MIN, Settings, SimulateError, Truth,
};

/// The last moment that can be simulated: the end of 2199.
const END_NS_MAX: i64 = 7_258_118_400 * SECOND_NS;

/// How long before they happen deploys are known to the system, so that messages that are taken later find the new
/// instances.
const DEPLOY_AHEAD_NS: i64 = 600 * SECOND_NS;

/// How many exports of an instance come with a line of its log that belongs to no request.
const IDLE_LOG_SHARE: f64 = 0.2;

/// The simulation: an iterator of [`Portion`]s, one for each second, in order.
pub struct Simulator {
    settings: Settings,
    /// The beginning of the next second.
    now_ns: i64,
    /// When no more requests begin.
    end_ns: i64,
    traffic: Traffic,
    faults: Vec<Fault>,
    deploys: Vec<Deploy>,
    /// Deploys that are due later, ordered.
    deploys_due: Vec<(i64, usize)>,
    /// Cycles of faults drawn so far.
    cycles: u64,
    /// Messages that wait, by the operation that is to work on them.
    waiting: BTreeMap<usize, i64>,
}

impl Simulator {
    /// Begins a simulation.
    ///
    /// # Errors
    /// A setting out of its range; a fault that the system cannot have.
    pub fn new(settings: Settings) -> Result<Self, SimulateError> {
        let rate = settings.requests_per_second;
        if !(REQUESTS_PER_SECOND_MIN..=REQUESTS_PER_SECOND_MAX).contains(&rate) {
            return Err(SimulateError::Rate { rate });
        }
        let end_ns = end(&settings)?;
        let start_ns = settings.start_ns;
        let mut simulator = Simulator {
            now_ns: start_ns,
            end_ns,
            traffic: Traffic {
                chance: Chance::new(settings.seed, Use::Traffic, 0),
                pods: Pods::new(settings.seed, start_ns),
                effects: Effects::default(),
                pending: Pending::new(start_ns),
                edges: Edges::default(),
                queues: Queues::new(rate),
                load: 1.0,
            },
            faults: vec![],
            deploys: vec![],
            deploys_due: vec![],
            cycles: 0,
            waiting: BTreeMap::new(),
            settings,
        };
        match simulator.settings.faults.clone() {
            FaultPlan::None => {}
            FaultPlan::Exactly(requests) if requests.len() > FAULTS_MAX => {
                return Err(SimulateError::TooManyFaults { faults: requests.len() });
            }
            FaultPlan::Exactly(requests) => simulator.add(&requests)?,
            FaultPlan::Scheduled { cycle } if (CYCLE_MIN..=CYCLE_MAX).contains(&cycle) => {
                simulator.draw_cycle(cycle)?;
            }
            FaultPlan::Scheduled { cycle } => {
                return Err(SimulateError::Cycle { cycle_s: cycle.as_secs() });
            }
        }
        Ok(simulator)
    }

    /// The faults asked for; of scheduled ones those of all cycles that have begun. They are ordered by their start;
    /// none begins after the end of the simulation, or ends after it.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// The deploys that have begun.
    pub fn deploys(&self) -> &[Deploy] {
        let now = timestamp(self.now_ns);
        &self.deploys[..self.deploys.partition_point(|deploy| deploy.started_at <= now)]
    }

    /// The service map so far. Calls are counted when they begin; when the simulation is over all of them have ended.
    pub fn edges(&self) -> Vec<Edge> {
        self.traffic.edges.all()
    }

    /// The names of all services.
    pub fn services(&self) -> Vec<&'static str> {
        MODEL.services.iter().map(|service| service.spec.name).collect()
    }

    /// What was simulated so far, to measure a detector by.
    pub fn truth(&self) -> Truth<'_> {
        Truth {
            resource_spans: [],
            seed: self.settings.seed,
            started_at: timestamp(self.settings.start_ns),
            ended_at: timestamp(self.now_ns),
            requests_per_second: self.settings.requests_per_second,
            services: self.services(),
            faults: &self.faults,
            deploys: self.deploys(),
            edges: self.edges(),
        }
    }

    fn add(&mut self, requests: &[FaultRequest]) -> Result<(), SimulateError> {
        for request in requests {
            let effects = &mut self.traffic.effects;
            let mut effect = resolve::effect(request, self.settings.start_ns, effects.known())?;
            effect.until_ns = effect.until_ns.min(self.end_ns);
            if effect.from_ns >= effect.until_ns {
                match self.settings.faults {
                    // The last cycle may be cut short.
                    FaultPlan::Scheduled { .. } => continue,
                    _ => {
                        let target = request.target.clone();
                        return Err(SimulateError::NoTime { kind: request.kind, target });
                    }
                }
            }
            effects.add(effect);
            self.faults.push(resolve::fault(&effect, &request.target));
        }
        self.faults.sort_by_key(|fault| fault.started_at);
        Ok(())
    }

    fn draw_cycle(&mut self, cycle: Duration) -> Result<(), SimulateError> {
        let drawn = Cycle::draw(self.settings.seed, self.cycles, cycle);
        self.cycles += 1;
        let start_ns = self.settings.start_ns;
        self.deploys_due
            .extend(drawn.deploys.into_iter().map(|(at_ns, service)| (start_ns + at_ns, service)));
        self.add(&drawn.faults)
    }

    /// Draws the next cycle when it begins.
    fn extend_schedule(&mut self) {
        let FaultPlan::Scheduled { cycle } = self.settings.faults else { return };
        let begun_ns = i128::from(self.now_ns - self.settings.start_ns);
        if begun_ns >= cycle.as_nanos() as i128 * i128::from(self.cycles) && self.now_ns < self.end_ns {
            let drawn = self.draw_cycle(cycle);
            assert_eq!(drawn, Ok(()), "what is drawn fits the system");
        }
    }

    fn deploy(&mut self) {
        while let Some(&(at_ns, service)) = self.deploys_due.first() {
            if at_ns >= (self.now_ns + DEPLOY_AHEAD_NS).min(self.end_ns) {
                return;
            }
            self.deploys_due.remove(0);
            let spec = MODEL.services[service].spec;
            let (version_before, version) = self.traffic.pods.deploy(service, at_ns);
            let last_ns = at_ns + ROLLING_NS * (spec.instances as i64 - 1) + COLD_NS;
            self.deploys.push(Deploy {
                service: spec.name.to_owned(),
                version_before,
                version,
                started_at: timestamp(at_ns),
                ended_at: timestamp(last_ns),
            });
        }
    }

    /// The requests that begin in this second.
    fn visits(&mut self) {
        let season = season::traffic(self.settings.seed, self.now_ns);
        let means: Vec<f64> = MODEL
            .visits
            .iter()
            .map(|visit| {
                let place = Place::Operation(visit.operation, MODEL.operations[visit.operation].service);
                season * visit.weight * self.traffic.effects.visitors(place, self.now_ns)
            })
            .collect();
        self.traffic.load = means.iter().sum();
        for (visit, mean) in MODEL.visits.iter().zip(means) {
            self.traffic.visit(visit.operation, self.now_ns, mean * self.settings.requests_per_second);
        }
        self.traffic.storm(self.now_ns);
    }

    /// Counts what ended, and has those instances export whose turn it is.
    fn measure(&mut self, ended: &Second) -> ExportMetricsServiceRequest {
        let clock_ns = self.now_ns + SECOND_NS;
        let pods = &mut self.traffic.pods;
        for served in &ended.served {
            let first = MODEL.services[MODEL.operations[served.operation].service].operations.start;
            if let Some(pod) = pods.get_mut(served.pod) {
                pod.metrics.served(first, served);
            }
        }
        for queried in &ended.queried {
            if let Some(pod) = pods.get_mut(queried.pod) {
                pod.metrics.queried(queried.store, queried.duration_ns);
            }
        }
        for (operation, more) in &ended.waiting {
            *self.waiting.entry(*operation).or_default() += more;
        }
        let turn = (clock_ns / SECOND_NS).rem_euclid(EXPORT_SECONDS);
        let mut resource_metrics = vec![];
        let mut killed = vec![];
        for (id, pod) in pods.running(clock_ns).filter(|(_, pod)| pod.export_second == turn) {
            let surroundings = Surroundings {
                clock_ns,
                load: self.traffic.load,
                leak: self.traffic.effects.leak(pod.service, clock_ns),
                noise: self.traffic.chance.between(-1.0, 1.0),
                waiting: &self.waiting,
            };
            let (metrics, is_killed) = metrics::export(pod, &surroundings);
            killed.extend(is_killed.then_some(id));
            resource_metrics.push(ResourceMetrics {
                resource: Some(pod.resource.clone()),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(pod.scope.clone()),
                    metrics,
                    schema_url: String::new(),
                }],
                schema_url: String::new(),
            });
        }
        for id in killed {
            let line = "container was killed: out of memory; starting again".to_owned();
            self.traffic.log(id, clock_ns, Severity::Error, line, None);
        }
        ExportMetricsServiceRequest { resource_metrics }
    }

    /// Lines that belong to no request.
    fn idle_logs(&mut self) {
        let clock_ns = self.now_ns + SECOND_NS;
        let turn = (clock_ns / SECOND_NS).rem_euclid(EXPORT_SECONDS);
        let running = self.traffic.pods.running(clock_ns);
        let turns: Vec<(PodId, usize)> =
            running.filter(|(_, p)| p.export_second == turn).map(|(id, p)| (id, p.service)).collect();
        for (id, service) in turns {
            if self.traffic.chance.happens(IDLE_LOG_SHARE) {
                let at_ns = self.now_ns + (self.traffic.chance.unit() * SECOND_NS as f64) as i64;
                let text = &MODEL.services[service].idle_log;
                let line = text.line(&mut self.traffic.chance, Facts::default());
                self.traffic.log(id, at_ns, Severity::Info, line, None);
            }
        }
    }
}

impl Iterator for Simulator {
    type Item = Portion;

    fn next(&mut self) -> Option<Portion> {
        if self.now_ns >= self.end_ns && self.traffic.pending.is_empty() {
            return None;
        }
        self.extend_schedule();
        self.traffic.effects.advance(self.now_ns);
        self.deploy();
        if self.now_ns < self.end_ns {
            self.visits();
            self.idle_logs();
        }
        let ended = self.traffic.pending.next();
        let metrics = self.measure(&ended);
        let pods = &mut self.traffic.pods;
        let (traces, logs) = (second::traces(ended.spans, pods), second::logs(ended.logs, pods));
        self.now_ns += SECOND_NS;
        pods.forget(self.now_ns, |id| self.traffic.pending.holds(id));
        Some(Portion { clock_ns: self.now_ns, traces, metrics, logs })
    }
}

/// When no more requests begin.
fn end(settings: &Settings) -> Result<i64, SimulateError> {
    let end_ns = match settings.duration {
        None => END_NS_MAX,
        Some(duration) if duration < Duration::from_secs(1) || duration > DURATION_MAX => {
            return Err(SimulateError::Duration { duration_s: duration.as_secs_f64() });
        }
        Some(duration) => {
            let seconds = duration.as_nanos().div_ceil(SECOND_NS as u128) as i64;
            settings.start_ns.saturating_add(seconds * SECOND_NS)
        }
    };
    let is_possible = settings.start_ns > 0 && settings.start_ns < end_ns && end_ns <= END_NS_MAX;
    is_possible.then_some(end_ns).ok_or(SimulateError::Time)
}
