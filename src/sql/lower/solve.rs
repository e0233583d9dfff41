//! Comparisons with `now()`, solved for it.
//!
//! | written | solved |
//! |---|---|
//! | `now() - i < x`, `now() - x < i` | `now() < x + i` |
//! | `date_trunc(unit, now()) < x` | `now() <` the first begin of a unit that is not before `x` |
//! | `date_trunc(unit, now()) <= x` | `now() <` the first begin of a unit after `x` |
//! | `date_bin(i, now())`, `now()::date`, `current_date` | likewise |
//! | `now() - INTERVAL '1 month' < x` | by the calendar, row by row ([`Bound::months`]) |
//!
//! [`Bound::months`]: crate::delta::temporal_condition::Bound::months

use arrow::datatypes::{DataType, IntervalMonthDayNano, TimeUnit};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::functions::datetime::date_trunc;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator, lit, when};

use super::cast_to;
use super::temporal::{NOW, comparison, timestamp, uses_now};
use crate::delta::temporal_condition::{Comparison, MONTHS_MAX};
use crate::sql::error::SqlError;

const DAY_NS: i64 = 86_400_000_000_000;

/// A comparison of `now()`.
pub(super) struct Solved {
    pub comparison: Comparison,
    /// By how many months `now()` is moved before it is compared.
    pub months: i32,
    /// What it is compared with.
    pub limit: Expr,
}

/// That `condition` cannot be maintained.
pub(super) fn unsolved(condition: &Expr) -> SqlError {
    SqlError::unsupported(
        format!("the condition `{}`", condition.to_string().replace(NOW, "now()")),
        "only comparisons of now(), date_trunc(..., now()) and the like, plus or minus an interval, with a value of the row can be maintained",
        "write it as `started_at > now() - INTERVAL '1 hour'`",
    )
}

/// `condition`, a comparison of which one side depends on `now()`, solved for it.
pub(super) fn solve(condition: &Expr, from: &DFSchema) -> Result<Solved, SqlError> {
    let unsolved = || unsolved(condition);
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return Err(unsolved()) };
    let (side, op, limit) = match (uses_now(left), uses_now(right)) {
        (true, false) => (left, *op, right),
        (false, true) => (right, op.swap().ok_or_else(unsolved)?, left),
        _ => return Err(unsolved()),
    };
    let comparison = comparison(op).ok_or_else(unsolved)?;
    let solved = Solved { comparison, months: 0, limit: limit.as_ref().clone() };
    let mut open = Open { side: side.as_ref().clone(), solved, from };
    while !matches!(open.side, Expr::Placeholder(_)) {
        open.step()?.ok_or_else(unsolved)?;
    }
    Ok(open.solved)
}

/// A comparison on its way to be solved: what is around `now()` is taken away layer by layer.
struct Open<'a> {
    /// What depends on `now()`.
    side: Expr,
    /// What it is compared with, and how.
    solved: Solved,
    from: &'a DFSchema,
}

/// What rounds times down.
struct Floor {
    /// A call of the function; its argument at `place` is what it rounds.
    call: ScalarFunction,
    place: usize,
    /// From one value of the function to the next.
    step: IntervalMonthDayNano,
}

