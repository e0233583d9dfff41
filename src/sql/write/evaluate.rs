//! What a statement comes to over the tables as they are: rows that go and rows that come.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use futures::StreamExt;

use super::assign::checked;
use super::keys::KeyIndex;
use super::plan::{OnConflict, Planned, Planner, ROW_NUMBER, Step, Steps};
use super::{Part, WRITE_BYTES_MAX, WRITE_ROWS_MAX, Write};
use crate::delta::row_store::bytes_of;
use crate::delta::updates::{Run, Tick};
use crate::sql::catalog::{Catalog, Contents};
use crate::sql::error::{SqlError, WriteError};
use crate::sql::question::{Description, Parameter};
use crate::sql::session::Session;
use crate::sql::table::TableDefinition;

/// What a statement does, for whoever owns the table.
#[derive(Clone, Debug)]
pub struct Evaluated {
    /// The table.
    pub table: String,
    /// What it was when the statement was evaluated.
    pub definition: Arc<TableDefinition>,
    /// What goes and what comes, in the order in which keys are given up and taken.
    pub parts: Vec<Part>,
    /// How many rows the statement added, changed or took away.
    pub rows: u64,
    /// The tick of the rows that it depends on: what has changed since makes it void. `None` where it depends on
    /// none, or whoever evaluates it holds others off.
    pub based_on: Option<Tick>,
    /// The rows of RETURNING.
    pub returning: Option<(SchemaRef, Vec<RecordBatch>)>,
}

impl Session {
    /// What `write` comes to over `catalog` as it is at `tick`.
    pub async fn evaluate(
        &self,
        write: &Write,
        parameters: &[Parameter],
        catalog: &Catalog,
        tick: u64,
    ) -> Result<Evaluated, SqlError> {
        let planned = Box::pin(Planner { session: self, catalog, tick }.plan(write)).await?;
        let (expected, given) = (planned.parameters(&[])?.len(), parameters.len());
        if expected != given {
            return Err(SqlError::Syntax(format!(
                "the statement has {expected} parameters, and {given} values were given"
            )));
        }
        let Planned { table, definition, steps, returning, affected, excluded } = planned;
        let run = Execution { session: self, parameters, table: &table, definition: &definition };
        let mut changes = match steps {
            Steps::Insert { rows, on_conflict: None } => Changes::of_added(run.added(rows).await?),
            Steps::Insert { rows, on_conflict: Some(on_conflict) } => {
                let rows = run.added(rows).await?;
                run.upserted(rows, *on_conflict, |rows| excluded.put(rows)).await?
            }
            Steps::Update { rows, assigned, is_joined } => {
                let rows = run.rows(rows).await?;
                run.refuse_twice(&rows, is_joined)?;
                run.updated(&rows, &assigned)?
            }
            Steps::Delete { rows, is_joined } => {
                let mut rows = run.rows(rows).await?;
                if is_joined {
                    rows = once(rows)?;
                }
                Changes { removed: run.old(&rows)?, added: vec![] }
            }
        };
        changes.removed.retain(|rows| rows.num_rows() > 0);
        changes.added.retain(|rows| rows.num_rows() > 0);
        let told = if matches!(write, Write::Delete(_)) { &changes.removed } else { &changes.added };
        let rows = told.iter().map(|rows| rows.num_rows() as u64).sum();
        affected.put(told.clone());
        let returning = match returning {
            None => None,
            Some(step) => Some((Arc::new(step.plan.schema().as_arrow().clone()), run.rows(step).await?)),
        };
        let removed = changes.removed.into_iter().map(|rows| (rows, Run::Constant(-1)));
        let parts = removed.chain(changes.added.into_iter().map(|rows| (rows, Run::Constant(1)))).collect();
        let (table, definition) = (table.clone(), definition.clone());
        Ok(Evaluated { parts, rows, returning, table, definition, based_on: None })
    }

