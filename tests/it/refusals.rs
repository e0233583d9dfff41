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
            "SELECT body FROM logs ORDER BY ts LIMIT 3",
            "SELECT body FROM logs LIMIT 3",
            "SELECT array_agg(body) OVER (ORDER BY ts) FROM logs",
            "SELECT last_value(body) IGNORE NULLS OVER (ORDER BY ts) FROM logs",
        ],
        expect![[r#"
            SELECT body FROM logs ORDER BY ts LIMIT 3
                LIMIT in a continuous view is not supported yet: the first rows of a changing order are not maintained yet; order and limit when you read the view
            SELECT body FROM logs LIMIT 3
                LIMIT in a continuous view is not supported yet: the first rows of a changing order are not maintained yet; order and limit when you read the view
            SELECT array_agg(body) OVER (ORDER BY ts) FROM logs
                array_agg over this RANGE or GROUPS frame in a continuous view is not supported yet: which of several rows that are equal in ORDER BY comes first is left open; use a frame of ROWS, for which the other columns decide
            SELECT last_value(body) IGNORE NULLS OVER (ORDER BY ts) FROM logs
                last_value over this RANGE or GROUPS frame in a continuous view is not supported yet: which of several rows that are equal in ORDER BY comes first is left open; use a frame of ROWS, for which the other columns decide
        "#]],
    );
}

#[test]
fn aggregates_without_an_incremental_form_are_refused() {
    check_refused(
        &[
            "SELECT array_agg(body) FROM logs",
            "SELECT median(severity_number) FROM logs",
            "SELECT approx_distinct(body) FROM logs",
            "SELECT first_value(body) FROM logs",
            "SELECT service_name, name, count(*) FROM spans GROUP BY GROUPING SETS ((service_name), (name))",
            "SELECT approx_percentile(value, value) FROM metrics",
        ],
        expect![[r#"
            SELECT array_agg(body) FROM logs
                the aggregate array_agg in a continuous view is not supported yet: it has no incremental form here that is independent of the order of rows; use it when you read the view
            SELECT median(severity_number) FROM logs
                the aggregate median in a continuous view is not supported yet: it has no incremental form here that is independent of the order of rows; use approx_percentile(x, p), which is within 1 % and the same in whatever order rows come
            SELECT approx_distinct(body) FROM logs
                the aggregate approx_distinct in a continuous view is not supported yet: it has no incremental form here that is independent of the order of rows; use count(DISTINCT x)
            SELECT first_value(body) FROM logs
                the aggregate first_value in a continuous view is not supported yet: it has no incremental form here that is independent of the order of rows; use min or max
            SELECT service_name, name, count(*) FROM spans GROUP BY GROUPING SETS ((service_name), (name))
                GROUPING SETS, ROLLUP or CUBE in a continuous view is not supported yet: one row goes into several groups; write a UNION ALL of one GROUP BY each
            SELECT approx_percentile(value, value) FROM metrics
                Error during planning: percentile "value@0" is not a literal between 0 and 1
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
            "SELECT body FROM logs WHERE now() - ts < INTERVAL '1 day'",
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
            SELECT body FROM logs WHERE ts > now() - INTERVAL '1 month'
                an interval of months beside now() in a continuous view is not supported yet: months differ in length; write days
            SELECT body FROM logs WHERE now() - ts < INTERVAL '1 day'
                a difference from now() beside an interval of days in a continuous view is not supported yet: a difference of times has no days, and any number of hours is less than one; write it as `started_at > now() - INTERVAL '1 day'`
            SELECT body FROM logs WHERE ts = now()
                the condition `logs.ts = now()` in a continuous view is not supported yet: only comparisons of now(), plus or minus a constant interval, with one value can be maintained; write it as `started_at > now() - INTERVAL '1 hour'`
            SELECT body FROM logs WHERE ts > now() OR body = 'x'
                the condition `logs.ts > now() OR logs.body = Utf8("x")` in a continuous view is not supported yet: only comparisons of now(), plus or minus a constant interval, with one value can be maintained; write it as `started_at > now() - INTERVAL '1 hour'`
            SELECT a.body FROM logs a LEFT JOIN spans b ON a.trace_id = b.trace_id AND a.ts > now()
                now() in a join condition in a continuous view is not supported yet: a pair would come and go with time; filter one input by now() before the join
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
        expect![[""]],
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
    expect![[""]].assert_eq(&refusal.expect("a refusal"));
}
