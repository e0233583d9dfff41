//! What the tests share: databases, rows written as JSON, and answers as text.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Float64Type, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::{Map, Value, json};
use undercurrent::delta::updates::Run;
use undercurrent::engine::{Answer, BuiltIns, Database, Engine};
use undercurrent::sql::error::SqlError;
use undercurrent::sql::statement::parse;
use undercurrent::telemetry::{Batch, Table};

/// A database with a runtime to run its statements on.
pub struct Server {
    pub database: Database,
    runtime: tokio::runtime::Runtime,
}

impl Server {
    /// A database without views of its own.
    pub fn new(workers: usize) -> Self {
        let engine = Engine::start(workers).expect("worker threads");
        Server::over(Database::new(engine, BuiltIns::default(), None))
    }

    /// One with a database of its own.
    pub fn over(database: Database) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        Server { database, runtime }
    }

    /// The answer to the last statement of `sql`.
    pub fn answer(&mut self, sql: &str) -> Result<Answer, SqlError> {
        let mut answer = Answer::Done("nothing");
        for statement in parse(sql)? {
            answer = self.runtime.block_on(self.database.execute(statement))?;
        }
        Ok(answer)
    }

    /// The rows that the query `sql` gives.
    pub fn query(&mut self, sql: &str) -> Result<Rows, SqlError> {
        match self.answer(sql)? {
            Answer::Rows { schema, batches } => Ok(Rows::new(&schema, &batches)),
            Answer::Done(tag) => panic!("{tag}: not a query: {sql}"),
            Answer::Written(written) => match written.returning {
                Some((schema, batches)) => Ok(Rows::new(&schema, &batches)),
                None => panic!("{}: not a query: {sql}", written.tag()),
            },
            Answer::Subscription(_) => panic!("not a query: {sql}"),
        }
    }

    /// Carries out `sql`, which must work.
    pub fn run(&mut self, sql: &str) {
        if let Err(error) = self.answer(sql) {
            panic!("{sql}: {error}");
        }
    }

    /// What `sql` is refused with.
    pub fn refusal(&mut self, sql: &str) -> String {
        match self.answer(sql) {
            Ok(_) => panic!("not refused: {sql}"),
            Err(error) => error.to_string(),
        }
    }

    /// Appends rows to the open tick.
    pub fn append(&mut self, table: Table, rows: &[Value]) {
        if !rows.is_empty() {
            self.database.engine.append(&batch(table, rows)).expect("an engine that runs");
        }
    }

    /// Adds rows to the user table `name`, at the open tick.
    pub fn insert(&mut self, name: &str, rows: RecordBatch) {
        if let Err(error) = self.database.engine.change(name, rows, Run::Constant(1)) {
            panic!("{name}: {error}");
        }
    }

    /// Lets all rows of the table `name` go, and come again a tick later.
    pub fn churn(&mut self, name: &str) {
        let Ok(Answer::Rows { schema, batches }) = self.answer(&format!("SELECT * FROM {name}")) else {
            panic!("{name} cannot be read")
        };
        for diff in [-1, 1] {
            for rows in &batches {
                let rows = rows.clone().with_schema(schema.clone()).expect("its own columns");
                let changed = self.database.engine.change(name, rows, Run::Constant(diff));
                match changed {
                    Ok(()) => {}
                    // Rows of an append-only table stay.
                    Err(error) if error.to_string().contains("append-only") => return,
                    Err(error) => panic!("{name}: {error}"),
                }
            }
            self.close(0);
        }
    }

    /// Closes the open tick, at `clock_ms` if that is later than the next.
    pub fn close(&mut self, clock_ms: u64) -> u64 {
        self.database.engine.close(clock_ms).expect("an engine that runs")
    }
}

/// An answer as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows {
    /// Name and type of each column.
    pub columns: Vec<String>,
    /// The type of each column.
    pub types: Vec<DataType>,
    /// The values of each row, in the order they came.
    pub rows: Vec<Vec<String>>,
}

impl Rows {
    pub fn new(schema: &SchemaRef, batches: &[RecordBatch]) -> Self {
        let columns = schema.fields().iter().map(|f| format!("{}: {}", f.name(), f.data_type())).collect();
        let types = schema.fields().iter().map(|f| f.data_type().clone()).collect();
        let rows = batches.iter().flat_map(row_texts).collect();
        Rows { columns, types, rows }
    }

    /// The rows as lines, in the order of their text.
    pub fn sorted(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.rows.iter().map(|row| row.join(" | ")).collect();
        lines.sort();
        lines
    }
}

/// The values of each row of `batch`: two texts are equal exactly when the values are.
pub fn row_texts(batch: &RecordBatch) -> Vec<Vec<String>> {
    let columns: Vec<Vec<String>> = batch.columns().iter().map(texts).collect();
    (0..batch.num_rows()).map(|row| columns.iter().map(|c| c[row].clone()).collect()).collect()
}

fn texts(column: &ArrayRef) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let formatter = ArrayFormatter::try_new(column, &options).expect("a type that can be shown");
    let text = |row: usize| match column.data_type() {
        _ if column.is_null(row) => "NULL".to_owned(),
        // Shortest text that reads back as the same double. The sign of a NaN is not shown: which of two
        // NaNs a sum takes it from is up to the processor.
        DataType::Float64 => format!("{:?}", column.as_primitive::<Float64Type>().value(row)),
        _ => match formatter.value(row).to_string() {
            empty if empty.is_empty() => "(empty)".to_owned(),
            text => text,
        },
    };
    (0..column.len()).map(text).collect()
}

/// A row a value: an object of columns; those left out are null, or a default where that is not allowed.
pub fn batch(table: Table, rows: &[Value]) -> Batch {
    let schema = table.schema();
    let mut decoder = arrow::json::ReaderBuilder::new(schema.clone()).build_decoder().expect("a decoder");
    let rows: Vec<Value> = rows.iter().map(|row| with_defaults(table, row)).collect();
    for row in rows.iter().filter_map(Value::as_object) {
        let unknown = row.keys().find(|key| schema.index_of(key).is_err());
        assert_eq!(unknown, None, "no such column in {}", table.name());
    }
    decoder.serialize(&rows).unwrap_or_else(|e| panic!("{rows:?}: {e}"));
    let rows = decoder.flush().unwrap_or_else(|e| panic!("{rows:?}: {e}")).expect("at least one row");
    Batch { table, rows, event_time_ns: None }
}

fn with_defaults(table: Table, row: &Value) -> Value {
    let mut whole = Map::new();
    for field in table.schema().fields().iter().filter(|f| !f.is_nullable()) {
        let value = match field.data_type() {
            DataType::Map(..) => json!({}),
            DataType::Utf8 => json!("-"),
            DataType::Timestamp(..) => json!("1970-01-01T00:00:00Z"),
            _ => json!(0),
        };
        whole.insert(field.name().clone(), value);
    }
    whole.extend(row.as_object().expect("a row is an object").clone());
    Value::Object(whole)
}

/// The stream table called `name`.
pub fn table(name: &str) -> Table {
    let found = Table::all().into_iter().find(|t| t.name() == name);
    found.unwrap_or_else(|| panic!("no stream table \"{name}\""))
}

/// A query of `columns` over `a.n` from 0 to `outer` and, for each of them, `b.m` from 0 to `inner`: its rows come in
/// many batches.
pub fn many(outer: usize, inner: usize, columns: &str) -> String {
    format!(
        "SELECT {columns} FROM (SELECT unnest(range({outer})) AS n) AS a
         CROSS JOIN (SELECT unnest(range({inner})) AS m) AS b"
    )
}
