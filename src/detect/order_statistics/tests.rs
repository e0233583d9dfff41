use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::super::deviation::{Deviation, deviation};
use super::*;

#[test]
fn ranks_are_those_of_the_sorted_values() {
    let mut set = OrderStatistics::default();
    assert!(set.is_empty() && set.median().is_none() && set.get(0).is_none() && !set.remove(1.0));
    [3.0, -1.0, 3.0, f64::INFINITY, 0.5].iter().for_each(|value| set.insert(*value));
    let ranked: Vec<f64> = (0..6).map_while(|rank| set.get(rank)).collect();
    assert_eq!(ranked, [-1.0, 0.5, 3.0, 3.0, f64::INFINITY]);
    assert_eq!(set.median(), Some(3.0));
    assert_eq!(set.robust_deviation(), Some(2.5 * MAD_TO_DEVIATION));
    assert!(set.remove(3.0) && set.remove(3.0) && !set.remove(3.0));
    assert_eq!((set.len(), set.median()), (3, Some(0.5)));
}

#[test]
fn agrees_with_sorting() {
    let mut random = StdRng::seed_from_u64(1);
    for distinct in [3, 50, 100_000] {
        let (mut set, mut values) = (OrderStatistics::default(), vec![]);
        for _ in 0..3000 {
            if random.random_range(0..5) < 3 || values.is_empty() {
                let value = f64::from(random.random_range(-distinct..distinct)) / 7.0;
                values.push(value);
                set.insert(value);
            } else {
                let at = random.random_range(0..values.len());
                assert!(set.remove(values.swap_remove(at)));
            }
            values.sort_by(f64::total_cmp);
            let rank = random.random_range(0..=values.len());
            assert_eq!(set.get(rank as u64), values.get(rank).copied());
            assert_eq!(set.len(), values.len() as u64);
            assert_eq!(set.robust_deviation(), deviation(&values, Deviation::Robust));
            assert!(set.nodes.len() <= values.len().max(3000));
        }
    }
}

/// Sorted input, which would make a list of a plain tree.
#[test]
fn the_tree_is_shallow() {
    let mut set = OrderStatistics::default();
    (0..100_000).for_each(|value| set.insert(f64::from(value)));
    let (mut depth, mut level) = (0, vec![set.root]);
    while !level.is_empty() {
        depth += 1;
        let children =
            level.iter().flat_map(|at| [set.nodes[*at as usize].left, set.nodes[*at as usize].right]);
        level = children.filter(|child| *child != NONE).collect();
    }
    assert!(depth < 60, "{depth}");
}
