//! The first round that gives each row.

use std::collections::BTreeMap;

use arrow::array::ArrayRef;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::error::Result as DataFusionResult;
use hashbrown::HashMap;

use super::Round;
use crate::delta::distinct::COMPACT_ROWS_MIN;
use crate::delta::keys::{Keys, with_one_zero};
use crate::delta::operator::{Changes, Part};
use crate::delta::updates::{Diff, Run, Tick, take_rows};

/// Stands for no round.
const NONE: u32 = u32::MAX;

/// Of the rows given for each round those that no earlier round gives, once each.
///
/// State: each distinct row with the rounds that give it and how often each does, which is what a retraction needs to
/// find the round that is the first from then on.
pub(super) struct FirstRounds {
    keys: Keys,
    /// How many columns a row has, the round apart.
    columns: usize,
    rows: Vec<Standing>,
    /// Rows that some round gives.
    live: usize,
    /// Rows that an earlier round has got in this tick, by number, with the round that is still to lose them.
    moving: HashMap<usize, u32>,
    tick: Tick,
    steps: u32,
}

/// How a row stands.
struct Standing {
    /// The round that has it.
    first: u32,
    /// How often each round gives it, ascending; none of them 0.
    given: Vec<(u32, Diff)>,
    /// The step that last touched it.
    touched_in: u32,
}

/// A row touched by a step: its number and where it stands in the input.
struct Touched {
    number: usize,
    part: usize,
    row: u32,
}

impl FirstRounds {
    /// No rows yet; `schema` ends with the round.
    pub fn new(schema: &Schema) -> DataFusionResult<Self> {
        let columns = schema.fields().len() - 1;
        let rows = SchemaRef::new(Schema::new(schema.fields()[..columns].to_vec()));
        Ok(FirstRounds {
            keys: Keys::new(rows)?,
            columns,
            rows: vec![],
            live: 0,
            moving: HashMap::new(),
            tick: 0,
            steps: 0,
        })
    }

    /// What changes in a round, given what changes in what it is given. A row that a later round loses or gets by
    /// this is looked at again then.
    pub fn step(
        &mut self,
        (tick, round): Round,
        parts: Vec<Part>,
        later: &mut Vec<(Round, Part)>,
    ) -> DataFusionResult<Changes> {
        if tick != self.tick {
            self.tick = tick;
            self.compact()?;
        }
        let parts: Vec<Part> =
            parts.into_iter().map(|(rows, diffs)| (with_one_zero(rows, self.columns), diffs)).collect();
        let touched = self.count(round, &parts)?;
        let (mut picks, mut diffs) = (vec![vec![]; parts.len()], vec![vec![]; parts.len()]);
        let mut again: BTreeMap<(u32, usize), Vec<u32>> = BTreeMap::new();
        for Touched { number, part, row } in touched {
            let (diff, next) = self.place(number, round);
            if diff != 0 {
                picks[part].push(row);
                diffs[part].push(diff);
            }
            if let Some(next) = next {
                again.entry((next, part)).or_default().push(row);
            }
        }
        let mut changes = Changes::default();
        for (((rows, _), picks), diffs) in parts.iter().zip(picks).zip(diffs) {
            changes.push(take_rows(rows, &picks.into()), Run::from_vec(diffs));
        }
        for ((next, part), rows) in again {
            let rows = take_rows(&parts[part].0, &rows.into());
            later.push(((tick, next), (rows, Run::Constant(0))));
        }
        Ok(changes)
    }

    /// Counts what `round` is given; which rows that touches.
    fn count(&mut self, round: u32, parts: &[Part]) -> DataFusionResult<Vec<Touched>> {
        self.steps = self.steps.wrapping_add(1);
        let (mut touched, mut numbers) = (vec![], vec![]);
        for (part, (rows, diffs)) in parts.iter().enumerate() {
            let columns: &[ArrayRef] = &rows.columns()[..self.columns];
            self.keys.number(columns, rows.num_rows(), &mut numbers)?;
            let untouched = self.steps.wrapping_sub(1);
            let new = || Standing { first: NONE, given: vec![], touched_in: untouched };
            self.rows.resize_with(self.keys.count(), new);
            for (row, number) in numbers.iter().enumerate() {
                let standing = &mut self.rows[*number];
                let was_live = !standing.given.is_empty();
                standing.add(round, diffs.get(row));
                self.live = self.live + !standing.given.is_empty() as usize - was_live as usize;
                if standing.touched_in != self.steps {
                    standing.touched_in = self.steps;
                    touched.push(Touched { number: *number, part, row: row as u32 });
                }
            }
        }
        Ok(touched)
    }

    /// By how much row `number` changes in `round`, of which and of the rounds before all is known; and the later
    /// round that it is then to be looked at in again.
    fn place(&mut self, number: usize, round: u32) -> (Diff, Option<u32>) {
        let standing = &mut self.rows[number];
        let first = standing.given.iter().find(|(_, count)| *count > 0).map_or(NONE, |(round, _)| *round);
        let is_moving = self.moving.get(&number) == Some(&round);
        let was_here = is_moving || standing.first == round;
        let is_here = first == round;
        let diff = is_here as Diff - was_here as Diff;
        if is_moving {
            self.moving.remove(&number);
        }
        let mut next = None;
        if is_here && standing.first != round {
            // Only a later round can have it: an earlier one would be the first.
            if standing.first != NONE {
                self.moving.insert(number, standing.first);
                next = Some(standing.first);
            }
            standing.first = round;
        } else if !is_here {
            if standing.first == round {
                standing.first = NONE;
            }
            // Whether the next round that gives it still does is known only then.
            next = (standing.first == NONE && first != NONE).then_some(first);
        }
        (diff, next)
    }

    /// Gives numbers back once most of them stand for rows that no round gives.
    fn compact(&mut self) -> DataFusionResult<()> {
        debug_assert!(self.moving.is_empty(), "a tick ends with every row in its first round");
        if self.rows.len() < COMPACT_ROWS_MIN || self.live * 2 > self.rows.len() {
            return Ok(());
        }
        self.keys.retain(&self.rows.iter().map(|row| !row.given.is_empty()).collect::<Vec<_>>())?;
        self.rows.retain(|row| !row.given.is_empty());
        Ok(())
    }

    /// Bytes held, about.
    pub fn bytes(&self) -> usize {
        let given = size_of::<(u32, Diff)>();
        self.keys.bytes() + self.rows.len() * (size_of::<Standing>() + given)
    }
}

impl Standing {
    fn add(&mut self, round: u32, diff: Diff) {
        if diff == 0 {
            return;
        }
        match self.given.binary_search_by_key(&round, |(round, _)| *round) {
            Ok(place) => {
                self.given[place].1 += diff;
                if self.given[place].1 == 0 {
                    self.given.remove(place);
                }
            }
            Err(place) => {
                // Most rows are given by one round.
                if self.given.is_empty() {
                    self.given.reserve_exact(1);
                }
                self.given.insert(place, (round, diff));
            }
        }
    }
}
