//! What can go wrong with the engine.

use crate::delta::updates::Tick;
use crate::sql::error::SqlError;

/// What can go wrong with the engine itself.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Workers could not be started.
    #[error("cannot start {workers} workers: {reason}")]
    Start {
        /// How many.
        workers: usize,
        /// Why.
        reason: String,
    },
    /// The thread that owns the database could not be started.
    #[error("cannot start the thread of the engine")]
    Thread(#[source] std::io::Error),
    /// A worker is gone: its state is lost, and what the others publish would be wrong.
    #[error("a worker stopped: the engine serves nothing from here on; see the log for its panic")]
    WorkerLost,
    /// What was done cannot be taken back, and is not durable: rows of an append-only table, or that a statement failed.
    #[error("what was done last is not durable, and cannot be taken back ({0}); start again")]
    NotDurable(String),
    /// The journal is of an earlier time than the checkpoint beside it.
    #[error(
        "the journal ends at tick {journal}, before the checkpoint of tick {checkpoint}; restore both from one copy"
    )]
    Ahead {
        /// The tick of the checkpoint.
        checkpoint: Tick,
        /// The last one of the journal.
        journal: Tick,
    },
    /// A dataflow could not be built.
    #[error("relation \"{view}\" cannot be built: {reason}")]
    Build {
        /// Its view or table.
        view: String,
        /// Why.
        reason: String,
    },
}

impl From<EngineError> for SqlError {
    fn from(error: EngineError) -> Self {
        SqlError::Engine(error.to_string())
    }
}
