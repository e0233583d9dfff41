//! Servers: the protocols by which telemetry comes in and answers go out. They do not know each other.
//!
//! | port | protocol | module |
//! |---|---|---|
//! | 4317 | OTLP over gRPC | [`otlp`] |
//! | 4318 | OTLP over HTTP, protobuf and JSON | [`otlp`] |
//! | 5433 | PostgreSQL | [`postgres`] |
//! | 50051 | Arrow Flight SQL | [`flight_sql`] |
//! | 8080 | HTTP: SQL, subscriptions, health, metrics, Jaeger's queries | [`http`] |
//!
//! All share the [`Listener`](listener::Listener): a bound on connections, TLS, time-outs, and a stop
//! that lets what is under way finish.

mod flight_sql;
mod http;
mod listener;
mod otlp;
mod postgres;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use self::listener::Listener;
use crate::config::Config;
use crate::engine::Live;

/// Why servers could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address} for {protocol}; set {setting} to another address, or to off")]
    Listen {
        /// The protocol.
        protocol: &'static str,
        /// The setting that says where.
        setting: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The certificate or the key cannot be used.
    #[error("cannot use \"{}\" for TLS: {reason}", path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

/// What every server needs.
#[derive(Clone)]
struct Context {
    live: Live,
    config: Arc<Config>,
    tls: Option<TlsAcceptor>,
    /// True once the servers are to stop.
    stop: watch::Receiver<bool>,
}

/// Waits until the servers are to stop.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the servers are gone altogether.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Where the servers listen; `None` for those that are off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// OTLP over gRPC.
    pub otlp_grpc: Option<SocketAddr>,
    /// OTLP over HTTP.
    pub otlp_http: Option<SocketAddr>,
    /// PostgreSQL.
    pub postgres: Option<SocketAddr>,
    /// Arrow Flight SQL.
    pub flight_sql: Option<SocketAddr>,
    /// The HTTP API.
    pub http: Option<SocketAddr>,
}

/// Servers that run.
pub struct Servers {
    /// Where they listen.
    pub addresses: Addresses,
    live: Live,
    config: Arc<Config>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Servers {
    /// Starts all servers that `config` wants, over `live`.
    pub async fn start(config: Config, live: Live) -> Result<Servers, ServeError> {
        let config = Arc::new(config);
        let (stop, stopped) = watch::channel(false);
        let tls = tls::acceptor(&config)?;
        let context = Context { live: live.clone(), config: config.clone(), tls, stop: stopped };
        let mut addresses = Addresses::default();
        let mut tasks = JoinSet::new();
        if let Some(address) = config.otlp_grpc_listen {
            let listener = Listener::bind(&context, "otlp_grpc", "otlp.grpc_listen", address).await?;
            addresses.otlp_grpc = Some(listener.address());
            tasks.spawn(otlp::serve_grpc(context.clone(), listener));
        }
        if let Some(address) = config.otlp_http_listen {
            let listener = Listener::bind(&context, "otlp_http", "otlp.http_listen", address).await?;
            addresses.otlp_http = Some(listener.address());
            tasks.spawn(otlp::serve_http(context.clone(), listener));
        }
        if let Some(address) = config.postgres_listen {
            let listener = Listener::bind(&context, "postgres", "postgres.listen", address).await?;
            addresses.postgres = Some(listener.address());
            tasks.spawn(postgres::serve(context.clone(), listener));
        }
        if let Some(address) = config.flight_sql_listen {
            let listener = Listener::bind(&context, "flight_sql", "flight_sql.listen", address).await?;
            addresses.flight_sql = Some(listener.address());
            tasks.spawn(flight_sql::serve(context.clone(), listener));
        }
        if let Some(address) = config.http_listen {
            let listener = Listener::bind(&context, "http", "http.listen", address).await?;
            addresses.http = Some(listener.address());
            tasks.spawn(http::serve(context.clone(), listener));
        }
        Ok(Servers { addresses, live, config, stop, tasks })
    }

    /// Takes no more connections, answers what was accepted, takes in all telemetry that was
    /// acknowledged, and ends. What is still under way after the configured time is cut off.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(self.config.shutdown_timeout, all).await.is_err() {
            tracing::warn!("some connections did not end in time and were cut off");
            self.tasks.shutdown().await;
        }
        self.live.stop().await;
    }
}
