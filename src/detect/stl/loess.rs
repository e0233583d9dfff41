//! Local regression (loess) on an even grid, for one series and for the cycles of a series side by side.
//!
//! A fitted value is a weighted mean of the values around it. Where no value has a weight of its own, the
//! weights of that mean are the same wherever the window lies symmetrically around its point, so that they
//! are computed once; and the cycle-subseries of STL, which are as many as a period has points but all of one
//! or two lengths, are smoothed by whole cycles at a time. That is why this is not left to a crate: it is some eight
//! times as fast as one that computes each weight where it is needed.

use std::ops::Range;

/// Values that are worked on at once, so that compilers make vectors of them.
const LANES: usize = 8;
/// Nearer to the point than this part of the half width, a weight is 1.
const NEAR: f64 = 0.001;
/// Farther from the point than this part of the half width, a weight is 0.
const FAR: f64 = 0.999;

/// One loess smoother.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Loess {
    /// Points that each fit looks at, odd.
    pub span: usize,
    /// Whether lines are fitted and not constants.
    pub is_linear: bool,
    /// Every so many points are fitted; those between are interpolated.
    pub jump: usize,
}

/// What a smoother reads.
#[derive(Clone, Copy)]
pub(super) struct Input<'a> {
    pub values: &'a [f64],
    /// Robustness weights, as many as values.
    pub weights: &'a [f64],
    /// Whether all weights are 1.
    pub is_uniform: bool,
}

/// Weighted sums over a window, of places counted from the point that is fitted.
#[derive(Clone, Copy, Default)]
struct Moments {
    weight: f64,
    place: f64,
    place_square: f64,
    value: f64,
    value_place: f64,
}

impl Moments {
    /// The factors of the mean value and of the mean product of value and place in the fitted value.
    ///
    /// `None` without any weight. `reach` is the distance from the first to the last point of the series, beside
    /// which places must be spread enough for a line.
    fn line(&self, is_linear: bool, reach: f64) -> Option<[f64; 2]> {
        if self.weight <= 0.0 || self.weight.is_nan() {
            return None;
        }
        let mean = self.place / self.weight;
        let spread = self.place_square / self.weight - mean * mean;
        if !is_linear || spread.sqrt() <= 0.001 * reach || spread.is_nan() || spread <= 0.0 {
            return Some([1.0, 0.0]);
        }
        let slope = -mean / spread;
        Some([1.0 - slope * mean, slope])
    }

    /// The fitted value.
    fn fitted(&self, is_linear: bool, reach: f64) -> Option<f64> {
        let [of_value, of_product] = self.line(is_linear, reach)?;
        Some((of_value * self.value + of_product * self.value_place) / self.weight)
    }
}

impl Loess {
    /// The points that the fit at `point` of `count` looks at: as symmetric as the ends allow.
    fn window(&self, count: usize, point: usize) -> Range<usize> {
        let length = self.span.min(count);
        let first = (point + 1).saturating_sub(self.span.div_ceil(2)).min(count - length);
        first..first + length
    }

    /// The points to be fitted, in order, with their windows.
    ///
    /// After the last multiple of the jump comes the last point, with the former's window, as in the published
    /// program.
    fn points(self, count: usize) -> impl Iterator<Item = (usize, Range<usize>)> {
        let jump = self.jump.clamp(1, (count - 1).max(1));
        let last_fitted = (count - 1) / jump * jump;
        let last = (last_fitted != count - 1).then(|| (count - 1, self.window(count, last_fitted)));
        (0..count).step_by(jump).map(move |point| (point, self.window(count, point))).chain(last)
    }

    /// Tricube weights of `length` points seen from `at`, counted from the first and perhaps outside.
    fn kernel(&self, kernel: &mut Vec<f64>, count: usize, length: usize, at: f64) {
        let half = at.max(length as f64 - 1.0 - at) + (self.span.saturating_sub(count) / 2) as f64;
        kernel.clear();
        kernel.extend((0..length).map(|place| {
            let distance = (place as f64 - at).abs();
            let part = distance / half;
            let rest = 1.0 - part * part * part;
            let weight = if distance <= NEAR * half { 1.0 } else { rest * rest * rest };
            if distance <= FAR * half { weight } else { 0.0 }
        }));
    }

