//! `change_points`: where the level of a series became another.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::error::Result as DataFusionResult;

use super::external;
use super::options::Options;
use super::window::{Configured, Detector, Series, floats};
use crate::detect::change_points::{
    ChangePoint, Cost, Options as Search, Penalty, SEGMENT_LEN_MIN_MAX, Scaling, optimal,
};

/// `change_points(value [, options]) OVER (PARTITION BY series ORDER BY at)`: a struct of `segment` (from 0), `segment_mean`,
/// `is_change_point` (whether the row begins a segment that is not the first), and in such a row `mean_before`, `size`,
/// `size_deviations` and `certain_after` (rows that had come after it when it was first certain).
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
            number("segment_mean"),
            Field::new("is_change_point", DataType::Boolean, true),
            number("mean_before"),
            number("size"),
            number("size_deviations"),
            Field::new("certain_after", DataType::Int64, true),
        ])
    }

    fn configure(&self, options: &Options) -> DataFusionResult<Box<dyn Configured>> {
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
        Ok(Box::new(Search {
            penalty: penalty.unwrap_or(defaults.penalty),
            cost: cost.unwrap_or(defaults.cost),
            scaling: scaling.unwrap_or(defaults.scaling),
            segment_len_min: segment_len_min.unwrap_or(defaults.segment_len_min),
            ..defaults
        }))
    }
}

impl Configured for Search {
    fn detect(&self, series: &Series) -> DataFusionResult<Vec<ArrayRef>> {
        let changes = optimal(&series.values, self).map_err(external)?.changes;
        let rows = series.values.len();
        let mut segments = Vec::with_capacity(rows);
        let mut begins: Vec<Option<&ChangePoint>> = vec![None; rows];
        for change in &changes {
            segments.resize(change.index, begins[..change.index].iter().flatten().count() as i64);
            begins[change.index] = Some(change);
        }
        segments.resize(rows, changes.len() as i64);
        let means = means(&changes, &series.values);
        let of = |number: fn(&ChangePoint) -> f64| {
            floats(begins.iter().map(|change| change.map_or(f64::NAN, number)))
        };
        let certain = begins.iter().map(|c| c.map(|change| (change.certain_len - change.index) as i64));
        Ok(vec![
            Arc::new(Int64Array::from(segments.clone())),
            floats(segments.iter().map(|segment| means[*segment as usize])),
            Arc::new(begins.iter().map(|change| Some(change.is_some())).collect::<BooleanArray>()),
            of(|change| change.mean_before),
            of(|change| change.size),
            of(|change| change.size_deviations),
            Arc::new(certain.collect::<Int64Array>()),
        ])
    }
}

/// The mean of each segment.
fn means(changes: &[ChangePoint], values: &[f64]) -> Vec<f64> {
    match changes.first() {
        Some(first) => [first.mean_before].into_iter().chain(changes.iter().map(|c| c.mean_after)).collect(),
        None => {
            let mut sum = crate::detect::exact_sum::ExactSum::default();
            let known = values.iter().filter(|value| value.is_finite());
            let count = known.inspect(|value| sum.add(**value, 1)).count();
            vec![crate::detect::exact_sum::moments::mean(count as i64, &sum).unwrap_or(f64::NAN)]
        }
    }
}
