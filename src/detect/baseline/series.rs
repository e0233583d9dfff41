//! A series that changes, and its fits.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Baseline, Fit, Placed};

/// A series under a [`Baseline`], to which points are appended, come late, and are taken back.
///
/// Fits are computed when first asked for and kept; a change drops those whose window holds the place that changed.
/// What [`Series::place`] gives is what [`Baseline::place_all`] gives of the points that are there now, exactly.
///
/// Memory: a node of a tree for each point, and for each fit that was asked for one cycle of each season. What is no
/// longer needed is given up by [`Series::forget`].
#[derive(Clone, Debug)]
pub struct Series {
    baseline: Baseline,
    points: BTreeMap<i64, f64>,
    fits: BTreeMap<i64, Option<Fit>>,
    fits_computed: u64,
}

impl Series {
    /// An empty series.
    pub fn new(baseline: Baseline) -> Self {
        Self::of(baseline, BTreeMap::new())
    }

    /// A series of these points.
    pub(super) fn of(baseline: Baseline, points: BTreeMap<i64, f64>) -> Self {
        Self { baseline, points, fits: BTreeMap::new(), fits_computed: 0 }
    }

    /// The value at a place; NaN is a missing one that is there.
    pub fn value(&self, index: i64) -> Option<f64> {
        self.points.get(&index).copied()
    }

    /// Puts a value at a place, instead of the former if there is one.
    ///
    /// Returns what is to be placed anew, in order: a range of places for each refit whose fit may have changed and
    /// that has points, and the place itself.
    pub fn set(&mut self, index: i64, value: f64) -> Vec<Range<i64>> {
        let former = self.points.insert(index, value);
        if former.is_some_and(|former| former.to_bits() == value.to_bits()) {
            return vec![];
        }
        self.changed(index)
    }

    /// Takes back the point at a place, if there is one. Returns what [`Series::set`] does.
    pub fn remove(&mut self, index: i64) -> Vec<Range<i64>> {
        if self.points.remove(&index).is_none() {
            return vec![];
        }
        self.changed(index)
    }

    /// Places the point at `index`; `None` if there is none, or no fit for it.
    pub fn place(&mut self, index: i64) -> Option<Placed> {
        let value = self.value(index)?;
        self.place_value(index, value)
    }

    /// Places a value as if it were at `index`, such as NaN to learn what is expected there; `None` if there is no fit.
    pub fn place_value(&mut self, index: i64, value: f64) -> Option<Placed> {
        let after = index.wrapping_sub(self.baseline.boundary(index)) as u64;
        self.fit(index).map(|fit| fit.place(after, value))
    }

    /// The fit that the point at `index` is placed against.
    pub fn fit(&mut self, index: i64) -> Option<&Fit> {
        let boundary = self.baseline.boundary(index);
        let (points, baseline, computed) = (&self.points, &self.baseline, &mut self.fits_computed);
        let compute = || {
            let window = dense(points, Fit::window(baseline, boundary))?;
            *computed += 1;
            Fit::new(baseline, &window)
        };
        self.fits.entry(boundary).or_insert_with(compute).as_ref()
    }

    /// Gives up points and fits that no point from `index` on is placed with: none before it may be placed any more.
    pub fn forget(&mut self, index: i64) {
        let boundary = self.baseline.boundary(index);
        self.fits = self.fits.split_off(&boundary);
        self.points = self.points.split_off(&Fit::window(&self.baseline, boundary).start);
    }

    /// Windows decomposed so far.
    pub fn fits_computed(&self) -> u64 {
        self.fits_computed
    }

    fn changed(&mut self, index: i64) -> Vec<Range<i64>> {
        let place = index..index.saturating_add(1);
        let after = place.end..=index.saturating_add(self.baseline.window_points as i64);
        if after.is_empty() {
            return vec![place];
        }
        let stale: Vec<i64> = self.fits.range(after.clone()).map(|(boundary, _)| *boundary).collect();
        stale.iter().for_each(|boundary| _ = self.fits.remove(boundary));
        let mut changed = vec![place];
        let mut next = *after.start();
        // From refit to refit, over those that have no points.
        while let Some((index, _)) = self.points.range(next..).next() {
            let boundary = self.baseline.boundary(*index);
            if boundary > *after.end() {
                break;
            }
            let end = boundary.saturating_add(self.baseline.refit_every);
            if boundary >= *after.start() {
                changed.push(boundary..end);
            }
            if end <= next {
                break;
            }
            next = end;
        }
        changed
    }
}

/// The values of a range of places from the first that has one, NaN where there is none.
fn dense(points: &BTreeMap<i64, f64>, range: Range<i64>) -> Option<Vec<f64>> {
    let (first, _) = points.range(range.clone()).next()?;
    let mut values = vec![f64::NAN; range.end.abs_diff(*first) as usize];
    for (index, value) in points.range(range) {
        values[index.abs_diff(*first) as usize] = *value;
    }
    Some(values)
}
