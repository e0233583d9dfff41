//! The exporters of the OpenTelemetry SDK, as an application configures them.

use std::time::Duration;

use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::{Span, SpanKind, Tracer, TracerProvider};
use opentelemetry_otlp::{
    Compression, LogExporter, MetricExporter, Protocol, SpanExporter, WithExportConfig, WithHttpConfig,
    WithTonicConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::SdkTracerProvider;

use crate::in_process::InProcess;

/// How an exporter sends.
#[derive(Clone, Copy, Debug)]
enum Way {
    Grpc(Option<Compression>),
    Http(Option<Compression>),
}

const WAYS: [Way; 5] = [
    Way::Grpc(None),
    Way::Grpc(Some(Compression::Gzip)),
    Way::Http(None),
    Way::Http(Some(Compression::Gzip)),
    Way::Http(Some(Compression::Zstd)),
];

fn grpc<B: WithExportConfig + WithTonicConfig>(
    builder: B,
    service: &InProcess,
    compression: Option<Compression>,
) -> B {
    let builder = builder.with_endpoint(format!("http://{}", service.otlp_grpc()));
    match compression {
        Some(compression) => builder.with_compression(compression),
        None => builder,
    }
}

/// The client of exporters has no TLS of its own, where the server's is built with it.
fn has_tls() {
    let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
}

fn http<B: WithExportConfig + WithHttpConfig>(
    builder: B,
    service: &InProcess,
    path: &str,
    compression: Option<Compression>,
) -> B {
    has_tls();
    let builder = builder.with_endpoint(format!("http://{}{path}", service.otlp_http()));
    let builder = builder.with_protocol(Protocol::HttpBinary);
    match compression {
        Some(compression) => builder.with_compression(compression),
        None => builder,
    }
}

fn resource() -> Resource {
    Resource::builder().with_service_name("shop").build()
}

#[test]
fn spans_of_an_application_arrive() {
    for way in WAYS {
        let service = InProcess::start(&[]);
        let _runtime = service.runtime.enter();
        let exporter = match way {
            Way::Grpc(c) => grpc(SpanExporter::builder().with_tonic(), &service, c).build(),
            Way::Http(c) => http(SpanExporter::builder().with_http(), &service, "/v1/traces", c).build(),
        };
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter.expect("an exporter"))
            .with_resource(resource())
            .build();
        let tracer = provider.tracer("checkout");
        for n in 0..700 {
            let mut span =
                tracer.span_builder(format!("GET /{}", n % 3)).with_kind(SpanKind::Server).start(&tracer);
            span.add_event("paid", vec![]);
            span.end();
        }
        provider.shutdown().unwrap_or_else(|e| panic!("{way:?}: {e}"));
        service.wait_for(
            "SELECT service_name, kind, count(*), count(DISTINCT span_id), count(DISTINCT name) FROM spans GROUP BY 1, 2",
            &["shop | SERVER | 700 | 700 | 3"],
        );
        service.wait_for("SELECT count(*) FROM span_events WHERE name = 'paid'", &["700"]);
    }
}

#[test]
fn log_records_of_an_application_arrive() {
    for way in WAYS {
        let service = InProcess::start(&[]);
        let _runtime = service.runtime.enter();
        let exporter = match way {
            Way::Grpc(c) => grpc(LogExporter::builder().with_tonic(), &service, c).build(),
            Way::Http(c) => http(LogExporter::builder().with_http(), &service, "/v1/logs", c).build(),
        };
        let provider = SdkLoggerProvider::builder()
            .with_batch_exporter(exporter.expect("an exporter"))
            .with_resource(resource())
            .build();
        let logger = provider.logger("checkout");
        for n in 0..600 {
            let mut record = logger.create_log_record();
            record.set_severity_number(if n % 10 == 0 { Severity::Error } else { Severity::Info });
            record.set_body(AnyValue::from(format!("order {n}")));
            logger.emit(record);
        }
        provider.shutdown().unwrap_or_else(|e| panic!("{way:?}: {e}"));
        service.wait_for(
            "SELECT service_name, severity_number, count(*), count(DISTINCT body) FROM logs GROUP BY 1, 2",
            &["shop | 17 | 60 | 60", "shop | 9 | 540 | 540"],
        );
    }
}

#[test]
fn data_points_of_an_application_arrive() {
    for way in WAYS {
        let service = InProcess::start(&[]);
        let _runtime = service.runtime.enter();
        let exporter = match way {
            Way::Grpc(c) => grpc(MetricExporter::builder().with_tonic(), &service, c).build(),
            Way::Http(c) => http(MetricExporter::builder().with_http(), &service, "/v1/metrics", c).build(),
        };
        // Long enough that only the shutdown exports.
        let reader = PeriodicReader::builder(exporter.expect("an exporter"))
            .with_interval(Duration::from_secs(3600))
            .build();
        let provider = SdkMeterProvider::builder().with_reader(reader).with_resource(resource()).build();
        let meter = provider.meter("checkout");
        let counter = meter.u64_counter("orders").with_unit("{order}").build();
        let histogram = meter.f64_histogram("latency").with_unit("ms").build();
        for n in 0..100 {
            counter.add(2, &[]);
            histogram.record(f64::from(n), &[]);
        }
        provider.shutdown().unwrap_or_else(|e| panic!("{way:?}: {e}"));
        service.wait_for(
            "SELECT service_name, name, type, unit, coalesce(value_int, count) FROM metrics",
            &["shop | latency | histogram | ms | 100", "shop | orders | sum | {order} | 200"],
        );
    }
}
