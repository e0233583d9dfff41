//! What can be wrong with a statement.

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::parser::ParserError;

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
    /// The name is taken by something that cannot be replaced.
    #[error("{kind} \"{name}\" already exists; drop it first")]
    Taken {
        /// What it is: a source, a sink.
        kind: &'static str,
        /// Its name.
        name: String,
    },
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
    /// Rows of a table cannot be changed so.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// It could not be made durable, and was not done.
    #[error("not done: {0}")]
    NotDurable(String),
    /// The engine is gone.
    #[error("the engine has stopped: {0}")]
    Engine(String),
}

/// Why rows of a table were not changed: nothing of the statement was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// A null where there may be none.
    #[error("null value in column \"{column}\" of relation \"{table}\" violates not-null constraint")]
    Null {
        /// The table.
        table: String,
        /// The column.
        column: String,
    },
    /// A key would be there twice.
    #[error(
        "duplicate key value violates unique constraint \"{constraint}\": key ({columns}) = ({values}) already exists"
    )]
    Duplicate {
        /// The name of the constraint.
        constraint: String,
        /// The columns of the key.
        columns: String,
        /// Their values.
        values: String,
    },
    /// A text has more characters than its column takes.
    #[error("value too long for type character varying({length_max}) of column \"{column}\"")]
    TooLong {
        /// The column.
        column: String,
        /// How many it takes.
        length_max: u64,
    },
    /// A value cannot be made one of the column's type.
    #[error("column \"{column}\" is of type {expected} but expression is of type {found}; cast it")]
    Type {
        /// The column.
        column: String,
        /// Its type.
        expected: String,
        /// The value's.
        found: String,
    },
    /// The table has no such column.
    #[error("column \"{column}\" of relation \"{table}\" does not exist")]
    NoColumn {
        /// The table.
        table: String,
        /// What was named.
        column: String,
    },
    /// A column is given two values.
    #[error("column \"{0}\" is assigned more than once")]
    ColumnTwice(String),
    /// What is to be changed is no table of a user.
    #[error(
        "cannot change rows of \"{relation}\": it is a {kind}, and only those of tables that CREATE TABLE made can be changed"
    )]
    NotTable {
        /// What was named.
        relation: String,
        /// What it is.
        kind: &'static str,
    },
    /// Rows of the table only come.
    #[error("cannot {command} rows of \"{table}\": it is append-only, and takes INSERT and COPY alone")]
    AppendOnly {
        /// The statement's command.
        command: &'static str,
        /// The table.
        table: String,
    },
    /// ON CONFLICT without a key that conflicts.
    #[error("there is no primary key of \"{table}\" that matches ON CONFLICT")]
    NoKey {
        /// The table.
        table: String,
    },
    /// One row would be changed by several.
    #[error(
        "{command} cannot change a row a second time: several rows of its source match it; aggregate them to one"
    )]
    Twice {
        /// The statement's command.
        command: &'static str,
    },
    /// The table has reached its limit.
    #[error(
        "table \"{table}\" would take {bytes} bytes, and a table has {bytes_max} at most (engine.stored_bytes_max); delete rows, or make it append-only"
    )]
    Full {
        /// The table.
        table: String,
        /// What it would take.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Somebody else was faster.
    #[error("could not serialize access to \"{table}\" due to a concurrent change; try again")]
    Changed {
        /// The table.
        table: String,
    },
}

impl WriteError {
    /// PostgreSQL's code of the condition.
    pub fn sqlstate(&self) -> &'static str {
        match self {
            WriteError::Null { .. } => "23502",
            WriteError::Duplicate { .. } => "23505",
            WriteError::TooLong { .. } => "22001",
            WriteError::Type { .. } => "42804",
            WriteError::NoColumn { .. } => "42703",
            WriteError::ColumnTwice(_) => "42701",
            WriteError::NotTable { .. } => "42809",
            WriteError::AppendOnly { .. } => "0A000",
            WriteError::NoKey { .. } => "42P10",
            WriteError::Twice { .. } => "21000",
            WriteError::Full { .. } => "54000",
            WriteError::Changed { .. } => "40001",
        }
    }
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
    /// An error of ours that travelled through DataFusion is as it was.
    fn from(error: DataFusionError) -> Self {
        match error {
            DataFusionError::External(inner) => match inner.downcast::<SqlError>() {
                Ok(ours) => *ours,
                Err(other) => SqlError::DataFusion(DataFusionError::External(other)),
            },
            other => SqlError::DataFusion(other),
        }
    }
}

impl From<ArrowError> for SqlError {
    fn from(error: ArrowError) -> Self {
        SqlError::DataFusion(error.into())
    }
}

fn first_line(error: &DataFusionError) -> String {
    match error.find_root() {
        DataFusionError::SQL(parser, _) if matches!(parser.as_ref(), ParserError::RecursionLimitExceeded) => {
            "the statement is nested too deeply; name parts of it in WITH".to_owned()
        }
        _ => error.strip_backtrace(),
    }
}
