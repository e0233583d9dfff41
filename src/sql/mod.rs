//! SQL: DataFusion's session with our functions, our statements, and the compiler from a SELECT to a
//! dataflow.

mod canonical;
pub mod catalog;
pub mod csv;
pub mod error;
pub mod functions;
pub mod lower;
mod nesting;
pub mod pg_catalog;
pub mod question;
pub mod session;
mod set_operations;
pub mod statement;
