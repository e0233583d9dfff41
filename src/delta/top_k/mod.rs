//! The first rows of each partition.

mod best;
mod standing;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array, UInt64Array};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::error::Result as DataFusionResult;

use self::best::{AllBest, Best};
use self::standing::{Shown, Standing};
use super::expression::message;
use super::keys::Keys;
use super::operator::{Changes, Operator, Part};
use super::order::{OrderColumn, RowOrder};
use super::ordered_rows::{Arrivals, Change, OrderedRows, Partitions, merge};
use super::stats::Counters;
use super::updates::{Diff, Run, Tick, take_rows};

/// Changes are sent in portions of about this many.
const PORTION_ROWS: usize = if cfg!(test) { 8 } else { 65_536 };

/// How the rows of a partition are numbered, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbering {
    /// One after the other, ties broken by all columns.
    RowNumber,
    /// Rows that are equal in the ordering columns get the number of the first of them.
    Rank,
}

/// The first rows of each partition, as written in a plan.
#[derive(Clone, Debug)]
pub struct TopKSpec {
    /// The columns whose values make a partition; none where all rows are one.
    pub partition: Vec<usize>,
    /// The order of the rows in a partition. Ties are broken by all other columns, ascending, nulls last.
    pub order: Vec<OrderColumn>,
    /// How rows are numbered.
    pub numbering: Numbering,
    /// Rows with a number up to this are left out.
    pub skip: u64,
    /// So many numbers are in the result after those; all by default.
    pub fetch: Option<u64>,
    /// Whether the number is the last column of the result, as `UInt64`.
    pub has_number: bool,
    /// The schema of the input.
    pub input: SchemaRef,
    /// The schema of the result: the first columns of the input, and the number where it is asked for.
    pub schema: SchemaRef,
    /// Whether rows of the input can be retracted.
    pub retracts: bool,
    /// How long a partition is kept that no row comes for, in milliseconds of stream time; for ever by default.
    pub horizon_ms: Option<u64>,
}

impl TopKSpec {
    /// The greatest number in the result.
    pub fn last(&self) -> u64 {
        self.fetch.map_or(u64::MAX, |fetch| self.skip.saturating_add(fetch))
    }
}

/// The rows of each partition whose numbers in its order are within a range.
///
/// Input: any multiset; a row with a multiplicity has as many numbers. Output: the rows in the range; a tick sends
/// those that come into it or leave it and, where the number is a column, those whose number it changes. State:
/// where rows only come, those up to the last number; else all. With a horizon, and where rows only come, a
/// partition is forgotten that long after its last row; a row that comes for it later is the first of a new one.
/// Work: the logarithm of all rows for each that changes, and the rows up to the last number for each partition
/// that is touched.
pub struct TopK {
    spec: TopKSpec,
    partitions: Partitions,
    order: RowOrder,
    state: State,
    counters: Arc<Counters>,
}

enum State {
    /// The input only grows: what is behind the last number stays there.
    Best(AllBest),
    /// Any row may come to the front.
    All(OrderedRows),
}

/// Changes of the result before they are rows again.
#[derive(Default)]
struct Emission {
    /// Encoded rows, one behind the other.
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// Of each change: which row, its number, its diff.
    rows: Vec<u32>,
    numbers: Vec<u64>,
    diffs: Vec<Diff>,
}

impl TopK {
    /// No rows yet. Fails where Arrow cannot order a type.
    pub fn new(spec: TopKSpec, counters: Arc<Counters>) -> DataFusionResult<Self> {
        let fields = spec.partition.iter().map(|c| spec.input.field(*c).clone()).collect::<Vec<_>>();
        let keys = Keys::exact(&Schema::new(fields))?;
        // Rows that can be retracted must not be forgotten: their retraction would find nothing.
        let horizon_ms = spec.horizon_ms.filter(|_| !spec.retracts);
        let has_peers = spec.numbering == Numbering::Rank;
        Ok(TopK {
            partitions: Partitions::new(keys, spec.partition.clone(), horizon_ms),
            order: RowOrder::new(spec.input.clone(), &spec.order, has_peers)?,
            state: match spec.retracts || spec.fetch.is_none() {
                true => State::All(OrderedRows::default()),
                false => State::Best(AllBest::new(spec.numbering, spec.last())),
            },
            spec,
            counters,
        })
    }

    fn advance(&mut self, tick: Tick, parts: &[Part], changes: &mut Changes) -> DataFusionResult<()> {
        let arrivals = Arrivals::new(parts, &self.order, &mut self.partitions)?;
        let mut emission = Emission::default();
        match &mut self.state {
            State::Best(best) => best.grow(self.partitions.count()),
            State::All(rows) => rows.grow(self.partitions.count()),
        }
        for touched in arrivals.by_partition() {
            self.touch(&arrivals, touched, &mut emission);
            if emission.diffs.len() >= PORTION_ROWS {
                self.send(std::mem::take(&mut emission), changes)?;
            }
        }
        self.send(emission, changes)?;
        self.partitions.touch(tick, &arrivals);
        self.forget(tick)
    }

