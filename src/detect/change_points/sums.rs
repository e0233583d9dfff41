//! Running sums, from which the cost of any segment is computed in constant time.

/// Added to a variance before its logarithm is taken, in squared scales: without it a constant segment would cost
/// minus infinity. It is what ruptures' `CostNormal` adds.
pub(super) const VARIANCE_ADDED: f64 = 1e-6;

/// Running sums of scaled values and of their squares: entry `t` is over the first `t` values.
#[derive(Clone, Debug)]
pub(super) struct Sums {
    values: Vec<f64>,
    squares: Vec<f64>,
}

impl Sums {
    pub(super) fn new() -> Self {
        Self { values: vec![0.0], squares: vec![0.0] }
    }

    /// Values summed.
    pub(super) fn len(&self) -> usize {
        self.values.len() - 1
    }

    pub(super) fn push(&mut self, value: f64) {
        let end = self.len();
        self.values.push(self.values[end] + value);
        self.squares.push(self.squares[end] + value * value);
    }

    /// Keeps the first `len` values.
    pub(super) fn truncate(&mut self, len: usize) {
        self.values.truncate(len + 1);
        self.squares.truncate(len + 1);
    }

    /// Sum of the first `end` values.
    pub(super) fn value(&self, end: usize) -> f64 {
        self.values[end]
    }

    /// Sum of the squares of the first `end` values.
    pub(super) fn square(&self, end: usize) -> f64 {
        self.squares[end]
    }

    /// Mean of the values `start..end`, which are at least one.
    pub(super) fn mean(&self, start: usize, end: usize) -> f64 {
        (self.values[end] - self.values[start]) / (end - start) as f64
    }

    /// Sum of the squared distances of `start..end` from their mean; 0 of none.
    pub(super) fn squared_error(&self, start: usize, end: usize) -> f64 {
        if start == end {
            return 0.0;
        }
        let sum = self.values[end] - self.values[start];
        let squares = self.squares[end] - self.squares[start];
        (squares - sum * sum / (end - start) as f64).max(0.0)
    }

    /// Twice the negative log-likelihood of `start..end` as draws from the normal distribution that fits them best,
    /// less what all segmentations have in common: length times the logarithm of the variance; 0 of none.
    pub(super) fn normal_cost(&self, start: usize, end: usize) -> f64 {
        if start == end {
            return 0.0;
        }
        let length = (end - start) as f64;
        length * (self.squared_error(start, end) / length + VARIANCE_ADDED).ln()
    }

    pub(super) fn size_bytes(&self) -> usize {
        (self.values.capacity() + self.squares.capacity()) * size_of::<f64>()
    }
}
