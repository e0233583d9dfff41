//! Errors as PostgreSQL tells them: with a severity, an SQLSTATE code, a hint and a position.

use std::fmt;
use std::io;

use datafusion::arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;
use pgwire::error::{ErrorInfo, PgWireError};
use pgwire::messages::PgWireBackendMessage;

use crate::sql::error::SqlError;

/// Why a statement, or a whole connection, came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The client is told.
    #[error("{0}")]
    Told(Box<Told>),
    /// The connection is gone.
    #[error("the connection failed")]
    Connection(#[from] io::Error),
}

/// What the client is told.
#[derive(Debug)]
pub(super) struct Told {
    /// Whether the connection ends with it.
    pub is_fatal: bool,
    /// The SQLSTATE.
    pub code: &'static str,
    pub message: String,
    pub hint: Option<String>,
    /// Where in the statement, in characters from 1.
    pub position: Option<usize>,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl Fault {
    /// An error after which the connection goes on.
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Fault::told(false, code, message.into())
    }

    /// An error that ends the connection.
    pub fn fatal(code: &'static str, message: impl Into<String>) -> Self {
        Fault::told(true, code, message.into())
    }

    fn told(is_fatal: bool, code: &'static str, message: String) -> Self {
        Fault::Told(Box::new(Told { is_fatal, code, message, hint: None, position: None }))
    }

    /// The same with a hint.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Fault::Told(told) = &mut self {
            told.hint = Some(hint.into());
        }
        self
    }

    /// The same as the end of the connection.
    pub fn and_fatal(mut self, code: &'static str) -> Self {
        if let Fault::Told(told) = &mut self {
            (told.is_fatal, told.code) = (true, code);
        }
        self
    }

    /// The same with its position, which counts within a statement, counted within the whole text, in which
    /// the statement begins after `before` characters.
    pub fn within(mut self, before: usize) -> Self {
        if let Fault::Told(told) = &mut self {
            told.position = told.position.map(|position| position + before);
        }
        self
    }

    /// That a cancel request came.
    pub fn cancelled() -> Self {
        Fault::error("57014", "canceling statement due to user request")
    }

    /// That the client left while a statement ran.
    pub fn gone() -> Self {
        Fault::Connection(io::ErrorKind::ConnectionReset.into())
    }

    /// The error of a statement whose text is `sql`.
    pub fn of(error: SqlError, sql: &str) -> Self {
        let (code, hint) = match &error {
            SqlError::DataFusion(inner) => return of_datafusion(inner, sql),
            SqlError::Syntax(text) if text.contains("is not supported") => ("0A000", None),
            SqlError::Syntax(_) => ("42601", None),
            SqlError::Unsupported { construct, reason, instead } => {
                let message = format!("{construct} in a continuous view is not supported yet: {reason}");
                return Fault::error("0A000", message).hint(instead.clone());
            }
            SqlError::Missing { kind, name, hint } => {
                let fault = Fault::error("42P01", format!("{kind} \"{name}\" does not exist"));
                return match hint.trim_start_matches("; ") {
                    "" => fault,
                    hint => fault.hint(hint),
                };
            }
            SqlError::Exists(_) => ("42P07", None),
            SqlError::Taken { .. } => ("42710", None),
            SqlError::HasReaders { .. } => ("2BP01", None),
            SqlError::Option { .. } => ("22023", None),
            SqlError::View { .. } | SqlError::Ended { .. } => ("55000", None),
            SqlError::Timeout { limit, hint } => {
                let message = format!("the statement took longer than {limit}");
                return Fault::error("57014", message).hint(*hint);
            }
            SqlError::Limit { what, limit, hint } => {
                return Fault::error("54000", format!("{what} {limit}")).hint(*hint);
            }
            SqlError::Write(error) => (error.sqlstate(), None),
            SqlError::NotDurable(_) => ("58030", None),
            SqlError::Engine(_) => ("XX000", None::<String>),
        };
        let fault = Fault::error(code, error.to_string());
        match hint {
            Some(hint) => fault.hint(hint),
            None => fault,
        }
    }

    /// The message that tells it; `None` when nobody is there to be told.
    pub fn message(&self) -> Option<PgWireBackendMessage> {
        let Fault::Told(told) = self else { return None };
        let severity = if told.is_fatal { "FATAL" } else { "ERROR" };
        let mut info = ErrorInfo::new(severity.to_owned(), told.code.to_owned(), told.message.clone());
        info.severity_nonlocalized = Some(severity.to_owned());
        info.hint = told.hint.clone();
        info.position = told.position.map(|position| position.to_string());
        Some(PgWireBackendMessage::ErrorResponse(info.into()))
    }
}

