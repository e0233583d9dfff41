//! `three_sigma`: how far a row is from those before it.

use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields};
use datafusion::error::Result as DataFusionResult;

use super::options::Options;
use super::window::Detector;
use super::{THRESHOLDS, external};
use crate::delta::series::{Edit, SeriesFunction, SeriesState, in_turn};
use crate::detect::deviation::Deviation;
use crate::detect::three_sigma::{Series, ThreeSigmaOptions};

/// `three_sigma(value [, options]) OVER (PARTITION BY series ORDER BY at)`: a struct of `mean`, `deviation`, `lower`, `upper`,
/// `score` (above 1 is anomalous) and `anomalous`.
///
/// | option | meaning | default |
/// |---|---|---|
/// | `min_samples` | a row with fewer before it is not anomalous | 100 |
/// | `window` | how many rows before it a row is measured against | all |
/// | `threshold` | deviations from the mean that are still normal | 3 |
/// | `robust` | the median and the median distance, and not the mean and the standard deviation | false |
///
/// Rows without a value are passed over. All is null where fewer than two values came before.
#[derive(Debug)]
pub(super) struct ThreeSigma;

impl Detector for ThreeSigma {
    fn name(&self) -> &'static str {
        "three_sigma"
    }

    fn options(&self) -> &'static [&'static str] {
        &["min_samples", "window", "threshold", "robust"]
    }

    fn fields(&self) -> Fields {
        let numbers = ["mean", "deviation", "lower", "upper", "score"];
        let numbers = numbers.map(|name| Field::new(name, DataType::Float64, true));
        numbers.into_iter().chain([Field::new("anomalous", DataType::Boolean, true)]).collect()
    }

    fn configure(&self, options: &Options, _: bool) -> DataFusionResult<Arc<dyn SeriesFunction>> {
        let defaults = ThreeSigmaOptions::default();
        let min_samples = options.count("min_samples", 2..=usize::MAX)?;
        let options = ThreeSigmaOptions {
            window: options.count("window", 2..=usize::MAX)?,
            threshold: options.number("threshold", THRESHOLDS)?.unwrap_or(defaults.threshold),
            min_samples: min_samples.map_or(defaults.min_samples, |samples| samples as u64),
            deviation: if options.is_on("robust")? { Deviation::Robust } else { Deviation::Standard },
        };
        let empty = Series::new(options).map_err(external)?;
        Ok(Arc::new(Judging { threshold: options.threshold, series: empty }))
    }
}

/// A series, at first without rows.
#[derive(Clone, Debug)]
struct Judging {
    threshold: f64,
    series: Series,
}

impl SeriesFunction for Judging {
    fn begin(&self, _: u64) -> Box<dyn SeriesState> {
        Box::new(self.clone())
    }
}

impl SeriesState for Judging {
    fn affected(&mut self, edits: &[Edit]) -> Option<Vec<Range<usize>>> {
        let counted = edits.iter().filter(|edit| edit.value.is_finite());
        let reach = |edit: &Edit| {
            let last = edit.position + edit.removed.saturating_sub(1);
            edit.position..self.series.reach(last).end
        };
        Some(counted.map(reach).collect())
    }

    fn apply(&mut self, edits: &[Edit]) {
        for (position, edit) in in_turn(edits) {
            self.series.splice(position, edit.removed, &vec![edit.value; edit.inserted]);
        }
    }

    fn result(&mut self, position: usize, numbers: &mut Vec<f64>) {
        numbers.extend(self.series.judge(position).map_or([f64::NAN; 6], |judged| {
            let (middle, allowed) = (judged.middle, self.threshold * judged.deviation);
            let anomalous = f64::from(judged.anomalous);
            [middle, judged.deviation, middle - allowed, middle + allowed, judged.score, anomalous]
        }));
    }

    fn bytes(&self) -> usize {
        self.series.size_bytes()
    }
}
