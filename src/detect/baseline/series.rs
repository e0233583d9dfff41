//! A series that changes, and its fits.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Baseline, Fit, Placed};

/// The most fits that a series keeps: the newest.
const FITS_MAX: usize = 16;

/// A series under a [`Baseline`], to which points are appended, come late, and are taken back.
///
/// Points are known by their positions in the order of their places; there may be several in one place, of which fits
/// see the greatest value. Fits are computed when first asked for, and the newest are kept; a change drops those whose
/// window holds the place that changed. What [`Series::place`] gives is what [`Baseline::place_all`] gives of the points
/// that are there now, exactly.
///
/// Memory: 16 bytes a point, and for each of up to 16 fits one cycle of each season.
#[derive(Clone, Debug)]
pub struct Series {
    baseline: Baseline,
    /// Ascending.
    places: Vec<i64>,
    /// Beside the places.
    values: Vec<f64>,
    fits: BTreeMap<i64, Option<Fit>>,
    fits_computed: u64,
}

impl Series {
    /// An empty series.
    pub fn new(baseline: Baseline) -> Self {
        Self { baseline, places: vec![], values: vec![], fits: BTreeMap::new(), fits_computed: 0 }
    }

    /// How many points there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is no point.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The places of all points, in order.
    pub fn places(&self) -> &[i64] {
        &self.places
    }

    /// Puts `added` points of `value` at `place` in the stead of the `removed` points from `position` on, which have that
    /// place; places ascend by position. A value that is not finite is a missing one that is there.
    pub fn splice(&mut self, position: usize, removed: usize, added: usize, place: i64, value: f64) {
        let position = position.min(self.len());
        let range = position..position.saturating_add(removed).min(self.len());
        self.places.splice(range.clone(), std::iter::repeat_n(place, added));
        self.values.splice(range, std::iter::repeat_n(value, added));
        let after = place.saturating_add(1)..=place.saturating_add(self.baseline.window_points as i64);
        if !after.is_empty() && value.is_finite() {
            let stale: Vec<i64> = self.fits.range(after).map(|(boundary, _)| *boundary).collect();
            stale.iter().for_each(|boundary| _ = self.fits.remove(boundary));
        }
    }

    /// The positions of the points that may be placed otherwise when a point of `value` at `place` comes or goes: those that
    /// are placed against fits whose windows hold it.
    pub fn reach(&self, place: i64, value: f64) -> Range<usize> {
        // The boundary behind it; not from the one before, which may be below all places.
        let refit_every = self.baseline.refit_every;
        let past = place.wrapping_sub(self.baseline.options.refit_offset as i64).rem_euclid(refit_every);
        let first = place.saturating_add(refit_every - past);
        let last = self.baseline.boundary(place.saturating_add(self.baseline.window_points as i64));
        if !value.is_finite() || first > last || first <= place {
            return 0..0;
        }
        let start = self.places.partition_point(|place| *place < first);
        let behind = self.places[start..].partition_point(|place| self.baseline.boundary(*place) <= last);
        start..start + behind
    }

    /// Places the point at `position`; `None` if there is none, or no fit for it.
    pub fn place(&mut self, position: usize) -> Option<Placed> {
        let (place, value) = (*self.places.get(position)?, *self.values.get(position)?);
        let boundary = self.baseline.boundary(place);
        self.fit(boundary).map(|fit| fit.place(place.wrapping_sub(boundary) as u64, value))
    }

    /// Windows decomposed so far.
    pub fn fits_computed(&self) -> u64 {
        self.fits_computed
    }

    /// Bytes held, with what is reserved for growth.
    pub fn size_bytes(&self) -> usize {
        self.places.capacity() * size_of::<i64>()
            + self.values.capacity() * size_of::<f64>()
            + self.fits.values().map(|fit| 32 + fit.as_ref().map_or(0, Fit::bytes)).sum::<usize>()
    }

    /// The fit of `boundary`.
    fn fit(&mut self, boundary: i64) -> Option<&Fit> {
        if !self.fits.contains_key(&boundary) {
            let fit = self.window(boundary).and_then(|window| {
                self.fits_computed += 1;
                Fit::new(&self.baseline, &window)
            });
            self.fits.insert(boundary, fit);
            let oldest = self.fits.keys().copied().find(|other| *other != boundary);
            if let Some(oldest) = oldest.filter(|_| self.fits.len() > FITS_MAX) {
                self.fits.remove(&oldest);
            }
        }
        self.fits.get(&boundary)?.as_ref()
    }

    /// The values of the window of `boundary` from the first place that has a point, NaN where there is none.
    fn window(&self, boundary: i64) -> Option<Vec<f64>> {
        let range = Fit::window(&self.baseline, boundary);
        let start = self.places.partition_point(|place| *place < range.start);
        let first = *self.places.get(start).filter(|place| **place < range.end)?;
        let mut window = vec![f64::NAN; range.end.abs_diff(first) as usize];
        for (place, value) in self.places[start..].iter().zip(&self.values[start..]) {
            let Some(known) = window.get_mut(place.abs_diff(first) as usize) else { break };
            if value.is_finite() && (known.is_nan() || known.total_cmp(value).is_lt()) {
                *known = *value;
            }
        }
        Some(window)
    }
}
