//! statsmodels' own results, where they are at hand.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::super::*;
use super::close;

fn folder() -> Option<PathBuf> {
    let Some(shared) = std::env::var_os("UNDERCURRENT_SHARED") else {
        eprintln!("left out: UNDERCURRENT_SHARED is not set, so the reference results cannot be found");
        return None;
    };
    Some(PathBuf::from(shared).join("golden"))
}

/// The columns of a CSV file with a header, in order.
fn columns(path: &Path) -> Vec<Vec<f64>> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut columns = vec![vec![]; text.lines().next().unwrap().split(',').count()];
    for line in text.lines().skip(1) {
        line.split(',').zip(&mut columns).for_each(|(field, column)| column.push(field.parse().unwrap()));
    }
    columns
}

fn smoother(config: &Value, name: &str) -> Smoother {
    let number = |suffix: &str| config[format!("{name}{suffix}")].as_u64().unwrap() as usize;
    let degree = if number("_deg") == 0 { Degree::Constant } else { Degree::Linear };
    Smoother { window_points: Some(number("")), degree, jump: Jump::Points(number("_jump")) }
}

#[test]
fn every_reference_decomposition() {
    let Some(folder) = folder() else { return };
    let index = std::fs::read_to_string(folder.join("stl_index.json")).unwrap();
    let index: Vec<Value> = serde_json::from_str(&index).unwrap();
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("stl_") && name.ends_with(".csv"))
        .collect();
    names.sort();
    assert!(names.len() >= 14, "{names:?}");
    for name in names {
        let parameters = std::fs::read_to_string(folder.join(name.replace(".csv", ".json"))).unwrap();
        let own: Value = serde_json::from_str(&parameters).unwrap();
        let indexed = index.iter().find(|entry| entry["file"] == name.as_str());
        let entry = indexed.unwrap_or(&own);
        let config = if entry["config"].is_object() { &entry["config"] } else { &entry["cfg"] };
        let is_robust = config["robust"].as_bool().unwrap_or_else(|| config["robust"] == 1);
        let preset = if name.contains("jump10") { StlOptions::fast() } else { StlOptions::exact() };
        let preset = if is_robust { preset.robust() } else { preset };
        let options = StlOptions {
            seasonal: smoother(config, "seasonal"),
            trend: smoother(config, "trend"),
            low_pass: smoother(config, "low_pass"),
            ..preset
        };
        let period = config["period"].as_u64().unwrap() as usize;
        let csv = columns(&folder.join(&name));
        let parts = decompose(&csv[0], &[period], &options).unwrap();
        // The files hold 12 digits, of the values too.
        for (expected, found) in csv[1..].iter().zip([&parts.trend, &parts.seasons[0], &parts.residual]) {
            close(found, expected, 1e-7);
        }
        close(&parts.weights, &csv[4], 1e-7);
        assert_eq!(
            preset.plans(&[period]),
            options.plans(&[period]),
            "the preset is not {name}'s parameters"
        );
    }
}

#[test]
fn reference_decomposition_of_two_periods() {
    let Some(folder) = folder() else { return };
    let csv = columns(&folder.join("mstl_nyc_taxi_48_336.csv"));
    let parts = decompose(&csv[0], &[48, 336], &StlOptions::exact()).unwrap();
    let found = [&parts.trend, &parts.seasons[0], &parts.seasons[1], &parts.residual];
    for (expected, found) in csv[1..].iter().zip(found) {
        close(found, expected, 1e-7);
    }
}
