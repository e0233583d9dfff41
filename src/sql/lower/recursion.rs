//! WITH RECURSIVE.
//!
//! The rows of the query in its own recursive term are those of the round before. Its plan is rewritten so that they
//! carry their round: through projections, into groups and beside DISTINCT. It is then compiled like any other, once
//! for all rounds. What does not depend on these rows is compiled outside of the loop.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, JoinType, ScalarValue};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::logical_plan::builder::LogicalTableSource;
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, Filter, Join, LogicalPlan, LogicalPlanBuilder, Operator, Projection,
    RecursiveQuery, SubqueryAlias, TableScan, Window,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Literal};

use super::multi_join::fold_joins;
use super::{Lowering, Options, column, relaxed, uses_now};
use crate::delta::plan::{Node, NodeId, Plan};
use crate::delta::recursion::{ROUND, Recursion, import, previous, with_round};
use crate::sql::error::SqlError;
use crate::sql::recursion::work_table;

impl Lowering<'_> {
    pub(super) fn recursion(&mut self, query: &RecursiveQuery, rows: SchemaRef) -> Result<NodeId, SqlError> {
        let base = self.node(&query.static_term)?;
        if matches!(query.recursive_term.as_ref(), LogicalPlan::EmptyRelation(empty) if !empty.produce_one_row)
        {
            return Ok(if query.is_distinct { self.distinct(base, rows) } else { base });
        }
        let mut term = Term { name: &query.name, scan: None, inputs: vec![] };
        let next = term.with_round(&query.recursive_term)?;
        let inputs = term.inputs.iter().map(|input| self.node(input)).collect::<Result<Vec<_>, _>>()?;
        let imports: Vec<Import> = term.inputs.iter().zip(&inputs).map(|(plan, id)| (plan, *id)).collect();
        let scan = term.scan.ok_or_else(|| unread(&query.name))?;
        let schema = with_round(&rows);
        let body = |of: &Self, retracts| of.body(&next, (&scan, retracts), &imports, &schema, &query.name);
        // Where neither what it begins with nor what it reads takes a row back, nor an operator of it, the result
        // only grows. A single round does not if a row moves to an earlier one.
        let only_grows = !self.retracts[base] && !body(self, false)?.1;
        let retracts = query.is_distinct || !only_grows;
        let (body, _) = body(self, retracts)?;
        let spec = Recursion {
            name: query.name.clone(),
            body,
            is_distinct: query.is_distinct,
            schema: schema.clone(),
        };
        let from = self.plan.schemas[base].clone();
        let mut columns: Vec<_> = (0..rows.fields().len()).map(|place| column(&from, place)).collect();
        columns.push(round(0));
        let base = self.map(base, None, Some(columns), schema);
        let node = Node::Recursion { base, imports: inputs, spec: Arc::new(spec) };
        let id = self.push(node, rows.clone(), retracts);
        match retracts && only_grows {
            true => Ok(self.push(Node::Consolidate(id), rows, false)),
            false => Ok(id),
        }
    }

    /// The dataflow of `next` over the round before, which `scan` reads and which can lose rows or not; and whether
    /// its own rows can be retracted.
    fn body(
        &self,
        next: &LogicalPlan,
        (scan, retracts): (&LogicalPlan, bool),
        imports: &[Import],
        schema: &SchemaRef,
        name: &str,
    ) -> Result<(Plan, bool), SqlError> {
        // What follows from a row must go with it, however old it is.
        let options = Options { retracts: self.options.retracts, horizon_ms: None };
        let mut body = Lowering::new(&options);
        let LogicalPlan::TableScan(TableScan { projection: Some(columns), .. }) = scan else {
            return Err(unread(name));
        };
        let source = Node::Source { relation: previous(name), columns: columns.clone() };
        let id = body.push(source, relaxed(scan.schema()), retracts);
        body.built.insert(scan.clone(), id);
        for (index, (plan, id)) in imports.iter().enumerate() {
            let schema = self.plan.schemas[*id].clone();
            let columns = (0..schema.fields().len()).collect();
            let source = Node::Source { relation: import(index), columns };
            let id = body.push(source, schema, self.retracts[*id]);
            body.built.insert((*plan).clone(), id);
        }
        let id = body.node(next)?;
        let from = body.plan.schemas[id].clone();
        let at = from.index_of(ROUND)?;
        let mut columns: Vec<Arc<dyn PhysicalExpr>> = (0..next.schema().fields().len())
            .filter(|place| *place != at)
            .map(|c| column(&from, c))
            .collect();
        columns.push(Arc::new(BinaryExpr::new(column(&from, at), Operator::Plus, round(1))));
        let id = body.map(id, None, Some(columns), schema.clone());
        let retracts = body.retracts[id];
        Ok((fold_joins(body.plan), retracts))
    }
}

/// A plan outside of the loop that the recursive term reads, and its node.
type Import<'a> = (&'a LogicalPlan, NodeId);

fn round(round: u32) -> Arc<dyn PhysicalExpr> {
    Arc::new(Literal::new(ScalarValue::UInt32(Some(round))))
}

