//! Workload: half a million rows of 4, 6, 16 and 64 features in memory, half of them normal variates and half lognormal. A
//! forest of 100 trees of 256 rows is trained on them, and scores them all; the first rows also one by
//! one, down trees of nodes with children, as forests are usually kept; of 6 features
//! also by the crate extended-isolation-forest with extension level 0, which is the same algorithm. Each figure is the best of five
//! runs, in million rows per second that the thread was on a core (on the clock, where Linux does not tell).
//!
//! `cargo bench --bench isolation_forest`

#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::time::Instant;

use extended_isolation_forest::{Forest as OtherForest, ForestOptions};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use undercurrent::detect::isolation_forest::{Forest, Options};

const ROWS: usize = 500_000;
/// Of those scored one by one.
const ROWS_SINGLE: usize = 10_000;

fn main() {
    for (features, sample_size) in [(4, 256), (6, 256), (16, 256), (64, 256), (6, 1024)] {
        println!("{features} features, samples of {sample_size} rows");
        let mut random = StdRng::seed_from_u64(7);
        let columns: Vec<Vec<f64>> =
            (0..features).map(|feature| column(feature % 2 == 1, &mut random)).collect();
        let columns: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
        let options = Options { sample_size, ..Options::default() };
        let forest = Forest::train(&columns, &options).unwrap();
        println!("  {} bytes", forest.to_bytes().len());
        report("train", ROWS, || {
            black_box(Forest::train(&columns, &options).unwrap());
        });
        report("score together", ROWS, || {
            black_box(forest.scores(&columns).unwrap());
        });
        let mut row = vec![0.0; features];
        report("score one by one", ROWS_SINGLE, || {
            for at in 0..ROWS_SINGLE {
                row.iter_mut().zip(&columns).for_each(|(value, column)| *value = column[at]);
                black_box(forest.score(&row).unwrap());
            }
        });
        if let ([a, b, c, d, e, f], 256) = (columns.as_slice(), sample_size) {
            let rows: Vec<[f64; 6]> =
                (0..ROWS).map(|at| [a[at], b[at], c[at], d[at], e[at], f[at]]).collect();
            compare(&rows, &options);
        }
    }
}

fn compare(rows: &[[f64; 6]], options: &Options) {
    let options = ForestOptions {
        n_trees: options.trees as usize,
        sample_size: options.sample_size as usize,
        max_tree_depth: None,
        extension_level: 0,
    };
    let forest = OtherForest::from_slice(rows, &options).unwrap();
    report("the crate's train", rows.len(), || {
        black_box(OtherForest::from_slice(rows, &options).unwrap());
    });
    report("the crate's score", ROWS_SINGLE, || {
        rows[..ROWS_SINGLE].iter().for_each(|row| _ = black_box(forest.score(row)));
    });
}

/// Box and Muller's normal variates, or those made lognormal.
fn column(lognormal: bool, random: &mut StdRng) -> Vec<f64> {
    let normal = (0..ROWS).map(|_| {
        let (u, v) = (1.0 - random.random::<f64>(), random.random::<f64>());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    });
    if lognormal {
        normal.map(|normal| (20_f64.ln() + 0.9 * normal).exp()).collect()
    } else {
        normal.collect()
    }
}

/// How long this thread has been on a core.
fn busy_seconds() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(status.split(' ').next()?.parse::<f64>().ok()? / 1e9)
}

fn report(name: &str, rows: usize, mut run: impl FnMut()) {
    let seconds = (0..5).map(|_| {
        let (clock, busy) = (Instant::now(), busy_seconds());
        run();
        let busy = busy_seconds().zip(busy).map(|(after, before)| after - before);
        busy.unwrap_or_else(|| clock.elapsed().as_secs_f64())
    });
    let best = seconds.fold(f64::INFINITY, f64::min);
    println!("  {name:<20}{:>8.3} M rows/s", rows as f64 / best / 1e6);
}
