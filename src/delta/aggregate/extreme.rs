//! The least and the greatest value.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use arrow::array::{Array, ArrayRef, LargeBinaryArray, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Decimal128Type, DurationNanosecondType, Int8Type, Int16Type, Int32Type,
    Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use datafusion::error::Result as DataFusionResult;

use super::accumulator::{Accumulator, retain};
use super::ordered::{Encoded, Numbers, Ordered};
use super::state::{read_each, write_each};
use crate::delta::updates::{Diff, Run};
use crate::detect::bytes::{DecodeError, Reader, put_signed, put_unsigned};

/// The greatest (or least) value of `column`, of type `data_type`, in each group.
pub(super) fn extreme(
    is_max: bool,
    column: usize,
    data_type: DataType,
    retracts: bool,
) -> DataFusionResult<Box<dyn Accumulator>> {
    macro_rules! numbers {
        ($type:ty) => {
            Box::new(ExtremeAccumulator::new(is_max, column, Numbers::<$type>::new(data_type), retracts))
        };
    }
    Ok(match &data_type {
        DataType::Int8 => numbers!(Int8Type),
        DataType::Int16 => numbers!(Int16Type),
        DataType::Int32 => numbers!(Int32Type),
        DataType::Int64 => numbers!(Int64Type),
        DataType::UInt8 => numbers!(UInt8Type),
        DataType::UInt16 => numbers!(UInt16Type),
        DataType::UInt32 => numbers!(UInt32Type),
        DataType::UInt64 => numbers!(UInt64Type),
        DataType::Date32 => numbers!(Date32Type),
        DataType::Date64 => numbers!(Date64Type),
        DataType::Decimal128(..) => numbers!(Decimal128Type),
        DataType::Timestamp(TimeUnit::Second, _) => numbers!(TimestampSecondType),
        DataType::Timestamp(TimeUnit::Millisecond, _) => numbers!(TimestampMillisecondType),
        DataType::Timestamp(TimeUnit::Microsecond, _) => numbers!(TimestampMicrosecondType),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => numbers!(TimestampNanosecondType),
        DataType::Duration(TimeUnit::Nanosecond) => numbers!(DurationNanosecondType),
        _ => Box::new(ExtremeAccumulator::new(is_max, column, Encoded::new(data_type)?, retracts)),
    })
}

/// The extreme of each group.
struct ExtremeAccumulator<O: Ordered> {
    is_max: bool,
    column: usize,
    ordered: O,
    values: Values<O::Key>,
    /// Values held, and bytes of those outside of the value itself: counting them anew at each tick would cost more
    /// the more there are.
    held: Held,
}

#[derive(Default)]
struct Held {
    values: usize,
    outer_bytes: usize,
}

impl Held {
    fn add<O: Ordered>(&mut self, value: &O::Key) {
        self.values += 1;
        self.outer_bytes += O::outer_bytes(value);
    }

    fn remove<O: Ordered>(&mut self, value: &O::Key) {
        self.values -= 1;
        self.outer_bytes -= O::outer_bytes(value);
    }
}

enum Values<K> {
    /// Rows only come: the extreme itself, none before the first.
    Extreme(Vec<Option<K>>),
    /// Rows may go: the values of each group with their multiplicities.
    All(Vec<Group<K>>),
}

/// The values of one group. Those that came before the last settling but one are settled: only the extreme
/// of them is known, and none of them can be taken away.
struct Group<K> {
    recent: BTreeMap<K, Diff>,
    older: BTreeMap<K, Diff>,
    settled: Option<K>,
}

impl<K> Default for Group<K> {
    fn default() -> Self {
        Group { recent: BTreeMap::new(), older: BTreeMap::new(), settled: None }
    }
}

impl<K> Group<K> {
    /// All values.
    fn keys(&self) -> impl Iterator<Item = &K> {
        self.recent.keys().chain(self.older.keys()).chain(&self.settled)
    }
}

