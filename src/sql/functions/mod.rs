//! Aggregates whose results depend on nothing but the multiset of values.
//!
//! DataFusion adds doubles in the order they come, so its `sum`, `avg`, `var` and `stddev` differ in
//! their last bits from run to run, and a retracted value leaves a residue; its `min` and `max` depend on
//! order as soon as there are NaNs or negative zeros. The functions here take
//! their places under the same names, for doubles; everything else (integers, decimals, durations,
//! intervals) is left to DataFusion. `approx_percentile` is new. A batch query and a continuous view
//! that use them agree bit for bit, however the input is ordered, batched or partitioned.
//!
//! | [name](names) | aliases | null |
//! |---|---|---|
//! | `sum` | | without values |
//! | `avg` | `mean` | without values |
//! | `min`, `max` | | without values |
//! | `var` | `var_samp`, `var_sample`, `variance` | with fewer than two values |
//! | `var_pop` | `var_population` | without values |
//! | `stddev` | `stddev_samp` | with fewer than two values |
//! | `stddev_pop` | | without values |
//! | `corr`, `covar_samp`, `regr_slope`, `regr_intercept`, `regr_r2` | `covar` | with fewer than two pairs |
//! | `covar_pop`, `regr_avgx`, `regr_avgy`, `regr_sxx`, `regr_syy`, `regr_sxy` | | without pairs |
//! | `approx_percentile(x, p [, relative_error])` | | without values |
//! | `percentile_cont(p) WITHIN GROUP (ORDER BY x)` | `quantile_cont` | without values |
//!
//! Functions whose result depends on the order of rows (`array_agg`, `string_agg`, `first_value` ...) are completed
//! to one that does not by [`Ordered`].
//!
//! All work with `FILTER`, with `DISTINCT` (where `-0.0` is `0.0`, as in `GROUP BY`) and over sliding
//! window frames.
//!
//! One rewrite of DataFusion's optimizer still shows in the last bits of a `sum`: beside a single
//! `DISTINCT` aggregate, `single_distinct_aggregation_to_group_by` sums the rounded sums of the groups
//! of distinct values. That depends on the query, and not on the order of rows.

mod accumulator;
mod approx_percentile;
mod groups;
mod min_max;
mod ordered;
mod pairs;
mod percentile_cont;
mod single_value;
mod sum_avg;
#[cfg(test)]
mod tests;
mod variance;

use std::sync::Arc;

use datafusion::logical_expr::AggregateUDF;
use datafusion::prelude::SessionContext;

pub use approx_percentile::percentile_question;
pub use ordered::{ARGUMENT_ORDER, Ordered, reads_order, rows_read};
pub use pairs::pairs_question;
pub use single_value::single_value;

/// The canonical names: what `AggregateUDF::name()` says, whatever alias a query used.
pub mod names {
    /// The sum.
    pub const SUM: &str = "sum";
    /// The mean.
    pub const AVG: &str = "avg";
    /// The least value.
    pub const MIN: &str = "min";
    /// The greatest value.
    pub const MAX: &str = "max";
    /// The variance of a sample.
    pub const VAR: &str = "var";
    /// The variance of a whole population.
    pub const VAR_POP: &str = "var_pop";
    /// The standard deviation of a sample.
    pub const STDDEV: &str = "stddev";
    /// The standard deviation of a whole population.
    pub const STDDEV_POP: &str = "stddev_pop";
    /// The only value there is, of a subquery; no statement can name it.
    pub const SINGLE_VALUE: &str = "single_value";
    /// A quantile within a relative error.
    pub const APPROX_PERCENTILE: &str = "approx_percentile";
    /// A quantile, exact and interpolated.
    pub const PERCENTILE_CONT: &str = "percentile_cont";
}

/// All functions of this module.
pub fn all() -> Vec<Arc<AggregateUDF>> {
    let mut functions = vec![
        AggregateUDF::new_from_impl(sum_avg::Sum::default()),
        AggregateUDF::new_from_impl(sum_avg::Avg::default()),
        AggregateUDF::new_from_impl(approx_percentile::ApproxPercentile::default()),
        AggregateUDF::new_from_impl(percentile_cont::PercentileCont::default()),
    ];
    functions.extend(min_max::Extremum::all().map(AggregateUDF::new_from_impl));
    functions.extend(variance::Spread::all().map(AggregateUDF::new_from_impl));
    functions.extend(pairs::Paired::all().map(AggregateUDF::new_from_impl));
    functions.into_iter().map(Arc::new).collect()
}

/// Registers all functions of this module in place of DataFusion's of the same names.
pub fn register(context: &SessionContext) {
    for function in all() {
        context.register_udaf(function.as_ref().clone());
    }
}
