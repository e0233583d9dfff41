//! How much of what came a dataflow must see once more to go on from what was saved of it.

use super::plan::{Node, NodeId, Plan};

/// What comes once more of the rows of a node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    /// All that it has.
    All,
    /// Those of a source that came within so many milliseconds of stream time.
    Latest(u64),
}

impl Plan {
    /// For how many milliseconds of stream time before the tick of a [saved state](super::resume) rows have to come
    /// once more, so that operators that are not saved have the states that they had. `is_whole`: whether all rows that a
    /// relation has come once more in any case.
    ///
    /// # Errors
    ///
    /// The first node whose state is made of all rows that ever came.
    pub fn reach(&self, is_whole: impl Fn(&str) -> bool) -> Result<u64, NodeId> {
        let mut all: Vec<Again> = Vec::with_capacity(self.nodes.len());
        let mut reach = 0;
        for (id, node) in self.nodes.iter().enumerate() {
            let latest = Plan::inputs(node).into_iter().filter_map(|input| match all[input] {
                Again::All => None,
                Again::Latest(ms) => Some((input, ms)),
            });
            let latest: Vec<(NodeId, u64)> = latest.collect();
            let longest = latest.iter().map(|(_, ms)| *ms).max();
            let again = match (node, longest) {
                (Node::Source { relation, .. }, _) if !is_whole(relation) => Again::Latest(0),
                (_, None) | (Node::Aggregate { .. }, _) => Again::All,
                (Node::TemporalFilter { condition, .. }, _) if condition.always_ends() => Again::All,
                (_, Some(ms)) => {
                    let kept_ms = self.kept_ms(node, &latest).ok_or(id)?;
                    Again::Latest(ms.saturating_add(kept_ms))
                }
            };
            if let Again::Latest(ms) = again {
                reach = reach.max(ms);
            }
            all.push(again);
        }
        Ok(reach)
    }

    /// How long `node` keeps rows of those inputs of which only the `latest` come once more; `None`: for ever.
    fn kept_ms(&self, node: &Node, latest: &[(NodeId, u64)]) -> Option<u64> {
        let only_grow = |inputs: &[NodeId], retracts: &[bool]| {
            let is_latest = |input: &NodeId| latest.iter().any(|(of, _)| of == input);
            inputs.iter().zip(retracts).all(|(input, retracts)| !is_latest(input) || !retracts)
        };
        match node {
            Node::Source { .. }
            | Node::Constant(_)
            | Node::Map { .. }
            | Node::Union(_)
            | Node::Negate(_)
            | Node::Repeat(_)
            | Node::Consolidate(_)
            | Node::Unnest { .. }
            | Node::Aggregate { .. } => Some(0),
            Node::Distinct { retracts, horizon_ms, .. } => horizon_ms.filter(|_| !retracts),
            Node::Join { left, right, spec } => {
                spec.horizon_ms.filter(|_| only_grow(&[*left, *right], &spec.retracts))
            }
            Node::MultiJoin { inputs, spec } => spec.horizon_ms.filter(|_| only_grow(inputs, &spec.retracts)),
            Node::Single { .. }
            | Node::Partition { .. }
            | Node::Series { .. }
            | Node::TopK { .. }
            | Node::TemporalFilter { .. }
            | Node::Recursion { .. } => None,
        }
    }
}
