//! Clients that do not behave: each is refused or cut off, and others are served meanwhile.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use tokio_postgres::{Config, NoTls};

use super::{connect, simple, told};
use crate::in_process::InProcess;
use crate::server::PATIENCE;

/// A connection that nothing is said on yet.
pub fn raw(running: &InProcess) -> TcpStream {
    let stream = TcpStream::connect(running.postgres()).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A start-up packet of `ann`.
pub fn startup() -> Vec<u8> {
    let body = b"\0\x03\0\0user\0ann\0database\0undercurrent\0\0";
    [&(body.len() as u32 + 4).to_be_bytes()[..], body].concat()
}

/// What the server says until it ends the connection.
fn until_end(mut stream: TcpStream) -> String {
    let mut bytes = vec![];
    // A reset is an end too.
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn garbage_is_refused_with_a_reason() {
    let running = InProcess::start(&[]);
    let started = |message: &[u8]| [&startup()[..], message].concat();
    for (bytes, expected) in [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "08P01"),
        (vec![0xff; 64], "08P01"),
        (vec![0, 0, 0, 8, 0, 2, 0, 0], "0A000"),
        (vec![0, 0, 0, 9, 0, 3, 0, 0, 0], "28000"),
        (started(b"Z\0\0\0\x04"), "08P01"),
        (started(b"Q\x7f\xff\xff\xff"), "54000"),
        (started(b"Q\xff\xff\xff\xff"), "08P01"),
        (started(b"B\0\0\0\x08\0\0\xff\xff"), "08P01"),
        (started(b"P\0\0\0\x08s\0x\0"), "08P01"),
        (started(b"p\0\0\0\x05\0"), "08P01"),
    ] {
        let mut stream = raw(&running);
        stream.write_all(&bytes).unwrap();
        let answer = until_end(stream);
        assert!(answer.contains("FATAL") && answer.contains(expected), "{bytes:?}: {answer:?}");
    }
    running.wait(async {
        let client = connect(&running).await;
        simple(&client, "SELECT 1").await.expect("a row");
    });
}

#[test]
fn half_a_message_holds_up_nobody_and_ends_with_its_time() {
    let running = InProcess::start(&[("limits.request_timeout", "300ms")]);
    let mut halves = vec![];
    for end in [0, 1, 7, 12, 30] {
        let mut stream = raw(&running);
        stream.write_all(&startup()[..end]).unwrap();
        halves.push(stream);
    }
    running.wait(async {
        let client = connect(&running).await;
        simple(&client, "SELECT 1").await.expect("a row");
    });
    for stream in halves {
        assert_eq!(until_end(stream), "");
    }
    // Half a message within a session, and then nothing more.
    let mut stream = raw(&running);
    stream.write_all(&[&startup()[..], b"Q\0\0\0\x20SELECT"].concat()).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert!(until_end(stream).contains("server_version"));
}

#[test]
fn connections_beyond_the_limit_are_told_so() {
    let running = InProcess::start(&[("limits.connections_max", "3")]);
    running.wait(async {
        let clients = [connect(&running).await, connect(&running).await, connect(&running).await];
        let address = running.postgres();
        let mut config = Config::new();
        config.host("127.0.0.1").port(address.port()).user("ann").dbname("undercurrent");
        let Err(error) = config.connect(NoTls).await else { panic!("connected") };
        let (code, message, _) = told(&error);
        assert_eq!((code.as_str(), message.as_str()), ("53300", "too many connections"));
        for client in &clients {
            simple(client, "SELECT 1").await.expect("a row");
        }
        drop(clients);
        while config.connect(NoTls).await.is_err() {}
    });
}

#[test]
fn a_client_that_does_not_read_holds_up_nobody() {
    let settings = [("limits.statement_timeout", "500ms"), ("limits.statements_max", "2")];
    let running = InProcess::start(&settings);
    let mut deaf = vec![];
    for _ in 0..4 {
        let mut stream = raw(&running);
        let sql = b"SELECT repeat('x', 1000) FROM generate_series(1, 200000)\0";
        let head = [b"Q", &(sql.len() as u32 + 4).to_be_bytes()[..]].concat();
        stream.write_all(&[&startup()[..], &head, sql].concat()).unwrap();
        deaf.push(stream);
    }
    running.wait(async {
        let client = connect(&running).await;
        // Each of them has its place for the time of a statement at most.
        while simple(&client, "SELECT 1").await.is_err() {}
        let (code, ..) = match client.simple_query("SELECT nope").await {
            Err(error) => told(&error),
            Ok(_) => panic!("no error"),
        };
        assert!(["42703", "57014"].contains(&code.as_str()), "{code}");
    });
}
