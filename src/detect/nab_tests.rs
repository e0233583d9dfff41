//! The Numenta Anomaly Benchmark, where it is at hand, and its scoring on what can be computed by hand.

mod benchmark;

use std::path::PathBuf;

use benchmark::{LOW_FALSE_NEGATIVES, LOW_FALSE_POSITIVES, Labelled, Result, STANDARD, evaluate, read};

use super::spike::{SpikeOptions, SpikePeriod, spike_scores};
use super::three_sigma::{ThreeSigmaOptions, three_sigma};

fn corpus() -> Option<Vec<Labelled>> {
    let Some(shared) = std::env::var_os("UNDERCURRENT_SHARED") else {
        eprintln!("left out: UNDERCURRENT_SHARED is not set, so the benchmark cannot be found");
        return None;
    };
    Some(read(&PathBuf::from(shared).join("datasets/nab")))
}

/// The results of the three profiles: standard, few false alarms, few misses.
fn results(corpus: &[Labelled], score: impl Fn(&[f64]) -> Vec<f64>) -> [Result; 3] {
    let scores: Vec<Vec<f64>> = corpus.iter().map(|series| score(&series.values)).collect();
    [STANDARD, LOW_FALSE_POSITIVES, LOW_FALSE_NEGATIVES].map(|profile| evaluate(corpus, &scores, profile))
}

fn report(name: &str, corpus: &[Labelled], results: &[Result; 3]) {
    let weeks: f64 = corpus.iter().map(|series| series.weeks).sum();
    for (profile, result) in ["standard", "low FP", "low FN"].iter().zip(results) {
        let Result { score, threshold, found, windows, false_alarms } = result;
        println!(
            "{name}, {profile}: {score:.1} at threshold {threshold:.3}: {found} of {windows} windows, {false_alarms} \
             false alarms, which are {:.2} a week of a series",
            *false_alarms as f64 / weeks
        );
    }
}

#[test]
fn spike_scores_on_the_benchmark() {
    let Some(corpus) = corpus() else { return };
    assert_eq!((corpus.len(), corpus.iter().map(|series| series.windows.len()).sum::<usize>()), (35, 55));
    let default = SpikeOptions::default();
    let all = results(&corpus, |values| spike_scores(values, &default).unwrap());
    report("spike scores", &corpus, &all);
    let given = SpikeOptions { period: SpikePeriod::Given(288), ..default };
    report("of a given day", &corpus, &results(&corpus, |values| spike_scores(values, &given).unwrap()));
    // What the documentation of the score says.
    let expected = [63.0, 49.0, 70.0];
    assert!(all.iter().zip(expected).all(|(result, expected)| (result.score - expected).abs() < 1.0));
}

#[test]
fn three_sigma_on_the_benchmark() {
    let Some(corpus) = corpus() else { return };
    let score = |values: &[f64]| {
        let judged = three_sigma(values, &ThreeSigmaOptions::default()).unwrap();
        judged.iter().map(|judged| judged.map_or(0.0, |judged| judged.score)).collect()
    };
    let all = results(&corpus, score);
    report("three sigma", &corpus, &all);
    assert!(all[0].score > 20.0 && all[0].score < 55.0);
}

fn made_up() -> Vec<Labelled> {
    let labelled = |points, windows: &[(usize, usize)]| Labelled {
        values: vec![0.0; points],
        windows: windows.to_vec(),
        weeks: 1.0,
    };
    vec![labelled(200, &[(50, 59), (100, 119)]), labelled(100, &[])]
}

/// The scores of detections at places of the first series.
fn detected(places: &[usize]) -> Vec<Vec<f64>> {
    let mut scores = vec![vec![0.0; 200], vec![0.0; 100]];
    places.iter().for_each(|place| scores[0][*place] = 1.0);
    scores
}

#[test]
fn the_scoring_is_that_of_its_definition() {
    let corpus = made_up();
    let score = |places: &[usize]| evaluate(&corpus, &detected(places), STANDARD);
    let perfect = score(&[50, 100]);
    assert!((perfect.score - 100.0).abs() < 1e-9 && perfect.found == 2 && perfect.false_alarms == 0);
    // Of two windows, one is found; later detections in it do not count.
    assert!((score(&[50]).score - 50.0).abs() < 1e-9);
    assert!((score(&[50, 51, 59]).score - 50.0).abs() < 1e-9);
    // At the last of 20 points the position is -1/20.
    let sigmoid = |position: f64| 2.0 / (1.0 + (5.0 * position).exp()) - 1.0;
    let late = sigmoid(-0.05) / sigmoid(-1.0);
    assert!((score(&[119]).score - 100.0 * (late + 1.0) / 4.0).abs() < 1e-9);
    // A false alarm costs the weight before the first window, and a part of it 3 of 9 points after one.
    assert!((score(&[40, 50, 100]).score - 100.0 * (4.0 - 0.11) / 4.0).abs() < 1e-9);
    assert!((score(&[50, 62, 100]).score - 100.0 * (4.0 + 0.11 * sigmoid(3.0 / 9.0)) / 4.0).abs() < 1e-9);
    let strict = evaluate(&corpus, &detected(&[40, 50, 100]), LOW_FALSE_POSITIVES);
    assert!((strict.score - 100.0 * (4.0 - 0.22) / 4.0).abs() < 1e-9);
    let lenient = evaluate(&corpus, &detected(&[50]), LOW_FALSE_NEGATIVES);
    assert!((lenient.score - 50.0).abs() < 1e-9);
    // None counts in the first 15 %, and no detection is better than false ones.
    assert!((score(&[29, 50, 100]).score - 100.0).abs() < 1e-9);
    assert_eq!(score(&[40, 45]).score, 0.0);
}
