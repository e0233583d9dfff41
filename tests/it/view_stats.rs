//! What EXPLAIN DATAFLOW, `view_stats` and `operator_stats` tell, checked against inputs whose size is known.

use expect_test::{Expect, expect};
use serde_json::{Value, json};
use undercurrent::built_in;
use undercurrent::engine::{Database, Engine};
use undercurrent::telemetry::Table;

use crate::support::Server;

fn span(trace: u32, span: u32, parent: Option<u32>, service: &str) -> Value {
    json!({
        "trace_id": format!("{trace:032x}"),
        "span_id": format!("{span:016x}"),
        "parent_span_id": parent.map(|parent| format!("{parent:016x}")),
        "service_name": service,
        "started_at": "2026-01-01T00:00:00Z",
        "duration_ns": i64::from(span) * 1000,
    })
}

/// `spans` traces of two spans each: `web` calls `cart`.
fn traces(traces: std::ops::Range<u32>) -> Vec<Value> {
    traces.flat_map(|t| [span(t, 1, None, "web"), span(t, 2, Some(1), "cart")]).collect()
}

fn explain(server: &mut Server, target: &str, expected: &Expect) {
    let rows = server.query(&format!("EXPLAIN DATAFLOW {target}")).expect("a dataflow").rows;
    let lines: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    expected.assert_eq(&format!("{}\n", lines.join("\n")));
}

const EDGES: &str = "SELECT p.service_name AS caller, c.service_name AS callee, count(*) AS calls
    FROM spans AS p JOIN spans AS c ON c.trace_id = p.trace_id AND c.parent_span_id = p.span_id
    GROUP BY 1, 2";

