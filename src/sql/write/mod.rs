//! Statements that change rows of a table: from their text to the rows that go and the rows that come.
//!
//! ```text
//!  INSERT, UPDATE, DELETE ─ plan ─► queries over the tables ─ evaluate ─► rows with diffs, and those of RETURNING
//!                           (source: what INSERT and SET write; assign: casts as PostgreSQL assigns)
//! ```
//!
//! Nothing is changed here: who owns the table takes the rows over, all of them or none.

mod assign;
mod evaluate;
mod keys;
mod names;
mod plan;
mod source;

use std::ops::ControlFlow;

use arrow::array::RecordBatch;
use datafusion::sql::sqlparser::ast;

pub use self::evaluate::Evaluated;
pub use self::keys::KeyIndex;
pub use self::plan::target as table_of;
use super::error::SqlError;
use super::statement::{Parsed, identifier, object_name};
use crate::delta::updates::{Diff, Run};

/// Rows of a table with how often each comes, or goes where that is negative.
pub type Part = (RecordBatch, Run<Diff>);

/// The most rows that one statement may add, change or take away.
pub const WRITE_ROWS_MAX: usize = 10_000_000;

/// The most bytes of the rows that one statement may add, change or take away.
pub const WRITE_BYTES_MAX: usize = 1 << 30;

/// A statement that changes rows of a table.
#[derive(Clone, Debug)]
pub enum Write {
    /// `INSERT INTO t [(columns)] VALUES ... | SELECT ... [ON CONFLICT ...] [RETURNING ...]`.
    Insert(Box<ast::Insert>),
    /// `UPDATE t SET ... [FROM ...] [WHERE ...] [RETURNING ...]`.
    Update(Box<ast::Update>),
    /// `DELETE FROM t [USING ...] [WHERE ...] [RETURNING ...]`.
    Delete(Box<ast::Delete>),
    /// Rows that came by COPY.
    Copy(CopyIn),
}

/// Rows for a table.
#[derive(Clone, Debug)]
pub struct CopyIn {
    /// The table.
    pub table: String,
    /// Its columns that the rows have, in their order; all, where none is named.
    pub columns: Vec<String>,
    /// The rows: texts, or values that can be cast to the columns.
    pub rows: Vec<RecordBatch>,
}

impl Write {
    /// PostgreSQL's word for it, which begins its command tag.
    pub fn command(&self) -> &'static str {
        match self {
            Write::Insert(_) => "INSERT",
            Write::Update(_) => "UPDATE",
            Write::Delete(_) => "DELETE",
            Write::Copy(_) => "COPY",
        }
    }

    /// Whether it answers with rows.
    pub fn is_returning(&self) -> bool {
        match self {
            Write::Insert(insert) => insert.returning.is_some(),
            Write::Update(update) => update.returning.is_some(),
            Write::Delete(delete) => delete.returning.is_some(),
            Write::Copy(_) => false,
        }
    }

    /// Whether the rows that it adds depend on no row of its table, so that they may be computed while
    /// others change it.
    pub fn only_adds(&self) -> bool {
        match self {
            Write::Insert(insert) => insert.on.is_none(),
            Write::Copy(_) => true,
            Write::Update(_) | Write::Delete(_) => false,
        }
    }

    /// The relations that it names, its table among them.
    pub fn relations(&self) -> Vec<String> {
        let mut names = vec![];
        let mut add = |name: &ast::ObjectName| {
            names.extend(object_name(name).ok());
            ControlFlow::<()>::Continue(())
        };
        let _ = match self {
            Write::Insert(insert) => ast::visit_relations(insert, &mut add),
            Write::Update(update) => ast::visit_relations(update, &mut add),
            Write::Delete(delete) => ast::visit_relations(delete, &mut add),
            Write::Copy(copy) => {
                return vec![copy.table.clone()];
            }
        };
        names
    }
}

/// A query put together from parts of a statement.
fn select(
    projection: Vec<ast::SelectItem>,
    from: Vec<ast::TableWithJoins>,
    selection: Option<ast::Expr>,
) -> Result<Parsed, SqlError> {
    let mut parsed = super::statement::parse_query("SELECT 1")?;
    if let Parsed::Statement(statement) = &mut parsed
        && let ast::Statement::Query(query) = statement.as_mut()
        && let ast::SetExpr::Select(select) = query.body.as_mut()
    {
        (select.projection, select.from, select.selection) = (projection, from, selection);
    }
    Ok(parsed)
}

/// `name` in quotes.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The column that an assignment names, whatever stands before its last dot.
fn assigned_column(name: &ast::ObjectName) -> Result<String, SqlError> {
    object_name(name)
}

/// The name by which a statement's expressions call its table.
fn alias_of(alias: Option<&ast::Ident>, table: &str) -> String {
    alias.map_or_else(|| table.to_owned(), identifier)
}
