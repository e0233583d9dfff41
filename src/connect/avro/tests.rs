mod losses;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::layout::{Layout, schema_id};
use crate::connect::registry::Definition;
use crate::sql::json_lines::json_lines;

fn definition(schema: &str) -> Definition {
    Definition { schema: serde_json::from_str(schema).unwrap(), named: HashMap::new() }
}

fn columns(columns: &[(&str, DataType)]) -> SchemaRef {
    let fields: Vec<Field> = columns.iter().map(|(name, of)| Field::new(*name, of.clone(), true)).collect();
    Arc::new(Schema::new(fields))
}

/// A message of schema 7.
fn message(record: &[u8]) -> Vec<u8> {
    [&[0, 0, 0, 0, 7], record].concat()
}

fn shown(rows: &RecordBatch) -> String {
    String::from_utf8(json_lines(rows).unwrap()).unwrap().trim_end().to_owned()
}

/// The rows that `records` of `schema` are for a table with `columns`, as JSON.
fn read(schema: &str, columns: &SchemaRef, records: &[&[u8]]) -> Result<String, String> {
    let layout = Layout::new(7, &definition(schema), columns).map_err(|error| error.to_string())?;
    let messages: Vec<Vec<u8>> = records.iter().map(|record| message(record)).collect();
    let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    layout.rows(&messages).map(|rows| shown(&rows)).map_err(|error| error.to_string())
}

/// What a column of the type `to` has of the one field of the type `schema`, of which `record` is.
fn value(schema: &str, to: DataType, record: &[u8]) -> Result<String, String> {
    let schema =
        format!("{{\"type\":\"record\",\"name\":\"r\",\"fields\":[{{\"name\":\"v\",\"type\":{schema}}}]}}");
    let row = read(&schema, &columns(&[("v", to)]), &[record])?;
    Ok(row.strip_prefix("{\"v\":").unwrap().strip_suffix('}').unwrap().to_owned())
}

fn timestamp(unit: TimeUnit) -> DataType {
    DataType::Timestamp(unit, Some("+00:00".into()))
}

fn texts() -> DataType {
    DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)))
}

