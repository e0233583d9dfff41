//! What a session keeps: transactions, settings, and errors that leave it usable.

use expect_test::expect;
use tokio_postgres::{Config, NoTls, SimpleQueryMessage};

use super::{connect, simple, told};
use crate::in_process::InProcess;

#[test]
fn errors_have_a_code_and_leave_the_session_usable() {
    let running = InProcess::start(&[]);
    let statements = [
        "SELECT 1 FROM",
        "SELECT * FROM nothing_like_it",
        "SELECT bodi FROM logs",
        "SELECT no_such_function(1)",
        "CREATE VIEW logs AS SELECT 1",
        "CREATE MATERIALIZED VIEW v AS SELECT * FROM logs LIMIT 3",
        "INSERT INTO logs VALUES (1)",
        "SELECT 1 / 0",
        "SELECT 'x'::int",
        "SELECT arrow_cast(300, 'Int8')",
        "DROP VIEW nope",
        "SET no_such_setting = 1",
        "SHOW no_such_setting",
        "SET client_encoding = 'LATIN1'",
        "COPY logs FROM STDIN",
        "SUBSCRIBE TO logs",
        "ROLLBACK TO SAVEPOINT a",
        "DEALLOCATE nope",
        "LISTEN x",
        "SELECT * FROM generate_series(1, 10000000) a",
    ];
    let text = running.wait(async {
        let client = connect(&running).await;
        let mut text = String::new();
        for sql in statements {
            let (code, message, hint) = match client.simple_query(sql).await {
                Ok(_) => ("none".to_owned(), String::new(), String::new()),
                Err(error) => told(&error),
            };
            // The closest name of a function is one of several that are as close.
            let hint = if code == "42883" { String::new() } else { hint };
            let message = message.lines().next().unwrap_or_default().to_owned();
            text += &format!("{sql}\n    {code} {message} | {}\n", hint.lines().next().unwrap_or_default());
            assert_eq!(simple(&client, "SELECT 1").await.expect("a row").len(), 1);
        }
        text
    });
    expect![[r#"
        SELECT 1 FROM
            42601 syntax error: Expected: identifier, found: EOF | 
        SELECT * FROM nothing_like_it
            42P01 relation "nothing_like_it" does not exist | SHOW TABLES lists what there is
        SELECT bodi FROM logs
            42703 Schema error: No field named bodi. Did you mean 'logs.body'? | Valid fields are logs.ts, logs.observed_at, logs.severity_number, logs.severity_text, logs.body, logs.event_name, logs.trace_id, logs.span_id, logs.service_name, logs.attributes, logs.resource_attributes, logs.scope_name.
        SELECT no_such_function(1)
            42883 Error during planning: Invalid function 'no_such_function'. | 
        CREATE VIEW logs AS SELECT 1
            42P07 relation "logs" already exists; use CREATE OR REPLACE, or drop it first | 
        CREATE MATERIALIZED VIEW v AS SELECT * FROM logs LIMIT 3
            0A000 LIMIT without ORDER BY over a map in a continuous view is not supported yet: which rows these are is left open | add an ORDER BY, or leave the columns out that are maps
        INSERT INTO logs VALUES (1)
            42809 cannot change rows of "logs": it is a stream, and only those of tables that CREATE TABLE made can be changed | 
        SELECT 1 / 0
            22012 Arrow error: Divide by zero error | 
        SELECT 'x'::int
            22P02 Arrow error: Cast error: Cannot cast string 'x' to value of Int32 type | 
        SELECT arrow_cast(300, 'Int8')
            22P02 Arrow error: Cast error: Can't cast value 300 to type Int8 | 
        DROP VIEW nope
            42P01 view "nope" does not exist | 
        SET no_such_setting = 1
            42704 unrecognized configuration parameter "no_such_setting" | SHOW ALL lists those of database "undercurrent".
        SHOW no_such_setting
            42704 unrecognized configuration parameter "no_such_setting" | SHOW ALL lists those of database "undercurrent".
        SET client_encoding = 'LATIN1'
            22023 invalid value for parameter "client_encoding": "LATIN1" | It can be: utf8; utf-8; unicode.
        COPY logs FROM STDIN
            42809 cannot change rows of "logs": it is a stream, and only those of tables that CREATE TABLE made can be changed | 
        SUBSCRIBE TO logs
            42601 "logs" is no materialized view, and only those and ordinary tables have a stream of changes; create one of it | 
        ROLLBACK TO SAVEPOINT a
            25P01 ROLLBACK TO SAVEPOINT can only be used in transaction blocks | BEGIN one.
        DEALLOCATE nope
            26000 prepared statement "nope" does not exist | 
        LISTEN x
            0A000 LISTEN and NOTIFY are not supported | SUBSCRIBE TO a materialized view streams its changes.
        SELECT * FROM generate_series(1, 10000000) a
            54000 the answer has more rows than 1000000 (limits.result_rows_max) | add LIMIT or WHERE
    "#]].assert_eq(&text);
}

#[test]
fn a_syntax_error_tells_where() {
    let running = InProcess::start(&[]);
    running.wait(async {
        let client = connect(&running).await;
        let sql = "SELECT 1;\nSELECT 'ä' FROM spans WHERE )";
        let error = client.simple_query(sql).await.unwrap_err();
        let position = match error.as_db_error().and_then(|e| e.position()).expect("a position") {
            tokio_postgres::error::ErrorPosition::Original(at) => *at as usize,
            other => panic!("{other:?}"),
        };
        assert_eq!(sql.chars().skip(position - 1).collect::<String>(), ")");
    });
}

#[test]
fn a_text_of_statements_stops_at_its_first_error() {
    let running = InProcess::start(&[]);
    running.wait(async {
        let client = connect(&running).await;
        let sql = "CREATE VIEW a AS SELECT 1; SELECT nope; CREATE VIEW b AS SELECT 1";
        assert_eq!(told(&client.simple_query(sql).await.unwrap_err()).0, "42703");
        let views = simple(&client, "SHOW VIEWS").await.expect("rows");
        let is_there = |name: &str| views.iter().any(|row| row[0].as_deref() == Some(name));
        assert!(is_there("a"));
        assert!(!is_there("b"));
        let rows = simple(&client, "-- a comment\n; ;SELECT 'a;b' -- c\n;").await.expect("rows");
        assert_eq!(rows, [[Some("a;b".to_owned())]]);
        let empty = client.simple_query("-- ping").await.expect("nothing");
        assert!(!empty.iter().any(|m| matches!(m, SimpleQueryMessage::Row(_))));
    });
}

#[test]
fn transactions_are_tracked() {
    let running = InProcess::start(&[]);
    running.wait(async {
        let client = connect(&running).await;
        client.simple_query("BEGIN; SELECT 1; SAVEPOINT s").await.expect("a transaction");
        assert_eq!(told(&client.simple_query("SELECT nope").await.unwrap_err()).0, "42703");
        assert_eq!(told(&client.simple_query("SELECT 1").await.unwrap_err()).0, "25P02");
        assert_eq!(told(&client.query("SELECT 1", &[]).await.unwrap_err()).0, "25P02");
        client.simple_query("ROLLBACK TO SAVEPOINT s").await.expect("a transaction");
        simple(&client, "SELECT 1").await.expect("a row");
        assert!(client.simple_query("SELECT nope").await.is_err());
        client.simple_query("COMMIT").await.expect("an end");
        simple(&client, "SELECT 1").await.expect("a row");
    });
}

#[test]
fn settings_are_remembered() {
    let running = InProcess::start(&[]);
    running.wait(async {
        let client = connect(&running).await;
        let show = async |sql: &str| simple(&client, sql).await.expect("a row")[0][0].clone().unwrap_or_default();
        assert_eq!(show("SHOW transaction_isolation").await, "read committed");
        assert!(show("SHOW server_version").await.starts_with("16.6"));
        client.simple_query("SET TIME ZONE 'Europe/Berlin'; SET application_name TO 'test'").await.expect("set");
        assert_eq!(show("SHOW TimeZone").await, "Europe/Berlin");
        assert_eq!(show("SELECT current_setting('application_name')").await, "test");
        assert_eq!(show("SELECT setting FROM pg_settings WHERE name = 'application_name'").await, "test");
        client.simple_query("DISCARD ALL").await.expect("reset");
        assert_eq!(show("SHOW TimeZone").await, "UTC");
        assert_eq!(show("SELECT current_user").await, "ann");
        client.simple_query("SET statement_timeout = '50ms'").await.expect("set");
        let slow = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b WHERE a.value <> b.value";
        assert_eq!(told(&client.simple_query(slow).await.unwrap_err()).0, "57014");
    });
}

#[test]
fn a_cancel_request_ends_the_query_and_nothing_else() {
    let running = InProcess::start(&[]);
    running.wait(async {
        let client = connect(&running).await;
        let token = client.cancel_token();
        let slow = "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b WHERE a.value <> b.value";
        let cancel = async {
            // Until it is there to be cancelled, a request comes to nothing.
            loop {
                token.cancel_query(NoTls).await.expect("a request");
                tokio::task::yield_now().await;
            }
        };
        let error = tokio::select! {
            result = client.simple_query(slow) => result.unwrap_err(),
            () = cancel => unreachable!("it asks for ever"),
        };
        assert_eq!(told(&error).0, "57014");
        while simple(&client, "SELECT 1").await.is_err() {}
    });
}

#[test]
fn limits_are_errors_a_user_understands() {
    let settings = [
        ("limits.result_rows_max", "100"),
        ("limits.statement_timeout", "200ms"),
        ("limits.statement_bytes_max", "64 KiB"),
    ];
    let running = InProcess::start(&settings);
    running.wait(async {
        let client = connect(&running).await;
        let (code, message, hint) = told(&client.simple_query("SELECT * FROM generate_series(1, 101)").await.unwrap_err());
        assert_eq!((code.as_str(), hint.as_str()), ("54000", "add LIMIT or WHERE"));
        assert_eq!(message, "the answer has more rows than 100 (limits.result_rows_max)");
        let slow = "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b WHERE a.value <> b.value";
        let (code, message, _) = told(&client.simple_query(slow).await.unwrap_err());
        assert_eq!((code.as_str(), message.as_str()), ("57014", "the statement took longer than 200ms (limits.statement_timeout)"));
        let long = format!("SELECT '{}'", "x".repeat(200 << 10));
        let (code, message, _) = told(&client.simple_query(&long).await.unwrap_err());
        assert_eq!(code, "54000");
        assert!(message.contains("limits.statement_bytes_max"), "{message}");
    });
}

#[test]
fn other_databases_do_not_exist() {
    let running = InProcess::start(&[]);
    running.wait(async {
        let address = running.postgres();
        let mut config = Config::new();
        config.host("127.0.0.1").port(address.port()).user("ann").dbname("postgres");
        let Err(error) = config.connect(NoTls).await else { panic!("connected") };
        let (code, message, hint) = told(&error);
        assert_eq!((code.as_str(), message.as_str()), ("3D000", "database \"postgres\" does not exist"));
        assert_eq!(hint, "Connect to database \"undercurrent\".");
    });
}

#[test]
fn a_stopped_engine_refuses_everything() {
    let running = InProcess::start(&[]);
    running.wait(async {
        let client = connect(&running).await;
        simple(&client, "SELECT count(*) FROM spans").await.expect("a row");
        running.live.stop().await;
        // The thread of the engine ends just after it has said so.
        let error = loop {
            match client.simple_query("SELECT count(*) FROM spans").await {
                Ok(_) => tokio::task::yield_now().await,
                Err(error) => break error,
            }
        };
        let (code, message, _) = told(&error);
        assert_eq!(code, "57P03");
        assert!(message.contains("the engine has stopped"), "{message}");
        while !client.is_closed() {
            tokio::task::yield_now().await;
        }
        let address = running.postgres();
        let mut config = Config::new();
        config.host("127.0.0.1").port(address.port()).user("ann").dbname("undercurrent");
        let Err(error) = config.connect(NoTls).await else { panic!("connected") };
        assert_eq!(told(&error).0, "57P03");
    });
}
