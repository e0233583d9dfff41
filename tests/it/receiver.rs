//! A receiver of OTLP over gRPC that keeps what it takes, and refuses now and then.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message;
use tokio::sync::oneshot;
use tonic::codec::CompressionEncoding;
use tonic::{Request, Response, Status};

/// What was taken: for each signal the requests, each behind its length.
#[derive(Default)]
pub struct Received {
    pub traces: Vec<u8>,
    pub metrics: Vec<u8>,
    pub logs: Vec<u8>,
    /// Requests refused as unavailable.
    pub refused: usize,
    asked: usize,
}

#[derive(Clone)]
struct Keeper {
    received: Arc<Mutex<Received>>,
    /// Each of so many requests is refused.
    refuses_each: usize,
}

impl Keeper {
    fn take(&self, request: &impl Message, list: fn(&mut Received) -> &mut Vec<u8>) -> Result<(), Status> {
        let mut received = self.received.lock().unwrap();
        received.asked += 1;
        if received.asked.is_multiple_of(self.refuses_each) {
            received.refused += 1;
            return Err(Status::with_details(tonic::Code::Unavailable, "full", retry_in(5_000_000).into()));
        }
        let list = list(&mut received);
        list.extend((request.encoded_len() as u32).to_be_bytes());
        request.encode(list).unwrap();
        Ok(())
    }
}

/// `google.rpc.Status` with the detail `RetryInfo`, by hand: fields 3, then 1 and 2, then 1.
fn retry_in(nanoseconds: i32) -> Vec<u8> {
    let field = |tag: u8, bytes: &[u8]| [&[tag << 3 | 2, bytes.len() as u8], bytes].concat();
    let delay = prost_types::Duration { seconds: 0, nanos: nanoseconds }.encode_to_vec();
    let name = field(1, b"type.googleapis.com/google.rpc.RetryInfo");
    field(3, &[name, field(2, &field(1, &delay))].concat())
}

#[tonic::async_trait]
impl TraceService for Keeper {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.take(request.get_ref(), |received| &mut received.traces)?;
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Keeper {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.take(request.get_ref(), |received| &mut received.metrics)?;
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl LogsService for Keeper {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        self.take(request.get_ref(), |received| &mut received.logs)?;
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}

/// A receiver on a thread of its own.
pub struct Receiver {
    pub address: SocketAddr,
    received: Arc<Mutex<Received>>,
    stop: oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Receiver {
    /// Listens on a free port of the loopback; each `refuses_each`-th request is refused at first.
    pub fn start(refuses_each: usize) -> Self {
        let received = Arc::new(Mutex::new(Received::default()));
        let keeper = Keeper { received: received.clone(), refuses_each };
        let (stop, stopped) = oneshot::channel();
        let (listening, address) = std::sync::mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let thread = std::thread::spawn(move || {
            runtime.block_on(async move {
                let any = "127.0.0.1:0".parse().unwrap();
                let incoming = tonic::transport::server::TcpIncoming::bind(any).unwrap();
                listening.send(incoming.local_addr().unwrap()).unwrap();
                let [gzip, zstd] = [CompressionEncoding::Gzip, CompressionEncoding::Zstd];
                let traces = TraceServiceServer::new(keeper.clone());
                let metrics = MetricsServiceServer::new(keeper.clone());
                let logs = LogsServiceServer::new(keeper);
                tonic::transport::Server::builder()
                    .add_service(traces.accept_compressed(gzip).accept_compressed(zstd))
                    .add_service(metrics.accept_compressed(gzip).accept_compressed(zstd))
                    .add_service(logs.accept_compressed(gzip).accept_compressed(zstd))
                    .serve_with_incoming_shutdown(incoming, async {
                        let _ = stopped.await;
                    })
                    .await
                    .unwrap();
            });
        });
        Receiver { address: address.recv().unwrap(), received, stop, thread }
    }

    /// Waits until so many bytes of spans have come.
    pub fn await_traces(&self, bytes: usize) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.received.lock().unwrap().traces.len() < bytes {
            assert!(Instant::now() < deadline, "{bytes} bytes of spans have not come");
            std::thread::yield_now();
        }
    }

    /// Ends it. Returns what it took.
    pub fn stop(self) -> Received {
        self.stop.send(()).unwrap();
        self.thread.join().unwrap();
        Arc::into_inner(self.received).unwrap().into_inner().unwrap()
    }
}
