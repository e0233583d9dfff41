//! Views that come and go while others stay.

use serde_json::json;
use undercurrent::engine::Answer;

use crate::support::{Server, table};

#[test]
fn a_view_created_after_another_was_dropped_has_all_rows() {
    for workers in [1, 2, 3] {
        let mut server = Server::new(workers);
        for n in 0..6 {
            server.append(table("logs"), &[json!({"body": format!("row {n}"), "span_id": "s"})]);
            if n % 2 == 0 {
                server.close(0);
            }
        }
        server.close(0);
        for round in 0..200 {
            server.run("CREATE MATERIALIZED VIEW v AS SELECT DISTINCT body, span_id FROM logs");
            let rows = server.query("SELECT * FROM v").expect("rows").sorted();
            assert_eq!(rows.len(), 6, "round {round} with {workers} workers: {rows:?}");
            server.run("DROP VIEW v");
        }
    }
}

/// A server with the rows `{"body": n}` for n below `count`, one a tick, a second apart.
fn with_logs(count: u64) -> Server {
    let mut server = Server::new(2);
    for n in 0..count {
        server.append(table("logs"), &[json!({"body": n.to_string(), "severity_number": n})]);
        server.close(1_700_000_000_000 + n * 1_000);
    }
    server
}

#[test]
fn a_view_cannot_take_its_own_place() {
    let mut server = with_logs(2);
    server.run("CREATE MATERIALIZED VIEW v AS SELECT body FROM logs; CREATE VIEW q AS SELECT body FROM logs");
    for kind in ["MATERIALIZED VIEW v AS SELECT * FROM v", "VIEW q AS SELECT * FROM q"] {
        assert!(server.refusal(&format!("CREATE OR REPLACE {kind}")).contains("cannot read itself"));
    }
    server.run("CREATE OR REPLACE MATERIALIZED VIEW v AS SELECT body FROM logs WHERE body = '1'");
    assert_eq!(server.query("SELECT * FROM v").expect("rows").sorted(), ["1"]);
}

#[test]
fn renamed_columns_are_read_by_later_views() {
    let mut server = with_logs(3);
    server.run("CREATE MATERIALIZED VIEW a (x) AS SELECT body FROM logs");
    server.run("CREATE MATERIALIZED VIEW b AS SELECT * FROM a WHERE x > '0'");
    server.run("CREATE VIEW c (y) AS SELECT body FROM logs");
    assert_eq!(server.query("SELECT x FROM b").expect("rows").sorted(), ["1", "2"]);
    assert_eq!(server.query("SELECT y FROM c WHERE y = '2'").expect("rows").sorted(), ["2"]);
}

#[test]
fn constants_come_and_go_with_the_clock() {
    let mut server = Server::new(2);
    server.run(
        "CREATE MATERIALIZED VIEW v AS SELECT x FROM (VALUES (TIMESTAMP '2030-01-01'), (TIMESTAMP '2031-01-01')) t(x) \
         WHERE x > now()",
    );
    server.close(1_700_000_000_000);
    assert_eq!(server.query("SELECT count(*) FROM v").expect("rows").sorted(), ["2"]);
    server.close(1_900_000_000_000);
    assert_eq!(server.query("SELECT count(*) FROM v").expect("rows").sorted(), ["1"]);
}

#[test]
fn horizons_count_from_the_clock_and_not_from_1970() {
    let mut server = Server::new(1);
    server.run(
        "CREATE MATERIALIZED VIEW v WITH (horizon = '1 minute') AS \
         SELECT a.body FROM logs a JOIN logs b ON a.trace_id = b.span_id",
    );
    server.database.engine.advance(1_700_000_000_000);
    server.append(table("logs"), &[json!({"body": "left", "trace_id": "t"})]);
    server.close(1_700_000_001_000);
    server.close(1_700_000_002_000);
    server.append(table("logs"), &[json!({"body": "right", "span_id": "t"})]);
    server.close(1_700_000_003_000);
    assert_eq!(server.query("SELECT * FROM v").expect("rows").sorted(), ["left"]);
}

#[test]
fn rows_that_are_always_there_are_behind_no_horizon() {
    let mut server = Server::new(2);
    server.run(
        "CREATE MATERIALIZED VIEW v WITH (horizon = '1 minute') AS \
         SELECT l.body, o.word FROM logs l JOIN (VALUES (1, 'one'), (2, 'two')) o (n, word) ON o.n = l.severity_number",
    );
    for minute in 0..20 {
        // More than a join keeps together, so that it drops what it may.
        let row = |n: u64| json!({"body": format!("{minute} {n}"), "severity_number": 1 + n % 3});
        server.append(table("logs"), &(0..2_000).map(row).collect::<Vec<_>>());
        server.close(1_700_000_000_000 + minute * 60_000);
    }
    let counts = server.query("SELECT word, count(*) FROM v GROUP BY 1").expect("rows").sorted();
    assert_eq!(counts, ["one | 13340", "two | 13340"]);
}

#[test]
fn a_subquery_with_several_rows_has_no_value() {
    let mut server = with_logs(2);
    let query = "SELECT body FROM logs WHERE severity_number > (SELECT severity_number FROM logs)";
    server.run(&format!("CREATE MATERIALIZED VIEW v AS {query}"));
    for sql in [query, "SELECT * FROM v"] {
        let error = server.query(sql).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("more than one row returned by a subquery"), "{sql}: {error}");
    }
}

