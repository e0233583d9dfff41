//! Subscriptions: rows come while data comes in.

use std::io::Write;

use futures::{StreamExt, TryStreamExt};
use tokio_postgres::{NoTls, SimpleQueryMessage};

use super::hostile::{raw, startup};
use super::{connect, simple, span, told};
use crate::in_process::InProcess;

const VIEW: &str = "CREATE MATERIALIZED VIEW v AS SELECT service_name, count(*) AS n FROM spans GROUP BY 1";

#[test]
fn changes_come_by_both_protocols_until_cancelled() {
    let running = InProcess::start(&[]);
    running.wait(async {
        let client = connect(&running).await;
        client.simple_query(VIEW).await.expect("a view");
        let none: [&str; 0] = [];
        let rows = client.query_raw("SUBSCRIBE TO v", none).await.expect("a subscription");
        let mut rows = std::pin::pin!(rows);
        for n in 1..4i64 {
            running.append("spans", &[span("cart", n as u32)]);
            // The count before is taken back, except the first time.
            let mut seen = vec![];
            while seen.len() < if n == 1 { 1 } else { 2 } {
                let row = rows.next().await.expect("a row").expect("a row");
                seen.push((row.get::<_, i64>("n"), row.get::<_, i64>("diff")));
            }
            seen.sort_unstable();
            assert_eq!(seen.last(), Some(&(n, 1)));
            assert!(n == 1 || seen[0] == (n - 1, -1), "{seen:?}");
        }
        client.cancel_token().cancel_query(NoTls).await.expect("a request");
        let error = rows.next().await.expect("an end").unwrap_err();
        assert_eq!(told(&error).0, "57014");

        let stream = client.simple_query_raw("SUBSCRIBE TO v WITH (SNAPSHOT)").await.expect("a subscription");
        let mut stream = std::pin::pin!(stream);
        let row = loop {
            match stream.next().await.expect("a row").expect("a row") {
                SimpleQueryMessage::Row(row) => break row,
                _ => continue,
            }
        };
        assert_eq!(
            (row.get("diff"), row.get("service_name"), row.get("n")),
            (Some("1"), Some("cart"), Some("3"))
        );
    });
}

#[test]
fn copy_streams_changes_as_lines() {
    let running = InProcess::start(&[]);
    running.wait(async {
        let client = connect(&running).await;
        client.simple_query(VIEW).await.expect("a view");
        let lines =
            client.copy_out("COPY (SUBSCRIBE TO v) TO STDOUT WITH (FORMAT csv)").await.expect("a copy");
        let mut lines = std::pin::pin!(lines);
        running.append("spans", &[span("cart", 1)]);
        let line = lines.try_next().await.expect("a line").expect("a line");
        let line = String::from_utf8(line.to_vec()).unwrap();
        assert!(line.ends_with(",1,cart,1\n"), "{line}");
        let metrics = connect(&running).await;
        let sql = "SELECT value::bigint FROM engine_metrics WHERE name = 'undercurrent_subscriptions' AND labels LIKE '%postgres%'";
        assert_eq!(simple(&metrics, sql).await.expect("a row"), [[Some("1".to_owned())]]);
        client.cancel_token().cancel_query(NoTls).await.expect("a request");
        assert_eq!(told(&lines.try_next().await.unwrap_err()).0, "57014");
        assert_eq!(simple(&metrics, sql).await.expect("a row"), [[Some("0".to_owned())]]);
    });
}

#[test]
fn a_client_that_leaves_ends_its_subscription() {
    let running = InProcess::start(&[]);
    running.wait(async {
        let client = connect(&running).await;
        client.simple_query(VIEW).await.expect("a view");
        // A driver would wait for the end of the answer before it closes its connection.
        let mut stream = raw(&running);
        stream.write_all(&[&startup()[..], b"Q\0\0\0\x13SUBSCRIBE TO v\0"].concat()).expect("a subscription");
        let metrics = connect(&running).await;
        let sql = "SELECT value::bigint FROM engine_metrics WHERE name = 'undercurrent_subscriptions' AND labels LIKE '%postgres%'";
        while simple(&metrics, sql).await.expect("a row") != [[Some("1".to_owned())]] {}
        drop(stream);
        while simple(&metrics, sql).await.expect("a row") != [[Some("0".to_owned())]] {}
    });
}

#[test]
fn a_dropped_view_ends_its_subscriptions() {
    let running = InProcess::start(&[]);
    running.wait(async {
        let (client, other) = (connect(&running).await, connect(&running).await);
        client.simple_query(VIEW).await.expect("a view");
        running.append("spans", &[span("cart", 1)]);
        let none: [&str; 0] = [];
        let rows = client.query_raw("SUBSCRIBE TO v", none).await.expect("a subscription");
        let mut rows = std::pin::pin!(rows);
        rows.next().await.expect("a row").expect("a row");
        other.simple_query("DROP VIEW v").await.expect("no view");
        let (code, message, _) = loop {
            match rows.next().await.expect("an end") {
                Ok(_) => continue,
                Err(error) => break told(&error),
            }
        };
        assert_eq!(code, "55000");
        assert!(message.starts_with("the subscription to \"v\" ended"), "{message}");
    });
}
