//! Workload: hot operators inside dataflows compiled from SQL, on one worker, beside the classic
//! operators of differential dataflow over tuples, in the same run.
//!
//! 1. count and sum of 2 M spans by (service, operation, minute), 200 services of 20 operations, in
//!    ticks of 10,000 rows. Classic: `reduce` over `((String, String, i64), i64)`.
//! 2. the self-join of 1 M spans (traces of 10 spans, depth 3) on (trace_id, parent_span_id) =
//!    (trace_id, span_id), in ticks of 10,000 rows. Classic: `join_map` over tuples of strings.
//! 3. distinct spans of the same, one in 50 twice. Classic: `distinct`.
//! 4. the join of three inputs of 1 M rows by one text key, two rows a key, in ticks of 10,000 rows of each: one
//!    operator, beside the chain of two joins that keeps the pairs of the first two inputs.
//! 5. paths in graphs of 10,000 edges, one edge removed or put back a tick. Beside it the same query as a batch.
//!
//! Printed: million rows per CPU-second of the whole process, batches made beforehand.
//!
//! `cargo bench --bench operators`

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int64Array, MapBuilder, RecordBatch, StringArray, StringBuilder, new_null_array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use differential_dataflow::input::InputSession;
use timely::container::NoopBuilder;
use timely::dataflow::InputHandle;
use timely::dataflow::operators::Probe;
use timely::dataflow::operators::generic::operator::empty;
use timely::dataflow::operators::probe::Handle;
use undercurrent::delta::collection::Collection;
use undercurrent::delta::join::multi::MultiJoinSpec;
use undercurrent::delta::join::{JoinSpec, Unpaired};
use undercurrent::delta::plan::{Environment, Node, Plan};
use undercurrent::delta::stats::Counters;
use undercurrent::delta::updates::{Tick, Updates};
use undercurrent::engine::{BuiltIns, Database, Engine};
use undercurrent::sql::statement::parse;
use undercurrent::telemetry::{Batch, Table};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TICK_ROWS: usize = 10_000;

/// One span, as far as these workloads look.
#[derive(Clone)]
struct Span {
    trace_id: String,
    span_id: String,
    parent_span_id: String,
    service: String,
    operation: String,
    started_at_ms: i64,
    duration_ns: i64,
}

fn spans(count: usize, repeat_every: usize) -> Vec<Span> {
    let span = |i: usize| {
        let (trace, place) = (i / 10, i % 10);
        let parent = trace * 10 + place / 3;
        let id = |n: usize| format!("{:016x}", (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Span {
            trace_id: format!("{}{:016x}", id(trace + 7), trace),
            span_id: id(i + 1),
            parent_span_id: if place == 0 { id(0) } else { id(parent + 1) },
            service: format!("service-{}", (trace * 31 + place * 7) % 200),
            operation: format!("operation-{}", (trace + place) % 20),
            started_at_ms: 1_700_000_000_000 + (i as i64) / 20,
            duration_ns: (i as i64 * 7919) % 1_000_000,
        }
    };
    (0..count).map(|i| span(if i % repeat_every == repeat_every - 1 { i - 1 } else { i })).collect()
}

/// A batch of the table `spans`.
fn batch(spans: &[Span]) -> Batch {
    let schema: SchemaRef = Table::Spans.schema();
    let texts = |f: &dyn Fn(&Span) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(spans.iter().map(f)))
    };
    let times = |f: &dyn Fn(&Span) -> i64, data_type: &DataType| -> ArrayRef {
        let values = Int64Array::from_iter_values(spans.iter().map(f));
        arrow::compute::cast(&values, data_type).unwrap()
    };
    let columns = schema.fields().iter().map(|field| match field.name().as_str() {
        "trace_id" => texts(&|s| s.trace_id.clone()),
        "span_id" => texts(&|s| s.span_id.clone()),
        "parent_span_id" => texts(&|s| s.parent_span_id.clone()),
        "service_name" => texts(&|s| s.service.clone()),
        "name" => texts(&|s| s.operation.clone()),
        "kind" => texts(&|_| "SERVER".to_owned()),
        "status_code" => texts(&|_| "UNSET".to_owned()),
        "started_at" | "ended_at" => times(&|s| s.started_at_ms * 1_000_000, field.data_type()),
        "duration_ns" => times(&|s| s.duration_ns, field.data_type()),
        "attributes" | "resource_attributes" => {
            let mut maps = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
            spans.iter().for_each(|_| maps.append(true).unwrap());
            arrow::compute::cast(&(Arc::new(maps.finish()) as ArrayRef), field.data_type()).unwrap()
        }
        _ => new_null_array(field.data_type(), spans.len()),
    });
    let rows = RecordBatch::try_new(schema.clone(), columns.collect()).unwrap();
    Batch { table: Table::Spans, rows, event_time_ns: None }
}

