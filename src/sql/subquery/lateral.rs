//! LATERAL, and subqueries in ON.

use std::sync::Arc;

use datafusion::common::JoinType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    Expr, Filter, Join, LogicalPlan, LogicalPlanBuilder, Projection, SubqueryAlias,
};

use super::dependent::{Domain, equal};
use super::shape::references;
use super::{Rewriting, is_subquery_in, only};

impl Rewriting<'_> {
    /// A join, whose right side may read the columns of its left.
    pub(super) fn join(&mut self, join: Join) -> Result<LogicalPlan> {
        let schema = join.schema.clone();
        let left = lateral(&join.left)?.map_or(join.left, Arc::new);
        let join = Join { left, ..join };
        let joined = match lateral(&join.right)? {
            Some(right) => self.lateral_join(join, right)?,
            None => LogicalPlan::Join(join).recompute_schema()?,
        };
        match joined {
            // Conditions of an inner join are conditions like others.
            LogicalPlan::Join(mut join)
                if join.join_type == JoinType::Inner && join.filter.as_ref().is_some_and(is_subquery_in) =>
            {
                let Some(predicate) = join.filter.take() else { return Ok(LogicalPlan::Join(join)) };
                let filtered = self.filter(Filter::try_new(predicate, Arc::new(LogicalPlan::Join(join)))?)?;
                only(filtered, &schema)
            }
            LogicalPlan::Join(join) if join.filter.as_ref().is_some_and(depends_on_rows) => {
                Err(DataFusionError::NotImplemented(format!(
                    "a subquery in the ON of a {} join; compute it in a query of one side, and compare its column",
                    join.join_type.to_string().to_uppercase()
                )))
            }
            other => Ok(other),
        }
    }

    fn lateral_join(&mut self, join: Join, right: LogicalPlan) -> Result<LogicalPlan> {
        let schema = join.schema.clone();
        let left = self.outer(Arc::unwrap_or_clone(join.left))?.plan;
        let near = references(&right, left.schema()).near;
        let equals = join.on.iter().map(|(l, r)| l.clone().eq(r.clone()));
        let conditions: Vec<Expr> = equals.chain(join.filter).collect();
        if near.is_empty() {
            let joined = LogicalPlanBuilder::from(left).join_on(right, join.join_type, conditions)?;
            return joined.build();
        }
        if !matches!(join.join_type, JoinType::Inner | JoinType::Left) {
            return Err(DataFusionError::Plan(format!(
                "the right side of a {} join cannot be LATERAL; write it as a LEFT or an INNER join",
                join.join_type.to_string().to_uppercase()
            )));
        }
        if join.join_type == JoinType::Inner && is_made_of_columns(&right) {
            let spliced = self.spliced(&left, &right)?;
            return super::with_filter(spliced, conditions);
        }
        let domain = self.distinct_values(&left, near)?;
        let dependent = self.dependent(&right, &domain)?;
        let mut on = equal(&domain.outside, &dependent.domain, left.schema())?;
        on.extend(conditions);
        let joined = LogicalPlanBuilder::from(left).join_on(dependent.plan, join.join_type, on)?;
        only(joined.build()?, &schema)
    }

    /// The rows of `left`, each beside the rows that `right` makes of its columns alone.
    fn spliced(&mut self, left: &LogicalPlan, right: &LogicalPlan) -> Result<LogicalPlan> {
        let domain = Domain::all(left)?;
        let dependent = self.dependent(right, &domain)?;
        let names = left.schema().iter();
        let restored = names.zip(dependent.domain).map(|((qualifier, field), column)| {
            Expr::Column(column).alias_qualified(qualifier.cloned(), field.name())
        });
        let columns = restored.chain(right.schema().columns().into_iter().map(Expr::Column));
        Ok(LogicalPlan::Projection(Projection::try_new(columns.collect(), Arc::new(dependent.plan))?))
    }
}

/// `node` with LATERAL dropped from its inputs: what stands alone or first in FROM can read columns further out alone.
pub(super) fn unwrap_inputs(node: LogicalPlan) -> Result<LogicalPlan> {
    let unwrapped = node.map_children(|input| {
        Ok(match lateral(&input)? {
            Some(plain) => Transformed::yes(plain),
            None => Transformed::no(input),
        })
    })?;
    Ok(unwrapped.data)
}

/// What `relation` is if it is LATERAL.
fn lateral(relation: &LogicalPlan) -> Result<Option<LogicalPlan>> {
    Ok(match relation {
        LogicalPlan::Subquery(subquery) => Some(subquery.subquery.as_ref().clone()),
        LogicalPlan::SubqueryAlias(alias) => match alias.input.as_ref() {
            LogicalPlan::Subquery(subquery) => {
                let alias = SubqueryAlias::try_new(subquery.subquery.clone(), alias.alias.clone())?;
                Some(LogicalPlan::SubqueryAlias(alias))
            }
            _ => None,
        },
        _ => None,
    })
}

/// Whether `plan` reads no relation and looks at one row at a time.
fn is_made_of_columns(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::EmptyRelation(empty) => empty.produce_one_row,
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Unnest(_)
        | LogicalPlan::SubqueryAlias(_) => plan.inputs().into_iter().all(is_made_of_columns),
        _ => false,
    }
}

/// Whether a subquery in `expression` is more than one value, the same for all rows.
fn depends_on_rows(expression: &Expr) -> bool {
    let is_other = |e: &Expr| match e {
        Expr::ScalarSubquery(subquery) => !subquery.outer_ref_columns.is_empty(),
        Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_) => true,
        _ => false,
    };
    expression.exists(|e| Ok(is_other(e))).unwrap_or(true)
}
