//! `/api/v1/sql`: every format, every kind of statement, and errors.

use arrow::ipc::reader::StreamReader;
use serde_json::json;

use crate::in_process::{Got, InProcess, curl};
use crate::support::{many, row_texts};

const SPANS: &str = "
    1/1   web  SERVER 20ms name=GET
    1/2<1 web  CLIENT name=call x=y
    1/3<2 cart SERVER 10ms +1s ERROR
";

const QUERY: &str =
    "SELECT service_name, count(*) AS spans, max(started_at) AS last FROM spans GROUP BY 1 ORDER BY 1";

fn post(server: &InProcess, sql: &str, more: &[&str]) -> Got {
    curl(&[&[&server.url("/api/v1/sql"), "--data-binary", sql], more].concat())
}

#[test]
fn the_same_rows_in_every_format() {
    let server = InProcess::start(&[]);
    server.send(SPANS);
    let json = post(&server, QUERY, &[]);
    assert_eq!((json.status, json.content_type.as_str()), (200, "application/json"));
    assert_eq!(
        json.json(),
        json!({
            "columns": [
                { "name": "service_name", "type": "Utf8" },
                { "name": "spans", "type": "Int64" },
                { "name": "last", "type": "Timestamp(ns, \"+00:00\")" },
            ],
            "rows": [
                { "service_name": "cart", "spans": 1, "last": "2023-11-14T22:13:01Z" },
                { "service_name": "web", "spans": 2, "last": "2023-11-14T22:13:00Z" },
            ],
        })
    );
    let csv = post(&server, QUERY, &["-H", "Accept: text/csv", "-H", "Content-Type: text/plain"]);
    assert!(csv.content_type.starts_with("text/csv"));
    assert_eq!(
        csv.text(),
        "service_name,spans,last\ncart,1,2023-11-14T22:13:01Z\nweb,2,2023-11-14T22:13:00Z\n"
    );
    let arrow = post(&server, QUERY, &["-H", "Accept: application/vnd.apache.arrow.stream"]);
    let reader = StreamReader::try_new(arrow.body.as_slice(), None).unwrap();
    let rows: Vec<_> = reader.flat_map(|batch| row_texts(&batch.unwrap())).collect();
    assert_eq!(rows, server.query(QUERY).rows);
    // What has no rows still has its columns.
    let none = "SELECT service_name FROM spans WHERE false";
    assert_eq!(post(&server, none, &[]).json()["rows"], json!([]));
    assert_eq!(post(&server, none, &["-H", "Accept: text/csv"]).text(), "service_name\n");
    // A map is an object, or text.
    let map = "SELECT attributes FROM spans WHERE name = 'call'";
    assert_eq!(post(&server, map, &[]).json()["rows"], json!([{ "attributes": { "x": "y" } }]));
    assert_eq!(post(&server, map, &["-H", "Accept: text/csv"]).text(), "attributes\n{x: y}\n");
}

#[test]
fn parameters_and_get() {
    let server = InProcess::start(&[]);
    server.send(SPANS);
    let ask = |body: &str| post(&server, body, &["-H", "Content-Type: application/json"]);
    let sql = "SELECT name FROM spans WHERE service_name = $1 AND duration_ns >= $2 AND started_at < $3";
    let body = json!({ "sql": sql, "parameters": ["web", 20_000_000, "2023-11-14T22:13:01Z"] });
    assert_eq!(ask(&body.to_string()).json()["rows"], json!([{ "name": "GET" }]));
    let quoted = json!({ "sql": "SELECT $1 AS text, $2 AS truth, $3 AS number, $4 AS nothing",
        "parameters": ["'; DROP VIEW x", true, 1.5, null] });
    assert_eq!(
        ask(&quoted.to_string()).json()["rows"],
        json!([{ "text": "'; DROP VIEW x", "truth": true, "number": 1.5, "nothing": null }])
    );
    for (body, message) in [
        (json!({ "sql": sql }), "the statement has 3 parameters, and 0 values were given"),
        (json!({ "sql": "SELECT $1", "parameters": [[1]] }), "parameter $1 is neither text"),
        (
            json!({ "sql": "SELECT 1", "parameters": [1] }),
            "the statement has 0 parameters, and 1 values were given",
        ),
        (
            json!({ "sql": sql, "parameters": ["web", "x", null] }),
            "option $2 = \"x\": a value of type Int64 is expected",
        ),
        (json!({ "sql": 1 }), "the body is not {\"sql\": \"...\"}"),
        (json!({ "query": "SELECT 1" }), "the body is not {\"sql\": \"...\"}"),
    ] {
        let got = ask(&body.to_string());
        let told = got.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(got.status == 400 && told.contains(message), "{body}: {told}");
    }
    let got = curl(&["-G", &server.url("/api/v1/sql"), "--data-urlencode", "sql=SELECT 1 AS one"]);
    assert_eq!(got.json()["rows"], json!([{ "one": 1 }]));
    let got =
        curl(&["-G", &server.url("/api/v1/sql"), "--data-urlencode", "sql=CREATE VIEW v AS SELECT 1 AS one"]);
    assert_eq!((got.status, got.json()["error"]["hint"].clone()), (405, json!("send it with POST")));
}

