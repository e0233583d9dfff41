//! Which parts of two plans compute the same.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;

use super::aggregate::GroupBySpec;
use super::expression::RowMap;
use super::join::JoinSpec;
use super::join::multi::MultiJoinSpec;
use super::plan::{Node, NodeId, Plan};
use super::top_k::TopKSpec;

/// The nodes that `node` of `plan` is computed from, itself among them, each beside the node of `other` that
/// computes the same; `None` unless `node` is the same collection as `of` of `other`, by the same steps over the same
/// relations. Names of columns do not count, what they hold does.
///
/// What it does not know to be the same it takes for different: that costs work and is never wrong.
pub fn equal(plan: &Plan, node: NodeId, other: &Plan, of: NodeId) -> Option<Vec<(NodeId, NodeId)>> {
    let mut pairs = vec![];
    let mut waiting = vec![(node, of)];
    while let Some((left, right)) = waiting.pop() {
        if pairs.contains(&(left, right)) {
            continue;
        }
        if !same_types(&plan.schemas[left], &other.schemas[right])
            || !same_step(&plan.nodes[left], &other.nodes[right])
        {
            return None;
        }
        pairs.push((left, right));
        let (left, right) = (Plan::inputs(&plan.nodes[left]), Plan::inputs(&other.nodes[right]));
        if left.len() != right.len() {
            return None;
        }
        waiting.extend(left.into_iter().zip(right));
    }
    Some(pairs)
}

/// Whether two nodes do the same with their inputs.
fn same_step(left: &Node, right: &Node) -> bool {
    match (left, right) {
        (Node::Source { relation: a, columns: x }, Node::Source { relation: b, columns: y }) => {
            a == b && x == y
        }
        (Node::Constant(a), Node::Constant(b)) => a == b,
        (Node::Map { map: a, .. }, Node::Map { map: b, .. }) => same_map(a, b),
        (Node::Union(_), Node::Union(_))
        | (Node::Negate(_), Node::Negate(_))
        | (Node::Consolidate(_), Node::Consolidate(_)) => true,
        (
            Node::Distinct { retracts: a, horizon_ms: x, .. },
            Node::Distinct { retracts: b, horizon_ms: y, .. },
        ) => a == b && x == y,
        (Node::Aggregate { spec: a, .. }, Node::Aggregate { spec: b, .. }) => same_groups(a, b),
        (Node::Join { spec: a, .. }, Node::Join { spec: b, .. }) => same_join(a, b),
        (Node::MultiJoin { spec: a, .. }, Node::MultiJoin { spec: b, .. }) => same_multi_join(a, b),
        (
            Node::TemporalFilter { condition: a, columns: x, .. },
            Node::TemporalFilter { condition: b, columns: y, .. },
        ) => a == b && x == y,
        (Node::Single { spec: a, .. }, Node::Single { spec: b, .. }) => {
            a.key_columns == b.key_columns && same_types(&a.schema, &b.schema)
        }
        (Node::TopK { spec: a, .. }, Node::TopK { spec: b, .. }) => same_top(a, b),
        // Of the others it is not known.
        _ => false,
    }
}

