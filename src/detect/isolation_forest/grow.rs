//! How a tree is grown from a sample of rows.

use super::key::{HIDDEN_BITS, THRESHOLD_MAX};
use super::random::Random;
use super::rows::{Rows, draw};
use super::tree::{Node, Tree};

/// A threshold is drawn from about so many places between the least and the greatest value: more
/// digits would only make trees longer as bytes.
const THRESHOLD_PLACES: f64 = 65_536.0;

/// Grows the tree of one stream of a seed.
pub(super) fn grow(
    rows: &impl Rows,
    features: usize,
    sample_size: usize,
    depth_max: u32,
    mut random: Random,
) -> Tree {
    let drawn = draw(rows.total(), sample_size, &mut random);
    let mut values = vec![0.0; drawn.len() * features];
    if features > 0 {
        for (position, row) in drawn.iter().zip(values.chunks_exact_mut(features)) {
            rows.copy_to(*position, row);
        }
    }
    let mut sample: Vec<usize> = (0..drawn.len()).collect();
    let choices = (0..features as u16).collect();
    let mut growing = Growing { values, features, depth_max, random, choices, tree: vec![] };
    growing.node(&mut sample, features, 0);
    growing.tree
}

struct Growing {
    /// The sample, row by row.
    values: Vec<f64>,
    features: usize,
    depth_max: u32,
    random: Random,
    /// All features; behind those that a node can be split by are those that are constant in it.
    choices: Vec<u16>,
    tree: Tree,
}

impl Growing {
    /// Grows the node of the rows `sample`, of which the first `choices` features may differ.
    fn node(&mut self, sample: &mut [usize], mut choices: usize, depth: u32) {
        let (at, count) = (self.tree.len(), sample.len() as u32);
        self.tree.push(Node::Leaf { count });
        if depth == self.depth_max || count < 2 {
            return;
        }
        let Some((feature, threshold)) = self.split(sample, &mut choices) else { return };
        let middle = self.partition(sample, feature, threshold);
        let (left, right) = sample.split_at_mut(middle);
        self.node(left, choices, depth + 1);
        let right_at = self.tree.len() as u32;
        self.node(right, choices, depth + 1);
        self.tree[at] = Node::Split { feature, threshold, right: right_at, count };
    }

    /// A feature that is not constant, by chance, and a threshold between its extremes. `None` where
    /// all rows are equal. Features found constant leave the first `choices`.
    fn split(&mut self, sample: &[usize], choices: &mut usize) -> Option<(u16, f64)> {
        while *choices > 0 {
            let choice = self.random.below(*choices as u64) as usize;
            let feature = self.choices[choice];
            let values = sample.iter().map(|row| self.values[row * self.features + usize::from(feature)]);
            let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (if value < low { value } else { low }, if value > high { value } else { high })
            });
            if low < high {
                return Some((feature, threshold(low, high, self.random.unit())));
            }
            *choices -= 1;
            self.choices.swap(choice, *choices);
        }
        None
    }

    /// Moves the rows above the threshold behind the others; returns where they begin.
    fn partition(&self, sample: &mut [usize], feature: u16, threshold: f64) -> usize {
        let mut middle = 0;
        for at in 0..sample.len() {
            if self.values[sample[at] * self.features + usize::from(feature)] <= threshold {
                sample.swap(at, middle);
                middle += 1;
            }
        }
        middle
    }
}

/// The threshold at the place `unit` (from 0 to below 1) between two values: at or above `low`, below
/// `high`. An infinite end is parted from all numbers, as it would be from wherever a long enough range
/// began.
fn threshold(low: f64, high: f64, unit: f64) -> f64 {
    match (low.is_finite(), high.is_finite()) {
        (true, true) => {
            // Halved, since the range may be longer than the greatest number.
            let part = unit * (high / 2.0 - low / 2.0);
            let exact = low + part + part;
            if exact < high { shorten(exact, low, high) } else { low }
        }
        (false, true) => f64::NEG_INFINITY,
        (true, false) => THRESHOLD_MAX,
        (false, false) if unit < 0.5 => f64::NEG_INFINITY,
        (false, false) => THRESHOLD_MAX,
    }
}

/// The number of fewest digits that is near `exact` and, as it is, at or above `low` and below `high`.
fn shorten(exact: f64, low: f64, high: f64) -> f64 {
    let error_max = (high / 2.0 - low / 2.0) / (THRESHOLD_PLACES / 2.0);
    let cut = |bits: u32| f64::from_bits(exact.to_bits() >> bits << bits);
    let parts = |value: &f64| *value >= low && *value < high;
    let shorter = (HIDDEN_BITS + 1..=52).rev().map(cut);
    let short = shorter.filter(parts).find(|value| (value - exact).abs() <= error_max);
    short.or(Some(cut(HIDDEN_BITS)).filter(parts)).unwrap_or(low)
}
