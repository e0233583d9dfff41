use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::super::deviation::deviation;
use super::super::period::{PeriodSearch, find_period};
use super::super::stl::decompose;
use super::*;

fn options(periods: &[usize]) -> BaselineOptions {
    BaselineOptions::new(Season::Given(periods.to_vec()))
}

fn noisy(random: &mut StdRng, index: i64, period: i64) -> f64 {
    (index.rem_euclid(period) * 3) as f64
        + random.random::<f64>()
        + if random.random_range(0..30) == 0 { 50.0 } else { 0.0 }
}

/// The definition, word by word.
fn defined(options: &BaselineOptions, points: &BTreeMap<i64, f64>, index: i64) -> Option<[f64; 3]> {
    let (shortest, longest) = match &options.season {
        Season::Given(periods) => (periods[0], periods[periods.len() - 1]),
        Season::Found { points_max } => (*points_max, *points_max),
    };
    let (every, offset) = (options.refit_every.unwrap_or(shortest) as i64, options.refit_offset as i64);
    let boundary = (index - offset).div_euclid(every) * every + offset;
    let start = boundary - (longest * options.window_periods) as i64;
    let first = (start..boundary).find(|at| points.get(at).is_some_and(|value| value.is_finite()))?;
    let mut window: Vec<f64> =
        (first..boundary).map(|at| points.get(&at).copied().unwrap_or(f64::NAN)).collect();
    let periods = match &options.season {
        Season::Given(periods) => {
            periods.iter().copied().filter(|period| 2 * period <= window.len()).collect()
        }
        Season::Found { points_max } => vec![find_period(&window, PeriodSearch::UpTo(*points_max))?],
    };
    if let Season::Found { .. } = options.season {
        let surplus = window.len().saturating_sub(periods[0] * options.window_periods);
        window.drain(..surplus);
    }
    if periods.is_empty() || 2 * window.iter().filter(|value| value.is_finite()).count() < window.len() {
        return None;
    }
    let parts = decompose(&window, &periods, &options.stl).unwrap();
    let at_phase = |(season, period): (&Vec<f64>, &usize)| {
        let cycle = &season[season.len() - period..];
        cycle[(index - boundary) as usize % period]
    };
    let seasonal = parts.seasons.iter().zip(&periods).map(at_phase).sum::<f64>();
    let residuals: Vec<f64> = parts.residual.iter().copied().filter(|value| !value.is_nan()).collect();
    let size =
        window.iter().filter(|value| value.is_finite()).fold(0.0_f64, |size, value| size.max(value.abs()));
    let deviation = deviation(&residuals, options.deviation).unwrap().max(size * 1e-9);
    Some([parts.trend[window.len() - 1], seasonal, deviation])
}

fn check(options: &BaselineOptions, points: &BTreeMap<i64, f64>, index: i64, placed: Option<Placed>) {
    let Some([trend, seasonal, deviation]) = defined(options, points, index) else {
        return assert_eq!(placed, None);
    };
    let (placed, value) = (placed.unwrap(), points[&index]);
    assert_eq!([placed.trend, placed.seasonal, placed.deviation], [trend, seasonal, deviation]);
    assert_eq!(placed.expected, trend + seasonal);
    assert_eq!(placed.lower, placed.expected - options.threshold * deviation);
    assert_eq!(placed.upper, placed.expected + options.threshold * deviation);
    if value.is_nan() {
        assert!(placed.residual.is_nan() && placed.score.is_nan() && !placed.anomalous);
    } else {
        assert_eq!(placed.residual, value - placed.expected);
        assert_eq!(placed.score, placed.residual.abs() / (options.threshold * deviation));
        assert_eq!(placed.anomalous, placed.residual.abs() > options.threshold * deviation);
    }
}

fn some_options() -> Vec<BaselineOptions> {
    let robust = BaselineOptions { deviation: Deviation::Robust, refit_every: Some(4), ..options(&[6]) };
    let offset = BaselineOptions { refit_offset: 5, threshold: 3.5, window_periods: 4, ..options(&[6]) };
    let found = BaselineOptions::new(Season::Found { points_max: 7 });
    let long = BaselineOptions { refit_every: Some(17), ..options(&[6]) };
    vec![
        robust,
        offset,
        long,
        options(&[3, 12]),
        BaselineOptions { refit_every: Some(6), window_periods: 6, ..found },
    ]
}

/// The points of a series: what is done to them, and what became of those that the change does not reach.
struct Maintained {
    series: Series,
    points: BTreeMap<i64, f64>,
    seen: BTreeMap<i64, Option<Placed>>,
}

impl Maintained {
    fn new(baseline: &Baseline) -> Self {
        Maintained { series: Series::new(baseline.clone()), points: BTreeMap::new(), seen: BTreeMap::new() }
    }

    fn at(&self, place: i64) -> usize {
        self.series.places().partition_point(|other| *other < place)
    }

