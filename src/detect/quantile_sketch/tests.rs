use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::*;

const PS: [f64; 11] = [0.0, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0];

fn sketch(relative_error: f64, values: &[f64]) -> Sketch {
    let mut sketch = Sketch::new(relative_error);
    values.iter().for_each(|value| sketch.add(*value, 1));
    sketch
}

fn any_double(random: &mut StdRng) -> f64 {
    match random.random_range(0..8) {
        0 => f64::from_bits(random.random()),
        1 => f64::from_bits(random.random_range(0..1 << 53)),
        2 => [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -f64::NAN][random.random_range(0..6)],
        3 => f64::from(random.random_range(-20..20)),
        _ => (random.random::<f64>() * 9.0).exp(),
    }
}

/// Sorted as the sketch sorts: zeros are one, NaNs are one and last.
fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.iter().map(|v| if v.is_nan() { f64::NAN } else { *v + 0.0 }).collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn check_quantiles(relative_error: f64, values: &[f64]) {
    let sketch = sketch(relative_error, values);
    let sorted = sorted(values);
    for (p, quantile) in PS.into_iter().zip(sketch.quantiles(&PS)) {
        assert_eq!(quantile.map(f64::to_bits), sketch.quantile(p).map(f64::to_bits));
        let (exact, quantile) = (sorted[(p * (sorted.len() - 1) as f64) as usize], quantile.unwrap());
        if exact.is_finite() {
            let error_max = exact.abs() * relative_error * (1.0 + 1e-9) + f64::from_bits(1);
            assert!((quantile - exact).abs() <= error_max, "{quantile:e} for {exact:e}, {relative_error}");
        } else {
            assert_eq!(quantile.to_bits(), exact.to_bits());
        }
    }
}

#[test]
fn quantiles_are_within_the_relative_error() {
    let mut random = StdRng::seed_from_u64(1);
    for relative_error in [0.5, 0.1, 0.01, 0.001, 1e-4, RELATIVE_ERROR_MIN] {
        for _ in 0..60 {
            let count = random.random_range(1..2000);
            let values: Vec<f64> = (0..count).map(|_| any_double(&mut random)).collect();
            check_quantiles(relative_error, &values);
        }
    }
}

#[test]
fn extremes_have_bins() {
    let extremes = [f64::from_bits(1), f64::MIN_POSITIVE, 1.0, f64::MAX, -f64::MAX, -f64::from_bits(1)];
    for relative_error in [0.5, 0.01, 0.001, RELATIVE_ERROR_MIN] {
        extremes.iter().for_each(|value| check_quantiles(relative_error, &[*value]));
        check_quantiles(relative_error, &extremes);
    }
}

#[test]
fn without_values_there_is_no_quantile() {
    let mut sketch = Sketch::new(0.01);
    assert_eq!(sketch.quantile(0.5), None);
    sketch.add(3.0, 1);
    assert_eq!(sketch.quantiles(&[-0.1, 0.5, 1.1, f64::NAN]).iter().flatten().count(), 1);
    sketch.add(3.0, -2);
    assert_eq!((sketch.count(), sketch.quantile(0.5)), (-1, None));
    sketch.add(3.0, 1);
    assert_eq!(sketch, Sketch::new(0.01));
    assert_eq!(sketch.size_bytes(), Sketch::new(0.01).size_bytes());
}

#[test]
fn order_grouping_and_retraction_leave_no_trace() {
    let mut random = StdRng::seed_from_u64(2);
    for _ in 0..300 {
        let relative_error = [0.01, 0.001, 1e-5][random.random_range(0..3)];
        let mut values: Vec<f64> =
            (0..random.random_range(0..800)).map(|_| any_double(&mut random)).collect();
        let expected = sketch(relative_error, &values);
        let noise: Vec<f64> = (0..random.random_range(0..300)).map(|_| any_double(&mut random)).collect();
        values.shuffle(&mut random);
        let (left, right) = values.split_at(random.random_range(0..=values.len()));
        let mut parts = sketch(relative_error, &noise);
        parts.merge(&sketch(relative_error, left));
        noise.iter().for_each(|value| parts.add(*value, -1));
        parts.merge(&Sketch::from_bytes(&sketch(relative_error, right).to_bytes()).unwrap());
        assert_eq!(parts, expected);
        assert_eq!(parts.to_bytes(), expected.to_bytes());
        let bits =
            |sketch: &Sketch| sketch.quantiles(&PS).iter().map(|q| q.map(f64::to_bits)).collect::<Vec<_>>();
        assert_eq!(bits(&parts), bits(&expected));
        values.iter().for_each(|value| parts.add(*value, -1));
        assert_eq!(parts.to_bytes(), Sketch::new(relative_error).to_bytes());
        assert_eq!(parts.size_bytes(), Sketch::new(relative_error).size_bytes());
    }
}

