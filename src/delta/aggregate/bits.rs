//! `bit_and`, `bit_or` and `bit_xor`, by counting each bit.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, LargeBinaryArray, RecordBatch, UInt64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, UInt64Type};
use datafusion::error::Result as DataFusionResult;

use super::accumulator::{Accumulator, BitFunction, retain};
use super::state::{read_each, write_each};
use crate::delta::updates::{Diff, Run};
use crate::detect::bytes::{DecodeError, Reader, put_signed, put_unsigned};

/// How often each bit of 64 is set, and how many values there are, a group. Narrower integers are extended by
/// their sign, over which all three functions commute.
pub(super) struct BitAccumulator {
    function: BitFunction,
    column: usize,
    output: DataType,
    groups: Vec<Group>,
}

/// The counts of one group.
#[derive(Default)]
struct Group {
    values: Diff,
    /// By bit; empty before the first that is set.
    set: Vec<Diff>,
}

impl Group {
    fn add(&mut self, value: u64, diff: Diff) {
        self.values += diff;
        if value == 0 {
            return;
        }
        self.set.resize(64, 0);
        let mut rest = value;
        while rest != 0 {
            self.set[rest.trailing_zeros() as usize] += diff;
            rest &= rest - 1;
        }
    }

    fn answer(&self, function: BitFunction) -> Option<u64> {
        let is_set = |count: &Diff| match function {
            BitFunction::And => *count == self.values,
            BitFunction::Or => *count > 0,
            BitFunction::Xor => count % 2 != 0,
        };
        let bits = self.set.iter().enumerate().filter(|(_, count)| is_set(count));
        (self.values > 0).then(|| bits.fold(0, |value, (bit, _)| value | 1 << bit))
    }

    /// The number of values, the bits that have a count, and their counts.
    fn write(&self, out: &mut Vec<u8>) {
        let counted = self.set.iter().enumerate().filter(|(_, count)| **count != 0);
        put_signed(out, self.values);
        put_unsigned(out, counted.clone().fold(0, |bits, (bit, _)| bits | 1 << bit));
        counted.for_each(|(_, count)| put_signed(out, *count));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (values, mut bits) = (reader.signed()?, reader.unsigned()?);
        let mut set = vec![0; if bits == 0 { 0 } else { 64 }];
        while bits != 0 {
            set[bits.trailing_zeros() as usize] = reader.signed()?;
            bits &= bits - 1;
        }
        Ok(Group { values, set })
    }
}

impl BitAccumulator {
    pub fn new(function: BitFunction, column: usize, output: DataType) -> Self {
        BitAccumulator { function, column, output, groups: vec![] }
    }
}

impl Accumulator for BitAccumulator {
    fn grow(&mut self, groups: usize) {
        self.groups.resize_with(groups, Group::default);
    }

    fn update(&mut self, rows: &RecordBatch, groups: &[u32], diffs: &Run<Diff>) -> DataFusionResult<()> {
        let column = rows.column(self.column);
        let is_unsigned = self.output == DataType::UInt64;
        let wide = cast(column, if is_unsigned { &DataType::UInt64 } else { &DataType::Int64 })?;
        for (row, group) in groups.iter().enumerate().filter(|(row, _)| wide.is_valid(*row)) {
            let value = match is_unsigned {
                true => wide.as_primitive::<UInt64Type>().value(row),
                false => wide.as_primitive::<Int64Type>().value(row) as u64,
            };
            self.groups[*group as usize].add(value, diffs.get(row));
        }
        Ok(())
    }

    fn evaluate(&self, groups: &[u32]) -> DataFusionResult<Vec<ArrayRef>> {
        let answers = groups.iter().map(|group| self.groups[*group as usize].answer(self.function));
        let wide: ArrayRef = match self.output {
            DataType::UInt64 => Arc::new(answers.collect::<UInt64Array>()),
            _ => Arc::new(answers.map(|a| a.map(|bits| bits as i64)).collect::<Int64Array>()),
        };
        Ok(vec![cast(&wide, &self.output)?])
    }

    fn retain(&mut self, kept: &[u32]) {
        retain(&mut self.groups, kept);
    }

    fn is_empty(&self, group: u32) -> bool {
        let group = &self.groups[group as usize];
        group.values == 0 && group.set.iter().all(|count| *count == 0)
    }

    fn save(&mut self, groups: &[u32]) -> DataFusionResult<LargeBinaryArray> {
        Ok(write_each(groups, |group, out| self.groups[group as usize].write(out)))
    }

    fn load(&mut self, groups: &[u32], states: &LargeBinaryArray) -> DataFusionResult<()> {
        read_each("counts of bits", groups, states, |group, reader| {
            self.groups[group as usize] = Group::read(reader)?;
            Ok(())
        })
    }

    fn bytes(&self) -> usize {
        self.groups.iter().map(|g| size_of::<Group>() + g.set.capacity() * 8).sum()
    }
}
