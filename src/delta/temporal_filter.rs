//! Rows while they are current: filters on `now()`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array, UInt64Array};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, UInt64Type};
use datafusion::error::{DataFusionError, Result as DataFusionResult};

use super::operator::{Changes, Operator, Part};
use super::resume::Load;
use super::row_store::bytes_of;
use super::stats::Counters;
use super::temporal_condition::Condition;
use super::updates::{Diff, Run, Tick, take_rows};

/// Rows that come due within this many milliseconds are kept together.
const BUCKET_MS: Tick = 1000;

/// Rows that come due are released in portions of this many, between which other operators work: when the clock
/// jumps, what is due takes no more memory on its way than it did while it waited.
pub const RELEASE_ROWS_MAX: usize = if cfg!(test) { 8 } else { 8192 };

/// Rows of the input while a condition holds, `now()` being the tick.
///
/// Input: rows whose last columns are those of the condition. Output: the columns before those; a row is inserted
/// when it becomes current and retracted when it ceases to be. State: current and future rows, by
/// when they come due. A row that comes when it will not be current any more is counted as late and gives
/// nothing; a retraction undoes what its row did and will do.
pub struct TemporalFilter {
    condition: Condition,
    /// How many columns the result has.
    columns: usize,
    calendar: BTreeMap<Tick, Bucket>,
    /// What is due at the present tick and not sent yet.
    releasing: VecDeque<Releasing>,
    counters: Arc<Counters>,
}

/// Changes to come within one stretch of time.
#[derive(Default)]
struct Bucket {
    earliest: Tick,
    parts: Vec<Scheduled>,
}

struct Scheduled {
    rows: RecordBatch,
    due: Vec<Tick>,
    diffs: Vec<Diff>,
}

/// Those of some rows that are due, from the `next` on.
struct Releasing {
    scheduled: Scheduled,
    picks: Vec<u32>,
    next: usize,
}

impl TemporalFilter {
    /// A filter by `condition` that keeps the first `columns` columns.
    pub fn new(condition: Condition, columns: usize, counters: Arc<Counters>) -> Self {
        let (calendar, releasing) = (BTreeMap::new(), VecDeque::new());
        TemporalFilter { condition, columns, calendar, releasing, counters }
    }

    fn accept(&mut self, tick: Tick, (rows, diffs): Part, changes: &mut Changes) {
        let stretches = self.condition.stretches(&rows);
        let columns: Vec<usize> = (0..self.columns).collect();
        let rows = rows.project(&columns).expect("the condition's columns come after those of the result");
        let mut current: Vec<u32> = vec![];
        let mut later: BTreeMap<Tick, Vec<(u32, Tick, Diff)>> = BTreeMap::new();
        let mut late = 0;
        for (index, stretch) in stretches.iter().enumerate() {
            let diff = diffs.get(stretch.row as usize);
            if stretch.until <= tick {
                let is_last = stretches.get(index + 1).is_none_or(|next| next.row != stretch.row);
                late += (is_last && diff > 0) as u64;
                continue;
            }
            let (row, from, until) = (stretch.row, stretch.from, stretch.until);
            match from <= tick {
                true => current.push(row),
                false => later.entry(from / BUCKET_MS).or_default().push((row, from, diff)),
            }
            if until != Tick::MAX {
                later.entry(until / BUCKET_MS).or_default().push((row, until, -diff));
            }
        }
        self.counters.late_rows.fetch_add(late, Ordering::Relaxed);
        for (bucket, entries) in later {
            let picks: Vec<u32> = entries.iter().map(|e| e.0).collect();
            let scheduled = Scheduled {
                rows: take_rows(&rows, &picks.into()),
                due: entries.iter().map(|e| e.1).collect(),
                diffs: entries.iter().map(|e| e.2).collect(),
            };
            self.schedule(bucket, scheduled);
        }
        if current.len() == rows.num_rows() {
            changes.push(rows, diffs);
        } else {
            let diffs = diffs.take(&current);
            changes.push(take_rows(&rows, &current.into()), diffs);
        }
    }

