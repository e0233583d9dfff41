//! Rows in an order that is a function of what they hold, and so not of how they came.

use std::collections::{BTreeMap, BTreeSet};

use super::FEATURES_MAX;
use super::key::normal;
use super::random::Random;
use crate::detect::bytes::{DecodeError, Reader, put_signed, put_unsigned};

/// Takes one more value into the hash of a row.
#[inline(always)]
fn fold(hash: u64, value: f64) -> u64 {
    let product = u128::from(hash ^ normal(value).to_bits()) * 0x9e37_79b9_7f4a_7c15;
    (product >> 64) as u64 ^ product as u64
}

const HASH_OF_NOTHING: u64 = 0x2545_f491_4f6c_dd1d;

/// A multiset of rows in one order. How they are ordered matters to nobody; that the order is the
/// same for the same rows does.
pub(super) trait Rows {
    /// How many there are, each as often as it occurs.
    fn total(&self) -> u64;
    /// Writes the row at `position` of the order, below [`Rows::total`], to `row`.
    fn copy_to(&self, position: u64, row: &mut [f64]);
}

/// The positions, in ascending order, of `size` rows drawn without replacement (Floyd's algorithm).
pub(super) fn draw(total: u64, size: usize, random: &mut Random) -> BTreeSet<u64> {
    let size = total.min(size as u64);
    let mut drawn = BTreeSet::new();
    for last in total - size..total {
        let position = random.below(last + 1);
        if !drawn.insert(position) {
            drawn.insert(last);
        }
    }
    drawn
}

/// The rows of columns, ordered by hash.
pub(super) struct Columns<'a> {
    columns: &'a [&'a [f64]],
    order: Vec<usize>,
}

impl<'a> Columns<'a> {
    /// All columns have `count` values.
    pub(super) fn new(columns: &'a [&'a [f64]], count: usize) -> Self {
        let mut hashes: Vec<(u64, usize)> = (0..count).map(|row| (HASH_OF_NOTHING, row)).collect();
        for column in columns {
            for ((hash, _), value) in hashes.iter_mut().zip(*column) {
                *hash = fold(*hash, *value);
            }
        }
        hashes.sort_unstable_by_key(|(hash, _)| *hash);
        let mut order: Vec<usize> = hashes.iter().map(|(_, row)| *row).collect();
        let mut from = 0;
        for run in hashes.chunk_by(|left, right| left.0 == right.0) {
            sort_run(columns, &mut order[from..from + run.len()]);
            from += run.len();
        }
        Self { columns, order }
    }
}

/// Rows of one hash are nearly always equal; where they are not, their values order them.
pub(super) fn sort_run(columns: &[&[f64]], rows: &mut [usize]) {
    let values = |row: usize| columns.iter().map(move |column| normal(column[row]).to_bits());
    if rows.windows(2).any(|pair| !values(pair[0]).eq(values(pair[1]))) {
        rows.sort_unstable_by(|left, right| values(*left).cmp(values(*right)));
    }
}

impl Rows for Columns<'_> {
    fn total(&self) -> u64 {
        self.order.len() as u64
    }

    fn copy_to(&self, position: u64, row: &mut [f64]) {
        let from = self.order[position as usize];
        row.iter_mut().zip(self.columns).for_each(|(value, column)| *value = normal(column[from]));
    }
}

/// The rows that a forest may be trained on, kept as a multiset: rows come and go, and samples of
/// parts can be merged.
///
/// Holds every distinct row, about `50 + 8 * features` bytes each: what is forgotten could not be
/// retracted. A forest trained on it is the one that [`Forest::train`](super::Forest::train) gives
/// for the same rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    features: usize,
    /// How often each row occurs, in the order of [`Rows`]: by hash, then by the values' bits.
    weights: BTreeMap<(u64, Box<[u64]>), i64>,
}

impl Sample {
    /// No rows, of so many features.
    pub fn new(features: usize) -> Self {
        Self { features, weights: BTreeMap::new() }
    }

    /// How many features a row has.
    pub fn features(&self) -> usize {
        self.features
    }

