//! Portions cut into requests that every receiver takes, and counted.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};

use crate::simulate::Portion;

/// Spans or log records in one request. They stay well below the 4 MiB that gRPC servers take by default.
const RECORDS_IN_REQUEST_MAX: usize = 4_096;

/// How much was simulated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Seconds of simulated time.
    pub seconds: u64,
    /// Spans.
    pub spans: u64,
    /// Data points of metrics.
    pub points: u64,
    /// Log records.
    pub records: u64,
    /// Bytes written to the disk, or sent before compression.
    pub bytes: u64,
}

impl Counts {
    pub fn add(&mut self, portion: &Portion) {
        self.seconds += 1;
        let scopes = portion.traces.resource_spans.iter().flat_map(|r| &r.scope_spans);
        self.spans += scopes.map(|s| s.spans.len() as u64).sum::<u64>();
        let scopes = portion.metrics.resource_metrics.iter().flat_map(|r| &r.scope_metrics);
        self.points += scopes.flat_map(|s| &s.metrics).map(|m| points(m.data.as_ref())).sum::<u64>();
        let scopes = portion.logs.resource_logs.iter().flat_map(|r| &r.scope_logs);
        self.records += scopes.map(|s| s.log_records.len() as u64).sum::<u64>();
    }
}

fn points(data: Option<&Data>) -> u64 {
    (match data {
        Some(Data::Gauge(gauge)) => gauge.data_points.len(),
        Some(Data::Sum(sum)) => sum.data_points.len(),
        Some(Data::Histogram(histogram)) => histogram.data_points.len(),
        Some(Data::ExponentialHistogram(histogram)) => histogram.data_points.len(),
        Some(Data::Summary(summary)) => summary.data_points.len(),
        None => 0,
    }) as u64
}

/// The requests of a portion; none is empty.
pub(super) struct Requests {
    pub traces: Vec<ExportTraceServiceRequest>,
    pub metrics: Vec<ExportMetricsServiceRequest>,
    pub logs: Vec<ExportLogsServiceRequest>,
}

impl Requests {
    pub fn new(portion: Portion) -> Self {
        let groups = portion.traces.resource_spans.into_iter().flat_map(|group| {
            let (resource, schema_url) = (group.resource, group.schema_url);
            group.scope_spans.into_iter().flat_map(move |scope| {
                let (resource, schema_url) = (resource.clone(), schema_url.clone());
                let (scope, url) = (scope.scope, (scope.schema_url, scope.spans));
                pieces(url.1).into_iter().map(move |spans| {
                    let size = spans.len();
                    let schema = url.0.clone();
                    let scope_spans = vec![ScopeSpans { scope: scope.clone(), spans, schema_url: schema }];
                    let resource = resource.clone();
                    (size, ResourceSpans { resource, scope_spans, schema_url: schema_url.clone() })
                })
            })
        });
        let traces =
            packed(groups).into_iter().map(|resource_spans| ExportTraceServiceRequest { resource_spans });
        let groups = portion.logs.resource_logs.into_iter().flat_map(|group| {
            let (resource, schema_url) = (group.resource, group.schema_url);
            group.scope_logs.into_iter().flat_map(move |scope| {
                let (resource, schema_url) = (resource.clone(), schema_url.clone());
                let (scope, url) = (scope.scope, (scope.schema_url, scope.log_records));
                pieces(url.1).into_iter().map(move |log_records| {
                    let size = log_records.len();
                    let schema = url.0.clone();
                    let scope_logs =
                        vec![ScopeLogs { scope: scope.clone(), log_records, schema_url: schema }];
                    let resource = resource.clone();
                    (size, ResourceLogs { resource, scope_logs, schema_url: schema_url.clone() })
                })
            })
        });
        let logs = packed(groups).into_iter().map(|resource_logs| ExportLogsServiceRequest { resource_logs });
        let has_metrics = !portion.metrics.resource_metrics.is_empty();
        Requests {
            traces: traces.collect(),
            metrics: has_metrics.then_some(portion.metrics).into_iter().collect(),
            logs: logs.collect(),
        }
    }
}

/// Records of one instance in pieces that fit into a request.
fn pieces<T>(mut records: Vec<T>) -> Vec<Vec<T>> {
    let mut pieces = vec![];
    while records.len() > RECORDS_IN_REQUEST_MAX {
        let rest = records.split_off(RECORDS_IN_REQUEST_MAX);
        pieces.push(std::mem::replace(&mut records, rest));
    }
    pieces.push(records);
    pieces
}

/// Groups of known sizes, so many together as fit into a request.
fn packed<T>(groups: impl Iterator<Item = (usize, T)>) -> Vec<Vec<T>> {
    let mut requests: Vec<Vec<T>> = vec![];
    let mut size = 0;
    for (more, group) in groups {
        match requests.last_mut() {
            Some(last) if size + more <= RECORDS_IN_REQUEST_MAX => {
                last.push(group);
                size += more;
            }
            _ => {
                requests.push(vec![group]);
                size = more;
            }
        }
    }
    requests
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_when_portions_are_cut() {
        let spans: Vec<usize> = (0..2 * RECORDS_IN_REQUEST_MAX + 5).collect();
        let cut = pieces(spans.clone());
        assert_eq!(cut.iter().map(Vec::len).max(), Some(RECORDS_IN_REQUEST_MAX));
        assert_eq!(cut.concat(), spans);
        let groups = [3_000, 1_000, 96, 1, 4_096, 10].map(|size| (size, size));
        let requests = packed(groups.into_iter());
        assert_eq!(requests, [vec![3_000, 1_000, 96], vec![1], vec![4_096], vec![10]]);
    }
}