fn same_map(left: &RowMap, right: &RowMap) -> bool {
    let projections = match (&left.projection, &right.projection) {
        (None, None) => true,
        (Some(a), Some(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_expression(a, b)),
        _ => false,
    };
    projections && same_condition(left.predicate.as_ref(), right.predicate.as_ref())
}

fn same_groups(left: &GroupBySpec, right: &GroupBySpec) -> bool {
    let GroupBySpec { group_columns, aggregates, input, schema, retracts, until, horizon_ms } = left;
    *group_columns == right.group_columns
        && *aggregates == right.aggregates
        && same_types(input, &right.input)
        && same_types(schema, &right.schema)
        && *retracts == right.retracts
        && *until == right.until
        && *horizon_ms == right.horizon_ms
}

fn same_join(left: &JoinSpec, right: &JoinSpec) -> bool {
    let JoinSpec { keys, null_equals_null, condition, pairs, unpaired, inputs, schema, retracts, horizon_ms } =
        left;
    *keys == right.keys
        && *null_equals_null == right.null_equals_null
        && same_condition(condition.as_ref(), right.condition.as_ref())
        && *pairs == right.pairs
        && *unpaired == right.unpaired
        && inputs.iter().zip(&right.inputs).all(|(a, b)| same_types(a, b))
        && same_types(schema, &right.schema)
        && *retracts == right.retracts
        && *horizon_ms == right.horizon_ms
}

fn same_multi_join(left: &MultiJoinSpec, right: &MultiJoinSpec) -> bool {
    let MultiJoinSpec { keys, null_equals_null, conditions, inputs, schema, retracts, horizon_ms } = left;
    let mut pairs = conditions.iter().zip(&right.conditions);
    *keys == right.keys
        && *null_equals_null == right.null_equals_null
        && conditions.len() == right.conditions.len()
        && pairs.all(|(a, b)| a.inputs == b.inputs && same_expression(&a.expression, &b.expression))
        && inputs.iter().zip(&right.inputs).all(|(a, b)| same_types(a, b))
        && same_types(schema, &right.schema)
        && *retracts == right.retracts
        && *horizon_ms == right.horizon_ms
}

fn same_top(left: &TopKSpec, right: &TopKSpec) -> bool {
    let TopKSpec {
        partition,
        order,
        numbering,
        skip,
        fetch,
        has_number,
        input,
        schema,
        retracts,
        horizon_ms,
    } = left;
    *partition == right.partition
        && *order == right.order
        && *numbering == right.numbering
        && (*skip, *fetch, *has_number) == (right.skip, right.fetch, right.has_number)
        && same_types(input, &right.input)
        && same_types(schema, &right.schema)
        && *retracts == right.retracts
        && *horizon_ms == right.horizon_ms
}

fn same_types(left: &Schema, right: &Schema) -> bool {
    let fields = left.fields().iter().zip(right.fields());
    left.fields().len() == right.fields().len()
        && fields.clone().all(|(a, b)| a.data_type() == b.data_type() && a.is_nullable() == b.is_nullable())
}

fn same_condition(left: Option<&Arc<dyn PhysicalExpr>>, right: Option<&Arc<dyn PhysicalExpr>>) -> bool {
    match (left, right) {
        (None, None) => true,
        (Some(left), Some(right)) => same_expression(left, right),
        _ => false,
    }
}

/// Whether two expressions are the same but for the names of their columns.
fn same_expression(left: &Arc<dyn PhysicalExpr>, right: &Arc<dyn PhysicalExpr>) -> bool {
    match (nameless(left), nameless(right)) {
        (Some(left), Some(right)) => left == right,
        _ => false,
    }
}

fn nameless(expression: &Arc<dyn PhysicalExpr>) -> Option<Arc<dyn PhysicalExpr>> {
    let rename = |expression: Arc<dyn PhysicalExpr>| {
        Ok(match expression.downcast_ref::<Column>().map(Column::index) {
            Some(index) => Transformed::yes(Arc::new(Column::new("", index)) as Arc<dyn PhysicalExpr>),
            None => Transformed::no(expression),
        })
    };
    expression.clone().transform(rename).ok().map(|transformed| transformed.data)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, SchemaRef};
    use datafusion::common::ScalarValue;
    use datafusion::logical_expr::Operator;
    use datafusion::physical_expr::expressions::{BinaryExpr, Literal};

    use super::*;
    use crate::delta::join::multi::Condition;
    use crate::delta::testing::{plan, schema};

    fn greater(column: &str, index: usize, than: i64) -> Arc<dyn PhysicalExpr> {
        let than = Arc::new(Literal::new(ScalarValue::Int64(Some(than))));
        Arc::new(BinaryExpr::new(Arc::new(Column::new(column, index)), Operator::Gt, than))
    }

    fn filter(predicate: Arc<dyn PhysicalExpr>, schema: SchemaRef) -> (Node, SchemaRef) {
        let map = RowMap { predicate: Some(predicate), projection: None, schema: schema.clone() };
        (Node::Map { input: 0, map }, schema)
    }

    fn distinct(predicate: Arc<dyn PhysicalExpr>, horizon_ms: Option<u64>) -> Plan {
        let node = Node::Distinct { input: 1, retracts: false, horizon_ms };
        plan(1, vec![filter(predicate, schema()), (node, schema())])
    }

    #[test]
    fn the_same_steps_over_the_same_relation_are_equal_whatever_columns_are_called() {
        let one = distinct(greater("n", 0, 5), None);
        let pairs = equal(&one, 2, &distinct(greater("m", 0, 5), None), 2).unwrap();
        assert_eq!(pairs, [(2, 2), (1, 1), (0, 0)]);
        for other in [
            distinct(greater("n", 0, 6), None),
            distinct(greater("n", 2, 5), None),
            distinct(greater("n", 0, 5), Some(1000)),
        ] {
            assert_eq!(equal(&one, 2, &other, 2), None);
        }
        // A step more or less, and another relation.
        assert_eq!(equal(&one, 2, &one, 1), None);
        let mut other = distinct(greater("n", 0, 5), None);
        other.nodes[0] = Node::Source { relation: "1".to_owned(), columns: vec![0, 1, 2] };
        assert_eq!(equal(&one, 2, &other, 2), None);
        // Rows of other types.
        let fields = vec![Field::new("n", DataType::Int32, true)];
        let mut other = distinct(greater("n", 0, 5), None);
        other.schemas[0] = Arc::new(Schema::new(fields));
        assert_eq!(equal(&one, 2, &other, 2), None);
    }

    #[test]
    fn joins_of_many_inputs_are_equal_where_they_ask_the_same() {
        let join = |condition: Option<Arc<dyn PhysicalExpr>>, null_equals_null| {
            let fields = (0..3).flat_map(|_| schema().fields().iter().cloned().collect::<Vec<_>>());
            let joined: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
            let conditions = condition.map(|expression| Condition { inputs: 2, expression });
            let spec = MultiJoinSpec {
                keys: vec![vec![0]; 3],
                null_equals_null,
                conditions: conditions.into_iter().collect(),
                inputs: vec![schema(); 3],
                schema: joined.clone(),
                retracts: vec![false; 3],
                horizon_ms: None,
            };
            plan(2, vec![(Node::MultiJoin { inputs: vec![0, 1, 0], spec }, joined)])
        };
        let one = join(Some(greater("n", 0, 5)), false);
        let pairs = equal(&one, 2, &join(Some(greater("m", 0, 5)), false), 2).unwrap();
        assert_eq!(pairs, [(2, 2), (0, 0), (1, 1)]);
        for other in
            [join(Some(greater("n", 0, 6)), false), join(None, false), join(Some(greater("n", 0, 5)), true)]
        {
            assert_eq!(equal(&one, 2, &other, 2), None);
        }
    }
}
