//! The rows of a collection, each once.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use datafusion::error::Result as DataFusionResult;

use super::horizon::Horizon;
use super::keys::{Keys, firsts, with_one_zero};
use super::operator::{Changes, Operator, Part};
use super::stats::Counters;
use super::updates::{Diff, Run, Tick};

/// Each row of the input with a positive multiplicity, once.
///
/// Input and output have the same schema. State: each distinct row with its multiplicity, the latter
/// only where rows can be retracted; with a horizon, rows are forgotten that long after they were
/// last seen, or later, and counted; what comes again after that is new. Late rows are rows like others.
pub struct Distinct {
    keys: Keys,
    schema: SchemaRef,
    state: State,
    horizon: Option<Horizon>,
    counters: Arc<Counters>,
    numbers: Vec<usize>,
}

enum State {
    /// The input only grows: a row is new when its number is.
    Seen,
    /// The multiplicity of each row.
    Counts(Vec<Diff>),
}

impl Distinct {
    /// Nothing seen yet. `retracts`: whether rows of the input can be taken away again.
    pub fn new(
        schema: SchemaRef,
        retracts: bool,
        horizon_ms: Option<u64>,
        counters: Arc<Counters>,
    ) -> DataFusionResult<Self> {
        let state = if retracts { State::Counts(vec![]) } else { State::Seen };
        // Rows that can be retracted must not be forgotten: their retraction would find nothing.
        let horizon = horizon_ms.filter(|_| !retracts).map(Horizon::new);
        Ok(Distinct { keys: Keys::new(schema.clone())?, schema, state, horizon, counters, numbers: vec![] })
    }

    fn grow_only(&mut self, tick: Tick, rows: RecordBatch) -> DataFusionResult<RecordBatch> {
        let known = self.keys.count();
        if rows.num_columns() == 0 {
            return Ok(rows);
        }
        self.keys.number(rows.columns(), rows.num_rows(), &mut self.numbers)?;
        let is_new = firsts(&self.numbers, known);
        let mask = BooleanArray::from(is_new.collect::<Vec<_>>());
        if let Some(horizon) = &mut self.horizon {
            horizon.touch(tick, &self.numbers);
        }
        Ok(if mask.true_count() == rows.num_rows() { rows } else { filter_record_batch(&rows, &mask)? })
    }
}

impl Operator for Distinct {
    fn tick(&mut self, tick: Tick, mut inputs: Vec<Vec<Part>>) -> Changes {
        let mut changes = Changes::default();
        let parts = inputs.swap_remove(0).into_iter();
        let parts: Vec<Part> =
            parts.map(|(rows, diffs)| (with_one_zero(rows, self.schema.fields().len()), diffs)).collect();
        let result = match self.state {
            State::Seen => parts.into_iter().try_for_each(|(rows, _)| {
                changes.push(self.grow_only(tick, rows)?, Run::Constant(1));
                self.forget(tick)
            }),
            State::Counts(_) => self.counted(parts, &mut changes),
        };
        if let Err(error) = result {
            changes.errors.push((super::expression::message(&error), 1));
        }
        self.counters.state_bytes(self.keys.bytes());
        self.counters.state_rows(self.keys.count());
        changes
    }

    fn snapshot(&mut self) -> Option<Vec<Part>> {
        // One number stands for all rows without columns, seen or not.
        if self.schema.fields().is_empty() {
            return None;
        }
        let rows = self.keys.rows(self.schema.clone()).ok()?;
        let rows = match &self.state {
            State::Seen => rows,
            State::Counts(counts) => {
                let is_there: BooleanArray = counts.iter().map(|count| Some(*count > 0)).collect();
                filter_record_batch(&rows, &is_there).ok()?
            }
        };
        Some(vec![(rows, Run::Constant(1))])
    }
}

impl Distinct {
    fn counted(&mut self, parts: Vec<Part>, changes: &mut Changes) -> DataFusionResult<()> {
        let State::Counts(counts) = &mut self.state else { return Ok(()) };
        // Where each row touched in this tick was seen first, and how often it was there before.
        let mut touched: Vec<(usize, Diff, usize, usize)> = vec![];
        let mut is_touched = hashbrown::HashSet::new();
        for (part, (rows, diffs)) in parts.iter().enumerate() {
            self.keys.number(rows.columns(), rows.num_rows(), &mut self.numbers)?;
            counts.resize(self.keys.count(), 0);
            for (row, number) in self.numbers.iter().enumerate() {
                if is_touched.insert(*number) {
                    touched.push((*number, counts[*number], part, row));
                }
                counts[*number] += diffs.get(row);
            }
        }
        for (part, (rows, _)) in parts.iter().enumerate() {
            let (mut picks, mut diffs) = (vec![], vec![]);
            for (number, before, _, row) in touched.iter().filter(|t| t.2 == part) {
                let diff = (counts[*number] > 0) as Diff - (*before > 0) as Diff;
                if diff != 0 {
                    picks.push(*row as u32);
                    diffs.push(diff);
                }
            }
            changes.push(super::updates::take_rows(rows, &picks.into()), Run::from_vec(diffs));
        }
        self.compact()
    }

