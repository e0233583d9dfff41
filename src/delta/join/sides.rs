//! The rows of all inputs of a join, under one numbering of keys.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::physical_expr::PhysicalExpr;

use super::side::{Change, Shape, Side};
use crate::delta::distinct::COMPACT_ROWS_MIN;
use crate::delta::expression::{evaluate_mask, message};
use crate::delta::keys::Keys;
use crate::delta::operator::Part;
use crate::delta::stats::Counters;
use crate::delta::updates::Tick;

/// The sides of a join, in the order of its inputs.
pub(super) struct Sides {
    keys: Keys,
    key_schema: SchemaRef,
    sides: Vec<Side>,
    horizon_ms: Option<u64>,
    counters: Arc<Counters>,
}

impl Sides {
    /// Sides without rows. Fails where DataFusion cannot group by a key's type, or where a key is of another type on
    /// one side than on another.
    pub fn new(
        shapes: Vec<Shape>,
        horizon_ms: Option<u64>,
        counters: Arc<Counters>,
    ) -> DataFusionResult<Self> {
        let key_schema = key_schema(&shapes)?;
        Ok(Sides {
            keys: Keys::new(key_schema.clone())?,
            key_schema,
            sides: shapes.into_iter().map(Side::new).collect::<DataFusionResult<_>>()?,
            horizon_ms,
            counters,
        })
    }

    /// Takes in the rows of one side: the number, key and change of each.
    pub fn accept(&mut self, side: usize, parts: Vec<Part>, tick: Tick) -> DataFusionResult<Vec<Change>> {
        let mut changes = vec![];
        let mut numbers = Vec::new();
        // Part by part: all of a tick, and history is one tick, may be more than one column can hold.
        for (rows, diffs) in parts {
            changes.extend(self.sides[side].accept(rows, &diffs, &mut self.keys, &mut numbers, tick)?);
        }
        Ok(self.sides[side].begin(changes))
    }

    /// The rows of the first sides numbered `numbers`, a list for each of them, beside each other under `schema`.
    pub fn gather(&self, schema: &SchemaRef, numbers: &[Vec<u32>]) -> DataFusionResult<RecordBatch> {
        let mut columns = Vec::with_capacity(schema.fields().len());
        for (side, numbers) in self.sides.iter().zip(numbers) {
            columns.extend(side.store.gather(numbers).columns().iter().cloned());
        }
        let options = RecordBatchOptions::new().with_row_count(numbers.first().map(Vec::len));
        Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
    }

    /// Drops what the horizon has passed, and rebuilds the state once most of it is dead.
    pub fn compact(&mut self, tick: Tick) -> DataFusionResult<()> {
        if let Some(horizon_ms) = self.horizon_ms {
            // Rows that can be retracted stay: their retraction would find nothing, and pair with a minus.
            for side in self.sides.iter_mut().filter(|side| !side.retracts()) {
                let dropped = side.drop_through(tick.saturating_sub(horizon_ms));
                self.counters.expired_rows.fetch_add(dropped as u64, Ordering::Relaxed);
            }
        }
        let dead: usize = self.sides.iter().map(Side::dead).sum();
        let total: usize = self.sides.iter().map(Side::len).sum();
        if total < COMPACT_ROWS_MIN || dead * 2 < total {
            return Ok(());
        }
        self.keys = Keys::new(self.key_schema.clone())?;
        self.sides.iter_mut().try_for_each(|side| side.rebuild(&mut self.keys))
    }

    /// Notes how much is kept.
    pub fn count(&self) {
        self.counters.state_bytes(self.keys.bytes() + self.sides.iter().map(Side::bytes).sum::<usize>());
        self.counters.state_rows(self.sides.iter().map(|side| side.len() - side.dead()).sum());
    }
}

impl Deref for Sides {
    type Target = [Side];

    fn deref(&self) -> &[Side] {
        &self.sides
    }
}

impl DerefMut for Sides {
    fn deref_mut(&mut self) -> &mut [Side] {
        &mut self.sides
    }
}

/// The schema of the keys, which all sides must agree about but for names.
fn key_schema(shapes: &[Shape]) -> DataFusionResult<SchemaRef> {
    let key_type = |shape: &Shape, place: usize| shape.schema.field(shape.keys[place]).data_type().clone();
    let mut fields = vec![];
    for place in 0..shapes[0].keys.len() {
        let first = key_type(&shapes[0], place);
        if let Some(other) = shapes.iter().map(|shape| key_type(shape, place)).find(|other| *other != first) {
            let message = format!("keys of a join are of two types: {first} and {other}");
            return Err(DataFusionError::Plan(message));
        }
        fields.push(Field::new(format!("key{place}"), first, true));
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// Which of `rows` meet `condition`; `fails` is told of those that it fails for, by index, each alone.
pub(super) fn meeting(
    condition: &Arc<dyn PhysicalExpr>,
    rows: &RecordBatch,
    mut fails: impl FnMut(usize, String),
) -> BooleanArray {
    if let Ok(mask) = evaluate_mask(condition, rows) {
        return mask;
    }
    let meets = |row: usize| match evaluate_mask(condition, &rows.slice(row, 1)) {
        Ok(mask) => mask.value(0),
        Err(error) => {
            fails(row, message(&error));
            false
        }
    };
    BooleanArray::from((0..rows.num_rows()).map(meets).collect::<Vec<_>>())
}
