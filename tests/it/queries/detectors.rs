//! What detectors make of telemetry whose faults are known.

use expect_test::expect;

use super::check;
use super::notation::{Session, shown};

/// Two hours and more of a service that answers in some 10 ms, one request a minute, but for four minutes in which it takes
/// 900 ms and fails.
pub fn outage() -> String {
    let line = |minute: u32| {
        let is_broken = (120..124).contains(&minute);
        let ms = if is_broken { 900 } else { 10 + minute * 7 % 5 };
        let status = if is_broken { "ERROR" } else { "" };
        format!("{}/1 web SERVER {ms}ms +{}s {status}\n", 1000 + minute, minute * 60)
    };
    (1..=150).map(line).collect()
}

#[test]
fn an_outage_is_one_incident_of_each_series_that_shows_it() {
    check(
        &outage(),
        "SELECT detected_at, last_detected_at, detectors, service_name, metric_name, round(value), round(expected),
                severity, event_count, status
         FROM anomalies ORDER BY 1, 4, 5",
        expect![[r#"
            2023-11-15T00:13:00Z 2023-11-15T00:23:00Z change_point, three_sigma web error_ratio 1.0 0.0 critical 6 open
            2023-11-15T00:13:00Z 2023-11-15T00:23:00Z change_point, three_sigma web latency_ms_p50 893.0 12.0 critical 6 open
            2023-11-15T00:13:00Z 2023-11-15T00:23:00Z change_point, three_sigma web latency_ms_p95 893.0 12.0 critical 6 open
            2023-11-15T00:13:00Z 2023-11-15T00:23:00Z change_point, three_sigma web latency_ms_p99 893.0 12.0 critical 6 open
        "#]],
    );
}

#[test]
fn each_minute_of_an_outage_is_an_event_of_what_shows_it() {
    check(
        &outage(),
        "SELECT detected_at, detector, metric_name, round(score, 1), round(deviation_percent), severity
         FROM anomaly_events WHERE metric_name IN ('error_ratio', 'latency_ms_p99') ORDER BY 1, 2, 3",
        expect![[r#"
            2023-11-15T00:13:00Z change_point error_ratio 1.0 null low
            2023-11-15T00:13:00Z change_point latency_ms_p99 1.0 2955.0 low
            2023-11-15T00:13:00Z three_sigma error_ratio inf null critical
            2023-11-15T00:13:00Z three_sigma latency_ms_p99 209.0 7387.0 critical
            2023-11-15T00:14:00Z three_sigma error_ratio 3.6 11900.0 critical
            2023-11-15T00:14:00Z three_sigma latency_ms_p99 3.6 4534.0 critical
            2023-11-15T00:15:00Z three_sigma error_ratio 2.6 5950.0 high
            2023-11-15T00:15:00Z three_sigma latency_ms_p99 2.6 3271.0 high
            2023-11-15T00:16:00Z three_sigma error_ratio 2.1 3967.0 high
            2023-11-15T00:16:00Z three_sigma latency_ms_p99 2.1 2558.0 high
            2023-11-15T00:23:00Z change_point error_ratio 0.5 -100.0 low
            2023-11-15T00:23:00Z change_point latency_ms_p99 0.5 -97.0 low
        "#]],
    );
}

#[test]
fn a_service_is_a_series_of_each_metric() {
    check(
        "
        1/1 web SERVER 20ms
        1/2<1 web - 10ms ERROR
        2/1 cart SERVER 30ms +60s
        ",
        "SELECT minute_at, service_name, metric_name, round(value, 3), unit FROM performance_metrics ORDER BY 1, 2, 3",
        expect![[r#"
            2023-11-14T22:13:00Z web error_ratio 0.5 1
            2023-11-14T22:13:00Z web latency_ms_p50 9.924 ms
            2023-11-14T22:13:00Z web latency_ms_p95 9.924 ms
            2023-11-14T22:13:00Z web latency_ms_p99 9.924 ms
            2023-11-14T22:13:00Z web request_rate 0.033 1/s
            2023-11-14T22:14:00Z cart error_ratio 0.0 1
            2023-11-14T22:14:00Z cart latency_ms_p50 29.815 ms
            2023-11-14T22:14:00Z cart latency_ms_p95 29.815 ms
            2023-11-14T22:14:00Z cart latency_ms_p99 29.815 ms
            2023-11-14T22:14:00Z cart request_rate 0.017 1/s
        "#]],
    );
}

/// Three days of a service whose requests take longer by day than by night, and once by night nearly as long as by day.
#[test]
fn a_day_is_measured_against_the_days_before() {
    let line = |minute: u32| {
        let of_day = minute % 1440;
        let ms = if (480..1200).contains(&of_day) { 80 } else { 20 } + minute * 7 % 5;
        let ms = if minute == 3100 { 60 } else { ms };
        format!("{}/1 web SERVER {ms}ms +{}s", minute + 1, minute * 60)
    };
    let mut session = Session::new(1);
    let sql = "SELECT minute_at, metric_name, round(value), round(expected), score > 5
               FROM baselines WHERE anomalous AND score > 3 ORDER BY 1, 2";
    session.prepare(sql);
    session.append(&(0..3 * 1440).map(line).collect::<Vec<_>>());
    session.close();
    expect![[r#"
        2023-11-17T01:53:00Z latency_ms_p50 60.0 20.0 true
        2023-11-17T01:53:00Z latency_ms_p95 60.0 20.0 true
        2023-11-17T01:53:00Z latency_ms_p99 60.0 20.0 true
    "#]]
    .assert_eq(&shown(&session.rows(sql)));
    let fitted = session
        .rows("SELECT count(*) FROM baselines WHERE expected IS NOT NULL AND metric_name = 'error_ratio'");
    expect![[r#"
        1333
    "#]]
    .assert_eq(&shown(&fitted));
}

#[test]
fn lines_are_counted_by_template_and_pattern() {
    let text = "
        log web INFO
        log web ERROR +3s
        log cart WARN +9s
        ";
    check(
        text,
        "SELECT service_name, template, record_count, first_seen_at, last_seen_at, severity_number
         FROM log_templates ORDER BY 1, 2",
        expect![[r#"
            cart text 1 2023-11-14T22:13:09Z 2023-11-14T22:13:09Z null
            web text 2 2023-11-14T22:13:00Z 2023-11-14T22:13:03Z null
        "#]],
    );
    check(
        text,
        "SELECT service_name, template, record_count, severity, is_new FROM log_patterns ORDER BY 1, 2",
        expect![[r#"
            cart text 1 null false
            web text 2 null false
        "#]],
    );
}

#[test]
fn levels_change_where_the_outage_begins_and_ends_if_it_is_long_enough() {
    let line = |minute: u32| {
        let ms = if minute >= 60 { 300 } else { 10 } + minute * 7 % 5;
        format!("{minute}/1 web SERVER {ms}ms +{}s\n", minute * 60)
    };
    check(
        &(1..=90).map(line).collect::<String>(),
        "SELECT changed_at, service_name, metric_name, round(mean_before), round(mean_after), certain_after
         FROM change_points ORDER BY 3",
        expect![[r#"
            2023-11-14T23:13:00Z web latency_ms_p50 12.0 302.0 10
            2023-11-14T23:13:00Z web latency_ms_p95 12.0 302.0 10
            2023-11-14T23:13:00Z web latency_ms_p99 12.0 302.0 10
        "#]],
    );
}

/// Three days, of which each second half of a day is slow: changes of the first two are known as such, those of the third are
/// expected.
#[test]
fn a_season_is_no_change_once_it_is_expected() {
    let line = |minute: u32| {
        let ms = if minute % 1440 >= 720 { 80 } else { 20 } + minute * 7 % 11;
        format!("{}/1 web SERVER {ms}ms +{}s", minute + 1, minute * 60)
    };
    let mut session = Session::new(1);
    let sql = "SELECT count(*) FILTER (WHERE c.changed_at < f.first_at) > 0,
                      count(*) FILTER (WHERE c.changed_at >= f.first_at)
               FROM change_points c
               CROSS JOIN (SELECT min(minute_at) AS first_at FROM baselines WHERE expected IS NOT NULL) AS f
               WHERE c.metric_name = 'latency_ms_p95'";
    session.prepare(sql);
    session.append(&(0..3 * 1440).map(line).collect::<Vec<_>>());
    session.close();
    expect![[r#"
        true 0
    "#]]
    .assert_eq(&shown(&session.rows(sql)));
}

/// What is always the same has residuals that are rounding, and no levels.
#[test]
fn a_steady_series_has_no_change() {
    let line = |minute: u32| format!("{}/1 web SERVER 20ms +{}s", minute + 1, minute * 60);
    let mut session = Session::new(1);
    let sql = "SELECT (SELECT count(*) FROM baselines WHERE expected IS NOT NULL) > 0, (SELECT count(*) FROM change_points)";
    session.prepare(sql);
    session.append(&(0..4 * 1440).map(line).collect::<Vec<_>>());
    session.close();
    expect![[r#"
        true 0
    "#]]
    .assert_eq(&shown(&session.rows(sql)));
}
