//! The operators of views that run, what they count, and which views share them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::delta::plan::{Node, NodeId, Plan};
use crate::delta::stats::{Counters, Counts};

/// Rates are averages over about so many seconds: what was longer ago counts for less and less.
const RATE_SECONDS: f64 = 60.0;

/// One operator that runs: its dataflow, and the node that it was built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct OperatorId {
    /// The number of the dataflow; they are counted from 1 and none is given twice.
    pub dataflow: u64,
    /// The node of its plan.
    pub node: NodeId,
}

/// An operator with its counters of each worker.
#[derive(Clone)]
pub(super) struct Operator {
    pub id: OperatorId,
    pub counters: Arc<[Arc<Counters>]>,
}

impl Operator {
    fn new(dataflow: u64, node: NodeId, workers: usize) -> Self {
        let counters = (0..workers).map(|_| Arc::default()).collect();
        Operator { id: OperatorId { dataflow, node }, counters }
    }

    /// The sums over all workers.
    pub fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        self.counters.iter().for_each(|counters| sum += counters.read());
        sum
    }
}

/// A node whose rows come from an operator of another dataflow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Import {
    pub node: NodeId,
    pub from: OperatorId,
    /// Whether that operator has rows already.
    pub needs_snapshot: bool,
}

/// What runs for a view.
#[derive(Clone)]
pub(super) struct Operators {
    pub plan: Arc<Plan>,
    /// Behind each operator of the plan by its number, wherever it runs.
    pub nodes: Vec<Operator>,
    /// What keeps the result; always its own.
    pub result: Operator,
    /// What it reads from other dataflows.
    pub imports: Vec<Import>,
}

impl Operators {
    /// Operators of `dataflow` for each node of `plan`.
    pub fn new(dataflow: u64, plan: Arc<Plan>, workers: usize) -> Self {
        let operator = |node| Operator::new(dataflow, node, workers);
        let nodes = (0..plan.operators()).map(operator).collect();
        Operators { result: operator(plan.operators()), nodes, plan, imports: vec![] }
    }

    /// The number of its dataflow.
    pub fn dataflow(&self) -> u64 {
        self.result.id.dataflow
    }

    /// Whether `node` has rows now, where another dataflow can go on from these; else `None`.
    pub fn present(&self, node: NodeId) -> Option<bool> {
        let counts = self.nodes[node].counts();
        let has_rows = counts.rows_out > 0;
        (counts.errors == 0 && (!has_rows || self.plan.nodes[node].has_snapshot())).then_some(has_rows)
    }

    /// Whether a new operator in place of `node`, which is computed from the nodes `below` (itself among them), would have
    /// the same state once it is filled from what is stored.
    pub fn is_whole(&self, node: NodeId, below: &[NodeId], is_stored: impl Fn(&str) -> bool) -> bool {
        let is_whole = |id: &NodeId| {
            let counts = self.nodes[*id].counts();
            let is_read =
                |node: &Node| !matches!(node, Node::Source { relation, .. } if !is_stored(relation));
            counts.late_rows + counts.expired_rows == 0 && is_read(&self.plan.nodes[*id])
        };
        self.nodes[node].counts().rows_in == 0 || below.iter().all(is_whole)
    }

    /// What each node has counted. One that only passes on what it gets counts nothing of its own.
    pub fn counts(&self) -> Vec<Counts> {
        let mut counts: Vec<Counts> = vec![];
        for (number, operator) in self.nodes.iter().enumerate() {
            let mut own = operator.counts();
            let (plan, node) = self.plan.locate(number);
            if let node @ (Node::Union(_) | Node::Negate(_)) = &plan.nodes[node] {
                let first = number - self.plan.locate(number).1;
                own.rows_in =
                    Plan::inputs(node).into_iter().map(|input| counts[first + input].rows_out).sum();
                own.rows_out = own.rows_in;
            }
            counts.push(own);
        }
        counts
    }
}

/// The views that use each operator.
pub(super) fn users<'a>(
    views: impl Iterator<Item = (&'a str, &'a Operators)>,
) -> BTreeMap<OperatorId, Vec<&'a str>> {
    let mut users: BTreeMap<OperatorId, Vec<&str>> = BTreeMap::new();
    for (view, operators) in views {
        for operator in &operators.nodes {
            let names = users.entry(operator.id).or_default();
            // A plan may have the same node twice.
            if names.last() != Some(&view) {
                names.push(view);
            }
        }
    }
    users
}

/// How fast a count grows, in units a second of the wall clock.
#[derive(Clone, Debug)]
pub(super) struct Rate {
    count: u64,
    at: Instant,
    average: f64,
    /// How much of the average is made of what was seen; the rest is not known yet.
    weight: f64,
}

impl Rate {
    /// Nothing counted by `now`.
    pub fn new(now: Instant) -> Self {
        Rate { count: 0, at: now, average: 0.0, weight: 0.0 }
    }

    /// The count is `count` at `now`.
    pub fn observe(&mut self, count: u64, now: Instant) {
        let seconds = now.saturating_duration_since(self.at).as_secs_f64();
        if seconds == 0.0 {
            return;
        }
        let kept = (-seconds / RATE_SECONDS).exp();
        let grown = count.saturating_sub(self.count) as f64 / seconds;
        self.average = self.average * kept + grown * (1.0 - kept);
        self.weight = self.weight * kept + (1.0 - kept);
        (self.count, self.at) = (count, now);
    }

    /// Units a second.
    pub fn per_second(&self) -> f64 {
        if self.weight > 0.0 { self.average / self.weight } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_rate_is_right_from_the_start_and_follows_what_changes() {
        let begin = Instant::now();
        let mut rate = Rate::new(begin);
        assert_eq!(rate.per_second(), 0.0);
        for second in 1..=10 {
            rate.observe(second * 500, begin + Duration::from_secs(second));
            assert!((rate.per_second() - 500.0).abs() < 1e-6, "{}", rate.per_second());
        }
        // Two readings at one moment, and a count that does not grow.
        rate.observe(5_000, begin + Duration::from_secs(10));
        rate.observe(5_000, begin + Duration::from_secs(10 + 600));
        assert!(rate.per_second() < 0.1, "{}", rate.per_second());
    }
}
