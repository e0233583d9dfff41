//! What keeps a recursion within its limits.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::{ROUNDS_MAX, ROWS_MAX, Round};
use crate::delta::consolidate::Consolidate;
use crate::delta::operator::{Changes, Operator, Part};
use crate::delta::row_store::bytes_of;
use crate::delta::updates::{Diff, Run, Tick};

/// Lets changes of rounds pass while there is room.
///
/// What would be too much is held back as a whole round's change and passes once there is room when that round, or an
/// earlier one, changes again. Nothing follows from what is held back, and there is an error as long as anything is:
/// all bookkeeping stays exact, so the error ends with its cause.
pub(super) struct Gate {
    schema: SchemaRef,
    rounds_max: u32,
    rows_max: Diff,
    /// Rows that have passed and are still there.
    rows: Diff,
    held: BTreeMap<u32, Vec<Part>>,
    /// The error that is out.
    error: Option<String>,
    tick: Tick,
}

impl Gate {
    /// Nothing has passed yet; rows are of `schema`.
    pub fn new(schema: SchemaRef) -> Self {
        Gate::with_limits(schema, ROUNDS_MAX, ROWS_MAX)
    }

    /// The same with other limits.
    pub(super) fn with_limits(schema: SchemaRef, rounds_max: u32, rows_max: Diff) -> Self {
        Gate { schema, rounds_max, rows_max, rows: 0, held: BTreeMap::new(), error: None, tick: 0 }
    }

    /// What passes of `given`, the changes of a round, with what was held back of it before. What may pass in a later
    /// round of this tick is put into `later`.
    pub fn pass(
        &mut self,
        (tick, round): Round,
        mut given: Changes,
        later: &mut Vec<(Round, Part)>,
    ) -> Changes {
        if tick != self.tick {
            self.tick = tick;
            let first = self.held.first_key_value().map(|(held, _)| *held);
            if let Some(held) = first.filter(|held| round < *held && *held <= self.rounds_max) {
                let nothing = RecordBatch::new_empty(self.schema.clone());
                later.push(((tick, held), (nothing, Run::Constant(0))));
            }
        }
        if let Some(mut held) = self.held.remove(&round) {
            held.append(&mut given.rows);
            let mut both = Consolidate::new(self.schema.clone()).tick(tick, vec![held]);
            given.rows = both.rows;
            given.errors.append(&mut both.errors);
        }
        let grows_by: Diff = given.rows.iter().map(sum).sum();
        let has_room = round <= self.rounds_max && (grows_by <= 0 || self.rows + grows_by <= self.rows_max);
        if has_room {
            self.rows += grows_by;
        } else if !given.rows.is_empty() {
            self.held.insert(round, std::mem::take(&mut given.rows));
        }
        self.tell(&mut given);
        given
    }

    /// Makes the error that is out the one that should be.
    fn tell(&mut self, changes: &mut Changes) {
        let error = self.held.keys().next().map(|round| match *round > self.rounds_max {
            true => endless(self.rounds_max),
            false => too_many(self.rows_max),
        });
        if error != self.error {
            changes.errors.extend(self.error.take().map(|error| (error, -1)));
            changes.errors.extend(error.clone().map(|error| (error, 1)));
            self.error = error;
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.held.values().flatten().map(|(rows, _)| bytes_of(rows)).sum()
    }
}

/// That a recursion goes on after `rounds_max` rounds.
pub fn endless(rounds_max: u32) -> String {
    format!("recursion did not end within {rounds_max} rounds; over a cycle UNION ALL never ends, UNION does")
}

/// That a recursion has more than `rows_max` rows.
pub fn too_many(rows_max: Diff) -> String {
    format!(
        "recursion gives more than {rows_max} rows; a filter or UNION in place of UNION ALL makes them fewer"
    )
}

/// By how many rows `part` makes a collection grow.
fn sum((rows, diffs): &Part) -> Diff {
    match diffs {
        Run::Constant(diff) => diff * rows.num_rows() as Diff,
        Run::Each(diffs) => diffs.iter().sum(),
    }
}
