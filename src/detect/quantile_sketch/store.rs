//! Counts by integer key: a dense window where the values are, a sorted map for the rest.

use std::collections::BTreeMap;

/// The window starts and ends on a multiple of this many bins.
const WINDOW_ALIGN_BINS: i32 = 8;
/// A key further than this from the window does not stretch it but goes to the map.
const STRETCH_BINS_MAX: i32 = 64;
/// A window may have at most this many bins for each one that is in use when it is laid out anew.
const BINS_PER_USED_MAX: i64 = 16;
/// The window is laid out anew once the map holds this many keys (and again each time it doubles).
const OUTLIERS_MIN: usize = 24;

/// Counts by key. Two stores are equal when every key has the same count, however they are laid out.
///
/// Nothing is ever dropped or merged. A group of few scattered values costs some 200 bytes; one
/// outlier, however far, costs one map entry and leaves the window fast.
#[derive(Clone, Debug)]
pub(super) struct Store {
    /// Counts of the keys `first_key..first_key + window.len()`; zeros are bins not in use.
    window: Vec<i64>,
    first_key: i32,
    /// Non-zero counts of keys outside the window.
    outliers: BTreeMap<i32, i64>,
    /// Number of outliers at which the window is laid out anew.
    outliers_max: usize,
}

impl Store {
    pub(super) const fn new() -> Self {
        Self { window: Vec::new(), first_key: 0, outliers: BTreeMap::new(), outliers_max: OUTLIERS_MIN }
    }

    /// Adds `weight` to the count of `key`. Keys differ by less than 2^31.
    #[inline(always)]
    pub(super) fn add(&mut self, key: i32, weight: i64) {
        let index = key.wrapping_sub(self.first_key) as u32 as usize;
        match self.window.get_mut(index) {
            Some(count) => *count = count.wrapping_add(weight),
            None => self.add_outside(key, weight),
        }
    }

    /// Non-zero counts in ascending order of key.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (i32, i64)> {
        let window = self.window.iter().enumerate().filter(|(_, count)| **count != 0);
        let below = self.outliers.range(..self.first_key);
        let above = self.outliers.range(self.end_key()..);
        let pair = |(key, count): (&i32, &i64)| (*key, *count);
        let first_key = self.first_key;
        below
            .map(pair)
            .chain(window.map(move |(i, count)| (first_key + i as i32, *count)))
            .chain(above.map(pair))
    }

    pub(super) fn is_zero(&self) -> bool {
        self.outliers.is_empty() && self.window.iter().all(|count| *count == 0)
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (key, count) in other.iter() {
            self.add(key, count);
        }
    }

    /// Bytes on the heap, roughly: map nodes are counted by their entries.
    pub(super) fn heap_bytes(&self) -> usize {
        self.window.capacity() * size_of::<i64>() + self.outliers.len() * 2 * size_of::<(i32, i64)>()
    }

    fn end_key(&self) -> i32 {
        self.first_key + self.window.len() as i32
    }

    #[cold]
    #[inline(never)]
    fn add_outside(&mut self, key: i32, weight: i64) {
        if self.window.is_empty() {
            self.lay_out(key, key);
            return self.add(key, weight);
        }
        let last_key = self.end_key() - 1;
        let gap = (self.first_key - key).max(key - last_key);
        if gap <= STRETCH_BINS_MAX.min(self.window.len() as i32) {
            // The quarter on top keeps a run of ever smaller keys from copying the window each time.
            let slack = self.window.len() as i32 / 4;
            let low = if key < self.first_key { key - slack } else { self.first_key };
            let high = if key > last_key { key + slack } else { last_key };
            self.lay_out(low, high);
            return self.add(key, weight);
        }
        let count = self.outliers.entry(key).or_insert(0);
        *count = count.wrapping_add(weight);
        if *count == 0 {
            self.outliers.remove(&key);
        }
        if self.outliers.len() >= self.outliers_max {
            let (low, high) = self.best_window();
            self.lay_out(low, high);
            self.outliers_max = OUTLIERS_MIN.max(2 * self.outliers.len());
        }
    }

    /// The keys a window should span: all of them, less the ends that lie too far out.
    fn best_window(&self) -> (i32, i32) {
        let keys: Vec<i32> = self.iter().map(|(key, _)| key).collect();
        let (mut low, mut high) = (0, keys.len() - 1);
        while i64::from(keys[high] - keys[low]) >= BINS_PER_USED_MAX * (high - low + 1) as i64 {
            if keys[low + 1] - keys[low] > keys[high] - keys[high - 1] {
                low += 1;
            } else {
                high -= 1;
            }
        }
        (keys[low], keys[high])
    }

    /// Makes the window span `low..=high`, aligned outwards; counts move between window and map.
    fn lay_out(&mut self, low: i32, high: i32) {
        let first_key = low.div_euclid(WINDOW_ALIGN_BINS) * WINDOW_ALIGN_BINS;
        let end_key = (high.div_euclid(WINDOW_ALIGN_BINS) + 1) * WINDOW_ALIGN_BINS;
        let mut window = vec![0; (end_key - first_key) as usize];
        let mut outliers = BTreeMap::new();
        for (key, count) in self.iter() {
            match window.get_mut((key - first_key) as u32 as usize) {
                Some(bin) => *bin = count,
                None => drop(outliers.insert(key, count)),
            }
        }
        *self = Self { window, first_key, outliers, outliers_max: self.outliers_max };
    }
}

impl PartialEq for Store {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}