    /// Takes in the changes of one partition.
    fn touch(&mut self, arrivals: &Arrivals, touched: &[Change], emission: &mut Emission) {
        let (spec, partition) = (&self.spec, touched[0].partition);
        match &mut self.state {
            State::Best(all) => {
                let touched = all.within(partition, arrivals, touched);
                if !touched.is_empty() {
                    let before = all.rows(partition).iter().map(Best::as_pair);
                    walk(spec, merge(before, arrivals, touched), touched.len(), emission);
                    all.add(partition, arrivals, touched);
                }
            }
            State::All(rows) => {
                walk(spec, merge(rows.iter(partition), arrivals, touched), touched.len(), emission);
                touched.iter().for_each(|c| rows.add(partition, arrivals.row(c), c.diff));
            }
        }
    }

    fn send(&self, emission: Emission, changes: &mut Changes) -> DataFusionResult<()> {
        let Emission { bytes, ends, rows, numbers, diffs } = emission;
        if rows.is_empty() {
            return Ok(());
        }
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let encoded: Vec<&[u8]> = starts.zip(&ends).map(|(start, end)| &bytes[start..*end]).collect();
        let decoded = self.order.decode(encoded.into_iter())?;
        // A row whose number changes is there twice, and was decoded once.
        let decoded =
            if rows.len() == ends.len() { decoded } else { take_rows(&decoded, &UInt32Array::from(rows)) };
        let kept = self.spec.schema.fields().len() - self.spec.has_number as usize;
        let mut columns = decoded.columns()[..kept].to_vec();
        if self.spec.has_number {
            columns.push(Arc::new(UInt64Array::from(numbers)) as ArrayRef);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(diffs.len()));
        let rows = RecordBatch::try_new_with_options(self.spec.schema.clone(), columns, &options)?;
        changes.push(rows, Run::from_vec(diffs));
        Ok(())
    }

    /// Forgets what the horizon has passed, and numbers partitions anew once most of them are empty.
    fn forget(&mut self, tick: Tick) -> DataFusionResult<()> {
        let expired = self.partitions.expired(tick);
        let (keep, forgotten) = match (&mut self.state, expired) {
            (State::Best(best), Some(keep)) => (Some(keep.clone()), best.retain(&keep)),
            (State::Best(_), None) => (None, 0),
            (State::All(rows), expired) => {
                let keep = expired.or_else(|| rows.mostly_empty());
                let forgotten = keep.as_ref().map_or(0, |keep| rows.retain(keep));
                (keep, forgotten)
            }
        };
        self.counters.expired_rows.fetch_add(forgotten, Ordering::Relaxed);
        keep.map_or(Ok(()), |keep| self.partitions.retain(&keep))
    }
}

/// Goes through the rows of a partition as they were and as they are, and notes what is shown otherwise;
/// `changes` of them have another multiplicity.
fn walk<'a>(
    spec: &TopKSpec,
    rows: impl Iterator<Item = (&'a [u8], Diff, Diff)>,
    mut changes: usize,
    emission: &mut Emission,
) {
    let [mut was, mut is] = [Standing::default(), Standing::default()];
    for (row, before, after) in rows {
        let shown = [was.pass(spec, row, before), is.pass(spec, row, after)];
        emission.note(spec, row, shown);
        changes -= (before != after) as usize;
        let is_same = was == is || (!spec.has_number && spec.fetch.is_none() && was.skipped(spec, &is));
        if (was.is_past(spec) && is.is_past(spec)) || (changes == 0 && is_same) {
            return;
        }
    }
}

impl Emission {
    /// Notes that `row` was shown in one way and is now in another.
    fn note(&mut self, spec: &TopKSpec, row: &[u8], [was, is]: [Shown; 2]) {
        let rows = self.diffs.len();
        let place = self.ends.len() as u32;
        let difference = is.copies as Diff - was.copies as Diff;
        match spec.numbering {
            _ if !spec.has_number => self.change(place, 0, difference),
            Numbering::Rank if was.number == is.number => self.change(place, is.number, difference),
            Numbering::Rank => {
                self.change(place, was.number, -(was.copies as Diff));
                self.change(place, is.number, is.copies as Diff);
            }
            Numbering::RowNumber => {
                for (shown, other, diff) in [(was, is, -1), (is, was, 1)] {
                    let numbers = shown.numbers().filter(|number| !other.numbers().contains(number));
                    numbers.for_each(|number| self.change(place, number, diff));
                }
            }
        }
        if self.diffs.len() > rows {
            self.bytes.extend_from_slice(row);
            self.ends.push(self.bytes.len());
        }
    }

    fn change(&mut self, row: u32, number: u64, diff: Diff) {
        if diff != 0 {
            self.rows.push(row);
            self.numbers.push(number);
            self.diffs.push(diff);
        }
    }
}

impl Operator for TopK {
    fn tick(&mut self, tick: Tick, mut inputs: Vec<Vec<Part>>) -> Changes {
        let mut changes = Changes::default();
        if let Err(error) = self.advance(tick, &inputs.swap_remove(0), &mut changes) {
            changes.errors.push((message(&error), 1));
        }
        let (rows, bytes) = match &self.state {
            State::Best(best) => (best.len(), best.bytes()),
            State::All(rows) => (rows.len(), rows.bytes()),
        };
        self.counters.state_rows(rows);
        self.counters.state_bytes(self.partitions.bytes() + bytes);
        changes
    }
}
