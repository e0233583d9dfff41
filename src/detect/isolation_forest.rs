//! Isolation forests: how few random splits set a row apart from a sample of rows.
//!
//! Liu, Ting and Zhou, *Isolation forest* (ICDM 2008) and *Isolation-based anomaly detection* (TKDD
//! 2012). Each tree takes a sample of the rows and splits it by a feature drawn by chance, at a
//! threshold drawn between that feature's extremes, until rows are alone or as deep as a balanced tree
//! would be. What is unlike the rest is alone after few splits.
//!
//! A forest is a function of the multiset of rows that it is trained on, of the options and of the
//! seed: never of the order of the rows, of their batches, or of the machine. Trees draw their samples
//! from the rows in an order that the rows themselves determine.
//!
//! Any doubles may be features. A missing value (NaN) counts as below every number: where it is rare
//! it is isolated soon, where it is common it is not. The same goes for the infinities, each at its
//! end of the numbers. Values are told apart by 36 binary, about 11 decimal, digits. Features that are
//! constant in a node are not chosen to split it.

mod codec;
mod flat;
mod grow;
mod key;
mod random;
mod rows;
#[cfg(test)]
mod tests;
mod tree;

use flat::Flat;
use random::Random;
pub use rows::Sample;
use rows::{Columns, Rows, Sampled};
use tree::{Node, PATH_UNITS, Tree};

/// The most trees of a forest.
pub const TREES_MAX: u32 = 1000;
/// The largest sample of a tree.
pub const SAMPLE_SIZE_MAX: u32 = 4096;
/// The most splits on a path.
pub const DEPTH_MAX: u32 = 12;
/// The most features of a row.
pub const FEATURES_MAX: usize = 65_535;

/// How a forest is trained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many trees: from 1 to [`TREES_MAX`].
    pub trees: u32,
    /// How many rows each tree sees: from 2 to [`SAMPLE_SIZE_MAX`]. All rows, where there are fewer.
    pub sample_size: u32,
    /// What chance begins from.
    pub seed: u64,
    /// The most splits on a path, from 1 to [`DEPTH_MAX`]; else as many as a balanced tree of the
    /// sample has, `ceil(log2(sample size))`.
    pub depth_max: Option<u32>,
}

impl Default for Options {
    /// What the paper recommends: 100 trees of 256 rows.
    fn default() -> Self {
        Self { trees: 100, sample_size: 256, seed: 0, depth_max: None }
    }
}

/// Why there is no forest, or no score.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForestError {
    /// An option is outside its range.
    #[error("option {name} = \"{value}\" of an isolation forest: expected a number from {min} to {max}")]
    Option {
        /// The option.
        name: &'static str,
        /// What it was.
        value: u32,
        /// The least allowed.
        min: u32,
        /// The most allowed.
        max: u32,
    },
    /// There are more features than [`FEATURES_MAX`].
    #[error("isolation forest of \"{count}\" features: expected at most {FEATURES_MAX}")]
    TooManyFeatures {
        /// How many there are.
        count: usize,
    },
    /// Rows have another number of features than those of the training had.
    #[error("row of \"{found}\" features for an isolation forest: expected {expected}")]
    Features {
        /// How many the forest has.
        expected: usize,
        /// How many were given.
        found: usize,
    },
    /// The columns of features are not of one length.
    #[error("columns of \"{found}\" and of {expected} rows for an isolation forest: expected one length")]
    Lengths {
        /// The length of the first.
        expected: usize,
        /// The length of another.
        found: usize,
    },
}

/// How anomalous a score is, in words.
///
/// The paper gives the first bounds: a forest whose scores are all about 0.5 knows no distinct anomaly,
/// and what is at or above 0.6 may be one. The others part the rest evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Below 0.6: like the rest.
    Low,
    /// From 0.6: unlike most.
    Medium,
    /// From 0.7: unlike nearly all.
    High,
    /// From 0.8: apart from all.
    Critical,
}

