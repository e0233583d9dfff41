//! Series, and functions that keep up with their rows.

mod function;
mod kept;
mod output;
mod rows;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::RecordBatch;
use arrow::datatypes::{Fields, Schema, SchemaRef};
use datafusion::error::Result as DataFusionResult;

pub use self::function::{Backwards, Edit, SeriesFunction, SeriesState, column, in_turn};
use self::kept::{Arguments, Kept, Touched};
use self::output::Output;
use super::consolidate::Consolidate;
use super::distinct::COMPACT_ROWS_MIN;
use super::expression::{guarded, message};
use super::keys::Keys;
use super::operator::{Changes, Operator, Part};
use super::order::{EncodedRows, OrderColumn, RowOrder};
use super::ordered_rows::{Arrivals, Partitions};
use super::partition::PARTITION_ROWS_MAX;
use super::stats::Counters;
use super::updates::{Tick, columnless};

/// The most rows of one series.
pub const SERIES_ROWS_MAX: usize = PARTITION_ROWS_MAX;

/// Results are sent together until there are this many.
const PORTION_ROWS: usize = if cfg!(test) { 8 } else { 65_536 };

/// A function of a series, as called.
#[derive(Clone, Debug)]
pub struct SeriesCall {
    /// What it is called in EXPLAIN DATAFLOW.
    pub name: String,
    /// The function.
    pub function: Arc<dyn SeriesFunction>,
    /// The fields of its results.
    pub fields: Fields,
    /// The column of the input that says what its rows are ordered by: times, in nanoseconds since 1970, or whole numbers.
    pub place: usize,
    /// The column of the values.
    pub value: usize,
    /// The column of hashes of what makes the series, one of `partition` of the [`SeriesSpec`]; where it is asked for.
    pub hash: Option<usize>,
}

/// Series and functions of theirs, as written in a plan.
#[derive(Clone, Debug)]
pub struct SeriesSpec {
    /// The columns whose values make a series; none where all rows are one.
    pub partition: Vec<usize>,
    /// The order of the rows in a series. Ties are broken by all other columns, ascending, nulls last.
    pub order: Vec<OrderColumn>,
    /// What is computed: one or more functions.
    pub calls: Vec<SeriesCall>,
    /// The schema of the input.
    pub input: SchemaRef,
    /// The schema of the result: the first columns of the input, and a struct of each function.
    pub schema: SchemaRef,
    /// Whether rows of the input can be retracted.
    pub retracts: bool,
    /// How long a series is kept that no row comes for, in milliseconds of stream time; for ever by default.
    pub horizon_ms: Option<u64>,
}

/// The rows of each series, and what functions give for each of them.
///
/// Input: any multiset. Output: of a series that a tick touches, the rows whose results are different after it. What
/// makes series different, and when one is forgotten, is as in a [`Partition`](super::partition::Partition). State: all
/// rows in order, without the columns that make a series, and a state of each function. Work: of an appended row the
/// logarithm of the rows of its series and what the functions take for it; of others what the functions take for the rows
/// that they affect. A series whose functions ask for it is computed anew, and an error of its stands until then.
pub struct Series {
    spec: SeriesSpec,
    partitions: Partitions,
    codec: Codec,
    series: Vec<Kept>,
    totals: Totals,
    /// Numbers of a result.
    width: usize,
    consolidate: Consolidate,
    counters: Arc<Counters>,
}

/// Sums over all series.
#[derive(Default)]
struct Totals {
    rows: usize,
    bytes: usize,
    /// Series without rows.
    empty: usize,
}

/// How rows are kept as bytes: the columns that make a series once for all of its rows, and the others.
struct Codec {
    schema: SchemaRef,
    keys: RowOrder,
    order: RowOrder,
}

impl Codec {
    fn new(spec: &SeriesSpec) -> DataFusionResult<Self> {
        let others: Vec<usize> =
            (0..spec.input.fields().len()).filter(|column| !spec.partition.contains(column)).collect();
        Ok(Codec {
            schema: spec.input.clone(),
            keys: RowOrder::without(spec.input.clone(), &[], false, &others)?,
            order: RowOrder::without(spec.input.clone(), &spec.order, false, &spec.partition)?,
        })
    }

    /// The rows of these keys and bytes.
    fn decode<'a>(
        &self,
        rows: impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])> + Clone,
    ) -> DataFusionResult<RecordBatch> {
        if self.schema.fields().is_empty() {
            return Ok(columnless(self.schema.clone(), rows.len()));
        }
        let keys = self.keys.decode_columns(rows.clone().map(|(key, _)| key))?;
        let others = self.order.decode_columns(rows.map(|(_, row)| row))?;
        let columns = keys.into_iter().zip(others).filter_map(|(key, other)| key.or(other));
        Ok(RecordBatch::try_new(self.schema.clone(), columns.collect())?)
    }

    /// The key of a row of `rows`.
    fn key(&self, rows: &RecordBatch, row: usize) -> DataFusionResult<Box<[u8]>> {
        let encoded: EncodedRows = self.keys.encode(&rows.slice(row, 1))?;
        Ok(encoded.row(0).into())
    }
}

