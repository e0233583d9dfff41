//! One isolation tree, and how long the paths through it are.

/// Path lengths are whole numbers of this part of a split, so that their sum over trees is exact in
/// any order.
pub(super) const PATH_UNITS: f64 = (1 << 24) as f64;

/// A node; those of a tree stand in preorder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Node {
    Leaf {
        /// How many rows of the sample ended here.
        count: u32,
    },
    /// The node after it is the child of the rows at or below `threshold`.
    Split {
        feature: u16,
        /// A number or -infinity, which parts missing values from all others.
        threshold: f64,
        /// The place of the child of the rows above it.
        right: u32,
        count: u32,
    },
}

impl Node {
    pub(super) fn count(&self) -> u32 {
        match self {
            Self::Leaf { count } | Self::Split { count, .. } => *count,
        }
    }
}

pub(super) type Tree = Vec<Node>;

/// By number of rows, how many splits it would take on average to isolate each, in [`PATH_UNITS`]:
/// `c(n) = 2 H(n - 1) - 2 (n - 1) / n`, with exact harmonic numbers H.
pub(super) fn mean_paths(count_max: u32) -> Vec<u32> {
    let mut harmonic = 0.0;
    let path = |count: u32| {
        if count < 2 {
            return 0;
        }
        let (count, before) = (f64::from(count), f64::from(count) - 1.0);
        harmonic += 1.0 / before;
        ((2.0 * harmonic - 2.0 * before / count) * PATH_UNITS).round() as u32
    };
    (0..=count_max).map(path).collect()
}

/// The nodes that a row passes, from the root to a leaf.
pub(super) fn walk(tree: &[Node], row: &[f64]) -> impl Iterator<Item = Node> {
    let mut next = Some(0_usize);
    std::iter::from_fn(move || {
        let at = next?;
        let node = *tree.get(at)?;
        next = match node {
            Node::Leaf { .. } => None,
            // A missing value is not above anything.
            Node::Split { feature, threshold, right, .. } => {
                let above = row.get(usize::from(feature)).is_some_and(|value| *value > threshold);
                Some(if above { right as usize } else { at + 1 })
            }
        };
        Some(node)
    })
}

/// How many splits isolate a row that ends in a leaf of `count` rows, in [`PATH_UNITS`]: those that it
/// passes, and as many as those rows would still take.
pub(super) fn path_to_leaf(splits: u32, count: u32, mean_paths: &[u32]) -> u32 {
    splits * PATH_UNITS as u32 + mean_paths[count as usize]
}

/// How many splits isolate the row, in [`PATH_UNITS`].
pub(super) fn path(tree: &[Node], row: &[f64], mean_paths: &[u32]) -> u32 {
    let nodes = (0..).zip(walk(tree, row));
    nodes.last().map_or(0, |(splits, leaf)| path_to_leaf(splits, leaf.count(), mean_paths))
}

/// The number of splits on the longest path.
pub(super) fn depth(tree: &[Node]) -> u32 {
    /// Depth below the node at `at`; nodes before it are done.
    fn below(tree: &[Node], at: usize) -> u32 {
        match tree.get(at) {
            Some(Node::Split { right, .. }) => 1 + below(tree, at + 1).max(below(tree, *right as usize)),
            Some(Node::Leaf { .. }) | None => 0,
        }
    }
    below(tree, 0)
}
