//! Objectives of services, and series that have stopped.

use expect_test::expect;

use super::check;
use super::notation::{START_NS, Session, lines, shown};

#[test]
fn errors_and_slow_requests_use_up_what_a_service_may() {
    check(
        "
        1/1 web SERVER 20ms
        2/1 web SERVER 20ms ERROR
        3/1 web SERVER 20ms
        4/1 web SERVER 900ms
        5/1 web CLIENT 20ms ERROR
        6/1 cart CONSUMER 20ms
        7/1 mail SERVER 900ms
        ",
        "SELECT service_name, request_count, error_count, availability, round(error_budget_remaining),
                round(burn_rate_5m), round(burn_rate_6h), latency_share, status
         FROM service_slo ORDER BY 1",
        expect![[r#"
            cart 1 0 1.0 1.0 0.0 0.0 1.0 ok
            mail 1 0 1.0 1.0 0.0 0.0 0.0 warning
            web 4 1 0.75 -249.0 250.0 250.0 0.75 critical
        "#]],
    );
}

/// An error an hour and a half ago, and none since.
#[test]
fn a_burn_rate_is_that_of_its_period() {
    let sql = "SELECT round(burn_rate_5m), round(burn_rate_1h), round(burn_rate_6h), status FROM service_slo";
    let mut session = Session::new(1);
    session.prepare(sql);
    session.append(&lines("1/1 web SERVER 20ms ERROR\n2/1 web SERVER 20ms +5400s"));
    session.close_at((START_NS / 1_000_000) + 5_430_000);
    expect![[r#"
        0.0 0.0 500.0 warning
    "#]]
    .assert_eq(&shown(&session.rows(sql)));
}

#[test]
fn a_series_that_stops_is_said_to_be_missing() {
    let sql = "SELECT service_name, last_seen_at, count(*) FROM missing_data GROUP BY 1, 2";
    let mut session = Session::new(1);
    session.prepare(sql);
    session.append(&lines("1/1 web SERVER 20ms\n2/1 cart SERVER 20ms\n3/1 cart SERVER 20ms +600s"));
    session.close_at((START_NS / 1_000_000) + 600_000);
    expect![[r#"
        web 2023-11-14T22:13:00Z 5
    "#]]
    .assert_eq(&shown(&session.rows(sql)));
}
