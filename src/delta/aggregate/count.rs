//! Aggregates that count: `count`, `bool_and`, `bool_or`, and DISTINCT before any other.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Int64Array, LargeBinaryArray, LargeBinaryBuilder, RecordBatch, UInt32Array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};
use datafusion::error::Result as DataFusionResult;

use super::accumulator::{Accumulator, downcast, one, retain};
use super::state::{decode, out_of_range, read_each, write_each};
use crate::delta::distinct::COMPACT_ROWS_MIN;
use crate::delta::keys::Keys;
use crate::delta::updates::{Diff, Run, take_rows};
use crate::detect::bytes::{put_bytes, put_signed};

/// Rows whose arguments are all not null.
pub(super) struct CountAccumulator {
    arguments: Vec<usize>,
    output: DataType,
    counts: Vec<Diff>,
}

impl CountAccumulator {
    pub fn new(arguments: Vec<usize>, output: DataType) -> Self {
        CountAccumulator { arguments, output, counts: vec![] }
    }
}

impl Accumulator for CountAccumulator {
    fn grow(&mut self, groups: usize) {
        self.counts.resize(groups, 0);
    }

    fn update(&mut self, rows: &RecordBatch, groups: &[u32], diffs: &Run<Diff>) -> DataFusionResult<()> {
        let nullable: Vec<&ArrayRef> =
            self.arguments.iter().map(|a| rows.column(*a)).filter(|c| c.logical_null_count() > 0).collect();
        let nulls: Vec<_> = nullable.iter().filter_map(|c| c.logical_nulls()).collect();
        for (row, group) in groups.iter().enumerate() {
            if nulls.iter().all(|n| n.is_valid(row)) {
                self.counts[*group as usize] += diffs.get(row);
            }
        }
        Ok(())
    }

    fn evaluate(&self, groups: &[u32]) -> DataFusionResult<Vec<ArrayRef>> {
        let counts = Int64Array::from_iter_values(groups.iter().map(|g| self.counts[*g as usize]));
        match self.output == DataType::Int64 {
            true => Ok(one(counts)),
            false => Ok(vec![cast(&counts, &self.output)?]),
        }
    }

    fn retain(&mut self, kept: &[u32]) {
        retain(&mut self.counts, kept);
    }

    fn is_empty(&self, group: u32) -> bool {
        self.counts[group as usize] == 0
    }

    fn save(&mut self, groups: &[u32]) -> DataFusionResult<LargeBinaryArray> {
        Ok(write_each(groups, |group, out| put_signed(out, self.counts[group as usize])))
    }

    fn load(&mut self, groups: &[u32], states: &LargeBinaryArray) -> DataFusionResult<()> {
        read_each("count", groups, states, |group, reader| {
            self.counts[group as usize] = reader.signed()?;
            Ok(())
        })
    }

    fn bytes(&self) -> usize {
        self.counts.len() * 8
    }
}

/// Whether all, or any, of the values that are not null are true; null without one.
pub(super) struct BoolAccumulator {
    is_and: bool,
    column: usize,
    /// How many are false and how many true.
    counts: Vec<[Diff; 2]>,
}

impl BoolAccumulator {
    pub fn new(is_and: bool, column: usize) -> Self {
        BoolAccumulator { is_and, column, counts: vec![] }
    }
}

impl Accumulator for BoolAccumulator {
    fn grow(&mut self, groups: usize) {
        self.counts.resize(groups, [0, 0]);
    }

    fn update(&mut self, rows: &RecordBatch, groups: &[u32], diffs: &Run<Diff>) -> DataFusionResult<()> {
        let values: &BooleanArray = downcast(rows.column(self.column))?;
        for (row, group) in groups.iter().enumerate() {
            if values.is_valid(row) {
                self.counts[*group as usize][values.value(row) as usize] += diffs.get(row);
            }
        }
        Ok(())
    }

    fn evaluate(&self, groups: &[u32]) -> DataFusionResult<Vec<ArrayRef>> {
        let values = groups.iter().map(|group| {
            let [no, yes] = self.counts[*group as usize];
            let result = if self.is_and { no <= 0 } else { yes > 0 };
            (no > 0 || yes > 0).then_some(result)
        });
        Ok(one(values.collect::<BooleanArray>()))
    }