    /// Smooths a series of at least two values into `smooth`, of the same length.
    pub fn smooth(&self, input: Input<'_>, smooth: &mut [f64]) {
        let count = input.values.len();
        let reach = count as f64 - 1.0;
        let (mut kernel, mut centered) = (vec![], vec![]);
        if self.span <= count {
            self.kernel(&mut centered, count, self.span, (self.span / 2) as f64);
        }
        let centered_sum: f64 = centered.iter().sum();
        let mut previous = 0;
        for (point, window) in self.points(count) {
            let is_centered = !centered.is_empty() && point == window.start + self.span / 2;
            let values = &input.values[window.clone()];
            smooth[point] = if is_centered && input.is_uniform {
                dot(&centered, values) / centered_sum
            } else {
                let at = point as f64 - window.start as f64;
                if !is_centered {
                    self.kernel(&mut kernel, count, window.len(), at);
                }
                let kernel = if is_centered { &centered } else { &kernel };
                let moments = moments(kernel, &input.weights[window], values, at);
                moments.fitted(self.is_linear, reach).unwrap_or(input.values[point])
            };
            interpolate(smooth, 1, previous, point);
            previous = point;
        }
    }

    /// Smooths each of the `period` cycle-subseries of a series of at least two periods.
    ///
    /// `smooth` is longer by a period at either end, to which the subseries are continued.
    pub fn smooth_cycles(&self, input: Input<'_>, period: usize, smooth: &mut [f64]) {
        let (cycles, rest) = (input.values.len() / period, input.values.len() % period);
        for (phases, count) in [(0..rest, cycles + 1), (rest..period, cycles)] {
            let subseries = Subseries { loess: *self, input, period, phases, count };
            subseries.smooth(smooth);
        }
    }
}

/// Cycle-subseries of one length.
struct Subseries<'a> {
    loess: Loess,
    input: Input<'a>,
    period: usize,
    phases: Range<usize>,
    count: usize,
}

impl Subseries<'_> {
    fn smooth(&self, smooth: &mut [f64]) {
        if self.phases.is_empty() {
            return;
        }
        let mut kernel = vec![];
        let mut previous = 0;
        for (point, window) in self.loess.points(self.count) {
            self.fit(&mut kernel, point as f64, &window, point + 1, smooth);
            self.repair(smooth, point + 1, |place| self.input.values[place - self.period]);
            interpolate_rows(smooth, self.period, &self.phases, previous + 1, point + 1);
            previous = point;
        }
        let length = self.loess.span.min(self.count);
        self.fit(&mut kernel, -1.0, &(0..length), 0, smooth);
        self.fit(&mut kernel, self.count as f64, &(self.count - length..self.count), self.count + 1, smooth);
        for (row, inner) in [(0, 1), (self.count + 1, self.count)] {
            for phase in self.phases.clone() {
                if smooth[row * self.period + phase].is_nan() {
                    smooth[row * self.period + phase] = smooth[inner * self.period + phase];
                }
            }
        }
    }

    /// Puts a value in the place of each fit of `row` that had no weight.
    fn repair(&self, smooth: &mut [f64], row: usize, value: impl Fn(usize) -> f64) {
        for place in self.phases.clone().map(|phase| row * self.period + phase) {
            if smooth[place].is_nan() {
                smooth[place] = value(place);
            }
        }
    }

    /// Fits every phase at cycle `at`, which may be one outside, into `row` of `smooth`: NaN where no weight is.
    fn fit(&self, kernel: &mut Vec<f64>, at: f64, window: &Range<usize>, row: usize, smooth: &mut [f64]) {
        let at = at - window.start as f64;
        self.loess.kernel(kernel, self.count, window.len(), at);
        let first = row * self.period;
        let fitted = &mut smooth[first + self.phases.start..first + self.phases.end];
        if self.input.is_uniform {
            self.mean(kernel, at, window, fitted)
        } else {
            self.each(kernel, at, window, fitted)
        }
    }

    /// Without weights: one weighted mean of cycles for all phases.
    fn mean(&self, kernel: &[f64], at: f64, window: &Range<usize>, fitted: &mut [f64]) {
        let ones = &self.input.weights[..kernel.len()];
        let moments = moments(kernel, ones, ones, at);
        let line = moments.line(self.loess.is_linear, self.count as f64 - 1.0);
        let [of_value, of_product] = line.unwrap_or([f64::NAN; 2]);
        fitted.fill(0.0);
        for (place, (weight, cycle)) in kernel.iter().zip(window.clone()).enumerate() {
            let factor = weight / moments.weight * (of_value + of_product * (place as f64 - at));
            let first = cycle * self.period;
            let values = &self.input.values[first + self.phases.start..first + self.phases.end];
            for (fitted, value) in fitted.iter_mut().zip(values) {
                *fitted += factor * value;
            }
        }
    }

    /// With weights: a fit for each phase, some phases at a time.
    fn each(&self, kernel: &[f64], at: f64, window: &Range<usize>, fitted: &mut [f64]) {
        for (block, fitted) in fitted.chunks_mut(LANES).enumerate() {
            let mut sums = [[0.0; LANES]; 5];
            let mut first = window.start * self.period + self.phases.start + block * LANES;
            for (place, tricube) in kernel.iter().enumerate() {
                let place = place as f64 - at;
                let weights = &self.input.weights[first..first + fitted.len()];
                let values = &self.input.values[first..first + fitted.len()];
                for (lane, (weight, value)) in weights.iter().zip(values).enumerate() {
                    add(&mut sums, lane, tricube * weight, place, *value);
                }
                first += self.period;
            }
            for (lane, fitted) in fitted.iter_mut().enumerate() {
                let moments = at_lane(&sums, lane);
                *fitted = moments.fitted(self.loess.is_linear, self.count as f64 - 1.0).unwrap_or(f64::NAN);
            }
        }
    }
}

