use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::super::deviation::deviation;
use super::*;

fn options(deviation: Deviation) -> ThreeSigmaOptions {
    ThreeSigmaOptions { deviation, min_samples: 3, ..ThreeSigmaOptions::default() }
}

#[test]
fn a_value_is_measured_against_those_before_it() {
    let judged = three_sigma(&[1.0, 3.0, f64::NAN, 8.0, 2.0], &options(Deviation::Standard)).unwrap();
    assert_eq!(judged[..3], [None; 3]);
    let third = judged[3].unwrap();
    assert_eq!((third.middle, third.deviation), (2.0, 2.0_f64.sqrt()));
    assert_eq!(third.score, 6.0 / (3.0 * 2.0_f64.sqrt()));
    assert!(third.score > 1.0 && !third.anomalous, "two values are fewer than min_samples");
    assert_eq!(judged[4].unwrap().middle, 4.0);
    let robust = three_sigma(&[1.0, 3.0, 1e9, 2.0, 9.0], &options(Deviation::Robust)).unwrap()[4].unwrap();
    assert_eq!((robust.middle, robust.deviation), (2.5, 1.0 * 1.4826));
    assert!(robust.anomalous);
}

#[test]
fn only_the_window_counts() {
    let values: Vec<f64> = (0..50).map(f64::from).collect();
    for kind in [Deviation::Standard, Deviation::Robust] {
        let windowed = ThreeSigmaOptions { window: Some(3), ..options(kind) };
        let judged = three_sigma(&values, &windowed).unwrap();
        assert!(
            judged[3..].iter().flatten().zip(1..).all(|(judged, middle)| judged.middle == f64::from(middle))
        );
        assert_eq!(judged[40].unwrap().deviation, if kind == Deviation::Standard { 1.0 } else { 1.4826 });
    }
}

#[test]
fn a_constant_series_has_a_deviation_of_zero() {
    let judged = three_sigma(&[0.1, 0.1, 0.1, 0.1, 0.2], &options(Deviation::Standard)).unwrap();
    assert_eq!(judged[3].unwrap().score, 0.0);
    assert_eq!(judged[4].unwrap().score, f64::INFINITY);
    assert!(judged[4].unwrap().anomalous);
}

#[test]
fn agrees_with_computing_each_anew() {
    let mut random = StdRng::seed_from_u64(1);
    let value = |_| if random.random_range(0..20) == 0 { f64::NAN } else { 1e6 + random.random::<f64>() };
    let values: Vec<f64> = (0..400).map(value).collect();
    for kind in [Deviation::Standard, Deviation::Robust] {
        for window in [None, Some(2), Some(50)] {
            let judged = three_sigma(&values, &ThreeSigmaOptions { window, ..options(kind) }).unwrap();
            for (i, judged) in judged.iter().enumerate() {
                let before: Vec<f64> = values[..i].iter().copied().filter(|value| !value.is_nan()).collect();
                let before = &before[before.len().saturating_sub(window.unwrap_or(usize::MAX))..];
                let expected = deviation(before, kind).filter(|_| !values[i].is_nan());
                assert_eq!(judged.is_some(), expected.is_some());
                let (Some(judged), Some(expected)) = (judged, expected) else { continue };
                assert!((judged.deviation - expected).abs() <= 1e-9);
                assert!((judged.score * 3.0 * expected - (values[i] - judged.middle).abs()).abs() < 1e-8);
            }
        }
    }
}

/// Exactly, and in any order.
#[test]
fn what_is_retracted_leaves_no_trace() {
    let mut random = StdRng::seed_from_u64(2);
    for kind in [Deviation::Standard, Deviation::Robust] {
        let mut values: Vec<f64> = (0..60).map(|_| random.random::<f64>() * 1e3).collect();
        let mut gone: Vec<f64> = (0..60).map(|_| random.random::<f64>() * 1e12).collect();
        let (mut plain, mut churned) = (Samples::new(kind), Samples::new(kind));
        values.iter().for_each(|value| plain.add(*value));
        values.shuffle(&mut random);
        gone.iter().chain(&values).for_each(|value| churned.add(*value));
        gone.shuffle(&mut random);
        gone.iter().for_each(|value| churned.retract(*value));
        assert_eq!(churned.middle_and_deviation(), plain.middle_and_deviation());
        assert_eq!(churned.count(), 60);
    }
}

#[test]
fn no_values_panic_and_wrong_options_are_refused() {
    for value in [0.0, f64::NAN, f64::INFINITY, f64::MAX, 1e-320] {
        for kind in [Deviation::Standard, Deviation::Robust] {
            let values: Vec<f64> = (0..20).map(|i| if i % 3 == 0 { -value } else { value }).collect();
            assert_eq!(three_sigma(&values, &options(kind)).unwrap().len(), 20);
        }
    }
    let message = |options: ThreeSigmaOptions| three_sigma(&[], &options).unwrap_err().to_string();
    let good = ThreeSigmaOptions::default();
    assert_eq!(message(ThreeSigmaOptions { window: Some(1), ..good }), "window '1' is not at least 2");
    assert_eq!(
        message(ThreeSigmaOptions { threshold: f64::NAN, ..good }),
        "threshold 'NaN' is not a number above 0"
    );
}

/// Appends, late values, corrections and removals; all values, and those that an edit reaches.
#[test]
fn a_maintained_series_is_the_definition() {
    let mut random = StdRng::seed_from_u64(11);
    for window in [None, Some(2), Some(5)] {
        for deviation in [Deviation::Standard, Deviation::Robust] {
            let options = ThreeSigmaOptions { window, deviation, min_samples: 3, ..Default::default() };
            let (mut series, mut values) = (Series::new(options).unwrap(), vec![]);
            for _ in 0..300 {
                let index =
                    if random.random() { values.len() } else { random.random_range(0..=values.len()) };
                let removed = random.random_range(0..3).min(values.len() - index);
                let drawn = |random: &mut StdRng| {
                    let number = f64::from(random.random_range(-3..9));
                    if number == 8.0 { f64::NAN } else { number }
                };
                let new: Vec<f64> = (0..random.random_range(0..3)).map(|_| drawn(&mut random)).collect();
                let before = three_sigma(&values, &options).unwrap();
                let reached =
                    (index..(index + removed).max(index + 1)).map(|at| series.reach(at).end).max().unwrap();
                values.splice(index..index + removed, new.iter().copied());
                series.splice(index, removed, &new);
                let after = three_sigma(&values, &options).unwrap();
                let kept = before.len() - reached.max(index + removed);
                assert_eq!(before[before.len() - kept..], after[after.len() - kept..]);
                let asked = if random.random() { 0 } else { values.len().saturating_sub(4) };
                for (at, judged) in after.iter().enumerate().skip(asked) {
                    assert_eq!(series.judge(at), *judged, "{options:?} {at} of {values:?}");
                }
            }
        }
    }
}
