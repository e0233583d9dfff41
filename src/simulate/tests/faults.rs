//! Each kind of fault changes what it says it changes, and little else: measured against the same time without it.

use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::support::{Told, average, duration_ms, is_error, settings};
use crate::simulate::{
    CYCLE_MIN, ConnectionType, FaultKind, FaultPlan, FaultRequest, Settings, SimulateError, Simulator,
};

/// Seconds simulated; faults last from the second minute to the end of the third.
const SECONDS: u64 = 240;
const DURING: &str = "1m:2m";

/// The same time with a fault and without.
fn with_and_without(fault: &str) -> (Told, Told) {
    let fault = match fault.rsplit_once(' ') {
        Some((head, strength)) => format!("{head}:{DURING}:{strength}"),
        None => format!("{fault}:{DURING}"),
    };
    (Told::new(settings(SECONDS, 10.0, &[&fault])), Told::new(settings(SECONDS, 10.0, &[])))
}

fn is_during(start_ns: u64) -> bool {
    let offset_s = (start_ns as i64 - settings(1, 1.0, &[]).start_ns) / 1_000_000_000;
    (60..180).contains(&offset_s)
}

/// The spans of a service of this kind that began during the fault, or outside of it.
fn spans<'a>(told: &'a Told, service: &str, kind: SpanKind, during: bool) -> Vec<&'a Span> {
    let spans = told.spans().into_iter().filter(|(of, span)| {
        *of == service && span.kind() == kind && is_during(span.start_time_unix_nano) == during
    });
    spans.map(|(_, span)| span).collect()
}

fn latency_ms(told: &Told, service: &str, during: bool) -> f64 {
    let spans = spans(told, service, SpanKind::Server, during);
    // The mean of the logarithms: outliers count little.
    average(spans.into_iter().map(|span| duration_ms(span).ln())).exp()
}

fn error_share(told: &Told, service: &str, kind: SpanKind, during: bool) -> f64 {
    average(spans(told, service, kind, during).into_iter().map(|span| f64::from(u8::from(is_error(span)))))
}

#[test]
fn latency_slows_the_target_and_its_callers() {
    let (with, without) = with_and_without("latency:pricing 20");
    assert!(latency_ms(&with, "pricing", true) > 5.0 * latency_ms(&without, "pricing", true));
    assert!(latency_ms(&with, "web", true) > 1.1 * latency_ms(&without, "web", true));
    for (service, during) in [("pricing", false), ("search", true), ("accounts", true)] {
        let ratio = latency_ms(&with, service, during) / latency_ms(&without, service, during);
        assert!((0.9..1.1).contains(&ratio), "{service}: {ratio}");
    }
    let affected = &with.simulator.faults()[0].affected;
    assert!(
        ["pricing", "web", "gateway", "web -> pricing", "user -> gateway"]
            .iter()
            .all(|a| affected.iter().any(|b| a == b))
    );
    assert!(!affected.iter().any(|a| a == "search" || a == "email"), "{affected:?}");
}

#[test]
fn latency_can_be_that_of_one_operation_or_store() {
    let (with, _) = with_and_without("latency:cart/GET /cart 50");
    let of = |name: &str, during| {
        let spans = spans(&with, "cart", SpanKind::Server, during);
        average(spans.into_iter().filter(|s| s.name == name).map(duration_ms))
    };
    assert!(of("GET /cart", true) > 10.0 * of("GET /cart", false));
    assert!(of("POST /cart/items", true) < 2.0 * of("POST /cart/items", false));
    let (with, without) = with_and_without("latency:inventory-db 20");
    assert!(latency_ms(&with, "inventory", true) > 5.0 * latency_ms(&without, "inventory", true));
}

#[test]
fn errors_fail_the_share_asked_for() {
    let (with, without) = with_and_without("errors:search 0.4");
    let share = error_share(&with, "search", SpanKind::Server, true);
    assert!((0.3..0.5).contains(&share), "{share}");
    assert!(error_share(&without, "search", SpanKind::Server, true) < 0.02);
    assert!(error_share(&with, "search", SpanKind::Server, false) < 0.02);
    assert!(error_share(&with, "gateway", SpanKind::Server, true) > 0.02);
    assert!(with.logs().iter().any(|(service, r)| *service == "search" && r.severity_text == "ERROR"));
}

