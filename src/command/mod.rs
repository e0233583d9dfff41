//! The command line: what `undercurrent` does when it is called.

mod arguments;
mod demo;
mod generate;
mod output;
mod player;
mod replay;
mod serve;
mod shell;

use std::path::PathBuf;

use clap::{CommandFactory, FromArgMatches};

use self::arguments::{Arguments, Subcommand};
pub use self::generate::GenerateError;
use crate::config::{ConfigError, OpenError};
use crate::engine::{EngineError, IntakeError};
use crate::ingest::IngestError;
use crate::serve::ServeError;
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
    /// Telemetry could not be handed over.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// The settings of the server are not usable.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The database could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A server could not be started.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// What is to be logged cannot be read.
    #[error(
        "log.level = \"{level}\": {reason}; a level such as info is expected, or directives such as info,undercurrent::serve=debug"
    )]
    Log {
        /// The setting.
        level: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Telemetry could not be generated.
    #[error(transparent)]
    Generate(#[from] GenerateError),
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
    let mut command = command();
    let matches = command.get_matches_mut();
    if let Some(("serve", matches)) = matches.subcommand() {
        return serve::run(matches);
    }
    let arguments =
        Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut command).exit());
    match arguments.command {
        Subcommand::Replay(arguments) => replay::run(&arguments),
        Subcommand::Sql(arguments) => shell::run(&arguments),
        Subcommand::Generate(arguments) => generate::run(&arguments),
        Subcommand::Demo(arguments) => demo::run(&arguments),
        Subcommand::Completions { shell } => {
            clap_complete::generate(shell, &mut command, "undercurrent", &mut std::io::stdout());
            Ok(Outcome::Complete)
        }
    }
}

/// The command line: the flags of `serve` come from the list of settings.
fn command() -> clap::Command {
    Arguments::command().subcommand(serve::command())
}
