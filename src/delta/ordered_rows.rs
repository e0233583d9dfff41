//! The rows of numbered partitions, in order.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use datafusion::error::{DataFusionError, Result as DataFusionResult};

use super::distinct::COMPACT_ROWS_MIN;
use super::horizon::Horizon;
use super::keys::Keys;
use super::operator::Part;
use super::order::{EncodedRows, RowOrder};
use super::updates::{Diff, Tick};

/// Bytes of a row's entry in [`OrderedRows`] beside those of the row: place, diff, and room left in nodes.
const ENTRY_BYTES: usize = 48;

/// A row that a tick changes.
#[derive(Clone, Copy)]
pub struct Change {
    /// The number of its partition.
    pub partition: u32,
    /// By how much its multiplicity changes; not 0.
    pub diff: Diff,
    part: u32,
    row: u32,
}

/// What a tick changes: each row once, by partition and in order.
pub struct Arrivals {
    parts: Vec<EncodedRows>,
    changes: Vec<Change>,
}

impl Arrivals {
    /// The changes of `parts`, whose partitions `partitions` numbers.
    pub fn new(parts: &[Part], order: &RowOrder, partitions: &mut Partitions) -> DataFusionResult<Self> {
        let (mut encoded, mut changes, mut numbers) = (vec![], vec![], vec![]);
        for (part, (rows, diffs)) in parts.iter().enumerate() {
            let columns: Vec<_> = partitions.columns.iter().map(|c| rows.column(*c).clone()).collect();
            partitions.keys.number(&columns, rows.num_rows(), &mut numbers)?;
            if partitions.keys.count() > u32::MAX as usize {
                let message = format!("more than {} partitions on one worker; set a horizon", u32::MAX);
                return Err(DataFusionError::ResourcesExhausted(message));
            }
            encoded.push(order.encode(rows)?);
            let change = |(row, number): (usize, &usize)| Change {
                partition: *number as u32,
                diff: diffs.get(row),
                part: part as u32,
                row: row as u32,
            };
            changes.extend(numbers.iter().enumerate().map(change));
        }
        let mut arrivals = Arrivals { parts: encoded, changes: vec![] };
        changes.sort_unstable_by(|a, b| arrivals.compare(a, b));
        changes.dedup_by(|next, kept| {
            let is_same = arrivals.compare(next, kept).is_eq();
            kept.diff += if is_same { next.diff } else { 0 };
            is_same
        });
        changes.retain(|change| change.diff != 0);
        arrivals.changes = changes;
        Ok(arrivals)
    }

    fn compare(&self, a: &Change, b: &Change) -> Ordering {
        a.partition.cmp(&b.partition).then_with(|| self.row(a).cmp(self.row(b)))
    }

    /// The bytes of the row that changes.
    pub fn row(&self, change: &Change) -> &[u8] {
        self.parts[change.part as usize].row(change.row as usize)
    }

    /// The part that the row came in, and its place there.
    pub fn origin(&self, change: &Change) -> (usize, usize) {
        (change.part as usize, change.row as usize)
    }

    /// All changes.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// The changes of each partition that is touched.
    pub fn by_partition(&self) -> impl Iterator<Item = &[Change]> {
        self.changes.chunk_by(|a, b| a.partition == b.partition)
    }
}

/// Numbers partitions by their key columns, and knows which are empty and which the horizon has passed.
pub struct Partitions {
    keys: Keys,
    columns: Vec<usize>,
    horizon: Option<Horizon>,
}

impl Partitions {
    /// No partitions yet. `keys` numbers the values of `columns` of the input; a partition that is not touched
    /// for `horizon_ms` of stream time can be forgotten.
    pub fn new(keys: Keys, columns: Vec<usize>, horizon_ms: Option<u64>) -> Self {
        Partitions { keys, columns, horizon: horizon_ms.map(Horizon::new) }
    }

    /// How many numbers are given out.
    pub fn count(&self) -> usize {
        self.keys.count()
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.keys.bytes()
    }

    /// Notes that the partitions of `arrivals` were touched at `tick`.
    pub fn touch(&mut self, tick: Tick, arrivals: &Arrivals) {
        if let Some(horizon) = &mut self.horizon {
            let numbers: Vec<usize> = arrivals.by_partition().map(|c| c[0].partition as usize).collect();
            horizon.touch(tick, &numbers);
        }
    }

    /// Which partitions to keep, where it is time to forget those that the horizon has passed.
    pub fn expired(&mut self, tick: Tick) -> Option<Vec<bool>> {
        if self.columns.is_empty() {
            return None;
        }
        self.horizon.as_mut().and_then(|horizon| horizon.expired(tick))
    }

