//! What traces, metrics and logs look like, and that they are always the same.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hasher};

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;

use super::support::{Told, attribute, integer, is_error, settings};
use crate::simulate::{CYCLE_MIN, ConnectionType, Edge, FaultPlan, Settings, Simulator};

/// A hash of the bytes of the first portions.
fn hash(settings: Settings) -> u64 {
    let mut hasher = DefaultHasher::new();
    for portion in Simulator::new(settings).unwrap().take(90) {
        hasher.write(&portion.traces.encode_to_vec());
        hasher.write(&portion.metrics.encode_to_vec());
        hasher.write(&portion.logs.encode_to_vec());
    }
    hasher.finish()
}

#[test]
fn the_same_settings_give_the_same_bytes() {
    let faults = ["errors:cart:10s:1m:0.5", "memory_leak:email:0s:1m:900", "log_storm:web:5s:20s:50"];
    let settings = settings(60, 10.0, &faults);
    assert_eq!(hash(settings.clone()), hash(settings.clone()));
    assert_ne!(hash(settings.clone()), hash(Settings { seed: 6, ..settings.clone() }));
    assert_ne!(hash(settings.clone()), hash(Settings { faults: FaultPlan::None, ..settings }));
}

#[test]
fn spans_of_a_trace_form_a_tree_in_time() {
    let told =
        Told::new(settings(60, 10.0, &["errors:inventory:10s:20s:0.5", "dead_dependency:pricing:30s:20s"]));
    let by_id = told.by_id();
    assert_eq!(by_id.len(), told.spans().len(), "span ids are unique");
    let mut roots: BTreeMap<&[u8], u32> = BTreeMap::new();
    for (service, span) in by_id.values() {
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
        assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8));
        if span.parent_span_id.is_empty() {
            *roots.entry(&span.trace_id).or_default() += 1;
            assert!([SpanKind::Server, SpanKind::Consumer].contains(&span.kind()), "{}", span.name);
            continue;
        }
        let (caller, parent) = by_id[span.parent_span_id.as_slice()];
        assert_eq!(parent.trace_id, span.trace_id);
        assert!(parent.start_time_unix_nano <= span.start_time_unix_nano, "{} in {}", span.name, parent.name);
        assert!(span.end_time_unix_nano <= parent.end_time_unix_nano, "{} in {}", span.name, parent.name);
        // A call leads from one service to another; what is inside does not.
        assert_eq!(span.kind() == SpanKind::Server, caller != *service, "{caller} and {service}");
        assert_eq!(span.kind() == SpanKind::Server, parent.kind() == SpanKind::Client);
    }
    let traces: BTreeSet<&[u8]> = by_id.values().map(|(_, span)| span.trace_id.as_slice()).collect();
    assert_eq!(roots.len(), traces.len());
    assert!(roots.values().all(|count| *count == 1));
    assert!(traces.len() > 300, "{}", traces.len());
}

#[test]
fn each_consumer_links_to_its_producer() {
    let told = Told::new(settings(60, 20.0, &[]));
    let by_id = told.by_id();
    let consumers: Vec<_> = by_id.values().filter(|(_, s)| s.kind() == SpanKind::Consumer).collect();
    assert!(consumers.len() > 50, "{}", consumers.len());
    for (service, consumer) in consumers {
        assert_eq!(consumer.links.len(), 1);
        let (sender, producer) = by_id[consumer.links[0].span_id.as_slice()];
        assert_eq!(producer.kind(), SpanKind::Producer);
        assert_eq!(producer.trace_id, consumer.links[0].trace_id);
        assert_ne!(producer.trace_id, consumer.trace_id);
        assert_ne!(sender, *service);
        assert!(producer.end_time_unix_nano <= consumer.start_time_unix_nano);
        let topic = |attributes| attribute(attributes, "messaging.destination.name").map(str::to_owned);
        assert_eq!(topic(&producer.attributes), topic(&consumer.attributes));
    }
}

#[test]
fn what_is_told_in_a_second_ended_in_it() {
    let told = Told::new(settings(30, 10.0, &[]));
    let mut expected_ns = settings(30, 10.0, &[]).start_ns;
    for portion in &told.portions {
        expected_ns += 1_000_000_000;
        assert_eq!(portion.clock_ns, expected_ns);
        let second = (portion.clock_ns - 1_000_000_000) as u64..portion.clock_ns as u64;
        let spans = portion.traces.resource_spans.iter().flat_map(|r| &r.scope_spans).flat_map(|s| &s.spans);
        spans.for_each(|span| assert!(second.contains(&span.end_time_unix_nano)));
        let logs = portion.logs.resource_logs.iter().flat_map(|r| &r.scope_logs).flat_map(|s| &s.log_records);
        logs.for_each(|record| assert!(second.contains(&record.time_unix_nano)));
    }
    // All that began has ended.
    assert!(told.portions.len() >= 30);
    assert_eq!(told.simulator.take(2).count(), 0);
}

