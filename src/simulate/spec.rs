//! The words in which a system of services is described: see [`super::shop`].

/// A program with several instances.
pub(super) struct Service {
    pub name: &'static str,
    /// As `telemetry.sdk.language` has it.
    pub language: &'static str,
    pub version: [u16; 3],
    pub instances: usize,
    /// What an instance uses when it is well.
    pub memory_mib: u32,
    pub operations: &'static [Operation],
    /// What it logs now and then outside of requests.
    pub idle_log: &'static str,
    /// What it logs over and over during a log storm.
    pub storm_log: &'static str,
}

/// Something a service does when asked.
pub(super) struct Operation {
    pub entry: Entry,
    /// Half of all requests need less than this, calls to others not counted.
    pub median_ms: f64,
    /// Standard deviation of the logarithm of that.
    pub spread: f64,
    /// The share of requests that fail by themselves.
    pub error_share: f64,
    pub steps: &'static [Step],
    /// What is logged at the end, and for what share of requests.
    pub log: (&'static str, f64),
    /// Type and message of the exception when it fails.
    pub exception: (&'static str, &'static str),
}

/// How an operation is asked for.
#[derive(Clone, Copy)]
pub(super) enum Entry {
    Http { method: &'static str, route: &'static str },
    Grpc { service: &'static str, method: &'static str },
    Consume { topic: &'static str },
}

/// One thing after the other within an operation.
pub(super) enum Step {
    /// Work worth a span of its own: its name and the median of its duration.
    Internal(&'static str, f64),
    One(Call),
    /// All at the same time.
    Together(&'static [Call]),
}

/// A request to somebody else.
#[derive(Clone, Copy)]
pub(super) struct Call {
    pub to: Callee,
    /// The share of requests that make it.
    pub share: f64,
    /// Tries until it is given up.
    pub attempts: u32,
    /// Whether the caller fails with it.
    pub is_required: bool,
}

#[derive(Clone, Copy)]
pub(super) enum Callee {
    /// A service, and the name of one of its operations.
    Operation(&'static str, &'static str),
    /// A store, the operation, what it is done to, the text of the query, and the median of its duration.
    Query(&'static str, &'static str, &'static str, &'static str, f64),
    /// An interface outside of the system, and method and route.
    Api(&'static str, &'static str, &'static str),
    /// A topic that a message is sent to.
    Topic(&'static str),
}

/// A database or cache that reports nothing itself.
pub(super) struct Store {
    pub name: &'static str,
    pub system: &'static str,
    pub namespace: &'static str,
    pub port: i64,
}

/// A service of somebody else, reached by HTTP.
pub(super) struct Api {
    pub name: &'static str,
    pub address: &'static str,
    pub median_ms: f64,
    pub spread: f64,
}

/// Requests from outside, and their share of all traffic.
pub(super) struct Visit {
    pub service: &'static str,
    pub operation: &'static str,
    pub weight: f64,
}

pub(super) const fn call(service: &'static str, operation: &'static str) -> Call {
    to(Callee::Operation(service, operation))
}

pub(super) const fn query(
    store: &'static str,
    operation: &'static str,
    collection: &'static str,
    text: &'static str,
    median_ms: f64,
) -> Call {
    to(Callee::Query(store, operation, collection, text, median_ms))
}

pub(super) const fn api(name: &'static str, method: &'static str, route: &'static str) -> Call {
    to(Callee::Api(name, method, route))
}

pub(super) const fn publish(topic: &'static str) -> Call {
    to(Callee::Topic(topic))
}

const fn to(to: Callee) -> Call {
    Call { to, share: 1.0, attempts: 1, is_required: true }
}

impl Call {
    /// Made by a share of the requests only.
    pub const fn in_share(self, share: f64) -> Self {
        Call { share, ..self }
    }

    /// Tried again when it fails.
    pub const fn tried(self, attempts: u32) -> Self {
        Call { attempts, ..self }
    }

    /// The caller does without when it fails.
    pub const fn optional(self) -> Self {
        Call { is_required: false, ..self }
    }
}