impl<K: Ord + Clone> Group<K> {
    fn add<O: Ordered<Key = K>>(&mut self, value: K, diff: Diff, held: &mut Held) {
        // What is taken away is taken from where it is: the older values, where it is not among the recent.
        let is_recent = diff > 0 || self.recent.contains_key(&value) || !self.older.contains_key(&value);
        let values = if is_recent { &mut self.recent } else { &mut self.older };
        match values.entry(value) {
            Entry::Vacant(entry) => {
                held.add::<O>(entry.key());
                entry.insert(diff);
            }
            Entry::Occupied(mut entry) => {
                *entry.get_mut() += diff;
                if *entry.get() == 0 {
                    held.remove::<O>(&entry.remove_entry().0);
                }
            }
        }
    }

    fn extreme(&self, is_max: bool) -> Option<&K> {
        let candidates = [best(&self.recent, is_max), best(&self.older, is_max), self.settled.as_ref()];
        let candidates = candidates.into_iter().flatten();
        if is_max { candidates.max() } else { candidates.min() }
    }

    /// Settles the older values; how many retractions are left over, of values that were settled before.
    fn settle(&mut self, is_max: bool) -> u64 {
        let older = std::mem::replace(&mut self.older, std::mem::take(&mut self.recent));
        let candidates = [best(&older, is_max), self.settled.as_ref()].into_iter().flatten();
        let settled = if is_max { candidates.max() } else { candidates.min() };
        self.settled = settled.cloned();
        older.values().filter(|diff| **diff < 0).map(|diff| diff.unsigned_abs()).sum()
    }
}

impl<K: Ord> Group<K> {
    /// The recent and the older values, both after their number, then the settled one, if there is one.
    fn write<O: Ordered<Key = K>>(&self, out: &mut Vec<u8>) {
        for values in [&self.recent, &self.older] {
            put_unsigned(out, values.len() as u64);
            for (value, diff) in values {
                O::write(value, out);
                put_signed(out, *diff);
            }
        }
        self.settled.iter().for_each(|value| O::write(value, out));
    }

    fn read<O: Ordered<Key = K>>(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut group = Group::default();
        for values in [&mut group.recent, &mut group.older] {
            for _ in 0..reader.unsigned()? {
                let (value, diff) = (O::read(reader)?, reader.signed()?);
                if values.insert(value, diff).is_some() {
                    return Err(reader.out_of_range("count", diff));
                }
            }
        }
        group.settled = read_last::<O>(reader)?;
        Ok(group)
    }
}

/// The last value, if there is one.
fn read_last<O: Ordered>(reader: &mut Reader<'_>) -> Result<Option<O::Key>, DecodeError> {
    (!reader.is_at_end()).then(|| O::read(reader)).transpose()
}

/// The extreme of those values that are there: one retracted before it came has a negative multiplicity.
fn best<K>(values: &BTreeMap<K, Diff>, is_max: bool) -> Option<&K> {
    let mut present = values.iter().filter(|(_, diff)| **diff > 0);
    let found = if is_max { present.next_back() } else { present.next() };
    found.map(|(value, _)| value)
}

impl<O: Ordered> ExtremeAccumulator<O> {
    fn new(is_max: bool, column: usize, ordered: O, retracts: bool) -> Self {
        let values = if retracts { Values::All(vec![]) } else { Values::Extreme(vec![]) };
        ExtremeAccumulator { is_max, column, ordered, values, held: Held::default() }
    }

    /// Counts what is held anew.
    fn recount(&mut self) {
        let mut held = Held::default();
        match &self.values {
            Values::Extreme(values) => values.iter().flatten().for_each(|value| held.add::<O>(value)),
            Values::All(values) => {
                values.iter().flat_map(Group::keys).for_each(|value| held.add::<O>(value));
            }
        }
        self.held = held;
    }

    fn extreme(&self, group: usize) -> Option<&O::Key> {
        match &self.values {
            Values::Extreme(values) => values[group].as_ref(),
            Values::All(values) => values[group].extreme(self.is_max),
        }
    }
}

