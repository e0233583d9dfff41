//! What a window tells about the points after it.

use std::ops::Range;

use super::super::deviation::deviation;
use super::super::period::{PeriodSearch, find_period};
use super::super::stl::decompose;
use super::{Baseline, Placed, Season, score};

/// Part of the largest value of the window that a deviation is at least: less is rounding.
const ROUNDING: f64 = 1e-9;

/// A fit: what is expected of the points from its boundary on, until the next.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    trend: f64,
    /// The last cycle of each season, from the boundary on.
    cycles: Vec<Vec<f64>>,
    deviation: f64,
    threshold: f64,
}

impl Fit {
    /// The fit of the `window` before a boundary, NaN where there is no value; `None` for too little.
    pub(super) fn new(baseline: &Baseline, window: &[f64]) -> Option<Self> {
        let options = &baseline.options;
        let window = &window[window.iter().position(|value| value.is_finite())?..];
        let (window, periods) = match &options.season {
            Season::Given(periods) => (window, seen(periods, window.len())),
            Season::Found { points_max } => {
                let period = find_period(window, PeriodSearch::UpTo(*points_max))?;
                let length = window.len().min(period * options.window_periods);
                (&window[window.len() - length..], vec![period])
            }
        };
        let present = window.iter().filter(|value| value.is_finite()).count();
        if periods.is_empty() || present * 2 < window.len() {
            return None;
        }
        let parts = decompose(window, &periods, &options.stl).ok()?;
        let cycle = |(season, period): (&Vec<f64>, &usize)| season[season.len() - period..].to_vec();
        let cycles = parts.seasons.iter().zip(&periods).map(cycle).collect();
        let largest =
            window.iter().filter(|value| value.is_finite()).fold(0.0, |max: f64, value| max.max(value.abs()));
        let residuals: Vec<f64> =
            parts.residual.iter().copied().filter(|residual| !residual.is_nan()).collect();
        let deviation = deviation(&residuals, options.deviation)?.max(ROUNDING * largest);
        let trend = parts.trend.last().copied()?;
        Some(Self { trend, cycles, deviation, threshold: options.threshold })
    }

    /// Places the point that comes so many places after the boundary; any value that is not finite is missing.
    pub fn place(&self, after: u64, value: f64) -> Placed {
        let (trend, deviation) = (self.trend, self.deviation);
        let at_phase = |cycle: &Vec<f64>| cycle[(after % cycle.len() as u64) as usize];
        let seasonal = self.cycles.iter().map(at_phase).sum::<f64>();
        let expected = trend + seasonal;
        let allowed = self.threshold * deviation;
        let residual = if value.is_finite() { value - expected } else { f64::NAN };
        let score = score(residual, allowed);
        let (lower, upper) = (expected - allowed, expected + allowed);
        Placed { trend, seasonal, expected, lower, upper, residual, deviation, score, anomalous: score > 1.0 }
    }

    /// Bytes held, about.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.cycles.iter().map(|cycle| size_of_val(&cycle[..])).sum::<usize>()
    }

    /// The places of the points that the fit of `boundary` knows.
    pub(super) fn window(baseline: &Baseline, boundary: i64) -> Range<i64> {
        boundary.saturating_sub(baseline.window_points as i64)..boundary
    }
}

/// The periods of which a window of `points` holds two.
fn seen(periods: &[usize], points: usize) -> Vec<usize> {
    periods.iter().copied().filter(|period| 2 * period <= points).collect()
}
