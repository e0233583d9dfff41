//! What continuous views are refused with: every construct that is, with its message.

use expect_test::{Expect, expect};

use crate::support::Server;

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
            "SELECT max(attributes) FROM spans",
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
            SELECT max(attributes) FROM spans
                max of a map in a continuous view is not supported yet: maps have no order; take an entry of it, as with attributes['http.route']
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
                now() outside a comparison in WHERE in a continuous view is not supported yet: its value would change with every tick; compare it with a timestamp: `WHERE started_at > now() - INTERVAL '1 hour'`
            SELECT a.body FROM logs a LEFT JOIN spans b ON a.trace_id = b.trace_id AND a.ts > now()
                now() in the condition of an outer join in a continuous view is not supported yet: a pair would come and go with time, and so would the row without one; filter one input by now() before the join
        "#]],
    );
}

#[test]
fn subqueries_without_a_join_are_refused() {
    check_refused(
        &[
            "SELECT (SELECT body, ts FROM logs) FROM spans",
            "SELECT name FROM spans WHERE trace_id IN (SELECT trace_id, span_id FROM logs)",
            "SELECT s.name FROM spans s RIGHT JOIN LATERAL (SELECT l.body FROM logs l WHERE l.trace_id = s.trace_id) AS l ON true",
            "SELECT s.name FROM spans s LEFT JOIN logs l ON EXISTS (SELECT 1 FROM metrics m WHERE m.name = s.name AND m.unit = l.body)",
            "SELECT s.name, (SELECT count(*) FROM logs l WHERE l.body > s.r LIMIT 1) AS n FROM (SELECT name, random()::text AS r FROM spans) AS s",
            "SELECT s.name, (SELECT max(n) FROM (SELECT count(*) AS n FROM logs l WHERE l.trace_id = s.trace_id GROUP BY ROLLUP (service_name)) AS g) AS n FROM spans s",
            "SELECT name FROM spans WHERE started_at > (SELECT now())",
            "SELECT s.name FROM spans s, UNNEST(s.name) AS u(x)",
        ],
        expect![[r#"
            SELECT (SELECT body, ts FROM logs) FROM spans
                Error during planning: Too many columns! The subquery should only return one column: logs.body, logs.ts
            SELECT name FROM spans WHERE trace_id IN (SELECT trace_id, span_id FROM logs)
                Error during planning: Too many columns! The subquery should only return one column: logs.trace_id, logs.span_id
            SELECT s.name FROM spans s RIGHT JOIN LATERAL (SELECT l.body FROM logs l WHERE l.trace_id = s.trace_id) AS l ON true
                This feature is not implemented: LATERAL syntax is not supported for FULL OUTER and RIGHT [OUTER | ANTI | SEMI] joins
            SELECT s.name FROM spans s LEFT JOIN logs l ON EXISTS (SELECT 1 FROM metrics m WHERE m.name = s.name AND m.unit = l.body)
                This feature is not implemented: a subquery in the ON of a LEFT join; compute it in a query of one side, and compare its column
            SELECT s.name, (SELECT count(*) FROM logs l WHERE l.body > s.r LIMIT 1) AS n FROM (SELECT name, random()::text AS r FROM spans) AS s
                Error during planning: a subquery that reads random values outside has no one answer; read them from a table
            SELECT s.name, (SELECT max(n) FROM (SELECT count(*) AS n FROM logs l WHERE l.trace_id = s.trace_id GROUP BY ROLLUP (service_name)) AS g) AS n FROM spans s
                This feature is not implemented: grouping sets in a subquery that reads columns outside; write a UNION ALL of one GROUP BY each
            SELECT name FROM spans WHERE started_at > (SELECT now())
                now() outside a comparison in WHERE in a continuous view is not supported yet: its value would change with every tick; compare it with a timestamp: `WHERE started_at > now() - INTERVAL '1 hour'`
            SELECT s.name FROM spans s, UNNEST(s.name) AS u(x)
                Error during planning: unnest() can only be applied to array, struct and null
        "#]],
    );
}

/// Each view reads the one below twice: once for its rows, and once for what a subquery reads of them.
#[test]
fn subqueries_that_double_without_end_are_refused() {
    let mut server = Server::new(1);
    server.run("CREATE VIEW v0 AS SELECT name, duration_ns AS n FROM spans");
    let refusal = (1..20).find_map(|depth| {
        let below = depth - 1;
        let sql = format!(
            "CREATE VIEW v{depth} AS SELECT name, (SELECT max(l.severity_number) FROM logs l WHERE l.severity_number < v.n) AS n FROM v{below} AS v"
        );
        server.answer(&sql).err().map(|error| error.to_string())
    });
    expect!["with the views that it names, the query has more parts than 10000: make one of the views a materialized view"].assert_eq(&refusal.expect("a refusal"));
}

#[test]
fn windows_are_refused_where_they_are_no_windows() {
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
