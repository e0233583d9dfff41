//! Decomposition against what is known of made-up series, against a slow loess, and against statsmodels.

mod golden;
mod oracle;

use super::*;

fn season(period: usize, index: usize) -> f64 {
    (index as f64 / period as f64 * std::f64::consts::TAU).sin() * 10.0
}

fn close(left: &[f64], right: &[f64], tolerance: f64) {
    assert_eq!(left.len(), right.len());
    for (index, (left, right)) in left.iter().zip(right).enumerate() {
        assert!((left - right).abs() <= tolerance, "{left} is not {right} at {index}");
    }
}

#[test]
fn a_line_and_a_season_are_told_apart() {
    let values: Vec<f64> = (0..200).map(|i| 5.0 + 0.1 * i as f64 + season(20, i)).collect();
    for options in [StlOptions::exact(), StlOptions::fast(), StlOptions::exact().robust()] {
        let parts = decompose(&values, &[20], &options).unwrap();
        let trend: Vec<f64> = (0..200).map(|i| 5.0 + 0.1 * i as f64).collect();
        close(&parts.trend, &trend, 1e-9);
        close(&parts.residual, &[0.0; 200], 1e-9);
    }
}

#[test]
fn two_seasons_are_told_apart() {
    let values: Vec<f64> = (0..600).map(|i| season(12, i) + season(60, i) + 3.0).collect();
    let parts = decompose(&values, &[12, 60], &StlOptions::exact()).unwrap();
    for (period, found) in [12, 60].iter().zip(&parts.seasons) {
        let expected: Vec<f64> = (0..600).map(|i| season(*period, i)).collect();
        close(&found[120..480], &expected[120..480], 0.2);
    }
}

#[test]
fn a_robust_fit_leaves_outliers_to_the_residual() {
    let mut values: Vec<f64> = (0..200).map(|i| season(20, i) + (i * 7 % 11) as f64 * 0.01).collect();
    values[77] += 1000.0;
    let parts = decompose(&values, &[20], &StlOptions::fast().robust()).unwrap();
    assert!((parts.residual[77] - 1000.0).abs() < 1.0 && parts.weights[77] == 0.0);
    assert!((0..200).filter(|i| *i != 77).all(|i| parts.residual[i].abs() < 1.0));
    let parts = decompose(&values, &[20], &StlOptions::fast()).unwrap();
    assert!(parts.residual[57].abs() > 10.0);
}

#[test]
fn parts_add_up_and_missing_values_have_no_residual() {
    let mut values: Vec<f64> = (0..120).map(|i| season(10, i) + i as f64).collect();
    let whole = decompose(&values, &[10], &StlOptions::exact()).unwrap();
    values[33] = f64::NAN;
    values[34] = f64::INFINITY;
    let parts = decompose(&values, &[10], &StlOptions::exact()).unwrap();
    for (i, value) in values.iter().enumerate() {
        let sum = parts.trend[i] + parts.seasonal(i) + parts.residual[i];
        assert!(if value.is_finite() { (sum - value).abs() < 1e-9 } else { parts.residual[i].is_nan() });
    }
    close(&parts.trend, &whole.trend, 1e-9);
}

#[test]
fn missing_values_are_those_of_their_phase() {
    let nan = f64::NAN;
    assert_eq!(fill_missing(&[1.0, 5.0, nan, 6.0, 3.0, nan], 2), [1.0, 5.0, 2.0, 6.0, 3.0, 6.0]);
    assert_eq!(fill_missing(&[nan, 5.0, 4.0, nan, 6.0, 7.0], 2), [4.0, 5.0, 4.0, 6.0, 6.0, 7.0]);
    assert_eq!(fill_missing(&[1.0, nan, 3.0, nan, 5.0, nan], 2), [1.0, 2.0, 3.0, 4.0, 5.0, 5.0]);
    assert_eq!(fill_missing(&[nan, nan, 3.0, f64::INFINITY], 7), [3.0; 4]);
    assert!(fill_missing(&[nan; 5], 2).iter().all(|value| value.is_nan()));
    assert_eq!(fill_missing(&[], 3), [0.0; 0]);
    assert_eq!(fill_missing(&[f64::MAX, nan, -f64::MAX], 1), [f64::MAX, 0.0, -f64::MAX]);
}

#[test]
fn no_values_panic() {
    for value in [0.0, f64::NAN, f64::INFINITY, f64::MAX, -f64::MAX, f64::MIN_POSITIVE, 1e-320] {
        for (points, period) in [(4, 2), (9, 2), (30, 7), (15, 7)] {
            let values: Vec<f64> = (0..points).map(|i| if i % 3 == 0 { -value } else { value }).collect();
            for options in [StlOptions::exact(), StlOptions::fast().robust()] {
                let parts = decompose(&values, &[period], &options).unwrap();
                assert_eq!(parts.residual.len(), points);
            }
        }
    }
}

#[test]
fn wrong_options_are_refused() {
    let message = |periods: &[usize], options: &StlOptions| {
        decompose(&[1.0; 20], periods, options).unwrap_err().to_string()
    };
    let exact = StlOptions::exact();
    assert_eq!(message(&[11], &exact), "period '11' is above 10, which is half of 20 points");
    for (periods, quoted) in [(&[1][..], "[1]"), (&[], "[]"), (&[4, 4], "[4, 4]")] {
        let expected = format!("periods '{quoted}' are not one or more numbers of at least 2 that increase");
        assert_eq!(message(periods, &exact), expected);
    }
    let with = |window_points, jump| Smoother { window_points, jump, ..exact.seasonal };
    let even = StlOptions { trend: with(Some(8), Jump::Tenth), ..exact };
    assert_eq!(message(&[4], &even), "trend window '8' is not an odd number of at least 3");
    let still = StlOptions { low_pass: with(None, Jump::Points(0)), ..exact };
    assert_eq!(message(&[4], &still), "jump '0' is not at least 1");
    assert_eq!(
        message(&[4], &StlOptions { inner_iterations: 0, ..exact }),
        "inner_iterations '0' is not at least 1"
    );
}
