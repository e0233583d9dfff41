//! Valid requests made at random, in the types of `opentelemetry-proto`.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint,
    Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint, exemplar, metric,
    number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::NOW_NS;

/// Requests that are all valid, out of a random number generator.
pub(super) struct Made {
    pub(super) random: StdRng,
}

impl Made {
    pub(super) fn new(seed: u64) -> Made {
        Made { random: StdRng::seed_from_u64(seed) }
    }

    fn up_to(&mut self, max: usize) -> usize {
        self.random.random_range(0..=max)
    }

    fn text(&mut self) -> String {
        let alphabet = ['a', 'b', '.', '_', ' ', '"', '\\', '\n', '\u{1}', 'é', '😀', '/'];
        let len = self.up_to(12);
        (0..len).map(|_| alphabet[self.random.random_range(0..alphabet.len())]).collect()
    }

    fn filled(&mut self) -> String {
        format!("n{}", self.text())
    }

    fn id(&mut self, len: usize) -> Vec<u8> {
        let mut id: Vec<u8> = (0..len).map(|_| self.random.random()).collect();
        id[0] |= 1;
        id
    }

    fn optional_id(&mut self, len: usize) -> Vec<u8> {
        if self.random.random() { self.id(len) } else { Vec::new() }
    }

    fn time(&mut self) -> u64 {
        NOW_NS as u64 - self.random.random_range(0..1_000_000_000_000)
    }

    fn double(&mut self) -> f64 {
        [0.0, -1.5, 1e300, 0.1, 3.0, 1e-9][self.up_to(5)] * f64::from(self.random.random::<u8>())
    }

    fn counts(&mut self, len: usize) -> Vec<u64> {
        (0..len).map(|_| self.random.random_range(0..1 << 40)).collect()
    }

    fn value(&mut self, levels: usize) -> Option<AnyValue> {
        let value = match self.up_to(if levels == 0 { 5 } else { 7 }) {
            0 => return None,
            1 => Value::StringValue(self.text()),
            2 => Value::BoolValue(self.random.random()),
            3 => Value::IntValue(self.random.random()),
            4 => Value::DoubleValue(self.double()),
            5 => Value::BytesValue(self.optional_id(7)),
            6 => {
                let len = self.up_to(3);
                let values = (0..len).map(|_| self.value(levels - 1).unwrap_or_default()).collect();
                Value::ArrayValue(ArrayValue { values })
            }
            _ => Value::KvlistValue(KeyValueList { values: self.attributes(levels - 1) }),
        };
        Some(AnyValue { value: Some(value) })
    }

    fn attributes(&mut self, levels: usize) -> Vec<KeyValue> {
        let len = self.up_to(4);
        let mut attribute =
            |_| KeyValue { key: self.text(), value: self.value(levels), ..KeyValue::default() };
        (0..len).map(&mut attribute).collect()
    }

    fn resource(&mut self) -> Option<Resource> {
        let mut attributes = self.attributes(1);
        if self.random.random() {
            let value = Some(AnyValue { value: Some(Value::StringValue(self.filled())) });
            attributes.push(KeyValue { key: "service.name".into(), value, ..KeyValue::default() });
        }
        self.random.random::<bool>().then_some(Resource { attributes, ..Resource::default() })
    }

    fn scope(&mut self) -> Option<InstrumentationScope> {
        let scope = InstrumentationScope {
            name: self.text(),
            version: self.text(),
            attributes: self.attributes(0),
            ..InstrumentationScope::default()
        };
        self.random.random::<bool>().then_some(scope)
    }

    fn span(&mut self) -> Span {
        let start_time_unix_nano = self.time();
        let links = self.up_to(2);
        let events = self.up_to(2);
        Span {
            trace_id: self.id(16),
            span_id: self.id(8),
            parent_span_id: self.optional_id(8),
            trace_state: self.text(),
            name: self.filled(),
            kind: self.up_to(5) as i32,
            start_time_unix_nano,
            end_time_unix_nano: start_time_unix_nano + self.up_to(1 << 40) as u64,
            attributes: self.attributes(3),
            links: (0..links)
                .map(|_| Link {
                    trace_id: self.id(16),
                    span_id: self.id(8),
                    attributes: self.attributes(1),
                    ..Link::default()
                })
                .collect(),
            events: (0..events)
                .map(|_| Event {
                    time_unix_nano: self.time(),
                    name: self.filled(),
                    attributes: self.attributes(1),
                    ..Event::default()
                })
                .collect(),
            status: self
                .random
                .random::<bool>()
                .then(|| Status { code: self.up_to(2) as i32, message: self.text() }),
            flags: 0x101,
            ..Span::default()
        }
    }

    pub(super) fn traces(&mut self, spans: usize) -> ExportTraceServiceRequest {
        let resource_spans = (0..2)
            .map(|_| ResourceSpans {
                resource: self.resource(),
                scope_spans: (0..2)
                    .map(|_| ScopeSpans {
                        scope: self.scope(),
                        spans: (0..spans).map(|_| self.span()).collect(),
                        ..ScopeSpans::default()
                    })
                    .collect(),
                ..ResourceSpans::default()
            })
            .collect();
        ExportTraceServiceRequest { resource_spans }
    }

    fn log(&mut self) -> LogRecord {
        LogRecord {
            time_unix_nano: if self.random.random() { self.time() } else { 0 },
            observed_time_unix_nano: self.time(),
            severity_number: self.up_to(24) as i32,
            severity_text: self.text(),
            body: self.value(3),
            attributes: self.attributes(2),
            trace_id: self.optional_id(16),
            span_id: self.optional_id(8),
            event_name: self.text(),
            ..LogRecord::default()
        }
    }

