//! Recursive views: what is refused, and how the loop is explained.

use expect_test::expect;

use crate::support::Server;

/// `term` as the recursive term of a view over edges.
fn query(term: &str) -> String {
    format!(
        "WITH RECURSIVE r AS (SELECT service_name AS source, body AS target FROM logs UNION ({term})) SELECT * FROM r"
    )
}

#[test]
fn terms_that_are_not_maintained_are_refused() {
    let terms = [
        "SELECT a.source, b.target FROM r a JOIN r b ON a.target = b.source",
        "SELECT max(source), 'all' FROM r",
        "SELECT source, target FROM r ORDER BY source LIMIT 1",
        "SELECT l.service_name, l.body FROM logs l LEFT JOIN r ON r.target = l.service_name",
        "SELECT l.service_name, l.body FROM r JOIN logs l ON r.target = l.service_name AND r.target || now()::text < 'x'",
        "SELECT r.source, l.body FROM r JOIN logs l ON r.target = l.service_name WHERE l.ts > now() - INTERVAL '1 minute' OR r.source = 'a'",
        "WITH RECURSIVE s AS (SELECT source, target FROM r UNION SELECT s.source, l.body FROM s JOIN logs l ON l.service_name = s.target) SELECT * FROM s",
        "SELECT service_name, body FROM logs WHERE service_name IN (SELECT target FROM r)",
        "SELECT r.source, l.body FROM r JOIN logs l ON l.service_name = r.target UNION ALL SELECT service_name, name FROM spans",
    ];
    let mut server = Server::new(1);
    let refusals = terms.iter().map(|term| {
        let message = server.refusal(&format!("CREATE MATERIALIZED VIEW v AS {}", query(term)));
        format!("{term}\n    {message}\n")
    });
    expect![[r#"
        SELECT a.source, b.target FROM r a JOIN r b ON a.target = b.source
            "r" twice in its recursive term in a continuous view is not supported yet: a round follows from the rows of the round before, taken once; join it with a relation of its own
        SELECT max(source), 'all' FROM r
            an aggregate over all rows over "r" in its recursive term in a continuous view is not supported yet: it gives a row even for a round without any, so that the recursion would not end; group it, or aggregate the result
        (SELECT source, target FROM r ORDER BY source LIMIT 1)
            LIMIT or a window function over "r" in its recursive term in a continuous view is not supported yet: the order within a round is not maintained; use it on the result
        SELECT l.service_name, l.body FROM logs l LEFT JOIN r ON r.target = l.service_name
            a join that keeps rows without a partner in the round before over "r" in its recursive term in a continuous view is not supported yet: they would be part of every round, so that the recursion would not end; use an inner join
        SELECT l.service_name, l.body FROM r JOIN logs l ON r.target = l.service_name AND r.target || now()::text < 'x'
            now() in a recursive term in a continuous view is not supported yet: a row would come and go with time in the middle of the recursion; filter what the recursive term joins in a WITH query of its own, or filter the result
        SELECT r.source, l.body FROM r JOIN logs l ON r.target = l.service_name WHERE l.ts > now() - INTERVAL '1 minute' OR r.source = 'a'
            now() in a recursive term in a continuous view is not supported yet: a row would come and go with time in the middle of the recursion; filter what the recursive term joins in a WITH query of its own, or filter the result
        SELECT r.source, s.target FROM r JOIN (WITH RECURSIVE s AS (SELECT source, target FROM r UNION SELECT s.source, l.body FROM s JOIN logs l ON l.service_name = s.target) SELECT * FROM s) s ON s.source = r.target
            "r" twice in its recursive term in a continuous view is not supported yet: a round follows from the rows of the round before, taken once; join it with a relation of its own
        SELECT body, body FROM logs WHERE service_name IN (SELECT target FROM r)
            Error during planning: Projections require unique expression names but the expression "logs.body" at position 0 and "logs.body" at position 1 have the same name. Consider aliasing ("AS") one of them.
        (SELECT r.source, l.body FROM r JOIN logs l ON l.service_name = r.target UNION ALL SELECT service_name, name FROM spans)
            UNION over "r" in its recursive term in a continuous view is not supported yet: a part of it does not read the round before, so that it would give the same rows in each round; put that part into the first term
        SELECT source FROM r
            Error during planning: Non-recursive term and recursive term must have the same number of columns (2 != 1)
    "#]].assert_eq(&refusals.collect::<String>());
}

#[test]
fn the_loop_is_explained() {
    let mut server = Server::new(1);
    let term =
        "SELECT r.source, l.body FROM r JOIN logs l ON l.service_name = r.target AND l.body <> r.source";
    server.run(&format!("CREATE MATERIALIZED VIEW v AS {}", query(term)));
    let lines = server.query("EXPLAIN DATAFLOW v").expect("rows").rows;
    let lines: Vec<String> = lines.into_iter().map(|row| row.join(" ")).collect();
    expect![[r#"
        Consolidate state=none
          Recursion r union=distinct state=(each row and the rounds that give it) rounds_max=10000
            first round
              Map [source@0, target@1, 0]
                Map [service_name@1, body@0]
                  #0 Source logs [body, service_name]
            input 0
              see #0
            each further round
              Map [source@0, body@1, $round@2 + 1]
                Map [source@0, body@3, $round@2]
                  Join inner on=[target = service_name] condition=body@3 != source@0 state=(rows of both sides) horizon=none
                    Source r of the round before [source, target, $round]
                    Source input 0 [body, service_name]"#]].assert_eq(&lines.join("\n"));
}
