//! What statements other than SELECT answer, and what names and options are refused with.

use std::collections::BTreeMap;

use expect_test::expect;
use serde_json::json;
use undercurrent::engine::{Answer, Change};

use crate::in_process::InProcess;
use crate::support::{Server, row_texts, table};

#[test]
fn names_and_options_are_checked() {
    let mut server = Server::new(1);
    server.run("CREATE MATERIALIZED VIEW v AS SELECT body FROM logs");
    server.run("CREATE MATERIALIZED VIEW w AS SELECT body FROM v");
    let refusals = [
        "CREATE MATERIALIZED VIEW v AS SELECT 1",
        "CREATE MATERIALIZED VIEW logs AS SELECT 1",
        "CREATE MATERIALIZED VIEW x AS SELECT * FROM log",
        "SELECT * FROM nothing_like_it",
        "SELECT bodi FROM logs",
        "DROP VIEW v",
        "DROP VIEW nope",
        "CREATE MATERIALIZED VIEW x WITH (horizon = '0 s') AS SELECT 1",
        "CREATE MATERIALIZED VIEW x WITH (speed = 'fast') AS SELECT 1",
        "CREATE MATERIALIZED VIEW x (a, b) AS SELECT body FROM logs",
        "CREATE MATERIALIZED VIEW x (a, a) AS SELECT body, ts FROM logs",
        "SUBSCRIBE TO logs",
        "SUBSCRIBE TO v WITH (SPEED)",
        "INSERT INTO logs VALUES (1)",
        "SELECT 1 FROM",
    ];
    let refusals = refusals.map(|sql| format!("{sql}\n    {}\n", server.refusal(sql))).concat();
    expect![[r#"
        CREATE MATERIALIZED VIEW v AS SELECT 1
            relation "v" already exists; use CREATE OR REPLACE, or drop it first
        CREATE MATERIALIZED VIEW logs AS SELECT 1
            relation "logs" already exists; use CREATE OR REPLACE, or drop it first
        CREATE MATERIALIZED VIEW x AS SELECT * FROM log
            relation "log" does not exist; did you mean "logs"?
        SELECT * FROM nothing_like_it
            relation "nothing_like_it" does not exist; SHOW TABLES lists what there is
        SELECT bodi FROM logs
            Schema error: No field named bodi. Did you mean 'logs.body'?
        Valid fields are logs.ts, logs.observed_at, logs.severity_number, logs.severity_text, logs.body, logs.event_name, logs.trace_id, logs.span_id, logs.service_name, logs.attributes, logs.resource_attributes, logs.scope_name.
        DROP VIEW v
            cannot drop "v": w reads it; drop it first
        DROP VIEW nope
            view "nope" does not exist
        CREATE MATERIALIZED VIEW x WITH (horizon = '0 s') AS SELECT 1
            option horizon = "0 s": a duration such as '15 minutes' is expected, from 1 second to 100 years
        CREATE MATERIALIZED VIEW x WITH (speed = 'fast') AS SELECT 1
            option speed = "fast": a view takes horizon and retention
        CREATE MATERIALIZED VIEW x (a, b) AS SELECT body FROM logs
            2 column names for a query of 1 columns
        CREATE MATERIALIZED VIEW x (a, a) AS SELECT body, ts FROM logs
            column "a" is there twice; name one of the two with AS
        SUBSCRIBE TO logs
            "logs" is no materialized view, and only those and ordinary tables have a stream of changes; create one of it
        SUBSCRIBE TO v WITH (SPEED)
            option speed = "true": SUBSCRIBE takes snapshot and progress
        INSERT INTO logs VALUES (1)
            cannot change rows of "logs": it is a stream, and only those of tables that CREATE TABLE made can be changed
        SELECT 1 FROM
            SQL error: ParserError("Expected: identifier, found: EOF")
    "#]].assert_eq(&refusals);
}

/// An answer as lines.
fn lines(server: &mut Server, sql: &str) -> String {
    let rows = server.query(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
    rows.rows.iter().map(|row| format!("{}\n", row.join(" | "))).collect()
}

#[test]
fn what_there_is_can_be_asked() {
    let mut server = Server::new(1);
    server.run("CREATE MATERIALIZED VIEW v AS SELECT service_name, count(*) AS n FROM logs GROUP BY 1");
    server.run("CREATE VIEW q AS SELECT n FROM v WHERE n > 1");
    let mut text = String::new();
    for sql in
        ["SHOW TABLES", "SHOW VIEWS", "SHOW COLUMNS FROM v", "SHOW CREATE VIEW q", "EXPLAIN DATAFLOW v"]
    {
        text += &format!("{sql}\n{}", lines(&mut server, sql));
    }
    server.run("CREATE OR REPLACE VIEW q AS SELECT 1 AS one");
    server.run("DROP VIEW q, v");
    server.run("DROP VIEW IF EXISTS v");
    text += &format!("after DROP\n{}", lines(&mut server, "SHOW VIEWS"));
    expect![[r#"
        SHOW TABLES
        checkpoint_stats | system table
        engine_metrics | system table
        ingest_errors | stream
        logs | stream
        metrics | stream
        operator_stats | system table
        q | view
        sink_stats | system table
        source_partition_stats | system table
        source_stats | system table
        span_events | stream
        span_links | stream
        spans | stream
        stream_stats | system table
        v | materialized view
        view_stats | system table
        SHOW VIEWS
        q | view | SELECT n FROM v WHERE n > 1
        v | materialized view | SELECT service_name, count(*) AS n FROM logs GROUP BY 1
        SHOW COLUMNS FROM v
        service_name | Utf8 | true
        n | Int64 | true
        SHOW CREATE VIEW q
        q | CREATE VIEW q AS SELECT n FROM v WHERE n > 1
        EXPLAIN DATAFLOW v
        #5 Arrange by=[all columns] state=(each row and its count) bound=(rows of the view) | 0 | 0 | 0 | 0 | 0.0 | NULL
          #4 Map [service_name@0, count(Int64(1))@1] | 0 | 0 | 0 | 0 | 0.0 | NULL
            #3 Map [0:logs.service_name@0, #1@1] | 0 | 0 | 0 | 0 | 0.0 | NULL
              #2 Aggregate by=[0:logs.service_name] aggregates=[count() incremental=(a count)] state=(one entry a group) bound=(grows with the groups) retractions=none | 0 | 0 | 0 | 0 | 0.0 | NULL
                #1 Map [service_name@0] | 0 | 0 | 0 | 0 | 0.0 | NULL
                  #0 Source logs [service_name] | 0 | 0 | 0 | 0 | 0.0 | NULL
        after DROP
    "#]]
    .assert_eq(&text);
}

#[test]
fn explain_says_what_each_aggregate_keeps() {
    let mut server = Server::new(1);
    server.run(
        "CREATE MATERIALIZED VIEW v AS SELECT name, sum(value), avg(value_int), max(ts), count(DISTINCT unit), \
         stddev(value), approx_percentile(value, 0.5), bit_or(value_int), bool_and(is_monotonic), corr(value, sum), \
         array_agg(unit ORDER BY ts), string_agg(DISTINCT unit, ','), median(value) FROM metrics GROUP BY ROLLUP (name)",
    );
    let plan = lines(&mut server, "EXPLAIN DATAFLOW v");
    let aggregate = plan.lines().find(|line| line.contains("Aggregate by=[0:metrics.name]"));
    let list = aggregate.and_then(|line| line.split("aggregates=[").nth(1)).unwrap_or_default();
    expect![[r#"
        sum(1:metrics.value) incremental=(an exact sum, a count),
        avg(2:CAST(metrics.value_int AS Float64)) incremental=(an exact sum, a count),
        max(3:metrics.ts) incremental=(one value),
        count(distinct 4:metrics.unit) incremental=(each distinct value, a count),
        stddev_samp(1:metrics.value) incremental=(two exact sums, a count),
        percentile[0.5] relative_error=0.01(1:metrics.value) incremental=(a sketch),
        bit_or(5:metrics.value_int) incremental=(a count of each bit),
        bool_and(6:metrics.is_monotonic) incremental=(two counts),
        pairs[correlation](1:metrics.value, 7:metrics.sum) incremental=(five exact sums, a count),
        array_agg(3:metrics.ts, 4:metrics.unit) recomputed=(all values),
        string_agg(distinct 4:metrics.unit) recomputed=(all distinct values),
        median(1:metrics.value) recomputed=(all values)] state=(one entry a group) bound=(grows with the groups) retractions=none | 0 | 0 | 0 | 0 | 0.0 | NULL"#]]
    .assert_eq(&list.replace("), ", "),\n"));
}

/// Adds the changes up: how often each row is there.
fn add(rows: &mut BTreeMap<String, i64>, changes: &[Change], tick: u64) {
    for change in changes {
        assert!(change.tick <= tick, "a change of a tick that is not closed");
        for chunk in &change.chunks {
            let updates = chunk.updates();
            for (row, texts) in row_texts(&updates.rows).into_iter().enumerate() {
                *rows.entry(texts.join(" | ")).or_default() += updates.diffs.get(row);
            }
        }
    }
    rows.retain(|_, count| *count != 0);
}

#[test]
fn a_snapshot_and_all_changes_are_the_view_at_each_tick() {
    for workers in [1, 3] {
        let mut server = Server::new(workers);
        server.run(
            "CREATE MATERIALIZED VIEW per_service AS SELECT service_name, count(*) AS n FROM logs GROUP BY 1",
        );
        server
            .run("CREATE MATERIALIZED VIEW v AS SELECT n, count(*) AS services FROM per_service GROUP BY n");
        let log = |n: usize| json!({"service_name": format!("service {}", n % 3), "body": n.to_string()});
        server.append(table("logs"), &[log(0), log(1)]);
        server.close(0);
        let Ok(Answer::Subscription(mut subscription)) = server.answer("SUBSCRIBE TO v") else {
            panic!("no subscription")
        };
        let mut rows = BTreeMap::new();
        add(&mut rows, &subscription.snapshot, server.database.engine.closed());
        assert_eq!(rows, BTreeMap::from([("1 | 2".to_owned(), 1)]));
        for n in 2..12 {
            server.append(table("logs"), &[log(n * n)]);
            let tick = server.close(0);
            let changes: Vec<Change> = std::iter::from_fn(|| subscription.changes.try_recv().ok()).collect();
            add(&mut rows, &changes, tick);
            let view = server.query("SELECT * FROM v").expect("rows").sorted();
            let summed: Vec<String> =
                rows.iter().flat_map(|(row, count)| vec![row.clone(); *count as usize]).collect();
            assert_eq!(summed, view, "at tick {tick} with {workers} workers");
        }
    }
}

/// Three thousand rows of a kilobyte beside twenty thousand: more than queries may hold, and of two partitions.
#[test]
fn an_outer_join_is_the_same_where_memory_is_short() {
    let counts = ["1 GiB", "2 MiB"].map(|memory| {
        let settings = [("limits.query_memory_bytes_max", memory), ("engine.workers", "2")];
        let server = InProcess::start(&settings);
        for (table, rows) in [("a", 3_000), ("b", 20_000)] {
            let sql = format!(
                "CREATE TABLE {table} AS SELECT value AS x, repeat('x', 1000) || value AS pad
                 FROM generate_series(1, {rows})"
            );
            assert!(server.answer(&sql).is_ok());
        }
        server.rows("SELECT a.x, b.x, a.pad, b.pad FROM a LEFT JOIN b ON a.x + b.x < 10").len()
    });
    // Pairs of 1 to 8, and the others of the first table.
    assert_eq!(counts, [36 + 3_000 - 8; 2]);
}
