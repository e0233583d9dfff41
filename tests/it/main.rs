//! Tests of the whole: SQL in, telemetry in, rows out.

mod queries;