    /// The same rows, each of them once.
    pub fn each_once(&self) -> Self {
        let there = self.weights.iter().filter(|(_, weight)| **weight > 0);
        Self { features: self.features, weights: there.map(|(row, _)| (row.clone(), 1)).collect() }
    }

    /// Bytes held on the heap, about.
    pub fn heap_bytes(&self) -> usize {
        // A node of the tree holds a hash, a pointer with its length, and a count for each row.
        self.weights.len() * (40 + self.features * size_of::<u64>())
    }

    /// How many distinct rows are held.
    pub fn distinct(&self) -> usize {
        self.weights.len()
    }

    /// Adds `row` `weight` times; a negative weight retracts. A row that was retracted more often than
    /// it was added is not there, but is remembered. Features that `row` lacks are missing (NaN); what
    /// it has beyond them is passed over.
    pub fn add(&mut self, row: &[f64], weight: i64) {
        let values = row.iter().copied().chain(std::iter::repeat(f64::NAN)).take(self.features);
        let hash = values.clone().fold(HASH_OF_NOTHING, fold);
        self.add_bits(hash, values.map(|value| normal(value).to_bits()).collect(), weight);
    }

    /// Adds all rows of `other`.
    ///
    /// # Errors
    /// When the other's rows have another number of features.
    pub fn merge(&mut self, other: &Self) -> Result<(), super::ForestError> {
        super::check_features(self.features, other.features)?;
        for ((hash, bits), weight) in &other.weights {
            self.add_bits(*hash, bits.clone(), *weight);
        }
        Ok(())
    }

    /// The rows as bytes: the number of features, then each row as its values' bits and how often it occurs. Equal
    /// samples have equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![];
        put_unsigned(&mut out, self.features as u64);
        for ((_, bits), weight) in &self.weights {
            bits.iter().for_each(|bits| out.extend_from_slice(&bits.to_le_bytes()));
            put_signed(&mut out, *weight);
        }
        out
    }

    /// The rows that [`Sample::to_bytes`] wrote.
    ///
    /// # Errors
    /// When the bytes are not those of a sample.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new("sample", bytes);
        let features = reader.unsigned()?;
        if features > FEATURES_MAX as u64 {
            return Err(reader.out_of_range("number of features", features));
        }
        let mut sample = Self::new(features as usize);
        let mut row = vec![0.0; features as usize];
        while !reader.is_at_end() {
            for value in &mut row {
                *value = f64::from_bits(u64::from_le_bytes(reader.array()?));
            }
            let weight = reader.signed()?;
            sample.add(&row, weight);
        }
        Ok(sample)
    }

    fn add_bits(&mut self, hash: u64, bits: Box<[u64]>, weight: i64) {
        use std::collections::btree_map::Entry;
        match self.weights.entry((hash, bits)) {
            Entry::Vacant(entry) if weight != 0 => _ = entry.insert(weight),
            Entry::Vacant(_) => {}
            Entry::Occupied(mut entry) => {
                *entry.get_mut() = entry.get().wrapping_add(weight);
                if *entry.get() == 0 {
                    entry.remove();
                }
            }
        }
    }
}

/// The rows of a sample, with how many come before the end of each.
pub(super) struct Sampled<'a> {
    ends: Vec<(u64, &'a [u64])>,
}

impl<'a> Sampled<'a> {
    pub(super) fn new(sample: &'a Sample) -> Self {
        let mut end = 0_u64;
        let there = sample.weights.iter().filter(|(_, weight)| **weight > 0);
        let ends = there.map(|((_, bits), weight)| {
            end = end.saturating_add(weight.unsigned_abs());
            (end, &**bits)
        });
        Self { ends: ends.collect() }
    }
}

impl Rows for Sampled<'_> {
    fn total(&self) -> u64 {
        self.ends.last().map_or(0, |(end, _)| *end)
    }

    fn copy_to(&self, position: u64, row: &mut [f64]) {
        let index = self.ends.partition_point(|(end, _)| *end <= position);
        let bits = self.ends.get(index).map_or(&[][..], |(_, bits)| bits);
        row.iter_mut().zip(bits).for_each(|(value, bits)| *value = f64::from_bits(*bits));
    }
}
