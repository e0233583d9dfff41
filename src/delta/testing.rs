//! What the tests of operators share: plans run on real workers over random histories, and the
//! answer at every tick compared with a recomputation.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use arrow::array::{Array, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use timely::container::NoopBuilder;
use timely::dataflow::InputHandle;
use timely::dataflow::operators::probe::Handle;

use super::arrange::Arrangement;
use super::chunk::rows_at;
use super::collection::Collection;
use super::plan::{Environment, Node, Plan};
use super::resume::Resume;
use super::updates::{Diff, Run, Tick, Updates};

/// A row of the tests: a nullable number, a text, and a nullable timestamp in milliseconds.
pub type Row = (Option<i64>, String, Option<i64>);

/// Rows with their multiplicities.
pub type Bag = BTreeMap<Vec<String>, Diff>;

/// The changes of each input at each tick.
pub type History = Vec<(Tick, Vec<Vec<(Row, Diff)>>)>;

/// The schema of [`rows_of`]: `n`, `s` and `at`.
pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("n", DataType::Int64, true),
        Field::new("s", DataType::Utf8, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Nanosecond, Some("+00:00".into())), true),
    ]))
}

/// `rows` as a batch of [`schema`].
pub fn rows_of<'a>(rows: impl Iterator<Item = &'a Row> + Clone) -> RecordBatch {
    let n = Int64Array::from_iter(rows.clone().map(|r| r.0));
    let s = StringArray::from_iter_values(rows.clone().map(|r| &r.1));
    let at = TimestampNanosecondArray::from_iter(rows.map(|r| r.2.map(|ms| ms * 1_000_000)));
    let columns: Vec<Arc<dyn Array>> = vec![Arc::new(n), Arc::new(s), Arc::new(at.with_timezone("+00:00"))];
    RecordBatch::try_new(schema(), columns).unwrap()
}

/// Rows of a number and a text.
pub fn batch(rows: &[(i64, &str)]) -> RecordBatch {
    let rows: Vec<Row> = rows.iter().map(|(n, s)| (Some(*n), (*s).to_owned(), None)).collect();
    rows_of(rows.iter()).project(&[0, 1]).unwrap()
}

/// The values of each row of `rows` as text.
pub fn texts(rows: &RecordBatch) -> Vec<Vec<String>> {
    let options = FormatOptions::default().with_null("null");
    let columns: Vec<_> =
        rows.columns().iter().map(|c| ArrayFormatter::try_new(c, &options).unwrap()).collect();
    (0..rows.num_rows()).map(|row| columns.iter().map(|c| c.value(row).to_string()).collect()).collect()
}

/// Updates as text, sorted: `1 a @5 +1`.
pub fn render(updates: &[Updates]) -> String {
    let mut lines = vec![];
    for update in updates {
        for (row, values) in texts(&update.rows).into_iter().enumerate() {
            let (time, diff) = (update.times.get(row), update.diffs.get(row));
            lines.push(format!("{} @{time} {diff:+}\n", values.join(" ")));
        }
    }
    lines.sort();
    lines.concat()
}

/// A plan that reads the inputs `0`, `1`, ... of [`schema`]; then `nodes` are added.
pub fn plan(inputs: usize, nodes: Vec<(Node, SchemaRef)>) -> Plan {
    let mut plan = Plan::default();
    for input in 0..inputs {
        plan.push(Node::Source { relation: input.to_string(), columns: vec![0, 1, 2] }, schema());
    }
    for (node, schema) in nodes {
        plan.push(node, schema);
    }
    plan
}

/// Says when a worker panics: others would wait for it for ever.
struct OnPanic(Arc<AtomicBool>);

impl Drop for OnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

/// The rows of `plan`'s result at each tick of `history`, run on `workers` workers with updates in
/// batches of at most `batch` rows.
pub fn run(plan: &Plan, history: &History, workers: usize, batch: usize) -> Vec<(Tick, Bag)> {
    run_from(plan, history, workers, batch, None, Tick::MAX).0
}

