//! Pairs of rows with equal keys, and the rows that have no pair.

pub mod multi;
mod side;
mod sides;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::error::Result as DataFusionResult;
use datafusion::physical_expr::PhysicalExpr;

use self::side::Shape;
use self::sides::{Sides, meeting};
use super::expression::message;
use super::operator::{Changes, Operator, Part};
use super::updates::{Diff, Run, Tick};

/// Pairs are put together and sent in portions of this many.
const PAIRS_PER_BATCH: usize = if cfg!(test) { 8 } else { 8192 };

/// What a join gives for the rows of one side beside the pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpaired {
    /// Nothing.
    Dropped,
    /// The row beside nulls, while it has no pair (outer joins).
    Padded,
    /// The row alone, while it has a pair (semi joins).
    IfMatched,
    /// The row alone, while it has no pair (anti joins).
    IfUnmatched,
    /// The row and whether it has a pair (mark joins).
    Marked,
}

impl Unpaired {
    fn needs_matches(self) -> bool {
        self != Unpaired::Dropped
    }

    /// How often a row of this multiplicity with so many matches is in the result, as one that has a pair (`mark`)
    /// or as one that has none.
    fn shown(self, mark: bool, (diff, matches): (Diff, Diff)) -> Diff {
        match self {
            Unpaired::Padded | Unpaired::IfUnmatched if !mark && matches <= 0 => diff,
            Unpaired::IfMatched if mark && matches > 0 => diff,
            Unpaired::Marked if mark == (matches > 0) => diff,
            _ => 0,
        }
    }
}

/// A join, as written in a plan.
#[derive(Clone, Debug)]
pub struct JoinSpec {
    /// The columns of each side that must be equal, pairwise.
    pub keys: [Vec<usize>; 2],
    /// Whether null equals null in a key.
    pub null_equals_null: bool,
    /// What else must be true of a pair, over the columns of the left side and then the right.
    pub condition: Option<Arc<dyn PhysicalExpr>>,
    /// Whether pairs are part of the result (not in semi, anti and mark joins).
    pub pairs: bool,
    /// What becomes of the rows of each side alone.
    pub unpaired: [Unpaired; 2],
    /// The schema of each side.
    pub inputs: [SchemaRef; 2],
    /// The schema of the result.
    pub schema: SchemaRef,
    /// Whether rows of each side can be retracted.
    pub retracts: [bool; 2],
    /// How long a row is kept for joining, in milliseconds of stream time; for ever by default.
    pub horizon_ms: Option<u64>,
}

/// The join of two collections.
///
/// Output: pairs with equal keys that meet the condition, the multiplicities multiplied, and the
/// unpaired rows that the kind of join asks for. State: the rows of both sides by key; with a
/// horizon, a row of a side that only grows is dropped that long after it came, whole segments at a
/// time, without a retraction of what it gave: late rows still meet all that is kept. Null keys pair with nothing unless said
/// otherwise. A condition that fails for a pair is an error as long as the pair exists.
pub struct Join {
    spec: JoinSpec,
    sides: Sides,
    pair_schema: SchemaRef,
}

/// A pair found: the numbers of its rows and its multiplicity.
type Pair = ([u32; 2], Diff);

impl Join {
    /// A join without rows yet. Fails where DataFusion cannot group by a key's type, or
    /// where the two sides of a key are of different types.
    pub fn new(spec: JoinSpec, counters: Arc<super::stats::Counters>) -> DataFusionResult<Self> {
        let needs_matches = spec.unpaired.map(Unpaired::needs_matches);
        let shape = |side: usize| Shape {
            schema: spec.inputs[side].clone(),
            keys: spec.keys[side].clone(),
            null_equals_null: spec.null_equals_null,
            retracts: spec.retracts[side],
            counts_matches: needs_matches[side],
            tracks_pending: needs_matches.contains(&true),
        };
        let sides = Sides::new(vec![shape(0), shape(1)], spec.horizon_ms, counters)?;
        let pair_fields = spec.inputs.iter().flat_map(|s| s.fields().iter().cloned());
        let pair_schema = Arc::new(Schema::new(pair_fields.collect::<Vec<Arc<Field>>>()));
        Ok(Join { spec, sides, pair_schema })
    }

