//! Reference segmentations of real series, where they are at hand.

use std::path::{Path, PathBuf};

use super::super::*;
use super::oracle;

/// A folder below the shared one.
pub(super) fn shared(below: &str) -> Option<PathBuf> {
    let Some(shared) = std::env::var_os("UNDERCURRENT_SHARED") else {
        eprintln!("left out: UNDERCURRENT_SHARED is not set, so {below} cannot be found");
        return None;
    };
    Some(PathBuf::from(shared).join(below))
}

pub(super) fn json(path: &Path) -> serde_json::Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// Reference cases of a series, or none if the file holds something else.
fn cases(path: &Path) -> Vec<serde_json::Value> {
    let cases = json(path).as_array().cloned().unwrap_or_default();
    cases.into_iter().filter(|case| case.get("exact_op_bkps").is_some()).collect()
}

fn scaled_values(path: &Path) -> Vec<f64> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().skip(1).map(|line| line.split(',').nth(1).unwrap().parse().unwrap()).collect()
}

/// The options of a case, and its segment ends.
fn case_options(case: &serde_json::Value) -> (Options, Vec<usize>) {
    let (cost, penalty) = (case["cost"].as_str().unwrap(), case["penalty_name"].as_str().unwrap());
    let options = Options {
        cost: if cost == "l2" { Cost::Mean } else { Cost::MeanVariance },
        penalty: match penalty {
            "AIC" => Penalty::Aic,
            "BIC" => Penalty::Bic,
            _ => Penalty::Mbic,
        },
        scaling: Scaling::Raw,
        basis: Basis::Whole,
        segment_len_min: case["min_size"].as_u64().unwrap() as usize,
    };
    let ends = case["exact_op_bkps"].as_array().unwrap().iter();
    (options, ends.map(|end| end.as_u64().unwrap() as usize).collect())
}

/// Equals the dynamic programs of 112 cases, by their penalties' names and by number.
#[test]
fn golden_segmentations() {
    let Some(folder) = shared("golden") else { return };
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let Some(series) = path.file_name().unwrap().to_str().unwrap().strip_prefix("pelt_") else {
            continue;
        };
        let Some(series) = series.strip_suffix(".json") else { continue };
        for case in cases(&path) {
            let values = scaled_values(&folder.join(format!("pelt_input_{series}.csv")));
            let (options, expected) = case_options(&case);
            let number = Penalty::Value(case["penalty"].as_f64().unwrap());
            for options in [options, Options { penalty: number, basis: Basis::Leading, ..options }] {
                let segmentation = optimal(&values, &options).unwrap();
                let ends: Vec<usize> = segmentation.changes.iter().map(|change| change.index).collect();
                assert_eq!(ends, expected[..expected.len() - 1], "{series} {options:?}");
                let (objective, exact) = (segmentation.objective, case["exact_objective"].as_f64().unwrap());
                if (objective - exact).abs() > 1e-9 * exact.abs() {
                    println!(
                        "{series} {options:?} {objective} exact {exact} summed {}",
                        oracle::objective(&values, &ends, &options, segmentation.penalty)
                    );
                }
                let summed = oracle::objective(&values, &ends, &options, segmentation.penalty);
                assert!(
                    (objective - summed).abs() <= 1e-8 * exact.abs(),
                    "{objective} for {summed}, {series}"
                );
            }
            count += 1;
        }
    }
    assert_eq!(count, 112);
}
