//! Reading CREATE SOURCE, CREATE SINK and ALTER.

use datafusion::sql::sqlparser::tokenizer::Token;

use super::{Alter, CreateSink, CreateSource, Direction, Envelope, Format, Options, Target};
use crate::sql::error::SqlError;
use crate::sql::statement::{Statement, parse};
use crate::sql::table::CreateTable;
use crate::sql::words::Words;

const KAFKA_SOURCE: &[&str] = &["brokers", "topic", "group", "partitions", "start", "event_time"];
const KAFKA_SINK: &[&str] = &["brokers", "topic", "partitions", "replication_factor", "transactional_id"];
const WEBHOOK: &[&str] = &["url", "authorization", "rows_max", "idempotency_id"];
const FILE: &[&str] = &["path"];

/// Properties of the client that would break what sources and sinks promise.
const RESERVED: &[(&str, &str)] = &[
    ("bootstrap.servers", "it is the option brokers"),
    ("group.id", "it is the option group"),
    ("auto.offset.reset", "it is the option start"),
    ("transactional.id", "it is the option transactional_id"),
    ("enable.auto.commit", "positions are kept with the rows that came from them"),
    ("enable.auto.offset.store", "positions are kept with the rows that came from them"),
    ("enable.partition.eof", "a source needs to know where partitions end"),
    ("enable.idempotence", "a sink writes in transactions, which need it"),
];

/// What follows CREATE SOURCE.
pub(in crate::sql) fn create_source(words: &mut Words) -> Result<CreateSource, SqlError> {
    let if_not_exists = words.take(&["if", "not", "exists"]);
    let name = words.name()?;
    let columns = words.parenthesized()?;
    if !words.take(&["from", "kafka"]) {
        return Err(SqlError::Syntax("syntax error: FROM KAFKA (...) is expected".to_owned()));
    }
    let options = options(words)?;
    options.check("a source of Kafka", KAFKA_SOURCE, &["brokers", "topic"], RESERVED)?;
    words.expect("format")?;
    let format = one_of(words, "FORMAT", &Format::ALL, Format::name)?;
    check_numbers(&options, "partitions", "numbers, separated by commas, are expected")?;
    options.check_registry(format == Format::Avro)?;
    let table = match (columns, format.has_own_columns()) {
        (None, true) => {
            let reason = format!(
                "FORMAT {} needs columns: CREATE SOURCE name (column type, ...) FROM KAFKA ...",
                format.name()
            );
            return Err(SqlError::Syntax(reason));
        }
        (Some(columns), true) => Some(Box::new(table(&name, &columns)?)),
        (Some(_), false) => {
            let reason =
                format!("FORMAT {} has columns of its own: it fills spans, metrics and logs", format.name());
            return Err(SqlError::Syntax(reason));
        }
        (None, false) => None,
    };
    let with_default = table.as_ref().and_then(|table| table.columns.iter().find(|c| c.default.is_some()));
    if let Some(column) = with_default.filter(|_| format == Format::Avro) {
        let reason = format!("column \"{}\": FORMAT AVRO takes no DEFAULT", column.name);
        return Err(SqlError::Syntax(reason));
    }
    if let Some(column) = options.get("event_time") {
        let is_there = table.as_ref().is_some_and(|table| table.columns.iter().any(|c| c.name == column));
        if !is_there {
            return Err(SqlError::Option {
                name: "event_time".to_owned(),
                value: column.to_owned(),
                expected: "a column of the source, a timestamp, is expected".to_owned(),
            });
        }
    }
    Ok(CreateSource { name, if_not_exists, table, options, format })
}

/// The append-only table `name` with `columns`, as they are written.
fn table(name: &str, columns: &str) -> Result<CreateTable, SqlError> {
    let name = name.replace('"', "\"\"");
    let text = format!("CREATE TABLE \"{name}\" ({columns}) WITH (append_only = true)");
    match parse(&text)?.pop() {
        Some(Statement::CreateTable(table)) => Ok(*table),
        _ => Err(SqlError::Syntax(format!("\"{columns}\" are no columns"))),
    }
}

