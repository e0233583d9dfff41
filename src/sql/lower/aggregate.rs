//! GROUP BY.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable};
use datafusion::physical_expr::create_physical_expr;

use super::ending::substitute;
use super::recomputed::recomputed;
use super::solve::{solve, unsolved};
use super::temporal::timestamp;
use super::{Lowering, cast_to, column};
use crate::delta::aggregate::{AggregateSpec, BitFunction, Function, GroupBySpec};
use crate::delta::plan::{Node, NodeId, Plan};
use crate::delta::temporal_condition::Bound;
use crate::sql::error::SqlError;
use crate::sql::functions::{names, pairs_question, percentile_question};

/// The columns that an aggregation reads: the group, then arguments and filters, each once.
pub(super) struct Inputs<'a> {
    from: &'a DFSchema,
    /// How many of the expressions are those of the group.
    groups: usize,
    expressions: Vec<Expr>,
}

impl Inputs<'_> {
    /// Where `expression` stands, which is added if it does not yet.
    pub(super) fn column(&mut self, expression: Expr) -> usize {
        // A group has one zero for both; what is aggregated keeps the sign of its own.
        let is_float = self.data_type(&expression).is_ok_and(|data_type| data_type.is_floating());
        let skipped = if is_float { self.groups } else { 0 };
        let found = self.expressions.iter().skip(skipped).position(|e| *e == expression);
        let found = found.map(|place| skipped + place);
        found.unwrap_or_else(|| {
            self.expressions.push(expression);
            self.expressions.len() - 1
        })
    }

    pub(super) fn data_type(&self, expression: &Expr) -> Result<DataType, SqlError> {
        Ok(expression.get_type(self.from)?)
    }

    fn schema(&self) -> Result<SchemaRef, SqlError> {
        let fields = self.expressions.iter().enumerate().map(|(index, expression)| {
            Ok(Field::new(format!("{index}:{expression}"), self.data_type(expression)?, true))
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
        if let [Expr::GroupingSet(sets)] = query.group_expr.as_slice() {
            return self.grouping_sets(query, sets, schema);
        }
        if let Some(value) = super::single::argument(query) {
            return self.single(query, value, schema);
        }
        let input = self.node(&query.input)?;
        let from = query.input.schema();
        let groups = query.group_expr.len();
        // Equal group expressions keep their columns: the result has one for each.
        let mut inputs = Inputs { from, groups, expressions: query.group_expr.clone() };
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
            // A better row takes back one of any age.
            Node::TopK { .. } | Node::Partition { .. } | Node::Series { .. } => false,
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
        Function::Pairs { questions } => questions.len(),
        _ => 1,
    }
}

/// Finds or adds the state for `spec`: percentiles of the same values share one sketch, statistics of the same
/// pairs their sums.
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
            (Function::Pairs { questions }, Function::Pairs { questions: wanted }) => {
                questions.extend(wanted);
                return (index, questions.len() - 1);
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
    let Expr::AggregateFunction(call) = &expression else {
        return Err(SqlError::unsupported(
            format!("the aggregate `{expression}`"),
            "it is no aggregate function",
            "use count, sum, avg, min or max",
        ));
    };
    let params = &call.params;
    let output = field.data_type().clone();
    let (function, arguments) = match incremental(call, inputs.from, &output)? {
        Some((function, arguments)) => {
            (function, arguments.into_iter().map(|argument| inputs.column(argument)).collect())
        }
        None => {
            let (call, arguments) = recomputed(call, inputs)?;
            (Function::Recomputed(call), arguments)
        }
    };
    let filter = params.filter.as_ref().map(|f| inputs.column(f.as_ref().clone()));
    // DISTINCT changes nothing about these, and would cost the state of every value.
    let is_idempotent = matches!(
        function,
        Function::Min
            | Function::Max
            | Function::BoolAnd
            | Function::BoolOr
            | Function::Bits(BitFunction::And | BitFunction::Or)
    );
    let is_distinct = params.distinct && !is_idempotent;
    Ok(AggregateSpec { function, arguments, filter, is_distinct, output })
}

/// The function of `call` in an incremental form, if it has one, and its arguments in the types that it works on.
fn incremental(
    call: &AggregateFunction,
    from: &DFSchema,
    output: &DataType,
) -> Result<Option<(Function, Vec<Expr>)>, SqlError> {
    // An ORDER BY changes nothing about any of these.
    let args = &call.params.args;
    let cast_all = |data_type: &DataType| {
        args.iter().map(|e| cast_to(e.clone(), from, data_type)).collect::<Result<Vec<_>, _>>()
    };
    let first = |mut args: Vec<Expr>| {
        args.truncate(1);
        args
    };
    let float = || cast_all(&DataType::Float64).map(first);
    let same = || first(args.clone());
    let is_float = *output == DataType::Float64;
    let variance = |is_sample, is_root| Function::Variance { is_sample, is_root };
    Ok(Some(match call.func.name() {
        // A constant is never null: count(*) and count(1) read no column.
        "count" | "regr_count" => {
            let is_constant = |e: &Expr| matches!(e, Expr::Literal(value, _) if !value.is_null());
            (Function::Count, args.iter().filter(|e| !is_constant(e)).cloned().collect())
        }
        names::SUM if is_float => (Function::Sum, float()?),
        names::AVG if is_float => (Function::Avg, float()?),
        names::SUM if matches!(output, DataType::Int64 | DataType::UInt64) => {
            (Function::Sum, first(cast_all(output)?))
        }
        names::SUM if matches!(output, DataType::Decimal128(..)) => (Function::Sum, same()),
        names::AVG if matches!(output, DataType::Decimal128(..)) => (Function::Avg, same()),
        names::VAR => (variance(true, false), float()?),
        names::VAR_POP => (variance(false, false), float()?),
        names::STDDEV => (variance(true, true), float()?),
        names::STDDEV_POP => (variance(false, true), float()?),
        "min" | "max" if matches!(output, DataType::Map(..)) => {
            return Err(SqlError::unsupported(
                format!("{} of a map", call.func.name()),
                "maps have no order",
                "take an entry of it, as with attributes['http.route']",
            ));
        }
        "min" => (Function::Min, same()),
        "max" => (Function::Max, same()),
        "bool_and" => (Function::BoolAnd, same()),
        "bool_or" => (Function::BoolOr, same()),
        "bit_and" => (Function::Bits(BitFunction::And), same()),
        "bit_or" => (Function::Bits(BitFunction::Or), same()),
        "bit_xor" => (Function::Bits(BitFunction::Xor), same()),
        names::APPROX_PERCENTILE => {
            let (properties, context) = (ExecutionProps::new(), PhysicalPlanningContext::default());
            let physical = args.iter().map(|e| create_physical_expr(e, from, &properties, &context));
            let question = percentile_question(&physical.collect::<Result<Vec<_>, _>>()?)?;
            let relative_error = question.mapping.relative_error();
            (Function::Percentile { ranks: vec![question.p], relative_error }, float()?)
        }
        other => match pairs_question(other) {
            Some(question) => (Function::Pairs { questions: vec![question] }, cast_all(&DataType::Float64)?),
            None => return Ok(None),
        },
    }))
}
