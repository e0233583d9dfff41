//! Combinations of rows of three or more inputs with equal keys, without the pairs in between.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::error::Result as DataFusionResult;
use datafusion::physical_expr::PhysicalExpr;

use super::PAIRS_PER_BATCH;
use super::side::{Change, Shape};
use super::sides::{Sides, meeting};
use crate::delta::expression::message;
use crate::delta::operator::{Changes, Operator, Part};
use crate::delta::stats::Counters;
use crate::delta::updates::{Diff, Run, Tick};

/// What else must be true of the rows of the first inputs.
#[derive(Clone, Debug)]
pub struct Condition {
    /// Of how many inputs.
    pub inputs: usize,
    /// What, over the columns of the first of them, then of the second, and so on.
    pub expression: Arc<dyn PhysicalExpr>,
}

/// An inner join of several inputs by one key, as written in a plan.
#[derive(Clone, Debug)]
pub struct MultiJoinSpec {
    /// The columns of each input that must be equal, place by place.
    pub keys: Vec<Vec<usize>>,
    /// Whether null equals null in a key.
    pub null_equals_null: bool,
    /// What else must be true, of fewer inputs first: a condition is asked of what met those before it.
    pub conditions: Vec<Condition>,
    /// The schema of each input.
    pub inputs: Vec<SchemaRef>,
    /// The schema of the result: the columns of all inputs, one input's after the other's.
    pub schema: SchemaRef,
    /// Whether rows of each input can be retracted.
    pub retracts: Vec<bool>,
    /// How long a row is kept for joining, in milliseconds of stream time; for ever by default.
    pub horizon_ms: Option<u64>,
}

/// The inner join of several collections by one key.
///
/// It gives what a chain of [`Join`](super::Join)s gives that adds one input after the other, errors among it: a condition
/// on the first inputs that fails for rows of these is an error as long as they are there, whatever the other inputs
/// hold. Where a chain keeps all pairs of its first inputs for the next, this keeps the rows of the inputs alone, and
/// finds the pairs anew for each change of a later input.
///
/// Output: combinations of a row of each input with equal keys that meet all conditions, the multiplicities
/// multiplied. State: the rows of all inputs by key; with a horizon, a row of an input that only grows is dropped that
/// long after it came, whatever it has joined with since: a chain keeps a pair so long from when it was found. Null
/// keys join with nothing unless said otherwise.
pub struct MultiJoin {
    spec: MultiJoinSpec,
    sides: Sides,
    /// The columns of the first so many inputs.
    prefixes: Vec<SchemaRef>,
}

impl MultiJoin {
    /// A join without rows yet. Fails where DataFusion cannot group by a key's type, or where a key is of another type
    /// in one input than in another.
    pub fn new(spec: MultiJoinSpec, counters: Arc<Counters>) -> DataFusionResult<Self> {
        let shape = |input: usize| Shape {
            schema: spec.inputs[input].clone(),
            keys: spec.keys[input].clone(),
            null_equals_null: spec.null_equals_null,
            retracts: spec.retracts[input],
            counts_matches: false,
            tracks_pending: false,
        };
        let sides = Sides::new((0..spec.inputs.len()).map(shape).collect(), spec.horizon_ms, counters)?;
        let prefix = |inputs: usize| {
            let fields = spec.inputs[..inputs].iter().flat_map(|schema| schema.fields().iter().cloned());
            Arc::new(Schema::new(fields.collect::<Vec<Arc<Field>>>()))
        };
        let prefixes = (0..=spec.inputs.len()).map(prefix).collect();
        Ok(MultiJoin { spec, sides, prefixes })
    }

    fn join(&mut self, tick: Tick, inputs: Vec<Vec<Part>>, changes: &mut Changes) -> DataFusionResult<()> {
        let mut deltas = Vec::with_capacity(inputs.len());
        for (side, parts) in inputs.into_iter().enumerate() {
            deltas.push(self.sides.accept(side, parts, tick)?);
        }
        // New rows have the multiplicity 0 until `settle`, so that what changes in an input meets the inputs before it
        // as they were and those after it as they will be: each combination counts once.
        for fresh in (0..self.sides.len()).rev() {
            self.find(fresh, deltas[fresh].iter().copied(), changes)?;
            self.sides[fresh].settle(&deltas[fresh]);
        }
        self.sides.compact(tick)
    }

    /// All that the rows kept give, as insertions.
    fn present(&self, changes: &mut Changes) -> DataFusionResult<()> {
        let first = &self.sides[0];
        let rows = (0..first.keys())
            .flat_map(|key| first.rows_of(key).map(move |(row, diff)| Change { row, key, diff }));
        self.find(0, rows, changes)
    }

    /// Sends what `rows` of input `fresh` give with the rows of the others.
    fn find(
        &self,
        fresh: usize,
        rows: impl Iterator<Item = Change>,
        changes: &mut Changes,
    ) -> DataFusionResult<()> {
        // Where no condition can fail for a part of a combination, rows that are in none need not be gone through.
        let inputs = self.sides.len();
        let is_whole = |condition: &Condition| condition.inputs == inputs || condition.inputs <= fresh;
        let skips = self.spec.conditions.iter().all(is_whole);
        let mut found = Found::new(inputs);
        for change in rows {
            let others = || (0..inputs).filter(|input| *input != fresh);
            if skips && others().any(|input| self.sides[input].rows_of(change.key).next().is_none()) {
                continue;
            }
            found.start(fresh, change);
            if found.len() == PAIRS_PER_BATCH {
                self.extend(fresh, (fresh == 0) as usize, &found, changes)?;
                found.clear();
            }
        }
        self.extend(fresh, (fresh == 0) as usize, &found, changes)
    }