    /// Takes the point of `place` away, and puts `value` there.
    fn set(&mut self, place: i64, value: Option<f64>) -> Vec<i64> {
        let at = self.at(place);
        let known = self.points.remove(&place);
        let mut changed: Vec<i64> = value.map(|_| place).into_iter().collect();
        for value in known.into_iter().chain(value) {
            let reached = self.series.reach(place, value);
            changed.extend(&self.series.places()[reached]);
        }
        if let Some(known) = known {
            self.series.splice(at, 1, 0, place, known);
            self.seen.remove(&place);
        }
        if let Some(value) = value {
            self.series.splice(at, 0, 1, place, value);
            self.points.insert(place, value);
        }
        changed.sort_unstable();
        changed.dedup();
        changed
    }
}

/// Appends, late points, corrections, retractions and gaps.
#[test]
fn a_maintained_series_is_the_definition() {
    let mut random = StdRng::seed_from_u64(1);
    for options in some_options() {
        let baseline = Baseline::new(options.clone()).unwrap();
        let mut maintained = Maintained::new(&baseline);
        let mut next = -40;
        for _ in 0..400 {
            let late = random.random_range(-40..=next.max(-39));
            let changed = match random.random_range(0..10) {
                0 => maintained.set(late, None),
                1 => {
                    let value = if random.random() { f64::NAN } else { noisy(&mut random, late, 6) };
                    maintained.set(late, Some(value))
                }
                _ => {
                    next += if random.random_range(0..20) == 0 { random.random_range(1..20) } else { 1 };
                    maintained.set(next, Some(noisy(&mut random, next, 6)))
                }
            };
            for place in changed {
                let placed = maintained.series.place(maintained.at(place));
                if maintained.points.contains_key(&place) {
                    maintained.seen.insert(place, placed);
                }
            }
            if random.random_range(0..10) == 0 {
                let Maintained { seen, points, .. } = &maintained;
                seen.iter().for_each(|(index, placed)| check(&options, points, *index, *placed));
                assert!(seen.keys().eq(points.keys()));
            }
        }
        let (index, values): (Vec<i64>, Vec<f64>) =
            maintained.points.iter().map(|(index, value)| (*index, *value)).unzip();
        let batch = baseline.place_all(&index, &values);
        assert_eq!(
            format!("{:?}", maintained.seen.values().collect::<Vec<_>>()),
            format!("{:?}", batch.iter().collect::<Vec<_>>())
        );
        assert!(batch.iter().flatten().count() > 20);
    }
}

/// The least of all places, before which there is no boundary: a change still reaches those that it affects.
#[test]
fn a_change_reaches_what_it_affects_at_the_least_place() {
    let options = BaselineOptions { refit_every: Some(10), window_periods: 4, ..options(&[2]) };
    let baseline = Baseline::new(options).unwrap();
    let mut series = Series::new(baseline.clone());
    let value = |nth: usize| (nth % 2) as f64 + nth as f64 / 10.0;
    (0..12).for_each(|nth| series.splice(nth, 0, 1, i64::MIN + nth as i64, value(nth)));
    let before: Vec<_> = (0..12).map(|nth| format!("{:?}", series.place(nth))).collect();
    let reach = series.reach(i64::MIN + 3, 50.0);
    series.splice(3, 1, 1, i64::MIN + 3, 50.0);
    let after: Vec<_> = (0..12).map(|nth| format!("{:?}", series.place(nth))).collect();
    let places: Vec<i64> = (0..12).map(|nth| i64::MIN + nth).collect();
    let values: Vec<f64> = (0..12).map(|nth| if nth == 3 { 50.0 } else { value(nth) }).collect();
    let batch = baseline.place_all(&places, &values);
    assert_eq!(after, batch.iter().map(|placed| format!("{placed:?}")).collect::<Vec<_>>());
    let changed: Vec<usize> = (0..12).filter(|nth| *nth != 3 && before[*nth] != after[*nth]).collect();
    assert!(!changed.is_empty());
    assert!(changed.iter().all(|nth| reach.contains(nth)), "{changed:?} in {reach:?}");
}

#[test]
fn only_fits_whose_window_changed_are_computed_again() {
    let baseline = Baseline::new(BaselineOptions { window_periods: 3, ..options(&[10]) }).unwrap();
    let mut series = Series::new(baseline);
    for index in 0..160 {
        series.splice(index, 0, 1, index as i64, (index % 10) as f64);
        series.place(index);
    }
    assert_eq!(series.fits_computed(), 15);
    assert_eq!(series.reach(85, 100.0), 90..120);
    assert_eq!(series.reach(85, f64::NAN), 0..0);
    assert_eq!(series.reach(160, 1.0), 160..160);
    series.splice(85, 1, 0, 85, 5.0);
    series.splice(85, 0, 1, 85, 100.0);
    (0..160).for_each(|index| _ = series.place(index));
    assert_eq!(series.fits_computed(), 18);
}

