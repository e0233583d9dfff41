use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::super::deviation::deviation;
use super::*;

fn daily(random: &mut StdRng, points: usize, day: usize) -> Vec<f64> {
    let at = |i: usize| (i as f64 / day as f64 * std::f64::consts::TAU).sin() * 10.0 + random.random::<f64>();
    (0..points).map(at).collect()
}

fn given(period: usize) -> SpikeOptions {
    SpikeOptions { period: SpikePeriod::Given(period), ..SpikeOptions::default() }
}

fn anomalous(values: &[f64], options: &SpikeOptions) -> Vec<usize> {
    let scores = spike_scores(values, options).unwrap();
    (0..values.len()).filter(|place| scores[*place] > 1.0).collect()
}

#[test]
fn what_is_wrong_for_the_hour_is_found_where_it_begins() {
    let mut values = daily(&mut StdRng::seed_from_u64(1), 1000, 100);
    // A value of the night by day, for a while.
    let night = values[675];
    values[725..745].fill(night);
    let anomalous = anomalous(&values, &given(100));
    // The average over some points grows for as many: each is stronger than the last.
    assert_eq!(anomalous.first(), Some(&725));
    assert!(anomalous.iter().all(|place| (725..735).contains(place)), "{anomalous:?}");
}

#[test]
fn the_period_is_found_or_else_taken_as_it_is() {
    let mut random = StdRng::seed_from_u64(2);
    let values = daily(&mut random, 900, 60);
    let score = |period| spike_scores(&values, &SpikeOptions { period, ..SpikeOptions::default() }).unwrap();
    let found = score(SpikePeriod::FoundOr(100));
    assert_eq!(
        found[..400],
        score(SpikePeriod::Given(100))[..400],
        "four periods of 60 are seen at 300, and there"
    );
    let mut spikes = Spikes::new(SpikeOptions { period: SpikePeriod::FoundOr(100), ..given(2) }).unwrap();
    values.iter().for_each(|value| _ = spikes.push(*value));
    assert!(spikes.period.abs_diff(60) <= 1, "{}", spikes.period);
    (0..1500).for_each(|_| _ = spikes.push(random.random()));
    assert_eq!(spikes.period, 100);
}

/// The definition, each score from the beginning.
fn defined(values: &[f64], options: &SpikeOptions, period: usize) -> Vec<f64> {
    let (mut from_mean, mut from_phase, mut nearest, mut strengths) = (vec![], vec![], vec![], vec![]);
    let rarity = |distances: &mut Vec<f64>, distance: f64| {
        let mut sorted = distances.clone();
        sorted.sort_by(f64::total_cmp);
        distances.push(distance);
        if sorted.len() < 50 || distance == 0.0 {
            return 0.0;
        }
        distance / sorted[((sorted.len() - 1) as f64 * options.quantile) as usize]
    };
    for (i, value) in values.iter().enumerate() {
        if value.is_nan() {
            strengths.push(0.0);
            continue;
        }
        let before: Vec<f64> = values[..i].iter().copied().filter(|value| !value.is_nan()).collect();
        let mean = before.iter().sum::<f64>() / before.len() as f64;
        let z = if before.len() < 20 {
            None
        } else {
            Some((value - mean).abs() / deviation(&before, Deviation::Standard).unwrap())
        };
        let back =
            (1..=options.cycles).filter_map(|cycle| i.checked_sub(cycle * period)).map(|place| values[place]);
        let distance =
            back.filter(|value| !value.is_nan()).map(|at| (value - at).abs()).fold(f64::INFINITY, f64::min);
        let mut strength = z.map_or(0.0, |z| rarity(&mut from_mean, z));
        if i >= 2 * period && distance.is_finite() {
            nearest.push(distance);
            let last = &nearest[nearest.len().saturating_sub(options.smooth_points)..];
            strength += rarity(&mut from_phase, last.iter().sum::<f64>() / last.len() as f64);
        }
        strengths.push(strength);
    }
    let counts = |i: usize| {
        let last = &strengths[i.saturating_sub(options.quiet_points)..i];
        last.iter().all(|last| *last < strengths[i]) && strengths[i] > 0.0
    };
    (0..values.len()).map(|i| if counts(i) { strengths[i] / options.threshold } else { 0.0 }).collect()
}

