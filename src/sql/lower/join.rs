//! Joins.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::{JoinType, NullEquality};
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, ExprSchemable, Join, LogicalPlan};

use super::{Lowering, cast_to, column, relaxed, uses_now};
use crate::delta::join::{JoinSpec, Unpaired};
use crate::delta::plan::{Node, NodeId};
use crate::sql::error::SqlError;

impl Lowering<'_> {
    pub(super) fn join(&mut self, query: &Join, schema: SchemaRef) -> Result<NodeId, SqlError> {
        if query.null_aware {
            return Err(SqlError::unsupported(
                "NOT IN over a subquery with nulls",
                "one null on the right empties the whole result",
                "use NOT EXISTS",
            ));
        }
        let (pairs, unpaired) = kind(query.join_type);
        let on = query.on.iter().map(|pair| of_one_type(query, pair)).collect::<Result<Vec<_>, _>>()?;
        let (left, left_keys) = self.keyed(&query.left, on.iter().map(|(l, _)| l))?;
        let (right, right_keys) = self.keyed(&query.right, on.iter().map(|(_, r)| r))?;
        let conditions = query.filter.iter().flat_map(|filter| split_conjunction_owned(filter.clone()));
        let (temporal, plain): (Vec<_>, Vec<_>) = conditions.partition(uses_now);
        if !temporal.is_empty() && query.join_type != JoinType::Inner {
            return Err(now_in_join());
        }
        let plain = conjunction(plain);
        let condition = plain.map(|filter| self.condition(query, &filter, [left, right])).transpose()?;
        let inputs = [self.plan.schemas[left].clone(), self.plan.schemas[right].clone()];
        let retracts = [self.retracts[left], self.retracts[right]];
        // Pairs and matches only come while rows do; a row without a pair may yet find one.
        let gives_up = unpaired.iter().any(|u| !matches!(u, Unpaired::Dropped | Unpaired::IfMatched));
        let kept = result_columns(query, &inputs);
        let joined = joined_schema(&inputs, pairs, unpaired);
        let spec = JoinSpec {
            keys: [left_keys, right_keys],
            null_equals_null: query.null_equality == NullEquality::NullEqualsNull,
            condition,
            pairs,
            unpaired,
            inputs,
            schema: joined.clone(),
            // Kept for ever: what is there from the start is not older than what comes later.
            retracts: [left, right].map(|side| self.retracts[side] || self.is_constant(side)),
            horizon_ms: self.options.horizon_ms,
        };
        let output_retracts = retracts[0] || retracts[1] || gives_up;
        let mut id = self.push(Node::Join { left, right, spec }, joined.clone(), output_retracts);
        if joined.fields().len() != schema.fields().len() {
            let columns = kept.iter().map(|place| column(&joined, *place)).collect();
            id = self.map(id, None, Some(columns), schema);
        }
        match conjunction(temporal) {
            Some(temporal) => self.filter(id, &query.schema, temporal),
            None => Ok(id),
        }
    }

    /// The node of `query` and the columns that hold `keys`: keys that are no columns are added at the
    /// end.
    fn keyed<'a>(
        &mut self,
        query: &LogicalPlan,
        keys: impl Iterator<Item = &'a Expr>,
    ) -> Result<(NodeId, Vec<usize>), SqlError> {
        let id = self.node(query)?;
        let from = query.schema();
        let schema = relaxed(from);
        let mut fields = schema.fields().to_vec();
        let mut columns = (0..fields.len()).map(|i| column(&schema, i)).collect::<Vec<_>>();
        let mut places = vec![];
        for key in keys {
            if let Expr::Column(name) = key {
                places.push(from.index_of_column(name)?);
                continue;
            }
            places.push(fields.len());
            fields.push(Arc::new(Field::new(format!("key:{key}"), key.get_type(from)?, true)));
            columns.push(self.physical(key, from)?);
        }
        if fields.len() == schema.fields().len() {
            return Ok((id, places));
        }
        let keyed = self.map(id, None, Some(columns), Arc::new(Schema::new(fields)));
        Ok((keyed, places))
    }

    /// `filter` over the columns of both inputs, added keys included.
    fn condition(
        &mut self,
        query: &Join,
        filter: &Expr,
        inputs: [NodeId; 2],
    ) -> Result<Arc<dyn datafusion::physical_expr::PhysicalExpr>, SqlError> {
        use datafusion::common::DFSchema;
        let mut fields = vec![];
        for (input, plan) in inputs.into_iter().zip([&query.left, &query.right]) {
            let added = self.plan.schemas[input].fields()[plan.schema().fields().len()..].iter();
            fields.extend(plan.schema().iter().map(|(q, f)| (q.cloned(), f.clone())));
            fields.extend(added.enumerate().map(|(i, f)| {
                let name = format!("{input}/{i}/{}", f.name());
                (None, Arc::new(f.as_ref().clone().with_name(name)))
            }));
        }
        let both = DFSchema::new_with_metadata(fields, Default::default())?;
        self.physical(filter, &both)
    }
}