/// CPU-seconds of the threads of this process so far, as Linux accounts them to the nanosecond.
fn cpu_seconds() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let stats = tasks.filter_map(|t| std::fs::read_to_string(t.unwrap().path().join("schedstat")).ok());
    let nanos: f64 = stats.map(|s| s.split(' ').next().unwrap().parse::<f64>().unwrap()).sum();
    nanos / 1e9
}

/// Rows a CPU-second through the view `sql`; and how many rows the view has.
fn through_view(sql: &str, batches: &[Batch]) -> (f64, i64) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut database = Database::new(Engine::start(1).unwrap(), BuiltIns::default(), None);
    database.engine.store_only(&[]);
    for statement in parse(&format!("CREATE MATERIALIZED VIEW v AS {sql}")).unwrap() {
        runtime.block_on(database.execute(statement)).unwrap();
    }
    let rows: usize = batches.iter().map(|b| b.rows.num_rows()).sum();
    let begin = cpu_seconds();
    for (tick, batch) in batches.iter().enumerate() {
        database.engine.append(batch).unwrap();
        database.engine.close(1_000 * (tick as u64 + 1)).unwrap();
    }
    let rate = rows as f64 / (cpu_seconds() - begin) / 1e6;
    let statement = parse("SELECT count(*) FROM v").unwrap().pop().unwrap();
    let count = match runtime.block_on(database.execute(statement)).unwrap() {
        undercurrent::engine::Answer::Rows { batches, .. } => {
            batches[0].column(0).as_any().downcast_ref::<Int64Array>().unwrap().value(0)
        }
        _ => 0,
    };
    (rate, count)
}

/// Rows a CPU-second through a classic dataflow, fed `TICK_ROWS` rows a tick.
fn through_classic<D, F>(rows: Vec<D>, build: F) -> f64
where
    D: differential_dataflow::ExchangeData + Send + Sync,
    F: FnOnce(&mut timely::worker::Worker, &mut InputSession<u64, D, isize>) -> Handle<u64>
        + Send
        + Sync
        + 'static,
{
    timely::execute_directly(move |worker| {
        let mut input = InputSession::new();
        let probe = build(worker, &mut input);
        let (count, begin) = (rows.len(), cpu_seconds());
        let mut rows = rows.into_iter().peekable();
        let mut tick = 0;
        while rows.peek().is_some() {
            rows.by_ref().take(TICK_ROWS).for_each(|row| input.insert(row));
            tick += 1;
            input.advance_to(tick);
            input.flush();
            while probe.less_than(&tick) {
                worker.step();
            }
        }
        count as f64 / (cpu_seconds() - begin) / 1e6
    })
}

fn report(name: &str, ours: (f64, i64), classic: f64) {
    let (rate, rows) = ours;
    println!("{name:<44} {rate:>8.2} {classic:>8.2} {:>7.1}x   {rows} result rows", rate / classic);
}

