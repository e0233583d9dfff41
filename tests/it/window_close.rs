//! EMIT ON WINDOW CLOSE: each row once, when its window has ended.

use std::collections::BTreeMap;

use expect_test::expect;
use futures::StreamExt;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use undercurrent::engine::{Answer, Source, Subscription};
use undercurrent::telemetry::Batch;

use crate::in_process::InProcess;
use crate::postgres::connect;
use crate::support::{Server, batch, row_texts, table};

fn subscribe(server: &mut Server, sql: &str) -> Subscription {
    match server.answer(sql) {
        Ok(Answer::Subscription(subscription)) => subscription,
        Ok(_) => panic!("no subscription: {sql}"),
        Err(error) => panic!("{sql}: {error}"),
    }
}

/// What a subscription tells now, a line a row: tick and diff, then the row.
fn told(subscription: &mut Subscription) -> Vec<String> {
    let mut lines = vec![];
    while let Some(batches) = subscription.try_next().expect("a subscription that goes on") {
        lines.extend(batches.iter().flat_map(row_texts).map(|row| row.join(" | ")));
    }
    lines.sort();
    lines
}

fn log(ms: u64, service: &str) -> Value {
    let at = chrono::DateTime::from_timestamp_millis(ms as i64).expect("a time");
    json!({ "ts": at.to_rfc3339(), "service_name": service, "body": format!("{}", ms / 7) })
}

