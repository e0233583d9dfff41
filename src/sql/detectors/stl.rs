//! `stl`: what is expected of a row by its season and the level of its series.

use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields};
use datafusion::error::Result as DataFusionResult;

use super::grid::{Step, Steps, dense};
use super::options::{Options, refused};
use super::window::Detector;
use super::{THRESHOLDS, external};
use crate::delta::series::{Edit, SeriesFunction, SeriesState, in_turn};
use crate::detect::baseline::{Baseline, BaselineOptions, Placed, Season, Series, WINDOW_POINTS_MAX};
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
/// ([`crate::detect::baseline`]): later rows change nothing about it. All is null where there is no fit yet. So that not
/// all series of a query are fitted at once, where in `refit_every` a series is depends on what stands in PARTITION BY.
#[derive(Debug)]
pub(super) struct Stl;

impl Detector for Stl {
    fn name(&self) -> &'static str {
        "stl"
    }

    /// Series of one call are refitted at different places.
    fn is_spread(&self) -> bool {
        true
    }

    fn options(&self) -> &'static [&'static str] {
        &["period", "period_max", "window_periods", "refit_every", "threshold", "robust", "step", "in_sample"]
    }

    fn fields(&self) -> Fields {
        let numbers = ["trend", "seasonal", "residual", "expected", "lower", "upper", "score"];
        let numbers = numbers.map(|name| Field::new(name, DataType::Float64, true));
        numbers.into_iter().chain([Field::new("anomalous", DataType::Boolean, true)]).collect()
    }

    fn configure(&self, options: &Options, has_times: bool) -> DataFusionResult<Arc<dyn SeriesFunction>> {
        let periods = options.counts("period", 2..=WINDOW_POINTS_MAX / 2)?;
        let period_max = options.count("period_max", 3..=WINDOW_POINTS_MAX / 2)?;
        let threshold = options.number("threshold", THRESHOLDS)?;
        let robust = options.is_on("robust")?;
        let step = Step::read(options, has_times)?;
        if options.is_on("in_sample")? {
            let Some(periods) = periods else {
                return Err(refused("in_sample", "true", "a period is expected beside it"));
            };
            let stl = if robust { StlOptions::exact().robust() } else { StlOptions::exact() };
            stl.check(&periods).map_err(external)?;
            let deviation = if robust { Deviation::Robust } else { Deviation::Standard };
            let threshold = threshold.unwrap_or(2.0);
            return Ok(Arc::new(InSample { periods, stl, threshold, deviation, step }));
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
        let baseline = Baseline::new(baseline).map_err(external)?;
        Ok(Arc::new(Running { baseline, step }))
    }
}

/// Each row against the last fit before it.
#[derive(Debug)]
struct Running {
    baseline: Baseline,
    step: Step,
}

impl SeriesFunction for Running {
    fn begin(&self, hash: u64) -> Box<dyn SeriesState> {
        let (steps, step) = match self.step {
            Step::Given(step) => (None, step),
            Step::Usual => (Some(Steps::default()), 1),
        };
        let series = Series::new(self.baseline.clone().spread(hash));
        Box::new(Placing { step, steps, is_counted: false, unplaced: 0, series })
    }
}

/// A series on its grid.
struct Placing {
    step: i64,
    /// Where the step is what is usual.
    steps: Option<Steps>,
    /// Whether edits that are not applied yet are among the steps.
    is_counted: bool,
    /// Rows without a place before the others.
    unplaced: usize,
    /// The rows with a place.
    series: Series,
}

impl Placing {
    /// Has the steps know of `edits`.
    fn count(&mut self, edits: &[Edit]) {
        let Some(steps) = &mut self.steps else { return };
        for edit in edits {
            let Some(place) = edit.place else { continue };
            (0..edit.removed).for_each(|_| steps.remove(place));
            (0..edit.inserted).for_each(|_| steps.insert(place));
        }
    }

    /// A row without a place comes or goes at `position`.
    fn edit_unplaced(&mut self, position: usize, edit: &Edit) {
        // With others beside it, one comes directly behind the first only if the first are all there are.
        if position < self.unplaced || position == self.unplaced && edit.removed == 0 {
            self.unplaced = self.unplaced.saturating_sub(edit.removed) + edit.inserted;
        }
    }

    /// A row with `place` comes or goes at `position`.
    fn edit_placed(&mut self, position: usize, edit: &Edit, place: i64) {
        // What was alone was behind all others.
        self.unplaced = self.unplaced.min(position);
        let place = place.div_euclid(self.step);
        self.series.splice(position - self.unplaced, edit.removed, edit.inserted, place, edit.value);
    }
}

