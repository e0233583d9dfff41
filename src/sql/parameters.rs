//! The values of a statement's parameters: `$1`, `$2`, ...

use arrow::datatypes::DataType;
use datafusion::logical_expr::LogicalPlan;

/// A value of a parameter.
pub use datafusion::common::ScalarValue as Value;

use super::error::SqlError;
use super::session::flatten;

/// The most parameters of a statement.
pub const PARAMETERS_MAX: usize = 1_000;

/// The types of the parameters of `plan`, from `$1` on; `None` where the statement does not tell.
///
/// # Errors
///
/// A parameter that is no number, or one beyond [`PARAMETERS_MAX`].
pub fn types(plan: &LogicalPlan) -> Result<Vec<Option<DataType>>, SqlError> {
    let known = plan.get_parameter_types()?;
    let mut types = vec![];
    for name in plan.get_parameter_names()? {
        let number = name.trim_start_matches('$').parse().ok().filter(|n| (1..=PARAMETERS_MAX).contains(n));
        let Some(number) = number else {
            return Err(SqlError::Syntax(format!(
                "parameter \"{name}\" is not supported; parameters are $1 to ${PARAMETERS_MAX}"
            )));
        };
        types.resize(types.len().max(number), None);
        types[number - 1] = known.get(&name).cloned().flatten();
    }
    Ok(types)
}

/// `plan` with `values` in place of its parameters, cast to the types that it wants.
///
/// # Errors
///
/// Another number of values than of parameters, or a value that cannot be cast.
pub fn bind(plan: LogicalPlan, values: &[Value]) -> Result<LogicalPlan, SqlError> {
    let types = types(&plan)?;
    if types.len() != values.len() {
        let (expected, given) = (types.len(), values.len());
        return Err(SqlError::Syntax(format!(
            "the statement has {expected} parameters, and {given} values were given"
        )));
    }
    if types.is_empty() {
        return Ok(plan);
    }
    let cast = |(index, (value, wanted)): (usize, (&Value, &Option<DataType>))| match wanted {
        None => Ok(value.clone()),
        Some(wanted) => value.cast_to(wanted).map_err(|_| SqlError::Option {
            name: format!("${}", index + 1),
            value: value.to_string(),
            expected: format!("a value of type {wanted} is expected"),
        }),
    };
    let values: Vec<Value> = values.iter().zip(&types).enumerate().map(cast).collect::<Result<_, _>>()?;
    plan.with_param_values(values).map_err(flatten)
}
