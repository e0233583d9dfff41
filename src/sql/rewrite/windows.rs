//! TUMBLE, HOP and SESSION in FROM.

use arrow::datatypes::IntervalMonthDayNano;
use datafusion::sql::sqlparser::ast::{Expr, FunctionArg, FunctionArguments, Ident, TableAlias, TableFactor};

use super::{argument, calls, interval, name, query};
use crate::sql::error::SqlError;

/// Windows that stand in FROM.
pub(super) const WINDOWS: [&str; 3] = ["tumble", "hop", "session"];

/// The most windows of a HOP that one row can be in.
pub const HOP_WINDOWS_MAX: i64 = 1_000;

/// The relation that stands for `factor`, if it is a window, or elements of JSON.
pub(super) fn table_factor(factor: &TableFactor) -> Result<Option<TableFactor>, SqlError> {
    let (function, args, alias) = match factor {
        TableFactor::Table { name: function, args: Some(args), alias, .. } => {
            (function, args.args.as_slice(), alias)
        }
        TableFactor::TableFunction { expr: Expr::Function(call), alias } => match &call.args {
            FunctionArguments::List(list) => (&call.name, list.args.as_slice(), alias),
            _ => return Ok(None),
        },
        TableFactor::Function { name: function, args, alias, .. } => (function, args.as_slice(), alias),
        _ => return Ok(None),
    };
    let Some(function) = name(function) else { return Ok(None) };
    if !WINDOWS.contains(&function.as_str()) {
        return calls::elements(&function, args, alias);
    }
    let window = Window::new(&function, args)?;
    let text = match function.as_str() {
        "tumble" => window.tumble()?,
        "hop" => window.hop()?,
        _ => window.session()?,
    };
    Ok(Some(TableFactor::Derived {
        lateral: false,
        subquery: Box::new(query(&text)?),
        alias: alias.clone().or_else(|| window.own_alias()),
        sample: None,
    }))
}

/// A call of a window.
struct Window<'a> {
    function: &'a str,
    data: &'a Expr,
    /// The keys of SESSION.
    keys: Vec<&'a Expr>,
    /// The column of time.
    at: &'a Expr,
    /// The intervals behind it.
    intervals: Vec<&'a Expr>,
}

impl<'a> Window<'a> {
    fn new(function: &'a str, args: &'a [FunctionArg]) -> Result<Self, SqlError> {
        let args = args.iter().map(argument).collect::<Option<Vec<_>>>().ok_or_else(|| wrong(function))?;
        let args = in_order(function, args)?;
        let is_session = function == "session";
        let (data, rest) = args.split_first().ok_or_else(|| wrong(function))?;
        // What stands between the relation of a SESSION and its last two arguments are keys.
        let keys = if is_session { rest.len().saturating_sub(2) } else { 0 };
        let (keys, rest) = rest.split_at(keys);
        let (at, intervals) = rest.split_first().ok_or_else(|| wrong(function))?;
        let counts = match function {
            "tumble" => 1..=2,
            "hop" => 2..=3,
            _ => 1..=1,
        };
        if !counts.contains(&intervals.len()) {
            return Err(wrong(function));
        }
        let keys = keys.iter().flat_map(|key| match key {
            Expr::Tuple(keys) => keys.iter().collect::<Vec<_>>(),
            Expr::Nested(key) => vec![key.as_ref()],
            key => vec![*key],
        });
        Ok(Window { function, data, keys: keys.collect(), at: column(at), intervals: intervals.to_vec() })
    }

    /// `FROM` the relation, without rows that have no time: they are in no window.
    fn from(&self) -> Result<String, SqlError> {
        let relation = match self.data {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => self.data.to_string(),
            Expr::Subquery(query) => format!("({query}) AS windowed"),
            _ => return Err(wrong(self.function)),
        };
        Ok(format!("FROM {relation} WHERE {} IS NOT NULL", self.at))
    }

    /// The name of the relation, under which its columns are known still.
    fn own_alias(&self) -> Option<TableAlias> {
        let last: &Ident = match self.data {
            Expr::Identifier(name) => name,
            Expr::CompoundIdentifier(names) => names.last()?,
            _ => return None,
        };
        Some(TableAlias { explicit: true, name: last.clone(), columns: vec![], at: None })
    }

    fn tumble(&self) -> Result<String, SqlError> {
        let (size, offset) = (self.intervals[0], self.intervals.get(1).copied());
        self.length(size, "size")?;
        let start = calls::bin(self.at, size, offset);
        let from = self.from()?;
        Ok(format!("SELECT *, {start} AS window_start, {start} + {size} AS window_end {from}"))
    }

