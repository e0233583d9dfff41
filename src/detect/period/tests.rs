use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rand_distr::StandardNormal;

use super::*;

fn normal(random: &mut StdRng) -> f64 {
    random.sample(StandardNormal)
}

/// A pattern of a few bumps that repeats, and noise.
fn periodic(random: &mut StdRng, points: usize, period: usize, noise: f64) -> Vec<f64> {
    let at = |i: usize| {
        let angle = i as f64 / period as f64 * std::f64::consts::TAU;
        angle.sin() + 0.8 * (2.0 * angle).sin() + 0.7 * (3.0 * angle).cos()
    };
    (0..points).map(|i| at(i) + noise * normal(random)).collect()
}

#[test]
fn a_period_is_found_under_trend_steps_outliers_and_gaps() {
    let mut random = StdRng::seed_from_u64(1);
    for period in [12, 24, 60, 97, 288] {
        let clean = periodic(&mut random, 8 * period, period, 0.3);
        let longest = PeriodSearch::UpTo(8 * period);
        assert_eq!(find_period(&clean, longest), Some(period));
        let with = |change: &dyn Fn(usize, f64) -> f64| {
            let changed: Vec<f64> = clean.iter().enumerate().map(|(i, value)| change(i, *value)).collect();
            let found = find_period(&changed, longest).unwrap_or(0);
            assert!(found.abs_diff(period) <= 1 + period / 50, "{found} is not {period}");
        };
        with(&|i, value| value + 20.0 * i as f64 / period as f64);
        with(&|i, value| value + if i > 5 * period { 8.0 } else { 0.0 });
        with(&|i, value| if i.wrapping_mul(2_654_435_761) >> 9 & 63 == 5 { 1e6 } else { value });
        with(&|i, value| if i % 5 == 1 { f64::NAN } else { value });
        assert_eq!(find_period(&clean, PeriodSearch::Among(&[5, period, 2 * period])), Some(period));
        assert_eq!(find_period(&clean, PeriodSearch::Among(&[period * 3 / 2])), None);
        assert_eq!(find_period(&clean[..4 * period - 1], longest).filter(|found| *found == period), None);
    }
}

/// Of 200 series without a period of each kind, at most one in fifty is said to have one.
#[test]
fn noise_has_no_period() {
    let mut random = StdRng::seed_from_u64(2);
    for memory in [0.0, 0.5, 0.9, 0.99, 1.0] {
        let mut found = vec![];
        for _ in 0..200 {
            let mut level = 0.0;
            let step = |_| {
                level = memory * level + normal(&mut random);
                level
            };
            let values: Vec<f64> = (0..1000).map(step).collect();
            found.extend(find_period(&values, PeriodSearch::UpTo(1000)));
        }
        assert!(found.len() <= 4, "{found:?} with memory {memory}");
    }
}

#[test]
fn the_moving_average_is_that_of_a_period_around() {
    assert_eq!(without_moving_average(&[1.0, 2.0, 6.0, 1.0, 2.0], 3), [-1.0, 3.0, -2.0]);
    assert_eq!(without_moving_average(&[1.0, 2.0, 6.0, 1.0], 2), [2.0 - 2.75, 6.0 - 3.75]);
}

#[test]
fn the_autocorrelation_is_that_of_its_definition() {
    let values = periodic(&mut StdRng::seed_from_u64(3), 50, 9, 1.0);
    let mean = values.iter().sum::<f64>() / 50.0;
    let product = |lag: usize| {
        let products = values.iter().zip(&values[lag..]).map(|(left, right)| (left - mean) * (right - mean));
        products.sum::<f64>() / (50 - lag) as f64
    };
    for (lag, found) in autocorrelation(&values).into_iter().enumerate() {
        assert!((found - product(lag) / product(0)).abs() < 1e-9);
    }
}

#[test]
fn cycles_that_repeat_correlate_fully() {
    let values: Vec<f64> = (0..50).map(|i| f64::from(i % 5)).collect();
    assert!((cycle_correlation(&values, 5) - 1.0).abs() < 1e-12);
    assert!(cycle_correlation(&values, 4) < 0.1);
    assert_eq!(cycle_correlation(&values[..14], 5), 0.0);
}

#[test]
fn no_values_panic() {
    for value in [0.0, 1.0, f64::NAN, f64::INFINITY, f64::MAX, 1e-320] {
        for points in 0..40 {
            let values: Vec<f64> = (0..points).map(|i| if i % 3 == 0 { -value } else { value }).collect();
            let found = find_period(&values, PeriodSearch::UpTo(usize::MAX));
            assert!(found.is_none_or(|period| period <= points / 4), "{value} {points} {found:?}");
            assert!(find_period(&vec![value; points], PeriodSearch::Among(&[0, 1, 2, 3])).is_none());
        }
    }
}
