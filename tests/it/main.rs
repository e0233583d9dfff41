//! Tests of the whole: statements, views against batch queries, and the binary.

mod lives;
mod replay;
mod slt;
mod statements;
mod support;
mod trainticket;
mod view_equals_batch;
