//! What the tests share: simulations, and what is told in them as plain lists.

use std::collections::BTreeMap;
use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::trace::v1::Span;

use crate::simulate::{FaultPlan, Portion, Settings, Simulator};

/// Settings of a simulation that lasts `seconds`, with these faults and no others.
pub fn settings(seconds: u64, requests_per_second: f64, faults: &[&str]) -> Settings {
    let faults = match faults {
        [] => FaultPlan::None,
        faults => FaultPlan::Exactly(faults.iter().map(|f| f.parse().unwrap()).collect()),
    };
    // Half past nine: about as much traffic as on average.
    let start_ns = crate::simulate::START_NS_DEFAULT + 34_200 * 1_000_000_000;
    Settings { seed: 5, start_ns, duration: Some(Duration::from_secs(seconds)), requests_per_second, faults }
}

/// All that a simulation tells.
pub struct Told {
    pub simulator: Simulator,
    pub portions: Vec<Portion>,
}

impl Told {
    pub fn new(settings: Settings) -> Self {
        let mut simulator = Simulator::new(settings).unwrap();
        let portions = simulator.by_ref().collect();
        Told { simulator, portions }
    }

    /// Spans, each with the service that it is of.
    pub fn spans(&self) -> Vec<(&str, &Span)> {
        let groups = self.portions.iter().flat_map(|p| &p.traces.resource_spans);
        let spans = groups.flat_map(|group| {
            let service = attribute(&group.resource.as_ref().unwrap().attributes, "service.name").unwrap();
            group.scope_spans.iter().flat_map(|s| &s.spans).map(move |span| (service, span))
        });
        spans.collect()
    }

    /// Spans by id.
    pub fn by_id(&self) -> BTreeMap<&[u8], (&str, &Span)> {
        self.spans().into_iter().map(|(service, span)| (span.span_id.as_slice(), (service, span))).collect()
    }

    /// Log records, each with the service that it is of.
    pub fn logs(&self) -> Vec<(&str, &LogRecord)> {
        let groups = self.portions.iter().flat_map(|p| &p.logs.resource_logs);
        let records = groups.flat_map(|group| {
            let service = attribute(&group.resource.as_ref().unwrap().attributes, "service.name").unwrap();
            group.scope_logs.iter().flat_map(|s| &s.log_records).map(move |record| (service, record))
        });
        records.collect()
    }

    /// Metrics with the resource attribute `key` of the instance that they are of, and the time of the export.
    pub fn metrics(&self, key: &str) -> Vec<(i64, &str, &Metric)> {
        let mut metrics = vec![];
        for portion in &self.portions {
            for group in &portion.metrics.resource_metrics {
                let of = attribute(&group.resource.as_ref().unwrap().attributes, key).unwrap();
                let all = group.scope_metrics.iter().flat_map(|s| &s.metrics);
                metrics.extend(all.map(|metric| (portion.clock_ns, of, metric)));
            }
        }
        metrics
    }

    /// The values of a gauge or sum, by instance of `service`, in the order of time, the points of an export added up.
    pub fn values(&self, service: &str, name: &str) -> BTreeMap<&str, Vec<f64>> {
        let services = self.metrics("service.name");
        let mut values: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for ((_, of, metric), (_, instance, _)) in services.into_iter().zip(self.metrics("k8s.pod.name")) {
            if of == service && metric.name == name {
                values.entry(instance).or_default().push(total(metric));
            }
        }
        values
    }
}

fn total(metric: &Metric) -> f64 {
    let points = match metric.data.as_ref().unwrap() {
        Data::Gauge(gauge) => &gauge.data_points,
        Data::Sum(sum) => &sum.data_points,
        other => panic!("{other:?} has no single values"),
    };
    let value = |value: &Value| match value {
        Value::AsDouble(double) => *double,
        Value::AsInt(integer) => *integer as f64,
    };
    points.iter().map(|p| value(p.value.as_ref().unwrap())).sum()
}

/// A text among attributes.
pub fn attribute<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let found = attributes.iter().find(|a| a.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text),
        _ => None,
    }
}

/// An integer among attributes.
pub fn integer(attributes: &[KeyValue], key: &str) -> Option<i64> {
    let found = attributes.iter().find(|a| a.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        any_value::Value::IntValue(integer) => Some(*integer),
        _ => None,
    }
}

pub fn duration_ms(span: &Span) -> f64 {
    (span.end_time_unix_nano - span.start_time_unix_nano) as f64 / 1e6
}

pub fn is_error(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code == 2)
}

pub fn average(values: impl IntoIterator<Item = f64>) -> f64 {
    let values: Vec<f64> = values.into_iter().collect();
    values.iter().sum::<f64>() / values.len() as f64
}