#[inline(always)]
fn add(sums: &mut [[f64; LANES]; 5], lane: usize, weight: f64, place: f64, value: f64) {
    sums[0][lane] += weight;
    sums[1][lane] += weight * place;
    sums[2][lane] += weight * place * place;
    sums[3][lane] += weight * value;
    sums[4][lane] += weight * value * place;
}

fn at_lane(sums: &[[f64; LANES]; 5], lane: usize) -> Moments {
    let [weight, place, place_square, value, value_place] = sums.map(|sum| sum[lane]);
    Moments { weight, place, place_square, value, value_place }
}

fn moments(kernel: &[f64], weights: &[f64], values: &[f64], at: f64) -> Moments {
    let mut sums = [[0.0; LANES]; 5];
    let blocks = kernel.chunks(LANES).zip(weights.chunks(LANES)).zip(values.chunks(LANES));
    for (block, ((kernel, weights), values)) in blocks.enumerate() {
        let first = (block * LANES) as f64 - at;
        for (lane, ((tricube, weight), value)) in kernel.iter().zip(weights).zip(values).enumerate() {
            add(&mut sums, lane, tricube * weight, first + lane as f64, *value);
        }
    }
    let [weight, place, place_square, value, value_place] = sums.map(|sum| sum.iter().sum());
    Moments { weight, place, place_square, value, value_place }
}

/// The scalar product.
fn dot(left: &[f64], right: &[f64]) -> f64 {
    let mut sums = [0.0; LANES];
    let (left, left_rest) = left.as_chunks::<LANES>();
    let (right, right_rest) = right.as_chunks::<LANES>();
    for (left, right) in left.iter().zip(right) {
        for (sum, (left, right)) in sums.iter_mut().zip(left.iter().zip(right)) {
            *sum += left * right;
        }
    }
    sums.iter().sum::<f64>() + left_rest.iter().zip(right_rest).map(|(left, right)| left * right).sum::<f64>()
}

/// Fills in what is between two fitted places of a sequence whose members are `stride` apart.
fn interpolate(values: &mut [f64], stride: usize, from: usize, to: usize) {
    if to <= from + 1 {
        return;
    }
    let start = values[from * stride];
    let step = (values[to * stride] - start) / (to - from) as f64;
    for place in from + 1..to {
        values[place * stride] = start + step * (place - from) as f64;
    }
}

fn interpolate_rows(values: &mut [f64], period: usize, phases: &Range<usize>, from: usize, to: usize) {
    for phase in phases.clone() {
        interpolate(&mut values[phase..], period, from, to);
    }
}