impl Open<'_> {
    /// Takes the outermost layer away; `None` where that cannot be done exactly.
    fn step(&mut self) -> Result<Option<()>, SqlError> {
        if let Some(inner) = self.same_instant(&self.side)? {
            self.side = inner;
            return Ok(Some(()));
        }
        if let Some((floor, inner)) = floor_of(&self.side) {
            self.side = inner;
            return self.round(&floor).map(Some);
        }
        match self.side.clone() {
            // Of two times the difference is a duration, which SQL compares with an interval by casting it.
            Expr::Cast(cast) if matches!(cast.field.data_type(), DataType::Interval(_)) => {
                match interval(&self.solved.limit) {
                    Some(interval) if interval.months == 0 && interval.days == 0 => self.side = *cast.expr,
                    _ => return Err(days_beside_difference()),
                }
                Ok(Some(()))
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) if uses_now(&left) && !uses_now(&right) => {
                let inverse = match op {
                    Operator::Plus => Operator::Minus,
                    Operator::Minus => Operator::Plus,
                    _ => return Ok(None),
                };
                let is_date = matches!(left.get_type(self.from)?, DataType::Date32 | DataType::Date64);
                match interval(&right) {
                    // Of a date and an interval only the days count.
                    Some(interval) if is_date && interval.nanoseconds % DAY_NS != 0 => Ok(None),
                    Some(interval) if interval.months != 0 => self.months(*left, inverse, interval),
                    None if !is_difference(&right, self.from)? => Ok(None),
                    _ => {
                        self.shift(inverse, *right)?;
                        self.side = *left;
                        Ok(Some(()))
                    }
                }
            }
            // The time that is taken away counts the other way round.
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Minus, right })
                if uses_now(&right) && is_interval(&self.solved.limit, self.from)? =>
            {
                let (time, limit) = (cast_to(*left, self.from, &timestamp())?, self.solved.limit.clone());
                self.solved.limit = binary(time, Operator::Minus, limit);
                self.solved.comparison = swapped(self.solved.comparison);
                self.side = *right;
                Ok(Some(()))
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Plus, right }) if uses_now(&right) => {
                self.side = Expr::BinaryExpr(BinaryExpr { left: right, op: Operator::Plus, right: left });
                Ok(Some(()))
            }
            _ => Ok(None),
        }
    }

    /// What `side` casts, where the cast changes the type of a time alone.
    fn same_instant(&self, side: &Expr) -> Result<Option<Expr>, SqlError> {
        let Expr::Cast(cast) = side else { return Ok(None) };
        let inner = cast.expr.get_type(self.from)?;
        let is_utc = |t: &DataType| match t {
            // Ticks are whole milliseconds: coarser units would round them.
            DataType::Timestamp(TimeUnit::Second, _) => false,
            DataType::Timestamp(_, zone) => {
                zone.as_ref().is_none_or(|z| ["+00:00", "UTC", "Z"].contains(&z.as_ref()))
            }
            DataType::Date32 | DataType::Date64 => true,
            _ => false,
        };
        let (to, zoned) =
            (cast.field.data_type(), |t: &DataType| matches!(t, DataType::Timestamp(_, Some(_))));
        let is_time = matches!(to, DataType::Timestamp(unit, _) if *unit != TimeUnit::Second);
        // Between two zones the instant stays, between a zone and none the time of day does.
        let is_same = is_time && ((is_utc(to) && is_utc(&inner)) || (zoned(to) && zoned(&inner)));
        Ok(is_same.then(|| cast.expr.as_ref().clone()))
    }

    /// `value`, which was added (or taken away: `inverse` undoes it), on the other side.
    fn shift(&mut self, inverse: Operator, value: Expr) -> Result<(), SqlError> {
        let limit = self.solved.limit.clone();
        // An interval on the other side is added to the value, not the value to it.
        self.solved.limit = match is_interval(&limit, self.from)? && inverse == Operator::Plus {
            true => binary(cast_to(value, self.from, &timestamp())?, inverse, limit),
            false => binary(cast_to(limit, self.from, &timestamp())?, inverse, value),
        };
        Ok(())
    }

    /// What a time rounded down is compared with, as what the time itself is compared with: it is after a value, or
    /// at it, from the first step after that value, or at it, on.
    fn round(&mut self, floor: &Floor) -> Result<(), SqlError> {
        let limit = cast_to(self.solved.limit.clone(), self.from, &timestamp())?;
        let rounded = floor.of(limit.clone());
        let next = binary(rounded.clone(), Operator::Plus, lit(interval_value(floor.step)));
        let not_before = || when(rounded.clone().eq(limit.clone()), limit.clone()).otherwise(next.clone());
        (self.solved.comparison, self.solved.limit) = match self.solved.comparison {
            Comparison::After => (Comparison::AfterOrAt, next),
            Comparison::AfterOrAt => (Comparison::AfterOrAt, not_before()?),
            Comparison::Before => (Comparison::Before, not_before()?),
            Comparison::BeforeOrAt => (Comparison::Before, next),
        };
        Ok(())
    }

    /// Takes an interval of months away from around `inner`, which is `now()`, its day, or its month or year.
    fn months(
        &mut self,
        mut inner: Expr,
        inverse: Operator,
        interval: IntervalMonthDayNano,
    ) -> Result<Option<()>, SqlError> {
        if is_interval(&self.solved.limit, self.from)? {
            return Err(days_beside_difference());
        }
        if interval.months.unsigned_abs() > MONTHS_MAX.unsigned_abs() {
            return Err(SqlError::Limit {
                what: "an interval beside now() has more months than",
                limit: MONTHS_MAX.to_string(),
                hint: "compare with a constant time",
            });
        }
        // Months are added first, then days and hours: these are undone first.
        self.shift(inverse, lit(interval_value(IntervalMonthDayNano { months: 0, ..interval })))?;
        let months = if inverse == Operator::Plus { -interval.months } else { interval.months };
        while let Some(core) = self.same_instant(&inner)? {
            inner = core;
        }
        match floor_of(&inner) {
            None => self.side = inner,
            Some((floor, _)) if floor.step.months > 0 => {
                // Begins of months become begins of months, and the way back is exact.
                self.round(&Floor::trunc("month", IntervalMonthDayNano::new(1, 0, 0)))?;
                self.shift(inverse, lit(interval_value(IntervalMonthDayNano::new(interval.months, 0, 0))))?;
                self.side = inner;
                return Ok(Some(()));
            }
            // The begin of a day is after a value as soon as any of its times is after the day of the value.
            Some((floor, core)) if floor.is_day() => {
                self.round(&floor)?;
                self.side = core;
            }
            Some(_) => return Ok(None),
        }
        while let Some(core) = self.same_instant(&self.side)? {
            self.side = core;
        }
        self.solved.months = months;
        Ok(matches!(self.side, Expr::Placeholder(_)).then_some(()))
    }
}