    fn schedule(&mut self, bucket: Tick, scheduled: Scheduled) {
        let earliest = scheduled.due.iter().copied().min().unwrap_or(Tick::MAX);
        let entry = self.calendar.entry(bucket).or_insert(Bucket { earliest, parts: vec![] });
        entry.earliest = entry.earliest.min(earliest);
        entry.parts.push(scheduled);
    }

    /// Takes all that is due at or before `tick` out of the calendar, to be sent in portions.
    fn release(&mut self, tick: Tick) {
        while let Some(entry) = self.calendar.first_entry().filter(|e| e.get().earliest <= tick) {
            let (key, bucket) = entry.remove_entry();
            for scheduled in bucket.parts {
                let (picks, rest): (Vec<u32>, Vec<u32>) =
                    (0..scheduled.due.len() as u32).partition(|row| scheduled.due[*row as usize] <= tick);
                if !rest.is_empty() {
                    let scheduled = Scheduled {
                        due: rest.iter().map(|row| scheduled.due[*row as usize]).collect(),
                        diffs: rest.iter().map(|row| scheduled.diffs[*row as usize]).collect(),
                        rows: take_rows(&scheduled.rows, &UInt32Array::from(rest)),
                    };
                    self.schedule(key, scheduled);
                }
                if !picks.is_empty() {
                    self.releasing.push_back(Releasing { scheduled, picks, next: 0 });
                }
            }
        }
    }

    /// The next portion of what is due: at most [`RELEASE_ROWS_MAX`] rows.
    fn portion(&mut self, changes: &mut Changes) {
        let mut room = RELEASE_ROWS_MAX;
        while let Some(releasing) = self.releasing.front_mut().filter(|_| room > 0) {
            let end = releasing.picks.len().min(releasing.next + room);
            let picks = &releasing.picks[releasing.next..end];
            room -= picks.len();
            let diffs = picks.iter().map(|row| releasing.scheduled.diffs[*row as usize]).collect();
            let rows = take_rows(&releasing.scheduled.rows, &picks.to_vec().into());
            changes.push(rows, Run::from_vec(diffs));
            releasing.next = end;
            if end == releasing.picks.len() {
                self.releasing.pop_front();
            }
        }
    }

    /// What has not been sent yet.
    fn scheduled(&self) -> impl Iterator<Item = Part> + '_ {
        let later = self.calendar.values().flat_map(|bucket| &bucket.parts);
        let later = later.map(|part| (part.rows.clone(), Run::from_vec(part.diffs.clone())));
        later.chain(self.releasing.iter().map(Releasing::rest))
    }

    fn note_state(&self) {
        let parts = self.calendar.values().flat_map(|b| &b.parts);
        let parts = parts.chain(self.releasing.iter().map(|r| &r.scheduled));
        let sizes = parts.map(|p| (p.due.len(), bytes_of(&p.rows) + p.due.len() * 16));
        let (rows, bytes) = sizes.fold((0, 0), |sum, size| (sum.0 + size.0, sum.1 + size.1));
        self.counters.state_rows(rows);
        self.counters.state_bytes(bytes);
    }
}

impl Operator for TemporalFilter {
    fn tick(&mut self, tick: Tick, mut inputs: Vec<Vec<Part>>) -> Changes {
        let mut changes = Changes::default();
        for part in inputs.swap_remove(0) {
            self.accept(tick, part, &mut changes);
        }
        self.release(tick);
        self.portion(&mut changes);
        self.note_state();
        changes
    }

    fn rest(&mut self) -> Option<Changes> {
        if self.releasing.is_empty() {
            return None;
        }
        let mut changes = Changes::default();
        self.portion(&mut changes);
        if self.releasing.is_empty() {
            self.note_state();
        }
        Some(changes)
    }

