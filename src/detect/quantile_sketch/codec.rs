//! Sketches as bytes: equal sketches have equal bytes.

use super::{Bins, Mapping, Sketch, Store};
use crate::detect::bytes::{DecodeError, Reader, put_signed, put_unsigned};

const KIND: &str = "quantile sketch";
const HAS_NEGATIVE: u8 = 1;
const HAS_NON_FINITE: u8 = 2;

impl Bins {
    /// Appends the counts to `out`: about two bytes a bin, one byte when empty.
    ///
    /// Flags; zeros; number of bins, then key (as difference to the last) and count of each; the
    /// same for negative values; infinities and NaNs. All integers are LEB128.
    pub fn write_bytes(&self, out: &mut Vec<u8>) {
        let (negative, non_finite) = (self.negative(), self.non_finite());
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        out.push(flag(negative.is_some(), HAS_NEGATIVE) | flag(non_finite.is_some(), HAS_NON_FINITE));
        put_signed(out, self.zero);
        write_store(&self.positive, out);
        if let Some(negative) = negative {
            write_store(negative, out);
        }
        if let Some(counts) = non_finite {
            put_signed(out, counts.negative_infinity);
            put_signed(out, counts.positive_infinity);
            put_signed(out, counts.nan);
        }
    }

    /// The counts that [`Bins::write_bytes`] wrote, all of them and nothing else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut bins = Self::default();
        bins.merge_bytes(bytes)?;
        Ok(bins)
    }

    /// Adds the counts that [`Bins::write_bytes`] wrote. On an error some may have been added.
    pub fn merge_bytes(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        let mut reader = Reader::new(KIND, bytes);
        self.merge_from(&mut reader)?;
        reader.end()
    }

    fn merge_from(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        let flags = reader.byte()?;
        if flags > HAS_NEGATIVE | HAS_NON_FINITE {
            return Err(reader.out_of_range("flags", flags));
        }
        let zero = reader.signed()?;
        self.zero = self.zero.wrapping_add(zero);
        let mut count = zero.wrapping_add(merge_store(&mut self.positive, reader)?);
        if flags & HAS_NEGATIVE != 0 {
            let negative = self.negative.get_or_insert_with(|| Box::new(Store::new()));
            count = count.wrapping_add(merge_store(negative, reader)?);
        }
        if flags & HAS_NON_FINITE != 0 {
            let counts = self.non_finite.get_or_insert_default();
            let kinds = [&mut counts.negative_infinity, &mut counts.positive_infinity, &mut counts.nan];
            for kind in kinds {
                let more = reader.signed()?;
                *kind = kind.wrapping_add(more);
                count = count.wrapping_add(more);
            }
        }
        self.count = self.count.wrapping_add(count);
        if self.count == 0 {
            self.release();
        }
        Ok(())
    }
}

impl Sketch {
    /// The sketch as bytes: the relative error, then what [`Bins::write_bytes`] writes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.mapping.relative_error.to_le_bytes().to_vec();
        self.bins.write_bytes(&mut out);
        out
    }

    /// The sketch that [`Sketch::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(KIND, bytes);
        let relative_error = f64::from_le_bytes(reader.array()?);
        if !Mapping::is_valid(relative_error) {
            return Err(reader.out_of_range("relative error", relative_error));
        }
        let mut sketch = Self::new(relative_error);
        sketch.bins.merge_from(&mut reader)?;
        reader.end()?;
        Ok(sketch)
    }
}

fn write_store(store: &Store, out: &mut Vec<u8>) {
    put_unsigned(out, store.iter().count() as u64);
    let mut previous = 0;
    for (key, count) in store.iter() {
        put_signed(out, i64::from(key) - previous);
        put_signed(out, count);
        previous = i64::from(key);
    }
}

/// Adds a store's counts and returns their sum.
fn merge_store(store: &mut Store, reader: &mut Reader<'_>) -> Result<i64, DecodeError> {
    /// Beyond every key that a mapping can give.
    const KEY_MAX: i64 = 1 << 29;
    let length = reader.unsigned()?;
    let (mut key, mut total) = (0_i64, 0_i64);
    for _ in 0..length {
        key = key.wrapping_add(reader.signed()?);
        if !(-KEY_MAX..=KEY_MAX).contains(&key) {
            return Err(reader.out_of_range("bin", key));
        }
        let count = reader.signed()?;
        store.add(key as i32, count);
        total = total.wrapping_add(count);
    }
    Ok(total)
}
