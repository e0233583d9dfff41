//! Seeded chance: the same numbers on every machine.
//!
//! Only additions, multiplications, divisions and square roots of floats are used, which IEEE 754 rounds the same
//! everywhere; the exponential function of a platform's library may differ in its last bit, so it is written out here.

use std::sync::LazyLock;

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Pieces into which the quantiles of a distribution are cut.
const QUANTILES: usize = 512;

/// A stream of random numbers, one of many that belong to a seed.
pub(super) struct Chance(ChaCha8Rng);

/// What a stream of random numbers is for: those of one use do not shift when another draws more.
#[derive(Clone, Copy)]
pub(super) enum Use {
    /// Requests and all that follows from them.
    Traffic,
    /// The noise of one minute of traffic.
    Noise,
    /// The faults and deploys of one cycle.
    Schedule,
    /// The names of one instance.
    Pod,
}

impl Chance {
    /// The stream of `seed` for one use; `number` tells streams of the same use apart.
    pub fn new(seed: u64, used_for: Use, number: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(((used_for as u64) << 56) | (number & 0x00ff_ffff_ffff_ffff));
        Chance(rng)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// From 0 up to, but not, 1.
    pub fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// From `low` up to, but not, `high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// From 0 up to, but not, `count`; `count` is at least 1.
    pub fn below(&mut self, count: usize) -> usize {
        ((u64::from(self.0.next_u32()) * count as u64) >> 32) as usize
    }

    /// True in this share of all cases.
    pub fn happens(&mut self, share: f64) -> bool {
        share > 0.0 && (share >= 1.0 || self.unit() < share)
    }

    /// An identifier, never all zero.
    pub fn id<const BYTES: usize>(&mut self) -> [u8; BYTES] {
        let mut id = [0; BYTES];
        self.0.fill_bytes(&mut id);
        id[BYTES - 1] = id[BYTES - 1].max(1);
        id
    }

    /// How many of many independent events happen when `mean` are expected (Poisson).
    pub fn poisson(&mut self, mean: f64) -> u64 {
        // Knuth's product of uniforms, in parts whose exponential is not too small.
        const PART: f64 = 16.0;
        let (mut rest, mut count) = (mean, 0);
        while rest > 0.0 {
            let limit = exponential(-rest.min(PART));
            let mut product = self.unit();
            while product > limit {
                count += 1;
                product *= self.unit();
            }
            rest -= PART;
        }
        count
    }

    /// One value of `distribution`, in nanoseconds.
    pub fn sample(&mut self, distribution: &LogNormal) -> f64 {
        let bits = self.0.next_u32();
        let index = (bits >> 23) as usize;
        let within = f64::from(bits & 0x007f_ffff) / f64::from(1u32 << 23);
        let (low, high) = (distribution.quantiles[index], distribution.quantiles[index + 1]);
        low + (high - low) * within
    }
}

/// A log-normal distribution of durations, cut off at three and a half standard deviations.
pub(super) struct LogNormal {
    /// In nanoseconds, at ranks that are equally far apart.
    quantiles: Vec<f64>,
}

impl LogNormal {
    /// Half of all values are below `median_ms` milliseconds; `spread` is the standard deviation of their logarithm.
    pub fn new(median_ms: f64, spread: f64) -> Self {
        let quantile = |z: &f64| median_ms * 1e6 * exponential(spread * z);
        LogNormal { quantiles: NORMAL_QUANTILES.iter().map(quantile).collect() }
    }

    pub fn median_ns(&self) -> f64 {
        self.quantiles[QUANTILES / 2]
    }
}

/// Quantiles of the standard normal distribution.
static NORMAL_QUANTILES: LazyLock<Vec<f64>> = LazyLock::new(|| {
    const STEP: f64 = 1.0 / 1024.0;
    const STEPS: i32 = 7 * 1024;
    let z = |step: i32| f64::from(step) * STEP - 3.5;
    let density = |step: i32| exponential(-z(step) * z(step) / 2.0);
    let mut area = vec![0.0];
    for step in 0..STEPS {
        let below = area[area.len() - 1];
        area.push(below + (density(step) + density(step + 1)) / 2.0);
    }
    let whole = area[area.len() - 1];
    let mut step = 0;
    let quantile = |rank: usize| {
        let wanted = whole * rank as f64 / QUANTILES as f64;
        while step + 1 < STEPS && area[step as usize + 1] < wanted {
            step += 1;
        }
        let (low, high) = (area[step as usize], area[step as usize + 1]);
        z(step) + STEP * (wanted - low) / (high - low)
    };
    (0..=QUANTILES).map(quantile).collect()
});

/// The exponential function, to twelve digits, for exponents from -20 to 20.
fn exponential(exponent: f64) -> f64 {
    const HALVINGS: u32 = 10;
    const TERMS: u32 = 8;
    let small = exponent / f64::from(1u32 << HALVINGS);
    let series = (1..=TERMS).rev().fold(1.0, |sum, term| 1.0 + sum * small / f64::from(term));
    (0..HALVINGS).fold(series, |power, _| power * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_near_those_of_the_library() {
        for exponent in [-18.0, -2.5, -1e-3, 0.0, 0.7, 3.0, 12.0] {
            let relative = exponential(exponent) / f64::exp(exponent) - 1.0;
            assert!(relative.abs() < 1e-11, "{exponent}: {relative}");
        }
    }

    #[test]
    fn durations_have_their_median_and_spread() {
        let mut chance = Chance::new(1, Use::Traffic, 0);
        let distribution = LogNormal::new(10.0, 0.5);
        let mut values: Vec<f64> = (0..20_001).map(|_| chance.sample(&distribution) / 1e6).collect();
        values.sort_by(f64::total_cmp);
        let quantile = |rank: f64| values[(rank * 20_000.0) as usize];
        assert!((quantile(0.5) - 10.0).abs() < 0.3, "{}", quantile(0.5));
        // One standard deviation above the median: rank 0.8413.
        let expected = 10.0 * f64::exp(0.5);
        assert!((quantile(0.8413) / expected - 1.0).abs() < 0.05, "{}", quantile(0.8413));
    }

    #[test]
    fn counts_have_the_mean_and_variance_of_poisson() {
        let mut chance = Chance::new(2, Use::Traffic, 0);
        for mean in [0.3, 7.0, 50.0] {
            let counts: Vec<f64> = (0..20_000).map(|_| chance.poisson(mean) as f64).collect();
            let average = counts.iter().sum::<f64>() / counts.len() as f64;
            let variance =
                counts.iter().map(|c| (c - average) * (c - average)).sum::<f64>() / counts.len() as f64;
            assert!((average / mean - 1.0).abs() < 0.05, "mean {average} of {mean}");
            assert!((variance / mean - 1.0).abs() < 0.08, "variance {variance} of {mean}");
        }
    }

    #[test]
    fn streams_of_one_seed_differ() {
        let first = |used_for, number| Chance::new(7, used_for, number).number();
        assert_eq!(first(Use::Pod, 3), first(Use::Pod, 3));
        assert_ne!(first(Use::Pod, 3), first(Use::Pod, 4));
        assert_ne!(first(Use::Pod, 3), first(Use::Noise, 3));
    }
}