    /// Gives numbers back once most of them stand for rows that are gone.
    fn compact(&mut self) -> DataFusionResult<()> {
        let State::Counts(counts) = &mut self.state else { return Ok(()) };
        let live = counts.iter().filter(|c| **c != 0).count();
        if counts.len() < COMPACT_ROWS_MIN || live * 2 > counts.len() {
            return Ok(());
        }
        self.keys.retain(&counts.iter().map(|c| *c != 0).collect::<Vec<_>>())?;
        counts.retain(|c| *c != 0);
        Ok(())
    }

    /// Forgets the rows that the horizon has passed.
    fn forget(&mut self, tick: Tick) -> DataFusionResult<()> {
        match self.horizon.as_mut().and_then(|h| h.expired(tick)) {
            Some(keep) => {
                let forgotten = keep.iter().filter(|k| !**k).count() as u64;
                self.counters.expired_rows.fetch_add(forgotten, Ordering::Relaxed);
                self.keys.retain(&keep)
            }
            None => Ok(()),
        }
    }
}

/// Below this many numbers, giving some back is not worth the copy.
pub(crate) const COMPACT_ROWS_MIN: usize = if cfg!(test) { 8 } else { 4096 };

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::delta::plan::Node;
    use crate::delta::testing::{Bag, batch, oracle, plan, render, row_texts, schema};
    use crate::delta::updates::Updates;

    fn tick(operator: &mut Distinct, tick: Tick, parts: &[(&[(i64, &str)], Diff)]) -> String {
        let parts = parts.iter().map(|(rows, diff)| (batch(rows), Run::Constant(*diff))).collect();
        let changes = operator.tick(tick, vec![parts]);
        assert!(changes.errors.is_empty());
        let updates: Vec<_> = changes.rows.into_iter().map(|(rows, d)| Updates::at(rows, tick, d)).collect();
        render(&updates)
    }

    fn two_columns() -> SchemaRef {
        batch(&[]).schema()
    }

    #[test]
    fn a_row_comes_with_its_first_and_goes_with_its_last() {
        let mut distinct = Distinct::new(two_columns(), true, None, Arc::default()).unwrap();
        expect![[r#"
            1 a @1 +1
            2 b @1 +1
        "#]]
        .assert_eq(&tick(&mut distinct, 1, &[(&[(1, "a"), (1, "a"), (2, "b")], 1)]));
        expect![""].assert_eq(&tick(&mut distinct, 2, &[(&[(1, "a")], -1)]));
        expect![[r#"
            1 a @3 -1
        "#]]
        .assert_eq(&tick(&mut distinct, 3, &[(&[(1, "a")], -1), (&[(2, "b")], -1), (&[(2, "b")], 1)]));
    }

    #[test]
    fn behind_the_horizon_a_row_is_new_again() {
        let mut distinct = Distinct::new(two_columns(), false, Some(100), Arc::default()).unwrap();
        let old: Vec<(i64, &str)> = (0..20).map(|n| (n, "a")).collect();
        tick(&mut distinct, 1, &[(&old, 1)]);
        expect![""].assert_eq(&tick(&mut distinct, 50, &[(&[(3, "a")], 1)]));
        tick(&mut distinct, 200, &[(&[(100, "b")], 1)]);
        expect![[r#"
            3 a @201 +1
        "#]]
        .assert_eq(&tick(&mut distinct, 201, &[(&[(3, "a"), (100, "b")], 1)]));
    }

    #[test]
    fn equals_recomputation() {
        for retracts in [false, true] {
            let node = Node::Distinct { input: 0, retracts, horizon_ms: None };
            oracle(&plan(1, vec![(node, schema())]), 1, retracts, |inputs, _| {
                inputs[0].iter().map(|row| (row_texts(row), 1)).collect::<Bag>()
            });
        }
    }
}
