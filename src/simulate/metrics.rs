//! What each instance measures of itself and exports now and then.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
    number_data_point,
};

use super::effect::Effect;
use super::model::{MODEL, Operation, Protocol, integer, text};
use super::pods::{EXPORT_SECONDS, Pod};
use super::season::SECOND_NS;
use super::second::Served;
use super::shop::STORES;

/// Bounds of the buckets of durations, in seconds: those that OpenTelemetry recommends.
const BOUNDS_S: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// Connections that an instance may have to a store.
const POOL_SIZE: i64 = 20;

/// An instance is killed when it uses this many times the memory it needs.
const MEMORY_LIMIT_FACTOR: f64 = 2.5;

const MIB_BYTES: f64 = (1 << 20) as f64;

/// What an instance has counted since it began.
pub(super) struct PodMetrics {
    started_ns: i64,
    /// When it began to count: again after each restart.
    counting_since_ns: i64,
    /// Two for each operation of the service: of requests that went well, and of those that failed.
    durations: Vec<[Durations; 2]>,
    /// Time for which connections were used since the last export, by store, in nanoseconds.
    pools: BTreeMap<usize, i64>,
    /// The end of the leak it suffers from.
    leaks_until_ns: Option<i64>,
}

#[derive(Clone, Default)]
struct Durations {
    buckets: [u64; BOUNDS_S.len() + 1],
    sum_ns: i64,
}

impl Durations {
    fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// What is measured from outside of the instance.
pub(super) struct Surroundings<'a> {
    pub clock_ns: i64,
    /// Traffic as a multiple of its average.
    pub load: f64,
    /// The memory leak of the service.
    pub leak: Option<&'a Effect>,
    /// A number from -1 to 1 for what is never the same.
    pub noise: f64,
    /// Messages that wait, by operation.
    pub waiting: &'a BTreeMap<usize, i64>,
}

impl PodMetrics {
    pub fn new(service: usize, started_ns: i64) -> Self {
        let operations = MODEL.services[service].operations.len();
        PodMetrics {
            started_ns,
            counting_since_ns: started_ns,
            durations: vec![Default::default(); operations],
            // A pool is open before it is used.
            pools: stores_of(service).map(|store| (store, 0)).collect(),
            leaks_until_ns: None,
        }
    }

    pub fn served(&mut self, first_operation: usize, served: &Served) {
        let durations = &mut self.durations[served.operation - first_operation][usize::from(served.is_error)];
        let seconds = served.duration_ns as f64 / SECOND_NS as f64;
        durations.buckets[BOUNDS_S.partition_point(|bound| *bound < seconds)] += 1;
        durations.sum_ns += served.duration_ns;
    }

    pub fn queried(&mut self, store: usize, duration_ns: i64) {
        *self.pools.entry(store).or_default() += duration_ns;
    }

    /// The process starts again: its counts begin at zero.
    fn restart(&mut self, at_ns: i64) {
        self.counting_since_ns = at_ns;
        self.durations.iter_mut().for_each(|d| *d = Default::default());
    }

    /// Bytes lost to `leak`. Starts the process again when it was killed for it, or when the leak was mended; true
    /// when it was killed.
    fn leaked(&mut self, leak: Option<&Effect>, bias: f64, memory_mib: f64, clock_ns: i64) -> (f64, bool) {
        let Some(leak) = leak else {
            if let Some(mended_ns) = self.leaks_until_ns.take() {
                self.restart(mended_ns);
            }
            return (0.0, false);
        };
        self.leaks_until_ns = Some(leak.until_ns);
        let mib_per_ns = leak.strength * bias / (60.0 * SECOND_NS as f64);
        let life_ns = (memory_mib * (MEMORY_LIMIT_FACTOR - 1.0) / mib_per_ns) as i64;
        let first_ns = leak.from_ns.max(self.started_ns);
        let lives = (clock_ns - first_ns) / life_ns.max(1);
        let began_ns = first_ns + lives * life_ns;
        let is_killed = lives > 0 && began_ns > self.counting_since_ns;
        if is_killed {
            self.restart(began_ns);
        }
        ((clock_ns - began_ns) as f64 * mib_per_ns * MIB_BYTES, is_killed)
    }
}

