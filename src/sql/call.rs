//! `CALL procedure(arguments)`: a statement by its name.

use datafusion::sql::sqlparser::ast;

use super::error::SqlError;
use super::statement::object_name;

/// A statement that has a name.
struct Procedure {
    /// How it is called.
    name: &'static str,
    /// Its parameters; those behind the first that is optional are so too.
    parameters: &'static [&'static str],
    /// How many of them must be given.
    required: usize,
    /// The statement, of the arguments as they are written.
    statement: fn(&[String]) -> String,
}

const PROCEDURES: [Procedure; 1] = [Procedure {
    name: "acknowledge_anomaly",
    parameters: &["id", "note"],
    required: 1,
    statement: acknowledge_anomaly,
}];

/// Notes that somebody has seen to an anomaly that there is; once more, and it is the last note that counts.
fn acknowledge_anomaly(arguments: &[String]) -> String {
    let [id, note] = arguments else { return String::new() };
    format!(
        "INSERT INTO anomaly_acknowledgements (anomaly_id, service_name, metric_name, detected_at, note) \
         SELECT id, service_name, metric_name, detected_at, CAST({note} AS text) FROM anomalies WHERE id = {id} \
         ON CONFLICT (anomaly_id) DO UPDATE SET note = EXCLUDED.note, acknowledged_at = EXCLUDED.acknowledged_at"
    )
}

/// The statement that `call` stands for.
///
/// # Errors
///
/// There is no such procedure, or it takes other arguments.
pub(super) fn statement(call: &ast::Function) -> Result<String, SqlError> {
    let name = object_name(&call.name)?;
    let Some(procedure) = PROCEDURES.iter().find(|procedure| procedure.name == name) else {
        let known = PROCEDURES.map(|procedure| procedure.name).join(", ");
        return Err(SqlError::Missing { kind: "procedure", name, hint: format!("; there is {known}") });
    };
    let wrong = || {
        SqlError::Syntax(format!(
            "CALL {name}({}) takes {} to {} arguments by position",
            procedure.parameters.join(", "),
            procedure.required,
            procedure.parameters.len()
        ))
    };
    let mut arguments = match &call.args {
        ast::FunctionArguments::List(list) => list.args.iter().map(|argument| match argument {
            ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => Ok(expr.to_string()),
            _ => Err(wrong()),
        }),
        _ => return Err(wrong()),
    }
    .collect::<Result<Vec<String>, SqlError>>()?;
    if !(procedure.required..=procedure.parameters.len()).contains(&arguments.len()) {
        return Err(wrong());
    }
    arguments.resize(procedure.parameters.len(), "NULL".to_owned());
    Ok((procedure.statement)(&arguments))
}
