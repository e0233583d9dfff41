//! Values of subqueries.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable};

use super::{Lowering, column};
use crate::delta::plan::{Node, NodeId};
use crate::delta::single::SingleSpec;
use crate::sql::error::SqlError;
use crate::sql::functions::names;

/// What `query` gives the only value of, if it is such an aggregation.
pub(super) fn argument(query: &Aggregate) -> Option<&Expr> {
    let [expression] = query.aggr_expr.as_slice() else { return None };
    let Expr::AggregateFunction(AggregateFunction { func, params }) = unaliased(expression) else {
        return None;
    };
    if func.name() != names::SINGLE_VALUE || params.filter.is_some() {
        return None;
    }
    params.args.first()
}

fn unaliased(expression: &Expr) -> &Expr {
    match expression {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

impl Lowering<'_> {
    /// `value` of the only row of each group of `query`.
    pub(super) fn single(
        &mut self,
        query: &Aggregate,
        value: &Expr,
        schema: SchemaRef,
    ) -> Result<NodeId, SqlError> {
        let input = self.node(&query.input)?;
        let from = query.input.schema();
        let (mut fields, mut columns) = (vec![], vec![]);
        for (index, expression) in query.group_expr.iter().chain([value]).enumerate() {
            let name = format!("{index}:{expression}");
            fields.push(Arc::new(Field::new(name, expression.get_type(from)?, true)));
            columns.push(self.physical(expression, from)?);
        }
        let keyed = Arc::new(Schema::new(fields));
        let mapped = self.map(input, None, Some(columns), keyed.clone());
        let spec = SingleSpec { key_columns: query.group_expr.len(), schema: keyed.clone() };
        // A second row takes the first back, be it an error then.
        let id = self.push(Node::Single { input: mapped, spec }, keyed.clone(), true);
        let columns = (0..keyed.fields().len()).map(|place| column(&keyed, place)).collect();
        Ok(self.map(id, None, Some(columns), schema))
    }
}
