//! Exact sums as bytes: equal sums have equal bytes.

use super::{ExactSum, FAR_LIMBS};
use crate::detect::bytes::{DecodeError, Reader, put_signed};

const KIND: &str = "exact sum";
const IS_NEGATIVE: u8 = 1;
const HAS_NON_FINITE: u8 = 2;

impl ExactSum {
    /// Appends the sum to `out`: one byte for zero, some ten for one value.
    ///
    /// Flags; counts of infinities and NaNs if any, in LEB128; then, unless the number is zero, the
    /// place of the first digit and digits of 32 bits, little-endian, to the end.
    pub fn write_bytes(&self, out: &mut Vec<u8>) {
        let (digits, non_finite) = (self.digits(), self.non_finite());
        let has_non_finite = non_finite != [0; 3];
        out.push(u8::from(digits.negative) * IS_NEGATIVE + u8::from(has_non_finite) * HAS_NON_FINITE);
        if has_non_finite {
            non_finite.iter().for_each(|count| put_signed(out, *count));
        }
        if !digits.is_zero() {
            out.push(digits.first as u8);
            digits.digits.iter().for_each(|digit| out.extend(digit.to_le_bytes()));
        }
    }

    /// The sum as [`ExactSum::write_bytes`] writes it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_bytes(&mut out);
        out
    }

    /// The sum that [`ExactSum::write_bytes`] wrote, all of it and nothing else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut sum = Self::default();
        sum.merge_bytes(bytes)?;
        Ok(sum)
    }

    /// Adds the sum that [`ExactSum::write_bytes`] wrote. On an error some of it may have been added.
    pub fn merge_bytes(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        let mut reader = Reader::new(KIND, bytes);
        let flags = reader.byte()?;
        if flags > IS_NEGATIVE | HAS_NON_FINITE {
            return Err(reader.out_of_range("flags", flags));
        }
        if flags & HAS_NON_FINITE != 0 {
            let [positive, negative, nans] = [reader.signed()?, reader.signed()?, reader.signed()?];
            self.count_non_finite(positive, negative, nans);
        }
        if reader.is_at_end() {
            return Ok(());
        }
        let mut limb = u32::from(reader.byte()?);
        while !reader.is_at_end() {
            if limb as usize >= FAR_LIMBS {
                return Err(reader.out_of_range("digit", limb));
            }
            let digit = u32::from_le_bytes(reader.array()?);
            self.deposit(limb, u128::from(digit), flags & IS_NEGATIVE != 0);
            limb += 1;
        }
        Ok(())
    }
}
