//! Small random telemetry in which everything that is hard to compare occurs often.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde_json::{Map, Value, json};
use undercurrent::telemetry::Table;

/// The stream tables that random queries read.
pub const TABLES: [Table; 3] = [Table::Logs, Table::Spans, Table::Metrics];

/// One of `values`, or null once in a while.
fn some(random: &mut StdRng, values: &[Value]) -> Value {
    if random.random_ratio(1, 6) { Value::Null } else { one(random, values) }
}

fn one(random: &mut StdRng, values: &[Value]) -> Value {
    values.choose(random).cloned().unwrap_or(Value::Null)
}

/// A time of the first minute; milliseconds and nanoseconds once in a while.
fn time(random: &mut StdRng) -> Value {
    let second = random.random_range(0..60);
    let fraction = ["", ".5", ".001", ".999999999", ".000000001"];
    let fraction = if random.random_ratio(1, 4) { fraction[random.random_range(0..5)] } else { "" };
    json!(format!("1970-01-01T00:00:{second:02}{fraction}Z"))
}

fn texts(values: &[&str]) -> Vec<Value> {
    values.iter().map(|v| json!(v)).collect()
}

fn attributes(random: &mut StdRng) -> Value {
    let mut map = Map::new();
    for key in ["k", "route"] {
        if random.random_ratio(1, 2) {
            map.insert(key.to_owned(), some(random, &texts(&["a", "", "7", "b"])));
        }
    }
    Value::Object(map)
}

fn double(random: &mut StdRng) -> Value {
    let values = [
        json!(0.0),
        json!(-0.0),
        json!("NaN"),
        json!(1.5),
        json!(-1.5),
        json!(0.1),
        json!(0.2),
        json!(0.3),
        json!(1e16),
        json!(-1e16),
        json!(3.0),
        json!("inf"),
    ];
    // Infinities are rare: a sum of two is NaN and hides all else.
    let last = if random.random_ratio(1, 10) { values.len() } else { values.len() - 1 };
    some(random, &values[..last])
}

/// A random row of `table`.
pub fn row(random: &mut StdRng, table: Table) -> Value {
    let services = texts(&["web", "cart", "", "Web"]);
    let ids = texts(&["t1", "t2", "t3"]);
    let span_ids = texts(&["s1", "s2", "s3", "s4"]);
    let small = [json!(0), json!(1), json!(2), json!(-3), json!(17)];
    match table {
        Table::Logs => json!({
            "ts": time(random),
            "observed_at": some(random, &[json!("1970-01-01T00:00:10Z"), json!("1970-01-01T00:00:30Z")]),
            "severity_number": some(random, &small),
            "severity_text": some(random, &texts(&["INFO", "ERROR", ""])),
            "body": some(random, &texts(&["a b", "Ab", "", "%x_"])),
            "trace_id": some(random, &ids),
            "span_id": some(random, &span_ids),
            "service_name": some(random, &services),
            "attributes": attributes(random),
        }),
        Table::Spans => json!({
            "trace_id": one(random, &ids),
            "span_id": one(random, &span_ids),
            "parent_span_id": some(random, &span_ids),
            "service_name": some(random, &services),
            "name": one(random, &texts(&["get", "put", ""])),
            "kind": one(random, &texts(&["CLIENT", "SERVER"])),
            "started_at": time(random),
            "ended_at": time(random),
            "duration_ns": one(random, &[json!(0), json!(1), json!(2), json!(1000), json!(9007199254740993i64)]),
            "status_code": one(random, &texts(&["OK", "ERROR"])),
            "attributes": attributes(random),
        }),
        _ => json!({
            "name": one(random, &texts(&["cpu", "mem"])),
            "type": "gauge",
            "unit": some(random, &texts(&["s", "By", ""])),
            "is_monotonic": some(random, &[json!(true), json!(false)]),
            "service_name": some(random, &services),
            "ts": time(random),
            "value": double(random),
            "value_int": some(random, &small),
            "count": some(random, &small),
            "sum": double(random),
            "attributes": attributes(random),
        }),
    }
}
