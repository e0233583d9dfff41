//! The even grid that the rows of a series lie on.

use std::collections::BTreeMap;

use datafusion::error::Result as DataFusionResult;

use super::options::{Options, refused};
use super::window::Series;

/// The places of rows on an even grid, counted from place 0 of what they are ordered by; for times from 1970.
pub(super) struct Grid {
    /// The place of each row; `None` where there is none.
    pub index: Vec<Option<i64>>,
}

/// From one place of a grid to the next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// So much: nanoseconds, or a difference of numbers.
    Given(i64),
    /// The difference that most neighbours have; the least of several.
    Usual,
}

impl Step {
    /// The option `step`: an interval between times, a whole number between numbers.
    pub fn read(options: &Options) -> DataFusionResult<Self> {
        if options.is_interval("step") {
            return Ok(options.interval_ns("step")?.map_or(Step::Usual, Step::Given));
        }
        let step = options.count("step", 1..=i64::MAX as usize)?;
        Ok(step.map_or(Step::Usual, |step| Step::Given(step as i64)))
    }
}

impl Grid {
    /// The grid of `series`.
    pub fn of(series: &Series, step: Step) -> DataFusionResult<Self> {
        let places = &series.places;
        let step = match step {
            Step::Given(step) if series.has_times && step < 1_000_000 => {
                return Err(refused(
                    "step",
                    &step.to_string(),
                    "an interval of a millisecond or more is expected",
                ));
            }
            Step::Given(step) => step,
            Step::Usual => usual_step(places.iter().flatten()),
        };
        let index = places.iter().map(|place| place.map(|place| place.div_euclid(step))).collect();
        Ok(Grid { index })
    }

    /// The rows that have a place, and their places.
    pub fn rows(&self) -> (Vec<usize>, Vec<i64>) {
        self.index.iter().enumerate().filter_map(|(row, index)| index.map(|index| (row, index))).unzip()
    }

    /// The values from the first place to the last, NaN where there is none, and the first place; of several in one place
    /// the greatest counts. `None` if they would be more than `points_max`.
    pub fn dense(&self, values: &[f64], points_max: usize) -> Option<(i64, Vec<f64>)> {
        let (rows, index) = self.rows();
        let (first, last) = (index.iter().min().copied()?, index.iter().max().copied()?);
        let points = usize::try_from(last.checked_sub(first)?).ok()?.checked_add(1)?;
        if points > points_max {
            return None;
        }
        let mut dense = vec![f64::NAN; points];
        for (row, index) in rows.into_iter().zip(index) {
            let known = &mut dense[(index - first) as usize];
            if values[row].is_finite() {
                // The greater of the two; a number and not NaN.
                *known = known.max(values[row]);
            }
        }
        Some((first, dense))
    }
}

fn usual_step(places: impl Iterator<Item = i64>) -> i64 {
    let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
    let mut last: Option<i64> = None;
    for place in places {
        let step = last.and_then(|last| place.checked_sub(last)).filter(|step| *step > 0);
        step.into_iter().for_each(|step| *counts.entry(step).or_default() += 1);
        last = Some(place);
    }
    let usual = counts.into_iter().rev().max_by_key(|(_, count)| *count);
    usual.map_or(1, |(step, _)| step)
}
