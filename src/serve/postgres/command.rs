//! What a statement asks for: the engine's own statements, and those about the session.

use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

use super::copy::Format;
use super::error::Fault;
use crate::sql::pg_catalog;
use crate::sql::statement::{Statement, parse};
use crate::sql::words::Offsets;

/// One statement, understood.
#[derive(Debug)]
pub(super) enum Command {
    /// For the engine. `is_catalog`: a client's question about what there is.
    Ours {
        statement: Box<Statement>,
        sql: String,
    },
    /// A query that reads PostgreSQL's catalog, as its text.
    Catalog(String),
    Copy {
        from: Box<Command>,
        format: Format,
    },
    /// COPY FROM STDIN.
    CopyIn(CopyTarget),
    Begin,
    Commit,
    Rollback,
    /// Each with the name of the savepoint.
    Savepoint(String),
    Release(String),
    RollbackTo(String),
    Set {
        name: String,
        value: String,
    },
    /// A SET that has nothing to act on: SET TRANSACTION, SET CONSTRAINTS.
    SetNothing,
    /// One setting, or all.
    Reset(Option<String>),
    /// One setting, or all.
    Show(Option<String>),
    /// DISCARD and what follows it.
    Discard(String),
    /// One prepared statement, or all.
    Deallocate(Option<String>),
    /// One portal, or all.
    Close(Option<String>),
    Unlisten,
}

/// The statement `sql`, which is a single one and not empty.
pub(super) fn understand(sql: &str) -> Result<Command, Fault> {
    let words = words(sql)?;
    let next: Vec<&str> = words.iter().map(|w| w.key.as_str()).take(4).collect();
    match next.as_slice() {
        ["BEGIN", ..] | ["START", "TRANSACTION", ..] => Ok(Command::Begin),
        ["COMMIT" | "END", ..] => Ok(Command::Commit),
        ["ROLLBACK" | "ABORT", "TO", ..] | ["ROLLBACK", "WORK" | "TRANSACTION", "TO", ..] => {
            Ok(Command::RollbackTo(last(&words)))
        }
        ["ROLLBACK" | "ABORT", ..] => Ok(Command::Rollback),
        ["SAVEPOINT", ..] => Ok(Command::Savepoint(last(&words))),
        ["RELEASE", ..] => Ok(Command::Release(last(&words))),
        ["SET", ..] => set(&words),
        ["RESET", "ALL"] => Ok(Command::Reset(None)),
        ["RESET", ..] => Ok(Command::Reset(Some(setting_name(&words[1..])))),
        ["SHOW", "TABLES" | "VIEWS" | "VIEW" | "MODELS" | "MATERIALIZED" | "COLUMNS" | "CREATE", ..] => {
            ours(sql)
        }
        ["SHOW", "ALL"] => Ok(Command::Show(None)),
        ["SHOW", ..] => Ok(Command::Show(Some(setting_name(&words[1..])))),
        ["DISCARD", what] => Ok(Command::Discard((*what).to_owned())),
        ["DEALLOCATE", "ALL"] | ["DEALLOCATE", "PREPARE", "ALL"] => Ok(Command::Deallocate(None)),
        ["DEALLOCATE", ..] => Ok(Command::Deallocate(words.last().map(|word| word.text.clone()))),
        ["CLOSE", "ALL"] => Ok(Command::Close(None)),
        ["CLOSE", _] => Ok(Command::Close(Some(words[1].text.clone()))),
        ["UNLISTEN", ..] => Ok(Command::Unlisten),
        ["LISTEN" | "NOTIFY", ..] => Err(Fault::error("0A000", "LISTEN and NOTIFY are not supported")
            .hint("SUBSCRIBE TO a materialized view streams its changes.")),
        ["DECLARE" | "FETCH", ..] => Err(Fault::error("0A000", "cursors of SQL are not supported").hint(
            "Drivers fetch in portions by the extended protocol; COPY (SUBSCRIBE TO v) TO STDOUT streams.",
        )),
        ["COPY", ..] => copy(sql, &words),
        _ => ours(sql),
    }
}

impl Command {
    /// Whether it has rows to answer with.
    pub fn has_rows(&self) -> bool {
        match self {
            Command::Catalog(_) | Command::Show(_) => true,
            Command::Ours { statement, .. } => !statement.is_command(),
            _ => false,
        }
    }

    /// Whether it is allowed once a transaction has failed.
    pub fn ends_transaction(&self) -> bool {
        matches!(self, Command::Commit | Command::Rollback | Command::RollbackTo(_))
    }
}

