//! Statements: PostgreSQL's, and those of continuous queries.

use std::collections::BTreeMap;

/// A statement as DataFusion's parser reads it.
pub use datafusion::sql::parser::Statement as Parsed;
use datafusion::sql::parser::{DFParser, DFParserBuilder};
use datafusion::sql::sqlparser::ast::{self, CreateTableOptions, ObjectType, SqlOption};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::connector::{self, Alter, CreateSink, CreateSource, Direction};
use super::error::SqlError;
use super::model::{self, CreateModel, Model};
use super::retention::{SetRetention, set_retention};
use super::table::{self, CreateTable, create_table};
use super::words::{Words, after_word, split};
use super::write::Write;
use super::{call, nesting, rewrite};

/// One statement, ready to be carried out.
#[derive(Debug, Clone)]
pub enum Statement {
    /// A query, or what DataFusion answers itself (EXPLAIN, DESCRIBE, SHOW of its settings).
    Query(Box<Parsed>),
    /// CREATE VIEW and CREATE MATERIALIZED VIEW.
    CreateView(CreateView),
    /// DROP VIEW and DROP MATERIALIZED VIEW.
    DropView {
        /// The views.
        names: Vec<String>,
        /// Whether a missing one is fine.
        if_exists: bool,
    },
    /// CREATE MODEL.
    CreateModel(Box<CreateModel>),
    /// DROP MODEL.
    DropModel {
        /// The models.
        names: Vec<String>,
        /// Whether a missing one is fine.
        if_exists: bool,
    },
    /// SHOW TABLES.
    ShowTables,
    /// SHOW VIEWS and SHOW MATERIALIZED VIEWS.
    ShowViews,
    /// SHOW MODELS.
    ShowModels,
    /// SHOW VIEW STATS, of all views or FOR one.
    ShowViewStats(Option<String>),
    /// SHOW COLUMNS FROM a relation.
    ShowColumns(String),
    /// SHOW CREATE VIEW.
    ShowCreate(String),
    /// EXPLAIN DATAFLOW of a query or of a view.
    ExplainDataflow(String),
    /// SUBSCRIBE TO a relation or a query.
    Subscribe(Subscribe),
    /// CREATE TABLE.
    CreateTable(Box<CreateTable>),
    /// DROP TABLE.
    DropTable {
        /// The tables.
        names: Vec<String>,
        /// Whether a missing one is fine.
        if_exists: bool,
    },
    /// TRUNCATE of tables.
    Truncate(Vec<String>),
    /// INSERT, UPDATE and DELETE.
    Write(Write),
    /// CREATE SOURCE.
    CreateSource(Box<CreateSource>),
    /// CREATE SINK.
    CreateSink(Box<CreateSink>),
    /// DROP SOURCE and DROP SINK.
    DropConnectors {
        /// Which of both.
        direction: Direction,
        /// Their names.
        names: Vec<String>,
        /// Whether a missing one is fine.
        if_exists: bool,
    },
    /// ALTER SOURCE and ALTER SINK.
    Alter(Alter),
    /// ALTER TABLE.
    SetRetention(SetRetention),
    /// SHOW SOURCES and SHOW SINKS.
    ShowConnectors(Direction),
}

impl Statement {
    /// Whether it changes what there is, so that it takes a client that may.
    pub fn changes_something(&self) -> bool {
        match self {
            Statement::CreateView(_)
            | Statement::DropView { .. }
            | Statement::CreateModel(_)
            | Statement::DropModel { .. }
            | Statement::CreateTable(_)
            | Statement::DropTable { .. }
            | Statement::Truncate(_)
            | Statement::Write(_)
            | Statement::CreateSource(_)
            | Statement::CreateSink(_)
            | Statement::DropConnectors { .. }
            | Statement::Alter(_)
            | Statement::SetRetention(_) => true,
            Statement::Query(_)
            | Statement::ShowTables
            | Statement::ShowViews
            | Statement::ShowModels
            | Statement::ShowConnectors(_)
            | Statement::ShowViewStats(_)
            | Statement::ShowColumns(_)
            | Statement::ShowCreate(_)
            | Statement::ExplainDataflow(_)
            | Statement::Subscribe(_) => false,
        }
    }

