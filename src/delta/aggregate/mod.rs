//! Rows grouped, each group with its aggregates.

mod accumulator;
mod bits;
mod count;
mod expiry;
mod extreme;
mod integer;
mod ordered;
mod recomputed;
mod saved;
mod state;
mod statistic;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::make_comparator;
use arrow::array::{
    Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array,
};
use arrow::compute::{concat, filter_record_batch, interleave, kernels::cmp::distinct, take};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::error::{DataFusionError, Result as DataFusionResult};

use self::accumulator::{Accumulator, new_accumulator, retain};
pub use self::accumulator::{AggregateSpec, BitFunction, Function};
use self::expiry::{Due, Expiry};
pub use self::recomputed::{Call, Reads};
pub use self::saved::SavedError;
use super::distinct::COMPACT_ROWS_MIN;
use super::expression::message;
use super::keys::{Keys, with_one_zero};
use super::operator::{Changes, Operator, Part};
use super::stats::Counters;
use super::temporal_condition::Bound;
use super::updates::{Diff, Run, Tick};

/// An aggregation, as written in a plan: the first `group_columns` columns of the input are the
/// group, the others arguments and filters of the aggregates.
#[derive(Clone, Debug)]
pub struct GroupBySpec {
    /// How many columns make the group; none for an aggregate over everything.
    pub group_columns: usize,
    /// The aggregates, in the order of their columns in the result.
    pub aggregates: Vec<AggregateSpec>,
    /// The schema of the input.
    pub input: SchemaRef,
    /// The schema of the result: the group, then the outputs of each aggregate.
    pub schema: SchemaRef,
    /// Whether rows of the input can be retracted.
    pub retracts: bool,
    /// When groups leave the result: `now()` before (or at) columns of the input that depend on the group
    /// alone. None: never.
    pub until: Vec<Bound>,
    /// How long single values are kept for being retracted, in milliseconds of stream time; for ever by
    /// default. A value is settled between one and two times as long after it came; later retractions of it are
    /// counted as late.
    pub horizon_ms: Option<u64>,
}

/// One row a group: the group's columns and its aggregates.
///
/// Input: any multiset. Output: a group with its current aggregates, for every group with a positive
/// row count; without group columns there is always exactly one. A changed group is retracted and
/// inserted within the tick. State: what each aggregate needs a group (see [`Function`]); that of groups
/// which have ended is given up, and rows that come for one are counted as late. Late and retracted
/// rows correct a group that has not ended. Aggregates do not depend on the order of rows: floats are
/// summed exactly.
pub struct Aggregate {
    spec: GroupBySpec,
    keys: Keys,
    /// Rows in each group.
    counts: Vec<Diff>,
    accumulators: Vec<Box<dyn Accumulator>>,
    /// The last tick that touched each group, and the ticks so far.
    touched_in: Vec<u32>,
    round: u32,
    /// Whether the single row of an aggregate without groups is out.
    is_started: bool,
    expiry: Expiry,
    /// The tick at which values are settled next.
    next_settling: Tick,
    counters: Arc<Counters>,
}

/// The groups that a tick touches, each with the place of one of its rows in the input.
#[derive(Default)]
struct Touched {
    groups: Vec<u32>,
    places: Vec<(usize, usize)>,
}

/// How groups stand in the result.
struct Standing {
    /// Which of them have a row.
    exists: BooleanArray,
    /// Their aggregates.
    aggregates: Vec<ArrayRef>,
    /// Why others cannot have one.
    errors: Vec<String>,
}

impl Aggregate {
    /// No groups yet. Fails where DataFusion cannot group by a type.
    pub fn new(spec: GroupBySpec, counters: Arc<Counters>) -> DataFusionResult<Self> {
        let group = Schema::new(spec.input.fields()[..spec.group_columns].to_vec());
        let accumulators = spec
            .aggregates
            .iter()
            .map(|a| new_accumulator(a, &spec.input, spec.retracts))
            .collect::<Result<_, _>>()?;
        Ok(Aggregate {
            keys: Keys::new(Arc::new(group))?,
            counts: vec![],
            accumulators,
            touched_in: vec![],
            round: 0,
            is_started: false,
            expiry: Expiry::new(spec.until.clone()),
            next_settling: 0,
            spec,
            counters,
        })
    }

