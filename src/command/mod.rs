//! The command line: what `undercurrent` does when it is called.

mod arguments;
mod output;
mod player;
mod replay;
mod shell;

use std::path::PathBuf;

use clap::{CommandFactory, Parser};

use self::arguments::{Arguments, Subcommand};
use crate::engine::EngineError;
use crate::ingest::IngestError;
use crate::sql::error::SqlError;

/// What went wrong with a command.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// A statement was refused or failed.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// The input could not be opened.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// The engine stopped.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A file could not be read.
    #[error("cannot read \"{}\"", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The answer could not be written.
    #[error("cannot write the answer")]
    Write(#[source] std::io::Error),
    /// The answer has no form in the format asked for.
    #[error("cannot write the answer as {format}")]
    Format {
        /// The format.
        format: &'static str,
        /// Why not.
        source: arrow::error::ArrowError,
    },
    /// A view that is subscribed to has no answer any more.
    #[error("a subscription ended: {0}")]
    Subscription(String),
    /// Nothing was asked.
    #[error("nothing to answer: give --sql or --file")]
    NothingAsked,
    /// A thread or the terminal failed.
    #[error("cannot {action}")]
    System {
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// How a command ended, when it did what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All input was taken in.
    Complete,
    /// It was answered, but some input was rejected: `ingest_errors` tells what.
    SomeRejected,
}

/// Carries out the command line of this process. Wrong usage ends the process with status 2.
pub fn run() -> Result<Outcome, CommandError> {
    match Arguments::parse().command {
        Subcommand::Replay(arguments) => replay::run(&arguments),
        Subcommand::Sql(arguments) => shell::run(&arguments),
        Subcommand::Completions { shell } => {
            clap_complete::generate(shell, &mut Arguments::command(), "undercurrent", &mut std::io::stdout());
            Ok(Outcome::Complete)
        }
    }
}