impl Severity {
    /// The severity of a score; of NaN, the lowest.
    pub fn of(score: f64) -> Self {
        match score {
            score if score >= 0.8 => Self::Critical,
            score if score >= 0.7 => Self::High,
            score if score >= 0.6 => Self::Medium,
            _ => Self::Low,
        }
    }

    /// In lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// A trained forest.
///
/// Immutable, and equal to another where all trees are. Takes about 0.6 MB with 100 trees of 256 rows,
/// and never more than 50 MB and 24 bytes a node.
///
/// ```
/// use undercurrent::detect::isolation_forest::{Forest, Options, Severity};
/// let latency_ms: Vec<f64> = (0..1000).map(|row| 20.0 + f64::from(row % 70)).collect();
/// let errors: Vec<f64> = (0..1000).map(|row| f64::from(row % 3)).collect();
/// let forest = Forest::train(&[&latency_ms, &errors], &Options::default())?;
/// assert_eq!(Severity::of(forest.score(&[55.0, 1.0])?), Severity::Low);
/// assert!(Severity::of(forest.score(&[900.0, 40.0])?) >= Severity::Medium);
/// # Ok::<(), undercurrent::detect::isolation_forest::ForestError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Forest {
    features: usize,
    /// How many rows each tree has seen.
    sample_size: u32,
    trees: Vec<Tree>,
    /// See [`tree::mean_paths`]: up to the sample's size.
    mean_paths: Vec<u32>,
    /// The same trees, for many rows.
    flat: Flat,
}

impl PartialEq for Forest {
    fn eq(&self, other: &Self) -> bool {
        (self.features, self.sample_size, &self.trees) == (other.features, other.sample_size, &other.trees)
    }
}

impl Forest {
    /// Trains a forest on rows, given as one slice of values for each feature.
    ///
    /// Without rows, or with one, nothing can be told apart: every score is 0.5.
    ///
    /// # Errors
    /// When an option is outside its range, there are too many features, or the columns are not of one
    /// length.
    pub fn train(columns: &[&[f64]], options: &Options) -> Result<Self, ForestError> {
        options.check(columns.len())?;
        let rows = Columns::new(columns, row_count(columns)?);
        Ok(Self::grow(&rows, columns.len(), options))
    }

    /// Trains a forest on a sample that was kept.
    ///
    /// # Errors
    /// When an option is outside its range, or there are too many features.
    pub fn train_on(sample: &Sample, options: &Options) -> Result<Self, ForestError> {
        options.check(sample.features())?;
        Ok(Self::grow(&Sampled::new(sample), sample.features(), options))
    }

    fn grow(rows: &impl Rows, features: usize, options: &Options) -> Self {
        let sample_size = rows.total().min(u64::from(options.sample_size)) as u32;
        let depth_max = options.depth_max.unwrap_or_else(|| sample_size.max(2).next_power_of_two().ilog2());
        let trees = (0..u64::from(options.trees)).map(|tree| {
            grow::grow(rows, features, sample_size as usize, depth_max, Random::new(options.seed, tree))
        });
        Self::new(features, sample_size, trees.collect())
    }

    /// Trees of at least one node, each a sample of that size, of features and depths below the most.
    fn new(features: usize, sample_size: u32, trees: Vec<Tree>) -> Self {
        let mean_paths = tree::mean_paths(sample_size);
        let flat = Flat::new(&trees, &mean_paths);
        Self { features, sample_size, trees, mean_paths, flat }
    }

    /// How many features a row has.
    pub fn features(&self) -> usize {
        self.features
    }

    /// How many trees there are.
    pub fn trees(&self) -> usize {
        self.trees.len()
    }

    /// How many rows each tree has seen: as many as the options said, or all that there were.
    pub fn sample_size(&self) -> u32 {
        self.sample_size
    }

    /// Bytes held on the heap, about.
    pub fn heap_bytes(&self) -> usize {
        let nodes: usize = self.trees.iter().map(Vec::capacity).sum();
        size_of_val(&*self.trees)
            + nodes * size_of::<Node>()
            + size_of_val(&*self.mean_paths)
            + self.flat.heap_bytes()
    }

