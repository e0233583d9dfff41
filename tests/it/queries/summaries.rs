//! Operations, services, traces, metrics and logs: what is counted, and where.

use expect_test::expect;

use super::{check, check_retried};

#[test]
fn operations_by_minute() {
    check_retried(
        "
        1/1 web - name=GET 10ms
        1/2 web - name=GET 30ms +59s ERROR
        1/3 web - name=GET 50ms +60s
        1/4 web - name=PUT
        1/5 -   - name=GET
        ",
        "SELECT minute_at, service_name, operation, call_count, round(calls_per_second, 3), error_count, error_ratio,
             avg_latency_ms, round(latency_ms_p50), round(latency_ms_p95), round(latency_ms_p99)
         FROM operation_latency ORDER BY 1, 2, 3",
        expect![[r#"
            2023-11-14T22:13:00Z web GET 2 0.033 1 0.5 20.0 10.0 10.0 10.0
            2023-11-14T22:13:00Z web PUT 1 0.017 0 0.0 10.0 10.0 10.0 10.0
            2023-11-14T22:13:00Z null GET 1 0.017 0 0.0 10.0 10.0 10.0 10.0
            2023-11-14T22:14:00Z web GET 1 0.017 0 0.0 50.0 50.0 50.0 50.0
        "#]],
    );
}

#[test]
fn the_health_of_a_service_is_that_of_its_requests() {
    check_retried(
        "
        1/1   web  SERVER 40ms       @host.name=a
        1/2<1 web  INTERNAL 1ms      @host.name=a ERROR
        1/3<2 cart - 20ms +10s       @host.name=b @service.instance.id=i
        1/4<3 cart - 9ms  +10s ERROR @host.name=c @service.instance.id=i
        2/1<f lost SERVER ERROR
        3/1<3 cart - ERROR           @host.name=b
        ",
        "SELECT service_name, status, request_count, requests_per_second, error_count, error_ratio, avg_latency_ms,
             round(latency_ms_p50), span_count, span_error_count, instance_count, first_seen_at, last_seen_at
         FROM service_health ORDER BY 1",
        expect![[r#"
            cart healthy 1 0.1 0 0.0 20.0 20.0 3 2 2 2023-11-14T22:13:00Z 2023-11-14T22:13:10Z
            lost healthy 0 0.0 0 0.0 null null 1 1 0 2023-11-14T22:13:00Z 2023-11-14T22:13:00Z
            web healthy 1 1.0 0 0.0 40.0 40.0 2 1 1 2023-11-14T22:13:00Z 2023-11-14T22:13:00Z
        "#]],
    );
}

#[test]
fn a_service_is_degraded_from_one_percent_of_errors_on_and_failing_from_five() {
    let mut text = String::new();
    for (service, errors) in [("none", 0), ("some", 1), ("more", 4), ("many", 5)] {
        for span in 1..=100 {
            let status = if span <= errors { "ERROR" } else { "" };
            text += &format!("{}/{span} {service} - {status}\n", 1 + errors);
        }
    }
    check(
        &text,
        "SELECT service_name, status, error_count, error_ratio FROM service_health ORDER BY error_count",
        expect![[r#"
            none healthy 0 0.0
            some degraded 1 0.01
            more degraded 4 0.04
            many failing 5 0.05
        "#]],
    );
}

#[test]
fn a_trace_reaches_from_its_first_span_to_its_last() {
    check_retried(
        "
        1/1   web  SERVER name=GET 500ms +1s
        1/2<1 cart - 2000ms +2s ERROR
        1/3<2 cart - +3s
        2/2<1 cart - name=orphan
        ",
        "SELECT right(trace_id, 1), root_service_name, root_name, started_at, ended_at, duration_ms, span_count,
             service_count, error_count
         FROM traces ORDER BY 1",
        expect![[r#"
            1 web GET 2023-11-14T22:13:01Z 2023-11-14T22:13:04Z 3000.0 3 2 1
            2 null null 2023-11-14T22:13:00Z 2023-11-14T22:13:00.010Z 10.0 1 1 0
        "#]],
    );
}

#[test]
fn metrics_in_three_resolutions() {
    check(
        "
        gauge cpu web 1.5 +0s  core=0
        gauge cpu web 0.5 +14s core=0
        gauge cpu web 4   +15s core=0
        gauge cpu web 8   +60s core=0
        gauge cpu web 9   +0s  core=1
        ",
        "SELECT resolution, bucket_at, attributes['core'], count, sum, min, max, round(avg, 2)
         FROM metric_rollups ORDER BY 1, 2, 3",
        expect![[r#"
            15s 2023-11-14T22:13:00Z 0 2 2.0 0.5 1.5 1.0
            15s 2023-11-14T22:13:00Z 1 1 9.0 9.0 9.0 9.0
            15s 2023-11-14T22:13:15Z 0 1 4.0 4.0 4.0 4.0
            15s 2023-11-14T22:14:00Z 0 1 8.0 8.0 8.0 8.0
            1m 2023-11-14T22:13:00Z 0 3 6.0 0.5 4.0 2.0
            1m 2023-11-14T22:13:00Z 1 1 9.0 9.0 9.0 9.0
            1m 2023-11-14T22:14:00Z 0 1 8.0 8.0 8.0 8.0
            5m 2023-11-14T22:10:00Z 0 4 14.0 0.5 8.0 3.5
            5m 2023-11-14T22:10:00Z 1 1 9.0 9.0 9.0 9.0
        "#]],
    );
}

#[test]
fn instances_are_series_of_their_own() {
    check(
        "
        gauge cpu web 1 @host.name=a
        gauge cpu web 2 @host.name=b
        gauge cpu web 3 @host.name=b @service.instance.id=i
        gauge cpu web 4
        ",
        "SELECT instance, count, sum FROM metric_rollups WHERE resolution = '1m' ORDER BY 1",
        expect![[r#"
            a 1 1.0
            b 1 2.0
            i 1 3.0
            null 1 4.0
        "#]],
    );
}

#[test]
fn histograms_tell_the_values_behind_their_points() {
    check(
        "
        delta   latency web 2:10
        delta   latency web 3:20 +1s
        total   size    web 2:10
        total   size    web 5:30 +1s
        summary pause   web 4:8
        summary pause   web 6:9 +1s
        delta   idle    web 0:0
        counter served  web 5
        counter served  web 9 +1s
        ",
        "SELECT name, type, temporality, count, sum, min, max, avg
         FROM metric_rollups WHERE resolution = '1m' ORDER BY 1",
        expect![[r#"
            idle histogram delta 0 0.0 null null null
            latency histogram delta 5 30.0 null null 6.0
            pause summary null 6 9.0 null null 1.5
            served sum cumulative 2 14.0 5.0 9.0 7.0
            size histogram cumulative 5 30.0 null null 6.0
        "#]],
    );
}

#[test]
fn logs_by_severity_and_minute() {
    check(
        "
        log web warn +0s
        log web warn +59s
        log web warn +60s
        log web 17
        log web 24
        log -   9
        ",
        "SELECT minute_at, service_name, severity_text, record_count, round(records_per_second, 3)
         FROM log_rates ORDER BY 1, 2, 3",
        expect![[r#"
            2023-11-14T22:13:00Z web ERROR 1 0.017
            2023-11-14T22:13:00Z web FATAL 1 0.017
            2023-11-14T22:13:00Z web warn 2 0.033
            2023-11-14T22:13:00Z null INFO 1 0.017
            2023-11-14T22:14:00Z web warn 1 0.017
        "#]],
    );
}