#[test]
fn nobody_answers_for_a_dead_dependency() {
    let (with, without) = with_and_without("dead_dependency:catalog-cache");
    let queries = |told: &Told, during| -> Vec<(bool, f64)> {
        let spans = spans(told, "catalog", SpanKind::Client, during);
        let spans = spans.into_iter().filter(|s| s.name == "GET product");
        spans.map(|span| (is_error(span), duration_ms(span))).collect()
    };
    let dead = queries(&with, true);
    assert!(dead.iter().all(|(is_error, _)| *is_error));
    let timed_out = dead.iter().filter(|(_, ms)| *ms == 1000.0).count() as f64 / dead.len() as f64;
    assert!((0.4..0.6).contains(&timed_out), "{timed_out}");
    assert!(queries(&with, false).iter().all(|(is_error, _)| !is_error));
    assert!(queries(&without, true).iter().all(|(is_error, _)| !is_error));
    assert!(error_share(&with, "web", SpanKind::Server, true) > 0.3);

    let (with, _) = with_and_without("dead_dependency:accounts");
    assert!(spans(&with, "accounts", SpanKind::Server, true).is_empty());
    assert!(!spans(&with, "accounts", SpanKind::Server, false).is_empty());
    let edges = with.simulator.edges();
    let edge =
        edges.iter().find(|e| e.target == "accounts" && e.connection_type == ConnectionType::VirtualNode);
    assert!(edge.is_some_and(|e| e.source == "gateway" && e.call_count == e.error_count));
}

#[test]
fn messages_wait_while_their_consumers_are_slow() {
    let (with, without) = with_and_without("latency:mail-provider 200");
    let longest = |told: &Told| {
        let lags = told.values("email", "kafka.consumer_group.lag").into_values().flatten();
        lags.fold(0.0, f64::max)
    };
    assert!(longest(&without) <= 2.0, "{}", longest(&without));
    assert!(longest(&with) >= 8.0, "{}", longest(&with));
    // Others work on the same topic at their own pace.
    let analytics = with.values("analytics", "kafka.consumer_group.lag").into_values().flatten();
    assert!(analytics.fold(0.0, f64::max) <= 3.0);
    let last: f64 = with.values("email", "kafka.consumer_group.lag").values().map(|v| v[v.len() - 1]).sum();
    assert_eq!(last, 0.0);
}

#[test]
fn a_leak_climbs_until_the_instance_is_killed() {
    // An instance is killed when it uses 285 MiB more than its usual 190: at 300 MiB a minute after 57 s.
    let (with, without) = with_and_without("memory_leak:email 300");
    let falls = |values: &[f64]| values.windows(2).filter(|v| v[1] < 0.7 * v[0]).count();
    let leaking = with.values("email", "process.memory.usage");
    assert_eq!(leaking.len(), 2);
    for values in leaking.values() {
        let peak = values.iter().copied().fold(0.0, f64::max);
        assert!(peak > 1.8 * values[0], "{values:?}");
        // Killed at least once, and mended at the end.
        assert!((2..=4).contains(&falls(values)), "{values:?}");
        assert!(values[values.len() - 1] < 1.1 * values[0], "{values:?}");
    }
    for values in without.values("email", "process.memory.usage").values() {
        assert_eq!(falls(values), 0);
    }
    let killed = with.logs().into_iter().filter(|(service, record)| {
        let body = format!("{:?}", record.body);
        *service == "email" && body.contains("out of memory")
    });
    assert!(killed.count() >= 2);
    // Counters begin again.
    let requests = with.values("email", "app.requests");
    assert!(requests.values().all(|values| values.windows(2).any(|v| v[1] < v[0])), "{requests:?}");
}

#[test]
fn a_new_dependency_is_an_edge_that_was_not_there() {
    let (with, without) = with_and_without("new_dependency:recommendation/inventory 0.5");
    let is_new = |edge: &crate::simulate::Edge| (edge.source, edge.target) == ("recommendation", "inventory");
    let edges = with.simulator.edges();
    let edge = edges.iter().find(|e| is_new(e)).unwrap();
    let asked = spans(&with, "recommendation", SpanKind::Server, true).len() as f64;
    let share = edge.call_count as f64 / asked;
    assert!((0.4..0.6).contains(&share), "{share}");
    assert!(!without.simulator.edges().iter().any(is_new));
    let (with, _) = with_and_without("new_dependency:checkout/orders-cache");
    let edges = with.simulator.edges();
    assert!(
        edges.iter().any(|e| e.target == "orders-cache" && e.connection_type == ConnectionType::Database)
    );
}

#[test]
fn a_storm_writes_one_line_over_and_over() {
    let (with, without) = with_and_without("log_storm:fraud 20");
    let lines = |told: &Told, during| {
        let of_storm = told.logs().into_iter().filter(|(service, record)| {
            let body = format!("{:?}", record.body);
            *service == "fraud"
                && body.contains("feature vector")
                && is_during(record.time_unix_nano) == during
        });
        of_storm.count()
    };
    let storm = lines(&with, true);
    // 120 s of 20 records, give or take three standard deviations.
    assert!((2_250..2_550).contains(&storm), "{storm}");
    assert_eq!((lines(&with, false), lines(&without, true)), (0, 0));
}

