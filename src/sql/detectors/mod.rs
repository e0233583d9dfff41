//! Detectors: functions that say what is unusual, the same in a batch query and in a view.
//!
//! | function | gives |
//! |---|---|
//! | `stl(value, period => n, ...) OVER (... ORDER BY at)` | a struct: what is expected of each row, and how far it is off |
//! | `three_sigma(value, ...) OVER (... ORDER BY at)` | a struct: the mean and the deviation of the rows before, and how far off a row is |
//! | `change_points(value, ...) OVER (... ORDER BY at)` | a struct: the segment that a row is in, and whether it begins it |
//! | `spikes(value, ...) OVER (... ORDER BY at)` | a struct: how rare a row is among those before it |
//! | `log_template(message)`, `log_parameters(message)` | a log line without what is variable by its form, and that |
//! | `log_pattern(template) OVER (PARTITION BY log_merge_key(template))` | templates that differ in variable words, as one |
//! | `isolation_forest(feature, ...)` | a forest trained on the rows of a group |
//! | `isolation_forest_score(forest, feature, ...)`, `anomaly_score(model, feature, ...)` | how anomalous a row is |
//!
//! Each is a function of the rows of its partition or group alone: never of the order in which they came. Options are
//! constants, given by name.

mod change_points;
mod forest;
mod grid;
mod key_hash;
mod logs;
mod options;
mod spikes;
mod stl;
#[cfg(test)]
mod tests;
mod three_sigma;
mod window;

use std::sync::Arc;

use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::{AggregateUDF, ScalarUDF, WindowUDF};
use datafusion::prelude::SessionContext;

pub(super) use self::window::DetectorFunction;
use self::window::{Detector, Places};

/// What a threshold can be, in units of what it is about.
const THRESHOLDS: std::ops::RangeInclusive<f64> = 1e-6..=1e9;

/// What a function that takes options is called with.
pub(super) struct Signature {
    /// How many values come before its options.
    pub values: usize,
    /// The options, in their order.
    pub options: &'static [&'static str],
    /// Whether the options come before the values, of which there may be any number.
    pub has_options_first: bool,
}

fn detectors() -> [Arc<dyn Detector>; 4] {
    [
        Arc::new(stl::Stl),
        Arc::new(three_sigma::ThreeSigma),
        Arc::new(change_points::ChangePoints),
        Arc::new(spikes::Spikes),
    ]
}

/// An error of the numerics as one of a query.
fn external(error: impl std::error::Error + Send + Sync + 'static) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// How the function `name` is called, if it has options.
pub(super) fn signature(name: &str) -> Option<Signature> {
    if name == "isolation_forest" {
        return Some(Signature { values: 0, options: forest::OPTIONS, has_options_first: true });
    }
    let detector = detectors().into_iter().find(|detector| detector.name() == name)?;
    Some(Signature { values: 1, options: detector.options(), has_options_first: false })
}

/// Registers all of them.
///
/// # Errors
///
/// When the session takes no functions.
pub fn register(context: &mut SessionContext) -> DataFusionResult<()> {
    for detector in detectors() {
        context.register_udwf(WindowUDF::new_from_impl(DetectorFunction::new(detector)));
    }
    for function in logs::TextFunction::all() {
        context.register_udf(ScalarUDF::new_from_impl(function));
    }
    context.register_udwf(WindowUDF::new_from_impl(logs::LogPattern::default()));
    context.register_udaf(AggregateUDF::new_from_impl(forest::Train::default()));
    context.register_udf(ScalarUDF::new_from_impl(forest::Score::default()));
    datafusion::logical_expr::registry::FunctionRegistry::register_expr_planner(context, Arc::new(Places))
}
