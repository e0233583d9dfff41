//! Options that calls give by name.
//!
//! `stl(value, robust => true, period => 1440)` becomes `stl(value, 1440, NULL, ..., true)`: the planner knows names, but not
//! that one may be left out.

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Value,
};

use super::{argument, name};
use crate::sql::detectors::{Signature, signature};
use crate::sql::error::SqlError;

/// `function` with the options of its call in their places, if it is one that has options.
pub(super) fn placed(function: &Function) -> Result<Option<Expr>, SqlError> {
    let Some(name) = name(&function.name) else { return Ok(None) };
    let (Some(signature), FunctionArguments::List(list)) = (signature(&name), &function.args) else {
        return Ok(None);
    };
    let mut options: Vec<Option<&Expr>> = vec![None; signature.options.len()];
    let mut plain = vec![];
    for given in &list.args {
        match argument(given) {
            Some((None, _)) => plain.push(given.clone()),
            Some((Some(option), value)) => {
                *place(&name, &signature, &mut options, &option.value.to_lowercase(), value)? = Some(value);
            }
            None => return Ok(None),
        }
    }
    let given = options.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
    if given == 0 && !signature.has_options_first {
        return Ok(None);
    }
    let kept = if signature.has_options_first { options.len() } else { given };
    let options = options.into_iter().take(kept).map(|option| {
        let value = option.cloned().unwrap_or(Expr::Value(Value::Null.into()));
        FunctionArg::Unnamed(FunctionArgExpr::Expr(value))
    });
    let args = match signature.has_options_first {
        true => options.chain(plain).collect(),
        false if plain.len() == signature.values => plain.into_iter().chain(options).collect(),
        false => return Err(mixed(&name, &signature)),
    };
    let mut placed = function.clone();
    if let FunctionArguments::List(list) = &mut placed.args {
        list.args = args;
    }
    Ok(Some(Expr::Function(placed)))
}

fn place<'a, 'b>(
    name: &str,
    signature: &Signature,
    options: &'b mut [Option<&'a Expr>],
    option: &str,
    value: &Expr,
) -> Result<&'b mut Option<&'a Expr>, SqlError> {
    let refused =
        |expected: String| SqlError::Option { name: option.to_owned(), value: value.to_string(), expected };
    let index = signature.options.iter().position(|known| *known == option);
    let index = index.ok_or_else(|| refused(format!("{name} takes {}", signature.options.join(", "))))?;
    match &mut options[index] {
        Some(_) => Err(refused(format!("{name} is given it twice"))),
        free => Ok(free),
    }
}

fn mixed(name: &str, signature: &Signature) -> SqlError {
    let values = signature.values;
    SqlError::Syntax(format!("{name}: {values} values and then named options are expected"))
}
