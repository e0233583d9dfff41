//! Statements that create, change and drop tables.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};

use super::{Answer, Database, Limits, TABLES_MAX};
use crate::delta::keys::Keys;
use crate::delta::row_store::bytes_of;
use crate::delta::updates::{Run, Tick};
use crate::sql::catalog::{Catalog, Kind, recast};
use crate::sql::error::{SqlError, WriteError};
use crate::sql::question::Parameter;
use crate::sql::session::missing;
use crate::sql::statement::{Statement, parse_query};
use crate::sql::table::{ColumnDefinition, CreateTable, TableDefinition};
use crate::sql::write::{Evaluated, Part, Write};

/// What a statement did to a table.
#[derive(Clone, Debug)]
pub struct Written {
    /// PostgreSQL's word for it.
    pub command: &'static str,
    /// How many rows it added, changed or took away.
    pub rows: u64,
    /// The tick at which queries see it.
    pub tick: Tick,
    /// The rows of RETURNING, with their columns.
    pub returning: Option<(SchemaRef, Vec<RecordBatch>)>,
}

impl Written {
    /// What all of `done` come to.
    pub(super) fn of(command: &'static str, done: Vec<Evaluated>, tick: Tick) -> Self {
        let mut written = Written { command, rows: 0, tick, returning: None };
        for evaluated in done {
            written.rows += evaluated.rows;
            match (&mut written.returning, evaluated.returning) {
                (Some((_, all)), Some((_, rows))) => all.extend(rows),
                (returning, own) => *returning = returning.take().or(own),
            }
        }
        written
    }

    /// PostgreSQL's command tag.
    pub fn tag(&self) -> String {
        match self.command {
            "INSERT" => format!("INSERT 0 {}", self.rows),
            other => format!("{other} {}", self.rows),
        }
    }
}

/// What was done to tables at the open tick.
pub(super) struct Done {
    /// PostgreSQL's word for it.
    pub command: &'static str,
    /// The statements, as they were evaluated.
    pub evaluated: Vec<Evaluated>,
}

/// What the thread that owns the database is asked to do to tables.
pub(super) enum Request {
    /// A statement that depends on what the tables hold, once for each row of parameters.
    Evaluate(Write, Vec<Vec<Parameter>>),
    /// What statements were evaluated to, in their order, with the command that tells of them all.
    Commit(&'static str, Vec<Evaluated>),
}

impl Database {
    /// Does all that `request` asks for at the open tick, or nothing; the time that it may take is one of `limits`.
    pub(super) async fn carry_out(&mut self, request: Request, limits: &Limits) -> Result<Done, SqlError> {
        let deadline = limits.deadline();
        let (command, evaluated) = match request {
            Request::Commit(command, evaluated) => (command, evaluated),
            Request::Evaluate(write, parameters) => {
                let mut done: Vec<Evaluated> = vec![];
                for parameters in parameters {
                    let evaluated = limits.by(deadline, self.evaluate_now(&write, &parameters)).await;
                    match evaluated.and_then(|evaluated| self.apply(evaluated)) {
                        Ok(evaluated) => done.push(evaluated),
                        Err(error) => {
                            self.undo(done)?;
                            return Err(error);
                        }
                    }
                }
                return Ok(Done { command: write.command(), evaluated: done });
            }
        };
        evaluated.iter().try_for_each(|evaluated| self.check_unchanged(evaluated))?;
        // What comes to append-only tables cannot be taken back, and cannot fail.
        let (last, first): (Vec<_>, Vec<_>) =
            evaluated.iter().cloned().partition(|evaluated| evaluated.definition.is_append_only);
        let mut done = vec![];
        for evaluated in first.into_iter().chain(last) {
            if let Err(error) = self.engine.apply(&evaluated.table, evaluated.parts.clone()) {
                self.undo(done)?;
                return Err(error);
            }
            done.push(evaluated);
        }
        Ok(Done { command, evaluated })
    }

    /// What `done` is to whoever asked for it.
    pub(super) fn written(&self, done: Done) -> Written {
        Written::of(done.command, done.evaluated, self.engine.open_tick())
    }

    /// What `write` comes to over the tables as they are at the open tick.
    async fn evaluate_now(&self, write: &Write, parameters: &[Parameter]) -> Result<Evaluated, SqlError> {
        let (tick, catalog) = self.catalog_for_writes();
        Box::pin(self.session.evaluate(write, parameters, &catalog, tick)).await
    }

    fn apply(&mut self, evaluated: Evaluated) -> Result<Evaluated, SqlError> {
        self.engine.apply(&evaluated.table, evaluated.parts.clone())?;
        Ok(evaluated)
    }