fn stores_of(service: usize) -> impl Iterator<Item = usize> {
    let operations = &MODEL.operations[MODEL.services[service].operations.clone()];
    let requests = operations.iter().flat_map(|o| o.stages.iter().flatten());
    requests.filter_map(|r| match r.to {
        super::model::Target::Query(query) => Some(MODEL.queries[query].store),
        _ => None,
    })
}

/// The metrics of `pod`, and whether it was killed since the last time.
pub(super) fn export(pod: &mut Pod, around: &Surroundings) -> (Vec<Metric>, bool) {
    let memory_mib = f64::from(MODEL.services[pod.service].spec.memory_mib);
    let (leaked, is_killed) = pod.metrics.leaked(around.leak, pod.bias, memory_mib, around.clock_ns);
    let points = Points { since_ns: pod.metrics.counting_since_ns as u64, at_ns: around.clock_ns as u64 };
    let busy = around.load * pod.bias + 0.1 * around.noise;
    let memory =
        memory_mib * MIB_BYTES * pod.bias * (1.0 + 0.02 * around.load + 0.01 * around.noise) + leaked;
    // A heap that is nearly full is collected over and over.
    let collecting = 0.3 * leaked / (memory_mib * MIB_BYTES * MEMORY_LIMIT_FACTOR);
    let cpu = (0.06 + 0.22 * busy + collecting).clamp(0.01, 1.0);
    let mut metrics = duration_metrics(pod, &points);
    metrics.push(gauge("process.memory.usage", "By", vec![points.integer(vec![], memory as i64)]));
    // Four digits are what such gauges are good for.
    let cpu = (cpu * 10_000.0).floor() / 10_000.0;
    metrics.push(gauge("process.cpu.utilization", "1", vec![points.double(vec![], cpu)]));
    metrics.extend(lag(pod, around, &points));
    metrics.extend(connections(pod, &points));
    (metrics, is_killed)
}

/// One histogram for each protocol by which requests come, and a counter of them all.
fn duration_metrics(pod: &Pod, points: &Points) -> Vec<Metric> {
    let first = MODEL.services[pod.service].operations.start;
    let mut by_protocol: [(&str, Protocol, Vec<HistogramDataPoint>); 3] = [
        ("http.server.request.duration", Protocol::Http, vec![]),
        ("rpc.server.call.duration", Protocol::Grpc, vec![]),
        ("messaging.process.duration", Protocol::Kafka, vec![]),
    ];
    let mut requests = [0, 0];
    for (index, outcomes) in pod.metrics.durations.iter().enumerate() {
        let protocol = MODEL.operations[first + index].answer.protocol;
        for (is_error, durations) in outcomes.iter().enumerate().filter(|(_, d)| d.count() > 0) {
            requests[is_error] += durations.count() as i64;
            let attributes = METRIC_ATTRIBUTES[first + index][is_error].clone();
            for (.., list) in by_protocol.iter_mut().filter(|(_, p, _)| *p == protocol) {
                list.push(points.histogram(attributes.clone(), durations));
            }
        }
    }
    let mut metrics = vec![];
    for (name, _, data_points) in by_protocol.into_iter().filter(|(.., list)| !list.is_empty()) {
        let aggregation_temporality = AggregationTemporality::Cumulative.into();
        metrics.push(metric(name, "s", Data::Histogram(Histogram { data_points, aggregation_temporality })));
    }
    let outcome = |name, count| points.integer(vec![text("outcome", name)], count);
    let counts = vec![outcome("success", requests[0]), outcome("failure", requests[1])];
    metrics.push(sum("app.requests", "{request}", true, counts));
    metrics
}

/// Messages that wait for the consumers of a service; each instance has its share of them, a partition.
fn lag(pod: &Pod, around: &Surroundings, points: &Points) -> Option<Metric> {
    let service = &MODEL.services[pod.service];
    let consumers = service.operations.clone().filter_map(|o| match MODEL.operations[o].spec.entry {
        super::spec::Entry::Consume { topic } => Some((o, topic)),
        _ => None,
    });
    let lag = consumers.map(|(operation, topic)| {
        let waiting = around.waiting.get(&operation).copied().unwrap_or(0).max(0);
        let share = (waiting + pod.slot as i64) / service.spec.instances as i64;
        let attributes = vec![
            text("messaging.consumer.group.name", service.spec.name),
            text("messaging.destination.name", topic),
            text("messaging.destination.partition.id", &pod.slot.to_string()),
        ];
        points.integer(attributes, share)
    });
    let lag: Vec<_> = lag.collect();
    (!lag.is_empty()).then(|| gauge("kafka.consumer_group.lag", "{message}", lag))
}

