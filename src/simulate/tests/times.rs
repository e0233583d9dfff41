//! Traffic and latency by the time of day.

use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::support::{Told, average, duration_ms, settings};
use crate::simulate::{FaultPlan, START_NS_DEFAULT, Settings};

fn at_hour(hour: i64) -> Told {
    Told::new(Settings { start_ns: START_NS_DEFAULT + hour * 3_600_000_000_000, ..settings(120, 10.0, &[]) })
}

fn visits(told: &Told) -> f64 {
    told.spans().iter().filter(|(_, s)| s.kind() == SpanKind::Server && s.parent_span_id.is_empty()).count()
        as f64
}

#[test]
fn evenings_are_busier_than_nights_and_slower() {
    let (night, evening) = (at_hour(3), at_hour(20));
    let ratio = visits(&evening) / visits(&night);
    assert!((5.0..10.0).contains(&ratio), "{ratio}");
    let latency_ms = |told: &Told| {
        let spans = told.spans();
        let queries = spans.iter().filter(|(_, s)| s.name == "GET session");
        average(queries.map(|(_, span)| duration_ms(span)))
    };
    let ratio = latency_ms(&evening) / latency_ms(&night);
    assert!((1.03..1.6).contains(&ratio), "{ratio}");
}

#[test]
fn an_endless_simulation_keeps_no_past() {
    let settings = Settings {
        duration: None,
        faults: FaultPlan::Scheduled { cycle: Duration::from_secs(1_800) },
        ..settings(1, 0.2, &[])
    };
    let mut simulator = crate::simulate::Simulator::new(settings).unwrap();
    let sizes: Vec<usize> = (0..4)
        .map(|_| simulator.by_ref().take(1_800).map(|p| p.metrics.resource_metrics.len()).sum())
        .collect();
    // As many instances export in the fourth cycle, sixteen deploys later, as in the first.
    assert!(sizes.iter().all(|size| size.abs_diff(sizes[0]) < sizes[0] / 10), "{sizes:?}");
    assert_eq!(simulator.faults().len(), 28);
}
