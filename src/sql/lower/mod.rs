//! SQL to dataflow: an optimised logical plan becomes a [`Plan`] of differential operators.
//!
//! | logical plan | dataflow |
//! |---|---|
//! | scan | source |
//! | projection, filter | map |
//! | filter on `now()` | temporal filter |
//! | aggregate, distinct | aggregate, distinct |
//! | grouping sets | union of an aggregate each |
//! | join, also from subqueries | join |
//! | inner joins by one key | one join of all inputs |
//! | value of a subquery | single |
//! | unnest | unnest |
//! | union | union |
//! | intersect, except | aggregate over a union, and repeat |
//! | values | constant |
//! | window functions | partition |
//! | detectors | series |
//! | limit of an order, `row_number() <= k`, `rank() <= k` | top-k |
//! | recursive query | recursion |
//! | sort without limit | nothing: a collection has no order |
//!
//! What has no entry is refused here, before anything runs, with what to write instead. A subplan
//! that occurs twice is built once.

mod aggregate;
mod ending;
mod grouping_sets;
mod interval;
mod join;
mod multi_join;
mod recomputed;
mod recursion;
mod single;
mod solve;
mod temporal;
mod top_k;
mod unnest;
mod window;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, Values};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};

use self::ending::{CurrentGroups, current_groups};
pub use self::ending::{keep_at_groups, place};
use self::multi_join::fold_joins;
pub(super) use self::solve::{interval, unit_step};
pub use self::temporal::{replace_now, uses_now};
use super::error::SqlError;
use super::set_operations::Repeat;
use crate::delta::expression::RowMap;
use crate::delta::plan::{Node, NodeId, Plan};

/// What the compiler must know beside the query.
pub struct Options<'a> {
    /// Whether rows of a relation can be retracted.
    pub retracts: &'a dyn Fn(&str) -> bool,
    /// How long rows are kept for joining, in milliseconds of stream time.
    pub horizon_ms: Option<u64>,
}

/// A compiled query.
pub struct Lowered {
    /// Its dataflow.
    pub plan: Plan,
    /// The schema of its result, as SQL sees it.
    pub schema: SchemaRef,
    /// Whether rows of the result can be retracted.
    pub retracts: bool,
}

/// Compiles `query`, an optimised plan in which [`replace_now`] has replaced `now()`.
pub fn lower(query: &LogicalPlan, options: &Options) -> Result<Lowered, SqlError> {
    let mut lowering = Lowering::new(options);
    refuse_volatile(query)?;
    let root = lowering.node(query)?;
    // The last node is the result: a shared one may not be the last.
    if root + 1 != lowering.plan.nodes.len() {
        let schema = lowering.plan.schemas[root].clone();
        lowering.map(root, None, None, schema);
    }
    let plan = fold_joins(lowering.plan);
    plan.check()?;
    let retracts = lowering.retracts.last().copied().unwrap_or(true);
    Ok(Lowered { plan, schema: relaxed(query.schema()), retracts })
}

struct Lowering<'a> {
    plan: Plan,
    /// Whether rows of each node can be retracted.
    retracts: Vec<bool>,
    /// Nodes by the subplan that they compute.
    built: HashMap<LogicalPlan, NodeId>,
    options: &'a Options<'a>,
    properties: ExecutionProps,
}

impl<'a> Lowering<'a> {
    fn new(options: &'a Options<'a>) -> Self {
        Lowering {
            plan: Plan::default(),
            retracts: vec![],
            built: HashMap::new(),
            options,
            properties: ExecutionProps::new(),
        }
    }
}

