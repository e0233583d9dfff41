//! Mean and variance from exact sums.

use std::cmp::Ordering;

use super::digits::Digits;
use super::{ExactSum, UNIT_LIMB};

/// Which variance: that of a sample (divided by `n - 1`) or of a whole population (by `n`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Divisor {
    /// That of a sample: divided by `n - 1`.
    Sample,
    /// That of a whole population: divided by `n`.
    Population,
}

/// The double nearest to the mean of `count` values with that sum, ties to even.
///
/// Exact sums beyond the largest double are no obstacle. `None` unless `count > 0`.
pub fn mean(count: i64, sum: &ExactSum) -> Option<f64> {
    if count <= 0 {
        return None;
    }
    Some(sum.non_finite_value().unwrap_or_else(|| sum.digits().divided_by(&[count as u64]).value()))
}

/// The double nearest to the variance of `count` values with that sum and that sum of squares.
///
/// `(count * squares - sum * sum) / (count * (count - 1))` is computed without rounding, so that no
/// cancellation spoils the result, however small the variance is beside the mean. NaN if any value
/// is not finite. `None` for fewer than two values (sample) or one (population).
pub fn variance(count: i64, sum: &ExactSum, squares: &ExactSum, divisor: Divisor) -> Option<f64> {
    let reduced = count - i64::from(divisor == Divisor::Sample);
    if count <= 0 || reduced <= 0 {
        return None;
    }
    if sum.non_finite_value().is_some() || squares.non_finite_value().is_some() {
        return Some(f64::NAN);
    }
    let spread = centered(count, [sum, sum], squares);
    // It can be below zero only while retractions are ahead of their insertions, when no variance means anything.
    if spread.negative {
        return Some(0.0);
    }
    Some(spread.divided_by(&[count as u64, reduced as u64]).value())
}

/// The double nearest to the sum over `count` pairs of the products of both deviations from the mean, divided
/// by `divisor`, where `sums` and `products` are the sums of the two and of their products.
///
/// Computed without rounding before the last step, as [`variance`] is, which it is for pairs of the same value
/// twice. NaN if any value is not finite. `None` unless `count > 0` and `divisor > 0`.
pub fn comoment(count: i64, sums: [&ExactSum; 2], products: &ExactSum, divisor: i64) -> Option<f64> {
    if count <= 0 || divisor <= 0 {
        return None;
    }
    if [sums[0], sums[1], products].iter().any(|sum| sum.non_finite_value().is_some()) {
        return Some(f64::NAN);
    }
    Some(centered(count, sums, products).divided_by(&[count as u64, divisor as u64]).value())
}

/// `count * products - sums[0] * sums[1]`.
fn centered(count: i64, sums: [&ExactSum; 2], products: &ExactSum) -> Digits {
    let (left, right, products) = (sums[0].digits(), sums[1].digits(), products.digits());
    let count_digits = [count as u32, (count as u64 >> 32) as u32];
    let minuend = multiply(&products.digits, &count_digits);
    let subtrahend = multiply(&left.digits, &right.digits);
    let first = left.first + right.first - UNIT_LIMB as i32;
    difference(
        Digits::trimmed(products.negative, products.first, minuend),
        Digits::trimmed(left.negative != right.negative, first, subtrahend),
    )
}

fn multiply(left: &[u32], right: &[u32]) -> Vec<u32> {
    let mut product = vec![0_u32; left.len() + right.len()];
    for (i, l) in left.iter().enumerate() {
        let mut carry = 0_u64;
        for (digit, r) in product[i..].iter_mut().zip(right) {
            let wide = u64::from(*l) * u64::from(*r) + u64::from(*digit) + carry;
            *digit = wide as u32;
            carry = wide >> 32;
        }
        product[i + right.len()] = carry as u32;
    }
    product
}

/// `left - right`.
fn difference(left: Digits, mut right: Digits) -> Digits {
    if left.is_zero() || right.is_zero() {
        right.negative = !right.negative && !right.is_zero();
        return if left.is_zero() { right } else { left };
    }
    let first = left.first.min(right.first);
    let end = |digits: &Digits| digits.first + digits.digits.len() as i32;
    // One digit more takes what a sum carries.
    let length = (end(&left).max(end(&right)) - first) as usize + 1;
    let place = |digits: &Digits| {
        let mut placed = vec![0_u32; length];
        let from = (digits.first - first) as usize;
        placed[from..from + digits.digits.len()].copy_from_slice(&digits.digits);
        placed
    };
    let (mut large, mut small) = (place(&left), place(&right));
    if left.negative != right.negative {
        add(&mut large, &small);
        return Digits::trimmed(left.negative, first, large);
    }
    let is_swapped = large.iter().rev().cmp(small.iter().rev()) == Ordering::Less;
    if is_swapped {
        std::mem::swap(&mut large, &mut small);
    }
    subtract(&mut large, &small);
    Digits::trimmed(left.negative != is_swapped, first, large)
}

/// Adds `other`, of the same length, whose sum does not carry beyond it.
fn add(digits: &mut [u32], other: &[u32]) {
    let mut carry = 0_u64;
    for (digit, other) in digits.iter_mut().zip(other) {
        let wide = u64::from(*digit) + u64::from(*other) + carry;
        (*digit, carry) = (wide as u32, wide >> 32);
    }
}

/// Subtracts `other`, of the same length and not greater.
fn subtract(digits: &mut [u32], other: &[u32]) {
    let mut borrow = false;
    for (digit, other) in digits.iter_mut().zip(other) {
        let (once, under) = digit.overflowing_sub(*other);
        let (twice, again) = once.overflowing_sub(u32::from(borrow));
        (*digit, borrow) = (twice, under || again);
    }
}
