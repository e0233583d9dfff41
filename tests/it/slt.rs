//! Runs `tests/slt/*.slt`: SQL in, rows out, each file three ways.
//!
//! | way | a `query` record reads | rows come |
//! |---|---|---|
//! | `batch` | the query itself | in one batch |
//! | `view` | a view created before any data | shuffled, in random batches over several ticks |
//! | `hydrated` | a view created at the record | in random batches over several ticks |
//!
//! Beside SQL, a `statement` may be `INSERT INTO <stream table>` followed by a JSON object a row, and
//! `CLOSE <ms>`, which closes a tick at that time of the stream clock. The clock stands at some
//! milliseconds otherwise. `onlyif batch` and `skipif view` pick ways. CREATE statements are carried out
//! before any data under `view`, where they stand otherwise.
//!
//! `UNDERCURRENT_SLT=joins` runs one file alone.
//!
//! Statements that change rows of a table that the file created are carried out as SQL in all three ways, as
//! a `statement` or, with RETURNING, as a `query`. Beside batch queries all rows of the table then sometimes
//! go and come again, a tick apart: views follow, and end where they were.

use std::path::{Path, PathBuf};

use arrow::datatypes::DataType;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use sqllogictest::{Condition, DBOutput, DefaultColumnType, Record, Runner};
use undercurrent::engine::Answer;
use undercurrent::sql::error::SqlError;
use undercurrent::telemetry::Table;

use crate::support::{Rows, Server, table};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Batch,
    View,
    Hydrated,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Way::Batch => "batch",
            Way::View => "view",
            Way::Hydrated => "hydrated",
        }
    }
}

/// A database as the runner of slt files sees it.
struct Harness {
    way: Way,
    server: Server,
    random: StdRng,
    /// Queries so far: under `view` the number of the view that answers the next.
    queries: usize,
}

/// An error as the runner wants it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Failed(String);

impl From<SqlError> for Failed {
    fn from(error: SqlError) -> Self {
        Failed(error.to_string())
    }
}

impl sqllogictest::DB for Harness {
    type Error = Failed;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failed> {
        let sql = sql.trim();
        if let Some(rest) = telemetry(sql) {
            self.insert(rest);
            return Ok(DBOutput::StatementComplete(0));
        }
        if changes_tables(sql) {
            return self.change(sql);
        }
        if let Some(clock_ms) = sql.strip_prefix("CLOSE ") {
            self.server.close(clock_ms.parse().map_err(|e| Failed(format!("{sql}: {e}")))?);
            return Ok(DBOutput::StatementComplete(0));
        }
        if sql.starts_with("CREATE ") {
            if self.way != Way::View {
                self.server.answer(sql)?;
            }
            return Ok(DBOutput::StatementComplete(0));
        }
        let number = self.queries;
        self.queries += 1;
        let answer = match self.way {
            Way::Batch => self.server.answer(sql)?,
            Way::View => self.server.answer(&format!("SELECT * FROM v_{number}"))?,
            Way::Hydrated => {
                self.server.answer(&create(number, sql))?;
                self.server.answer(&format!("SELECT * FROM v_{number}"))?
            }
        };
        match answer {
            Answer::Rows { schema, batches } => Ok(output(Rows::new(&schema, &batches))),
            _ => Err(Failed(format!("not a query: {sql}"))),
        }
    }

    fn engine_name(&self) -> &str {
        self.way.name()
    }
}

/// What follows `INSERT INTO` where it is a stream of telemetry that takes rows.
fn telemetry(sql: &str) -> Option<&str> {
    let rest = sql.strip_prefix("INSERT INTO ")?;
    let name = rest.split_whitespace().next()?;
    Table::all().iter().any(|table| table.name() == name).then_some(rest)
}

/// Whether `sql` changes rows of a table, or drops one.
fn changes_tables(sql: &str) -> bool {
    let verbs = ["INSERT ", "UPDATE ", "DELETE ", "TRUNCATE ", "DROP TABLE "];
    telemetry(sql).is_none() && verbs.iter().any(|verb| sql.trim_start().starts_with(verb))
}

fn create(number: usize, query: &str) -> String {
    format!("CREATE MATERIALIZED VIEW v_{number} AS {query}")
}

fn output(rows: Rows) -> DBOutput<DefaultColumnType> {
    let column = |t: &DataType| match t {
        t if t.is_integer() => DefaultColumnType::Integer,
        t if t.is_floating() => DefaultColumnType::FloatingPoint,
        _ => DefaultColumnType::Text,
    };
    DBOutput::Rows { types: rows.types.iter().map(column).collect(), rows: rows.rows }
}

impl Harness {
    fn new(way: Way, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let workers = if way == Way::Batch { 1 } else { random.random_range(1..=3) };
        Harness { way, server: Server::new(workers), random, queries: 0 }
    }

    /// Creates what the file creates, and a view for each of its queries.
    fn create_all(&mut self, records: &[Record<DefaultColumnType>]) {
        let mut number = 0;
        for record in records {
            match record {
                Record::Statement { sql, .. } if sql.starts_with("CREATE ") => self.server.run(sql),
                Record::Query { sql, conditions, .. }
                    if applies(conditions, self.way) && !changes_tables(sql) =>
                {
                    self.server.run(&create(number, sql));
                    number += 1;
                }
                _ => {}
            }
        }
    }

