//! The protobuf wire format: the fields of one message, borrowed from it.

use crate::telemetry::record::Reason;

/// A field's value as it is on the wire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

/// The fields of one message that are still to be read.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
    /// Bytes of the last field that the message should have had but does not.
    missing: u64,
}

impl<'a> Fields<'a> {
    pub(super) fn new(message: &'a [u8]) -> Fields<'a> {
        Fields { rest: message, missing: 0 }
    }

    /// The next field's number and value; nothing at the end of the message. After an error the message cannot be
    /// read on.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, Reason> {
        let field = self.next_or_cut()?;
        if self.missing > 0 { Err(self.cut()) } else { Ok(field) }
    }

    /// As `next`, but a value of bytes that the message ends within is cut short; [`Fields::missing`] tells.
    #[inline]
    pub(super) fn next_or_cut(&mut self) -> Result<Option<(u32, Value<'a>)>, Reason> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = match u32::try_from(tag >> 3) {
            Ok(number) if number > 0 => number,
            _ => return Err(format!("field number {} is outside 1 to {}", tag >> 3, (1 << 29) - 1)),
        };
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.fixed()?)),
            2 => {
                let len = self.varint()?;
                let available = self.rest.len() as u64;
                self.missing = len.saturating_sub(available);
                let (value, rest) = self.rest.split_at(len.min(available) as usize);
                self.rest = rest;
                Value::Bytes(value)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.fixed()?)),
            other => {
                return Err(format!("field {number} has wire type {other}, one of 0, 1, 2 and 5 expected"));
            }
        };
        Ok(Some((number, value)))
    }

    /// How many bytes of the last field were cut off.
    pub(super) fn missing(&self) -> u64 {
        self.missing
    }

    #[cold]
    fn cut(&self) -> Reason {
        format!("message is cut off, {} more bytes expected", self.missing.max(1))
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Reason> {
        match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Reason> {
        let mut value = 0;
        for (at, &byte) in self.rest.iter().enumerate().take(10) {
            value |= u64::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                self.rest = &self.rest[at + 1..];
                return Ok(value);
            }
        }
        if self.rest.len() < 10 {
            return Err(self.cut());
        }
        Err("varint has more than 10 bytes".to_owned())
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Reason> {
        match self.rest.split_first_chunk() {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(*bytes)
            }
            None => Err(self.cut()),
        }
    }
}

/// The value has another wire type than its field.
#[cold]
fn mistyped(what: &str, value: Value<'_>, expected: &str) -> Reason {
    let found = match value {
        Value::Varint(_) => "a varint",
        Value::Fixed64(_) => "fixed 64 bits",
        Value::Bytes(_) => "bytes",
        Value::Fixed32(_) => "fixed 32 bits",
    };
    format!("{what} is {found} on the wire, {expected} expected")
}

impl<'a> Value<'a> {
    #[inline]
    pub(super) fn bytes(self, what: &str) -> Result<&'a [u8], Reason> {
        match self {
            Value::Bytes(bytes) => Ok(bytes),
            other => Err(mistyped(what, other, "bytes")),
        }
    }

    /// The fields of a message within the message.
    #[inline]
    pub(super) fn message(self, what: &str) -> Result<Fields<'a>, Reason> {
        self.bytes(what).map(Fields::new)
    }

    #[inline]
    pub(super) fn text(self, what: &str) -> Result<&'a str, Reason> {
        let bytes = self.bytes(what)?;
        std::str::from_utf8(bytes).map_err(|_| not_utf8(what, bytes))
    }

    #[inline]
    pub(super) fn fixed64(self, what: &str) -> Result<u64, Reason> {
        match self {
            Value::Fixed64(value) => Ok(value),
            other => Err(mistyped(what, other, "fixed 64 bits")),
        }
    }

    #[inline]
    pub(super) fn double(self, what: &str) -> Result<f64, Reason> {
        self.fixed64(what).map(f64::from_bits)
    }

    #[inline]
    pub(super) fn varint(self, what: &str) -> Result<u64, Reason> {
        match self {
            Value::Varint(value) => Ok(value),
            other => Err(mistyped(what, other, "a varint")),
        }
    }

    /// A value of an enum or an `int32`: negative ones take 10 bytes on the wire.
    #[inline]
    pub(super) fn int32(self, what: &str) -> Result<i128, Reason> {
        self.varint(what).map(|value| i128::from(value as i32))
    }

    /// A `sint32`: zigzag.
    pub(super) fn sint32(self, what: &str) -> Result<i128, Reason> {
        let value = self.varint(what)? as u32;
        Ok(i128::from((value >> 1).cast_signed() ^ -(value & 1).cast_signed()))
    }
}

/// Calls `take` with each of a repeated field's fixed 64 bits: one, or many packed together.
pub(super) fn each_fixed64(
    value: Value<'_>,
    what: &str,
    mut take: impl FnMut(u64) -> Result<(), Reason>,
) -> Result<(), Reason> {
    let Value::Bytes(packed) = value else { return take(value.fixed64(what)?) };
    let (chunks, rest) = packed.as_chunks();
    if !rest.is_empty() {
        return Err(format!("{what} has {} bytes, a multiple of 8 expected", packed.len()));
    }
    chunks.iter().try_for_each(|&chunk| take(u64::from_le_bytes(chunk)))
}

/// Calls `take` with each of a repeated field's varints: one, or many packed together.
pub(super) fn each_varint(
    value: Value<'_>,
    what: &str,
    mut take: impl FnMut(u64) -> Result<(), Reason>,
) -> Result<(), Reason> {
    let Value::Bytes(packed) = value else { return take(value.varint(what)?) };
    let mut packed = Fields::new(packed);
    while !packed.rest.is_empty() {
        take(packed.varint()?)?;
    }
    Ok(())
}

#[cold]
fn not_utf8(what: &str, bytes: &[u8]) -> Reason {
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(64)]);
    format!("{what} {shown:?} is not UTF-8")
}
