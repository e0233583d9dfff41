//! `undercurrent serve`: its settings, its start and its end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use crate::server::Server;

fn serve(arguments: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_undercurrent"))
        .arg("serve")
        .args(arguments)
        .output()
        .expect("the binary runs")
}

#[test]
fn it_stops_on_either_signal_and_says_so() {
    for signal in ["INT", "TERM"] {
        let mut server = Server::start(&[]);
        assert!(server.stop(signal));
        assert_eq!(
            server.logged("stopping: no more connections, what was accepted is finished")["signal"],
            format!("SIG{signal}")
        );
        server.logged("stopped");
    }
}

#[test]
fn it_listens_on_loopback_unless_told_otherwise() {
    let printed = String::from_utf8(serve(&["--print-config"]).stdout).unwrap();
    let listens: Vec<&str> = printed.lines().filter(|line| line.contains("listen =")).collect();
    assert_eq!(listens.len(), 5);
    assert!(listens.iter().all(|line| line.contains("\"127.0.0.1:")), "{listens:?}");
}

#[test]
fn wrong_settings_are_refused_before_anything_starts() {
    for (arguments, expected) in [
        (
            ["--engine-workers", "0"],
            "setting engine.workers = \"0\" in the flag --engine-workers: a number from 1 to 64 is expected",
        ),
        (
            ["--engine-views", "no_such_view"],
            "relation \"no_such_view\" does not exist; SHOW TABLES lists what there is",
        ),
        (
            ["--config", "/no/such/file"],
            "cannot read the configuration \"/no/such/file\": No such file or directory",
        ),
        (["--log-level", "loud=very"], "log.level = \"loud=very\": "),
        (
            ["--postgres-listen", "203.0.113.1:5433"],
            "cannot listen on 203.0.113.1:5433 for postgres; set postgres.listen to another address, or to off",
        ),
    ] {
        let output =
            serve(&[&arguments[..], &["--otlp-grpc-listen", "off", "--otlp-http-listen", "off"]].concat());
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(expected), "{error}");
        assert_eq!(output.status.code(), Some(1));
    }
}

/// What the server answers to `sql`, headers included.
fn answer(server: &Server, sql: &str) -> String {
    let mut stream = TcpStream::connect(server.address("http")).expect("a connection");
    let length = sql.len();
    let head = format!(
        "POST /api/v1/sql HTTP/1.1\r\nHost: it\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all((head + sql).as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn queries_nested_deeply_are_answered_or_refused() {
    let server = Server::start(&[]);
    for depth in [10, 20, 40, 80, 1000] {
        let query = format!("{}SELECT 1 AS n{}", "SELECT n FROM (".repeat(depth), ") AS s".repeat(depth));
        let read = answer(&server, &query);
        let created = answer(&server, &format!("CREATE OR REPLACE MATERIALIZED VIEW v AS {query}"));
        for answer in [read, created] {
            assert!(
                answer.starts_with("HTTP/1.1 200") || answer.contains("nested"),
                "{depth} deep: {answer}"
            );
        }
    }
    assert!(answer(&server, "SELECT 1").starts_with("HTTP/1.1 200"));
}
