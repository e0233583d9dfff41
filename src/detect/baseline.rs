//! Seasonal baselines: what a series should be now, by what it was at the same phase of earlier periods.
//!
//! # What a point is measured against
//!
//! A series lies on an even grid, and each point has its place on it, an `i64` that the caller computes from its
//! time (such as minutes since the epoch), so that nothing depends on which point came first or is known first.
//!
//! *Refits* happen at places `b` that are `refit_offset` above a multiple of `refit_every`. The fit of `b`
//! knows the points of its *window* `b - window_points .. b` and nothing else, where `window_points` is
//! `window_periods` times the longest period. It drops the places before the first value, finds the period if
//! that is asked for, decomposes what is left ([`decompose`](super::stl::decompose)), and keeps of each season
//! the last cycle, the last value of the trend, and the deviation of the residuals. There is no fit unless two
//! whole periods are left, half of whose places have values. Of several periods those of which two are not seen
//! yet are left out of a fit.
//!
//! A point at `i` in `b .. b + refit_every` is *placed* against the fit of `b`: its trend is the fit's last level, its
//! seasonal is the last cycle at the phase of `i`, and the sum of both is what was expected.
//!
//! So a placed point depends on earlier points alone and never changes by later ones; a late or a retracted point
//! changes only the points placed against the fits whose windows hold it. [`Baseline::place_all`] is that
//! definition, and [`Series`] maintains it.
//!
//! # Missing points
//!
//! A missing point may be left out, or be there with a value of NaN (an infinite one counts as NaN). Fits see
//! [interpolated values](super::stl::fill_missing), whose residuals are not among those that the deviation is taken
//! of. A point with a value of NaN is placed, so that what was expected is known, with a residual and a score of
//! NaN, and is never anomalous.

mod fit;
mod series;
#[cfg(test)]
mod tests;

use super::deviation::Deviation;
use super::stl::{Degree, PERIOD_POINTS_MIN, Smoother, StlError, StlOptions};

use fit::Fit;
pub use series::Series;

/// The longest window, in points: beyond it a fit would take more than a second.
pub const WINDOW_POINTS_MAX: usize = 10_000_000;

/// The season of a baseline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Season {
    /// One or more periods, in points, each longer than the one before.
    Given(Vec<usize>),
    /// At each refit the period that [`find_period`](super::period::find_period) finds in the window, which is
    /// then cut to `window_periods` of it; no fit where it finds none.
    Found {
        /// The longest that is looked for, in points.
        points_max: usize,
    },
}

/// What a [`Baseline`] is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct BaselineOptions {
    /// The period or periods.
    pub season: Season,
    /// How many of the longest period a fit looks back: at least 2.
    pub window_periods: usize,
    /// Points from one refit to the next, at least 1; `None` for the shortest period given, or the longest looked for.
    pub refit_every: Option<usize>,
    /// By how many points refits come after multiples of `refit_every`, of which it is less: different for each of
    /// many series (by a hash of its name), it spreads their refits over time.
    pub refit_offset: usize,
    /// Points farther than this many deviations from what was expected are anomalous: above 0.
    pub threshold: f64,
    /// How far residuals of the fit are from zero.
    pub deviation: Deviation,
    /// How the window is decomposed.
    pub stl: StlOptions,
}

impl BaselineOptions {
    /// The defaults for a season: 14 periods back, a threshold of 2 standard deviations, and a decomposition that is
    /// somewhat robust (2 inner and 2 outer iterations), fitted at a tenth of the points, with constants: the season
    /// over 15 cycles.
    ///
    /// Where a series is to be described, lines are fitted, the season's over 7 cycles. But what is placed lies
    /// beyond the end of the fit, where lines carry on the noise of the last cycles, and the first two or three cycles
    /// are reproduced by a line so well that next to nothing is left to tell the deviation from.
    pub fn new(season: Season) -> Self {
        let stl = StlOptions::fast();
        let seasonal = Smoother { window_points: Some(15), degree: Degree::Constant, ..stl.seasonal };
        let trend = Smoother { degree: Degree::Constant, ..stl.trend };
        Self {
            season,
            window_periods: 14,
            refit_every: None,
            refit_offset: 0,
            threshold: 2.0,
            deviation: Deviation::Standard,
            stl: StlOptions { seasonal, trend, inner_iterations: 2, outer_iterations: 2, ..stl },
        }
    }
}

/// Why there is no such baseline.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BaselineError {
    /// A number is out of range.
    #[error("{option} '{value}' is not in {min}..={max}")]
    Range {
        /// The option.
        option: &'static str,
        /// The number given.
        value: usize,
        /// The least possible.
        min: usize,
        /// The greatest possible.
        max: usize,
    },
    /// The threshold is not a number above zero.
    #[error("threshold '{0}' is not a number above 0")]
    Threshold(f64),
    /// The window is too long.
    #[error("window of '{window_periods}' times '{period}' points is longer than {WINDOW_POINTS_MAX}")]
    Window {
        /// Periods given.
        window_periods: usize,
        /// The longest period, in points.
        period: usize,
    },
    /// The decomposition is impossible.
    #[error(transparent)]
    Stl(#[from] StlError),
}

