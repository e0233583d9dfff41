//! SQL over live telemetry, kept up to date by differential dataflow.

pub mod delta;
pub mod detect;
pub mod engine;
pub mod sql;
pub mod telemetry;
