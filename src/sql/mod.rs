//! SQL: DataFusion's session with our functions, our statements, and the compiler from a SELECT to a
//! dataflow.

mod call;
mod canonical;
pub mod catalog;
pub mod connector;
pub mod csv;
mod definition;
pub mod detectors;
mod elapsed;
pub mod error;
mod expressions;
mod from;
pub mod functions;
pub mod json;
pub mod json_lines;
mod loops;
pub mod lower;
pub mod model;
mod nesting;
mod one_nan;
mod padding;
pub mod pg_catalog;
mod physical_rules;
pub mod question;
mod recursion;
pub mod retention;
mod rewrite;
pub mod session;
mod set_operations;
pub mod statement;
mod subquery;
pub mod table;
mod ties;
pub mod windows;
pub mod words;
pub mod write;
