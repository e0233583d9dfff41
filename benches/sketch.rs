//! Workload: lognormal latencies in milliseconds (median 20, sigma 0.9), 4 M of them, in memory.
//! Adding them to one sketch and to one exact sum; the same over 1000 of each, keys at random. Then
//! the same rows as a table in batches of 8192, grouped by the 1000 keys with `target_partitions` 1:
//! DataFusion's own aggregates beside ours. Each figure is the best of five runs, in million values
//! per second of one core.
//!
//! `cargo bench --bench sketch`

#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{Float64Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use undercurrent::detect::exact_sum::ExactSum;
use undercurrent::detect::quantile_sketch::{Bins, Mapping, Sketch};
use undercurrent::sql::functions;

const VALUES: usize = 4_000_000;
const KEYS: usize = 1000;

fn main() {
    let mut random = StdRng::seed_from_u64(7);
    let values: Vec<f64> = (0..VALUES).map(|_| lognormal(&mut random)).collect();
    let keys: Vec<usize> = (0..VALUES).map(|_| random.random_range(0..KEYS)).collect();
    numerics(&values, &keys);
    queries(values, &keys);
}

/// Box and Muller's normal variate, made lognormal.
fn lognormal(random: &mut StdRng) -> f64 {
    let (u, v) = (1.0 - random.random::<f64>(), random.random::<f64>());
    (20_f64.ln() + 0.9 * (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()).exp()
}

fn report(name: &str, mut run: impl FnMut()) {
    let seconds = (0..5).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    });
    let best = seconds.fold(f64::INFINITY, f64::min);
    println!("{name:<48}{:>8.1} M values/s", VALUES as f64 / best / 1e6);
}

fn numerics(values: &[f64], keys: &[usize]) {
    let mapping = Mapping::new(0.01);
    report("plain f64 sum", || {
        black_box(values.iter().fold(0.0, |sum, value| black_box(sum + value)));
    });
    report("sketch, add", || {
        let mut sketch = Sketch::new(0.01);
        values.iter().for_each(|value| sketch.add(*value, 1));
        black_box(sketch.quantile(0.99));
    });
    report("sketch, add to one of 1000", || {
        let mut bins = vec![Bins::default(); KEYS];
        values.iter().zip(keys).for_each(|(value, key)| bins[*key].add(&mapping, *value, 1));
        black_box(bins[0].quantile(&mapping, 0.99));
    });
    report("exact sum, add", || {
        let mut sum = ExactSum::default();
        values.iter().for_each(|value| sum.add(*value, 1));
        black_box(sum.value());
    });
    report("exact sum, add to one of 1000", || {
        let mut sums = vec![ExactSum::default(); KEYS];
        values.iter().zip(keys).for_each(|(value, key)| sums[*key].add(*value, 1));
        black_box(sums[0].value());
    });
    report("exact sum, add_square", || {
        let mut sum = ExactSum::default();
        values.iter().for_each(|value| sum.add_square(*value, 1));
        black_box(sum.value());
    });
}

fn queries(values: Vec<f64>, keys: &[usize]) {
    let schema =
        Schema::new(vec![Field::new("k", DataType::Int64, false), Field::new("x", DataType::Float64, false)]);
    let schema = Arc::new(schema);
    let keys: Int64Array = keys.iter().map(|key| Some(*key as i64)).collect();
    let columns: Vec<arrow::array::ArrayRef> = vec![Arc::new(keys), Arc::new(Float64Array::from(values))];
    let rows = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
    let batches: Vec<_> =
        (0..VALUES).step_by(8192).map(|from| rows.slice(from, 8192.min(VALUES - from))).collect();
    let table = Arc::new(MemTable::try_new(schema, vec![batches]).unwrap());
    let context = || {
        let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
        drop(context.register_table("t", Arc::clone(&table) as _).unwrap());
        context
    };
    let (stock, ours) = (context(), context());
    functions::register(&ours);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let compare = |name: &str, context: &SessionContext, aggregate: &str| {
        let sql = format!("SELECT k, {aggregate} FROM t GROUP BY k");
        report(&format!("{name}, {aggregate}"), || {
            let result = runtime.block_on(async { context.sql(&sql).await?.collect().await });
            black_box(result.unwrap());
        });
    };
    compare("DataFusion", &stock, "approx_percentile_cont(x, 0.99)");
    compare("ours", &ours, "approx_percentile(x, 0.99)");
    for aggregate in ["sum(x)", "avg(x)", "stddev(x)"] {
        compare("DataFusion", &stock, aggregate);
        compare("ours", &ours, aggregate);
    }
}