fn ours(sql: &str) -> Result<Command, Fault> {
    if pg_catalog::concerns(sql) {
        return Ok(Command::Catalog(sql.to_owned()));
    }
    let mut statements = parse(sql).map_err(|error| Fault::of(error, sql))?;
    match (statements.pop(), statements.is_empty()) {
        (Some(statement), true) => Ok(Command::Ours { statement: Box::new(statement), sql: sql.to_owned() }),
        _ => Err(Fault::error("42601", "one statement is expected")),
    }
}

/// A token of a statement.
struct Word {
    /// In upper case, if it is an unquoted word; else as it is written.
    key: String,
    /// As a value: without its quotes.
    text: String,
    /// Where it ends, in bytes.
    end: usize,
    /// Where it begins, in bytes.
    begin: usize,
}

fn words(sql: &str) -> Result<Vec<Word>, Fault> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, sql)
        .tokenize_with_location()
        .map_err(|error| Fault::error("42601", format!("syntax error: {error}")))?;
    let mut offsets = Offsets::new(sql);
    let words = tokens.into_iter().filter(|t| !matches!(t.token, Token::Whitespace(_) | Token::EOF));
    Ok(words
        .map(|token| {
            let (key, text) = match &token.token {
                Token::Word(word) if word.quote_style.is_none() => {
                    (word.value.to_uppercase(), word.value.clone())
                }
                Token::Word(word) => (token.token.to_string(), word.value.clone()),
                Token::SingleQuotedString(text) => (token.token.to_string(), text.clone()),
                other => (other.to_string(), other.to_string()),
            };
            let begin = offsets.at(token.span.start);
            Word { key, text, begin, end: offsets.at(token.span.end) }
        })
        .collect())
}

/// The name that the words end with.
fn last(words: &[Word]) -> String {
    words.last().map_or_else(String::new, |word| match word.key.starts_with('"') {
        true => word.text.clone(),
        false => word.text.to_lowercase(),
    })
}

/// The setting that the words of SHOW, SET or RESET name.
fn setting_name(words: &[Word]) -> String {
    let keys: Vec<&str> = words.iter().map(|w| w.key.as_str()).collect();
    match keys.as_slice() {
        ["TIME", "ZONE", ..] => "TimeZone".to_owned(),
        ["TRANSACTION", "ISOLATION", ..] => "transaction_isolation".to_owned(),
        ["SESSION", "AUTHORIZATION", ..] => "session_authorization".to_owned(),
        _ => words.iter().map(|w| w.text.as_str()).collect(),
    }
}

fn set(words: &[Word]) -> Result<Command, Fault> {
    let mut words = &words[1..];
    if let [first, second, ..] = words
        && ["SESSION", "LOCAL"].contains(&first.key.as_str())
        && !["CHARACTERISTICS", "AUTHORIZATION", "=", "TO"].contains(&second.key.as_str())
    {
        words = &words[1..];
    }
    let keys: Vec<&str> = words.iter().map(|w| w.key.as_str()).take(2).collect();
    match keys.as_slice() {
        ["TRANSACTION" | "CONSTRAINTS", ..] | ["SESSION", "CHARACTERISTICS" | "AUTHORIZATION"] => {
            Ok(Command::SetNothing)
        }
        ["TIME", "ZONE"] => Ok(Command::Set { name: "TimeZone".to_owned(), value: value(&words[2..])? }),
        ["NAMES", ..] => Ok(Command::Set { name: "client_encoding".to_owned(), value: value(&words[1..])? }),
        ["ROLE", ..] => Ok(Command::Set { name: "role".to_owned(), value: value(&words[1..])? }),
        _ => {
            let between = words.iter().position(|w| w.key == "=" || w.key == "TO");
            let Some(between) = between.filter(|between| *between > 0) else {
                return Err(Fault::error("42601", "syntax error: SET name = value is expected"));
            };
            Ok(Command::Set { name: setting_name(&words[..between]), value: value(&words[between + 1..])? })
        }
    }
}

/// The value that `words` write.
fn value(words: &[Word]) -> Result<String, Fault> {
    if words.is_empty() {
        return Err(Fault::error("42601", "syntax error: SET name = value is expected"));
    }
    Ok(words.iter().map(|w| if w.text == "," { ", " } else { &w.text }).collect())
}

