//! IN, ANY and ALL as EXISTS.
//!
//! `x = ANY (S)` is true where a row equals, unknown where none does but a null may, and false otherwise; `x <> ALL (S)`,
//! which is NOT IN, is its opposite. A comparison with null is unknown, so that a null may equal where `x` is null and
//! there are rows at all, or where there is a null among these.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, ExprSchema, ScalarValue};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison, SetQuantifier};
use datafusion::logical_expr::{
    BinaryExpr, Expr, ExprSchemable, Filter, LogicalPlan, Operator, exists, lit, when,
};

use super::{Outer, Rewriting};

/// `value operator ANY (rows)`, or the opposite.
pub(super) struct Comparison {
    value: Expr,
    operator: Operator,
    rows: Arc<LogicalPlan>,
    is_negated: bool,
}

impl Rewriting<'_> {
    /// IN, ANY or ALL as a comparison whose value has no subquery in it.
    pub(super) fn comparison(&mut self, outer: &mut Outer, expression: Expr) -> Result<Comparison> {
        let (value, operator, subquery, is_negated) = match expression {
            Expr::InSubquery(InSubquery { expr, subquery, negated }) => {
                (*expr, Operator::Eq, subquery, negated)
            }
            Expr::SetComparison(SetComparison { expr, subquery, op, quantifier }) => match quantifier {
                SetQuantifier::Any => (*expr, op, subquery, false),
                SetQuantifier::All => {
                    let unknown = || DataFusionError::Plan(format!("{op} ALL is no comparison"));
                    (*expr, op.negate().ok_or_else(unknown)?, subquery, true)
                }
            },
            other => return Err(DataFusionError::Internal(format!("no comparison with rows: {other}"))),
        };
        let value = self.attach(outer, value, false)?;
        Ok(Comparison { value, operator, rows: subquery.subquery, is_negated })
    }
}

impl Comparison {
    /// Conditions that are all true where the comparison (or, if `negated`, its opposite) is true.
    pub(super) fn conditions(&self, negated: bool, schema: &DFSchema) -> Result<Vec<Expr>> {
        if self.is_negated == negated {
            return Ok(vec![self.matches(schema)?]);
        }
        let mut conditions = vec![negate(self.matches(schema)?)];
        if self.rows_are_nullable() {
            conditions.push(negate(self.null_rows()?));
        }
        if self.value.nullable(schema)? {
            conditions.push(self.value.clone().is_not_null().or(negate(exists(self.rows.clone()))));
        }
        Ok(conditions)
    }

    /// True, false or null.
    pub(super) fn value(&self, schema: &DFSchema) -> Result<Expr> {
        let mut unknown = vec![];
        if self.rows_are_nullable() {
            unknown.push(self.null_rows()?);
        }
        if self.value.nullable(schema)? {
            unknown.push(self.value.clone().is_null().and(exists(self.rows.clone())));
        }
        let mut cases = when(self.matches(schema)?, lit(!self.is_negated));
        if let Some(unknown) = unknown.into_iter().reduce(Expr::or) {
            cases = cases.when(unknown, lit(ScalarValue::Boolean(None)));
        }
        cases.otherwise(lit(self.is_negated))
    }

    fn rows_are_nullable(&self) -> bool {
        self.rows.schema().fields().first().is_none_or(|f| f.is_nullable())
    }

    fn column(&self) -> Expr {
        Expr::Column(Column::from(self.rows.schema().qualified_field(0)))
    }

    /// Whether a row compares.
    fn matches(&self, schema: &DFSchema) -> Result<Expr> {
        let outside = self.value.clone().transform_up(|e| match e {
            Expr::Column(column) => {
                let field = schema.field_from_column(&column)?;
                Ok(Transformed::yes(Expr::OuterReferenceColumn(Arc::clone(field), column)))
            }
            other => Ok(Transformed::no(other)),
        })?;
        let (left, right) = (Box::new(outside.data), Box::new(self.column()));
        self.rows_with(Expr::BinaryExpr(BinaryExpr { left, op: self.operator, right }))
    }

    fn null_rows(&self) -> Result<Expr> {
        self.rows_with(self.column().is_null())
    }

    fn rows_with(&self, predicate: Expr) -> Result<Expr> {
        Ok(exists(Arc::new(LogicalPlan::Filter(Filter::try_new(predicate, self.rows.clone())?))))
    }
}

/// The opposite of `expression`, an EXISTS.
fn negate(expression: Expr) -> Expr {
    match expression {
        Expr::Exists(exists) => Expr::Exists(Exists { negated: !exists.negated, ..exists }),
        other => Expr::Not(Box::new(other)),
    }
}
