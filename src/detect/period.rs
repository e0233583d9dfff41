//! The period of a series, if it has one.
//!
//! Candidates are the peaks of two autocorrelations, computed by Fourier transforms: that of the series without
//! its linear trend, which sees slow cycles under noise, and that of the differences between neighbours, which
//! sees cycles under shifts of the level; outliers are drawn in first. A peak alone means little: noise that
//! wanders, as most telemetry does, has them too. So a candidate is tested by what a period is for: the moving
//! average over one period is taken away, which takes trends and shifts of the level with it, the rest is cut
//! into cycles, and any two of them must be alike. [`cycle_correlation`] is the mean correlation of two
//! different cycles. Cycles of a series without a period correlate by chance alone; allowing that neighbouring
//! points are so dependent that a cycle tells no more than four independent points would, that mean has a
//! standard deviation of `1 / sqrt(2 c (c - 1))` over `c` cycles. A period needs 3.2 times that, and at least
//! [`CORRELATION_MIN`].

use super::fourier;
use super::stl::fill_missing;

#[cfg(test)]
mod tests;

/// The least mean correlation between cycles of a period, however many there are.
pub const CORRELATION_MIN: f64 = 0.25;
/// Cycles that must be seen: one goes to the moving average.
pub const CYCLES_MIN: usize = 4;
/// The shortest period, in points, that is looked for.
const PERIOD_POINTS_MIN: usize = 3;
/// Standard deviations of the mean correlation of cycles that are alike by chance.
const SIGNIFICANCE: f64 = 3.2;
/// Peaks of each autocorrelation that are tested, the highest first.
const PEAKS_MAX: usize = 8;
/// Of periods that explain the series equally well but for this part, the shortest counts.
const EQUALLY_WELL: f64 = 0.9;
/// Values farther from the median than this many times the median distance are drawn in to there.
const OUTLIER: f64 = 9.0;

/// Where to look for a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeriodSearch<'a> {
    /// Any period of 3 points up to this many.
    UpTo(usize),
    /// One of these, in points.
    Among(&'a [usize]),
}

/// The period of an evenly spaced series, in points: the one whose cycles are most alike, or the shortest of those
/// that are nearly (to a tenth) as good, so that a day is found and not two days. `None` if no cycles are alike
/// beyond chance, or fewer than [`CYCLES_MIN`] of any were seen, or half of the values are missing (NaN or infinite).
///
/// Trends, single outliers and shifts of the level by a few amplitudes do not
/// matter; much noise may move what is found by a fiftieth. A day with a distinct weekend has a period of a
/// day as well as of a week; where cycles of a week are seen and more alike, the week is found.
/// `O(n log n)`.
///
/// ```
/// use undercurrent::detect::period::{PeriodSearch, find_period};
/// let values: Vec<f64> = (0..200).map(|i| f64::from(i) * 0.1 + f64::from(i % 12)).collect();
/// assert_eq!(find_period(&values, PeriodSearch::UpTo(50)), Some(12));
/// assert_eq!(find_period(&values, PeriodSearch::Among(&[10, 20])), None);
/// ```
pub fn find_period(values: &[f64], search: PeriodSearch<'_>) -> Option<usize> {
    let present = values.iter().filter(|value| value.is_finite()).count();
    if present * 2 <= values.len() {
        return None;
    }
    let filled = without_outliers(&fill_missing(values, 1));
    let longest = values.len() / CYCLES_MIN;
    let mut found: Vec<(usize, f64)> = match search {
        PeriodSearch::UpTo(max) => {
            let longest = max.min(longest);
            let differences: Vec<f64> = filled.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let candidates = [without_line(&filled), differences].into_iter().flat_map(|values| {
                let limit = longest.min(values.len() / 2);
                peaks(&autocorrelation(&without_outliers(&values)), limit)
            });
            candidates.map(|peak| climb(&filled, peak, longest)).collect()
        }
        PeriodSearch::Among(periods) => {
            let possible = periods.iter().filter(|period| (2..=longest).contains(*period));
            possible.map(|period| (*period, cycle_correlation(&filled, *period))).collect()
        }
    };
    found.retain(|(period, correlation)| *correlation >= threshold(values.len() / period - 1));
    let best = found.iter().map(|(_, correlation)| *correlation).reduce(f64::max)?;
    found.retain(|(_, correlation)| *correlation >= EQUALLY_WELL * best);
    let shortest = found.iter().map(|(period, _)| *period).min()?;
    // Nearly the same period may have been found from two peaks.
    found.retain(|(period, _)| *period <= shortest + shortest / 4);
    let order =
        |left: &(usize, f64), right: &(usize, f64)| left.1.total_cmp(&right.1).then(right.0.cmp(&left.0));
    found.into_iter().max_by(order).map(|(period, _)| period)
}

/// The least mean correlation that is not chance.
fn threshold(cycles: usize) -> f64 {
    let pairs = (cycles * cycles.saturating_sub(1)) as f64;
    (SIGNIFICANCE / (2.0 * pairs).sqrt()).max(CORRELATION_MIN)
}

