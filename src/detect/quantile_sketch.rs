//! Quantiles with a bounded relative error: DDSketch.
//!
//! Masson, Rim, Lee: *DDSketch: a fast and fully-mergeable quantile sketch with relative-error
//! guarantees*, PVLDB 12 (2019). A value `x > 0` is counted in the bin `ceil(ln x / ln g)` with
//! `g = (1 + e) / (1 - e)`, and every value of a bin is within a factor `1 ± e` of the value that
//! stands for it. A sketch is therefore nothing but counts, so it does not depend on the order of
//! its values, merges exactly, and forgets a retracted value without a trace.
//!
//! Unlike other implementations it never collapses bins, which would break the bound and make the
//! result depend on order. All doubles together have 71,000 bins at a relative error of 1 %; bins
//! take memory only where values are (see `store`).
//!
//! Every double is accepted. `-0.0` counts as zero. Subnormals have bins like all others, with the
//! error bound plus half their spacing. Each infinity is a bin of its own. All NaNs are one value
//! above infinity, as PostgreSQL sorts them.

mod codec;
mod store;
#[cfg(test)]
mod tests;

use store::Store;

/// Relative error unless another is asked for: 1 %.
pub const RELATIVE_ERROR_DEFAULT: f64 = 0.01;
/// Smallest relative error: finer bins would not fit a 32-bit key with room to spare.
pub const RELATIVE_ERROR_MIN: f64 = 1e-6;
/// Largest relative error.
pub const RELATIVE_ERROR_MAX: f64 = 0.5;

/// How values map to bins: all that a relative error determines.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mapping {
    relative_error: f64,
    /// `1 / ln g`.
    keys_per_e: f64,
    /// `1 / log2 g`.
    keys_per_octave: f64,
    /// `2 / (1 + g)`: where in its bin, as a fraction of the upper bound, a bin's value stands.
    representative: f64,
}

impl Mapping {
    /// The mapping for a relative error in [`RELATIVE_ERROR_MIN`]`..=`[`RELATIVE_ERROR_MAX`].
    ///
    /// Panics on others: check what users supply with [`Mapping::is_valid`].
    pub fn new(relative_error: f64) -> Self {
        assert!(Self::is_valid(relative_error), "relative error {relative_error} out of range");
        let growth = 2.0 * relative_error / (1.0 - relative_error);
        let keys_per_e = 1.0 / growth.ln_1p();
        Self {
            relative_error,
            keys_per_e,
            keys_per_octave: keys_per_e * std::f64::consts::LN_2,
            representative: 2.0 / (2.0 + growth),
        }
    }

    /// Whether a relative error is one that a mapping can have.
    pub fn is_valid(relative_error: f64) -> bool {
        (RELATIVE_ERROR_MIN..=RELATIVE_ERROR_MAX).contains(&relative_error)
    }

    /// The relative error asked for.
    pub fn relative_error(&self) -> f64 {
        self.relative_error
    }

    /// The bin of a positive, finite value: within ±375 million at the smallest relative error.
    #[inline(always)]
    fn key(&self, value: f64) -> i32 {
        let exact = value.ln() * self.keys_per_e;
        // The ceiling by hand: without SSE 4.1 `f64::ceil` is a function call.
        let truncated = exact as i32;
        truncated + i32::from(f64::from(truncated) < exact)
    }

    /// The value that stands for a bin: positive and finite.
    fn value(&self, key: i32) -> f64 {
        let exponent = f64::from(key) / self.keys_per_octave;
        let upper = exponent.exp2();
        if upper.is_finite() {
            return upper * self.representative;
        }
        // The last bins end beyond the largest double, but their values need not.
        ((exponent - 1.0).exp2() * (2.0 * self.representative)).min(f64::MAX)
    }
}

/// Counts of values that are neither finite nor, for that matter, common.
#[derive(Clone, Debug, Default, PartialEq)]
struct NonFinite {
    negative_infinity: i64,
    positive_infinity: i64,
    nan: i64,
}

