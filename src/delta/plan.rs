//! Dataflows as data: what a query is compiled to, and how it becomes operators.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::error::Result as DataFusionResult;
use timely::dataflow::Scope;
use timely::dataflow::operators::Concatenate;

use super::aggregate::{Aggregate, GroupBySpec};
use super::collection::{Collection, Edge};
use super::consolidate::Consolidate;
use super::distinct::Distinct;
use super::expression::RowMap;
use super::join::{Join, JoinSpec};
use super::operator::{Operator, by_tick};
use super::partition::{Partition, PartitionSpec};
use super::recursion::{Nest, Recursion};
use super::route::Route;
use super::single::{Single, SingleSpec};
use super::stats::Counters;
use super::temporal_condition::Condition;
use super::temporal_filter::TemporalFilter;
use super::top_k::{TopK, TopKSpec};
use super::unnest::{self, UnnestSpec};
use super::updates::Tick;
use super::{map, negate, repeat};

/// Where a node stands in a [`Plan`].
pub type NodeId = usize;

/// One collection of a plan, computed from earlier ones.
#[derive(Clone, Debug)]
pub enum Node {
    /// The columns of a relation that the plan reads.
    Source {
        /// The relation's name.
        relation: String,
        /// Which of its columns, in order.
        columns: Vec<usize>,
    },
    /// Rows that are always there.
    Constant(RecordBatch),
    /// Rows filtered and projected one by one.
    Map {
        /// What is mapped.
        input: NodeId,
        /// How.
        map: RowMap,
    },
    /// The rows of all inputs.
    Union(Vec<NodeId>),
    /// The same rows with multiplicities negated.
    Negate(NodeId),
    /// Each row as often as its last column says, without that column.
    Repeat(NodeId),
    /// Each row once a tick with its diffs summed.
    Consolidate(NodeId),
    /// Each row once.
    Distinct {
        /// Whose rows.
        input: NodeId,
        /// Whether these can be retracted.
        retracts: bool,
        /// How long an unseen row is remembered, in milliseconds of stream time; for ever by default.
        horizon_ms: Option<u64>,
    },
    /// Groups with their aggregates.
    Aggregate {
        /// What is grouped.
        input: NodeId,
        /// How.
        spec: GroupBySpec,
    },
    /// Pairs of rows.
    Join {
        /// The left side.
        left: NodeId,
        /// The right side.
        right: NodeId,
        /// How they are joined.
        spec: JoinSpec,
    },
    /// The only row of each key; an error where there are several.
    Single {
        /// Whose rows.
        input: NodeId,
        /// How.
        spec: SingleSpec,
    },
    /// Rows made of the elements of lists.
    Unnest {
        /// What is unnested.
        input: NodeId,
        /// How.
        spec: UnnestSpec,
    },
    /// A function of the rows of each partition.
    Partition {
        /// What is partitioned.
        input: NodeId,
        /// How, and what is computed.
        spec: PartitionSpec,
    },
    /// The first rows of each partition.
    TopK {
        /// What is partitioned.
        input: NodeId,
        /// How, and which rows are the first.
        spec: TopKSpec,
    },
    /// What an iteration gives in all.
    Recursion {
        /// The rows of its first round; the last column is the round.
        base: NodeId,
        /// What a round reads beside the rows of the round before.
        imports: Vec<NodeId>,
        /// How a round follows from the one before.
        spec: Arc<Recursion>,
    },
    /// Rows while they are current.
    TemporalFilter {
        /// What is filtered; the columns of the condition are its last.
        input: NodeId,
        /// When a row is current.
        condition: Condition,
        /// How many columns the result has: those before the condition's.
        columns: usize,
    },
}

/// A dataflow: nodes in an order in which each comes after its inputs; the last is the result.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The collections.
    pub nodes: Vec<Node>,
    /// The schema of each.
    pub schemas: Vec<SchemaRef>,
}

