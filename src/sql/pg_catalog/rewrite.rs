//! What of a client's question has to be written differently before it can be planned, beside what
//! `datafusion-pg-catalog` rewrites.

use std::borrow::Cow;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    CastKind, DataType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Ident, ObjectName, Query,
    Select, SelectItem, SetExpr, Statement, TableFactor, Value, visit_expressions, visit_expressions_mut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::tables::{DEFAULT_COLUMN, VIEW_DEFINITIONS};

/// System columns of PostgreSQL's tables that say in which transaction a row was written.
const SYSTEM_COLUMNS: [&str; 4] = ["xmin", "xmax", "cmin", "cmax"];

/// Stands for the argument in a template.
const ARGUMENT: &str = "__argument";

/// Tables that are always empty, and functions of a row's own arrays, which are.
const EMPTY: [&str; 2] = ["pg_policy", "unnest"];

/// Functions that make one row of many.
const AGGREGATES: [&str; 8] = ["max", "min", "count", "sum", "avg", "array_agg", "string_agg", "bool_or"];

/// `sql` with a column of ours for each subquery that asks `pg_attrdef` for the default of a column: the rules of
/// `datafusion-pg-catalog` make a null of every subquery that depends on the row around it.
pub(super) fn with_defaults(sql: &str) -> Cow<'_, str> {
    if !sql.contains("pg_attrdef") {
        return Cow::Borrowed(sql);
    }
    let Ok(mut statements) = Parser::parse_sql(&PostgreSqlDialect {}, sql) else { return Cow::Borrowed(sql) };
    let _: ControlFlow<()> = visit_expressions_mut(&mut statements, |expr| {
        if let Expr::Subquery(query) = expr
            && let Some(select) = single_column(query)
            && let [(table, _)] = tables(select).as_slice()
            && table == "pg_attrdef"
            && let Some(attribute) = attribute_around(select)
        {
            *expr = Expr::CompoundIdentifier(vec![attribute, Ident::new(DEFAULT_COLUMN)]);
        }
        ControlFlow::Continue(())
    });
    Cow::Owned(statements.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

/// What `select` calls the row of `pg_attribute` around it.
fn attribute_around(select: &Select) -> Option<Ident> {
    let mut found = None;
    let _: ControlFlow<()> = visit_expressions(&select.selection, |expr| {
        if let Expr::CompoundIdentifier(names) = expr
            && let [table, column] = names.as_slice()
            && column.value.eq_ignore_ascii_case("attrelid")
        {
            found = Some(table.clone());
        }
        ControlFlow::Continue(())
    });
    found
}

/// Rewrites `statement` in place.
pub(super) fn rewrite(statement: &mut Statement) {
    if let Statement::Query(query) = statement {
        name_columns(query);
    }
    // Inner expressions come before those around them.
    let _: ControlFlow<()> = visit_expressions_mut(statement, |expr| {
        if let Some(other) = other_form(expr) {
            *expr = other;
        }
        ControlFlow::Continue(())
    });
}

/// What stands for `expr`, if it cannot stay.
fn other_form(expr: &mut Expr) -> Option<Expr> {
    if is_system_column(expr) {
        // There is one transaction for all rows.
        return Some(Expr::Value(Value::Number("1".to_owned(), false).into()));
    }
    match expr {
        Expr::Function(function) => {
            let name = last(&function.name)?;
            match (name.as_str(), &mut function.args) {
                ("array", FunctionArguments::Subquery(query)) => Some(array_of(query)),
                ("pg_get_viewdef" | "pg_get_indexdef", FunctionArguments::List(list)) => {
                    let text = format!(
                        "(SELECT max(d.definition) FROM pg_catalog.{VIEW_DEFINITIONS} AS d WHERE d.oid = {ARGUMENT})"
                    );
                    template(&text, argument(list.args.first()?)?)
                }
                ("to_regclass", FunctionArguments::List(list)) => {
                    let text = format!(
                        "(SELECT max(c.oid) FROM pg_catalog.pg_class AS c WHERE c.relname = replace({ARGUMENT}, 'public.', ''))"
                    );
                    template(&text, argument(list.args.first()?)?)
                }
                _ => None,
            }
        }
        Expr::Subquery(query) => {
            aggregate(query);
            None
        }
        _ => None,
    }
}

fn last(name: &ObjectName) -> Option<String> {
    name.0.last().and_then(|part| part.as_ident()).map(|name| name.value.to_lowercase())
}

fn argument(argument: &FunctionArg) -> Option<&Expr> {
    match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
        _ => None,
    }
}

