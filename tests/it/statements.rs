//! What statements are refused with, and what those beside SELECT answer.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use serde_json::json;
use undercurrent::engine::{Answer, Change};

use crate::support::{Server, row_texts, table};

/// The message with which each of `queries` is refused as a view.
fn check_refused(queries: &[&str], expected: Expect) {
    let mut server = Server::new(1);
    let refusals = queries.iter().map(|query| {
        let message = server.refusal(&format!("CREATE MATERIALIZED VIEW v AS {query}"));
        format!("{query}\n    {message}\n")
    });
    expected.assert_eq(&refusals.collect::<String>());
}

#[test]
fn orders_and_windows_are_refused() {
    check_refused(
        &[
            "SELECT * FROM logs LIMIT 3",
            "SELECT array_agg(body) OVER (ORDER BY ts) FROM logs",
            "SELECT last_value(body) IGNORE NULLS OVER (ORDER BY ts) FROM logs",
        ],
        expect![[r#"
            SELECT * FROM logs LIMIT 3
                LIMIT without ORDER BY over a map in a continuous view is not supported yet: which rows these are is left open; add an ORDER BY, or leave the columns out that are maps
            SELECT array_agg(body) OVER (ORDER BY ts) FROM logs
                array_agg over this RANGE or GROUPS frame in a continuous view is not supported yet: which of several rows that are equal in ORDER BY comes first is left open; use a frame of ROWS, for which the other columns decide
            SELECT last_value(body) IGNORE NULLS OVER (ORDER BY ts) FROM logs
                last_value over this RANGE or GROUPS frame in a continuous view is not supported yet: which of several rows that are equal in ORDER BY comes first is left open; use a frame of ROWS, for which the other columns decide
        "#]],
    );
}

#[test]
fn aggregates_that_cannot_be_called_are_refused() {
    check_refused(
        &[
            "SELECT approx_percentile(value, value) FROM metrics",
            "SELECT percentile_cont(1.5) WITHIN GROUP (ORDER BY value) FROM metrics",
            "SELECT nth_value(body, severity_number) FROM logs",
            "SELECT string_agg(DISTINCT body, ',' ORDER BY ts) FROM logs",
            "SELECT service_name, grouping(name) FROM spans GROUP BY ROLLUP (service_name)",
        ],
        expect![[r#"
            SELECT approx_percentile(value, value) FROM metrics
                Error during planning: percentile "value@0" is not a literal between 0 and 1
            SELECT percentile_cont(1.5) WITHIN GROUP (ORDER BY value) FROM metrics
                Error during planning: percentile "1.5" is not between 0 and 1
            SELECT nth_value(body, severity_number) FROM logs
                This feature is not implemented: nth_value not supported for n: 1@1
            SELECT string_agg(DISTINCT body, ',' ORDER BY ts) FROM logs
                string_agg of distinct values in the order of others in a continuous view is not supported yet: equal values may come at several places of that order; order by an argument of the call
            SELECT service_name, grouping(name) FROM spans GROUP BY ROLLUP (service_name)
                resolve_grouping_function
            caused by
            Error during planning: Argument spans.name to grouping function is not in grouping columns spans.service_name
        "#]],
    );
}

#[test]
fn shapes_that_are_not_maintained_are_refused() {
    check_refused(
        &[
            "SELECT random() FROM logs",
            "SELECT uuid() FROM logs",
            "SELECT * FROM view_stats",
            "SELECT a.body, b.body FROM logs a, logs b",
        ],
        expect![[r#"
            SELECT random() FROM logs
                the volatile expression `random()` in a continuous view is not supported yet: it gives another value each time, so that no result could be maintained; compute it when you read the view
            SELECT uuid() FROM logs
                the volatile expression `uuid()` in a continuous view is not supported yet: it gives another value each time, so that no result could be maintained; compute it when you read the view
            SELECT * FROM view_stats
                the system table "view_stats" in a continuous view is not supported yet: it is not maintained by ticks; read it in a query of its own
            SELECT a.body, b.body FROM logs a, logs b
                column "body" is there twice; name one of the two with AS
        "#]],
    );
}

#[test]
fn now_is_refused_where_it_cannot_be_solved_for() {
    check_refused(
        &[
            "SELECT now() FROM logs",
            "SELECT current_date FROM logs",
            "SELECT body FROM logs WHERE ts > now() - INTERVAL '1 day' - INTERVAL '1 month'",
            "SELECT body FROM logs WHERE ts > date_trunc('hour', now()) - INTERVAL '1 month'",
            "SELECT body FROM logs WHERE ts > now() - INTERVAL '101 years'",
            "SELECT body FROM logs WHERE extract(hour FROM now()) = 3",
            "SELECT body FROM logs WHERE ts > greatest(now(), observed_at)",
            "SELECT body FROM logs WHERE CASE WHEN ts > now() THEN true END",
            "SELECT body FROM logs WHERE ts::timestamp > (now() AT TIME ZONE 'Europe/Berlin')::timestamp",
            "SELECT count(*) FILTER (WHERE ts > now()) FROM logs",
            "SELECT a.body FROM logs a LEFT JOIN spans b ON a.trace_id = b.trace_id AND a.ts > now()",
        ],
        expect![[r#"
            SELECT now() FROM logs
                now() outside a comparison in WHERE in a continuous view is not supported yet: its value would change with every tick; compare it with a timestamp: `WHERE started_at > now() - INTERVAL '1 hour'`
            SELECT current_date FROM logs
                now() outside a comparison in WHERE in a continuous view is not supported yet: its value would change with every tick; compare it with a timestamp: `WHERE started_at > now() - INTERVAL '1 hour'`
            SELECT body FROM logs WHERE ts > now() - INTERVAL '1 day' - INTERVAL '1 month'
                the condition `logs.ts > now() - IntervalMonthDayNano("IntervalMonthDayNano { months: 0, days: 1, nanoseconds: 0 }") - IntervalMonthDayNano("IntervalMonthDayNano { months: 1, days: 0, nanoseconds: 0 }")` in a continuous view is not supported yet: only comparisons of now(), date_trunc(..., now()) and the like, plus or minus an interval, with a value of the row can be maintained; write it as `started_at > now() - INTERVAL '1 hour'`
            SELECT body FROM logs WHERE ts > date_trunc('hour', now()) - INTERVAL '1 month'
                the condition `logs.ts > date_trunc(Utf8("hour"), now()) - IntervalMonthDayNano("IntervalMonthDayNano { months: 1, days: 0, nanoseconds: 0 }")` in a continuous view is not supported yet: only comparisons of now(), date_trunc(..., now()) and the like, plus or minus an interval, with a value of the row can be maintained; write it as `started_at > now() - INTERVAL '1 hour'`
            SELECT body FROM logs WHERE ts > now() - INTERVAL '101 years'
                an interval beside now() has more months than 1200: compare with a constant time
            SELECT body FROM logs WHERE extract(hour FROM now()) = 3
                the condition `date_part(Utf8("HOUR"), now()) >= Int32(3)` in a continuous view is not supported yet: only comparisons of now(), date_trunc(..., now()) and the like, plus or minus an interval, with a value of the row can be maintained; write it as `started_at > now() - INTERVAL '1 hour'`
            SELECT body FROM logs WHERE ts > greatest(now(), observed_at)
                the condition `logs.ts > greatest(now(), logs.observed_at)` in a continuous view is not supported yet: only comparisons of now(), date_trunc(..., now()) and the like, plus or minus an interval, with a value of the row can be maintained; write it as `started_at > now() - INTERVAL '1 hour'`
            SELECT body FROM logs WHERE CASE WHEN ts > now() THEN true END
                the condition `(logs.ts > now()) IS NOT DISTINCT FROM Boolean(true)` in a continuous view is not supported yet: only comparisons of now(), date_trunc(..., now()) and the like, plus or minus an interval, with a value of the row can be maintained; write it as `started_at > now() - INTERVAL '1 hour'`
            SELECT body FROM logs WHERE ts::timestamp > (now() AT TIME ZONE 'Europe/Berlin')::timestamp
                the condition `CAST(logs.ts AS Timestamp(ns)) > CAST(CAST(now() AS Timestamp(ns, "Europe/Berlin")) AS Timestamp(ns))` in a continuous view is not supported yet: only comparisons of now(), date_trunc(..., now()) and the like, plus or minus an interval, with a value of the row can be maintained; write it as `started_at > now() - INTERVAL '1 hour'`
            SELECT count(*) FILTER (WHERE ts > now()) FROM logs
                type_coercion
            caused by
            Schema error: No field named "count(Int64(1)) FILTER (WHERE logs.ts > now())". Did you mean '"count(Int64(1)) FILTER (WHERE logs.ts > $now)"'?
            Valid fields are "count(Int64(1)) FILTER (WHERE logs.ts > $now)".
            SELECT a.body FROM logs a LEFT JOIN spans b ON a.trace_id = b.trace_id AND a.ts > now()
                now() in the condition of an outer join in a continuous view is not supported yet: a pair would come and go with time, and so would the row without one; filter one input by now() before the join
        "#]],
    );
}

#[test]
fn windows_are_checked() {
    check_refused(
        &[
            "SELECT * FROM TUMBLE(logs, ts)",
            "SELECT * FROM TUMBLE(logs, ts, INTERVAL '0 seconds')",
            "SELECT * FROM TUMBLE(logs, ts, ts)",
            "SELECT * FROM TUMBLE('logs', ts, INTERVAL '1 minute')",
            "SELECT * FROM TUMBLE(nothing_there, ts, INTERVAL '1 minute')",
            "SELECT * FROM HOP(logs, ts, INTERVAL '4 minutes', INTERVAL '10 minutes')",
            "SELECT * FROM HOP(logs, ts, INTERVAL '1 day', INTERVAL '1 month')",
            "SELECT * FROM HOP(logs, ts, INTERVAL '1 second', INTERVAL '1 day')",
            "SELECT * FROM SESSION(logs PARTITION BY service_name, ts)",
            "SELECT * FROM SESSION(logs, body, INTERVAL '1 minute')",
            "SELECT body FROM HOP(logs PARTITION BY body, ts, INTERVAL '1 minute', INTERVAL '1 minute')",
        ],
        expect![[r#"
            SELECT * FROM TUMBLE(logs, ts)
                wrong arguments of TUMBLE: TUMBLE(relation, time_column, INTERVAL size [, INTERVAL offset]) is expected, where the relation is a name or a query in parentheses
            SELECT * FROM TUMBLE(logs, ts, INTERVAL '0 seconds')
                TUMBLE with size INTERVAL '0 seconds': an interval above zero is expected, as INTERVAL '10 minutes'
            SELECT * FROM TUMBLE(logs, ts, ts)
                TUMBLE with size ts: an interval above zero is expected, as INTERVAL '10 minutes'
            SELECT * FROM TUMBLE('logs', ts, INTERVAL '1 minute')
                wrong arguments of TUMBLE: TUMBLE(relation, time_column, INTERVAL size [, INTERVAL offset]) is expected, where the relation is a name or a query in parentheses
            SELECT * FROM TUMBLE(nothing_there, ts, INTERVAL '1 minute')
                relation "nothing_there" does not exist; SHOW TABLES lists what there is
            SELECT * FROM HOP(logs, ts, INTERVAL '4 minutes', INTERVAL '10 minutes')
                HOP of size INTERVAL '10 minutes' every INTERVAL '4 minutes': the size must be a whole multiple of the hop, from 1 to 1000 times as long
            SELECT * FROM HOP(logs, ts, INTERVAL '1 day', INTERVAL '1 month')
                HOP of size INTERVAL '1 month' every INTERVAL '1 day': the size must be a whole multiple of the hop, from 1 to 1000 times as long
            SELECT * FROM HOP(logs, ts, INTERVAL '1 second', INTERVAL '1 day')
                HOP of size INTERVAL '1 day' every INTERVAL '1 second': the size must be a whole multiple of the hop, from 1 to 1000 times as long
            SELECT * FROM SESSION(logs PARTITION BY service_name, ts)
                SESSION with gap ts: an interval above zero is expected, as INTERVAL '10 minutes'
            SELECT * FROM SESSION(logs, body, INTERVAL '1 minute')
                Error during planning: Execution error: Function 'session_start' user-defined coercion failed with: Error during planning: session_start(Utf8, Interval(MonthDayNano)): a timestamp or a date and intervals are expected. No function matches the given name and argument types 'session_start(Utf8, Interval(MonthDayNano))'. You might need to add explicit type casts.
            	Candidate functions:
            	session_start(UserDefined)
            SELECT body FROM HOP(logs PARTITION BY body, ts, INTERVAL '1 minute', INTERVAL '1 minute')
                HOP with hop ts: an interval above zero is expected, as INTERVAL '10 minutes'
        "#]],
    );
}

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
        engine_metrics | system table
        ingest_errors | stream
        logs | stream
        metrics | stream
        q | view
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
        Map [service_name@0, count(Int64(1))@1]
          Map [0:logs.service_name@0, #1@1]
            Aggregate by=[0:logs.service_name] aggregates=[count() incremental=(a count)] state=(one entry a group)
              Map [service_name@0]
                Source logs [service_name]
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
        median(1:metrics.value) recomputed=(all values)] state=(one entry a group)"#]]
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
