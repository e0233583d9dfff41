//! A segmentation that is kept up to date.

use super::super::finite::Finite;
use super::scale::{Measure, basis_len};
use super::solver::Solver;
use super::{Options, OptionsError, Segmentation};

/// The optimal segmentation of a series to which values are appended, and into which late ones are put.
///
/// Edits are noted, and the work is done when the segmentation is asked for: for each value from the
/// checkpoint before the first edit on, which is up to 256 values before it. An appended value costs about a
/// microsecond, however long the series has been quiet. All values are gone through again when their measure
/// is no longer the same, as [`Basis`](super::Basis) says; whether it is costs a look at the values that it
/// is taken from, if one of those was edited or they have become more.
///
/// It takes about 55 bytes a value, up to 90 with what vectors reserve for growth, and 12 for each time that a
/// change point came into the optimum.
#[derive(Clone, Debug)]
pub struct Online {
    options: Options,
    values: Finite,
    /// Values at the begin that the solver's measure is of, unless they are to be looked at again.
    measured_len: Option<usize>,
    /// Has seen some of the values, with their measure.
    solver: Solver,
}

impl Online {
    /// Of an empty series.
    pub fn new(options: Options) -> Result<Self, OptionsError> {
        options.check()?;
        let solver = Solver::new(options.cost, options.segment_len_min, Measure::of(&[], &options));
        Ok(Self { options, values: Finite::default(), measured_len: Some(0), solver })
    }

    /// Values of the series, finite or not.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether it has no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends a value.
    pub fn push(&mut self, value: f64) {
        self.values.push(value);
    }

    /// Puts `values` in the place of the `removed` values from `index` on. Indices beyond the end are the
    /// end.
    pub fn splice(&mut self, index: usize, removed: usize, values: &[f64]) {
        let start = self.values.splice(index, removed, values);
        self.solver.rewind(start);
        if self.measured_len.is_some_and(|measured_len| start < measured_len) {
            self.measured_len = None;
        }
    }

    /// Puts a late value at an index.
    pub fn insert(&mut self, index: usize, value: f64) {
        self.splice(index, 0, &[value]);
    }

    /// Takes the value at an index out, if there is one.
    pub fn remove(&mut self, index: usize) {
        self.splice(index, 1, &[]);
    }

    /// The optimum of all values so far.
    pub fn segmentation(&mut self) -> Segmentation {
        self.settle();
        let mut segmentation = self.solver.segmentation();
        segmentation.len = self.len();
        for change in &mut segmentation.changes {
            change.index = self.values.index(change.index);
            change.certain_len = self.values.index(change.certain_len - 1) + 1;
        }
        segmentation
    }

    /// Bytes that it takes, with what is reserved for growth.
    pub fn size_bytes(&self) -> usize {
        size_of::<Self>() + self.values.size_bytes() + self.solver.size_bytes()
    }

    /// Has the solver see all values, with their measure.
    fn settle(&mut self) {
        let measured_len = basis_len(self.options.basis, self.values.values().len());
        if self.measured_len != Some(measured_len) {
            let measure = Measure::of(&self.values.values()[..measured_len], &self.options);
            if measure != self.solver.measure() {
                self.solver = Solver::new(self.options.cost, self.options.segment_len_min, measure);
            }
            self.measured_len = Some(measured_len);
        }
        for value in &self.values.values()[self.solver.len()..] {
            self.solver.push(*value);
        }
    }
}
