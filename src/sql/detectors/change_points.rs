//! `change_points`: where the level of a series became another.

use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields};
use datafusion::error::Result as DataFusionResult;

use super::external;
use super::options::Options;
use super::window::Detector;
use crate::delta::series::{Backwards, Edit, SeriesFunction, SeriesState, in_turn};
use crate::detect::change_points::{
    ChangePoint, Cost, Online, Options as Search, Penalty, SEGMENT_LEN_MIN_MAX, Scaling,
};

/// `change_points(value [, options]) OVER (PARTITION BY series ORDER BY at)`: a struct of `segment` (from 0),
/// `is_change_point` (whether the row begins a segment that is not the first), and in such a row `mean_before`,
/// `mean_after`, `size`, `size_deviations` and `certain_after` (rows that had come after it when it was first certain).
///
/// | option | meaning | default |
/// |---|---|---|
/// | `penalty` | `'aic'`, `'bic'`, `'mbic'`, or a number, for each change point | `'mbic'` |
/// | `min_segment` | the least rows of a segment | 10 |
/// | `cost` | `'mean'` or `'meanvar'`: whether a segment has a level, or a level and a spread | `'mean'` |
/// | `scaling` | `'deviation'`, `'differences'` or `'raw'`: what values are divided by before | `'deviation'` |
///
/// The segmentation of all rows that costs least ([`crate::detect::change_points`]). Rows without a value are of the
/// segment of the row before.
#[derive(Debug)]
pub(super) struct ChangePoints;

impl Detector for ChangePoints {
    fn name(&self) -> &'static str {
        "change_points"
    }

    fn options(&self) -> &'static [&'static str] {
        &["penalty", "min_segment", "cost", "scaling"]
    }

    fn fields(&self) -> Fields {
        let number = |name| Field::new(name, DataType::Float64, true);
        Fields::from(vec![
            Field::new("segment", DataType::Int64, true),
            Field::new("is_change_point", DataType::Boolean, true),
            number("mean_before"),
            number("mean_after"),
            number("size"),
            number("size_deviations"),
            Field::new("certain_after", DataType::Int64, true),
        ])
    }

    fn configure(&self, options: &Options, _: bool) -> DataFusionResult<Arc<dyn SeriesFunction>> {
        let penalty = match options.is_text("penalty") {
            true => options
                .word("penalty", &[("aic", Penalty::Aic), ("bic", Penalty::Bic), ("mbic", Penalty::Mbic)])?,
            false => options.number("penalty", 0.0..=1e12)?.map(Penalty::Value),
        };
        let cost = options.word("cost", &[("mean", Cost::Mean), ("meanvar", Cost::MeanVariance)])?;
        let scaling = options.word(
            "scaling",
            &[
                ("deviation", Scaling::Deviation),
                ("differences", Scaling::Differences),
                ("raw", Scaling::Raw),
            ],
        )?;
        let defaults = Search::default();
        let segment_len_min = options.count("min_segment", 1..=SEGMENT_LEN_MIN_MAX)?;
        let search = Search {
            penalty: penalty.unwrap_or(defaults.penalty),
            cost: cost.unwrap_or(defaults.cost),
            scaling: scaling.unwrap_or(defaults.scaling),
            segment_len_min: segment_len_min.unwrap_or(defaults.segment_len_min),
            ..defaults
        };
        Ok(Arc::new(Segmenting(Online::new(search).map_err(external)?)))
    }
}

/// A series without rows.
#[derive(Debug)]
struct Segmenting(Online);

impl SeriesFunction for Segmenting {
    fn begin(&self, _: u64) -> Box<dyn SeriesState> {
        Box::new(Segmented { series: self.0.clone(), changes: vec![], next: None })
    }
}

/// A series and its change points.
struct Segmented {
    series: Online,
    changes: Vec<ChangePoint>,
    /// Those after edits that are not applied yet; the series has them already.
    next: Option<Vec<ChangePoint>>,
}

impl Segmented {
    fn edit(&mut self, edits: &[Edit]) -> Vec<ChangePoint> {
        for (position, edit) in in_turn(edits) {
            self.series.splice(position, edit.removed, &vec![edit.value; edit.inserted]);
        }
        self.series.segmentation().changes
    }
}

impl SeriesState for Segmented {
    fn affected(&mut self, edits: &[Edit]) -> Option<Vec<Range<usize>>> {
        let rows = self.series.len();
        let next = self.edit(edits);
        let affected = different(&self.changes, &next, edits, rows);
        self.next = Some(next);
        Some(affected)
    }

    fn apply(&mut self, edits: &[Edit]) {
        self.changes = match self.next.take() {
            Some(next) => next,
            None => self.edit(edits),
        };
    }

    fn result(&mut self, position: usize, numbers: &mut Vec<f64>) {
        let segment = self.changes.partition_point(|change| change.index <= position);
        let begun = segment.checked_sub(1).and_then(|last| self.changes.get(last));
        numbers.push(segment as f64);
        numbers.extend(match begun.filter(|change| change.index == position) {
            Some(change) => {
                let certain_after = (change.certain_len - change.index) as f64;
                let ChangePoint { mean_before, mean_after, size, size_deviations, .. } = *change;
                [1.0, mean_before, mean_after, size, size_deviations, certain_after]
            }
            None => [0.0, f64::NAN, f64::NAN, f64::NAN, f64::NAN, f64::NAN],
        });
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.series.size_bytes() + self.changes.capacity() * size_of::<ChangePoint>()
    }
}

/// Of `rows` rows, those that are of another segment after `edits`, or begin or began one, by their positions before.
fn different(old: &[ChangePoint], new: &[ChangePoint], edits: &[Edit], rows: usize) -> Vec<Range<usize>> {
    // Change points that no edit has moved or changed.
    let unmoved = edits.first().map_or(rows, |edit| edit.position);
    let same = old.iter().zip(new).take_while(|(old, new)| old == new && old.index < unmoved).count();
    let old = old[same..].iter().map(|change| change.index);
    let mut backwards = Backwards::new(edits);
    let new: Vec<usize> = new[same..].iter().map(|change| backwards.position(change.index)).collect();
    let mut ranges: Vec<Range<usize>> = old.clone().chain(new.iter().copied()).map(|at| at..at + 1).collect();
    let mut bounds: Vec<(usize, i64)> =
        old.map(|at| (at, 1)).chain(new.into_iter().map(|at| (at, -1))).collect();
    bounds.sort_unstable();
    let mut difference = 0;
    for (index, (at, step)) in bounds.iter().enumerate() {
        difference += step;
        let end = bounds.get(index + 1).map_or(rows, |(next, _)| *next);
        if difference != 0 && end > *at {
            ranges.push(*at..end);
        }
    }
    ranges
}
