//! The parameters of a prepared statement, from what a client sends to values of a plan.

use std::sync::Arc;

use arrow_pg::datatypes::df::deserialize_parameters_with_server_types;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::ParamValues;
use pgwire::api::Type;
use pgwire::api::portal::Portal;
use pgwire::api::stmt::StoredStatement;
use pgwire::messages::extendedquery::Bind;

use super::columns::arrow_type;
use super::error::Fault;
use crate::sql::question::Parameter;

/// The values of `bind` for parameters of `types`. Text is read as the engine reads it in a statement.
pub(super) fn read(bind: &mut Bind, types: &[Type]) -> Result<Vec<Parameter>, Fault> {
    let (count, given) = (types.len(), bind.parameters.len());
    if given != count {
        let message = format!("{given} parameters are given, and the statement has {count}");
        return Err(Fault::error("08P01", message));
    }
    let codes = bind.parameter_format_codes.clone();
    if codes.len() > 1 && codes.len() != count {
        return Err(Fault::error(
            "08P01",
            format!("{} formats are given for {count} parameters", codes.len()),
        ));
    }
    let mut types = types.to_vec();
    let mut texts: Vec<Option<Parameter>> = vec![None; count];
    for (at, pg_type) in types.iter_mut().enumerate() {
        let is_text = codes.get(at).or(codes.first()).copied().unwrap_or_default() == 0;
        let Some(bytes) = bind.parameters[at].as_ref() else { continue };
        let Some(target) = arrow_type(pg_type).filter(|target| is_text && reads_text(target)) else {
            continue;
        };
        texts[at] = Some(parse(at, bytes, &target)?);
        (bind.parameters[at], *pg_type) = (None, Type::TEXT);
    }
    // A time with a zone is read as one, and not as the local time of nowhere.
    let zoned = arrow_type(&Type::TIMESTAMPTZ);
    let inferred: Vec<Option<&DataType>> =
        types.iter().map(|t| zoned.as_ref().filter(|_| *t == Type::TIMESTAMPTZ)).collect();
    let declared = types.iter().cloned().map(Some).collect();
    let portal = Portal::try_new(bind, Arc::new(StoredStatement::new(String::new(), (), declared)))?;
    let ParamValues::List(values) = deserialize_parameters_with_server_types(&portal, &inferred, &[])? else {
        return Err(Fault::error("XX000", "parameters are read by their position"));
    };
    Ok(values.into_iter().zip(texts).map(|(value, text)| text.unwrap_or(value.value)).collect())
}

/// Whether text that stands for a value of `target` is read by a cast. Of a number, the type that its client
/// names has a form of its own.
fn reads_text(target: &DataType) -> bool {
    !matches!(target, DataType::Decimal128(..) | DataType::Binary | DataType::List(_))
}

fn parse(at: usize, bytes: &[u8], target: &DataType) -> Result<Parameter, Fault> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| Fault::error("22021", format!("parameter ${} is not valid UTF-8", at + 1)))?;
    let text = match target {
        DataType::Boolean => match text {
            "t" | "on" | "yes" | "y" | "1" => "true",
            "f" | "off" | "no" | "n" | "0" => "false",
            other => other,
        },
        _ => text,
    };
    Parameter::from(text).cast_to(target).map_err(|error| {
        let message =
            format!("parameter ${} = \"{text}\" is no {target}: {}", at + 1, error.strip_backtrace());
        Fault::error("22P02", message)
    })
}
