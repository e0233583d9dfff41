//! `undercurrent sql`: statements one after the other over replayed telemetry.

use std::io::{IsTerminal, Read};

use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use super::arguments::{Format, InputArguments};
use super::{CommandError, Outcome, output, player, replay};
use crate::engine::{Answer, Database};
use crate::sql::statement::parse;
use crate::telemetry::Table;

const HELP: &str = "\
statements end with a semicolon; \\d lists relations, \\d NAME describes one, \\q leaves";

/// Plays the input, then answers what is typed or piped in.
pub(super) fn run(arguments: &InputArguments) -> Result<Outcome, CommandError> {
    let runtime = replay::runtime()?;
    let mut database = player::database(arguments)?;
    let outcome = player::play(arguments, &mut database, &Table::all().into_iter().collect(), |_| Ok(()))?;
    let mut shell = Shell { database, runtime, format: arguments.format };
    if std::io::stdin().is_terminal() {
        shell.interact()?;
        return Ok(outcome);
    }
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|source| CommandError::System { action: "read standard input", source })?;
    shell.answer(&text)?;
    Ok(outcome)
}

struct Shell {
    database: Database,
    runtime: tokio::runtime::Runtime,
    format: Format,
}

impl Shell {
    fn interact(&mut self) -> Result<(), CommandError> {
        let terminal = |error: ReadlineError| CommandError::System {
            action: "use the terminal",
            source: std::io::Error::other(error),
        };
        let mut editor = DefaultEditor::new().map_err(terminal)?;
        println!("{HELP}");
        let mut pending = String::new();
        loop {
            let prompt = if pending.is_empty() { "undercurrent> " } else { "           -> " };
            let line = match editor.readline(prompt) {
                Ok(line) => line,
                Err(ReadlineError::Interrupted) => {
                    pending.clear();
                    continue;
                }
                Err(ReadlineError::Eof) => return Ok(()),
                Err(error) => return Err(terminal(error)),
            };
            let command = line.trim();
            if pending.is_empty() && (command == "\\q" || command == "exit" || command == "quit") {
                return Ok(());
            }
            if pending.is_empty() && (command.starts_with('\\') || command.is_empty()) {
                self.report(&from_backslash(command));
                continue;
            }
            pending.push_str(&line);
            pending.push('\n');
            if command.ends_with(';') {
                let _ = editor.add_history_entry(pending.trim());
                let statement = std::mem::take(&mut pending);
                self.report(&statement);
            }
        }
    }

    /// Answers `text`; at a prompt an error is shown, and the next line read.
    fn report(&mut self, text: &str) {
        if let Err(error) = self.answer(text) {
            eprintln!("error: {error}");
        }
    }

    fn answer(&mut self, text: &str) -> Result<(), CommandError> {
        for statement in parse(text)? {
            match self.runtime.block_on(self.database.execute(statement))? {
                Answer::Rows { schema, batches } => {
                    output::write(&mut std::io::stdout().lock(), self.format, &schema, &batches)?;
                }
                Answer::Written(written) => {
                    if let Some((schema, batches)) = &written.returning {
                        output::write(&mut std::io::stdout().lock(), self.format, schema, batches)?;
                    }
                    if self.format == Format::Table {
                        println!("{}", written.tag());
                    }
                }
                Answer::Done(tag) if self.format == Format::Table => println!("{tag}"),
                Answer::Done(_) => {}
                Answer::Subscription(_) => {
                    eprintln!("note: nothing changes after a replay: SELECT from the view")
                }
            }
        }
        Ok(())
    }
}

/// The statement that a command of psql stands for.
fn from_backslash(command: &str) -> String {
    let mut words = command.split_whitespace();
    match (words.next(), words.next()) {
        (None, _) => String::new(),
        (Some("\\d" | "\\d+"), Some(name)) => format!("SHOW COLUMNS FROM {name}"),
        (Some("\\d" | "\\dt" | "\\dv" | "\\dm"), _) => "SHOW TABLES".to_owned(),
        _ => {
            println!("{HELP}");
            String::new()
        }
    }
}
