//! Sums of doubles without rounding: they depend neither on order nor on grouping, and a value that
//! is added and then retracted leaves no trace.
//!
//! A sum is one long fixed-point number, in limbs 32 bits apart that are kept in 64 bits each, so
//! that billions of values can be added before a carry has to be passed on (Kulisch's accumulator
//! in the form of Neal, *Fast exact summation using small and large superaccumulators*, 2015). Only
//! eight limbs, 256 bits, stand in the structure itself, around the first value; what falls outside
//! goes to a full-length number on the heap that most sums never need.
//!
//! Squares are summed exactly as well, from which `moments` computes means and variances that are
//! as good as if computed with unlimited precision.

mod codec;
mod digits;
pub mod moments;
#[cfg(test)]
mod tests;

use digits::Digits;

/// Limbs in the structure itself.
const NEAR_LIMBS: usize = 8;
/// Limbs of the full-length number: squares of the largest doubles, 2^200 times.
const FAR_LIMBS: usize = 140;
/// The limb whose unit is 1: the square of the smallest double is 2^-2148, above limb 0's 2^-2176.
const UNIT_LIMB: u32 = 68;
/// Position of the lowest bit of a double with biased exponent 0, were it not subnormal.
const POSITION_MIN: u32 = UNIT_LIMB * 32 - 1075;
/// Values added between two carries: each changes a limb by less than 2^32.
const PENDING_MAX: u32 = 1 << 30;

/// What does not fit near, and what is not a number.
#[derive(Clone, Debug)]
struct Far {
    limbs: [i64; FAR_LIMBS],
    pending: u32,
    positive_infinities: i64,
    negative_infinities: i64,
    nans: i64,
}

/// A sum of any number of doubles, exact until it is read with [`ExactSum::value`].
///
/// Infinities and NaNs are counted aside, so that they, too, can be retracted. Equal when the exact
/// sums and these counts are.
///
/// ```
/// use undercurrent::detect::exact_sum::ExactSum;
/// let mut sum = ExactSum::default();
/// for value in [0.1, 1e300, 0.2, -1e300] {
///     sum.add(value, 1);
/// }
/// assert_eq!(sum.value(), 0.1 + 0.2);
/// ```
#[derive(Clone, Debug, Default)]
pub struct ExactSum {
    near: [i64; NEAR_LIMBS],
    /// Position of `near[0]` among the far limbs.
    near_first: u32,
    pending: u32,
    far: Option<Box<Far>>,
}

/// A finite double as `±mantissa * 2^shift * 2^(32 * (limb - UNIT_LIMB))`, the shift below 32.
struct Parts {
    mantissa: u64,
    position: u32,
    negative: bool,
}

#[inline(always)]
fn parts(value: f64) -> Option<Parts> {
    let bits = value.to_bits();
    let exponent = (bits >> 52) as u32 & 0x7ff;
    if exponent == 0x7ff {
        return None;
    }
    let mantissa = bits & ((1 << 52) - 1) | u64::from(exponent != 0) << 52;
    Some(Parts { mantissa, position: exponent.max(1) + POSITION_MIN, negative: bits >> 63 != 0 })
}

/// `-value` if `mask` is -1, `value` if it is 0.
#[inline(always)]
fn negate_if(value: u64, mask: i64) -> i64 {
    (value as i64 ^ mask) - mask
}

impl ExactSum {
    /// Adds `value` `weight` times; a negative weight retracts.
    #[inline(always)]
    pub fn add(&mut self, value: f64, weight: i64) {
        let Some(Parts { mantissa, position, negative }) = parts(value) else {
            return self.add_non_finite(value, weight);
        };
        let (limb, shift) = (position / 32, position % 32);
        let index = limb.wrapping_sub(self.near_first) as usize;
        if index >= NEAR_LIMBS - 2 || weight.unsigned_abs() != 1 {
            return self.add_multiple(mantissa, weight, position, negative);
        }
        let mask = -i64::from(negative) ^ (weight >> 63);
        self.near[index] += negate_if(u64::from((mantissa << shift) as u32), mask);
        self.near[index + 1] += negate_if(u64::from((mantissa >> (32 - shift)) as u32), mask);
        self.near[index + 2] += negate_if(mantissa >> 32 >> (32 - shift), mask);
        self.count_pending(1);
    }

