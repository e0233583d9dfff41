//! What clients ask on their own: on connect, for the tree of tables, while a query is put together.

use super::{connect, simple, span, told};
use crate::in_process::InProcess;

/// The questions of each client, in files of their own.
const QUESTIONS: &[(&str, &str)] = &[
    ("Grafana", include_str!("questions/grafana.sql")),
    ("DBeaver", include_str!("questions/dbeaver.sql")),
    ("Metabase", include_str!("questions/metabase.sql")),
    ("DataGrip", include_str!("questions/datagrip.sql")),
    ("drivers", include_str!("questions/drivers.sql")),
];

#[test]
fn every_question_of_known_clients_is_answered() {
    let running = InProcess::start(&[]);
    running.append("spans", &[span("cart", 1)]);
    running.wait(async {
        let client = connect(&running).await;
        client.simple_query("CREATE VIEW service_calls_view AS SELECT 1 AS one").await.expect("a view");
        let mut failures = vec![];
        for (name, text) in QUESTIONS {
            let pieces = undercurrent::sql::words::split(text).expect("statements");
            assert!(pieces.len() > 5, "{name} asks little");
            for sql in pieces {
                // By both protocols: drivers prepare what they ask.
                if let Err(error) = simple(&client, sql).await {
                    failures.push(format!("{name}: {sql}\n    {:?}", told(&error)));
                } else if let Err(error) = client.query(sql, &[]).await {
                    failures.push(format!("{name}, prepared: {sql}\n    {error:?}"));
                }
            }
        }
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    });
}

#[test]
fn answers_tell_what_there_is() {
    let running = InProcess::start(&[]);
    running.wait(async {
        let client = connect(&running).await;
        client
            .simple_query(
                "CREATE MATERIALIZED VIEW m AS SELECT service_name, count(*) AS n FROM spans GROUP BY 1; \
                 CREATE VIEW p AS SELECT n FROM m",
            )
            .await
            .expect("views");
        for (sql, expected) in [
            ("SELECT CAST(current_setting('server_version_num') AS INT)/100", "1600"),
            ("SELECT string_agg(relname || relkind, ' ' ORDER BY relname) FROM pg_class WHERE relname IN ('m', 'p', 'spans')", "mm pv spansr"),
            ("SELECT table_type FROM information_schema.tables WHERE table_name = 'p'", "VIEW"),
            ("SELECT data_type FROM information_schema.columns WHERE table_name = 'spans' AND column_name = 'started_at'", "timestamp with time zone"),
            ("SELECT data_type FROM information_schema.columns WHERE table_name = 'spans' AND column_name = 'attributes'", "json"),
            ("SELECT data_type FROM information_schema.columns WHERE table_name = 'p' AND column_name = 'n'", "bigint"),
            ("SELECT definition FROM pg_views WHERE viewname = 'p'", "SELECT n FROM m"),
            ("SELECT pg_get_viewdef('p'::regclass)", "SELECT n FROM m"),
            ("SELECT count(*) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE c.relname = 'spans'", "16"),
            ("SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'spans'::regclass AND attname = 'started_at'", "timestamp with time zone"),
            ("SELECT current_database()", "undercurrent"),
            ("SELECT current_schema()", "public"),
            ("SELECT current_user", "ann"),
            ("SELECT count(*) FROM pg_database", "1"),
            ("SELECT nspname FROM pg_namespace WHERE nspname = 'public'", "public"),
        ] {
            let rows = simple(&client, sql).await.unwrap_or_else(|e| panic!("{sql}: {:?}", told(&e)));
            assert_eq!(rows, [[Some(expected.to_owned())]], "{sql}");
        }
        assert_eq!(told(&client.simple_query("SELECT current_setting('no_such')").await.unwrap_err()).0, "22000");
    });
}

#[test]
fn the_oid_of_a_relation_stays_while_others_come_and_go() {
    let running = InProcess::start(&[]);
    running.wait(async {
        let (client, other) = (connect(&running).await, connect(&running).await);
        let sql = "SELECT 'spans'::regclass::oid";
        let before = simple(&client, sql).await.expect("an oid");
        client.simple_query("CREATE VIEW aaa AS SELECT 1 AS one").await.expect("a view");
        assert_eq!(simple(&other, sql).await.expect("an oid"), before);
        let by_class = "SELECT oid FROM pg_class WHERE relname = 'spans'";
        assert_eq!(simple(&other, by_class).await.expect("an oid"), before);
        client.simple_query("DROP VIEW aaa").await.expect("no view");
        assert_eq!(simple(&client, sql).await.expect("an oid"), before);
    });
}