impl<O: Ordered> Accumulator for ExtremeAccumulator<O> {
    fn grow(&mut self, groups: usize) {
        match &mut self.values {
            Values::Extreme(values) => values.resize(groups, None),
            Values::All(values) => values.resize_with(groups, Group::default),
        }
    }

    fn update(&mut self, rows: &RecordBatch, groups: &[u32], diffs: &Run<Diff>) -> DataFusionResult<()> {
        let array = rows.column(self.column);
        let nulls = array.logical_nulls();
        let column = self.ordered.column(array)?;
        let better = if self.is_max { Ordering::Greater } else { Ordering::Less };
        for (row, group) in groups.iter().enumerate() {
            if nulls.as_ref().is_some_and(|n| n.is_null(row)) {
                continue;
            }
            match &mut self.values {
                Values::Extreme(values) => {
                    let best = &mut values[*group as usize];
                    if best.as_ref().is_none_or(|best| O::compare(&column, row, best) == better) {
                        let value = O::key(&column, row);
                        self.held.add::<O>(&value);
                        if let Some(worse) = best.replace(value) {
                            self.held.remove::<O>(&worse);
                        }
                    }
                }
                Values::All(values) => {
                    let value = O::key(&column, row);
                    values[*group as usize].add::<O>(value, diffs.get(row), &mut self.held);
                }
            }
        }
        Ok(())
    }

    fn evaluate(&self, groups: &[u32]) -> DataFusionResult<Vec<ArrayRef>> {
        let found: Vec<Option<&O::Key>> = groups.iter().map(|g| self.extreme(*g as usize)).collect();
        Ok(vec![self.ordered.array(&found)?])
    }

    fn retain(&mut self, kept: &[u32]) {
        match &mut self.values {
            Values::Extreme(values) => retain(values, kept),
            Values::All(values) => retain(values, kept),
        }
        self.recount();
    }

    fn settle(&mut self) -> u64 {
        let Values::All(values) = &mut self.values else { return 0 };
        let late = values.iter_mut().map(|v| v.settle(self.is_max)).sum();
        self.recount();
        late
    }

    fn vanish(&mut self, group: u32) {
        if let Values::All(values) = &mut self.values
            && let Some(settled) = values[group as usize].settled.take()
        {
            self.held.remove::<O>(&settled);
        }
    }

    fn is_empty(&self, group: u32) -> bool {
        match &self.values {
            Values::Extreme(values) => values[group as usize].is_none(),
            Values::All(values) => values[group as usize].keys().next().is_none(),
        }
    }

    fn save(&mut self, groups: &[u32]) -> DataFusionResult<LargeBinaryArray> {
        Ok(write_each(groups, |group, out| match &self.values {
            Values::Extreme(values) => values[group as usize].iter().for_each(|value| O::write(value, out)),
            Values::All(values) => values[group as usize].write::<O>(out),
        }))
    }

    fn load(&mut self, groups: &[u32], states: &LargeBinaryArray) -> DataFusionResult<()> {
        read_each("extreme", groups, states, |group, reader| {
            match &mut self.values {
                Values::Extreme(values) => values[group as usize] = read_last::<O>(reader)?,
                Values::All(values) => values[group as usize] = Group::read::<O>(reader)?,
            }
            Ok(())
        })?;
        let loaded = groups.iter().map(|group| *group as usize);
        match &self.values {
            Values::Extreme(values) => self.ordered.check(&mut loaded.flat_map(|group| &values[group]))?,
            Values::All(values) => self.ordered.check(&mut loaded.flat_map(|group| values[group].keys()))?,
        }
        self.recount();
        Ok(())
    }

    fn bytes(&self) -> usize {
        /// What an entry of a map takes beside its key, about.
        const ENTRY_BYTES: usize = 32;
        let key_bytes = size_of::<O::Key>();
        self.held.outer_bytes
            + match &self.values {
                Values::Extreme(values) => values.len() * size_of::<Option<O::Key>>(),
                Values::All(values) => {
                    values.len() * size_of::<Group<O::Key>>() + self.held.values * (ENTRY_BYTES + key_bytes)
                }
            }
    }
}