    fn due(&self) -> Option<Tick> {
        self.calendar.first_key_value().map(|(_, bucket)| bucket.earliest)
    }

    /// What is to come takes all rows away that are current now.
    fn current(&mut self) -> Changes {
        let mut changes = Changes::default();
        for (rows, diffs) in self.scheduled() {
            let diffs = (0..rows.num_rows()).map(|row| -diffs.get(row)).collect();
            changes.push(rows, Run::from_vec(diffs));
        }
        changes
    }

    /// What is to come: the rows, when they are due, and their diffs. Of rows that stay for ever nothing is known any more:
    /// a filter that has such cannot be saved.
    fn save(&mut self) -> Option<DataFusionResult<RecordBatch>> {
        self.condition.always_ends().then(|| self.saved())
    }
}

/// The columns that saved rows have behind their own: when they are due, and their diffs.
const SAVED: [(&str, DataType); 2] = [("__due", DataType::UInt64), ("__diff", DataType::Int64)];

impl TemporalFilter {
    fn saved(&self) -> DataFusionResult<RecordBatch> {
        let later = self.calendar.values().flat_map(|bucket| &bucket.parts);
        let later = later.map(|part| (part.rows.clone(), part.due.clone(), part.diffs.clone()));
        // What is being sent is due at once.
        let now = self.releasing.iter().map(|releasing| {
            let (rows, diffs) = releasing.rest();
            let count = rows.num_rows();
            (rows, vec![0; count], (0..count).map(|row| diffs.get(row)).collect())
        });
        let parts: Vec<(RecordBatch, Vec<Tick>, Vec<Diff>)> = later.chain(now).collect();
        let own = parts.first().map(|(rows, ..)| rows.schema().fields().to_vec()).unwrap_or_default();
        let added = SAVED.map(|(name, data_type)| Arc::new(Field::new(name, data_type, false)));
        let schema: SchemaRef = Arc::new(Schema::new(own.into_iter().chain(added).collect::<Vec<_>>()));
        let batches = parts.into_iter().map(|(rows, due, diffs)| {
            let added: [ArrayRef; 2] = [Arc::new(UInt64Array::from(due)), Arc::new(Int64Array::from(diffs))];
            RecordBatch::try_new(schema.clone(), rows.columns().iter().cloned().chain(added).collect())
        });
        let batches = batches.collect::<Result<Vec<_>, _>>()?;
        Ok(concat_batches(&schema, &batches)?)
    }
}

impl Load for TemporalFilter {
    fn load(&mut self, saved: &RecordBatch) -> DataFusionResult<()> {
        let unlike = || DataFusionError::Execution("what was saved is not of a filter on now()".to_owned());
        let own = saved.num_columns().checked_sub(SAVED.len()).ok_or_else(unlike)?;
        let due = saved.column(own).as_primitive_opt::<UInt64Type>().ok_or_else(unlike)?;
        let diffs = saved.column(own + 1).as_primitive_opt::<Int64Type>().ok_or_else(unlike)?;
        if saved.num_rows() > 0 && (own != self.columns || due.null_count() + diffs.null_count() > 0) {
            return Err(unlike());
        }
        let rows = saved.project(&(0..own).collect::<Vec<_>>())?;
        let mut buckets: BTreeMap<Tick, Vec<u32>> = BTreeMap::new();
        for (row, due) in due.values().iter().enumerate() {
            buckets.entry(due / BUCKET_MS).or_default().push(row as u32);
        }
        for (bucket, picks) in buckets {
            let scheduled = Scheduled {
                due: picks.iter().map(|row| due.value(*row as usize)).collect(),
                diffs: picks.iter().map(|row| diffs.value(*row as usize)).collect(),
                rows: take_rows(&rows, &picks.into()),
            };
            self.schedule(bucket, scheduled);
        }
        self.note_state();
        Ok(())
    }
}