/// What a dataflow is built with on one worker.
pub struct Environment<'a, 'scope, T: Nest = Tick> {
    /// The relations it reads, by name.
    pub sources: &'a mut dyn FnMut(&str, &[usize]) -> Collection<'scope, T>,
    /// Rows that are there from the first tick on.
    pub constants: &'a mut dyn FnMut(&RecordBatch) -> Collection<'scope, T>,
    /// The first tick at which it has a result.
    pub start: Tick,
    /// The counters of each node with state.
    pub counters: &'a mut HashMap<NodeId, Arc<Counters>>,
}

impl Plan {
    /// Adds a node and returns its place.
    pub fn push(&mut self, node: Node, schema: SchemaRef) -> NodeId {
        self.nodes.push(node);
        self.schemas.push(schema);
        self.nodes.len() - 1
    }

    /// The relations it reads, each once.
    pub fn relations(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self
            .nodes
            .iter()
            .filter_map(|node| match node {
                Node::Source { relation, .. } => Some(relation.as_str()),
                _ => None,
            })
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The inputs of `node`.
    pub fn inputs(node: &Node) -> Vec<NodeId> {
        match node {
            Node::Source { .. } | Node::Constant(_) => vec![],
            Node::Map { input, .. }
            | Node::Distinct { input, .. }
            | Node::Aggregate { input, .. }
            | Node::Single { input, .. }
            | Node::Unnest { input, .. }
            | Node::Partition { input, .. }
            | Node::TopK { input, .. }
            | Node::TemporalFilter { input, .. } => vec![*input],
            Node::Negate(input) | Node::Repeat(input) | Node::Consolidate(input) => vec![*input],
            Node::Union(inputs) => inputs.clone(),
            Node::Join { left, right, .. } => vec![*left, *right],
            Node::Recursion { base, imports, .. } => [*base].into_iter().chain(imports.clone()).collect(),
        }
    }

    /// Tries every operator once, so that what DataFusion cannot group by fails here and not later
    /// on a worker.
    pub fn check(&self) -> DataFusionResult<()> {
        for (id, node) in self.nodes.iter().enumerate() {
            match node {
                Node::Distinct { retracts, horizon_ms, .. } => {
                    Distinct::new(self.schemas[id].clone(), *retracts, *horizon_ms, Arc::default())?;
                }
                Node::Aggregate { spec, .. } => {
                    Aggregate::new(spec.clone(), Arc::default())?;
                }
                Node::Single { spec, .. } => {
                    Single::new(spec.clone(), Arc::default())?;
                }
                Node::Join { spec, .. } => {
                    Join::new(spec.clone(), Arc::default())?;
                }
                Node::Partition { spec, .. } => {
                    Partition::new(spec.clone(), Arc::default())?;
                }
                Node::TopK { spec, .. } => {
                    TopK::new(spec.clone(), Arc::default())?;
                }
                Node::Recursion { spec, .. } => spec.check()?,
                _ => {}
            }
        }
        Ok(())
    }

    /// What counters of the nodes within recursion `id` are numbered from, after all nodes of this plan.
    fn first_counter_within(&self, id: NodeId) -> NodeId {
        let nodes_within = |node: &Node| match node {
            Node::Recursion { spec, .. } => spec.body.nodes.len(),
            _ => 0,
        };
        self.nodes.len() + self.nodes[..id].iter().map(nodes_within).sum::<usize>()
    }

    /// Builds the operators of this plan in `scope`.
    pub fn render<'scope, T: Nest>(
        &self,
        scope: Scope<'scope, T>,
        environment: Environment<'_, 'scope, T>,
    ) -> DataFusionResult<Collection<'scope, T>> {
        let Environment { sources, constants, start, counters } = environment;
        let mut built: Vec<Collection<'scope, T>> = Vec::with_capacity(self.nodes.len());
        for (id, node) in self.nodes.iter().enumerate() {
            let schema = &self.schemas[id];
            let input = |id: &NodeId| built[*id].clone();
            let mut counters_of = || counters.entry(id).or_default().clone();
            let collection = match node {
                Node::Source { relation, columns } => sources(relation, columns),
                Node::Constant(rows) => constants(rows),
                Node::Map { input: of, map } => map::map(scope, input(of), map.clone()),
                Node::Union(of) => Collection::concatenate(scope, of.iter().map(input).collect()),
                Node::Negate(of) => negate::negate(input(of)),
                Node::Repeat(of) => repeat::repeat(input(of)),
                Node::Consolidate(of) => {
                    let route = Route::Columns((0..schema.fields().len()).collect());
                    stateful(
                        scope,
                        "Consolidate",
                        vec![(input(of), route)],
                        None,
                        Consolidate::new(schema.clone()),
                    )
                }
                Node::Distinct { input: of, retracts, horizon_ms } => {
                    let route = Route::Columns((0..schema.fields().len()).collect());
                    let operator = Distinct::new(schema.clone(), *retracts, *horizon_ms, counters_of())?;
                    stateful(scope, "Distinct", vec![(input(of), route)], None, operator)
                }
                Node::Aggregate { input: of, spec } => {
                    let operator = Aggregate::new(spec.clone(), counters_of())?;
                    // What aggregates everything has one row, on the first worker, from the start.
                    let (route, first) = match spec.group_columns {
                        0 => (Route::First, (scope.worker().index() == 0).then_some(start)),
                        n => (Route::Columns((0..n).collect()), None),
                    };
                    stateful(scope, "Aggregate", vec![(input(of), route)], first, operator)
                }
                Node::Join { left, right, spec } => {
                    let inputs = vec![(input(left), by(&spec.keys[0])), (input(right), by(&spec.keys[1]))];
                    stateful(scope, "Join", inputs, None, Join::new(spec.clone(), counters_of())?)
                }
                Node::Single { input: of, spec } => {
                    let operator = Single::new(spec.clone(), counters_of())?;
                    // Without keys there is always a row, on the first worker, from the start.
                    let (route, first) = match spec.key_columns {
                        0 => (Route::First, (scope.worker().index() == 0).then_some(start)),
                        n => (Route::Columns((0..n).collect()), None),
                    };
                    stateful(scope, "Single", vec![(input(of), route)], first, operator)
                }
                Node::Unnest { input: of, spec } => unnest::unnest(scope, input(of), spec.clone()),
                Node::Partition { input: of, spec } => {
                    let inputs = vec![(input(of), by(&spec.partition))];
                    stateful(scope, "Partition", inputs, None, Partition::new(spec.clone(), counters_of())?)
                }
                Node::TopK { input: of, spec } => {
                    let inputs = vec![(input(of), by(&spec.partition))];
                    stateful(scope, "TopK", inputs, None, TopK::new(spec.clone(), counters_of())?)
                }
                Node::Recursion { base, imports, spec } => {
                    let imports = imports.iter().map(input).collect();
                    let mut within = HashMap::new();
                    let result = T::recursion(scope, spec, input(base), imports, counters_of(), &mut within)?;
                    let first = self.first_counter_within(id);
                    counters.extend(within.into_iter().map(|(inner, c)| (first + inner, c)));
                    result
                }
                Node::TemporalFilter { input: of, condition, columns } => {
                    let operator = TemporalFilter::new(condition.clone(), *columns, counters_of());
                    stateful(scope, "TemporalFilter", vec![(input(of), Route::Local)], None, operator)
                }
            };
            built.push(collection);
        }
        Ok(built.pop().expect("a plan has at least one node"))
    }
}

/// By the values of `keys`; all to one place where there are none.
fn by(keys: &[usize]) -> Route {
    if keys.is_empty() { Route::First } else { Route::Columns(keys.to_vec()) }
}

/// An operator by ticks, with the errors of its inputs beside its own.
fn stateful<'scope, T: Nest, O: Operator>(
    scope: Scope<'scope, T>,
    name: &str,
    inputs: Vec<(Collection<'scope, T>, Route)>,
    first: Option<Tick>,
    operator: O,
) -> Collection<'scope, T> {
    let mut errors: Vec<Edge<'scope, T>> = inputs.iter().map(|(c, _)| c.errors.clone()).collect();
    let inputs = inputs.into_iter().map(|(collection, route)| (collection.rows, route)).collect();
    let (rows, own) = by_tick(scope, name, inputs, first, operator);
    errors.push(own);
    Collection { rows, errors: scope.concatenate(errors) }
}

impl fmt::Display for Plan {
    /// The tree under the result, one node a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::explain::write_plan(self, f)
    }
}