    fn aggregate(&mut self, tick: Tick, parts: Vec<Part>) -> DataFusionResult<Changes> {
        self.expiry.end(tick);
        let ended = self.end_groups()?;
        let (parts, untils): (Vec<Part>, Vec<Vec<Tick>>) = match self.expiry.is_never() {
            true => (parts, vec![]),
            false => parts.into_iter().map(|part| self.expiry.current(part, tick, &self.counters)).unzip(),
        };
        let known = self.keys.count();
        let mut groups_of_parts = Vec::with_capacity(parts.len());
        let mut touched = self.touch(&parts, &mut groups_of_parts)?;
        self.schedule(known, &parts, &touched, &untils)?;
        self.grow();
        if self.spec.group_columns == 0 && touched.groups.is_empty() {
            touched.groups.push(0);
            touched.places.push((0, 0));
        }
        let before = self.standing(&touched.groups)?;
        for ((rows, diffs), groups) in parts.iter().zip(&groups_of_parts) {
            for (row, group) in groups.iter().enumerate() {
                self.counts[*group as usize] += diffs.get(row);
            }
            for accumulator in &mut self.accumulators {
                accumulator.update(rows, groups, diffs)?;
            }
        }
        for group in touched.groups.iter().filter(|group| self.counts[**group as usize] == 0) {
            self.accumulators.iter_mut().for_each(|a| a.vanish(*group));
        }
        // An aggregate over everything has its row from the first tick on.
        self.is_started = true;
        let after = self.standing(&touched.groups)?;
        let mut changes = self.difference(&parts, &touched, before, after)?;
        changes.rows.extend(ended.rows);
        self.settle(tick);
        self.compact()?;
        Ok(changes)
    }

    /// Settles values, once in a horizon.
    fn settle(&mut self, tick: Tick) {
        let Some(horizon_ms) = self.spec.horizon_ms else { return };
        if tick < self.next_settling {
            return;
        }
        self.next_settling = tick + horizon_ms;
        let late: u64 = self.accumulators.iter_mut().map(|a| a.settle()).sum();
        for group in (0..self.counts.len() as u32).filter(|group| self.counts[*group as usize] == 0) {
            self.accumulators.iter_mut().for_each(|a| a.vanish(group));
        }
        self.counters.late_rows.fetch_add(late, Ordering::Relaxed);
    }

    /// The retractions of the next portion of the groups that have ended: no row comes for these any more.
    fn end_groups(&mut self) -> DataFusionResult<Changes> {
        let mut changes = Changes::default();
        for Due { keys, groups, .. } in self.expiry.take() {
            let Standing { exists, aggregates, errors } = self.standing(&groups)?;
            let columns = keys.columns().iter().cloned().chain(aggregates).collect();
            let rows = RecordBatch::try_new(self.spec.schema.clone(), columns)?;
            changes.push(filter_record_batch(&rows, &exists)?, Run::Constant(-1));
            changes.errors.extend(errors.into_iter().map(|error| (error, -1)));
            groups.iter().for_each(|group| self.counts[*group as usize] = 0);
        }
        Ok(changes)
    }

    /// Notes when the groups end that are new since there were `known`.
    fn schedule(
        &mut self,
        known: usize,
        parts: &[Part],
        touched: &Touched,
        untils: &[Vec<Tick>],
    ) -> DataFusionResult<()> {
        if self.expiry.is_never() {
            return Ok(());
        }
        let is_new = |index: &usize| touched.groups[*index] as usize >= known;
        let new: Vec<usize> = (0..touched.groups.len()).filter(is_new).collect();
        if new.is_empty() {
            return Ok(());
        }
        let places: Vec<(usize, usize)> = new.iter().map(|index| touched.places[*index]).collect();
        let groups: Vec<u32> = new.iter().map(|index| touched.groups[*index]).collect();
        let ends: Vec<Tick> = places.iter().map(|(part, row)| untils[*part][*row]).collect();
        let fields = self.spec.schema.fields()[..self.spec.group_columns].to_vec();
        let keys = RecordBatch::try_new(Arc::new(Schema::new(fields)), self.group_columns(parts, &places)?)?;
        self.expiry.add(&keys, &groups, &ends);
        Ok(())
    }

    /// Numbers the groups of all rows and collects the distinct ones.
    fn touch(&mut self, parts: &[Part], groups_of_parts: &mut Vec<Vec<u32>>) -> DataFusionResult<Touched> {
        let mut touched = Touched::default();
        let mut numbers = Vec::new();
        self.round = self.round.wrapping_add(1);
        for (part, (rows, _)) in parts.iter().enumerate() {
            self.keys.number(&rows.columns()[..self.spec.group_columns], rows.num_rows(), &mut numbers)?;
            self.touched_in.resize(self.keys.count(), self.round.wrapping_sub(1));
            for (row, number) in numbers.iter().enumerate() {
                if self.touched_in[*number] != self.round {
                    self.touched_in[*number] = self.round;
                    touched.groups.push(*number as u32);
                    touched.places.push((part, row));
                }
            }
            groups_of_parts.push(numbers.iter().map(|n| *n as u32).collect());
        }
        Ok(touched)
    }