    /// How anomalous a row is, from 0 to 1: `2^(-E(h) / c)`, where `E(h)` is how many splits isolate it
    /// on average over the trees, and `c` how many isolate a row of the sample.
    ///
    /// Rows whose features are equal have equal bits as scores, by this or by [`Forest::scores`].
    ///
    /// # Errors
    /// When the row has not as many features as the forest.
    pub fn score(&self, row: &[f64]) -> Result<f64, ForestError> {
        check_features(self.features, row.len())?;
        let path = |tree: &Tree| u64::from(tree::path(tree, row, &self.mean_paths));
        Ok(self.score_of(self.trees.iter().map(path).sum()))
    }

    /// [`Forest::score`] of many rows, given as one slice of values for each feature.
    ///
    /// # Errors
    /// When there are not as many columns as the forest has features, or they are not of one length.
    pub fn scores(&self, columns: &[&[f64]]) -> Result<Vec<f64>, ForestError> {
        check_features(self.features, columns.len())?;
        let mut paths = vec![0; row_count(columns)?];
        self.flat.add_paths(columns, &mut paths);
        Ok(paths.into_iter().map(|path| self.score_of(path)).collect())
    }

    /// The score for the sum of the paths through all trees.
    fn score_of(&self, paths: u64) -> f64 {
        match self.mean_paths[self.sample_size as usize] {
            0 => 0.5,
            mean => (-(paths as f64) / (self.trees.len() as f64 * f64::from(mean))).exp2(),
        }
    }

    /// What each feature has to do with a row's score: how many splits by it were saved, as a part of
    /// those that a row of the sample takes.
    ///
    /// A split by a feature counts the rows that it parts the row from: it saves `c(n) - c(m) - 1`
    /// splits when `m` of `n` rows are left. So the contributions of all features add up to
    /// `1 + log2(score)`: to 0 for a row as any other, to nearly 1 for one that is always alone at once.
    /// A feature that keeps the row among the many contributes less than nothing.
    ///
    /// # Errors
    /// When the row has not as many features as the forest.
    pub fn contributions(&self, row: &[f64]) -> Result<Vec<f64>, ForestError> {
        check_features(self.features, row.len())?;
        let mut saved = vec![0_i64; self.features];
        let mean_path = |node: Node| i64::from(self.mean_paths[node.count() as usize]);
        for tree in &self.trees {
            let mut nodes = tree::walk(tree, row).peekable();
            while let (Some(node), Some(next)) = (nodes.next(), nodes.peek()) {
                if let Node::Split { feature, .. } = node {
                    saved[usize::from(feature)] += mean_path(node) - mean_path(*next) - PATH_UNITS as i64;
                }
            }
        }
        let mean = f64::from(self.mean_paths[self.sample_size as usize].max(1));
        Ok(saved.into_iter().map(|saved| saved as f64 / (self.trees.len() as f64 * mean)).collect())
    }
}

impl Options {
    fn check(&self, features: usize) -> Result<(), ForestError> {
        for (name, value, min, max) in [
            ("trees", Some(self.trees), 1, TREES_MAX),
            ("sample_size", Some(self.sample_size), 2, SAMPLE_SIZE_MAX),
            ("depth_max", self.depth_max, 1, DEPTH_MAX),
        ] {
            if let Some(value) = value.filter(|value| !(min..=max).contains(value)) {
                return Err(ForestError::Option { name, value, min, max });
            }
        }
        if features > FEATURES_MAX {
            return Err(ForestError::TooManyFeatures { count: features });
        }
        Ok(())
    }
}

fn check_features(expected: usize, found: usize) -> Result<(), ForestError> {
    if expected == found { Ok(()) } else { Err(ForestError::Features { expected, found }) }
}

/// The one length of all columns; 0 without any.
fn row_count(columns: &[&[f64]]) -> Result<usize, ForestError> {
    let expected = columns.first().map_or(0, |column| column.len());
    match columns.iter().find(|column| column.len() != expected) {
        Some(column) => Err(ForestError::Lengths { expected, found: column.len() }),
        None => Ok(expected),
    }
}
