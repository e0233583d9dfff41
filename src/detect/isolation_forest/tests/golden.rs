//! scikit-learn's results, where they are at hand.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::super::{Forest, Options};

/// Features, column by column, and which rows are anomalies.
struct Labelled {
    columns: Vec<Vec<f64>>,
    anomalous: Vec<bool>,
}

fn golden() -> Option<PathBuf> {
    let golden = std::env::var_os("UNDERCURRENT_SHARED").map(|shared| Path::new(&shared).join("golden"));
    let found = golden.filter(|folder| folder.is_dir());
    if found.is_none() {
        println!("left out: UNDERCURRENT_SHARED does not lead to golden");
    }
    found
}

/// The columns of a compressed table of numbers with a head.
fn table(path: &Path) -> Vec<Vec<f64>> {
    let mut csv = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut csv).unwrap();
    let mut lines = csv.lines();
    let mut columns = vec![vec![]; lines.next().unwrap().split(',').count()];
    for line in lines {
        columns.iter_mut().zip(line.split(',')).for_each(|(column, cell)| column.push(cell.parse().unwrap()));
    }
    columns
}

fn labelled(golden: &Path, name: &str) -> Option<Labelled> {
    let path = golden.join(format!("iforest_X_{name}.csv.gz"));
    let mut columns = path.exists().then(|| table(&path))?;
    let anomalous = columns.pop()?.into_iter().map(|label| label != 0.0).collect();
    Some(Labelled { columns, anomalous })
}

/// The probability that an anomaly has a higher score than another row, a tie counted half.
fn auc(scores: &[f64], anomalous: &[bool]) -> f64 {
    let mut ranked: Vec<(f64, bool)> = scores.iter().copied().zip(anomalous.iter().copied()).collect();
    ranked.sort_by(|left, right| left.0.total_cmp(&right.0));
    let (mut below, mut pairs) = (0.0, 0.0);
    for tied in ranked.chunk_by(|left, right| left.0 == right.0) {
        let anomalies = tied.iter().filter(|(_, anomalous)| *anomalous).count() as f64;
        let others = tied.len() as f64 - anomalies;
        pairs += anomalies * (below + others / 2.0);
        below += others;
    }
    let anomalies = anomalous.iter().filter(|anomalous| **anomalous).count() as f64;
    pairs / (anomalies * below)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Of a set, the mean AUC over 10 seeds, and the scores of one.
fn evaluate(set: &Labelled) -> (f64, Vec<f64>) {
    let columns: Vec<&[f64]> = set.columns.iter().map(Vec::as_slice).collect();
    let scores = (0..10).map(|seed| {
        let forest = Forest::train(&columns, &Options { seed, ..Options::default() }).unwrap();
        forest.scores(&columns).unwrap()
    });
    let scores: Vec<Vec<f64>> = scores.collect();
    let aucs: Vec<f64> = scores.iter().map(|scores| auc(scores, &set.anomalous)).collect();
    (mean(&aucs), scores[0].clone())
}

/// Those of public data are left out of the golden files; their scores can be compared with nothing.
#[test]
fn tells_anomalies_as_well_as_scikit_learn() {
    let Some(golden) = golden() else { return };
    let json = std::fs::read_to_string(golden.join("iforest_sklearn.json")).unwrap();
    let cases: Vec<BTreeMap<String, serde_json::Value>> = serde_json::from_str(&json).unwrap();
    let mut checked = 0;
    for case in cases {
        let (name, expected) = (case["name"].as_str().unwrap(), case["auc_mean"].as_f64().unwrap());
        let Some(set) = labelled(&golden, name) else { continue };
        let (auc, scores) = evaluate(&set);
        let theirs = table(&golden.join(format!("iforest_scores_{name}.csv.gz"))).swap_remove(0);
        let apart: Vec<f64> =
            scores.iter().zip(&theirs).map(|(ours, theirs)| (ours - theirs).abs()).collect();
        println!("{name}: AUC {auc:.4} ({expected:.4}), scores {:.4} apart", mean(&apart));
        assert!(auc > expected - 0.02, "{name}: {auc} and {expected}");
        checked += 1;
    }
    assert_eq!(checked, 7);
}
