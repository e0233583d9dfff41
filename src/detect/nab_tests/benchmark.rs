//! The scoring of the Numenta Anomaly Benchmark, from its published definition (Lavin, Ahmad, *Evaluating real-time
//! anomaly detection algorithms: the Numenta Anomaly Benchmark*, 2015).
//!
//! Of each window of anomalies the earliest detection counts, the more the earlier it is in the window; a detection
//! outside costs, the more the longer the last window is over; a window without a detection costs too. One threshold
//! serves all series, and is chosen as well as it can be for each profile. 0 is the score of no detection at all, and
//! 100 that of each window's first point and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A series with its windows of anomalies, as ranges of places, both ends included.
pub struct Labelled {
    pub values: Vec<f64>,
    pub windows: Vec<(usize, usize)>,
    /// Weeks that have points.
    pub weeks: f64,
}

impl Labelled {
    /// Points at the beginning that no detection counts in: 15 %, of 5,000 points at most.
    pub fn probation(&self) -> usize {
        self.values.len().min(5000) * 15 / 100
    }
}

/// What right and wrong detections count.
#[derive(Clone, Copy)]
pub struct Profile {
    pub false_positive: f64,
    pub false_negative: f64,
}

pub const STANDARD: Profile = Profile { false_positive: 0.11, false_negative: 1.0 };
pub const LOW_FALSE_POSITIVES: Profile = Profile { false_positive: 0.22, false_negative: 1.0 };
pub const LOW_FALSE_NEGATIVES: Profile = Profile { false_positive: 0.11, false_negative: 2.0 };

/// The best result over all thresholds.
#[derive(Clone, Copy, Debug)]
pub struct Result {
    pub score: f64,
    pub threshold: f64,
    /// Windows with a detection, of all.
    pub found: usize,
    pub windows: usize,
    /// Detections outside of windows.
    pub false_alarms: usize,
}

/// All series below `folder` (which holds `windows.json`), by name.
pub fn read(folder: &Path) -> Vec<Labelled> {
    let text =
        |path: &Path| std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let windows: BTreeMap<String, Vec<[String; 2]>> =
        serde_json::from_str(&text(&folder.join("windows.json"))).unwrap();
    let labelled = |(name, windows): (String, Vec<[String; 2]>)| {
        let csv = text(&folder.join(&name));
        let rows: Vec<(&str, &str)> = csv.lines().skip(1).map(|line| line.split_once(',').unwrap()).collect();
        // Times are of one format and in order, in the windows with a fraction of a second.
        let place = |time: &String| rows.partition_point(|(row, _)| *row < &time[..19]);
        let windows = windows.iter().map(|[start, end]| (place(start), place(end))).collect();
        let days: BTreeSet<&str> = rows.iter().map(|(time, _)| &time[..10]).collect();
        let weeks = days.len() as f64 / 7.0;
        Labelled { weeks, values: rows.iter().map(|(_, value)| value.parse().unwrap()).collect(), windows }
    };
    windows.into_iter().map(labelled).collect()
}

fn sigmoid(position: f64) -> f64 {
    if position > 3.0 { -1.0 } else { 2.0 / (1.0 + (5.0 * position).exp()) - 1.0 }
}

/// What a detection at each place counts, and of which window, if any.
fn worths(series: &Labelled, profile: Profile) -> Vec<(f64, Option<usize>)> {
    let worth = |place: usize| {
        let inside = series.windows.iter().position(|(start, end)| (*start..=*end).contains(&place));
        if let Some(window) = inside {
            let (start, end) = series.windows[window];
            let position = -((end - place + 1) as f64) / (end - start + 1) as f64;
            return (sigmoid(position) / sigmoid(-1.0), Some(window));
        }
        let before = series.windows.iter().rfind(|(_, end)| *end < place);
        let cost = before.map_or(-1.0, |(start, end)| sigmoid((place - end) as f64 / (end - start) as f64));
        (cost * profile.false_positive, None)
    };
    (0..series.values.len()).map(worth).collect()
}

/// The best result of anomaly scores, as many for each series as it has points.
pub fn evaluate(corpus: &[Labelled], scores: &[Vec<f64>], profile: Profile) -> Result {
    let mut detections = vec![];
    for (index, (series, scores)) in corpus.iter().zip(scores).enumerate() {
        assert_eq!(series.values.len(), scores.len());
        let worths = worths(series, profile);
        for place in series.probation()..series.values.len() {
            let (worth, window) = worths[place];
            detections.push((scores[place], worth, window.map(|window| (index, window))));
        }
    }
    detections.sort_by(|left, right| right.0.total_cmp(&left.0));
    let windows = corpus.iter().map(|series| series.windows.len()).sum();
    let mut found: BTreeMap<(usize, usize), f64> = BTreeMap::new();
    let null = -(windows as f64) * profile.false_negative;
    let (mut total, mut false_alarms) = (null, 0);
    let mut best = Result { score: 0.0, threshold: f64::INFINITY, found: 0, windows, false_alarms: 0 };
    for (place, (score, worth, window)) in detections.iter().enumerate() {
        match window {
            None => (total, false_alarms) = (total + worth, false_alarms + 1),
            Some(window) => {
                let former = found.get(window).copied();
                let gain = worth - former.unwrap_or(-profile.false_negative);
                if former.is_none_or(|former| *worth > former) {
                    total += gain;
                    found.insert(*window, *worth);
                }
            }
        }
        let is_last = detections.get(place + 1).is_none_or(|next| next.0 < *score);
        let normalized = 100.0 * (total - null) / (windows as f64 - null);
        if is_last && normalized > best.score {
            best = Result { score: normalized, threshold: *score, found: found.len(), windows, false_alarms };
        }
    }
    best
}
