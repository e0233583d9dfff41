//! Columns under construction. They differ from arrow's builders in what decoding needs of them: a value of unknown
//! length is written in place into the *open row* at the column's end, which is closed when its record is accepted
//! and discarded when it is not; and a map's row can be copied whole from another map.
//!
//! Offsets are 32 bits wide: `Limits::table_bytes_max` and `Limits::request_bytes_max` keep them from overflowing.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, ListArray, MapArray, PrimitiveArray, StringArray, StructArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, TimestampNanosecondType};

use super::schema;

/// Which rows are not null; costs nothing while none is.
#[derive(Default)]
struct Validity {
    /// Empty until the first null.
    bits: Vec<bool>,
    rows: usize,
}

impl Validity {
    #[inline]
    fn push(&mut self, valid: bool) {
        if !valid || !self.bits.is_empty() {
            self.bits.resize(self.rows, true);
            self.bits.push(valid);
        }
        self.rows += 1;
    }

    fn extend(&mut self, other: &Validity) {
        if other.bits.is_empty() && self.bits.is_empty() {
            self.rows += other.rows;
            return;
        }
        for row in 0..other.rows {
            self.push(other.get(row));
        }
    }

    fn get(&self, row: usize) -> bool {
        self.bits.get(row).copied().unwrap_or(true)
    }

    fn truncate(&mut self, rows: usize) {
        self.bits.truncate(rows);
        self.rows = rows;
    }

    fn finish(&mut self) -> Option<NullBuffer> {
        self.rows = 0;
        let nulls = (!self.bits.is_empty()).then(|| NullBuffer::from(self.bits.as_slice()));
        self.bits.clear();
        nulls
    }
}

/// The end of a buffer as the offset after its last element.
#[inline]
fn offset(end: usize) -> i32 {
    debug_assert!(end <= i32::MAX as usize);
    end as i32
}

/// Offsets of `ends`, which is left empty.
fn offsets(ends: &mut Vec<i32>) -> OffsetBuffer<i32> {
    let mut all = Vec::with_capacity(ends.len() + 1);
    all.push(0);
    all.append(ends);
    OffsetBuffer::new(ScalarBuffer::from(all))
}

/// Where the last of `ends` is, zero when there is none.
#[inline]
fn last(ends: &[i32]) -> usize {
    ends.last().map_or(0, |&end| end as usize)
}

/// Text.
#[derive(Default)]
pub(super) struct Text {
    bytes: String,
    ends: Vec<i32>,
    validity: Validity,
}

impl Text {
    #[inline]
    pub(super) fn push(&mut self, value: &str) {
        self.bytes.push_str(value);
        self.close(true);
    }

    /// Empty text becomes null.
    #[inline]
    pub(super) fn push_or_null(&mut self, value: &str) {
        self.bytes.push_str(value);
        self.close(!value.is_empty());
    }

    /// The open row, emptied, to be written to and closed.
    #[inline]
    pub(super) fn open(&mut self) -> &mut String {
        self.discard();
        &mut self.bytes
    }

    /// Ends the open row with what was written to it.
    #[inline]
    pub(super) fn close(&mut self, valid: bool) {
        self.ends.push(offset(self.bytes.len()));
        self.validity.push(valid);
    }

    /// Drops what was written to the open row.
    #[inline]
    pub(super) fn discard(&mut self) {
        self.bytes.truncate(last(&self.ends));
    }

