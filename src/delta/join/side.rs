//! One side of a join: its rows by key.

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use hashbrown::HashMap;

use crate::delta::keys::Keys;
use crate::delta::row_store::RowStore;
use crate::delta::updates::{Diff, Run, Tick, take_rows};

/// The end of a chain, and the key of a row that pairs with nothing.
const NONE: u32 = u32::MAX;

/// What a side holds, and what is asked of it.
#[derive(Clone)]
pub(super) struct Shape {
    pub schema: SchemaRef,
    /// The columns of its key.
    pub keys: Vec<usize>,
    pub null_equals_null: bool,
    /// Whether its rows can be retracted.
    pub retracts: bool,
    /// Whether it counts how often each row is matched.
    pub counts_matches: bool,
    /// Whether somebody asks what a tick changes before it is settled.
    pub tracks_pending: bool,
}

/// A change to a row of one side.
#[derive(Clone, Copy)]
pub(super) struct Change {
    pub row: u32,
    /// The number of its key, [`NONE`] where the key has a null.
    pub key: u32,
    pub diff: Diff,
}

/// The rows of one side, chained by key, newest first.
pub(super) struct Side {
    pub store: RowStore,
    /// The newest row of each key.
    heads: Vec<u32>,
    /// The next older row of the same key, by row number.
    next: Vec<u32>,
    /// The multiplicity of each row, likewise.
    diffs: Vec<Diff>,
    /// How often each row is matched on the other side, likewise; empty where nobody asks.
    matches: Vec<Diff>,
    /// Rows with a multiplicity, not dropped behind the horizon.
    live: usize,
    /// Finds a row by its value, where rows can be retracted.
    identity: Option<Identity>,
    /// Rows whose standing this tick changes: multiplicity and matches before.
    touched: HashMap<u32, (Diff, Diff)>,
    /// What this tick changes, by row, until it is settled.
    pending: HashMap<u32, Diff>,
    shape: Shape,
}

struct Identity {
    values: Keys,
    /// The row number of each distinct value.
    rows: Vec<u32>,
}

impl Identity {
    fn new(schema: &SchemaRef) -> DataFusionResult<Self> {
        Ok(Identity { values: Keys::exact(schema)?, rows: vec![] })
    }
}

impl Side {
    pub fn new(shape: Shape) -> DataFusionResult<Self> {
        let identity = if shape.retracts { Some(Identity::new(&shape.schema)?) } else { None };
        Ok(Side {
            store: RowStore::new(shape.schema.clone()),
            heads: vec![],
            next: vec![],
            diffs: vec![],
            matches: vec![],
            live: 0,
            identity,
            touched: HashMap::new(),
            pending: HashMap::new(),
            shape,
        })
    }

    /// Takes in `rows`: each gets a number, or finds the one it has, with its change. Their keys are numbered by `keys`,
    /// into `numbers`.
    pub fn accept(
        &mut self,
        rows: RecordBatch,
        diffs: &Run<Diff>,
        keys: &mut Keys,
        numbers: &mut Vec<usize>,
        tick: Tick,
    ) -> DataFusionResult<Vec<Change>> {
        let len = rows.num_rows();
        let columns: Vec<ArrayRef> = self.shape.keys.iter().map(|k| rows.column(*k).clone()).collect();
        keys.number(&columns, len, numbers)?;
        let unmatched = if self.shape.null_equals_null { None } else { any_null(&columns) };
        let key_of = |row: usize| match &unmatched {
            Some(mask) if mask.value(row) => NONE,
            _ => numbers[row] as u32,
        };
        if self.identity.is_none() {
            let first = self.number_after(len)? - len as u32;
            self.store.push(&rows, tick);
            let change =
                |row: usize| Change { row: first + row as u32, key: key_of(row), diff: diffs.get(row) };
            let changes: Vec<Change> = (0..len).map(change).collect();
            changes.iter().for_each(|change| self.link(change.row, change.key));
            return Ok(changes);
        }
        let (numbers, fresh) = self.identify(&rows)?;
        let picks: Vec<u32> = fresh.iter().map(|row| *row as u32).collect();
        let new_rows = if picks.len() == len { rows } else { take_rows(&rows, &picks.into()) };
        self.store.push(&new_rows, tick);
        fresh.iter().for_each(|row| self.link(numbers[*row], key_of(*row)));
        Ok((0..len).map(|row| Change { row: numbers[row], key: key_of(row), diff: diffs.get(row) }).collect())
    }