#[test]
fn a_continuous_query_lives_from_create_to_drop() {
    let server = InProcess::start(&[]);
    let run = |sql: &str| post(&server, sql, &[]);
    let create =
        "CREATE MATERIALIZED VIEW per_service AS SELECT service_name, count(*) AS n FROM spans GROUP BY 1";
    let got = run(create);
    assert_eq!(got.json(), json!({ "command": "CREATE MATERIALIZED VIEW", "columns": [], "rows": [] }));
    server.send(SPANS);
    let rows = run("SELECT * FROM per_service ORDER BY 1").json()["rows"].clone();
    assert_eq!(rows, json!([{ "service_name": "cart", "n": 1 }, { "service_name": "web", "n": 2 }]));
    assert_eq!(run(create).status, 409);
    assert!(run("SHOW TABLES").text().contains("per_service"));
    assert!(run("SHOW COLUMNS FROM per_service").text().contains("service_name"));
    assert!(run("EXPLAIN DATAFLOW per_service").text().contains("dataflow"));
    assert!(run("EXPLAIN SELECT * FROM per_service").text().contains("logical_plan"));
    assert_eq!(run("SELECT count(*) AS n FROM service_dependencies").json()["rows"], json!([{ "n": 2 }]));
    assert_eq!(run("DROP VIEW per_service").json()["command"], "DROP VIEW");
    assert_eq!(run("DROP VIEW per_service").status, 404);
}

#[test]
fn an_error_says_what_and_why() {
    let server =
        InProcess::start(&[("limits.statement_bytes_max", "1 KiB"), ("limits.result_rows_max", "5000")]);
    server.send(SPANS);
    let long = format!("SELECT '{}'", "x".repeat(2_000));
    for (sql, status, code, message) in [
        ("SELEC 1", 400, "syntax_error_or_access_rule_violation", "SELEC"),
        ("SELECT nothing FROM spans", 400, "syntax_error_or_access_rule_violation", "nothing"),
        ("SELECT 1; SELECT 2", 400, "invalid_parameter_value", "2 statements came"),
        ("-- nothing", 400, "invalid_parameter_value", "there is no statement"),
        ("SELECT * FROM span", 404, "undefined_table", "relation \"span\" does not exist"),
        ("SELECT 1 / 0", 422, "data_exception", "ivide"),
        ("SELECT unnest(range(20000)) AS n", 422, "program_limit_exceeded", "more rows than"),
        ("SUBSCRIBE TO traces", 400, "invalid_parameter_value", "no end"),
        ("INSERT INTO spans VALUES (1)", 400, "wrong_object_type", "it is a stream"),
        ("SELECT 1 AS a, 2 AS a", 400, "syntax_error_or_access_rule_violation", "a"),
        (&long, 413, "program_limit_exceeded", "longer than 1024 bytes"),
    ] {
        let got = post(&server, sql, &[]);
        let error = got.json()["error"].clone();
        assert_eq!((got.status, error["code"].as_str().unwrap()), (status, code), "{sql}: {error}");
        assert!(error["message"].as_str().unwrap().contains(message), "{sql}: {error}");
    }
    let hint = post(&server, "SELECT * FROM span", &[]).json()["error"]["hint"].clone();
    assert_eq!(hint, "did you mean \"spans\"?");
    let got = post(&server, "SELECT 1", &["-H", "Accept: image/png"]);
    assert_eq!((got.status, got.json()["error"]["code"].clone()), (406, json!("not_acceptable")));
    let got = post(&server, "SELECT 1", &["-H", "Content-Type: application/xml"]);
    assert_eq!(got.status, 415);
    let got = post(&server, "SELECT 1", &["-H", "Sec-Fetch-Site: cross-site"]);
    assert_eq!(got.status, 403);
}

