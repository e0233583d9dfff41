//! Spellings of the field that the planner does not know, as ones that it does.
//!
//! | written | planned as |
//! |---|---|
//! | `FROM TUMBLE(t, at, size [, offset])`, `TABLE(TUMBLE(TABLE t, DESCRIPTOR(at), size))` | `t` with `window_start` and `window_end` |
//! | `FROM HOP(t, at, hop, size [, offset])` | a row for each window that it is in |
//! | `FROM SESSION(t [PARTITION BY k], at, gap)` | window functions over each `k` |
//! | `tumble(at, size)`, `tumble_start`, `tumble_end`, `time_bucket` | `date_bin` |
//! | `transaction_timestamp()`, `statement_timestamp()`, `mz_now()`, `localtimestamp` | `now()` |
//! | `x::json`, `x::jsonb` | text, which the functions for JSON read |
//! | `json_array_elements(x)` | `unnest(json_get_array(x))` |
//! | `stl(x, period => 1440)` | `stl(x, 1440)`: options in their places |
//! | `anomaly_score(m, x, ...)` | the score of a version of the model `m` |
//!
//! A statement is rewritten when it is planned: the text of a view stays as it was written.

mod calls;
mod options;
mod tokens;
mod windows;

use std::ops::ControlFlow;

use arrow::compute::kernels::cast_utils::{
    IntervalParseConfig, IntervalUnit, parse_interval_month_day_nano_config,
};
use arrow::datatypes::IntervalMonthDayNano;
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, Query, Statement, TableFactor, Value, VisitMut,
    VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

pub(super) use self::tokens::readable;
pub(super) use self::windows::{HOP_WINDOWS_MAX, ratio};
use super::error::SqlError;

/// Rewrites `statement` in place.
///
/// # Errors
///
/// Windows with the wrong arguments.
pub(super) fn rewrite(statement: &mut Statement) -> Result<(), SqlError> {
    match VisitMut::visit(statement, &mut Rewriter) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// Inner parts of expressions come before those around them; relations come before what is in them, for what is a
/// window in FROM can be a function elsewhere.
struct Rewriter;

impl VisitorMut for Rewriter {
    type Break = SqlError;

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<SqlError> {
        put(windows::table_factor(factor), factor)
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<SqlError> {
        put(calls::other_form(expr), expr)
    }
}

/// Puts what was made, if anything was, in its place.
fn put<T>(made: Result<Option<T>, SqlError>, place: &mut T) -> ControlFlow<SqlError> {
    match made {
        Ok(Some(made)) => *place = made,
        Ok(None) => {}
        Err(error) => return ControlFlow::Break(error),
    }
    ControlFlow::Continue(())
}

/// The query `text`.
fn query(text: &str) -> Result<Query, SqlError> {
    let parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(text);
    let query = parser.and_then(|mut parser| parser.parse_query());
    query.map(|query| *query).map_err(|e| SqlError::Syntax(format!("syntax error in \"{text}\": {e}")))
}

/// The expression `text`.
fn expression(text: &str) -> Result<Expr, SqlError> {
    let parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(text);
    let expr = parser.and_then(|mut parser| parser.parse_expr());
    expr.map_err(|e| SqlError::Syntax(format!("syntax error in \"{text}\": {e}")))
}

/// The name of a function of ours, in lower case; `None` where it is qualified or quoted.
fn name(name: &ObjectName) -> Option<String> {
    match name.0.as_slice() {
        [part] => part.as_ident().filter(|i| i.quote_style.is_none()).map(|i| i.value.to_lowercase()),
        _ => None,
    }
}

/// The value of an argument, and its name where it has one.
fn argument(argument: &FunctionArg) -> Option<(Option<&Ident>, &Expr)> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some((None, expr)),
        FunctionArg::Named { name, arg: FunctionArgExpr::Expr(expr), .. } => Some((Some(name), expr)),
        FunctionArg::ExprNamed { name: Expr::Identifier(name), arg: FunctionArgExpr::Expr(expr), .. } => {
            Some((Some(name), expr))
        }
        _ => None,
    }
}

/// The value of an interval that is written as such: `INTERVAL '10' SECOND`, `INTERVAL '1 day'`, `'1 day'::interval`.
fn interval(expr: &Expr) -> Option<IntervalMonthDayNano> {
    use datafusion::sql::sqlparser::ast::DataType;
    let text = |expr: &Expr| match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(text.clone()),
            Value::Number(number, _) => Some(number.to_string()),
            _ => None,
        },
        _ => None,
    };
    let text = match expr {
        Expr::Interval(interval) => match &interval.leading_field {
            Some(unit) => format!("{} {unit}", text(&interval.value)?),
            None => text(&interval.value)?,
        },
        Expr::Cast { expr, data_type: DataType::Interval { .. }, .. } => text(expr)?,
        Expr::Nested(inner) => return interval(inner),
        _ => return None,
    };
    parse_interval_month_day_nano_config(&text, IntervalParseConfig::new(IntervalUnit::Second)).ok()
}
