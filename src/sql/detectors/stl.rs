//! `stl`: what is expected of a row by its season and the level of its series.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::error::Result as DataFusionResult;

use super::fits::{Fits, Windows};
use super::grid::{Grid, Step};
use super::options::{Options, refused};
use super::window::{Configured, Detector, Series, floats};
use super::{THRESHOLDS, external};
use crate::detect::baseline::{Baseline, BaselineOptions, Fit, Placed, Season, WINDOW_POINTS_MAX};
use crate::detect::deviation::{Deviation, deviation};
use crate::detect::stl::{StlOptions, decompose};

/// The longest period that is looked for unless told: a day of minutes.
const PERIOD_MAX_DEFAULT: usize = 1440;

/// `stl(value [, options]) OVER (PARTITION BY series ORDER BY at)`: a struct of `trend`, `seasonal`, `residual`, `expected`,
/// `lower`, `upper`, `score` (above 1 is anomalous) and `anomalous`.
///
/// | option | meaning | default |
/// |---|---|---|
/// | `period` | points of a period, or a list of several | what is found in the values |
/// | `period_max` | the longest period that is looked for | 1440 |
/// | `window_periods` | how many of the longest period a fit looks back | 14 |
/// | `refit_every` | points from one fit to the next | a period |
/// | `threshold` | deviations from what is expected that are still normal | 2 |
/// | `robust` | whether the median distance of residuals stands for their deviation | false |
/// | `step` | from one point to the next: an interval, or a number | the usual one of the rows |
/// | `in_sample` | one fit over all rows, as the classical decomposition is, and not one before each row | false |
///
/// A row is placed against the last fit before it, of the rows of `window_periods` before that
/// ([`crate::detect::baseline`]): later rows change nothing about it. All is null where there is no fit yet.
#[derive(Debug, Default)]
pub(super) struct Stl {
    fits: Arc<Fits>,
}

impl Detector for Stl {
    fn name(&self) -> &'static str {
        "stl"
    }

    fn options(&self) -> &'static [&'static str] {
        &["period", "period_max", "window_periods", "refit_every", "threshold", "robust", "step", "in_sample"]
    }

    fn fields(&self) -> Fields {
        let numbers = ["trend", "seasonal", "residual", "expected", "lower", "upper", "score"];
        let numbers = numbers.map(|name| Field::new(name, DataType::Float64, true));
        numbers.into_iter().chain([Field::new("anomalous", DataType::Boolean, true)]).collect()
    }

    fn configure(&self, options: &Options) -> DataFusionResult<Box<dyn Configured>> {
        let periods = options.counts("period", 2..=WINDOW_POINTS_MAX / 2)?;
        let period_max = options.count("period_max", 3..=WINDOW_POINTS_MAX / 2)?;
        let threshold = options.number("threshold", THRESHOLDS)?;
        let robust = options.is_on("robust")?;
        let step = Step::read(options)?;
        if options.is_on("in_sample")? {
            let Some(periods) = periods else {
                return Err(refused("in_sample", "true", "a period is expected beside it"));
            };
            let stl = if robust { StlOptions::exact().robust() } else { StlOptions::exact() };
            stl.check(&periods).map_err(external)?;
            return Ok(Box::new(InSample {
                periods,
                stl,
                threshold: threshold.unwrap_or(2.0),
                robust,
                step,
            }));
        }
        let season = match periods {
            Some(periods) => Season::Given(periods),
            None => Season::Found { points_max: period_max.unwrap_or(PERIOD_MAX_DEFAULT) },
        };
        let mut baseline = BaselineOptions::new(season);
        if let Some(periods) = options.count("window_periods", 2..=WINDOW_POINTS_MAX)? {
            baseline.window_periods = periods;
        }
        baseline.refit_every = options.count("refit_every", 1..=WINDOW_POINTS_MAX)?.or(baseline.refit_every);
        baseline.threshold = threshold.unwrap_or(baseline.threshold);
        baseline.deviation = if robust { Deviation::Robust } else { Deviation::Standard };
        let question = hash_of(&format!("{baseline:?}"));
        let baseline = Baseline::new(baseline).map_err(external)?;
        Ok(Box::new(Running { baseline, question, step, fits: self.fits.clone() }))
    }
}

