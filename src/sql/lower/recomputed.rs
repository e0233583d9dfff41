//! Calls of aggregate functions that have no incremental form: of any that DataFusion has.

use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{Field, Schema};
use datafusion::common::utils::normalize_float_zero;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::expr::{AggregateFunction, NullTreatment};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, lit};
use datafusion::physical_expr::aggregate::AggregateExprBuilder;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{PhysicalExpr, PhysicalSortExpr, create_physical_expr};

use super::aggregate::Inputs;
use crate::delta::aggregate::Call;
use crate::sql::error::SqlError;
use crate::sql::functions::{ARGUMENT_ORDER, Ordered, reads_order, rows_read};

/// The columns that a call is computed from, in the order in which they are sorted.
struct Kept {
    /// Places in the input of the aggregation.
    columns: Vec<usize>,
    order: Vec<SortOptions>,
    fields: Vec<Field>,
}

impl Kept {
    fn column(
        &mut self,
        expression: &Expr,
        options: SortOptions,
        inputs: &mut Inputs,
    ) -> Result<Arc<dyn PhysicalExpr>, SqlError> {
        let column = inputs.column(expression.clone());
        let found = self.columns.iter().position(|c| *c == column);
        let place = match found {
            Some(place) => place,
            None => {
                let data_type = inputs.data_type(expression)?;
                self.columns.push(column);
                self.order.push(options);
                self.fields.push(Field::new(format!("{column}"), data_type, true));
                self.columns.len() - 1
            }
        };
        Ok(Arc::new(Column::new(self.fields[place].name(), place)))
    }
}

/// `call` as one that is made anew over all values of a group, and the columns that it is made over: what it
/// orders by, then its arguments.
pub(super) fn recomputed(
    call: &AggregateFunction,
    inputs: &mut Inputs,
) -> Result<(Call, Vec<usize>), SqlError> {
    let params = &call.params;
    let stock = Ordered::stock(&call.func);
    let function = stock.unwrap_or(&call.func);
    let mut kept = Kept { columns: vec![], order: vec![], fields: vec![] };
    let mut order_by = vec![];
    for sort in &params.order_by {
        let options = SortOptions { descending: !sort.asc, nulls_first: sort.nulls_first };
        let expr = kept.column(&sort.expr, options, inputs)?;
        order_by.push(PhysicalSortExpr { expr, options });
    }
    let mut arguments = vec![];
    for argument in &params.args {
        arguments.push(match argument {
            // What does not depend on rows the function reads when it is planned.
            // Of distinct floats zero is one, as among columns.
            Expr::Literal(value, _) if stock.is_some() && params.distinct => {
                constant(&lit(with_one_zero(value)?))?
            }
            Expr::Literal(..) => constant(argument)?,
            _ => kept.column(argument, ARGUMENT_ORDER, inputs)?,
        });
    }
    let is_ordered = stock.is_some();
    if is_ordered && params.distinct && !params.order_by.iter().all(|s| params.args.contains(&s.expr)) {
        return Err(SqlError::unsupported(
            format!("{} of distinct values in the order of others", function.name()),
            "equal values may come at several places of that order",
            "order by an argument of the call",
        ));
    }
    let text = Expr::AggregateFunction(call.clone()).to_string();
    let function = AggregateExprBuilder::new(Arc::clone(function), arguments)
        .schema(Arc::new(Schema::new(kept.fields)))
        .alias(text.clone())
        .order_by(if is_ordered && !reads_order(function) { vec![] } else { order_by })
        .with_ignore_nulls(params.null_treatment == Some(NullTreatment::IgnoreNulls))
        .with_distinct(params.distinct && !is_ordered)
        .build()?;
    let second = params.args.get(1).and_then(|e| e.as_literal());
    let ignores_nulls = function.ignore_nulls();
    let reads = rows_read(call.func.name(), second, !params.order_by.is_empty(), ignores_nulls);
    let call = Call { function: Arc::new(function), order: kept.order, reads, text };
    Ok((call, kept.columns))
}

fn with_one_zero(value: &ScalarValue) -> Result<ScalarValue, SqlError> {
    Ok(ScalarValue::try_from_array(&normalize_float_zero(&value.to_array()?), 0)?)
}

fn constant(literal: &Expr) -> Result<Arc<dyn PhysicalExpr>, SqlError> {
    let (properties, context) = (ExecutionProps::new(), PhysicalPlanningContext::default());
    Ok(create_physical_expr(literal, &DFSchema::empty(), &properties, &context)?)
}
