//! Chains of inner joins by one key, as joins of all their inputs at once.
//!
//! `a JOIN b ON a.k = b.k JOIN c ON c.k = b.k` is compiled to two joins, of which the second would keep all pairs of
//! `a` and `b`. Once the whole plan is known, and with it who else reads these pairs, the two become one operator that
//! keeps the rows of `a`, `b` and `c` alone.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;

use crate::delta::expression::RowMap;
use crate::delta::join::multi::{Condition, MultiJoinSpec};
use crate::delta::join::{JoinSpec, Unpaired};
use crate::delta::plan::{Node, NodeId, Plan};

/// `plan` with each chain of inner joins by one key as one join. A join is part of the next one's chain if that alone
/// reads it, by way of nothing but columns picked, and asks for the same key.
pub(super) fn fold_joins(plan: Plan) -> Plan {
    let mut uses = vec![0; plan.nodes.len()];
    plan.nodes.iter().flat_map(Plan::inputs).for_each(|input| uses[input] += 1);
    let folding = Folding { plan: &plan, uses: &uses };
    let mut is_part = vec![false; plan.nodes.len()];
    let mut chains = BTreeMap::new();
    for (id, node) in plan.nodes.iter().enumerate().rev() {
        let Node::Join { left, right, spec } = node else { continue };
        if is_part[id] {
            continue;
        }
        if let Some(chain) = folding.chain([*left, *right], spec).filter(|chain| chain.inputs.len() > 2) {
            chain.parts.iter().for_each(|part| is_part[*part] = true);
            chains.insert(id, chain);
        }
    }
    if chains.is_empty() { plan } else { rebuild(plan, &is_part, chains) }
}

/// `plan` with `chains` in the place of the joins that they end with, and without what is part of them.
fn rebuild(plan: Plan, is_part: &[bool], mut chains: BTreeMap<NodeId, Chain>) -> Plan {
    let mut folded = Plan::default();
    let mut places = vec![0; plan.nodes.len()];
    for (id, (mut node, schema)) in plan.nodes.into_iter().zip(plan.schemas).enumerate() {
        if is_part[id] {
            continue;
        }
        Plan::inputs_mut(&mut node).into_iter().for_each(|input| *input = places[*input]);
        places[id] = match (chains.remove(&id), node) {
            (Some(chain), Node::Join { spec, .. }) => chain.push(&spec, &places, schema, &mut folded),
            (_, node) => folded.push(node, schema),
        };
    }
    folded
}

/// Inner joins by one key, or an input of such.
struct Chain {
    inputs: Vec<NodeId>,
    /// The columns of the key in each input, place by place.
    keys: Vec<Vec<usize>>,
    /// Whether rows of each input can be retracted.
    retracts: Vec<bool>,
    /// How many columns each input has.
    widths: Vec<usize>,
    conditions: Vec<Condition>,
    /// What its columns are: an input and one of its columns.
    columns: Vec<(usize, usize)>,
    /// The joins and maps that it replaces, the last join apart.
    parts: Vec<NodeId>,
}

impl Chain {
    /// Its keys in the order of those that stand in `columns`, if these are all of its keys and no more.
    fn by(mut self, columns: &[usize]) -> Option<Chain> {
        let mut left: Vec<usize> = (0..self.keys[0].len()).collect();
        let mut order = vec![];
        for column in columns {
            let (input, key) = self.columns[*column];
            let place = left.iter().position(|place| self.keys[input][*place] == key)?;
            order.push(left.remove(place));
        }
        self.keys.iter_mut().for_each(|key| *key = order.iter().map(|place| key[*place]).collect());
        left.is_empty().then_some(self)
    }

    /// Its inputs and then those of `other`, whose columns come before its own or after them.
    fn with(mut self, other: Chain, is_left: bool) -> Chain {
        let before = self.inputs.len();
        let theirs = other.columns.iter().map(|(input, column)| (before + input, *column));
        match is_left {
            true => self.columns.extend(theirs),
            false => self.columns = theirs.chain(self.columns).collect(),
        }
        self.inputs.extend(other.inputs);
        self.keys.extend(other.keys);
        self.retracts.extend(other.retracts);
        self.widths.extend(other.widths);
        self.parts.extend(other.parts);
        self
    }

    /// Where its columns stand among those of all inputs, one input's after the other's.
    fn places(&self) -> Vec<usize> {
        let first = |input: usize| self.widths[..input].iter().sum::<usize>();
        self.columns.iter().map(|(input, column)| first(*input) + column).collect()
    }

