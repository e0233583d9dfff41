//! Connections: their number, TLS, time-outs and the stop, for all protocols alike.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use prometheus::IntGauge;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower::Service;

use super::activity::{Activity, Overdue, UnderWay, Watched};
use super::{Context, ServeError, stopped};

/// How long accepting rests after it failed, as it does when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Connections that are told at once that there is no place for them.
const REFUSALS_MAX: usize = 256;

/// How long such a connection has to ask and to be told.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// How much of such a request is read.
const REFUSED_BODY_BYTES_MAX: usize = 1 << 20;

/// The longest time between two looks at what a client does with its connection.
const LOOK_INTERVAL_MAX: Duration = Duration::from_secs(1);

/// How long a connection that is to end may still be open after its last answer.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

/// How often a silent HTTP/2 connection is asked whether its peer is still there.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// How long its peer has to say so.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Requests of one HTTP/2 connection that were taken back before they were looked at; a client with more
/// is disconnected, since taking back costs it nothing.
const RESETS_PENDING_MAX: usize = 20;

/// Requests of one HTTP/2 connection that break the protocol; a client with more is disconnected.
const RESETS_BY_ERROR_MAX: usize = 256;

/// Bytes of a body that may be on their way unread: enough for 20 MiB in a second where an answer takes 50 ms.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;

/// The same for all bodies of an HTTP/2 connection together.
const CONNECTION_WINDOW_BYTES: u32 = 2 << 20;

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
        let refusals = Arc::new(Semaphore::new(REFUSALS_MAX));
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
                    // Those beyond are closed without a word: refusing must not cost more than serving.
                    if let Ok(place) = refusals.clone().try_acquire_owned() {
                        let refusal = refuse(stream);
                        tasks.spawn(async move {
                            refusal.await;
                            drop(place);
                        });
                    }
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
            |connection| serve_connection(context.clone(), connection, router.clone()),
            |stream| refuse_connection(context.clone(), stream),
        )
        .await;
    }
}

async fn serve_connection(context: Context, connection: Connection, router: Router) {
    let Connection { stream, peer, _place, _open } = connection;
    serve_http(&context, stream, peer, router).await;
}

/// Answers one request of a connection that there is no place for, and ends it.
async fn refuse_connection(context: Context, stream: TcpStream) {
    let Ok(peer) = stream.peer_addr() else { return };
    let (answered, stop) = watch::channel(false);
    let context = Context { stop, ..context };
    let router = Router::new().fallback(move |request: Request<Body>| async move {
        let answer = too_many_connections(request).await;
        let _ = answered.send(true);
        answer
    });
    let _ = timeout(REFUSAL_TIMEOUT, serve_http(&context, stream, peer, router)).await;
}

async fn too_many_connections(request: Request<Body>) -> Response<Body> {
    let (head, body) = request.into_parts();
    // What is sent is read first, as far as it is short: a connection that is closed on unread bytes takes
    // the answer with it.
    let _ = Limited::new(body, REFUSED_BODY_BYTES_MAX).collect().await;
    let message = "too many connections (limits.connections_max); try again later";
    let content_type = head.headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    if content_type.starts_with(b"application/grpc") {
        return tonic::Status::unavailable(message).into_http();
    }
    let mut response = Response::new(Body::from(format!("{message}\n")));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

async fn serve_http(context: &Context, stream: TcpStream, peer: SocketAddr, router: Router) {
    match context.tls.clone() {
        None => serve_stream(context, stream, peer, router).await,
        Some(tls) => match timeout(context.config.request_timeout, tls.accept(stream)).await {
            Ok(Ok(stream)) => serve_stream(context, stream, peer, router).await,
            Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS"),
            Err(_) => tracing::debug!(%peer, "no TLS in time"),
        },
    }
}

/// Serves one connection until it ends, its client has kept it without use for too long, or the servers
/// stop and its last answer is out.
async fn serve_stream(
    context: &Context,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: SocketAddr,
    router: Router,
) {
    let activity = Activity::new(Instant::now());
    let stream = TokioIo::new(Watched::new(stream, activity.clone()));
    let requests = activity.clone();
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        let under_way = requests.begin(request.version() == Version::HTTP_2);
        let answer = router.clone().call(request);
        async move { answer.await.map(|response| kept_under_way(response, under_way)) }
    });
    let builder = http_builder();
    let mut connection = std::pin::pin!(builder.serve_connection(stream, service));
    let mut stop = context.stop.clone();
    let request_timeout = context.config.request_timeout;
    let mut looks = tokio::time::interval((request_timeout / 4).min(LOOK_INTERVAL_MAX));
    let mut is_ending = false;
    loop {
        tokio::select! {
            result = connection.as_mut() => return ended(peer, result),
            () = stopped(&mut stop), if !is_ending => {
                is_ending = true;
                connection.as_mut().graceful_shutdown();
            }
            _ = looks.tick() => match activity.overdue(Instant::now(), request_timeout) {
                Some(Overdue::Head | Overdue::Idle) if !is_ending => {
                    is_ending = true;
                    connection.as_mut().graceful_shutdown();
                }
                None if !is_ending || !activity.is_quiet(Instant::now(), GOODBYE_TIMEOUT) => {}
                overdue => return tracing::debug!(%peer, ?overdue, "a connection is closed"),
            },
        }
    }
}

/// `response`, under way until its body is sent or given up.
fn kept_under_way(response: Response<Body>, under_way: UnderWay) -> Response<Body> {
    response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            let _ = &under_way;
            frame
        }))
    })
}

/// How HTTP is spoken. The activity tells of heads that are late.
fn http_builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(RESETS_PENDING_MAX)
        .max_local_error_reset_streams(RESETS_BY_ERROR_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(HEAD_BYTES_MAX as u32);
    builder
}

fn ended(peer: SocketAddr, result: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = result {
        tracing::debug!(%peer, %error, "a connection ended");
    }
}
