//! Recognising the aggregates of this module in a plan.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::AggregateUDF;
use datafusion::physical_expr::PhysicalExpr;

use super::{approx_percentile, names};
use crate::detect::exact_sum::moments::Divisor;
use crate::detect::retractable::{PercentileQuestion, Statistic};

/// The statistic of doubles that a call of an aggregate asks for.
///
/// `result` is the call's type, `arguments` are those after coercion; the first is of doubles. `None`
/// if the aggregate is not one of this module, or is a `sum` or `avg` that DataFusion computes since
/// it is not over doubles. `DISTINCT` and `FILTER` are for the caller to see to. An error if `p` or `relative_error` is not a literal in its range.
pub fn statistic(
    function: &AggregateUDF,
    result: &DataType,
    arguments: &[Arc<dyn PhysicalExpr>],
) -> Result<Option<Statistic>> {
    if *result != DataType::Float64 {
        return Ok(None);
    }
    Ok(Some(match function.name() {
        names::SUM => Statistic::Sum,
        names::AVG => Statistic::Mean,
        names::VAR => Statistic::Variance(Divisor::Sample),
        names::VAR_POP => Statistic::Variance(Divisor::Population),
        names::STDDEV => Statistic::Deviation(Divisor::Sample),
        names::STDDEV_POP => Statistic::Deviation(Divisor::Population),
        names::APPROX_PERCENTILE => {
            let PercentileQuestion { p, mapping } = approx_percentile::question(arguments)?;
            Statistic::Percentile { p, mapping }
        }
        _ => return Ok(None),
    }))
}
