//! The described system made ready: names resolved to numbers, attributes of spans built once.

use std::sync::LazyLock;

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::chance::LogNormal;
use super::log_text::LogText;
use super::shop::{APIS, SERVICES, STORES, VISITS};
use super::spec::{self, Call, Entry, Step};

/// Standard deviation of the logarithm of the duration of queries and of steps inside a service.
const SPREAD: f64 = 0.35;

/// The system. It does not depend on settings.
pub(super) static MODEL: LazyLock<Model> = LazyLock::new(Model::new);

pub(super) struct Model {
    pub services: Vec<Service>,
    pub operations: Vec<Operation>,
    /// For each store its lookup, then all other queries.
    pub queries: Vec<Query>,
    pub apis: Vec<Api>,
    pub internals: Vec<Internal>,
    pub topics: Vec<Topic>,
    pub visits: Vec<Visit>,
    /// Time a request spends on the network, one way.
    pub network: LogNormal,
    /// Time a message spends in a topic.
    pub queueing: LogNormal,
}

pub(super) struct Service {
    pub spec: &'static spec::Service,
    /// The operations, which stand one behind the other.
    pub operations: std::ops::Range<usize>,
    pub idle_log: LogText,
    pub storm_log: LogText,
    pub retry_log: LogText,
    pub slow_log: LogText,
}

/// How a request is carried, which decides how its span tells its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http,
    Grpc,
    Kafka,
    Database,
    /// Not at all: a step inside a service.
    Inside,
}

pub(super) struct Operation {
    pub service: usize,
    pub name: String,
    pub spec: &'static spec::Operation,
    /// The span of the service that answers.
    pub answer: Template,
    /// The span of a caller.
    pub request: Template,
    pub self_time: LogNormal,
    /// One after the other; what is in one stage happens at the same time.
    pub stages: Vec<Vec<Request>>,
    pub done_log: LogText,
    pub failed_log: LogText,
    /// When somebody it called failed.
    pub lost_log: LogText,
}

/// A call of an operation.
pub(super) struct Request {
    pub to: Target,
    pub share: f64,
    pub attempts: u32,
    pub is_required: bool,
}

/// Where a call leads: the position in the list of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Operation(usize),
    Query(usize),
    Api(usize),
    Topic(usize),
    Internal(usize),
}

/// A step inside a service.
pub(super) struct Internal {
    pub template: Template,
    pub time: LogNormal,
}

pub(super) struct Query {
    pub store: usize,
    pub template: Template,
    pub time: LogNormal,
}

pub(super) struct Api {
    pub name: &'static str,
    /// Its position in [`APIS`].
    pub host: usize,
    pub template: Template,
    pub time: LogNormal,
}

pub(super) struct Topic {
    pub name: &'static str,
    pub template: Template,
    /// The operations that work on its messages.
    pub consumers: Vec<usize>,
    /// Until a message is accepted.
    pub time: LogNormal,
}

pub(super) struct Visit {
    pub operation: usize,
    pub weight: f64,
}

/// What all spans of one kind have in common.
pub(super) struct Template {
    pub name: String,
    pub kind: SpanKind,
    pub protocol: Protocol,
    pub attributes: Vec<KeyValue>,
}

pub(super) fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, any_value::Value::StringValue(value.to_owned()))
}

pub(super) fn integer(key: &str, value: i64) -> KeyValue {
    attribute(key, any_value::Value::IntValue(value))
}

fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), key_strindex: 0 }
}

impl Template {
    fn new(name: &str, kind: SpanKind, protocol: Protocol, attributes: Vec<KeyValue>) -> Self {
        Template { name: name.to_owned(), kind, protocol, attributes }
    }
}

