//! When the window of a row of a view ends.
//!
//! A column tells it that begins or ends a window: one made by TUMBLE, HOP, SESSION's `window_end`, `date_bin` or
//! `date_trunc` of a time, which the query keeps as it is, groups by, or moves by an interval.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, IntervalMonthDayNanoArray};
use arrow::compute::cast;
use arrow::compute::kernels::numeric::add;
use arrow::datatypes::{DataType, IntervalMonthDayNano, TimeUnit, TimestampNanosecondType};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::logical_expr::expr::{ScalarFunction, WindowFunction};
use datafusion::logical_expr::{BinaryExpr, Distinct, Expr, JoinType, LogicalPlan, Operator};

use super::names;
use crate::sql::catalog::{Catalog, Kind};
use crate::sql::error::SqlError;
use crate::sql::lower::{interval, unit_step};
use crate::sql::session::Session;
use crate::sql::statement::parse_query;

/// A column from which the end of a row's window follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowEnd {
    /// Its place in the view.
    pub column: usize,
    /// From its value to the end of the window.
    pub after: IntervalMonthDayNano,
}

/// When the window of each row of `columns` ends, in milliseconds since 1970 UTC: the latest of `ends`; none where all
/// of them are null.
pub fn ends_ms(ends: &[WindowEnd], columns: &[ArrayRef]) -> Result<Vec<Option<i64>>, SqlError> {
    let rows = columns.first().map_or(0, |c| c.len());
    let mut latest: Vec<Option<i64>> = vec![None; rows];
    for end in ends {
        let times = cast(&columns[end.column], &DataType::Timestamp(TimeUnit::Nanosecond, None))?;
        let times = add(&times, &IntervalMonthDayNanoArray::new_scalar(end.after))?;
        let times = times.as_primitive::<TimestampNanosecondType>();
        for (row, latest) in latest.iter_mut().enumerate().filter(|(row, _)| times.is_valid(*row)) {
            // Up to the millisecond in which it ends.
            let ms = -(-times.value(row)).div_euclid(1_000_000);
            *latest = Some(latest.map_or(ms, |other| other.max(ms)));
        }
    }
    Ok(latest)
}

/// The columns of materialized views, by the name of the view, that tell the ends of windows.
type Known = HashMap<String, Vec<WindowEnd>>;

impl Session {
    /// The columns of the materialized view `name` that tell when the window of a row ends.
    ///
    /// # Errors
    ///
    /// Where there is none, as in a table.
    pub async fn window_ends(&self, name: &str, catalog: &Catalog) -> Result<Vec<WindowEnd>, SqlError> {
        let mut known = Known::new();
        self.learn(name, catalog, &mut known).await?;
        known.remove(name).filter(|ends| !ends.is_empty()).ok_or_else(|| {
            SqlError::Syntax(format!(
                "\"{name}\" has no column that begins or ends a time window; group by window_start or window_end of TUMBLE, HOP or SESSION, or by date_bin(...), and select it"
            ))
        })
    }

