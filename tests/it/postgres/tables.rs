//! Rows of tables that clients change: prepared, in transactions, in pipelines and by COPY.

use std::time::Duration;

use futures::future::join_all;
use futures::{SinkExt, TryStreamExt};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::{connect, simple, told};
use crate::in_process::InProcess;

/// The values of all rows of `sql`, one after the other.
async fn value(client: &Client, sql: &str) -> String {
    let rows = simple(client, sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let values = rows.into_iter().flatten().map(|value| value.unwrap_or_else(|| "null".to_owned()));
    values.collect::<Vec<_>>().join(" ")
}

async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

/// The SQLSTATE that `sql` fails with.
async fn code(client: &Client, sql: &str) -> String {
    told(&simple(client, sql).await.expect_err(sql)).0
}

#[test]
fn prepared_statements_change_rows_and_return_them() {
    let running = InProcess::start(&[]);
    running.wait(async {
        let client = connect(&running).await;
        run(
            &client,
            "CREATE TABLE t (id bigint PRIMARY KEY, name varchar(20), price numeric(8,2) DEFAULT 1.5, at timestamptz)",
        )
        .await;
        let insert = client.prepare("INSERT INTO t (id, name, at) VALUES ($1, $2, $3) RETURNING id, price").await;
        let insert = insert.expect("a statement");
        assert_eq!(insert.params(), [Type::INT8, Type::TEXT, Type::TIMESTAMPTZ]);
        let columns: Vec<(&str, &Type)> = insert.columns().iter().map(|c| (c.name(), c.type_())).collect();
        assert_eq!(columns, [("id", &Type::INT8), ("price", &Type::NUMERIC)]);
        let at: chrono::DateTime<chrono::Utc> = "2026-01-01T00:00:00Z".parse().unwrap();
        for id in 1..=3i64 {
            let row = client.query_one(&insert, &[&id, &"x", &at]).await.expect("a row");
            assert_eq!(row.get::<_, i64>(0), id);
        }
        let update = client.prepare("UPDATE t SET name = $2, price = price + 1 WHERE id >= $1").await.unwrap();
        assert_eq!(update.params(), [Type::INT8, Type::TEXT]);
        assert_eq!(client.execute(&update, &[&2i64, &"y"]).await.unwrap(), 2);
        let upsert = "INSERT INTO t (id, name) VALUES ($1, $2), ($3, $2) ON CONFLICT (id) DO UPDATE SET name = excluded.name || t.name";
        assert_eq!(client.execute(upsert, &[&3i64, &"z", &4i64]).await.unwrap(), 2);
        assert_eq!(client.execute("DELETE FROM t WHERE id = $1", &[&1i64]).await.unwrap(), 1);
        assert_eq!(value(&client, "SELECT * FROM t ORDER BY id").await, "2 y 2.50 2026-01-01 00:00:00.000000+00 3 zy 2.50 2026-01-01 00:00:00.000000+00 4 z 1.50 null");
        for (sql, expected) in [
            ("INSERT INTO t (id) VALUES (2)", "23505"),
            ("INSERT INTO t (name) VALUES ('x')", "23502"),
            ("INSERT INTO t VALUES (9, 'much too long for twenty')", "22001"),
            ("INSERT INTO t VALUES ('x')", "22P02"),
            ("INSERT INTO t (nothing) VALUES (1)", "42703"),
            ("INSERT INTO t (id, id) VALUES (1, 2)", "42701"),
            ("INSERT INTO t VALUES (1, 2, 3, 4, 5)", "42601"),
            ("INSERT INTO spans VALUES (1)", "42809"),
            ("INSERT INTO nothing_like_it VALUES (1)", "42P01"),
            ("CREATE TABLE t (a int)", "42P07"),
            ("CREATE TABLE u (a int, a text)", "42601"),
            ("UPDATE t SET name = 'x' FROM (VALUES (1), (2)) AS v (n)", "21000"),
        ] {
            assert_eq!(code(&client, sql).await, expected, "{sql}");
        }
        run(&client, "CREATE MATERIALIZED VIEW v AS SELECT sum(price) AS s FROM t").await;
        assert_eq!(code(&client, "DROP TABLE t").await, "2BP01");
        run(&client, "DROP MATERIALIZED VIEW v; TRUNCATE t; DROP TABLE t").await;
    });
}

#[test]
fn a_transaction_is_seen_by_others_when_it_commits_and_not_at_all_when_it_does_not() {
    let running = InProcess::start(&[]);
    running.wait(async {
        let (mut ann, bob) = (connect(&running).await, connect(&running).await);
        run(&ann, "CREATE TABLE t (id int PRIMARY KEY, n int); CREATE TABLE log (what text) WITH (append_only = true)")
            .await;
        run(&ann, "CREATE MATERIALIZED VIEW v AS SELECT count(*) AS c, sum(n) AS s FROM t").await;
        let count = "SELECT count(*) FROM t";
        let transaction = ann.transaction().await.unwrap();
        for id in 0..10i32 {
            assert_eq!(transaction.execute("INSERT INTO t VALUES ($1, 1)", &[&id]).await.unwrap(), 1);
        }
        assert_eq!(transaction.execute("UPDATE t SET n = 2 WHERE id < 5", &[]).await.unwrap(), 5);
        transaction.execute("INSERT INTO log VALUES ('x')", &[]).await.unwrap();
        let seen: i64 = transaction.query_one("SELECT sum(n) FROM t", &[]).await.unwrap().get(0);
        assert_eq!((seen, value(&bob, count).await.as_str()), (15, "0"));
        assert_eq!(transaction.query("SELECT * FROM log", &[]).await.unwrap().len(), 1);
        transaction.commit().await.unwrap();
        assert_eq!(value(&bob, "SELECT c, s FROM v").await, "10 15");
        assert_eq!(value(&bob, "SELECT count(*) FROM log").await, "1");
        // Rolled back, wholly or to a savepoint.
        run(&ann, "BEGIN; DELETE FROM t; ROLLBACK").await;
        assert_eq!(value(&bob, count).await, "10");
        run(&ann, "BEGIN; DELETE FROM t WHERE id = 0; SAVEPOINT a; DELETE FROM t").await;
        assert_eq!(value(&ann, count).await, "0");
        assert_eq!(code(&ann, "SELECT nothing FROM t").await, "42703");
        assert_eq!(code(&ann, "SELECT 1").await, "25P02");
        run(&ann, "ROLLBACK TO SAVEPOINT a; DELETE FROM t WHERE id = 1; COMMIT").await;
        assert_eq!(value(&bob, count).await, "8");
        run(&ann, "BEGIN; DELETE FROM t").await;
        assert_eq!(code(&ann, "ROLLBACK TO SAVEPOINT b").await, "3B001");
        run(&ann, "ROLLBACK").await;
        // Others have changed what it has changed.
        run(&ann, "BEGIN; UPDATE t SET n = n + 1").await;
        run(&bob, "UPDATE t SET n = 100 WHERE id = 9").await;
        assert_eq!(code(&ann, "COMMIT").await, "40001");
        // A key that others have taken meanwhile.
        run(&ann, "BEGIN; INSERT INTO t VALUES (50, 1), (51, 1)").await;
        run(&bob, "INSERT INTO t VALUES (51, 2)").await;
        assert_eq!(code(&ann, "COMMIT").await, "23505");
        assert_eq!(value(&ann, "SELECT count(*), max(n) FROM t").await, "9 100");
        // Rows that only come conflict with nobody.
        run(&ann, "BEGIN; INSERT INTO t VALUES (60, 1)").await;
        run(&bob, "INSERT INTO t VALUES (61, 2)").await;
        run(&ann, "COMMIT").await;
        assert_eq!(value(&ann, count).await, "11");
    });
}

#[test]
fn what_is_acknowledged_is_there_whoever_writes_beside() {
    let running = InProcess::start(&[]);
    running.wait(async {
        let client = connect(&running).await;
        run(&client, "CREATE TABLE t (id bigint PRIMARY KEY, n bigint); INSERT INTO t VALUES (0, 0)").await;
        run(&client, "CREATE MATERIALIZED VIEW v AS SELECT count(*) AS c, sum(n) AS s FROM t").await;
        let clients = join_all((0..6).map(|_| connect(&running))).await;
        let writers = clients.iter().enumerate().map(async |(writer, client)| {
            for round in 0..15i64 {
                let id = 1 + writer as i64 * 1000 + round;
                assert_eq!(client.execute("INSERT INTO t VALUES ($1, 1)", &[&id]).await.unwrap(), 1);
                // It is seen at once, by anybody.
                let rows =
                    clients[(writer + 1) % 6].query("SELECT n FROM t WHERE id = $1", &[&id]).await.unwrap();
                assert_eq!(rows.len(), 1);
                assert_eq!(client.execute("UPDATE t SET n = n + 1 WHERE id = 0", &[]).await.unwrap(), 1);
            }
        });
        join_all(writers).await;
        assert_eq!(value(&client, "SELECT c, s FROM v").await, "91 180");
        // Sent ahead of their answers, they are still done in order.
        let insert = client.prepare("INSERT INTO t VALUES ($1, 0)").await.unwrap();
        let ids: Vec<i64> = (100_000..100_200).collect();
        let all = join_all(ids.iter().map(async |id| client.execute(&insert, &[id]).await)).await;
        assert!(all.into_iter().all(|count| count.unwrap() == 1));
        assert_eq!(value(&client, "SELECT c FROM v").await, "291");
    });
}

async fn copy_in(client: &Client, sql: &str, pieces: &[&str]) -> Result<u64, tokio_postgres::Error> {
    let sink = client.copy_in::<_, bytes::Bytes>(sql).await?;
    futures::pin_mut!(sink);
    for piece in pieces {
        sink.send(bytes::Bytes::from(piece.to_string())).await?;
    }
    sink.finish().await
}

#[test]
fn copy_brings_all_rows_or_none() {
    let running = InProcess::start(&[]);
    running.wait(async {
        let client = connect(&running).await;
        run(
            &client,
            "CREATE TABLE t (id int PRIMARY KEY, name text DEFAULT 'none', ok boolean, at timestamp)",
        )
        .await;
        let pieces = ["1\ta\\tb\tt\t2026-01-01 00:00", ":00\n2\t\\N\tf\t\\N\n"];
        assert_eq!(copy_in(&client, "COPY t FROM STDIN", &pieces).await.unwrap(), 2);
        let csv = "COPY t (ok, id) FROM STDIN WITH (FORMAT csv, HEADER, DELIMITER ';', NULL 'nil')";
        assert_eq!(copy_in(&client, csv, &["ok;id\nnil;3\n\"true\"", ";4\n"]).await.unwrap(), 2);
        let all = "1 a\tb t 2026-01-01 00:00:00.000000 2 null f null 3 none null null 4 none t null";
        assert_eq!(value(&client, "SELECT * FROM t ORDER BY id").await, all);
        for (sql, text, expected) in [
            ("COPY t (id) FROM STDIN", "5\n1\n", "23505"),
            ("COPY t (id) FROM STDIN", "5\nx\n", "22P02"),
            ("COPY t (id) FROM STDIN", "5\t6\n", "22P04"),
            ("COPY t (name) FROM STDIN", "x\n", "23502"),
        ] {
            let error = copy_in(&client, sql, &[text]).await.unwrap_err();
            assert_eq!(told(&error).0, expected, "{sql} {text}");
        }
        for (sql, expected) in [
            ("COPY spans FROM STDIN", "42809"),
            ("COPY nothing_like_it FROM STDIN", "42P01"),
            ("COPY t FROM '/etc/passwd'", "0A000"),
        ] {
            assert_eq!(code(&client, sql).await, expected, "{sql}");
        }
        assert_eq!(value(&client, "SELECT count(*) FROM t").await, "4");
        // What comes out goes in again.
        run(&client, "CREATE TABLE u (id int, name text, ok boolean, at timestamp)").await;
        let rows: Vec<bytes::Bytes> =
            client.copy_out("COPY t TO STDOUT").await.unwrap().try_collect().await.unwrap();
        let text = rows.iter().map(|row| std::str::from_utf8(row).unwrap()).collect::<String>();
        assert_eq!(copy_in(&client, "COPY u FROM STDIN", &[&text]).await.unwrap(), 4);
        let same = "SELECT count(*) FROM t JOIN u ON t.id = u.id AND t.name IS NOT DISTINCT FROM u.name";
        assert_eq!(value(&client, same).await, "4");
        // A client that gives up in the middle leaves nothing, and its connection goes on.
        let sink = client.copy_in::<_, bytes::Bytes>("COPY t (id) FROM STDIN").await.unwrap();
        let mut sink = Box::pin(sink);
        sink.send(bytes::Bytes::from_static(b"77\n")).await.unwrap();
        drop(sink);
        let deadline =
            tokio::time::timeout(Duration::from_secs(60), value(&client, "SELECT count(*) FROM t"));
        assert_eq!(deadline.await.unwrap(), "4");
    });
}
