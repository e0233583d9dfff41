//! Tests of the whole: statements, views against batch queries, and the binary.

#![allow(clippy::unwrap_used)]

mod checkpoints;
mod dashboard;
mod demo;
mod detectors;
mod faults;
mod flight_sql;
mod generate;
mod history;
mod http;
mod in_process;
mod kafka;
mod lives;
mod lost_worker;
mod nexmark;
mod oracle;
mod otlp;
mod postgres;
mod python;
mod queries;
mod receiver;
mod recursion;
mod refusals;
mod replay;
mod restart;
mod serve;
mod server;
mod slt;
mod statements;
mod support;
mod tables;
mod tidy;
mod tpch;
mod trainticket;
mod view_equals_batch;
mod view_stats;
mod window_close;
