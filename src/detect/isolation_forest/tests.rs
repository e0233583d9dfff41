mod bytes;
mod golden;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::key::{THRESHOLD_MAX, is_threshold, node_key, normal, value_key};
use super::*;

fn options(trees: u32, sample_size: u32, seed: u64) -> Options {
    Options { trees, sample_size, seed, depth_max: None }
}

fn slices(columns: &[Vec<f64>]) -> Vec<&[f64]> {
    columns.iter().map(Vec::as_slice).collect()
}

/// The columns of rows of so many features.
fn columns_of(rows: &[Vec<f64>], features: usize) -> Vec<Vec<f64>> {
    (0..features).map(|feature| rows.iter().map(|row| row[feature]).collect()).collect()
}

fn train(rows: &[Vec<f64>], features: usize, options: &Options) -> Forest {
    Forest::train(&slices(&columns_of(rows, features)), options).unwrap()
}

fn any_double(random: &mut StdRng) -> f64 {
    match random.random_range(0..8) {
        0 => f64::from_bits(random.random()),
        1 => f64::from_bits(random.random_range(0..1 << 53)),
        2 => [f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -f64::NAN][random.random_range(0..4)],
        3 => [0.0, -0.0, f64::MAX, -f64::MAX, THRESHOLD_MAX][random.random_range(0..5)],
        4 => f64::from(random.random_range(-3..3)),
        5 => 1.7e18 + f64::from(random.random_range(0..100)) * 1e6,
        _ => (random.random::<f64>() * 9.0).exp(),
    }
}

/// Rows of which many are equal and some features are constant or binary.
fn any_rows(features: usize, random: &mut StdRng) -> Vec<Vec<f64>> {
    let kinds: Vec<u32> = (0..features).map(|_| random.random_range(0..4)).collect();
    let mut rows: Vec<Vec<f64>> = vec![];
    for _ in 0..random.random_range(0..700) {
        let value = |kind: &u32| match kind {
            0 => 7.5,
            1 => f64::from(random.random_range(0..2)),
            _ => any_double(random),
        };
        let row = kinds.iter().map(value).collect();
        let again = random.random_range(0..3_usize);
        rows.extend(std::iter::repeat_n(row, again));
    }
    rows
}

fn bits(scores: &[f64]) -> Vec<u64> {
    scores.iter().map(|score| score.to_bits()).collect()
}

#[test]
fn what_is_apart_is_isolated() {
    let rows: Vec<Vec<f64>> = (0..500).map(|row| vec![f64::from(row % 25), f64::from(row % 20)]).collect();
    let forest = train(&rows, 2, &Options::default());
    assert_eq!((forest.features(), forest.trees(), forest.sample_size()), (2, 100, 256));
    let score = |x: f64, y: f64| forest.score(&[x, y]).unwrap();
    assert!(score(12.0, 10.0) < 0.5);
    assert!(score(100.0, 10.0) > score(12.0, 10.0) + 0.05);
    assert!(score(100.0, 100.0) > score(100.0, 10.0));
    assert!(score(-100.0, f64::NAN) > score(12.0, 10.0));
}

#[test]
fn one_anomaly_among_equal_rows_is_alone_at_once() {
    let mut rows = vec![vec![1.0, f64::NAN]; 99];
    rows.push(vec![1.0, 3.0]);
    let forest = train(&rows, 2, &options(20, 256, 1));
    assert_eq!(forest.sample_size(), 100);
    // Every tree splits once, by the feature that is not constant.
    let mean = |count: usize| f64::from(forest.mean_paths[count]) / PATH_UNITS;
    let close = |score: f64, path: f64| (score - (-path / mean(100)).exp2()).abs() < 1e-12;
    assert!(close(forest.score(&[1.0, 3.0]).unwrap(), 1.0));
    assert!(close(forest.score(&[1.0, f64::NAN]).unwrap(), 1.0 + mean(99)));
    let contributions = forest.contributions(&[1.0, 3.0]).unwrap();
    assert_eq!(contributions[0], 0.0);
    assert!((contributions[1] - (1.0 - 1.0 / mean(100))).abs() < 1e-12);
}

