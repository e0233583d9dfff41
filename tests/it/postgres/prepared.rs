//! Prepared statements: parameters, portals, and statements that go stale.

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use tokio_postgres::types::Type;

use super::{connect, rows_become, simple, span, told};
use crate::in_process::InProcess;

#[test]
fn parameters_have_the_types_of_what_they_meet() {
    let running = InProcess::start(&[]);
    running.append("spans", &[span("cart", 1), span("cart", 2), span("shop", 3)]);
    running.wait(async {
        let client = connect(&running).await;
        rows_become(&client, "SELECT 1 FROM spans", 3).await;
        let sql = "SELECT span_id FROM spans WHERE service_name = $1 AND started_at > $2 AND duration_ns >= $3 \
                   ORDER BY 1 LIMIT $4";
        let statement = client.prepare(sql).await.expect("a statement");
        assert_eq!(statement.params(), [Type::TEXT, Type::TIMESTAMPTZ, Type::INT8, Type::INT8]);
        let since: DateTime<Utc> = "2026-01-01T00:00:00Z".parse().unwrap();
        for (service, limit, expected) in [("cart", 10i64, 2), ("cart", 1, 1), ("shop", 10, 1), ("none", 10, 0)] {
            let rows = client.query(&statement, &[&service, &since, &1i64, &limit]).await.expect("rows");
            assert_eq!(rows.len(), expected, "{service}");
        }
        let late: DateTime<Utc> = "2026-01-02T00:00:00Z".parse().unwrap();
        assert!(client.query(&statement, &[&"cart", &late, &1i64, &10i64]).await.expect("rows").is_empty());
        // What nothing says the type of is text, as in PostgreSQL.
        let statement = client.prepare("SELECT $1").await.expect("a statement");
        assert_eq!(statement.params(), [Type::TEXT]);
        assert_eq!(client.query_one(&statement, &[&"x"]).await.expect("a row").get::<_, &str>(0), "x");
        // The client's own type goes first.
        let typed = client.query_typed("SELECT $1 + 1", &[(&41i64, Type::INT8)]).await.expect("rows");
        assert_eq!(typed[0].get::<_, i64>(0), 42);
    });
}

#[test]
fn literals_are_times_where_times_are_compared() {
    let running = InProcess::start(&[]);
    running.append("spans", &[span("cart", 1)]);
    running.wait(async {
        let client = connect(&running).await;
        rows_become(&client, "SELECT 1 FROM spans", 1).await;
        for (range, expected) in [
            ("'2026-01-01T00:00:00Z' AND '2026-01-01T01:00:00Z'", 1),
            ("'2025-12-31T23:00:00Z' AND '2026-01-01T00:00:00.5Z'", 0),
            ("'2026-01-01 01:00:00+01' AND '2026-01-01 02:00:00+01'", 1),
        ] {
            let sql = format!("SELECT 1 FROM spans WHERE started_at BETWEEN {range}");
            assert_eq!(simple(&client, &sql).await.expect("rows").len(), expected, "{range}");
        }
    });
}

#[test]
fn portals_give_their_rows_in_portions() {
    let running = InProcess::start(&[]);
    running.wait(async {
        let mut client = connect(&running).await;
        let transaction = client.transaction().await.expect("a transaction");
        let portal = transaction.bind("SELECT * FROM generate_series(1, 10)", &[]).await.expect("a portal");
        let mut seen = vec![];
        loop {
            let rows = transaction.query_portal(&portal, 4).await.expect("rows");
            seen.push(rows.len());
            if rows.len() < 4 {
                break;
            }
        }
        assert_eq!(seen, [4, 4, 2]);
        assert!(transaction.query_portal(&portal, 4).await.expect("rows").is_empty());
        transaction.commit().await.expect("an end");
    });
}

