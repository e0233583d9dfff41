//! Running sums, from which the cost of any segment is computed in constant time.

/// Added to a variance before its logarithm is taken, in squared scales: without it a constant segment would
/// cost minus infinity. It is what ruptures' `CostNormal` adds.
pub(super) const VARIANCE_ADDED: f64 = 1e-6;

/// A sum in two doubles: what is lost in rounding the first is in the second.
#[derive(Clone, Copy, Debug)]
struct Long {
    value: f64,
    lost: f64,
}

impl Long {
    fn plus(self, value: f64) -> Self {
        // Knuth's two-sum: exact, whichever is larger.
        let sum = self.value + value;
        let part = sum - self.value;
        let lost = (self.value - (sum - part)) + (value - part);
        Self { value: sum, lost: self.lost + lost }
    }

    fn minus(self, other: Self) -> f64 {
        (self.value - other.value) + (self.lost - other.lost)
    }
}

/// Sums of the first values.
#[derive(Clone, Copy, Debug)]
struct Entry {
    values: Long,
    squares: Long,
}

/// A variance, with what is added, and its logarithm.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reference {
    variance: f64,
    variance_ln: f64,
}

impl Reference {
    /// That of a segment of `length` by its normal cost.
    pub(super) fn of(cost: f64, length: usize) -> Self {
        let variance_ln = cost / length as f64;
        Self { variance: variance_ln.exp(), variance_ln }
    }
}

/// Running sums of scaled values and of their squares: entry `t` is over the first `t` values.
///
/// They are long, so that the variance of a short segment late in a series is as good as that of its own
/// values.
#[derive(Clone, Debug)]
pub(super) struct Sums {
    entries: Vec<Entry>,
}

impl Sums {
    pub(super) fn new() -> Self {
        let zero = Long { value: 0.0, lost: 0.0 };
        Self { entries: vec![Entry { values: zero, squares: zero }] }
    }

    /// Values summed.
    pub(super) fn len(&self) -> usize {
        self.entries.len() - 1
    }

    pub(super) fn push(&mut self, value: f64) {
        let last = self.entries[self.len()];
        self.entries
            .push(Entry { values: last.values.plus(value), squares: last.squares.plus(value * value) });
    }

    /// Keeps the first `len` values.
    pub(super) fn truncate(&mut self, len: usize) {
        self.entries.truncate(len + 1);
    }

    /// Sum of the first `end` values.
    pub(super) fn value(&self, end: usize) -> f64 {
        self.entries[end].values.value
    }

    /// Sum of the squares of the first `end` values.
    pub(super) fn square(&self, end: usize) -> f64 {
        self.entries[end].squares.value
    }

    /// Mean of the values `start..end`, which are at least one.
    pub(super) fn mean(&self, start: usize, end: usize) -> f64 {
        self.entries[end].values.minus(self.entries[start].values) / (end - start) as f64
    }

    /// Sum of the squared distances of `start..end` from their mean; 0 of none.
    pub(super) fn squared_error(&self, start: usize, end: usize) -> f64 {
        if start == end {
            return 0.0;
        }
        let (first, last) = (&self.entries[start], &self.entries[end]);
        let sum = last.values.minus(first.values);
        (last.squares.minus(first.squares) - sum * sum / (end - start) as f64).max(0.0)
    }

    /// Twice the negative log-likelihood of `start..end` as draws from the normal distribution that fits them
    /// best, less what all segmentations have in common: length times the logarithm of the variance; 0 of
    /// none.
    pub(super) fn normal_cost(&self, start: usize, end: usize) -> f64 {
        if start == end {
            return 0.0;
        }
        let length = (end - start) as f64;
        length * (self.squared_error(start, end) / length + VARIANCE_ADDED).ln()
    }

    /// At most [`Sums::normal_cost`] of `start..end`, and close to it where the variance is near that of
    /// `reference`; without a logarithm, of which it takes the tangent (in the inverse variance).
    pub(super) fn normal_cost_floor(&self, start: usize, end: usize, reference: &Reference) -> f64 {
        let length = (end - start) as f64;
        let squared_error = self.squared_error(start, end) + length * VARIANCE_ADDED;
        length * (reference.variance_ln + 1.0 - reference.variance * length / squared_error)
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
    }
}
