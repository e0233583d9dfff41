//! How far values are spread around their middle.

/// How the spread of values is measured, in their units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Deviation {
    /// The standard deviation of a sample, around the mean.
    Standard,
    /// The median distance from the median, times [`MAD_TO_DEVIATION`]: no less than half of the values can spoil it.
    Robust,
}

/// The standard deviation of a normal distribution whose median distance from the median is 1.
pub const MAD_TO_DEVIATION: f64 = 1.4826;

/// The deviation of values without NaN; `None` for fewer than two.
///
/// Sums are in the order of the values.
pub fn deviation(values: &[f64], kind: Deviation) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    Some(match kind {
        Deviation::Standard => {
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
            (squares / (values.len() - 1) as f64).sqrt()
        }
        Deviation::Robust => {
            let mut distances = values.to_vec();
            let middle = median(&mut distances);
            distances.iter_mut().for_each(|value| *value = (*value - middle).abs());
            median(&mut distances) * MAD_TO_DEVIATION
        }
    })
}

/// The median of one or more values, which it reorders: the mean of the middle two of an even number.
fn median(values: &mut [f64]) -> f64 {
    let (middle, count) = (values.len() / 2, values.len());
    let (below, upper, _) = values.select_nth_unstable_by(middle, f64::total_cmp);
    let lower = below.iter().copied().max_by(f64::total_cmp).filter(|_| count.is_multiple_of(2));
    mean_of(lower.unwrap_or(*upper), *upper)
}

/// The mean of two values, which does not overflow, and is exactly the value if they are equal.
pub(super) fn mean_of(left: f64, right: f64) -> f64 {
    if left == right { left } else { left / 2.0 + right / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deviations_are_around_the_middle() {
        assert_eq!(deviation(&[1.0, 3.0], Deviation::Standard), Some(2.0_f64.sqrt()));
        assert_eq!(deviation(&[5.0, 1.0, 2.0, 1e9, 3.0], Deviation::Robust), Some(2.0 * MAD_TO_DEVIATION));
        assert_eq!(deviation(&[4.0, 1.0, 2.0, 8.0], Deviation::Robust), Some(1.5 * MAD_TO_DEVIATION));
        assert_eq!(deviation(&[7.0; 9], Deviation::Robust), Some(0.0));
        assert_eq!(deviation(&[7.0; 9], Deviation::Standard), Some(0.0));
        assert_eq!(deviation(&[7.0], Deviation::Standard), None);
        assert_eq!(deviation(&[], Deviation::Robust), None);
    }
}
