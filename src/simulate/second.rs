//! What is told of each second: spans and logs wait here for the second in which they end.

use std::collections::{BTreeMap, VecDeque};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};

use super::pods::{PodId, Pods};
use super::season::SECOND_NS;

/// All that ends in one second.
#[derive(Default)]
pub(super) struct Second {
    pub spans: BTreeMap<PodId, Vec<Span>>,
    pub logs: BTreeMap<PodId, Vec<LogRecord>>,
    pub served: Vec<Served>,
    pub queried: Vec<Queried>,
    /// For operations that work on messages: messages that came, less those that were taken.
    pub waiting: Vec<(usize, i64)>,
}

/// An operation that was carried out.
pub(super) struct Served {
    pub pod: PodId,
    pub operation: usize,
    pub is_error: bool,
    pub duration_ns: i64,
}

/// A connection to a store that was used.
pub(super) struct Queried {
    pub pod: PodId,
    pub store: usize,
    pub duration_ns: i64,
}

/// The seconds to come.
pub(super) struct Pending {
    /// When the first of them begins.
    begin_ns: i64,
    seconds: VecDeque<Second>,
}

impl Pending {
    pub fn new(begin_ns: i64) -> Self {
        Pending { begin_ns, seconds: VecDeque::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.seconds.is_empty()
    }

    /// The second that `at_ns` is in.
    pub fn at(&mut self, at_ns: i64) -> &mut Second {
        assert!(at_ns >= self.begin_ns, "{at_ns} is before the current second");
        let index = ((at_ns - self.begin_ns) / SECOND_NS) as usize;
        while self.seconds.len() <= index {
            self.seconds.push_back(Second::default());
        }
        &mut self.seconds[index]
    }

    /// The first second, which is over.
    pub fn next(&mut self) -> Second {
        self.begin_ns += SECOND_NS;
        self.seconds.pop_front().unwrap_or_default()
    }

    /// Whether something of `pod` is still to be told.
    pub fn holds(&self, pod: PodId) -> bool {
        self.seconds.iter().any(|s| s.spans.contains_key(&pod) || s.logs.contains_key(&pod))
    }
}

/// The spans of one second as a request.
pub(super) fn traces(spans: BTreeMap<PodId, Vec<Span>>, pods: &Pods) -> ExportTraceServiceRequest {
    let resource_spans = spans.into_iter().map(|(id, spans)| {
        let pod = pods.get(id);
        ResourceSpans {
            resource: Some(pod.resource.clone()),
            scope_spans: vec![ScopeSpans {
                scope: Some(pod.scope.clone()),
                spans,
                schema_url: String::new(),
            }],
            schema_url: String::new(),
        }
    });
    ExportTraceServiceRequest { resource_spans: resource_spans.collect() }
}

/// The log records of one second as a request.
pub(super) fn logs(records: BTreeMap<PodId, Vec<LogRecord>>, pods: &Pods) -> ExportLogsServiceRequest {
    let resource_logs = records.into_iter().map(|(id, log_records)| {
        let pod = pods.get(id);
        ResourceLogs {
            resource: Some(pod.resource.clone()),
            scope_logs: vec![ScopeLogs {
                scope: Some(pod.scope.clone()),
                log_records,
                schema_url: String::new(),
            }],
            schema_url: String::new(),
        }
    });
    ExportLogsServiceRequest { resource_logs: resource_logs.collect() }
}
