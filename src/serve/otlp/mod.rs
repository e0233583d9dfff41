//! OTLP in, over gRPC and over HTTP.
//!
//! ```text
//!  http  (path, content type, encoding) ┐                ┌ body: read, decompressed ┐
//!                                       ├─► intake ──────┤  Decoder: to Arrow       ├─► the engine's intake
//!  grpc  (path, frame, encoding)        ┘   (decides)    └ sources: who sends       ┘
//! ```
//!
//! Both protocols hand the bytes of a request to the [`Intake`] and get back what became of it:
//! accepted, all or in part, or a [`Refusal`](refusal::Refusal), which each protocol says in its own way. What is
//! accepted, every view will see; of what is refused, nothing but a row in `ingest_errors`, where sending it again
//! would not help.

mod body;
mod grpc;
mod http;
mod intake;
mod messages;
mod refusal;
mod sources;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};

use self::body::{Encoding, Room, decompressed};
pub(super) use self::intake::Capacity;
use self::intake::Intake;
use super::Context;
use super::listener::{Listener, Peer};

/// Serves OTLP over gRPC.
pub(super) async fn serve_grpc(context: Context, listener: Listener, capacity: Capacity) {
    let intake = Arc::new(Intake::new(&context, "otlp_grpc", capacity));
    listener.run_http(Router::new().fallback(grpc::export).with_state(intake)).await;
}

/// Serves OTLP over HTTP.
pub(super) async fn serve_http(context: Context, listener: Listener, capacity: Capacity) {
    let intake = Arc::new(Intake::new(&context, "otlp_http", capacity));
    listener.run_http(Router::new().fallback(http::export).with_state(intake)).await;
}

/// The values of a header, as one.
fn text(headers: &HeaderMap, name: impl Into<HeaderName>) -> String {
    let values = headers.get_all(name.into()).into_iter();
    values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect::<Vec<_>>().join(", ")
}

/// Who sends a request.
fn peer(head: &Parts) -> IpAddr {
    head.extensions.get::<Peer>().map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.0.ip())
}

/// A body that cannot be decompressed: the reason, as senders are told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BodyError(String);

/// What `body` holds, which is compressed as `content_encoding` says (`gzip`, `zstd` or `identity`), as the ports of
/// OTLP decompress it: in memory of `bytes_max` bytes, whatever it would hold beyond.
///
/// # Errors
///
/// Another encoding, damage, and more than `bytes_max` bytes before or after decompression.
pub fn decompress(content_encoding: &str, body: &[u8], bytes_max: usize) -> Result<Vec<u8>, BodyError> {
    let plain = || {
        let mut compressed = Room::new(bytes_max.saturating_mul(4)).buffer(bytes_max);
        compressed.push(body)?;
        decompressed(Encoding::named(content_encoding)?, compressed)
    };
    plain().map(|plain| plain.bytes().to_vec()).map_err(|refusal| BodyError(refusal.to_string()))
}