    fn join(&mut self, tick: Tick, inputs: Vec<Vec<Part>>, changes: &mut Changes) -> DataFusionResult<()> {
        let mut deltas = Vec::with_capacity(2);
        for (side, parts) in inputs.into_iter().enumerate() {
            deltas.push(self.sides.accept(side, parts, tick)?);
        }
        // New rows have the multiplicity 0 until `settle`, so that right changes meet the old left
        // and then left changes the new right.
        let mut pairs = Vec::new();
        for (fresh, stored) in [(1, 0), (0, 1)] {
            for change in &deltas[fresh] {
                for (row, diff) in self.sides[stored].rows_of(change.key) {
                    let rows = if fresh == 0 { [change.row, row] } else { [row, change.row] };
                    pairs.push((rows, change.diff * diff));
                }
                if pairs.len() >= PAIRS_PER_BATCH {
                    self.emit_pairs(fresh, &mut pairs, changes)?;
                }
            }
            self.emit_pairs(fresh, &mut pairs, changes)?;
            self.sides[fresh].settle(&deltas[fresh]);
        }
        for side in 0..2 {
            self.emit_unpaired(side, changes)?;
        }
        self.sides.compact(tick)
    }

    /// Sends `pairs`, which stem from changes of side `fresh`, and counts matches.
    fn emit_pairs(
        &mut self,
        fresh: usize,
        pairs: &mut Vec<Pair>,
        changes: &mut Changes,
    ) -> DataFusionResult<()> {
        if pairs.is_empty() {
            return Ok(());
        }
        let needs_matches = self.spec.unpaired.iter().any(|u| u.needs_matches());
        for pairs in pairs.chunks(PAIRS_PER_BATCH) {
            let mut pairs = pairs.to_vec();
            let mut rows = None;
            if let Some(condition) = self.spec.condition.clone() {
                rows = Some(self.meet(&condition, &mut pairs, changes)?);
            }
            if needs_matches {
                self.count_matches(fresh, &pairs);
            }
            if self.spec.pairs {
                self.push_pairs(&pairs, rows, changes)?;
            }
        }
        pairs.clear();
        Ok(())
    }

    /// Sends `pairs`, whose rows may be known already.
    fn push_pairs(
        &self,
        pairs: &[Pair],
        rows: Option<RecordBatch>,
        changes: &mut Changes,
    ) -> DataFusionResult<()> {
        let rows = match rows {
            Some(rows) => rows,
            None => self.gather(pairs)?,
        };
        let diffs = Run::from_vec(pairs.iter().map(|p| p.1).collect());
        changes.push(rows.with_schema(self.spec.schema.clone())?, diffs);
        Ok(())
    }

    /// All that the rows kept give, as insertions.
    fn present(&self, changes: &mut Changes) -> DataFusionResult<()> {
        let (left, right) = (&self.sides[0], &self.sides[1]);
        let (mut pairs, mut partners): (Vec<Pair>, Vec<(u32, Diff)>) = Default::default();
        let keys = if self.spec.pairs { left.keys() } else { 0 };
        for key in 0..keys {
            partners.clear();
            partners.extend(right.rows_of(key));
            for (row, diff) in left.rows_of(key) {
                pairs.extend(partners.iter().map(|(partner, d)| ([row, *partner], diff * d)));
            }
            if pairs.len() >= PAIRS_PER_BATCH || key + 1 == keys {
                for part in pairs.chunks(PAIRS_PER_BATCH) {
                    let mut part = part.to_vec();
                    let rows = match &self.spec.condition {
                        Some(condition) => Some(self.meet(condition, &mut part, changes)?),
                        None => None,
                    };
                    self.push_pairs(&part, rows, changes)?;
                }
                pairs.clear();
            }
        }
        for side in 0..2 {
            let nothing = self.sides[side].live_rows().map(|row| (row, (0, 0))).collect();
            self.emit_standing(side, nothing, changes)?;
        }
        Ok(())
    }

