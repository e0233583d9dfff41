//! The container on every edge: rows, when they change, and by how much.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, RecordBatchOptions, UInt32Array, UInt64Array,
};
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::{reader::StreamReader, writer::StreamWriter};
use timely::Accountable;
use timely::dataflow::channels::ContainerBytes;

/// The dataflow timestamp: stream time in milliseconds since the Unix epoch, totally ordered.
pub type Tick = u64;

/// How many times a row is added (positive) or taken away (negative).
pub type Diff = i64;

/// One value for each row, stored once when all rows share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Run<T> {
    /// Every row has this value.
    Constant(T),
    /// The value of each row.
    Each(Arc<[T]>),
}

impl<T: Copy + PartialEq> Run<T> {
    /// The value of row `index`.
    #[inline]
    pub fn get(&self, index: usize) -> T {
        match self {
            Run::Constant(value) => *value,
            Run::Each(values) => values[index],
        }
    }

    /// The run of `values`, constant where they are all equal.
    pub fn from_vec(values: Vec<T>) -> Self {
        match values.first() {
            Some(first) if values.iter().all(|v| v == first) => Run::Constant(*first),
            _ => Run::Each(values.into()),
        }
    }

    /// The values of the rows at `indices`, in that order.
    pub fn take(&self, indices: &[u32]) -> Self {
        match self {
            Run::Constant(value) => Run::Constant(*value),
            Run::Each(values) => Run::from_vec(indices.iter().map(|i| values[*i as usize]).collect()),
        }
    }

    /// The values of the rows that `mask` keeps.
    pub fn filter(&self, mask: &BooleanArray) -> Self {
        match self {
            Run::Constant(value) => Run::Constant(*value),
            Run::Each(values) => Run::from_vec(mask.values().set_indices().map(|i| values[i]).collect()),
        }
    }

    /// The values of `len` rows from `offset`.
    pub fn slice(&self, offset: usize, len: usize) -> Self {
        match self {
            Run::Constant(value) => Run::Constant(*value),
            Run::Each(values) => Run::Each(values[offset..offset + len].into()),
        }
    }

    /// Each value put through `f`.
    pub fn map(&self, mut f: impl FnMut(T) -> T) -> Self {
        match self {
            Run::Constant(value) => Run::Constant(f(*value)),
            Run::Each(values) => Run::from_vec(values.iter().map(|v| f(*v)).collect()),
        }
    }
}

/// Changes to a collection: row `i` of `rows` changes at `times[i]` by `diffs[i]`.
///
/// Times are not earlier than the time of the message that carries them. Neither order nor
/// consolidation is promised. A batch without columns still has a row count.
#[derive(Clone, Debug)]
pub struct Updates {
    /// The rows, in the schema of the edge.
    pub rows: RecordBatch,
    /// When each row changes.
    pub times: Run<Tick>,
    /// By how much each row changes.
    pub diffs: Run<Diff>,
}

impl Default for Updates {
    fn default() -> Self {
        let rows = RecordBatch::new_empty(Arc::new(Schema::empty()));
        Updates { rows, times: Run::Constant(0), diffs: Run::Constant(1) }
    }
}

impl Updates {
    /// `rows` inserted once each at `time`.
    pub fn insert(rows: RecordBatch, time: Tick) -> Self {
        Updates { rows, times: Run::Constant(time), diffs: Run::Constant(1) }
    }

    /// `rows` changed at `time`, each by its own diff.
    pub fn at(rows: RecordBatch, time: Tick, diffs: Run<Diff>) -> Self {
        Updates { rows, times: Run::Constant(time), diffs }
    }

    /// Number of updates.
    pub fn len(&self) -> usize {
        self.rows.num_rows()
    }

    /// Whether there are no updates.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The updates at `indices`, in that order.
    pub fn take(&self, indices: &[u32]) -> Self {
        let picks = UInt32Array::from(indices.to_vec());
        let rows = take_rows(&self.rows, &picks);
        Updates { rows, times: self.times.take(indices), diffs: self.diffs.take(indices) }
    }

    /// The updates that `mask` keeps; a null drops its row.
    pub fn filter(&self, mask: &BooleanArray) -> Self {
        let mask = without_nulls(mask);
        let rows = filter_record_batch(&self.rows, &mask).expect("a mask of the batch's own length");
        Updates { rows, times: self.times.filter(&mask), diffs: self.diffs.filter(&mask) }
    }

    /// The updates by time, ascending: rows and diffs of each.
    pub fn by_time(self) -> Vec<(Tick, RecordBatch, Run<Diff>)> {
        let times = match self.times {
            Run::Constant(time) => return vec![(time, self.rows, self.diffs)],
            Run::Each(times) => times,
        };
        let mut order: Vec<u32> = (0..times.len() as u32).collect();
        order.sort_by_key(|i| times[*i as usize]);
        order
            .chunk_by(|a, b| times[*a as usize] == times[*b as usize])
            .map(|picks| {
                let rows = take_rows(&self.rows, &UInt32Array::from(picks.to_vec()));
                (times[picks[0] as usize], rows, self.diffs.take(picks))
            })
            .collect()
    }

