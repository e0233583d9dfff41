//! Views beside their queries: what the tests of whole benchmarks share.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use undercurrent::engine::Answer;

use crate::support::{Rows, Server};

/// How many of the rows that are too many, and of those that are missing, a failure shows.
const SHOWN_ROWS_MAX: usize = 5;

/// A query, and the view that maintains it.
pub struct Maintained {
    pub name: String,
    pub query: String,
    /// Whether at any tick it had a row with a value.
    pub has_values: bool,
}

/// Creates a view for each of `queries`, which are names and texts.
pub fn maintain(server: &mut Server, queries: impl Iterator<Item = (String, String)>) -> Vec<Maintained> {
    let (mut views, mut refusals) = (vec![], vec![]);
    for (name, query) in queries {
        match server.answer(&format!("CREATE MATERIALIZED VIEW {name} AS {query}")) {
            Ok(_) => views.push(Maintained { name, query, has_values: false }),
            Err(error) => refusals.push(format!("{name}: {error}")),
        }
    }
    assert!(refusals.is_empty(), "{} queries are refused:\n{}", refusals.len(), refusals.join("\n"));
    views
}

/// Compares each view with its query at the last closed tick.
pub fn compare(server: &mut Server, views: &mut [Maintained], when: &str) {
    let mut failed = vec![];
    for view in views {
        let (schema, maintained) = rows(server, &format!("SELECT * FROM {}", view.name));
        let (batch_schema, batch) = rows(server, &view.query);
        let is_value = |column: &ArrayRef| column.null_count() < column.len();
        view.has_values |= batch.iter().any(|b| b.columns().iter().any(is_value));
        let columns = |schema: &SchemaRef| Rows::new(schema, &[]).columns;
        if columns(&schema) != columns(&batch_schema)
            || sorted(&schema, &maintained) != sorted(&schema, &batch)
        {
            let difference = difference(&Rows::new(&schema, &maintained), &Rows::new(&batch_schema, &batch));
            failed.push(format!("{} {when}: {difference}", view.name));
        }
    }
    assert!(failed.is_empty(), "{} views are not their queries:\n{}", failed.len(), failed.join("\n"));
}

fn rows(server: &mut Server, sql: &str) -> (SchemaRef, Vec<RecordBatch>) {
    match server.answer(sql) {
        Ok(Answer::Rows { schema, batches }) => (schema, batches),
        Ok(_) => panic!("not a query: {sql}"),
        Err(error) => panic!("{sql}: {error}"),
    }
}

/// The rows of `batches` as bytes, equal exactly when the rows are, in order.
fn sorted(schema: &SchemaRef, batches: &[RecordBatch]) -> Vec<Vec<u8>> {
    let fields = schema.fields().iter().map(|field| SortField::new(field.data_type().clone()));
    let converter = RowConverter::new(fields.collect()).expect("types that can be ordered");
    let mut all = vec![];
    for batch in batches {
        let rows = converter.convert_columns(batch.columns()).expect("columns of the schema");
        all.extend(rows.iter().map(|row| row.as_ref().to_vec()));
    }
    all.sort_unstable();
    all
}

/// What the view has too much and what it lacks.
fn difference(view: &Rows, batch: &Rows) -> String {
    if view.columns != batch.columns {
        return format!("the view has the columns {:?}, the query {:?}", view.columns, batch.columns);
    }
    let (view, batch) = (view.sorted(), batch.sorted());
    let only = |mine: &[String], others: &[String]| {
        let mut others = others.to_vec();
        let mut extra = vec![];
        for line in mine {
            match others.iter().position(|other| other == line) {
                Some(place) => drop(others.swap_remove(place)),
                None => extra.push(line),
            }
        }
        let shown: Vec<String> =
            extra.iter().take(SHOWN_ROWS_MAX).map(|line| format!("    {line}")).collect();
        format!("{}\n{}", extra.len(), shown.join("\n"))
    };
    format!(
        "{} rows, the query {}\n  too many: {}\n  missing: {}",
        view.len(),
        batch.len(),
        only(&view, &batch),
        only(&batch, &view)
    )
}
