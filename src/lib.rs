//! SQL over live telemetry, kept up to date by differential dataflow.

pub mod built_in;
pub mod command;
pub mod delta;
pub mod detect;
pub mod engine;
pub mod ingest;
pub mod sql;
pub mod telemetry;