    /// Whether it answers with a command tag alone, and not with rows.
    pub fn is_command(&self) -> bool {
        match self {
            Statement::Write(write) => !write.is_returning(),
            other => other.changes_something(),
        }
    }
}

/// `CREATE [OR REPLACE] [MATERIALIZED] VIEW`.
#[derive(Debug, Clone)]
pub struct CreateView {
    /// Its name.
    pub name: String,
    /// Whether it takes the place of one that exists.
    pub or_replace: bool,
    /// Whether one that exists is fine.
    pub if_not_exists: bool,
    /// Whether it is maintained.
    pub is_materialized: bool,
    /// How long rows are kept for joining: `WITH (horizon = INTERVAL '15 minutes')`.
    pub horizon_ms: Option<u64>,
    /// How long groups stay, by the one timestamp that they are grouped by: `WITH (retention = '1 day')`.
    pub retention_ms: Option<u64>,
    /// The names of its columns, where given.
    pub columns: Vec<String>,
    /// The SELECT.
    pub query: String,
    /// The model whose versions it keeps, if it is one's.
    pub model: Option<Model>,
}

/// SUBSCRIBE TO.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// The relation.
    pub relation: String,
    /// Whether its present rows come first.
    pub snapshot: bool,
    /// Whether a tick without changes is told too.
    pub progress: bool,
    /// Whether each row is told once, when the window that it is in has ended: `EMIT ON WINDOW CLOSE`.
    pub on_window_close: bool,
}

/// The statements of `sql`, separated by semicolons; comments between them are skipped.
pub fn parse(sql: &str) -> Result<Vec<Statement>, SqlError> {
    split(sql)?.into_iter().map(parse_one).collect()
}

/// A single SELECT (or VALUES) without a statement around it.
pub fn parse_query(sql: &str) -> Result<Parsed, SqlError> {
    let mut parsed = parse_datafusion(sql)?;
    match (parsed.pop_back(), parsed.is_empty()) {
        (Some(Parsed::Statement(mut statement)), true) if matches!(*statement, ast::Statement::Query(_)) => {
            rewrite::rewrite(&mut statement)?;
            Ok(Parsed::Statement(statement))
        }
        _ => Err(SqlError::Syntax(format!("\"{}\" is not a single query", shorten(sql)))),
    }
}

fn parse_datafusion(sql: &str) -> Result<std::collections::VecDeque<Parsed>, SqlError> {
    nesting::check(sql)?;
    let dialect = PostgreSqlDialect {};
    let tokens = rewrite::readable(sql)?;
    let parser: Result<DFParser, _> = DFParserBuilder::new(tokens).with_dialect(&dialect).build();
    Ok(parser?.parse_statements()?)
}

fn parse_one(sql: &str) -> Result<Statement, SqlError> {
    let mut words = Words::new(sql)?;
    if let Some(statement) = of_connectors(&mut words)? {
        words.end()?;
        return Ok(statement);
    }
    let special = if words.take(&["explain", "dataflow"]) {
        return Ok(Statement::ExplainDataflow(after_word(sql, "dataflow")?));
    } else if words.take(&["subscribe"]) {
        Some(subscribe(&mut words)?)
    } else if words.take(&["alter", "table"]) {
        Some(Statement::SetRetention(set_retention(&mut words)?))
    } else if words.take(&["show", "tables"]) {
        Some(Statement::ShowTables)
    } else if words.take(&["show", "views"]) || words.take(&["show", "materialized", "views"]) {
        Some(Statement::ShowViews)
    } else if words.take(&["show", "models"]) {
        Some(Statement::ShowModels)
    } else if words.take(&["show", "view", "stats"]) {
        let view = if words.take(&["for"]) { Some(words.name()?) } else { None };
        Some(Statement::ShowViewStats(view))
    } else if words.take(&["show", "columns", "from"]) {
        Some(Statement::ShowColumns(words.name()?))
    } else if words.take(&["show", "create", "view"])
        || words.take(&["show", "create", "materialized", "view"])
    {
        Some(Statement::ShowCreate(words.name()?))
    } else if words.take(&["drop", "materialized", "view"]) {
        words.dropped().map(|(names, if_exists)| Some(Statement::DropView { names, if_exists }))?
    } else if words.take(&["drop", "model"]) {
        words.dropped().map(|(names, if_exists)| Some(Statement::DropModel { names, if_exists }))?
    } else if words.take(&["create", "model"]) || words.take(&["create", "or", "replace", "model"]) {
        return Ok(Statement::CreateModel(Box::new(model::parse(sql)?)));
    } else {
        None
    };
    if let Some(statement) = special {
        words.end()?;
        return Ok(statement);
    }
    let mut parsed = parse_datafusion(sql)?;
    let Some(statement) = parsed.pop_back() else {
        return Err(SqlError::Syntax("an empty statement".to_owned()));
    };
    match statement {
        Parsed::Statement(statement) => match *statement {
            ast::Statement::Call(function) => parse_one(&call::statement(&function)?),
            statement => standard(statement),
        },
        other => Ok(Statement::Query(Box::new(other))),
    }
}

