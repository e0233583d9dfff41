//! Which operators of running dataflows a new view can read instead of building its own, and how long they are needed.
//!
//! A node with state that computes what one of a running dataflow computes, over the same relations, is imported from
//! there. At every tick the view is what it would be with an operator of its own, so only such are imported whose
//! state is what a new one would have once it is filled from what is stored: nothing came yet, or all that came is
//! stored still and no horizon has dropped anything.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::operators::{Import, Operator, OperatorId, Operators};
use super::resuming::Before;
use crate::delta::equal::equal;
use crate::delta::plan::{Node, NodeId, Plan};

/// The nodes of dataflows that somebody reads, by the number of the dataflow.
pub(super) type Needed = BTreeMap<u64, BTreeSet<NodeId>>;

/// All dataflows that run: those of views, and those of dropped views that others read from.
#[derive(Default)]
pub(super) struct Dataflows {
    built: u64,
    running: BTreeMap<u64, Running>,
}

struct Running {
    operators: Arc<Operators>,
    /// The nodes that still compute; all, unless its view is gone.
    left: Option<BTreeSet<NodeId>>,
}

impl Dataflows {
    /// The operators of a new dataflow of `plan`: its own, and those that it imports. `is_stored`: whether all rows
    /// that a relation ever had can be read still. A dataflow that was there `before` shares what it shared then.
    pub fn add(
        &mut self,
        plan: Arc<Plan>,
        workers: usize,
        is_stored: impl Fn(&str) -> bool,
        before: Option<Before<'_>>,
    ) -> Arc<Operators> {
        self.built += 1;
        let mut operators = Operators::new(self.built, plan, workers);
        let mut shared: BTreeMap<NodeId, Operator> = BTreeMap::new();
        let mut waiting: Vec<NodeId> = operators.plan.nodes.len().checked_sub(1).into_iter().collect();
        let mut seen = BTreeSet::new();
        while let Some(node) = waiting.pop() {
            if !seen.insert(node) {
                continue;
            }
            match self.find(&operators.plan, node, &is_stored, before) {
                Some((import, below)) => {
                    operators.imports.push(import);
                    shared.extend(below);
                }
                None => waiting.extend(Plan::inputs(&operators.plan.nodes[node])),
            }
        }
        let is_import = |node: NodeId| operators.imports.iter().any(|import| import.node == node);
        let needed = operators.plan.needed(is_import);
        for (node, operator) in shared {
            // What it needs besides an import that is made of it, it builds.
            if !needed[node] || is_import(node) {
                operators.nodes[node] = operator;
            }
        }
        let operators = Arc::new(operators);
        self.running.insert(self.built, Running { operators: operators.clone(), left: None });
        operators
    }

    /// Where to import `node` of `plan` from, and the operators behind it and the nodes that it is computed from.
    fn find(
        &self,
        plan: &Plan,
        node: NodeId,
        is_stored: &impl Fn(&str) -> bool,
        before: Option<Before<'_>>,
    ) -> Option<(Import, Vec<(NodeId, Operator)>)> {
        if !keeps_state(&plan.nodes[node]) {
            return None;
        }
        self.running.iter().find_map(|(dataflow, running)| {
            let operators = &running.operators;
            (0..operators.plan.nodes.len()).find_map(|of| {
                let id = OperatorId { dataflow: *dataflow, node: of };
                let computes = running.left.as_ref().is_none_or(|left| left.contains(&of));
                if operators.nodes[of].id != id || !computes || !keeps_state(&operators.plan.nodes[of]) {
                    return None;
                }
                let pairs = equal(plan, node, &operators.plan, of)?;
                let below: Vec<NodeId> = pairs.iter().map(|(_, theirs)| *theirs).collect();
                if before.is_some_and(|before| !before.was_shared(node, id)) {
                    return None;
                }
                let is_whole = before.is_some() || operators.is_whole(of, &below, is_stored);
                let needs_snapshot = operators.present(of).filter(|_| is_whole)?;
                let behind = pairs.iter().map(|(mine, theirs)| (*mine, operators.nodes[*theirs].clone()));
                Some((Import { node, from: id, needs_snapshot }, behind.collect()))
            })
        })
    }

    /// Forgets `dataflow`, whose view is gone or never came to be, unless others read from it; `live` are the
    /// dataflows of views. What is left, of it and of others whose views are gone, is what is needed.
    pub fn retire(&mut self, dataflow: u64, live: impl Iterator<Item = u64> + Clone) -> Needed {
        let needed = self.needed(live);
        if let Some(running) = self.running.get_mut(&dataflow) {
            running.left = Some(BTreeSet::new());
        }
        self.running.retain(|number, running| match (&mut running.left, needed.get(number)) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(left), Some(nodes)) => {
                left.clone_from(nodes);
                true
            }
        });
        needed
    }

    /// What the dataflows of views read from others.
    fn needed(&self, live: impl Iterator<Item = u64>) -> Needed {
        let mut needed = Needed::new();
        let imports = live.filter_map(|number| self.running.get(&number));
        let imports = imports.flat_map(|running| running.operators.imports.iter().map(|import| import.from));
        let mut waiting: Vec<OperatorId> = imports.collect();
        while let Some(OperatorId { dataflow, node }) = waiting.pop() {
            if !needed.entry(dataflow).or_default().insert(node) {
                continue;
            }
            let Some(running) = self.running.get(&dataflow) else { continue };
            let Operators { plan, imports, .. } = running.operators.as_ref();
            match imports.iter().find(|import| import.node == node) {
                Some(import) => waiting.push(import.from),
                None => waiting.extend(
                    Plan::inputs(&plan.nodes[node]).into_iter().map(|node| OperatorId { dataflow, node }),
                ),
            }
        }
        needed
    }
}

/// Whether sharing a node saves anything.
fn keeps_state(node: &Node) -> bool {
    matches!(
        node,
        Node::Distinct { .. }
            | Node::Aggregate { .. }
            | Node::Join { .. }
            | Node::MultiJoin { .. }
            | Node::Single { .. }
            | Node::TopK { .. }
            | Node::TemporalFilter { .. }
    )
}
