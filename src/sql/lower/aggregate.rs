//! GROUP BY.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable};
use datafusion::physical_expr::create_physical_expr;

use super::ending::substitute;
use super::solve::{solve, unsolved};
use super::temporal::timestamp;
use super::{Lowering, cast_to, column};
use crate::delta::aggregate::{AggregateSpec, Function, GroupBySpec};
use crate::delta::plan::{Node, NodeId, Plan};
use crate::delta::temporal_condition::Bound;
use crate::sql::error::SqlError;
use crate::sql::functions::{names, percentile_question};

/// The columns that an aggregation reads: the group, then arguments and filters, each once.
struct Inputs<'a> {
    from: &'a DFSchema,
    expressions: Vec<Expr>,
}

impl Inputs<'_> {
    fn column(&mut self, expression: Expr) -> usize {
        let found = self.expressions.iter().position(|e| *e == expression);
        found.unwrap_or_else(|| {
            self.expressions.push(expression);
            self.expressions.len() - 1
        })
    }

    fn schema(&self) -> Result<SchemaRef, SqlError> {
        let fields = self.expressions.iter().enumerate().map(|(index, expression)| {
            Ok(Field::new(format!("{index}:{expression}"), expression.get_type(self.from)?, true))
        });
        Ok(Arc::new(Schema::new(fields.collect::<Result<Vec<_>, SqlError>>()?)))
    }
}

impl Lowering<'_> {
    /// The groups of `query`, each while `conditions` on `now()` and its columns hold.
    pub(super) fn aggregate(
        &mut self,
        query: &Aggregate,
        conditions: &[Expr],
        schema: SchemaRef,
    ) -> Result<NodeId, SqlError> {
        if query.group_expr.iter().any(|e| matches!(e, Expr::GroupingSet(_))) {
            return Err(SqlError::unsupported(
                "GROUPING SETS, ROLLUP or CUBE",
                "one row goes into several groups",
                "write a UNION ALL of one GROUP BY each",
            ));
        }
        if let Some(value) = super::single::argument(query) {
            return self.single(query, value, schema);
        }
        let input = self.node(&query.input)?;
        let from = query.input.schema();
        let groups = query.group_expr.len();
        // Equal group expressions keep their columns: the result has one for each.
        let mut inputs = Inputs { from, expressions: query.group_expr.clone() };
        let mut aggregates: Vec<AggregateSpec> = vec![];
        // For each aggregate of the query: which of `aggregates`, and which of its outputs.
        let mut outputs: Vec<(usize, usize)> = vec![];
        for (expression, field) in query.aggr_expr.iter().zip(&schema.fields()[groups..]) {
            let spec = aggregate_spec(expression, field, &mut inputs)?;
            outputs.push(share(&mut aggregates, spec));
        }
        let until = conditions.iter().map(|c| bound(c, query, &mut inputs)).collect::<Result<Vec<_>, _>>()?;
        let input_schema = inputs.schema()?;
        let columns = inputs.expressions.iter().map(|e| self.physical(e, from)).collect::<Result<_, _>>()?;
        let mapped = self.map(input, None, Some(columns), input_schema.clone());
        if aggregates.is_empty() && groups > 0 && until.is_empty() {
            let id = self.distinct(mapped, input_schema);
            let columns = (0..groups).map(|i| column(&schema, i)).collect();
            return Ok(self.map(id, None, Some(columns), schema));
        }
        let retracts = self.retracts[mapped];
        let mut fields: Vec<_> = input_schema.fields()[..groups].to_vec();
        let mut first_output = vec![];
        for spec in &aggregates {
            first_output.push(fields.len());
            for _ in 0..output_count(&spec.function) {
                fields.push(Arc::new(Field::new(format!("#{}", fields.len()), spec.output.clone(), true)));
            }
        }
        let result = Arc::new(Schema::new(fields));
        let spec = GroupBySpec {
            group_columns: groups,
            aggregates,
            input: input_schema,
            schema: result.clone(),
            retracts,
            until,
            horizon_ms: self.options.horizon_ms.filter(|_| self.retracts_within_horizon(mapped)),
        };
        let id = self.push(Node::Aggregate { input: mapped, spec }, result.clone(), true);
        let places = (0..groups).chain(outputs.iter().map(|(spec, output)| first_output[*spec] + output));
        let columns = places.map(|place| column(&result, place)).collect();
        Ok(self.map(id, None, Some(columns), schema))
    }
}

impl Lowering<'_> {
    /// Whether a row of `node` can be retracted only while joins keep the rows that it comes from: groups and
    /// filters on `now()` take rows back however old they are.
    fn retracts_within_horizon(&self, node: NodeId) -> bool {
        match &self.plan.nodes[node] {
            Node::Aggregate { .. } | Node::TemporalFilter { .. } => false,
            Node::Source { .. } | Node::Recursion { .. } => !self.retracts[node],
            // A join keeps the rows of a side that retracts for ever, and may take back what it made of them.
            Node::Join { left, right, .. } => !self.retracts[*left] && !self.retracts[*right],
            other => Plan::inputs(other).into_iter().all(|input| self.retracts_within_horizon(input)),
        }
    }
}