    /// Adds the columns of `name`, if it is a materialized view, to `known`, after those of the views that it reads.
    async fn learn(&self, name: &str, catalog: &Catalog, known: &mut Known) -> Result<(), SqlError> {
        let Some(Kind::View { query, .. }) = catalog.get(name).map(|relation| &relation.kind) else {
            return Ok(());
        };
        let (_, plan) = self.plan(parse_query(query)?, catalog, 0).await?;
        let mut relations = vec![];
        plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node {
                relations.push(scan.table_name.table().to_owned());
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        for relation in relations {
            if !known.contains_key(&relation) {
                Box::pin(self.learn(&relation, catalog, known)).await?;
            }
        }
        let columns = 0..plan.schema().fields().len();
        let end = |column| Some(WindowEnd { column, after: of_column(&plan, column, known)? });
        let ends = columns.filter_map(end).collect();
        known.insert(name.to_owned(), ends);
        Ok(())
    }
}

/// From column `column` of `plan` to the end of the row's window; `None` where it says nothing about one.
fn of_column(plan: &LogicalPlan, column: usize, known: &Known) -> Option<IntervalMonthDayNano> {
    match plan {
        LogicalPlan::Projection(projection) => of(projection.expr.get(column)?, &projection.input, known),
        LogicalPlan::SubqueryAlias(alias) => of_column(&alias.input, column, known),
        LogicalPlan::Filter(filter) => of_column(&filter.input, column, known),
        LogicalPlan::Sort(sort) => of_column(&sort.input, column, known),
        LogicalPlan::Limit(limit) => of_column(&limit.input, column, known),
        LogicalPlan::Distinct(Distinct::All(input)) => of_column(input, column, known),
        LogicalPlan::Aggregate(aggregate) => match aggregate.group_expr.get(column)? {
            Expr::GroupingSet(_) => None,
            group => of(group, &aggregate.input, known),
        },
        LogicalPlan::Window(window) => match column.checked_sub(window.input.schema().fields().len()) {
            None => of_column(&window.input, column, known),
            Some(function) => of(window.window_expr.get(function)?, &window.input, known),
        },
        LogicalPlan::Unnest(unnest) => {
            of_column(&unnest.input, *unnest.dependency_indices.get(column)?, known)
        }
        LogicalPlan::Join(join) => {
            let left = match join.join_type {
                JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => 0,
                _ => join.left.schema().fields().len(),
            };
            match column.checked_sub(left) {
                None => of_column(&join.left, column, known),
                Some(column) if column < join.right.schema().fields().len() => {
                    of_column(&join.right, column, known)
                }
                // A mark.
                Some(_) => None,
            }
        }
        LogicalPlan::Union(union) => {
            let mut ends = union.inputs.iter().map(|input| of_column(input, column, known));
            let first = ends.next()??;
            ends.all(|end| end == Some(first)).then_some(first)
        }
        LogicalPlan::TableScan(scan) => {
            let column = scan.projection.as_ref().map_or(Some(column), |p| p.get(column).copied())?;
            let ends = known.get(scan.table_name.table())?;
            ends.iter().find(|end| end.column == column).map(|end| end.after)
        }
        _ => None,
    }
}

/// The same of the value of `expression` over rows of `input`.
fn of(expression: &Expr, input: &LogicalPlan, known: &Known) -> Option<IntervalMonthDayNano> {
    match expression {
        Expr::Column(column) => of_column(input, input.schema().maybe_index_of_column(column)?, known),
        Expr::Alias(alias) => of(&alias.expr, input, known),
        Expr::Cast(cast) => of(&cast.expr, input, known),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Plus, right }) => match interval(right) {
            Some(shift) => of(left, input, known)?.minus(shift),
            None => of(right, input, known)?.minus(interval(left)?),
        },
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Minus, right }) => {
            of(left, input, known)?.plus(interval(right)?)
        }
        Expr::ScalarFunction(call) => of_call(call),
        Expr::WindowFunction(function) => of_window(function),
        Expr::Unnest(unnest) => of(&unnest.expr, input, known),
        _ => None,
    }
}

/// From the begin that `call` gives to the end of the window.
fn of_call(call: &ScalarFunction) -> Option<IntervalMonthDayNano> {
    let (length, time) = match (call.func.name(), call.args.as_slice()) {
        ("date_bin", [stride, time, ..]) => (interval(stride)?, time),
        ("date_trunc", [Expr::Literal(unit, _), time]) => (unit_step(unit.try_as_str()??)?, time),
        (names::HOP_STARTS, [time, _, size, ..]) => (interval(size)?, time),
        _ => return None,
    };
    length.minus(moved(time)?)
}

fn of_window(function: &WindowFunction) -> Option<IntervalMonthDayNano> {
    (function.fun.name() == names::SESSION_END).then_some(IntervalMonthDayNano::new(0, 0, 0))
}

/// By how much `time` is later than the time of the row that it is made of.
fn moved(time: &Expr) -> Option<IntervalMonthDayNano> {
    match time {
        Expr::Alias(alias) => moved(&alias.expr),
        Expr::Cast(cast) => moved(&cast.expr),
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Plus, right }) => match interval(right) {
            Some(shift) => moved(left)?.plus(shift),
            None => moved(right)?.plus(interval(left)?),
        },
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Minus, right }) => {
            moved(left)?.minus(interval(right)?)
        }
        _ => Some(IntervalMonthDayNano::new(0, 0, 0)),
    }
}

/// Intervals part by part.
trait Parts: Sized {
    fn plus(self, other: Self) -> Option<Self>;
    fn minus(self, other: Self) -> Option<Self>;
}

impl Parts for IntervalMonthDayNano {
    fn plus(self, other: Self) -> Option<Self> {
        Some(IntervalMonthDayNano {
            months: self.months.checked_add(other.months)?,
            days: self.days.checked_add(other.days)?,
            nanoseconds: self.nanoseconds.checked_add(other.nanoseconds)?,
        })
    }

    fn minus(self, other: Self) -> Option<Self> {
        Some(IntervalMonthDayNano {
            months: self.months.checked_sub(other.months)?,
            days: self.days.checked_sub(other.days)?,
            nanoseconds: self.nanoseconds.checked_sub(other.nanoseconds)?,
        })
    }
}