#[test]
fn a_window_is_told_once_and_corrections_are_counted() {
    let mut server = Server::new(2);
    server.run(
        "CREATE MATERIALIZED VIEW v AS
         SELECT window_end, service_name, count(*) AS n FROM TUMBLE(logs, ts, INTERVAL '1 minute') GROUP BY 1, 2",
    );
    let mut text = String::new();
    let mut note = |at: &str, lines: Vec<String>| text += &format!("{at}\n{}", lines.join("\n") + "\n");
    server.append(table("logs"), &[log(5_000, "web"), log(61_000, "web")]);
    server.close(30_000);
    let mut subscription = subscribe(&mut server, "SUBSCRIBE TO v EMIT ON WINDOW CLOSE");
    note("begin", told(&mut subscription));
    server.append(table("logs"), &[log(59_999, "web"), log(30_000, "cart")]);
    server.close(59_999);
    note("a millisecond before the end", told(&mut subscription));
    server.close(60_000);
    note("the end", told(&mut subscription));
    server.append(table("logs"), &[log(1_000, "web"), log(2_000, "late"), log(62_000, "web")]);
    server.close(70_000);
    note("late rows", told(&mut subscription));
    server.close(500_000);
    note("long after", told(&mut subscription));
    let counted = server.query("SELECT corrected_rows FROM view_stats WHERE view = 'v'").expect("a row");
    note("corrected", counted.sorted());
    let mut again = subscribe(&mut server, "SUBSCRIBE TO v EMIT ON WINDOW CLOSE WITH (SNAPSHOT)");
    note("from the beginning, later", told(&mut again));
    let mut fresh = subscribe(&mut server, "SUBSCRIBE TO v WITH (SNAPSHOT = false) EMIT ON WINDOW CLOSE");
    note("what ended before is not told without a snapshot", told(&mut fresh));
    expect![[r#"
        begin

        a millisecond before the end

        the end
        1970-01-01T00:01:00Z | 1 | 1970-01-01T00:01:00Z | cart | 1
        1970-01-01T00:01:00Z | 1 | 1970-01-01T00:01:00Z | web | 2
        late rows

        long after
        1970-01-01T00:08:20Z | 1 | 1970-01-01T00:02:00Z | web | 2
        corrected
        2
        from the beginning, later
        1970-01-01T00:08:20Z | 1 | 1970-01-01T00:01:00Z | cart | 1
        1970-01-01T00:08:20Z | 1 | 1970-01-01T00:01:00Z | late | 1
        1970-01-01T00:08:20Z | 1 | 1970-01-01T00:01:00Z | web | 3
        1970-01-01T00:08:20Z | 1 | 1970-01-01T00:02:00Z | web | 2
        what ended before is not told without a snapshot

    "#]]
    .assert_eq(&text);
}

/// Views with windows, and the end of the window of a row.
const VIEWS: &[(&str, &str)] = &[
    (
        "SELECT window_start, window_end, count(*) AS n FROM TUMBLE(logs, ts, INTERVAL '10 seconds') GROUP BY 1, 2",
        "window_end",
    ),
    (
        "SELECT date_bin(INTERVAL '10 seconds', ts) AS at, service_name, count(*) AS n FROM logs GROUP BY 1, 2",
        "at + INTERVAL '10 seconds'",
    ),
    (
        "SELECT date_trunc('minute', ts) AS minute_at, max(body) AS last FROM logs GROUP BY 1 HAVING count(*) > 1",
        "minute_at + INTERVAL '1 minute'",
    ),
    (
        "SELECT date_bin(INTERVAL '10 seconds', ts - INTERVAL '3 seconds') AS at, count(*) AS n FROM logs GROUP BY 1",
        "at + INTERVAL '13 seconds'",
    ),
    (
        "SELECT window_start, count(*) AS n FROM TUMBLE(logs, ts, INTERVAL '10 seconds', INTERVAL '4 seconds') GROUP BY 1",
        "window_start + INTERVAL '10 seconds'",
    ),
    (
        "SELECT window_start AS begins, count(*) AS n FROM HOP(logs, ts, INTERVAL '5 seconds', INTERVAL '20 seconds') GROUP BY 1",
        "begins + INTERVAL '20 seconds'",
    ),
    (
        "SELECT service_name, window_start, window_end, count(*) AS n
         FROM SESSION(logs PARTITION BY service_name, ts, INTERVAL '4 seconds') GROUP BY 1, 2, 3",
        "window_end",
    ),
    (
        "SELECT a.at, a.n, b.n AS others FROM v1 AS a JOIN v1 AS b ON a.at = b.at AND a.service_name < b.service_name",
        "at + INTERVAL '10 seconds'",
    ),
    ("SELECT max(n) AS most, window_end FROM (SELECT * FROM v0) AS x GROUP BY window_end", "window_end"),
];

/// At each tick: the rows whose windows have ended since the tick before, as a query says.
#[test]
fn what_is_told_is_what_a_query_gives_at_the_end_of_each_window() {
    for seed in 0..6 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut server = Server::new(1 + seed as usize % 3);
        let mut subscriptions = BTreeMap::new();
        for (number, (query, _)) in VIEWS.iter().enumerate() {
            server.run(&format!("CREATE MATERIALIZED VIEW v{number} AS {query}"));
        }
        let mut clock_ms = 0_u64;
        let mut rows = 0;
        for _ in 0..12 {
            let closed = server.database.engine.closed();
            for number in 0..VIEWS.len() {
                subscriptions.entry(number).or_insert_with(|| {
                    let sql = format!("SUBSCRIBE TO v{number} EMIT ON WINDOW CLOSE");
                    (closed, subscribe(&mut server, &sql))
                });
            }
            for _ in 0..random.random_range(0..4) {
                let log = |random: &mut StdRng| {
                    // Most are in time, some late.
                    let ms = (clock_ms + random.random_range(0..40_000)).saturating_sub(8_000);
                    log(ms, ["web", "cart", "db"][random.random_range(0..3)])
                };
                let logs: Vec<Value> = (0..random.random_range(1..8)).map(|_| log(&mut random)).collect();
                server.append(table("logs"), &logs);
            }
            clock_ms += [1, 900, 5_000, 12_000, 70_000][random.random_range(0..5)];
            let before = server.database.engine.closed();
            let tick = server.close(clock_ms);
            for (number, (_, subscription)) in &mut subscriptions {
                let end = VIEWS[*number].1;
                let ms = format!("(extract(epoch FROM ({end})) * 1000)");
                let query = format!("SELECT * FROM v{number} WHERE {ms} > {before} AND {ms} <= {tick}");
                let expected = server.query(&query).unwrap_or_else(|e| panic!("{query}: {e}")).sorted();
                let actual = told(subscription);
                let repeated = |line: &String| {
                    let mut parts = line.splitn(3, " | ").skip(1);
                    let diff: usize =
                        parts.next().and_then(|diff| diff.parse().ok()).expect("a diff above zero");
                    vec![parts.next().expect("a row").to_owned(); diff]
                };
                rows += actual.len();
                let mut actual: Vec<String> = actual.iter().flat_map(repeated).collect();
                actual.sort();
                assert_eq!(actual, expected, "seed {seed}, tick {tick}: {}", VIEWS[*number].0);
            }
        }
        assert!(rows > 20, "{rows} rows told with seed {seed}");
    }
}

#[test]
fn a_view_without_windows_is_refused() {
    let mut server = Server::new(1);
    for (number, query) in [
        "SELECT service_name, count(*) AS n FROM logs GROUP BY 1",
        "SELECT max(date_bin(INTERVAL '1 minute', ts)) AS at FROM logs",
        "SELECT ts, count(*) AS n FROM logs GROUP BY 1",
        "SELECT window_start, count(*) AS n FROM SESSION(logs, ts, INTERVAL '1 minute') GROUP BY 1",
    ]
    .iter()
    .enumerate()
    {
        server.run(&format!("CREATE MATERIALIZED VIEW v{number} AS {query}"));
        let refusal = server.refusal(&format!("SUBSCRIBE TO v{number} EMIT ON WINDOW CLOSE"));
        assert_eq!(
            refusal,
            format!(
                "\"v{number}\" has no column that begins or ends a time window; group by window_start or window_end of TUMBLE, HOP or SESSION, or by date_bin(...), and select it"
            )
        );
    }
}

/// Sends a log record of the service `service`, `ms` after 1970.
fn send(source: &Source, ms: u64, service: &str) {
    let rows = batch(table("logs"), &[log(ms, service)]).rows;
    let at_ns = ms as i64 * 1_000_000;
    let batch = Batch { table: table("logs"), rows, event_time_ns: Some((at_ns, at_ns)) };
    let _ = source.try_send(vec![batch]).expect("space");
}

#[test]
fn clients_of_postgres_get_windows_when_they_have_ended() {
    let running = InProcess::start(&[("clock.idle", "1h")]);
    let source = running.live.source();
    running.wait(async {
        let client = connect(&running).await;
        let create = "CREATE MATERIALIZED VIEW v AS SELECT window_start, window_end, count(*) AS n FROM TUMBLE(logs, ts, INTERVAL '10' SECOND) GROUP BY 1, 2";
        client.simple_query(create).await.expect("a view");
        let none: [&str; 0] = [];
        let rows = client.query_raw("SUBSCRIBE TO v EMIT ON WINDOW CLOSE", none).await.expect("a subscription");
        let mut rows = std::pin::pin!(rows);
        for window in 1..4_u64 {
            let begin = 1_000_000_000_000 + window * 10_000;
            (0..window).for_each(|n| send(&source, begin + n, "web"));
            // The clock, which is 10 ms behind, is at the end of the window.
            send(&source, begin + 10_010, "later");
            let row = rows.next().await.expect("a row").expect("a row");
            // The record that moved the clock before is in this window.
            let n = window as i64 + i64::from(window > 1);
            assert_eq!((row.get::<_, i64>("diff"), row.get::<_, i64>("n")), (1, n));
            let tick_at: chrono::DateTime<chrono::Utc> = row.get("tick_at");
            assert!(tick_at >= row.get::<_, chrono::DateTime<chrono::Utc>>("window_end"));
        }
    });
}
