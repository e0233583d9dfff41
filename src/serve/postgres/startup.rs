//! The start of a connection: TLS, cancel requests, and what the client says of itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use pgwire::messages::startup::{GssEncRequest, NegotiateProtocolVersion, SslRequest, Startup};
use pgwire::messages::{DecodeContext, Message, PgWireBackendMessage, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::error::Fault;
use super::wire::Io;
use super::{DATABASE, REFUSAL_TIMEOUT, Shared};

/// The code of a cancel request.
const CANCEL_CODE: i32 = 80_877_102;

/// The version that is spoken: 3.0.
const VERSION: i32 = 3 << 16;

/// The most bytes of a packet before a session begins.
const PACKET_BYTES_MAX: usize = 10_000;

/// The most that is read of a client that was refused.
const DRAIN_BYTES_MAX: u64 = 4 << 20;

/// The first byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// A client that may have a session.
pub(super) struct Started {
    pub stream: Box<dyn Io>,
    /// What it said of itself: `user`, `application_name`, settings.
    pub parameters: BTreeMap<String, String>,
}

/// Leads `stream` to its session; `None` when it wanted none. It may take as long as a request.
pub(super) async fn start(shared: &Arc<Shared>, stream: TcpStream) -> Result<Option<Started>, Fault> {
    let timeout = shared.context.config.request_timeout;
    match tokio::time::timeout(timeout, negotiate(shared, stream)).await {
        Ok(result) => result,
        Err(_) => Err(Fault::Connection(std::io::ErrorKind::TimedOut.into())),
    }
}

/// Tells why there will be no session.
pub(super) async fn refuse(stream: &mut Box<dyn Io>, fault: &Fault) -> Result<(), Fault> {
    let mut buffer = BytesMut::new();
    if let Some(message) = fault.message() {
        message.encode(&mut buffer)?;
    }
    stream.write_all(&buffer).await?;
    stream.shutdown().await?;
    drain(stream).await;
    Ok(())
}

/// Reads what the client still sends, for a short time: closed before that, the connection would be reset,
/// and with it the last message lost.
pub(super) async fn drain(stream: &mut (impl AsyncRead + Unpin)) {
    let mut sink = tokio::io::sink();
    let mut rest = stream.take(DRAIN_BYTES_MAX);
    let _ = tokio::time::timeout(REFUSAL_TIMEOUT, tokio::io::copy(&mut rest, &mut sink)).await;
}

async fn negotiate(shared: &Arc<Shared>, stream: TcpStream) -> Result<Option<Started>, Fault> {
    let tls = shared.context.tls.as_ref();
    let mut first = [0];
    stream.peek(&mut first).await?;
    let mut is_secure = false;
    let mut stream: Box<dyn Io> = match tls {
        Some(tls) if first[0] == TLS_HANDSHAKE => {
            is_secure = true;
            Box::new(tls.accept(stream).await?)
        }
        _ => Box::new(stream),
    };
    let mut asked_gss = false;
    loop {
        let packet = match packet(&mut stream).await {
            Err(fault @ Fault::Told(_)) => {
                refuse(&mut stream, &fault).await?;
                return Err(fault);
            }
            other => other?,
        };
        match code(&packet) {
            SslRequest::BODY_MAGIC_NUMBER if !is_secure && tls.is_some() => {
                stream.write_all(b"S").await?;
                is_secure = true;
                // Nothing was read beyond the packet, so nothing said in the clear counts as said under TLS.
                stream = match tls {
                    Some(tls) => Box::new(tls.accept(stream).await?),
                    None => stream,
                };
            }
            SslRequest::BODY_MAGIC_NUMBER if tls.is_none() && !is_secure => {
                is_secure = true;
                stream.write_all(b"N").await?;
            }
            GssEncRequest::BODY_MAGIC_NUMBER if !asked_gss => {
                asked_gss = true;
                stream.write_all(b"N").await?;
            }
            CANCEL_CODE => {
                cancel(shared, &packet);
                return Ok(None);
            }
            _ => {
                let has_tls = tls.is_none() || is_secure;
                return match accept(shared, packet, has_tls, &mut stream).await {
                    Err(fault) => {
                        refuse(&mut stream, &fault).await?;
                        Err(fault)
                    }
                    Ok(parameters) => Ok(Some(Started { stream, parameters })),
                };
            }
        }
    }
}

/// One packet with its length, and not a byte beyond it.
async fn packet(stream: &mut Box<dyn Io>) -> Result<BytesMut, Fault> {
    let length = stream.read_u32().await?;
    if !(8..=PACKET_BYTES_MAX).contains(&(length as usize)) {
        let message = format!("a first packet of {length} bytes is not PostgreSQL's protocol");
        return Err(Fault::fatal("08P01", message));
    }
    let mut packet = BytesMut::zeroed(length as usize);
    (&mut packet[..4]).put_u32(length);
    stream.read_exact(&mut packet[4..]).await?;
    Ok(packet)
}

/// The number after the length.
fn code(packet: &[u8]) -> i32 {
    number(packet, 4)
}

fn number(packet: &[u8], at: usize) -> i32 {
    packet[at..].first_chunk().map_or(0, |bytes| i32::from_be_bytes(*bytes))
}

fn cancel(shared: &Shared, packet: &[u8]) {
    if packet.len() == 16 {
        shared.cancels.cancel(number(packet, 8), number(packet, 12));
    }
}

/// What the client says of itself, if it may have a session.
async fn accept(
    shared: &Shared,
    mut packet: BytesMut,
    has_tls: bool,
    stream: &mut Box<dyn Io>,
) -> Result<BTreeMap<String, String>, Fault> {
    let version = code(&packet);
    if version >> 16 != VERSION >> 16 {
        let message =
            format!("version {}.{} of the protocol is not spoken, 3.0 is", version >> 16, version & 0xffff);
        return Err(Fault::fatal("0A000", message));
    }
    if !has_tls {
        let fault = Fault::fatal("28000", "this server takes connections with TLS alone");
        return Err(fault.hint("Connect with sslmode=require."));
    }
    let context = DecodeContext::new(ProtocolVersion::PROTOCOL3_0);
    let startup = match packet.len() {
        // Nothing at all is said, not even an end.
        8 => None,
        _ => Startup::decode(&mut packet, &context)?,
    };
    let Some(Startup { mut parameters, .. }) = startup else {
        return Err(Fault::fatal("08P01", "the first packet is cut short"));
    };
    let unknown: Vec<String> = parameters.keys().filter(|k| k.starts_with("_pq_.")).cloned().collect();
    parameters.retain(|key, _| !key.starts_with("_pq_."));
    let Some(user) = parameters.get("user").filter(|user| !user.is_empty()) else {
        return Err(Fault::fatal("28000", "no user name is given").hint("Any name will do."));
    };
    // As in PostgreSQL, the database is called like the user where nothing is said.
    let database = parameters.get("database").filter(|d| !d.is_empty()).unwrap_or(user);
    if database != DATABASE {
        let fault = Fault::fatal("3D000", format!("database \"{database}\" does not exist"));
        return Err(fault.hint(format!("Connect to database \"{DATABASE}\".")));
    }
    if let Err(error) = shared.context.live.check() {
        return Err(Fault::of(error, "").and_fatal("57P03"));
    }
    if version > VERSION || !unknown.is_empty() {
        let negotiate = NegotiateProtocolVersion::new(VERSION, unknown);
        let mut buffer = BytesMut::new();
        PgWireBackendMessage::NegotiateProtocolVersion(negotiate).encode(&mut buffer)?;
        stream.write_all(&buffer).await?;
    }
    Ok(parameters)
}