/// Each row against the last fit before it.
#[derive(Debug)]
struct Running {
    baseline: Baseline,
    /// A hash of the options.
    question: u64,
    step: Step,
    fits: Arc<Fits>,
}

fn hash_of(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

impl Running {
    /// Each row of `grid` against the fit of its boundary.
    fn place(&self, series: &Series, grid: &Grid, (first, values): (i64, Vec<f64>)) -> Vec<Option<Placed>> {
        let windows = Windows::new(first, &values);
        let mut fit: Option<(i64, Option<Arc<Fit>>)> = None;
        let place = |(row, index): (usize, &Option<i64>)| {
            let index = (*index)?;
            let boundary = self.baseline.boundary(index);
            if fit.as_ref().is_none_or(|(known, _)| *known != boundary) {
                fit = Some((boundary, windows.fit(&self.baseline, self.question, boundary, &self.fits)));
            }
            let fit = fit.as_ref()?.1.as_ref()?;
            Some(fit.place((index - boundary) as u64, series.values[row]))
        };
        grid.index.iter().enumerate().map(place).collect()
    }
}

impl Configured for Running {
    fn detect(&self, series: &Series) -> DataFusionResult<Vec<ArrayRef>> {
        let grid = Grid::of(series, self.step)?;
        // So sparse a series is on no grid to speak of: its few rows are looked up one by one.
        let dense_max = 64 * series.values.len() + 1024;
        if let Some(dense) = grid.dense(&series.values, dense_max) {
            return Ok(columns(&self.place(series, &grid, dense)));
        }
        let (rows, index) = grid.rows();
        let values: Vec<f64> = rows.iter().map(|row| series.values[*row]).collect();
        let mut placed = vec![None; series.values.len()];
        for (row, found) in rows.into_iter().zip(self.baseline.place_all(&index, &values)) {
            placed[row] = found;
        }
        Ok(columns(&placed))
    }
}

/// All rows by one fit of all rows.
#[derive(Debug)]
struct InSample {
    periods: Vec<usize>,
    stl: StlOptions,
    threshold: f64,
    robust: bool,
    step: Step,
}

impl Configured for InSample {
    fn detect(&self, series: &Series) -> DataFusionResult<Vec<ArrayRef>> {
        let nothing = || Ok(columns(&vec![None; series.values.len()]));
        let grid = Grid::of(series, self.step)?;
        let Some((first, values)) = grid.dense(&series.values, WINDOW_POINTS_MAX) else { return nothing() };
        // Too short a series has no decomposition yet.
        let Ok(parts) = decompose(&values, &self.periods, &self.stl) else { return nothing() };
        let residuals: Vec<f64> = parts.residual.iter().copied().filter(|r| !r.is_nan()).collect();
        let kind = if self.robust { Deviation::Robust } else { Deviation::Standard };
        let deviation = deviation(&residuals, kind).unwrap_or(0.0);
        let allowed = self.threshold * deviation;
        let place = |index: &Option<i64>| {
            let point = index.map(|index| (index - first) as usize)?;
            let (trend, seasonal) = (parts.trend[point], parts.seasonal(point));
            let (expected, residual) = (trend + seasonal, parts.residual[point]);
            let score = if residual == 0.0 { 0.0 } else { residual.abs() / allowed };
            let (lower, upper, anomalous) = (expected - allowed, expected + allowed, score > 1.0);
            Some(Placed { trend, seasonal, expected, lower, upper, residual, deviation, score, anomalous })
        };
        Ok(columns(&grid.index.iter().map(place).collect::<Vec<_>>()))
    }
}

fn columns(placed: &[Option<Placed>]) -> Vec<ArrayRef> {
    let numbers: [fn(&Placed) -> f64; 7] = [
        |placed| placed.trend,
        |placed| placed.seasonal,
        |placed| placed.residual,
        |placed| placed.expected,
        |placed| placed.lower,
        |placed| placed.upper,
        |placed| placed.score,
    ];
    let numbers = numbers.map(|number| floats(placed.iter().map(|p| p.as_ref().map_or(f64::NAN, number))));
    // Whether a missing value is anomalous is not known.
    let known = |placed: &Placed| (!placed.score.is_nan()).then_some(placed.anomalous);
    let anomalous: BooleanArray = placed.iter().map(|p| p.as_ref().and_then(known)).collect();
    numbers.into_iter().chain([Arc::new(anomalous) as ArrayRef]).collect()
}
