//! Tests of the whole: statements, views against batch queries, and the binary.

#![allow(clippy::unwrap_used)]

mod lives;
mod queries;
mod slt;
mod support;
mod tidy;
mod view_equals_batch;
