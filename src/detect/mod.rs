//! Pure numerics: values in, values out. No clock, no log, no IO, and no knowledge of SQL.
//!
//! What aggregates over telemetry here has one property in common: the state is a function of the
//! *multiset* of values, never of their order, batching or partitioning, and a value that is added
//! and then retracted leaves no trace. That is what lets a continuous view equal the batch query.
//!
//! What looks at the order of values, as change points do, is a function of their *sequence* alone: a
//! late value leads to what would be had it come in time.

pub mod baseline;
pub(crate) mod bytes;
pub mod change_points;
pub mod deviation;
pub mod exact_sum;
mod finite;
mod fourier;
pub mod isolation_forest;
pub mod log_template;
#[cfg(test)]
mod nab_tests;
pub mod order_key;
pub mod order_statistics;
pub mod pairs;
pub mod period;
pub mod quantile_sketch;
pub mod retractable;
pub mod spike;
pub mod stl;
pub mod three_sigma;

pub use bytes::DecodeError;
