//! Clients that mean harm, and many at once.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::in_process::{InProcess, curl};
use crate::server::{PATIENCE, eventually};
use crate::support::many;

fn connect(server: &InProcess) -> TcpStream {
    let stream = TcpStream::connect(server.http()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// What comes until the server closes.
fn all(mut stream: TcpStream) -> String {
    let mut bytes = vec![];
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn is_well(server: &InProcess) {
    let got = curl(&[&server.url("/api/v1/sql"), "--data-binary", "SELECT 1 AS one"]);
    assert_eq!(got.status, 200);
}

#[test]
fn garbage_is_refused_and_others_are_answered() {
    let server = InProcess::start(&[("limits.request_timeout", "300ms")]);
    for garbage in [
        &b"\x00\x01\x02\x03\xff\xfe\r\n\r\n"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /api/v1/sql HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n",
        b"POST /api/v1/sql HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\nconnection: close\r\n\r\n\xff\xfe\xfd",
        b"POST /api/v1/sql HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nZZZ\r\n",
    ] {
        let mut stream = connect(&server);
        stream.write_all(garbage).unwrap();
        let answer = all(stream);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.0 4"),
            "{answer}"
        );
    }
    // A head and a body that never come.
    let mut head = connect(&server);
    head.write_all(b"GET / HTTP/1.1\r\nhos").unwrap();
    let mut body = connect(&server);
    body.write_all(
        b"POST /api/v1/sql HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\nconnection: close\r\n\r\nSEL",
    )
    .unwrap();
    is_well(&server);
    let answer = all(head);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(all(body).starts_with("HTTP/1.1 408"));
    // A statement that is nested so deeply that a parser could run out of stack.
    let deep = format!("SELECT {}1{}", "(".repeat(50_000), ")".repeat(50_000));
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(deep.as_bytes()).unwrap();
    let got = curl(&[&server.url("/api/v1/sql"), "--data-binary", &format!("@{}", file.path().display())]);
    assert_eq!(got.status, 400);
    is_well(&server);
}

#[test]
fn who_does_not_read_keeps_nobody_from_running_queries() {
    let server = InProcess::start(&[("limits.statements_max", "2"), ("limits.statement_timeout", "2s")]);
    let sql = many(200, 1_000, "repeat('x', 1000) AS x");
    let request = format!(
        "POST /api/v1/sql HTTP/1.1\r\nhost: x\r\naccept: text/csv\r\ncontent-length: {}\r\n\r\n{sql}",
        sql.len()
    );
    let stuck: Vec<TcpStream> = (0..2)
        .map(|_| {
            let mut stream = connect(&server);
            stream.write_all(request.as_bytes()).unwrap();
            // It began, and nothing more is read.
            let mut begin = [0; 15];
            stream.read_exact(&mut begin).unwrap();
            assert_eq!(&begin, b"HTTP/1.1 200 OK");
            stream
        })
        .collect();
    let ask = || curl(&[&server.url("/api/v1/sql"), "--data-binary", "SELECT 1 AS one"]).status;
    eventually(ask, |status| *status == 200);
    // What they would read in the end is visibly not whole.
    for stream in stuck {
        assert!(!all(stream).ends_with("0\r\n\r\n"));
    }
}

#[test]
fn a_thousand_queries_at_once_while_data_comes_in() {
    let server = InProcess::start(&[("limits.connections_max", "2000")]);
    server.query("SELECT * FROM service_health");
    let is_over = AtomicBool::new(false);
    let address = server.http();
    let sql = "SELECT sum(span_count) AS n FROM service_health";
    let request = format!(
        "POST /api/v1/sql HTTP/1.1\r\nhost: x\r\nconnection: close\r\naccept: text/csv\r\ncontent-length: {}\r\n\r\n{sql}",
        sql.len()
    );
    let sent = std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut sent = 0;
            while !is_over.load(Ordering::Relaxed) {
                sent += 1;
                server.send(&format!("{sent:x}/1 web SERVER"));
            }
            sent
        });
        server.runtime.block_on(async {
            let ask = || {
                let request = request.clone();
                tokio::spawn(async move {
                    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
                    stream.write_all(request.as_bytes()).await.unwrap();
                    let mut answer = String::new();
                    stream.read_to_string(&mut answer).await.unwrap();
                    answer
                })
            };
            let asked: Vec<_> = (0..1_000).map(|_| ask()).collect();
            for answer in asked {
                let answer = answer.await.unwrap();
                assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
                assert!(answer.contains("\r\nn\n"), "{answer}");
            }
        });
        is_over.store(true, Ordering::Relaxed);
        sender.join().unwrap()
    });
    assert_eq!(server.query(sql).rows, [[sent.to_string()]]);
}
