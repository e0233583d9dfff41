use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::moments::{Divisor, mean, variance};
use super::*;

fn sum(values: &[f64]) -> ExactSum {
    let mut sum = ExactSum::default();
    values.iter().for_each(|value| sum.add(*value, 1));
    sum
}

fn squares(values: &[f64]) -> ExactSum {
    let mut sum = ExactSum::default();
    values.iter().for_each(|value| sum.add_square(*value, 1));
    sum
}

fn check(values: &[f64], expected: f64) {
    let value = sum(values).value();
    assert_eq!(value.to_bits(), expected.to_bits(), "{values:?} gives {value:e}, not {expected:e}");
}

/// Doubles of all kinds: any bits, telemetry-like, small integers, powers of two, zeros.
fn any_double(random: &mut StdRng) -> f64 {
    match random.random_range(0..6) {
        0 => f64::from_bits(random.random::<u64>() & !(1 << 62)),
        1 => f64::from_bits(random.random::<u64>()),
        2 => f64::from(random.random_range(-1000..1000)),
        3 => f64::from(random.random_range(-1074..=1023)).exp2(),
        4 => f64::from_bits(random.random_range(0..1 << 53)),
        _ => random.random::<f64>() * 1e3 - 200.0,
    }
}

#[test]
fn edge_values() {
    let (max, min) = (f64::MAX, f64::from_bits(1));
    check(&[], 0.0);
    check(&[-0.0, -0.0], 0.0);
    check(&[0.1, 0.2], 0.1 + 0.2);
    check(&[1.0, 1e100, 1.0, -1e100], 2.0);
    check(&[max, max, -max], max);
    check(&[max, max], f64::INFINITY);
    check(&[-max, -max], f64::NEG_INFINITY);
    check(&[max, max * f64::EPSILON / 4.0], max);
    check(&[max, 2_f64.powi(970)], f64::INFINITY);
    check(&[min], min);
    check(&[min, -min], 0.0);
    check(&[min, min, -max, max], 2.0 * min);
    check(&[f64::MIN_POSITIVE, -min], f64::from_bits((1 << 52) - 1));
    check(&[f64::INFINITY, max], f64::INFINITY);
    check(&[f64::NEG_INFINITY, max], f64::NEG_INFINITY);
    assert!(sum(&[f64::INFINITY, f64::NEG_INFINITY]).value().is_nan());
    assert!(sum(&[f64::NAN, f64::INFINITY]).value().is_nan());
}

#[test]
fn ties_go_to_the_even_double() {
    let ulp = f64::EPSILON;
    check(&[1.0, ulp / 2.0], 1.0);
    check(&[1.0, ulp / 2.0, f64::from_bits(1)], 1.0 + ulp);
    check(&[1.0 + ulp, ulp / 2.0], 1.0 + 2.0 * ulp);
    check(&[-1.0, -ulp / 2.0, -f64::from_bits(1)], -1.0 - ulp);
    check(&[2_f64.powi(53), 1.0], 2_f64.powi(53));
    check(&[2_f64.powi(53), 1.0, 1e-300], 2_f64.powi(53) + 2.0);
    check(&[1.0, -ulp / 4.0], 1.0);
    check(&[1.0, -ulp / 4.0, -f64::from_bits(1)], 1.0 - ulp / 2.0);
}

#[test]
fn agrees_with_integers() {
    let mut random = StdRng::seed_from_u64(1);
    for _ in 0..2000 {
        let (mut exact, mut sum) = (0_i128, ExactSum::default());
        for _ in 0..random.random_range(1..40) {
            let (integer, shift) = (random.random_range(-1_i64 << 40..1 << 40), random.random_range(0..60));
            let weight = if random.random() { random.random_range(-200..200) } else { 1 };
            exact += (i128::from(integer) << shift) * i128::from(weight);
            sum.add(integer as f64 * f64::from(shift - 50).exp2(), weight);
        }
        assert_eq!(sum.value(), exact as f64 * (-50_f64).exp2());
    }
}

