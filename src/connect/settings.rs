//! Options as whoever connects uses them.

use super::ConnectError;
use crate::sql::connector::Options;

/// The value of option `name`; of `${NAME}` that of the environment variable.
pub(super) fn value(options: &Options, name: &str) -> Result<Option<String>, ConnectError> {
    options.get(name).map(|value| resolved(name, value)).transpose()
}

/// The value of option `name`, which is there.
pub(super) fn required(options: &Options, name: &str) -> Result<String, ConnectError> {
    value(options, name)?.ok_or_else(|| ConnectError::Option {
        name: name.to_owned(),
        value: String::new(),
        expected: "it is needed".to_owned(),
    })
}

/// The number that option `name` says.
pub(super) fn number<T: std::str::FromStr>(options: &Options, name: &str) -> Result<Option<T>, ConnectError> {
    let Some(text) = value(options, name)? else { return Ok(None) };
    let number = text.trim().parse().map_err(|_| ConnectError::Option {
        name: name.to_owned(),
        value: text.clone(),
        expected: "a number is expected".to_owned(),
    });
    number.map(Some)
}

/// `value`, or what the environment variable holds that it names.
pub(super) fn resolved(name: &str, value: &str) -> Result<String, ConnectError> {
    let Some(variable) = value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) else {
        return Ok(value.to_owned());
    };
    std::env::var(variable)
        .map_err(|_| ConnectError::Variable { name: name.to_owned(), variable: variable.to_owned() })
}