/// A pair of keys as values of one type: the optimizer leaves some pairs apart, as a date beside a timestamp, and equal
/// keys are found by their bits.
fn of_one_type(query: &Join, (left, right): &(Expr, Expr)) -> Result<(Expr, Expr), SqlError> {
    let types = [left.get_type(query.left.schema())?, right.get_type(query.right.schema())?];
    if types[0] == types[1] {
        return Ok((left.clone(), right.clone()));
    }
    let common = comparison_coercion(&types[0], &types[1]).ok_or_else(|| {
        SqlError::unsupported(
            format!("`{left} = {right}`"),
            format!("{} and {} have no common type", types[0], types[1]),
            "cast one of them to the type of the other",
        )
    })?;
    let left = cast_to(left.clone(), query.left.schema(), &common)?;
    Ok((left, cast_to(right.clone(), query.right.schema(), &common)?))
}

fn kind(join_type: JoinType) -> (bool, [Unpaired; 2]) {
    use Unpaired::*;
    match join_type {
        JoinType::Inner => (true, [Dropped, Dropped]),
        JoinType::Left => (true, [Padded, Dropped]),
        JoinType::Right => (true, [Dropped, Padded]),
        JoinType::Full => (true, [Padded, Padded]),
        JoinType::LeftSemi => (false, [IfMatched, Dropped]),
        JoinType::RightSemi => (false, [Dropped, IfMatched]),
        JoinType::LeftAnti => (false, [IfUnmatched, Dropped]),
        JoinType::RightAnti => (false, [Dropped, IfUnmatched]),
        JoinType::LeftMark => (false, [Marked, Dropped]),
        JoinType::RightMark => (false, [Dropped, Marked]),
    }
}

/// Where the columns of the query's result stand in the operator's, which has added keys too.
fn result_columns(query: &Join, inputs: &[SchemaRef; 2]) -> Vec<usize> {
    let (left, right) = (query.left.schema().fields().len(), query.right.schema().fields().len());
    let all_left = inputs[0].fields().len();
    match query.join_type {
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full => {
            (0..left).chain(all_left..all_left + right).collect()
        }
        JoinType::LeftSemi | JoinType::LeftAnti => (0..left).collect(),
        JoinType::RightSemi | JoinType::RightAnti => (0..right).collect(),
        JoinType::LeftMark => (0..left).chain([all_left]).collect(),
        JoinType::RightMark => (0..right).chain([inputs[1].fields().len()]).collect(),
    }
}

/// The schema of the operator's result.
fn joined_schema(inputs: &[SchemaRef; 2], pairs: bool, unpaired: [Unpaired; 2]) -> SchemaRef {
    let mut fields = vec![];
    for side in 0..2 {
        if pairs || unpaired[side] != Unpaired::Dropped {
            fields.extend(inputs[side].fields().iter().cloned());
        }
    }
    if unpaired.contains(&Unpaired::Marked) {
        fields.push(Arc::new(Field::new("mark", arrow::datatypes::DataType::Boolean, true)));
    }
    Arc::new(Schema::new(fields))
}

fn now_in_join() -> SqlError {
    SqlError::unsupported(
        "now() in the condition of an outer join",
        "a pair would come and go with time, and so would the row without one",
        "filter one input by now() before the join",
    )
}
