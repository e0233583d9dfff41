//! What the demo shows.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow::util::pretty::pretty_format_batches;
use console::Term;
use jiff::Timestamp;

use super::feed::Progress;
use crate::command::CommandError;
use crate::engine::{Answer, Live};
use crate::serve::Addresses;
use crate::sql::error::SqlError;
use crate::sql::statement::parse;

/// How often what is waited for is looked at.
const POLLED_EVERY: Duration = Duration::from_millis(50);

/// The service map of the last five minutes of stream time, the busiest edges first.
const MAP: &str = "
SELECT
    source_service AS caller,
    target_service AS callee,
    connection_type AS type,
    round(sum(call_count) / 300.0, 1) AS \"calls/s\",
    round(100.0 * sum(error_count) / sum(call_count), 1) AS \"errors %\",
    round(max(latency_ms_p95), 1) AS \"p95 ms, worst minute\"
FROM service_dependencies_1m
WHERE minute_at > now() - INTERVAL '5 minutes'
GROUP BY 1, 2, 3
ORDER BY sum(call_count) DESC, 1, 2
LIMIT 16";

/// The operations that do worst now against the hour before.
const WORST: &str = "
SELECT
    service_name AS service,
    operation,
    round(100.0 * now_errors / now_calls, 1) AS \"errors %\",
    round(100.0 * greatest(errors - now_errors, 0) / greatest(calls - now_calls, 1), 1) AS \"before %\",
    round(now_p95, 1) AS \"p95 ms\",
    round(p95, 1) AS \"before ms\"
FROM (
    SELECT
        service_name,
        operation,
        sum(call_count) AS calls,
        sum(error_count) AS errors,
        sum(call_count) FILTER (WHERE minute_at > now() - INTERVAL '5 minutes') AS now_calls,
        sum(error_count) FILTER (WHERE minute_at > now() - INTERVAL '5 minutes') AS now_errors,
        avg(latency_ms_p95) FILTER (WHERE minute_at > now() - INTERVAL '5 minutes') AS now_p95,
        avg(latency_ms_p95) FILTER (WHERE minute_at <= now() - INTERVAL '5 minutes') AS p95
    FROM operation_latency
    WHERE minute_at > now() - INTERVAL '65 minutes'
    GROUP BY 1, 2
) AS operations
WHERE now_calls > 0
ORDER BY 100.0 * now_errors / now_calls + now_p95 / greatest(p95, 1.0) DESC, 1, 2
LIMIT 6";

const STATUS: &str = "
SELECT
    (1000 * (SELECT max(value) FROM engine_metrics WHERE name = 'undercurrent_stream_clock_timestamp_seconds'))::bigint AS clock_ms,
    (SELECT max(value) FROM engine_metrics WHERE name = 'process_resident_memory_bytes')::bigint AS memory_bytes";

/// A terminal, or whatever the output is.
pub(super) struct Screen {
    terminal: Term,
    live: Live,
    addresses: Addresses,
    progress: Arc<Progress>,
    speed: Option<f64>,
    lines: usize,
    /// When the records were last looked at, and how many there were.
    last: (Instant, u64),
}

impl Screen {
    pub fn new(live: Live, addresses: Addresses, progress: Arc<Progress>, speed: Option<f64>) -> Self {
        Screen {
            terminal: Term::stdout(),
            live,
            addresses,
            progress,
            speed,
            lines: 0,
            last: (Instant::now(), 0),
        }
    }

    pub fn is_terminal(&self) -> bool {
        self.terminal.is_term()
    }

    /// Waits until views hold all that was handed over.
    pub async fn catch_up(&self) -> Result<(), CommandError> {
        while self.value("undercurrent_intake_bytes").await? > 0 {
            tokio::time::sleep(POLLED_EVERY).await;
        }
        // The tick under way may have been closed too early, the next is not.
        let ticks = "undercurrent_tick_duration_seconds_count";
        let enough = self.value(ticks).await? + 2;
        while self.value(ticks).await? < enough {
            tokio::time::sleep(POLLED_EVERY).await;
        }
        Ok(())
    }

    /// A metric of the engine, rounded down.
    async fn value(&self, name: &str) -> Result<i64, CommandError> {
        let sql = format!("SELECT max(value)::bigint FROM engine_metrics WHERE name = '{name}'");
        Ok(number(&self.rows(&sql).await?, 0))
    }