    pub(super) fn rows(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn get(&self, row: usize) -> Option<&str> {
        let start = last(self.ends.get(..row)?);
        let end = *self.ends.get(row)? as usize;
        self.validity.get(row).then(|| &self.bytes[start..end])
    }

    fn truncate(&mut self, rows: usize) {
        self.ends.truncate(rows);
        self.validity.truncate(rows);
        self.discard();
    }

    fn extend(&mut self, other: &Text) {
        let base = offset(self.bytes.len());
        self.bytes.push_str(&other.bytes[..last(&other.ends)]);
        self.ends.extend(other.ends.iter().map(|end| base + end));
        self.validity.extend(&other.validity);
    }

    #[inline]
    pub(super) fn size(&self) -> usize {
        self.bytes.len() + 4 * self.ends.len()
    }

    fn array(&mut self) -> StringArray {
        self.discard();
        let nulls = self.validity.finish();
        let capacity = self.bytes.len();
        let bytes = std::mem::replace(&mut self.bytes, String::with_capacity(capacity));
        let offsets = offsets(&mut self.ends);
        // SAFETY: the bytes are those of a `String`. Every offset was its length at some time, when it ended in whole
        // characters; since then it only grew or was cut back to such an offset. `OffsetBuffer::new` has checked that
        // they ascend, and there are as many as nulls.
        unsafe { StringArray::new_unchecked(offsets, Buffer::from(bytes.into_bytes()), nulls) }
    }

    pub(super) fn finish(&mut self) -> ArrayRef {
        Arc::new(self.array())
    }
}

/// Attribute maps, text to text.
#[derive(Default)]
pub(super) struct Map {
    pub(super) keys: Text,
    pub(super) values: Text,
    ends: Vec<i32>,
}

impl Map {
    /// Entries of the open row.
    #[inline]
    pub(super) fn open_entries(&self) -> usize {
        self.keys.rows() - last(&self.ends)
    }

    #[inline]
    pub(super) fn close(&mut self) {
        debug_assert_eq!(self.keys.rows(), self.values.rows());
        self.ends.push(offset(self.keys.rows()));
    }

    #[inline]
    pub(super) fn discard(&mut self) {
        let entries = last(&self.ends);
        self.keys.truncate(entries);
        self.values.truncate(entries);
    }

    fn truncate(&mut self, rows: usize) {
        self.ends.truncate(rows);
        self.discard();
    }

    /// Appends the entries of `other`, all rows and the open one, as one row.
    #[inline]
    pub(super) fn push(&mut self, other: &Map) {
        self.keys.extend(&other.keys);
        self.values.extend(&other.values);
        self.close();
    }

    #[inline]
    pub(super) fn size(&self) -> usize {
        self.keys.size() + self.values.size() + 4 * self.ends.len()
    }

    pub(super) fn finish(&mut self) -> ArrayRef {
        self.discard();
        let columns = vec![self.keys.finish(), self.values.finish()];
        let entries = StructArray::new(schema::map_fields(), columns, None);
        let field = Arc::new(schema::map_entries());
        Arc::new(MapArray::new(field, offsets(&mut self.ends), entries, None, false))
    }
}

/// Numbers or times.
pub(super) struct Numbers<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    validity: Validity,
}

/// 64-bit integers.
pub(super) type Ints = Numbers<Int64Type>;
/// 32-bit integers.
pub(super) type SmallInts = Numbers<Int32Type>;
/// Doubles.
pub(super) type Doubles = Numbers<Float64Type>;
/// Nanoseconds since 1970 UTC.
pub(super) type Times = Numbers<TimestampNanosecondType>;

impl<T: ArrowPrimitiveType> Default for Numbers<T> {
    fn default() -> Self {
        Numbers { values: Vec::new(), validity: Validity::default() }
    }
}

impl<T: ArrowPrimitiveType> Numbers<T> {
    #[inline]
    pub(super) fn push(&mut self, value: T::Native) {
        self.push_option(Some(value));
    }

    #[inline]
    pub(super) fn push_option(&mut self, value: Option<T::Native>) {
        self.values.push(value.unwrap_or_default());
        self.validity.push(value.is_some());
    }

    #[inline]
    pub(super) fn rows(&self) -> usize {
        self.values.len()
    }

    fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows);
        self.validity.truncate(rows);
    }

    fn array(&mut self) -> PrimitiveArray<T> {
        let capacity = self.values.len();
        let values = std::mem::replace(&mut self.values, Vec::with_capacity(capacity));
        PrimitiveArray::new(ScalarBuffer::from(values), self.validity.finish())
    }

    pub(super) fn finish(&mut self) -> ArrayRef {
        // The type of a time carries its zone, which the values' own type does not know.
        let array = self.array();
        match T::DATA_TYPE {
            DataType::Timestamp(..) => Arc::new(array.with_data_type(schema::time())),
            _ => Arc::new(array),
        }
    }
}

/// Where the rows of a list column end among its elements.
#[derive(Default)]
pub(super) struct Rows {
    ends: Vec<i32>,
    validity: Validity,
}

impl Rows {
    /// Elements of closed rows.
    fn elements(&self) -> usize {
        last(&self.ends)
    }

