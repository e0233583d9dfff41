//! Reading and writing the bytes of aggregate states: LEB128 integers and little-endian floats.

/// Why bytes are not a state written by this version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// They end in the middle.
    #[error("state of {kind} ends early, after {length} bytes")]
    Truncated {
        /// The state that they should be.
        kind: &'static str,
        /// How many there are.
        length: usize,
    },
    /// They hold a number that no state has.
    #[error("state of {kind} holds {what} \"{value}\" outside its range")]
    OutOfRange {
        /// The state that they should be.
        kind: &'static str,
        /// What the number stands for.
        what: &'static str,
        /// The number.
        value: String,
    },
    /// They go on after their end.
    #[error("state of {kind} has {count} bytes left over")]
    Trailing {
        /// The state that they should be.
        kind: &'static str,
        /// How many are left over.
        count: usize,
    },
}

pub(super) fn put_unsigned(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_unsigned(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// A cursor over the bytes of one state; `kind` names the state in errors.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    kind: &'static str,
}

impl<'a> Reader<'a> {
    pub(super) fn new(kind: &'static str, bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, kind }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub(super) fn byte(&mut self) -> Result<u8, DecodeError> {
        let byte = *self.bytes.get(self.at).ok_or_else(|| self.truncated())?;
        self.at += 1;
        Ok(byte)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let slice = self.bytes.get(self.at..self.at + N).ok_or_else(|| self.truncated())?;
        let mut array = [0; N];
        array.copy_from_slice(slice);
        self.at += N;
        Ok(array)
    }

    /// The next `length` bytes.
    pub(super) fn slice(&mut self, length: u64) -> Result<&'a [u8], DecodeError> {
        let rest = self.rest();
        let slice = usize::try_from(length).ok().and_then(|length| rest.get(..length));
        let slice = slice.ok_or_else(|| self.truncated())?;
        self.at += slice.len();
        Ok(slice)
    }

    /// All bytes not yet read.
    pub(super) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    pub(super) fn unsigned(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && byte > 1 {
                return Err(self.out_of_range("an integer", "more than 64 bits"));
            }
            value |= part << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.out_of_range("an integer", "more than 64 bits"))
    }

    pub(super) fn signed(&mut self) -> Result<i64, DecodeError> {
        let value = self.unsigned()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    pub(super) fn end(&self) -> Result<(), DecodeError> {
        match self.bytes.len() - self.at {
            0 => Ok(()),
            count => Err(DecodeError::Trailing { kind: self.kind, count }),
        }
    }

    pub(super) fn out_of_range(&self, what: &'static str, value: impl ToString) -> DecodeError {
        DecodeError::OutOfRange { kind: self.kind, what, value: value.to_string() }
    }

    fn truncated(&self) -> DecodeError {
        DecodeError::Truncated { kind: self.kind, length: self.bytes.len() }
    }
}
