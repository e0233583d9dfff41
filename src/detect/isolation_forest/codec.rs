//! Forests as bytes: equal forests have equal bytes.

use super::key::is_threshold;
use super::tree::{Node, Tree};
use super::{DEPTH_MAX, FEATURES_MAX, Forest, SAMPLE_SIZE_MAX, TREES_MAX};
use crate::detect::bytes::{DecodeError, Reader, put_unsigned};

const KIND: &str = "isolation forest";
const VERSION: u8 = 1;

impl Forest {
    /// The forest as bytes, about 6 a node.
    ///
    /// The version of this format; the number of features, the size of a sample and the number of
    /// trees; then the nodes of each tree in preorder. A leaf is 0 and its number of rows; a split is
    /// its feature counted from 1 and its threshold. All integers are LEB128; a threshold is its eight
    /// bytes with the most significant one first in place of the least, so that zeros at the end of its
    /// digits take no room.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        put_unsigned(&mut out, self.features as u64);
        put_unsigned(&mut out, u64::from(self.sample_size));
        put_unsigned(&mut out, self.trees.len() as u64);
        for node in self.trees.iter().flatten() {
            match node {
                Node::Leaf { count } => {
                    out.push(0);
                    put_unsigned(&mut out, u64::from(*count));
                }
                Node::Split { feature, threshold, .. } => {
                    put_unsigned(&mut out, u64::from(*feature) + 1);
                    put_unsigned(&mut out, threshold.to_bits().swap_bytes());
                }
            }
        }
        out
    }

    /// The forest that [`Forest::to_bytes`] wrote.
    ///
    /// # Errors
    /// When the bytes are not those of a forest, whole and of this version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(KIND, bytes);
        let version = reader.byte()?;
        if version != VERSION {
            return Err(reader.out_of_range("version", version));
        }
        let features = within(&mut reader, "number of features", 0, FEATURES_MAX as u64)? as usize;
        let sample_size = within(&mut reader, "sample size", 0, u64::from(SAMPLE_SIZE_MAX))? as u32;
        let count = within(&mut reader, "number of trees", 1, u64::from(TREES_MAX))?;
        let mut trees = vec![];
        for _ in 0..count {
            let mut reading = Reading { reader: &mut reader, features, tree: vec![] };
            let rows = reading.node(0, sample_size)?;
            trees.push(reading.tree);
            if rows != sample_size {
                return Err(reader.out_of_range("number of rows of a tree", rows));
            }
        }
        reader.end()?;
        Ok(Self::new(features, sample_size, trees))
    }
}

/// An integer from `min` to `max`.
fn within(reader: &mut Reader<'_>, what: &'static str, min: u64, max: u64) -> Result<u64, DecodeError> {
    let value = reader.unsigned()?;
    if (min..=max).contains(&value) { Ok(value) } else { Err(reader.out_of_range(what, value)) }
}

struct Reading<'a, 'b> {
    reader: &'a mut Reader<'b>,
    features: usize,
    tree: Tree,
}

impl Reading<'_, '_> {
    /// Reads the node `depth` splits below the root and all below it; returns its number of rows, at
    /// most `rows_max`.
    fn node(&mut self, depth: u32, rows_max: u32) -> Result<u32, DecodeError> {
        let tag = within(self.reader, "feature", 0, self.features as u64)?;
        let at = self.tree.len();
        if tag == 0 {
            // Only a tree without rows has a leaf without.
            let rows_min = u64::from(rows_max > 0 || depth > 0);
            let count =
                within(self.reader, "number of rows of a leaf", rows_min, u64::from(rows_max))? as u32;
            self.tree.push(Node::Leaf { count });
            return Ok(count);
        }
        if depth == DEPTH_MAX {
            return Err(self.reader.out_of_range("depth", depth + 1));
        }
        let threshold = f64::from_bits(self.reader.unsigned()?.swap_bytes());
        if !is_threshold(threshold) {
            return Err(self.reader.out_of_range("threshold", threshold));
        }
        self.tree.push(Node::Leaf { count: 0 });
        let left = self.node(depth + 1, rows_max)?;
        let right_at = self.tree.len() as u32;
        let count = left + self.node(depth + 1, rows_max - left)?;
        let feature = (tag - 1) as u16;
        self.tree[at] = Node::Split { feature, threshold, right: right_at, count };
        Ok(count)
    }
}
