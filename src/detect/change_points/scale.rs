//! What a series is measured in: its centre, its scale and the price of a change point.

use super::{Basis, Cost, Options, Penalty, Scaling};

/// Steps in which a scale grows to its double where the penalty is in its units: within 1.1 %.
const SCALE_STEPS_MEAN: f64 = 32.0;
/// The same where it matters only for what is added to variances.
const SCALE_STEPS_MEAN_VARIANCE: f64 = 1.0;
/// Binary digits of a length that a basis has; the others are 0.
const BASIS_DIGITS: u32 = 5;
/// Standard deviations of a normal distribution in the median of its absolute values.
const DEVIATIONS_PER_MEDIAN: f64 = 1.482_602_218_505_602;
/// Largest scaled value: squares of many such still add up to something finite.
const SCALED_MAX: f64 = 1e140;

/// The centre, the scale and the penalty that a segmentation is computed with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Measure {
    centre: f64,
    pub(super) scale: f64,
    /// Price of a segment, in squared scales or twice log-likelihoods.
    pub(super) penalty: f64,
}

impl Measure {
    /// That of a series, or of the part of it that is the basis.
    pub(super) fn of(values: &[f64], options: &Options) -> Self {
        let mut buffer = values.to_vec();
        let scale = match options.scaling {
            Scaling::Raw => 1.0,
            Scaling::Deviation => deviation(values),
            Scaling::Differences => deviation_of_differences(&mut buffer),
        };
        let scale = match options.basis {
            Basis::Whole => scale,
            Basis::Leading => rounded(scale, options.cost),
        };
        // A series that does not move, or hardly.
        let scale = if scale.is_normal() { scale } else { 1.0 };
        buffer.clear();
        buffer.extend_from_slice(values);
        // Whole scales, so that the centre, which matters only for rounding, stays the same when a few values
        // come.
        let centre = (median(&mut buffer) / scale).round() * scale;
        // One zero: measures that are equal are to give the same.
        let centre = if centre.is_finite() { centre + 0.0 } else { 0.0 };
        let len = match options.basis {
            Basis::Whole => values.len(),
            // Up, so that a penalty is never less than its criterion asks for; it changes with each doubling.
            Basis::Leading => values.len().next_power_of_two(),
        };
        Self { centre, scale, penalty: penalty(options, len) }
    }

    pub(super) fn scaled(&self, value: f64) -> f64 {
        ((value - self.centre) / self.scale).clamp(-SCALED_MAX, SCALED_MAX)
    }

    pub(super) fn unscaled(&self, scaled: f64) -> f64 {
        self.centre + scaled * self.scale
    }
}

/// Values at the begin of a series of `len` that its measure is taken from.
pub(super) fn basis_len(basis: Basis, len: usize) -> usize {
    match basis {
        Basis::Whole => len,
        Basis::Leading => {
            let cleared = len.checked_ilog2().unwrap_or(0).saturating_sub(BASIS_DIGITS - 1);
            len >> cleared << cleared
        }
    }
}

/// Price of a segment.
fn penalty(options: &Options, len: usize) -> f64 {
    let length_ln = (len.max(2) as f64).ln();
    // A change point adds its place and the parameters of a segment.
    let parameters = match options.cost {
        Cost::Mean => 2.0,
        Cost::MeanVariance => 3.0,
    };
    match options.penalty {
        Penalty::Aic => 2.0 * parameters,
        Penalty::Bic => parameters * length_ln,
        Penalty::Mbic => (parameters + 1.0) * length_ln,
        Penalty::Value(value) => value,
    }
}

/// The nearest of the scales there are.
fn rounded(scale: f64, cost: Cost) -> f64 {
    let steps_per_octave = match cost {
        Cost::Mean => SCALE_STEPS_MEAN,
        Cost::MeanVariance => SCALE_STEPS_MEAN_VARIANCE,
    };
    ((scale.log2() * steps_per_octave).round() / steps_per_octave).exp2()
}

/// The lower median; 0 of none. Reorders the values.
fn median(values: &mut [f64]) -> f64 {
    let Some(last) = values.len().checked_sub(1) else { return 0.0 };
    *values.select_nth_unstable_by(last / 2, f64::total_cmp).1
}

/// Standard deviation, of values of any size.
fn deviation(values: &[f64]) -> f64 {
    let largest = values.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
    if largest == 0.0 {
        return 0.0;
    }
    let count = values.len() as f64;
    let mean = values.iter().map(|value| value / largest).sum::<f64>() / count;
    let squares = values.iter().map(|value| (value / largest - mean).powi(2)).sum::<f64>();
    (squares / count).sqrt() * largest
}

/// Standard deviation of the noise by the median absolute difference of neighbours; by all differences where
/// most of them are none. Overwrites the values.
fn deviation_of_differences(values: &mut [f64]) -> f64 {
    for at in 1..values.len() {
        values[at - 1] = (values[at] - values[at - 1]).abs().min(f64::MAX);
    }
    let count = values.len().saturating_sub(1);
    let by_median = median(&mut values[..count]) * DEVIATIONS_PER_MEDIAN;
    let of_differences = if by_median > 0.0 { by_median } else { deviation(&values[..count]) };
    of_differences / std::f64::consts::SQRT_2
}