/// A point measured against a fit. All numbers but the score are in units of the value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placed {
    /// The level of the fit.
    pub trend: f64,
    /// What the phase adds to it, all seasons together.
    pub seasonal: f64,
    /// Their sum.
    pub expected: f64,
    /// `expected` less the threshold times the deviation.
    pub lower: f64,
    /// `expected` and the threshold times the deviation.
    pub upper: f64,
    /// The value less `expected`; NaN if the value is missing.
    pub residual: f64,
    /// The deviation of the residuals of the fit, or a billionth of the largest value of its window if that is more:
    /// less is rounding.
    pub deviation: f64,
    /// The size of the residual in units of threshold times deviation: above 1 is anomalous. NaN if the value is
    /// missing. Beside a deviation of zero it is zero for a residual of zero, and infinite for any other.
    pub score: f64,
    /// Whether the score is above 1.
    pub anomalous: bool,
}

/// How far `residual` is out, in units of `allowed`: see [`Placed::score`].
pub(super) fn score(residual: f64, allowed: f64) -> f64 {
    if residual == 0.0 { 0.0 } else { residual.abs() / allowed }
}

/// The definition of a seasonal baseline: its options, checked.
///
/// ```
/// use undercurrent::detect::baseline::{Baseline, BaselineOptions, Season};
/// let options = BaselineOptions::new(Season::Given(vec![24]));
/// let baseline = Baseline::new(options).unwrap();
/// let index: Vec<i64> = (0..240).collect();
/// let mut values: Vec<f64> = index.iter().map(|i| (i % 24) as f64 + (i * 7 % 5) as f64 * 0.1).collect();
/// values[200] = 40.0;
/// let placed = baseline.place_all(&index, &values);
/// assert_eq!(placed[47], None);
/// assert!(placed[200].unwrap().anomalous);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Baseline {
    options: BaselineOptions,
    window_points: usize,
    refit_every: i64,
}

impl Baseline {
    /// Checks the options.
    pub fn new(options: BaselineOptions) -> Result<Self, BaselineError> {
        let (shortest, longest) = match &options.season {
            Season::Given(periods) => {
                options.stl.check(periods)?;
                let longest = periods.last().copied().unwrap_or(0);
                range("period", longest, 2, WINDOW_POINTS_MAX / 2)?;
                (periods[0], longest)
            }
            Season::Found { points_max } => {
                options.stl.check(&[PERIOD_POINTS_MIN])?;
                range("points_max", *points_max, 3, WINDOW_POINTS_MAX / 2)?;
                (*points_max, *points_max)
            }
        };
        range("window_periods", options.window_periods, 2, WINDOW_POINTS_MAX)?;
        let refit_every = options.refit_every.unwrap_or(shortest);
        range("refit_every", refit_every, 1, WINDOW_POINTS_MAX)?;
        range("refit_offset", options.refit_offset, 0, refit_every - 1)?;
        if options.threshold.is_nan() || options.threshold <= 0.0 {
            return Err(BaselineError::Threshold(options.threshold));
        }
        let window_periods = options.window_periods;
        let window_points = longest.saturating_mul(window_periods);
        if window_points > WINDOW_POINTS_MAX {
            return Err(BaselineError::Window { window_periods, period: longest });
        }
        Ok(Self { options, window_points, refit_every: refit_every as i64 })
    }

    /// With a `refit_offset` that depends on `hash`, so that many series are not fitted at once.
    #[must_use]
    pub fn spread(mut self, hash: u64) -> Self {
        self.options.refit_offset = (hash % self.refit_every as u64) as usize;
        self
    }

    /// The options.
    pub fn options(&self) -> &BaselineOptions {
        &self.options
    }

    /// The boundary of the fit that the point at `index` is placed against.
    fn boundary(&self, index: i64) -> i64 {
        let offset = self.options.refit_offset as i64;
        let part = index.wrapping_sub(offset).rem_euclid(self.refit_every);
        index.saturating_sub(part)
    }

    /// Places each point against the fit of its boundary; `None` where there is no fit.
    ///
    /// `index` and `values` are as long as each other (what is longer is left aside) and in any order; of several points
    /// of one place fits see the greatest value. The result has the order of the input.
    pub fn place_all(&self, index: &[i64], values: &[f64]) -> Vec<Option<Placed>> {
        let count = index.len().min(values.len());
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by_key(|point| index[*point]);
        let mut series = Series::new(self.clone());
        order
            .iter()
            .enumerate()
            .for_each(|(at, point)| series.splice(at, 0, 1, index[*point], values[*point]));
        let mut placed = vec![None; count];
        order.iter().enumerate().for_each(|(at, point)| placed[*point] = series.place(at));
        placed
    }
}

fn range(option: &'static str, value: usize, min: usize, max: usize) -> Result<(), BaselineError> {
    if (min..=max).contains(&value) { Ok(()) } else { Err(BaselineError::Range { option, value, min, max }) }
}