/// What follows CREATE SINK.
pub(in crate::sql) fn create_sink(words: &mut Words) -> Result<CreateSink, SqlError> {
    let if_not_exists = words.take(&["if", "not", "exists"]);
    let name = words.name()?;
    words.expect("from")?;
    let relation = words.name()?;
    words.expect("into")?;
    let target = one_of(words, "INTO", &Target::ALL, Target::name)?;
    let mut options = options(words)?;
    let key = match words.take(&["key"]) {
        true => words.parenthesized()?.map_or(Ok(vec![]), |text| Words::new(&text)?.names())?,
        false => vec![],
    };
    let format = match words.take(&["format"]) {
        true => one_of(words, "FORMAT", &Format::OF_SINKS, Format::name)?,
        false => Format::Json,
    };
    if format == Format::Avro && target != Target::Kafka {
        return Err(SqlError::Syntax(format!("FORMAT AVRO is for KAFKA; {} takes JSON", target.name())));
    }
    let envelope = match words.take(&["envelope"]) {
        true => one_of(words, "ENVELOPE", &Envelope::ALL, Envelope::name)?,
        false if key.is_empty() => Envelope::Append,
        false => Envelope::Upsert,
    };
    let on_window_close = words.take(&["emit", "on", "window", "close"]);
    let snapshot = match words.take(&["with"]) {
        true => snapshot(words)?,
        false => true,
    };
    if envelope == Envelope::Upsert && key.is_empty() {
        return Err(SqlError::Syntax("ENVELOPE UPSERT needs KEY (columns)".to_owned()));
    }
    identify(&name, target, &mut options)?;
    options.check_registry(format == Format::Avro)?;
    Ok(CreateSink {
        name,
        if_not_exists,
        relation,
        target,
        options,
        key,
        format,
        envelope,
        on_window_close,
        snapshot,
    })
}

/// Checks the options, and gives the sink a name by which what it writes to knows it: the same after a restart, and
/// no other sink's.
fn identify(name: &str, target: Target, options: &mut Options) -> Result<(), SqlError> {
    let (what, known, required, reserved, id) = match target {
        Target::Kafka => {
            ("a sink of Kafka", KAFKA_SINK, &["brokers", "topic"][..], RESERVED, Some("transactional_id"))
        }
        Target::Webhook => ("a webhook", WEBHOOK, &["url"][..], &[][..], Some("idempotency_id")),
        Target::File => ("a file", FILE, &["path"][..], &[][..], None),
    };
    options.check(what, known, required, reserved)?;
    for number in ["partitions", "replication_factor", "rows_max"] {
        check_numbers(options, number, "a number is expected")?;
    }
    match id {
        Some(id) if options.get(id).is_none() => {
            options.set(id.to_owned(), format!("undercurrent-{name}-{:016x}", rand::random::<u64>()))
        }
        _ => Ok(()),
    }
}

/// What follows ALTER SOURCE or ALTER SINK.
pub(in crate::sql) fn altered(words: &mut Words, direction: Direction) -> Result<Alter, SqlError> {
    let name = words.name()?;
    let is_paused = match words.name()?.as_str() {
        "pause" => true,
        "resume" => false,
        other => {
            let verb = direction.name();
            return Err(SqlError::Syntax(format!("ALTER {verb} takes PAUSE or RESUME, not \"{other}\"")));
        }
    };
    Ok(Alter { direction, name, is_paused })
}

fn snapshot(words: &mut Words) -> Result<bool, SqlError> {
    let reason = "syntax error: WITH (snapshot = false) is expected";
    let open = words.take_token(&Token::LParen) && words.take(&["snapshot"]) && words.take_token(&Token::Eq);
    let value = if open { Some(words.switch()?) } else { None };
    value.filter(|_| words.take_token(&Token::RParen)).ok_or_else(|| SqlError::Syntax(reason.to_owned()))
}

/// `(name = value, ...)`; the sign may be left out.
fn options(words: &mut Words) -> Result<Options, SqlError> {
    let mut options = Options::default();
    if !words.take_token(&Token::LParen) {
        return Err(SqlError::Syntax("syntax error: options in parentheses are expected".to_owned()));
    }
    while !words.take_token(&Token::RParen) {
        // Others have the names of options in the quotes of texts.
        let mut name = words.text().map_or_else(|| words.name(), Ok)?;
        while words.take_token(&Token::Period) {
            name = format!("{name}.{}", words.name()?);
        }
        words.take_token(&Token::Eq);
        options.set(name, words.value()?)?;
        if !words.take_token(&Token::Comma) && !words.is_next(&Token::RParen) {
            return Err(SqlError::Syntax(
                "syntax error: \",\" or \")\" is expected after an option".to_owned(),
            ));
        }
    }
    Ok(options)
}

fn one_of<T: Copy>(
    words: &mut Words,
    what: &str,
    all: &[T],
    name: fn(T) -> &'static str,
) -> Result<T, SqlError> {
    let given = words.name()?;
    let found = all.iter().copied().find(|one| name(*one).eq_ignore_ascii_case(&given));
    found.ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|one| name(*one)).collect();
        SqlError::Option {
            name: what.to_owned(),
            value: given,
            expected: format!("one of {} is expected", names.join(", ")),
        }
    })
}

fn check_numbers(options: &Options, name: &str, expected: &str) -> Result<(), SqlError> {
    let Some(value) = options.get(name) else { return Ok(()) };
    match value.split(',').all(|number| number.trim().parse::<u16>().is_ok()) {
        true => Ok(()),
        false => Err(SqlError::Option {
            name: name.to_owned(),
            value: value.to_owned(),
            expected: expected.to_owned(),
        }),
    }
}
