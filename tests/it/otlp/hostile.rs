//! Clients that are broken, slow, or mean harm: each gets a clear answer or none, others are served all along, and
//! memory stays bounded.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use prost::Message;
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use tonic::transport::Channel;

use super::client::{Answer, JSON, PROTOBUF, connect, exchange, gzip, head, post, zstd};
use super::{span_json, spans};
use crate::server::{Server, eventually};

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Bytes that decompress to 100 MB of nothing.
const BOMB_BYTES: usize = 100_000_000;

fn ports(server: &Server) -> [SocketAddr; 2] {
    ["otlp_http", "otlp_grpc"].map(|protocol| server.address(protocol))
}

/// A well-behaved client that keeps its connection.
struct Neighbour {
    stream: BufReader<TcpStream>,
    sent: u64,
}

impl Neighbour {
    fn of(server: &Server) -> Neighbour {
        Neighbour { stream: BufReader::new(connect(server.address("otlp_http"))), sent: 0 }
    }

    /// Sends a span and insists on success.
    fn is_served(&mut self) {
        self.sent += 1;
        let body = span_json(self.sent);
        let head = format!(
            "POST /v1/traces HTTP/1.1\r\nhost: test\r\ncontent-type: {JSON}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.stream.get_mut().write_all(head.as_bytes()).expect("a connection");
        let (mut line, mut length) = (String::new(), 0);
        self.stream.read_line(&mut line).expect("an answer");
        assert!(line.starts_with("HTTP/1.1 200"), "{line}");
        while line.trim() != "" {
            line.clear();
            self.stream.read_line(&mut line).expect("a head");
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a number");
            }
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer).expect("a body");
        assert_eq!(answer, b"{}");
    }
}

/// The most memory that the server held so far, in MB.
fn peak_mb(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.id())).expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak");
    line.split_whitespace().nth(1).expect("a number").parse::<u64>().expect("a number") / 1000
}

/// A frame of gRPC.
fn frame(flag: u8, message: &[u8]) -> Vec<u8> {
    [&[flag][..], &(message.len() as u32).to_be_bytes(), message].concat()
}

/// Reads until the server closes the connection.
fn until_closed(mut stream: TcpStream) -> Vec<u8> {
    let mut answer = vec![];
    match stream.read_to_end(&mut answer) {
        Ok(_) => answer,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => answer,
        Err(error) => panic!("the server keeps the connection: {error}"),
    }
}

#[test]
fn truncated_and_random_requests_are_refused_or_taken_in_part() {
    let server = Server::start(&[]);
    let mut neighbour = Neighbour::of(&server);
    let mut random = StdRng::seed_from_u64(3);
    let request = spans(0..4, "GET").encode_to_vec();
    let mut bodies: Vec<Vec<u8>> = (0..request.len()).step_by(7).map(|end| request[..end].to_vec()).collect();
    for _ in 0..100 {
        let mut bytes = vec![0; random.random_range(1..2_000)];
        random.fill_bytes(&mut bytes);
        bodies.push(bytes);
        let mut damaged = request.clone();
        let at = random.random_range(0..damaged.len());
        damaged[at] ^= 1 << random.random_range(0..8);
        bodies.push(damaged);
    }
    let mut refused = 0;
    for (n, body) in bodies.iter().enumerate() {
        let path = ["/v1/traces", "/v1/metrics", "/v1/logs"][n % 3];
        let encoding = ["identity", "gzip", "zstd"][n / 3 % 3];
        let squeezed = match random.random_range(0..4) {
            0 => body.clone(),
            _ if encoding == "gzip" => gzip(body),
            _ if encoding == "zstd" => zstd(body),
            _ => body.clone(),
        };
        let headers = [("content-type", PROTOBUF), ("content-encoding", encoding)];
        let answer = post(server.address("otlp_http"), path, &headers, &squeezed);
        assert!(matches!(answer.status, 200 | 400), "{answer:?}");
        refused += usize::from(answer.status == 400);
        let headers = [("content-type", "application/grpc"), ("grpc-encoding", encoding), ("te", "trailers")];
        let flag = u8::from(encoding != "identity");
        let answer = post(server.address("otlp_grpc"), EXPORT, &headers, &frame(flag, &squeezed));
        let status = answer.header("grpc-status").unwrap_or("0");
        assert!(matches!((answer.status, status), (200, "0" | "3")), "{answer:?}");
        if n % 16 == 0 {
            neighbour.is_served();
        }
    }
    assert!(refused > 50, "{refused} of {} are refused", bodies.len());
}