    #[inline]
    fn close(&mut self, elements: usize, valid: bool) {
        self.ends.push(offset(elements));
        self.validity.push(valid);
    }

    fn finish(&mut self, elements: ArrayRef) -> ArrayRef {
        let field = schema::item(elements.data_type().clone());
        let nulls = self.validity.finish();
        Arc::new(ListArray::new(field, offsets(&mut self.ends), elements, nulls))
    }
}

/// Lists of numbers.
pub(super) struct Lists<T: ArrowPrimitiveType> {
    elements: Vec<T::Native>,
    rows: Rows,
}

impl<T: ArrowPrimitiveType> Default for Lists<T> {
    fn default() -> Self {
        Lists { elements: Vec::new(), rows: Rows::default() }
    }
}

impl<T: ArrowPrimitiveType> Lists<T> {
    /// Appends to the open row.
    #[inline]
    pub(super) fn add(&mut self, element: T::Native) {
        self.elements.push(element);
    }

    /// Elements of the open row.
    #[inline]
    pub(super) fn open(&self) -> &[T::Native] {
        &self.elements[self.rows.elements()..]
    }

    #[inline]
    pub(super) fn close(&mut self, valid: bool) {
        self.rows.close(self.elements.len(), valid);
    }

    #[inline]
    pub(super) fn discard(&mut self) {
        self.elements.truncate(self.rows.elements());
    }

    #[inline]
    pub(super) fn size(&self) -> usize {
        8 * self.elements.len()
    }

    pub(super) fn finish(&mut self) -> ArrayRef {
        self.discard();
        let elements = std::mem::take(&mut self.elements);
        self.rows.finish(Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::from(elements), None)))
    }
}

/// Lists of quantiles of a summary.
#[derive(Default)]
pub(super) struct Quantiles {
    quantiles: Doubles,
    values: Doubles,
    rows: Rows,
}

impl Quantiles {
    pub(super) fn add(&mut self, quantile: f64, value: f64) {
        self.quantiles.push(quantile);
        self.values.push(value);
    }

    pub(super) fn open_elements(&self) -> usize {
        self.values.rows() - self.rows.elements()
    }

    #[inline]
    pub(super) fn close(&mut self, valid: bool) {
        self.rows.close(self.values.rows(), valid);
    }

    #[inline]
    pub(super) fn discard(&mut self) {
        self.quantiles.truncate(self.rows.elements());
        self.values.truncate(self.rows.elements());
    }

    pub(super) fn size(&self) -> usize {
        16 * self.values.rows()
    }

    pub(super) fn finish(&mut self) -> ArrayRef {
        self.discard();
        let columns = vec![self.quantiles.finish(), self.values.finish()];
        self.rows.finish(Arc::new(StructArray::new(schema::quantile_fields(), columns, None)))
    }
}

/// Lists of exemplars of a data point. An exemplar is one row of every public column.
#[derive(Default)]
pub(super) struct Exemplars {
    pub(super) ts: Times,
    pub(super) value: Doubles,
    pub(super) trace_id: Text,
    pub(super) span_id: Text,
    pub(super) attributes: Map,
    rows: Rows,
}

impl Exemplars {
    pub(super) fn open_elements(&self) -> usize {
        self.ts.rows() - self.rows.elements()
    }

    #[inline]
    pub(super) fn close(&mut self, valid: bool) {
        self.rows.close(self.ts.rows(), valid);
    }

    pub(super) fn discard(&mut self) {
        let exemplars = self.rows.elements();
        self.ts.truncate(exemplars);
        self.value.truncate(exemplars);
        self.trace_id.truncate(exemplars);
        self.span_id.truncate(exemplars);
        self.attributes.truncate(exemplars);
    }

    pub(super) fn size(&self) -> usize {
        16 * self.ts.rows() + self.trace_id.size() + self.span_id.size() + self.attributes.size()
    }

    pub(super) fn finish(&mut self) -> ArrayRef {
        self.discard();
        let columns = vec![
            self.ts.finish(),
            self.value.finish(),
            self.trace_id.finish(),
            self.span_id.finish(),
            self.attributes.finish(),
        ];
        self.rows.finish(Arc::new(StructArray::new(schema::exemplar_fields(), columns, None)))
    }
}