/// The counts of a sketch without its mapping, for those who keep many sketches of one mapping.
///
/// Each method must be given the mapping that all others were given. Equal when all counts are.
#[derive(Clone, Debug)]
pub struct Bins {
    count: i64,
    zero: i64,
    positive: Store,
    negative: Option<Box<Store>>,
    non_finite: Option<Box<NonFinite>>,
}

impl Default for Bins {
    fn default() -> Self {
        Self { count: 0, zero: 0, positive: Store::new(), negative: None, non_finite: None }
    }
}

impl Bins {
    /// Adds `weight` occurrences of `value`; a negative weight retracts.
    ///
    /// Counts may be negative for a while, when a retraction comes before its insertion.
    #[inline(always)]
    pub fn add(&mut self, mapping: &Mapping, value: f64, weight: i64) {
        self.count = self.count.wrapping_add(weight);
        if value > 0.0 && value < f64::INFINITY {
            self.positive.add(mapping.key(value), weight);
        } else if value == 0.0 {
            self.zero = self.zero.wrapping_add(weight);
        } else {
            self.add_uncommon(mapping, value, weight);
        }
        if self.count == 0 {
            self.release();
        }
    }

    /// Adds all counts of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.count = self.count.wrapping_add(other.count);
        self.zero = self.zero.wrapping_add(other.zero);
        self.positive.merge(&other.positive);
        if let Some(negative) = &other.negative {
            self.negative.get_or_insert_with(|| Box::new(Store::new())).merge(negative);
        }
        if let Some(theirs) = &other.non_finite {
            let ours = self.non_finite.get_or_insert_default();
            ours.negative_infinity = ours.negative_infinity.wrapping_add(theirs.negative_infinity);
            ours.positive_infinity = ours.positive_infinity.wrapping_add(theirs.positive_infinity);
            ours.nan = ours.nan.wrapping_add(theirs.nan);
        }
        if self.count == 0 {
            self.release();
        }
    }

    /// Number of values: insertions less retractions.
    pub fn count(&self) -> i64 {
        self.count
    }

    /// The value at the lower rank `floor(p * (count - 1))`, within the mapping's relative error.
    ///
    /// `None` without values, or when `p` is not in `0..=1`.
    pub fn quantile(&self, mapping: &Mapping, p: f64) -> Option<f64> {
        let mut result = [None];
        self.quantiles_into(mapping, &[p], &mut result);
        result[0]
    }

    /// [`Bins::quantile`] of each of `ps`, in their order, in one pass over the bins.
    pub fn quantiles(&self, mapping: &Mapping, ps: &[f64]) -> Vec<Option<f64>> {
        let mut results = vec![None; ps.len()];
        self.quantiles_into(mapping, ps, &mut results);
        results
    }

    /// Bytes held, on the heap and off.
    pub fn size_bytes(&self) -> usize {
        let negative = self.negative.as_ref().map_or(0, |store| size_of::<Store>() + store.heap_bytes());
        let non_finite = self.non_finite.as_ref().map_or(0, |_| size_of::<NonFinite>());
        size_of::<Self>() + self.positive.heap_bytes() + negative + non_finite
    }

    #[cold]
    #[inline(never)]
    fn add_uncommon(&mut self, mapping: &Mapping, value: f64, weight: i64) {
        if value.is_finite() {
            let negative = self.negative.get_or_insert_with(|| Box::new(Store::new()));
            return negative.add(mapping.key(-value), weight);
        }
        let counts = self.non_finite.get_or_insert_default();
        let count = match value {
            f64::INFINITY => &mut counts.positive_infinity,
            f64::NEG_INFINITY => &mut counts.negative_infinity,
            _ => &mut counts.nan,
        };
        *count = count.wrapping_add(weight);
    }

    /// Gives memory back if no value is left. Cheap: a bin is looked at once, then it is gone.
    #[cold]
    fn release(&mut self) {
        if *self == Self::default() {
            *self = Self::default();
        }
    }

    /// The counts of negative values, if any is not zero.
    fn negative(&self) -> Option<&Store> {
        self.negative.as_deref().filter(|store| !store.is_zero())
    }

    /// The counts of infinities and NaNs, if any is not zero.
    fn non_finite(&self) -> Option<&NonFinite> {
        self.non_finite.as_deref().filter(|counts| **counts != NonFinite::default())
    }

    /// Bins in ascending order of value, with their counts.
    fn ascending(&self, mapping: &Mapping) -> impl Iterator<Item = (f64, i64)> {
        let non_finite = self.non_finite.as_deref().cloned().unwrap_or_default();
        let negative = self.negative.as_deref().into_iter().flat_map(|store| store.iter().rev());
        std::iter::once((f64::NEG_INFINITY, non_finite.negative_infinity))
            .chain(negative.map(|(key, count)| (-mapping.value(key), count)))
            .chain(std::iter::once((0.0, self.zero)))
            .chain(self.positive.iter().map(|(key, count)| (mapping.value(key), count)))
            .chain([(f64::INFINITY, non_finite.positive_infinity), (f64::NAN, non_finite.nan)])
    }

    fn quantiles_into(&self, mapping: &Mapping, ps: &[f64], results: &mut [Option<f64>]) {
        let rank = |p: f64| ((p * (self.count - 1) as f64) as i64).min(self.count - 1);
        let mut wanted: Vec<(i64, usize)> = Vec::with_capacity(ps.len());
        if self.count > 0 {
            let valid = ps.iter().enumerate().filter(|(_, p)| (0.0..=1.0).contains(*p));
            wanted.extend(valid.map(|(slot, p)| (rank(*p), slot)));
        }
        wanted.sort_unstable();
        let mut wanted = wanted.into_iter().peekable();
        let mut seen = 0_i64;
        for (value, count) in self.ascending(mapping) {
            seen = seen.wrapping_add(count);
            while let Some((_, slot)) = wanted.next_if(|(rank, _)| *rank < seen) {
                results[slot] = Some(value);
            }
            if wanted.peek().is_none() {
                return;
            }
        }
    }
}

