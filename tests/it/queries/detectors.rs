//! What detectors make of telemetry whose faults are known.

use expect_test::expect;

use super::notation::{Session, shown};
use super::{check, check_after};

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
    check_after(
        151,
        &outage(),
        "SELECT detected_at, last_detected_at, escalated_at, detectors, service_name, metric_name, round(value),
                round(expected), severity, event_count, status
         FROM anomalies ORDER BY 1, 5, 6",
        expect![[r#"
            2023-11-15T00:13:00Z 2023-11-15T00:23:00Z null change_point, three_sigma web error_ratio 1.0 0.0 critical 6 closed
            2023-11-15T00:13:00Z 2023-11-15T00:23:00Z null change_point, three_sigma web latency_ms_p50 893.0 12.0 critical 6 closed
            2023-11-15T00:13:00Z 2023-11-15T00:23:00Z null change_point web latency_ms_p95 365.0 12.0 low 2 closed
            2023-11-15T00:13:00Z 2023-11-15T00:23:00Z null change_point web latency_ms_p99 365.0 12.0 low 2 closed
        "#]],
    );
}

#[test]
fn each_minute_of_an_outage_is_an_event_of_what_shows_it() {
    check_after(
        151,
        &outage(),
        "SELECT detected_at, detector, metric_name, round(score, 1), round(deviation_percent), severity, evidence
         FROM anomaly_events WHERE metric_name IN ('error_ratio', 'latency_ms_p99') ORDER BY 1, 2, 3",
        expect![[r#"
            2023-11-15T00:13:00Z change_point error_ratio 1.0 null low a level of 0.0 before and 0.4 since, certain after 20 minutes
            2023-11-15T00:13:00Z change_point latency_ms_p99 1.0 2955.0 low a level of 11.934 before and 364.639 since, certain after 31 minutes
            2023-11-15T00:13:00Z three_sigma error_ratio inf null critical a mean of 0.0 with a deviation of 0.0 in the last 1440 minutes that have a value
            2023-11-15T00:14:00Z three_sigma error_ratio 3.6 11900.0 critical a mean of 0.008 with a deviation of 0.091 in the last 1440 minutes that have a value
            2023-11-15T00:15:00Z three_sigma error_ratio 2.6 5950.0 high a mean of 0.017 with a deviation of 0.128 in the last 1440 minutes that have a value
            2023-11-15T00:16:00Z three_sigma error_ratio 2.1 3967.0 high a mean of 0.025 with a deviation of 0.156 in the last 1440 minutes that have a value
            2023-11-15T00:23:00Z change_point error_ratio 0.5 -100.0 low a level of 0.4 before and 0.0 since, certain after 10 minutes
            2023-11-15T00:23:00Z change_point latency_ms_p99 0.5 -97.0 low a level of 364.639 before and 11.823 since, certain after 21 minutes
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

/// A database with what `sql` reads, after four days of a line a minute.
fn after_four_days(line: impl Fn(u32) -> String, sql: &str) -> Session {
    let mut session = Session::new(1);
    session.prepare(sql);
    session.append(&(0..4 * 1440).map(line).collect::<Vec<_>>());
    session.close_after(4 * 1440);
    session
}

/// Four days of a service whose requests take longer by day than by night, and once by night nearly as long as by day.
#[test]
fn a_day_is_measured_against_the_days_before() {
    let line = |minute: u32| {
        let of_day = minute % 1440;
        let ms = if (480..1200).contains(&of_day) { 80 } else { 20 } + minute * 7 % 5;
        let ms = if minute == 4540 { 60 } else { ms };
        format!("{}/1 web SERVER {ms}ms +{}s", minute + 1, minute * 60)
    };
    let sql = "SELECT minute_at, metric_name, round(value), round(expected), score > 5
               FROM baselines WHERE anomalous AND score > 3 ORDER BY 1, 2";
    let mut session = after_four_days(line, sql);
    expect![[r#"
        2023-11-18T01:53:00Z latency_ms_p50 60.0 20.0 true
        2023-11-18T01:53:00Z latency_ms_p95 60.0 20.0 true
        2023-11-18T01:53:00Z latency_ms_p99 60.0 20.0 true
    "#]]
    .assert_eq(&shown(&session.rows(sql)));
    let fitted = session
        .rows("SELECT count(*) FROM baselines WHERE expected IS NOT NULL AND metric_name = 'error_ratio'");
    expect![[r#"
        2514
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
    check_after(
        91,
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

/// Four days, of which each second half of a day is slow: changes of the first two are known as such, those of the last are
/// expected.
#[test]
fn a_season_is_no_change_once_it_is_expected() {
    let line = |minute: u32| {
        let ms = if minute % 1440 >= 720 { 80 } else { 20 } + minute * 7 % 11;
        format!("{}/1 web SERVER {ms}ms +{}s", minute + 1, minute * 60)
    };
    let sql = "SELECT count(*) FILTER (WHERE c.changed_at < f.first_at) > 0,
                      count(*) FILTER (WHERE c.changed_at >= f.first_at)
               FROM change_points c
               CROSS JOIN (SELECT min(minute_at) AS first_at FROM baselines WHERE expected IS NOT NULL) AS f
               WHERE c.metric_name = 'latency_ms_p95'";
    let mut session = after_four_days(line, sql);
    expect![[r#"
        true 0
    "#]]
    .assert_eq(&shown(&session.rows(sql)));
}

/// What is always the same has residuals that are rounding, and no levels.
#[test]
fn a_steady_series_has_no_change() {
    let line = |minute: u32| format!("{}/1 web SERVER 20ms +{}s", minute + 1, minute * 60);
    let sql = "SELECT (SELECT count(*) FROM baselines WHERE expected IS NOT NULL) > 0, (SELECT count(*) FROM change_points)";
    let mut session = after_four_days(line, sql);
    expect![[r#"
        true 0
    "#]]
    .assert_eq(&shown(&session.rows(sql)));
}

/// Somebody sees to one of four incidents while it goes on; and to one that there is not.
#[test]
fn an_anomaly_is_acknowledged_by_its_id() {
    let mut session = Session::new(1);
    let sql = "SELECT metric_name, status, note, acknowledged_at FROM anomalies ORDER BY 1";
    session.prepare(sql);
    session.append(&super::lines(&outage()));
    session.close_after(128);
    let id = session.rows("SELECT id FROM anomalies WHERE metric_name = 'error_ratio'").remove(0).remove(0);
    let calls = [
        format!("CALL acknowledge_anomaly('{id}', 'it''s DNS')"),
        format!("CALL acknowledge_anomaly('{id}')"),
        format!("CALL acknowledge_anomaly('{id}', 'rolled back')"),
        "CALL acknowledge_anomaly('nothing', 'to see')".to_owned(),
    ];
    let written = calls.map(|call| session.write(&call));
    assert_eq!(written, [1, 1, 1, 0]);
    // Nothing has changed since, but a later look will have moved the beginning by a minute.
    session.close_after(130);
    let open = shown(&session.rows(sql));
    session.close_after(160);
    let closed = shown(&session.rows(sql));
    assert_eq!(session.write("DELETE FROM anomaly_acknowledgements WHERE note LIKE 'rolled%'"), 1);
    session.close_after(161);
    assert_eq!(session.rows("SELECT count(*) FROM anomalies WHERE note IS NOT NULL"), [["0"]]);
    expect![[r#"
        error_ratio acknowledged rolled back 2023-11-15T00:21:00.002Z
        latency_ms_p50 open null null
        latency_ms_p95 open null null
        latency_ms_p99 open null null
        error_ratio closed rolled back 2023-11-15T00:21:00.002Z
        latency_ms_p50 closed null null
        latency_ms_p95 closed null null
        latency_ms_p99 closed null null
    "#]]
    .assert_eq(&(open + &closed));
    for (call, message) in [
        ("CALL acknowledge_anomaly()", "takes 1 to 2 arguments"),
        ("CALL acknowledge_anomaly(id => 'a')", "by position"),
        (
            "CALL close_anomaly('a')",
            "procedure \"close_anomaly\" does not exist; there is acknowledge_anomaly",
        ),
    ] {
        let error = undercurrent::sql::statement::parse(call).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}
