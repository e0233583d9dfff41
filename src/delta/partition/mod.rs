//! Partitions of rows, computed anew whenever a row of theirs changes.

#[cfg(test)]
mod tests;

use std::fmt::{Debug, Display};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::error::{DataFusionError, Result as DataFusionResult};

use super::consolidate::Consolidate;
use super::expression::{guarded, message};
use super::keys::Keys;
use super::operator::{Changes, Operator, Part};
use super::order::{OrderColumn, RowOrder};
use super::ordered_rows::{Arrivals, OrderedRows, Partitions, merge};
use super::stats::Counters;
use super::updates::{Diff, Run, Tick, take_rows};

/// The most rows of one partition.
pub const PARTITION_ROWS_MAX: usize = 1 << 24;

/// Partitions are computed together until they have this many rows.
const PORTION_ROWS: usize = if cfg!(test) { 8 } else { 65_536 };

/// What is computed of the rows of a partition.
pub trait PartitionFunction: Debug + Display + Send + Sync {
    /// What it gives for `rows`: those of some partitions, one partition after the other, each in the order
    /// asked for, a row with a multiplicity as often as that. `partitions` are the ranges of rows, none empty.
    /// A partition without rows gives nothing. The result must be a function of the rows of each partition
    /// alone; an error stands for as long as a partition gives it.
    fn evaluate(&self, rows: &RecordBatch, partitions: &[Range<usize>]) -> DataFusionResult<RecordBatch>;
}

/// Partitions computed as a whole, as written in a plan.
#[derive(Clone, Debug)]
pub struct PartitionSpec {
    /// The columns whose values make a partition; none where all rows are one.
    pub partition: Vec<usize>,
    /// The order of the rows in a partition. Ties are broken by all other columns, ascending, nulls last.
    pub order: Vec<OrderColumn>,
    /// What is computed.
    pub function: Arc<dyn PartitionFunction>,
    /// The schema of the input.
    pub input: SchemaRef,
    /// The schema of the result.
    pub schema: SchemaRef,
    /// Whether rows of the input can be retracted.
    pub retracts: bool,
    /// How long a partition is kept that no row comes for, in milliseconds of stream time; for ever by default.
    pub horizon_ms: Option<u64>,
}

/// A function of each partition of the input.
///
/// Input: any multiset. Output: what the function gives for each partition that has rows; of a partition that
/// a tick touches, that which is different after it. Two floats are the same partition when all of their bits are,
/// as in a window of a batch query. State: all rows in order. With a horizon, and where rows only come, a
/// partition is forgotten that long after its last row; a row that comes for it later is the first of a new one.
/// Work: each touched partition is computed before and after the tick.
pub struct Partition {
    spec: PartitionSpec,
    partitions: Partitions,
    order: RowOrder,
    rows: OrderedRows,
    consolidate: Consolidate,
    counters: Arc<Counters>,
}

/// The rows of some touched partitions, once each, and how often each is there before and after the tick.
#[derive(Default)]
struct Portion<'a> {
    rows: Vec<&'a [u8]>,
    sides: [Side; 2],
}

/// Rows by place among those of a portion, and the ranges of the partitions that they belong to.
#[derive(Default)]
struct Side {
    picks: Vec<u32>,
    partitions: Vec<Range<usize>>,
}

impl Partition {
    /// No rows yet. Fails where Arrow cannot order a type.
    pub fn new(spec: PartitionSpec, counters: Arc<Counters>) -> DataFusionResult<Self> {
        let fields = spec.partition.iter().map(|c| spec.input.field(*c).clone()).collect::<Vec<_>>();
        // Rows that can be retracted must not be forgotten: their retraction would find nothing.
        let horizon_ms = spec.horizon_ms.filter(|_| !spec.retracts);
        let partitions =
            Partitions::new(Keys::exact(&Schema::new(fields))?, spec.partition.clone(), horizon_ms);
        Ok(Partition {
            partitions,
            order: RowOrder::new(spec.input.clone(), &spec.order, false)?,
            rows: OrderedRows::default(),
            consolidate: Consolidate::new(spec.schema.clone()),
            spec,
            counters,
        })
    }

