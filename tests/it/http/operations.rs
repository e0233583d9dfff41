//! Health, readiness and metrics.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::in_process::{InProcess, curl};
use crate::server::eventually;

/// The samples of a text in the format of Prometheus, by name and labels. Refuses what a strict reader refuses.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let (mut types, mut helped): (BTreeMap<&str, &str>, BTreeSet<&str>) = Default::default();
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help text");
            assert!(helped.insert(name) && !help.is_empty(), "HELP twice or empty: {line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(types.insert(name, kind).is_none(), "TYPE twice: {line}");
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let name = series.split('{').next().unwrap();
            assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':'), "{line}");
            let family = ["_bucket", "_sum", "_count"].iter().find_map(|s| {
                let family = name.strip_suffix(s)?;
                (types.get(family) == Some(&"histogram")).then_some(family)
            });
            let family = family.unwrap_or(name);
            let kind = types.get(family).unwrap_or_else(|| panic!("a sample before its TYPE: {line}"));
            assert!(*kind != "counter" || name.ends_with("_total"), "a counter without _total: {line}");
            assert!(*kind == "counter" || !name.ends_with("_total"), "no counter: {line}");
            assert!(helped.contains(family));
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
            assert!(*kind != "counter" || value >= 0.0);
            assert!(samples.insert(series.to_owned(), value).is_none(), "twice: {line}");
        }
    }
    samples
}

#[test]
fn metrics_tell_of_views_streams_and_the_intake() {
    let server = InProcess::start(&[("intake.bytes_max", "1 MiB")]);
    server.query("SELECT * FROM service_health");
    server.send("1/1 web SERVER\n1/2<1 cart SERVER");
    let scrape = || {
        let got = curl(&[&server.url("/metrics")]);
        assert_eq!(got.content_type, "text/plain; version=0.0.4; charset=utf-8");
        samples(got.text())
    };
    let metrics = eventually(scrape, |m| m["undercurrent_intake_bytes"] == 0.0);
    for (series, expected) in [
        ("undercurrent_view_rows{view=\"service_health\"}", 2.0),
        ("undercurrent_view_failed{view=\"service_health\"}", 0.0),
        ("undercurrent_view_late_rows_total{view=\"service_health\"}", 0.0),
        ("undercurrent_stream_rows_total{stream=\"spans\"}", 2.0),
        ("undercurrent_stream_stored_rows{stream=\"spans\"}", 2.0),
        ("undercurrent_stream_evicted_rows_total{stream=\"spans\"}", 0.0),
        ("undercurrent_intake_limit_bytes", 1_048_576.0),
        ("undercurrent_views", 1.0),
        ("undercurrent_freshness_seconds_count", 1.0),
        (concat!("undercurrent_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1.0),
    ] {
        assert_eq!(metrics.get(series), Some(&expected), "{series}");
    }
    assert!(metrics["undercurrent_view_state_bytes{view=\"service_health\"}"] > 0.0);
    assert!(metrics["undercurrent_stream_stored_bytes{stream=\"spans\"}"] > 0.0);
    assert!(metrics["process_resident_memory_bytes"] > 1e6);
    assert!(metrics["undercurrent_connections{protocol=\"http\"}"] >= 1.0);
    // The same in SQL.
    let rows = server.query("SELECT value FROM engine_metrics WHERE name = 'undercurrent_view_rows'").rows;
    assert_eq!(rows, [["2.0"]]);
    // A view that is gone is told of no more.
    curl(&[&server.url("/api/v1/sql"), "--data-binary", "DROP VIEW service_health"]);
    assert!(!scrape().contains_key("undercurrent_view_rows{view=\"service_health\"}"));
    let statements = scrape()["undercurrent_statements_total{protocol=\"http\",status=\"ok\"}"];
    assert_eq!(statements, 1.0);
}

#[test]
fn a_stopped_engine_lives_but_is_not_ready() {
    let server = InProcess::start(&[]);
    let health = curl(&[&server.url("/health")]);
    assert_eq!((health.status, &health.json()["status"]), (200, &json!("ok")));
    assert_eq!(curl(&[&server.url("/ready")]).json(), json!({ "status": "ready" }));
    server.runtime.block_on(server.live.stop());
    let ready = eventually(|| curl(&[&server.url("/ready")]), |got| got.status == 503);
    assert!(ready.json()["reason"].as_str().unwrap().starts_with("the engine has stopped"));
    assert_eq!(curl(&[&server.url("/health")]).status, 200);
    for path in ["/api/v1/sql?sql=SELECT%201", "/api/v1/subscribe?view=traces", "/api/services"] {
        assert_eq!(curl(&[&server.url(path)]).status, 503, "{path}");
    }
}

#[test]
fn what_is_not_there_is_said_as_json() {
    let server = InProcess::start(&[]);
    assert!(curl(&[&server.url("/")]).text().contains("POST /api/v1/sql"));
    let got = curl(&[&server.url("/nothing")]);
    assert_eq!(
        (got.status, &got.json()["error"]["message"]),
        (404, &json!("there is nothing at \"/nothing\""))
    );
    let got = curl(&["-X", "DELETE", &server.url("/api/v1/sql")]);
    assert_eq!((got.status, &got.json()["error"]["code"]), (405, &json!("method_not_allowed")));
}