#[test]
fn a_spike_brings_more_visitors() {
    let (with, without) = with_and_without("traffic_spike:gateway/GET /search 6");
    let visits = |told: &Told, name: &str, during| {
        let spans = spans(told, "gateway", SpanKind::Server, during);
        spans.iter().filter(|s| s.name == name).count() as f64
    };
    let ratio = visits(&with, "GET /search", true) / visits(&without, "GET /search", true);
    assert!((4.5..7.5).contains(&ratio), "{ratio}");
    for (name, during) in [("GET /search", false), ("GET /products/{id}", true)] {
        let ratio = visits(&with, name, during) / visits(&without, name, during);
        assert!((0.7..1.4).contains(&ratio), "{name}: {ratio}");
    }
}

#[test]
fn each_cycle_has_each_kind_of_fault_with_quiet_between() {
    for seed in 0..12 {
        let settings = Settings {
            seed,
            faults: FaultPlan::Scheduled { cycle: CYCLE_MIN },
            requests_per_second: 0.001,
            duration: Some(CYCLE_MIN * 3),
            ..settings(1, 1.0, &[])
        };
        let mut simulator = Simulator::new(settings.clone()).unwrap();
        simulator.by_ref().for_each(drop);
        let faults = simulator.faults();
        assert_eq!(faults.len(), 21);
        for cycle in faults.chunks(7) {
            assert!(FaultKind::ALL.iter().all(|kind| cycle.iter().any(|fault| fault.kind == *kind)));
        }
        for pair in faults.windows(2) {
            assert!(pair[0].started_at < pair[0].ended_at && pair[0].ended_at < pair[1].started_at);
        }
        assert!(faults.iter().all(|fault| !fault.affected.is_empty() && !fault.description.is_empty()));
        assert_eq!(simulator.deploys().len(), 12);
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let check = |fault: &str, message: &str| {
        let refused = fault.parse::<FaultRequest>().and_then(|fault| {
            Simulator::new(Settings { faults: FaultPlan::Exactly(vec![fault]), ..settings(60, 1.0, &[]) })
        });
        let refused = refused.err().map(|error| error.to_string());
        assert!(refused.as_ref().is_some_and(|r| r.contains(message)), "{fault}: {refused:?}");
    };
    check("latency:cart:10m", "3 parts where 4 or 5 are expected");
    check("lateness:cart:10m:5m", "kind \"lateness\" is none of latency, errors,");
    check("latency:cart:soon:5m", "start offset \"soon\" is no duration");
    check("latency:cart:-1m:5m", "start offset \"-1m\" is no duration");
    check("latency:cart:10m:5m:many", "strength \"many\" is no number");
    check(
        "latency:cart:10m:5m:0.5",
        "cannot have the strength \"0.5\": the factor by which its own work takes longer, from 1 to 1000",
    );
    check("errors:cart:10m:5m:NaN", "cannot have the strength \"NaN\"");
    check("errors:kart:10m:5m", "cannot have the target \"kart\": one of the services gateway, web,");
    check("errors:cart/GET /kart:10m:5m", "one of the operations GET /cart, POST /cart/items of cart");
    check("dead_dependency:gateway:10m:5m", "no service calls it");
    check("memory_leak:orders-db:10m:5m", "one of the services");
    check("new_dependency:cart:10m:5m", "CALLER/CALLEE is expected");
    check("new_dependency:web/catalog:10m:5m", "\"web\" calls \"catalog\" already");
    check("new_dependency:pricing/web:10m:5m", "\"web\" calls \"pricing\", if only by way of others");
    check("new_dependency:cart/email:10m:5m", "\"email\" answers no calls");
    check("traffic_spike:cart:10m:5m", "visitors come to gateway");
    check("latency:cart:1m:1m", "the latency fault of \"cart\" has no time");
    check("latency:cart:10s:0s", "the latency fault of \"cart\" has no time");
    let refused = |settings: Settings| Simulator::new(settings).err();
    let plain = settings(60, 1.0, &[]);
    assert_eq!(
        refused(Settings { requests_per_second: 0.0, ..plain.clone() }),
        Some(SimulateError::Rate { rate: 0.0 })
    );
    assert_eq!(refused(Settings { start_ns: -5, ..plain.clone() }), Some(SimulateError::Time));
    assert_eq!(refused(Settings { start_ns: i64::MAX - 5, ..plain.clone() }), Some(SimulateError::Time));
    let duration = Some(Duration::ZERO);
    assert_eq!(
        refused(Settings { duration, ..plain.clone() }),
        Some(SimulateError::Duration { duration_s: 0.0 })
    );
    let faults = FaultPlan::Scheduled { cycle: Duration::from_secs(60) };
    assert_eq!(refused(Settings { faults, ..plain }), Some(SimulateError::Cycle { cycle_s: 60 }));
}
