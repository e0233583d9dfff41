//! What is right, computed the long way.

use super::super::*;

/// The cost of a segment by its definition.
pub(super) fn cost(values: &[f64], cost: Cost) -> f64 {
    let length = values.len() as f64;
    let mean = values.iter().sum::<f64>() / length;
    let squared_error: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    match cost {
        Cost::Mean => squared_error,
        Cost::MeanVariance => length * (squared_error / length + 1e-6).ln(),
    }
}

/// What a segmentation costs.
pub(super) fn objective(values: &[f64], changes: &[usize], options: &Options, penalty: f64) -> f64 {
    let ends = changes.iter().copied().chain([values.len()]);
    let mut start = 0;
    let costs =
        ends.map(|end| cost(&values[std::mem::replace(&mut start, end)..end], options.cost) + penalty);
    costs.sum()
}

/// The least costs of all prefixes, infinite where there is no segmentation, by going through all begins of
/// each last segment.
pub(super) fn least_costs(values: &[f64], options: &Options, penalty: f64) -> Vec<f64> {
    let mut least = vec![0.0];
    for end in 1..=values.len() {
        let starts = 0..(end + 1).saturating_sub(options.segment_len_min);
        let costs = starts.map(|start| least[start] + cost(&values[start..end], options.cost) + penalty);
        least.push(costs.fold(f64::INFINITY, f64::min));
    }
    least
}
