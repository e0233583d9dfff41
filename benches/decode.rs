//! How fast OTLP is decoded into Arrow: rows per CPU-second of one thread, with the batches finished every request.
//!
//! Workload: one request of 1,000 records in memory, decoded again and again.
//! - resource: 6 attributes of about 30 bytes, `service.name` among them; 10 resources of 100 records each;
//! - span: all fixed fields, 6 attributes (4 strings, 1 integer, 1 string of 60 bytes), every 10th with an event of 2
//!   attributes and a link; 885 bytes as JSON, 369 as protobuf;
//! - lean span: as in the Train-Ticket data set, with 2 attributes of the resource and none of its own;
//! - metric point: a gauge of 1 point a metric with 3 attributes, in 1 of 5 cases a histogram of 12 buckets;
//! - log record: a body of 120 bytes with quotes in it, 3 attributes, trace and span id.
//!
//! The allocator is the one of the binary.
//!
//! Run: `cargo bench --bench decode`. One line each: records per CPU-second, megabytes of request per CPU-second.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric,
    number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use undercurrent::telemetry::{Decoder, Limits, Origin, Signal};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const RESOURCES: u64 = 10;
const RECORDS_A_RESOURCE: u64 = 100;
const CPU_SECONDS_A_MEASUREMENT: f64 = 2.0;
const NOW_NS: u64 = 1_700_000_000_000_000_000;

fn main() {
    let traces = traces(false);
    report("spans", Signal::Traces, &traces.encode_to_vec(), &json(&traces));
    let lean = self::traces(true);
    report("lean spans", Signal::Traces, &lean.encode_to_vec(), &json(&lean));
    let metrics = metrics();
    report("metric points", Signal::Metrics, &metrics.encode_to_vec(), &json(&metrics));
    let logs = logs();
    report("log records", Signal::Logs, &logs.encode_to_vec(), &json(&logs));
}

fn json(request: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(request).expect("requests can be written")
}

fn report(what: &str, signal: Signal, protobuf: &[u8], json: &[u8]) {
    let origin = Origin { source: "memory".into(), position: None };
    measure(what, "protobuf", protobuf, |decoder| decoder.protobuf(signal, protobuf, &origin));
    measure(what, "JSON", json, |decoder| decoder.json(json, &origin));
}

fn measure(what: &str, format: &str, request: &[u8], decode: impl Fn(&mut Decoder)) {
    let mut decoder = Decoder::new(Limits::default(), NOW_NS as i64);
    let mut rows = 0;
    // The first rounds find memory and fill caches.
    for _ in 0..20 {
        decode(&mut decoder);
        assert_eq!(decoder.rejected(), 0);
        rows += decoder.finish().len();
    }
    let (start, mut requests) = (cpu_seconds(), 0u64);
    let elapsed = loop {
        for _ in 0..20 {
            decode(&mut decoder);
            rows += decoder.finish().iter().map(|batch| batch.rows.num_rows()).sum::<usize>();
        }
        requests += 20;
        let elapsed = cpu_seconds() - start;
        if elapsed >= CPU_SECONDS_A_MEASUREMENT {
            break elapsed;
        }
    };
    assert!(rows > 0);
    let records = requests * RESOURCES * RECORDS_A_RESOURCE;
    println!(
        "{what:<13} {format:<8} {:>9.0} records/s {:>6.0} MB/s, {} bytes a record",
        records as f64 / elapsed,
        (requests as usize * request.len()) as f64 / elapsed / 1e6,
        request.len() as u64 / (RESOURCES * RECORDS_A_RESOURCE)
    );
}

/// CPU time this thread has used, as Linux accounts it to the nanosecond.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux with schedstat");
    let nanoseconds: f64 = stat.split(' ').next().and_then(|field| field.parse().ok()).expect("a number");
    nanoseconds / 1e9
}

fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn resource(number: u64, lean: bool) -> Option<Resource> {
    let mut attributes = vec![
        text("service.name", format!("ts-service-{number}")),
        text("k8s.pod.name", format!("ts-service-{number}-5c66d57d58-6mp2b")),
    ];
    if !lean {
        attributes.extend([
            text("service.version", "1.17.3"),
            text("deployment.environment.name", "production"),
            text("telemetry.sdk.language", "java"),
            text("host.name", format!("ip-10-0-{number}-17.eu-central-1.compute")),
        ]);
    }
    Some(Resource { attributes, ..Resource::default() })
}

fn scope() -> Option<InstrumentationScope> {
    Some(InstrumentationScope {
        name: "io.opentelemetry.spring-webmvc".into(),
        version: "2.1.0".into(),
        ..InstrumentationScope::default()
    })
}

/// Bytes that look random, the same for the same number.
fn id(number: u64, len: usize) -> Vec<u8> {
    let mut state = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8 | 1
    };
    (0..len).map(|_| next()).collect()
}

