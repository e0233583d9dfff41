//! The bytes of a connection: messages in and out, with bounded buffers.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};

use super::error::Fault;
use super::frame::{self, HEAD_BYTES};
use super::startup::drain;

/// What is sent is kept back until it has this many bytes, or the client is to see it.
const SEND_BYTES: usize = 64 << 10;

/// Room for the message around a statement: names, types and formats.
const AROUND_BYTES: usize = 16 << 10;

/// A connection, with TLS or without.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// The messages of the client.
pub(super) struct Receiver {
    half: ReadHalf<Box<dyn Io>>,
    buffer: BytesMut,
    bytes_max: usize,
}

/// What goes to the client.
pub(super) struct Sender {
    half: WriteHalf<Box<dyn Io>>,
    buffer: BytesMut,
    timeout: Duration,
}

/// Both ends of a connection. A message has at most `statement_bytes_max` bytes of statement; a client that
/// reads nothing for `timeout` while something is to be sent is given up.
pub(super) fn split(
    stream: Box<dyn Io>,
    statement_bytes_max: usize,
    timeout: Duration,
) -> (Receiver, Sender) {
    let (read, write) = tokio::io::split(stream);
    let receiver =
        Receiver { half: read, buffer: BytesMut::new(), bytes_max: statement_bytes_max + AROUND_BYTES };
    (receiver, Sender { half: write, buffer: BytesMut::new(), timeout })
}

impl Receiver {
    /// The next message; `None` when the client has closed the connection. It is safe to cancel.
    pub async fn next(&mut self) -> Result<Option<PgWireFrontendMessage>, Fault> {
        loop {
            if let Some(message) = self.decode()? {
                return Ok(Some(message));
            }
            if self.half.read_buf(&mut self.buffer).await? == 0 {
                return match self.buffer.is_empty() {
                    true => Ok(None),
                    false => Err(Fault::gone()),
                };
            }
        }
    }

    fn decode(&mut self) -> Result<Option<PgWireFrontendMessage>, Fault> {
        let Some(head) = self.buffer.first_chunk::<HEAD_BYTES>() else { return Ok(None) };
        let length = frame::length(head, self.bytes_max)?;
        if self.buffer.len() < length {
            return Ok(None);
        }
        let frame = self.buffer.split_to(length);
        frame::decode(frame).map(Some)
    }

    /// Reads what the client still sends, once nothing more will be answered.
    pub async fn drain(&mut self) {
        drain(&mut self.half).await;
    }

    /// Returns when the client is gone. Until then it takes in what the client sends ahead, as far as a
    /// message may go. It is safe to cancel.
    pub async fn gone(&mut self) {
        while self.buffer.len() < self.bytes_max {
            match self.half.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        std::future::pending().await
    }
}

impl Sender {
    /// Puts `message` behind what is to be sent.
    pub fn put(&mut self, message: PgWireBackendMessage) -> Result<(), Fault> {
        Ok(message.encode(&mut self.buffer)?)
    }

    /// Sends what has gathered, if that is much.
    pub async fn flush_much(&mut self) -> Result<(), Fault> {
        if self.buffer.len() < SEND_BYTES { Ok(()) } else { self.flush().await }
    }

    /// Sends all that has gathered. When cancelled, the rest is still there.
    pub async fn flush(&mut self) -> Result<(), Fault> {
        let write = async {
            while self.buffer.has_remaining() {
                self.half.write_buf(&mut self.buffer).await?;
            }
            self.half.flush().await
        };
        match tokio::time::timeout(self.timeout, write).await {
            Ok(result) => Ok(result?),
            Err(_) => Err(Fault::Connection(std::io::ErrorKind::TimedOut.into())),
        }
    }

    /// Sends the rest and closes the connection.
    pub async fn close(&mut self) -> Result<(), Fault> {
        self.flush().await?;
        Ok(self.half.shutdown().await?)
    }
}
