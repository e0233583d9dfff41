//! What is predicted of series that go on as they do.

use expect_test::expect;

use super::notation::{Session, shown};

const SQL: &str = "SELECT predicted_at, alert_type, service_name, metric_name, round(value, 1), round(predicted_value, 1), limit_value,
           crosses_at, round(confidence, 2)
    FROM predictive_alerts ORDER BY 3, 4";

/// The rows after `lines`, `minutes` minutes after the first.
fn after(lines: Vec<String>, minutes: i64) -> String {
    let mut session = Session::new(1);
    session.prepare(SQL);
    session.append(&lines);
    session.close_after(minutes);
    shown(&session.rows(SQL))
}

/// Half an hour in which `web` takes 10 ms longer each minute, `cart` always the same, `mail` is at its limit already, and a
/// disk fills by 1 % a minute.
#[test]
fn what_rises_crosses_its_limit() {
    let lines = (0..30).flat_map(|minute: u32| {
        let at = minute * 60;
        [
            format!("{}/1 web SERVER {}ms +{at}s", 1000 + minute, 100 + 10 * minute + minute % 3),
            format!("{}/1 cart SERVER {}ms +{at}s", 2000 + minute, 400 + minute % 3),
            format!("{}/1 mail SERVER {}ms +{at}s", 3000 + minute, 900 + 10 * minute),
            format!("gauge system.filesystem.utilization web {} +{at}s", 0.5 + f64::from(minute) / 100.0),
            format!("gauge system.filesystem.utilization web 0.1 +{at}s device=b"),
        ]
    });
    expect![[r#"
        2023-11-14T22:42:00Z performance_issue web latency_ms_p95 391.0 691.2 500.0 2023-11-14T22:52:54Z 1.0
        2023-11-14T22:42:00Z capacity web system.filesystem.utilization 0.8 1.1 0.9 2023-11-14T22:53:00Z 1.0
    "#]]
    .assert_eq(&after(lines.collect(), 30));
}

/// The same over fourteen minutes, which say too little.
#[test]
fn a_line_takes_fifteen_minutes() {
    let line = |minute: u32| format!("{}/1 web SERVER {}ms +{}s", minute + 1, 100 + 20 * minute, minute * 60);
    expect![[r#""#]].assert_eq(&after((0..14).map(line).collect(), 14));
    expect![[r#"
        2023-11-14T22:27:00Z performance_issue web latency_ms_p95 380.3 981.2 500.0 2023-11-14T22:32:59Z 1.0
    "#]]
    .assert_eq(&after((0..15).map(line).collect(), 15));
}

/// Values that scatter widely around a line that rises say nothing for sure.
#[test]
fn what_scatters_is_not_predicted() {
    let line = |minute: u32| {
        let ms = 100 + 5 * minute + minute * 7919 % 13 * 25;
        format!("{}/1 web SERVER {ms}ms +{}s", minute + 1, minute * 60)
    };
    expect![[r#""#]].assert_eq(&after((0..30).map(line).collect(), 30));
}

/// Five days, in each of which the latency rises by 8 ms a minute for an hour and then falls: the season says that it will be
/// too high before any line could, and that it will fall again while it still rises.
#[test]
fn a_season_is_part_of_what_is_predicted() {
    let line = |minute: u32| {
        let of_day = minute % 1440;
        let ms = match of_day {
            660..720 => 100 + 8 * (of_day - 660),
            720..780 => 580 - 8 * (of_day - 720),
            _ => 100,
        };
        format!("{}/1 web SERVER {}ms +{}s", minute + 1, ms + minute % 3, minute * 60)
    };
    let mut rows = String::new();
    for of_day in [650, 690, 705] {
        let minute = 4 * 1440 + of_day;
        rows += &format!("{of_day}\n");
        rows += &after((0..minute).map(line).collect(), i64::from(minute));
    }
    expect![[r#"
        650
        690
        2023-11-19T09:42:00Z performance_issue web latency_ms_p95 335.3 575.4 500.0 2023-11-19T10:02:35Z 1.0
        705
    "#]]
    .assert_eq(&rows);
}