    /// What a tick changes in all, each row once; until [`settle`](Self::settle) these are pending.
    pub fn begin(&mut self, mut changes: Vec<Change>) -> Vec<Change> {
        if self.identity.is_some() {
            changes.sort_by_key(|c| c.row);
            changes.dedup_by(|next, kept| {
                let same = next.row == kept.row;
                kept.diff += if same { next.diff } else { 0 };
                same
            });
            changes.retain(|c| c.diff != 0);
        }
        if self.shape.tracks_pending {
            self.pending = changes.iter().map(|c| (c.row, c.diff)).collect();
        }
        if self.shape.counts_matches {
            for change in &changes {
                self.touch(change.row);
                if self.is_new(change.row) {
                    self.matches[change.row as usize] = 0;
                }
            }
        }
        changes
    }

    /// The number of each row, and which of them are new, in the order of their numbers.
    fn identify(&mut self, rows: &RecordBatch) -> DataFusionResult<(Vec<u32>, Vec<usize>)> {
        let mut next = self.number_after(rows.num_rows())? - rows.num_rows() as u32;
        let Some(identity) = &mut self.identity else { return Ok((vec![], vec![])) };
        let mut values = Vec::new();
        identity.values.number(rows.columns(), rows.num_rows(), &mut values)?;
        let mut fresh = vec![];
        let numbers = values.iter().enumerate().map(|(row, value)| {
            if *value >= identity.rows.len() {
                identity.rows.resize(*value + 1, NONE);
            }
            // A row that the horizon dropped counts as new when it comes again.
            if identity.rows[*value] == NONE || (identity.rows[*value] as usize) < self.store.first() {
                identity.rows[*value] = next;
                next += 1;
                fresh.push(row);
            }
            identity.rows[*value]
        });
        Ok((numbers.collect(), fresh))
    }

    /// The number that the row after `more` further ones would get.
    fn number_after(&self, more: usize) -> DataFusionResult<u32> {
        u32::try_from(self.store.next() + more).ok().filter(|n| *n < NONE).ok_or_else(|| {
            DataFusionError::ResourcesExhausted(format!(
                "a join holds {} rows on one side of one worker, {NONE} allowed; set a horizon",
                self.store.next() + more
            ))
        })
    }

    /// Puts the next row, numbered `row`, at the head of the chain of `key`.
    fn link(&mut self, row: u32, key: u32) {
        let mut older = NONE;
        if key != NONE {
            if key as usize >= self.heads.len() {
                self.heads.resize(key as usize + 1, NONE);
            }
            older = std::mem::replace(&mut self.heads[key as usize], row);
        }
        // Numbers of a segment dropped whole while it was short are never given out.
        let index = row as usize;
        self.next.resize(index, NONE);
        self.diffs.resize(index, 0);
        self.next.push(older);
        self.diffs.push(0);
        if self.shape.counts_matches {
            self.matches.resize(index + 1, 0);
        }
    }