/// The examples of "Binary Encoding" in Avro's specification, 1.12.0, and others made by hand as it says.
#[test]
fn values_are_as_the_specification_has_them() {
    let example = "{\"type\":\"record\",\"name\":\"test\",\"fields\":[{\"name\":\"a\",\"type\":\"long\"},{\"name\":\"b\",\"type\":\"string\"}]}";
    let both = columns(&[("a", DataType::Int64), ("b", DataType::Utf8)]);
    assert_eq!(read(example, &both, &[b"\x36\x06foo"]).unwrap(), "{\"a\":27,\"b\":\"foo\"}");
    for (bytes, expected) in [
        (&b"\x00"[..], "0"),
        (b"\x01", "-1"),
        (b"\x02", "1"),
        (b"\x03", "-2"),
        (b"\x04", "2"),
        (b"\x7f", "-64"),
        (b"\x80\x01", "64"),
        (b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", "9223372036854775807"),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "-9223372036854775808"),
    ] {
        assert_eq!(value("\"long\"", DataType::Int64, bytes).unwrap(), expected);
    }
    let longs = DataType::List(Arc::new(Field::new("item", DataType::Int64, true)));
    let array = "{\"type\":\"array\",\"items\":\"long\"}";
    assert_eq!(value(array, longs.clone(), b"\x04\x06\x36\x00").unwrap(), "[3,27]");
    // A block with its size, which begins with a count below zero.
    assert_eq!(value(array, longs, b"\x03\x04\x06\x36\x00").unwrap(), "[3,27]");
    let union = "[\"null\",\"string\"]";
    assert_eq!(value(union, DataType::Utf8, b"\x00").unwrap(), "null");
    assert_eq!(value(union, DataType::Utf8, b"\x02\x02a").unwrap(), "\"a\"");
    assert_eq!(value("[\"string\",\"null\"]", DataType::Utf8, b"\x00\x02a").unwrap(), "\"a\"");
    let foo = "{\"type\":\"enum\",\"name\":\"Foo\",\"symbols\":[\"A\",\"B\",\"C\",\"D\"]}";
    assert_eq!(value(foo, DataType::Utf8, b"\x06").unwrap(), "\"D\"");
    assert!(value(foo, DataType::Utf8, b"\x08").is_err());
    assert_eq!(value("\"boolean\"", DataType::Boolean, b"\x01").unwrap(), "true");
    assert_eq!(value("\"float\"", DataType::Float32, &1.5f32.to_le_bytes()).unwrap(), "1.5");
    assert_eq!(value("\"double\"", DataType::Float64, &(-0.25f64).to_le_bytes()).unwrap(), "-0.25");
    assert_eq!(value("\"bytes\"", DataType::Binary, b"\x04\xca\xfe").unwrap(), "\"cafe\"");
}

#[test]
fn logical_types_are_what_they_mean() {
    // 2026-01-01T00:00:00.001Z, in milliseconds, microseconds and nanoseconds.
    for (name, number) in [
        ("timestamp-millis", 1_767_225_600_001i64),
        ("timestamp-micros", 1_767_225_600_001_000),
        ("timestamp-nanos", 1_767_225_600_001_000_000),
    ] {
        let schema = format!("{{\"type\":\"long\",\"logicalType\":\"{name}\"}}");
        let mut bytes = vec![];
        long(&mut bytes, number);
        for unit in [TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond] {
            let got = value(&schema, timestamp(unit), &bytes).unwrap();
            assert_eq!(got, "\"2026-01-01T00:00:00.001Z\"", "{name} {unit:?}");
        }
        let local = schema.replace("timestamp", "local-timestamp");
        let got = value(&local, DataType::Timestamp(TimeUnit::Microsecond, None), &bytes).unwrap();
        assert_eq!(got, "\"2026-01-01T00:00:00.001\"");
    }
    // The largest milliseconds there are have no nanoseconds.
    let millis = "{\"type\":\"long\",\"logicalType\":\"timestamp-millis\"}";
    let far = b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01";
    assert!(value(millis, timestamp(TimeUnit::Nanosecond), far).is_err());
    let date = "{\"type\":\"int\",\"logicalType\":\"date\"}";
    assert_eq!(value(date, DataType::Date32, b"\xc2\x02").unwrap(), "\"1970-06-11\"");
    // 123.45 as bytes and as three fixed ones, and below zero.
    let money = DataType::Decimal128(10, 2);
    let bytes = "{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":10,\"scale\":2}";
    assert_eq!(value(bytes, money.clone(), b"\x04\x30\x39").unwrap(), "123.45");
    assert_eq!(value(bytes, money.clone(), b"\x02\xff").unwrap(), "-0.01");
    assert_eq!(value(bytes, DataType::Decimal128(10, 1), b"\x02\x0a").unwrap(), "0.1");
    assert!(value(bytes, DataType::Decimal128(4, 2), b"\x06\x01\x00\x00").is_err());
    let fixed = "{\"type\":\"fixed\",\"name\":\"f\",\"size\":3,\"logicalType\":\"decimal\",\"precision\":6,\"scale\":2}";
    assert_eq!(value(fixed, money, b"\x00\x30\x39").unwrap(), "123.45");
    // More digits than the type says.
    assert!(value(bytes, DataType::Decimal128(10, 2), b"\x0a\x7f\xff\xff\xff\xff").is_err());
    let uuid = "\"00112233-4455-6677-8899-aabbccddeeff\"";
    let digits: Vec<u8> = (0..16).map(|byte| byte * 0x11).collect();
    let fixed = "{\"type\":\"fixed\",\"name\":\"u\",\"size\":16,\"logicalType\":\"uuid\"}";
    assert_eq!(value(fixed, DataType::Utf8, &digits).unwrap(), uuid);
    let mut bytes = vec![];
    text(&mut bytes, uuid.trim_matches('"'));
    let texts = "{\"type\":\"string\",\"logicalType\":\"uuid\"}";
    assert_eq!(value(texts, DataType::Utf8, &bytes).unwrap(), uuid);
    assert_eq!(value(texts, DataType::Utf8, b"\x02x").unwrap(), "\"x\"");
    // One that nobody knows is passed over.
    let unknown = "{\"type\":\"int\",\"logicalType\":\"parsecs\",\"connect.version\":1}";
    assert_eq!(value(unknown, DataType::Int64, b"\x02").unwrap(), "1");
}

#[test]
fn columns_take_what_loses_nothing() {
    assert_eq!(value("\"int\"", DataType::Float64, b"\x06").unwrap(), "3.0");
    assert_eq!(value("\"long\"", DataType::Int16, b"\x06").unwrap(), "3");
    assert_eq!(value("\"long\"", DataType::Decimal128(10, 2), b"\x06").unwrap(), "3.00");
    assert!(value("\"long\"", DataType::Int16, b"\x80\x80\x08").is_err());
    assert_eq!(value("\"string\"", DataType::Int64, b"\x0412").unwrap(), "12");
    assert!(value("\"string\"", DataType::Int64, b"\x041x").is_err());
    let at = value("\"string\"", timestamp(TimeUnit::Microsecond), b"\x282026-01-01T00:00:00Z");
    assert_eq!(at.unwrap(), "\"2026-01-01T00:00:00Z\"");
    assert_eq!(value("\"bytes\"", DataType::Utf8, b"\x04ab").unwrap(), "\"ab\"");
    assert!(value("\"bytes\"", DataType::Utf8, b"\x04\xff\xfe").is_err());
    assert!(value("\"string\"", DataType::Utf8, b"\x04\xff\xfe").is_err());
    let strings = "{\"type\":\"array\",\"items\":[\"null\",\"string\"]}";
    assert_eq!(value(strings, texts(), b"\x04\x02\x02a\x00\x00").unwrap(), "[\"a\",null]");
    // What is nested is a text of JSON.
    let nested = "[\"null\",{\"type\":\"record\",\"name\":\"n\",\"fields\":[{\"name\":\"x\",\"type\":\"int\"},\
                  {\"name\":\"m\",\"type\":{\"type\":\"map\",\"values\":\"string\"}}]}]";
    let got = value(nested, DataType::Utf8, b"\x02\x06\x02\x02k\x02v\x00").unwrap();
    assert_eq!(got, "\"{\\\"x\\\":3,\\\"m\\\":{\\\"k\\\":\\\"v\\\"}}\"");
    assert_eq!(value(nested, DataType::Utf8, b"\x00").unwrap(), "null");
    for (schema, to, expected) in [
        (
            "\"double\"",
            DataType::Int64,
            "schema 7: field \"v\" is \"double\", which a column of the type Int64 does not take",
        ),
        (
            "\"long\"",
            timestamp(TimeUnit::Microsecond),
            "field \"v\" is \"long\", which a column of the type Timestamp",
        ),
        ("\"int\"", DataType::Utf8, "field \"v\" is \"int\", which a column of the type Utf8"),
        (
            "{\"type\":\"array\",\"items\":[\"int\",\"string\"]}",
            DataType::Utf8,
            "field \"v\" is {\"items\":[\"int\",\"string\"],\"type\":\"array\"}, which",
        ),
        ("[\"int\",\"string\"]", DataType::Utf8, "field \"v\" is [\"int\",\"string\"], which"),
    ] {
        let error = value(schema, to, b"\x00").unwrap_err();
        assert!(expected.ends_with(&error) || error.starts_with(expected), "{error}");
    }
}

#[test]
fn schemas_change_over_time() {
    let table = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("name", DataType::Utf8, true),
    ]));
    let of = |fields: &str| {
        format!("{{\"type\":\"record\",\"name\":\"r\",\"namespace\":\"n\",\"fields\":[{fields}]}}")
    };
    let (id, name) =
        ("{\"name\":\"id\",\"type\":\"long\"}", "{\"name\":\"name\",\"type\":[\"null\",\"string\"]}");
    assert_eq!(read(&of(id), &table, &[b"\x02"]).unwrap(), "{\"id\":1,\"name\":null}");
    // Another order, a narrower type, and a field that the table does not have.
    let other =
        of(&format!("{name},{{\"name\":\"more\",\"type\":\"double\"}},{}", id.replace("long", "int")));
    let record = b"\x02\x02a\x00\x00\x00\x00\x00\x00\x00\x00\x04";
    assert_eq!(read(&other, &table, &[record]).unwrap(), "{\"id\":2,\"name\":\"a\"}");
    let missing = read(&of(name), &table, &[b"\x00"]).unwrap_err();
    assert_eq!(missing, "it has no field \"id\", and the column is NOT NULL");
    let nullable = of("{\"name\":\"id\",\"type\":[\"null\",\"long\"]}");
    assert!(read(&nullable, &table, &[b"\x00"]).unwrap_err().contains("non-nullable"));
    assert_eq!(read(&nullable, &table, &[b"\x02\x04"]).unwrap(), "{\"id\":2,\"name\":null}");
    // No column at all is there: rows are, all the same, even those that take no bytes.
    let nothing = columns(&[("x", DataType::Int64)]);
    assert_eq!(read(&of(""), &nothing, &[b"", b""]).unwrap(), "{\"x\":null}\n{\"x\":null}");
}

