//! `spikes`: how rare a row is among those before it.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::error::Result as DataFusionResult;

use super::options::Options;
use super::window::{Configured, Detector, Series, floats};
use super::{THRESHOLDS, external};
use crate::detect::spike::{SpikeOptions, SpikePeriod, Spikes as State, spike_scores};

/// `spikes(value [, options]) OVER (PARTITION BY series ORDER BY at)`: a struct of `score` (above 1 is anomalous) and
/// `anomalous`, for any metric without a setting.
///
/// | option | meaning | default |
/// |---|---|---|
/// | `period` | points of a period | what is found, else 288 |
/// | `threshold` | the strength that has a score of 1 | 2 |
/// | `quiet_points` | rows after an anomaly in which only stronger ones count | 144 |
///
/// See [`crate::detect::spike`]. A row without a value has a score of 0.
#[derive(Debug)]
pub(super) struct Spikes;

impl Detector for Spikes {
    fn name(&self) -> &'static str {
        "spikes"
    }

    fn options(&self) -> &'static [&'static str] {
        &["period", "threshold", "quiet_points"]
    }

    fn fields(&self) -> Fields {
        let score = Field::new("score", DataType::Float64, true);
        Fields::from(vec![score, Field::new("anomalous", DataType::Boolean, true)])
    }

    fn configure(&self, options: &Options) -> DataFusionResult<Box<dyn Configured>> {
        let defaults = SpikeOptions::default();
        let configured = SpikeOptions {
            period: options.count("period", 2..=1 << 20)?.map_or(defaults.period, SpikePeriod::Given),
            threshold: options.number("threshold", THRESHOLDS)?.unwrap_or(defaults.threshold),
            quiet_points: options.count("quiet_points", 0..=1 << 20)?.unwrap_or(defaults.quiet_points),
            ..defaults
        };
        State::new(configured).map_err(external)?;
        Ok(Box::new(configured))
    }
}

impl Configured for SpikeOptions {
    fn detect(&self, series: &Series) -> DataFusionResult<Vec<ArrayRef>> {
        let scores = spike_scores(&series.values, self).map_err(external)?;
        let anomalous: BooleanArray = scores.iter().map(|score| Some(*score > 1.0)).collect();
        Ok(vec![floats(scores), Arc::new(anomalous)])
    }
}