#[test]
fn rows_that_are_not_fetched_in_time_are_dropped() {
    let running = InProcess::start(&[("limits.statement_timeout", "300ms"), ("limits.statements_max", "1")]);
    running.wait(async {
        let mut client = connect(&running).await;
        let other = connect(&running).await;
        let transaction = client.transaction().await.expect("a transaction");
        // More than is run ahead of the client.
        let sql = "SELECT * FROM generate_series(1, 1000000)";
        let portal = transaction.bind(sql, &[]).await.expect("a portal");
        transaction.query_portal(&portal, 1).await.expect("rows");
        // The one place for queries is free again once the time is over.
        while simple(&other, "SELECT 1").await.is_err() {}
        let error = transaction.query_portal(&portal, 1).await.unwrap_err();
        assert_eq!(told(&error).0, "57014");
    });
}

#[test]
fn rows_that_wait_for_their_client_keep_nobody_from_running_queries() {
    let running = InProcess::start(&[("limits.statements_max", "1")]);
    running.wait(async {
        let mut client = connect(&running).await;
        let other = connect(&running).await;
        let transaction = client.transaction().await.expect("a transaction");
        let portal = transaction.bind("SELECT * FROM generate_series(1, 10)", &[]).await.expect("a portal");
        assert_eq!(transaction.query_portal(&portal, 1).await.expect("rows").len(), 1);
        assert_eq!(simple(&other, "SELECT 1").await.expect("a row").len(), 1);
        assert_eq!(transaction.query_portal(&portal, 100).await.expect("rows").len(), 9);
    });
}

#[test]
fn a_statement_that_went_stale_is_an_error() {
    let running = InProcess::start(&[]);
    running.wait(async {
        let client = connect(&running).await;
        client.simple_query("CREATE VIEW v AS SELECT 1 AS one").await.expect("a view");
        let statement = client.prepare("SELECT * FROM v").await.expect("a statement");
        assert_eq!(client.query(&statement, &[]).await.expect("rows").len(), 1);
        client.simple_query("CREATE OR REPLACE VIEW v AS SELECT 'x' AS one, 2 AS two").await.expect("a view");
        let (code, message, _) = told(&client.query(&statement, &[]).await.unwrap_err());
        assert_eq!((code.as_str(), message.as_str()), ("0A000", "cached plan must not change result type"));
        client.simple_query("DROP VIEW v").await.expect("no view");
        assert_eq!(told(&client.query(&statement, &[]).await.unwrap_err()).0, "42P01");
    });
}

#[test]
fn statements_of_ours_are_prepared_too() {
    let running = InProcess::start(&[]);
    running.append("spans", &[span("cart", 1)]);
    running.wait(async {
        let client = connect(&running).await;
        client
            .execute("CREATE MATERIALIZED VIEW v AS SELECT service_name FROM spans", &[])
            .await
            .expect("a view");
        let rows = client.query("SHOW COLUMNS FROM v", &[]).await.expect("rows");
        assert_eq!(rows[0].get::<_, &str>("column"), "service_name");
        assert_eq!(
            client.query_one("SHOW timezone", &[]).await.expect("a row").get::<_, &str>("TimeZone"),
            "UTC"
        );
        assert!(client.query("", &[]).await.expect("nothing").is_empty());
        assert!(client.query("-- ping", &[]).await.expect("nothing").is_empty());
        let sql = "CREATE VIEW w AS SELECT * FROM spans WHERE service_name = $1";
        let (code, message, _) = told(&client.prepare(sql).await.unwrap_err());
        assert_eq!(
            (code.as_str(), message.as_str()),
            ("0A000", "parameters are taken in queries, INSERT, UPDATE and DELETE alone")
        );
        rows_become(&client, "SELECT 1 FROM v", 1).await;
        let copied = client.copy_out("COPY (SELECT * FROM v) TO STDOUT").await.expect("a copy");
        let copied: Vec<_> = copied.try_collect().await.expect("lines");
        assert_eq!(copied, ["cart\n"]);
        client.execute("DROP VIEW v", &[]).await.expect("no view");
    });
}
