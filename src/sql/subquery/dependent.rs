//! A subquery evaluated for many rows outside at once.
//!
//! For a subquery S that reads columns of the query around it, D is the distinct values of these. S is rewritten, from its
//! root down, to give the rows of S for each row of D, with the columns of D beside them: a filter filters, an aggregation
//! groups by D too, a limit counts within D, and what reads nothing outside is crossed with D, which the optimizer makes a
//! join on the filters above. (T. Neumann, A. Kemper: Unnesting Arbitrary Queries, 2015.)

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ExprSchema, JoinType, ScalarValue};
use datafusion::error::{DataFusionError, Result};
use datafusion::functions_window::row_number::row_number;
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunctionParams};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Distinct, DistinctOn, Expr, ExprFunctionExt, FetchType, Join, Limit, LogicalPlan,
    LogicalPlanBuilder, Operator, Projection, SkipType, SortExpr, SubqueryAlias, Union, Window, lit, when,
};

use super::shape::for_each_reference;
use super::{Rewriting, with_filter};
use crate::sql::error::SqlError;

/// The most nodes of plans that are computed a second time for subqueries of one statement.
const COPIED_NODES_MAX: usize = 10_000;

/// The values outside that a subquery is evaluated for.
pub(super) struct Domain {
    /// The columns outside that they are of.
    pub outside: Vec<Column>,
    /// The values: a column for each of `outside`.
    values: LogicalPlan,
}

/// A subquery's rows for each row of a domain.
pub(super) struct Dependent {
    /// The columns of the subquery and, among others, those of the domain.
    pub plan: LogicalPlan,
    /// The columns of the domain.
    pub domain: Vec<Column>,
}

impl Domain {
    /// All columns of `rows`, each row as often as it is there.
    pub fn all(rows: &LogicalPlan) -> Result<Self> {
        Domain::of(rows, rows.schema().columns())
    }

    fn of(rows: &LogicalPlan, outside: Vec<Column>) -> Result<Self> {
        let named =
            outside.iter().enumerate().map(|(i, c)| Expr::Column(c.clone()).alias(format!("__outer_{i}")));
        let values = Projection::try_new(named.collect(), Arc::new(rows.clone()))?;
        Ok(Domain { values: LogicalPlan::Projection(values), outside })
    }

    fn is_read_by(&self, plan: &LogicalPlan) -> bool {
        let mut is_found = false;
        for_each_reference(plan, &mut |column| is_found |= self.outside.contains(column));
        is_found
    }

    fn is_read_in(&self, expression: &Expr) -> bool {
        let is_it = |e: &Expr| matches!(e, Expr::OuterReferenceColumn(_, c) if self.outside.contains(c));
        expression.exists(|e| Ok(is_it(e))).unwrap_or(false)
    }

    /// `expression` with the columns `inside` in place of those outside.
    fn inside(&self, expression: Expr, inside: &[Column]) -> Result<Expr> {
        let replaced = expression.transform_up(|e| match &e {
            Expr::OuterReferenceColumn(_, column) => match self.outside.iter().position(|c| c == column) {
                Some(index) => Ok(Transformed::yes(Expr::Column(inside[index].clone()))),
                None => Ok(Transformed::no(e)),
            },
            _ => Ok(Transformed::no(e)),
        })?;
        Ok(replaced.data)
    }
}

/// That `columns`, of which those of `schema` may be null, are pairwise the same, null being the same as null.
pub(super) fn equal(columns: &[Column], others: &[Column], schema: &DFSchema) -> Result<Vec<Expr>> {
    let mut is_nullable = false;
    for column in columns {
        is_nullable |= schema.field_from_column(column)?.is_nullable();
    }
    Ok(same(columns, others, is_nullable))
}

fn same(columns: &[Column], others: &[Column], is_nullable: bool) -> Vec<Expr> {
    let op = if is_nullable { Operator::IsNotDistinctFrom } else { Operator::Eq };
    let same = |(a, b): (&Column, &Column)| {
        let (left, right) = (Box::new(Expr::Column(a.clone())), Box::new(Expr::Column(b.clone())));
        Expr::BinaryExpr(BinaryExpr { left, op, right })
    };
    columns.iter().zip(others).map(same).collect()
}

