//! Conditions on `now()`, solved for the tick: when a row is current.

use std::fmt;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::TimestampNanosecondType;
use chrono::{Days, Months, NaiveDate};

use super::updates::Tick;

/// The most months by which `now()` can be moved: 100 years.
pub const MONTHS_MAX: i32 = 1200;

const DAY_MS: i64 = 86_400_000;

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

/// A comparison of `now()` with a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// A column of type timestamp in nanoseconds; where it is null the comparison is unknown.
    pub column: usize,
    /// How `now()` compares with it.
    pub comparison: Comparison,
    /// By how many months of the calendar `now()` is moved before; at most [`MONTHS_MAX`] either way. A day that the
    /// month does not have becomes its last.
    pub months: i32,
}

/// A condition on a row and on `now()`, with SQL's three values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// A comparison of `now()` with a column.
    Bound(Bound),
    /// The value of a boolean column, whatever the time.
    Column(usize),
    /// All of them hold.
    And(Vec<Condition>),
    /// One of them holds.
    Or(Vec<Condition>),
    /// It does not hold; unknown stays unknown.
    Not(Box<Condition>),
    /// It holds and is not unknown.
    IsTrue(Box<Condition>),
}

/// A stretch of time for which a row is current: from when, and until when (exclusive).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The row's place.
    pub row: u32,
    /// The first tick.
    pub from: Tick,
    /// The first tick after it; [`Tick::MAX`] where it does not end.
    pub until: Tick,
}

/// A set of ticks: stretches `from..until`, ascending, that do not touch.
type Ticks = Vec<(Tick, Tick)>;

impl Condition {
    /// Whether no row is current for ever, whatever is in it.
    pub fn always_ends(&self) -> bool {
        match self {
            Condition::Bound(bound) => {
                matches!(bound.comparison, Comparison::Before | Comparison::BeforeOrAt)
            }
            Condition::And(all) => all.iter().any(Condition::always_ends),
            Condition::Or(all) => all.iter().all(Condition::always_ends),
            Condition::IsTrue(condition) => condition.always_ends(),
            Condition::Column(_) | Condition::Not(_) => false,
        }
    }

    /// The comparisons, where the condition is that all of them hold and none moves `now()` by months.
    fn bounds(&self) -> Option<Vec<Bound>> {
        match self {
            Condition::Bound(bound) if bound.months == 0 => Some(vec![*bound]),
            Condition::And(all) => {
                Some(all.iter().map(Condition::bounds).collect::<Option<Vec<_>>>()?.concat())
            }
            _ => None,
        }
    }

    /// When each row of `rows` is current: its stretches, ascending, rows in their order.
    pub(super) fn stretches(&self, rows: &RecordBatch) -> Vec<Stretch> {
        let count = rows.num_rows() as u32;
        match self.bounds() {
            Some(bounds) => {
                let spans = (0..count).zip(spans(&bounds, rows));
                let stretches = spans.map(|(row, (from, until))| Stretch { row, from, until });
                stretches.filter(|s| s.from < s.until).collect()
            }
            None => {
                let of_row = |row: u32| {
                    let (holds, _) = self.ticks(rows, row as usize);
                    holds.into_iter().map(move |(from, until)| Stretch { row, from, until })
                };
                (0..count).flat_map(of_row).collect()
            }
        }
    }

    /// The ticks at which it holds for a row, and those at which it does not; at others it is unknown.
    fn ticks(&self, rows: &RecordBatch, row: usize) -> (Ticks, Ticks) {
        match self {
            Condition::Bound(bound) => {
                let column = rows.column(bound.column).as_primitive::<TimestampNanosecondType>();
                if column.is_null(row) {
                    return (vec![], vec![]);
                }
                let after = bound.after(column.value(row));
                match bound.comparison {
                    Comparison::After | Comparison::AfterOrAt => (after.clone(), complement(&after)),
                    Comparison::Before | Comparison::BeforeOrAt => (complement(&after), after),
                }
            }
            Condition::Column(column) => {
                let column = rows.column(*column).as_boolean();
                match (column.is_null(row), !column.is_null(row) && column.value(row)) {
                    (true, _) => (vec![], vec![]),
                    (_, true) => (complement(&[]), vec![]),
                    (_, false) => (vec![], complement(&[])),
                }
            }
            Condition::And(all) => {
                let parts = all.iter().map(|c| c.ticks(rows, row));
                let all = (complement(&[]), vec![]);
                parts.fold(all, |a, b| (intersection(&a.0, &b.0), union(&a.1, &b.1)))
            }
            Condition::Or(any) => {
                let parts = any.iter().map(|c| c.ticks(rows, row));
                let none = (vec![], complement(&[]));
                parts.fold(none, |a, b| (union(&a.0, &b.0), intersection(&a.1, &b.1)))
            }
            Condition::Not(inner) => {
                let (holds, fails) = inner.ticks(rows, row);
                (fails, holds)
            }
            Condition::IsTrue(inner) => {
                let (holds, _) = inner.ticks(rows, row);
                let fails = complement(&holds);
                (holds, fails)
            }
        }
    }