fn span(number: u64, lean: bool) -> Span {
    let start_time_unix_nano = NOW_NS + number * 1_000_003;
    let mut span = Span {
        trace_id: id(number / 10, 16),
        span_id: id(number, 8),
        parent_span_id: id(number + 1, 8),
        name: "TripRepository.findAll".into(),
        start_time_unix_nano,
        end_time_unix_nano: start_time_unix_nano + 12_345_678,
        ..Span::default()
    };
    if lean {
        return span;
    }
    span.kind = 2;
    span.flags = 257;
    span.status = Some(Status { code: 1, message: String::new() });
    span.attributes = vec![
        text("http.request.method", "GET"),
        text("http.route", "/api/v1/travelservice/trips/{id}"),
        attribute("http.response.status_code", Value::IntValue(200)),
        text("url.scheme", "http"),
        text("server.address", "ts-travel-service"),
        text("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome"),
    ];
    if number.is_multiple_of(10) {
        span.links =
            vec![Link { trace_id: id(number + 7, 16), span_id: id(number + 8, 8), ..Link::default() }];
        span.events = vec![Event {
            time_unix_nano: start_time_unix_nano + 5,
            name: "exception".into(),
            attributes: vec![
                text("exception.type", "java.io.IOException"),
                text("exception.message", "broken pipe"),
            ],
            ..Event::default()
        }];
    }
    span
}

fn numbers(resource: u64) -> impl Iterator<Item = u64> {
    (0..RECORDS_A_RESOURCE).map(move |record| resource * RECORDS_A_RESOURCE + record)
}

fn traces(lean: bool) -> ExportTraceServiceRequest {
    let resource_spans = (0..RESOURCES)
        .map(|number| {
            let spans = numbers(number).map(|number| span(number, lean)).collect();
            let scope_spans = vec![ScopeSpans { scope: scope(), spans, ..ScopeSpans::default() }];
            ResourceSpans { resource: resource(number, lean), scope_spans, ..ResourceSpans::default() }
        })
        .collect();
    ExportTraceServiceRequest { resource_spans }
}

fn metric(number: u64) -> Metric {
    let attributes =
        vec![text("cpu", "cpu3"), text("state", "idle"), attribute("core", Value::IntValue(number as i64))];
    let (start_time_unix_nano, time_unix_nano) = (NOW_NS, NOW_NS + number * 1_000_000);
    let data = if number.is_multiple_of(5) {
        let point = HistogramDataPoint {
            attributes,
            start_time_unix_nano,
            time_unix_nano,
            count: 780,
            sum: Some(12.25),
            bucket_counts: (0..12).map(|bucket| bucket * 10 + number % 7).collect(),
            explicit_bounds: (0..11).map(|bound| f64::from(bound) * 2.5).collect(),
            ..HistogramDataPoint::default()
        };
        metric::Data::Histogram(Histogram { data_points: vec![point], aggregation_temporality: 2 })
    } else {
        let point = NumberDataPoint {
            attributes,
            start_time_unix_nano,
            time_unix_nano,
            value: Some(number_data_point::Value::AsDouble(number as f64 * 0.37)),
            ..NumberDataPoint::default()
        };
        metric::Data::Gauge(Gauge { data_points: vec![point] })
    };
    Metric {
        name: "system.cpu.utilization".into(),
        description: "how busy the processor is".into(),
        unit: "1".into(),
        data: Some(data),
        ..Metric::default()
    }
}

fn metrics() -> ExportMetricsServiceRequest {
    let resource_metrics = (0..RESOURCES)
        .map(|number| {
            let metrics = numbers(number).map(metric).collect();
            let scope_metrics = vec![ScopeMetrics { scope: scope(), metrics, ..ScopeMetrics::default() }];
            ResourceMetrics { resource: resource(number, false), scope_metrics, ..ResourceMetrics::default() }
        })
        .collect();
    ExportMetricsServiceRequest { resource_metrics }
}

fn log(number: u64) -> LogRecord {
    let body = format!(
        "17:20:29.{number:03} ERROR dispatcherServlet: handler \"basic/travels\" threw \"500 Internal Server \
         Error\" after {number} ms, no retry left"
    );
    LogRecord {
        time_unix_nano: NOW_NS + number,
        observed_time_unix_nano: NOW_NS + number + 1000,
        severity_number: 17,
        severity_text: "ERROR".into(),
        body: Some(AnyValue { value: Some(Value::StringValue(body)) }),
        attributes: vec![
            text("thread.name", "http-nio-12346-exec-3"),
            text("logger", "o.a.c.c.C"),
            attribute("thread.id", Value::IntValue(175)),
        ],
        trace_id: id(number / 10, 16),
        span_id: id(number, 8),
        ..LogRecord::default()
    }
}

fn logs() -> ExportLogsServiceRequest {
    let resource_logs = (0..RESOURCES)
        .map(|number| {
            let log_records = numbers(number).map(log).collect();
            let scope_logs = vec![ScopeLogs { scope: scope(), log_records, ..ScopeLogs::default() }];
            ResourceLogs { resource: resource(number, false), scope_logs, ..ResourceLogs::default() }
        })
        .collect();
    ExportLogsServiceRequest { resource_logs }
}