#[test]
fn memory_follows_the_bins_in_use() {
    let bytes = |values: &[f64]| sketch(0.01, values).size_bytes();
    assert!(bytes(&[250.0]) <= 250);
    assert!(bytes(&[1e-300, 1.0, 250.0, 1e300]) <= 400);
    let mut random = StdRng::seed_from_u64(3);
    let latencies: Vec<f64> = (0..100_000).map(|_| (random.random::<f64>() * 7.0).exp()).collect();
    assert!(bytes(&latencies) <= 6000, "{}", bytes(&latencies));
    let anything: Vec<f64> = (0..5000).map(|_| f64::from_bits(random.random())).collect();
    assert!(bytes(&anything) <= 5000 * 16 * 10, "{}", bytes(&anything));
}

#[test]
fn runs_of_keys_in_either_direction_stay_cheap() {
    for direction in [1.0, -1.0] {
        let mut sketch = Sketch::new(1e-5);
        for step in 0..1_000_000 {
            sketch.add((direction * f64::from(step) * 1e-5).exp(), 1);
        }
        assert_eq!(sketch.count(), 1_000_000);
        assert!(sketch.size_bytes() < 8_000_000);
    }
}

#[test]
fn bytes_of_others_are_refused() {
    assert_eq!(Sketch::new(0.5).bins().size_bytes(), size_of::<Bins>());
    let message = |bytes: &[u8]| Bins::from_bytes(bytes).unwrap_err().to_string();
    assert_eq!(Bins::from_bytes(&[0, 0, 0]).unwrap(), Bins::default());
    assert_eq!(message(&[]), "state of quantile sketch ends early, after 0 bytes");
    assert_eq!(message(&[8]), "state of quantile sketch holds flags \"8\" outside its range");
    assert_eq!(message(&[0, 0, 0, 1]), "state of quantile sketch has 1 bytes left over");
    assert_eq!(message(&[0, 0, 2, 2, 2]), "state of quantile sketch ends early, after 5 bytes");
    let sketch = [0.0_f64.to_le_bytes().as_slice(), &[0, 0, 0]].concat();
    let message = Sketch::from_bytes(&sketch).unwrap_err().to_string();
    assert_eq!(message, "state of quantile sketch holds relative error \"0\" outside its range");
}

/// Ten of the values below and what ddsketch 3.0.1 makes of them at a relative error of 0.01.
#[test]
fn bins_stand_for_the_values_of_the_reference() {
    for (value, expected) in [
        (1.150357, 1.1617819588076108),
        (3.228583, 3.2219571962888955),
        (7.147191, 7.170788840151699),
        (11.785243, 11.822829145791063),
        (20.321903, 20.288421154823364),
        (34.714389, 34.8156966390757),
        (79.019958, 79.05119439536568),
        (214.71919, 214.8905885729404),
        (2133.320265, 2143.522278517788),
        (15577.556231, 15526.005690315047),
    ] {
        for sign in [1.0, -1.0] {
            let quantile = sketch(0.01, &[sign * value]).quantile(0.5).unwrap();
            assert!((quantile / (sign * expected) - 1.0).abs() < 1e-14, "{quantile} for {value}");
        }
    }
}

/// Reference values of ddsketch 3.0.1, in the directory that `UNDERCURRENT_SHARED` names.
#[test]
fn agrees_with_the_reference_bin_for_bin() {
    let Some(shared) = std::env::var_os("UNDERCURRENT_SHARED") else { return };
    let golden = std::path::Path::new(&shared).join("golden");
    let csv = std::fs::read_to_string(golden.join("ddsketch_lognormal_10k.csv")).unwrap();
    let json = std::fs::read_to_string(golden.join("ddsketch_lognormal_10k.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let values: Vec<f64> = csv.lines().skip(1).map(|line| line.parse().unwrap()).collect();
    let sketch = sketch(json["alpha"].as_f64().unwrap(), &values);

    let bins = json["bins"].as_object().unwrap();
    let mut expected: Vec<(i32, i64)> =
        bins.iter().map(|(key, count)| (key.parse().unwrap(), count.as_f64().unwrap() as i64)).collect();
    expected.sort_unstable();
    assert_eq!(sketch.bins.positive.iter().collect::<Vec<_>>(), expected);
    for (p, expected) in json["quantiles"].as_object().unwrap() {
        let (quantile, expected) = (sketch.quantile(p.parse().unwrap()).unwrap(), expected.as_f64().unwrap());
        assert!((quantile / expected - 1.0).abs() < 1e-14, "p {p}: {quantile} and {expected}");
    }
}
