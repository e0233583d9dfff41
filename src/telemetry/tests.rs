//! Tests of decoding: text first, then JSON against protobuf, then input that is damaged at random, then real data.

mod damage;
mod errors;
mod formats;
mod logs;
mod made;
mod metrics;
mod real;
mod spans;

use arrow::array::Array;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use expect_test::Expect;

use super::{Batch, Decoder, Limits, Origin};

/// 2023-11-14T22:13:20Z, the moment at which the tests receive.
const NOW_NS: i64 = 1_700_000_000_000_000_000;

fn decoder() -> Decoder {
    let now = std::time::UNIX_EPOCH + std::time::Duration::from_nanos(NOW_NS as u64);
    Decoder::new(Limits::at(now), NOW_NS)
}

fn origin() -> Origin {
    Origin { source: "test.jsonl".into(), position: Some(17) }
}

/// Decodes JSON and shows the rows.
fn check(request: &str, expected: Expect) {
    let mut decoder = decoder();
    decoder.json(request.as_bytes(), &origin());
    expected.assert_eq(&shown(&decoder.finish()));
}

/// One spans request of service `cart`.
fn spans_request(spans: &str) -> String {
    format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[
            {{"key":"service.name","value":{{"stringValue":"cart"}}}}]}},
            "scopeSpans":[{{"scope":{{"name":"lib","version":"1.2"}},"spans":[{spans}]}}]}}]}}"#
    )
}

/// One span, valid but for what `fields` changes. Of a field given twice the last counts.
fn span(fields: &str) -> String {
    let comma = if fields.is_empty() { "" } else { "," };
    format!(
        r#"{{"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b7","name":"GET /cart",
            "startTimeUnixNano":"1700000000000000000","endTimeUnixNano":"1700000000012000000"{comma}{fields}}}"#
    )
}

/// One logs request without a resource.
fn logs_request(records: &str) -> String {
    format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{records}]}}]}}]}}"#)
}

/// One metrics request without a resource.
fn metrics_request(metrics: &str) -> String {
    format!(r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{metrics}]}}]}}]}}"#)
}

/// Every row as the columns that are not null; what the reader knows from the request is left out of errors.
fn shown(batches: &[Batch]) -> String {
    let mut out = String::new();
    let options = FormatOptions::default().with_null("null");
    for batch in batches {
        let name = batch.table.name();
        let schema = batch.table.schema();
        assert_eq!(batch.rows.schema(), schema);
        for row in 0..batch.rows.num_rows() {
            out += name;
            for (field, column) in schema.fields().iter().zip(batch.rows.columns()) {
                let known = name == "ingest_errors" && !matches!(field.name().as_str(), "kind" | "reason");
                if column.is_null(row) || known {
                    continue;
                }
                let formatter = ArrayFormatter::try_new(column, &options).unwrap();
                let value = formatter.value(row).to_string();
                if value != "{}" {
                    out += &format!("\n  {}: {value}", field.name());
                }
            }
            out += "\n";
        }
    }
    out
}

/// Only the reasons of what was rejected, and how many rows were kept.
fn check_errors(request: &str, expected: Expect) {
    let mut decoder = decoder();
    decoder.json(request.as_bytes(), &origin());
    expected.assert_eq(&reasons(&mut decoder));
}

fn reasons(decoder: &mut Decoder) -> String {
    let (accepted, rejected) = (decoder.accepted(), decoder.rejected());
    let mut out = format!("{accepted} accepted, {rejected} rejected\n");
    for batch in decoder.finish() {
        if batch.table == super::Table::IngestErrors {
            for row in 0..batch.rows.num_rows() {
                out += &format!("{}: {}\n", text(&batch, "kind", row), text(&batch, "reason", row));
            }
        }
    }
    out
}

/// The text in a column of a batch.
fn text(batch: &Batch, column: &str, row: usize) -> String {
    let column = batch.rows.column_by_name(column).unwrap();
    arrow::util::display::array_value_to_string(column, row).unwrap()
}