    fn retain(&mut self, kept: &[u32]) {
        retain(&mut self.counts, kept);
    }

    fn is_empty(&self, group: u32) -> bool {
        self.counts[group as usize] == [0, 0]
    }

    fn save(&mut self, groups: &[u32]) -> DataFusionResult<LargeBinaryArray> {
        Ok(write_each(groups, |group, out| {
            self.counts[group as usize].iter().for_each(|count| put_signed(out, *count));
        }))
    }

    fn load(&mut self, groups: &[u32], states: &LargeBinaryArray) -> DataFusionResult<()> {
        read_each("counts of booleans", groups, states, |group, reader| {
            self.counts[group as usize] = [reader.signed()?, reader.signed()?];
            Ok(())
        })
    }

    fn bytes(&self) -> usize {
        self.counts.len() * 16
    }
}

/// Lets each value of a group through once: in with its first row, out with its last.
pub(super) struct DistinctAccumulator {
    inner: Box<dyn Accumulator>,
    arguments: Vec<usize>,
    /// Numbers (group, arguments), and how many rows each has.
    keys: Keys,
    counts: Vec<Diff>,
    /// How many of these are not zero.
    live: usize,
    /// How many of them each group has.
    held: Vec<u32>,
    /// The columns of the keys.
    schema: SchemaRef,
    /// Of the arguments, which are saved as rows.
    converter: RowConverter,
}

impl DistinctAccumulator {
    pub fn new(
        inner: Box<dyn Accumulator>,
        arguments: Vec<usize>,
        input: &SchemaRef,
    ) -> DataFusionResult<Self> {
        let mut fields = vec![Field::new("group", DataType::UInt32, false)];
        fields.extend(arguments.iter().map(|a| input.field(*a).clone()));
        let schema = Arc::new(Schema::new(fields));
        let keys = Keys::new(schema.clone())?;
        let sorts = schema.fields()[1..].iter().map(|field| SortField::new(field.data_type().clone()));
        let converter = RowConverter::new(sorts.collect())?;
        let (counts, held) = (vec![], vec![]);
        Ok(DistinctAccumulator { inner, arguments, keys, counts, live: 0, held, schema, converter })
    }
}

impl Accumulator for DistinctAccumulator {
    fn grow(&mut self, groups: usize) {
        self.held.resize(groups, 0);
        self.inner.grow(groups);
    }

    fn update(&mut self, rows: &RecordBatch, groups: &[u32], diffs: &Run<Diff>) -> DataFusionResult<()> {
        let mut columns: Vec<ArrayRef> = vec![Arc::new(UInt32Array::from(groups.to_vec()))];
        columns.extend(self.arguments.iter().map(|a| rows.column(*a).clone()));
        let mut numbers = Vec::new();
        self.keys.number(&columns, rows.num_rows(), &mut numbers)?;
        self.counts.resize(self.keys.count(), 0);
        let (mut picks, mut steps) = (vec![], vec![]);
        for (row, number) in numbers.iter().enumerate() {
            let before = self.counts[*number];
            self.counts[*number] += diffs.get(row);
            let (was, is) = (before != 0, self.counts[*number] != 0);
            self.live = self.live + is as usize - was as usize;
            let held = &mut self.held[groups[row] as usize];
            *held = *held + is as u32 - was as u32;
            let step = (self.counts[*number] > 0) as Diff - (before > 0) as Diff;
            if step != 0 {
                picks.push(row as u32);
                steps.push(step);
            }
        }
        let kept: Vec<u32> = picks.iter().map(|i| groups[*i as usize]).collect();
        self.inner.update(&take_rows(rows, &picks.into()), &kept, &Run::from_vec(steps))?;
        if self.counts.len() >= COMPACT_ROWS_MIN && self.live * 2 < self.counts.len() {
            self.renumber(&(0..self.held.len() as u32).collect::<Vec<_>>());
        }
        Ok(())
    }

    fn evaluate(&self, groups: &[u32]) -> DataFusionResult<Vec<ArrayRef>> {
        self.inner.evaluate(groups)
    }

    fn retain(&mut self, kept: &[u32]) {
        self.inner.retain(kept);
        self.renumber(kept);
        retain(&mut self.held, kept);
    }

