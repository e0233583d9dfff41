//! Seasonal-trend decomposition by loess: a series as the sum of a trend, of one or more seasons, and of a rest.
//!
//! One season is found by STL (Cleveland, Cleveland, McRae, Terpenning, *STL: a seasonal-trend decomposition
//! procedure based on loess*, 1990), several by MSTL (Bandara, Hyndman, Bergmeir, *MSTL: a seasonal-trend
//! decomposition algorithm for time series with multiple seasonal patterns*, 2021), which finds them in turn, each
//! in what the others leave. Both with the parameters of statsmodels and, set alike, with its results.
//!
//! Where a value is missing (it is NaN or infinite), the fit sees one interpolated: see [`fill_missing`].
//!
//! ```
//! use undercurrent::detect::stl::{StlOptions, decompose};
//! let values: Vec<f64> = (0..40).map(|i| 100.0 + f64::from(i) + f64::from(i % 4)).collect();
//! let parts = decompose(&values, &[4], &StlOptions::exact()).unwrap();
//! assert!((parts.trend[20] - 121.5).abs() < 1e-9);
//! assert!(parts.residual.iter().all(|residual| residual.abs() < 1e-9));
//! ```

mod fit;
mod loess;
mod missing;
#[cfg(test)]
mod tests;

use fit::{Fit, Plan};
use loess::Loess;

pub use missing::fill_missing;

/// The shortest period.
pub const PERIOD_POINTS_MIN: usize = 2;

/// Every so many points loess is fitted; between them its values are interpolated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jump {
    /// This many points, at least 1, which is fitting at each point.
    Points(usize),
    /// A tenth of the smoother's window, rounded up, as Cleveland et al. recommend.
    Tenth,
}

/// What loess fits within a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Degree {
    /// A constant: degree 0.
    Constant,
    /// A line: degree 1.
    Linear,
}

/// One of the three smoothers of STL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Smoother {
    /// Points of its window, odd; `None` for what follows from the period.
    pub window_points: Option<usize>,
    /// What it fits.
    pub degree: Degree,
    /// How often it fits.
    pub jump: Jump,
}

/// The parameters of [`decompose`]: [`StlOptions::exact`] or [`StlOptions::fast`], and changes to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StlOptions {
    /// Smooths each phase of the period over the cycles: its window counts cycles, and is at least 3.
    ///
    /// By default 7 for a single period, and `7 + 4 i` for the i-th of several, counted from 1.
    pub seasonal: Smoother,
    /// Smooths what the season leaves: its window is at least 3, by default the smallest odd number from
    /// `1.5 period / (1 - 1.5 / seasonal window)` on.
    pub trend: Smoother,
    /// Takes out of the season what belongs to the trend: its window is at least 3, by default the smallest odd
    /// number above the period.
    pub low_pass: Smoother,
    /// Runs of the inner loop, which updates season and trend: at least 1.
    pub inner_iterations: usize,
    /// Runs of the outer loop, each of which takes weight from the points with large residuals: 0 for a fit that
    /// is not robust.
    pub outer_iterations: usize,
    /// With several periods, how often each season is found: at least 1.
    pub rounds: usize,
}

impl StlOptions {
    /// The defaults of statsmodels: lines, fitted at every point, in 5 inner iterations.
    pub fn exact() -> Self {
        let smoother = Smoother { window_points: None, degree: Degree::Linear, jump: Jump::Points(1) };
        Self {
            seasonal: smoother,
            trend: smoother,
            low_pass: smoother,
            inner_iterations: 5,
            outer_iterations: 0,
            rounds: 2,
        }
    }

    /// As [`StlOptions::exact`], but fitted at a tenth of the points.
    pub fn fast() -> Self {
        let smoother = Smoother { window_points: None, degree: Degree::Linear, jump: Jump::Tenth };
        Self { seasonal: smoother, trend: smoother, low_pass: smoother, ..Self::exact() }
    }

    /// The same, but robust against outliers: 2 inner and 15 outer iterations.
    pub fn robust(self) -> Self {
        Self { inner_iterations: 2, outer_iterations: 15, ..self }
    }

    /// Whether a series can be decomposed with these options and periods, if it is long enough.
    pub fn check(&self, periods: &[usize]) -> Result<(), StlError> {
        self.plans(periods).map(|_| ())
    }

    /// Checks the options and completes them for each period.
    fn plans(&self, periods: &[usize]) -> Result<Vec<Plan>, StlError> {
        let first_is_long = periods.first().is_some_and(|first| *first >= PERIOD_POINTS_MIN);
        if !first_is_long || !periods.is_sorted_by(|left, right| left < right) {
            return Err(StlError::Periods { periods: periods.to_vec() });
        }
        let position = |index| (periods.len() > 1).then_some(index);
        periods.iter().enumerate().map(|(index, period)| self.plan(*period, position(index))).collect()
    }