impl Releasing {
    /// What has not been sent.
    fn rest(&self) -> Part {
        let picks = &self.picks[self.next..];
        let diffs = picks.iter().map(|row| self.scheduled.diffs[*row as usize]).collect();
        (take_rows(&self.scheduled.rows, &picks.to_vec().into()), Run::from_vec(diffs))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use expect_test::expect;
    use timely::container::NoopBuilder;
    use timely::dataflow::InputHandle;
    use timely::dataflow::operators::core::InspectCore;
    use timely::dataflow::operators::generic::operator::empty;
    use timely::dataflow::operators::probe::{Handle, Probe};

    use super::*;
    use crate::delta::collection::Collection;
    use crate::delta::plan::{Environment, Node};
    use crate::delta::temporal_condition::{Bound, Comparison};
    use crate::delta::testing::{Bag, Row, oracle, plan, render, row_texts, rows_of, schema};
    use crate::delta::updates::Updates;

    fn changes(filter: &mut TemporalFilter, tick: Tick, rows: &[Row], diff: Diff) -> String {
        let parts = vec![(rows_of(rows.iter()), Run::Constant(diff))];
        let changes = filter.tick(tick, vec![parts]);
        let updates: Vec<_> = changes.rows.into_iter().map(|(rows, d)| Updates::at(rows, tick, d)).collect();
        render(&updates)
    }

    fn row(n: i64, at_ms: i64) -> Row {
        (Some(n), String::new(), Some(at_ms))
    }

    #[test]
    fn a_row_goes_when_it_is_due_and_late_ones_are_counted() {
        let counters: Arc<Counters> = Arc::default();
        let bound = Bound { column: 2, comparison: Comparison::Before, months: 0 };
        let mut filter = TemporalFilter::new(Condition::Bound(bound), 1, counters.clone());
        expect![[r#"
            1 @1000 +1
            2 @1000 +1
        "#]]
        .assert_eq(&changes(&mut filter, 1000, &[row(1, 1500), row(2, 4000), row(3, 1000)], 1));
        assert_eq!(counters.late_rows.load(Ordering::Relaxed), 1);
        assert_eq!(filter.due(), Some(1500));
        expect![[r#"
            1 @1700 -1
        "#]]
        .assert_eq(&changes(&mut filter, 1700, &[], 1));
        // A retraction of a current row, and what was to come is undone with it.
        expect![[r#"
            2 @1800 -1
        "#]]
        .assert_eq(&changes(&mut filter, 1800, &[row(2, 4000)], -1));
        expect![""].assert_eq(&bag_of(&mut filter, 5000));
    }

    /// What a tick without input changes, consolidated.
    fn bag_of(filter: &mut TemporalFilter, tick: Tick) -> String {
        let changes = filter.tick(tick, vec![vec![]]);
        let mut bag = crate::delta::testing::bag(&changes.rows);
        bag.retain(|_, diff| *diff != 0);
        if bag.is_empty() { String::new() } else { format!("{bag:?}") }
    }

    fn is_current(comparison: Comparison, at: Option<i64>, tick: Tick) -> Option<bool> {
        at.map(|at| match comparison {
            Comparison::Before => (tick as i64) < at,
            Comparison::BeforeOrAt => tick as i64 <= at,
            Comparison::After => tick as i64 > at,
            Comparison::AfterOrAt => tick as i64 >= at,
        })
    }

    /// Random histories of rows of which those are current that `expected` says.
    fn check(columns: usize, condition: Condition, expected: impl Fn(&Row, Tick) -> bool) {
        let node = Node::TemporalFilter { input: 0, condition, columns };
        let output = Arc::new(schema().project(&(0..columns).collect::<Vec<_>>()).unwrap());
        oracle(&plan(1, vec![(node, output)]), 1, true, |inputs, tick| {
            let mut bag = Bag::new();
            for row in inputs[0].iter().filter(|row| expected(row, tick)) {
                *bag.entry(row_texts(row)[..columns].to_vec()).or_default() += 1;
            }
            bag
        });
    }

    #[test]
    fn equals_recomputation() {
        let comparisons =
            [Comparison::Before, Comparison::BeforeOrAt, Comparison::After, Comparison::AfterOrAt];
        for comparison in comparisons {
            let condition = Condition::Bound(Bound { column: 2, comparison, months: 0 });
            check(2, condition, |row, tick| is_current(comparison, row.2, tick) == Some(true));
        }
    }

    #[test]
    fn rows_that_are_current_more_than_once_equal_recomputation() {
        let bound = |comparison| Condition::Bound(Bound { column: 2, comparison, months: 0 });
        // Current but at one tick, and unknown where there is no time.
        let but_at = Condition::Or(vec![bound(Comparison::Before), bound(Comparison::After)]);
        check(2, but_at.clone(), |row, tick| row.2.is_some_and(|at| at != tick as i64));
        let known = Condition::Not(Box::new(Condition::IsTrue(Box::new(but_at))));
        check(2, known, |row, tick| row.2.is_none_or(|at| at == tick as i64));
    }

    #[test]
    fn a_jump_of_the_clock_releases_in_portions() {
        const ROWS: i64 = 1_000_000;
        const BATCH: i64 = 50_000;
        let condition = Condition::And(vec![Condition::Bound(Bound {
            column: 2,
            comparison: Comparison::AfterOrAt,
            months: 0,
        })]);
        let plan = plan(1, vec![(Node::TemporalFilter { input: 0, condition, columns: 2 }, schema())]);
        let (sizes, turns) = timely::execute_directly(move |worker| {
            let probe = Handle::new();
            let mut input = InputHandle::<Tick, NoopBuilder<Updates>>::new_with_builder();
            let sizes: Arc<Mutex<Vec<(Tick, usize)>>> = Arc::default();
            let seen = sizes.clone();
            worker.dataflow::<Tick, _, _>(|scope| {
                let rows = input.to_stream(scope);
                let environment = Environment {
                    sources: &mut |_, _, _| Collection { rows: rows.clone(), errors: empty(scope) },
                    constants: &mut |_, _| unreachable!("the plan has none"),
                    imports: Default::default(),
                    start: 0,
                    resume: None,
                    counters: &mut Default::default(),
                    outlets: &mut Default::default(),
                };
                let result = plan.render(scope, environment).unwrap();
                let note = move |updates: &Updates| {
                    seen.lock().unwrap().push((updates.times.get(0), updates.len()));
                };
                let told = result.rows.inspect_container(move |event| {
                    if let Ok((_, updates)) = event {
                        note(updates);
                    }
                });
                told.probe_with(&probe);
            });
            for first in (0..ROWS).step_by(BATCH as usize) {
                let rows: Vec<Row> = (first..first + BATCH).map(|n| row(n, 10_000 + n % 7_200_000)).collect();
                input.send_batch(&mut Updates::insert(rows_of(rows.iter()), 1000));
            }
            input.advance_to(1001);
            worker.step_while(|| probe.less_than(&1001));
            assert_eq!(sizes.lock().unwrap().len(), 0, "nothing is due yet");
            input.advance_to(8_000_001);
            let mut turns = 0;
            while probe.less_than(&8_000_001) {
                worker.step();
                turns += 1;
            }
            (sizes.lock().unwrap().clone(), turns)
        });
        assert_eq!(sizes.iter().map(|s| s.1).sum::<usize>(), ROWS as usize);
        assert!(sizes.iter().all(|(tick, rows)| *tick == 8_000_000 && *rows <= RELEASE_ROWS_MAX));
        assert!(turns >= ROWS as usize / RELEASE_ROWS_MAX, "others work between portions: {turns} turns");
    }
}