#[test]
fn dataflows_tell_what_they_keep_and_what_bounds_it() {
    let mut server = Server::new(1);
    for (target, expected) in [
        (
            EDGES,
            expect![[r#"
                #8 Arrange by=[all columns] state=(each row and its count) bound=(rows of the view)
                  #7 Map [service_name@0, service_name@1, count(Int64(1))@2]
                    #6 Map [0:p.service_name@0, 1:c.service_name@1, #2@2]
                      #5 Aggregate by=[0:p.service_name, 1:c.service_name] aggregates=[count() incremental=(a count)] state=(one entry a group) bound=(grows with the groups) retractions=none
                        #4 Map [service_name@0, service_name@1]
                          #3 Map [service_name@2, service_name@5]
                            #2 Join inner on=[trace_id = trace_id, span_id = parent_span_id] state=(rows of both sides) bound=(grows with the input) retractions=none
                              #0 Source spans [trace_id, span_id, service_name]
                              #1 Source spans [trace_id, parent_span_id, service_name]
            "#]],
        ),
        (
            "SELECT DISTINCT service_name FROM spans",
            expect![[r#"
            #4 Arrange by=[all columns] state=(each row and its count) bound=(rows of the view)
              #3 Map [service_name@0]
                #2 Distinct by=[all columns] state=(each distinct row) bound=(grows with the input) retractions=none
                  #1 Map [service_name@0]
                    #0 Source spans [service_name]
        "#]],
        ),
        (
            "SELECT max(duration_ns), count(DISTINCT name) FROM spans WHERE duration_ns > 5",
            expect![[r#"
                #9 Arrange by=[all columns] state=(each row and its count) bound=(rows of the view)
                  #8 Map [max(alias2)@0, count(alias1)@1]
                    #7 Map [#0@0, #1@1]
                      #6 Aggregate by=[] aggregates=[max(0:alias2) incremental=(all distinct values), count(1:alias1) incremental=(a count)] state=(one entry a group) bound=(one entry) retractions=from #5
                        #5 Map [alias2@1, alias1@0]
                          #4 Map [0:spans.name AS alias1@0, #1@1]
                            #3 Aggregate by=[0:spans.name AS alias1] aggregates=[max(1:spans.duration_ns) incremental=(one value)] state=(one entry a group) bound=(grows with the groups) retractions=none
                              #2 Map [name@0, duration_ns@1]
                                #1 Map where=duration_ns@1 > 5
                                  #0 Source spans [name, duration_ns]
            "#]],
        ),
        (
            "SELECT service_name, started_at FROM spans WHERE started_at > now() - INTERVAL '1 hour'",
            expect![[r##"
                #3 Arrange by=[all columns] state=(each row and its count) bound=(rows of the view)
                  #2 TemporalFilter [now() < spans.started_at + IntervalMonthDayNano("IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 3600000000000 }")] state=(rows that come or go later) bound=(rows that come or go later)
                    #1 Map [service_name@0, started_at@1, started_at@1 + 3600000000000]
                      #0 Source spans [service_name, started_at]
            "##]],
        ),
        (
            "SELECT s.service_name, n FROM spans AS s
             LEFT JOIN (SELECT trace_id, count(*) AS n FROM logs GROUP BY 1) AS l ON s.trace_id = l.trace_id
             UNION ALL SELECT name, 1 FROM metrics",
            expect![[r#"
                #11 Arrange by=[all columns] state=(each row and its count) bound=(rows of the view)
                  #10 Union
                    #7 Map [service_name@1, n@3]
                      #6 Join left on=[trace_id = trace_id] state=(rows of both sides) bound=(grows with the input) retractions=from #5
                        #0 Source spans [trace_id, service_name]
                        #5 Map [trace_id@0, count(Int64(1))@1]
                          #4 Map [0:logs.trace_id@0, #1@1]
                            #3 Aggregate by=[0:logs.trace_id] aggregates=[count() incremental=(a count)] state=(one entry a group) bound=(grows with the groups) retractions=none
                              #2 Map [trace_id@0]
                                #1 Source logs [trace_id]
                    #9 Map [name@0, 1]
                      #8 Source metrics [name]
            "#]],
        ),
        (
            "SELECT date_bin(INTERVAL '1 minute', started_at) AS minute_at, min(duration_ns) FROM spans
             GROUP BY 1 HAVING date_bin(INTERVAL '1 minute', started_at) > now() - INTERVAL '1 day'",
            expect![[r##"
                #5 Arrange by=[all columns] state=(each row and its count) bound=(rows of the view)
                  #4 Map [date_bin(IntervalMonthDayNano("IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 60000000000 }"),spans.started_at)@0, min(spans.duration_ns)@1]
                    #3 Map [0:date_bin(IntervalMonthDayNano("IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 60000000000 }"), spans.started_at)@0, #1@1]
                      #2 Aggregate by=[0:date_bin(IntervalMonthDayNano("IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 60000000000 }"), spans.started_at)] aggregates=[min(1:spans.duration_ns) incremental=(one value)] state=(one entry a group) bound=(groups while now() < 2:date_bin(IntervalMonthDayNano("IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 60000000000 }"), spans.started_at) + IntervalMonthDayNano("IntervalMonthDayNano { months: 0, days: 1, nanoseconds: 0 }")) retractions=none
                        #1 Map [date_bin(IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 60000000000 }, started_at@0), duration_ns@1, date_bin(IntervalMonthDayNano { months: 0, days: 0, nanoseconds: 60000000000 }, started_at@0) + IntervalMonthDayNano { months: 0, days: 1, nanoseconds: 0 }]
                          #0 Source spans [started_at, duration_ns]
            "##]],
        ),
    ] {
        explain(&mut server, target, &expected);
    }
}

#[test]
fn horizons_bound_what_a_view_keeps() {
    let mut server = Server::new(1);
    server.run(&format!("CREATE MATERIALIZED VIEW edges WITH (horizon = '15 minutes') AS {EDGES}"));
    explain(
        &mut server,
        "edges",
        &expect![[r#"
            #8 Arrange by=[all columns] state=(each row and its count) bound=(rows of the view)
              #7 Map [service_name@0, service_name@1, count(Int64(1))@2]
                #6 Map [0:p.service_name@0, 1:c.service_name@1, #2@2]
                  #5 Aggregate by=[0:p.service_name, 1:c.service_name] aggregates=[count() incremental=(a count)] state=(one entry a group) bound=(grows with the groups) retractions=none
                    #4 Map [service_name@0, service_name@1]
                      #3 Map [service_name@2, service_name@5]
                        #2 Join inner on=[trace_id = trace_id, span_id = parent_span_id] state=(rows of both sides) bound=(rows of the last 900s) retractions=none
                          #0 Source spans [trace_id, span_id, service_name]
                          #1 Source spans [trace_id, parent_span_id, service_name]
        "#]],
    );
    server
        .run("CREATE MATERIALIZED VIEW names WITH (horizon = '1 minute') AS SELECT DISTINCT name FROM spans");
    explain(
        &mut server,
        "names",
        &expect![[r#"
        #4 Arrange by=[all columns] state=(each row and its count) bound=(rows of the view)
          #3 Map [name@0]
            #2 Distinct by=[all columns] state=(each distinct row) bound=(rows seen within 60s) retractions=none
              #1 Map [name@0]
                #0 Source spans [name]
    "#]],
    );
}

#[test]
fn joins_by_one_key_are_one_join() {
    let mut server = Server::new(1);
    let thrice =
        "SELECT s.name, l.body, e.name AS event FROM spans AS s JOIN logs AS l ON l.trace_id = s.trace_id
                  JOIN span_events AS e ON e.trace_id = l.trace_id AND e.name <> l.body";
    for (target, expected) in [
        (thrice, expect![[r#"
            #6 Arrange by=[all columns] state=(each row and its count) bound=(rows of the view)
              #5 Map [name@0, body@1, name@4]
                #4 Map [name@1, body@2, trace_id@3, trace_id@4, name@5]
                  #3 Join inner inputs=3 on=[trace_id = trace_id = trace_id] condition=name@5 != body@2 state=(rows of all inputs) bound=(grows with the input) retractions=none
                    #0 Source spans [trace_id, name]
                    #1 Source logs [body, trace_id]
                    #2 Source span_events [trace_id, name]
        "#]]),
        // Asked for another key.
        (
            "SELECT s.name, l.body, m.value FROM spans AS s JOIN logs AS l ON l.trace_id = s.trace_id
             JOIN metrics AS m ON m.service_name = s.service_name",
            expect![[r#"
                #7 Arrange by=[all columns] state=(each row and its count) bound=(rows of the view)
                  #6 Map [name@1, body@2, value@4]
                    #5 Join inner on=[service_name = service_name] state=(rows of both sides) bound=(grows with the input) retractions=none
                      #3 Map [service_name@1, name@2, body@3]
                        #2 Join inner on=[trace_id = trace_id] state=(rows of both sides) bound=(grows with the input) retractions=none
                          #0 Source spans [trace_id, service_name, name]
                          #1 Source logs [body, trace_id]
                      #4 Source metrics [service_name, value]
            "#]],
        ),
        (
            "WITH p AS (SELECT s.trace_id, s.name, l.body FROM spans AS s JOIN logs AS l ON l.trace_id = s.trace_id)
             SELECT p.name, q.body FROM p JOIN p AS q ON p.trace_id = q.trace_id",
            expect![[r#"
                #7 Arrange by=[all columns] state=(each row and its count) bound=(rows of the view)
                  #6 Map [name@1, body@3]
                    #5 Map [trace_id@0, name@1, trace_id@3, body@4]
                      #4 Join inner inputs=4 on=[trace_id = trace_id = trace_id = trace_id] state=(rows of all inputs) bound=(grows with the input) retractions=none
                        #0 Source spans [trace_id, name]
                        #1 Source logs [trace_id]
                        #2 Source spans [trace_id]
                        #3 Source logs [body, trace_id]
            "#]],
        ),
        // Read twice.
        (
            "WITH p AS (SELECT s.trace_id, s.name, l.body FROM spans AS s JOIN logs AS l ON l.trace_id = s.trace_id)
             SELECT p.body, q.body AS other FROM p JOIN p AS q ON p.trace_id = q.trace_id",
            expect![[r#"
                #6 Arrange by=[all columns] state=(each row and its count) bound=(rows of the view)
                  #5 Map [body@1, body@3]
                    #4 Join inner on=[trace_id = trace_id] state=(rows of both sides) bound=(grows with the input) retractions=none
                      #3 Map [trace_id@0, body@1]
                        #2 Join inner on=[trace_id = trace_id] state=(rows of both sides) bound=(grows with the input) retractions=none
                          #0 Source spans [trace_id]
                          #1 Source logs [body, trace_id]
                      see #3
            "#]],
        ),
    ] {
        explain(&mut server, target, &expected);
    }
    server.run(&format!("CREATE MATERIALIZED VIEW v WITH (horizon = '15 minutes') AS {thrice}"));
    explain(
        &mut server,
        "v",
        &expect![[r#"
        #6 Arrange by=[all columns] state=(each row and its count) bound=(rows of the view)
          #5 Map [name@0, body@1, name@4]
            #4 Map [name@1, body@2, trace_id@3, trace_id@4, name@5]
              #3 Join inner inputs=3 on=[trace_id = trace_id = trace_id] condition=name@5 != body@2 state=(rows of all inputs) bound=(rows of the last 900s) retractions=none
                #0 Source spans [trace_id, name]
                #1 Source logs [body, trace_id]
                #2 Source span_events [trace_id, name]
    "#]],
    );
}

#[test]
fn figures_are_those_of_what_came() {
    for workers in [1, 3] {
        let mut server = Server::new(workers);
        server.run(&format!("CREATE MATERIALIZED VIEW edges AS {EDGES}"));
        for tick in 0..5 {
            server.append(Table::Spans, &traces(tick * 10..(tick + 1) * 10));
            server.close(u64::from(tick) * 1000);
        }
        // Of 100 spans every other has a parent; 50 pairs are one group, which changes once in each of 5 ticks.
        let sql = "SELECT operator, rows_in, rows_out, state_rows, shared_with FROM operator_stats
            WHERE operator <> 'Arrange' ORDER BY operator_id";
        let rows = server.query(sql).expect("figures").rows;
        let lines: Vec<String> = rows.iter().map(|row| row.join(" ")).collect();
        expect![[r#"
            Source 0 100 0 NULL
            Source 0 100 0 NULL
            Join 200 50 200 NULL
            Map 50 50 0 NULL
            Map 50 50 0 NULL
            Aggregate 50 9 1 NULL
            Map 9 9 0 NULL
            Map 9 9 0 NULL
        "#]]
        .assert_eq(&(lines.join("\n") + "\n"));
        let sql = "SELECT view, row_count, updates, state_rows, late_rows, expired_rows, shared_state_bytes,
                state_bytes > 1000, result_bytes > 0, cpu_seconds > 0, updates_per_second > 0,
                closed_at = TIMESTAMP '1970-01-01T00:00:04Z', lag_ms > 1000000000
            FROM view_stats";
        let expected = "edges | 1 | 9 | 201 | 0 | 0 | 0 | true | true | true | true | true | true";
        assert_eq!(server.query(sql).expect("figures").sorted(), [expected]);
        // The sums of a view are those of its operators.
        let sql = "SELECT v.view FROM view_stats AS v JOIN (
                SELECT view, sum(CASE operator WHEN 'Arrange' THEN 0 ELSE state_bytes END) AS bytes,
                    sum(CASE operator WHEN 'Arrange' THEN state_bytes ELSE 0 END) AS result_bytes,
                    sum(cpu_seconds) AS cpu_seconds
                FROM operator_stats GROUP BY 1
            ) AS o ON o.view = v.view AND o.bytes = v.state_bytes AND o.result_bytes = v.result_bytes
                AND abs(o.cpu_seconds - v.cpu_seconds) < 1e-9";
        assert_eq!(server.query(sql).expect("figures").sorted(), ["edges"]);
        let shown = server.query("EXPLAIN DATAFLOW edges").expect("a dataflow");
        assert_eq!(
            shown.columns,
            [
                "dataflow: Utf8",
                "rows_in: Int64",
                "rows_out: Int64",
                "state_rows: Int64",
                "state_bytes: Int64",
                "cpu_seconds: Float64",
                "shared_with: Utf8"
            ]
        );
        let join = shown.rows.iter().find(|row| row[0].contains("Join")).expect("a join");
        assert_eq!((join[1].as_str(), join[2].as_str()), ("200", "50"));
    }
}

#[test]
fn statistics_are_shown_of_one_view_or_all() {
    let mut server = Server::new(1);
    server.run("CREATE MATERIALIZED VIEW a AS SELECT service_name FROM spans");
    server.run("CREATE MATERIALIZED VIEW b AS SELECT count(*) FROM a");
    server.run("CREATE VIEW c AS SELECT 1");
    let mut views = |sql: &str| {
        let rows = server.query(sql).expect("figures");
        assert_eq!(
            rows.columns[..3],
            ["view: Utf8", "closed_at: Timestamp(ms, \"+00:00\")", "lag_ms: Int64"]
        );
        rows.rows.into_iter().map(|row| row[0].clone()).collect::<Vec<_>>()
    };
    assert_eq!(views("SHOW VIEW STATS"), ["a", "b"]);
    assert_eq!(views("show view stats for b;"), ["b"]);
    for (view, expected) in [
        ("c", expect![[r#""c" is no materialized view, and only those are maintained"#]]),
        ("d", expect![[r#"relation "d" does not exist; did you mean "a"?"#]]),
        ("spans", expect![[r#""spans" is no materialized view, and only those are maintained"#]]),
    ] {
        expected.assert_eq(&server.refusal(&format!("SHOW VIEW STATS FOR {view}")));
    }
}

/// The views of which parts are computed once, as `view operator_id operator: others`.
fn shared(server: &mut Server) -> Vec<String> {
    let sql = "SELECT view, operator_id, operator, shared_with FROM operator_stats
        WHERE shared_with IS NOT NULL ORDER BY view, operator_id";
    let rows = server.query(sql).expect("figures").rows;
    rows.iter().map(|row| format!("{} {} {}: {}", row[0], row[1], row[2], row[3])).collect()
}

/// Bytes of state, each operator counted once.
fn state_bytes(server: &mut Server) -> i64 {
    let sql = "SELECT sum(state_bytes) FROM operator_stats
        WHERE operator <> 'Arrange' AND (shared_with IS NULL OR view < shared_with)";
    server.query(sql).expect("figures").rows[0][0].parse().expect("a number")
}

const SLOWEST: &str = "SELECT p.service_name AS calling, max(c.duration_ns) AS slowest
    FROM spans AS p JOIN spans AS c ON c.trace_id = p.trace_id AND c.parent_span_id = p.span_id
    WHERE c.duration_ns > 0 GROUP BY 1";

#[test]
fn what_two_views_compute_alike_is_computed_once() {
    for workers in [1, 2] {
        let mut server = Server::new(workers);
        server.run(&format!("CREATE MATERIALIZED VIEW a AS {EDGES}"));
        let one = "SELECT caller AS service FROM (".to_owned() + EDGES + ") AS e WHERE calls > 3";
        server.run(&format!("CREATE MATERIALIZED VIEW b AS {one}"));
        server.run(&format!("CREATE MATERIALIZED VIEW c AS {SLOWEST}"));
        for tick in 0..4 {
            server.append(Table::Spans, &traces(tick * 10..(tick + 1) * 10));
            server.close(u64::from(tick) * 1000);
        }
        let told = shared(&mut server);
        assert!(told.iter().any(|line| line.ends_with("Join: b")), "{told:?}");
        assert!(told.iter().any(|line| line.ends_with("Aggregate: a")), "{told:?}");
        assert!(!told.iter().any(|line| line.starts_with('c')), "another condition: {told:?}");
        // What joins once for both has taken in each span twice, and not four times.
        let joins = server
            .query(
                "SELECT view, rows_in, rows_out FROM operator_stats WHERE operator = 'Join' AND view <> 'c'",
            )
            .expect("figures");
        assert_eq!(joins.sorted(), ["a | 160 | 40", "b | 160 | 40"]);
        let views = "SELECT service FROM b UNION ALL SELECT caller FROM a";
        assert_eq!(server.query(views).expect("rows").sorted(), ["web", "web"]);
        let explained = server.query("EXPLAIN DATAFLOW b").expect("a dataflow").rows;
        assert!(explained.iter().any(|row| row[0].contains("Join") && row[6] == "a"), "{explained:?}");
        // A view that comes later goes on from what is there.
        let before = state_bytes(&mut server);
        server.run(&format!("CREATE MATERIALIZED VIEW d AS {EDGES}"));
        assert_eq!(server.query("SELECT calls FROM d").expect("rows").sorted(), ["40"]);
        assert_eq!(state_bytes(&mut server), before);
        // Whoever built the shared part may go; the others live on, and then nothing is left of it.
        server.run("DROP MATERIALIZED VIEW a");
        server.append(Table::Spans, &traces(40..50));
        server.close(10_000);
        assert_eq!(server.query("SELECT calls FROM d").expect("rows").sorted(), ["50"]);
        assert_eq!(server.query("SELECT service FROM b").expect("rows").sorted(), ["web"]);
        assert!(shared(&mut server).iter().all(|line| line.ends_with(": b") || line.ends_with(": d")));
        server.run("DROP MATERIALIZED VIEW b, d, c");
        server.run(&format!("CREATE MATERIALIZED VIEW a AS {EDGES}"));
        assert_eq!(server.query("SELECT calls FROM a").expect("rows").sorted(), ["50"]);
        assert_eq!(shared(&mut server), Vec::<String>::new());
    }
}

#[test]
fn what_a_new_view_would_not_have_is_not_shared() {
    // Rows that had to go are in the state of one and would not be in that of the other.
    let mut server = Server::new(1);
    server.database.engine.store_at_most(1);
    let count = "SELECT service_name, count(*) AS n FROM spans GROUP BY 1";
    server.run(&format!("CREATE MATERIALIZED VIEW a AS {count}"));
    server.append(Table::Spans, &traces(0..5));
    server.close(1000);
    server.run(&format!("CREATE MATERIALIZED VIEW b AS {count}"));
    assert_eq!(shared(&mut server), Vec::<String>::new());
    assert_eq!(server.query("SELECT sum(n) FROM a").expect("rows").sorted(), ["10"]);
    assert_eq!(server.query("SELECT count(*) FROM b").expect("rows").sorted(), ["0"]);
    // An error of a row is no state that could be told.
    let mut server = Server::new(1);
    let ratio = "SELECT DISTINCT 10 / duration_ns AS ratio FROM spans";
    server.run(&format!("CREATE MATERIALIZED VIEW a AS {ratio}"));
    server.append(Table::Spans, &[span(1, 0, None, "web"), span(1, 1, None, "web")]);
    server.close(1000);
    server.run(&format!("CREATE MATERIALIZED VIEW b AS {ratio}"));
    assert_eq!(shared(&mut server), Vec::<String>::new());
    for view in ["a", "b"] {
        let refused = server.query(&format!("SELECT * FROM {view}")).expect_err("a view without an answer");
        assert!(refused.to_string().contains("Divide by zero"), "{refused}");
    }
    // Created before that, both learn of it from one operator.
    let mut server = Server::new(2);
    for view in ["a", "b"] {
        server.run(&format!("CREATE MATERIALIZED VIEW {view} AS {ratio}"));
    }
    server.append(Table::Spans, &[span(1, 0, None, "web"), span(1, 1, None, "web")]);
    server.close(1000);
    assert!(!shared(&mut server).is_empty());
    for view in ["a", "b"] {
        let refused = server.query(&format!("SELECT * FROM {view}")).expect_err("a view without an answer");
        assert!(refused.to_string().contains("Divide by zero"), "{refused}");
    }
}

#[test]
fn the_graph_views_share_what_pairs_calls() {
    let views = built_in::views().expect("the built-in views");
    let mut server = Server::over(Database::new(Engine::start(1).expect("workers"), views, None));
    for view in ["service_dependencies", "service_dependencies_1m"] {
        server.query(&format!("SELECT * FROM {view}")).expect("rows");
    }
    server.append(Table::Spans, &traces(0..100));
    server.close(1000);
    let joins = "SELECT count(*), count(shared_with) FROM operator_stats
        WHERE view = 'service_dependencies_1m' AND operator IN ('Join', 'Distinct')";
    let row = &server.query(joins).expect("figures").rows[0];
    assert_eq!(row[0], row[1]);
    let share = "SELECT shared_state_bytes * 100 / state_bytes > 80 FROM view_stats";
    assert_eq!(server.query(share).expect("figures").sorted(), ["true", "true"]);
}