#[test]
fn schemas_have_limits() {
    let table = columns(&[("v", DataType::Utf8)]);
    let of = |name: &str, kind: &Value| json!({"type": "record", "name": name, "fields": [{"name": "v", "type": kind}]});
    let refused = |schema: &Value| {
        Layout::new(7, &definition(&schema.to_string()), &table).err().map(|error| error.to_string())
    };
    assert_eq!(refused(&json!("int")).unwrap(), "\"int\" is no record");
    assert_eq!(refused(&json!(7)).unwrap(), "7 is no schema");
    assert_eq!(refused(&of("r", &json!("what"))).unwrap(), "the type \"what\" is not defined");
    assert_eq!(
        refused(&of("r", &json!(["null", "r"]))).unwrap(),
        "the type \"r\" is part of itself, which rows have no form for"
    );
    for empty in [json!("null"), of("e", &json!("null")), json!({"type": "fixed", "name": "f", "size": 0})] {
        let array = json!({"type": "array", "items": empty});
        assert!(refused(&of("r", &array)).unwrap().ends_with("which takes no bytes, has no end"));
    }
    let deep = (0..50).fold(json!("int"), |inner, _| json!({"type": "array", "items": inner}));
    assert!(refused(&of("r", &deep)).is_none());
    // Each type is twice the one before, and one deeper.
    let twice = |times: usize, count: usize| {
        let types = (1..times).map(|n| {
            let fields: Vec<Value> = (0..count)
                .map(|m| json!({"name": format!("f{m}"), "type": if n == 1 { json!("int") } else { json!(format!("t{}", n - 1)) }}))
                .collect();
            json!({"name": format!("v{n}"), "type": {"type": "record", "name": format!("t{n}"), "fields": fields}})
        });
        json!({"type": "record", "name": "r", "fields": types.collect::<Vec<_>>()})
    };
    assert_eq!(
        refused(&twice(30, 2)).unwrap(),
        "it has more than 1000 types, each counted wherever it is used"
    );
    assert_eq!(refused(&twice(100, 1)).unwrap(), "types are nested more than 64 deep");
    assert!(refused(&twice(8, 2)).is_none());
}

