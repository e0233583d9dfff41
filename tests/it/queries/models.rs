//! The built-in models and what they are trained on.

use expect_test::expect;

use super::check;
use super::notation::{START_NS, Session, shown};

#[test]
fn an_endpoint_has_a_row_a_quarter_of_an_hour() {
    check(
        "
        1/1 web SERVER 20ms name=/pay
        2/1 web SERVER 20ms +60s name=/pay ERROR
        3/1 web SERVER 20ms +120s name=/pay
        4/1 web CLIENT 20ms name=/pay
        ",
        "SELECT window_at, service_name, operation, request_count, error_ratio FROM request_latency_features ORDER BY 1",
        expect![[r#"
            2023-11-14T22:00:00Z web /pay 2 0.5
            2023-11-14T22:15:00Z web /pay 1 0.0
        "#]],
    );
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
        request_latency isolation_forest request_count, error_ratio, latency_ms_p50, latency_ms_p95, latency_ms_p99 0
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