/// How alike the cycles of `period` points are, after the moving average over a period is taken away: the mean
/// correlation of two different ones, at most 1. Zero for fewer than three whole cycles, and for a constant series.
///
/// Values must be finite; outliers are drawn in.
pub fn cycle_correlation(values: &[f64], period: usize) -> f64 {
    if period < 2 || values.len() / period < 3 {
        return 0.0;
    }
    let rest = without_outliers(&without_moving_average(values, period));
    let cycles = rest.len() / period;
    let used = &rest[rest.len() - cycles * period..];
    let squares: f64 = used.iter().map(|value| value * value).sum();
    let mut sums = vec![0.0; period];
    for cycle in used.chunks_exact(period) {
        sums.iter_mut().zip(cycle).for_each(|(sum, value)| *sum += value);
    }
    // The square of a sum holds each product of two different members twice, and their squares.
    let products = sums.iter().map(|sum| sum * sum).sum::<f64>() - squares;
    let correlation = products / (squares * (cycles - 1) as f64);
    if correlation.is_finite() { correlation } else { 0.0 }
}

/// The candidate near a peak whose cycles are most alike, and how much they are: noise moves peaks by some points.
fn climb(values: &[f64], peak: usize, longest: usize) -> (usize, f64) {
    let mut best = (peak, cycle_correlation(values, peak));
    for is_up in [true, false] {
        for distance in 1..=2 + peak / 50 {
            let period = if is_up { peak + distance } else { peak.saturating_sub(distance) };
            if !(PERIOD_POINTS_MIN..=longest).contains(&period) {
                break;
            }
            let correlation = cycle_correlation(values, period);
            if correlation > best.1 {
                best = (period, correlation);
            }
        }
    }
    best
}

/// The values less the line of least squares.
fn without_line(values: &[f64]) -> Vec<f64> {
    let count = values.len() as f64;
    let middle = (count - 1.0) / 2.0;
    let mean = values.iter().map(|value| value / count).sum::<f64>();
    let product: f64 = values.iter().enumerate().map(|(i, value)| (i as f64 - middle) * (value - mean)).sum();
    let slope = product * 12.0 / (count * (count * count - 1.0));
    values.iter().enumerate().map(|(i, value)| value - mean - slope * (i as f64 - middle)).collect()
}

/// The values less the mean of the period around each, as far as there is one.
fn without_moving_average(values: &[f64], period: usize) -> Vec<f64> {
    let is_even = period.is_multiple_of(2);
    let length = period + usize::from(is_even);
    let mut sum: f64 = values[..length].iter().sum();
    let mean = |first: usize, sum: f64| {
        // Of an even period, half of the point at either end.
        let ends = if is_even { (values[first] + values[first + period]) / 2.0 } else { 0.0 };
        values[first + length / 2] - (sum - ends) / period as f64
    };
    let mut rest = Vec::with_capacity(values.len() - length + 1);
    for first in 0..values.len() - length {
        rest.push(mean(first, sum));
        sum += values[first + length] - values[first];
    }
    rest.push(mean(values.len() - length, sum));
    rest
}

/// The values with outliers drawn in, unless more than half are one value.
fn without_outliers(values: &[f64]) -> Vec<f64> {
    if values.is_empty() {
        return vec![];
    }
    let mut sorted = values.to_vec();
    let middle = sorted.len() / 2;
    let median = *sorted.select_nth_unstable_by(middle, f64::total_cmp).1;
    sorted.iter_mut().for_each(|value| *value = (*value - median).abs());
    let distance = OUTLIER * *sorted.select_nth_unstable_by(middle, f64::total_cmp).1;
    let is_usable = distance > 0.0 && distance.is_finite() && median.is_finite();
    let draw =
        |value: &f64| if is_usable { value.clamp(median - distance, median + distance) } else { *value };
    values.iter().map(draw).collect()
}

/// Autocorrelation by lag, unbiased: each lag's sum is divided by how many products are in it.
fn autocorrelation(values: &[f64]) -> Vec<f64> {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let centred: Vec<f64> = values.iter().map(|value| value - mean).collect();
    let sums = fourier::autocorrelation(&centred, values.len());
    let variance = sums.first().map_or(0.0, |sum| sum / count);
    let lags = sums.iter().enumerate();
    lags.map(|(lag, sum)| sum / (count - lag as f64) / variance).collect()
}

/// The lags, from 3 to `longest`, at which the autocorrelation is positive and greatest within an eighth around,
/// the highest first.
fn peaks(autocorrelation: &[f64], longest: usize) -> Vec<usize> {
    let is_peak = |lag: &usize| {
        let reach = (lag / 8).max(1);
        let around = &autocorrelation[lag - reach..(lag + reach + 1).min(autocorrelation.len())];
        autocorrelation[*lag] > 0.0 && around.iter().all(|other| *other <= autocorrelation[*lag])
    };
    let mut peaks: Vec<usize> = (PERIOD_POINTS_MIN..=longest).filter(is_peak).collect();
    peaks.sort_by(|left, right| {
        autocorrelation[*right].total_cmp(&autocorrelation[*left]).then(left.cmp(right))
    });
    peaks.truncate(PEAKS_MAX);
    peaks
}