    /// The rows of `key` that are there, each with its multiplicity.
    #[inline]
    pub fn rows_of(&self, key: u32) -> impl Iterator<Item = (u32, Diff)> + '_ {
        let first = self.store.first();
        let mut row = if key == NONE { NONE } else { self.heads.get(key as usize).copied().unwrap_or(NONE) };
        std::iter::from_fn(move || {
            // Chains run from new to old: the first dropped row ends them.
            while row != NONE && row as usize >= first {
                let (found, diff) = (row, self.diffs[row as usize]);
                row = self.next[row as usize];
                if diff != 0 {
                    return Some((found, diff));
                }
            }
            None
        })
    }

    /// Above the numbers of all keys that have rows.
    pub fn keys(&self) -> u32 {
        self.heads.len() as u32
    }

    /// The rows that are there.
    pub fn live_rows(&self) -> impl Iterator<Item = u32> + '_ {
        (self.store.first()..self.diffs.len()).filter(|row| self.diffs[*row] != 0).map(|row| row as u32)
    }

    /// Makes the changes of this tick part of the state.
    pub fn settle(&mut self, changes: &[Change]) {
        for change in changes {
            let diff = &mut self.diffs[change.row as usize];
            let before = *diff;
            *diff += change.diff;
            self.live = self.live + (*diff != 0) as usize - (before != 0) as usize;
        }
        self.pending.clear();
    }

    pub fn pending(&self, row: u32) -> Diff {
        self.pending.get(&row).copied().unwrap_or(0)
    }

    /// Whether `row` was not there before this tick, so that nobody kept count of its matches.
    pub fn is_new(&self, row: u32) -> bool {
        self.diffs[row as usize] == 0
    }

    pub fn multiplicity(&self, row: u32) -> Diff {
        self.diffs[row as usize]
    }

    pub fn add_matches(&mut self, row: u32, by: Diff) {
        self.touch(row);
        self.matches[row as usize] += by;
    }

    fn touch(&mut self, row: u32) {
        let standing = self.standing(row);
        self.touched.entry(row).or_insert(standing);
    }

    /// The multiplicity and the matches of `row`.
    pub fn standing(&self, row: u32) -> (Diff, Diff) {
        let index = row as usize;
        (self.diffs[index], self.matches[index])
    }

    pub fn take_touched(&mut self) -> Vec<(u32, (Diff, Diff))> {
        let mut touched: Vec<_> = self.touched.drain().collect();
        touched.sort_unstable_by_key(|t| t.0);
        touched
    }

    /// Drops whole segments that came at or before `tick`; how many rows these were.
    pub fn drop_through(&mut self, tick: Tick) -> usize {
        let first = self.store.first();
        self.store.drop_through(tick);
        let range = first..self.store.first().min(self.diffs.len());
        let dropped = range.filter(|row| self.diffs[*row] != 0).count();
        self.live -= dropped;
        dropped
    }

    /// Rows still numbered that are retracted or dropped behind the horizon.
    pub fn dead(&self) -> usize {
        self.len() - self.live
    }

    pub fn len(&self) -> usize {
        self.diffs.len()
    }

    /// Whether its rows can be retracted.
    pub fn retracts(&self) -> bool {
        self.shape.retracts
    }

    /// Numbers the rows that are left anew, with keys numbered by `keys`.
    pub fn rebuild(&mut self, keys: &mut Keys) -> DataFusionResult<()> {
        let live: Vec<u32> = self.live_rows().collect();
        let mut fresh = Side::new(self.shape.clone())?;
        let mut key_numbers = Vec::new();
        for numbers in live.chunks(super::PAIRS_PER_BATCH) {
            let rows = self.store.gather(numbers);
            let diffs = Run::from_vec(numbers.iter().map(|n| self.multiplicity(*n)).collect());
            let tick = self.store.tick_of(numbers[numbers.len() - 1]);
            let changes = fresh.accept(rows, &diffs, keys, &mut key_numbers, tick)?;
            let changes = fresh.begin(changes);
            fresh.settle(&changes);
            if self.shape.counts_matches {
                for (change, number) in changes.iter().zip(numbers) {
                    fresh.matches[change.row as usize] = self.matches[*number as usize];
                }
            }
        }
        fresh.touched.clear();
        *self = fresh;
        Ok(())
    }

    pub fn bytes(&self) -> usize {
        let identity = self.identity.as_ref().map_or(0, |i| i.values.bytes() + i.rows.len() * 4);
        self.store.bytes()
            + identity
            + self.heads.len() * 4
            + self.next.len() * 4
            + (self.diffs.len() + self.matches.len()) * 8
    }
}

/// Which rows have a null in any of `columns`.
fn any_null(columns: &[ArrayRef]) -> Option<BooleanArray> {
    let nulls = columns.iter().filter(|c| c.logical_null_count() > 0).map(|column| {
        let nulls = column.logical_nulls();
        BooleanArray::from(
            (0..column.len()).map(|i| nulls.as_ref().is_some_and(|n| n.is_null(i))).collect::<Vec<_>>(),
        )
    });
    nulls.reduce(|a, b| arrow::compute::or(&a, &b).expect("masks of one length"))
}