#[test]
fn mean_paths_are_those_of_search_trees() {
    let paths = tree::mean_paths(SAMPLE_SIZE_MAX);
    let close = |count: usize, expected: f64| (f64::from(paths[count]) / PATH_UNITS - expected).abs() < 1e-6;
    // 2 H(n - 1) - 2 (n - 1) / n
    assert!(close(0, 0.0) && close(1, 0.0) && close(2, 1.0) && close(3, 5.0 / 3.0) && close(4, 13.0 / 6.0));
    for count in [100, 256, 4096] {
        let before = count as f64 - 1.0;
        let harmonic = before.ln() + 0.577_215_664_901_532_9 + 0.5 / before - 1.0 / (12.0 * before * before);
        assert!(close(count, 2.0 * harmonic - 2.0 * before / count as f64));
    }
}

#[test]
fn without_two_rows_nothing_is_anomalous() {
    for rows in [vec![], vec![vec![1.0, 2.0]]] {
        let forest = train(&rows, 2, &Options::default());
        assert_eq!(forest.score(&[1.0, 2.0]), Ok(0.5));
        assert_eq!(forest.scores(&[&[1.0, 9.0], &[f64::NAN, 3.0]]), Ok(vec![0.5; 2]));
        assert_eq!(forest.contributions(&[9.0, 9.0]), Ok(vec![0.0; 2]));
    }
    let forest = Forest::train(&[], &Options::default()).unwrap();
    assert_eq!((forest.score(&[]), forest.scores(&[])), (Ok(0.5), Ok(vec![])));
    let equal = train(&vec![vec![4.0]; 1000], 1, &Options::default());
    assert_eq!(equal.score(&[4.0]), Ok(0.5));
}

#[test]
fn severities_have_bounds() {
    let scores = [0.0, 0.59, 0.6, 0.69, 0.7, 0.79, 0.8, 1.0, f64::NAN];
    let names = scores.map(|score| Severity::of(score).name());
    let expected = ["low", "low", "medium", "medium", "high", "high", "critical", "critical", "low"];
    assert_eq!(names, expected);
    assert!(Severity::Low < Severity::Critical);
}

#[test]
fn what_is_no_forest_is_refused() {
    let message = |result: Result<Forest, ForestError>| result.unwrap_err().to_string();
    assert_eq!(
        message(Forest::train(&[], &options(0, 256, 0))),
        "option trees = \"0\" of an isolation forest: expected a number from 1 to 1000"
    );
    assert!(message(Forest::train(&[], &options(1, 1, 0))).starts_with("option sample_size = \"1\""));
    let deep = Options { depth_max: Some(13), ..Options::default() };
    assert!(message(Forest::train(&[], &deep)).starts_with("option depth_max = \"13\""));
    assert_eq!(
        message(Forest::train(&[&[1.0], &[]], &Options::default())),
        "columns of \"0\" and of 1 rows for an isolation forest: expected one length"
    );
    let many = vec![&[][..]; FEATURES_MAX + 1];
    assert_eq!(
        message(Forest::train(&many, &Options::default())),
        "isolation forest of \"65536\" features: expected at most 65535"
    );
    let forest = train(&[vec![1.0], vec![2.0]], 1, &Options::default());
    let expected = Err(ForestError::Features { expected: 1, found: 2 });
    assert_eq!(forest.score(&[1.0, 2.0]), expected);
    assert_eq!(forest.scores(&[&[1.0], &[2.0]]).map(|_| 0.0), expected);
    assert_eq!(Sample::new(1).merge(&Sample::new(2)).map(|()| 0.0), expected);
}