    /// The parameters of `write`, some of whose types are known, and the columns of its RETURNING. Nothing
    /// is run.
    pub async fn describe_write(
        &self,
        write: &Write,
        known: &[Option<DataType>],
        catalog: &Catalog,
        tick: u64,
    ) -> Result<Description, SqlError> {
        let planned = Box::pin(Planner { session: self, catalog, tick }.plan(write)).await?;
        let parameters = planned.parameters(known)?;
        let parameters: Vec<DataType> = parameters.into_iter().map(|t| t.unwrap_or(DataType::Utf8)).collect();
        let schema = match planned.returning {
            None => Arc::new(Schema::empty()),
            Some(step) => {
                let nulls = parameters.iter().map(|t| Parameter::try_from(t).map_err(SqlError::from));
                let step = step.bound(&nulls.collect::<Result<Vec<_>, _>>()?)?;
                // Only the optimizer settles the types of columns.
                let plan = step.state.optimize(&step.plan)?;
                Arc::new(plan.schema().as_arrow().clone())
            }
        };
        Ok(Description { schema, parameters })
    }

    /// Fails unless every default of `definition` is a value for its column.
    pub async fn check_defaults(&self, definition: &TableDefinition, tick: u64) -> Result<(), SqlError> {
        let catalog = Catalog::new();
        let defaults = Planner { session: self, catalog: &catalog, tick }.defaults(definition).await?;
        for ((value, data_type), field) in defaults.into_iter().zip(definition.schema.fields()) {
            super::assign::assigned(value, &data_type, field)?;
        }
        Ok(())
    }
}

/// Rows that go, and rows that come.
struct Changes {
    removed: Vec<RecordBatch>,
    added: Vec<RecordBatch>,
}

impl Changes {
    fn of_added(added: Vec<RecordBatch>) -> Self {
        Changes { removed: vec![], added }
    }
}

/// The run of one statement.
struct Execution<'a> {
    session: &'a Session,
    parameters: &'a [Parameter],
    table: &'a str,
    definition: &'a Arc<TableDefinition>,
}

