//! Updates with those that cancel out taken away.

use arrow::datatypes::SchemaRef;
use datafusion::error::Result as DataFusionResult;

use super::expression::message;
use super::keys::{Keys, firsts};
use super::operator::{Changes, Operator, Part};
use super::updates::{Diff, Run, Tick, take_rows};

/// The same collection, each changed row once a tick with the sum of its diffs.
///
/// Multiplicity: that of the input. State: none from one tick to the next.
pub struct Consolidate {
    schema: SchemaRef,
}

impl Consolidate {
    /// For rows of `schema`.
    pub fn new(schema: SchemaRef) -> Self {
        Consolidate { schema }
    }

    fn consolidate(&self, parts: Vec<Part>) -> DataFusionResult<Changes> {
        let mut keys = Keys::exact(&self.schema)?;
        let mut sums: Vec<Diff> = vec![];
        let mut first: Vec<Vec<(u32, usize)>> = vec![vec![]; parts.len()];
        let mut numbers = Vec::new();
        for (part, (rows, diffs)) in parts.iter().enumerate() {
            keys.number(rows.columns(), rows.num_rows(), &mut numbers)?;
            let is_first = firsts(&numbers, sums.len());
            sums.resize(keys.len(), 0);
            for ((row, number), is_first) in numbers.iter().enumerate().zip(is_first) {
                if is_first {
                    first[part].push((row as u32, *number));
                }
                sums[*number] += diffs.get(row);
            }
        }
        let mut changes = Changes::default();
        for ((rows, _), first) in parts.iter().zip(first) {
            let (picks, diffs): (Vec<u32>, Vec<Diff>) = first
                .into_iter()
                .map(|(row, number)| (row, sums[number]))
                .filter(|(_, diff)| *diff != 0)
                .unzip();
            changes.push(take_rows(rows, &picks.into()), Run::from_vec(diffs));
        }
        Ok(changes)
    }
}

impl Operator for Consolidate {
    fn tick(&mut self, _tick: Tick, mut inputs: Vec<Vec<Part>>) -> Changes {
        let parts = inputs.swap_remove(0);
        self.consolidate(parts)
            .unwrap_or_else(|error| Changes { rows: vec![], errors: vec![(message(&error), 1)] })
    }
}
