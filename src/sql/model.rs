//! `CREATE MODEL`: what is trained, from which rows, and how often.
//!
//! A model is a materialized view with a row for each of its versions. The rows of the SELECT are put in the windows of a
//! HOP, which end every `retrain`; each version is an aggregate over one of them, and is there once the stream clock has
//! passed its end:
//!
//! ```sql
//! SELECT window_end AS valid_from, window_end + retrain AS valid_until, count(*) AS row_count,
//!        isolation_forest(feature, ...) AS model
//! FROM HOP((SELECT ...), time, retrain, window)
//! GROUP BY window_end HAVING count(*) >= rows_min AND window_end <= now() AND window_end > now() - keep
//! ```
//!
//! So a version is a function of the rows in its window: late rows and retractions train it anew, and a batch query gives
//! the same.

use arrow::datatypes::{DataType, Schema};
use datafusion::sql::sqlparser::ast::{Expr, SqlOption};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::error::SqlError;
use super::statement::{CreateView, identifier, object_name, parse_duration_ms};
use super::{nesting, rewrite};

/// The most columns that a model is trained on.
pub const FEATURES_MAX: usize = 64;

/// `CREATE [OR REPLACE] MODEL name USING isolation_forest [WITH (...)] AS SELECT ...`.
#[derive(Debug, Clone)]
pub struct CreateModel {
    /// Its name.
    pub name: String,
    /// Whether it takes the place of one that exists.
    pub or_replace: bool,
    /// Whether one that exists is fine.
    pub if_not_exists: bool,
    /// How it is trained.
    pub options: ModelOptions,
    /// The SELECT whose rows it is trained on.
    pub query: String,
}

/// The options of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelOptions {
    /// `trees`, `sample_size`, `seed`: given to the function that trains it, as they were written.
    pub training: Vec<(String, String)>,
    /// `retrain`: a version begins so often.
    pub retrain_ms: u64,
    /// `window`: a version is trained on the rows of so long before it begins.
    pub window_ms: u64,
    /// `keep`: a version is kept so long after it began.
    pub keep_ms: u64,
    /// `rows_min`: a window of fewer rows makes no version.
    pub rows_min: u64,
    /// `time`: the column that says when a row was; by default the only timestamp.
    pub time: Option<String>,
}

/// What a model is, beside the view that keeps its versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// The columns that a score is computed of, in their order.
    pub features: Vec<String>,
    /// How it is trained.
    pub options: ModelOptions,
    /// The SELECT whose rows it is trained on.
    pub query: String,
}

const DAY_MS: u64 = 86_400_000;

impl Default for ModelOptions {
    fn default() -> Self {
        ModelOptions {
            training: vec![],
            retrain_ms: DAY_MS,
            window_ms: 7 * DAY_MS,
            keep_ms: 30 * DAY_MS,
            rows_min: 100,
            time: None,
        }
    }
}

