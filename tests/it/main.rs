//! Tests of the whole: statements, views against batch queries, and the binary.

mod lives;
mod slt;
mod support;
mod view_equals_batch;