#[test]
fn squares_agree_with_integers() {
    let mut random = StdRng::seed_from_u64(2);
    for _ in 0..2000 {
        let (mut exact, mut sum) = (0_i128, ExactSum::default());
        for _ in 0..random.random_range(1..40) {
            let (integer, shift) = (random.random_range(-1_i64 << 40..1 << 40), random.random_range(0..12));
            let weight = if random.random() { random.random_range(-200..200) } else { 1 };
            exact += (i128::from(integer) << shift).pow(2) * i128::from(weight);
            sum.add_square(integer as f64 * f64::from(shift - 25).exp2(), weight);
        }
        assert_eq!(sum.value(), exact as f64 * (-50_f64).exp2());
    }
}

#[test]
fn large_weights_are_multiplications() {
    let mut weighted = ExactSum::default();
    weighted.add(1.5, i64::MAX);
    weighted.add(-1e308, i64::MIN);
    weighted.add(1e308, i64::MIN);
    assert_eq!(weighted.value(), 1.5 * i64::MAX as f64);
    weighted.add(1.5, i64::MIN);
    assert_eq!(weighted.value(), -1.5);
    let mut square = ExactSum::default();
    square.add_square(f64::MAX, i64::MAX);
    assert_eq!(square.value(), f64::INFINITY);
    square.add_square(f64::MAX, -i64::MAX);
    square.add_square(3.0, -7);
    assert_eq!(square.value(), -63.0);
}

#[test]
fn order_grouping_and_retraction_leave_no_trace() {
    let mut random = StdRng::seed_from_u64(3);
    for _ in 0..500 {
        let mut values: Vec<f64> = (0..random.random_range(0..60)).map(|_| any_double(&mut random)).collect();
        let (expected, expected_squares) = (sum(&values), squares(&values));
        let noise: Vec<f64> = (0..20).map(|_| any_double(&mut random)).collect();
        values.shuffle(&mut random);
        let (left, right) = values.split_at(random.random_range(0..=values.len()));
        let (mut parts, mut part_squares) = (sum(left), squares(left));
        for value in &noise {
            parts.add(*value, 3);
            part_squares.add_square(*value, 1);
        }
        parts.merge(&sum(right));
        part_squares.merge_bytes(&squares(right).to_bytes()).unwrap();
        for value in &noise {
            parts.add(*value, -2);
            parts.add(*value, -1);
            part_squares.add_square(*value, -1);
        }
        assert_eq!(parts, expected);
        assert_eq!(parts.to_bytes(), expected.to_bytes());
        assert_eq!(parts.value().to_bits(), expected.value().to_bits());
        assert_eq!(part_squares.to_bytes(), expected_squares.to_bytes());
        parts.merge(&sum(&values.iter().map(|value| -value).collect::<Vec<_>>()));
        let finite = values.iter().all(|value| value.is_finite());
        assert_eq!(parts.is_zero(), finite);
    }
}

#[test]
fn carries_are_passed_on_in_time() {
    for value in [f64::MAX, -1.9, 1e-310, -f64::MAX] {
        let mut sum = ExactSum::default();
        sum.add(value, 1);
        sum.pending = PENDING_MAX - 2;
        sum.far_mut().pending = PENDING_MAX - 2;
        for _ in 0..5 {
            sum.add(value, 1);
            sum.add(-value * 0.5, 1);
            sum.add(value * 1e-200, 1);
        }
        let mut expected = ExactSum::default();
        expected.add(value, 6);
        expected.add(-value * 0.5, 5);
        expected.add(value * 1e-200, 5);
        assert_eq!(sum, expected);
    }
    let mut sum = ExactSum::default();
    sum.add(1.0, 1 << 20);
    for _ in 0..60 {
        let copy = sum.clone();
        sum.merge(&copy);
        sum.settle();
    }
    assert_eq!(sum.value(), 2_f64.powi(80));
}

#[test]
fn bytes_of_others_are_refused() {
    let bytes = |values: &[f64]| sum(values).to_bytes();
    assert_eq!(bytes(&[]), [0]);
    assert_eq!(bytes(&[1.0]), [0, 68, 1, 0, 0, 0]);
    assert_eq!(bytes(&[-1.0]), [1, 68, 1, 0, 0, 0]);
    let message = |bytes: &[u8]| ExactSum::from_bytes(bytes).unwrap_err().to_string();
    assert_eq!(message(&[]), "state of exact sum ends early, after 0 bytes");
    assert_eq!(message(&[4]), "state of exact sum holds flags \"4\" outside its range");
    assert_eq!(message(&[0, 68, 1]), "state of exact sum ends early, after 3 bytes");
    assert_eq!(message(&[0, 140, 1, 0, 0, 0]), "state of exact sum holds digit \"140\" outside its range");
}