impl ModelOptions {
    fn set(&mut self, name: &str, value: &Expr) -> Result<(), SqlError> {
        let text = match value {
            Expr::Interval(interval) => interval.value.to_string(),
            other => other.to_string(),
        };
        let text = text.trim_matches('\'').to_owned();
        let refused = |expected: &str| SqlError::Option {
            name: name.to_owned(),
            value: text.clone(),
            expected: expected.to_owned(),
        };
        let duration = || {
            let expected = "a duration such as '1 day' is expected, from 1 second to 100 years";
            parse_duration_ms(&text).ok_or_else(|| refused(expected))
        };
        match name {
            "retrain" => self.retrain_ms = duration()?,
            "window" => self.window_ms = duration()?,
            "keep" => self.keep_ms = duration()?,
            "rows_min" => {
                let rows = text.parse().ok().filter(|rows| *rows > 0);
                self.rows_min = rows.ok_or_else(|| refused("a whole number above zero is expected"))?;
            }
            "time" => self.time = Some(text),
            "trees" | "sample_size" | "seed" => {
                let number: u64 =
                    text.parse().map_err(|_| refused("a whole number, not below zero, is expected"))?;
                self.training.push((name.to_owned(), number.to_string()));
            }
            _ => {
                return Err(refused(
                    "a model takes trees, sample_size, seed, retrain, window, keep, rows_min and time",
                ));
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), SqlError> {
        let refused = |name: &str, ms: u64, expected: &str| SqlError::Option {
            name: name.to_owned(),
            value: format!("{ms} ms"),
            expected: expected.to_owned(),
        };
        if !self.window_ms.is_multiple_of(self.retrain_ms) {
            return Err(refused("window", self.window_ms, "a whole multiple of retrain is expected"));
        }
        if self.keep_ms < self.retrain_ms {
            return Err(refused("keep", self.keep_ms, "at least as long as retrain is expected"));
        }
        Ok(())
    }
}

/// Reads CREATE MODEL.
///
/// # Errors
///
/// What does not parse, and options out of their ranges.
pub(super) fn parse(sql: &str) -> Result<CreateModel, SqlError> {
    nesting::check(sql)?;
    let tokens = rewrite::readable(sql)?;
    let dialect = PostgreSqlDialect {};
    let mut parser = Parser::new(&dialect).with_tokens_with_locations(tokens);
    let (algorithm, mut model, options) = head(&mut parser)?;
    if algorithm != "isolation_forest" {
        return Err(SqlError::Option {
            name: "USING".to_owned(),
            value: algorithm,
            expected: "isolation_forest is expected".to_owned(),
        });
    }
    for option in &options {
        let SqlOption::KeyValue { key, value } = option else {
            return Err(SqlError::Syntax(format!("option \"{option}\" is not of the form name = value")));
        };
        model.options.set(&identifier(key), value)?;
    }
    model.options.check()?;
    Ok(model)
}

fn head(parser: &mut Parser) -> Result<(String, CreateModel, Vec<SqlOption>), SqlError> {
    let mut read = || -> Result<_, ParserError> {
        parser.expect_keyword(Keyword::CREATE)?;
        let or_replace = parser.parse_keywords(&[Keyword::OR, Keyword::REPLACE]);
        // MODEL, which was looked at before.
        parser.next_token();
        let if_not_exists = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
        let name = parser.parse_object_name(false)?;
        parser.expect_keyword(Keyword::USING)?;
        let algorithm = parser.parse_identifier()?;
        let options = parser.parse_options(Keyword::WITH)?;
        parser.expect_keyword(Keyword::AS)?;
        let query = parser.parse_query()?;
        parser.expect_token(&Token::EOF)?;
        Ok((or_replace, if_not_exists, name, algorithm, options, query))
    };
    let (or_replace, if_not_exists, name, algorithm, options, query) =
        read().map_err(|e| SqlError::Syntax(format!("syntax error: {e}")))?;
    let model = CreateModel {
        name: object_name(&name)?,
        or_replace,
        if_not_exists,
        options: ModelOptions::default(),
        query: query.to_string(),
    };
    Ok((identifier(&algorithm), model, options))
}

impl CreateModel {
    /// The view that keeps the versions of the model, whose SELECT has the columns `schema`.
    ///
    /// # Errors
    ///
    /// Columns that no model can be trained on.
    pub fn view(&self, schema: &Schema) -> Result<CreateView, SqlError> {
        let time = self.time(schema)?;
        let features = self.features(schema, &time)?;
        let ModelOptions { training, retrain_ms, window_ms, keep_ms, rows_min, .. } = &self.options;
        let mut arguments: Vec<String> = features.iter().map(|name| quoted(name)).collect();
        arguments.extend(training.iter().map(|(name, value)| format!("{name} => {value}")));
        let interval = |ms: &u64| format!("INTERVAL '{ms} milliseconds'");
        let query = format!(
            "SELECT window_end AS valid_from, window_end + {retrain} AS valid_until, count(*) AS row_count, \
             isolation_forest({arguments}) AS model \
             FROM HOP(({rows}), {time}, {retrain}, {window}) GROUP BY window_end \
             HAVING count(*) >= {rows_min} AND window_end <= now() AND window_end > now() - {keep}",
            retrain = interval(retrain_ms),
            arguments = arguments.join(", "),
            rows = self.query,
            time = quoted(&time),
            window = interval(window_ms),
            keep = interval(keep_ms),
        );
        Ok(CreateView {
            name: self.name.clone(),
            or_replace: self.or_replace,
            if_not_exists: self.if_not_exists,
            is_materialized: true,
            horizon_ms: None,
            retention_ms: None,
            columns: vec![],
            query,
            model: Some(Model { features, options: self.options.clone(), query: self.query.clone() }),
        })
    }

    /// The column that says when a row was.
    fn time(&self, schema: &Schema) -> Result<String, SqlError> {
        let is_time = |t: &DataType| matches!(t, DataType::Timestamp(..));
        let times = schema.fields().iter().filter(|f| is_time(f.data_type())).map(|f| f.name().clone());
        let times: Vec<String> = times.collect();
        match (&self.options.time, times.as_slice()) {
            (Some(name), times) if times.contains(name) => Ok(name.clone()),
            (None, [name]) => Ok(name.clone()),
            (given, _) => Err(SqlError::Option {
                name: "time".to_owned(),
                value: given.clone().unwrap_or_default(),
                expected: format!(
                    "the timestamp by which rows are put in windows is expected; the query has {}",
                    if times.is_empty() { "none".to_owned() } else { times.join(", ") }
                ),
            }),
        }
    }

    fn features(&self, schema: &Schema, time: &str) -> Result<Vec<String>, SqlError> {
        let mut features = vec![];
        for field in schema.fields().iter().filter(|f| f.name() != time) {
            if !field.data_type().is_numeric() && field.data_type() != &DataType::Boolean {
                return Err(SqlError::Syntax(format!(
                    "column \"{}\" of model \"{}\" is {}; a model is trained on numbers and one timestamp",
                    field.name(),
                    self.name,
                    field.data_type()
                )));
            }
            features.push(field.name().clone());
        }
        match features.len() {
            1..=FEATURES_MAX => Ok(features),
            count => Err(SqlError::Syntax(format!(
                "model \"{}\" has {count} features, from 1 to {FEATURES_MAX} are allowed",
                self.name
            ))),
        }
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
