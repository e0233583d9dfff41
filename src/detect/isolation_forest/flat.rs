//! Scoring of many rows: trees without pointers or branches.
//!
//! A tree is filled up to a complete one, whose nodes stand level by level: from the root, at
//! [`ROOT`], the children of node `i` are `2 i - 1` and `2 i`, so that one comparison and an addition
//! with carry lead down. Rows are transposed in blocks and go down a tree several at a time, so that the
//! processor waits for many of them at once.

use super::key::{feature, node_key, value_key};
use super::tree::{self, Node, Tree};

/// Splits on every path, at least: shallower trees are filled up to it. Deeper ones are filled up to the
/// next even number, as each depth has code of its own.
const DEPTH_MIN: u32 = 8;
/// Features that a byte can name.
const BYTE: usize = 1 << 8;
/// Rows that go down a tree together: as many as there are registers for.
const TOGETHER: usize = 12;
/// The place of the root. Places are taken modulo the size of the tree.
const ROOT: usize = 2;

#[derive(Clone, Debug)]
pub(super) struct Flat {
    /// Splits on every path.
    depth: u32,
    /// Nodes of a tree, of which one is not used, and leaves.
    size: usize,
    /// See [`node_key`].
    nodes: Vec<u64>,
    /// The length of the path that ends in each leaf.
    paths: Vec<u32>,
}

impl Flat {
    pub(super) fn new(trees: &[Tree], mean_paths: &[u32]) -> Self {
        let depth = trees.iter().map(|tree| tree::depth(tree)).fold(DEPTH_MIN, u32::max);
        let depth = depth.next_multiple_of(2);
        let size = 1 << depth;
        let count = size * trees.len();
        let mut flat = Self { depth, size, nodes: vec![0; count], paths: vec![0; count] };
        let parts = flat.nodes.chunks_exact_mut(size).zip(flat.paths.chunks_exact_mut(size));
        for (tree, (nodes, paths)) in trees.iter().zip(parts) {
            Filling { tree, mean_paths, depth, nodes, paths }.fill(0, ROOT, 0);
        }
        flat
    }

    /// Bytes held on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.nodes) + size_of_val(&*self.paths)
    }

    /// Adds the length of each row's paths through all trees to its sum, in
    /// [`PATH_UNITS`](tree::PATH_UNITS).
    pub(super) fn add_paths(&self, columns: &[&[f64]], sums: &mut [u64]) {
        match self.depth {
            DEPTH_MIN => self.add_paths_of::<{ 1 << 8 }>(columns, sums),
            10 => self.add_paths_of::<{ 1 << 10 }>(columns, sums),
            _ => self.add_paths_of::<{ 1 << 12 }>(columns, sums),
        }
    }

    /// [`Flat::add_paths`] of trees of this size.
    fn add_paths_of<const SIZE: usize>(&self, columns: &[&[f64]], sums: &mut [u64]) {
        match columns.len() {
            0..=4 => self.in_windows::<SIZE, 4, { TOGETHER * 4 + BYTE }>(columns, sums),
            5..=8 => self.in_windows::<SIZE, 8, { TOGETHER * 8 + BYTE }>(columns, sums),
            9..=16 => self.in_windows::<SIZE, 16, { TOGETHER * 16 + BYTE }>(columns, sums),
            17..=32 => self.in_windows::<SIZE, 32, { TOGETHER * 32 + BYTE }>(columns, sums),
            33..=64 => self.in_windows::<SIZE, 64, { TOGETHER * 64 + BYTE }>(columns, sums),
            count => self.in_blocks(columns, sums, count, 0, |rows, sums| self.walk(rows, sums, count)),
        }
    }

    /// Calls `walk` with one block of rows after the other, `stride` values each and `padding` more
    /// behind them, and with sums for as many rows as there are, rounded up to [`TOGETHER`].
    fn in_blocks(
        &self,
        columns: &[&[f64]],
        sums: &mut [u64],
        stride: usize,
        padding: usize,
        walk: impl Fn(&[u64], &mut [u64]),
    ) {
        /// What stays in the first cache beside a tree.
        const VALUES: usize = 2048;
        let count = TOGETHER * (VALUES / (TOGETHER * stride.max(1))).clamp(1, 12);
        let mut rows = vec![0; count * stride + padding];
        let mut block_sums = vec![0; count];
        for (block, sums) in sums.chunks_mut(count).enumerate() {
            for (feature, column) in columns.iter().enumerate() {
                let values = &column[block * count..][..sums.len()];
                for (row, value) in rows.chunks_exact_mut(stride).zip(values) {
                    row[feature] = value_key(*value);
                }
            }
            block_sums.fill(0);
            // What is left of an earlier block in the last rows is walked too, to no end.
            walk(&rows, &mut block_sums[..sums.len().next_multiple_of(TOGETHER)]);
            sums.iter_mut().zip(&block_sums).for_each(|(sum, more)| *sum += more);
        }
    }

    /// For few features, which are bytes: an array that has room for all bytes needs no check. `WINDOW`
    /// is where [`TOGETHER`] rows and any feature from there are.
    fn in_windows<const SIZE: usize, const STRIDE: usize, const WINDOW: usize>(
        &self,
        columns: &[&[f64]],
        sums: &mut [u64],
    ) {
        self.in_blocks(columns, sums, STRIDE, BYTE, |rows, sums| {
            let trees = self.nodes.as_chunks::<SIZE>().0.iter().zip(self.paths.as_chunks::<SIZE>().0);
            for (nodes, paths) in trees {
                let mut rows = rows;
                for sums in sums.as_chunks_mut::<TOGETHER>().0 {
                    let Some(window) = rows.first_chunk::<WINDOW>() else { return };
                    walk_together::<SIZE, STRIDE, WINDOW>(nodes, paths, window, sums);
                    rows = &rows[TOGETHER * STRIDE..];
                }
            }
        });
    }

    /// For any number of features and any depth.
    fn walk(&self, rows: &[u64], sums: &mut [u64], stride: usize) {
        // A remainder, without a division: the size is a power of two.
        let within = |place: usize| place & (self.size - 1);
        let trees = self.nodes.chunks_exact(self.size).zip(self.paths.chunks_exact(self.size));
        for (nodes, paths) in trees {
            let together = rows.chunks_exact(stride * TOGETHER).zip(sums.as_chunks_mut::<TOGETHER>().0);
            for (rows, sums) in together {
                let mut at = [ROOT; TOGETHER];
                for _ in 0..self.depth {
                    for (at, row) in at.iter_mut().zip(rows.chunks_exact(stride)) {
                        let node = nodes[within(*at)];
                        *at = 2 * *at - usize::from(node >= row[usize::from(feature(node))]);
                    }
                }
                sums.iter_mut().zip(at).for_each(|(sum, at)| *sum += u64::from(paths[within(at)]));
            }
        }
    }
}

