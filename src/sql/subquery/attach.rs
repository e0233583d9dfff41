//! Subqueries of expressions, joined to what the expressions are over.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, JoinType};
use datafusion::error::Result;
use datafusion::functions_aggregate::count::count;
use datafusion::logical_expr::expr::Exists;
use datafusion::logical_expr::{
    Aggregate, Expr, FetchType, LogicalPlan, LogicalPlanBuilder, Projection, SkipType, lit, scalar_subquery,
};

use super::dependent::{Domain, equal};
use super::shape::{is_plain_exists, is_plain_value, references};
use super::{Outer, Rewriting, is_subquery_in};
use crate::sql::functions::single_value;

/// The column that tells whether a subquery has a row.
const PRESENT: &str = "__present";
/// The column of a subquery's value.
const VALUE: &str = "__value";

impl Rewriting<'_> {
    /// `expression` over `outer` with its subqueries joined to that. Where `may_leave`, those stay that the optimizer makes
    /// joins of in a WHERE or a SELECT list.
    pub(super) fn attach(&mut self, outer: &mut Outer, expression: Expr, may_leave: bool) -> Result<Expr> {
        if !is_subquery_in(&expression) {
            return Ok(expression);
        }
        let attached = expression.transform_up(|e| {
            Ok(Transformed::yes(match e {
                Expr::ScalarSubquery(subquery) => {
                    let rows = single(&subquery.subquery)?;
                    match may_leave && is_plain_value(&rows, outer.schema()) {
                        true => scalar_subquery(Arc::new(rows)),
                        false => self.value(outer, &rows)?,
                    }
                }
                Expr::Exists(Exists { subquery, negated }) => {
                    negated_if(negated, self.exists(outer, &subquery.subquery)?)
                }
                Expr::InSubquery(_) | Expr::SetComparison(_) => {
                    let comparison = self.comparison(outer, e)?;
                    let value = comparison.value(outer.schema())?;
                    self.attach(outer, value, false)?
                }
                other => return Ok(Transformed::no(other)),
            }))
        })?;
        Ok(attached.data)
    }

    /// Leaves the rows of `outer` for which `exists` is true, or returns it, where it is to stay a condition.
    pub(super) fn exists_condition(&mut self, outer: &mut Outer, exists: Exists) -> Result<Option<Expr>> {
        let rows = without_limits(&exists.subquery.subquery)?;
        if is_plain_exists(&rows, outer.schema()) {
            return Ok(Some(Expr::Exists(exists)));
        }
        let near = references(&rows, outer.schema()).near;
        if near.is_empty() {
            return Ok(Some(negated_if(exists.negated, self.exists(outer, &rows)?)));
        }
        let domain = self.domain(outer, near)?;
        let dependent = self.dependent(&rows, &domain)?;
        let join_type = if exists.negated { JoinType::LeftAnti } else { JoinType::LeftSemi };
        join(outer, dependent.plan, join_type, &domain, &dependent.domain)?;
        Ok(None)
    }

    /// Whether `rows` has a row, for each row of `outer`.
    fn exists(&mut self, outer: &mut Outer, rows: &LogicalPlan) -> Result<Expr> {
        let rows = without_limits(rows)?;
        let near = references(&rows, outer.schema()).near;
        let name = self.name("subquery");
        let present = Expr::Column(Column::new(Some(name.clone()), PRESENT));
        if near.is_empty() {
            let counted = Aggregate::try_new(Arc::new(rows), vec![], vec![count(lit(1))])?;
            let counted = LogicalPlan::Aggregate(counted);
            let rows = Expr::Column(Column::from(counted.schema().qualified_field(0)));
            let found = LogicalPlanBuilder::from(counted).project([rows.gt(lit(0)).alias(PRESENT)])?;
            let found = found.alias(name)?.build()?;
            outer.plan = LogicalPlanBuilder::from(outer.plan.clone()).cross_join(found)?.build()?;
            return Ok(present);
        }
        let domain = self.domain(outer, near)?;
        let dependent = self.dependent(&rows, &domain)?;
        let keys = dependent.domain.iter().cloned().map(Expr::Column);
        let found = LogicalPlanBuilder::from(dependent.plan).project(keys)?.distinct()?;
        let (keys, columns) = keys_of(&name, &dependent.domain);
        let found =
            found.project(keys.into_iter().chain([lit(true).alias(PRESENT)]))?.alias(name)?.build()?;
        join(outer, found, JoinType::Left, &domain, &columns)?;
        Ok(present.is_not_null())
    }

    /// The value of the only row of `rows`, for each row of `outer`.
    fn value(&mut self, outer: &mut Outer, rows: &LogicalPlan) -> Result<Expr> {
        let near = references(rows, outer.schema()).near;
        let name = self.name("subquery");
        let found = Expr::Column(Column::new(Some(name.clone()), VALUE));
        let value = Expr::Column(Column::from(rows.schema().qualified_field(0))).alias(VALUE);
        if near.is_empty() {
            let rows = LogicalPlanBuilder::from(rows.clone()).project([value])?.alias(name)?.build()?;
            let joined = LogicalPlanBuilder::from(outer.plan.clone());
            outer.plan = joined.join_on(rows, JoinType::Left, [lit(true)])?.build()?;
            return Ok(found);
        }
        let domain = self.domain(outer, near)?;
        let dependent = self.dependent_value(rows, &domain)?;
        let (keys, columns) = keys_of(&name, &dependent.domain);
        let values = LogicalPlanBuilder::from(dependent.plan);
        let values = values.project(keys.into_iter().chain([value]))?.alias(name)?.build()?;
        join(outer, values, JoinType::Left, &domain, &columns)?;
        Ok(found)
    }

    /// The distinct values of `columns` in `outer`.
    fn domain(&mut self, outer: &Outer, columns: Vec<Column>) -> Result<Domain> {
        let is_base = columns.iter().all(|c| outer.base.schema().has_column(c));
        self.distinct_values(if is_base { &outer.base } else { &outer.plan }, columns)
    }
}