#[test]
fn bytes_that_are_no_http_harm_nobody() {
    let server = Server::start(&["--limits-request-timeout", "500ms"]);
    let mut neighbour = Neighbour::of(&server);
    let mut random = StdRng::seed_from_u64(4);
    // The start of a greeting of TLS 1.2, and requests of other protocols.
    let tls: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    let preface: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut greetings: Vec<Vec<u8>> = vec![
        [tls, &[7; 600]].concat(),
        b"\x00\x00\x00\x08\x04\xd2\x16\x2f".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        b"POST /v1/traces HTTP/1.1\r\ncontent-length: 18446744073709551616\r\n\r\n".to_vec(),
        b"POST /v1/traces HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcdef".to_vec(),
        [b"GET / HTTP/1.1\r\nx: ", &vec![b'x'; 100 << 10][..]].concat(),
        ["GET / HTTP/1.1\r\n", &"x: y\r\n".repeat(5_000), "\r\n"].concat().into_bytes(),
        preface.to_vec(),
        preface[..20].to_vec(),
        // A frame of HTTP/2 that announces 16 MiB.
        [preface, b"\xff\xff\xff\x00\x00\x00\x00\x00\x01"].concat(),
        vec![0; 100 << 10],
    ];
    for _ in 0..50 {
        let mut bytes = vec![0; random.random_range(1..5_000)];
        random.fill_bytes(&mut bytes);
        greetings.push(bytes.clone());
        greetings.push([preface, &bytes].concat());
    }
    // All at once: none of them is waited for.
    let mut streams = vec![];
    for greeting in &greetings {
        for port in ports(&server) {
            let mut stream = connect(port);
            let _ = stream.write_all(greeting);
            streams.push(stream);
        }
        neighbour.is_served();
    }
    for stream in streams {
        let answer = until_closed(stream);
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&answer));
    }
    neighbour.is_served();
}

#[test]
fn bombs_do_not_fill_the_memory() {
    let server = Server::start(&[]);
    let mut neighbour = Neighbour::of(&server);
    neighbour.is_served();
    let before = peak_mb(&server);
    let zeros = vec![0; BOMB_BYTES];
    let spaces = vec![b' '; BOMB_BYTES];
    let bombs = [("gzip", gzip(&zeros)), ("zstd", zstd(&zeros)), ("gzip", gzip(&spaces))];
    drop((zeros, spaces));
    std::thread::scope(|scope| {
        for n in 0..8 {
            let (encoding, bomb) = &bombs[n % bombs.len()];
            let [http, grpc] = ports(&server);
            scope.spawn(move || {
                let headers = [("content-type", JSON), ("content-encoding", encoding)];
                let answer = post(http, "/v1/traces", &headers, bomb);
                // Of many at once some may be told to come back.
                assert!(matches!(answer.status, 413 | 429), "{answer:?}");
                let headers =
                    [("content-type", "application/grpc"), ("grpc-encoding", encoding), ("te", "trailers")];
                let answer = post(grpc, EXPORT, &headers, &frame(1, bomb));
                assert!(matches!(answer.header("grpc-status"), Some("8" | "14")), "{answer:?}");
            });
        }
        (0..20).for_each(|_| neighbour.is_served());
    });
    let (encoding, bomb) = &bombs[0];
    let headers = [("content-type", PROTOBUF), ("content-encoding", encoding)];
    assert_eq!(post(server.address("otlp_http"), "/v1/traces", &headers, bomb).status, 413);
    let grown = peak_mb(&server) - before;
    println!(
        "8 clients with bombs of {BOMB_BYTES} bytes on each port: the peak grew by {grown} MB from {before} MB"
    );
    assert!(grown < 300, "{grown} MB more than the {before} MB before");
}

#[test]
fn bodies_that_are_sent_plain_do_not_fill_the_memory_either() {
    let server = Server::start(&[]);
    let mut neighbour = Neighbour::of(&server);
    neighbour.is_served();
    let before = peak_mb(&server);
    let body = vec![b' '; BOMB_BYTES];
    let answer = post(server.address("otlp_http"), "/v1/logs", &[("content-type", JSON)], &body);
    assert_eq!(answer.status, 413, "{answer:?}");
    let headers = [("content-type", "application/grpc"), ("te", "trailers")];
    let answer = post(server.address("otlp_grpc"), EXPORT, &headers, &frame(0, &body));
    assert_eq!(answer.header("grpc-status"), Some("8"), "{answer:?}");
    neighbour.is_served();
    let grown = peak_mb(&server) - before;
    assert!(grown < 150, "{grown} MB more than the {before} MB before");
}

