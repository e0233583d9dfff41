//! A sequence in which values that are not finite are passed over.

/// The finite values of a sequence, and where the others are.
#[derive(Clone, Debug, Default)]
pub(super) struct Finite {
    /// The values that are finite; the place of each here is its rank.
    values: Vec<f64>,
    /// Indices, among all values, of those that are not.
    skipped: Vec<usize>,
}

impl Finite {
    /// Values, finite or not.
    pub fn len(&self) -> usize {
        self.values.len() + self.skipped.len()
    }

    /// The values that are finite.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Finite values before an index.
    pub fn rank(&self, index: usize) -> usize {
        index - self.skipped_before(index)
    }

    /// The rank of the value at an index, if it is finite.
    pub fn finite(&self, index: usize) -> Option<usize> {
        let skipped = self.skipped.binary_search(&index).err()?;
        Some(index - skipped).filter(|rank| *rank < self.values.len())
    }

    /// The index, among all values, of a finite one.
    pub fn index(&self, rank: usize) -> usize {
        let (mut low, mut high) = (0, self.skipped.len());
        while low < high {
            let middle = low.midpoint(high);
            // Finite values before it.
            if self.skipped[middle] - middle <= rank { low = middle + 1 } else { high = middle }
        }
        rank + low
    }

    /// Appends a value.
    pub fn push(&mut self, value: f64) {
        if value.is_finite() {
            self.values.push(value);
        } else {
            self.skipped.push(self.len());
        }
    }

    /// Puts `values` in the place of the `removed` values from `index` on; indices beyond the end are the end. Returns the
    /// rank of the first that is another.
    pub fn splice(&mut self, index: usize, removed: usize, values: &[f64]) -> usize {
        let index = index.min(self.len());
        let removed_end = index.saturating_add(removed).min(self.len());
        let (skipped, skipped_end) = (self.skipped_before(index), self.skipped_before(removed_end));
        let start = index - skipped;
        let finite = values.iter().copied().filter(|value| value.is_finite());
        self.values.splice(start..removed_end - skipped_end, finite);
        for at in &mut self.skipped[skipped_end..] {
            *at = *at - (removed_end - index) + values.len();
        }
        let not_finite = values.iter().zip(index..).filter(|(value, _)| !value.is_finite());
        self.skipped.splice(skipped..skipped_end, not_finite.map(|(_, at)| at));
        start
    }

    /// Bytes on the heap, with what is reserved for growth.
    pub fn size_bytes(&self) -> usize {
        self.values.capacity() * size_of::<f64>() + self.skipped.capacity() * size_of::<usize>()
    }

    fn skipped_before(&self, index: usize) -> usize {
        self.skipped.partition_point(|at| *at < index)
    }
}
