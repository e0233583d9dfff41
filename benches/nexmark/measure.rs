//! One query, measured.

use std::time::Instant;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use nexmark::EventGenerator;
use nexmark::event::Event;
use serde::{Deserialize, Serialize};
use undercurrent::delta::updates::Run;
use undercurrent::engine::{Answer, BuiltIns, Database, Engine};
use undercurrent::sql::error::SqlError;
use undercurrent::sql::statement::parse;

use super::process::{cpu_seconds, resident_bytes};
use super::{events, queries};

/// What is measured.
pub struct Workload {
    pub query: usize,
    pub workers: usize,
    pub events: usize,
    pub events_per_second: usize,
    /// Whether the batch query is measured too.
    pub has_batch: bool,
}

/// What came out.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Measured {
    /// Why the query is no view.
    pub refusal: Option<String>,
    pub view_cpu_seconds: f64,
    pub tick_ms_p50: f64,
    pub tick_ms_p99: f64,
    pub state_bytes: usize,
    pub memory_bytes: usize,
    pub rows: i64,
    pub batch_cpu_seconds: f64,
}

/// The rows of a tick.
pub struct Tick {
    pub clock_ms: u64,
    pub batches: Vec<(&'static str, RecordBatch)>,
}

/// A database with the tables of Nexmark, and a runtime to run its statements on.
pub struct Server {
    pub database: Database,
    runtime: tokio::runtime::Runtime,
}

impl Server {
    pub fn new(workers: usize) -> Self {
        let database = Database::new(Engine::start(workers).unwrap(), BuiltIns::default(), None);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Server { database, runtime }
    }

    /// Carries out `sql`; the rows, if it gives any.
    pub fn run(&mut self, sql: &str) -> Result<Vec<RecordBatch>, SqlError> {
        let mut rows = vec![];
        for statement in parse(sql)? {
            if let Answer::Rows { batches, .. } = self.runtime.block_on(self.database.execute(statement))? {
                rows = batches;
            }
        }
        Ok(rows)
    }

    /// Creates an append-only table.
    pub fn create_table(&mut self, name: &str, columns: &str) {
        self.run(&format!("CREATE TABLE {name} ({columns}) WITH (append_only = true)")).unwrap();
    }

    /// Creates the tables that the queries read.
    fn create_tables(&mut self) {
        events::TABLES.into_iter().for_each(|(name, columns)| self.create_table(name, columns));
    }

    /// Adds rows to the table `name`, at the open tick.
    pub fn append(&mut self, name: &str, rows: RecordBatch) {
        self.database.engine.change(name, rows, Run::Constant(1)).unwrap();
    }

    /// Keeps no rows of tables beyond the tick in which they come.
    pub fn keep_nothing(&mut self) {
        self.database.engine.store_at_most(0);
    }

    /// The integer that `sql` gives.
    pub fn number(&mut self, sql: &str) -> i64 {
        let rows = self.run(sql).unwrap();
        let column = arrow::compute::cast(rows[0].column(0), &arrow::datatypes::DataType::Int64).unwrap();
        column.as_primitive::<Int64Type>().value(0)
    }
}

/// Events by ticks of a second of event time, without end but for their number.
pub struct Ticks {
    events: std::iter::Peekable<std::iter::Take<EventGenerator>>,
    workers: usize,
}

impl Ticks {
    /// `events` events, `per_second` in a second of event time, in batches for each of `workers`.
    pub fn new(per_second: usize, events: usize, workers: usize) -> Self {
        Ticks { events: events::events(per_second).take(events).peekable(), workers }
    }
}

impl Iterator for Ticks {
    type Item = Tick;

    fn next(&mut self) -> Option<Tick> {
        let clock_ms = self.events.peek()?.timestamp() / 1000 * 1000 + 1000;
        let mut portion: Vec<Event> = vec![];
        while let Some(event) = self.events.next_if(|event| event.timestamp() < clock_ms) {
            portion.push(event);
        }
        // Batches go to workers in turn.
        let parts = portion.chunks(portion.len().div_ceil(self.workers));
        Some(Tick { clock_ms, batches: parts.flat_map(events::batches).collect() })
    }
}

fn bytes_of(ticks: &[Tick]) -> usize {
    let batches = ticks.iter().flat_map(|tick| &tick.batches);
    batches.map(|(_, rows)| rows.get_array_memory_size()).sum()
}

/// Runs `workload`.
pub fn run(workload: &Workload) -> Measured {
    let ticks = Ticks::new(workload.events_per_second, workload.events, workload.workers);
    let ticks: Vec<Tick> = ticks.collect();
    let mut measured = Measured::default();
    if workload.has_batch {
        measured.batch_cpu_seconds = batch(workload, &ticks);
    }
    view(workload, ticks, &mut measured);
    measured
}

/// CPU-seconds of the batch query over all events.
fn batch(workload: &Workload, ticks: &[Tick]) -> f64 {
    let mut server = Server::new(1);
    server.create_tables();
    for (table, rows) in ticks.iter().flat_map(|tick| &tick.batches) {
        server.append(table, rows.clone());
    }
    server.database.engine.close(ticks.last().map_or(0, |tick| tick.clock_ms)).unwrap();
    let begin = cpu_seconds();
    match server.run(&queries::text(workload.query)) {
        Ok(_) => cpu_seconds() - begin,
        Err(error) => panic!("q{}: {error}", workload.query),
    }
}

/// The view, tick by tick.
fn view(workload: &Workload, ticks: Vec<Tick>, measured: &mut Measured) {
    let mut server = Server::new(workload.workers);
    server.create_tables();
    server.keep_nothing();
    let query = queries::text(workload.query);
    if let Err(error) = server.run(&format!("CREATE MATERIALIZED VIEW v AS {query}")) {
        measured.refusal = Some(error.to_string().replace('\n', " "));
        return;
    }
    let mut left_bytes = bytes_of(&ticks);
    let resident_before = resident_bytes() - left_bytes.min(resident_bytes());
    let mut latencies_ms = Vec::with_capacity(ticks.len());
    let begin = cpu_seconds();
    for tick in ticks {
        let bytes = bytes_of(std::slice::from_ref(&tick));
        let start = Instant::now();
        for (table, rows) in tick.batches {
            server.append(table, rows);
        }
        server.database.engine.close(tick.clock_ms).unwrap();
        latencies_ms.push(start.elapsed().as_secs_f64() * 1e3);
        left_bytes -= bytes;
        let memory = resident_bytes().saturating_sub(resident_before + left_bytes);
        measured.memory_bytes = measured.memory_bytes.max(memory);
    }
    measured.view_cpu_seconds = cpu_seconds() - begin;
    latencies_ms.sort_by(f64::total_cmp);
    let quantile = |p: f64| latencies_ms[((latencies_ms.len() - 1) as f64 * p).round() as usize];
    (measured.tick_ms_p50, measured.tick_ms_p99) = (quantile(0.5), quantile(0.99));
    measured.state_bytes = server.number("SELECT state_bytes FROM view_stats WHERE view = 'v'") as usize;
    measured.rows = server.number("SELECT count(*) FROM v");
}