impl PartialEq for Bins {
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count
            && self.zero == other.zero
            && self.positive == other.positive
            && self.negative() == other.negative()
            && self.non_finite() == other.non_finite()
    }
}

/// A quantile sketch: [`Bins`] and the [`Mapping`] they were counted with.
///
/// ```
/// use undercurrent::detect::quantile_sketch::Sketch;
/// let mut latency_ms = Sketch::new(0.01);
/// for value in 1..=1000 {
///     latency_ms.add(f64::from(value), 1);
/// }
/// let p99 = latency_ms.quantile(0.99).unwrap();
/// assert!((p99 / 990.0 - 1.0).abs() <= 0.01);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Sketch {
    mapping: Mapping,
    bins: Bins,
}

impl Sketch {
    /// An empty sketch. Panics unless the relative error [is valid](Mapping::is_valid).
    pub fn new(relative_error: f64) -> Self {
        Self { mapping: Mapping::new(relative_error), bins: Bins::default() }
    }

    /// See [`Bins::add`].
    #[inline(always)]
    pub fn add(&mut self, value: f64, weight: i64) {
        self.bins.add(&self.mapping, value, weight);
    }

    /// Adds all values of `other`. Panics when the two have different relative errors.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.mapping, other.mapping, "sketches of different relative errors do not merge");
        self.bins.merge(&other.bins);
    }

    /// See [`Bins::count`].
    pub fn count(&self) -> i64 {
        self.bins.count()
    }

    /// See [`Bins::quantile`].
    pub fn quantile(&self, p: f64) -> Option<f64> {
        self.bins.quantile(&self.mapping, p)
    }

    /// See [`Bins::quantiles`].
    pub fn quantiles(&self, ps: &[f64]) -> Vec<Option<f64>> {
        self.bins.quantiles(&self.mapping, ps)
    }

    /// The mapping of values to bins.
    pub fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// The counts.
    pub fn bins(&self) -> &Bins {
        &self.bins
    }

    /// Bytes held, on the heap and off.
    pub fn size_bytes(&self) -> usize {
        size_of::<Mapping>() + self.bins.size_bytes()
    }
}
