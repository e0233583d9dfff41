//! What is refused: values that would lose something, and what takes too much memory.

use super::*;
use crate::connect::avro::read as read_all;

/// A decimal of ten digits, as its schema.
fn decimal(scale: u8) -> String {
    format!("{{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":10,\"scale\":{scale}}}")
}

fn lists(of: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", of, true)))
}

fn number(number: i64) -> Vec<u8> {
    let mut bytes = vec![];
    long(&mut bytes, number);
    bytes
}

#[test]
fn values_that_would_lose_something_are_refused() {
    use DataType::{Decimal128, Float32, Float64};
    let double = |number: f64| number.to_le_bytes().to_vec();
    let micros = timestamp(TimeUnit::Microsecond);
    let nanos = "{\"type\":\"long\",\"logicalType\":\"timestamp-nanos\"}";
    let time = "{\"type\":\"long\",\"logicalType\":\"time-micros\"}";
    let date = "{\"type\":\"int\",\"logicalType\":\"date\"}";
    for (schema, to, bytes, expected) in [
        ("\"long\"", Float64, number(1 << 53), Some("9.007199254740992e15")),
        ("\"long\"", Float64, number((1 << 53) + 1), None),
        ("\"long\"", Float64, number(i64::MAX), None),
        ("\"long\"", Float32, number(1 << 24), Some("16777216.0")),
        ("\"int\"", Float32, number((1 << 24) + 1), None),
        ("\"double\"", Float32, double(1e300), None),
        ("\"double\"", Float32, double(0.1), None),
        ("\"double\"", Float32, double(0.25), Some("0.25")),
        ("\"double\"", Float32, double(f64::from_bits(0x7ff8_0000_0000_0001)), Some("null")),
        ("\"double\"", Decimal128(10, 1), double(0.15), None),
        ("\"double\"", Decimal128(10, 1), double(0.1), Some("0.1")),
        ("\"double\"", Decimal128(10, 1), double(-0.0), Some("0.0")),
        ("\"double\"", Decimal128(10, 1), double(f64::NAN), None),
        ("\"double\"", Decimal128(38, 20), double(123.456), Some("123.45600000000000000000")),
        ("\"double\"", Decimal128(38, 0), double(1e22), Some("10000000000000000000000")),
        ("\"float\"", Decimal128(10, 2), 0.15f32.to_le_bytes().to_vec(), Some("0.15")),
        (&decimal(2), Decimal128(10, 1), b"\x02\x0f".to_vec(), None),
        (&decimal(2), Float64, b"\x02\x0f".to_vec(), Some("0.15")),
        (&decimal(0), Float32, b"\x08\x01\x00\x00\x01".to_vec(), None),
        (nanos, micros.clone(), number(-1_000), Some("\"1969-12-31T23:59:59.999999Z\"")),
        (nanos, micros.clone(), number(-1), None),
        (time, DataType::Time32(TimeUnit::Millisecond), number(1), None),
        (date, timestamp(TimeUnit::Nanosecond), number(200_000), None),
    ] {
        let got = value(schema, to.clone(), &bytes);
        match expected {
            Some(expected) => assert_eq!(got.as_deref(), Ok(expected), "{schema} {to}"),
            None => assert!(got.is_err(), "{schema} {to}: {got:?}"),
        }
    }
    let error = value("\"long\"", Float64, &number((1 << 53) + 1)).unwrap_err();
    assert!(error.ends_with("\"9007199254740993\" would lose something as Float64"), "{error}");
    // A time without a zone is one of UTC.
    let local = "{\"type\":\"long\",\"logicalType\":\"local-timestamp-micros\"}";
    assert_eq!(value(local, micros, b"\x00").unwrap(), "\"1970-01-01T00:00:00Z\"");
}