fn aggregate() {
    let all = spans(2_000_000, usize::MAX);
    let batches: Vec<Batch> = all.chunks(TICK_ROWS).map(batch).collect();
    let ours = through_view(
        "SELECT service_name, name, date_bin(INTERVAL '1 minute', started_at), count(*), sum(duration_ns) \
         FROM spans GROUP BY 1, 2, 3",
        &batches,
    );
    let rows: Vec<_> = all
        .into_iter()
        .map(|s| ((s.service, s.operation, s.started_at_ms / 60_000), s.duration_ns))
        .collect();
    let classic = through_classic(rows, |worker, input| {
        let probe = Handle::new();
        worker.dataflow::<u64, _, _>(|scope| {
            let rows = input.to_collection(scope);
            rows.reduce(|_, values, out| {
                let count: isize = values.iter().map(|(_, diff)| *diff).sum();
                let sum: i64 = values.iter().map(|(value, diff)| **value * *diff as i64).sum();
                out.push(((count, sum), 1isize));
            })
            .probe_with(&probe);
        });
        probe
    });
    report("count and sum by 3 columns, against reduce", ours, classic);
}

fn self_join() {
    let all = spans(1_000_000, usize::MAX);
    let batches: Vec<Batch> = all.chunks(TICK_ROWS).map(batch).collect();
    let ours = through_view(
        "SELECT p.service_name AS source, c.service_name AS target, count(*) AS calls FROM spans c \
         JOIN spans p ON c.trace_id = p.trace_id AND c.parent_span_id = p.span_id GROUP BY 1, 2",
        &batches,
    );
    let rows: Vec<_> =
        all.into_iter().map(|s| (s.trace_id, s.span_id, s.parent_span_id, s.service)).collect();
    let classic = through_classic(rows, |worker, input| {
        let probe = Handle::new();
        worker.dataflow::<u64, _, _>(|scope| {
            let rows = input.to_collection(scope);
            let children = rows.clone().map(|(trace, _, parent, service)| ((trace, parent), service));
            let parents = rows.map(|(trace, span, _, service)| ((trace, span), service));
            let pairs = children.join_map(parents, |_, child, parent| (parent.clone(), child.clone()));
            pairs.count().probe_with(&probe);
        });
        probe
    });
    report("span self-join and count, against join_map", ours, classic);
}

fn distinct() {
    let all = spans(1_000_000, 50);
    let batches: Vec<Batch> = all.chunks(TICK_ROWS).map(batch).collect();
    let ours = through_view(
        "SELECT count(*) FROM (SELECT DISTINCT trace_id, span_id, parent_span_id, service_name FROM spans)",
        &batches,
    );
    let rows: Vec<_> =
        all.into_iter().map(|s| (s.trace_id, s.span_id, s.parent_span_id, s.service)).collect();
    let classic = through_classic(rows, |worker, input| {
        let probe = Handle::new();
        worker.dataflow::<u64, _, _>(|scope| {
            input.to_collection(scope).distinct().map(|_| ()).count().probe_with(&probe);
        });
        probe
    });
    report("distinct spans, against distinct", ours, classic);
}

/// Of each of three inputs of two rows a key.
const KEYED_ROWS: usize = 1_000_000;

fn keyed_schema(inputs: usize) -> SchemaRef {
    let fields = [("key", DataType::Utf8), ("name", DataType::Utf8), ("value", DataType::Int64)];
    let fields = fields.map(|(name, data_type)| Field::new(name, data_type, true));
    Arc::new(Schema::new((0..inputs).flat_map(|_| fields.clone()).collect::<Vec<_>>()))
}

fn keyed_rows(rows: std::ops::Range<usize>) -> RecordBatch {
    let key =
        |row: usize| format!("{:032x}", (row as u128 / 2).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.clone().map(key))),
        Arc::new(StringArray::from_iter_values(rows.clone().map(|row| format!("operation-{}", row % 20)))),
        Arc::new(Int64Array::from_iter_values(rows.map(|row| row as i64))),
    ];
    RecordBatch::try_new(keyed_schema(1), columns).unwrap()
}