impl From<PgWireError> for Fault {
    fn from(error: PgWireError) -> Self {
        match error {
            PgWireError::IoError(error) => Fault::Connection(error),
            PgWireError::UserError(info) if info.code == "22003" => Fault::error("22003", info.message),
            PgWireError::UserError(info) => Fault::error("22023", info.message),
            PgWireError::FailedToParseParameter(e) => {
                Fault::error("22P02", format!("a parameter cannot be read: {e}"))
            }
            PgWireError::InvalidRustTypeForParameter(name) => {
                Fault::error("0A000", format!("parameters of type \"{name}\" are not supported"))
            }
            other => Fault::error("XX000", other.to_string()),
        }
    }
}

/// DataFusion's kinds of errors as SQLSTATE codes.
fn of_datafusion(error: &DataFusionError, sql: &str) -> Fault {
    let root = error.find_root();
    let code = match root {
        DataFusionError::SQL(parser, _) => {
            let mut fault = Fault::error("42601", syntax_message(parser));
            if let (Fault::Told(told), Some(position)) = (&mut fault, position(&parser.to_string(), sql)) {
                told.position = Some(position);
            }
            return fault;
        }
        DataFusionError::SchemaError(inner, _) => match inner.as_ref() {
            SchemaError::FieldNotFound { .. } => "42703",
            SchemaError::AmbiguousReference { .. } => "42702",
            SchemaError::DuplicateQualifiedField { .. } | SchemaError::DuplicateUnqualifiedField { .. } => {
                "42701"
            }
        },
        DataFusionError::Plan(text) if text.contains("nvalid function") => "42883",
        DataFusionError::Plan(text) if text.contains("not found") => "42P01",
        DataFusionError::Plan(_) | DataFusionError::Configuration(_) => "42000",
        DataFusionError::NotImplemented(_) => "0A000",
        DataFusionError::ResourcesExhausted(_) => "53200",
        DataFusionError::Execution(_) => "22000",
        DataFusionError::ArrowError(inner, _) => match inner.as_ref() {
            ArrowError::DivideByZero => "22012",
            ArrowError::CastError(_) | ArrowError::ParseError(_) => "22P02",
            ArrowError::ArithmeticOverflow(_) => "22003",
            _ => "22000",
        },
        _ => "XX000",
    };
    // What stands around the root tells of the planner's own steps.
    let message = root.strip_backtrace();
    // The text of a schema error goes on with all columns there are: that is the hint.
    match message.split_once('\n') {
        Some((first, rest)) => Fault::error(code, first).hint(rest.trim()),
        None => Fault::error(code, message),
    }
}

fn syntax_message(error: &ParserError) -> String {
    match error {
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => format!("syntax error: {text}"),
        ParserError::RecursionLimitExceeded => "the statement is nested too deeply".to_owned(),
    }
}

/// The character of `sql`, from 1, that a message of the parser names by line and column.
fn position(message: &str, sql: &str) -> Option<usize> {
    let (_, place) = message.rsplit_once("at Line: ")?;
    let (line, column) = place.split_once(", Column: ")?;
    let number = |text: &str| {
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        text[..end].parse::<usize>().ok()
    };
    let (line, column) = (number(line)?, number(column)?);
    let before: usize = sql.split_inclusive('\n').take(line.checked_sub(1)?).map(|l| l.chars().count()).sum();
    Some(before + column)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::statement::parse;

    #[test]
    fn a_syntax_error_has_its_position_in_characters() {
        let sql = "SELECT 'ä',\n  1 FROM spans WHERE )";
        let fault = Fault::of(parse(sql).unwrap_err(), sql);
        let Fault::Told(told) = fault else { panic!("{fault}") };
        assert_eq!(told.code, "42601");
        assert_eq!(told.position.map(|p| sql.chars().skip(p - 1).collect::<String>()), Some(")".to_owned()));
    }
}