#[test]
fn agrees_with_the_definition() {
    let mut random = StdRng::seed_from_u64(3);
    for (period, cycles, smooth_points, quiet_points) in [(20, 4, 12, 30), (7, 1, 1, 0), (50, 3, 2, 100)] {
        let options = SpikeOptions { cycles, smooth_points, quiet_points, ..given(period) };
        let mut values = daily(&mut random, 400, 20);
        for _ in 0..20 {
            values[random.random_range(0..400)] = f64::NAN;
            values[random.random_range(0..400)] += 5.0;
        }
        let scores = spike_scores(&values, &options).unwrap();
        for (place, (found, expected)) in scores.iter().zip(defined(&values, &options, period)).enumerate() {
            assert!((found - expected).abs() <= 1e-9 * expected, "{found} is not {expected} at {place}");
        }
        assert!(scores.iter().filter(|score| **score > 0.0).count() > 3);
    }
}

#[test]
fn scores_do_not_depend_on_what_comes_later_and_missing_values_have_none() {
    let mut random = StdRng::seed_from_u64(4);
    let mut values = daily(&mut random, 1500, 144);
    values[700] = f64::NAN;
    values[800] = f64::INFINITY;
    let options = SpikeOptions::default();
    let scores = spike_scores(&values, &options).unwrap();
    assert_eq!((scores[700], scores[800]), (0.0, 0.0));
    for end in [300, 701, 1200] {
        assert_eq!(spike_scores(&values[..end], &options).unwrap(), scores[..end]);
    }
}

#[test]
fn a_flat_series_has_no_spikes_until_it_moves() {
    let mut values = vec![0.1; 500];
    assert_eq!(anomalous(&values, &given(48)), [0; 0]);
    values[400] = 0.2;
    assert_eq!(anomalous(&values, &given(48)), [400]);
}

#[test]
fn no_values_panic() {
    for value in [0.0, f64::NAN, f64::INFINITY, f64::MAX, 1e-320] {
        for options in [given(10), SpikeOptions { period: SpikePeriod::FoundOr(12), ..given(2) }] {
            let values: Vec<f64> = (0..200).map(|i| if i % 3 == 0 { -value } else { value }).collect();
            assert!(spike_scores(&values, &options).unwrap().iter().all(|score| *score >= 0.0));
        }
    }
}

#[test]
fn wrong_options_are_refused() {
    let message = |options: SpikeOptions| spike_scores(&[], &options).unwrap_err().to_string();
    let good = SpikeOptions::default();
    assert_eq!(message(given(1)), "period '1' is not at least 2");
    assert_eq!(message(SpikeOptions { cycles: 0, ..good }), "cycles '0' is not at least 1");
    assert_eq!(message(SpikeOptions { smooth_points: 0, ..good }), "smooth_points '0' is not at least 1");
    assert_eq!(message(SpikeOptions { quantile: 1.5, ..good }), "quantile '1.5' is not in 0..=1");
    assert_eq!(message(SpikeOptions { threshold: -1.0, ..good }), "threshold '-1' is not a number above 0");
}

/// Appends, late values, corrections and removals, near the end and far from it.
#[test]
fn a_maintained_series_is_the_definition() {
    let mut random = StdRng::seed_from_u64(12);
    let short = SpikeOptions { quiet_points: 5, smooth_points: 3, ..given(6) };
    let found = SpikeOptions { period: SpikePeriod::FoundOr(16), quiet_points: 0, ..short };
    for options in [short, found] {
        let (mut series, mut values) = (Series::new(options).unwrap(), vec![]);
        for step in 0..500 {
            let index = match random.random_range(0..10) {
                0 => random.random_range(0..=values.len()),
                1..4 => values.len().saturating_sub(random.random_range(0..12)),
                _ => values.len(),
            };
            let removed = random.random_range(0..2).min(values.len() - index);
            let drawn = |at: usize, random: &mut StdRng| match random.random_range(0..20) {
                0 => f64::NAN,
                1 => 40.0,
                _ => (at % 6) as f64 + random.random::<f64>(),
            };
            let new: Vec<f64> =
                (0..random.random_range(0..3)).map(|at| drawn(index + at, &mut random)).collect();
            values.splice(index..index + removed, new.iter().copied());
            series.splice(index, removed, &new);
            let last = values.len().saturating_sub(1);
            let defined = spike_scores(&values, &options).unwrap();
            let asked = if step % 7 == 0 { 0 } else { index.min(last) };
            for (at, score) in defined.iter().enumerate().skip(asked) {
                assert_eq!(series.score(at), Some(*score), "{options:?} {at} of {}", values.len());
            }
        }
        assert!(values.len() > 200);
    }
}