#[test]
fn names_and_notes_are_no_obstacle() {
    let schema = r#"{"type": "record", "name": "a.b.R", "doc": "a \"note\"\nof two lines", "fields": [
        {"name": "first", "type": {"type": "enum", "name": "E", "symbols": ["X", "Y"], "default": "X"}, "default": "X"},
        {"name": "second", "type": ["null", "a.b.E"], "doc": "\u00e9\t", "default": null},
        {"name": "third", "type": "E", "aliases": ["other"]},
        {"name": "fourth", "type": {"type": {"type": "string", "avro.java.string": "String"}}}
    ]}"#;
    let names = ["first", "second", "third", "fourth"].map(|name| (name, DataType::Utf8));
    let row = read(schema, &columns(&names), &[b"\x02\x02\x00\x02\x02z"]).unwrap();
    assert_eq!(row, "{\"first\":\"Y\",\"second\":\"X\",\"third\":\"Y\",\"fourth\":\"z\"}");
    // Types that other schemas define, which may use one another.
    let mut referring = definition(
        r#"{"type": "record", "name": "n.R", "fields": [{"name": "a", "type": "n.A"}, {"name": "b", "type": ["null", "A"]}]}"#,
    );
    let others = [
        (
            "n.A",
            r#"{"type": "record", "name": "A", "namespace": "n", "fields": [{"name": "e", "type": "o.E"}]}"#,
        ),
        ("o.E", r#"{"type": "enum", "name": "o.E", "symbols": ["X", "Y"]}"#),
    ];
    referring.named.extend(others.map(|(name, text)| (name.to_owned(), serde_json::from_str(text).unwrap())));
    let table = columns(&[("a", DataType::Utf8), ("b", DataType::Utf8)]);
    let layout = Layout::new(7, &referring, &table).unwrap();
    let rows = layout.rows(&[&message(b"\x02\x02\x00")]).unwrap();
    assert_eq!(shown(&rows), "{\"a\":\"{\\\"e\\\":\\\"Y\\\"}\",\"b\":\"{\\\"e\\\":\\\"X\\\"}\"}");
    referring.named.insert("o.E".to_owned(), json!(["null", "n.A"]));
    assert!(Layout::new(7, &referring, &table).err().unwrap().to_string().contains("is part of itself"));
    referring.named.insert("o.E".to_owned(), json!("o.E"));
    assert!(Layout::new(7, &referring, &table).err().unwrap().to_string().contains("is part of itself"));
}

