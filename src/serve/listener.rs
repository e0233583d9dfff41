//! Connections: their number, TLS, time-outs and the stop, for all protocols alike.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use prometheus::IntGauge;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tower::Service;

use super::{Context, ServeError, stopped};

/// How long accepting rests after it failed, as it does when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often a silent HTTP/2 connection is asked whether its peer is still there.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// The most requests at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 256;

/// The most bytes of the head of a request.
const HEAD_BYTES_MAX: usize = 32 << 10;

/// A port that one protocol is spoken on.
pub(super) struct Listener {
    tcp: TcpListener,
    address: SocketAddr,
    protocol: &'static str,
    context: Context,
    places: Arc<Semaphore>,
}

/// A connection, which counts as open until it is dropped.
pub(super) struct Connection {
    pub stream: TcpStream,
    pub peer: SocketAddr,
    _place: OwnedSemaphorePermit,
    _open: Open,
}

/// Counts a connection as open.
struct Open(IntGauge);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The address of the client, in the extensions of every HTTP request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub SocketAddr);

impl Listener {
    /// Listens on `address`, which `setting` said.
    pub async fn bind(
        context: &Context,
        protocol: &'static str,
        setting: &'static str,
        address: SocketAddr,
    ) -> Result<Self, ServeError> {
        let failed = |source| ServeError::Listen { protocol, setting, address, source };
        let tcp = TcpListener::bind(address).await.map_err(failed)?;
        let address = tcp.local_addr().map_err(failed)?;
        let places = Arc::new(Semaphore::new(context.config.connections_max));
        Ok(Listener { tcp, address, protocol, context: context.clone(), places })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Calls `serve` with each connection in a task of its own until the servers stop, then waits for
    /// those tasks. A connection beyond the limit goes to `refuse`, which has a short time to say why.
    pub async fn run<S, R>(self, serve: impl Fn(Connection) -> S, refuse: impl Fn(TcpStream) -> R)
    where
        S: Future<Output = ()> + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let metrics = self.context.live.metrics().clone();
        let open = metrics.connections.with_label_values(&[self.protocol]);
        let refused = metrics.connections_refused.with_label_values(&[self.protocol, "limit"]);
        let mut stop = self.context.stop.clone();
        let mut tasks = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = stopped(&mut stop) => break,
                Some(_) = tasks.join_next() => continue,
                accepted = self.tcp.accept() => accepted,
            };
            match (accepted, self.places.clone().try_acquire_owned()) {
                (Ok((stream, peer)), Ok(place)) => {
                    let _ = stream.set_nodelay(true);
                    open.inc();
                    let open = Open(open.clone());
                    tasks.spawn(serve(Connection { stream, peer, _place: place, _open: open }));
                }
                (Ok((stream, _)), Err(_)) => {
                    refused.inc();
                    tasks.spawn(refuse(stream));
                }
                (Err(error), _) => {
                    tracing::warn!(protocol = self.protocol, %error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        while tasks.join_next().await.is_some() {}
    }

    /// Serves `router` over HTTP/1 and HTTP/2 until the servers stop.
    pub async fn run_http(self, router: Router) {
        let context = self.context.clone();
        self.run(
            |connection| serve_http(context.clone(), connection, router.clone()),
            |stream| async move {
                let answer = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
                    content-type: text/plain\r\ncontent-length: 21\r\n\r\ntoo many connections\n";
                let _ = stream.try_write(answer);
            },
        )
        .await;
    }
}

async fn serve_http(context: Context, connection: Connection, router: Router) {
    let Connection { stream, peer, _place, _open } = connection;
    match context.tls.clone() {
        None => serve_stream(&context, stream, peer, router).await,
        Some(tls) => match tokio::time::timeout(context.config.request_timeout, tls.accept(stream)).await {
            Ok(Ok(stream)) => serve_stream(&context, stream, peer, router).await,
            Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS"),
            Err(_) => tracing::debug!(%peer, "no TLS in time"),
        },
    }
}

async fn serve_stream(
    context: &Context,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    router: Router,
) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(context.config.request_timeout)
        .max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32);
    let service = hyper::service::service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        router.clone().call(request)
    });
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut stop = context.stop.clone();
    tokio::select! {
        result = connection.as_mut() => ended(peer, result),
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            ended(peer, connection.await);
        }
    }
}

fn ended(peer: SocketAddr, result: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "a connection ended");
    }
}
