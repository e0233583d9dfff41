//! Functions of a series: what they are, and their results as columns.

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StructArray};
use arrow::datatypes::{DataType, Fields};
use datafusion::error::Result as DataFusionResult;

/// A function that gives a struct of numbers for each row of a series, and keeps up with the rows.
pub trait SeriesFunction: Debug + Send + Sync {
    /// Its state of a series without rows, of which `hash` is a hash of the key.
    fn begin(&self, hash: u64) -> Box<dyn SeriesState>;
}

/// What a function knows of a series, whose rows have positions from 0.
///
/// Results must be a function of the sequence of rows alone, not of how it came.
pub trait SeriesState {
    /// The positions, before `edits`, of rows whose results may be others after them; those that go need not be among
    /// them. `None` where a new state is to be made of all rows. Results asked for now are still those before.
    fn affected(&mut self, edits: &[Edit]) -> Option<Vec<Range<usize>>>;

    /// Has the rows edited, as [`affected`](Self::affected) was last told; of a series without rows it need not be told.
    fn apply(&mut self, edits: &[Edit]);

    /// Adds the result for the row at `position`: one number for each field, NaN for null, 1 for true and 0 for false.
    /// Cheap where positions ascend.
    fn result(&mut self, position: usize, numbers: &mut Vec<f64>);

    /// Bytes held.
    fn bytes(&self) -> usize;

    /// Models of many rows that it has computed, such as fits of a season.
    fn fits(&self) -> u64 {
        0
    }
}

/// Copies of one row that go from a series, or come into it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Edit {
    /// Where, before any of the edits of the same tick; these ascend, and of several at one position the first is
    /// before the others.
    pub position: usize,
    /// How many go, from this position on.
    pub removed: usize,
    /// How many come, before this position.
    pub inserted: usize,
    /// What the row is ordered by.
    pub place: Option<i64>,
    /// Its value; NaN for null.
    pub value: f64,
}

impl Edit {
    /// A row that comes into a series without rows, behind those before it.
    pub fn first(place: Option<i64>, value: f64) -> Self {
        Edit { position: 0, removed: 0, inserted: 1, place, value }
    }
}

/// `edits`, each with the position at which it is done if those before it are done.
pub fn in_turn(edits: &[Edit]) -> impl Iterator<Item = (usize, &Edit)> {
    let (mut inserted, mut removed) = (0, 0);
    edits.iter().map(move |edit| {
        let position = edit.position + inserted - removed;
        inserted += edit.inserted;
        removed += edit.removed;
        (position, edit)
    })
}

/// From positions after edits to those before them.
pub struct Backwards<'a> {
    /// Those that are behind the last position.
    edits: &'a [Edit],
    /// Behind the last of the others, and what those put in and took out.
    start: usize,
    inserted: usize,
    removed: usize,
}

impl<'a> Backwards<'a> {
    /// Of `edits`, before the first position.
    pub fn new(edits: &'a [Edit]) -> Self {
        Backwards { edits, start: 0, inserted: 0, removed: 0 }
    }

    /// The least position before the edits whose row is at `position` or behind it after them. Positions ascend.
    pub fn position(&mut self, position: usize) -> usize {
        while let Some((edit, rest)) = self.edits.split_first() {
            if edit.position > self.start && position + self.removed < edit.position + self.inserted {
                break;
            }
            self.start = edit.position + edit.removed;
            self.inserted += edit.inserted;
            self.removed += edit.removed;
            self.edits = rest;
        }
        self.start.max((position + self.removed).saturating_sub(self.inserted))
    }
}

/// Results as a struct of `fields`: of the numbers of each row, `width` of them, those from `first` on.
pub fn column(fields: &Fields, numbers: &[f64], width: usize, first: usize) -> DataFusionResult<ArrayRef> {
    let columns = fields.iter().enumerate().map(|(index, field)| -> ArrayRef {
        let of_rows = numbers.iter().skip(first + index).step_by(width);
        let known = of_rows.map(|number| Some(*number).filter(|number| !number.is_nan()));
        match field.data_type() {
            DataType::Int64 => Arc::new(known.map(|n| n.map(|n| n as i64)).collect::<Int64Array>()),
            DataType::Boolean => Arc::new(known.map(|n| n.map(|n| n != 0.0)).collect::<BooleanArray>()),
            _ => Arc::new(known.collect::<Float64Array>()),
        }
    });
    Ok(Arc::new(StructArray::try_new(fields.clone(), columns.collect(), None)?))
}
