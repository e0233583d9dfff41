//! Dataflows as data: what a query is compiled to, and how it becomes operators.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::error::Result as DataFusionResult;
use timely::dataflow::Scope;

use super::aggregate::{Aggregate, GroupBySpec};
use super::collection::Collection;
use super::consolidate::Consolidate;
use super::distinct::Distinct;
use super::expression::RowMap;
use super::join::multi::{MultiJoin, MultiJoinSpec};
use super::join::{Join, JoinSpec};
use super::operator::{Site, by_tick};
use super::outlet::Outlet;
use super::partition::{Partition, PartitionSpec};
use super::recursion::{Nest, Recursion};
use super::resume::{Resume, go_on};
use super::route::Route;
use super::series::{Series, SeriesSpec};
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
    /// Combinations of a row of each of several inputs.
    MultiJoin {
        /// What is joined; the same may stand there more than once.
        inputs: Vec<NodeId>,
        /// How they are joined.
        spec: MultiJoinSpec,
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
    /// Functions of series that keep up with their rows.
    Series {
        /// What is partitioned.
        input: NodeId,
        /// How, and what is computed.
        spec: SeriesSpec,
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

/// Opens columns of a relation; each use counts the rows that it gives.
pub type Sources<'a, 'scope, T> = dyn FnMut(&str, &[usize], Arc<Counters>) -> Collection<'scope, T> + 'a;

/// What a dataflow is built with on one worker.
pub struct Environment<'a, 'scope, T: Nest = Tick> {
    /// The relations it reads, by name.
    pub sources: &'a mut Sources<'a, 'scope, T>,
    /// Rows that are there from the first tick on.
    pub constants: &'a mut dyn FnMut(&RecordBatch, Arc<Counters>) -> Collection<'scope, T>,
    /// What takes the place of nodes, because another dataflow computes them.
    pub imports: HashMap<NodeId, Collection<'scope, T>>,
    /// The first tick at which it has a result.
    pub start: Tick,
    /// What its operators go on from, where they were saved.
    pub resume: Option<&'a Resume>,
    /// The counters of each node.
    pub counters: &'a mut HashMap<NodeId, Arc<Counters>>,
    /// Where other dataflows take the changes of each node from that is an operator by ticks.
    pub outlets: &'a mut HashMap<NodeId, Outlet>,
}

impl Node {
    /// Whether the operator can tell its present rows from its state: see
    /// [`Operator::snapshot`](super::operator::Operator::snapshot).
    pub fn has_snapshot(&self) -> bool {
        matches!(
            self,
            Node::Distinct { .. } | Node::Aggregate { .. } | Node::Join { .. } | Node::MultiJoin { .. }
        )
    }
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
            | Node::Series { input, .. }
            | Node::TopK { input, .. }
            | Node::TemporalFilter { input, .. } => vec![*input],
            Node::Negate(input) | Node::Repeat(input) | Node::Consolidate(input) => vec![*input],
            Node::Union(inputs) | Node::MultiJoin { inputs, .. } => inputs.clone(),
            Node::Join { left, right, .. } => vec![*left, *right],
            Node::Recursion { base, imports, .. } => [*base].into_iter().chain(imports.clone()).collect(),
        }
    }

    /// The inputs of `node`, to be changed.
    pub fn inputs_mut(node: &mut Node) -> Vec<&mut NodeId> {
        match node {
            Node::Source { .. } | Node::Constant(_) => vec![],
            Node::Map { input, .. }
            | Node::Distinct { input, .. }
            | Node::Aggregate { input, .. }
            | Node::Single { input, .. }
            | Node::Unnest { input, .. }
            | Node::Partition { input, .. }
            | Node::Series { input, .. }
            | Node::TopK { input, .. }
            | Node::TemporalFilter { input, .. } => vec![input],
            Node::Negate(input) | Node::Repeat(input) | Node::Consolidate(input) => vec![input],
            Node::Union(inputs) | Node::MultiJoin { inputs, .. } => inputs.iter_mut().collect(),
            Node::Join { left, right, .. } => vec![left, right],
            Node::Recursion { base, imports, .. } => std::iter::once(base).chain(imports).collect(),
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
                Node::MultiJoin { spec, .. } => {
                    MultiJoin::new(spec.clone(), Arc::default())?;
                }
                Node::Partition { spec, .. } => {
                    Partition::new(spec.clone(), Arc::default())?;
                }
                Node::Series { spec, .. } => {
                    Series::new(spec.clone(), Arc::default())?;
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

    /// The number of the first operator within recursion `id`: operators are numbered as the nodes are, those
    /// within recursions after all of these.
    pub(super) fn first_within(&self, id: NodeId) -> NodeId {
        let nodes_within = |node: &Node| match node {
            Node::Recursion { spec, .. } => spec.body.nodes.len(),
            _ => 0,
        };
        self.nodes.len() + self.nodes[..id].iter().map(nodes_within).sum::<usize>()
    }

    /// How many operators it has, those within recursions among them.
    pub fn operators(&self) -> usize {
        self.first_within(self.nodes.len())
    }

    /// The plan that the operator numbered `number` is part of, this one or the body of a recursion, and its node there.
    pub fn locate(&self, number: NodeId) -> (&Plan, NodeId) {
        let within = self.nodes.iter().enumerate().find_map(|(id, node)| match node {
            Node::Recursion { spec, .. } => {
                let inner = number.checked_sub(self.first_within(id))?;
                (inner < spec.body.nodes.len()).then_some((&spec.body, inner))
            }
            _ => None,
        });
        within.unwrap_or((self, number))
    }

    /// The nodes that the result is computed from, itself among them, where those in `given` are there
    /// already: what only these are computed from is not needed.
    pub fn needed(&self, is_given: impl Fn(NodeId) -> bool) -> Vec<bool> {
        let mut needed = vec![false; self.nodes.len()];
        if let Some(result) = needed.last_mut() {
            *result = true;
        }
        for id in (0..self.nodes.len()).rev().filter(|id| !is_given(*id)) {
            if needed[id] {
                Plan::inputs(&self.nodes[id]).into_iter().for_each(|input| needed[input] = true);
            }
        }
        needed
    }

    /// Builds the operators of this plan in `scope`.
    pub fn render<'scope, T: Nest>(
        &self,
        scope: Scope<'scope, T>,
        environment: Environment<'_, 'scope, T>,
    ) -> DataFusionResult<Collection<'scope, T>> {
        let Environment { sources, constants, imports, start, resume, counters, outlets } = environment;
        let worker = (scope.worker().index(), scope.worker().peers());
        let needed = self.needed(|id| imports.contains_key(&id));
        let mut built: HashMap<NodeId, Collection<'scope, T>> = imports;
        for (id, node) in self.nodes.iter().enumerate() {
            if built.contains_key(&id) || !needed[id] {
                continue;
            }
            let schema = &self.schemas[id];
            let input = |id: &NodeId| built[id].clone();
            let counted = counters.entry(id).or_default().clone();
            let mut site = |name| {
                let outlet = outlets.entry(id).or_default().clone();
                Site { scope, name, counters: counted.clone(), outlet }
            };
            let collection = match node {
                Node::Source { relation, columns } => sources(relation, columns, counted),
                Node::Constant(rows) => constants(rows, counted),
                Node::Map { input: of, map } => map::map(scope, input(of), map.clone(), counted),
                Node::Union(of) => Collection::concatenate(scope, of.iter().map(input).collect()),
                Node::Negate(of) => negate::negate(input(of)),
                Node::Repeat(of) => repeat::repeat(input(of), counted),
                Node::Consolidate(of) => {
                    let route = Route::Columns((0..schema.fields().len()).collect());
                    let operator = Consolidate::new(schema.clone());
                    by_tick(site("Consolidate"), vec![(input(of), route)], None, operator)
                }
                Node::Distinct { input: of, retracts, horizon_ms } => {
                    let route = Route::Columns((0..schema.fields().len()).collect());
                    let operator = Distinct::new(schema.clone(), *retracts, *horizon_ms, counted.clone())?;
                    by_tick(site("Distinct"), vec![(input(of), route)], None, operator)
                }
                Node::Aggregate { input: of, spec } => {
                    let operator = Aggregate::new(spec.clone(), counted.clone())?;
                    // What aggregates everything has one row, on the first worker, from the start.
                    let (route, first) = match spec.group_columns {
                        0 => (Route::First, (scope.worker().index() == 0).then_some(start)),
                        n => (Route::Columns((0..n).collect()), None),
                    };
                    let (operator, told) = go_on(operator, resume, id, &route, worker)?;
                    by_tick(site("Aggregate"), vec![(input(of), route)], told.or(first), operator)
                }
                Node::Join { left, right, spec } => {
                    let inputs = vec![(input(left), by(&spec.keys[0])), (input(right), by(&spec.keys[1]))];
                    by_tick(site("Join"), inputs, None, Join::new(spec.clone(), counted.clone())?)
                }
                Node::MultiJoin { inputs: of, spec } => {
                    let inputs = of.iter().zip(&spec.keys).map(|(of, keys)| (input(of), by(keys))).collect();
                    by_tick(site("Join"), inputs, None, MultiJoin::new(spec.clone(), counted.clone())?)
                }
                Node::Single { input: of, spec } => {
                    let operator = Single::new(spec.clone(), counted.clone())?;
                    // Without keys there is always a row, on the first worker, from the start.
                    let (route, first) = match spec.key_columns {
                        0 => (Route::First, (scope.worker().index() == 0).then_some(start)),
                        n => (Route::Columns((0..n).collect()), None),
                    };
                    by_tick(site("Single"), vec![(input(of), route)], first, operator)
                }
                Node::Unnest { input: of, spec } => unnest::unnest(scope, input(of), spec.clone(), counted),
                Node::Partition { input: of, spec } => {
                    let inputs = vec![(input(of), by(&spec.partition))];
                    by_tick(site("Partition"), inputs, None, Partition::new(spec.clone(), counted.clone())?)
                }
                Node::Series { input: of, spec } => {
                    let inputs = vec![(input(of), by(&spec.partition))];
                    by_tick(site("Series"), inputs, None, Series::new(spec.clone(), counted.clone())?)
                }
                Node::TopK { input: of, spec } => {
                    let inputs = vec![(input(of), by(&spec.partition))];
                    by_tick(site("TopK"), inputs, None, TopK::new(spec.clone(), counted.clone())?)
                }
                Node::Recursion { base, imports, spec } => {
                    let imports = imports.iter().map(input).collect();
                    let first = self.first_within(id);
                    let within = (0..spec.body.nodes.len())
                        .map(|inner| (inner, counters.entry(first + inner).or_default().clone()));
                    let mut within = within.collect();
                    T::recursion(scope, spec, input(base), imports, counted, &mut within)?
                }
                Node::TemporalFilter { input: of, condition, columns } => {
                    let operator = TemporalFilter::new(condition.clone(), *columns, counted.clone());
                    let (operator, told) = go_on(operator, resume, id, &Route::Local, worker)?;
                    by_tick(site("TemporalFilter"), vec![(input(of), Route::Local)], told, operator)
                }
            };
            built.insert(id, collection);
        }
        Ok(built.remove(&(self.nodes.len() - 1)).expect("a plan has at least one node"))
    }
}

/// By the values of `keys`; all to one place where there are none.
fn by(keys: &[usize]) -> Route {
    if keys.is_empty() { Route::First } else { Route::Columns(keys.to_vec()) }
}

impl Plan {
    /// The tree under the result, one node a line, with the number of the operator that each is about; a line that
    /// refers to an earlier one has none.
    pub fn lines(&self) -> Vec<(Option<NodeId>, String)> {
        super::explain::lines(self)
    }

    /// What kind of operator that of this number is, as its line in [`lines`](Self::lines) begins.
    pub fn name(&self, number: NodeId) -> String {
        super::explain::name(self, number)
    }
}

impl fmt::Display for Plan {
    /// The tree under the result, one node a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines().iter().try_for_each(|(_, line)| writeln!(f, "{line}"))
    }
}