/// A statement about sources or sinks, if it is one.
fn of_connectors(words: &mut Words) -> Result<Option<Statement>, SqlError> {
    for direction in [Direction::Source, Direction::Sink] {
        let name = direction.name();
        if words.take(&["create", name]) {
            return Ok(Some(match direction {
                Direction::Source => Statement::CreateSource(Box::new(connector::create_source(words)?)),
                Direction::Sink => Statement::CreateSink(Box::new(connector::create_sink(words)?)),
            }));
        }
        if words.take(&["drop", name]) {
            let (names, if_exists) = words.dropped()?;
            return Ok(Some(Statement::DropConnectors { direction, names, if_exists }));
        }
        if words.take(&["alter", name]) {
            return Ok(Some(Statement::Alter(connector::altered(words, direction)?)));
        }
        if words.take(&["show", &format!("{name}s")]) {
            return Ok(Some(Statement::ShowConnectors(direction)));
        }
    }
    Ok(None)
}

fn subscribe(words: &mut Words) -> Result<Statement, SqlError> {
    words.take(&["to"]);
    let relation = words.name()?;
    let mut subscribe = Subscribe { relation, snapshot: true, progress: false, on_window_close: false };
    let emit = ["emit", "on", "window", "close"];
    subscribe.on_window_close = words.take(&emit);
    if words.take(&["with"]) {
        let open = words.take_token(&Token::LParen);
        loop {
            let option = words.name()?;
            let value = match words.take_token(&Token::Eq) {
                true => words.switch()?,
                false => true,
            };
            match option.as_str() {
                "snapshot" => subscribe.snapshot = value,
                "progress" => subscribe.progress = value,
                _ => {
                    return Err(SqlError::Option {
                        name: option,
                        value: value.to_string(),
                        expected: "SUBSCRIBE takes snapshot and progress".to_owned(),
                    });
                }
            }
            if !words.take_token(&Token::Comma) {
                break;
            }
        }
        if open && !words.take_token(&Token::RParen) {
            return Err(SqlError::Syntax("syntax error: \")\" expected after the options".to_owned()));
        }
    }
    subscribe.on_window_close |= words.take(&emit);
    Ok(Statement::Subscribe(subscribe))
}

