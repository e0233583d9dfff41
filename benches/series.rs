//! Workload: detectors in views over 100 series of 14 days of minutes (20,160 rows each), to each of which a minute is
//! appended a tick: end to end on one worker, from an Arrow batch to the closed view. Beside it the same detectors with
//! `row_number()` over the same window, which has the partitions computed anew, in the same run. Then
//! a minute comes late by ten to each series, a tick each.
//!
//! Printed: rows per CPU-second of the whole process, and bytes of state a row.
//!
//! `cargo bench --bench series`

#![allow(clippy::unwrap_used)]

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Float64Array, Int64Array, MapBuilder, RecordBatch, StringArray, StringBuilder,
    new_null_array,
};
use arrow::compute::cast;
use arrow::datatypes::Int64Type;
use undercurrent::engine::{Answer, BuiltIns, Database, Engine};
use undercurrent::sql::statement::parse;
use undercurrent::telemetry::{Batch, Table};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SERIES: i64 = 100;
const MINUTES: i64 = 20_160;

/// What is measured, and how many ticks of it with partitions computed anew.
const DETECTORS: [(&str, usize); 5] = [
    ("stl(v, period => 1440, step => INTERVAL '1 minute')", 1),
    ("three_sigma(v, window => 1440)", 3),
    ("three_sigma(v, window => 1440, robust => true)", 2),
    ("change_points(v)", 3),
    ("spikes(v, period => 1440)", 2),
];

/// A minute of each series: a season of a day, noise, and now and then something else.
fn minutes(minutes: Range<i64>) -> Batch {
    let rows: Vec<(i64, i64)> =
        minutes.flat_map(|minute| (0..SERIES).map(move |series| (minute, series))).collect();
    let value = |(minute, series): &(i64, i64)| {
        let noise =
            (minute.wrapping_mul(7919) ^ series.wrapping_mul(104_729)).rem_euclid(1009) as f64 / 100.0;
        let season = (*minute as f64 / 1440.0 * std::f64::consts::TAU).sin() * 20.0;
        let odd = if (minute + 977 * series) % 5000 < 5 { 60.0 } else { 0.0 };
        season + noise + odd + 100.0
    };
    let schema = Table::Metrics.schema();
    let texts = |f: &dyn Fn(i64) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(|(_, series)| f(*series))))
    };
    let columns = schema.fields().iter().map(|field| -> ArrayRef {
        let column: ArrayRef = match field.name().as_str() {
            "service_name" => texts(&|series| format!("service-{series}")),
            "name" | "type" => texts(&|_| "load".to_owned()),
            "ts" => {
                Arc::new(Int64Array::from_iter_values(rows.iter().map(|(minute, _)| minute * 60_000_000_000)))
            }
            "flags" => Arc::new(Int64Array::from_iter_values(rows.iter().map(|_| 0))),
            "attributes" | "resource_attributes" => {
                let mut maps = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
                rows.iter().for_each(|_| maps.append(true).unwrap());
                Arc::new(maps.finish())
            }
            "value" => Arc::new(Float64Array::from_iter_values(rows.iter().map(value))),
            _ => new_null_array(field.data_type(), rows.len()),
        };
        cast(&column, field.data_type()).unwrap()
    });
    let rows = RecordBatch::try_new(schema.clone(), columns.collect()).unwrap();
    Batch { table: Table::Metrics, rows, event_time_ns: None }
}

/// CPU-seconds of the threads of this process so far, as Linux accounts them to the nanosecond.
fn cpu_seconds() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let stats = tasks.filter_map(|t| std::fs::read_to_string(t.unwrap().path().join("schedstat")).ok());
    let nanos: f64 = stats.map(|s| s.split(' ').next().unwrap().parse::<f64>().unwrap()).sum();
    nanos / 1e9
}

/// A database with a view over full series.
struct Filled {
    database: Database,
    runtime: tokio::runtime::Runtime,
    tick: u64,
}

impl Filled {
    /// With the view `SELECT ... columns`, its series but every `gap`th minute.
    fn new(columns: &str, gap: i64) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut database = Database::new(Engine::start(1).unwrap(), BuiltIns::default(), None);
        database.engine.store_only(&[]);
        let sql = format!(
            "CREATE MATERIALIZED VIEW v AS SELECT service_name, ts, {columns} \
             FROM (SELECT service_name, ts, value AS v FROM metrics) AS m WINDOW w AS (PARTITION BY service_name ORDER BY ts)"
        );
        for statement in parse(&sql).unwrap() {
            runtime.block_on(database.execute(statement)).unwrap();
        }
        let mut filled = Filled { database, runtime, tick: 0 };
        for minute in (0..MINUTES).filter(|minute| minute % gap != gap - 1) {
            filled.database.engine.append(&minutes(minute..minute + 1)).unwrap();
        }
        filled.close();
        filled
    }

    fn close(&mut self) {
        self.tick += 1000;
        self.database.engine.close(self.tick).unwrap();
    }

    /// Rows a CPU-second of ticks with a minute of each series.
    fn rate(&mut self, ticks: impl Iterator<Item = i64>) -> f64 {
        let batches: Vec<Batch> = ticks.map(|minute| minutes(minute..minute + 1)).collect();
        let begin = cpu_seconds();
        for batch in &batches {
            self.database.engine.append(batch).unwrap();
            self.close();
        }
        (batches.len() as i64 * SERIES) as f64 / (cpu_seconds() - begin)
    }

    /// Bytes of state a row.
    fn bytes(&mut self) -> i64 {
        let sql =
            "SELECT sum(state_bytes)::bigint FROM operator_stats WHERE operator IN ('Series', 'Partition')";
        let statement = parse(sql).unwrap().pop().unwrap();
        let Answer::Rows { batches, .. } = self.runtime.block_on(self.database.execute(statement)).unwrap()
        else {
            return 0;
        };
        batches[0].column(0).as_primitive::<Int64Type>().value(0) / (SERIES * MINUTES)
    }
}

fn main() {
    println!(
        "{:<52} {:>10} {:>10} {:>8} {:>10} {:>8}",
        "rows per CPU-second", "appended", "anew", "", "late", "bytes"
    );
    for (detector, ticks) in DETECTORS {
        let call = format!("{detector} OVER w AS s");
        let mut kept_up = Filled::new(&call, MINUTES);
        let appended = kept_up.rate(MINUTES..MINUTES + 60);
        let bytes = kept_up.bytes();
        // Every tenth minute is missing, and some of the last come.
        let mut gaps = Filled::new(&call, 10);
        let late = gaps.rate((1..4).map(|gap| MINUTES - 10 * gap - 1));
        let mut partitions = Filled::new(&format!("{call}, row_number() OVER w AS number"), MINUTES);
        let anew = partitions.rate(MINUTES..MINUTES + ticks as i64);
        let ratio = appended / anew;
        println!("{detector:<52} {appended:>10.0} {anew:>10.0} {ratio:>7.0}x {late:>10.0} {bytes:>8}");
    }
}