/// Adds `number` as the specification says of int and long: zig-zag, seven bits a byte, the lowest first.
fn long(bytes: &mut Vec<u8>, number: i64) {
    let mut rest = if number < 0 { !((number as u64) << 1) } else { (number as u64) << 1 };
    loop {
        let last = rest < 128;
        bytes.push((rest % 128) as u8 + if last { 0 } else { 128 });
        rest /= 128;
        if last {
            return;
        }
    }
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    long(bytes, text.len() as i64);
    bytes.extend_from_slice(text.as_bytes());
}

const MANY: &str = r#"{"type": "record", "name": "many", "fields": [
    {"name": "n", "type": "long"},
    {"name": "f", "type": ["null", "double"]},
    {"name": "t", "type": ["string", "null"]},
    {"name": "skipped", "type": {"type": "map", "values": ["null", "bytes", "int"]}},
    {"name": "l", "type": {"type": "array", "items": "string"}},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}}
]}"#;

fn many() -> SchemaRef {
    let at = DataType::Timestamp(TimeUnit::Microsecond, None);
    columns(&[
        ("n", DataType::Int64),
        ("f", DataType::Float64),
        ("t", DataType::Utf8),
        ("l", texts()),
        ("at", at),
    ])
}

/// A record of [`MANY`], and the row that it is.
fn random(random: &mut StdRng) -> (Vec<u8>, Value) {
    let mut bytes = vec![];
    let n = random.random::<i64>() >> random.random_range(0..64);
    long(&mut bytes, n);
    let f = random.random_bool(0.5).then(|| f64::from(random.random::<i32>()));
    long(&mut bytes, i64::from(f.is_some()));
    bytes.extend(f.map(f64::to_le_bytes).iter().flatten());
    let word = |random: &mut StdRng| -> String {
        (0..random.random_range(0..9)).map(|_| random.random_range('a'..'\u{ff}')).collect()
    };
    let t = random.random_bool(0.5).then(|| word(random));
    long(&mut bytes, i64::from(t.is_none()));
    t.iter().for_each(|t| text(&mut bytes, t));
    let entries = random.random_range(0..3);
    if entries > 0 {
        long(&mut bytes, entries);
        for _ in 0..entries {
            text(&mut bytes, &word(random));
            long(&mut bytes, 2);
            long(&mut bytes, -5);
        }
    }
    long(&mut bytes, 0);
    let l: Vec<String> = (0..random.random_range(0..3)).map(|_| word(random)).collect();
    for item in &l {
        long(&mut bytes, 1);
        text(&mut bytes, item);
    }
    long(&mut bytes, 0);
    long(&mut bytes, 1_767_225_600_000_000);
    (bytes, json!({"n": n, "f": f, "t": t, "l": l, "at": "2026-01-01T00:00:00"}))
}

#[test]
fn random_records_are_read_as_they_were_written() {
    let mut seed = StdRng::seed_from_u64(7);
    for _ in 0..50 {
        let (records, expected): (Vec<_>, Vec<_>) =
            (0..seed.random_range(1..40)).map(|_| random(&mut seed)).unzip();
        let records: Vec<&[u8]> = records.iter().map(Vec::as_slice).collect();
        let rows = read(MANY, &many(), &records).unwrap();
        let rows: Vec<Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(rows, expected);
    }
}

