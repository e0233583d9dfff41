//! Functions in FROM that give several rows.
//!
//! `UNNEST(list)` and `generate_series(1, n)` may read the columns of what stands before them in FROM, as in PostgreSQL.
//! DataFusion plans them over constants alone, so they become LATERAL subqueries that unnest in their SELECT list:
//! `UNNEST(t.list) WITH ORDINALITY` is `LATERAL (SELECT unnest(t.list) AS unnest, unnest(...) AS ordinality)`.
//!
//! An array `[t.a, t.b]`, for which DataFusion forgets which columns there are outside, becomes `make_array(t.a, t.b)`.

use std::ops::ControlFlow;

use datafusion::sql::parser::Statement as Parsed;
use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, TableFactor, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};

use super::error::SqlError;

/// The functions that give a list of numbers or times, which FROM makes rows of.
const SERIES: [&str; 2] = ["generate_series", "range"];

/// Makes LATERAL subqueries of the functions in FROM of `statement`, where `is_relation` says that no relation has the
/// name of one.
pub(super) fn rewrite(statement: &mut Parsed, is_relation: &dyn Fn(&str) -> bool) -> Result<(), SqlError> {
    let statement = match statement {
        Parsed::Statement(statement) => statement.as_mut(),
        Parsed::Explain(explain) => return rewrite(&mut explain.statement, is_relation),
        _ => return Ok(()),
    };
    match VisitMut::visit(statement, &mut Functions { is_relation }) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Functions<'a> {
    is_relation: &'a dyn Fn(&str) -> bool,
}

impl VisitorMut for Functions<'_> {
    type Break = SqlError;

    fn post_visit_expr(&mut self, expression: &mut Expr) -> ControlFlow<SqlError> {
        let Expr::Array(array) = expression else { return ControlFlow::Continue(()) };
        match made(std::mem::take(&mut array.elem)) {
            Ok(call) => *expression = call,
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<SqlError> {
        match self.replacement(factor) {
            Ok(Some(replacement)) => *factor = replacement,
            Ok(None) => {}
            Err(error) => return ControlFlow::Break(error),
        }
        ControlFlow::Continue(())
    }
}

impl Functions<'_> {
    fn replacement(&self, factor: &TableFactor) -> Result<Option<TableFactor>, SqlError> {
        let (select, alias) = match factor {
            TableFactor::UNNEST { alias, array_exprs, with_offset: false, with_ordinality, .. } => {
                (unnest(array_exprs, *with_ordinality), alias)
            }
            TableFactor::Table { name, alias, args: Some(args), with_ordinality, .. } => {
                let name = name.to_string().to_lowercase();
                let Some(arguments) = plain(&args.args) else { return Ok(None) };
                if !SERIES.contains(&name.as_str()) || (self.is_relation)(&name) {
                    return Ok(None);
                }
                (series(&name, &arguments, *with_ordinality), alias)
            }
            TableFactor::Function { name, args, alias, with_ordinality, .. } => {
                let name = name.to_string().to_lowercase();
                let Some(arguments) = plain(args) else { return Ok(None) };
                if !SERIES.contains(&name.as_str()) {
                    return Ok(None);
                }
                (series(&name, &arguments, *with_ordinality), alias)
            }
            _ => return Ok(None),
        };
        let query =
            Parser::new(&PostgreSqlDialect {}).try_with_sql(&select).and_then(|mut p| p.parse_query());
        let subquery = query.map_err(|e| SqlError::Syntax(format!("syntax error: {e}")))?;
        Ok(Some(TableFactor::Derived { lateral: true, subquery, alias: alias.clone(), sample: None }))
    }
}

/// `make_array(elements)`.
fn made(elements: Vec<Expr>) -> Result<Expr, SqlError> {
    let mut call = parsed("make_array()", |parser| parser.parse_expr())?;
    if let Expr::Function(Function { args: FunctionArguments::List(list), .. }) = &mut call {
        list.args = elements.into_iter().map(|e| FunctionArg::Unnamed(FunctionArgExpr::Expr(e))).collect();
    }
    Ok(call)
}

fn parsed<T>(sql: &str, parse: impl FnOnce(&mut Parser) -> Result<T, ParserError>) -> Result<T, SqlError> {
    let parser = Parser::new(&PostgreSqlDialect {}).try_with_sql(sql);
    parser
        .and_then(|mut parser| parse(&mut parser))
        .map_err(|e| SqlError::Syntax(format!("syntax error: {e}")))
}

fn plain(arguments: &[FunctionArg]) -> Option<Vec<&Expr>> {
    let plain = arguments.iter().map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression),
        _ => None,
    });
    plain.collect()
}

/// `SELECT unnest(a) AS unnest, unnest(b) AS unnest_2`, with the number of each row from 1 on, where asked for.
fn unnest(lists: &[Expr], with_ordinality: bool) -> String {
    let name = |index: usize| if index == 0 { "unnest".to_owned() } else { format!("unnest_{}", index + 1) };
    let mut columns: Vec<String> =
        lists.iter().enumerate().map(|(index, list)| format!("unnest({list}) AS {}", name(index))).collect();
    if with_ordinality {
        columns.push(ordinality(&lists.iter().map(|list| list.to_string()).collect::<Vec<_>>()));
    }
    format!("SELECT {}", columns.join(", "))
}

/// `SELECT unnest(generate_series(1, n)) AS value`.
fn series(name: &str, arguments: &[&Expr], with_ordinality: bool) -> String {
    let arguments = arguments.iter().map(|a| a.to_string()).collect::<Vec<_>>().join(", ");
    let list = format!("{name}({arguments})");
    let ordinality = if with_ordinality {
        format!(", {}", ordinality(std::slice::from_ref(&list)))
    } else {
        String::new()
    };
    format!("SELECT unnest({list}) AS value{ordinality}")
}

/// The numbers from 1 to the length of the longest of `lists`.
fn ordinality(lists: &[String]) -> String {
    let lengths: Vec<String> =
        lists.iter().map(|list| format!("CAST(array_length({list}) AS bigint)")).collect();
    format!("unnest(generate_series(1, greatest({}))) AS ordinality", lengths.join(", "))
}
