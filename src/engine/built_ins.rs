//! What is created when it is first named.

use std::collections::BTreeMap;

use crate::sql::error::SqlError;
use crate::sql::model::CreateModel;
use crate::sql::statement::{CreateView, Statement, parse};
use crate::sql::table::CreateTable;
use crate::sql::words::split;

/// Views, models and tables that come with the engine or from a folder of the user: CREATE statements by name, each
/// carried out when something first names it, or all at once.
#[derive(Clone, Default)]
pub struct BuiltIns {
    pub(super) statements: BTreeMap<String, BuiltIn>,
}

/// One of them.
#[derive(Clone)]
pub(super) enum BuiltIn {
    View(Box<CreateView>),
    Model(Box<CreateModel>),
    Table(Box<CreateTable>),
}

impl BuiltIn {
    /// What SHOW TABLES calls it before something names it.
    pub fn kind(&self) -> &'static str {
        match self {
            BuiltIn::View(_) | BuiltIn::Model(_) => "built-in view, created when first named",
            BuiltIn::Table(_) => "built-in table, created when first named",
        }
    }

    /// The query that it is made of; none for a table with columns.
    pub fn query(&self) -> Option<&str> {
        match self {
            BuiltIn::View(view) => Some(&view.query),
            BuiltIn::Model(model) => Some(&model.query),
            BuiltIn::Table(table) => table.query.as_deref(),
        }
    }
}

impl BuiltIns {
    /// Adds the CREATE statements of `sql`, which takes the place of an earlier one of the same name.
    pub fn add(&mut self, sql: &str) -> Result<(), SqlError> {
        for statement in split(sql)? {
            let (name, built_in) = match parse(statement)?.pop() {
                Some(Statement::CreateView(view)) => (view.name.clone(), BuiltIn::View(Box::new(view))),
                Some(Statement::CreateModel(model)) => (model.name.clone(), BuiltIn::Model(model)),
                Some(Statement::CreateTable(table)) => (table.name.clone(), BuiltIn::Table(table)),
                _ => {
                    return Err(SqlError::Syntax(
                        "a file of queries holds CREATE [MATERIALIZED] VIEW, CREATE MODEL and CREATE TABLE alone"
                            .to_owned(),
                    ));
                }
            };
            self.statements.insert(name, built_in);
        }
        Ok(())
    }
}