    /// Writes it with the names of columns that `name` gives.
    pub(super) fn write(&self, name: &dyn Fn(usize) -> String, f: &mut dyn fmt::Write) -> fmt::Result {
        let list = |parts: &[Condition], word: &str, f: &mut dyn fmt::Write| {
            parts.iter().enumerate().try_for_each(|(index, part)| {
                write!(f, "{}", if index > 0 { word } else { "" })?;
                match (part, word) {
                    (Condition::Or(_), " and ") | (Condition::And(_), " or ") => {
                        write!(f, "(")?;
                        part.write(name, f)?;
                        write!(f, ")")
                    }
                    _ => part.write(name, f),
                }
            })
        };
        match self {
            Condition::Bound(bound) => bound.write(name, f),
            Condition::Column(column) => write!(f, "{}", name(*column)),
            Condition::And(all) => list(all, " and ", f),
            Condition::Or(any) => list(any, " or ", f),
            Condition::Not(inner) | Condition::IsTrue(inner) => {
                write!(f, "{}(", if matches!(self, Condition::Not(_)) { "not " } else { "" })?;
                inner.write(name, f)?;
                write!(f, "){}", if matches!(self, Condition::IsTrue(_)) { " is true" } else { "" })
            }
        }
    }
}

impl Bound {
    /// Writes it with the name of its column.
    pub(super) fn write(&self, name: &dyn Fn(usize) -> String, f: &mut dyn fmt::Write) -> fmt::Result {
        let comparison = match self.comparison {
            Comparison::Before => "<",
            Comparison::BeforeOrAt => "<=",
            Comparison::After => ">",
            Comparison::AfterOrAt => ">=",
        };
        let months = match self.months {
            0 => String::new(),
            months => format!(" {} {} months", if months < 0 { '-' } else { '+' }, months.abs()),
        };
        write!(f, "now(){months} {comparison} {}", name(self.column))
    }

    /// The ticks at which `now()`, moved by months, is after `nanos`: those at `nanos` too, where the comparison is
    /// `AfterOrAt` or its opposite.
    ///
    /// Moving by months keeps the time of day and moves the day; of days that move to the same one, as the last of
    /// March do by a month back, each is after it from that time of day on.
    fn after(&self, nanos: i64) -> Ticks {
        let ms = first_after(nanos, self.comparison);
        if self.months == 0 {
            return stretch(ms, i128::from(Tick::MAX));
        }
        let (day, of_day_ms) = (ms.div_euclid(i128::from(DAY_MS)), ms.rem_euclid(i128::from(DAY_MS)));
        let Some((first, end)) = i32::try_from(day).ok().and_then(|day| self.days_moved_to(day)) else {
            // Beyond what a calendar can say: as far as time without months says it.
            return stretch(ms, i128::from(Tick::MAX));
        };
        let start = |day: i64| i128::from(day) * i128::from(DAY_MS);
        let whole = stretch(start(end), i128::from(Tick::MAX));
        (first..end).fold(whole, |ticks, day| {
            union(&ticks, &stretch(start(day) + of_day_ms, start(day) + i128::from(DAY_MS)))
        })
    }

    /// The days since 1970 that, moved by months, become `day`: from the first up to one that becomes a later day.
    fn days_moved_to(&self, day: i32) -> Option<(i64, i64)> {
        let target = NaiveDate::from_epoch_days(day)?;
        let moved = |date: NaiveDate, months: i32| match months {
            0.. => date.checked_add_months(Months::new(months.unsigned_abs())),
            _ => date.checked_sub_months(Months::new(months.unsigned_abs())),
        };
        // A month has from 28 to 31 days: the day looked for is at most three from where the way back leads.
        let mut date = moved(target, -self.months)?.checked_sub_days(Days::new(4))?;
        let mut first = None;
        loop {
            let there = moved(date, self.months)?;
            if there >= target {
                first = first.or(Some(date));
            }
            if there > target {
                return Some((i64::from(first?.to_epoch_days()), i64::from(date.to_epoch_days())));
            }
            date = date.succ_opt()?;
        }
    }
}

