//! Change points: where the level of a series, or its level and spread, became another.
//!
//! A segmentation costs, for each segment, how badly one level (one normal distribution) describes it, plus a
//! penalty. The one that costs least is computed exactly, as by PELT (Killick, Fearnhead, Eckley 2012) with a
//! least segment length, and kept up to date when values are appended ([`Online`]). How begins of segments
//! are ruled out is told in `envelope` (mean) and `blocks` (mean and variance).
//!
//! # A function of the sequence
//!
//! A cost is in scales, and most penalties grow with the length: both would change with every value, and all
//! of the optimum with them. So by default ([`Basis::Leading`]) the scale is that of the first 15/16 or more
//! of the series, rounded, and the length is rounded up to a power of two. What the optimum is then depends
//! on the sequence of values alone, not on how it came; on a quiet series the measure hardly changes, and at
//! worst 16 times while the series doubles. [`Basis::Whole`] asks for the criteria to the letter.
//!
//! # Totality
//!
//! Values that are not finite are passed over: they belong to the segment of the value before. Scaled values
//! are bounded by 1e140. Sums are in two doubles around the median, so that segments far from it lose
//! precision: costs of values `x` scales away are good to about `x²` times 1e-16 each.

mod blocks;
mod certain;
mod envelope;
mod online;
mod scale;
mod solver;
mod sums;
#[cfg(test)]
mod tests;

pub use online::Online;

/// Least length of a segment unless another is asked for.
pub const SEGMENT_LEN_MIN_DEFAULT: usize = 10;
/// Largest least length of a segment.
pub const SEGMENT_LEN_MIN_MAX: usize = 1_000_000;

/// What one segment is described by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cost {
    /// A level: the sum of squared distances from it, in scales.
    #[default]
    Mean,
    /// A level and a spread: length times the logarithm of the variance (plus 1e-6), in scales.
    MeanVariance,
}

/// The price of a segment, in the units of the cost, for `n` values and `p` parameters of a change point (its
/// place, and the level: 2; with the spread: 3).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Penalty {
    /// Akaike's `2 p`: many change points.
    Aic,
    /// Schwarz's `p ln n`.
    Bic,
    /// Modified BIC of Zhang and Siegmund (2007) without its sum over segment lengths: `(p + 1) ln n`.
    #[default]
    Mbic,
    /// A number, finite and not negative.
    Value(f64),
}

/// What a series is divided by before it is described.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scaling {
    /// 1: values are scaled by the caller, or the penalty is in squared units of theirs.
    Raw,
    /// Their standard deviation, changes of level and all: what counts is a change that explains a good part
    /// of it.
    #[default]
    Deviation,
    /// The standard deviation of their noise, from the median absolute difference of neighbours: what counts
    /// is any change that white noise would not show. Too sensitive for series that drift.
    Differences,
}

/// The values that the scale is of, and the `n` of penalties.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Basis {
    /// All values. Each one changes the measure, so that all is computed anew whenever it is asked for.
    Whole,
    /// The longest begin of the series whose length has at most five binary digits before its last zeros (all
    /// of up to 31 values, never less than 15/16 of them); `n` is that length, rounded up to a power of two.
    #[default]
    Leading,
}

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// What one segment is described by.
    pub cost: Cost,
    /// The price of a segment.
    pub penalty: Penalty,
    /// What values are divided by.
    pub scaling: Scaling,
    /// The values that scale and penalty are taken from.
    pub basis: Basis,
    /// Least length of a segment, in 1..=[`SEGMENT_LEN_MIN_MAX`].
    pub segment_len_min: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cost: Cost::default(),
            penalty: Penalty::default(),
            scaling: Scaling::default(),
            basis: Basis::default(),
            segment_len_min: SEGMENT_LEN_MIN_DEFAULT,
        }
    }
}

/// An option that cannot be.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum OptionsError {
    /// The penalty is negative, infinite or not a number.
    #[error("penalty '{0}' is not a finite number from 0")]
    Penalty(f64),
    /// The least segment length is 0 or beyond [`SEGMENT_LEN_MIN_MAX`].
    #[error("least segment length '{0}' is not in 1..={SEGMENT_LEN_MIN_MAX}")]
    SegmentLenMin(usize),
}

impl Options {
    /// Whether all of them can be.
    pub fn check(&self) -> Result<(), OptionsError> {
        if let Penalty::Value(value) = self.penalty
            && !(value >= 0.0 && value.is_finite())
        {
            return Err(OptionsError::Penalty(value));
        }
        if !(1..=SEGMENT_LEN_MIN_MAX).contains(&self.segment_len_min) {
            return Err(OptionsError::SegmentLenMin(self.segment_len_min));
        }
        Ok(())
    }
}

/// Where one segment ends and another begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChangePoint {
    /// Index of the first value of the new segment.
    pub index: usize,
    /// The number of values from which on it is certain: the optimum of that begin of the series, and of each
    /// longer one up to the whole, has this very change point, and the optimum of one value fewer has not.
    /// All optima are by the measure of the whole series.
    pub certain_len: usize,
    /// Mean of the segment before.
    pub mean_before: f64,
    /// Mean of the segment that begins here.
    pub mean_after: f64,
    /// Mean after less mean before.
    pub size: f64,
    /// The size in standard deviations of the values of both segments around their means; infinite where they
    /// have none.
    pub size_deviations: f64,
}

/// The segmentation of a series that costs least.
#[derive(Clone, Debug, PartialEq)]
pub struct Segmentation {
    /// Values of the series.
    pub len: usize,
    /// By index.
    pub changes: Vec<ChangePoint>,
    /// What it costs, with a penalty for each segment; 0 for a series that is shorter than a segment.
    pub objective: f64,
    /// What values were divided by.
    pub scale: f64,
    /// The price of a segment.
    pub penalty: f64,
}

/// The optimal segmentation of a series; the same as [`Online`] has after all of its values.
///
/// ```
/// use undercurrent::detect::change_points::{Options, optimal};
/// let values: Vec<f64> = (0..60).map(|i| f64::from(i % 3) + if i < 40 { 0.0 } else { 9.0 }).collect();
/// let segmentation = optimal(&values, &Options::default())?;
/// assert_eq!(segmentation.changes.len(), 1);
/// let change = segmentation.changes[0];
/// assert_eq!((change.index, change.mean_before.round(), change.mean_after.round()), (40, 1.0, 10.0));
/// # Ok::<(), undercurrent::detect::change_points::OptionsError>(())
/// ```
pub fn optimal(values: &[f64], options: &Options) -> Result<Segmentation, OptionsError> {
    let mut online = Online::new(*options)?;
    online.splice(0, 0, values);
    Ok(online.segmentation())
}
