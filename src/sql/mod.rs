//! SQL: DataFusion's session with functions of our own.

pub mod functions;