/// The first millisecond after `nanos`, or not before it, as `comparison` and its opposite have it.
fn first_after(nanos: i64, comparison: Comparison) -> i128 {
    match comparison {
        Comparison::After | Comparison::BeforeOrAt => i128::from(nanos.div_euclid(1_000_000)) + 1,
        Comparison::AfterOrAt | Comparison::Before => -(-i128::from(nanos)).div_euclid(1_000_000),
    }
}

/// From when and until when (exclusive) each row of `rows` is current, by `bounds` on its columns, which move `now()`
/// by no months.
pub(super) fn spans(bounds: &[Bound], rows: &RecordBatch) -> Vec<(Tick, Tick)> {
    let mut spans = vec![(0, Tick::MAX); rows.num_rows()];
    for bound in bounds {
        debug_assert_eq!(bound.months, 0, "solved otherwise");
        let column = rows.column(bound.column).as_primitive::<TimestampNanosecondType>();
        for (row, span) in spans.iter_mut().enumerate() {
            if column.is_null(row) {
                *span = (Tick::MAX, 0);
                continue;
            }
            let tick = Tick::try_from(first_after(column.value(row), bound.comparison)).unwrap_or(0);
            match bound.comparison {
                Comparison::Before | Comparison::BeforeOrAt => span.1 = span.1.min(tick),
                Comparison::After | Comparison::AfterOrAt => span.0 = span.0.max(tick),
            }
        }
    }
    spans
}

/// The ticks of `from..until`, which may begin before there are ticks.
fn stretch(from: i128, until: i128) -> Ticks {
    let tick = |ms: i128| Tick::try_from(ms.max(0)).unwrap_or(Tick::MAX);
    let (from, until) = (tick(from), tick(until));
    if from < until { vec![(from, until)] } else { vec![] }
}

fn complement(ticks: &[(Tick, Tick)]) -> Ticks {
    let mut result = vec![];
    let mut next = 0;
    for (from, until) in ticks {
        result.extend((next < *from).then_some((next, *from)));
        next = *until;
    }
    result.extend((next < Tick::MAX).then_some((next, Tick::MAX)));
    result
}

fn intersection(left: &[(Tick, Tick)], right: &[(Tick, Tick)]) -> Ticks {
    let overlap = |a: &(Tick, Tick), b: &(Tick, Tick)| {
        let (from, until) = (a.0.max(b.0), a.1.min(b.1));
        (from < until).then_some((from, until))
    };
    left.iter().flat_map(|a| right.iter().filter_map(move |b| overlap(a, b))).collect()
}