    fn compute(&mut self, tick: Tick, parts: &[Part], changes: &mut Changes) -> DataFusionResult<()> {
        let arrivals = Arrivals::new(parts, &self.order, &mut self.partitions)?;
        self.rows.grow(self.partitions.count());
        let mut portion = Portion::default();
        for touched in arrivals.by_partition() {
            portion.add(merge(self.rows.iter(touched[0].partition), &arrivals, touched));
            if portion.rows.len() >= PORTION_ROWS {
                self.emit(&std::mem::take(&mut portion), changes)?;
            }
        }
        self.emit(&portion, changes)?;
        arrivals.changes().iter().for_each(|c| self.rows.add(c.partition, arrivals.row(c), c.diff));
        self.partitions.touch(tick, &arrivals);
        self.forget(tick)
    }

    /// Sends what is different about the partitions of `portion`.
    fn emit(&self, portion: &Portion, changes: &mut Changes) -> DataFusionResult<()> {
        let rows = self.order.decode(portion.rows.iter().copied())?;
        let mut parts = vec![];
        for (side, diff) in portion.sides.iter().zip([-1, 1]) {
            let rows = take_rows(&rows, &UInt32Array::from(side.picks.clone()));
            self.evaluate(&rows, &side.partitions, diff, &mut parts, &mut changes.errors)?;
        }
        let Changes { rows, .. } = self.consolidate.consolidate(parts)?;
        rows.into_iter().for_each(|(rows, diffs)| changes.push(rows, diffs));
        Ok(())
    }

    /// What the function gives for `partitions` of `rows`; for each alone where it fails for one.
    fn evaluate(
        &self,
        rows: &RecordBatch,
        partitions: &[Range<usize>],
        diff: Diff,
        parts: &mut Vec<Part>,
        errors: &mut Vec<(String, Diff)>,
    ) -> DataFusionResult<()> {
        if partitions.is_empty() {
            return Ok(());
        }
        match self.evaluate_all(rows, partitions) {
            Ok(result) => parts.push((result.with_schema(self.spec.schema.clone())?, Run::Constant(diff))),
            Err(error) if partitions.len() == 1 => errors.push((message(&error), diff)),
            Err(_) => {
                for range in partitions {
                    let rows = rows.slice(range.start, range.len());
                    self.evaluate(&rows, std::slice::from_ref(&(0..range.len())), diff, parts, errors)?;
                }
            }
        }
        Ok(())
    }

    fn evaluate_all(&self, rows: &RecordBatch, partitions: &[Range<usize>]) -> DataFusionResult<RecordBatch> {
        if partitions.iter().any(|range| range.len() > PARTITION_ROWS_MAX) {
            return Err(DataFusionError::ResourcesExhausted(format!(
                "a partition has more than {PARTITION_ROWS_MAX} rows; partition by more columns, or set a horizon"
            )));
        }
        guarded(|| self.spec.function.evaluate(rows, partitions))
    }

    /// Forgets what the horizon has passed, and numbers partitions anew once most of them are empty.
    fn forget(&mut self, tick: Tick) -> DataFusionResult<()> {
        let expired = self.partitions.expired(tick);
        if let Some(keep) = expired.or_else(|| self.rows.mostly_empty()) {
            let forgotten = self.rows.retain(&keep);
            self.counters.expired_rows.fetch_add(forgotten, Ordering::Relaxed);
            self.partitions.retain(&keep)?;
        }
        Ok(())
    }
}

impl<'a> Portion<'a> {
    /// Adds the rows of a partition with their multiplicities before and after.
    fn add(&mut self, rows: impl Iterator<Item = (&'a [u8], Diff, Diff)>) {
        let starts = [0, 1].map(|side| self.sides[side].picks.len());
        for (row, before, after) in rows {
            for (side, count) in self.sides.iter_mut().zip([before, after]) {
                let copies = count.clamp(0, PARTITION_ROWS_MAX as Diff + 1) as usize;
                side.picks.extend(std::iter::repeat_n(self.rows.len() as u32, copies));
            }
            self.rows.push(row);
        }
        for (side, start) in self.sides.iter_mut().zip(starts) {
            if side.picks.len() > start {
                side.partitions.push(start..side.picks.len());
            }
        }
    }
}

impl Operator for Partition {
    fn tick(&mut self, tick: Tick, mut inputs: Vec<Vec<Part>>) -> Changes {
        let mut changes = Changes::default();
        if let Err(error) = self.compute(tick, &inputs.swap_remove(0), &mut changes) {
            changes.errors.push((message(&error), 1));
        }
        self.counters.state_bytes(self.partitions.bytes() + self.rows.bytes());
        self.counters.state_rows(self.rows.len());
        changes
    }
}