impl Model {
    fn new() -> Self {
        let mut model = Model {
            services: vec![],
            operations: vec![],
            queries: STORES.iter().enumerate().map(|(store, spec)| lookup(store, spec)).collect(),
            apis: vec![],
            internals: vec![],
            topics: vec![],
            visits: vec![],
            network: LogNormal::new(0.25, 0.5),
            queueing: LogNormal::new(25.0, 0.6),
        };
        for spec in SERVICES {
            let first = model.operations.len();
            let service = model.services.len();
            model.operations.extend(spec.operations.iter().map(|o| operation(service, spec, o)));
            let operations = first..model.operations.len();
            model.services.push(Service {
                spec,
                operations,
                idle_log: LogText::new(spec.idle_log),
                storm_log: LogText::new(spec.storm_log),
                retry_log: LogText::new(
                    "request to {peer} failed on attempt {count}, trying again in {ms} ms",
                ),
                slow_log: LogText::new("slow request to {peer}: {ms} ms"),
            });
        }
        // Calls may lead to services that are described later.
        for index in 0..model.operations.len() {
            let steps = model.operations[index].spec.steps;
            model.operations[index].stages = steps.iter().map(|step| model.stage(step)).collect();
        }
        model.visits = VISITS
            .iter()
            .map(|v| Visit { operation: model.operation(v.service, v.operation), weight: v.weight })
            .collect();
        model
    }

    /// The number of the service called `name`.
    pub fn service(&self, name: &str) -> Option<usize> {
        self.services.iter().position(|s| s.spec.name == name)
    }

    fn operation(&self, service: &str, name: &str) -> usize {
        let found = self
            .operations
            .iter()
            .position(|o| self.services[o.service].spec.name == service && o.name == name);
        found.unwrap_or_else(|| panic!("no operation \"{name}\" of service \"{service}\""))
    }

    fn stage(&mut self, step: &'static Step) -> Vec<Request> {
        match step {
            Step::Internal(name, median_ms) => {
                let template = Template::new(name, SpanKind::Internal, Protocol::Inside, vec![]);
                let time = LogNormal::new(*median_ms, SPREAD);
                let to = Target::Internal(added(&mut self.internals, Internal { template, time }));
                vec![Request { to, share: 1.0, attempts: 1, is_required: true }]
            }
            Step::One(call) => vec![self.request(call)],
            Step::Together(calls) => calls.iter().map(|call| self.request(call)).collect(),
        }
    }

    fn request(&mut self, call: &Call) -> Request {
        let to = match call.to {
            spec::Callee::Operation(service, name) => Target::Operation(self.operation(service, name)),
            spec::Callee::Query(store, operation, collection, statement, median_ms) => {
                let store = position(STORES.iter().map(|s| s.name), store);
                Target::Query(added(
                    &mut self.queries,
                    query(store, operation, collection, statement, median_ms),
                ))
            }
            spec::Callee::Api(name, method, route) => {
                let host = position(APIS.iter().map(|a| a.name), name);
                Target::Api(added(&mut self.apis, api(host, method, route)))
            }
            spec::Callee::Topic(name) => {
                Target::Topic(match self.topics.iter().position(|t| t.name == name) {
                    Some(known) => known,
                    None => {
                        let topic = self.topic(name);
                        added(&mut self.topics, topic)
                    }
                })
            }
        };
        Request { to, share: call.share, attempts: call.attempts, is_required: call.is_required }
    }

    fn topic(&self, name: &'static str) -> Topic {
        let is_consumer = |o: &Operation| matches!(o.spec.entry, Entry::Consume { topic } if topic == name);
        let consumers = (0..self.operations.len()).filter(|&o| is_consumer(&self.operations[o])).collect();
        let mut attributes = messaging(name);
        attributes.extend([
            text("messaging.operation.name", "send"),
            text("messaging.operation.type", "send"),
            text("server.address", "kafka"),
            integer("server.port", 9092),
        ]);
        let template =
            Template::new(&format!("send {name}"), SpanKind::Producer, Protocol::Kafka, attributes);
        Topic { name, template, consumers, time: LogNormal::new(1.2, SPREAD) }
    }
}

fn position(mut names: impl Iterator<Item = &'static str>, name: &str) -> usize {
    names.position(|n| n == name).unwrap_or_else(|| panic!("nothing is called \"{name}\""))
}

fn added<T>(list: &mut Vec<T>, item: T) -> usize {
    list.push(item);
    list.len() - 1
}

fn messaging(topic: &str) -> Vec<KeyValue> {
    vec![text("messaging.system", "kafka"), text("messaging.destination.name", topic)]
}