/// Two joins of the relations `0`, `1` and `2`.
fn chained() -> Plan {
    let join = |left: usize| JoinSpec {
        keys: [vec![0], vec![0]],
        null_equals_null: false,
        condition: None,
        pairs: true,
        unpaired: [Unpaired::Dropped; 2],
        inputs: [keyed_schema(left), keyed_schema(1)],
        schema: keyed_schema(left + 1),
        retracts: [false; 2],
        horizon_ms: None,
    };
    let mut plan = sources();
    let pairs = plan.push(Node::Join { left: 0, right: 1, spec: join(1) }, keyed_schema(2));
    plan.push(Node::Join { left: pairs, right: 2, spec: join(2) }, keyed_schema(3));
    plan
}

/// The same as one join.
fn at_once() -> Plan {
    let spec = MultiJoinSpec {
        keys: vec![vec![0]; 3],
        null_equals_null: false,
        conditions: vec![],
        inputs: vec![keyed_schema(1); 3],
        schema: keyed_schema(3),
        retracts: vec![false; 3],
        horizon_ms: None,
    };
    let mut plan = sources();
    plan.push(Node::MultiJoin { inputs: vec![0, 1, 2], spec }, keyed_schema(3));
    plan
}

fn sources() -> Plan {
    let mut plan = Plan::default();
    for relation in 0..3 {
        plan.push(Node::Source { relation: relation.to_string(), columns: vec![0, 1, 2] }, keyed_schema(1));
    }
    plan
}

/// Million rows a CPU-second of three inputs through `plan`, the rows that it gives, and the bytes that it keeps.
fn through_plan(plan: Plan) -> (f64, u64, u64) {
    timely::execute_directly(move |worker| {
        let (probe, mut counters) = (Handle::new(), HashMap::<usize, Arc<Counters>>::new());
        let mut inputs: Vec<InputHandle<Tick, NoopBuilder<Updates>>> =
            (0..3).map(|_| InputHandle::new_with_builder()).collect();
        worker.dataflow::<Tick, _, _>(|scope| {
            let edges: Vec<_> = inputs.iter_mut().map(|input| input.to_stream(scope)).collect();
            let none = empty(scope);
            let environment = Environment {
                sources: &mut |name: &str, _: &[usize], _| Collection {
                    rows: edges[name.parse::<usize>().unwrap()].clone(),
                    errors: none.clone(),
                },
                constants: &mut |_, _| unreachable!("a plan without constants"),
                imports: HashMap::new(),
                start: 0,
                resume: None,
                counters: &mut counters,
                outlets: &mut HashMap::new(),
            };
            plan.render(scope, environment).unwrap().rows.probe_with(&probe);
        });
        let ticks = KEYED_ROWS / TICK_ROWS;
        let batches: Vec<RecordBatch> =
            (0..ticks).map(|tick| keyed_rows(tick * TICK_ROWS..(tick + 1) * TICK_ROWS)).collect();
        let begin = cpu_seconds();
        for (tick, batch) in batches.iter().enumerate() {
            for input in &mut inputs {
                input.send_batch(&mut Updates::insert(batch.clone(), tick as Tick));
                input.advance_to(tick as Tick + 1);
            }
            while probe.less_than(&(tick as Tick + 1)) {
                worker.step();
            }
        }
        let rate = (3 * KEYED_ROWS) as f64 / (cpu_seconds() - begin) / 1e6;
        let rows = counters[&(plan.nodes.len() - 1)].read().rows_out;
        (rate, rows, counters.values().map(|counters| counters.read().state_bytes).sum())
    })
}

fn three_way() {
    let ((chain, pairs, chain_bytes), (rate, rows, bytes)) =
        (through_plan(chained()), through_plan(at_once()));
    assert_eq!(rows, pairs, "both give the same");
    let name = "three inputs by one key, against two joins";
    println!("{name:<44} {rate:>8.2} {chain:>8.2} {:>7.1}x   {rows} result rows", rate / chain);
    let (name, mib) = ("  their state, in MiB", |bytes: u64| bytes as f64 / f64::from(1 << 20));
    println!("{name:<44} {:>8.1} {:>8.1}", mib(bytes), mib(chain_bytes));
}

