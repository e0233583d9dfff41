//! Memory over time.

use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;

use super::measure::{Server, Ticks};
use super::process::resident_bytes;
use super::{events, queries};

/// How much event time the queries see.
const HORIZON: &str = "1 minute";

/// Memory is printed so often.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(10);

/// Runs `queries` together for `duration`, a tick for every second of `events_per_second` events, and prints CSV.
///
/// The relations that queries read are views on the tables, of the last minute of events: whatever a query keeps, it
/// keeps for that long.
pub fn run(queries: &[usize], workers: usize, events_per_second: usize, duration: Duration) {
    let mut server = Server::new(workers);
    for (table, columns) in events::TABLES {
        server.create_table(&format!("all_{table}"), columns);
        let recent = format!("SELECT * FROM all_{table} WHERE date_time > now() - INTERVAL '{HORIZON}'");
        server.run(&format!("CREATE VIEW {table} AS {recent}")).unwrap();
    }
    server.keep_nothing();
    for query in queries {
        let text = queries::text(*query);
        if let Err(error) = server.run(&format!("CREATE MATERIALIZED VIEW q{query} AS {text}")) {
            eprintln!("q{query} is left out: {error}");
        }
    }
    println!("seconds,event_seconds,events,resident_bytes,view,rows,state_bytes,late_rows");
    let begin = Instant::now();
    let mut next_sample = Duration::ZERO;
    let mut events = 0;
    for tick in Ticks::new(events_per_second, usize::MAX, workers) {
        for (table, rows) in tick.batches {
            events += rows.num_rows();
            server.append(&format!("all_{table}"), rows);
        }
        server.database.engine.close(tick.clock_ms).unwrap();
        if begin.elapsed() >= next_sample {
            let event_seconds = (tick.clock_ms - events::BEGIN_MS) / 1000;
            sample(&mut server, &format!("{:.0},{event_seconds},{events}", begin.elapsed().as_secs_f64()));
            next_sample = begin.elapsed() + SAMPLE_INTERVAL;
        }
        if begin.elapsed() >= duration {
            return;
        }
    }
}

/// Prints a line for each view, which begins with `when`.
fn sample(server: &mut Server, when: &str) {
    let resident_bytes = resident_bytes();
    let rows =
        server.run("SELECT view, row_count, state_bytes, late_rows FROM view_stats ORDER BY view").unwrap();
    for batch in rows {
        let views = batch.column(0).as_string::<i32>();
        let number = |column: usize, row: usize| batch.column(column).as_primitive::<Int64Type>().value(row);
        for row in 0..batch.num_rows() {
            let numbers = [1, 2, 3].map(|column| number(column, row).to_string()).join(",");
            println!("{when},{resident_bytes},{},{numbers}", views.value(row));
        }
    }
}