    /// Forgets the numbers that are false in `keep` and renumbers the others from 0, in order.
    pub fn retain(&mut self, keep: &[bool]) -> DataFusionResult<()> {
        self.keys.retain(keep)
    }
}

/// Where a row is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    partition: u32,
    row: Box<[u8]>,
}

/// Rows with their multiplicities by partition, in order. One tree holds all partitions, so that small ones
/// cost no more than their rows; a change costs the logarithm of all rows.
#[derive(Default)]
pub struct OrderedRows {
    rows: BTreeMap<Place, Diff>,
    /// Rows of each partition.
    counts: Vec<u32>,
    /// Partitions without rows among those ever seen.
    empty: usize,
    bytes: usize,
}

impl OrderedRows {
    /// The rows of `partition` with their multiplicities, in order.
    pub fn iter(&self, partition: u32) -> impl DoubleEndedIterator<Item = (&[u8], Diff)> {
        let start = |partition| Place { partition, row: Box::default() };
        self.rows.range(start(partition)..start(partition + 1)).map(|(place, diff)| (&*place.row, *diff))
    }

    /// Makes room for the numbers below `partitions`.
    pub fn grow(&mut self, partitions: usize) {
        self.empty += partitions.saturating_sub(self.counts.len());
        self.counts.resize(partitions.max(self.counts.len()), 0);
    }

    /// Changes the multiplicity of a row.
    pub fn add(&mut self, partition: u32, row: &[u8], diff: Diff) {
        let count = &mut self.counts[partition as usize];
        let before = *count;
        match self.rows.entry(Place { partition, row: row.into() }) {
            Entry::Vacant(entry) => {
                entry.insert(diff);
                *count += 1;
                self.bytes += row.len() + ENTRY_BYTES;
            }
            Entry::Occupied(mut entry) => {
                *entry.get_mut() += diff;
                if *entry.get() == 0 {
                    entry.remove();
                    *count -= 1;
                    self.bytes -= row.len() + ENTRY_BYTES;
                }
            }
        }
        self.empty = self.empty + (*count == 0) as usize - (before == 0) as usize;
    }

    /// Which partitions have rows, once most have none.
    pub fn mostly_empty(&self) -> Option<Vec<bool>> {
        let is_worth_it = self.counts.len() >= COMPACT_ROWS_MIN && self.empty * 2 > self.counts.len();
        is_worth_it.then(|| self.counts.iter().map(|count| *count > 0).collect())
    }

    /// Forgets the partitions that are false in `keep` and renumbers the others from 0, in order. How many
    /// rows are gone.
    pub fn retain(&mut self, keep: &[bool]) -> u64 {
        let mut next = 0;
        let numbers: Vec<Option<u32>> = keep
            .iter()
            .map(|keep| {
                next += *keep as u32;
                keep.then(|| next - 1)
            })
            .collect();
        let before = self.rows.len();
        let renumber = |(mut place, diff): (Place, Diff)| {
            place.partition = numbers[place.partition as usize]?;
            Some((place, diff))
        };
        self.rows = std::mem::take(&mut self.rows).into_iter().filter_map(renumber).collect();
        self.bytes = self.rows.keys().map(|place| place.row.len() + ENTRY_BYTES).sum();
        let mut index = 0;
        self.counts.retain(|_| {
            index += 1;
            keep[index - 1]
        });
        self.empty = self.counts.iter().filter(|count| **count == 0).count();
        (before - self.rows.len()) as u64
    }

    /// How many distinct rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes + self.counts.len() * size_of::<u32>()
    }
}

/// The rows of a partition with their multiplicities before and after `changes`, in order.
pub fn merge<'a>(
    before: impl Iterator<Item = (&'a [u8], Diff)>,
    arrivals: &'a Arrivals,
    changes: &'a [Change],
) -> impl Iterator<Item = (&'a [u8], Diff, Diff)> {
    let mut before = before.peekable();
    let mut changes = changes.iter().map(|change| (arrivals.row(change), change.diff)).peekable();
    std::iter::from_fn(move || {
        let order = match (before.peek(), changes.peek()) {
            (Some((row, _)), Some((changed, _))) => row.cmp(changed),
            (Some(_), None) => Ordering::Less,
            (None, _) => Ordering::Greater,
        };
        let kept = if order.is_le() { before.next() } else { None };
        let changed = if order.is_ge() { changes.next() } else { None };
        let (row, _) = kept.or(changed)?;
        let count = kept.map_or(0, |(_, count)| count);
        Some((row, count, count + changed.map_or(0, |(_, diff)| diff)))
    })
}