    /// Checks the options and completes them for one of several periods (`position` from 0) or a single one.
    fn plan(&self, period: usize, position: Option<usize>) -> Result<Plan, StlError> {
        let seasonal_default = position.map_or(7, |position| 7 + 4 * (position + 1));
        let seasonal = smoother("seasonal", &self.seasonal, seasonal_default)?;
        let trend_default = 1.5 * period as f64 / (1.0 - 1.5 / seasonal.span as f64);
        for (option, value) in [("inner_iterations", self.inner_iterations), ("rounds", self.rounds)] {
            if value == 0 {
                return Err(StlError::Count { option, value });
            }
        }
        Ok(Plan {
            period,
            seasonal,
            trend: smoother("trend", &self.trend, odd(trend_default.ceil() as usize))?,
            low_pass: smoother("low_pass", &self.low_pass, odd(period + 1))?,
            inner: self.inner_iterations,
            outer: self.outer_iterations,
        })
    }
}

/// The smallest odd number from `number` on.
fn odd(number: usize) -> usize {
    number | 1
}

fn smoother(option: &'static str, smoother: &Smoother, default: usize) -> Result<Loess, StlError> {
    let span = smoother.window_points.unwrap_or(default);
    if span < 3 || span.is_multiple_of(2) {
        return Err(StlError::Window { option, value: span });
    }
    let jump = match smoother.jump {
        Jump::Points(0) => return Err(StlError::Count { option: "jump", value: 0 }),
        Jump::Points(points) => points,
        Jump::Tenth => span.div_ceil(10),
    };
    Ok(Loess { span, is_linear: smoother.degree == Degree::Linear, jump })
}

/// Why a series cannot be decomposed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StlError {
    /// A window is too short or even.
    #[error("{option} window '{value}' is not an odd number of at least 3")]
    Window {
        /// The smoother.
        option: &'static str,
        /// The window given.
        value: usize,
    },
    /// A number of which there must be one at least is zero.
    #[error("{option} '{value}' is not at least 1")]
    Count {
        /// The option.
        option: &'static str,
        /// The number given.
        value: usize,
    },
    /// Two periods are longer than the series.
    #[error("period '{period}' is above {}, which is half of {points} points", points / 2)]
    TooLong {
        /// The period given, in points.
        period: usize,
        /// Points of the series.
        points: usize,
    },
    /// There is no period, or one that is too short or not longer than the one before.
    #[error(
        "periods '{periods:?}' are not one or more numbers of at least {PERIOD_POINTS_MIN} that increase"
    )]
    Periods {
        /// The periods given, in points.
        periods: Vec<usize>,
    },
}

/// The parts of a series, which add up to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Decomposition {
    /// The trend at each point.
    pub trend: Vec<f64>,
    /// For each period, in the order given, its season at each point.
    pub seasons: Vec<Vec<f64>>,
    /// What trend and seasons leave of the values: NaN where a value is missing.
    pub residual: Vec<f64>,
    /// Robustness weights, in `0..=1`: all 1 unless there were outer iterations.
    pub weights: Vec<f64>,
}

impl Decomposition {
    /// All seasons at one point together.
    pub fn seasonal(&self, index: usize) -> f64 {
        self.seasons.iter().map(|season| season[index]).sum()
    }
}

/// Decomposes a whole series, on an even grid, into trend, a season for each of `periods`, and residual.
///
/// Periods are in points, each longer than the one before, and at most half as long as the series. A series
/// without any value has NaN everywhere. Time is proportional to points times (windows over jumps).
pub fn decompose(values: &[f64], periods: &[usize], options: &StlOptions) -> Result<Decomposition, StlError> {
    let points = values.len();
    let plans = options.plans(periods)?;
    if let Some(period) = periods.iter().find(|period| **period > points / 2) {
        return Err(StlError::TooLong { period: *period, points });
    }
    let filled = fill_missing(values, periods[periods.len() - 1]);
    let (fit, seasons) = fit_in_turn(filled, &plans, if plans.len() > 1 { options.rounds } else { 1 });
    let mut parts = Decomposition { trend: fit.trend, seasons, residual: vec![], weights: fit.weights };
    let residual = |(index, value): (usize, &f64)| {
        let rest = value - parts.trend[index] - parts.seasonal(index);
        if rest.is_finite() { rest } else { f64::NAN }
    };
    parts.residual = values.iter().enumerate().map(residual).collect();
    Ok(parts)
}

/// Finds each season in what the others leave, `rounds` times; the trend is that of the last fit.
fn fit_in_turn(mut deseasoned: Vec<f64>, plans: &[Plan], rounds: usize) -> (Fit, Vec<Vec<f64>>) {
    let points = deseasoned.len();
    let mut seasons = vec![vec![0.0; points]; plans.len()];
    let mut last = Fit { seasonal: vec![], trend: vec![], weights: vec![] };
    for _ in 0..rounds {
        for (plan, season) in plans.iter().zip(&mut seasons) {
            deseasoned.iter_mut().zip(&*season).for_each(|(value, season)| *value += season);
            last = plan.fit(&deseasoned);
            std::mem::swap(season, &mut last.seasonal);
            deseasoned.iter_mut().zip(&*season).for_each(|(value, season)| *value -= season);
        }
    }
    (last, seasons)
}