    /// Adds `value * value` exactly, `weight` times; a negative weight retracts.
    #[inline(always)]
    pub fn add_square(&mut self, value: f64, weight: i64) {
        let Some(Parts { mantissa, position, .. }) = parts(value) else {
            return self.add_non_finite(value * value, weight);
        };
        let position = 2 * position - 32 * UNIT_LIMB;
        let (limb, shift) = (position / 32, position % 32);
        let square = u128::from(mantissa) * u128::from(mantissa);
        let index = limb.wrapping_sub(self.near_first) as usize;
        if index >= NEAR_LIMBS - 4 || weight.unsigned_abs() != 1 {
            return self.add_wide(square, weight, position, false);
        }
        let mask = weight >> 63;
        let (low, high) = (square as u64, (square >> 64) as u64);
        let middle = low >> 32 >> (32 - shift) | high << shift;
        self.near[index] += negate_if(u64::from((low << shift) as u32), mask);
        self.near[index + 1] += negate_if(u64::from((low >> (32 - shift)) as u32), mask);
        self.near[index + 2] += negate_if(u64::from(middle as u32), mask);
        self.near[index + 3] += negate_if(u64::from((high >> (32 - shift)) as u32), mask);
        self.near[index + 4] += negate_if(high >> 32 >> (32 - shift), mask);
        self.count_pending(1);
    }

    /// Adds `left * right` exactly, `weight` times; a negative weight retracts.
    pub fn add_product(&mut self, left: f64, right: f64, weight: i64) {
        let (Some(l), Some(r)) = (parts(left), parts(right)) else {
            return self.add_non_finite(left * right, weight);
        };
        let product = u128::from(l.mantissa) * u128::from(r.mantissa);
        self.add_wide(product, weight, l.position + r.position - 32 * UNIT_LIMB, l.negative != r.negative);
    }

    /// Adds the exact sum `other`.
    pub fn merge(&mut self, other: &Self) {
        if self.near == [0; NEAR_LIMBS] {
            (self.near_first, self.pending) = (other.near_first, 0);
        }
        if self.near_first == other.near_first && self.pending + other.pending < PENDING_MAX {
            for (ours, theirs) in self.near.iter_mut().zip(other.near) {
                *ours += theirs;
            }
            self.pending += other.pending;
        } else {
            for (index, limb) in other.near.iter().enumerate() {
                self.deposit(other.near_first + index as u32, u128::from(limb.unsigned_abs()), *limb < 0);
            }
        }
        if let Some(far) = &other.far {
            for (index, limb) in far.limbs.iter().enumerate() {
                self.deposit(index as u32, u128::from(limb.unsigned_abs()), *limb < 0);
            }
            if far.positive_infinities != 0 || far.negative_infinities != 0 || far.nans != 0 {
                self.count_non_finite(far.positive_infinities, far.negative_infinities, far.nans);
            }
        }
    }

    /// The double nearest to the exact sum, ties to the even one.
    ///
    /// An exact zero is `+0.0`, also as a sum of nothing but `-0.0`. A sum beyond the largest double
    /// is infinite; that partial sums were beyond it does not matter. NaN if the sum holds a NaN or
    /// infinities of both signs.
    pub fn value(&self) -> f64 {
        self.non_finite_value().unwrap_or_else(|| self.digits().value())
    }

    /// Whether nothing is left: the exact sum is zero and no infinity or NaN is counted.
    pub fn is_zero(&self) -> bool {
        self.non_finite() == [0; 3] && self.digits().is_zero()
    }