fn standard(mut statement: ast::Statement) -> Result<Statement, SqlError> {
    // The query of a view is kept as it was written, and rewritten when it is planned.
    if !matches!(statement, ast::Statement::CreateView(_)) {
        rewrite::rewrite(&mut statement)?;
    }
    match statement {
        ast::Statement::CreateView(view) => {
            let options = match &view.options {
                CreateTableOptions::With(options) | CreateTableOptions::Options(options) => options.clone(),
                _ => vec![],
            };
            let mut durations = durations(&options)?;
            Ok(Statement::CreateView(CreateView {
                name: object_name(&view.name)?,
                or_replace: view.or_replace,
                if_not_exists: view.if_not_exists,
                is_materialized: view.materialized,
                horizon_ms: durations.remove("horizon"),
                retention_ms: durations.remove("retention"),
                columns: view.columns.iter().map(|c| identifier(&c.name)).collect(),
                query: view.query.to_string(),
                model: None,
            }))
        }
        ast::Statement::Drop {
            object_type: ObjectType::View | ObjectType::MaterializedView,
            if_exists,
            names,
            ..
        } => {
            let names = names.iter().map(object_name).collect::<Result<_, _>>()?;
            Ok(Statement::DropView { names, if_exists })
        }
        ast::Statement::CreateTable(table) => Ok(Statement::CreateTable(Box::new(create_table(table)?))),
        ast::Statement::Drop { object_type: ObjectType::Table, if_exists, names, cascade, .. } => {
            if cascade {
                return Err(SqlError::Syntax(
                    "DROP TABLE ... CASCADE is not supported; drop the views that read it first".to_owned(),
                ));
            }
            Ok(Statement::DropTable { names: table::names(names.iter())?, if_exists })
        }
        ast::Statement::Truncate(truncate) => {
            Ok(Statement::Truncate(table::names(truncate.table_names.iter().map(|t| &t.name))?))
        }
        ast::Statement::Insert(insert) => Ok(Statement::Write(Write::Insert(Box::new(insert)))),
        ast::Statement::Update(update) => Ok(Statement::Write(Write::Update(Box::new(update)))),
        ast::Statement::Delete(delete) => Ok(Statement::Write(Write::Delete(Box::new(delete)))),
        statement @ (ast::Statement::Query(_)
        | ast::Statement::Explain { .. }
        | ast::Statement::ExplainTable { .. }
        | ast::Statement::ShowVariable { .. }) => {
            Ok(Statement::Query(Box::new(Parsed::Statement(Box::new(statement)))))
        }
        other => {
            let text = other.to_string();
            let verb = text.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
            Err(SqlError::Syntax(format!(
                "{verb} is not supported; statements are SELECT, CREATE [OR REPLACE] [MATERIALIZED] VIEW, DROP VIEW, CREATE [OR REPLACE] MODEL, DROP MODEL, CREATE TABLE, DROP TABLE, CREATE SOURCE, CREATE SINK, ALTER, DROP, TRUNCATE, INSERT, UPDATE, DELETE, CALL, SHOW, EXPLAIN [DATAFLOW] and SUBSCRIBE"
            )))
        }
    }
}

pub(super) fn identifier(ident: &ast::Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

pub(super) fn object_name(name: &ast::ObjectName) -> Result<String, SqlError> {
    let last = name.0.last().and_then(|part| part.as_ident()).map(identifier);
    last.ok_or_else(|| SqlError::Syntax(format!("\"{name}\" is not a name")))
}

/// The options of a view, by name, in milliseconds.
fn durations(options: &[SqlOption]) -> Result<BTreeMap<String, u64>, SqlError> {
    let mut known = BTreeMap::new();
    for option in options {
        let SqlOption::KeyValue { key, value } = option else {
            return Err(SqlError::Syntax(format!("option \"{option}\" is not of the form name = value")));
        };
        let name = identifier(key);
        let text = match value {
            ast::Expr::Interval(interval) => interval.value.to_string(),
            other => other.to_string(),
        };
        let text = text.trim_matches('\'').to_owned();
        if !["horizon", "retention"].contains(&name.as_str()) {
            let expected = "a view takes horizon and retention".to_owned();
            return Err(SqlError::Option { name, value: text, expected });
        }
        let Some(ms) = parse_duration_ms(&text) else {
            let expected =
                "a duration such as '15 minutes' is expected, from 1 second to 100 years".to_owned();
            return Err(SqlError::Option { name, value: text, expected });
        };
        known.insert(name, ms);
    }
    Ok(known)
}

/// A duration such as `15 minutes`, `1h` or `90s` in milliseconds: from a second to 100 years.
pub fn parse_duration_ms(text: &str) -> Option<u64> {
    let span: jiff::SignedDuration = text.parse().ok().or_else(|| {
        let span: jiff::Span = text.parse().ok()?;
        let days = jiff::SpanRelativeTo::days_are_24_hours();
        span.to_duration(days).ok()
    })?;
    let millis = u64::try_from(span.as_millis()).ok()?;
    (1_000..=100 * 365 * 86_400_000).contains(&millis).then_some(millis)
}

fn shorten(sql: &str) -> String {
    let line = sql.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}