/// Connections to stores: on average so many were used since the last export.
fn connections(pod: &mut Pod, points: &Points) -> Option<Metric> {
    let mut counts = vec![];
    for (store, busy_ns) in &mut pod.metrics.pools {
        let window_ns = EXPORT_SECONDS * SECOND_NS;
        let used = (std::mem::take(busy_ns) + window_ns - 1).div_euclid(window_ns).min(POOL_SIZE);
        for (state, count) in [("used", used), ("idle", POOL_SIZE - used)] {
            let attributes = vec![
                text("db.client.connection.pool.name", STORES[*store].name),
                text("db.client.connection.state", state),
            ];
            counts.push(points.integer(attributes, count));
        }
    }
    (!counts.is_empty()).then(|| sum("db.client.connection.count", "{connection}", false, counts))
}

/// What all points of an export have in common.
struct Points {
    since_ns: u64,
    at_ns: u64,
}

impl Points {
    fn number(&self, attributes: Vec<KeyValue>, value: number_data_point::Value) -> NumberDataPoint {
        NumberDataPoint {
            attributes,
            start_time_unix_nano: self.since_ns,
            time_unix_nano: self.at_ns,
            value: Some(value),
            ..NumberDataPoint::default()
        }
    }

    fn integer(&self, attributes: Vec<KeyValue>, value: i64) -> NumberDataPoint {
        self.number(attributes, number_data_point::Value::AsInt(value))
    }

    fn double(&self, attributes: Vec<KeyValue>, value: f64) -> NumberDataPoint {
        self.number(attributes, number_data_point::Value::AsDouble(value))
    }

    fn histogram(&self, attributes: Vec<KeyValue>, durations: &Durations) -> HistogramDataPoint {
        HistogramDataPoint {
            attributes,
            start_time_unix_nano: self.since_ns,
            time_unix_nano: self.at_ns,
            count: durations.count(),
            sum: Some(durations.sum_ns as f64 / SECOND_NS as f64),
            bucket_counts: durations.buckets.to_vec(),
            explicit_bounds: BOUNDS_S.to_vec(),
            ..HistogramDataPoint::default()
        }
    }
}

/// For each operation the attributes of its durations when it went well, and when it failed.
static METRIC_ATTRIBUTES: LazyLock<Vec<[Vec<KeyValue>; 2]>> =
    LazyLock::new(|| MODEL.operations.iter().map(|o| [attributes(o, false), attributes(o, true)]).collect());

fn attributes(operation: &Operation, is_error: bool) -> Vec<KeyValue> {
    const KEYS: [&str; 8] = [
        "http.request.method",
        "http.route",
        "url.scheme",
        "rpc.system",
        "rpc.service",
        "rpc.method",
        "messaging.system",
        "messaging.destination.name",
    ];
    let shared = operation.answer.attributes.iter();
    let mut attributes: Vec<_> = shared.filter(|a| KEYS.contains(&a.key.as_str())).cloned().collect();
    match operation.answer.protocol {
        Protocol::Http => {
            attributes.push(integer("http.response.status_code", if is_error { 500 } else { 200 }))
        }
        Protocol::Grpc => attributes.push(integer("rpc.grpc.status_code", if is_error { 13 } else { 0 })),
        Protocol::Kafka if is_error => attributes.push(text("error.type", operation.spec.exception.0)),
        _ => {}
    }
    attributes
}

fn gauge(name: &str, unit: &str, data_points: Vec<NumberDataPoint>) -> Metric {
    metric(name, unit, Data::Gauge(Gauge { data_points }))
}

fn sum(name: &str, unit: &str, is_monotonic: bool, data_points: Vec<NumberDataPoint>) -> Metric {
    let aggregation_temporality = AggregationTemporality::Cumulative.into();
    metric(name, unit, Data::Sum(Sum { data_points, aggregation_temporality, is_monotonic }))
}

fn metric(name: &str, unit: &str, data: Data) -> Metric {
    Metric { name: name.to_owned(), unit: unit.to_owned(), data: Some(data), ..Metric::default() }
}