/// The same of a dataflow that goes on from `resume`, and what it has at the end of tick `as_of`.
fn run_from(
    plan: &Plan,
    history: &History,
    workers: usize,
    batch: usize,
    resume: Option<Resume>,
    as_of: Tick,
) -> (Vec<(Tick, Bag)>, Resume) {
    let results: Arc<Mutex<BTreeMap<Tick, Vec<super::chunk::ArrowChunk>>>> = Arc::default();
    let saved: Arc<Mutex<Resume>> = Arc::default();
    let (shared, plan, history) = ((results.clone(), saved.clone()), plan.clone(), history.clone());
    let failed = Arc::new(AtomicBool::new(false));
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let _failure = OnPanic(failed.clone());
        let probe = Handle::new();
        let inputs = history.first().map_or(0, |(_, inputs)| inputs.len());
        let mut handles: Vec<InputHandle<Tick, NoopBuilder<Updates>>> =
            (0..inputs).map(|_| InputHandle::new_with_builder()).collect();
        let mut outlets = HashMap::new();
        let mut arrangement = worker.dataflow::<Tick, _, _>(|scope| {
            let edges: Vec<_> = handles.iter_mut().map(|h| h.to_stream(scope)).collect();
            let none = timely::dataflow::operators::generic::operator::empty(scope);
            let mut sources = |name: &str, columns: &[usize], _: Arc<_>| {
                assert_eq!(columns, [0, 1, 2]);
                Collection { rows: edges[name.parse::<usize>().unwrap()].clone(), errors: none.clone() }
            };
            let mut constants =
                |_: &RecordBatch, _: Arc<_>| unreachable!("no test of an operator has constants");
            let environment = Environment {
                sources: &mut sources,
                constants: &mut constants,
                imports: Default::default(),
                start: 0,
                resume: resume.as_ref(),
                counters: &mut Default::default(),
                outlets: &mut outlets,
            };
            let collection = plan.render(scope, environment).unwrap();
            let collection = match &resume {
                Some(resume) => super::resume::result(scope, collection, resume),
                None => collection,
            };
            Arrangement::new(scope, collection, &probe)
        });
        for (tick, changes) in &history {
            for (handle, changes) in handles.iter_mut().zip(changes) {
                for (index, part) in changes.chunks(batch).enumerate() {
                    if index % worker.peers() == worker.index() {
                        let diffs = Run::from_vec(part.iter().map(|c| c.1).collect());
                        let rows = rows_of(part.iter().map(|c| &c.0));
                        handle.send_batch(&mut Updates::at(rows, *tick, diffs));
                    }
                }
                handle.advance_to(tick + 1);
            }
            while probe.less_than(&(tick + 1)) {
                assert!(!failed.load(Ordering::Relaxed), "another worker panicked");
                worker.step();
            }
            let (rows, errors) = arrangement.chunks();
            let errors: Vec<_> = rows_at(&errors, *tick).iter().flat_map(|(rows, _)| texts(rows)).collect();
            assert!(errors.is_empty(), "no errors expected: {errors:?}");
            if *tick == as_of {
                let states =
                    outlets.iter().filter_map(|(node, outlet)| Some((*node, outlet.save()?.unwrap())));
                let mut saved = shared.1.lock().unwrap();
                states.for_each(|(node, state)| saved.states.entry(node).or_default().push(state));
            }
            shared.0.lock().unwrap().entry(*tick).or_default().extend(rows);
            arrangement.compact(*tick);
        }
    });
    guards.unwrap().join().into_iter().for_each(|worker| worker.unwrap());
    let results = std::mem::take(&mut *results.lock().unwrap());
    let mut saved = std::mem::take(&mut *saved.lock().unwrap());
    saved.as_of = as_of;
    saved.rows = results.get(&as_of).map(|chunks| rows_at(chunks, as_of)).unwrap_or_default();
    (results.into_iter().map(|(tick, chunks)| (tick, bag(&rows_at(&chunks, tick)))).collect(), saved)
}

/// Compares what a dataflow gives that goes on from what another had at some tick of `history` with what that one gave,
/// `results`: where all its inputs have come again, and where only those rows have that it says it needs.
fn check_resumed(plan: &Plan, history: &History, rng: &mut StdRng, retracts: bool, results: &[(Tick, Bag)]) {
    let as_of = history[rng.random_range(0..history.len())].0;
    for is_whole in [true, false] {
        let reach = plan.reach(|_| is_whole);
        let Some(reach_ms) = reach.ok().filter(|_| is_whole || !retracts) else { continue };
        let workers = [rng.random_range(1..4), rng.random_range(1..4)];
        let (_, saved) = run_from(plan, history, workers[0], 1000, None, as_of);
        let mut again = history.clone();
        let is_needed = |tick: Tick| is_whole || tick >= as_of.saturating_sub(reach_ms);
        let gone = again.iter_mut().filter(|(tick, _)| !is_needed(*tick));
        gone.for_each(|(_, inputs)| inputs.iter_mut().for_each(Vec::clear));
        let (resumed, _) = run_from(plan, &again, workers[1], 3, Some(saved), Tick::MAX);
        let after = |results: &[(Tick, Bag)]| -> Vec<(Tick, Bag)> {
            results.iter().filter(|(tick, _)| *tick >= as_of).cloned().collect()
        };
        assert_eq!(
            after(&resumed),
            after(results),
            "from {as_of}, all again: {is_whole}, workers {workers:?}"
        );
    }
}