impl Lowering<'_> {
    fn node(&mut self, query: &LogicalPlan) -> Result<NodeId, SqlError> {
        if let LogicalPlan::SubqueryAlias(alias) = query {
            return self.node(&alias.input);
        }
        if let Some(id) = self.built.get(query) {
            return Ok(*id);
        }
        let id = self.build(query)?;
        self.built.insert(query.clone(), id);
        Ok(id)
    }

    fn build(&mut self, query: &LogicalPlan) -> Result<NodeId, SqlError> {
        let schema = relaxed(query.schema());
        match query {
            LogicalPlan::TableScan(scan) => {
                let relation = scan.table_name.table().to_owned();
                let columns = match &scan.projection {
                    Some(columns) => columns.clone(),
                    None => (0..scan.source.schema().fields().len()).collect(),
                };
                let retracts = (self.options.retracts)(&relation);
                let id = self.push(Node::Source { relation, columns }, schema, retracts);
                match conjunction(scan.filters.iter().cloned()) {
                    Some(filter) => self.filter(id, query.schema(), filter),
                    None => Ok(id),
                }
            }
            LogicalPlan::Projection(projection) => {
                if let Some(id) = self.first_of_partitions(&projection.input, Some(&projection.expr))? {
                    let from = projection.input.schema();
                    let columns =
                        projection.expr.iter().map(|e| self.physical(e, from)).collect::<Result<_, _>>()?;
                    return Ok(self.map(id, None, Some(columns), schema));
                }
                let (input, predicate) = match projection.input.as_ref() {
                    // A plain filter below a projection goes into the same operator.
                    LogicalPlan::Filter(filter) if !uses_now(&filter.predicate) => {
                        (&filter.input, Some(&filter.predicate))
                    }
                    _ => (&projection.input, None),
                };
                let id = self.node(input)?;
                let from = input.schema();
                let predicate = predicate.map(|p| self.physical(p, from)).transpose()?;
                let columns =
                    projection.expr.iter().map(|e| self.physical(e, from)).collect::<Result<_, _>>()?;
                Ok(self.map(id, predicate, Some(columns), schema))
            }
            LogicalPlan::Filter(filter) => {
                if let Some(id) = self.first_of_partitions(query, None)? {
                    return Ok(id);
                }
                let id = self.node(&filter.input)?;
                self.filter(id, filter.input.schema(), filter.predicate.clone())
            }
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate, &[], schema),
            LogicalPlan::Extension(extension) if Repeat::of(extension.node.as_ref()).is_some() => {
                let input = self.node(query.inputs()[0])?;
                let retracts = self.retracts[input];
                Ok(self.push(Node::Repeat(input), schema, retracts))
            }
            LogicalPlan::Extension(extension) => match current_groups(extension.node.as_ref()) {
                Some(groups) => self.current_groups(groups, schema),
                None => Err(refusal(query)),
            },
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let id = self.node(input)?;
                Ok(self.distinct(id, schema))
            }
            LogicalPlan::Join(join) => self.join(join, schema),
            LogicalPlan::Unnest(unnest) => self.unnest(unnest, schema),
            LogicalPlan::Window(window) => self.window(window, schema),
            LogicalPlan::RecursiveQuery(query) => self.recursion(query, schema),
            LogicalPlan::Union(union) => {
                let inputs = union.inputs.iter().map(|i| self.node(i)).collect::<Result<Vec<_>, _>>()?;
                let retracts = inputs.iter().any(|i| self.retracts[*i]);
                Ok(self.push(Node::Union(inputs), schema, retracts))
            }
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.node(&sort.input),
            LogicalPlan::Sort(sort) => self.sorted_limit(sort, 0, sort.fetch, schema),
            LogicalPlan::Limit(limit) => self.limit(limit, schema),
            LogicalPlan::Values(values) => {
                let rows = self.values(values, &schema)?;
                Ok(self.push(Node::Constant(rows), schema, false))
            }
            LogicalPlan::EmptyRelation(empty) => {
                let options = RecordBatchOptions::new().with_row_count(Some(empty.produce_one_row as usize));
                let rows = match empty.produce_one_row {
                    true => RecordBatch::try_new_with_options(schema.clone(), vec![], &options)?,
                    false => RecordBatch::new_empty(schema.clone()),
                };
                Ok(self.push(Node::Constant(rows), schema, false))
            }
            other => Err(refusal(other)),
        }
    }

    fn current_groups(&mut self, groups: &CurrentGroups, schema: SchemaRef) -> Result<NodeId, SqlError> {
        if let LogicalPlan::Aggregate(aggregate) = &groups.input {
            return self.aggregate(aggregate, &groups.conditions, schema);
        }
        // The optimizer has put something between: what it made of the groups is filtered.
        let id = self.node(&groups.input)?;
        match conjunction(groups.conditions.iter().cloned()) {
            Some(conditions) => self.filter(id, groups.input.schema(), conditions),
            None => Ok(id),
        }
    }

    fn push(&mut self, node: Node, schema: SchemaRef, retracts: bool) -> NodeId {
        self.retracts.push(retracts);
        self.plan.push(node, schema)
    }

    /// Whether the rows of `node` are always there.
    fn is_constant(&self, node: NodeId) -> bool {
        let node = &self.plan.nodes[node];
        let inputs = Plan::inputs(node);
        matches!(node, Node::Constant(_))
            || (!inputs.is_empty() && inputs.into_iter().all(|input| self.is_constant(input)))
    }

    fn map(
        &mut self,
        input: NodeId,
        predicate: Option<Arc<dyn PhysicalExpr>>,
        projection: Option<Vec<Arc<dyn PhysicalExpr>>>,
        schema: SchemaRef,
    ) -> NodeId {
        let map = RowMap { predicate, projection, schema: schema.clone() };
        let retracts = self.retracts[input];
        self.push(Node::Map { input, map }, schema, retracts)
    }

    fn distinct(&mut self, input: NodeId, schema: SchemaRef) -> NodeId {
        let retracts = self.retracts[input];
        let horizon_ms = self.options.horizon_ms;
        self.push(Node::Distinct { input, retracts, horizon_ms }, schema, retracts)
    }

    /// Rows of `input` for which `predicate` is true; comparisons with `now()` apart.
    fn filter(&mut self, input: NodeId, from: &DFSchemaRef, predicate: Expr) -> Result<NodeId, SqlError> {
        let (temporal, plain): (Vec<_>, Vec<_>) =
            split_conjunction_owned(predicate).into_iter().partition(uses_now);
        let plain = conjunction(plain).map(|p| self.physical(&p, from)).transpose()?;
        match temporal.is_empty() {
            true => {
                let schema = self.plan.schemas[input].clone();
                Ok(self.map(input, plain, None, schema))
            }
            false => self.temporal_filter(input, from, plain, &temporal),
        }
    }

    fn physical(&self, expression: &Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>, SqlError> {
        if uses_now(expression) {
            return Err(now_outside());
        }
        if let Some(subquery) = find_subquery(expression)? {
            return Err(SqlError::unsupported(
                "this subquery",
                format!("`{subquery}` cannot be turned into a join"),
                "write it as a join",
            ));
        }
        let expression = interval::with_durations(expression.clone(), schema)?;
        let context = PhysicalPlanningContext::default();
        Ok(create_physical_expr(&expression, schema, &self.properties, &context)?)
    }

    fn values(&self, values: &Values, schema: &SchemaRef) -> Result<RecordBatch, SqlError> {
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        let one = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options)?;
        let empty = DFSchema::empty();
        let mut columns: Vec<Vec<ArrayRef>> = vec![vec![]; schema.fields().len()];
        for row in &values.values {
            for ((column, expression), field) in columns.iter_mut().zip(row).zip(schema.fields()) {
                let value = self.physical(expression, &empty)?.evaluate(&one)?.into_array(1)?;
                column.push(arrow::compute::cast(&value, field.data_type())?);
            }
        }
        let columns = columns.iter().map(|parts| {
            let parts: Vec<_> = parts.iter().map(|p| p.as_ref()).collect();
            concat(&parts)
        });
        Ok(RecordBatch::try_new(schema.clone(), columns.collect::<Result<_, _>>()?)?)
    }
}