/// How what stands right of `comparison` compares.
fn swapped(comparison: Comparison) -> Comparison {
    match comparison {
        Comparison::Before => Comparison::After,
        Comparison::BeforeOrAt => Comparison::AfterOrAt,
        Comparison::After => Comparison::Before,
        Comparison::AfterOrAt => Comparison::BeforeOrAt,
    }
}

impl Floor {
    fn trunc(unit: &str, step: IntervalMonthDayNano) -> Self {
        let args = vec![lit(unit), lit(ScalarValue::Null)];
        Floor { call: ScalarFunction { func: date_trunc(), args }, place: 1, step }
    }

    fn of(&self, time: Expr) -> Expr {
        let mut call = self.call.clone();
        call.args[self.place] = time;
        Expr::ScalarFunction(call)
    }

    fn is_day(&self) -> bool {
        self.step == IntervalMonthDayNano::new(0, 1, 0)
    }
}

/// What `expression` rounds down, and how, if it does.
fn floor_of(expression: &Expr) -> Option<(Floor, Expr)> {
    let day = IntervalMonthDayNano::new(0, 1, 0);
    let second = IntervalMonthDayNano::new(0, 0, 1_000_000_000);
    match expression {
        Expr::Cast(cast) => match cast.field.data_type() {
            DataType::Date32 => Some((Floor::trunc("day", day), cast.expr.as_ref().clone())),
            DataType::Timestamp(TimeUnit::Second, _) => {
                Some((Floor::trunc("second", second), cast.expr.as_ref().clone()))
            }
            _ => None,
        },
        Expr::ScalarFunction(call) => match (call.func.name(), call.args.as_slice()) {
            ("date_trunc", [Expr::Literal(unit, _), time]) => {
                let step = unit_step(unit.try_as_str()??)?;
                Some((Floor { call: call.clone(), place: 1, step }, time.clone()))
            }
            ("date_bin", [stride, time]) => {
                let step = interval(stride)?;
                Some((Floor { call: call.clone(), place: 1, step }, time.clone()))
            }
            _ => None,
        },
        _ => None,
    }
}

/// How long a unit of `date_trunc` is.
pub(in crate::sql) fn unit_step(unit: &str) -> Option<IntervalMonthDayNano> {
    let (months, days, nanoseconds) = match unit.to_lowercase().as_str() {
        "microsecond" => (0, 0, 1_000),
        "millisecond" => (0, 0, 1_000_000),
        "second" => (0, 0, 1_000_000_000),
        "minute" => (0, 0, 60_000_000_000),
        "hour" => (0, 0, 3_600_000_000_000),
        "day" => (0, 1, 0),
        "week" => (0, 7, 0),
        "month" => (1, 0, 0),
        "quarter" => (3, 0, 0),
        "year" => (12, 0, 0),
        _ => return None,
    };
    Some(IntervalMonthDayNano { months, days, nanoseconds })
}

/// The value of an interval that is written as such.
pub(in crate::sql) fn interval(expression: &Expr) -> Option<IntervalMonthDayNano> {
    match expression {
        Expr::Literal(ScalarValue::IntervalMonthDayNano(value), _) => *value,
        Expr::Literal(ScalarValue::IntervalYearMonth(Some(months)), _) => {
            Some(IntervalMonthDayNano::new(*months, 0, 0))
        }
        Expr::Literal(ScalarValue::DurationNanosecond(Some(nanos)), _) => {
            Some(IntervalMonthDayNano::new(0, 0, *nanos))
        }
        _ => None,
    }
}

fn interval_value(interval: IntervalMonthDayNano) -> ScalarValue {
    ScalarValue::IntervalMonthDayNano(Some(interval))
}

fn binary(left: Expr, op: Operator, right: Expr) -> Expr {
    // Timestamps take intervals; a difference of timestamps compares with durations.
    let right = interval(&right).map_or(right, |value| lit(interval_value(value)));
    Expr::BinaryExpr(BinaryExpr { left: Box::new(left), op, right: Box::new(right) })
}

fn is_interval(expression: &Expr, from: &DFSchema) -> Result<bool, SqlError> {
    Ok(matches!(expression.get_type(from)?, DataType::Interval(_) | DataType::Duration(_)))
}

/// Whether taking `value` from a time gives a difference without months: it is a time, or a duration.
fn is_difference(value: &Expr, from: &DFSchema) -> Result<bool, SqlError> {
    Ok(matches!(
        value.get_type(from)?,
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 | DataType::Duration(_)
    ))
}

fn days_beside_difference() -> SqlError {
    SqlError::unsupported(
        "a difference from now() beside an interval of days or months",
        "a difference of times has neither, and any number of hours is less than one",
        "write it as `started_at > now() - INTERVAL '1 day'`",
    )
}