    /// The same rows with diffs of the opposite sign.
    pub fn negate(mut self) -> Self {
        self.diffs = self.diffs.map(|d| -d);
        self
    }
}

/// `mask` with its nulls made false, as a WHERE reads them.
pub(crate) fn without_nulls(mask: &BooleanArray) -> BooleanArray {
    match mask.nulls() {
        Some(nulls) if nulls.null_count() > 0 => BooleanArray::new(mask.values() & nulls.inner(), None),
        _ => mask.clone(),
    }
}

/// Rows of `batch` at `picks`; right for batches without columns too.
pub(crate) fn take_rows(batch: &RecordBatch, picks: &UInt32Array) -> RecordBatch {
    if batch.num_columns() == 0 {
        return columnless(batch.schema(), picks.len());
    }
    take_record_batch(batch, picks).expect("indices inside the batch")
}

/// A batch of `rows` rows and no columns.
pub(crate) fn columnless(schema: arrow::datatypes::SchemaRef, rows: usize) -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema, vec![], &options).expect("no columns, so nothing can disagree")
}

impl Accountable for Updates {
    fn record_count(&self) -> i64 {
        self.len() as i64
    }
}

/// Between processes updates travel as one Arrow IPC stream with two more columns, `time` and `diff`.
impl ContainerBytes for Updates {
    fn from_bytes(bytes: timely::bytes::arc::Bytes) -> Self {
        let mut reader = StreamReader::try_new(&bytes[..], None).expect("a peer sends a whole Arrow stream");
        let batch = reader.next().expect("a peer sends one batch").expect("a peer sends a valid batch");
        let columns = batch.num_columns() - 2;
        let times = batch.column(columns).as_any().downcast_ref::<UInt64Array>().expect("times");
        let diffs = batch.column(columns + 1).as_any().downcast_ref::<Int64Array>().expect("diffs");
        let picks: Vec<usize> = (0..columns).collect();
        Updates {
            rows: batch.project(&picks).expect("columns of the batch"),
            times: Run::from_vec(times.values().to_vec()),
            diffs: Run::from_vec(diffs.values().to_vec()),
        }
    }

    fn length_in_bytes(&self) -> usize {
        self.encode().len()
    }

    fn into_bytes<W: Write>(&self, writer: &mut W) {
        writer.write_all(&self.encode()).expect("room for the announced length");
    }
}

impl Updates {
    fn encode(&self) -> Vec<u8> {
        let len = self.len();
        let mut fields = self.rows.schema().fields().to_vec();
        fields.push(Arc::new(Field::new("time", DataType::UInt64, false)));
        fields.push(Arc::new(Field::new("diff", DataType::Int64, false)));
        let mut columns: Vec<ArrayRef> = self.rows.columns().to_vec();
        columns.push(Arc::new(UInt64Array::from_iter_values((0..len).map(|i| self.times.get(i)))));
        columns.push(Arc::new(Int64Array::from_iter_values((0..len).map(|i| self.diffs.get(i)))));
        let batch =
            RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("columns of one length");
        let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).expect("writing to memory");
        writer.write(&batch).expect("writing to memory");
        writer.into_inner().expect("writing to memory")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delta::testing::{batch, render};

    fn sample() -> Updates {
        Updates {
            rows: batch(&[(1, "a"), (2, "b"), (3, "c")]),
            times: Run::Each([7, 5, 7].into()),
            diffs: Run::Each([1, -1, 2].into()),
        }
    }

    #[test]
    fn splits_by_time_in_order() {
        let parts = sample().by_time();
        assert_eq!(
            parts.iter().map(|(t, rows, _)| (*t, rows.num_rows())).collect::<Vec<_>>(),
            [(5, 1), (7, 2)]
        );
        assert_eq!((parts[1].2.get(0), parts[1].2.get(1)), (1, 2));
    }

    #[test]
    fn a_null_in_a_mask_drops_its_row() {
        let kept = sample().filter(&BooleanArray::from(vec![Some(true), None, Some(false)]));
        assert_eq!(render(&[kept]), "1 a @7 +1\n");
    }

    #[test]
    fn travels_as_bytes() {
        let mut bytes = Vec::new();
        sample().into_bytes(&mut bytes);
        assert_eq!(bytes.len(), sample().length_in_bytes());
        let bytes = timely::bytes::arc::BytesMut::from(bytes).freeze();
        assert_eq!(render(&[Updates::from_bytes(bytes)]), render(&[sample()]));
    }
}
