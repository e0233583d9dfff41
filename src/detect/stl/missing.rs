//! Values in the place of missing ones.

/// The values with those filled in that are missing, which is not finite.
///
/// A missing value is interpolated between the values of its own phase in the cycles before and after (`period` is
/// in points), so that neither the season nor the trend is flattened; before the first and after the last of them
/// it is the nearest. Where a phase has no value at all, it is interpolated so between its neighbours on the grid.
/// Without any value all stay NaN.
pub fn fill_missing(values: &[f64], period: usize) -> Vec<f64> {
    let mut filled: Vec<f64> =
        values.iter().map(|value| if value.is_finite() { *value } else { f64::NAN }).collect();
    if filled.iter().all(|value| !value.is_nan()) {
        return filled;
    }
    let period = period.max(1);
    for phase in 0..period.min(filled.len()) {
        fill(&mut filled[phase..], period);
    }
    fill(&mut filled, 1);
    filled
}

/// Fills the NaNs among every `stride`-th value.
fn fill(values: &mut [f64], stride: usize) {
    let mut before: Option<usize> = None;
    let mut next = 0;
    while next < values.len() {
        if !values[next].is_nan() {
            fill_between(values, stride, before, Some(next));
            before = Some(next);
        }
        next += stride;
    }
    fill_between(values, stride, before, None);
}

/// Fills what lies between two values, or between one and an end.
fn fill_between(values: &mut [f64], stride: usize, before: Option<usize>, after: Option<usize>) {
    let (Some(known), end) = (before.or(after), after.unwrap_or(values.len())) else { return };
    let (left, right) = (values[before.unwrap_or(known)], values[after.unwrap_or(known)]);
    let first = before.map_or(known % stride, |before| before + stride);
    for place in (first..end).step_by(stride) {
        let part = match (before, after) {
            (Some(before), Some(after)) => (place - before) as f64 / (after - before) as f64,
            _ => 0.0,
        };
        // Not `left + part * (right - left)`, whose difference may overflow.
        values[place] =
            if before.is_some() && after.is_some() { left * (1.0 - part) + right * part } else { left };
    }
}
