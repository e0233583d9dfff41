//! The Turing Change Point Dataset, as far as it is at hand.

use std::path::Path;

use super::super::*;
use super::agreement::{cover, f1};
use super::real::{json, shared};

/// A series, with the change points of each annotator.
struct Annotated {
    name: String,
    values: Vec<f64>,
    annotations: Vec<Vec<usize>>,
}

/// The values of a series of one dimension; what is missing is not a number.
fn values(path: &Path) -> Option<Vec<f64>> {
    let series = json(path)["series"].as_array().filter(|series| series.len() == 1)?[0]["raw"].clone();
    Some(series.as_array()?.iter().map(|value| value.as_f64().unwrap_or(f64::NAN)).collect())
}

/// All series of one dimension whose values are there.
fn collection() -> Option<Vec<Annotated>> {
    let folder = shared("datasets/tcpd")?;
    let all = json(&folder.join("annotations.json"));
    let series = all.as_object().unwrap().iter().filter_map(|(name, annotators)| {
        let path = folder.join(name).join(format!("{name}.json"));
        let values = path.exists().then(|| values(&path))??;
        let annotators = annotators.as_object().unwrap().values();
        let indices = |list: &serde_json::Value| {
            list.as_array().unwrap().iter().map(|at| at.as_u64().unwrap() as usize).collect()
        };
        Some(Annotated { name: name.clone(), values, annotations: annotators.map(indices).collect() })
    });
    Some(series.collect())
}

/// Mean F1 and cover.
fn scores(collection: &[Annotated], changes: impl Fn(&[f64]) -> Vec<usize>) -> (f64, f64) {
    let (mut f1_sum, mut cover_sum) = (0.0, 0.0);
    for series in collection {
        let changes = changes(&series.values);
        let scores =
            (f1(&series.annotations, &changes), cover(&series.annotations, &changes, series.values.len()));
        println!("{:20} {:.4} {:.4} {changes:?}", series.name, scores.0, scores.1);
        f1_sum += scores.0;
        cover_sum += scores.1;
    }
    let count = collection.len() as f64;
    (f1_sum / count, cover_sum / count)
}

fn changes(options: Options) -> impl Fn(&[f64]) -> Vec<usize> {
    move |values| optimal(values, &options).unwrap().changes.iter().map(|change| change.index).collect()
}

/// Better than the best of a grid of settings on 30 series of the collection: F1 0.716, cover 0.691.
#[test]
fn defaults_agree_with_the_annotators() {
    let Some(collection) = collection() else { return };
    assert_eq!(collection.len(), 15);
    let nothing = scores(&collection, |_| vec![]);
    let defaults = scores(&collection, changes(Options::default()));
    println!("F1 and cover: defaults {defaults:?}, nothing reported {nothing:?}");
    assert!(defaults.0 > 0.75 && defaults.1 > 0.694, "{defaults:?}");
    assert!(nothing.0 < 0.628 && nothing.1 < 0.523, "{nothing:?}");
}

/// The reference scores of a setting that is the default but for the basis and the least length.
#[test]
fn agreement_is_measured_as_elsewhere() {
    let Some(collection) = collection() else { return };
    let options = Options { basis: Basis::Whole, segment_len_min: 2, ..Options::default() };
    let reference = json(&shared("golden/tcpd_exact_op_scores.json").unwrap());
    let rows = reference["rows"].as_array().unwrap().iter();
    let rows = rows.filter(|row| row["scale"] == "sd" && row["cost"] == "l2" && row["pen"] == "MBIC");
    let mut compared = 0;
    for row in rows {
        let Some(series) = collection.iter().find(|series| row["series"] == series.name) else { continue };
        let changes = changes(options)(&series.values);
        let (f1, cover) =
            (f1(&series.annotations, &changes), cover(&series.annotations, &changes, series.values.len()));
        let expected = (row["f1"].as_f64().unwrap(), row["cover"].as_f64().unwrap());
        assert!(
            (f1 - expected.0).abs() < 1e-9 && (cover - expected.1).abs() < 1e-9,
            "{} {changes:?}",
            series.name
        );
        compared += 1;
    }
    assert_eq!(compared, 14);
}
