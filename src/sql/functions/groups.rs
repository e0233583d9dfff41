//! The states of many groups, for DataFusion's hash aggregate.

use std::mem::size_of;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BinaryBuilder, BooleanArray, Float64Array};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::common::cast::{as_binary_array, as_float64_array};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};

use super::accumulator::decode_error;
use crate::detect::retractable::Retractable;

/// States by group id.
pub(super) struct Groups<R: Retractable> {
    question: R::Question,
    states: Vec<R>,
    /// Heap bytes of all states when last measured.
    heap_bytes: usize,
    /// Rows since then. Measured anew after as many rows as groups: DataFusion asks at every batch.
    rows_unmeasured: usize,
}

impl<R: Retractable> Groups<R> {
    pub(super) fn new(question: R::Question) -> Self {
        Self { question, states: Vec::new(), heap_bytes: 0, rows_unmeasured: 0 }
    }

    fn grow(&mut self, group_count: usize) {
        if group_count > self.states.len() {
            self.states.resize_with(group_count, R::default);
        }
    }

    fn measure(&mut self, rows: usize) {
        self.rows_unmeasured += rows;
        if self.rows_unmeasured >= self.states.len() {
            self.heap_bytes = self.states.iter().map(R::heap_bytes).sum();
            self.rows_unmeasured = 0;
        }
    }

    fn take(&mut self, emit_to: EmitTo) -> Vec<R> {
        let taken = emit_to.take_needed(&mut self.states);
        self.rows_unmeasured = self.states.len();
        self.measure(0);
        taken
    }
}

impl<R: Retractable> GroupsAccumulator for Groups<R> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        let values = float_argument(values)?;
        assert_eq!(values.len(), group_indices.len());
        self.grow(total_num_groups);
        let (states, question) = (&mut self.states, &self.question);
        let (rows, kept) = (values.values(), kept_rows(values, opt_filter));
        if kept.is_none() {
            for (value, group) in rows.iter().zip(group_indices) {
                states[*group].add(question, *value, 1);
            }
        } else {
            for_each_row(rows.len(), kept.as_ref(), |row| {
                states[group_indices[row]].add(question, rows[row], 1);
            });
        }
        self.measure(values.len());
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let states = self.take(emit_to);
        let answers: Float64Array = states.iter().map(|state| state.answer(&self.question)).collect();
        Ok(Arc::new(answers))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let states = self.take(emit_to);
        let mut column = BinaryBuilder::with_capacity(states.len(), states.len() * 16);
        let mut bytes = Vec::new();
        for state in &states {
            bytes.clear();
            state.write_bytes(&mut bytes);
            column.append_value(&bytes);
        }
        Ok(vec![Arc::new(column.finish())])
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        let Some(states) = values.first() else {
            return exec_err!("an aggregate's state has one column");
        };
        let states = as_binary_array(states)?;
        self.grow(total_num_groups);
        for (bytes, group) in states.iter().zip(group_indices) {
            if let Some(bytes) = bytes {
                self.states[*group].merge_bytes(bytes).map_err(decode_error)?;
            }
        }
        self.measure(states.len());
        Ok(())
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let values = float_argument(values)?;
        let kept = kept_rows(values, opt_filter);
        let mut column = BinaryBuilder::with_capacity(values.len(), values.len() * 16);
        let mut bytes = Vec::new();
        for (row, value) in values.values().iter().enumerate() {
            if kept.as_ref().is_some_and(|kept| kept.is_null(row)) {
                column.append_null();
                continue;
            }
            let mut state = R::default();
            state.add(&self.question, *value, 1);
            bytes.clear();
            state.write_bytes(&mut bytes);
            column.append_value(&bytes);
        }
        Ok(vec![Arc::new(column.finish())])
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.states.capacity() * size_of::<R>() + self.heap_bytes
    }
}

fn float_argument(values: &[ArrayRef]) -> Result<&Float64Array> {
    match values.first() {
        Some(values) => as_float64_array(values),
        None => exec_err!("an aggregate needs an argument"),
    }
}

/// The rows that are not null and pass the filter, as valid ones; `None` if that is all.
pub(super) fn kept_rows(values: &Float64Array, filter: Option<&BooleanArray>) -> Option<NullBuffer> {
    let passing = filter.map(|filter| match filter.nulls() {
        Some(nulls) => NullBuffer::new(filter.values() & nulls.inner()),
        None => NullBuffer::new(filter.values().clone()),
    });
    NullBuffer::union(passing.as_ref(), values.nulls()).filter(|kept| kept.null_count() > 0)
}

pub(super) fn for_each_row(length: usize, kept: Option<&NullBuffer>, each: impl FnMut(usize)) {
    match kept {
        Some(kept) => kept.valid_indices().for_each(each),
        None => (0..length).for_each(each),
    }
}
