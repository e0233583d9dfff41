//! Requests over gRPC and HTTP.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::input::{Input, Request};
use crate::process::Server;

/// Requests under way at once.
const CONCURRENCY: usize = 4;

/// How telemetry is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Grpc,
    Http,
}

/// Sends bytes that are encoded already: what encoding costs is not what is measured.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;
    fn encoder(&mut self) -> Raw {
        Raw
    }
    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;
    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;
    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// One connection.
#[derive(Clone)]
pub enum Sender {
    Grpc(tonic::client::Grpc<Channel>),
    Http(Client<HttpConnector, Full<Bytes>>, String),
}

impl Sender {
    pub async fn connect(server: &Server, protocol: Protocol) -> Sender {
        match protocol {
            Protocol::Grpc => {
                let endpoint = Channel::from_shared(format!("http://{}", server.grpc)).unwrap();
                Sender::Grpc(tonic::client::Grpc::new(endpoint.connect().await.unwrap()))
            }
            Protocol::Http => {
                let client = Client::builder(TokioExecutor::new()).build_http();
                Sender::Http(client, format!("http://{}", server.http))
            }
        }
    }

    /// Sends `request` until it is taken, as exporters do.
    pub async fn send(&mut self, request: &Request) {
        while !self.try_send(request).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn try_send(&mut self, request: &Request) -> bool {
        match self {
            Sender::Grpc(client) => {
                let service = match request.signal {
                    "traces" => "trace.v1.TraceService",
                    "metrics" => "metrics.v1.MetricsService",
                    _ => "logs.v1.LogsService",
                };
                let path = format!("/opentelemetry.proto.collector.{service}/Export");
                client.ready().await.unwrap();
                let body = tonic::Request::new(request.body.clone());
                match client.unary(body, path.parse().unwrap(), Raw).await {
                    Ok(_) => true,
                    Err(status) if status.code() == Code::Unavailable => false,
                    Err(status) => panic!("{status}"),
                }
            }
            Sender::Http(client, base) => {
                let request = hyper::Request::post(format!("{base}/v1/{}", request.signal))
                    .header("content-type", "application/x-protobuf")
                    .body(Full::new(request.body.clone()))
                    .unwrap();
                match client.request(request).await.unwrap().status().as_u16() {
                    200 => true,
                    429 | 503 => false,
                    status => panic!("{status}"),
                }
            }
        }
    }
}

/// Sends all of `input`, at `rate` records a second where one is given.
pub async fn send_all(server: &Server, input: &Arc<Input>, protocol: Protocol, rate: Option<f64>) {
    let next = Arc::new(AtomicUsize::new(0));
    let begin = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..CONCURRENCY {
        let mut sender = Sender::connect(server, protocol).await;
        let (input, next) = (input.clone(), next.clone());
        tasks.spawn(async move {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(request) = input.requests.get(index) else { return };
                if let Some(rate) = rate {
                    let records: usize = input.requests[..index].iter().map(|r| r.records).sum();
                    let due = begin + Duration::from_secs_f64(records as f64 / rate);
                    tokio::time::sleep_until(due.into()).await;
                }
                sender.send(request).await;
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
}

/// Records that SQL knows of.
pub async fn rows_taken_in(sql: &tokio_postgres::Client) -> i64 {
    let query = "SELECT sum(row_count)::bigint FROM stream_stats \
                 WHERE stream IN ('spans', 'metrics', 'logs', 'ingest_errors')";
    sql.query_one(query, &[]).await.unwrap().get(0)
}