/// The recursive term of the query called `name`, while it is rewritten.
struct Term<'a> {
    name: &'a str,
    /// What reads the round before, with the column of the round.
    scan: Option<LogicalPlan>,
    /// The largest parts that do not read it, aliases apart.
    inputs: Vec<LogicalPlan>,
}

impl Term<'_> {
    /// `plan`, which reads the round before, with one more column for the round.
    fn with_round(&mut self, plan: &LogicalPlan) -> Result<LogicalPlan, SqlError> {
        if plan.expressions().iter().any(uses_now) {
            return Err(SqlError::unsupported(
                "now() in a recursive term",
                "a row would come and go with time in the middle of the recursion",
                "filter what the recursive term joins in a WITH query of its own, or filter the result",
            ));
        }
        match plan {
            LogicalPlan::TableScan(scan) if self.is_previous(scan) => self.scan(scan),
            LogicalPlan::SubqueryAlias(alias) => {
                let input = Arc::new(self.with_round(&alias.input)?);
                Ok(LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(input, alias.alias.clone())?))
            }
            LogicalPlan::Projection(projection) => {
                let input = self.with_round(&projection.input)?;
                let columns = projection.expr.iter().cloned().chain([round_of(&input)]).collect();
                Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(input))?))
            }
            LogicalPlan::Filter(filter) => {
                let input = Arc::new(self.with_round(&filter.input)?);
                Ok(LogicalPlan::Filter(Filter::try_new(filter.predicate.clone(), input)?))
            }
            LogicalPlan::Distinct(Distinct::All(input)) => {
                Ok(LogicalPlan::Distinct(Distinct::All(Arc::new(self.with_round(input)?))))
            }
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.with_round(&sort.input),
            LogicalPlan::Aggregate(aggregate) if is_by_columns(aggregate) => {
                let input = self.with_round(&aggregate.input)?;
                let groups = aggregate.group_expr.iter().cloned().chain([round_of(&input)]).collect();
                let aggregates = aggregate.aggr_expr.clone();
                Ok(LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input), groups, aggregates)?))
            }
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Window(window) => self.window(window),
            LogicalPlan::Unnest(unnest) => {
                let input = LogicalPlanBuilder::from(self.with_round(&unnest.input)?);
                let (columns, options) = (unnest.exec_columns.clone(), unnest.options.clone());
                Ok(input.unnest_columns_with_options(columns, options)?.build()?)
            }
            LogicalPlan::Aggregate(_) => Err(self.refused(
                "an aggregate over all rows",
                "it gives a row even for a round without any, so that the recursion would not end",
                "group it, or aggregate the result",
            )),
            LogicalPlan::Union(_) => Err(self.refused(
                "UNION",
                "a part of it does not read the round before, so that it would give the same rows in each round",
                "put that part into the first term",
            )),
            LogicalPlan::RecursiveQuery(_) => Err(self.refused(
                "another recursive query",
                "rounds within rounds are not maintained",
                "make one of them a materialized view",
            )),
            LogicalPlan::Limit(_) | LogicalPlan::Sort(_) => Err(self.refused(
                "LIMIT",
                "the order within a round is not maintained",
                "use it on the result",
            )),
            other => Err(self.refused(
                &format!("`{}`", other.display()),
                "it has no incremental form within a recursion",
                "use it on the result",
            )),
        }
    }

    fn scan(&mut self, scan: &TableScan) -> Result<LogicalPlan, SqlError> {
        if self.scan.is_some() {
            return Err(self.repeated());
        }
        let table = scan.source.schema();
        let fields = table.fields().iter().cloned();
        let fields = fields.chain([Arc::new(Field::new(ROUND, DataType::UInt32, true))]);
        let source = LogicalTableSource::new(Arc::new(Schema::new(fields.collect::<Vec<_>>())));
        let mut columns = scan.projection.clone().unwrap_or_else(|| (0..table.fields().len()).collect());
        columns.push(table.fields().len());
        let name = scan.table_name.clone();
        let plan = LogicalPlanBuilder::scan(name, Arc::new(source), Some(columns))?.build()?;
        self.scan = Some(plan.clone());
        let mut filters = scan.filters.iter().cloned();
        Ok(filters.try_fold(LogicalPlanBuilder::from(plan), |plan, f| plan.filter(f))?.build()?)
    }

    /// Each round is partitioned by itself; the columns keep their names.
    fn window(&mut self, window: &Window) -> Result<LogicalPlan, SqlError> {
        let input = self.with_round(&window.input)?;
        let round = round_of(&input);
        let by_round = |e: Expr| {
            Ok(match e {
                Expr::WindowFunction(mut call) => {
                    call.params.partition_by.push(round.clone());
                    Transformed::yes(Expr::WindowFunction(call))
                }
                other => Transformed::no(other),
            })
        };
        let calls = window.window_expr.iter().map(|e| e.clone().transform_down(by_round).data());
        let calls = calls.collect::<DataFusionResult<Vec<_>>>()?;
        let named = calls.iter().zip(&window.window_expr).map(|(call, before)| {
            let computed = Expr::Column(Column::new_unqualified(call.schema_name().to_string()));
            computed.alias(before.schema_name().to_string())
        });
        let columns = input.schema().columns().into_iter().map(Expr::Column).chain(named).collect();
        let window = LogicalPlan::Window(Window::try_new(calls, Arc::new(input))?);
        Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(window))?))
    }

    fn join(&mut self, join: &Join) -> Result<LogicalPlan, SqlError> {
        use JoinType::{Inner, Left, LeftAnti, LeftMark, LeftSemi, Right, RightAnti, RightMark, RightSemi};
        let reads = [self.reads_previous(&join.left), self.reads_previous(&join.right)];
        let previous_is_left = match reads {
            [true, true] => return Err(self.repeated()),
            [left, _] => left,
        };
        let (left, right) = match previous_is_left {
            true => (self.with_round(&join.left)?, self.input(&join.right)),
            false => (self.input(&join.left), self.with_round(&join.right)?),
        };
        match (join.join_type, previous_is_left) {
            (Inner, _) | (Left | LeftSemi | LeftAnti | LeftMark, true) => {}
            (Right | RightSemi | RightAnti | RightMark, false) => {}
            (LeftSemi, false) if join.filter.is_none() => return self.matched(join, left, right),
            _ => {
                return Err(self.refused(
                    "a join that keeps rows without a partner",
                    "rows that do not stem from the round before would be part of every round",
                    "use an inner join",
                ));
            }
        }
        let same = join.clone();
        Ok(LogicalPlan::Join(Join::try_new(
            Arc::new(left),
            Arc::new(right),
            same.on,
            same.filter,
            same.join_type,
            same.join_constraint,
            same.null_equality,
            same.null_aware,
        )?))
    }

    /// The rows of `left` that have a partner in `right`, the round before, each once a round.
    fn matched(&self, join: &Join, left: LogicalPlan, right: LogicalPlan) -> Result<LogicalPlan, SqlError> {
        let (mut keys, mut on) = (vec![], vec![]);
        for (index, (mine, theirs)) in join.on.iter().enumerate() {
            let name = format!("$key{index}");
            keys.push(theirs.clone().alias(&name));
            on.push((mine.clone(), Expr::Column(Column::new_unqualified(name))));
        }
        keys.push(round_of(&right));
        let keys = LogicalPlanBuilder::from(right).project(keys)?.distinct()?.build()?;
        let mut columns: Vec<Expr> = left.schema().columns().into_iter().map(Expr::Column).collect();
        let pairs = LogicalPlan::Join(Join::try_new(
            Arc::new(left),
            Arc::new(keys),
            on,
            None,
            JoinType::Inner,
            join.join_constraint,
            join.null_equality,
            false,
        )?);
        columns.push(round_of(&pairs));
        Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(pairs))?))
    }

    /// `plan`, which does not read the round before, noted as such.
    fn input(&mut self, plan: &LogicalPlan) -> LogicalPlan {
        let mut bare = plan;
        while let LogicalPlan::SubqueryAlias(alias) = bare {
            bare = &alias.input;
        }
        if !self.inputs.contains(bare) {
            self.inputs.push(bare.clone());
        }
        plan.clone()
    }

    fn is_previous(&self, scan: &TableScan) -> bool {
        work_table(scan).is_some_and(|name| name == self.name)
    }

    fn reads_previous(&self, plan: &LogicalPlan) -> bool {
        match plan {
            LogicalPlan::TableScan(scan) => self.is_previous(scan),
            // There the name means another.
            LogicalPlan::RecursiveQuery(inner) if inner.name == self.name => {
                self.reads_previous(&inner.static_term)
            }
            other => other.inputs().into_iter().any(|input| self.reads_previous(input)),
        }
    }

    fn repeated(&self) -> SqlError {
        SqlError::unsupported(
            format!("\"{name}\" twice in the recursive term of \"{name}\"", name = self.name),
            "a round follows from the rows of the round before, taken once",
            "join it with a relation of its own",
        )
    }

    fn refused(&self, what: &str, why: &str, instead: &str) -> SqlError {
        let name = self.name;
        SqlError::unsupported(format!("{what} in the recursive term of \"{name}\""), why, instead)
    }
}

/// The round of the rows of `plan`.
fn round_of(plan: &LogicalPlan) -> Expr {
    let columns = plan.schema().columns().into_iter();
    let mut rounds = columns.filter(|column| column.name == ROUND);
    Expr::Column(rounds.next().unwrap_or_else(|| Column::new_unqualified(ROUND)))
}

fn is_by_columns(aggregate: &Aggregate) -> bool {
    let is_set = |e: &Expr| matches!(e, Expr::GroupingSet(_));
    !aggregate.group_expr.is_empty() && !aggregate.group_expr.iter().any(is_set)
}

fn unread(name: &str) -> SqlError {
    SqlError::unsupported(
        format!("the recursive term of \"{name}\""),
        "it does not read the round before",
        "write a UNION without RECURSIVE",
    )
}
