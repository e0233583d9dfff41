//! Window functions.

use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::expr::{WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, ExprSchemable, SortExpr, Window, WindowFunctionDefinition};
use datafusion::physical_expr::create_physical_expr;
use datafusion::physical_expr::expressions::Column as PhysicalColumn;
use datafusion::physical_planner::create_window_expr_with_name;

use super::{Lowering, column};
use crate::delta::order::OrderColumn;
use crate::delta::partition::PartitionSpec;
use crate::delta::plan::{Node, NodeId};
use crate::delta::series::{SeriesCall, SeriesSpec};
use crate::delta::window::WindowFunctions;
use crate::sql::detectors::DetectorFunction;
use crate::sql::error::SqlError;

/// The columns of an input, and behind them what else is computed of each row.
pub(super) struct Widened<'a> {
    from: &'a DFSchema,
    expressions: Vec<Expr>,
}

impl<'a> Widened<'a> {
    pub(super) fn new(from: &'a DFSchema) -> Self {
        let expressions = from.iter().map(|field| Expr::Column(Column::from(field))).collect();
        Widened { from, expressions }
    }

    /// The place of `expression` among the columns.
    pub(super) fn column(&mut self, expression: &Expr) -> usize {
        let found = self.expressions.iter().position(|e| e == expression);
        found.unwrap_or_else(|| {
            self.expressions.push(expression.clone());
            self.expressions.len() - 1
        })
    }

    pub(super) fn order(&mut self, order: &[SortExpr]) -> Vec<OrderColumn> {
        let by = |sort: &SortExpr| OrderColumn {
            column: self.column(&sort.expr),
            options: SortOptions { descending: !sort.asc, nulls_first: sort.nulls_first },
        };
        order.iter().map(by).collect()
    }

    fn schema(&self) -> Result<SchemaRef, SqlError> {
        let fields = self.expressions.iter().map(|expression| {
            Ok(Field::new(expression.schema_name().to_string(), expression.get_type(self.from)?, true))
        });
        Ok(Arc::new(Schema::new(fields.collect::<Result<Vec<_>, SqlError>>()?)))
    }
}