impl SeriesState for Placing {
    fn affected(&mut self, edits: &[Edit]) -> Option<Vec<Range<usize>>> {
        self.count(edits);
        self.is_counted = true;
        if self.steps.as_ref().is_some_and(|steps| steps.usual() != self.step) {
            return None;
        }
        let placed = edits.iter().filter_map(|edit| Some((edit.place?.div_euclid(self.step), edit.value)));
        let reached = placed.map(|(place, value)| self.series.reach(place, value));
        let first = self.unplaced;
        Some(reached.map(|reached| reached.start + first..reached.end + first).collect())
    }

    fn apply(&mut self, edits: &[Edit]) {
        if !std::mem::take(&mut self.is_counted) {
            self.count(edits);
            self.step = self.steps.as_ref().map_or(self.step, Steps::usual);
        }
        for (position, edit) in in_turn(edits) {
            match edit.place {
                Some(place) => self.edit_placed(position, edit, place),
                None => self.edit_unplaced(position, edit),
            }
        }
    }

    fn result(&mut self, position: usize, numbers: &mut Vec<f64>) {
        let placed = position.checked_sub(self.unplaced).and_then(|position| self.series.place(position));
        numbers.extend(numbers_of(placed));
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.series.size_bytes() + self.steps.as_ref().map_or(0, Steps::bytes)
    }

    fn fits(&self) -> u64 {
        self.series.fits_computed()
    }
}

/// All rows by one fit of all rows.
#[derive(Clone, Debug)]
struct InSample {
    periods: Vec<usize>,
    stl: StlOptions,
    threshold: f64,
    deviation: Deviation,
    step: Step,
}

impl SeriesFunction for InSample {
    fn begin(&self, _: u64) -> Box<dyn SeriesState> {
        Box::new(Decomposed { options: self.clone(), placed: vec![] })
    }
}

/// The rows of a series that does not change.
struct Decomposed {
    options: InSample,
    placed: Vec<Option<Placed>>,
}

impl InSample {
    /// What each of `rows` is.
    fn place(&self, rows: &[(Option<i64>, f64)]) -> Vec<Option<Placed>> {
        let step = self.step.of(rows.iter().filter_map(|(place, _)| *place));
        let on_grid = |(place, value): &(Option<i64>, f64)| Some((place.as_ref()?.div_euclid(step), *value));
        let points: Vec<(i64, f64)> = rows.iter().filter_map(on_grid).collect();
        let nothing = vec![None; rows.len()];
        let Some((first, values)) = dense(&points, WINDOW_POINTS_MAX) else { return nothing };
        // Too short a series has no decomposition yet.
        let Ok(parts) = decompose(&values, &self.periods, &self.stl) else { return nothing };
        let residuals: Vec<f64> = parts.residual.iter().copied().filter(|r| !r.is_nan()).collect();
        let deviation = deviation(&residuals, self.deviation).unwrap_or(0.0);
        let allowed = self.threshold * deviation;
        let place = |row: &(Option<i64>, f64)| {
            let point = (on_grid(row)?.0 - first) as usize;
            let (trend, seasonal) = (parts.trend[point], parts.seasonal(point));
            let (expected, residual) = (trend + seasonal, parts.residual[point]);
            let score = if residual == 0.0 { 0.0 } else { residual.abs() / allowed };
            let (lower, upper, anomalous) = (expected - allowed, expected + allowed, score > 1.0);
            Some(Placed { trend, seasonal, expected, lower, upper, residual, deviation, score, anomalous })
        };
        rows.iter().map(place).collect()
    }
}

impl SeriesState for Decomposed {
    fn affected(&mut self, _: &[Edit]) -> Option<Vec<Range<usize>>> {
        None
    }

    fn apply(&mut self, edits: &[Edit]) {
        let rows = edits.iter().flat_map(|edit| std::iter::repeat_n((edit.place, edit.value), edit.inserted));
        self.placed = self.options.place(&rows.collect::<Vec<_>>());
    }

    fn result(&mut self, position: usize, numbers: &mut Vec<f64>) {
        numbers.extend(numbers_of(self.placed.get(position).copied().flatten()));
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.placed.capacity() * size_of::<Option<Placed>>()
    }

    fn fits(&self) -> u64 {
        1
    }
}

/// The numbers of the struct.
fn numbers_of(placed: Option<Placed>) -> [f64; 8] {
    let Some(placed) = placed else { return [f64::NAN; 8] };
    let Placed { trend, seasonal, expected, lower, upper, residual, score, anomalous, .. } = placed;
    // Whether a missing value is anomalous is not known.
    let anomalous = if score.is_nan() { f64::NAN } else { f64::from(anomalous) };
    [trend, seasonal, residual, expected, lower, upper, score, anomalous]
}
