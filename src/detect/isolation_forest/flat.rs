//! Scoring of many rows.

use super::tree::{self, Tree};

#[derive(Clone, Debug)]
pub(super) struct Flat {
    trees: Vec<Tree>, mean: Vec<u32>
}

impl Flat {
    pub(super) fn new(trees: &[Tree], mean_paths: &[u32]) -> Self {
        Self { trees: trees.to_vec(), mean: mean_paths.to_vec() }
    }

    pub(super) fn add_paths(&self, columns: &[&[f64]], paths: &mut [u64]) {
        let mut row = vec![0.0; columns.len()];
        for (at, sum) in paths.iter_mut().enumerate() {
            for (v, c) in row.iter_mut().zip(columns) { *v = c[at]; }
            for t in &self.trees { *sum += u64::from(tree::path(t, &row, &self.mean)); }
        }
    }
}