/// The service map by the spans alone, each call once.
fn edges(told: &Told) -> Vec<Edge> {
    let by_id = told.by_id();
    let answered: BTreeSet<&[u8]> = by_id
        .values()
        .filter(|(_, s)| s.kind() == SpanKind::Server)
        .map(|(_, s)| s.parent_span_id.as_slice())
        .collect();
    let mut counts: BTreeMap<(String, String, ConnectionType), (u64, u64)> = BTreeMap::new();
    for (service, span) in by_id.values() {
        let has = |key: &str| span.attributes.iter().any(|a| a.key == key);
        let (source, target, connection_type, failed) = match span.kind() {
            SpanKind::Server if span.parent_span_id.is_empty() => {
                ("user", *service, ConnectionType::VirtualNode, is_error(span))
            }
            SpanKind::Server => {
                let (caller, parent) = by_id[span.parent_span_id.as_slice()];
                (caller, *service, ConnectionType::Direct, is_error(span) || is_error(parent))
            }
            SpanKind::Consumer => {
                let (sender, _) = by_id[span.links[0].span_id.as_slice()];
                (sender, *service, ConnectionType::MessagingSystem, is_error(span))
            }
            SpanKind::Client if !answered.contains(span.span_id.as_slice()) => {
                let peer = attribute(&span.attributes, "peer.service");
                let peer = peer.or_else(|| attribute(&span.attributes, "server.address")).unwrap();
                let is_database = has("db.system.name");
                let kind = if is_database { ConnectionType::Database } else { ConnectionType::VirtualNode };
                (*service, peer, kind, is_error(span))
            }
            _ => continue,
        };
        let (calls, errors) = counts.entry((source.into(), target.into(), connection_type)).or_default();
        *calls += 1;
        *errors += u64::from(failed);
    }
    let name = |name: String| &*name.leak();
    let edge = |((source, target, connection_type), (call_count, error_count))| Edge {
        source: name(source),
        target: name(target),
        connection_type,
        call_count,
        error_count,
    };
    counts.into_iter().map(edge).collect()
}

#[test]
fn the_map_counted_is_the_map_of_the_spans() {
    let faults = [
        "errors:payment:20s:40s:0.5",
        "dead_dependency:inventory:60s:20s:0.7",
        "new_dependency:search/pricing:0s:1m",
    ];
    let told = Told::new(settings(120, 10.0, &faults));
    assert_eq!(told.simulator.edges(), edges(&told));
    assert!(told.simulator.edges().len() > 35, "{}", told.simulator.edges().len());
}

#[test]
fn errors_go_up_with_their_marks() {
    let told = Told::new(settings(120, 10.0, &["errors:checkout:0s:2m:1"]));
    let by_id = told.by_id();
    let failed: Vec<_> = by_id
        .values()
        .filter(|(service, s)| *service == "checkout" && s.kind() == SpanKind::Server)
        .collect();
    assert!(!failed.is_empty());
    for (_, span) in failed {
        assert!(is_error(span));
        assert_eq!(integer(&span.attributes, "http.response.status_code"), Some(500));
        assert_eq!(attribute(&span.attributes, "error.type"), Some("500"));
        let exception = &span.events[0];
        assert_eq!(exception.name, "exception");
        assert_eq!(attribute(&exception.attributes, "exception.type"), Some("IllegalStateException"));
        let (_, client) = by_id[span.parent_span_id.as_slice()];
        assert!(is_error(client));
        let (service, gateway) = by_id[client.parent_span_id.as_slice()];
        assert_eq!(service, "gateway");
        assert_eq!(integer(&gateway.attributes, "http.response.status_code"), Some(503));
        assert_eq!(gateway.status.as_ref().unwrap().message, "request to checkout failed");
    }
}

#[test]
fn logs_of_requests_name_their_span() {
    let told = Told::new(settings(60, 20.0, &["errors:inventory:0s:1m:0.3"]));
    let by_id = told.by_id();
    let (mut with_span, mut without, mut severities) = (0, 0, BTreeSet::new());
    for (service, record) in told.logs() {
        severities.insert(record.severity_text.as_str());
        if record.span_id.is_empty() {
            without += 1;
            continue;
        }
        let (owner, span) = by_id[record.span_id.as_slice()];
        assert_eq!((owner, &span.trace_id), (service, &record.trace_id));
        let span = span.start_time_unix_nano..=span.end_time_unix_nano;
        assert!(span.contains(&record.time_unix_nano));
        with_span += 1;
    }
    assert!(with_span > 100 && without > 0, "{with_span} with, {without} without");
    assert_eq!(severities, BTreeSet::from(["ERROR", "INFO", "WARN"]));
}

