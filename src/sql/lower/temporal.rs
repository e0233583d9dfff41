//! Filters on `now()`.
//!
//! A condition is built of comparisons of `now()` with values of the row, each solved for the tick, by AND, OR and NOT.
//! What cannot be solved exactly is refused.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::expr::Placeholder;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, cast};
use datafusion::physical_expr::PhysicalExpr;

use super::solve::{solve, unsolved};
use super::{Lowering, cast_to, column};
use crate::delta::plan::{Node, NodeId};
use crate::delta::temporal_condition::{Bound, Comparison, Condition};
use crate::sql::error::SqlError;

/// What stands for `now()` in a view's plan, so that the optimizer cannot make a constant of it.
pub(super) const NOW: &str = "$now";

/// `query` with every `now()` replaced by what [`lower`](super::lower) reads as the current tick.
pub fn replace_now(query: LogicalPlan) -> DataFusionResult<LogicalPlan> {
    let replaced = query.transform_down_with_subqueries(|node| {
        node.map_expressions(|expression| expression.transform_down(replace))
    })?;
    Ok(replaced.data)
}

fn replace(expression: Expr) -> DataFusionResult<Transformed<Expr>> {
    let Expr::ScalarFunction(call) = &expression else { return Ok(Transformed::no(expression)) };
    let field = || Arc::new(Field::new(NOW, timestamp(), false));
    let now = || Expr::Placeholder(Placeholder { id: NOW.to_owned(), field: Some(field()) });
    Ok(match call.func.name() {
        "now" => Transformed::yes(now()),
        "current_date" => Transformed::yes(cast(now(), DataType::Date32)),
        _ => Transformed::no(expression),
    })
}

pub(super) fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some("+00:00".into()))
}

/// Whether the value of `expression` depends on the current tick.
pub fn uses_now(expression: &Expr) -> bool {
    let mut found = false;
    let visited = expression.apply(|e| {
        found |= matches!(e, Expr::Placeholder(p) if p.id == NOW);
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    visited.is_ok() && found
}

impl Lowering<'_> {
    /// Rows of `input` that meet `plain`, while all of `conditions` on `now()` hold.
    pub(super) fn temporal_filter(
        &mut self,
        input: NodeId,
        from: &DFSchemaRef,
        plain: Option<Arc<dyn PhysicalExpr>>,
        conditions: &[Expr],
    ) -> Result<NodeId, SqlError> {
        let schema = self.plan.schemas[input].clone();
        let columns = schema.fields().len();
        let mut solver = Conditions { from, first: columns, columns: vec![] };
        let condition = match conditions {
            [one] => solver.condition(one)?,
            all => Condition::And(all.iter().map(|c| solver.condition(c)).collect::<Result<_, _>>()?),
        };
        let mut fields = schema.fields().to_vec();
        let mut projection: Vec<_> = (0..columns).map(|i| column(&schema, i)).collect();
        for value in &solver.columns {
            fields.push(Arc::new(Field::new(value.to_string(), value.get_type(from)?, true)));
            projection.push(self.physical(value, from)?);
        }
        let with_values = self.map(input, plain, Some(projection), Arc::new(Schema::new(fields)));
        let node = Node::TemporalFilter { input: with_values, condition, columns };
        Ok(self.push(node, schema, true))
    }
}

/// Conditions over rows of `from` as such over columns that stand behind theirs.
struct Conditions<'a> {
    from: &'a DFSchema,
    /// The place of the first added column.
    first: usize,
    /// The added columns.
    columns: Vec<Expr>,
}

impl Conditions<'_> {
    fn column(&mut self, value: Expr) -> usize {
        let found = self.columns.iter().position(|c| *c == value);
        self.first
            + found.unwrap_or_else(|| {
                self.columns.push(value);
                self.columns.len() - 1
            })
    }

    fn condition(&mut self, expression: &Expr) -> Result<Condition, SqlError> {
        if !uses_now(expression) {
            let value = cast_to(expression.clone(), self.from, &DataType::Boolean)?;
            return Ok(Condition::Column(self.column(value)));
        }
        let not = |condition| Condition::Not(Box::new(condition));
        let is_true = |condition| Condition::IsTrue(Box::new(condition));
        Ok(match expression {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                Condition::And(vec![self.condition(left)?, self.condition(right)?])
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
                Condition::Or(vec![self.condition(left)?, self.condition(right)?])
            }
            Expr::Not(inner) => not(self.condition(inner)?),
            Expr::IsTrue(inner) => is_true(self.condition(inner)?),
            Expr::IsNotTrue(inner) => not(is_true(self.condition(inner)?)),
            Expr::IsFalse(inner) => is_true(not(self.condition(inner)?)),
            Expr::IsNotFalse(inner) => not(is_true(not(self.condition(inner)?))),
            Expr::Between(Between { expr, negated, low, high }) => {
                let between = Condition::And(vec![
                    self.comparison(expr, Operator::GtEq, low)?,
                    self.comparison(expr, Operator::LtEq, high)?,
                ]);
                if *negated { not(between) } else { between }
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
                Operator::Eq | Operator::NotEq => {
                    let equal = Condition::And(vec![
                        self.comparison(left, Operator::GtEq, right)?,
                        self.comparison(left, Operator::LtEq, right)?,
                    ]);
                    if *op == Operator::Eq { equal } else { not(equal) }
                }
                _ => self.comparison(left, *op, right)?,
            },
            _ => return Err(unsolved(expression)),
        })
    }

    /// `left` compared with `right`, of which one or none depends on the tick.
    fn comparison(&mut self, left: &Expr, op: Operator, right: &Expr) -> Result<Condition, SqlError> {
        let (left, right) = (Box::new(left.clone()), Box::new(right.clone()));
        let whole = Expr::BinaryExpr(BinaryExpr { left, op, right });
        if !uses_now(&whole) {
            return Ok(Condition::Column(self.column(whole)));
        }
        let solved = solve(&whole, self.from)?;
        let column = self.column(cast_to(solved.limit, self.from, &timestamp())?);
        Ok(Condition::Bound(Bound { column, comparison: solved.comparison, months: solved.months }))
    }
}

/// How `op` compares what stands left of it.
pub(super) fn comparison(op: Operator) -> Option<Comparison> {
    Some(match op {
        Operator::Lt => Comparison::Before,
        Operator::LtEq => Comparison::BeforeOrAt,
        Operator::Gt => Comparison::After,
        Operator::GtEq => Comparison::AfterOrAt,
        _ => return None,
    })
}
