//! The built-in models and what they are trained on.

use expect_test::expect;

use super::check;
use super::notation::{START_NS, Session, shown};

/// An hour and a quarter of a request each five minutes, then a quarter with fewer that take four times as long, one of them
/// an error, and then one that has not ended.
#[test]
fn an_endpoint_is_compared_with_what_it_was() {
    let usual = (0..18).map(|nth| format!("{}/1 web SERVER 20ms name=/pay +{}s", nth + 1, 120 + nth * 300));
    let mut lines: Vec<String> = usual.collect();
    lines.push("100/1 web SERVER 80ms name=/pay +5520s ERROR".to_owned());
    lines.push("101/1 web SERVER 80ms name=/pay +5820s".to_owned());
    lines.push("102/1 web CLIENT 80ms name=/pay +5820s".to_owned());
    lines.push("103/1 web SERVER 80ms name=/pay +6420s".to_owned());
    let sql = "SELECT window_at, operation, request_count, error_ratio, round(request_count_change, 2),
                      round(error_ratio_change, 2), round(latency_p50_change, 2), round(latency_p99_change, 2)
               FROM request_latency_features ORDER BY 1";
    let mut session = Session::new(1);
    session.prepare(sql);
    session.append(&lines);
    session.close_at(START_NS / 1_000_000 + 6_500_000);
    expect![[r#"
        2023-11-14T23:15:00Z /pay 3 0.0 0.0 0.0 0.0 0.0
        2023-11-14T23:30:00Z /pay 3 0.0 0.0 0.0 0.0 0.0
        2023-11-14T23:45:00Z /pay 2 0.5 -0.58 0.5 1.99 1.99
    "#]]
    .assert_eq(&shown(&session.rows(sql)));
}

/// Days of an endpoint that answers in 20 ms and another that answers in 800; and then the first takes as long as the second.
#[test]
fn an_endpoint_that_becomes_slow_is_unlike_others() {
    let quarters = 4 * 24 * 3;
    let line = |quarter: i64, request: i64| {
        let at = quarter * 900 + 130 + request * 60;
        let fast = if quarter == quarters - 1 { 800 } else { 20 };
        let (id, ms) = (quarter * 10 + request + 1, quarter * 7919 % 5);
        [
            format!("{id}/1 web SERVER {}ms name=/fast +{at}s", fast + ms),
            format!("{id}/2 web SERVER {}ms name=/slow +{at}s", 800 + 10 * ms),
        ]
    };
    let requests =
        (0..quarters).flat_map(|quarter| (0..3 + quarter % 2).map(move |request| (quarter, request)));
    let lines: Vec<String> = requests.flat_map(|(quarter, request)| line(quarter, request)).collect();
    let sql = "SELECT a.detected_at, a.operation, round(a.latency_p95_change, 1), a.severity, e.detector, e.value > 700,
                      round(e.expected), e.evidence
               FROM request_anomalies a JOIN anomaly_events e
               ON e.detected_at = a.detected_at AND e.metric_name = 'requests ' || a.operation
               ORDER BY a.score DESC LIMIT 1";
    let mut session = Session::new(1);
    session.prepare(sql);
    session.append(&lines);
    session.close_at(START_NS / 1_000_000 + (quarters + 1) * 900_000);
    expect![[r#"
        2023-11-17T22:00:00Z /fast 5.2 high requests true 22.0 4 requests, 0.0 % failed, latency p50 808.453 ms, p95 808.453 ms, p99 808.453 ms
    "#]].assert_eq(&shown(&session.rows(sql)));
}

#[test]
fn a_window_of_logs_counts_its_templates_and_those_that_are_new() {
    check(
        "
        log web INFO
        log web ERROR +60s
        log web 13 +120s
        log web 9 +150s
        ",
        "SELECT window_at, service_name, record_count, template_count, new_template_count, warn_ratio, error_ratio,
                hour_of_day
         FROM log_window_features ORDER BY 1",
        expect![[r#"
            2023-11-14T22:10:00Z web 2 1 1 0.0 0.5 22
            2023-11-14T22:15:00Z web 2 1 0 0.5 0.0 22
        "#]],
    );
}

#[test]
fn the_models_are_created_when_they_are_named() {
    let mut session = Session::new(1);
    session.prepare("SELECT * FROM log_windows");
    session.prepare("SELECT * FROM request_latency");
    let models = session.rows("SHOW MODELS").into_iter().map(|row| row[..4].to_vec());
    expect![[r#"
        log_windows isolation_forest record_count, template_count, new_template_count, warn_ratio, error_ratio, hour_of_day 0
        request_latency isolation_forest request_count_change, error_ratio_change, latency_p50_change, latency_p95_change, latency_p99_change 0
    "#]]
    .assert_eq(&shown(&models.collect::<Vec<_>>()));
}

/// Two days of a record or two in five minutes, at times ten of which two are errors; and then a hundred errors.
#[test]
fn a_window_of_logs_that_is_like_no_other_is_anomalous() {
    let usual = (0..600_u32).flat_map(|window| {
        let records = if window % 40 == 7 { 10 } else { 1 + window % 2 };
        (0..records).map(move |nth| (window, nth))
    });
    let severity = |nth: u32| if nth > 7 { "ERROR" } else { "INFO" };
    let mut lines: Vec<String> = usual
        .map(|(window, nth)| format!("log web {} +{}s", severity(nth), window * 300 + 130 + nth))
        .collect();
    lines.extend((0..100).map(|nth| format!("log web ERROR +{}s", 600 * 300 + 130 + nth)));
    let sql = "SELECT detected_at, kind, service_name, record_count, error_ratio, score > 0.7, severity
               FROM log_anomalies ORDER BY score DESC LIMIT 1";
    let count = "SELECT count(*) FROM log_anomalies";
    let mut session = Session::new(1);
    session.prepare(sql);
    session.append(&lines);
    // The last window has not ended.
    session.close_at(START_NS / 1_000_000 + 600 * 300_000 + 200_000);
    let before = shown(&session.rows(count));
    session.close_at(START_NS / 1_000_000 + 601 * 300_000 + 200_000);
    let rows = [before, shown(&session.rows(count)), shown(&session.rows(sql))].concat();
    expect![[r#"
        7
        8
        2023-11-17T00:15:00Z window web 100 1.0 true high
    "#]]
    .assert_eq(&rows);
}
