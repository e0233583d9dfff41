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

    /// `parts` as one part or none each, without what cancels out.
    pub(super) fn consolidate(&self, parts: Vec<Part>) -> DataFusionResult<Changes> {
        let mut keys = Keys::exact(&self.schema)?;
        let mut sums: Vec<Diff> = vec![];
        let mut first: Vec<Vec<(u32, usize)>> = vec![vec![]; parts.len()];
        let mut numbers = Vec::new();
        for (part, (rows, diffs)) in parts.iter().enumerate() {
            keys.number(rows.columns(), rows.num_rows(), &mut numbers)?;
            let is_first = firsts(&numbers, sums.len());
            sums.resize(keys.count(), 0);
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

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::delta::plan::Node;
    use crate::delta::testing::{Bag, batch, oracle, plan, render, row_texts, schema};
    use crate::delta::updates::Updates;

    #[test]
    fn what_cancels_out_is_gone() {
        let mut consolidate = Consolidate::new(batch(&[]).schema());
        let parts = vec![
            (batch(&[(1, "a"), (2, "b"), (1, "a")]), Run::Constant(1)),
            (batch(&[(2, "b"), (3, "c")]), Run::Constant(-1)),
        ];
        let changes = consolidate.tick(1, vec![parts]);
        let updates: Vec<_> = changes.rows.into_iter().map(|(rows, d)| Updates::at(rows, 1, d)).collect();
        expect![[r#"
            1 a @1 +2
            3 c @1 -1
        "#]]
        .assert_eq(&render(&updates));
    }

    /// Also of union and negation: a + (b - b) is a.
    #[test]
    fn equals_recomputation() {
        let nodes = vec![
            (Node::Negate(1), schema()),
            (Node::Union(vec![0, 1, 2]), schema()),
            (Node::Consolidate(3), schema()),
        ];
        oracle(&plan(2, nodes), 2, true, |inputs, _| {
            let mut bag = Bag::new();
            inputs[0].iter().for_each(|row| *bag.entry(row_texts(row)).or_default() += 1);
            bag
        });
    }
}
