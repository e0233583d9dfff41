//! Doubles as integers of the same order.

/// An integer that orders as [`f64::total_cmp`] does, in which `-0.0` is below `0.0` and NaNs are
/// beyond the infinities, by sign: also SQL's `ORDER BY` here.
///
/// NaNs of one sign are one value, so that neither `i64::MIN` nor `i64::MAX` is ever a key.
#[inline(always)]
pub fn order_key(value: f64) -> i64 {
    let value = if value.is_nan() { f64::NAN.copysign(value) } else { value };
    flip(value.to_bits() as i64)
}

/// The double that has this [`order_key`].
#[inline(always)]
pub fn from_order_key(key: i64) -> f64 {
    f64::from_bits(flip(key) as u64)
}

/// Turns the order of negative numbers around; its own inverse.
#[inline(always)]
fn flip(bits: i64) -> i64 {
    bits ^ ((bits >> 63) as u64 >> 1) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_order_as_doubles() {
        let min = f64::from_bits(1);
        let mut values =
            vec![-f64::NAN, f64::NEG_INFINITY, -f64::MAX, -1.0, -min, -0.0, 0.0, min, 1.0, f64::MAX];
        values.extend([f64::INFINITY, f64::NAN]);
        let keys: Vec<i64> = values.iter().map(|value| order_key(*value)).collect();
        assert!(keys.is_sorted_by(|left, right| left < right));
        assert!(
            keys.iter().zip(&values).all(|(key, value)| from_order_key(*key).to_bits() == value.to_bits())
        );
        assert_eq!(order_key(f64::from_bits(i64::MAX as u64)), order_key(f64::NAN));
        assert_eq!(order_key(f64::from_bits(u64::MAX)), order_key(-f64::NAN));
    }
}
