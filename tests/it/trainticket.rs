//! Facts of recorded telemetry, whatever the order, batching and number of workers.
//!
//! Needs the folder that `UNDERCURRENT_SHARED` names, with `datasets/trainticket` in it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use undercurrent::ingest::{Replay, ReplayOptions};
use undercurrent::telemetry::{Batch, Table};

use crate::support::Server;

const SPANS: &str = "CREATE MATERIALIZED VIEW calls AS
    SELECT DISTINCT trace_id, span_id, parent_span_id, service_name, duration_ns FROM spans";

const EDGES: &str = "CREATE MATERIALIZED VIEW edges AS
    SELECT p.service_name AS caller, c.service_name AS callee, count(*) AS calls
    FROM calls c JOIN calls p ON c.trace_id = p.trace_id AND c.parent_span_id = p.span_id
    WHERE c.service_name <> p.service_name GROUP BY 1, 2";

const LATENCY: &str = "CREATE MATERIALIZED VIEW latency AS
    SELECT service_name, approx_percentile(duration_ns, 0.5) AS p50, approx_percentile(duration_ns, 0.95) AS p95,
        approx_percentile(duration_ns, 0.99) AS p99 FROM calls GROUP BY 1";

/// All spans, or nothing where the data is not there.
fn spans() -> Option<RecordBatch> {
    let Some(shared) = std::env::var_os("UNDERCURRENT_SHARED") else {
        println!("left out: UNDERCURRENT_SHARED is not set");
        return None;
    };
    let path = PathBuf::from(shared).join("datasets/trainticket/traces.jsonl.gz");
    let replay = Replay::open(&[path], ReplayOptions::at(i64::MAX / 2)).expect("the recorded spans");
    let mut batches = vec![];
    for step in replay {
        batches.extend(step.batches.into_iter().filter(|b| b.table == Table::Spans).map(|b| b.rows));
    }
    Some(concat_batches(&Table::Spans.schema(), &batches).expect("batches of one table"))
}

/// Plays `rows` in the order of `picks`; a tick is closed every 20,000 rows.
fn play(rows: &RecordBatch, picks: &[u32], batch_rows: usize, workers: usize) -> Server {
    let mut server = Server::new(workers);
    for view in [SPANS, EDGES, LATENCY] {
        server.run(view);
    }
    for tick in picks.chunks(20_000) {
        let rows = take_record_batch(rows, &UInt32Array::from(tick.to_vec())).expect("rows that are there");
        for start in (0..rows.num_rows()).step_by(batch_rows) {
            let rows = rows.slice(start, batch_rows.min(rows.num_rows() - start));
            let batch = Batch { table: Table::Spans, rows, event_time_ns: None };
            server.database.engine.append(&batch).expect("an engine that runs");
        }
        server.close(0);
    }
    server
}

fn answers(server: &mut Server) -> [Vec<String>; 2] {
    ["SELECT * FROM edges", "SELECT * FROM latency"].map(|sql| server.query(sql).expect("rows").sorted())
}

/// Each percentile is within 1 % of the value at its rank.
fn check_percentiles(server: &mut Server) {
    let mut durations: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for row in server.query("SELECT service_name, duration_ns FROM calls").expect("rows").rows {
        durations.entry(row[0].clone()).or_default().push(row[1].parse().expect("a number"));
    }
    for row in server.query("SELECT * FROM latency").expect("rows").rows {
        let values = durations.get_mut(&row[0]).expect("a service");
        values.sort_by(f64::total_cmp);
        for (text, p) in row[1..].iter().zip([0.5, 0.95, 0.99]) {
            let exact = values[(p * (values.len() - 1) as f64).floor() as usize];
            let found: f64 = text.parse().expect("a number");
            assert!(
                (found - exact).abs() <= 0.01 * exact.abs() + 1e-9,
                "{}: {found}, exactly {exact}",
                row[0]
            );
        }
    }
}

#[test]
fn the_service_graph_is_the_same_in_whatever_order_spans_come() {
    let Some(rows) = spans() else { return };
    let mut picks: Vec<u32> = (0..rows.num_rows() as u32).collect();
    let mut server = play(&rows, &picks, 20_000, 1);
    let expected = answers(&mut server);
    let calls: usize =
        expected[0].iter().map(|e| e.rsplit(' ').next().map_or(0, |n| n.parse().unwrap_or(0))).sum();
    assert_eq!((expected[0].len(), calls), (55, 50_654));
    check_percentiles(&mut server);
    // Last first: children come long before their parents.
    picks.reverse();
    assert!(answers(&mut play(&rows, &picks, 20_000, 2)) == expected, "in reverse");
    picks.shuffle(&mut StdRng::seed_from_u64(1));
    for (batch_rows, workers) in [(500, 3), (20_000, 2)] {
        assert!(
            answers(&mut play(&rows, &picks, batch_rows, workers)) == expected,
            "{batch_rows}, {workers} workers"
        );
    }
    let tenth = &picks[..picks.len() / 10];
    let one_by_one = answers(&mut play(&rows, tenth, 1, 3));
    assert!(one_by_one == answers(&mut play(&rows, tenth, 20_000, 1)), "batches of one row");
}
