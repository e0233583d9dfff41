//! Forests as bytes.

use super::*;

#[test]
fn forests_come_back_from_their_bytes() {
    let mut random = StdRng::seed_from_u64(10);
    for seed in 0..60 {
        let features = random.random_range(0..300);
        let rows = any_rows(features, &mut random);
        let forest = train(&rows, features, &options(3, [2, 50, 1000][random.random_range(0..3)], seed));
        let bytes = forest.to_bytes();
        let back = Forest::from_bytes(&bytes).unwrap();
        assert_eq!(back, forest);
        assert_eq!(back.to_bytes(), bytes);
        let row: Vec<f64> = (0..features).map(|_| any_double(&mut random)).collect();
        assert_eq!(back.score(&row).map(f64::to_bits), forest.score(&row).map(f64::to_bits));
        for length in (0..bytes.len()).step_by(1 + bytes.len() / 40) {
            assert!(Forest::from_bytes(&bytes[..length]).is_err());
        }
    }
}

#[test]
fn bytes_are_few() {
    let mut random = StdRng::seed_from_u64(11);
    let rows: Vec<Vec<f64>> = (0..1000).map(|_| (0..6).map(|_| random.random()).collect()).collect();
    let forest = train(&rows, 6, &Options::default());
    let nodes: usize = forest.trees.iter().map(Vec::len).sum();
    let bytes = forest.to_bytes().len();
    assert!(bytes < nodes * 4, "{bytes} for {nodes}");
}

#[test]
fn bytes_of_others_are_refused() {
    let message = |bytes: &[u8]| Forest::from_bytes(bytes).unwrap_err().to_string();
    // Version 1, one feature, samples of two rows, one tree: a split at 0, and two leaves.
    let good = [1, 1, 2, 1, 1, 0, 0, 1, 0, 1];
    assert_eq!(Forest::from_bytes(&good).unwrap().score(&[3.0]), Ok(0.5));
    assert_eq!(message(&[]), "state of isolation forest ends early, after 0 bytes");
    assert_eq!(message(&[good.as_slice(), &[0]].concat()), "state of isolation forest has 1 bytes left over");
    for (at, value, what) in [
        (0, 2, "version \"2\""),
        (3, 0, "number of trees \"0\""),
        (4, 2, "feature \"2\""),
        (7, 0, "number of rows of a leaf \"0\""),
        (9, 2, "number of rows of a leaf \"2\""),
        (2, 3, "number of rows of a tree \"2\""),
    ] {
        let mut bad = good;
        bad[at] = value;
        assert_eq!(message(&bad), format!("state of isolation forest holds {what} outside its range"));
    }
    let threshold = |value: f64| {
        let mut bytes = vec![1, 1, 2, 1, 1];
        crate::detect::bytes::put_unsigned(&mut bytes, value.to_bits().swap_bytes());
        bytes.extend([0, 1, 0, 1]);
        Forest::from_bytes(&bytes).is_ok()
    };
    assert!(threshold(-2.5) && threshold(f64::NEG_INFINITY));
    assert!(!threshold(f64::NAN) && !threshold(f64::INFINITY) && !threshold(0.1));
    let deep = [[1, 1, 100, 1].as_slice(), &[1, 0].repeat(13)].concat();
    assert_eq!(message(&deep), "state of isolation forest holds depth \"13\" outside its range");
}

/// Any bytes give a forest that is whole, or an error: it can be scored and written again.
#[test]
fn any_bytes_give_a_forest_or_an_error() {
    let mut random = StdRng::seed_from_u64(12);
    let rows: Vec<Vec<f64>> = (0..30).map(|_| (0..2).map(|_| any_double(&mut random)).collect()).collect();
    let written = train(&rows, 2, &options(2, 8, 1)).to_bytes();
    let mut read = 0;
    for _ in 0..20_000 {
        let mut bytes = written.clone();
        if random.random() {
            bytes.truncate(random.random_range(0..bytes.len()));
            bytes.extend((0..random.random_range(0..9)).map(|_| random.random_range(0..4_u8)));
        }
        for _ in 0..random.random_range(0..3) {
            let at = random.random_range(0..bytes.len().max(1));
            bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = random.random());
        }
        let Ok(forest) = Forest::from_bytes(&bytes) else { continue };
        read += 1;
        let row = vec![1.0; forest.features()];
        let together = forest.scores(&row.iter().map(std::slice::from_ref).collect::<Vec<_>>()).unwrap();
        let alone = forest.score(&row).unwrap();
        assert!((0.0..=1.0).contains(&alone));
        assert!(together.iter().all(|score| score.to_bits() == alone.to_bits()));
        assert_eq!(Forest::from_bytes(&forest.to_bytes()), Ok(forest));
    }
    assert!(read > 2_000);
}