fn union(left: &[(Tick, Tick)], right: &[(Tick, Tick)]) -> Ticks {
    complement(&intersection(&complement(left), &complement(right)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BooleanArray, TimestampNanosecondArray};
    use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    const NS: i64 = 1_000_000;

    /// A row of a timestamp and a boolean.
    fn row(at_ns: Option<i64>, flag: Option<bool>) -> RecordBatch {
        let fields = vec![
            Field::new("at", DataType::Timestamp(TimeUnit::Nanosecond, None), true),
            Field::new("flag", DataType::Boolean, true),
        ];
        let columns: Vec<Arc<dyn Array>> = vec![
            Arc::new(TimestampNanosecondArray::from(vec![at_ns])),
            Arc::new(BooleanArray::from(vec![flag])),
        ];
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
    }

    /// The condition evaluated at one tick.
    fn holds(condition: &Condition, rows: &RecordBatch, tick: Tick) -> Option<bool> {
        match condition {
            Condition::Bound(bound) => {
                let at = rows.column(0).as_primitive::<TimestampNanosecondType>();
                if at.is_null(0) {
                    return None;
                }
                let now = chrono::DateTime::from_timestamp_millis(tick as i64).unwrap();
                let months = Months::new(bound.months.unsigned_abs());
                let now = match bound.months {
                    0.. => now.checked_add_months(months).unwrap(),
                    _ => now.checked_sub_months(months).unwrap(),
                };
                let now = i128::from(now.timestamp_millis()) * i128::from(NS);
                let at = i128::from(at.value(0));
                Some(match bound.comparison {
                    Comparison::Before => now < at,
                    Comparison::BeforeOrAt => now <= at,
                    Comparison::After => now > at,
                    Comparison::AfterOrAt => now >= at,
                })
            }
            Condition::Column(_) => {
                let flag = rows.column(1).as_boolean();
                (!flag.is_null(0)).then(|| flag.value(0))
            }
            Condition::And(parts) | Condition::Or(parts) => {
                let decides = matches!(condition, Condition::Or(_));
                let values: Vec<Option<bool>> = parts.iter().map(|c| holds(c, rows, tick)).collect();
                match (values.contains(&Some(decides)), values.contains(&None)) {
                    (true, _) => Some(decides),
                    (_, is_unknown) => (!is_unknown).then_some(!decides),
                }
            }
            Condition::Not(inner) => holds(inner, rows, tick).map(|h| !h),
            Condition::IsTrue(inner) => Some(holds(inner, rows, tick) == Some(true)),
        }
    }

    fn random(random: &mut StdRng, depth: usize) -> Condition {
        let comparisons =
            [Comparison::Before, Comparison::BeforeOrAt, Comparison::After, Comparison::AfterOrAt];
        if depth == 0 || random.random_ratio(1, 3) {
            let months = [0, 0, 1, -1, -13, 24, -1200][random.random_range(0..7)];
            let comparison = comparisons[random.random_range(0..4)];
            return match random.random_ratio(1, 5) {
                true => Condition::Column(1),
                false => Condition::Bound(Bound { column: 0, comparison, months }),
            };
        }
        let mut parts = || (0..2).map(|_| self::random(random, depth - 1)).collect::<Vec<_>>();
        let mut parts = parts();
        match random.random_range(0..4) {
            0 => Condition::And(parts),
            1 => Condition::Or(parts),
            2 => Condition::Not(Box::new(parts.remove(0))),
            _ => Condition::IsTrue(Box::new(parts.remove(0))),
        }
    }

    /// Ticks around which something may change for a row at `at_ms`, ends of months among them.
    fn ticks_around(at_ms: i64) -> Vec<Tick> {
        let mut ticks = vec![];
        for months in [0, 1, -1, 13, -24, 1200] {
            for days in -4..=4 {
                let at = at_ms + (months * 30 + months / 12 * 5 + days) * DAY_MS;
                for exact in [at, at.div_euclid(DAY_MS) * DAY_MS] {
                    ticks
                        .extend([exact - 1, exact, exact + 1].iter().filter_map(|t| Tick::try_from(*t).ok()));
                }
            }
        }
        ticks
    }

    #[test]
    fn solved_conditions_are_those_of_each_tick() {
        let mut rng = StdRng::seed_from_u64(1);
        let days = [
            "2024-01-31",
            "2024-02-29",
            "2023-02-28",
            "2024-03-30",
            "2024-03-31",
            "2024-12-01",
            "1970-01-01",
        ];
        for _ in 0..300 {
            let condition = random(&mut rng, 3);
            let day: NaiveDate = days[rng.random_range(0..days.len())].parse().unwrap();
            let at_ms = i64::from(day.to_epoch_days()) * DAY_MS + [0, 1, 43_200_000][rng.random_range(0..3)];
            let at_ns = at_ms * NS + [0, 1, 999_999][rng.random_range(0..3)];
            let at = (!rng.random_ratio(1, 10)).then_some(at_ns);
            let rows = row(at, [Some(true), Some(false), None][rng.random_range(0..3)]);
            let stretches = condition.stretches(&rows);
            for tick in ticks_around(at_ms) {
                let is_current = stretches.iter().any(|s| s.from <= tick && tick < s.until);
                let expected = holds(&condition, &rows, tick) == Some(true);
                assert_eq!(is_current, expected, "{condition:?} of {at:?} at {tick}: {stretches:?}");
            }
        }
    }

    #[test]
    fn the_end_of_a_month_is_current_twice() {
        // A month before the 29th of March 2023 is the 28th of February, from its first hour on again.
        let at = chrono::DateTime::parse_from_rfc3339("2023-02-28T12:00:00Z")
            .unwrap()
            .timestamp_nanos_opt()
            .unwrap();
        let bound = Bound { column: 0, comparison: Comparison::Before, months: -1 };
        let stretches = Condition::Bound(bound).stretches(&row(Some(at), None));
        let times: Vec<String> = stretches
            .iter()
            .flat_map(|s| [s.from, s.until])
            .map(|t| {
                chrono::DateTime::from_timestamp_millis(t as i64).unwrap().format("%m-%d %H:%M").to_string()
            })
            .collect();
        let expected =
            ["01-01 00:00", "03-28 12:00", "03-29 00:00", "03-29 12:00", "03-30 00:00", "03-30 12:00"];
        assert_eq!(times[..6], expected);
        assert_eq!(stretches.len(), 4, "the 31st too");
    }
}