    pub(super) fn logs(&mut self, records: usize) -> ExportLogsServiceRequest {
        let resource_logs = (0..3)
            .map(|_| ResourceLogs {
                resource: self.resource(),
                scope_logs: vec![ScopeLogs {
                    scope: self.scope(),
                    log_records: (0..records).map(|_| self.log()).collect(),
                    ..ScopeLogs::default()
                }],
                ..ResourceLogs::default()
            })
            .collect();
        ExportLogsServiceRequest { resource_logs }
    }

    fn exemplars(&mut self) -> Vec<Exemplar> {
        let len = self.up_to(2);
        (0..len)
            .map(|_| Exemplar {
                time_unix_nano: self.time(),
                filtered_attributes: self.attributes(1),
                trace_id: self.optional_id(16),
                span_id: self.optional_id(8),
                value: match self.up_to(2) {
                    0 => None,
                    1 => Some(exemplar::Value::AsInt(self.random.random())),
                    _ => Some(exemplar::Value::AsDouble(self.double())),
                },
            })
            .collect()
    }

    fn numbers(&mut self, points: usize) -> Vec<NumberDataPoint> {
        (0..points)
            .map(|_| NumberDataPoint {
                attributes: self.attributes(1),
                start_time_unix_nano: self.time(),
                time_unix_nano: self.time(),
                exemplars: self.exemplars(),
                flags: self.up_to(1) as u32,
                value: match self.up_to(2) {
                    0 => None,
                    1 => Some(number_data_point::Value::AsInt(self.random.random())),
                    _ => Some(number_data_point::Value::AsDouble(self.double())),
                },
            })
            .collect()
    }

    fn histogram(&mut self) -> HistogramDataPoint {
        let bounds = self.up_to(4);
        HistogramDataPoint {
            attributes: self.attributes(1),
            time_unix_nano: self.time(),
            count: self.random.random_range(0..1 << 62),
            sum: self.random.random::<bool>().then_some(1.25),
            bucket_counts: if bounds == 0 { Vec::new() } else { self.counts(bounds + 1) },
            explicit_bounds: (0..bounds).map(|bound| bound as f64 * 0.5).collect(),
            exemplars: self.exemplars(),
            min: self.random.random::<bool>().then_some(-3.0),
            max: self.random.random::<bool>().then_some(7.5),
            ..HistogramDataPoint::default()
        }
    }

    fn exponential(&mut self) -> ExponentialHistogramDataPoint {
        let (positive, negative) = (self.up_to(5), self.up_to(2));
        ExponentialHistogramDataPoint {
            attributes: self.attributes(1),
            start_time_unix_nano: self.time(),
            time_unix_nano: self.time(),
            count: 12,
            sum: Some(self.double()),
            scale: self.up_to(20) as i32 - 10,
            zero_count: 3,
            positive: Some(Buckets { offset: -5, bucket_counts: self.counts(positive) }),
            negative: (negative > 0).then(|| Buckets { offset: 4, bucket_counts: self.counts(negative) }),
            exemplars: self.exemplars(),
            min: Some(0.25),
            zero_threshold: 0.001,
            ..ExponentialHistogramDataPoint::default()
        }
    }

    fn summary(&mut self) -> SummaryDataPoint {
        let quantiles = self.up_to(3);
        SummaryDataPoint {
            attributes: self.attributes(1),
            time_unix_nano: self.time(),
            count: 5,
            sum: self.double(),
            quantile_values: (0..quantiles)
                .map(|i| ValueAtQuantile { quantile: i as f64 / 4.0, value: self.double() })
                .collect(),
            ..SummaryDataPoint::default()
        }
    }

    fn metric(&mut self, points: usize) -> Metric {
        let temporality = self.up_to(2) as i32;
        let data = match self.up_to(4) {
            0 => metric::Data::Gauge(Gauge { data_points: self.numbers(points) }),
            1 => metric::Data::Sum(Sum {
                data_points: self.numbers(points),
                aggregation_temporality: temporality,
                is_monotonic: self.random.random(),
            }),
            2 => metric::Data::Histogram(Histogram {
                data_points: (0..points).map(|_| self.histogram()).collect(),
                aggregation_temporality: temporality,
            }),
            3 => metric::Data::ExponentialHistogram(ExponentialHistogram {
                data_points: (0..points).map(|_| self.exponential()).collect(),
                aggregation_temporality: temporality,
            }),
            _ => {
                metric::Data::Summary(Summary { data_points: (0..points).map(|_| self.summary()).collect() })
            }
        };
        Metric {
            name: self.filled(),
            description: self.text(),
            unit: self.text(),
            data: Some(data),
            ..Metric::default()
        }
    }

    pub(super) fn metrics(&mut self, metrics: usize) -> ExportMetricsServiceRequest {
        let resource_metrics = (0..2)
            .map(|_| ResourceMetrics {
                resource: self.resource(),
                scope_metrics: vec![ScopeMetrics {
                    scope: self.scope(),
                    metrics: (0..metrics).map(|_| self.metric(2)).collect(),
                    ..ScopeMetrics::default()
                }],
                ..ResourceMetrics::default()
            })
            .collect();
        ExportMetricsServiceRequest { resource_metrics }
    }
}