/// `COPY (statement) TO STDOUT [WITH] (options)` and `COPY relation TO STDOUT ...`.
fn copy(sql: &str, words: &[Word]) -> Result<Command, Fault> {
    let syntax = || {
        Fault::error(
            "42601",
            "syntax error: COPY (statement) TO STDOUT [WITH (FORMAT text | csv, HEADER)] is expected",
        )
    };
    let mut depth = 0;
    let close = words.iter().position(|word| {
        depth += i32::from(word.key == "(") - i32::from(word.key == ")");
        depth == 0 && word.key == ")"
    });
    let is_statement = words.get(1).is_some_and(|word| word.key == "(");
    let (inner, rest) = match (is_statement, close) {
        (true, Some(close)) => (sql[words[1].end..words[close].begin].trim().to_owned(), &words[close + 1..]),
        (true, None) => return Err(syntax()),
        (false, _) => {
            let to = words.iter().position(|w| w.key == "TO" || w.key == "FROM").ok_or_else(syntax)?;
            let first = words.get(1).filter(|_| to > 1).ok_or_else(syntax)?;
            (format!("SELECT * FROM {}", &sql[first.begin..words[to - 1].end]), &words[to..])
        }
    };
    match rest {
        [to, stdout, options @ ..] if to.key == "TO" && stdout.key == "STDOUT" => {
            let keys: Vec<&str> = options.iter().map(|w| w.key.as_str()).collect();
            let values: Vec<&str> = options.iter().map(|w| w.text.as_str()).collect();
            let refused = || Fault::error("0A000", "COPY takes a statement that answers with rows");
            // Looked at before the inner statement is: one within the other would nest without end.
            if words.get(2).is_some_and(|word| is_statement && ["COPY", "SHOW"].contains(&word.key.as_str()))
            {
                return Err(refused());
            }
            let from = understand(&inner)?;
            if !from.has_rows() {
                return Err(refused());
            }
            Ok(Command::Copy { from: Box::new(from), format: Format::parse(&keys, &values)? })
        }
        [from, stdin, options @ ..] if from.key == "FROM" && stdin.key == "STDIN" && !is_statement => {
            let keys: Vec<&str> = options.iter().map(|w| w.key.as_str()).collect();
            let values: Vec<&str> = options.iter().map(|w| w.text.as_str()).collect();
            let format = Format::parse(&keys, &values)?;
            let target = &words[1..words.len() - rest.len()];
            Ok(Command::CopyIn(CopyTarget::parse(target, format).ok_or_else(syntax)?))
        }
        [from, ..] if from.key == "FROM" => {
            Err(Fault::error("0A000", "COPY comes from STDIN alone").hint("psql has \\copy for files."))
        }
        [_, target, ..] if target.key != "STDOUT" => {
            Err(Fault::error("0A000", "COPY goes to STDOUT alone").hint("psql has \\copy for files."))
        }
        _ => Err(syntax()),
    }
}

/// What COPY FROM STDIN fills, and how its rows are written.
#[derive(Debug)]
pub(super) struct CopyTarget {
    /// The table.
    pub table: String,
    /// The columns that are named.
    pub columns: Vec<String>,
    pub format: Format,
}

impl CopyTarget {
    /// Reads `table [(column, ...)]`, the table perhaps with its schema before it.
    fn parse(words: &[Word], format: Format) -> Option<CopyTarget> {
        let open = words.iter().position(|word| word.key == "(").unwrap_or(words.len());
        let (table, columns) = words.split_at(open);
        let columns = match columns {
            [] => vec![],
            [_, columns @ .., close] if close.key == ")" => {
                let names = columns.iter().filter(|word| word.key != ",");
                names.map(|word| last(std::slice::from_ref(word))).collect()
            }
            _ => return None,
        };
        Some(CopyTarget { table: last(table), columns, format })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_of_a_session_are_understood() {
        let shown = |sql: &str| match understand(sql) {
            Ok(Command::Set { name, value }) => format!("{name}={value}"),
            Ok(Command::Show(name)) => format!("show {name:?}"),
            Ok(other) => format!("{other:?}").split([' ', '(']).next().unwrap_or_default().to_owned(),
            Err(fault) => fault.to_string(),
        };
        for (sql, expected) in [
            ("begin isolation level serializable", "Begin"),
            ("ROLLBACK TO SAVEPOINT a", "RollbackTo"),
            ("SET TIME ZONE 'UTC'", "TimeZone=UTC"),
            ("set session TimeZone to 'CET'", "TimeZone=CET"),
            ("SET search_path = public, \"My Own\"", "search_path=public, My Own"),
            ("SET myapp.user_id TO 7", "myapp.user_id=7"),
            ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SetNothing"),
            ("SHOW transaction isolation level", "show Some(\"transaction_isolation\")"),
            ("SHOW TABLES", "Ours"),
            ("SHOW MODELS", "Ours"),
            ("SHOW VIEW STATS FOR v", "Ours"),
            ("COPY (SELECT ')' FROM (SELECT 1)) TO STDOUT", "Copy"),
            ("COPY spans TO STDOUT WITH (FORMAT csv, HEADER)", "Copy"),
            ("COPY (SUBSCRIBE TO v WITH (SNAPSHOT = false)) TO STDOUT", "Copy"),
            ("COPY owners FROM STDIN", "CopyIn"),
            ("DECLARE c CURSOR FOR SELECT 1", "cursors of SQL are not supported (0A000)"),
        ] {
            assert_eq!(shown(sql), expected, "{sql}");
        }
    }
}