    fn grow(&mut self) {
        let groups = self.keys.count();
        self.counts.resize(groups, 0);
        self.accumulators.iter_mut().for_each(|a| a.grow(groups));
    }

    /// How `groups` stand in the result.
    fn standing(&self, groups: &[u32]) -> DataFusionResult<Standing> {
        let exists = groups.iter().map(|g| match self.spec.group_columns {
            0 => self.is_started || self.counts[*g as usize] != 0,
            _ => self.counts[*g as usize] > 0,
        });
        let exists: Vec<bool> = exists.collect();
        if let Ok(aggregates) = self.evaluate(groups) {
            return Ok(Standing { exists: exists.into(), aggregates, errors: vec![] });
        }
        // One by one: those that fail are errors for as long as they do, and the others have their rows.
        let (mut shown, mut rows, mut errors) = (vec![], vec![], vec![]);
        for (group, exists) in groups.iter().zip(exists) {
            let aggregates = self.evaluate(std::slice::from_ref(group));
            shown.push(exists && aggregates.is_ok());
            match aggregates {
                Ok(aggregates) => rows.push(aggregates),
                Err(error) => {
                    errors.extend(exists.then(|| message(&error)));
                    let nulls = self.spec.schema.fields()[self.spec.group_columns..].iter();
                    rows.push(nulls.map(|field| new_null_array(field.data_type(), 1)).collect());
                }
            }
        }
        let column = |column: usize| {
            let parts: Vec<&dyn Array> = rows.iter().map(|row| row[column].as_ref()).collect();
            concat(&parts)
        };
        let columns = self.spec.schema.fields().len() - self.spec.group_columns;
        let aggregates = (0..columns).map(column).collect::<Result<_, _>>()?;
        Ok(Standing { exists: shown.into(), aggregates, errors })
    }

    /// The aggregates of `groups`.
    fn evaluate(&self, groups: &[u32]) -> DataFusionResult<Vec<ArrayRef>> {
        let mut columns = Vec::with_capacity(self.spec.aggregates.len());
        for accumulator in &self.accumulators {
            columns.extend(accumulator.evaluate(groups)?);
        }
        Ok(columns)
    }

    /// All rows of the result, and the errors of groups that have one and no row.
    fn present(&mut self) -> DataFusionResult<Changes> {
        let groups: Vec<u32> = (0..self.counts.len() as u32).collect();
        let Standing { exists, aggregates, errors } = self.standing(&groups)?;
        let fields = self.spec.schema.fields()[..self.spec.group_columns].to_vec();
        let mut columns = match self.spec.group_columns {
            0 => vec![],
            _ => self.keys.rows(Arc::new(Schema::new(fields)))?.columns().to_vec(),
        };
        columns.extend(aggregates);
        let options = RecordBatchOptions::new().with_row_count(Some(groups.len()));
        let rows = RecordBatch::try_new_with_options(self.spec.schema.clone(), columns, &options)?;
        let mut changes =
            Changes { rows: vec![], errors: errors.into_iter().map(|error| (error, 1)).collect() };
        changes.push(filter_record_batch(&rows, &exists)?, Run::Constant(1));
        Ok(changes)
    }

    /// The retractions and insertions that turn `before` into `after`.
    fn difference(
        &self,
        parts: &[Part],
        touched: &Touched,
        before: Standing,
        after: Standing,
    ) -> DataFusionResult<Changes> {
        let mut is_changed = vec![false; touched.groups.len()];
        for (old, new) in before.aggregates.iter().zip(&after.aggregates) {
            mark_distinct(old, new, &mut is_changed)?;
        }
        let mut changes = Changes::default();
        for (diff, standing) in [(-1, &before), (1, &after)] {
            changes.errors.extend(standing.errors.iter().map(|error| (error.clone(), diff)));
            let columns = &standing.aggregates;
            let picks = (0..touched.groups.len()).filter(|i| {
                let (was, is) = (before.exists.value(*i), after.exists.value(*i));
                let shown = if diff < 0 { was } else { is };
                shown && (was != is || is_changed[*i])
            });
            let picks = UInt32Array::from_iter_values(picks.map(|i| i as u32));
            if !picks.is_empty() {
                changes.push(self.rows(parts, touched, columns, &picks)?, Run::Constant(diff));
            }
        }
        Ok(changes)
    }

