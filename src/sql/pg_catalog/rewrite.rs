//! What of a client's question has to be written differently before it can be planned, beside what
//! `datafusion-pg-catalog` rewrites.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, Query, SelectItem, SetExpr, Statement, Value, visit_expressions_mut,
};

/// System columns of PostgreSQL's tables that say in which transaction a row was written.
const SYSTEM_COLUMNS: [&str; 4] = ["xmin", "xmax", "cmin", "cmax"];

/// Rewrites `statement` in place.
pub(super) fn rewrite(statement: &mut Statement) {
    if let Statement::Query(query) = statement {
        name_columns(query);
    }
    let _: ControlFlow<()> = visit_expressions_mut(statement, |expr| {
        if is_system_column(expr) {
            // There is one transaction for all rows.
            *expr = Expr::Value(Value::Number("1".to_owned(), false).into());
        }
        ControlFlow::Continue(())
    });
}

fn is_system_column(expr: &Expr) -> bool {
    let name = match expr {
        Expr::Identifier(name) => Some(name),
        Expr::CompoundIdentifier(names) => names.last(),
        _ => None,
    };
    name.is_some_and(|name| SYSTEM_COLUMNS.contains(&name.value.to_lowercase().as_str()))
}

/// Names the columns of an answer as PostgreSQL does: by their function, or by what is cast. Clients ask for
/// them by name.
fn name_columns(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    let mut seen = vec![];
    for item in &mut select.projection {
        let SelectItem::UnnamedExpr(expr) = item else { continue };
        let Some(name) = name_of(expr).filter(|name| !seen.contains(name)) else { continue };
        // A column keeps its own name.
        if !matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_)) || is_system_column(expr) {
            *item = SelectItem::ExprWithAlias { expr: expr.clone(), alias: Ident::new(&name) };
        }
        seen.push(name);
    }
}

fn name_of(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Identifier(name) => Some(name.value.clone()),
        Expr::CompoundIdentifier(names) => names.last().map(|name| name.value.clone()),
        Expr::Function(function) => {
            function.name.0.last().and_then(|part| part.as_ident()).map(|name| name.value.to_lowercase())
        }
        Expr::Cast { expr, .. } | Expr::Nested(expr) => name_of(expr),
        _ => None,
    }
}