/// `condition` on `now()` and the columns of groups, solved for `now()`.
fn bound(condition: &Expr, query: &Aggregate, inputs: &mut Inputs) -> Result<Bound, SqlError> {
    let condition = substitute(condition, &query.schema, query.group_expr.iter().cloned())?;
    let solved = solve(&condition, inputs.from)?;
    if solved.months != 0 {
        return Err(unsolved(&condition));
    }
    let column = inputs.column(cast_to(solved.limit, inputs.from, &timestamp())?);
    Ok(Bound { column, comparison: solved.comparison, months: 0 })
}

fn output_count(function: &Function) -> usize {
    match function {
        Function::Percentile { ranks, .. } => ranks.len(),
        _ => 1,
    }
}

/// Finds or adds the state for `spec`: percentiles of the same values share one sketch.
fn share(aggregates: &mut Vec<AggregateSpec>, spec: AggregateSpec) -> (usize, usize) {
    for (index, existing) in aggregates.iter_mut().enumerate() {
        let same_input = existing.arguments == spec.arguments
            && existing.filter == spec.filter
            && existing.is_distinct == spec.is_distinct
            && existing.output == spec.output;
        if !same_input {
            continue;
        }
        match (&mut existing.function, &spec.function) {
            (
                Function::Percentile { ranks, relative_error },
                Function::Percentile { ranks: wanted, relative_error: error },
            ) if relative_error == error => {
                ranks.extend(wanted);
                return (index, ranks.len() - 1);
            }
            (a, b) if a == b => return (index, 0),
            _ => {}
        }
    }
    aggregates.push(spec);
    (aggregates.len() - 1, 0)
}

fn aggregate_spec(expression: &Expr, field: &Field, inputs: &mut Inputs) -> Result<AggregateSpec, SqlError> {
    let expression = expression.clone().unalias();
    let Expr::AggregateFunction(AggregateFunction { func, params }) = &expression else {
        return Err(SqlError::unsupported(
            format!("the aggregate `{expression}`"),
            "it is no aggregate function",
            "use count, sum, avg, min or max",
        ));
    };
    // An ORDER BY changes nothing about any function supported here.
    let AggregateFunctionParams { args, distinct, filter, .. } = params;
    let (function, arguments) = function(func.name(), args, inputs.from, field.data_type())?;
    let mut columns = vec![];
    for argument in arguments {
        columns.push(inputs.column(argument));
    }
    let filter = filter.as_ref().map(|f| inputs.column(f.as_ref().clone()));
    // DISTINCT changes nothing about an extreme, and would cost the state of every value.
    let is_distinct = *distinct
        && !matches!(function, Function::Min | Function::Max | Function::BoolAnd | Function::BoolOr);
    Ok(AggregateSpec { function, arguments: columns, filter, is_distinct, output: field.data_type().clone() })
}

/// The function called `name` with `args`, and its arguments in the types that it works on.
fn function(
    name: &str,
    args: &[Expr],
    from: &DFSchema,
    output: &DataType,
) -> Result<(Function, Vec<Expr>), SqlError> {
    let float = |args: &[Expr]| {
        let first = args.first().cloned().unwrap_or_else(|| Expr::Literal(ScalarValue::Null, None));
        Ok::<_, SqlError>(vec![cast_to(first, from, &DataType::Float64)?])
    };
    let same = || args.iter().take(1).cloned().collect::<Vec<_>>();
    Ok(match name {
        // A constant is never null: count(*) and count(1) read no column.
        "count" => {
            let is_constant = |e: &Expr| matches!(e, Expr::Literal(value, _) if !value.is_null());
            (Function::Count, args.iter().filter(|e| !is_constant(e)).cloned().collect())
        }
        names::SUM => match output {
            DataType::Float64 => (Function::Sum, float(args)?),
            DataType::Int64 | DataType::UInt64 => {
                (Function::Sum, vec![cast_to(same().swap_remove(0), from, output)?])
            }
            _ => (Function::Sum, same()),
        },
        names::AVG if *output == DataType::Float64 => (Function::Avg, float(args)?),
        names::AVG => (Function::Avg, same()),
        names::VAR => (Function::Variance { is_sample: true, is_root: false }, float(args)?),
        names::VAR_POP => (Function::Variance { is_sample: false, is_root: false }, float(args)?),
        names::STDDEV => (Function::Variance { is_sample: true, is_root: true }, float(args)?),
        names::STDDEV_POP => (Function::Variance { is_sample: false, is_root: true }, float(args)?),
        "min" => (Function::Min, same()),
        "max" => (Function::Max, same()),
        "bool_and" => (Function::BoolAnd, same()),
        "bool_or" => (Function::BoolOr, same()),
        names::APPROX_PERCENTILE => {
            let properties = ExecutionProps::new();
            let context = PhysicalPlanningContext::default();
            let physical = args.iter().map(|e| create_physical_expr(e, from, &properties, &context));
            let question = percentile_question(&physical.collect::<Result<Vec<_>, _>>()?)?;
            let relative_error = question.mapping.relative_error();
            (Function::Percentile { ranks: vec![question.p], relative_error }, float(args)?)
        }
        other => {
            let instead = match other {
                "median" | "percentile_cont" | "approx_median" | "approx_percentile_cont" => {
                    "use approx_percentile(x, p), which is within 1 % and the same in whatever order rows come"
                }
                "approx_distinct" => "use count(DISTINCT x)",
                "first_value" | "last_value" => "use min or max",
                _ => "use it when you read the view",
            };
            return Err(SqlError::unsupported(
                format!("the aggregate {other}"),
                "it has no incremental form here that is independent of the order of rows",
                instead,
            ));
        }
    })
}