    /// Takes back what was done last: nobody has seen it.
    pub(super) fn undo(&mut self, done: Vec<Evaluated>) -> Result<(), SqlError> {
        for evaluated in done.into_iter().rev() {
            let parts = evaluated.parts.into_iter().rev();
            let parts = parts.map(|(rows, diffs)| (rows, diffs.map(|diff| -diff))).collect();
            self.engine.apply(&evaluated.table, parts)?;
        }
        Ok(())
    }

    /// Fails where a table is not what it was when `evaluated` was, and that matters.
    fn check_unchanged(&self, evaluated: &Evaluated) -> Result<(), WriteError> {
        let table = &evaluated.table;
        let is_same =
            self.engine.table_definition(table).is_some_and(|d| Arc::ptr_eq(d, &evaluated.definition));
        let changed_at = self.engine.changed_at(table);
        match is_same && evaluated.based_on.is_none_or(|tick| changed_at <= tick) {
            true => Ok(()),
            false => Err(WriteError::Changed { table: table.clone() }),
        }
    }

    /// Carries out `write` and closes a tick, so that queries see it.
    pub async fn write(&mut self, write: Write, parameters: Vec<Parameter>) -> Result<Written, SqlError> {
        let done = self.carry_out(Request::Evaluate(write, vec![parameters]), &Limits::default()).await?;
        let written = self.written(done);
        self.engine.close(self.engine.closed() + 1)?;
        Ok(written)
    }

    /// All relations at the last closed tick; of tables also what has changed since.
    fn catalog_for_writes(&self) -> (Tick, Catalog) {
        let (tick, mut catalog) = self.reader().catalog();
        for (name, contents) in self.engine.changed_tables() {
            if let Some(Kind::Table { contents: published, .. }) = catalog.get_mut(name).map(|r| &mut r.kind)
            {
                *published = contents;
            }
        }
        (tick, catalog)
    }

    /// Carries out a statement about tables.
    pub(super) async fn change_tables(&mut self, statement: Statement) -> Result<Answer, SqlError> {
        match statement {
            Statement::CreateTable(create) => self.create_table(*create).await,
            Statement::DropTable { names, if_exists } => {
                self.drop_tables(&names, if_exists)?;
                Ok(Answer::Done("DROP TABLE"))
            }
            Statement::Truncate(names) => {
                self.truncate(&names)?;
                self.engine.close(self.engine.closed() + 1)?;
                Ok(Answer::Done("TRUNCATE TABLE"))
            }
            Statement::Write(write) => Ok(Answer::Written(self.write(write, vec![]).await?)),
            _ => Err(SqlError::Engine("a statement that is not about tables".to_owned())),
        }
    }

    /// The relations that the query of `create` names.
    pub(super) fn relations_of(&self, create: &CreateTable) -> Result<Vec<String>, SqlError> {
        match &create.query {
            Some(query) => self.session.references(&parse_query(query)?),
            None => Ok(vec![]),
        }
    }

    /// The rows that the table `create` is created with: at least one batch, which may be empty. `None` where it has no query,
    /// or is there.
    pub(super) async fn rows_of(&self, create: &CreateTable) -> Result<Option<Vec<RecordBatch>>, SqlError> {
        let Some(query) = create.query.as_ref().filter(|_| !self.catalog().contains_key(&create.name)) else {
            return Ok(None);
        };
        self.check_new(create)?;
        let (schema, mut rows) = self.reader().query(parse_query(query)?).await?;
        let (bytes, bytes_max) = (rows.iter().map(bytes_of).sum(), self.engine.stored_bytes_max);
        if !create.is_append_only && bytes > bytes_max {
            return Err(WriteError::Full { table: create.name.clone(), bytes, bytes_max }.into());
        }
        super::database::renamed(&schema, &[])?;
        let schema = TableDefinition::of_columns(&schema).schema;
        rows.push(RecordBatch::new_empty(schema.clone()));
        let rows = rows.iter().filter(|rows| rows.num_rows() > 0).chain(rows.last());
        Ok(Some(rows.map(|rows| recast(rows, &schema)).collect::<Result<_, _>>()?))
    }