#[test]
fn of_several_points_in_a_place_the_greatest_counts() {
    let baseline = Baseline::new(options(&[5])).unwrap();
    let value = |index: i64| (index % 5) as f64 + (index * 7 % 3) as f64 * 0.1;
    let index: Vec<i64> = (0..60).collect();
    let values: Vec<f64> = index.iter().map(|index| value(*index)).collect();
    let one = baseline.place_all(&index, &values);
    let twice: Vec<i64> = index.iter().flat_map(|index| [*index, *index, *index]).collect();
    let lower = index.iter().flat_map(|index| [value(*index) - 1.0, value(*index), f64::NAN]);
    let placed = baseline.place_all(&twice, &lower.collect::<Vec<_>>());
    assert!(one.iter().flatten().count() > 40);
    (0..60).for_each(|at| assert_eq!(placed[3 * at + 1], one[at]));
}

#[test]
fn rows_do_not_depend_on_order_nor_on_what_comes_later() {
    let mut random = StdRng::seed_from_u64(2);
    let index: Vec<i64> = (1000..1200).collect();
    let values: Vec<f64> = index.iter().map(|index| noisy(&mut random, *index, 6)).collect();
    for options in some_options() {
        let baseline = Baseline::new(options).unwrap();
        let placed = baseline.place_all(&index, &values);
        let backwards = |all: &[f64]| all.iter().rev().copied().collect::<Vec<f64>>();
        let reversed: Vec<i64> = index.iter().rev().copied().collect();
        let mut again = baseline.place_all(&reversed, &backwards(&values));
        again.reverse();
        assert_eq!(again, placed);
        assert_eq!(baseline.place_all(&index[..150], &values[..150]), placed[..150]);
    }
}

#[test]
fn a_jump_is_anomalous_and_a_season_is_not() {
    let index: Vec<i64> = (0..300).collect();
    let mut values: Vec<f64> = index.iter().map(|i| (i % 24 * 10) as f64 + (i * 7 % 11) as f64).collect();
    values[250] += 40.0;
    values[260] = f64::NAN;
    let options = BaselineOptions { threshold: 3.0, ..options(&[24]) };
    let placed = Baseline::new(options).unwrap().place_all(&index, &values);
    let anomalous: Vec<usize> =
        (150..300).filter(|i| placed[*i].is_some_and(|placed| placed.anomalous)).collect();
    assert_eq!(anomalous, [250]);
    assert_eq!(placed.iter().position(Option::is_some), Some(48));
    assert!((placed[250].unwrap().residual - 40.0).abs() < 10.0);
    assert!((placed[260].unwrap().expected - 205.0).abs() < 5.0);
}

#[test]
fn a_deviation_of_zero_is_told_apart_from_rounding() {
    let index: Vec<i64> = (0..100).collect();
    let mut values: Vec<f64> = index.iter().map(|i| (i % 5) as f64 / 3.0).collect();
    let baseline = Baseline::new(options(&[5])).unwrap();
    assert!(baseline.place_all(&index, &values).iter().flatten().all(|placed| !placed.anomalous));
    values[90] += 0.001;
    assert!(baseline.place_all(&index, &values)[90].unwrap().anomalous);
    let mut zeros = vec![0.0; 100];
    zeros[90] = 1e-300;
    let placed = baseline.place_all(&index, &zeros);
    assert_eq!((placed[89].unwrap().score, placed[90].unwrap().score), (0.0, f64::INFINITY));
}

#[test]
fn no_values_panic() {
    let edges = [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX];
    for options in some_options() {
        let baseline = Baseline::new(options).unwrap();
        for value in [0.0, f64::NAN, f64::INFINITY, f64::MAX, -1e-320] {
            baseline.place_all(&edges, &[value; 7]);
            let index: Vec<i64> = (0..60).map(|i| i64::MAX - i).collect();
            let values: Vec<f64> = (0..60).map(|i| if i % 3 == 0 { -value } else { value }).collect();
            assert_eq!(baseline.place_all(&index, &values).len(), 60);
            let mut maintained = Maintained::new(&baseline);
            edges.iter().chain(&index).for_each(|index| {
                maintained.set(*index, Some(value));
                maintained.series.place(maintained.at(*index));
            });
            edges.iter().for_each(|index| _ = maintained.set(*index, None));
        }
    }
}

#[test]
fn wrong_options_are_refused() {
    let message = |options: BaselineOptions| Baseline::new(options).unwrap_err().to_string();
    let good = options(&[24]);
    assert_eq!(message(options(&[])), "periods '[]' are not one or more numbers of at least 2 that increase");
    assert_eq!(
        message(BaselineOptions { threshold: 0.0, ..good.clone() }),
        "threshold '0' is not a number above 0"
    );
    let offset = BaselineOptions { refit_offset: 24, ..good.clone() };
    assert_eq!(message(offset), "refit_offset '24' is not in 0..=23");
    let short = BaselineOptions { window_periods: 1, ..good.clone() };
    assert_eq!(message(short), "window_periods '1' is not in 2..=10000000");
    let long = BaselineOptions { window_periods: 1_000_000, ..good };
    assert_eq!(message(long), "window of '1000000' times '24' points is longer than 10000000");
    let found = BaselineOptions::new(Season::Found { points_max: 1 });
    assert_eq!(message(found), "points_max '1' is not in 3..=5000000");
}