    /// Carries out a statement that changes a table.
    fn change(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Failed> {
        let Answer::Written(written) = self.server.answer(sql)? else {
            return Ok(DBOutput::StatementComplete(0));
        };
        if self.way != Way::Batch && self.random.random() {
            self.server.churn(&parse_target(sql));
        }
        Ok(match &written.returning {
            Some((schema, batches)) => output(Rows::new(schema, batches)),
            None => DBOutput::StatementComplete(written.rows),
        })
    }

    fn insert(&mut self, rest: &str) {
        let (name, rows) = rest.split_once('\n').unwrap_or((rest, ""));
        let table = table(name.trim());
        let row = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        let mut rows: Vec<serde_json::Value> = rows.lines().map(row).collect();
        if self.way == Way::Batch {
            self.server.append(table, &rows);
            self.server.close(0);
            return;
        }
        rows.shuffle(&mut self.random);
        let mut rows = rows.as_slice();
        while !rows.is_empty() {
            let (batch, rest) = rows.split_at(self.random.random_range(1..=rows.len()));
            self.server.append(table, batch);
            if self.random.random() {
                self.server.close(0);
            }
            rows = rest;
        }
        self.server.close(0);
    }
}

/// The table that a statement changes.
fn parse_target(sql: &str) -> String {
    let mut words = sql.split(|c: char| c.is_whitespace() || c == '(');
    let name = words.find(|word| !["INSERT", "INTO", "UPDATE", "DELETE", "FROM", ""].contains(word));
    name.unwrap_or_default().to_owned()
}

fn applies(conditions: &[Condition], way: Way) -> bool {
    conditions.iter().all(|condition| match condition {
        Condition::OnlyIf { label } => label == way.name(),
        Condition::SkipIf { label } => label != way.name(),
    })
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt");
    let entries = std::fs::read_dir(folder).expect("the folder of slt files");
    let mut files: Vec<PathBuf> = entries.map(|e| e.expect("a file").path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "slt"));
    if let Some(name) = std::env::var_os("UNDERCURRENT_SLT") {
        files.retain(|f| f.file_stem() == Some(&name));
    }
    files.sort();
    files
}

fn run_file(path: &Path, way: Way, seed: u64) -> Result<usize, String> {
    let records: Vec<Record<DefaultColumnType>> =
        sqllogictest::parse_file(path).map_err(|e| e.to_string())?;
    let mut harness = Some(Harness::new(way, seed));
    if way == Way::View {
        harness.iter_mut().for_each(|h| h.create_all(&records));
    }
    let mut runner = Runner::new(move || {
        let harness = harness.take();
        async move { harness.ok_or_else(|| Failed("a second connection".to_owned())) }
    });
    let mut failed = vec![];
    let mut queries = 0;
    for record in records {
        queries += matches!(&record, Record::Query { sql, conditions, .. } if applies(conditions, way) && !changes_tables(sql))
            as usize;
        if let Err(error) = runner.run(record) {
            failed.push(format!("[{} seed {seed}] {}", way.name(), error.display(false)));
        }
    }
    if failed.is_empty() { Ok(queries) } else { Err(failed.join("\n")) }
}

fn run_all(way: Way, seeds: std::ops::Range<u64>) {
    let (mut failed, mut queries) = (vec![], 0);
    for path in files() {
        for seed in seeds.clone() {
            match run_file(&path, way, seed) {
                Ok(count) => queries += count,
                Err(error) => failed.push(error),
            }
        }
    }
    println!("{}: {queries} queries answered", way.name());
    assert!(failed.is_empty(), "{} files failed:\n{}", failed.len(), failed.join("\n"));
    assert!(
        queries >= 100 || std::env::var_os("UNDERCURRENT_SLT").is_some(),
        "{queries} queries: are the files there?"
    );
}

/// Writes the answers of batch queries into the files: to be read before they are believed.
fn update_all() {
    for path in files() {
        let mut harness = Some(Harness::new(Way::Batch, 0));
        let mut runner = Runner::new(move || {
            let harness = harness.take();
            async move { harness.ok_or_else(|| Failed("a second connection".to_owned())) }
        });
        let update = runner.update_test_file(
            &path,
            " ",
            sqllogictest::default_validator,
            sqllogictest::default_normalizer,
            sqllogictest::default_column_validator,
        );
        futures::executor::block_on(update).expect("a file that can be written");
    }
}

#[test]
fn slt_files_as_batch_queries() {
    if std::env::var_os("UNDERCURRENT_UPDATE_SLT").is_some() {
        return update_all();
    }
    run_all(Way::Batch, 0..1);
}

#[test]
fn slt_files_as_views_created_before_the_data() {
    run_all(Way::View, 0..3);
}

#[test]
fn slt_files_as_views_created_after_the_data() {
    run_all(Way::Hydrated, 0..2);
}