#[test]
fn a_subscriber_learns_of_an_error() {
    let mut server = Server::new(1);
    server.run("CREATE MATERIALIZED VIEW v AS SELECT 1 / severity_number AS x FROM logs");
    let Ok(Answer::Subscription(mut subscription)) = server.answer("SUBSCRIBE TO v") else {
        panic!("no subscription")
    };
    server.append(table("logs"), &[json!({"body": "a", "severity_number": 0})]);
    server.close(0);
    let change = subscription.changes.try_recv().expect("a tick");
    assert!(change.error.expect("an error").contains("Divide by zero"));
}

#[test]
fn a_percentile_out_of_range_is_refused_by_view_and_batch_alike() {
    let mut server = with_logs(2);
    for (arguments, message) in [
        ("2", "percentile \"2\" is not between 0 and 1"),
        ("0.5, 0", "relative error \"0\" is not between 0.000001 and 0.5"),
    ] {
        let query = format!("SELECT approx_percentile(severity_number, {arguments}) AS p FROM logs");
        assert!(server.refusal(&query).contains(message));
        assert!(server.refusal(&format!("CREATE MATERIALIZED VIEW v AS {query}")).contains(message));
    }
}

#[test]
fn retention_ends_groups_by_their_time_and_gives_their_state_up() {
    let mut server = Server::new(2);
    server.run(
        "CREATE MATERIALIZED VIEW v WITH (retention = '5 minutes') AS \
         SELECT service_name, date_bin(INTERVAL '1 minute', ts) AS minute_at, count(*) AS n FROM logs GROUP BY 1, 2",
    );
    let begin_ms = 1_700_000_040_000;
    let log = |minute: u64, n: u64| json!({"ts": format!("{}", jiff::Timestamp::from_millisecond((begin_ms + minute * 60_000) as i64).unwrap()), "service_name": format!("s{n}"), "body": ""});
    let mut state_bytes = vec![];
    for minute in 0..60 {
        for n in 0..200 {
            server.append(table("logs"), &[log(minute, n)]);
        }
        server.close(begin_ms + minute * 60_000);
        let rows = server.query("SELECT count(DISTINCT minute_at), count(*) FROM v").expect("rows").sorted();
        let minutes = (minute + 1).min(5);
        assert_eq!(rows, [format!("{minutes} | {}", minutes * 200)]);
        let state = server.query("SELECT state_bytes FROM view_stats").expect("rows").sorted();
        state_bytes.push(state[0].parse::<u64>().expect("bytes"));
    }
    assert!(state_bytes[59] <= 2 * *state_bytes[..20].iter().max().expect("bytes"), "{state_bytes:?}");
    // One that comes for an ended minute is counted.
    server.append(table("logs"), &[log(10, 0)]);
    server.close(begin_ms + 60 * 60_000);
    assert_eq!(server.query("SELECT late_rows FROM view_stats").expect("rows").sorted(), ["1"]);
    let statement = server.query("SHOW CREATE VIEW v").expect("rows").sorted().concat();
    assert!(
        statement.contains("WHERE retained.\"minute_at\" > now() - INTERVAL '300000 milliseconds'"),
        "{statement}"
    );
    let refused = server.refusal(
        "CREATE MATERIALIZED VIEW w WITH (retention = '5 minutes') AS SELECT service_name, max(ts) FROM logs GROUP BY 1",
    );
    assert!(refused.contains("a view has one whose groups are by a timestamp"), "{refused}");
}

#[test]
fn the_greatest_of_a_window_falls_when_its_row_leaves_however_short_the_horizon() {
    let mut server = Server::new(1);
    server.run(
        "CREATE MATERIALIZED VIEW v WITH (horizon = '1 minute') AS \
         SELECT service_name, max(severity_number) AS n FROM logs WHERE ts > now() - INTERVAL '1 hour' GROUP BY 1",
    );
    let begin_ms = 1_700_000_000_000;
    let mut log = |minute: u64, n: u64| {
        let ts = jiff::Timestamp::from_millisecond((begin_ms + minute * 60_000) as i64).unwrap();
        let row = json!({"ts": ts.to_string(), "service_name": "web", "severity_number": n, "body": ""});
        server.append(table("logs"), &[row]);
        server.close(begin_ms + minute * 60_000);
        server.query("SELECT n FROM v").expect("rows").sorted()
    };
    assert_eq!(log(0, 9), ["9"]);
    assert_eq!(log(30, 5), ["9"]);
    assert_eq!(log(61, 3), ["5"]);
    // The group was gone in between.
    assert_eq!(log(200, 1), ["1"]);
}

#[test]
fn views_are_dropped_together_or_not_at_all() {
    let mut server = Server::new(1);
    server.run("CREATE MATERIALIZED VIEW a AS SELECT body FROM logs");
    server.run("CREATE MATERIALIZED VIEW b AS SELECT count(*) AS n FROM a");
    assert!(server.refusal("DROP VIEW b, no_such").contains("view \"no_such\" does not exist"));
    assert_eq!(server.query("SELECT n FROM b").expect("rows").sorted(), ["0"]);
    assert!(server.refusal("DROP VIEW a").contains("b reads it"));
    server.run("DROP VIEW a, b");
    assert!(server.refusal("SELECT * FROM a").contains("does not exist"));
}

#[test]
fn views_on_views_do_not_grow_without_bound() {
    let mut server = Server::new(1);
    server.run("CREATE VIEW v0 AS SELECT body AS x FROM logs");
    let refused = (1..30).find_map(|n| {
        let sql = format!("CREATE VIEW v{n} AS SELECT a.x FROM v{0} a CROSS JOIN v{0} b", n - 1);
        server.answer(&sql).err().map(|error| (n, error.to_string()))
    });
    let (depth, error) = refused.expect("a refusal");
    assert!(depth > 8 && error.contains("more parts than 10000"), "at {depth}: {error}");
}
