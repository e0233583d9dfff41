//! Messages of a client, checked before they are decoded: the decoder trusts the counts within.

use bytes::BytesMut;
use pgwire::messages::{DecodeContext, PgWireFrontendMessage, ProtocolVersion};

use super::error::Fault;

/// The kinds of messages that a client may send once it is connected.
const KINDS: &[u8] = b"QPBDECHSXcdfp";

/// The byte that says the kind, and the length.
pub(super) const HEAD_BYTES: usize = 5;

/// The bytes of the whole message that `head` begins.
///
/// # Errors
///
/// When there is no such kind, or the message would have more than `bytes_max`.
pub(super) fn length(head: &[u8; HEAD_BYTES], bytes_max: usize) -> Result<usize, Fault> {
    let [kind, length @ ..] = *head;
    if !KINDS.contains(&kind) {
        return Err(Fault::fatal("08P01", format!("messages of kind {kind:#04x} are unknown")));
    }
    let length = i32::from_be_bytes(length);
    match usize::try_from(length) {
        Ok(length) if length >= 4 && length <= bytes_max => Ok(length + 1),
        Ok(length) if length > bytes_max => Err(Fault::fatal(
            "54000",
            format!("a message of {length} bytes is longer than {bytes_max} (limits.statement_bytes_max)"),
        )),
        _ => Err(Fault::fatal("08P01", format!("a message of {length} bytes cannot be"))),
    }
}

/// Decodes one whole message.
pub(super) fn decode(mut frame: BytesMut) -> Result<PgWireFrontendMessage, Fault> {
    let kind = frame[0];
    if !is_whole(kind, &frame[HEAD_BYTES..]) {
        return Err(Fault::fatal(
            "08P01",
            format!("a message of kind \"{}\" is cut short", char::from(kind)),
        ));
    }
    let mut context = DecodeContext::new(ProtocolVersion::PROTOCOL3_0);
    context.awaiting_frontend_ssl = false;
    context.awaiting_frontend_startup = false;
    match PgWireFrontendMessage::decode(&mut frame, &context) {
        Ok(Some(message)) => Ok(message),
        Ok(None) => Err(Fault::fatal("08P01", "a message is cut short")),
        Err(error) => Err(Fault::fatal("08P01", error.to_string())),
    }
}

/// Whether all that the counts and lengths within `body` promise is there.
fn is_whole(kind: u8, body: &[u8]) -> bool {
    let mut rest = Rest(body);
    let read = match kind {
        b'Q' => rest.text(),
        b'P' => rest.text().and_then(|()| rest.text()).and_then(|()| rest.items(4)),
        b'B' => bind(&mut rest),
        b'D' | b'C' => rest.skip(1).and_then(|()| rest.text()),
        b'E' => rest.text().and_then(|()| rest.skip(4)),
        b'f' => rest.text(),
        _ => Some(()),
    };
    read.is_some()
}

fn bind(rest: &mut Rest) -> Option<()> {
    rest.text()?;
    rest.text()?;
    rest.items(2)?;
    for _ in 0..rest.count()? {
        let length = i32::from_be_bytes(rest.take(4)?.try_into().ok()?);
        if length > 0 {
            rest.skip(length as usize)?;
        }
    }
    rest.items(2)
}

/// What of a message is not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.take(bytes).map(|_| ())
    }

    /// Text up to its zero byte.
    fn text(&mut self) -> Option<()> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        self.skip(end + 1)
    }

    fn count(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    /// A count and as many items.
    fn items(&mut self, bytes: usize) -> Option<()> {
        let count = self.count()?;
        self.skip(usize::from(count) * bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One message of each kind whose body has counts.
    const BODIES: &[(u8, &[u8])] = &[
        (b'Q', b"SELECT 1\0"),
        (b'P', b"s\0SELECT $1\0\0\x01\0\0\0\x17"),
        (b'B', b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x01x\xff\xff\xff\xff\0\x01\0\0"),
        (b'D', b"Ss\0"),
        (b'C', b"P\0"),
        (b'E', b"p\0\0\0\0\0"),
    ];

    fn framed(kind: u8, body: &[u8]) -> BytesMut {
        let mut frame = BytesMut::from(&[kind][..]);
        frame.extend_from_slice(&(body.len() as i32 + 4).to_be_bytes());
        frame.extend_from_slice(body);
        frame
    }

    #[test]
    fn whole_messages_are_decoded_and_every_beginning_of_one_is_refused() {
        for (kind, body) in BODIES {
            decode(framed(*kind, body)).unwrap();
            for end in 0..body.len() {
                assert!(decode(framed(*kind, &body[..end])).is_err(), "{end} bytes of {}", char::from(*kind));
            }
        }
    }

    #[test]
    fn impossible_heads_are_refused_at_once() {
        assert_eq!(length(b"Q\0\0\0\x09", 100).unwrap(), 10);
        for (head, code) in [
            (b"Q\0\0\0\x03", "08P01"),
            (b"Q\xff\xff\xff\xff", "08P01"),
            (b"Q\0\0\0\x65", "54000"),
            (b"GET /", "08P01"),
        ] {
            let Err(Fault::Told(told)) = length(head, 100) else { panic!("not refused") };
            assert_eq!((told.code, told.is_fatal), (code, true));
        }
    }
}