impl Execution<'_> {
    /// The rows of a query, as many as a statement may touch.
    async fn rows(&self, step: Step) -> Result<Vec<RecordBatch>, SqlError> {
        let step = step.bound(self.parameters)?;
        let mut stream = self.session.run(&step.state, &step.plan).await?;
        let (mut batches, mut rows, mut bytes) = (vec![], 0, 0);
        while let Some(batch) = stream.next().await {
            let batch = batch?;
            rows += batch.num_rows();
            bytes += bytes_of(&batch);
            if rows > WRITE_ROWS_MAX || bytes > WRITE_BYTES_MAX {
                return Err(SqlError::Limit {
                    what: "the statement changes more than",
                    limit: format!("{WRITE_ROWS_MAX} rows or {WRITE_BYTES_MAX} bytes"),
                    hint: "do it in portions",
                });
            }
            batches.push(batch);
        }
        Ok(batches)
    }

    /// The rows of a query that makes whole rows.
    async fn added(&self, step: Step) -> Result<Vec<RecordBatch>, SqlError> {
        let rows = self.rows(step).await?;
        rows.into_iter().map(|rows| self.checked(rows.columns().to_vec(), rows.num_rows())).collect()
    }

    fn checked(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, SqlError> {
        checked(self.table, self.definition, columns, rows)
    }

    /// The table's rows in the first columns of `rows`.
    fn old(&self, rows: &[RecordBatch]) -> Result<Vec<RecordBatch>, SqlError> {
        let count = self.definition.columns.len();
        let old = |rows: &RecordBatch| self.checked(rows.columns()[..count].to_vec(), rows.num_rows());
        rows.iter().map(old).collect()
    }

    /// What becomes of `rows`: columns of the table, then those of `assigned` anew.
    fn updated(&self, rows: &[RecordBatch], assigned: &[usize]) -> Result<Changes, SqlError> {
        let count = self.definition.columns.len();
        let new = |rows: &RecordBatch| {
            let mut columns = rows.columns()[..count].to_vec();
            for (at, value) in assigned.iter().zip(&rows.columns()[count..]) {
                columns[*at] = value.clone();
            }
            self.checked(columns, rows.num_rows())
        };
        let added = rows.iter().map(new).collect::<Result<_, _>>()?;
        Ok(Changes { removed: self.old(rows)?, added })
    }

    /// What becomes of `rows` where keys may be there already.
    async fn upserted(
        &self,
        rows: Vec<RecordBatch>,
        on_conflict: OnConflict,
        put: impl Fn(Vec<RecordBatch>),
    ) -> Result<Changes, SqlError> {
        let rows = concat_batches(&self.definition.schema, &rows)?;
        let Some(keys) = KeyIndex::new(self.table, self.definition)? else {
            return Err(WriteError::NoKey { table: self.table.to_owned() }.into());
        };
        let firsts = keys.firsts(&rows)?;
        let rows = match (firsts.iter().all(|is_first| *is_first), &on_conflict.update) {
            (true, _) => rows,
            (false, None) => filter_record_batch(&rows, &BooleanArray::from(firsts))?,
            (false, Some(_)) => return Err(WriteError::Twice { command: "ON CONFLICT DO UPDATE" }.into()),
        };
        put(vec![rows]);
        let mut changes = Changes::of_added(self.added(on_conflict.fresh).await?);
        if let Some((step, assigned)) = on_conflict.update {
            let updated = self.updated(&self.rows(step).await?, &assigned)?;
            changes.removed.extend(updated.removed);
            changes.added.extend(updated.added);
        }
        Ok(changes)
    }

    /// Fails where a row of the table is in `rows` more than once: which of its new values would be the
    /// last is nobody's to say.
    fn refuse_twice(&self, rows: &[RecordBatch], is_joined: bool) -> Result<(), SqlError> {
        let mut seen = std::collections::HashSet::new();
        let mut all = rows.iter().filter(|_| is_joined).flat_map(|rows| numbers(rows).values().iter());
        match all.all(|number| seen.insert(*number)) {
            true => Ok(()),
            false => Err(WriteError::Twice { command: "UPDATE" }.into()),
        }
    }
}

/// The numbers of rows, in their last column.
fn numbers(rows: &RecordBatch) -> &arrow::array::PrimitiveArray<Int64Type> {
    rows.column(rows.num_columns() - 1).as_primitive()
}

/// Each row of the table once, by its number.
fn once(batches: Vec<RecordBatch>) -> Result<Vec<RecordBatch>, SqlError> {
    let mut seen = std::collections::HashSet::new();
    let filtered = batches.into_iter().map(|rows| {
        let mask: BooleanArray = numbers(&rows).values().iter().map(|n| Some(seen.insert(*n))).collect();
        Ok(filter_record_batch(&rows, &mask)?)
    });
    filtered.collect()
}

/// The rows of a table, each with a number of its own.
pub(super) struct Numbered {
    schema: SchemaRef,
    contents: Arc<dyn Contents>,
}

impl Numbered {
    pub fn new(schema: &SchemaRef, contents: Arc<dyn Contents>) -> Self {
        let mut fields = schema.fields().to_vec();
        fields.push(Arc::new(Field::new(ROW_NUMBER, DataType::Int64, false)));
        Numbered { schema: Arc::new(Schema::new(fields)), contents }
    }

    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

impl Contents for Numbered {
    fn read(&self) -> Result<Vec<RecordBatch>, SqlError> {
        let mut next = 0;
        let numbered = self.contents.read()?.into_iter().map(|rows| {
            let first = next;
            next += rows.num_rows() as i64;
            let mut columns = rows.columns().to_vec();
            columns.push(Arc::new(Int64Array::from_iter_values(first..next)));
            Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
        });
        numbered.collect()
    }
}
