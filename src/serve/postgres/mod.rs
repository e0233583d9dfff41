//! The PostgreSQL protocol (3.0): what psql, Grafana, DBeaver, Metabase and every driver speak.
//!
//! ```text
//!  connection ─ startup ─ session ─┬─ simple:   a text of statements
//!               (TLS,     (loop)   └─ extended: Parse, Bind, Describe, Execute
//!                cancel)                │
//!                        command ─ answer ─ cursor ─ columns ─► wire
//!                        (what is   (who    (rows    (Arrow to
//!                         asked)    does it) as they  PostgreSQL)
//!                                            come)
//! ```
//!
//! Any user may connect, to the database `undercurrent` alone. A statement reads one closed tick. What changes rows of
//! tables takes effect at once, and within BEGIN and COMMIT when it commits, all of it or nothing; until then only the
//! transaction sees it, and only in tables. CREATE and DROP take effect at once wherever they stand.
//! Timestamps have nanoseconds in the engine and microseconds here: the rest is cut off.
//!
//! A running statement ends when it is cancelled or its client is gone; one that changes something is finished
//! all the same once the engine has begun it.

mod answer;
mod cancel;
mod columns;
mod command;
mod copy;
mod copy_in;
mod copy_text;
mod cursor;
mod error;
mod extended;
mod frame;
mod parameters;
mod session;
mod settings;
mod simple;
mod startup;
mod transaction;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use self::cancel::Cancels;
use self::error::Fault;
use self::session::Session;
use super::Context;
use super::listener::{Connection, Listener};
use super::subscribers::Subscribers;

/// The one database there is.
pub(super) const DATABASE: &str = "undercurrent";

/// How long a client that is turned away may take to read why.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// What all connections share.
struct Shared {
    context: Context,
    cancels: Cancels,
    subscribers: Subscribers,
}

/// Serves PostgreSQL's protocol until the servers stop.
pub(super) async fn serve(context: Context, listener: Listener) {
    let subscribers = Subscribers::new(&context, "postgres");
    let shared = Arc::new(Shared { context, cancels: Cancels::default(), subscribers });
    let refusing = shared.clone();
    listener
        .run(
            move |connection| converse(shared.clone(), connection),
            move |stream| refuse(refusing.clone(), stream),
        )
        .await;
}

/// One connection from its first byte to its last.
async fn converse(shared: Arc<Shared>, connection: Connection) {
    // The rest of the connection, its place, stays until the end.
    let Connection { stream, peer, .. } = connection;
    let result = match startup::start(&shared, stream).await {
        Ok(Some(started)) => match Session::open(shared, started).await {
            Ok(mut session) => session.run().await,
            Err(fault) => Err(fault),
        },
        Ok(None) => Ok(()),
        Err(fault) => Err(fault),
    };
    if let Err(fault) = result {
        tracing::debug!(%peer, error = %fault, "a connection ended");
    }
}

/// Says that there are too many connections. A cancel request is heeded all the same.
async fn refuse(shared: Arc<Shared>, stream: TcpStream) {
    let refusal = async {
        if let Ok(Some(mut started)) = startup::start(&shared, stream).await {
            let fault = Fault::fatal("53300", "too many connections")
                .hint("Close some, or raise limits.connections_max of the server.");
            let _ = startup::refuse(&mut started.stream, &fault).await;
        }
    };
    let _ = tokio::time::timeout(REFUSAL_TIMEOUT, refusal).await;
}