    /// The result rows of the touched groups at `picks`.
    fn rows(
        &self,
        parts: &[Part],
        touched: &Touched,
        aggregates: &[ArrayRef],
        picks: &UInt32Array,
    ) -> DataFusionResult<RecordBatch> {
        let places: Vec<(usize, usize)> =
            picks.values().iter().map(|i| touched.places[*i as usize]).collect();
        let mut columns = self.group_columns(parts, &places)?;
        for aggregate in aggregates {
            columns.push(take(aggregate, picks, None)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(picks.len()));
        Ok(RecordBatch::try_new_with_options(self.spec.schema.clone(), columns, &options)?)
    }

    /// The columns of the group of the rows at `places`.
    fn group_columns(&self, parts: &[Part], places: &[(usize, usize)]) -> DataFusionResult<Vec<ArrayRef>> {
        let column = |column: usize| {
            let arrays: Vec<&dyn Array> =
                parts.iter().map(|(rows, _)| rows.column(column).as_ref()).collect();
            Ok(interleave(&arrays, places)?)
        };
        (0..self.spec.group_columns).map(column).collect()
    }

    /// Gives the state of vanished groups back once they are the most.
    fn compact(&mut self) -> DataFusionResult<()> {
        let never_vanish = !self.spec.retracts && self.expiry.is_never();
        // Groups that are still to be retracted keep their numbers until they are.
        if self.expiry.has_ended()
            || never_vanish
            || self.spec.group_columns == 0
            || self.counts.len() < COMPACT_ROWS_MIN
        {
            return Ok(());
        }
        if self.counts.iter().filter(|count| **count != 0).count() * 2 > self.counts.len() {
            return Ok(());
        }
        let kept = self.live();
        if kept.len() * 2 > self.counts.len() {
            return Ok(());
        }
        let mut keep = vec![false; self.counts.len()];
        kept.iter().for_each(|group| keep[*group as usize] = true);
        self.keys.retain(&keep)?;
        retain(&mut self.counts, &kept);
        self.touched_in.truncate(kept.len());
        self.touched_in.fill(self.round.wrapping_sub(1));
        self.accumulators.iter_mut().for_each(|a| a.retain(&kept));
        self.expiry.retain(&kept);
        Ok(())
    }

    /// The groups, ascending, that have rows, or something left of rows whose retractions came first, and have not
    /// ended.
    fn live(&self) -> Vec<u32> {
        let untils = self.expiry.untils(self.counts.len());
        let is_live = |group: &u32| {
            (self.expiry.is_never() || untils[*group as usize].is_some())
                && (self.counts[*group as usize] != 0
                    || self.accumulators.iter().any(|a| !a.is_empty(*group)))
        };
        (0..self.counts.len() as u32).filter(is_live).collect()
    }

    fn note_state(&self) {
        let bytes = self.keys.bytes() + self.accumulators.iter().map(|a| a.bytes()).sum::<usize>();
        self.counters.state_bytes(bytes + self.counts.len() * 12 + self.expiry.bytes());
        self.counters.state_rows(self.counts.len());
    }
}

impl Operator for Aggregate {
    fn tick(&mut self, tick: Tick, mut inputs: Vec<Vec<Part>>) -> Changes {
        let groups = self.spec.group_columns;
        let parts = inputs.swap_remove(0).into_iter();
        let parts = parts.map(|(rows, diffs)| (with_one_zero(rows, groups), diffs)).collect();
        let changes = self.aggregate(tick, parts).unwrap_or_else(failed);
        self.note_state();
        changes
    }

    fn rest(&mut self) -> Option<Changes> {
        if !self.expiry.has_ended() {
            return None;
        }
        let ended = self.end_groups().and_then(|changes| self.compact().map(|()| changes));
        let changes = ended.unwrap_or_else(failed);
        self.note_state();
        Some(changes)
    }

    fn due(&self) -> Option<Tick> {
        self.expiry.due()
    }

    fn snapshot(&mut self) -> Option<Vec<Part>> {
        self.present().ok().filter(|present| present.errors.is_empty()).map(|present| present.rows)
    }

    fn current(&mut self) -> Changes {
        self.present().unwrap_or_else(failed)
    }

    fn save(&mut self) -> Option<DataFusionResult<RecordBatch>> {
        Some(self.save_groups())
    }
}

/// An aggregate that fails as a whole.
fn failed(error: DataFusionError) -> Changes {
    Changes { rows: vec![], errors: vec![(message(&error), 1)] }
}

/// Marks the positions at which `left` and `right` differ; null equals null.
fn mark_distinct(left: &ArrayRef, right: &ArrayRef, marks: &mut [bool]) -> DataFusionResult<()> {
    match distinct(left, right) {
        Ok(mask) => mask.values().set_indices().for_each(|i| marks[i] = true),
        Err(_) => {
            let compare = make_comparator(left, right, Default::default()).map_err(DataFusionError::from)?;
            (0..left.len()).filter(|i| compare(*i, *i).is_ne()).for_each(|i| marks[i] = true);
        }
    }
    Ok(())
}