/// `schema` with every column nullable and without metadata: what the dataflow promises.
pub(super) fn relaxed(schema: &DFSchema) -> SchemaRef {
    let fields = schema.fields().iter().map(|f| Field::new(f.name(), f.data_type().clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn find_subquery(expression: &Expr) -> DataFusionResult<Option<String>> {
    let mut found = None;
    expression.apply(|e| {
        if matches!(
            e,
            Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::OuterReferenceColumn(..)
        ) {
            found = Some(e.to_string());
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// Refuses what the optimizer would turn into something that is accepted: the time of planning, made a
/// constant, would stand still.
pub fn refuse_unoptimized(query: &LogicalPlan) -> Result<(), SqlError> {
    let mut found = None;
    query.apply_with_subqueries(|node| {
        node.apply_expressions(|expression| {
            expression.apply(|e| {
                match e {
                    // The columns of these are called after what they compute, which replacing would change.
                    Expr::ScalarFunction(call)
                        if matches!(node, LogicalPlan::Aggregate(_) | LogicalPlan::Window(_))
                            && ["now", "current_date"].contains(&call.func.name()) =>
                    {
                        found = Some(now_outside());
                    }
                    Expr::ScalarFunction(call) if call.func.name() == "current_time" => {
                        found = Some(SqlError::unsupported(
                            "current_time",
                            "its value would change with every tick",
                            "compare a timestamp with now(): `WHERE started_at > now() - INTERVAL '1 day'`",
                        ));
                    }
                    _ => {}
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    found.map_or(Ok(()), Err)
}

fn now_outside() -> SqlError {
    SqlError::unsupported(
        "now() outside a comparison in WHERE",
        "its value would change with every tick",
        "compare it with a timestamp: `WHERE started_at > now() - INTERVAL '1 hour'`",
    )
}

/// A view of random numbers would not be a function of its input.
fn refuse_volatile(query: &LogicalPlan) -> Result<(), SqlError> {
    let mut found = None;
    query.apply(|node| {
        node.apply_expressions(|expression| {
            if expression.is_volatile() {
                found = Some(expression.to_string());
            }
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    match found {
        Some(expression) => Err(SqlError::unsupported(
            format!("the volatile expression `{expression}`"),
            "it gives another value each time, so that no result could be maintained",
            "compute it when you read the view",
        )),
        None => Ok(()),
    }
}

fn refusal(query: &LogicalPlan) -> SqlError {
    SqlError::unsupported(
        format!("`{}`", query.display()),
        "it has no incremental form here",
        "use it when you read the view",
    )
}

/// A column of the dataflow by its place.
fn column(schema: &SchemaRef, index: usize) -> Arc<dyn PhysicalExpr> {
    Arc::new(datafusion::physical_expr::expressions::Column::new(schema.field(index).name(), index))
}

/// `expression` cast to `data_type`, where it has another.
fn cast_to(expression: Expr, from: &DFSchema, data_type: &DataType) -> Result<Expr, SqlError> {
    use datafusion::logical_expr::ExprSchemable;
    Ok(match &expression.get_type(from)? == data_type {
        true => expression,
        false => datafusion::logical_expr::cast(expression, data_type.clone()),
    })
}