impl Rewriting<'_> {
    /// The distinct values of `columns` in `rows`, computed a second time.
    pub(super) fn distinct_values(&mut self, rows: &LogicalPlan, columns: Vec<Column>) -> Result<Domain> {
        let mut is_volatile = false;
        rows.apply_with_subqueries(|node| {
            self.copied_nodes += 1;
            node.apply_expressions(|e| {
                is_volatile |= e.is_volatile();
                Ok(TreeNodeRecursion::Continue)
            })?;
            Ok(if self.copied_nodes > COPIED_NODES_MAX {
                TreeNodeRecursion::Stop
            } else {
                TreeNodeRecursion::Continue
            })
        })?;
        if self.copied_nodes > COPIED_NODES_MAX {
            return Err(DataFusionError::External(Box::new(SqlError::Limit {
                what: "with its subqueries as joins, the query has more parts than",
                limit: COPIED_NODES_MAX.to_string(),
                hint: "make one of the queries that it reads a materialized view",
            })));
        }
        if is_volatile {
            return Err(DataFusionError::Plan(
                "a subquery that reads random values outside has no one answer; read them from a table"
                    .to_owned(),
            ));
        }
        let Domain { outside, values } = Domain::of(rows, columns)?;
        Ok(Domain { outside, values: LogicalPlan::Distinct(Distinct::All(Arc::new(values))) })
    }

    /// `plan` for each row of `domain`.
    pub(super) fn dependent(&mut self, plan: &LogicalPlan, domain: &Domain) -> Result<Dependent> {
        if !domain.is_read_by(plan) {
            return self.crossed(plan, domain);
        }
        match plan {
            LogicalPlan::Projection(projection) => {
                let input = self.dependent(&projection.input, domain)?;
                let columns = inside_all(&projection.expr, plan, domain, &input.domain)?;
                let columns = columns.into_iter().chain(input.domain.iter().cloned().map(Expr::Column));
                let projected = Projection::try_new(columns.collect(), Arc::new(input.plan))?;
                Ok(Dependent { plan: LogicalPlan::Projection(projected), domain: input.domain })
            }
            LogicalPlan::Filter(filter) => {
                let input = self.dependent(&filter.input, domain)?;
                let predicate = domain.inside(filter.predicate.clone(), &input.domain)?;
                Ok(Dependent { plan: with_filter(input.plan, vec![predicate])?, ..input })
            }
            LogicalPlan::SubqueryAlias(alias) => self.dependent_alias(alias, domain),
            LogicalPlan::Aggregate(aggregate) if aggregate.group_expr.is_empty() => {
                self.dependent_total(aggregate, domain, true)
            }
            LogicalPlan::Aggregate(aggregate) => self.dependent_groups(aggregate, domain),
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let schema = input.schema().clone();
                let input = self.dependent(input, domain)?;
                let columns =
                    schema.columns().into_iter().chain(input.domain.iter().cloned()).map(Expr::Column);
                let rows = Projection::try_new(columns.collect(), Arc::new(input.plan))?;
                let distinct = Distinct::All(Arc::new(LogicalPlan::Projection(rows)));
                Ok(Dependent { plan: LogicalPlan::Distinct(distinct), ..input })
            }
            LogicalPlan::Distinct(Distinct::On(first)) => self.dependent_firsts(first, domain),
            // Rows have no order but for a limit.
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.dependent(&sort.input, domain),
            LogicalPlan::Limit(limit) => self.dependent_limit(limit, domain),
            LogicalPlan::Window(window) => self.dependent_window(window, domain),
            LogicalPlan::Join(join) => self.dependent_join(join, domain),
            LogicalPlan::Union(union) => self.dependent_union(union, domain),
            LogicalPlan::Unnest(unnest) => {
                let input = self.dependent(&unnest.input, domain)?;
                let (columns, options) = (unnest.exec_columns.clone(), unnest.options.clone());
                let plan =
                    LogicalPlanBuilder::from(input.plan).unnest_columns_with_options(columns, options)?;
                Ok(Dependent { plan: plan.build()?, domain: input.domain })
            }
            other => Err(DataFusionError::NotImplemented(format!(
                "a subquery that reads columns outside inside `{}`; join what it reads instead",
                other.display()
            ))),
        }
    }

    /// The value of `plan`, which has one row for each row of `domain` or, where it is null, none.
    pub(super) fn dependent_value(&mut self, plan: &LogicalPlan, domain: &Domain) -> Result<Dependent> {
        match plan {
            LogicalPlan::Projection(projection)
                if projection.expr.iter().all(|e| matches!(unaliased(e), Expr::Column(_))) =>
            {
                let input = self.dependent_value(&projection.input, domain)?;
                let columns = projection.expr.iter().cloned();
                let columns = columns.chain(input.domain.iter().cloned().map(Expr::Column)).collect();
                let projected = Projection::try_new(columns, Arc::new(input.plan))?;
                Ok(Dependent { plan: LogicalPlan::Projection(projected), domain: input.domain })
            }
            LogicalPlan::Aggregate(aggregate)
                if aggregate.group_expr.is_empty()
                    && domain.is_read_by(plan)
                    && defaults(aggregate)?.is_empty() =>
            {
                self.dependent_total(aggregate, domain, false)
            }
            other => self.dependent(other, domain),
        }
    }

    /// A new copy of the domain's values.
    fn instance(&mut self, domain: &Domain) -> Result<Dependent> {
        let name = self.name("domain");
        let column = |index| Column::new(Some(name.clone()), format!("__outer_{index}"));
        let columns = (0..domain.outside.len()).map(column).collect();
        let alias = SubqueryAlias::try_new(Arc::new(domain.values.clone()), name.clone())?;
        Ok(Dependent { plan: LogicalPlan::SubqueryAlias(alias), domain: columns })
    }

    /// `plan`, which reads nothing of `domain`, beside each row of it.
    fn crossed(&mut self, plan: &LogicalPlan, domain: &Domain) -> Result<Dependent> {
        let instance = self.instance(domain)?;
        if matches!(plan, LogicalPlan::EmptyRelation(empty) if empty.produce_one_row) {
            return Ok(instance);
        }
        let plan = LogicalPlanBuilder::from(instance.plan).cross_join(plan.clone())?.build()?;
        Ok(Dependent { plan, domain: instance.domain })
    }

    fn dependent_alias(&mut self, alias: &SubqueryAlias, domain: &Domain) -> Result<Dependent> {
        let input = self.dependent(&alias.input, domain)?;
        let columns = alias.input.schema().columns().into_iter().zip(alias.schema.fields());
        let columns = columns.map(|(column, field)| {
            Expr::Column(column).alias_qualified(Some(alias.alias.clone()), field.name())
        });
        let columns = columns.chain(input.domain.iter().cloned().map(Expr::Column)).collect();
        let plan = LogicalPlan::Projection(Projection::try_new(columns, Arc::new(input.plan))?);
        Ok(Dependent { plan, domain: input.domain })
    }

    fn dependent_groups(&mut self, aggregate: &Aggregate, domain: &Domain) -> Result<Dependent> {
        if aggregate.group_expr.iter().any(|e| matches!(e, Expr::GroupingSet(_))) {
            return Err(DataFusionError::NotImplemented(
                "grouping sets in a subquery that reads columns outside; write a UNION ALL of one GROUP BY each".to_owned(),
            ));
        }
        let plan = LogicalPlan::Aggregate(aggregate.clone());
        let input = self.dependent(&aggregate.input, domain)?;
        let mut groups = inside_all(&aggregate.group_expr, &plan, domain, &input.domain)?;
        groups.extend(input.domain.iter().cloned().map(Expr::Column));
        let aggregates = inside_all(&aggregate.aggr_expr, &plan, domain, &input.domain)?;
        let grouped = Aggregate::try_new(Arc::new(input.plan), groups, aggregates)?;
        Ok(Dependent { plan: LogicalPlan::Aggregate(grouped), domain: input.domain })
    }

    /// The aggregates over everything: also, if `for_all`, for the rows of `domain` that nothing is there for.
    fn dependent_total(
        &mut self,
        aggregate: &Aggregate,
        domain: &Domain,
        for_all: bool,
    ) -> Result<Dependent> {
        let grouped = self.dependent_groups(aggregate, domain)?;
        if !for_all {
            return Ok(grouped);
        }
        let present = self.name("present");
        let columns: Vec<Column> = aggregate.schema.columns();
        let found = columns.iter().chain(&grouped.domain).cloned().map(Expr::Column);
        let found = found.chain([lit(true).alias(&present)]).collect();
        let found = LogicalPlan::Projection(Projection::try_new(found, Arc::new(grouped.plan))?);
        let instance = self.instance(domain)?;
        let on = same(&instance.domain, &grouped.domain, true);
        let joined = LogicalPlanBuilder::from(instance.plan).join_on(found, JoinType::Left, on)?.build()?;
        let defaults = defaults(aggregate)?;
        let totals = columns.into_iter().enumerate().map(|(index, column)| {
            let Some((_, default)) = defaults.iter().find(|(i, _)| *i == index) else {
                return Ok(Expr::Column(column));
            };
            let is_absent = Expr::Column(Column::new_unqualified(present.clone())).is_null();
            let name = column.name.clone();
            Ok(when(is_absent, lit(default.clone())).otherwise(Expr::Column(column))?.alias(name))
        });
        let mut totals = totals.collect::<Result<Vec<_>>>()?;
        totals.extend(instance.domain.iter().cloned().map(Expr::Column));
        let plan = LogicalPlan::Projection(Projection::try_new(totals, Arc::new(joined))?);
        Ok(Dependent { plan, domain: instance.domain })
    }

    fn dependent_firsts(&mut self, first: &DistinctOn, domain: &Domain) -> Result<Dependent> {
        let plan = LogicalPlan::Distinct(Distinct::On(first.clone()));
        let input = self.dependent(&first.input, domain)?;
        let columns = || input.domain.iter().cloned().map(Expr::Column);
        let mut keys = inside_all(&first.on_expr, &plan, domain, &input.domain)?;
        let mut select = inside_all(&first.select_expr, &plan, domain, &input.domain)?;
        keys.extend(columns());
        select.extend(columns());
        let mut order: Vec<SortExpr> = columns().map(|c| c.sort(true, false)).collect();
        for sort in first.sort_expr.iter().flatten() {
            order.push(SortExpr { expr: domain.inside(sort.expr.clone(), &input.domain)?, ..sort.clone() });
        }
        // The order begins with the keys, in any order among themselves.
        let (leading, rest): (Vec<_>, Vec<_>) = order.into_iter().partition(|s| keys.contains(&s.expr));
        let order = leading.into_iter().chain(rest).collect();
        let firsts = DistinctOn::try_new(keys, select, Some(order), Arc::new(input.plan))?;
        Ok(Dependent { plan: LogicalPlan::Distinct(Distinct::On(firsts)), domain: input.domain })
    }

    /// The first rows for each row of `domain`.
    fn dependent_limit(&mut self, limit: &Limit, domain: &Domain) -> Result<Dependent> {
        let schema = limit.input.schema().clone();
        let (SkipType::Literal(skip), FetchType::Literal(fetch)) =
            (limit.get_skip_type()?, limit.get_fetch_type()?)
        else {
            return Err(DataFusionError::NotImplemented(
                "LIMIT that is no constant, in a subquery that reads columns outside; write a number"
                    .to_owned(),
            ));
        };
        // A projection above the order changes nothing about which rows are the first.
        if let LogicalPlan::Projection(projection) = limit.input.as_ref() {
            let below = Limit { input: projection.input.clone(), ..limit.clone() };
            let below = Arc::new(LogicalPlan::Limit(below));
            let projection = Projection::try_new(projection.expr.clone(), below)?;
            return self.dependent(&LogicalPlan::Projection(projection), domain);
        }
        let (order, rows) = match limit.input.as_ref() {
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => (sort.expr.as_slice(), &sort.input),
            _ => (&[][..], &limit.input),
        };
        let input = self.dependent(rows, domain)?;
        let order = order.iter().map(|sort| {
            Ok(SortExpr { expr: domain.inside(sort.expr.clone(), &input.domain)?, ..sort.clone() })
        });
        let keys = input.domain.iter().cloned().map(Expr::Column).collect();
        let place = row_number().partition_by(keys).order_by(order.collect::<Result<_>>()?).build()?;
        let placed = LogicalPlan::Window(Window::try_new(vec![place], Arc::new(input.plan))?);
        let last = placed.schema().fields().len() - 1;
        let place = Expr::Column(Column::from(placed.schema().qualified_field(last)));
        let mut conditions = vec![];
        if skip > 0 {
            conditions.push(place.clone().gt(lit(skip as u64)));
        }
        if let Some(fetch) = fetch {
            conditions.push(place.lt_eq(lit(skip.saturating_add(fetch) as u64)));
        }
        let first = with_filter(placed, conditions)?;
        let columns = schema.columns().into_iter().chain(input.domain.iter().cloned()).map(Expr::Column);
        let plan = LogicalPlan::Projection(Projection::try_new(columns.collect(), Arc::new(first))?);
        Ok(Dependent { plan, domain: input.domain })
    }

    fn dependent_window(&mut self, window: &Window, domain: &Domain) -> Result<Dependent> {
        let plan = LogicalPlan::Window(window.clone());
        let input = self.dependent(&window.input, domain)?;
        let keys = || input.domain.iter().cloned().map(Expr::Column);
        let names = NamePreserver::new(&plan);
        let expressions = window.window_expr.iter().map(|expression| {
            let name = names.save(expression);
            let within = domain.inside(expression.clone(), &input.domain)?.transform_up(|e| match e {
                Expr::WindowFunction(mut function) => {
                    let WindowFunctionParams { partition_by, .. } = &mut function.params;
                    partition_by.extend(keys());
                    Ok(Transformed::yes(Expr::WindowFunction(function)))
                }
                other => Ok(Transformed::no(other)),
            })?;
            Ok(name.restore(within.data))
        });
        let expressions = expressions.collect::<Result<Vec<_>>>()?;
        let window = Window::try_new(expressions, Arc::new(input.plan))?;
        Ok(Dependent { plan: LogicalPlan::Window(window), domain: input.domain })
    }

    fn dependent_join(&mut self, join: &Join, domain: &Domain) -> Result<Dependent> {
        use JoinType::*;
        let (left, right) = (domain.is_read_by(&join.left), domain.is_read_by(&join.right));
        // A side whose rows stand alone needs the domain too.
        let (on_left, on_right) = match join.join_type {
            Inner => (left || !right, right),
            Left | LeftSemi | LeftAnti | LeftMark => (true, right),
            Right | RightSemi | RightAnti | RightMark => (left, true),
            Full => (true, true),
        };
        let mut side = |plan: &LogicalPlan, depends: bool| match depends {
            true => self.dependent(plan, domain),
            false => Ok(Dependent { plan: plan.clone(), domain: vec![] }),
        };
        let (left, right) = (side(&join.left, on_left)?, side(&join.right, on_right)?);
        let inside = if on_left { &left.domain } else { &right.domain };
        let mut filter = join.filter.clone().map(|f| domain.inside(f, inside)).transpose()?;
        for equal in same(&left.domain, &right.domain, true) {
            filter = Some(filter.map_or(equal.clone(), |f| f.and(equal)));
        }
        if join.on.iter().any(|(l, r)| domain.is_read_in(l) || domain.is_read_in(r)) {
            return Err(DataFusionError::Internal("a join's key reads columns outside".to_owned()));
        }
        let joined = LogicalPlan::Join(Join::try_new(
            Arc::new(left.plan),
            Arc::new(right.plan),
            join.on.clone(),
            filter,
            join.join_type,
            join.join_constraint,
            join.null_equality,
            join.null_aware,
        )?);
        match join.join_type {
            Full => self.either(joined, &join.schema, [&left.domain, &right.domain]),
            Right | RightSemi | RightAnti | RightMark => Ok(Dependent { plan: joined, domain: right.domain }),
            _ if on_left => Ok(Dependent { plan: joined, domain: left.domain }),
            _ => Ok(Dependent { plan: joined, domain: right.domain }),
        }
    }

    /// The rows of a full join, with the domain's columns of whichever side is there.
    fn either(&mut self, joined: LogicalPlan, schema: &DFSchema, sides: [&[Column]; 2]) -> Result<Dependent> {
        let name = self.name("either");
        let own = schema.columns().into_iter().map(Expr::Column);
        let keys = sides[0].iter().zip(sides[1]).enumerate().map(|(index, (left, right))| {
            let (left, right) = (Expr::Column(left.clone()), Expr::Column(right.clone()));
            let present = when(left.clone().is_not_null(), left).otherwise(right)?;
            Ok(present.alias(format!("{name}_{index}")))
        });
        let columns = own.map(Ok).chain(keys).collect::<Result<Vec<_>>>()?;
        let plan = LogicalPlan::Projection(Projection::try_new(columns, Arc::new(joined))?);
        let key = |index| Column::new_unqualified(format!("{name}_{index}"));
        Ok(Dependent { plan, domain: (0..sides[0].len()).map(key).collect() })
    }

    fn dependent_union(&mut self, union: &Union, domain: &Domain) -> Result<Dependent> {
        let name = self.name("union");
        let names: Vec<String> = (0..domain.outside.len()).map(|i| format!("{name}_{i}")).collect();
        let inputs = union.inputs.iter().map(|input| {
            let columns = input.schema().columns();
            let dependent = self.dependent(input, domain)?;
            let keys =
                dependent.domain.iter().zip(&names).map(|(c, name)| Expr::Column(c.clone()).alias(name));
            let columns = columns.into_iter().map(Expr::Column).chain(keys).collect();
            Ok(Arc::new(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(dependent.plan))?)))
        });
        let all = LogicalPlan::Union(Union::try_new_with_loose_types(inputs.collect::<Result<_>>()?)?);
        let columns = all.schema().columns();
        let (own, keys) = columns.split_at(union.schema.fields().len());
        let own = own.iter().zip(union.schema.iter()).map(|(column, (qualifier, field))| {
            let is_same = column.relation.as_ref() == qualifier && column.name == *field.name();
            let column = Expr::Column(column.clone());
            if is_same { column } else { column.alias_qualified(qualifier.cloned(), field.name()) }
        });
        let columns = own.chain(keys.iter().cloned().map(Expr::Column)).collect();
        let keys = keys.to_vec();
        let plan = LogicalPlan::Projection(Projection::try_new(columns, Arc::new(all))?);
        Ok(Dependent { plan, domain: keys })
    }
}

/// `expressions` of `plan` with the columns `inside` in place of those outside, under the names they had.
fn inside_all(
    expressions: &[Expr],
    plan: &LogicalPlan,
    domain: &Domain,
    inside: &[Column],
) -> Result<Vec<Expr>> {
    let names = NamePreserver::new(plan);
    let replaced = expressions.iter().map(|e| {
        let name = names.save(e);
        Ok(name.restore(domain.inside(e.clone(), inside)?))
    });
    replaced.collect()
}

/// What the aggregates of `aggregate` are over no rows, by their place, where that is not null.
fn defaults(aggregate: &Aggregate) -> Result<Vec<(usize, ScalarValue)>> {
    let mut defaults = vec![];
    for (index, expression) in aggregate.aggr_expr.iter().enumerate() {
        let Expr::AggregateFunction(AggregateFunction { func, .. }) = unaliased(expression) else { continue };
        let place = aggregate.group_expr.len() + index;
        let value = func.default_value(aggregate.schema.field(place).data_type())?;
        if !value.is_null() {
            defaults.push((place, value));
        }
    }
    Ok(defaults)
}

fn unaliased(expression: &Expr) -> &Expr {
    match expression {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}
