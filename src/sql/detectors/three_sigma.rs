//! `three_sigma`: how far a row is from those before it.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::error::Result as DataFusionResult;

use super::options::Options;
use super::window::{Configured, Detector, Series, floats};
use super::{THRESHOLDS, external};
use crate::detect::deviation::Deviation;
use crate::detect::three_sigma::{ThreeSigmaOptions, three_sigma};

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

    fn configure(&self, options: &Options) -> DataFusionResult<Box<dyn Configured>> {
        let defaults = ThreeSigmaOptions::default();
        let min_samples = options.count("min_samples", 2..=usize::MAX)?;
        Ok(Box::new(ThreeSigmaOptions {
            window: options.count("window", 2..=usize::MAX)?,
            threshold: options.number("threshold", THRESHOLDS)?.unwrap_or(defaults.threshold),
            min_samples: min_samples.map_or(defaults.min_samples, |samples| samples as u64),
            deviation: if options.is_on("robust")? { Deviation::Robust } else { Deviation::Standard },
        }))
    }
}

impl Configured for ThreeSigmaOptions {
    fn detect(&self, series: &Series) -> DataFusionResult<Vec<ArrayRef>> {
        let judged = three_sigma(&series.values, self).map_err(external)?;
        let number = |number: &dyn Fn(f64, f64, f64) -> f64| {
            let of = |judged: &Option<_>| match judged {
                Some(crate::detect::three_sigma::Judged { middle, deviation, score, .. }) => {
                    number(*middle, *deviation, *score)
                }
                None => f64::NAN,
            };
            floats(judged.iter().map(of))
        };
        let anomalous: BooleanArray =
            judged.iter().map(|judged| judged.map(|judged| judged.anomalous)).collect();
        Ok(vec![
            number(&|middle, _, _| middle),
            number(&|_, deviation, _| deviation),
            number(&|middle, deviation, _| middle - self.threshold * deviation),
            number(&|middle, deviation, _| middle + self.threshold * deviation),
            number(&|_, _, score| score),
            Arc::new(anomalous),
        ])
    }
}
