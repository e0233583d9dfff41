//! The names and expressions of a statement, checked and put in their places.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast;

use super::source::type_value;
use super::{alias_of, assigned_column};
use crate::sql::error::{SqlError, WriteError};
use crate::sql::statement::{Parsed, identifier, parse_query};
use crate::sql::table::TableDefinition;

/// The places of the columns `names`; of all, where there are no names.
pub(super) fn places(
    table: &str,
    definition: &TableDefinition,
    names: &[String],
) -> Result<Vec<usize>, SqlError> {
    if names.is_empty() {
        return Ok((0..definition.columns.len()).collect());
    }
    let mut places = vec![];
    for name in names {
        let place = place(table, definition, name)?;
        if places.contains(&place) {
            return Err(WriteError::ColumnTwice(name.clone()).into());
        }
        places.push(place);
    }
    Ok(places)
}

fn place(table: &str, definition: &TableDefinition, name: &str) -> Result<usize, WriteError> {
    let found = definition.schema.index_of(name);
    found.map_err(|_| WriteError::NoColumn { table: table.to_owned(), column: name.to_owned() })
}

/// Those of `columns` for which there are `given` values. Columns that a statement names all need one.
pub(super) fn named(columns: &[usize], given: usize, are_named: bool) -> Result<&[usize], SqlError> {
    match given.cmp(&columns.len()) {
        std::cmp::Ordering::Greater => Err(SqlError::Syntax(format!(
            "INSERT has more values than columns: {given} values for {}",
            columns.len()
        ))),
        std::cmp::Ordering::Less if are_named => Err(SqlError::Syntax(format!(
            "INSERT has more columns than values: {given} values for {}",
            columns.len()
        ))),
        _ => Ok(&columns[..given]),
    }
}

/// The values of SET, by the place of their column.
pub(super) fn assigned_values(
    table: &str,
    definition: &TableDefinition,
    assignments: &[ast::Assignment],
) -> Result<Vec<(usize, ast::Expr)>, SqlError> {
    let mut values: Vec<(usize, ast::Expr)> = vec![];
    for assignment in assignments {
        let pairs = match (&assignment.target, &assignment.value) {
            (ast::AssignmentTarget::ColumnName(name), value) => vec![(name, value.clone())],
            (ast::AssignmentTarget::Tuple(names), ast::Expr::Tuple(row)) if names.len() == row.len() => {
                names.iter().zip(row.iter().cloned()).collect()
            }
            _ => return Err(SqlError::Syntax(format!("SET {assignment} is not supported; set each column"))),
        };
        for (name, mut value) in pairs {
            let name = assigned_column(name)?;
            let at = place(table, definition, &name)?;
            if values.iter().any(|(other, _)| *other == at) {
                return Err(WriteError::ColumnTwice(name).into());
            }
            type_value(&mut value, definition, at)?;
            values.push((at, value));
        }
    }
    Ok(values)
}

/// The name of a statement's table, and what its expressions call it.
pub(super) fn table_and_alias(factor: &ast::TableFactor) -> Result<(String, String), SqlError> {
    match factor {
        ast::TableFactor::Table { name, alias, args: None, .. } => {
            let table = assigned_column(name)?;
            let alias = alias_of(alias.as_ref().map(|alias| &alias.name), &table);
            Ok((table, alias))
        }
        other => Err(SqlError::Syntax(format!("\"{other}\" is not a table"))),
    }
}

/// The tables that the query `text` reads.
pub(super) fn tables_of(text: &str) -> Result<Vec<ast::TableWithJoins>, SqlError> {
    if let Parsed::Statement(statement) = parse_query(text)?
        && let ast::Statement::Query(query) = *statement
        && let ast::SetExpr::Select(select) = *query.body
    {
        return Ok(select.from);
    }
    Err(SqlError::Syntax(format!("\"{text}\" reads no tables")))
}

pub(super) fn and(left: ast::Expr, right: ast::Expr) -> ast::Expr {
    ast::Expr::BinaryOp {
        left: Box::new(left),
        op: ast::BinaryOperator::And,
        right: Box::new(ast::Expr::Nested(Box::new(right))),
    }
}

/// Columns of the table by themselves are those of the row that is there.
pub(super) fn qualify(expr: &mut ast::Expr, definition: &TableDefinition, alias: &str) {
    let _: ControlFlow<()> = ast::visit_expressions_mut(expr, |expr| {
        if let ast::Expr::Identifier(name) = expr
            && definition.schema.index_of(&identifier(name)).is_ok()
        {
            let table = ast::Ident::with_quote('"', alias);
            *expr = ast::Expr::CompoundIdentifier(vec![table, name.clone()]);
        }
        ControlFlow::Continue(())
    });
}

pub(super) fn check_conflict_target(
    target: Option<&ast::ConflictTarget>,
    table: &str,
    definition: &TableDefinition,
    action: &ast::OnConflictAction,
) -> Result<(), SqlError> {
    let no_key = || WriteError::NoKey { table: table.to_owned() };
    if definition.primary_key.is_empty() {
        return Err(no_key().into());
    }
    let is_key = match target {
        None if matches!(action, ast::OnConflictAction::DoUpdate(_)) => {
            return Err(SqlError::Syntax("ON CONFLICT DO UPDATE names the columns of the key".to_owned()));
        }
        None => true,
        Some(ast::ConflictTarget::OnConstraint(name)) => {
            assigned_column(name)? == TableDefinition::key_name(table)
        }
        Some(ast::ConflictTarget::Columns(names)) => {
            let mut given: Vec<String> = names.iter().map(identifier).collect();
            let key = definition.primary_key.iter().map(|at| definition.schema.field(*at).name().clone());
            let mut key: Vec<String> = key.collect();
            given.sort();
            key.sort();
            given == key
        }
    };
    if is_key { Ok(()) } else { Err(no_key().into()) }
}
