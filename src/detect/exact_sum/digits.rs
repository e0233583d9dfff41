//! Long numbers in sign and magnitude, and their rounding to doubles.

use super::{FAR_LIMBS, UNIT_LIMB};

/// A number `±Σ digits[i] * 2^(32 * (first + i - UNIT_LIMB))`; no digit at either end is zero.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Digits {
    pub(super) negative: bool,
    /// Place of the first digit; 0 when there is none. Negative below the square of any double.
    pub(super) first: i32,
    pub(super) digits: Vec<u32>,
}

impl Digits {
    /// A number from limbs of any sign and size, the first of which stands at `first`.
    pub(super) fn from_limbs(limbs: &[i64], first: usize) -> Self {
        debug_assert!(first + limbs.len() <= FAR_LIMBS);
        let mut digits = Vec::with_capacity(limbs.len() + 2);
        let mut carry = 0_i64;
        for limb in limbs {
            // Limb and carry may not fit one word together: add low halves, then high ones.
            let low = (limb & 0xffff_ffff) + (carry & 0xffff_ffff);
            digits.push(low as u32);
            carry = (limb >> 32) + (carry >> 32) + (low >> 32);
        }
        let negative = carry < 0;
        if negative {
            // From two's complement: the number is -(2^k * -carry - digits).
            let mut borrow = true;
            for digit in &mut digits {
                let (complement, again) = (!*digit).overflowing_add(u32::from(borrow));
                (*digit, borrow) = (complement, again);
            }
            carry = !carry + i64::from(borrow);
        }
        digits.extend([carry as u32, (carry >> 32) as u32]);
        Self::trimmed(negative, first as i32, digits)
    }

    /// The number without zeros at either end.
    pub(super) fn trimmed(negative: bool, first: i32, mut digits: Vec<u32>) -> Self {
        let end = digits.iter().rposition(|digit| *digit != 0).map_or(0, |last| last + 1);
        digits.truncate(end);
        let zeros = digits.iter().take_while(|digit| **digit == 0).count();
        digits.drain(..zeros);
        if digits.is_empty() {
            return Self { negative: false, first: 0, digits };
        }
        Self { negative, first: first + zeros as i32, digits }
    }

    pub(super) fn is_zero(&self) -> bool {
        self.digits.is_empty()
    }

    /// The nearest double, ties to even; infinite when it is too large.
    pub(super) fn value(&self) -> f64 {
        const EXPONENT_MIN: i32 = -1022;
        let Some((leading, sticky, exponent)) = self.leading() else { return 0.0 };
        if exponent > 1023 {
            return if self.negative { f64::NEG_INFINITY } else { f64::INFINITY };
        }
        let magnitude = if exponent >= EXPONENT_MIN {
            // A mantissa rounded up to 2^53 carries into the exponent, as it should.
            let fraction = round_to(leading, sticky, 53) - (1 << 52);
            (((exponent + 1023) as u64) << 52) + fraction
        } else {
            round_to(leading, sticky, 53 - (EXPONENT_MIN - exponent))
        };
        f64::from_bits(magnitude | u64::from(self.negative) << 63)
    }

    /// The quotient by all of `divisors`, none of them zero, so far that it rounds as the exact one
    /// does: at least 65 bits, and a bit below them that stands for the rest, if there is any.
    pub(super) fn divided_by(mut self, divisors: &[u64]) -> Self {
        if self.is_zero() {
            return self;
        }
        // The first digit may have but one bit, and each divisor may take 64.
        let places = 3 + 2 * divisors.len();
        self.digits.splice(..0, std::iter::repeat_n(0, places));
        let mut is_inexact = false;
        for divisor in divisors {
            is_inexact |= divide(&mut self.digits, *divisor) != 0;
        }
        self.digits.insert(0, u32::from(is_inexact));
        Self::trimmed(self.negative, self.first - places as i32 - 1, self.digits)
    }

    /// The 64 leading bits, whether any bit below them is set, and the exponent of the first.
    fn leading(&self) -> Option<(u64, bool, i32)> {
        let last = self.digits.len().checked_sub(1)?;
        let digit = |below: usize| last.checked_sub(below).map_or(0, |index| self.digits[index]);
        let top = u128::from(digit(0)) << 64 | u128::from(digit(1)) << 32 | u128::from(digit(2));
        let zeros = digit(0).leading_zeros();
        let aligned = top << zeros;
        let rest = self.digits.get(..last.saturating_sub(2)).unwrap_or_default();
        let sticky = aligned as u32 != 0 || rest.iter().any(|digit| *digit != 0);
        let exponent = 32 * (self.first + last as i32 - UNIT_LIMB as i32) + 31 - zeros as i32;
        Some(((aligned >> 32) as u64, sticky, exponent))
    }
}

/// Divides in place and returns the remainder.
fn divide(digits: &mut [u32], divisor: u64) -> u64 {
    let mut remainder = 0_u64;
    for digit in digits.iter_mut().rev() {
        if divisor <= u64::from(u32::MAX) {
            let dividend = remainder << 32 | u64::from(*digit);
            (*digit, remainder) = ((dividend / divisor) as u32, dividend % divisor);
        } else {
            let (dividend, divisor) = (u128::from(remainder) << 32 | u128::from(*digit), u128::from(divisor));
            (*digit, remainder) = ((dividend / divisor) as u32, (dividend % divisor) as u64);
        }
    }
    remainder
}

/// The first `keep` of 64 bits, rounded half to even; `sticky` tells of bits after them.
fn round_to(bits: u64, sticky: bool, keep: i32) -> u64 {
    if keep < 0 {
        return 0;
    }
    let drop = 64 - keep;
    let (kept, rest) = (u128::from(bits) >> drop, u128::from(bits) & ((1 << drop) - 1));
    let half = 1_u128 << (drop - 1);
    let up = rest > half || rest == half && (sticky || kept & 1 == 1);
    kept as u64 + u64::from(up)
}