impl Series {
    /// No rows yet. Fails where Arrow cannot order a type.
    pub fn new(spec: SeriesSpec, counters: Arc<Counters>) -> DataFusionResult<Self> {
        let fields = spec.partition.iter().map(|c| spec.input.field(*c).clone()).collect::<Vec<_>>();
        // Rows that can be retracted must not be forgotten: their retraction would find nothing.
        let horizon_ms = spec.horizon_ms.filter(|_| !spec.retracts);
        let keys = Keys::exact(&Schema::new(fields))?;
        Ok(Series {
            partitions: Partitions::new(keys, spec.partition.clone(), horizon_ms),
            codec: Codec::new(&spec)?,
            series: vec![],
            totals: Totals::default(),
            width: spec.calls.iter().map(|call| call.fields.len()).sum(),
            consolidate: Consolidate::new(spec.schema.clone()),
            spec,
            counters,
        })
    }

    fn compute(&mut self, tick: Tick, parts: &[Part], changes: &mut Changes) -> DataFusionResult<()> {
        let arrivals = Arrivals::new(parts, &self.codec.order, &mut self.partitions)?;
        let arguments = parts.iter().map(|(rows, _)| Arguments::of(&self.spec.calls, rows));
        let arguments = arguments.collect::<DataFusionResult<Vec<_>>>()?;
        self.totals.empty += self.partitions.count().saturating_sub(self.series.len());
        self.series.resize_with(self.partitions.count().max(self.series.len()), Kept::default);
        let mut output = Output::new(self.width);
        for touched in arrivals.by_partition() {
            let number = touched[0].partition as usize;
            let (part, row) = arrivals.origin(&touched[0]);
            if self.series[number].rows.len() == 0 {
                self.series[number].key = self.codec.key(&parts[part].0, row)?;
            }
            output.begin(number);
            self.change(
                number,
                &Touched { arrivals: &arrivals, changes: touched, arguments: &arguments },
                &mut output,
            )?;
            if output.len() >= PORTION_ROWS {
                self.emit(&mut output, changes)?;
            }
        }
        self.emit(&mut output, changes)?;
        self.partitions.touch(tick, &arrivals);
        self.forget(tick, changes)
    }

    /// Changes one series.
    fn change(&mut self, number: usize, touched: &Touched, output: &mut Output) -> DataFusionResult<()> {
        let kept = &mut self.series[number];
        let (bytes, rows) = (kept.bytes, kept.rows.len());
        kept.change(touched, &self.spec.calls, &self.codec, output)?;
        kept.bytes = kept.size();
        self.counters.fits.fetch_add(kept.new_fits(), Ordering::Relaxed);
        let Totals { rows: all_rows, bytes: all_bytes, empty } = &mut self.totals;
        *all_bytes = *all_bytes + kept.bytes - bytes;
        *all_rows = *all_rows + kept.rows.len() - rows;
        *empty = *empty + usize::from(kept.rows.len() == 0) - usize::from(rows == 0);
        Ok(())
    }

    /// Sends what is different.
    fn emit(&self, output: &mut Output, changes: &mut Changes) -> DataFusionResult<()> {
        let mut output = std::mem::replace(output, Output::new(self.width));
        changes.errors.append(&mut output.errors);
        let mut parts = output.parts(&self.spec, &self.codec, &self.series)?;
        if output.retracts() {
            parts = self.consolidate.consolidate(parts)?.rows;
        }
        parts.into_iter().for_each(|(rows, diffs)| changes.push(rows, diffs));
        Ok(())
    }

    /// Forgets what the horizon has passed, and numbers series anew once most of them are empty.
    fn forget(&mut self, tick: Tick, changes: &mut Changes) -> DataFusionResult<()> {
        let Some(keep) = self.partitions.expired(tick).or_else(|| self.mostly_empty()) else { return Ok(()) };
        let rows = self.totals.rows;
        let mut kept = keep.iter();
        self.series.retain(|series| {
            let is_kept = kept.next().copied().unwrap_or(true);
            // What is forgotten has no error any more.
            changes.errors.extend(series.error().filter(|_| !is_kept).map(|error| (error.to_owned(), -1)));
            is_kept
        });
        self.totals = Totals {
            rows: self.series.iter().map(|kept| kept.rows.len()).sum(),
            bytes: self.series.iter().map(|kept| kept.bytes).sum(),
            empty: self.series.iter().filter(|kept| kept.rows.len() == 0).count(),
        };
        self.counters.expired_rows.fetch_add((rows - self.totals.rows) as u64, Ordering::Relaxed);
        self.partitions.retain(&keep)
    }

    /// Which series have rows, once most have none.
    fn mostly_empty(&self) -> Option<Vec<bool>> {
        let is_worth_it = self.series.len() >= COMPACT_ROWS_MIN && self.totals.empty * 2 > self.series.len();
        is_worth_it.then(|| self.series.iter().map(|kept| kept.rows.len() > 0).collect())
    }
}

impl Operator for Series {
    fn tick(&mut self, tick: Tick, mut inputs: Vec<Vec<Part>>) -> Changes {
        let mut changes = Changes::default();
        let parts = inputs.swap_remove(0);
        // Whatever fails beside a function, such as texts beyond what a column can hold, stays an error of the view.
        if let Err(error) = guarded(|| self.compute(tick, &parts, &mut changes)) {
            changes.errors.push((message(&error), 1));
        }
        self.counters.state_bytes(self.partitions.bytes() + self.totals.bytes);
        self.counters.state_rows(self.totals.rows);
        changes
    }
}