#[test]
fn keys_compare_as_values_and_thresholds_do() {
    let mut random = StdRng::seed_from_u64(1);
    for _ in 0..50_000 {
        let value = any_double(&mut random);
        let near = f64::from_bits(value.to_bits().wrapping_add(random.random_range(0..1 << 18)) >> 16 << 16);
        let threshold = if random.random() { near } else { normal(any_double(&mut random)) };
        let next = normal(value);
        assert!(next.to_bits().is_multiple_of(1 << 16) && (value.is_nan() || next >= value));
        if is_threshold(threshold) {
            let above = value > threshold;
            assert_eq!(next > threshold, above, "{value:e} > {threshold:e}");
            let feature = random.random();
            if feature < u16::MAX {
                assert_eq!(
                    node_key(feature, threshold) < value_key(value),
                    above,
                    "{value:e} > {threshold:e}"
                );
                assert_eq!(key::feature(node_key(feature, threshold)), feature);
            }
        }
    }
    assert!(is_threshold(f64::NEG_INFINITY) && is_threshold(THRESHOLD_MAX) && !is_threshold(f64::MAX));
    assert!(!is_threshold(f64::INFINITY) && !is_threshold(f64::NAN));
}

#[test]
fn the_order_of_rows_leaves_no_trace() {
    let mut random = StdRng::seed_from_u64(2);
    for seed in 0..60 {
        let features = random.random_range(1..6);
        let mut rows = any_rows(features, &mut random);
        let options = options(5, [2, 20, 256][random.random_range(0..3)], seed);
        let expected = train(&rows, features, &options);
        rows.shuffle(&mut random);
        for row in &mut rows {
            let other_zeros_and_nans = |value: f64| match value {
                0.0 => -value,
                value if value.is_nan() => f64::from_bits(value.to_bits() ^ 1 << 63 | 1),
                value => value,
            };
            row.iter_mut().for_each(|value| *value = other_zeros_and_nans(*value));
        }
        assert_eq!(train(&rows, features, &options).to_bytes(), expected.to_bytes());
    }
}

#[test]
fn rows_of_one_hash_are_ordered_by_value() {
    let columns: [&[f64]; 2] = [&[2.0, 1.0, 2.0, 1.0], &[5.0, 7.0, 4.0, 7.0]];
    let mut rows = [0, 1, 2, 3];
    rows::sort_run(&columns, &mut rows);
    assert_eq!(
        rows.map(|row| (columns[0][row], columns[1][row])),
        [(1.0, 7.0), (1.0, 7.0), (2.0, 4.0), (2.0, 5.0)]
    );
}

#[test]
fn samples_that_were_kept_give_the_same_forest() {
    let mut random = StdRng::seed_from_u64(3);
    for seed in 0..60 {
        let features = random.random_range(1..6);
        let rows = any_rows(features, &mut random);
        let noise = any_rows(features, &mut random);
        let (mut left, mut right) = (Sample::new(features), Sample::new(features));
        noise.iter().for_each(|row| left.add(row, -2));
        for row in &rows {
            if random.random() { left.add(row, 1) } else { right.add(row, 1) }
        }
        noise.iter().for_each(|row| right.add(row, 2));
        left.merge(&right).unwrap();
        let options = options(5, [2, 20, 256][random.random_range(0..3)], seed);
        assert_eq!(Forest::train_on(&left, &options).unwrap(), train(&rows, features, &options));
        rows.iter().for_each(|row| left.add(row, -1));
        assert_eq!((left.distinct(), &left), (0, &Sample::new(features)));
    }
    let mut huge = Sample::new(1);
    [1.0, 2.0, 3.0].into_iter().for_each(|value| huge.add(&[value], i64::MAX));
    huge.add(&[4.0, 5.0], -1);
    huge.add(&[], 1);
    assert_eq!(Forest::train_on(&huge, &options(3, 256, 1)).unwrap().sample_size(), 256);
}

