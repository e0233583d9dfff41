//! The rows of each round, from all that the base and the body give.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::datatypes::SchemaRef;
use datafusion::error::Result as DataFusionResult;

use super::first_rounds::FirstRounds;
use super::gate::Gate;
use super::{Recursion, Round};
use crate::delta::consolidate::Consolidate;
use crate::delta::expression::message;
use crate::delta::operator::{Changes, Operator, Part, Scheduled};
use crate::delta::stats::Counters;
use crate::delta::updates::{Tick, Updates, take_rows};

/// Each round: all rows that are given for it, or those that no earlier round has.
///
/// Input and output: rows with their round in the last column. Output at a round: what changes in that round since
/// the tick before. State: see [`FirstRounds`] and [`Gate`]; late and retracted rows are rows like others.
pub(super) struct Head {
    schema: SchemaRef,
    rows: Rows,
    gate: Gate,
    counters: Arc<Counters>,
}

/// Which of the rows given for a round it has.
enum Rows {
    /// All.
    All(Consolidate),
    /// Those that no earlier round has, once each.
    New(FirstRounds),
}

impl Head {
    /// No rows yet. Fails where DataFusion cannot group by a type.
    pub fn new(spec: &Recursion, counters: Arc<Counters>) -> DataFusionResult<Self> {
        let rows = match spec.is_distinct {
            true => Rows::New(FirstRounds::new(&spec.schema)?),
            false => Rows::All(Consolidate::new(spec.schema.clone())),
        };
        Ok(Head { schema: spec.schema.clone(), rows, gate: Gate::new(spec.schema.clone()), counters })
    }
}

impl Scheduled<Round> for Head {
    fn split(&self, (at, reached): &Round, updates: Updates) -> Vec<(Round, Part)> {
        let mut parts = vec![];
        for (tick, rows, diffs) in updates.by_time() {
            let rounds = rounds_of(&rows);
            let reached = if tick > *at { 0 } else { *reached };
            let mut order: Vec<u32> = (0..rows.num_rows() as u32).collect();
            order.sort_by_key(|row| rounds[*row as usize]);
            for picks in order.chunk_by(|a, b| rounds[*a as usize] == rounds[*b as usize]) {
                let round = rounds[picks[0] as usize];
                debug_assert!(round >= reached, "a row of round {round} comes in round {reached}");
                let part = match picks.len() == rows.num_rows() {
                    true => (rows.clone(), diffs.clone()),
                    false => (take_rows(&rows, &picks.to_vec().into()), diffs.take(picks)),
                };
                parts.push(((tick, round), part));
            }
        }
        parts
    }

    fn step(&mut self, time: &Round, mut inputs: Vec<Vec<Part>>, later: &mut Vec<(Round, Part)>) -> Changes {
        let parts = inputs.swap_remove(0);
        let given = match &mut self.rows {
            Rows::All(consolidate) => consolidate.tick(time.0, vec![parts]),
            Rows::New(rounds) => rounds
                .step(*time, parts, later)
                .unwrap_or_else(|error| Changes { rows: vec![], errors: vec![(message(&error), 1)] }),
        };
        let rows = given.rows.into_iter().map(|part| in_round(&self.schema, time.1, part)).collect();
        let changes = self.gate.pass(*time, Changes { rows, errors: given.errors }, later);
        let state = match &self.rows {
            Rows::All(_) => 0,
            Rows::New(rounds) => rounds.bytes(),
        };
        self.counters.state_bytes(state + self.gate.bytes());
        changes
    }

    fn due(&self) -> Option<Tick> {
        None
    }
}

/// The rounds of `rows`.
fn rounds_of(rows: &RecordBatch) -> Vec<u32> {
    let column = rows.columns().last().and_then(|c| c.as_any().downcast_ref::<UInt32Array>());
    column.expect("the last column is the round").values().to_vec()
}

/// `rows`, which may say otherwise, as rows of `round`.
fn in_round(schema: &SchemaRef, round: u32, (rows, diffs): Part) -> Part {
    let mut columns = rows.columns().to_vec();
    columns.pop();
    columns.push(Arc::new(UInt32Array::from_value(round, rows.num_rows())));
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    let rows = RecordBatch::try_new_with_options(schema.clone(), columns, &options);
    (rows.expect("columns of the schema"), diffs)
}
