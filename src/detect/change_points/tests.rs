mod agreement;
mod collection;
mod edits;
mod oracle;
mod real;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::envelope::Envelope;
use super::sums::Sums;
use super::*;

/// Nearly normal noise.
fn noise(random: &mut StdRng) -> f64 {
    (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0
}

/// Noise whose level, or spread, becomes another now and then; or coarse, or a walk, or of one value.
fn series(random: &mut StdRng, len: usize) -> Vec<f64> {
    let (kind, segment_len) = (random.random_range(0..6), random.random_range(1..60));
    let (mut level, mut spread) = (0.0, 1.0);
    let value = |at| {
        if at % segment_len == 0 {
            level = 3.0 * noise(random);
            spread = random.random_range(0.1..4.0);
        }
        match kind {
            0 => level + noise(random),
            1 => spread * noise(random),
            2 => (level + spread * noise(random)).round(),
            3 => {
                level += noise(random);
                level
            }
            4 => noise(random),
            _ => level,
        }
    };
    (0..len).map(value).collect()
}

fn options(random: &mut StdRng) -> Options {
    let value = random.random_range(0.0..30.0);
    let penalties = [Penalty::Aic, Penalty::Bic, Penalty::Mbic, Penalty::Value(value), Penalty::Value(0.5)];
    Options {
        cost: [Cost::Mean, Cost::MeanVariance][random.random_range(0..2)],
        penalty: penalties[random.random_range(0..penalties.len())],
        scaling: [Scaling::Raw, Scaling::Deviation, Scaling::Differences][random.random_range(0..3)],
        basis: [Basis::Whole, Basis::Leading][random.random_range(0..2)],
        segment_len_min: [1, 2, 3, 5, 10, 40][random.random_range(0..6)],
    }
}

fn indices(segmentation: &Segmentation) -> Vec<usize> {
    segmentation.changes.iter().map(|change| change.index).collect()
}

#[test]
fn a_step_is_found_and_described() {
    // The mean of three in a row is 1, their variance 2/3.
    let values: Vec<f64> = (0..60).map(|at| f64::from(at % 3) + if at < 30 { 0.0 } else { 9.0 }).collect();
    for cost in [Cost::Mean, Cost::MeanVariance] {
        let found = optimal(&values, &Options { cost, ..Options::default() }).unwrap();
        let [change] = found.changes[..] else { panic!("{found:?}") };
        assert_eq!((found.len, change.index), (60, 30));
        assert!((change.mean_before - 1.0).abs() < 1e-12 && (change.mean_after - 10.0).abs() < 1e-12);
        assert!((change.size - 9.0).abs() < 1e-12);
        assert!((change.size_deviations - 9.0 / (2.0 / 3.0_f64).sqrt()).abs() < 1e-9);
        // As soon as the new segment is long enough.
        assert_eq!(change.certain_len, 40);
    }
}

#[test]
fn a_change_of_spread_is_one_of_mean_and_variance_alone() {
    let spread = |at| if at < 100 { 0.1 } else { 3.0 };
    let values: Vec<f64> = (0..200).map(|at| f64::from([-1, 1, 1, -1][at % 4]) * spread(at)).collect();
    let changes = |cost| indices(&optimal(&values, &Options { cost, ..Options::default() }).unwrap());
    assert_eq!(changes(Cost::MeanVariance), [100]);
    assert_eq!(changes(Cost::Mean), [0; 0]);
}

#[test]
fn short_and_constant_series_have_no_change_points() {
    for cost in [Cost::Mean, Cost::MeanVariance] {
        let options = Options { cost, ..Options::default() };
        for len in [0, 1, 2, 9, 10, 19] {
            let values: Vec<f64> = (0..len).map(|at| f64::from(at / 10) * 1e6).collect();
            assert_eq!(optimal(&values, &options).unwrap().changes, []);
        }
        for value in [0.0, -7.5, 1e-300, f64::MAX] {
            assert_eq!(optimal(&[value; 500], &options).unwrap().changes, []);
        }
    }
}

#[test]
fn options_that_cannot_be() {
    for (options, message) in [
        (
            Options { segment_len_min: 0, ..Options::default() },
            "least segment length '0' is not in 1..=1000000",
        ),
        (
            Options { segment_len_min: 1_000_001, ..Options::default() },
            "least segment length '1000001' is not in 1..=1000000",
        ),
        (
            Options { penalty: Penalty::Value(-1.0), ..Options::default() },
            "penalty '-1' is not a finite number from 0",
        ),
        (
            Options { penalty: Penalty::Value(f64::NAN), ..Options::default() },
            "penalty 'NaN' is not a finite number from 0",
        ),
    ] {
        assert_eq!(optimal(&[1.0], &options).unwrap_err().to_string(), message);
    }
}

#[test]
fn penalties_are_those_of_the_criteria() {
    let values = [0.0, 1.0].repeat(50);
    let penalty = |cost, penalty, basis| {
        let options = Options { cost, penalty, basis, ..Options::default() };
        optimal(&values, &options).unwrap().penalty
    };
    for (cost, parameters) in [(Cost::Mean, 2.0), (Cost::MeanVariance, 3.0)] {
        // 100 values; of the first 96 the next power of two is 128.
        for (basis, len) in [(Basis::Whole, 100.0_f64), (Basis::Leading, 128.0)] {
            assert_eq!(penalty(cost, Penalty::Aic, basis), 2.0 * parameters);
            assert_eq!(penalty(cost, Penalty::Bic, basis), parameters * len.ln());
            assert_eq!(penalty(cost, Penalty::Mbic, basis), (parameters + 1.0) * len.ln());
            assert_eq!(penalty(cost, Penalty::Value(7.5), basis), 7.5);
        }
    }
}

/// What the dynamic program over all begins of segments finds: as cheap, and with segments that are long
/// enough.
#[test]
fn the_optimum_is_that_of_the_full_dynamic_program() {
    let mut random = StdRng::seed_from_u64(7);
    for _ in 0..400 {
        let len = random.random_range(0..200);
        let (values, options) = (series(&mut random, len), options(&mut random));
        let found = optimal(&values, &options).unwrap();
        let scaled: Vec<f64> = values.iter().map(|value| value / found.scale).collect();
        let least = oracle::least_costs(&scaled, &options, found.penalty);
        if len < options.segment_len_min {
            assert_eq!((found.objective, &found.changes[..]), (0.0, &[][..]));
            continue;
        }
        let tolerance = 1e-8 * (1.0 + least[len].abs());
        assert!(
            (found.objective - least[len]).abs() <= tolerance,
            "{found:?} for {}, {options:?}",
            least[len]
        );
        let changes = indices(&found);
        let summed = oracle::objective(&scaled, &changes, &options, found.penalty);
        assert!((found.objective - summed).abs() <= tolerance, "{found:?} costs {summed}, {options:?}");
        let bounds: Vec<usize> = [vec![0], changes, vec![len]].concat();
        assert!(bounds.windows(2).all(|bound| bound[1] - bound[0] >= options.segment_len_min));
    }
}

/// A begin that is worse than a new segment is dropped only once the new one is long enough.
#[test]
fn nothing_is_dropped_too_early() {
    let mut random = StdRng::seed_from_u64(13);
    for _ in 0..600 {
        let values: Vec<f64> = (0..50).map(|_| f64::from(random.random_range(0..4)).powi(3)).collect();
        let (penalty, segment_len_min) = (random.random_range(0.0..4.0), random.random_range(5..12));
        let (penalty, scaling) = (Penalty::Value(penalty), Scaling::Raw);
        let options =
            Options { cost: Cost::MeanVariance, penalty, scaling, segment_len_min, ..Options::default() };
        let found = optimal(&values, &options).unwrap();
        let least = oracle::least_costs(&values, &options, found.penalty)[values.len()];
        assert!((found.objective - least).abs() <= 1e-6, "{found:?} for {least}, {options:?}");
    }
}

/// By definition: the optima of all begins of the series are looked at.
#[test]
fn certain_since_the_first_of_all_later_optima() {
    let mut random = StdRng::seed_from_u64(8);
    let mut later_than_possible = 0;
    for _ in 0..60 {
        let values = series(&mut random, 200);
        // A measure that is the same for all begins.
        let (scaling, penalty) = (Scaling::Raw, Penalty::Value(random.random_range(3.0..20.0)));
        let options = Options { scaling, penalty, ..options(&mut random) };
        let optima: Vec<Vec<usize>> =
            (0..=200).map(|len| indices(&optimal(&values[..len], &options).unwrap())).collect();
        for change in optimal(&values, &options).unwrap().changes {
            let without = (0..=200).rev().find(|len| !optima[*len].contains(&change.index)).unwrap();
            assert_eq!(change.certain_len, without + 1, "{change:?}, {options:?}");
            later_than_possible += usize::from(change.certain_len > change.index + options.segment_len_min);
        }
    }
    assert!(later_than_possible > 100);
}

#[test]
fn values_that_are_not_finite_are_passed_over() {
    let mut random = StdRng::seed_from_u64(9);
    for _ in 0..100 {
        let (all, options) = (series(&mut random, 150), options(&mut random));
        let gaps = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        let is_gap: Vec<bool> = all.iter().map(|_| random.random_bool(0.2)).collect();
        let with_gaps =
            all.iter().zip(&is_gap).map(|(value, is_gap)| if *is_gap { gaps[all.len() % 3] } else { *value });
        let with_gaps: Vec<f64> = with_gaps.collect();
        let kept: Vec<usize> = (0..all.len()).filter(|at| !is_gap[*at]).collect();
        let finite: Vec<f64> = kept.iter().map(|at| all[*at]).collect();
        let mut expected = optimal(&finite, &options).unwrap();
        expected.len = all.len();
        for change in &mut expected.changes {
            change.index = kept[change.index];
            change.certain_len = kept[change.certain_len - 1] + 1;
        }
        assert_eq!(optimal(&with_gaps, &options).unwrap(), expected);
    }
}

#[test]
fn any_doubles_have_a_segmentation() {
    let mut random = StdRng::seed_from_u64(10);
    for _ in 0..200 {
        let options = options(&mut random);
        let huge = random.random_bool(0.5);
        let any = |random: &mut StdRng| match random.random_range(0..4) {
            0 => f64::from_bits(random.random()),
            1 if huge => f64::MAX * f64::from(random.random_range(-1..=1)),
            _ => noise(random),
        };
        let values: Vec<f64> = (0..300).map(|_| any(&mut random)).collect();
        let found = optimal(&values, &options).unwrap();
        assert!(indices(&found).is_sorted() && indices(&found).iter().all(|index| (1..300).contains(index)));
        assert!(!found.objective.is_nan());
    }
}

/// What is added to all values changes nothing.
#[test]
fn far_from_zero_as_well() {
    let mut random = StdRng::seed_from_u64(11);
    for cost in [Cost::Mean, Cost::MeanVariance] {
        let values: Vec<f64> =
            (0..500).map(|at| (4.0 * noise(&mut random)).round() + f64::from(at / 100 % 2) * 20.0).collect();
        let far: Vec<f64> = values.iter().map(|value| value + 1e12).collect();
        let options = Options { cost, ..Options::default() };
        let (near, far) = (optimal(&values, &options).unwrap(), optimal(&far, &options).unwrap());
        assert_eq!(indices(&near), indices(&far));
        assert_eq!(near.changes.len(), 4);
    }
}

/// Plain PELT keeps thousands of candidates here.
#[test]
fn few_levels_are_kept_on_a_quiet_series() {
    let mut random = StdRng::seed_from_u64(12);
    let (mut sums, mut envelope, mut pieces) = (Sums::new(), Envelope::new(), 0);
    for start in 0..20_000 {
        // One segment is the optimum of all begins of the series.
        let best = if start == 0 { 0.0 } else { sums.squared_error(0, start) + 20.0 };
        envelope.admit(&sums, start, best);
        sums.push(noise(&mut random));
        pieces = pieces.max(envelope.len());
    }
    assert!(pieces < 100, "{pieces}");
}
