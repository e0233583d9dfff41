//! Calls of functions under other names.

use datafusion::sql::sqlparser::ast::{
    DataType, Expr, Function, FunctionArg, FunctionArguments, TableAlias, TableFactor,
};

use super::{argument, expression, interval, name, options};
use crate::sql::error::SqlError;

/// What `time_bucket` counts widths from, where it is not told: a Monday, as others do; and for months a new year.
const BUCKET_ORIGINS: [&str; 2] = ["2000-01-03T00:00:00Z", "2000-01-01T00:00:00Z"];

/// What stands for `expr`, if it is one of those spellings.
pub(super) fn other_form(expr: &Expr) -> Result<Option<Expr>, SqlError> {
    match expr {
        Expr::Function(function) => match options::placed(function)? {
            Some(placed) => Ok(Some(placed)),
            None => call(function),
        },
        Expr::Cast { data_type: DataType::JSON | DataType::JSONB, .. } => {
            let mut cast = expr.clone();
            if let Expr::Cast { data_type, .. } = &mut cast {
                *data_type = DataType::Text;
            }
            Ok(Some(cast))
        }
        _ => Ok(None),
    }
}

fn call(function: &Function) -> Result<Option<Expr>, SqlError> {
    let Some(name) = name(&function.name) else { return Ok(None) };
    if function.over.is_some() || function.filter.is_some() {
        return Ok(None);
    }
    if name == "anomaly_score" {
        return anomaly_score(function).map(Some);
    }
    let arguments: Option<Vec<&Expr>> = match &function.args {
        FunctionArguments::None => Some(vec![]),
        FunctionArguments::List(list) => {
            list.args.iter().map(|a| argument(a).filter(|a| a.0.is_none()).map(|a| a.1)).collect()
        }
        FunctionArguments::Subquery(_) => None,
    };
    let Some(arguments) = arguments else { return Ok(None) };
    let text = match (name.as_str(), arguments.as_slice()) {
        ("transaction_timestamp" | "statement_timestamp" | "mz_now", []) => "now()".to_owned(),
        ("localtimestamp", []) => "CAST(now() AS TIMESTAMP)".to_owned(),
        ("tumble" | "tumble_start", [at, size]) => bin(at, size, None),
        ("tumble" | "tumble_start", [at, size, offset]) => bin(at, size, Some(offset)),
        ("tumble_end", [at, size]) => format!("{} + {size}", bin(at, size, None)),
        ("tumble_end", [at, size, offset]) => format!("{} + {size}", bin(at, size, Some(offset))),
        ("time_bucket", [width, at]) => match interval(width) {
            Some(value) => {
                let origin = BUCKET_ORIGINS[usize::from(value.months != 0)];
                format!("date_bin({width}, {at}, '{origin}')")
            }
            None => format!("date_bin({width}, {at})"),
        },
        ("time_bucket", [width, at, shift]) => match interval(shift) {
            Some(_) => bin(at, width, Some(shift)),
            None => format!("date_bin({width}, {at}, {shift})"),
        },
        ("json_array_elements" | "jsonb_array_elements", [array]) => {
            format!("unnest(json_get_array({array}))")
        }
        _ => return Ok(None),
    };
    expression(&text).map(Some)
}

/// `anomaly_score(model, feature, ... [, at => time])`: the score by the version of the model that is valid at `time`, or by the
/// newest.
fn anomaly_score(function: &Function) -> Result<Expr, SqlError> {
    let wrong = || {
        SqlError::Syntax(format!(
            "\"{function}\": anomaly_score(model, feature, ... [, at => time]) is expected"
        ))
    };
    let FunctionArguments::List(list) = &function.args else { return Err(wrong()) };
    let arguments = list.args.iter().map(|a| argument(a).ok_or_else(wrong)).collect::<Result<Vec<_>, _>>()?;
    let (named, plain): (Vec<_>, Vec<_>) = arguments.into_iter().partition(|(name, _)| name.is_some());
    let [(_, Expr::Identifier(model)), features @ ..] = plain.as_slice() else { return Err(wrong()) };
    let version = match named.as_slice() {
        [] => format!("SELECT model FROM {model} ORDER BY valid_from DESC LIMIT 1"),
        [(Some(name), at)] if name.value.eq_ignore_ascii_case("at") => {
            format!(
                "SELECT version.model FROM {model} AS version WHERE version.valid_from <= ({at}) AND ({at}) < version.valid_until"
            )
        }
        _ => return Err(wrong()),
    };
    let features: Vec<String> = features.iter().map(|(_, feature)| feature.to_string()).collect();
    expression(&format!("isolation_forest_score(({version}), {})", features.join(", ")))
}

/// The begin of the window of `size` that `at` is in; windows begin `offset` after the whole multiples of it.
pub(super) fn bin(at: &Expr, size: &Expr, offset: Option<&Expr>) -> String {
    match offset {
        Some(offset) => format!("date_bin({size}, ({at}) - {offset}) + {offset}"),
        None => format!("date_bin({size}, {at})"),
    }
}

/// `json_array_elements(array)` as a relation.
pub(super) fn elements(
    name: &str,
    args: &[FunctionArg],
    alias: &Option<TableAlias>,
) -> Result<Option<TableFactor>, SqlError> {
    let ("json_array_elements" | "jsonb_array_elements", [array]) = (name, args) else { return Ok(None) };
    let Some((None, array)) = argument(array) else { return Ok(None) };
    Ok(Some(TableFactor::UNNEST {
        alias: alias.clone(),
        array_exprs: vec![expression(&format!("json_get_array({array})"))?],
        with_offset: false,
        with_offset_alias: None,
        with_ordinality: false,
    }))
}