impl Lowering<'_> {
    /// The rows of `input` with the columns of `widened`.
    pub(super) fn widen(&mut self, input: NodeId, widened: &Widened) -> Result<NodeId, SqlError> {
        let kept = widened.from.fields().len();
        if widened.expressions.len() == kept {
            return Ok(input);
        }
        let from = self.plan.schemas[input].clone();
        let mut columns: Vec<_> = (0..kept).map(|index| column(&from, index)).collect();
        for expression in &widened.expressions[kept..] {
            columns.push(self.physical(expression, widened.from)?);
        }
        Ok(self.map(input, None, Some(columns), widened.schema()?))
    }

    pub(super) fn window(&mut self, window: &Window, schema: SchemaRef) -> Result<NodeId, SqlError> {
        let input = self.node(&window.input)?;
        let mut widened = Widened::new(window.input.schema());
        let functions = window.window_expr.iter().map(function).collect::<Result<Vec<_>, _>>()?;
        let Some(WindowFunctionParams { partition_by, order_by, .. }) = functions.first().map(|f| &f.params)
        else {
            return Ok(input);
        };
        let is_same =
            |f: &WindowFunction| f.params.partition_by == *partition_by && f.params.order_by == *order_by;
        if !functions.iter().all(is_same) {
            return Err(SqlError::unsupported(
                "several windows computed as one",
                "they have different orders",
                "compute one in a subquery of the other",
            ));
        }
        let mut partition: Vec<usize> = partition_by.iter().map(|e| widened.column(e)).collect();
        let order = widened.order(order_by);
        let described: Vec<String> = functions.iter().map(describe).collect();
        let functions: Vec<WindowFunction> =
            functions.iter().map(|f| over_columns(f, &mut widened)).collect::<Result<_, _>>()?;
        let id = self.widen(input, &widened)?;
        let rows = numbered(&widened.schema()?);
        let names = DFSchema::try_from(rows.clone())?;
        let context = PhysicalPlanningContext::default();
        let physical = |(function, name): (WindowFunction, String)| {
            create_window_expr_with_name(&Expr::from(function), name, &names, &self.properties, &context)
        };
        if let Some(calls) = self.detectors(&functions, &described, &names)? {
            // Of the key, and so kept once for a series as it is.
            partition.extend(calls.iter().filter_map(|call| call.hash));
            partition.dedup();
            let spec = SeriesSpec {
                partition,
                order,
                calls,
                input: self.plan.schemas[id].clone(),
                schema: schema.clone(),
                retracts: self.retracts[id],
                horizon_ms: self.options.horizon_ms,
            };
            return Ok(self.push(Node::Series { input: id, spec }, schema, true));
        }
        let functions = functions.into_iter().zip(described).map(physical).collect::<Result<Vec<_>, _>>()?;
        let function = WindowFunctions::new(functions, &rows, schema.clone())?;
        let spec = PartitionSpec {
            partition,
            order,
            function: Arc::new(function),
            input: self.plan.schemas[id].clone(),
            schema: schema.clone(),
            retracts: self.retracts[id],
            horizon_ms: self.options.horizon_ms,
        };
        Ok(self.push(Node::Partition { input: id, spec }, schema, true))
    }

    /// `functions` over `columns`, if all of them are detectors; each beside what it is called.
    fn detectors(
        &self,
        functions: &[WindowFunction],
        described: &[String],
        columns: &DFSchema,
    ) -> Result<Option<Vec<SeriesCall>>, SqlError> {
        let mut calls = vec![];
        for (function, name) in functions.iter().zip(described) {
            let WindowFunctionDefinition::WindowUDF(udf) = &function.fun else { return Ok(None) };
            let Some(detector) = udf.inner().downcast_ref::<DetectorFunction>() else { return Ok(None) };
            let WindowFunctionParams { args, filter, null_treatment, distinct, .. } = &function.params;
            if filter.is_some() || null_treatment.is_some() || *distinct {
                return Ok(None);
            }
            let context = PhysicalPlanningContext::default();
            let physical = |e| create_physical_expr(e, columns, &self.properties, &context);
            let arguments = args.iter().map(physical).collect::<DataFusionResult<Vec<_>>>()?;
            let index = |at: usize| arguments.get(at)?.downcast_ref::<PhysicalColumn>().map(|c| c.index());
            // A constant is no series to keep up with.
            let (Some(place), Some(value)) = (index(0), index(1)) else { return Ok(None) };
            let function = detector.configure(columns.field(place).data_type(), &arguments)?;
            let hash = detector.hash_at().and_then(index);
            calls.push(SeriesCall {
                name: name.clone(),
                function,
                fields: detector.fields(),
                place,
                value,
                hash,
            });
        }
        Ok(Some(calls))
    }
}

/// The function of an expression of a window.
pub(super) fn function(expression: &Expr) -> Result<WindowFunction, SqlError> {
    match expression.clone().unalias() {
        Expr::WindowFunction(function) => Ok(*function),
        other => Err(SqlError::unsupported(
            format!("the window `{other}`"),
            "it is no window function",
            "use it when you read the view",
        )),
    }
}

/// `lag(value, 1)`.
fn describe(function: &WindowFunction) -> String {
    let arguments: Vec<String> = function.params.args.iter().map(|e| e.schema_name().to_string()).collect();
    format!("{}({})", function.fun.name(), arguments.join(", "))
}

/// `schema` with a number before each name, so that none occurs twice.
fn numbered(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().enumerate();
    let fields = fields.map(|(index, f)| f.as_ref().clone().with_name(format!("{index}:{}", f.name())));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// `function` over the columns of `widened`; constants are left as they are.
fn over_columns(function: &WindowFunction, widened: &mut Widened) -> Result<WindowFunction, SqlError> {
    let expression = Expr::from(function.clone());
    let mut is_root = true;
    let mut replace = |e: Expr| {
        if std::mem::take(&mut is_root) || matches!(e, Expr::Literal(..)) {
            return Ok(Transformed::no(e));
        }
        let index = widened.column(&e);
        let name = format!("{index}:{}", e.schema_name());
        Ok(Transformed::new(Expr::Column(Column::new_unqualified(name)), true, TreeNodeRecursion::Jump))
    };
    let replaced = expression.transform_down(&mut replace)?.data;
    self::function(&replaced)
}
