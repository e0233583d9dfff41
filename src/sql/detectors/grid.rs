//! The even grid that the rows of a series lie on.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use datafusion::error::Result as DataFusionResult;

use super::options::{Options, refused};

/// From one place of a grid to the next; places are counted from place 0 of what rows are ordered by, for times from 1970.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// So much: nanoseconds, or a difference of numbers.
    Given(i64),
    /// The difference that most neighbours have; the least of several.
    Usual,
}

/// The least step between times, in nanoseconds.
const STEP_NS_MIN: i64 = 1_000_000;

impl Step {
    /// The option `step`: an interval between times, a whole number between numbers.
    pub fn read(options: &Options, has_times: bool) -> DataFusionResult<Self> {
        let step = match options.is_interval("step") {
            true => options.interval_ns("step")?,
            false => options.count("step", 1..=i64::MAX as usize)?.map(|step| step as i64),
        };
        match step.filter(|step| has_times && *step < STEP_NS_MIN) {
            Some(step) => {
                Err(refused("step", &step.to_string(), "an interval of a millisecond or more is expected"))
            }
            None => Ok(step.map_or(Step::Usual, Step::Given)),
        }
    }

    /// The step of `places`, in order.
    pub fn of(self, places: impl Iterator<Item = i64>) -> i64 {
        match self {
            Step::Given(step) => step,
            Step::Usual => {
                let mut steps = Steps::default();
                places.for_each(|place| steps.insert(place));
                steps.usual()
            }
        }
    }
}

/// The values of points on a grid from the first place to the last, NaN where there is none, and the first place; of
/// several in one place the greatest counts. `None` if they would be more than `points_max`. Places ascend.
pub(super) fn dense(points: &[(i64, f64)], points_max: usize) -> Option<(i64, Vec<f64>)> {
    let ((first, _), (last, _)) = (points.first()?, points.last()?);
    let count = usize::try_from(last.checked_sub(*first)?).ok()?.checked_add(1)?;
    if count > points_max {
        return None;
    }
    let mut dense = vec![f64::NAN; count];
    for (place, value) in points {
        let known = dense.get_mut(place.abs_diff(*first) as usize)?;
        if value.is_finite() && (known.is_nan() || known.total_cmp(value).is_lt()) {
            *known = *value;
        }
    }
    Some((*first, dense))
}

/// The places of rows, and how often neighbours have which difference.
#[derive(Clone, Debug, Default)]
pub(super) struct Steps {
    /// Ascending.
    places: Vec<i64>,
    counts: BTreeMap<i64, usize>,
    /// The differences by their counts, of those that are equal the least last.
    ranked: BTreeSet<(usize, Reverse<i64>)>,
}

impl Steps {
    /// A row comes.
    pub fn insert(&mut self, place: i64) {
        let at = self.places.partition_point(|other| *other < place);
        if self.places.get(at) != Some(&place) {
            self.between(at, place, 1);
        }
        self.places.insert(at, place);
    }

    /// A row goes.
    pub fn remove(&mut self, place: i64) {
        let at = self.places.partition_point(|other| *other < place);
        if self.places.get(at) != Some(&place) {
            return;
        }
        self.places.remove(at);
        if self.places.get(at) != Some(&place) {
            self.between(at, place, -1);
        }
    }

    /// The difference that most neighbours have; 1 where there are none.
    pub fn usual(&self) -> i64 {
        self.ranked.last().map_or(1, |(_, Reverse(step))| *step)
    }

    /// Bytes held, about.
    pub fn bytes(&self) -> usize {
        self.places.capacity() * size_of::<i64>() + self.counts.len() * 48
    }

    /// Counts the differences to the neighbours of `place`, which is between those at `at` and before it.
    fn between(&mut self, at: usize, place: i64, sign: isize) {
        let neighbours = [at.checked_sub(1).and_then(|at| self.places.get(at)), self.places.get(at)];
        let [before, after] = neighbours.map(Option::<&i64>::copied);
        let step = |from: Option<i64>, to: Option<i64>| to?.checked_sub(from?);
        self.count(step(before, after), -sign);
        self.count(step(before, Some(place)), sign);
        self.count(step(Some(place), after), sign);
    }

    fn count(&mut self, step: Option<i64>, by: isize) {
        let Some(step) = step else { return };
        let known = self.counts.remove(&step).unwrap_or(0);
        self.ranked.remove(&(known, Reverse(step)));
        let count = known.saturating_add_signed(by);
        if count > 0 {
            self.counts.insert(step, count);
            self.ranked.insert((count, Reverse(step)));
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    fn defined(places: &[i64]) -> i64 {
        let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
        let steps =
            places.windows(2).filter_map(|pair| pair[1].checked_sub(pair[0])).filter(|step| *step > 0);
        steps.for_each(|step| *counts.entry(step).or_default() += 1);
        counts.into_iter().rev().max_by_key(|(_, count)| *count).map_or(1, |(step, _)| step)
    }

    #[test]
    fn the_usual_step_is_kept_up_to_date() {
        let mut random = StdRng::seed_from_u64(1);
        let (mut steps, mut places) = (Steps::default(), vec![i64::MIN, i64::MAX]);
        places.iter().for_each(|place| steps.insert(*place));
        for _ in 0..2000 {
            if random.random_bool(0.45) && !places.is_empty() {
                steps.remove(places.swap_remove(random.random_range(0..places.len())));
            } else {
                places.push(random.random_range(0..40));
                steps.insert(places[places.len() - 1]);
            }
            places.sort_unstable();
            assert_eq!(steps.usual(), defined(&places), "{places:?}");
        }
    }
}
