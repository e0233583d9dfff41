//! The two loops of STL.

use super::loess::{Input, Loess};

/// The three smoothers and how often they run, all of it checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Plan {
    pub period: usize,
    pub seasonal: Loess,
    pub trend: Loess,
    pub low_pass: Loess,
    pub inner: usize,
    pub outer: usize,
}

/// The components of a series, all of its length.
pub(super) struct Fit {
    pub seasonal: Vec<f64>,
    pub trend: Vec<f64>,
    pub weights: Vec<f64>,
}

impl Plan {
    /// Decomposes finite values, at least two periods of them.
    pub fn fit(&self, values: &[f64]) -> Fit {
        let mut work = Work::new(self, values);
        work.inner(true);
        for _ in 0..self.outer {
            robustness_weights(values, &work.fit, &mut work.left);
            std::mem::swap(&mut work.fit.weights, &mut work.left);
            work.inner(false);
        }
        work.fit
    }
}

/// The arrays that the loops work on.
struct Work<'a> {
    plan: &'a Plan,
    values: &'a [f64],
    fit: Fit,
    /// Of the length of the series.
    left: Vec<f64>,
    /// Longer by two periods.
    cycles: Vec<f64>,
    sums: Vec<f64>,
    ones: Vec<f64>,
}

impl<'a> Work<'a> {
    fn new(plan: &'a Plan, values: &'a [f64]) -> Self {
        let count = values.len();
        let long = count + 2 * plan.period;
        let fit = Fit { seasonal: vec![0.0; count], trend: vec![0.0; count], weights: vec![1.0; count] };
        let (left, ones) = (vec![0.0; count], vec![1.0; count]);
        Self { plan, values, fit, left, cycles: vec![0.0; long], sums: vec![0.0; long], ones }
    }

    fn inner(&mut self, is_uniform: bool) {
        let (plan, count) = (self.plan, self.values.len());
        for _ in 0..plan.inner {
            subtract(self.values, &self.fit.trend, &mut self.left);
            let input = Input { values: &self.left, weights: &self.fit.weights, is_uniform };
            plan.seasonal.smooth_cycles(input, plan.period, &mut self.cycles);
            // What the cycles hold of the trend is found by three moving averages and a loess.
            self.sums.copy_from_slice(&self.cycles);
            moving_average(&mut self.sums, plan.period);
            moving_average(&mut self.sums[..count + plan.period + 1], plan.period);
            moving_average(&mut self.sums[..count + 2], 3);
            let input = Input { values: &self.sums[..count], weights: &self.ones, is_uniform: true };
            plan.low_pass.smooth(input, &mut self.left);
            subtract(&self.cycles[plan.period..][..count], &self.left, &mut self.fit.seasonal);
            subtract(self.values, &self.fit.seasonal, &mut self.left);
            let input = Input { values: &self.left, weights: &self.fit.weights, is_uniform };
            plan.trend.smooth(input, &mut self.fit.trend);
        }
    }
}

fn subtract(values: &[f64], other: &[f64], difference: &mut [f64]) {
    for ((difference, value), other) in difference.iter_mut().zip(values).zip(other) {
        *difference = value - other;
    }
}

/// Puts means of each `length` neighbours in the place of the first of them; the last `length - 1` values stay.
fn moving_average(values: &mut [f64], length: usize) {
    let mut sum: f64 = values[..length].iter().sum();
    let (divisor, last) = (length as f64, values.len() - length);
    for first in 0..last {
        let leaving = values[first];
        values[first] = sum / divisor;
        sum += values[first + length] - leaving;
    }
    values[last] = sum / divisor;
}

/// Bisquare weights of the residuals, beside six times their median size.
fn robustness_weights(values: &[f64], fit: &Fit, weights: &mut Vec<f64>) {
    let residual = |index: usize| (values[index] - fit.trend[index] - fit.seasonal[index]).abs();
    weights.clear();
    weights.extend((0..values.len()).map(residual));
    let middle = values.len() / 2;
    let (below, median, _) = weights.select_nth_unstable_by(middle, f64::total_cmp);
    let median = *median;
    let lower =
        if values.len().is_multiple_of(2) { below.iter().copied().fold(0.0, f64::max) } else { median };
    let scale = 3.0 * (median + lower);
    weights.clear();
    weights.extend((0..values.len()).map(residual).map(|size| {
        let part = size / scale;
        let rest = 1.0 - part * part;
        match size {
            _ if size <= 0.001 * scale => 1.0,
            _ if size <= 0.999 * scale => rest * rest,
            _ => 0.0,
        }
    }));
}