/// Joins `rows`, whose `columns` are those of `domain`, to `outer`.
fn join(
    outer: &mut Outer,
    rows: LogicalPlan,
    join_type: JoinType,
    domain: &Domain,
    columns: &[Column],
) -> Result<()> {
    let on = equal(&domain.outside, columns, outer.schema())?;
    outer.plan = LogicalPlanBuilder::from(outer.plan.clone()).join_on(rows, join_type, on)?.build()?;
    Ok(())
}

fn negated_if(is_negated: bool, expression: Expr) -> Expr {
    if is_negated { Expr::Not(Box::new(expression)) } else { expression }
}

/// `columns` as the keys of the relation `name`: what selects them, and what they are called then.
fn keys_of(name: &str, columns: &[Column]) -> (Vec<Expr>, Vec<Column>) {
    let key = |(index, column): (usize, &Column)| {
        let key = format!("__key_{index}");
        (Expr::Column(column.clone()).alias(&key), Column::new(Some(name.to_owned()), key))
    };
    columns.iter().enumerate().map(key).unzip()
}

/// `rows` of which there is at most one.
fn single(rows: &LogicalPlan) -> Result<LogicalPlan> {
    let is_one_empty = matches!(rows, LogicalPlan::EmptyRelation(_));
    if is_one_empty || rows.max_rows().is_some_and(|max| max <= 1) {
        return Ok(rows.clone());
    }
    let column = Column::from(rows.schema().qualified_field(0));
    let name = column.name.clone();
    let value = Aggregate::try_new(Arc::new(rows.clone()), vec![], vec![single_value(Expr::Column(column))])?;
    let value = LogicalPlan::Aggregate(value);
    let column = Expr::Column(Column::from(value.schema().qualified_field(0))).alias(name);
    Ok(LogicalPlan::Projection(Projection::try_new(vec![column], Arc::new(value))?))
}

/// `rows` without what changes nothing about whether there are any.
fn without_limits(rows: &LogicalPlan) -> Result<LogicalPlan> {
    Ok(match rows {
        LogicalPlan::Limit(limit) => match (limit.get_skip_type()?, limit.get_fetch_type()?) {
            (SkipType::Literal(0), FetchType::Literal(fetch)) if fetch != Some(0) => {
                without_limits(&limit.input)?
            }
            _ => rows.clone(),
        },
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => without_limits(&sort.input)?,
        other => other.clone(),
    })
}
