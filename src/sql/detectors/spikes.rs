//! `spikes`: how rare a row is among those before it.

use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields};
use datafusion::error::Result as DataFusionResult;

use super::options::Options;
use super::window::Detector;
use super::{THRESHOLDS, external};
use crate::delta::series::{Edit, SeriesFunction, SeriesState, in_turn};
use crate::detect::spike::{Series, SpikeOptions, SpikePeriod};

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

    fn configure(&self, options: &Options, _: bool) -> DataFusionResult<Arc<dyn SeriesFunction>> {
        let defaults = SpikeOptions::default();
        let configured = SpikeOptions {
            period: options.count("period", 2..=1 << 20)?.map_or(defaults.period, SpikePeriod::Given),
            threshold: options.number("threshold", THRESHOLDS)?.unwrap_or(defaults.threshold),
            quiet_points: options.count("quiet_points", 0..=1 << 20)?.unwrap_or(defaults.quiet_points),
            ..defaults
        };
        Ok(Arc::new(Scoring(Series::new(configured).map_err(external)?)))
    }
}

/// A series, at first without rows.
#[derive(Clone, Debug)]
struct Scoring(Series);

impl SeriesFunction for Scoring {
    fn begin(&self, _: u64) -> Box<dyn SeriesState> {
        Box::new(self.clone())
    }
}

impl SeriesState for Scoring {
    fn affected(&mut self, edits: &[Edit]) -> Option<Vec<Range<usize>>> {
        let first = edits.first().map_or(self.0.len(), |edit| edit.position);
        Some(Vec::from_iter(std::iter::once(first..self.0.len())))
    }

    fn apply(&mut self, edits: &[Edit]) {
        for (position, edit) in in_turn(edits) {
            self.0.splice(position, edit.removed, &vec![edit.value; edit.inserted]);
        }
    }

    fn result(&mut self, position: usize, numbers: &mut Vec<f64>) {
        let score = self.0.score(position).unwrap_or(f64::NAN);
        numbers.extend([score, f64::from(score > 1.0)]);
    }

    fn bytes(&self) -> usize {
        self.0.size_bytes()
    }
}
