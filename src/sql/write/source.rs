//! What INSERT and SET write: literals, parameters and DEFAULT as values of their columns.

use arrow::datatypes::{DataType, Field};
use datafusion::sql::sqlparser::ast::{self, CastKind, Expr, UnaryOperator, Value};

use crate::sql::error::SqlError;
use crate::sql::table::{TableDefinition, expression, type_name};

/// Makes the values that `query` writes into `columns`, places in the table, values of their types where
/// only the column says it, and puts defaults in the place of DEFAULT.
pub(super) fn type_rows(
    query: &mut ast::Query,
    definition: &TableDefinition,
    columns: &[usize],
) -> Result<(), SqlError> {
    match query.body.as_mut() {
        ast::SetExpr::Values(values) => {
            for row in &mut values.rows {
                for (value, column) in row.content.iter_mut().zip(columns) {
                    type_value(value, definition, *column)?;
                }
            }
        }
        ast::SetExpr::Select(select) => {
            for (item, column) in select.projection.iter_mut().zip(columns) {
                let (ast::SelectItem::UnnamedExpr(value)
                | ast::SelectItem::ExprWithAlias { expr: value, .. }) = item
                else {
                    // Behind a star nobody knows which column is whose.
                    break;
                };
                if is_parameter(value) {
                    type_value(value, definition, *column)?;
                }
            }
        }
        _ => {}
    }
    Ok(())
}

/// Makes `value` a value of the column at `column`.
pub(super) fn type_value(
    value: &mut Expr,
    definition: &TableDefinition,
    column: usize,
) -> Result<(), SqlError> {
    if is_default(value) {
        *value = match &definition.columns[column].default {
            Some(text) => expression(text)?,
            None => Expr::Value(Value::Null.into()),
        };
        return Ok(());
    }
    let field = definition.schema.field(column);
    if let (true, Some(data_type)) = (says_no_type(value, field), type_name(field.data_type())) {
        let inner = std::mem::replace(value, Expr::Value(Value::Null.into()));
        // As text a number keeps all of its digits.
        let inner = match (number(&inner), bytes(&inner)) {
            (Some(digits), _) => Expr::Value(Value::SingleQuotedString(digits).into()),
            (_, Some(hex)) if data_type == ast::DataType::Bytea => {
                Expr::Value(Value::HexStringLiteral(hex).into())
            }
            _ => inner,
        };
        let (kind, expr) = (CastKind::Cast, Box::new(inner));
        *value = Expr::Cast { kind, expr, data_type, array: false, format: None };
    }
    Ok(())
}

fn is_default(value: &Expr) -> bool {
    matches!(value, Expr::Identifier(name) if name.quote_style.is_none() && name.value.eq_ignore_ascii_case("default"))
}

fn is_parameter(value: &Expr) -> bool {
    matches!(value, Expr::Value(value) if matches!(value.value, Value::Placeholder(_)))
}

/// Whether the type of `value` follows from its column alone.
fn says_no_type(value: &Expr, field: &Field) -> bool {
    let is_decimal = matches!(field.data_type(), DataType::Decimal128(..));
    match value {
        Expr::Value(literal) => match &literal.value {
            Value::Placeholder(_) | Value::Null => true,
            Value::SingleQuotedString(_) => *field.data_type() != DataType::Utf8,
            Value::Number(..) => is_decimal,
            _ => false,
        },
        _ => is_decimal && number(value).is_some(),
    }
}

/// The digits of bytes that are written as PostgreSQL writes them, `\\x00ff`.
fn bytes(value: &Expr) -> Option<String> {
    match value {
        Expr::Value(literal) => match &literal.value {
            Value::SingleQuotedString(text) => text.strip_prefix("\\x").map(str::to_owned),
            _ => None,
        },
        _ => None,
    }
}

/// The digits of a number, with its sign.
fn number(value: &Expr) -> Option<String> {
    match value {
        Expr::Value(literal) => match &literal.value {
            Value::Number(digits, _) => Some(digits.clone()),
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match expr.as_ref() {
            Expr::Value(_) => number(expr).map(|digits| format!("-{digits}")),
            _ => None,
        },
        _ => None,
    }
}