#[test]
fn damage_is_an_error_and_takes_no_other_with_it() {
    let mut seed = StdRng::seed_from_u64(8);
    let layout = Layout::new(7, &definition(MANY), &many()).unwrap();
    for _ in 0..200 {
        let whole = message(&random(&mut seed).0);
        assert!(layout.rows(&[&whole, &whole]).is_ok());
        for end in 5..whole.len() {
            let error = layout.rows(&[&whole, &whole[..end], &whole]).unwrap_err().to_string();
            assert!(error.contains("does not end") || error.contains("varint"), "{end}: {error}");
        }
        for more in [&[0][..], &[1], &[0; 9], &whole] {
            let error = layout.rows(&[&[&whole[..], more].concat()]).unwrap_err().to_string();
            assert_eq!(error, "something follows the record");
        }
        // Whatever it is, it is one row or an error.
        let mut flipped = whole.clone();
        for _ in 0..3 {
            let place = seed.random_range(5..flipped.len());
            flipped[place] ^= 1 << seed.random_range(0..8);
            assert!(
                layout.rows(&[&flipped]).is_ok_and(|rows| rows.num_rows() == 1)
                    || layout.rows(&[&flipped]).is_err()
            );
        }
        let noise: Vec<u8> = (0..seed.random_range(0..60)).map(|_| seed.random()).collect();
        let _ = layout.rows(&[&message(&noise)]).map(|rows| assert_eq!(rows.num_rows(), 1));
    }
    assert_eq!(schema_id(&[0, 0, 0, 1, 2, 9]).unwrap(), 258);
    for unframed in [&b""[..], &[0, 0, 0, 0], &[1, 0, 0, 0, 7, 2], b"{\"n\": 1}"] {
        assert!(schema_id(unframed).is_err());
    }
}

/// What may be a schema, or something like one.
fn random_schema(seed: &mut StdRng, depth: usize) -> Value {
    const KINDS: [&str; 14] = [
        "null", "boolean", "int", "long", "double", "bytes", "string", "record", "enum", "fixed", "array",
        "map", "a", "b.c",
    ];
    const LOGICAL: [&str; 6] = ["decimal", "uuid", "duration", "date", "time-millis", "timestamp-nanos"];
    let kind = KINDS[seed.random_range(0..KINDS.len())];
    match seed.random_range(0..10) {
        _ if depth == 0 => json!(kind),
        0 => json!(kind),
        1 => (0..seed.random_range(0..4)).map(|_| random_schema(seed, depth - 1)).collect(),
        2 => json!(seed.random::<i8>()),
        _ => {
            let fields = (0..seed.random_range(0..4)).map(
                |field| json!({"name": (["v", "w", "x", "y"][field]), "type": random_schema(seed, depth - 1)}),
            );
            let fields: Vec<Value> = fields.collect();
            let (items, size) = (random_schema(seed, depth - 1), seed.random_range(-1..20));
            json!({"type": kind, "name": KINDS[seed.random_range(0..KINDS.len())], "namespace": (["", "b"][seed.random_range(0..2)]),
                "fields": fields, "items": items, "values": items, "symbols": ["X", "Y"], "size": size,
                "logicalType": LOGICAL[seed.random_range(0..LOGICAL.len())], "precision": seed.random_range(-1..90),
                "scale": seed.random_range(-1..90)})
        }
    }
}

#[test]
fn whatever_is_registered_is_a_schema_or_an_error() {
    let mut seed = StdRng::seed_from_u64(9);
    let table = columns(&[("v", DataType::Utf8), ("w", DataType::Int64), ("x", texts())]);
    let mut read = 0;
    for _ in 0..5_000 {
        let mut schema = random_schema(&mut seed, 4);
        let Some(object) = schema.as_object_mut() else { continue };
        object.insert("type".to_owned(), json!("record"));
        let Ok(layout) = Layout::new(7, &definition(&schema.to_string()), &table) else { continue };
        for _ in 0..10 {
            let noise: Vec<u8> = (0..seed.random_range(0..30)).map(|_| seed.random_range(0..9)).collect();
            let rows = layout.rows(&[&message(&noise)]);
            read += rows.iter().map(RecordBatch::num_rows).sum::<usize>();
        }
    }
    assert!(read > 100, "{read} rows were read");
}