    fn is_empty(&self, group: u32) -> bool {
        self.held[group as usize] == 0 && self.inner.is_empty(group)
    }

    /// The state of the inner aggregate after its length, then each row of arguments with how often it is there.
    fn save(&mut self, groups: &[u32]) -> DataFusionResult<LargeBinaryArray> {
        let inner = self.inner.save(groups)?;
        let rows = self.keys.rows(self.schema.clone())?;
        let owners: &UInt32Array = downcast(rows.column(0))?;
        // Without arguments all rows are the same one.
        let arguments = match self.arguments.is_empty() {
            true => self.converter.empty_rows(0, 0),
            false => self.converter.convert_columns(&rows.columns()[1..])?,
        };
        let argument =
            |row: usize| if self.arguments.is_empty() { &[][..] } else { arguments.row(row).data() };
        let mut order: Vec<usize> = (0..rows.num_rows()).filter(|row| self.counts[*row] != 0).collect();
        // The same values have the same bytes, in whatever order they came.
        order.sort_unstable_by_key(|row| (owners.value(*row), argument(*row)));
        let mut inner_states = inner.iter().flatten();
        let mut next = order.into_iter().peekable();
        Ok(write_each(groups, |group, out| {
            put_bytes(out, inner_states.next().unwrap_or_default());
            while next.next_if(|row| owners.value(*row) < group).is_some() {}
            while let Some(row) = next.next_if(|row| owners.value(*row) == group) {
                put_bytes(out, argument(row));
                put_signed(out, self.counts[row]);
            }
        }))
    }

    fn load(&mut self, groups: &[u32], states: &LargeBinaryArray) -> DataFusionResult<()> {
        let mut inner_states = LargeBinaryBuilder::with_capacity(groups.len(), 0);
        let (mut owners, mut arguments, mut counts) = (vec![], vec![], vec![]);
        read_each("distinct values", groups, states, |group, reader| {
            inner_states.append_value(reader.bytes()?);
            while !reader.is_at_end() {
                owners.push(group);
                arguments.push(reader.bytes()?);
                counts.push(reader.signed()?);
            }
            Ok(())
        })?;
        self.inner.load(groups, &inner_states.finish())?;
        let types = self.schema.fields()[1..].iter().map(|field| field.data_type());
        let arguments = decode("distinct values", &self.converter, types, &arguments)?;
        let mut columns: Vec<ArrayRef> = vec![Arc::new(UInt32Array::from(owners.clone()))];
        columns.extend(arguments);
        let mut numbers = Vec::new();
        self.keys.number(&columns, owners.len(), &mut numbers)?;
        self.counts.resize(self.keys.count(), 0);
        for ((number, owner), count) in numbers.into_iter().zip(owners).zip(counts) {
            if count == 0 || self.counts[number] != 0 {
                return Err(out_of_range("distinct values", "count", count));
            }
            self.counts[number] = count;
            self.held[owner as usize] += 1;
            self.live += 1;
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.inner.bytes() + self.keys.bytes() + self.counts.len() * 8 + self.held.len() * 4
    }
}

impl DistinctAccumulator {
    /// Values of vanished groups go; the groups of the others get their new numbers.
    fn renumber(&mut self, kept: &[u32]) {
        let Ok(columns) = self.keys.take_all() else { return };
        let Some(groups) = columns.first().and_then(|c| c.as_any().downcast_ref::<UInt32Array>()) else {
            return;
        };
        let (mut picks, mut renumbered) = (vec![], vec![]);
        for (row, group) in groups.values().iter().enumerate() {
            if let (Ok(new), true) = (kept.binary_search(group), self.counts[row] != 0) {
                picks.push(row as u32);
                renumbered.push(new as u32);
            }
        }
        let counts = picks.iter().map(|i| self.counts[*i as usize]).collect();
        let indices = UInt32Array::from(picks);
        let mut columns: Vec<ArrayRef> = columns
            .iter()
            .map(|c| arrow::compute::take(c, &indices, None).expect("indices inside the column"))
            .collect();
        columns[0] = Arc::new(UInt32Array::from(renumbered));
        self.keys.renew(&columns).expect("fewer keys than before");
        self.counts = counts;
        self.live = self.counts.len();
    }
}
