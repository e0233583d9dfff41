//! Fits of baselines that were computed before.
//!
//! A view places all rows of a series anew whenever one of them changes, against fits most of whose windows are what they
//! were. A fit is a function of the values in its window, so it is kept by these: what is found is what would be computed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::detect::baseline::{Baseline, Fit};

/// The bytes of fits in each of two generations; the older one is given up when the younger is full.
const GENERATION_BYTES_MAX: usize = 64 << 20;

/// A window: its length, two hashes of its values, and what is asked of it.
type Key = (usize, [u64; 2], u64);

/// Fits by their windows.
#[derive(Debug, Default)]
pub(super) struct Fits {
    generations: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Key, Option<Arc<Fit>>>,
    old: HashMap<Key, Option<Arc<Fit>>>,
    young_bytes: usize,
}

impl Fits {
    /// The fit of the window `key`, computed by `compute` where it is not known.
    fn get(&self, key: Key, compute: impl FnOnce() -> Option<Fit>) -> Option<Arc<Fit>> {
        let known = self.lock().find(&key);
        known.unwrap_or_else(|| {
            // Others go on meanwhile: two may compute the same.
            let fit = compute().map(Arc::new);
            self.lock().keep(key, fit.clone());
            fit
        })
    }

    /// A panic while it was locked leaves at worst a fit out.
    fn lock(&self) -> std::sync::MutexGuard<'_, Generations> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn find(&mut self, key: &Key) -> Option<Option<Arc<Fit>>> {
        if let Some(fit) = self.young.get(key) {
            return Some(fit.clone());
        }
        let fit = self.old.remove(key)?;
        self.keep(*key, fit.clone());
        Some(fit)
    }

    fn keep(&mut self, key: Key, fit: Option<Arc<Fit>>) {
        self.young_bytes += 64 + fit.as_ref().map_or(0, |fit| fit.bytes());
        self.young.insert(key, fit);
        if self.young_bytes > GENERATION_BYTES_MAX {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }
}

/// The values of a series on its grid, any stretch of which is hashed at once.
pub(super) struct Windows<'a> {
    first: i64,
    values: &'a [f64],
    /// For each place, hashes of the values before it.
    hashes: Vec<[u64; 2]>,
    powers: Vec<[u64; 2]>,
}

/// A prime, and the bases of two hashes: the values are the coefficients of polynomials.
const MODULUS: u64 = (1 << 61) - 1;
const BASES: [u64; 2] = [0x0123_4567_89ab_cdef, 0x1357_9bdf_0246_8ace];

/// `left * right + more`, modulo [`MODULUS`].
fn next(left: u64, right: u64, more: u64) -> u64 {
    ((u128::from(left) * u128::from(right) + u128::from(more)) % u128::from(MODULUS)) as u64
}

impl<'a> Windows<'a> {
    /// `values` on a grid from place `first` on.
    pub fn new(first: i64, values: &'a [f64]) -> Self {
        let (mut hash, mut power) = ([0; 2], [1; 2]);
        let (mut hashes, mut powers) = (vec![hash], vec![power]);
        for value in values {
            // What is missing is one value, and zeros are one.
            let bits = if value.is_finite() { (value + 0.0).to_bits() } else { u64::MAX };
            for which in 0..2 {
                hash[which] = next(hash[which], BASES[which], bits);
                power[which] = next(power[which], BASES[which], 0);
            }
            hashes.push(hash);
            powers.push(power);
        }
        Windows { first, values, hashes, powers }
    }

    /// The fit of `baseline` at `boundary`, which is no place after the last; `question` tells baselines apart.
    pub fn fit(&self, baseline: &Baseline, question: u64, boundary: i64, fits: &Fits) -> Option<Arc<Fit>> {
        let place = |index: i64| index.saturating_sub(self.first).clamp(0, self.values.len() as i64) as usize;
        let end = place(boundary);
        let begin = place(boundary.saturating_sub(baseline.window_points() as i64)).min(end);
        let hash = [0, 1].map(|which| {
            let before = next(self.hashes[begin][which], self.powers[end - begin][which], 0);
            (self.hashes[end][which] + MODULUS - before) % MODULUS
        });
        let window = &self.values[begin..end];
        fits.get((window.len(), hash, question), || baseline.fit(window))
    }
}