fn operation(service: usize, owner: &'static spec::Service, spec: &'static spec::Operation) -> Operation {
    let (protocol, name, request_name, shared) = match spec.entry {
        Entry::Http { method, route } => {
            let name = format!("{method} {route}");
            (Protocol::Http, name.clone(), name, vec![text("http.request.method", method)])
        }
        Entry::Grpc { service, method } => {
            let name = format!("{service}/{method}");
            let shared =
                vec![text("rpc.system", "grpc"), text("rpc.service", service), text("rpc.method", method)];
            (Protocol::Grpc, name.clone(), name, shared)
        }
        Entry::Consume { topic } => {
            (Protocol::Kafka, format!("process {topic}"), String::new(), messaging(topic))
        }
    };
    let (answer, request) = ends(owner.name, spec.entry, shared);
    let kind = if protocol == Protocol::Kafka { SpanKind::Consumer } else { SpanKind::Server };
    Operation {
        service,
        spec,
        answer: Template::new(&name, kind, protocol, answer),
        request: Template::new(&request_name, SpanKind::Client, protocol, request),
        self_time: LogNormal::new(spec.median_ms, spec.spread),
        stages: vec![],
        done_log: LogText::new(spec.log.0),
        failed_log: LogText::new(&format!("{name} failed after {{ms}} ms: {}", spec.exception.1)),
        lost_log: LogText::new(&format!("{name} failed after {{ms}} ms: request to {{peer}} failed")),
        name,
    }
}

/// The attributes of both ends of a request to `service`: of the span that answers, and of the caller's.
fn ends(service: &str, entry: Entry, shared: Vec<KeyValue>) -> (Vec<KeyValue>, Vec<KeyValue>) {
    let (mut answer, mut request) = (shared.clone(), shared);
    let port = if matches!(entry, Entry::Grpc { .. }) { 9090 } else { 8080 };
    match entry {
        Entry::Http { route, .. } => {
            answer.extend([
                text("http.route", route),
                text("url.scheme", "http"),
                text("network.protocol.version", "1.1"),
            ]);
            request.extend([text("url.template", route), text("network.protocol.version", "1.1")]);
        }
        Entry::Grpc { .. } => {}
        Entry::Consume { .. } => {
            answer.extend([
                text("messaging.operation.name", "process"),
                text("messaging.operation.type", "process"),
                text("messaging.consumer.group.name", service),
            ]);
        }
    }
    if !matches!(entry, Entry::Consume { .. }) {
        let address = [text("server.address", service), integer("server.port", port)];
        answer.extend(address.clone());
        request.extend(address);
    }
    (answer, request)
}

fn query(store: usize, operation: &str, collection: &str, statement: &str, median_ms: f64) -> Query {
    let spec = &STORES[store];
    let attributes = vec![
        text("db.system.name", spec.system),
        text("db.namespace", spec.namespace),
        text("db.operation.name", operation),
        text("db.collection.name", collection),
        text("db.query.text", statement),
        text("server.address", spec.name),
        integer("server.port", spec.port),
    ];
    let template =
        Template::new(&format!("{operation} {collection}"), SpanKind::Client, Protocol::Database, attributes);
    Query { store, template, time: LogNormal::new(median_ms, SPREAD) }
}

/// A query that anybody could make.
fn lookup(store: usize, spec: &spec::Store) -> Query {
    let (operation, statement) = match spec.system {
        "redis" => ("GET", "GET entry:?"),
        "mongodb" => ("find", "{\"find\":\"entries\"}"),
        "elasticsearch" => ("search", "{\"query\":{\"match_all\":{}}}"),
        _ => ("SELECT", "SELECT id FROM entries WHERE key = ?"),
    };
    query(store, operation, "entries", statement, 1.5)
}

fn api(host: usize, method: &str, route: &str) -> Api {
    let spec = &APIS[host];
    let attributes = vec![
        text("http.request.method", method),
        text("url.template", route),
        text("server.address", spec.address),
        integer("server.port", 443),
        text("peer.service", spec.name),
        text("network.protocol.version", "2"),
    ];
    let template = Template::new(&format!("{method} {route}"), SpanKind::Client, Protocol::Http, attributes);
    Api { name: spec.name, host, template, time: LogNormal::new(spec.median_ms, spec.spread) }
}