/// Every row is equally likely to be in the sample of a tree.
#[test]
fn samples_are_drawn_evenly() {
    let mut times = [0_u32; 40];
    for stream in 0..4000 {
        let drawn = rows::draw(40, 10, &mut Random::new(5, stream));
        assert_eq!(drawn.len(), 10);
        drawn.into_iter().for_each(|position| times[position as usize] += 1);
    }
    // 1000 on average, with a standard deviation of 27.
    assert!(times.iter().all(|times| (860..1140).contains(times)), "{times:?}");
}

/// Counts splits from the definition, and compares every way to a score with it bit for bit.
#[test]
fn rows_together_have_the_scores_that_they_have_alone() {
    let mut random = StdRng::seed_from_u64(4);
    for seed in 0..60 {
        let features = [1, 3, 4, 5, 8, 11, 16, 20, 40, 64, 65, 90][seed as usize % 12];
        let trained = any_rows(features, &mut random);
        let depth_max = [None, None, Some(1), Some(8), Some(9), Some(10), Some(12)][seed as usize % 7];
        let options =
            Options { depth_max, ..options(4, [2, 30, 256, 4096][random.random_range(0..4)], seed) };
        let forest = train(&trained, features, &options);
        let scored: Vec<Vec<f64>> = (0..random.random_range(0..400))
            .map(|_| match random.random_range(0..2) {
                0 if !trained.is_empty() => trained[random.random_range(0..trained.len())].clone(),
                _ => (0..features).map(|_| any_double(&mut random)).collect(),
            })
            .collect();
        let together = forest.scores(&slices(&columns_of(&scored, features))).unwrap();
        let alone: Vec<f64> = scored.iter().map(|row| forest.score(row).unwrap()).collect();
        assert_eq!(bits(&together), bits(&alone));
        for (row, score) in scored.iter().zip(together) {
            assert!((0.0..=1.0).contains(&score));
            assert_eq!(score.to_bits(), score_by_definition(&forest, row).to_bits());
            let sum: f64 = forest.contributions(row).unwrap().iter().sum();
            assert!(trained.len() < 2 || (sum - 1.0 - score.log2()).abs() < 1e-9, "{sum} for {score}");
        }
    }
}

fn score_by_definition(forest: &Forest, row: &[f64]) -> f64 {
    let mean = |count: u32| f64::from(forest.mean_paths[count as usize]) / PATH_UNITS;
    fn path(tree: &[Node], at: usize, row: &[f64], mean: &impl Fn(u32) -> f64) -> f64 {
        match tree[at] {
            Node::Leaf { count } => mean(count),
            Node::Split { feature, threshold, right, .. } => {
                let left = row[usize::from(feature)].is_nan() || row[usize::from(feature)] <= threshold;
                1.0 + path(tree, if left { at + 1 } else { right as usize }, row, mean)
            }
        }
    }
    if forest.sample_size < 2 {
        return 0.5;
    }
    let paths: f64 = forest.trees.iter().map(|tree| path(tree, 0, row, &mean)).sum();
    (-paths / (forest.trees.len() as f64 * mean(forest.sample_size))).exp2()
}

/// What the paper asks of a tree.
#[test]
fn trees_part_their_sample() {
    let mut random = StdRng::seed_from_u64(6);
    for seed in 0..60 {
        let features = random.random_range(1..6);
        let rows = any_rows(features, &mut random);
        let forest = train(&rows, features, &options(3, 64, seed));
        let depth_max = (forest.sample_size.max(2) as f64).log2().ceil() as u32;
        for tree in &forest.trees {
            assert!(tree::depth(tree) <= depth_max);
            let leaves = tree.iter().filter(|node| matches!(node, Node::Leaf { .. }));
            assert_eq!(leaves.map(Node::count).sum::<u32>(), forest.sample_size);
            assert_eq!(tree[0].count(), forest.sample_size);
            for (at, node) in tree.iter().enumerate() {
                let Node::Split { threshold, right, count, .. } = node else { continue };
                let (left, right) = (tree[at + 1].count(), tree[*right as usize].count());
                assert!(is_threshold(*threshold) && left > 0 && right > 0 && left + right == *count);
            }
        }
    }
}
