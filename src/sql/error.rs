//! What can be wrong with a statement.

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;

/// Why a statement was refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// DataFusion refused or failed it.
    #[error("{}", first_line(.0))]
    DataFusion(DataFusionError),
    /// It parses, but no statement of ours has this form.
    #[error("{0}")]
    Syntax(String),
    /// A continuous query cannot maintain this.
    #[error("{construct} in a continuous view is not supported yet: {reason}; {instead}")]
    Unsupported {
        /// What was written.
        construct: String,
        /// Why it cannot be maintained.
        reason: String,
        /// What to write instead.
        instead: String,
    },
    /// There is no such relation.
    #[error("{kind} \"{name}\" does not exist{hint}")]
    Missing {
        /// What was looked for: a relation, a view.
        kind: &'static str,
        /// Its name.
        name: String,
        /// What there is instead, where it helps.
        hint: String,
    },
    /// The name is taken.
    #[error("relation \"{0}\" already exists; use CREATE OR REPLACE, or drop it first")]
    Exists(String),
    /// Others read it.
    #[error("cannot drop \"{name}\": {} read{} it; drop {} first", .readers.join(", "), if .readers.len() == 1 { "s" } else { "" }, if .readers.len() == 1 { "it" } else { "them" })]
    HasReaders {
        /// What was to be dropped.
        name: String,
        /// The views that read it.
        readers: Vec<String>,
    },
    /// An option of a statement is unknown or has a bad value.
    #[error("option {name} = \"{value}\": {expected}")]
    Option {
        /// The option.
        name: String,
        /// Its value.
        value: String,
        /// What is allowed.
        expected: String,
    },
    /// Rows of the view could not be computed: it has no answer until they are gone.
    #[error("view \"{view}\" has no answer: {count} of its rows failed, the first with: {message}")]
    View {
        /// The view read.
        view: String,
        /// One of the errors.
        message: String,
        /// How many there are.
        count: i64,
    },
    /// A view that is subscribed to has nothing more to tell.
    #[error("the subscription to \"{view}\" ended: {reason}")]
    Ended {
        /// The view.
        view: String,
        /// Why.
        reason: String,
    },
    /// It took longer than it may.
    #[error("the statement took longer than {limit}: {hint}")]
    Timeout {
        /// The limit and its setting.
        limit: String,
        /// What to do.
        hint: &'static str,
    },
    /// It took more than a limit allows.
    #[error("{what} {limit}: {hint}")]
    Limit {
        /// What was too much.
        what: &'static str,
        /// The limit and its setting.
        limit: String,
        /// What to do.
        hint: &'static str,
    },
    /// The engine is gone.
    #[error("the engine has stopped: {0}")]
    Engine(String),
}

impl SqlError {
    /// A construct that cannot be maintained.
    pub fn unsupported(
        construct: impl Into<String>,
        reason: impl Into<String>,
        instead: impl Into<String>,
    ) -> Self {
        SqlError::Unsupported { construct: construct.into(), reason: reason.into(), instead: instead.into() }
    }
}

/// Not marked as its source: the message says it all, and a chain of errors would say it twice.
impl From<DataFusionError> for SqlError {
    fn from(error: DataFusionError) -> Self {
        SqlError::DataFusion(error)
    }
}

impl From<ArrowError> for SqlError {
    fn from(error: ArrowError) -> Self {
        SqlError::DataFusion(error.into())
    }
}

fn first_line(error: &DataFusionError) -> String {
    error.strip_backtrace()
}
