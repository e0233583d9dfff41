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
    let (sum, squares) = (sum.digits(), squares.digits());
    let count_digits = [count as u32, (count as u64 >> 32) as u32];
    let minuend = multiply(&squares.digits, &count_digits);
    let subtrahend = multiply(&sum.digits, &sum.digits);
    let difference = subtract(minuend, squares.first, &subtrahend, 2 * sum.first - UNIT_LIMB as i32);
    Some(difference.divided_by(&[count as u64, reduced as u64]).value())
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

/// `minuend - subtrahend`, or zero if that is negative: so it can be only while retractions are
/// ahead of their insertions, when no variance means anything.
fn subtract(minuend: Vec<u32>, minuend_first: i32, subtrahend: &[u32], subtrahend_first: i32) -> Digits {
    let subtrahend = Digits::trimmed(false, subtrahend_first, subtrahend.to_vec());
    let minuend = Digits::trimmed(false, minuend_first, minuend);
    if subtrahend.is_zero() {
        return minuend;
    }
    let first = if minuend.is_zero() { subtrahend.first } else { minuend.first.min(subtrahend.first) };
    let end = |digits: &Digits| digits.first + digits.digits.len() as i32;
    let length = (end(&minuend).max(end(&subtrahend)) - first) as usize;
    let place = |digits: &Digits| {
        let mut placed = vec![0_u32; length];
        let from = (digits.first - first).max(0) as usize;
        placed[from.min(length)..].iter_mut().zip(&digits.digits).for_each(|(to, digit)| *to = *digit);
        placed
    };
    let (mut left, right) = (place(&minuend), place(&subtrahend));
    if left.iter().rev().cmp(right.iter().rev()) != Ordering::Greater {
        return Digits::trimmed(false, 0, Vec::new());
    }
    let mut borrow = false;
    for (l, r) in left.iter_mut().zip(&right) {
        let (once, under) = l.overflowing_sub(*r);
        let (twice, again) = once.overflowing_sub(u32::from(borrow));
        (*l, borrow) = (twice, under || again);
    }
    Digits::trimmed(false, first, left)
}