    /// Bytes held, on the heap and off.
    pub fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.far.as_ref().map_or(0, |_| size_of::<Far>())
    }

    /// The value of a sum that is not finite.
    fn non_finite_value(&self) -> Option<f64> {
        match self.non_finite() {
            [0, 0, 0] => None,
            [_, 0, 0] => Some(f64::INFINITY),
            [0, _, 0] => Some(f64::NEG_INFINITY),
            _ => Some(f64::NAN),
        }
    }

    /// Counts of positive infinities, negative infinities and NaNs.
    fn non_finite(&self) -> [i64; 3] {
        let counts = |far: &Far| [far.positive_infinities, far.negative_infinities, far.nans];
        self.far.as_deref().map_or([0; 3], counts)
    }

    /// The exact sum with all carries passed on.
    fn digits(&self) -> Digits {
        let Some(far) = &self.far else {
            return Digits::from_limbs(&self.near, self.near_first as usize);
        };
        let mut limbs = far.limbs;
        carry(&mut limbs);
        let mut near = self.near;
        carry(&mut near);
        for (index, limb) in near.iter().enumerate() {
            limbs[self.near_first as usize + index] += limb;
        }
        Digits::from_limbs(&limbs, 0)
    }

    #[inline(always)]
    fn count_pending(&mut self, count: u32) {
        self.pending += count;
        if self.pending >= PENDING_MAX {
            self.settle();
        }
    }

    /// Passes carries on, so that the limbs have room for [`PENDING_MAX`] more values.
    #[cold]
    #[inline(never)]
    fn settle(&mut self) {
        carry(&mut self.near);
        self.pending = 1;
        // The top limb keeps what would be carried out of it: move all away before that is too much.
        if self.near[NEAR_LIMBS - 1].unsigned_abs() >= 1 << 40 {
            let near = std::mem::take(&mut self.near);
            for (index, limb) in near.iter().enumerate() {
                let magnitude = u128::from(limb.unsigned_abs());
                self.deposit_far(self.near_first + index as u32, magnitude, *limb < 0);
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn add_multiple(&mut self, mantissa: u64, weight: i64, position: u32, negative: bool) {
        let product = u128::from(mantissa) * u128::from(weight.unsigned_abs());
        self.deposit_at(position, product, negative != (weight < 0));
    }

    #[cold]
    #[inline(never)]
    fn add_wide(&mut self, product: u128, weight: i64, position: u32, negative: bool) {
        let weight_size = u128::from(weight.unsigned_abs());
        let negative = negative != (weight < 0);
        self.deposit_at(position, (product & u128::from(u64::MAX)) * weight_size, negative);
        self.deposit_at(position + 64, (product >> 64) * weight_size, negative);
    }

    /// Adds or subtracts `magnitude * 2^(position - 32 * UNIT_LIMB)`.
    fn deposit_at(&mut self, position: u32, magnitude: u128, negative: bool) {
        let (limb, shift) = (position / 32, position % 32);
        self.deposit(limb, (magnitude & u128::from(u64::MAX)) << shift, negative);
        self.deposit(limb + 2, (magnitude >> 64) << shift, negative);
    }

    /// Adds or subtracts a magnitude below 2^96 in units of `limb`.
    fn deposit(&mut self, limb: u32, magnitude: u128, negative: bool) {
        if magnitude == 0 {
            return;
        }
        if self.near == [0; NEAR_LIMBS] {
            // Room for values 2^64 times smaller than the first, and as much above.
            self.near_first = limb.saturating_sub(2).min((FAR_LIMBS - NEAR_LIMBS) as u32);
        }
        let index = limb.wrapping_sub(self.near_first) as usize;
        if index >= NEAR_LIMBS - 2 {
            return self.deposit_far(limb, magnitude, negative);
        }
        add_to_limbs(&mut self.near[index..index + 3], magnitude, negative);
        self.count_pending(1);
    }

    fn deposit_far(&mut self, limb: u32, magnitude: u128, negative: bool) {
        let far = self.far_mut();
        debug_assert!(magnitude >> 96 == 0);
        add_to_limbs(&mut far.limbs[limb as usize..], magnitude, negative);
        far.pending += 1;
        if far.pending >= PENDING_MAX {
            far.pending = 1;
            carry(&mut far.limbs);
        }
    }

    #[cold]
    #[inline(never)]
    fn add_non_finite(&mut self, value: f64, weight: i64) {
        match value {
            f64::INFINITY => self.count_non_finite(weight, 0, 0),
            f64::NEG_INFINITY => self.count_non_finite(0, weight, 0),
            _ => self.count_non_finite(0, 0, weight),
        }
    }

    fn count_non_finite(&mut self, positive_infinities: i64, negative_infinities: i64, nans: i64) {
        let far = self.far_mut();
        far.positive_infinities = far.positive_infinities.wrapping_add(positive_infinities);
        far.negative_infinities = far.negative_infinities.wrapping_add(negative_infinities);
        far.nans = far.nans.wrapping_add(nans);
    }

    fn far_mut(&mut self) -> &mut Far {
        self.far.get_or_insert_with(|| {
            let limbs = [0; FAR_LIMBS];
            Box::new(Far { limbs, pending: 0, positive_infinities: 0, negative_infinities: 0, nans: 0 })
        })
    }
}

impl PartialEq for ExactSum {
    fn eq(&self, other: &Self) -> bool {
        self.non_finite() == other.non_finite() && self.digits() == other.digits()
    }
}

/// Adds or subtracts the digits of a magnitude below 2^96, each to its limb.
fn add_to_limbs(limbs: &mut [i64], magnitude: u128, negative: bool) {
    for (index, limb) in limbs.iter_mut().take(3).enumerate() {
        *limb += negate_if(u64::from((magnitude >> (32 * index)) as u32), -i64::from(negative));
    }
}

/// Brings all limbs but the last into `0..2^32`, by passing carries on.
fn carry(limbs: &mut [i64]) {
    for index in 1..limbs.len() {
        limbs[index] += limbs[index - 1] >> 32;
        limbs[index - 1] &= 0xffff_ffff;
    }
}
