//! SQL over live telemetry, kept up to date by differential dataflow.

pub mod ingest;
pub mod telemetry;