#[test]
fn rows_of_tables_are_changed_by_post_alone() {
    let server = InProcess::start(&[]);
    let sql = |sql: &str, parameters: serde_json::Value| {
        let body = json!({ "sql": sql, "parameters": parameters }).to_string();
        let got = post(&server, &body, &["-H", "Content-Type: application/json"]);
        (got.status, got.json())
    };
    sql(
        "CREATE TABLE t (id bigint PRIMARY KEY, name text NOT NULL, at timestamptz DEFAULT now())",
        json!([]),
    );
    let (status, answer) = sql("INSERT INTO t (id, name) VALUES ($1, $2), (2, 'b')", json!([1, "a"]));
    assert_eq!((status, &answer["command"], &answer["rows"]), (200, &json!("INSERT 0 2"), &json!([])));
    let (_, answer) = sql("UPDATE t SET name = name || $1 WHERE id = $2 RETURNING id, name", json!(["!", 2]));
    assert_eq!(answer["rows"], json!([{"id": 2, "name": "b!"}]));
    let (_, answer) = sql("SELECT count(at) AS n FROM t", json!([]));
    assert_eq!(answer["rows"], json!([{"n": 2}]));
    for (statement, status, code) in [
        ("INSERT INTO t VALUES (1, 'x')", 409, "unique_violation"),
        ("INSERT INTO t (id) VALUES (3)", 422, "not_null_violation"),
        ("INSERT INTO t VALUES ($1, 'x')", 400, "syntax_error_or_access_rule_violation"),
    ] {
        let (got, answer) = sql(statement, json!([]));
        assert_eq!((got, &answer["error"]["code"]), (status, &json!(code)), "{statement}: {answer}");
    }
    let got = post(&server, "DELETE FROM t", &["-H", "Sec-Fetch-Site: cross-site"]);
    assert_eq!(got.status, 403);
    let url = format!("http://{}/api/v1/sql?sql=DELETE%20FROM%20t", server.http());
    assert_eq!(curl(&[&url]).status, 405);
    assert_eq!(sql("DELETE FROM t", json!([])).1["command"], "DELETE 2");
}

#[test]
fn an_answer_that_breaks_off_shows_it() {
    let server = InProcess::start(&[("limits.result_rows_max", "100000")]);
    // More than fits before the limit is passed, from a query that gives its rows bit by bit.
    let sql = many(500, 1_000, "a.n");
    let json = post(&server, &sql, &[]);
    let value = json.json();
    assert_eq!((json.status, json.exit), (200, 0));
    assert_eq!(value["error"]["code"], "program_limit_exceeded");
    assert!(value["rows"].as_array().unwrap().len() <= 100_000);
    for accept in ["text/csv", "application/vnd.apache.arrow.stream"] {
        let got = post(&server, &sql, &["-H", &format!("Accept: {accept}")]);
        // 18: the transfer closed with bytes outstanding.
        assert_eq!((got.status, got.exit), (200, 18), "{accept}");
    }
}

#[test]
fn a_large_answer_comes_whole() {
    let server = InProcess::start(&[]);
    let sql = many(300, 1_000, "a.n, b.m, 'some text to make it longer' AS text");
    let arrow = post(&server, &sql, &["-H", "Accept: application/vnd.apache.arrow.stream"]);
    let reader = StreamReader::try_new(arrow.body.as_slice(), None).unwrap();
    assert_eq!(reader.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 300_000);
    assert_eq!(post(&server, &sql, &[]).json()["rows"].as_array().unwrap().len(), 300_000);
    assert_eq!(post(&server, &sql, &["-H", "Accept: text/csv"]).text().lines().count(), 300_001);
}

#[test]
fn a_statement_that_takes_too_long_is_ended() {
    let server = InProcess::start(&[("limits.statement_timeout", "200ms")]);
    let got = post(&server, &many(100_000, 1_000_000, "sum(a.n * b.m)"), &[]);
    assert_eq!((got.status, got.json()["error"]["code"].clone()), (504, json!("query_canceled")));
    assert_eq!(post(&server, "SELECT 1 AS one", &[]).status, 200);
}
