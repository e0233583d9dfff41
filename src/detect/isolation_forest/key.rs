//! Values as trees compare them.

/// Bits at the end of a double that trees do not see. What a node compares and the feature that it
/// compares are together one integer of 64 bits.
pub(super) const HIDDEN_BITS: u32 = 16;
const HIDDEN: u64 = (1 << HIDDEN_BITS) - 1;

/// The greatest threshold: all finite values that end in [`HIDDEN_BITS`] zeros are at or below it.
pub(super) const THRESHOLD_MAX: f64 = f64::from_bits(f64::MAX.to_bits() & !HIDDEN);

/// An integer that orders as the numbers do: zeros are one, and a missing value is the lowest number. It is the
/// negative for the negative, and so ends in as many zeros as the double.
#[inline(always)]
fn order(value: f64) -> i64 {
    let bits = if value.is_nan() { f64::NEG_INFINITY } else { value }.to_bits() as i64;
    let sign = bits >> 63;
    ((bits & i64::MAX) ^ sign) - sign
}

/// The least double that ends in [`HIDDEN_BITS`] zeros and is not below `value`; missing values are
/// -infinity.
#[inline(always)]
pub(super) fn normal(value: f64) -> f64 {
    let order = (order(value) + HIDDEN as i64) & !(HIDDEN as i64);
    f64::from_bits(order.unsigned_abs() | (order as u64 & 1 << 63))
}

/// Whether a threshold can be that of a node.
pub(super) fn is_threshold(value: f64) -> bool {
    value <= THRESHOLD_MAX && value.to_bits() & HIDDEN == 0
}

/// A feature and its threshold as one integer.
pub(super) fn node_key(feature: u16, threshold: f64) -> u64 {
    (order(threshold) as u64 ^ 1 << 63) & !HIDDEN | u64::from(feature)
}

/// The feature of a [`node_key`].
#[inline(always)]
pub(super) fn feature(node_key: u64) -> u16 {
    node_key as u16
}

/// An integer that is above the [`node_key`] of every feature and threshold that `value` is above, and
/// of no other.
#[inline(always)]
pub(super) fn value_key(value: f64) -> u64 {
    // At or above the threshold plus 1, and so, less 1, not below the zeros that the feature is in.
    ((order(value) as u64 ^ 1 << 63) - 1) | HIDDEN
}
