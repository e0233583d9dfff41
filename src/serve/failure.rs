//! What kinds of errors there are, as protocols tell them apart.

use datafusion::error::DataFusionError;

use crate::sql::error::{SqlError, WriteError};

/// The kind of an error of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It does not parse, names a column that is not there, or mixes types.
    Syntax,
    /// A construct that is not supported.
    Unsupported,
    /// A relation is not there.
    Missing,
    /// The name is taken.
    Exists,
    /// Others need what was to go.
    InUse,
    /// An option or a parameter has a bad value.
    Value,
    /// A row could not be computed.
    Data,
    /// A null where there may be none.
    NotNull,
    /// A key that is there already.
    Unique,
    /// A text that is too long for its column.
    TooLong,
    /// Somebody else changed the rows.
    Conflict,
    /// Rows of what is no table, or of one that only grows.
    WrongObject,
    /// It took too long.
    Timeout,
    /// The answer is too large.
    TooLarge,
    /// Memory for queries ran out.
    OutOfMemory,
    /// A subscription ended.
    Ended,
    /// The journal cannot be written.
    NotDurable,
    /// The engine takes no statements.
    Stopped,
    /// A mistake of ours.
    Internal,
}

impl Failure {
    /// The kind of `error`.
    pub fn of(error: &SqlError) -> Failure {
        match error {
            SqlError::DataFusion(error) => of_datafusion(error),
            SqlError::Syntax(_) => Failure::Syntax,
            SqlError::Unsupported { .. } => Failure::Unsupported,
            SqlError::Missing { .. } => Failure::Missing,
            SqlError::Exists(_) | SqlError::Taken { .. } => Failure::Exists,
            SqlError::HasReaders { .. } => Failure::InUse,
            SqlError::Option { .. } => Failure::Value,
            SqlError::View { .. } => Failure::Data,
            SqlError::Ended { .. } => Failure::Ended,
            SqlError::Timeout { .. } => Failure::Timeout,
            SqlError::Limit { .. } => Failure::TooLarge,
            SqlError::Write(error) => of_write(error),
            SqlError::NotDurable(_) => Failure::NotDurable,
            SqlError::Engine(_) => Failure::Stopped,
        }
    }

    /// PostgreSQL's name of the condition.
    pub fn code(self) -> &'static str {
        match self {
            Failure::Syntax => "syntax_error_or_access_rule_violation",
            Failure::Unsupported => "feature_not_supported",
            Failure::Missing => "undefined_table",
            Failure::Exists => "duplicate_table",
            Failure::InUse => "dependent_objects_still_exist",
            Failure::Value => "invalid_parameter_value",
            Failure::Data => "data_exception",
            Failure::NotNull => "not_null_violation",
            Failure::Unique => "unique_violation",
            Failure::TooLong => "string_data_right_truncation",
            Failure::Conflict => "serialization_failure",
            Failure::WrongObject => "wrong_object_type",
            Failure::Timeout => "query_canceled",
            Failure::TooLarge => "program_limit_exceeded",
            Failure::OutOfMemory => "out_of_memory",
            Failure::Ended => "object_not_in_prerequisite_state",
            Failure::NotDurable => "io_error",
            Failure::Stopped => "cannot_connect_now",
            Failure::Internal => "internal_error",
        }
    }
}

fn of_write(error: &WriteError) -> Failure {
    match error {
        WriteError::Null { .. } => Failure::NotNull,
        WriteError::Duplicate { .. } => Failure::Unique,
        WriteError::TooLong { .. } => Failure::TooLong,
        WriteError::Type { .. }
        | WriteError::NoColumn { .. }
        | WriteError::ColumnTwice(_)
        | WriteError::NoKey { .. } => Failure::Syntax,
        WriteError::NotTable { .. } | WriteError::AppendOnly { .. } => Failure::WrongObject,
        WriteError::Twice { .. } => Failure::Data,
        WriteError::Full { .. } => Failure::TooLarge,
        WriteError::Changed { .. } => Failure::Conflict,
    }
}

fn of_datafusion(error: &DataFusionError) -> Failure {
    match error.find_root() {
        DataFusionError::SQL(..) | DataFusionError::Plan(_) | DataFusionError::SchemaError(..) => {
            Failure::Syntax
        }
        DataFusionError::NotImplemented(_) => Failure::Unsupported,
        DataFusionError::ResourcesExhausted(_) => Failure::OutOfMemory,
        DataFusionError::ArrowError(..) | DataFusionError::Execution(_) => Failure::Data,
        DataFusionError::Configuration(_) => Failure::Value,
        _ => Failure::Internal,
    }
}

/// The message of `error`, and what to do about it where that stands apart.
pub(super) fn message_and_hint(error: &SqlError) -> (String, Option<String>) {
    match error {
        SqlError::Missing { kind, name, hint } => {
            let hint = hint.trim_start_matches("; ");
            (format!("{kind} \"{name}\" does not exist"), (!hint.is_empty()).then(|| hint.to_owned()))
        }
        SqlError::Unsupported { construct, reason, instead } => (
            format!("{construct} in a continuous view is not supported yet: {reason}"),
            Some(instead.clone()),
        ),
        SqlError::Limit { what, limit, hint } => (format!("{what} {limit}"), Some((*hint).to_owned())),
        SqlError::Timeout { limit, hint } => {
            (format!("the statement took longer than {limit}"), Some((*hint).to_owned()))
        }
        other => (other.to_string(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_stands_apart_from_the_message() {
        let hint = "; did you mean \"spans\"?".to_owned();
        let error = SqlError::Missing { kind: "relation", name: "span".to_owned(), hint };
        assert_eq!(Failure::of(&error), Failure::Missing);
        assert_eq!(
            message_and_hint(&error),
            ("relation \"span\" does not exist".to_owned(), Some("did you mean \"spans\"?".to_owned()))
        );
        assert_eq!(message_and_hint(&SqlError::Syntax("no".to_owned())), ("no".to_owned(), None));
    }

    #[test]
    fn errors_of_rows_are_told_from_those_of_statements() {
        let plan = DataFusionError::Plan("no such column".to_owned()).context("while planning");
        assert_eq!(Failure::of(&plan.into()), Failure::Syntax);
        let divided = arrow::error::ArrowError::DivideByZero;
        assert_eq!(Failure::of(&SqlError::from(divided)), Failure::Data);
    }
}