/// Rows and multiplicities as a bag.
pub fn bag(parts: &[(RecordBatch, Run<Diff>)]) -> Bag {
    let mut bag = Bag::new();
    for (rows, diffs) in parts {
        for (row, values) in texts(rows).into_iter().enumerate() {
            *bag.entry(values).or_default() += diffs.get(row);
        }
    }
    bag
}

/// A random history: inserts, duplicates, deletions of what is there, few distinct values, nulls.
/// With `retracts` false rows only come.
pub fn history(rng: &mut StdRng, inputs: usize, retracts: bool) -> History {
    let mut present: Vec<Vec<Row>> = vec![vec![]; inputs];
    let mut tick = 1000;
    let ticks = rng.random_range(1..12);
    (0..ticks)
        .map(|_| {
            tick += rng.random_range(1..2000);
            let changes = (0..inputs).map(|input| {
                let count = if rng.random_bool(0.2) { 0 } else { rng.random_range(0..40) };
                (0..count)
                    .map(|_| {
                        let present = &mut present[input];
                        if retracts && !present.is_empty() && rng.random_bool(0.4) {
                            let index = rng.random_range(0..present.len());
                            return (present.swap_remove(index), -1);
                        }
                        let row = random_row(rng, tick);
                        present.push(row.clone());
                        (row, 1)
                    })
                    .collect()
            });
            let changes = changes.collect();
            (tick, changes)
        })
        .collect()
}

fn random_row(rng: &mut StdRng, tick: Tick) -> Row {
    let n = (!rng.random_bool(0.1)).then(|| rng.random_range(0..6));
    let s = ["", "a", "b", "ab"][rng.random_range(0..4)].to_owned();
    let at = (!rng.random_bool(0.1)).then(|| tick as i64 + rng.random_range(-3000..3000) / 500 * 500);
    (n, s, at)
}

/// The rows of each input present at `tick`.
pub fn present_at(history: &History, input: usize, tick: Tick) -> Vec<Row> {
    let mut counts: BTreeMap<Row, Diff> = BTreeMap::new();
    for (row, diff) in history.iter().filter(|(t, _)| *t <= tick).flat_map(|(_, inputs)| &inputs[input]) {
        *counts.entry(row.clone()).or_default() += diff;
    }
    counts.into_iter().flat_map(|(row, count)| std::iter::repeat_n(row, count.max(0) as usize)).collect()
}

/// Random histories that an oracle tries: threads that start cost most of its time.
const HISTORIES: u64 = 24;

/// Random histories through `plan`: at every tick the result must be what `expected` computes from
/// the rows then present, with 1, 2 and 3 workers and batches of several sizes, and for a dataflow that goes on from
/// what another had.
pub fn oracle(plan: &Plan, inputs: usize, retracts: bool, expected: impl Fn(&[Vec<Row>], Tick) -> Bag) {
    for seed in 0..HISTORIES {
        let mut rng = StdRng::seed_from_u64(seed);
        let history = history(&mut rng, inputs, retracts);
        let workers = 1 + seed as usize % 3;
        let batch = [1, 3, 1000][rng.random_range(0..3)];
        let results = run(plan, &history, workers, batch);
        if seed % 4 == 0 {
            check_resumed(plan, &history, &mut rng, retracts, &results);
        }
        for (tick, actual) in results {
            let rows: Vec<Vec<Row>> = (0..inputs).map(|i| present_at(&history, i, tick)).collect();
            let expected = expected(&rows, tick);
            assert_eq!(actual, expected, "seed {seed}, tick {tick}, {workers} workers, batches of {batch}");
        }
    }
}

/// A row of the tests as the texts of a bag.
pub fn row_texts(row: &Row) -> Vec<String> {
    texts(&rows_of([row].into_iter())).swap_remove(0)
}