    /// Keeps the pairs that meet `condition` and returns their rows.
    fn meet(
        &self,
        condition: &Arc<dyn PhysicalExpr>,
        pairs: &mut Vec<Pair>,
        changes: &mut Changes,
    ) -> DataFusionResult<RecordBatch> {
        let rows = self.gather(pairs)?;
        let mask = meeting(condition, &rows, |row, message| changes.errors.push((message, pairs[row].1)));
        let mut index = 0;
        pairs.retain(|_| {
            index += 1;
            mask.value(index - 1)
        });
        Ok(arrow::compute::filter_record_batch(&rows, &mask)?)
    }

    /// A pair of a changed row changes the matches of its partner; a new row learns its own.
    fn count_matches(&mut self, fresh: usize, pairs: &[Pair]) {
        let stored = 1 - fresh;
        for (rows, _) in pairs {
            let delta = self.sides[fresh].pending(rows[fresh]);
            let existing = self.sides[stored].multiplicity(rows[stored]);
            if self.spec.unpaired[stored].needs_matches() {
                self.sides[stored].add_matches(rows[stored], delta);
            }
            if self.spec.unpaired[fresh].needs_matches() && self.sides[fresh].is_new(rows[fresh]) {
                self.sides[fresh].add_matches(rows[fresh], existing);
            }
        }
    }

    fn gather(&self, pairs: &[Pair]) -> DataFusionResult<RecordBatch> {
        let numbers = [0, 1].map(|side| pairs.iter().map(|(rows, _)| rows[side]).collect());
        self.sides.gather(&self.pair_schema, &numbers)
    }

    /// Sends what this tick changed about the rows of `side` alone.
    fn emit_unpaired(&mut self, side: usize, changes: &mut Changes) -> DataFusionResult<()> {
        let touched = self.sides[side].take_touched();
        self.emit_standing(side, touched, changes)
    }

    /// Sends the difference between how the rows of `side` stand and how they stood before.
    fn emit_standing(
        &self,
        side: usize,
        touched: Vec<(u32, (Diff, Diff))>,
        changes: &mut Changes,
    ) -> DataFusionResult<()> {
        let kind = self.spec.unpaired[side];
        if !kind.needs_matches() {
            return Ok(());
        }
        let (mut numbers, mut marks, mut diffs) = (vec![], vec![], vec![]);
        for (row, before) in touched {
            let after = self.sides[side].standing(row);
            for mark in [false, true] {
                let diff = kind.shown(mark, after) - kind.shown(mark, before);
                if diff != 0 {
                    numbers.push(row);
                    marks.push(mark);
                    diffs.push(diff);
                }
            }
        }
        for start in (0..numbers.len()).step_by(PAIRS_PER_BATCH) {
            let range = start..numbers.len().min(start + PAIRS_PER_BATCH);
            let rows = self.sides[side].store.gather(&numbers[range.clone()]);
            let rows = self.shape(side, kind, rows, &marks[range.clone()])?;
            changes.push(rows, Run::from_vec(diffs[range].to_vec()));
        }
        Ok(())
    }

    /// `rows` of one side in the schema of the result.
    fn shape(
        &self,
        side: usize,
        kind: Unpaired,
        rows: RecordBatch,
        marks: &[bool],
    ) -> DataFusionResult<RecordBatch> {
        let mut columns = rows.columns().to_vec();
        if kind == Unpaired::Padded {
            let fields = self.spec.inputs[1 - side].fields().iter();
            let nulls = fields.map(|f| new_null_array(f.data_type(), rows.num_rows()));
            columns = if side == 0 {
                columns.into_iter().chain(nulls).collect()
            } else {
                nulls.chain(columns).collect()
            };
        }
        if kind == Unpaired::Marked {
            columns.push(Arc::new(BooleanArray::from(marks.to_vec())));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        Ok(RecordBatch::try_new_with_options(self.spec.schema.clone(), columns, &options)?)
    }
}

impl Operator for Join {
    fn snapshot(&mut self) -> Option<Vec<Part>> {
        let mut changes = Changes::default();
        self.present(&mut changes).ok()?;
        changes.errors.is_empty().then_some(changes.rows)
    }

    fn tick(&mut self, tick: Tick, inputs: Vec<Vec<Part>>) -> Changes {
        let mut changes = Changes::default();
        if let Err(error) = self.join(tick, inputs, &mut changes) {
            changes.errors.push((message(&error), 1));
        }
        self.sides.count();
        changes
    }
}