/// Adds the length of each row's path through one tree to its sum.
///
/// Written out level by level: the compiler then knows the range of every place, so that none needs a
/// check. Not inlined: places have the registers for themselves.
#[inline(never)]
fn walk_together<const SIZE: usize, const STRIDE: usize, const WINDOW: usize>(
    nodes: &[u64; SIZE],
    paths: &[u32; SIZE],
    rows: &[u64; WINDOW],
    sums: &mut [u64; TOGETHER],
) {
    let is_below = |row: usize, node: u64| node >= rows[row * STRIDE + usize::from(feature(node) as u8)];
    let down = |at: [usize; TOGETHER]| -> [usize; TOGETHER] {
        std::array::from_fn(|row| 2 * at[row] - usize::from(is_below(row, nodes[at[row] % SIZE])))
    };
    let mut at = down(down(down(down([ROOT; TOGETHER]))));
    at = down(down(down(down(at))));
    if SIZE >= 1 << 10 {
        at = down(down(at));
    }
    if SIZE >= 1 << 12 {
        at = down(down(at));
    }
    for (sum, at) in sums.iter_mut().zip(at) {
        *sum += u64::from(paths[at % SIZE]);
    }
}

/// One tree on its way to a complete one of `depth` levels.
struct Filling<'a> {
    tree: &'a [Node],
    mean_paths: &'a [u32],
    depth: u32,
    nodes: &'a mut [u64],
    paths: &'a mut [u32],
}

impl Filling<'_> {
    /// Puts the node `from` and all below it at `to`, so many splits below the root.
    fn fill(&mut self, from: usize, to: usize, splits: u32) {
        match self.tree.get(from) {
            Some(Node::Split { feature, threshold, right, .. }) => {
                let size = self.nodes.len();
                self.nodes[to % size] = node_key(*feature, *threshold);
                self.fill(from + 1, 2 * to - 1, splits + 1);
                self.fill(*right as usize, 2 * to, splits + 1);
            }
            Some(Node::Leaf { count }) => {
                // Nodes between here and the last level lead to leaves of one path, whatever they are.
                let path = tree::path_to_leaf(splits, *count, self.mean_paths);
                let (levels, size) = (self.depth - splits, self.paths.len());
                for leaf in ((to - 1) << levels) + 1..=to << levels {
                    self.paths[leaf % size] = path;
                }
            }
            None => {}
        }
    }
}
