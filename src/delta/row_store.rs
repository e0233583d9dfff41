//! Rows kept by number, in segments that can be dropped from the front.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::compute::{concat_batches, interleave};
use arrow::datatypes::SchemaRef;

use super::updates::{Tick, columnless};

/// Rows of one segment: a power of two, so that a row's number tells its place.
const SEGMENT_ROWS: usize = if cfg!(test) { 8 } else { 8192 };

/// Rows numbered in the order they came. Full segments are never copied again.
pub struct RowStore {
    schema: SchemaRef,
    /// Full segments, oldest first, each with the last tick at which it grew.
    full: VecDeque<(RecordBatch, Tick)>,
    /// The rows after them, fewer than a segment.
    tail: RecordBatch,
    tail_tick: Tick,
    /// Segments dropped from the front.
    dropped: usize,
    /// Bytes of the full segments: adding them up anew at each tick would cost more the more there are.
    full_bytes: usize,
}

impl RowStore {
    /// No rows yet.
    pub fn new(schema: SchemaRef) -> Self {
        let tail = RecordBatch::new_empty(schema.clone());
        RowStore { schema, full: VecDeque::new(), tail, tail_tick: 0, dropped: 0, full_bytes: 0 }
    }

    /// The number that the next row will get.
    pub fn next(&self) -> usize {
        (self.dropped + self.full.len()) * SEGMENT_ROWS + self.tail.num_rows()
    }

    /// The number of the oldest row kept.
    pub fn first(&self) -> usize {
        self.dropped * SEGMENT_ROWS
    }

    /// Keeps `rows`, which came at `tick`.
    pub fn push(&mut self, rows: &RecordBatch, tick: Tick) {
        let all = match self.tail.num_rows() {
            0 => rows.clone(),
            _ if self.schema.fields().is_empty() => {
                columnless(self.schema.clone(), self.tail.num_rows() + rows.num_rows())
            }
            _ => concat_batches(&self.schema, [&self.tail, rows]).expect("rows of the store's schema"),
        };
        self.tail_tick = tick;
        let mut offset = 0;
        while all.num_rows() - offset >= SEGMENT_ROWS {
            let segment = all.slice(offset, SEGMENT_ROWS);
            self.full_bytes += bytes_of(&segment);
            self.full.push_back((segment, tick));
            offset += SEGMENT_ROWS;
        }
        // A short tail must not keep the whole batch behind it alive.
        let tail = all.slice(offset, all.num_rows() - offset);
        self.tail = if offset == 0 { tail } else { copy(&tail) };
    }

    /// Drops the segments whose rows all came at or before `tick`.
    pub fn drop_through(&mut self, tick: Tick) {
        while self.full.front().is_some_and(|(_, last)| *last <= tick) {
            if let Some((segment, _)) = self.full.pop_front() {
                self.full_bytes -= bytes_of(&segment);
            }
            self.dropped += 1;
        }
        // The tail goes as a whole segment, so that numbers still tell places.
        if self.full.is_empty() && self.tail.num_rows() > 0 && self.tail_tick <= tick {
            self.dropped += 1;
            self.tail = RecordBatch::new_empty(self.schema.clone());
        }
    }

    /// The rows numbered `numbers`, in that order. All must still be kept.
    pub fn gather(&self, numbers: &[u32]) -> RecordBatch {
        if self.schema.fields().is_empty() || numbers.is_empty() {
            return match self.schema.fields().is_empty() {
                true => columnless(self.schema.clone(), numbers.len()),
                false => RecordBatch::new_empty(self.schema.clone()),
            };
        }
        let places: Vec<(usize, usize)> = numbers
            .iter()
            .map(|n| (*n as usize / SEGMENT_ROWS - self.dropped, *n as usize % SEGMENT_ROWS))
            .collect();
        let columns = (0..self.schema.fields().len())
            .map(|column| {
                let segments: Vec<&dyn Array> = self
                    .full
                    .iter()
                    .map(|(rows, _)| rows)
                    .chain([&self.tail])
                    .map(|rows| rows.column(column).as_ref())
                    .collect();
                interleave(&segments, &places).expect("places inside the store")
            })
            .collect();
        RecordBatch::try_new(self.schema.clone(), columns).expect("columns of the store's schema")
    }

    /// The last tick at which the segment of row `number` grew.
    pub fn tick_of(&self, number: u32) -> Tick {
        let segment = number as usize / SEGMENT_ROWS - self.dropped;
        self.full.get(segment).map_or(self.tail_tick, |(_, tick)| *tick)
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.full_bytes + bytes_of(&self.tail)
    }
}

/// The bytes of `rows` alone, where they are a slice of something larger.
pub(crate) fn bytes_of(rows: &RecordBatch) -> usize {
    rows.columns().iter().map(|c| c.to_data().get_slice_memory_size().unwrap_or_default()).sum()
}

/// The same rows in buffers of their own.
fn copy(rows: &RecordBatch) -> RecordBatch {
    let picks = arrow::array::UInt32Array::from_iter_values(0..rows.num_rows() as u32);
    super::updates::take_rows(rows, &picks)
}

/// `parts` as one batch of `schema`.
pub(crate) fn concatenate<'a>(
    schema: &SchemaRef,
    parts: impl IntoIterator<Item = &'a RecordBatch> + Clone,
) -> RecordBatch {
    let mut iterator = parts.clone().into_iter();
    match (iterator.next(), iterator.next()) {
        (None, _) => RecordBatch::new_empty(Arc::clone(schema)),
        (Some(only), None) => only.clone(),
        _ if schema.fields().is_empty() => {
            columnless(schema.clone(), parts.into_iter().map(RecordBatch::num_rows).sum())
        }
        _ => concat_batches(schema, parts).expect("parts of one schema"),
    }
}