/// The expression `text` with `argument` in its place.
fn template(text: &str, argument: &Expr) -> Option<Expr> {
    let parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(text);
    let mut expr = parser.and_then(|mut parser| parser.parse_expr()).ok()?;
    let _: ControlFlow<()> = visit_expressions_mut(&mut expr, |inner| {
        if matches!(inner, Expr::Identifier(name) if name.value == ARGUMENT) {
            *inner = argument.clone();
        }
        ControlFlow::Continue(())
    });
    Some(expr)
}

/// `ARRAY(SELECT x ...)` as `(SELECT array_agg(x) ...)`.
fn array_of(query: &mut Query) -> Expr {
    let null = Expr::Cast {
        kind: CastKind::Cast,
        expr: Box::new(Expr::Value(Value::Null.into())),
        data_type: DataType::Array(datafusion::sql::sqlparser::ast::ArrayElemTypeDef::SquareBracket(
            Box::new(DataType::Text),
            None,
        )),
        array: false,
        format: None,
    };
    let Some(select) = single_column(query) else { return null };
    if tables(select).iter().any(|(name, _)| EMPTY.contains(&name.as_str())) {
        return null;
    }
    wrap(select, "array_agg");
    query.order_by = None;
    Expr::Subquery(Box::new(query.clone()))
}

/// Makes a subquery that depends on the row around it say that it has one row, which the planner wants to be
/// told.
fn aggregate(query: &mut Query) {
    if query.limit_clause.is_some() {
        return;
    }
    let Some(select) = single_column(query) else { return };
    let own: Vec<String> = tables(select).into_iter().map(|(_, alias)| alias).collect();
    let is_aggregate = matches!(
        select.projection.first().and_then(item),
        Some(Expr::Function(function)) if last(&function.name).is_some_and(|name| AGGREGATES.contains(&name.as_str()))
    );
    let mut is_correlated = false;
    let _: ControlFlow<()> = visit_expressions(&select.selection, |expr| {
        if let Expr::CompoundIdentifier(names) = expr {
            // The table stands before the column.
            let table = names.len().checked_sub(2).map(|at| names[at].value.to_lowercase());
            is_correlated |= table.is_some_and(|table| !own.contains(&table));
        }
        ControlFlow::Continue(())
    });
    if is_correlated && !is_aggregate {
        wrap(select, "max");
    }
}

/// The SELECT of a query that has one column.
fn single_column(query: &mut Query) -> Option<&mut Select> {
    match query.body.as_mut() {
        SetExpr::Select(select) if select.projection.len() == 1 => Some(select),
        _ => None,
    }
}

fn item(item: &SelectItem) -> Option<&Expr> {
    match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    }
}

/// Puts `function` around the column of `select`.
fn wrap(select: &mut Select, function: &str) {
    let Some(inner) = select.projection.first().and_then(item) else { return };
    if let Some(outer) = template(&format!("{function}({ARGUMENT})"), inner) {
        select.projection = vec![SelectItem::UnnamedExpr(outer)];
    }
}

/// The tables that a SELECT reads, with the names they have in it.
fn tables(select: &Select) -> Vec<(String, String)> {
    let joined = select
        .from
        .iter()
        .flat_map(|from| std::iter::once(&from.relation).chain(from.joins.iter().map(|join| &join.relation)));
    let named = joined.filter_map(|factor| match factor {
        TableFactor::Table { name, alias, .. } | TableFactor::Function { name, alias, .. } => {
            let name = last(name)?;
            let alias = alias.as_ref().map_or(name.clone(), |alias| alias.name.value.to_lowercase());
            Some((name, alias))
        }
        TableFactor::UNNEST { .. } => Some(("unnest".to_owned(), String::new())),
        _ => None,
    });
    named.collect()
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
        Expr::Function(function) => last(&function.name),
        Expr::Cast { expr, .. } | Expr::Nested(expr) => name_of(expr),
        _ => None,
    }
}