#[test]
fn lists_hold_what_columns_do() {
    let of = |items: &str| format!("{{\"type\":\"array\",\"items\":{items}}}");
    let (longs, doubles) = (of("\"long\""), lists(DataType::Float64));
    assert_eq!(value(&longs, doubles.clone(), b"\x04\x02\x04\x00").unwrap(), "[1.0,2.0]");
    let large = [&[2][..], &number((1 << 53) + 1), &[0]].concat();
    assert!(value(&longs, doubles, &large).unwrap_err().contains("would lose something"));
    // More digits than the type says.
    let money = lists(DataType::Decimal128(10, 2));
    assert_eq!(value(&of(&decimal(2)), money.clone(), b"\x02\x02\x0f\x00").unwrap(), "[0.15]");
    assert!(value(&of(&decimal(2)), money, b"\x02\x0a\x7f\xff\xff\xff\xff\x00").is_err());
    let record = r#"{"type": "record", "name": "n", "fields": [{"name": "x", "type": "int"}]}"#;
    for nested in [of("\"int\""), record.to_owned(), r#"{"type": "map", "values": "int"}"#.to_owned()] {
        let error = value(&of(&nested), texts(), b"\x00").unwrap_err();
        assert!(error.contains("which a column of the type List"), "{error}");
        assert_eq!(value(&of(&nested), DataType::Utf8, b"\x00").unwrap(), "\"[]\"");
    }
}

#[test]
fn little_becomes_no_more_than_it_may() {
    let huge = r#"["null", {"type": "fixed", "name": "f", "size": 2000000000}]"#;
    let error = value(huge, DataType::Binary, b"\x00").unwrap_err();
    assert_eq!(error, "6 bytes of its schema may take more than 268435456 of memory");
    let record = |count: usize, name: &str, of: &str| -> Value {
        let fields: Vec<Value> =
            (0..count).map(|n| json!({"name": format!("{name}{n}"), "type": of})).collect();
        json!({"type": "record", "name": "n", "fields": fields})
    };
    let nulls = |count: usize| json!({"type": "array", "items": ["null", record(count, "x", "long")]});
    let error = value(&nulls(9_000).to_string(), DataType::Utf8, b"\x00").unwrap_err();
    assert_eq!(error, "it has more than 1000 types, each counted wherever it is used");
    // As many nulls as there are bytes: one takes as much as a record does.
    let columns = columns(&[("v", DataType::Utf8)]);
    let schema = json!({"type": "record", "name": "r", "fields": [{"name": "v", "type": nulls(900)}]});
    let layout = Layout::new(7, &definition(&schema.to_string()), &columns).unwrap();
    let of = |count: i64| message(&[&number(count)[..], &vec![0; count as usize + 1]].concat());
    let (some, many) = (of(20_000), of(60_000));
    let messages = [&some[..], &many, &some];
    let (mut refused, mut batches) = (vec![], vec![]);
    let mut refuse = |place, error: &_| refused.push((place, format!("{error}")));
    read_all(&layout, &messages, &[0, 1, 2], &mut refuse, &mut batches);
    assert_eq!(batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
    assert_eq!(refused.len(), 1);
    assert!(refused[0].0 == 1 && refused[0].1.ends_with("of memory"), "{refused:?}");
    // Names and symbols that are long for what they stand for.
    let symbols = json!({"type": "enum", "name": "e", "symbols": ["x".repeat(900_000)]});
    let name = "x".repeat(300);
    for wordy in [symbols, record(900, "a_name", "null"), record(5, &name, "boolean")] {
        let of = |items: Value| json!({"type": "array", "items": items}).to_string();
        let items = json!({"type": "record", "name": "i", "fields": [{"name": "a", "type": wordy}, {"name": "b", "type": "int"}]});
        let error = value(&of(items), DataType::Utf8, b"\x00").unwrap_err();
        assert!(error.starts_with("texts may take more than 256 times"), "{error}");
    }
    let both: Vec<String> = (0..3).map(|n| "x".repeat(400_000 + n)).collect();
    let long = json!({"type": "enum", "name": "e", "symbols": both});
    assert!(
        value(&long.to_string(), DataType::Utf8, b"\x00").unwrap_err().contains("more than 1048576 bytes")
    );
}

#[test]
fn errors_are_short_whatever_they_are_about() {
    let long = "\u{e9}".repeat(400_000);
    let text = [&number(long.len() as i64)[..], long.as_bytes()].concat();
    for (schema, bytes) in [
        (json!({"type": "enum", "name": "e", "symbols": [long]}), &b"\x00"[..]),
        (json!({"type": long}), b""),
        (json!({"of": long}), b""),
        (json!({"type": "array", "items": {"type": "record", "name": "e", "doc": long, "fields": []}}), b""),
        (json!("string"), &text),
    ] {
        let error = value(&schema.to_string(), DataType::Int64, bytes).unwrap_err();
        assert!(error.chars().count() < 400, "{} characters", error.chars().count());
    }
}