/// What the recursion is measured with: its name, how many nodes a part of the graph has, and the query.
const RECURSIONS: [(&str, u64, &str); 3] = [
    (
        "all paths, 200 graphs of 50 edges",
        50,
        "WITH RECURSIVE r AS (SELECT source, target FROM edges UNION \
         SELECT r.source, e.target FROM r JOIN edges e ON e.source = r.target) SELECT * FROM r",
    ),
    (
        "what one node reaches, graph of 5,000 nodes",
        5_000,
        "WITH RECURSIVE r AS (SELECT 0::bigint AS node UNION \
         SELECT e.target FROM r JOIN edges e ON e.source = r.node) SELECT * FROM r",
    ),
    (
        "hops to 100 nodes, graph of 5,000 nodes",
        5_000,
        "WITH RECURSIVE r AS (SELECT DISTINCT source AS goal, source AS node, 0 AS hops FROM edges WHERE source < 100 \
         UNION SELECT r.goal, e.source, r.hops + 1 FROM r JOIN edges e ON e.target = r.node WHERE r.hops < 5) \
         SELECT goal, node, min(hops) FROM r GROUP BY goal, node",
    ),
];

/// 10,000 edges between nodes drawn from parts of `part` nodes each.
fn edges(part: u64) -> Vec<(u64, u64)> {
    const EDGES: u64 = 10_000;
    let mut state = 7u64;
    let mut drawn = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let parts = (EDGES / part / if part > 1_000 { 2 } else { 1 }).max(1);
    (0..EDGES)
        .map(|edge| edge % parts * part)
        .map(|first| (first + drawn(part), first + drawn(part)))
        .collect()
}

fn recursion((name, part, query): (&str, u64, &str)) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut database = Database::new(Engine::start(1).unwrap(), BuiltIns::default(), None);
    let mut run = |sql: &str| {
        let begin = cpu_seconds();
        let statement = parse(sql).unwrap().pop().unwrap();
        let rows = match runtime.block_on(database.execute(statement)).unwrap() {
            undercurrent::engine::Answer::Rows { batches, .. } => batches.iter().map(|b| b.num_rows()).sum(),
            _ => 0,
        };
        (1e3 * (cpu_seconds() - begin), rows)
    };
    let edges = edges(part);
    let values = |edges: &[(u64, u64)]| {
        let values: Vec<String> =
            edges.iter().map(|(source, target)| format!("({source}, {target})")).collect();
        values.join(", ")
    };
    run("CREATE TABLE edges (source bigint, target bigint)");
    // The same statements without a view, to be taken off.
    run(&format!("INSERT INTO edges VALUES {}", values(&edges)));
    let changes = |run: &mut dyn FnMut(&str) -> (f64, usize)| {
        let mut taken: Vec<f64> = vec![];
        for (source, target) in edges.iter().step_by(97) {
            let edge = format!("source = {source} AND target = {target}");
            taken.push(run(&format!("DELETE FROM edges WHERE {edge}")).0);
            taken.push(run(&format!("INSERT INTO edges VALUES ({source}, {target})")).0);
        }
        taken.sort_by(f64::total_cmp);
        (
            taken[taken.len() / 2],
            taken[taken.len() * 99 / 100],
            taken.iter().sum::<f64>() / taken.len() as f64,
        )
    };
    let (without, ..) = changes(&mut run);
    let (hydration, _) = run(&format!("CREATE MATERIALIZED VIEW v AS {query}"));
    let (median, p99, mean) = changes(&mut run);
    let (batch, rows) = run(query);
    println!(
        "{name:<44} {:>8.3} {:>8.3} {:>8.3} {batch:>8.1} {hydration:>8.1}   {rows} result rows",
        median - without,
        mean - without,
        p99 - without
    );
}

fn main() {
    println!("CPU-milliseconds of a change of one edge, of a batch query and of filling the view");
    println!("{:<44} {:>8} {:>8} {:>8} {:>8} {:>8}", "", "median", "mean", "p99", "batch", "filling");
    RECURSIONS.into_iter().for_each(recursion);
    println!("million rows per CPU-second, one worker, ticks of {TICK_ROWS} rows");
    println!("{:<44} {:>8} {:>8}", "", "here", "other");
    aggregate();
    self_join();
    distinct();
    three_way();
}