#[test]
fn metrics_agree_with_the_spans() {
    let told = Told::new(settings(120, 10.0, &[]));
    let end_ns = told.portions.last().unwrap().clock_ns;
    let mut compared = 0;
    let names = told.metrics("service.name");
    for ((at_ns, service, metric), (_, pod, _)) in names.into_iter().zip(told.metrics("k8s.pod.name")) {
        let Some(Data::Histogram(histogram)) = &metric.data else { continue };
        // The last export of each instance.
        if at_ns + 15_000_000_000 <= end_ns || metric.name != "http.server.request.duration" {
            continue;
        }
        for point in &histogram.data_points {
            let route = attribute(&point.attributes, "http.route").unwrap();
            let method = attribute(&point.attributes, "http.request.method").unwrap();
            let is_failed = integer(&point.attributes, "http.response.status_code") != Some(200);
            let seen = spans_of(&told, pod).into_iter().filter(|span| {
                span.kind() == SpanKind::Server
                    && span.end_time_unix_nano < at_ns as u64
                    && is_error(span) == is_failed
                    && span.name == format!("{method} {route}")
            });
            let durations: Vec<f64> = seen.map(|s| super::support::duration_ms(s) / 1e3).collect();
            assert_eq!(point.count, durations.len() as u64, "{service} {route}");
            assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
            assert!((point.sum.unwrap() - durations.iter().sum::<f64>()).abs() < 1e-6);
            compared += 1;
        }
    }
    assert!(compared > 20, "{compared}");
}

#[test]
fn logs_tell_one_story_of_an_order() {
    let told = Told::new(settings(60, 20.0, &[]));
    let mut orders: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (service, record) in told.logs() {
        let body = format!("{:?}", record.body);
        if let Some(order) = body.split_whitespace().find_map(|word| word.strip_prefix("A-")) {
            orders
                .entry(order.trim_matches(|c: char| !c.is_ascii_digit()).to_owned())
                .or_default()
                .insert(service);
        }
    }
    let whole = ["checkout", "email", "fraud", "inventory", "payment", "shipping"];
    let told_by_all = orders.values().filter(|services| whole.iter().all(|s| services.contains(s))).count();
    // Some orders fail on the way.
    assert!(told_by_all > 20 && told_by_all * 10 > orders.len() * 9, "{told_by_all} of {}", orders.len());
}

fn spans_of<'a>(told: &'a Told, pod: &str) -> Vec<&'a opentelemetry_proto::tonic::trace::v1::Span> {
    let groups = told.portions.iter().flat_map(|p| &p.traces.resource_spans);
    let own =
        groups.filter(|g| attribute(&g.resource.as_ref().unwrap().attributes, "k8s.pod.name") == Some(pod));
    own.flat_map(|g| &g.scope_spans).flat_map(|s| &s.spans).collect()
}

#[test]
fn a_deploy_brings_new_instances_that_are_slow_at_first() {
    let seconds = CYCLE_MIN.as_secs();
    let faults = FaultPlan::Scheduled { cycle: CYCLE_MIN };
    let told = Told::new(Settings { faults, ..settings(seconds, 4.0, &[]) });
    let deploys = told.simulator.deploys();
    assert_eq!(deploys.len(), 4);
    for deploy in deploys {
        assert_ne!(deploy.version_before, deploy.version);
        let groups =
            told.portions.iter().flat_map(|p| p.traces.resource_spans.iter().map(|g| (p.clock_ns, g)));
        let (mut before, mut after) = (BTreeSet::new(), BTreeSet::new());
        for (clock_ns, group) in groups {
            let of = |key| attribute(&group.resource.as_ref().unwrap().attributes, key).unwrap();
            if of("service.name") != deploy.service {
                continue;
            }
            let at_ns = i128::from(clock_ns);
            if at_ns <= deploy.started_at.as_nanosecond() {
                before.insert((of("service.version"), of("k8s.pod.name"), of("service.instance.id")));
            } else if at_ns > deploy.ended_at.as_nanosecond() {
                after.insert((of("service.version"), of("k8s.pod.name"), of("service.instance.id")));
            }
        }
        assert!(before.iter().all(|(version, ..)| *version == deploy.version_before), "{before:?}");
        assert!(after.iter().all(|(version, ..)| *version == deploy.version), "{after:?}");
        assert_eq!(
            before.iter().map(|b| (b.1, b.2)).filter(|b| after.iter().any(|a| (a.1, a.2) == *b)).count(),
            0
        );
    }
}
