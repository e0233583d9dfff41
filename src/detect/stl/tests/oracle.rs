//! STL as the paper words it, one fit at a time, without anything that makes it fast.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::super::*;
use super::close;

struct Slow {
    span: usize,
    is_linear: bool,
    jump: usize,
}

impl Slow {
    /// The fit at `at` (from 0, perhaps outside) over the window from `first`.
    fn fit(&self, values: &[f64], weights: &[f64], at: f64, first: usize) -> Option<f64> {
        let count = values.len();
        let window = first..first + self.span.min(count);
        let half = (at - first as f64).max(window.end as f64 - 1.0 - at);
        let half = half + (self.span.saturating_sub(count) / 2) as f64;
        let tricube = |place: usize| match (place as f64 - at).abs() / half {
            part if part <= 0.001 => 1.0,
            part if part <= 0.999 => (1.0 - part.powi(3)).powi(3),
            _ => 0.0,
        };
        let mut w: Vec<f64> = window.clone().map(|place| tricube(place) * weights[place]).collect();
        let sum: f64 = w.iter().sum();
        if sum <= 0.0 {
            return None;
        }
        w.iter_mut().for_each(|w| *w /= sum);
        let mean: f64 = w.iter().zip(window.clone()).map(|(w, place)| w * place as f64).sum();
        let spread: f64 =
            w.iter().zip(window.clone()).map(|(w, place)| w * (place as f64 - mean).powi(2)).sum();
        if self.is_linear && spread.sqrt() > 0.001 * (count as f64 - 1.0) {
            let slope = (at - mean) / spread;
            w.iter_mut().zip(window.clone()).for_each(|(w, place)| *w *= 1.0 + slope * (place as f64 - mean));
        }
        Some(w.iter().zip(&values[window]).map(|(w, value)| w * value).sum())
    }

    fn first(&self, count: usize, point: usize) -> usize {
        let length = self.span.min(count);
        (point as i64 - self.span as i64 / 2).clamp(0, (count - length) as i64) as usize
    }

    fn smooth(&self, values: &[f64], weights: &[f64]) -> Vec<f64> {
        let (last, jump) = (values.len() - 1, self.jump.min(values.len() - 1));
        let at =
            |point: usize, first| self.fit(values, weights, point as f64, first).unwrap_or(values[point]);
        let knot = |point: usize| {
            let first = self.first(values.len(), if point == last { last / jump * jump } else { point });
            at(point, first)
        };
        (0..=last)
            .map(|point| {
                let left = point / jump * jump;
                let right = (left + jump).min(last);
                let part = if right == left { 0.0 } else { (point - left) as f64 / (right - left) as f64 };
                if part == 0.0 { knot(left) } else { knot(left) * (1.0 - part) + knot(right) * part }
            })
            .collect()
    }
}

fn averages(values: &[f64], length: usize) -> Vec<f64> {
    values.windows(length).map(|window| window.iter().sum::<f64>() / length as f64).collect()
}

fn cycles(slow: &Slow, values: &[f64], weights: &[f64], period: usize) -> Vec<f64> {
    let mut smooth = vec![0.0; values.len() + 2 * period];
    for phase in 0..period {
        let every = |from: &[f64]| from.iter().skip(phase).step_by(period).copied().collect::<Vec<f64>>();
        let (series, weights) = (every(values), every(weights));
        let inner = slow.smooth(&series, &weights);
        let last_first = slow.first(series.len(), series.len());
        let before = slow.fit(&series, &weights, -1.0, 0).unwrap_or(inner[0]);
        let after = slow.fit(&series, &weights, series.len() as f64, last_first);
        let whole = [vec![before], inner.clone(), vec![after.unwrap_or(inner[inner.len() - 1])]].concat();
        whole.iter().enumerate().for_each(|(row, value)| smooth[row * period + phase] = *value);
    }
    smooth
}

fn slow_stl(
    values: &[f64],
    period: usize,
    smoothers: [Slow; 3],
    inner: usize,
    outer: usize,
) -> [Vec<f64>; 3] {
    let [seasonal, trend, low_pass] = smoothers;
    let ones = vec![1.0; values.len()];
    let minus =
        |left: &[f64], right: &[f64]| left.iter().zip(right).map(|(l, r)| l - r).collect::<Vec<f64>>();
    let (mut weights, mut season, mut level) = (ones.clone(), ones.clone(), vec![0.0; values.len()]);
    for run in 0..=outer {
        if run > 0 {
            let residual = minus(&minus(values, &season), &level);
            let mut sizes: Vec<f64> = residual.iter().map(|residual| residual.abs()).collect();
            sizes.sort_by(f64::total_cmp);
            let scale = 3.0 * (sizes[sizes.len() / 2] + sizes[(sizes.len() - 1) / 2]);
            let weight = |residual: &f64| match residual.abs() {
                size if size <= 0.001 * scale => 1.0,
                size if size <= 0.999 * scale => (1.0 - (size / scale).powi(2)).powi(2),
                _ => 0.0,
            };
            weights = residual.iter().map(weight).collect();
        }
        for _ in 0..inner {
            let smooth = cycles(&seasonal, &minus(values, &level), &weights, period);
            let low = averages(&averages(&averages(&smooth, period), period), 3);
            season = minus(&smooth[period..][..values.len()], &low_pass.smooth(&low, &ones));
            level = trend.smooth(&minus(values, &season), &weights);
        }
    }
    [level, season, weights]
}

#[test]
fn agrees_with_a_slow_stl() {
    let mut random = StdRng::seed_from_u64(1);
    for _ in 0..300 {
        let period = random.random_range(2..12);
        let points = random.random_range(2 * period..9 * period + 3);
        // A window of 3 reproduces the values, and robustness weights of rounding errors are no one's.
        let mut any = || Smoother {
            window_points: Some(2 * random.random_range(2..20) + 1),
            degree: if random.random() { Degree::Constant } else { Degree::Linear },
            jump: if random.random() { Jump::Points(random.random_range(1..8)) } else { Jump::Tenth },
        };
        let (seasonal, trend, low_pass) = (any(), any(), any());
        let (inner_iterations, outer_iterations) = (random.random_range(1..4), random.random_range(0..3));
        let options = StlOptions { seasonal, trend, low_pass, inner_iterations, outer_iterations, rounds: 1 };
        let values: Vec<f64> = (0..points)
            .map(|i| {
                let outlier = if random.random_range(0..10) == 0 { 20.0 } else { 1.0 };
                super::season(period, i) + random.random::<f64>() * outlier
            })
            .collect();
        let parts = decompose(&values, &[period], &options).unwrap();
        let slow = [seasonal, trend, low_pass].map(|smoother| {
            let span = smoother.window_points.unwrap();
            let jump = if let Jump::Points(points) = smoother.jump { points } else { span.div_ceil(10) };
            Slow { span, is_linear: smoother.degree == Degree::Linear, jump }
        });
        let [level, season, weights] = slow_stl(&values, period, slow, inner_iterations, outer_iterations);
        close(&parts.trend, &level, 1e-8);
        close(&parts.seasons[0], &season, 1e-8);
        close(&parts.weights, &weights, 1e-8);
    }
}