#[test]
fn mean_survives_sums_beyond_the_largest_double() {
    assert_eq!(mean(0, &sum(&[])), None);
    assert_eq!(mean(4, &sum(&[f64::MAX; 4])), Some(f64::MAX));
    assert_eq!(mean(3, &sum(&[1.0, 2.0, 4.0])), Some(7.0 / 3.0));
    assert_eq!(mean(2, &sum(&[f64::from_bits(3), f64::from_bits(5)])), Some(f64::from_bits(4)));
    assert_eq!(mean(3, &sum(&[0.1, 0.2, 0.3])), Some(0.2));
    assert_eq!(mean(3, &sum(&[f64::from_bits(1), f64::from_bits(1)])), Some(f64::from_bits(1)));
    assert_eq!(mean(2, &sum(&[f64::from_bits(1)])), Some(0.0));
    assert_eq!(mean(1, &sum(&[f64::NEG_INFINITY])), Some(f64::NEG_INFINITY));
}

#[test]
fn means_are_correctly_rounded() {
    let mut random = StdRng::seed_from_u64(5);
    for _ in 0..20_000 {
        // The mean of a double and its neighbour is a tie; divided by an odd number it is not.
        let value = random.random_range(1 << 52..1_u64 << 53);
        let (next, count) = (value + 1, random.random_range(1..1_i64 << 62));
        let mut total = ExactSum::default();
        total.add(value as f64, 1);
        total.add(next as f64, 1);
        assert_eq!(mean(2, &total), Some((value + value % 2) as f64));
        let mut scaled = ExactSum::default();
        scaled.add(value as f64, count);
        assert_eq!(mean(count, &scaled), Some(value as f64));
        scaled.add(1e-300, 1);
        scaled.add(0.5, count);
        assert_eq!(mean(count, &scaled), Some(next as f64));
        scaled.add(-1e-290, 1);
        assert_eq!(mean(count, &scaled), Some(value as f64));
    }
}

fn variance_of(values: &[f64], divisor: Divisor) -> Option<f64> {
    variance(values.len() as i64, &sum(values), &squares(values), divisor)
}

#[test]
fn variance_of_few_values() {
    use Divisor::{Population, Sample};
    assert_eq!(variance_of(&[], Population), None);
    assert_eq!(variance_of(&[3.0], Sample), None);
    assert_eq!(variance_of(&[3.0], Population), Some(0.0));
    assert_eq!(variance_of(&[0.1; 7], Sample), Some(0.0));
    assert_eq!(variance_of(&[1.0, 2.0, 4.0], Sample), Some(7.0 / 3.0));
    assert_eq!(variance_of(&[-1.0, 1.0], Population), Some(1.0));
    assert_eq!(variance_of(&[1.0, 1.0 + f64::EPSILON], Population), Some(2_f64.powi(-106)));
    assert!(variance_of(&[1.0, f64::INFINITY], Sample).unwrap().is_nan());
    assert_eq!(variance_of(&[f64::MAX, -f64::MAX], Population), Some(f64::INFINITY));
    assert_eq!(variance_of(&[1e154, -1e154], Population), Some(1e154 * 1e154));
    let tiny = 2_f64.powi(-500);
    assert_eq!(variance_of(&[tiny, -tiny], Population), Some(tiny * tiny));
}

#[test]
fn variance_keeps_its_digits_beside_a_large_mean() {
    // Integers k below 2^10 beside offsets up to 2^52: the exact variance is one of small integers.
    let mut random = StdRng::seed_from_u64(4);
    for offset in [0.0, 1e9, 2_f64.powi(52)] {
        let integers: Vec<i64> = (0..1000).map(|_| random.random_range(0..1 << 10)).collect();
        let values: Vec<f64> = integers.iter().map(|k| *k as f64 + offset).collect();
        let n = integers.len() as i128;
        let total: i128 = integers.iter().map(|k| i128::from(*k)).sum();
        let total_squares: i128 = integers.iter().map(|k| i128::from(*k).pow(2)).sum();
        let expected = (n * total_squares - total * total) as f64 / (n * (n - 1)) as f64;
        assert_eq!(variance_of(&values, Divisor::Sample), Some(expected), "offset {offset}");
    }
}
