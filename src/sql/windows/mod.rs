//! Time windows: functions behind TUMBLE, HOP and SESSION, and when a window of a view has ended.

pub mod closing;
mod hop;
mod session;

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{ScalarUDF, WindowUDF};
use datafusion::prelude::SessionContext;

/// The canonical names of the functions.
pub(crate) mod names {
    /// All windows of a HOP that a time is in, by their begins.
    pub const HOP_STARTS: &str = "hop_starts";
    /// The first time of a session.
    pub const SESSION_START: &str = "session_start";
    /// The last time of a session, and the gap after it.
    pub const SESSION_END: &str = "session_end";
}

/// Registers the functions.
pub fn register(context: &SessionContext) {
    context.register_udf(ScalarUDF::new_from_impl(hop::HopStarts::default()));
    for function in session::Edge::all() {
        context.register_udwf(WindowUDF::new_from_impl(function));
    }
}

/// The types that a function of a time and of `intervals` intervals wants for `types`.
fn time_and_intervals(
    name: &str,
    types: &[DataType],
    intervals: &[usize],
) -> DataFusionResult<Vec<DataType>> {
    let wrong = || {
        let given = types.iter().map(DataType::to_string).collect::<Vec<_>>().join(", ");
        datafusion::error::DataFusionError::Plan(format!(
            "{name}({given}): a timestamp or a date and intervals are expected"
        ))
    };
    let (time, rest) = types.split_first().ok_or_else(wrong)?;
    let time = match time {
        DataType::Timestamp(..) => time.clone(),
        DataType::Date32 | DataType::Date64 => DataType::Timestamp(TimeUnit::Nanosecond, None),
        _ => return Err(wrong()),
    };
    let is_interval = |t: &DataType| matches!(t, DataType::Interval(_));
    if !intervals.contains(&rest.len()) || !rest.iter().all(is_interval) {
        return Err(wrong());
    }
    let mut coerced = vec![DataType::Interval(IntervalUnit::MonthDayNano); types.len()];
    coerced[0] = time;
    Ok(coerced)
}
