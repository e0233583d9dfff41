//! Rows while they are current: filters on `now()`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arrow::array::{Array, AsArray, RecordBatch, UInt32Array};
use arrow::datatypes::TimestampNanosecondType;

use super::operator::{Changes, Operator, Part};
use super::row_store::bytes_of;
use super::stats::Counters;
use super::updates::{Diff, Run, Tick, take_rows};

/// Rows that come due within this many milliseconds are kept together.
const BUCKET_MS: Tick = 1000;

/// Released rows are sent in portions of this many.
const RELEASE_ROWS_MAX: usize = 8192;

/// How `now()` compares with a timestamp column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `now() < column`: the row is current until then.
    Before,
    /// `now() <= column`.
    BeforeOrAt,
    /// `now() > column`: the row is current after that.
    After,
    /// `now() >= column`.
    AfterOrAt,
}

/// One condition on `now()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// A column of type timestamp in nanoseconds; a row with a null there is never current.
    pub column: usize,
    /// How `now()` compares with it.
    pub comparison: Comparison,
}

/// Rows of the input while all bounds hold, `now()` being the tick.
///
/// Input: rows whose last columns are the bounds. Output: the columns before those; a row is inserted
/// when it becomes current and retracted when it ceases to be. State: current and future rows, by
/// when they come due. A row that comes when it is no longer current is counted as late and gives
/// nothing; a retraction undoes what its row did and will do.
pub struct TemporalFilter {
    bounds: Vec<Bound>,
    /// How many columns the result has.
    columns: usize,
    calendar: BTreeMap<Tick, Bucket>,
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

impl TemporalFilter {
    /// A filter by `bounds` that keeps the first `columns` columns.
    pub fn new(bounds: Vec<Bound>, columns: usize, counters: Arc<Counters>) -> Self {
        TemporalFilter { bounds, columns, calendar: BTreeMap::new(), counters }
    }

    fn accept(&mut self, tick: Tick, (rows, diffs): Part, changes: &mut Changes) {
        let spans = spans(&self.bounds, &rows);
        let columns: Vec<usize> = (0..self.columns).collect();
        let rows = rows.project(&columns).expect("bounds come after the columns of the result");
        let mut current: Vec<u32> = vec![];
        let mut later: BTreeMap<Tick, Vec<(u32, Tick, Diff)>> = BTreeMap::new();
        let mut late = 0;
        for (row, (from, until)) in spans.into_iter().enumerate() {
            late += (until <= tick && from < until && diffs.get(row) > 0) as u64;
            if until <= tick || until <= from {
                continue;
            }
            let (row, diff) = (row as u32, diffs.get(row));
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

    /// Releases all that is due at or before `tick`.
    fn release(&mut self, tick: Tick, changes: &mut Changes) {
        while let Some(entry) = self.calendar.first_entry().filter(|e| e.get().earliest <= tick) {
            let (key, bucket) = entry.remove_entry();
            for part in bucket.parts {
                let (due, rest): (Vec<u32>, Vec<u32>) =
                    (0..part.due.len() as u32).partition(|row| part.due[*row as usize] <= tick);
                for portion in due.chunks(RELEASE_ROWS_MAX) {
                    let diffs = portion.iter().map(|row| part.diffs[*row as usize]).collect();
                    changes.push(take_rows(&part.rows, &portion.to_vec().into()), Run::from_vec(diffs));
                }
                if !rest.is_empty() {
                    let scheduled = Scheduled {
                        due: rest.iter().map(|row| part.due[*row as usize]).collect(),
                        diffs: rest.iter().map(|row| part.diffs[*row as usize]).collect(),
                        rows: take_rows(&part.rows, &UInt32Array::from(rest)),
                    };
                    self.schedule(key, scheduled);
                }
            }
        }
    }

    fn bytes(&self) -> usize {
        let parts = self.calendar.values().flat_map(|b| &b.parts);
        parts.map(|p| bytes_of(&p.rows) + p.due.len() * 16).sum()
    }
}

/// From when and until when (exclusive) each row of `rows` is current, by `bounds` on its columns.
pub(super) fn spans(bounds: &[Bound], rows: &RecordBatch) -> Vec<(Tick, Tick)> {
    let mut spans = vec![(0, Tick::MAX); rows.num_rows()];
    for bound in bounds {
        let column = rows.column(bound.column).as_primitive::<TimestampNanosecondType>();
        for (row, span) in spans.iter_mut().enumerate() {
            if column.is_null(row) {
                *span = (Tick::MAX, 0);
                continue;
            }
            let nanos = column.value(row);
            let (floor, ceil) = (nanos.div_euclid(1_000_000), -(-i128::from(nanos)).div_euclid(1_000_000));
            let at_or_after = |ms: i128| Tick::try_from(ms).unwrap_or(0);
            match bound.comparison {
                Comparison::Before => span.1 = span.1.min(at_or_after(ceil)),
                Comparison::BeforeOrAt => span.1 = span.1.min(at_or_after(i128::from(floor) + 1)),
                Comparison::After => span.0 = span.0.max(at_or_after(i128::from(floor) + 1)),
                Comparison::AfterOrAt => span.0 = span.0.max(at_or_after(ceil)),
            }
        }
    }
    spans
}

impl Operator for TemporalFilter {
    fn tick(&mut self, tick: Tick, mut inputs: Vec<Vec<Part>>) -> Changes {
        let mut changes = Changes::default();
        for part in inputs.swap_remove(0) {
            self.accept(tick, part, &mut changes);
        }
        self.release(tick, &mut changes);
        self.counters.state_bytes(self.bytes());
        let parts = self.calendar.values().flat_map(|bucket| &bucket.parts);
        self.counters.state_rows(parts.map(|part| part.due.len()).sum());
        changes
    }

    fn due(&self) -> Option<Tick> {
        self.calendar.first_key_value().map(|(_, bucket)| bucket.earliest)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::delta::plan::Node;
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
        let bound = Bound { column: 2, comparison: Comparison::Before };
        let mut filter = TemporalFilter::new(vec![bound], 1, counters.clone());
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

    #[test]
    fn equals_recomputation() {
        let comparisons =
            [Comparison::Before, Comparison::BeforeOrAt, Comparison::After, Comparison::AfterOrAt];
        for comparison in comparisons {
            let bounds = vec![Bound { column: 2, comparison }];
            let node = Node::TemporalFilter { input: 0, bounds, columns: 2 };
            let output = Arc::new(schema().project(&[0, 1]).unwrap());
            oracle(&plan(1, vec![(node, output)]), 1, true, |inputs, tick| {
                let mut bag = Bag::new();
                for row in &inputs[0] {
                    let Some(at) = row.2 else { continue };
                    let is_current = match comparison {
                        Comparison::Before => (tick as i64) < at,
                        Comparison::BeforeOrAt => tick as i64 <= at,
                        Comparison::After => tick as i64 > at,
                        Comparison::AfterOrAt => tick as i64 >= at,
                    };
                    if is_current {
                        *bag.entry(row_texts(row)[..2].to_vec()).or_default() += 1;
                    }
                }
                bag
            });
        }
    }
}