    /// Adds the join and what brings its columns into the order of `schema` to `plan`, where the inputs stand at
    /// `places`; `last` is the last of the joins.
    fn push(self, last: &JoinSpec, places: &[NodeId], schema: SchemaRef, plan: &mut Plan) -> NodeId {
        let columns = self.places();
        let inputs: Vec<NodeId> = self.inputs.iter().map(|input| places[*input]).collect();
        let schemas: Vec<SchemaRef> = inputs.iter().map(|input| plan.schemas[*input].clone()).collect();
        let fields = schemas.iter().flat_map(|schema| schema.fields().iter().cloned());
        let joined = Arc::new(Schema::new(fields.collect::<Vec<Arc<Field>>>()));
        let spec = MultiJoinSpec {
            keys: self.keys,
            null_equals_null: last.null_equals_null,
            conditions: self.conditions,
            inputs: schemas,
            schema: joined.clone(),
            retracts: self.retracts,
            horizon_ms: last.horizon_ms,
        };
        let id = plan.push(Node::MultiJoin { inputs, spec }, joined.clone());
        if joined == schema && columns.iter().copied().eq(0..columns.len()) {
            return id;
        }
        let projection = Some(columns.iter().map(|place| super::column(&joined, *place)).collect());
        let map = RowMap { predicate: None, projection, schema: schema.clone() };
        plan.push(Node::Map { input: id, map }, schema)
    }
}

struct Folding<'a> {
    plan: &'a Plan,
    /// How many read each node.
    uses: &'a [usize],
}

impl Folding<'_> {
    /// The chain that a join of `sides` ends, if it gives pairs alone and has a key.
    fn chain(&self, sides: [NodeId; 2], spec: &JoinSpec) -> Option<Chain> {
        if !spec.pairs || spec.unpaired != [Unpaired::Dropped; 2] || spec.keys[0].is_empty() {
            return None;
        }
        let [left, mut right] = [0, 1].map(|side| self.side(sides, spec, side));
        // What fails for some rows must fail for these alone, and so be asked of the first inputs.
        if !left.conditions.is_empty() && !right.conditions.is_empty() {
            right = self.input(sides, spec, 1);
        }
        let mut chain = match right.conditions.is_empty() {
            true => left.with(right, true),
            false => right.with(left, false),
        };
        if let Some(condition) = &spec.condition {
            let expression = self.over_inputs(condition, &chain)?;
            chain.conditions.push(Condition { inputs: chain.inputs.len(), expression });
        }
        Some(chain)
    }

    /// One side of a join of `sides`: a chain by the same key, or an input.
    fn side(&self, sides: [NodeId; 2], spec: &JoinSpec, side: usize) -> Chain {
        let chain = self.behind(sides[side], spec).and_then(|chain| chain.by(&spec.keys[side]));
        chain.unwrap_or_else(|| self.input(sides, spec, side))
    }

    fn input(&self, sides: [NodeId; 2], spec: &JoinSpec, side: usize) -> Chain {
        let width = self.plan.schemas[sides[side]].fields().len();
        Chain {
            inputs: vec![sides[side]],
            keys: vec![spec.keys[side].clone()],
            retracts: vec![spec.retracts[side]],
            widths: vec![width],
            conditions: vec![],
            columns: (0..width).map(|column| (0, column)).collect(),
            parts: vec![],
        }
    }

    /// The chain whose columns `id` picks, where a join as `next` is the only one that reads it.
    fn behind(&self, id: NodeId, next: &JoinSpec) -> Option<Chain> {
        if self.uses[id] != 1 {
            return None;
        }
        let mut chain = match &self.plan.nodes[id] {
            Node::Map { input, map } => {
                let picked = picked(map, &self.plan.schemas[*input])?;
                let chain = self.behind(*input, next)?;
                let columns = picked.into_iter().map(|column| chain.columns[column]).collect();
                Chain { columns, ..chain }
            }
            Node::Join { left, right, spec } => {
                let is_alike =
                    spec.null_equals_null == next.null_equals_null && spec.horizon_ms == next.horizon_ms;
                self.chain([*left, *right], spec).filter(|_| is_alike)?
            }
            _ => return None,
        };
        chain.parts.push(id);
        Some(chain)
    }

    /// `condition` over the columns of `chain` as one over those of its inputs.
    fn over_inputs(&self, condition: &Arc<dyn PhysicalExpr>, chain: &Chain) -> Option<Arc<dyn PhysicalExpr>> {
        let places = chain.places();
        let moved = |expression: Arc<dyn PhysicalExpr>| {
            let Some(index) = expression.downcast_ref::<Column>().map(Column::index) else {
                return Ok(Transformed::no(expression));
            };
            let (input, column) = chain.columns[index];
            let name = self.plan.schemas[chain.inputs[input]].field(column).name();
            Ok(Transformed::yes(Arc::new(Column::new(name, places[index])) as Arc<dyn PhysicalExpr>))
        };
        condition.clone().transform(moved).data().ok()
    }
}

/// The columns of `input` that `map` picks, if it does nothing else.
fn picked(map: &RowMap, input: &SchemaRef) -> Option<Vec<usize>> {
    if map.predicate.is_some() {
        return None;
    }
    let Some(projection) = &map.projection else { return Some((0..input.fields().len()).collect()) };
    let column = |(expression, field): (&Arc<dyn PhysicalExpr>, &Arc<Field>)| {
        let index = expression.downcast_ref::<Column>()?.index();
        // Another type is a cast.
        (input.field(index).data_type() == field.data_type()).then_some(index)
    };
    projection.iter().zip(map.schema.fields()).map(column).collect()
}
