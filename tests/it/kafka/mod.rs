//! Kafka in and Kafka out, with a real broker.

mod avro;
mod broker;
mod crashes;
mod disk;
mod full_disk;
mod network;
mod pipeline;
mod proxy;
mod registry;
mod sinks;
mod sources;
mod topic;

use serde_json::Value;

use crate::in_process::curl;
use crate::server::{Server, eventually};

/// The answer to `sql`, which must work.
fn run(server: &Server, sql: &str) -> Value {
    let url = format!("http://{}/api/v1/sql", server.address("http"));
    let got = curl(&["--data-binary", sql, &url]);
    assert_eq!(got.status, 200, "{sql}: {}", got.text());
    got.json()
}

/// The rows of `query` as texts, sorted.
fn rows(server: &Server, query: &str) -> Vec<String> {
    let answer = run(server, query);
    let mut rows: Vec<String> =
        answer["rows"].as_array().expect("rows").iter().map(Value::to_string).collect();
    rows.sort();
    rows
}

/// Waits until `query` gives `expected`.
fn wait_for(server: &Server, query: &str, expected: &[&str]) {
    eventually(|| rows(server, query), |rows| *rows == normal(expected));
}

/// `rows`, JSON objects, with their members in the order in which [`rows`] gives them.
fn normal(rows: &[&str]) -> Vec<String> {
    let mut rows: Vec<String> =
        rows.iter().map(|row| serde_json::from_str::<Value>(row).expect("JSON").to_string()).collect();
    rows.sort();
    rows
}
