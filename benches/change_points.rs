//! Workload: nearly normal noise without a change point, where the candidates of plain PELT never shrink; and a level
//! that moves by 4 deviations every 100 values. Each value is appended and, on the quiet series, the segmentation asked
//! for after each. Then a value comes late by 10, and one late by half of the series, and the segmentation is asked for.
//! Each figure is the best of five runs, in microseconds a value, or a late value; and bytes a value.
//!
//! `cargo bench --bench change_points`

#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use undercurrent::detect::change_points::{Cost, Online, Options};

fn main() {
    let mut random = StdRng::seed_from_u64(7);
    for len in [10_000_u32, 100_000] {
        let quiet: Vec<f64> = (0..len).map(|_| noise(&mut random)).collect();
        let steps: Vec<f64> = (0..len).map(|at| noise(&mut random) + 4.0 * f64::from(at / 100 % 2)).collect();
        for cost in [Cost::Mean, Cost::MeanVariance] {
            report(&format!("{cost:?}, quiet, {len} values"), cost, &quiet, 1);
            report(&format!("{cost:?}, steps, {len} values"), cost, &steps, 1000);
        }
    }
}

/// The sum of twelve uniform variates: mean 0, deviation 1.
fn noise(random: &mut StdRng) -> f64 {
    (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0
}

fn appended(cost: Cost, values: &[f64], values_per_read: usize) -> Online {
    let mut online = Online::new(Options { cost, ..Options::default() }).unwrap();
    for chunk in values.chunks(values_per_read) {
        chunk.iter().for_each(|value| online.push(*value));
        black_box(online.segmentation());
    }
    online
}

fn seconds(runs: usize, mut run: impl FnMut()) -> f64 {
    let seconds = (0..runs).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    });
    seconds.fold(f64::INFINITY, f64::min)
}

fn report(name: &str, cost: Cost, values: &[f64], values_per_read: usize) {
    let append = seconds(5, || drop(black_box(appended(cost, values, values_per_read))));
    let mut online = appended(cost, values, values_per_read);
    let mut late_by = |late_by| {
        seconds(5, || {
            online.insert(values.len() - late_by, 0.5);
            black_box(online.segmentation());
        })
    };
    let (late, very_late) = (late_by(10), late_by(values.len() / 2));
    println!(
        "{name:<40}{:>8.2} us appended{:>10.1} us late by 10{:>12.1} us late by half{:>8.1} bytes a value",
        append * 1e6 / values.len() as f64,
        late * 1e6,
        very_late * 1e6,
        online.size_bytes() as f64 / values.len() as f64,
    );
}