    /// Looks up the rows of input `next`, where those of the inputs before it and of `fresh` are known, and so on
    /// until all are, and sends them.
    fn extend(
        &self,
        fresh: usize,
        next: usize,
        found: &Found,
        changes: &mut Changes,
    ) -> DataFusionResult<()> {
        let mut more = Found::new(self.sides.len());
        for index in 0..found.len() {
            for (row, diff) in self.sides[next].rows_of(found.keys[index]) {
                more.add(found, index, next, (row, diff));
                if more.len() == PAIRS_PER_BATCH {
                    self.meet_all(fresh, next, &mut more, changes)?;
                    more.clear();
                }
            }
        }
        match more.len() {
            0 => Ok(()),
            _ => self.meet_all(fresh, next, &mut more, changes),
        }
    }

    /// Keeps of `found`, where input `last` was looked up, what meets the conditions that can be told since, and goes
    /// on with it.
    fn meet_all(
        &self,
        fresh: usize,
        last: usize,
        found: &mut Found,
        changes: &mut Changes,
    ) -> DataFusionResult<()> {
        // The first inputs, all of them known.
        let known = if fresh == last + 1 { last + 2 } else { last + 1 };
        let mut rows = None;
        for condition in self.spec.conditions.iter().filter(|c| (last + 1..=known).contains(&c.inputs)) {
            let met = self.meet(condition, fresh, found, changes)?;
            rows = Some(met).filter(|_| condition.inputs == self.sides.len());
        }
        match known < self.sides.len() {
            true => self.extend(fresh, known, found, changes),
            false => self.push(found, rows, changes),
        }
    }

    /// Keeps of `found` what meets `condition` and returns the rows of the inputs that it is about.
    fn meet(
        &self,
        condition: &Condition,
        fresh: usize,
        found: &mut Found,
        changes: &mut Changes,
    ) -> DataFusionResult<RecordBatch> {
        let Condition { inputs, expression } = condition;
        let rows = self.sides.gather(&self.prefixes[*inputs], &found.numbers(*inputs))?;
        let mask = meeting(expression, &rows, |index, message| {
            // Rows that a later input finds once more failed when they came.
            if fresh < *inputs {
                changes.errors.push((message, found.diffs[index]));
            }
        });
        found.retain(&mask);
        Ok(filter_record_batch(&rows, &mask)?)
    }

    /// Sends `found`, whose rows may be known already.
    fn push(&self, found: &Found, rows: Option<RecordBatch>, changes: &mut Changes) -> DataFusionResult<()> {
        if found.len() == 0 {
            return Ok(());
        }
        let rows = match rows {
            Some(rows) => rows.with_schema(self.spec.schema.clone())?,
            None => self.sides.gather(&self.spec.schema, &found.numbers(self.sides.len()))?,
        };
        changes.push(rows, Run::from_vec(found.diffs.clone()));
        Ok(())
    }
}

impl Operator for MultiJoin {
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

/// Combinations of rows of one key, of which some may not be known yet.
struct Found {
    inputs: usize,
    /// The number of the row of each input, one combination after the other.
    rows: Vec<u32>,
    /// The key of each combination.
    keys: Vec<u32>,
    /// The product of the multiplicities of its known rows.
    diffs: Vec<Diff>,
}

impl Found {
    fn new(inputs: usize) -> Self {
        Found { inputs, rows: vec![], keys: vec![], diffs: vec![] }
    }

    fn len(&self) -> usize {
        self.keys.len()
    }

    fn clear(&mut self) {
        self.rows.clear();
        self.keys.clear();
        self.diffs.clear();
    }

    /// Adds a combination of which one row is known.
    fn start(&mut self, input: usize, change: Change) {
        let begin = self.rows.len();
        self.rows.resize(begin + self.inputs, 0);
        self.rows[begin + input] = change.row;
        self.keys.push(change.key);
        self.diffs.push(change.diff);
    }

    /// Adds combination `index` of `from` with a row of `input`.
    #[inline]
    fn add(&mut self, from: &Found, index: usize, input: usize, (row, diff): (u32, Diff)) {
        let begin = self.rows.len();
        self.rows.extend_from_slice(&from.rows[index * self.inputs..(index + 1) * self.inputs]);
        self.rows[begin + input] = row;
        self.keys.push(from.keys[index]);
        self.diffs.push(from.diffs[index] * diff);
    }

    /// The row numbers of each of the first `inputs` inputs.
    fn numbers(&self, inputs: usize) -> Vec<Vec<u32>> {
        let of = |input: usize| self.rows.iter().skip(input).step_by(self.inputs).copied().collect();
        (0..inputs).map(of).collect()
    }

    /// Keeps the combinations that are true in `mask`.
    fn retain(&mut self, mask: &BooleanArray) {
        let mut kept = 0;
        for index in mask.values().set_indices() {
            self.rows.copy_within(index * self.inputs..(index + 1) * self.inputs, kept * self.inputs);
            self.keys[kept] = self.keys[index];
            self.diffs[kept] = self.diffs[index];
            kept += 1;
        }
        self.rows.truncate(kept * self.inputs);
        self.keys.truncate(kept);
        self.diffs.truncate(kept);
    }
}
