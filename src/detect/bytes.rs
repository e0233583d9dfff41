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

pub(crate) fn put_unsigned(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_unsigned(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// As [`put_signed`], for numbers of 128 bits.
pub(crate) fn put_wide(out: &mut Vec<u8>, value: i128) {
    let mut rest = ((value << 1) ^ (value >> 127)) as u128;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// `bytes` after their length.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_unsigned(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A cursor over the bytes of one state; `kind` names the state in errors.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    kind: &'static str,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(kind: &'static str, bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, kind }
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    pub(crate) fn byte(&mut self) -> Result<u8, DecodeError> {
        let byte = *self.bytes.get(self.at).ok_or_else(|| self.truncated())?;
        self.at += 1;
        Ok(byte)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let slice = self.bytes.get(self.at..self.at + N).ok_or_else(|| self.truncated())?;
        let mut array = [0; N];
        array.copy_from_slice(slice);
        self.at += N;
        Ok(array)
    }

    /// The next `length` bytes.
    pub(crate) fn slice(&mut self, length: u64) -> Result<&'a [u8], DecodeError> {
        let rest = self.rest();
        let slice = usize::try_from(length).ok().and_then(|length| rest.get(..length));
        let slice = slice.ok_or_else(|| self.truncated())?;
        self.at += slice.len();
        Ok(slice)
    }

    /// All bytes not yet read.
    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    pub(crate) fn unsigned(&mut self) -> Result<u64, DecodeError> {
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

    pub(crate) fn signed(&mut self) -> Result<i64, DecodeError> {
        let value = self.unsigned()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    pub(crate) fn wide(&mut self) -> Result<i128, DecodeError> {
        let mut value = 0_u128;
        for shift in (0..128).step_by(7) {
            let byte = self.byte()?;
            // The last of 19 bytes has the two bits that are left.
            if shift == 126 && byte > 3 {
                break;
            }
            value |= u128::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok((value >> 1) as i128 ^ -((value & 1) as i128));
            }
        }
        Err(self.out_of_range("an integer", "more than 128 bits"))
    }

    /// Bytes after their length.
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.unsigned()?;
        self.slice(length)
    }

    /// All bytes not yet read, which are read with this.
    pub(crate) fn take_rest(&mut self) -> &'a [u8] {
        let rest = self.rest();
        self.at = self.bytes.len();
        rest
    }

    pub(crate) fn end(&self) -> Result<(), DecodeError> {
        match self.bytes.len() - self.at {
            0 => Ok(()),
            count => Err(DecodeError::Trailing { kind: self.kind, count }),
        }
    }

    pub(crate) fn out_of_range(&self, what: &'static str, value: impl ToString) -> DecodeError {
        DecodeError::OutOfRange { kind: self.kind, what, value: value.to_string() }
    }

    fn truncated(&self) -> DecodeError {
        DecodeError::Truncated { kind: self.kind, length: self.bytes.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_from_their_bytes() {
        let wide = [0, 1, -1, 63, -64, 64, i128::from(i64::MIN), i128::from(u64::MAX), i128::MIN, i128::MAX];
        for value in wide {
            let mut bytes = vec![];
            put_wide(&mut bytes, value);
            let mut reader = Reader::new("test", &bytes);
            assert_eq!(reader.wide(), Ok(value));
            reader.end().unwrap();
            if let Ok(value) = i64::try_from(value) {
                let mut narrow = vec![];
                put_signed(&mut narrow, value);
                assert_eq!(narrow, bytes);
                assert_eq!(Reader::new("test", &narrow).signed(), Ok(value));
            }
            let length = bytes.len() - 1;
            let cut = Reader::new("test", &bytes[..length]).wide();
            assert_eq!(cut, Err(DecodeError::Truncated { kind: "test", length }));
        }
        for too_long in [[0xff_u8; 19].as_slice(), &[&[0x80; 18][..], &[4]].concat(), &[0x80; 30]] {
            let error = Reader::new("test", too_long).wide().unwrap_err();
            assert!(matches!(error, DecodeError::OutOfRange { .. }), "{error}");
        }
    }

    #[test]
    fn bytes_come_back_with_their_length() {
        let mut out = vec![];
        put_bytes(&mut out, b"ab");
        put_bytes(&mut out, b"");
        out.extend(b"rest");
        let mut reader = Reader::new("test", &out);
        assert_eq!(
            [reader.bytes().unwrap(), reader.bytes().unwrap(), reader.take_rest()],
            [&b"ab"[..], b"", b"rest"]
        );
        reader.end().unwrap();
        let length = u64::MAX;
        let mut long = vec![];
        put_unsigned(&mut long, length);
        assert_eq!(
            Reader::new("test", &long).bytes(),
            Err(DecodeError::Truncated { kind: "test", length: 10 })
        );
    }
}