    /// Draws over what was drawn before.
    pub async fn draw(&mut self) -> Result<(), CommandError> {
        let text = self.text().await?;
        let text = match self.is_terminal() {
            true => self.fitting(&text),
            false => text,
        };
        if self.is_terminal() {
            self.terminal.clear_last_lines(self.lines).map_err(CommandError::Write)?;
        }
        self.lines = text.lines().count();
        self.terminal.write_line(text.trim_end()).map_err(CommandError::Write)
    }

    /// As much of `text` as the terminal has room for: a line that is cut cannot wrap into the next.
    fn fitting(&self, text: &str) -> String {
        let (rows, columns) = self.terminal.size();
        let lines = text.lines().take((rows as usize).saturating_sub(1));
        lines.map(|l| console::truncate_str(l, columns as usize, "…").into_owned() + "\n").collect()
    }

    async fn text(&mut self) -> Result<String, CommandError> {
        let records = self.progress.records.load(Ordering::Relaxed);
        let (since, before) = std::mem::replace(&mut self.last, (Instant::now(), records));
        let per_second = (records - before) as f64 / since.elapsed().as_secs_f64().max(0.001);
        let status = self.rows(STATUS).await?;
        let clock = Timestamp::from_millisecond(number(&status, 0)).unwrap_or_default();
        let speed = self.speed.map_or("as fast as it goes".to_owned(), |speed| format!("{speed}x"));
        let mut text = format!(
            "undercurrent demo: a simulated web shop at {}, {speed}; {per_second:.0} records/s taken in, {} MiB of memory\n",
            clock.strftime("%a %d %b %Y %H:%M"),
            number(&status, 1) >> 20,
        );
        self.write_faults(&mut text, clock);
        let _ = writeln!(text, "\nservice map, last 5 minutes\n{}", self.table(MAP).await?);
        let _ = writeln!(text, "\nworst operations, against the hour before\n{}", self.table(WORST).await?);
        self.write_addresses(&mut text);
        Ok(text)
    }

    /// What the simulator does to the system now: the truth, which the engine does not see.
    fn write_faults(&self, text: &mut String, clock: Timestamp) {
        let Ok(faults) = self.progress.faults.lock() else { return };
        let present: Vec<String> = faults
            .iter()
            .filter(|f| f.started_at <= clock && clock < f.ended_at)
            .map(|f| format!("  {} since {}", f.description, f.started_at.strftime("%H:%M")))
            .collect();
        let next = faults.iter().filter(|f| f.started_at > clock).min_by_key(|f| f.started_at);
        let next =
            next.map_or(String::new(), |f| format!("; the next at {}", f.started_at.strftime("%H:%M")));
        let _ = match present.is_empty() {
            true => writeln!(text, "injected now: nothing{next}"),
            false => writeln!(text, "injected now:\n{}", present.join("\n")),
        };
    }

    fn write_addresses(&self, text: &mut String) {
        if let Some(postgres) = self.addresses.postgres {
            let (host, port) = (postgres.ip(), postgres.port());
            let _ = writeln!(
                text,
                "\npsql -h {host} -p {port} -d undercurrent -c \"SELECT * FROM service_dependencies ORDER BY call_count DESC LIMIT 10\"\n\
                 Grafana: a PostgreSQL data source at {host}:{port}, database undercurrent, TLS off; then import dashboards/undercurrent.json"
            );
        }
        if let Some(http) = self.addresses.http {
            let _ = writeln!(text, "         a Jaeger data source at http://{http} draws the map and traces");
        }
    }

    async fn table(&self, sql: &str) -> Result<String, CommandError> {
        let rows = self.rows(sql).await?;
        let table = pretty_format_batches(&rows).map_err(SqlError::from)?;
        Ok(table.to_string())
    }

    async fn rows(&self, sql: &str) -> Result<Vec<RecordBatch>, CommandError> {
        let mut batches = vec![];
        for statement in parse(sql)? {
            if let Answer::Rows { batches: rows, .. } = self.live.execute(statement).await? {
                batches.extend(rows);
            }
        }
        Ok(batches)
    }
}

/// The first value of a column of integers; 0 where there is none.
fn number(rows: &[RecordBatch], column: usize) -> i64 {
    // The first batches may be empty.
    let first =
        |batch: &RecordBatch| batch.column(column).as_primitive_opt::<Int64Type>()?.iter().flatten().next();
    rows.iter().find_map(first).unwrap_or(0)
}