    fn hop(&self) -> Result<String, SqlError> {
        let (hop, size) = (self.intervals[0], self.intervals[1]);
        let windows = ratio(self.length(size, "size")?, self.length(hop, "hop")?);
        if !windows.is_some_and(|windows| (1..=HOP_WINDOWS_MAX).contains(&windows)) {
            return Err(SqlError::Syntax(format!(
                "HOP of size {size} every {hop}: the size must be a whole multiple of the hop, from 1 to {HOP_WINDOWS_MAX} times as long"
            )));
        }
        let offset = self.intervals.get(2).map_or(String::new(), |offset| format!(", {offset}"));
        let (at, from) = (self.at, self.from()?);
        Ok(format!(
            "SELECT *, window_start + {size} AS window_end FROM (SELECT *, unnest(hop_starts({at}, {hop}, {size}{offset})) AS window_start {from}) AS windows"
        ))
    }

    fn session(&self) -> Result<String, SqlError> {
        let gap = self.intervals[0];
        self.length(gap, "gap")?;
        let keys: Vec<String> = self.keys.iter().map(|key| key.to_string()).collect();
        let by = if keys.is_empty() { String::new() } else { format!("PARTITION BY {} ", keys.join(", ")) };
        let (at, from) = (self.at, self.from()?);
        let over = format!("OVER ({by}ORDER BY {at})");
        Ok(format!(
            "SELECT *, session_start({at}, {gap}) {over} AS window_start, session_end({at}, {gap}) {over} AS window_end {from}"
        ))
    }

    /// The value of `expr`, which is an interval above zero.
    fn length(&self, expr: &Expr, what: &str) -> Result<IntervalMonthDayNano, SqlError> {
        let value = interval(expr).filter(|i| {
            let parts = [i64::from(i.months), i64::from(i.days), i.nanoseconds];
            parts.iter().all(|part| *part >= 0) && parts.iter().any(|part| *part > 0)
        });
        value.ok_or_else(|| {
            SqlError::Syntax(format!(
                "{} with {what} {expr}: an interval above zero is expected, as INTERVAL '10 minutes'",
                self.function.to_uppercase()
            ))
        })
    }
}

/// How often `part` goes into `whole`, if it does so without a rest.
pub fn ratio(whole: IntervalMonthDayNano, part: IntervalMonthDayNano) -> Option<i64> {
    const DAY_NS: i64 = 86_400_000_000_000;
    let nanos = |i: IntervalMonthDayNano| i64::from(i.days).checked_mul(DAY_NS)?.checked_add(i.nanoseconds);
    let (whole, part) = match (whole.months, part.months) {
        (0, 0) => (nanos(whole)?, nanos(part)?),
        (whole_months, part_months) if nanos(whole)? == 0 && nanos(part)? == 0 => {
            (i64::from(whole_months), i64::from(part_months))
        }
        _ => return None,
    };
    (part > 0 && whole % part == 0).then(|| whole / part)
}

/// `args` by their places; those with names go where their names say.
fn in_order<'a>(function: &str, args: Vec<(Option<&'a Ident>, &'a Expr)>) -> Result<Vec<&'a Expr>, SqlError> {
    if args.iter().all(|(name, _)| name.is_none()) {
        return Ok(args.into_iter().map(|(_, expr)| expr).collect());
    }
    let names: &[&str] = match function {
        "tumble" => &["data", "timecol", "size", "offset"],
        "hop" => &["data", "timecol", "slide", "size", "offset"],
        _ => &["data", "partition", "timecol", "gap"],
    };
    // What PARTITION BY became has no name and stands behind the data.
    let name_of = |name: Option<&Ident>| name.map_or("partition".to_owned(), |n| n.value.to_lowercase());
    let mut ordered = vec![];
    for (index, (name, expr)) in args.into_iter().enumerate() {
        let name = if index == 0 && name.is_none() { "data".to_owned() } else { name_of(name) };
        let place = names.iter().position(|n| *n == name).ok_or_else(|| wrong(function))?;
        ordered.push((place, index, expr));
    }
    ordered.sort_unstable_by_key(|(place, index, _)| (*place, *index));
    Ok(ordered.into_iter().map(|(.., expr)| expr).collect())
}

/// `x` of `DESCRIPTOR(x)`; else `expr` itself.
fn column(expr: &Expr) -> &Expr {
    if let Expr::Function(call) = expr
        && name(&call.name).is_some_and(|n| n == "descriptor")
        && let FunctionArguments::List(list) = &call.args
        && let [only] = list.args.as_slice()
        && let Some((_, column)) = argument(only)
    {
        return column;
    }
    expr
}

fn wrong(function: &str) -> SqlError {
    let expected = match function {
        "tumble" => "TUMBLE(relation, time_column, INTERVAL size [, INTERVAL offset])",
        "hop" => "HOP(relation, time_column, INTERVAL hop, INTERVAL size [, INTERVAL offset])",
        _ => "SESSION(relation [PARTITION BY key, ...], time_column, INTERVAL gap)",
    };
    SqlError::Syntax(format!(
        "wrong arguments of {}: {expected} is expected, where the relation is a name or a query in parentheses",
        function.to_uppercase()
    ))
}
