//! Agreement of change points with those of several annotators: van den Burg, Williams, *An evaluation of
//! change point detection algorithms* (2020). All sets hold index 0, as there.

/// Distance within which a change point counts as the annotated one.
const MARGIN: usize = 5;

/// Annotated change points that are found: each by the nearest within the margin that is not taken.
fn found(annotated: &[usize], changes: &[usize]) -> usize {
    let mut free = changes.to_vec();
    let mut count = 0;
    for at in annotated {
        let near = free.iter().copied().filter(|change| change.abs_diff(*at) <= MARGIN);
        if let Some(nearest) = near.min_by_key(|change| (change.abs_diff(*at), *change)) {
            free.retain(|change| *change != nearest);
            count += 1;
        }
    }
    count
}

/// The sorted set of the change points and 0.
fn with_zero(changes: &[usize]) -> Vec<usize> {
    let all: std::collections::BTreeSet<usize> = changes.iter().copied().chain([0]).collect();
    all.into_iter().collect()
}

/// The harmonic mean of precision, by what any annotator has, and recall, on average over annotators.
pub(super) fn f1(annotations: &[Vec<usize>], changes: &[usize]) -> f64 {
    let changes = with_zero(changes);
    let precision = found(&with_zero(&annotations.concat()), &changes) as f64 / changes.len() as f64;
    let recalls = annotations.iter().map(|annotated| {
        let annotated = with_zero(annotated);
        found(&annotated, &changes) as f64 / annotated.len() as f64
    });
    let recall = recalls.sum::<f64>() / annotations.len() as f64;
    2.0 * precision * recall / (precision + recall)
}

/// For each annotated segment the largest overlap (intersection by union) with a found one, by length, on
/// average over annotators.
pub(super) fn cover(annotations: &[Vec<usize>], changes: &[usize], len: usize) -> f64 {
    let segments = |changes: &[usize]| {
        let starts = with_zero(changes);
        let ends: Vec<usize> = starts[1..].iter().copied().chain([len]).collect();
        starts.into_iter().zip(ends).collect::<Vec<_>>()
    };
    let found = segments(changes);
    let covers = annotations.iter().map(|annotated| {
        let covered = segments(annotated).into_iter().map(|(start, end)| {
            let overlaps = found.iter().map(|(first, last)| {
                let both = end.min(*last).saturating_sub(start.max(*first));
                both as f64 / (end.max(*last) - start.min(*first)) as f64
            });
            (end - start) as f64 * overlaps.fold(0.0, f64::max)
        });
        covered.sum::<f64>() / len as f64
    });
    covers.sum::<f64>() / annotations.len() as f64
}

#[test]
fn agreement_by_hand() {
    // One annotator says 50, one says nothing.
    let annotations = [vec![50], vec![]];
    assert_eq!(f1(&annotations, &[50]), 1.0);
    assert_eq!(f1(&annotations, &[55]), 1.0);
    // 56 is too far: half of the found is right, and of the annotated a half and all.
    assert_eq!(f1(&annotations, &[56]), 2.0 * 0.5 * 0.75 / 1.25);
    // Nothing found: all of it is right.
    assert_eq!(f1(&annotations, &[]), 2.0 * 0.75 / 1.75);
    // The first annotator's halves are covered entirely, the second's whole by a half.
    assert_eq!(cover(&annotations, &[50], 100), 0.75);
    assert_eq!(cover(&annotations, &[], 100), 0.75);
    assert_eq!(cover(&annotations, &[25], 100), (0.5 * 0.5 + 0.5 * 50.0 / 75.0 + 0.75) / 2.0);
}