#[test]
fn slow_clients_lose_their_connection() {
    let server = Server::start(&["--limits-request-timeout", "300ms"]);
    let mut neighbour = Neighbour::of(&server);
    let whole = head("POST", "/v1/traces", &[("content-type", JSON)], 1_000_000);
    let grpc = head("POST", EXPORT, &[("content-type", "application/grpc")], 1_000_000);
    let starts: [(&str, usize); 6] = [
        ("", 0),
        ("P", 1),
        ("PRI * HTTP/2.0\r\n\r\n", 18),
        (&whole, 40),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24),
        ("G", 1),
    ];
    for port in ports(&server) {
        for (start, bytes) in starts {
            let mut stream = connect(port);
            stream.write_all(&start.as_bytes()[..bytes]).expect("a connection");
            neighbour.is_served();
            let answer = until_closed(stream);
            assert!(!answer.starts_with(b"HTTP/1.1 2"), "{start:?}: {answer:?}");
        }
    }
    // A body that never ends: the answer says what the matter is.
    let mut stream = connect(server.address("otlp_http"));
    stream.write_all(whole.as_bytes()).expect("a connection");
    stream.write_all(b"{\"resource").expect("a connection");
    let answer = Answer::parse(&until_closed(stream));
    assert_eq!(answer.status, 408);
    let message = "the request took longer than 300ms (limits.request_timeout)";
    assert_eq!(answer.json()["message"], message);
    let mut stream = connect(server.address("otlp_grpc"));
    stream.write_all(grpc.as_bytes()).expect("a connection");
    assert_eq!(Answer::parse(&until_closed(stream)).header("grpc-status"), Some("4"));
    // A second request whose head never ends, on a connection that was of use before.
    let mut second = Neighbour::of(&server);
    second.is_served();
    second.stream.get_mut().write_all(b"POST /v1/tr").expect("a connection");
    assert_eq!(until_closed(second.stream.into_inner()), b"");
    neighbour.is_served();
}

#[test]
fn connections_beyond_the_limit_are_told_so_and_places_come_back() {
    let flags = ["--limits-connections-max", "20", "--limits-request-timeout", "2s"];
    let server = Server::start(&flags);
    let mut neighbour = Neighbour::of(&server);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let grpc = Channel::from_shared(format!("http://{}", server.address("otlp_grpc"))).expect("an address");
    let send = |n: u64| {
        let channel = runtime.block_on(async { grpc.connect_lazy() });
        runtime.block_on(TraceServiceClient::new(channel).export(spans(n..n + 1, "GET")))
    };
    neighbour.is_served();
    let mut held: Vec<TcpStream> = vec![];
    for port in ports(&server) {
        held.extend((0..20).map(|_| connect(port)));
    }
    let body = spans(0..100, "GET").encode_to_vec();
    let refused = post(server.address("otlp_http"), "/v1/traces", &[("content-type", PROTOBUF)], &body);
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")), "{refused:?}");
    assert_eq!(refused.text(), "too many connections (limits.connections_max); try again later\n");
    let status = send(0).expect_err("no place");
    assert_eq!(status.code(), tonic::Code::Unavailable, "{status:?}");
    assert!(status.message().contains("too many connections"), "{status:?}");
    neighbour.is_served();
    // Those that say nothing lose their places.
    let answer = eventually(
        || post(server.address("otlp_http"), "/v1/traces", &[("content-type", PROTOBUF)], &body).status,
        |status| *status == 200,
    );
    assert_eq!(answer, 200);
    eventually(|| send(1).is_ok(), |is_served| *is_served);
    drop(held);
}

/// The most files that this process may have open.
fn files_max() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("Linux");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("a limit");
    line.split_whitespace().nth(3).and_then(|n| n.parse().ok()).unwrap_or(usize::MAX)
}

#[test]
fn ten_thousand_connections_leave_the_others_served() {
    let server = Server::start(&["--limits-request-timeout", "5s"]);
    let mut neighbour = Neighbour::of(&server);
    neighbour.is_served();
    // Other tests of this process need files too.
    let count = files_max().saturating_sub(2_000).min(10_000);
    let before = peak_mb(&server);
    let mut held = Vec::with_capacity(count);
    for n in 0..count {
        let port = ports(&server)[n % 2];
        held.extend(TcpStream::connect(port));
        if n % 500 == 0 {
            neighbour.is_served();
        }
    }
    let grown = peak_mb(&server) - before;
    println!("{} of {count} connections came about; the peak grew by {grown} MB", held.len());
    assert!(held.len() > count / 2);
    assert!(grown < 300, "{grown} MB more than the {before} MB before");
    neighbour.is_served();
    // Nothing of it is left after the time they have.
    let body = spans(0..1, "GET").encode_to_vec();
    let ask = || {
        let request = head("POST", "/v1/traces", &[("content-type", PROTOBUF)], body.len());
        exchange(connect(server.address("otlp_http")), &[request.as_bytes(), &body].concat())
    };
    eventually(ask, |answer| answer.starts_with(b"HTTP/1.1 200"));
    drop(held);
    neighbour.is_served();
}
