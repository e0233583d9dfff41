//! EXPLAIN DATAFLOW and SHOW VIEW STATS: dataflows and what they cost.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};

use super::view_stats::{
    ARRANGE, Figures, VIEW_STATS, ViewFigures, counted_columns, counted_fields, shared_with,
};
use super::{Answer, Database};
use crate::delta::plan::Plan;
use crate::delta::stats::Counts;
use crate::sql::catalog::Kind;
use crate::sql::error::SqlError;
use crate::sql::session::missing;
use crate::sql::statement::{Statement, parse, parse_query};

/// A line of EXPLAIN DATAFLOW: the text, what the operator has counted, and the other views that use it.
type Line = (String, Option<Counts>, Option<String>);

impl Database {
    /// The dataflow of a view with what its operators have counted, or that of a query as it would be built.
    pub(super) async fn explain(&self, target: &str) -> Result<Answer, SqlError> {
        let name = target.trim_end_matches(';').trim().to_lowercase();
        let state = self.published.load();
        if let Some(view) = state.figures.views.iter().find(|view| view.name == name) {
            let mut fields = vec![Field::new("dataflow", DataType::Utf8, false)];
            fields.extend(counted_fields());
            fields.push(Field::new("shared_with", DataType::Utf8, true));
            return explained(fields, &lines_of(&state.figures, view));
        }
        let query = match parse(target)?.pop() {
            Some(Statement::CreateView(view)) => view.query,
            _ => target.to_owned(),
        };
        if parse_query(&query).is_err() {
            return Err(missing(&name, &self.catalog()));
        }
        let plan = self.session.compile(&query, &self.catalog(), self.horizon_ms).await?.plan;
        let lines: Vec<Line> = lines(&plan).into_iter().map(|(_, text)| (text, None, None)).collect();
        explained(vec![Field::new("dataflow", DataType::Utf8, false)], &lines)
    }

    /// `view_stats`, of all views or of `view`.
    pub(super) async fn show_view_stats(&self, view: Option<&str>) -> Result<Answer, SqlError> {
        let catalog = self.catalog();
        let filter = match view.map(|name| (name, catalog.get(name).map(|relation| &relation.kind))) {
            None => String::new(),
            Some((name, Some(Kind::View { .. }))) => format!(" WHERE view = '{}'", name.replace('\'', "''")),
            Some((name, Some(_))) => {
                return Err(SqlError::Syntax(format!(
                    "\"{name}\" is no materialized view, and only those are maintained"
                )));
            }
            Some((name, None)) => return Err(missing(name, &catalog)),
        };
        let query = parse_query(&format!("SELECT * FROM {VIEW_STATS}{filter} ORDER BY view"))?;
        let (schema, batches) = self.reader().query(query).await?;
        Ok(Answer::Rows { schema, batches })
    }
}

/// The lines of `plan` under that of the operator that keeps its result, each with its number; lines that only
/// refer to another have none.
fn lines(plan: &Plan) -> Vec<(Option<usize>, String)> {
    let result = plan.nodes.len();
    let first = format!(
        "#{result} {ARRANGE} by=[all columns] state=(each row and its count) bound=(rows of the view)"
    );
    let below = plan.lines().into_iter().map(|(id, line)| (id, format!("  {line}")));
    std::iter::once((Some(result), first)).chain(below).collect()
}

fn lines_of(figures: &Figures, view: &ViewFigures) -> Vec<Line> {
    let (users, counts) = (figures.users(), view.operators.counts());
    let line = |(id, text): (Option<usize>, String)| {
        let Some(id) = id else { return (text, None, None) };
        let Some(operator) = view.operators.nodes.get(id) else { return (text, Some(view.result()), None) };
        (text, Some(counts[id]), shared_with(&users, operator.id, &view.name))
    };
    lines(&view.operators.plan).into_iter().map(line).collect()
}

/// `lines` as rows: the text, and as much of the rest as `fields` has columns for.
fn explained(fields: Vec<Field>, lines: &[Line]) -> Result<Answer, SqlError> {
    let counts: Vec<Option<Counts>> = lines.iter().map(|line| line.1).collect();
    let mut columns: Vec<ArrayRef> =
        vec![Arc::new(StringArray::from_iter_values(lines.iter().map(|line| &line.0)))];
    columns.extend(counted_columns(&counts));
    columns.push(Arc::new(StringArray::from_iter(lines.iter().map(|line| line.2.as_deref()))));
    columns.truncate(fields.len());
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(schema.clone(), columns)?;
    Ok(Answer::Rows { schema, batches: vec![batch] })
}