    /// Creates the table `create` with `rows`, which are those of its query.
    pub(super) fn create_filled(
        &mut self,
        create: &CreateTable,
        rows: &[RecordBatch],
    ) -> Result<Answer, SqlError> {
        self.check_new(create)?;
        let Some(first) = rows.first() else { return Ok(Answer::Done("CREATE TABLE")) };
        let columns = TableDefinition::of_columns(&first.schema());
        self.install(&create.name, TableDefinition { is_append_only: create.is_append_only, ..columns })?;
        let parts = rows.iter().filter(|rows| rows.num_rows() > 0);
        let parts = parts.map(|rows| (rows.clone(), Run::Constant(1))).collect();
        if let Err(error) = self.engine.apply(&create.name, parts) {
            self.engine.drop_table(&create.name)?;
            return Err(error);
        }
        let tick = self.engine.close(self.engine.closed() + 1)?;
        let rows = rows.iter().map(|rows| rows.num_rows() as u64).sum();
        Ok(Answer::Written(Written { command: "SELECT", rows, tick, returning: None }))
    }

    /// An error where the table `create` cannot be one more.
    fn check_new(&self, create: &CreateTable) -> Result<(), SqlError> {
        if self.catalog().contains_key(&create.name) {
            return Err(SqlError::Exists(create.name.clone()));
        }
        match self.engine.table_definitions().len() >= TABLES_MAX {
            false => Ok(()),
            true => Err(SqlError::Limit {
                what: "there are as many tables as there may be:",
                limit: TABLES_MAX.to_string(),
                hint: "drop one",
            }),
        }
    }

    async fn create_table(&mut self, create: CreateTable) -> Result<Answer, SqlError> {
        if create.if_not_exists && self.catalog().contains_key(&create.name) {
            return Ok(Answer::Done("CREATE TABLE"));
        }
        self.check_new(&create)?;
        if let Some(rows) = self.rows_of(&create).await? {
            return self.create_filled(&create, &rows);
        }
        let definition = self.definition(&create).await?;
        self.session.check_defaults(&definition, 0).await?;
        self.install(&create.name, definition)?;
        Ok(Answer::Done("CREATE TABLE"))
    }

    /// The table that `create` describes.
    async fn definition(&self, create: &CreateTable) -> Result<TableDefinition, SqlError> {
        let (mut fields, mut columns) = (vec![], vec![]);
        for column in &create.columns {
            let (data_type, length_max) = self.session.storable(&column.data_type).await?;
            fields.push(Field::new(&column.name, data_type, column.is_nullable));
            columns.push(ColumnDefinition { default: column.default.clone(), length_max });
        }
        let schema = Schema::new(fields);
        let primary_key = create.primary_key.iter().map(|name| schema.index_of(name));
        let primary_key = primary_key.collect::<Result<_, _>>()?;
        let is_append_only = create.is_append_only;
        Ok(TableDefinition { schema: Arc::new(schema), columns, primary_key, is_append_only })
    }

    fn install(&mut self, name: &str, definition: TableDefinition) -> Result<(), SqlError> {
        // Fails here, and not later on a worker.
        Keys::exact(&definition.schema)?;
        self.engine.create_table(name, Arc::new(definition))
    }

    /// Drops all of `names`, or none where one cannot be dropped.
    fn drop_tables(&mut self, names: &[String], if_exists: bool) -> Result<(), SqlError> {
        let mut found: Vec<&String> = vec![];
        for name in names {
            match self.engine.table_definition(name) {
                Some(_) if !found.contains(&name) => found.push(name),
                Some(_) => {}
                None if self.catalog().contains_key(name) => {
                    return Err(SqlError::Syntax(format!("\"{name}\" is not a table that was created")));
                }
                None if if_exists => {}
                None => {
                    let hint = String::new();
                    return Err(SqlError::Missing { kind: "table", name: name.clone(), hint });
                }
            }
            let readers = self.readers(name)?;
            if !readers.is_empty() {
                return Err(SqlError::HasReaders { name: name.clone(), readers });
            }
        }
        found.into_iter().try_for_each(|name| Ok(self.engine.drop_table(name)?))
    }

    /// Takes all rows of the tables `names` away, or none where one cannot be emptied.
    fn truncate(&mut self, names: &[String]) -> Result<(), SqlError> {
        let mut emptied: Vec<(&String, Vec<Part>)> = vec![];
        for name in names {
            let Some(definition) = self.engine.table_definition(name) else {
                let catalog = self.catalog();
                let relation = catalog.get(name).ok_or_else(|| missing(name, &catalog))?;
                return Err(
                    WriteError::NotTable { relation: name.clone(), kind: relation.kind_name() }.into()
                );
            };
            if definition.is_append_only {
                return Err(WriteError::AppendOnly { command: "TRUNCATE", table: name.clone() }.into());
            }
            if !emptied.iter().any(|(other, _)| *other == name) {
                emptied.push((name, self.engine.all_rows_gone(name)));
            }
        }
        for (name, parts) in emptied {
            self.engine.apply(name, parts)?;
        }
        Ok(())
    }
}
