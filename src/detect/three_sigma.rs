//! How many deviations a value is from the values before it.

use std::collections::VecDeque;

use super::deviation::Deviation;
use super::exact_sum::ExactSum;
use super::exact_sum::moments::{Divisor, mean, variance};
use super::order_statistics::OrderStatistics;

mod series;
#[cfg(test)]
mod tests;

pub use series::Series;

/// What [`three_sigma`] is asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ThreeSigmaOptions {
    /// How many values before a point it is measured against: at least 2; `None` for all.
    pub window: Option<usize>,
    /// Deviations from the middle beyond which a value is anomalous: above 0.
    pub threshold: f64,
    /// A value with fewer values than this before it is never anomalous.
    pub min_samples: u64,
    /// The mean and the standard deviation, or the median and the robust deviation.
    pub deviation: Deviation,
}

impl Default for ThreeSigmaOptions {
    /// All values before, three standard deviations, after 100 values.
    fn default() -> Self {
        Self { window: None, threshold: 3.0, min_samples: 100, deviation: Deviation::Standard }
    }
}

impl ThreeSigmaOptions {
    /// Whether all of them can be.
    pub fn check(&self) -> Result<(), ThreeSigmaError> {
        if let Some(window @ 0..2) = self.window {
            return Err(ThreeSigmaError::Window(window));
        }
        if self.threshold.is_nan() || self.threshold <= 0.0 {
            return Err(ThreeSigmaError::Threshold(self.threshold));
        }
        Ok(())
    }
}

/// Why values cannot be judged so.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum ThreeSigmaError {
    /// The window is too short for a deviation.
    #[error("window '{0}' is not at least 2")]
    Window(usize),
    /// The threshold is not a number above zero.
    #[error("threshold '{0}' is not a number above 0")]
    Threshold(f64),
}

/// A value beside the values before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    /// Their mean, or their median.
    pub middle: f64,
    /// Their deviation.
    pub deviation: f64,
    /// The distance of the value from the middle, in units of threshold times deviation: above 1 is anomalous. Beside a
    /// deviation of zero it is zero for the middle itself and infinite for any other value.
    pub score: f64,
    /// Whether the score is above 1, after enough values.
    pub anomalous: bool,
}

/// Values to measure others against: a multiset, from which values can be taken back without a trace.
///
/// Sums are exact, so that neither the order of values nor any that were taken back make a difference.
#[derive(Clone, Debug)]
pub struct Samples {
    count: u64,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    Standard(Box<[ExactSum; 2]>),
    Robust(OrderStatistics),
}

impl Samples {
    /// No values, of which that deviation will be asked.
    pub fn new(deviation: Deviation) -> Self {
        let state = match deviation {
            Deviation::Standard => State::Standard(Box::default()),
            Deviation::Robust => State::Robust(OrderStatistics::default()),
        };
        Self { count: 0, state }
    }

    /// Finite values that are there.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Adds a value; one that is not finite is skipped and not counted.
    pub fn add(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        self.count += 1;
        match &mut self.state {
            State::Standard(sums) => {
                sums[0].add(value, 1);
                sums[1].add_square(value, 1);
            }
            State::Robust(ordered) => ordered.insert(value),
        }
    }

    /// Takes back a value that was added.
    pub fn retract(&mut self, value: f64) {
        if !value.is_finite() || self.count == 0 {
            return;
        }
        match &mut self.state {
            State::Standard(sums) => {
                sums[0].add(value, -1);
                sums[1].add_square(value, -1);
                self.count -= 1;
            }
            State::Robust(ordered) => self.count -= u64::from(ordered.remove(value)),
        }
    }

    /// Bytes on the heap, about.
    pub fn size_bytes(&self) -> usize {
        match &self.state {
            State::Standard(sums) => sums.iter().map(ExactSum::size_bytes).sum(),
            State::Robust(ordered) => ordered.size_bytes(),
        }
    }

    /// Middle and deviation; `None` of fewer than two values.
    pub fn middle_and_deviation(&self) -> Option<(f64, f64)> {
        match &self.state {
            State::Standard(sums) => {
                let count = self.count as i64;
                let variance = variance(count, &sums[0], &sums[1], Divisor::Sample)?;
                Some((mean(count, &sums[0])?, variance.sqrt()))
            }
            State::Robust(ordered) => Some((ordered.median()?, ordered.robust_deviation()?)),
        }
    }

    /// Measures a value against these; `None` if it is not finite or these are fewer than two.
    pub fn judge(&self, value: f64, options: &ThreeSigmaOptions) -> Option<Judged> {
        let (middle, deviation) = self.middle_and_deviation().filter(|_| value.is_finite())?;
        let distance = (value - middle).abs();
        let score = if distance == 0.0 { 0.0 } else { distance / (options.threshold * deviation) };
        Some(Judged { middle, deviation, score, anomalous: score > 1.0 && self.count >= options.min_samples })
    }
}

/// Measures each value against those before it, of which the `window` last ones count.
///
/// Values that are not finite, such as NaN for a missing one, are skipped: they are not among the values that others
/// are measured against and have no result, as have values with fewer than two before them. A row never changes by
/// later ones. Each takes `O(1)` exact operations, or `O(log² n)` steps for the robust deviation.
///
/// ```
/// use undercurrent::detect::three_sigma::{ThreeSigmaOptions, three_sigma};
/// let mut values: Vec<f64> = (0..200).map(|i| f64::from(i % 7)).collect();
/// values[150] = 30.0;
/// let judged = three_sigma(&values, &ThreeSigmaOptions::default()).unwrap();
/// let anomalous: Vec<usize> = (0..200).filter(|i| judged[*i].is_some_and(|judged| judged.anomalous)).collect();
/// assert_eq!(anomalous, [150]);
/// ```
pub fn three_sigma(
    values: &[f64],
    options: &ThreeSigmaOptions,
) -> Result<Vec<Option<Judged>>, ThreeSigmaError> {
    options.check()?;
    let (mut samples, mut last) = (Samples::new(options.deviation), VecDeque::new());
    let judge = |value: &f64| {
        let judged = samples.judge(*value, options);
        samples.add(*value);
        if let Some(window) = options.window.filter(|_| value.is_finite()) {
            last.push_back(*value);
            if last.len() > window {
                last.pop_front().into_iter().for_each(|oldest| samples.retract(oldest));
            }
        }
        judged
    };
    Ok(values.iter().map(judge).collect())
}
