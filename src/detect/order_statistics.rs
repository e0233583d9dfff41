//! A multiset of doubles that knows its members by rank.

use super::deviation::{MAD_TO_DEVIATION, mean_of};
use super::order_key::{from_order_key, order_key};

#[cfg(test)]
mod tests;

/// No node.
const NONE: u32 = u32::MAX;

/// A multiset of doubles, in their [total order](order_key), that finds the member of any rank, the median and the
/// median distance from it.
///
/// A treap (Seidel, Aragon, *Randomized search trees*, 1996) whose priorities are hashes of the values, so that its
/// shape follows from what is in it. Inserting, removing and finding a rank take `O(log n)` expected steps; the median
/// distance takes `O(log² n)`. 40 bytes for each distinct value; at most 2^32 - 1 of them, beyond which none is added.
#[derive(Clone, Debug)]
pub struct OrderStatistics {
    nodes: Vec<Node>,
    free: Vec<u32>,
    root: u32,
}

#[derive(Clone, Debug)]
struct Node {
    key: i64,
    copies: u64,
    /// Members in the subtree.
    size: u64,
    left: u32,
    right: u32,
}

impl Default for OrderStatistics {
    fn default() -> Self {
        Self { nodes: vec![], free: vec![], root: NONE }
    }
}

/// The finalizer of SplitMix64: a bijection, so that no two values have the same priority.
fn priority(key: i64) -> u64 {
    let mixed = (key as u64 ^ key as u64 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}

impl OrderStatistics {
    /// Members, each copy counted.
    pub fn len(&self) -> u64 {
        self.size(self.root)
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes on the heap, with what is reserved for growth.
    pub fn size_bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<Node>() + self.free.capacity() * size_of::<u32>()
    }

    /// Adds one copy of a value.
    pub fn insert(&mut self, value: f64) {
        if self.nodes.len() < NONE as usize {
            self.root = self.insert_below(self.root, order_key(value));
        }
    }

    /// Takes one copy of a value away; `false` if there was none.
    pub fn remove(&mut self, value: f64) -> bool {
        let key = order_key(value);
        let is_there = self.contains(key);
        if is_there {
            self.root = self.remove_below(self.root, key);
        }
        is_there
    }

    /// The member of a rank, counted from 0 upwards.
    pub fn get(&self, rank: u64) -> Option<f64> {
        let (mut at, mut rank) = (self.root, rank);
        while at != NONE {
            let node = &self.nodes[at as usize];
            let below = self.size(node.left);
            if rank < below {
                at = node.left;
            } else if rank < below + node.copies {
                return Some(from_order_key(node.key));
            } else {
                rank -= below + node.copies;
                at = node.right;
            }
        }
        None
    }

    /// The median, of an even number the mean of the middle two; `None` if empty.
    pub fn median(&self) -> Option<f64> {
        let count = self.len();
        Some(mean_of(self.get(count.checked_sub(1)? / 2)?, self.get(count / 2)?))
    }

    /// The median distance from the median, times [`MAD_TO_DEVIATION`]; `None` for fewer than two members.
    pub fn robust_deviation(&self) -> Option<f64> {
        let (median, count) = (self.median().filter(|_| self.len() >= 2)?, self.len());
        let lower = self.distance(median, (count - 1) / 2)?;
        let upper = self.distance(median, count / 2)?;
        Some(mean_of(lower, upper) * MAD_TO_DEVIATION)
    }

    /// The distance of a rank among all distances from the median, of which those to the members below it and those
    /// to the members above it are two sorted sequences: a search for how many of the lowest are of the first.
    fn distance(&self, median: f64, rank: u64) -> Option<f64> {
        let (below, all) = (self.len() / 2, rank + 1);
        let down = |place: u64| self.get(below - 1 - place).map_or(f64::INFINITY, |value| median - value);
        let up = |place: u64| self.get(below + place).map_or(f64::INFINITY, |value| value - median);
        let (mut low, mut high) = (all.saturating_sub(self.len() - below), all.min(below));
        while low < high {
            let middle = low.midpoint(high);
            if down(middle) < up(all - middle - 1) { low = middle + 1 } else { high = middle }
        }
        let ends = [(low > 0).then(|| down(low - 1)), (all > low).then(|| up(all - low - 1))];
        ends.into_iter().flatten().reduce(f64::max)
    }

    fn size(&self, at: u32) -> u64 {
        if at == NONE { 0 } else { self.nodes[at as usize].size }
    }

    fn contains(&self, key: i64) -> bool {
        let mut at = self.root;
        while at != NONE {
            let node = &self.nodes[at as usize];
            if node.key == key {
                return true;
            }
            at = if key < node.key { node.left } else { node.right };
        }
        false
    }

    /// Counts the subtree of `at` again.
    fn recount(&mut self, at: u32) {
        let node = &self.nodes[at as usize];
        self.nodes[at as usize].size = node.copies + self.size(node.left) + self.size(node.right);
    }

    /// The subtree of `at` with one copy more of `key`.
    fn insert_below(&mut self, at: u32, key: i64) -> u32 {
        if at == NONE {
            return self.new_node(key);
        }
        let Node { key: here, left, right, .. } = self.nodes[at as usize];
        let mut top = at;
        if key < here {
            let child = self.insert_below(left, key);
            self.nodes[at as usize].left = child;
            if priority(self.nodes[child as usize].key) > priority(here) {
                self.nodes[at as usize].left = self.nodes[child as usize].right;
                self.nodes[child as usize].right = at;
                top = child;
            }
        } else if key > here {
            let child = self.insert_below(right, key);
            self.nodes[at as usize].right = child;
            if priority(self.nodes[child as usize].key) > priority(here) {
                self.nodes[at as usize].right = self.nodes[child as usize].left;
                self.nodes[child as usize].left = at;
                top = child;
            }
        } else {
            self.nodes[at as usize].copies += 1;
        }
        self.recount(at);
        if top != at {
            self.recount(top);
        }
        top
    }

    fn new_node(&mut self, key: i64) -> u32 {
        let node = Node { key, copies: 1, size: 1, left: NONE, right: NONE };
        if let Some(at) = self.free.pop() {
            self.nodes[at as usize] = node;
            return at;
        }
        self.nodes.push(node);
        (self.nodes.len() - 1) as u32
    }

    /// The subtree of `at` with one copy less of `key`, which is in it.
    fn remove_below(&mut self, at: u32, key: i64) -> u32 {
        let Node { key: here, copies, left, right, .. } = self.nodes[at as usize];
        if key < here {
            self.nodes[at as usize].left = self.remove_below(left, key);
        } else if key > here {
            self.nodes[at as usize].right = self.remove_below(right, key);
        } else if copies > 1 {
            self.nodes[at as usize].copies -= 1;
        } else {
            self.free.push(at);
            return self.joined(left, right);
        }
        self.recount(at);
        at
    }

    /// One tree of two, all of whose members are below those of the second.
    fn joined(&mut self, left: u32, right: u32) -> u32 {
        if left == NONE || right == NONE {
            return if left == NONE { right } else { left };
        }
        let (low, high) = (&self.nodes[left as usize], &self.nodes[right as usize]);
        if priority(low.key) > priority(high.key) {
            self.nodes[left as usize].right = self.joined(low.right, right);
            self.recount(left);
            left
        } else {
            self.nodes[right as usize].left = self.joined(left, high.left);
            self.recount(right);
            right
        }
    }
}
