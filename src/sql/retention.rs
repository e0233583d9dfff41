//! ALTER TABLE: how long rows are kept.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::error::SqlError;
use super::statement::parse_duration_ms;
use super::words::Words;

/// `ALTER TABLE ... SET (retention = ...)` and `ALTER TABLE ... RESET (retention)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetRetention {
    /// The table.
    pub table: String,
    /// How long its rows are kept, in milliseconds of stream time; `None`: for ever.
    pub retention_ms: Option<u64>,
}

/// What comes after ALTER TABLE.
///
/// # Errors
///
/// Where it sets something else, or the duration is none that rows can be kept for.
pub(super) fn set_retention(words: &mut Words) -> Result<SetRetention, SqlError> {
    let table = words.name()?;
    let is_set = match (words.take(&["set"]), words.take(&["reset"])) {
        (true, _) => true,
        (false, true) => false,
        (false, false) => {
            return Err(SqlError::Syntax(
                "ALTER TABLE takes SET (retention = ...) and RESET (retention)".to_owned(),
            ));
        }
    };
    parenthesis(words, &Token::LParen, "(")?;
    let option = words.name()?;
    if option != "retention" {
        let expected = "a table that exists has retention to be set".to_owned();
        return Err(SqlError::Option { name: option, value: String::new(), expected });
    }
    let retention_ms = if is_set { Some(duration(words)?) } else { None };
    parenthesis(words, &Token::RParen, ")")?;
    Ok(SetRetention { table, retention_ms })
}

fn duration(words: &mut Words) -> Result<u64, SqlError> {
    parenthesis(words, &Token::Eq, "=")?;
    words.take(&["interval"]);
    let value = words.value()?;
    parse_duration_ms(&value).ok_or_else(|| SqlError::Option {
        name: "retention".to_owned(),
        value,
        expected: "a duration such as '7 days' is expected, from 1 second to 100 years".to_owned(),
    })
}

fn parenthesis(words: &mut Words, token: &Token, text: &str) -> Result<(), SqlError> {
    match words.take_token(token) {
        true => Ok(()),
        false => Err(SqlError::Syntax(format!("syntax error: \"{text}\" expected"))),
    }
}
