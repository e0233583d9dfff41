//! Rows of a view as records of Avro, their schemas made of its columns.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow_avro::schema::SCHEMA_METADATA_KEY;
use arrow_avro::writer::WriterBuilder;
use arrow_avro::writer::format::AvroBinaryFormat;
use serde_json::{Value, json};

use super::layout::{FRAME_BYTES, Layout};
use crate::connect::ConnectError;
use crate::connect::registry::{Definition, Registry};
use crate::delta::updates::Tick;
use crate::sql::connector::{CreateSink, Envelope};
use crate::sql::error::SqlError;
use crate::sql::json_lines::json_lines;

/// The namespace of all records.
const NAMESPACE: &str = "undercurrent";

/// Writes keys and values of messages.
pub(in crate::connect) struct AvroWriter {
    row: Record,
    key: Option<Record>,
    /// The schema of values: that of rows, or what the envelope makes of it.
    value: Value,
    key_frame: [u8; FRAME_BYTES],
    value_frame: [u8; FRAME_BYTES],
}

impl AvroWriter {
    /// For the sink `sink`, of a view with `columns`, `key` of which are those of the key.
    pub fn new(sink: &CreateSink, columns: &Schema, key: &[usize]) -> Result<Self, ConnectError> {
        let name = record_name(&sink.relation);
        let row = Record::new(&name, columns)?;
        let key = match key.is_empty() {
            true => None,
            false => {
                let columns = columns.project(key).map_err(SqlError::from)?;
                Some(Record::new(&format!("{name}_key"), &columns)?)
            }
        };
        let value = match sink.envelope {
            Envelope::Append | Envelope::Upsert => row.avro.clone(),
            Envelope::Debezium => change_of(&name, &row.avro),
        };
        let (key_frame, value_frame) = Default::default();
        Ok(AvroWriter { row, key, value, key_frame, value_frame })
    }

    /// Has `registry` know the schemas, as those of `topic`, and writes the numbers that it gives them.
    pub fn registered(mut self, registry: &Registry, topic: &str) -> Result<Self, ConnectError> {
        let id = registry.register(&format!("{topic}-value"), &self.value.to_string())?;
        self.value_frame[1..].copy_from_slice(&id.to_be_bytes());
        if let Some(key) = &self.key {
            let id = registry.register(&format!("{topic}-key"), &key.avro.to_string())?;
            self.key_frame[1..].copy_from_slice(&id.to_be_bytes());
        }
        Ok(self)
    }

    /// Each row of `rows`, without what is before it in a message.
    pub fn rows(&self, rows: &RecordBatch) -> Result<Vec<Vec<u8>>, ConnectError> {
        self.row.encode(rows)
    }

    /// Each row of `keys` as the key of a message.
    pub fn keys(&self, keys: &RecordBatch) -> Result<Vec<Vec<u8>>, ConnectError> {
        let Some(record) = &self.key else { return Ok(vec![]) };
        Ok(record.encode(keys)?.iter().map(|key| [&self.key_frame[..], key].concat()).collect())
    }

    /// A row as the value of a message.
    pub fn value(&self, row: &[u8]) -> Vec<u8> {
        [&self.value_frame[..], row].concat()
    }

    /// A change as the value of a message, as [`change_of`] says.
    pub fn change(&self, before: Option<&[u8]>, after: Option<&[u8]>, op: &str, at: Tick) -> Vec<u8> {
        let mut value = self.value_frame.to_vec();
        for row in [before, after] {
            number(&mut value, i64::from(row.is_some()));
            value.extend_from_slice(row.unwrap_or_default());
        }
        number(&mut value, op.len() as i64);
        value.extend_from_slice(op.as_bytes());
        number(&mut value, at as i64);
        value
    }

    /// A row, or a key with what is before it, as JSON, for people.
    pub fn shown(&self, row: &[u8], is_key: bool) -> String {
        let shown = match (is_key, &self.key) {
            (true, Some(key)) => key.shown(row.get(FRAME_BYTES..).unwrap_or_default()),
            _ => self.row.shown(row),
        };
        shown.unwrap_or_else(|| format!("{row:02x?}"))
    }
}

/// The schema of a change of rows of the schema `row`: the fields of Debezium's events.
fn change_of(name: &str, row: &Value) -> Value {
    json!({"type": "record", "namespace": NAMESPACE, "name": format!("{name}_change"), "fields": [
        {"name": "before", "type": ["null", row], "default": null},
        {"name": "after", "type": ["null", format!("{NAMESPACE}.{name}")], "default": null},
        {"name": "op", "type": "string"},
        {"name": "ts_ms", "type": "long"},
    ]})
}

/// Adds `number` as Avro writes an int or a long.
fn number(bytes: &mut Vec<u8>, number: i64) {
    let mut rest = ((number << 1) ^ (number >> 63)) as u64;
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}

/// How rows are written.
struct Record {
    avro: Value,
    /// The columns with the types that they are written as.
    columns: SchemaRef,
}

impl Record {
    fn new(name: &str, columns: &Schema) -> Result<Self, ConnectError> {
        let (mut fields, mut written) = (vec![], vec![]);
        for column in columns.fields() {
            let failed = |reason: String| ConnectError::Avro { column: column.name().clone(), reason };
            if !is_name(column.name()) {
                let reason = "names have letters, digits and \"_\", and begin with no digit";
                return Err(failed(reason.to_owned()));
            }
            let (data_type, avro) =
                form(column.data_type()).ok_or_else(|| failed(format!("it is {}", column.data_type())))?;
            let (avro, is_nullable) = nullable(avro, column.is_nullable());
            fields.push(match is_nullable {
                true => json!({"name": column.name(), "type": avro, "default": null}),
                false => json!({"name": column.name(), "type": avro}),
            });
            written.push(Field::new(column.name(), data_type, column.is_nullable()));
        }
        let avro = json!({"type": "record", "namespace": NAMESPACE, "name": name, "fields": fields});
        let metadata = HashMap::from([(SCHEMA_METADATA_KEY.to_owned(), avro.to_string())]);
        Ok(Record { avro, columns: Arc::new(Schema::new_with_metadata(written, metadata)) })
    }

    fn encode(&self, rows: &RecordBatch) -> Result<Vec<Vec<u8>>, ConnectError> {
        let failed = |error: arrow_avro::errors::AvroError| {
            ConnectError::Rows(arrow::error::ArrowError::AvroError(error.to_string()).into())
        };
        let strictly = CastOptions { safe: false, ..Default::default() };
        let columns = rows.columns().iter().zip(self.columns.fields());
        let columns = columns
            .map(|(column, field)| cast_with_options(column, field.data_type(), &strictly))
            .collect::<Result<Vec<_>, _>>()
            .map_err(SqlError::from)?;
        let rows = RecordBatch::try_new(self.columns.clone(), columns).map_err(SqlError::from)?;
        let builder = WriterBuilder::new(self.columns.as_ref().clone());
        let mut encoder = builder.build_encoder::<AvroBinaryFormat>().map_err(failed)?;
        encoder.encode(&rows).map_err(failed)?;
        Ok(encoder.flush().iter().map(|row| row.to_vec()).collect())
    }

    fn shown(&self, row: &[u8]) -> Option<String> {
        let definition = Definition { schema: self.avro.clone(), named: HashMap::new() };
        let columns = Arc::new(Schema::new(self.columns.fields().clone()));
        let layout = Layout::new(0, &definition, &columns).ok()?;
        let rows = layout.rows(&[&[&[0; FRAME_BYTES], row].concat()]).ok()?;
        Some(String::from_utf8(json_lines(&rows).ok()?).ok()?.trim_end().to_owned())
    }
}

/// How values of `data_type` are written: as which type, and what Avro calls it; `None` for what is nested other than in
/// lists.
fn form(data_type: &DataType) -> Option<(DataType, Value)> {
    use DataType::*;
    let logical = |name: &str, of: &str| json!({"type": of, "logicalType": name});
    Some(match data_type {
        Null => (Null, json!("null")),
        Boolean => (Boolean, json!("boolean")),
        Int8 | Int16 | Int32 | UInt8 | UInt16 => (Int32, json!("int")),
        // As PostgreSQL has it: a number that is too large is an error.
        Int64 | UInt32 | UInt64 => (Int64, json!("long")),
        Float16 | Float32 => (Float32, json!("float")),
        Float64 => (Float64, json!("double")),
        Utf8 | LargeUtf8 | Utf8View | Interval(_) | Duration(_) => (Utf8, json!("string")),
        Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => (Binary, json!("bytes")),
        Dictionary(_, values) => form(values)?,
        Date32 => (Date32, logical("date", "int")),
        Date64 => (Timestamp(TimeUnit::Millisecond, None), logical("local-timestamp-millis", "long")),
        Time32(_) | Time64(_) => (Time64(TimeUnit::Microsecond), logical("time-micros", "long")),
        Timestamp(unit, zone) => {
            let (unit, name) = match unit {
                TimeUnit::Second | TimeUnit::Millisecond => (TimeUnit::Millisecond, "timestamp-millis"),
                TimeUnit::Microsecond => (TimeUnit::Microsecond, "timestamp-micros"),
                TimeUnit::Nanosecond => (TimeUnit::Nanosecond, "timestamp-nanos"),
            };
            let local = if zone.is_some() { "" } else { "local-" };
            (Timestamp(unit, zone.clone()), logical(&format!("{local}{name}"), "long"))
        }
        Decimal32(precision, scale) | Decimal64(precision, scale) | Decimal128(precision, scale)
            if *scale >= 0 =>
        {
            (Decimal128(*precision, *scale), decimal(*precision, *scale))
        }
        Decimal256(precision, scale) if *scale >= 0 => (data_type.clone(), decimal(*precision, *scale)),
        List(item) | LargeList(item) | ListView(item) | LargeListView(item) | FixedSizeList(item, _) => {
            let (values, avro) = form(item.data_type())?;
            let (avro, _) = nullable(avro, item.is_nullable());
            let item = Field::new(item.name(), values, item.is_nullable());
            (List(Arc::new(item)), json!({"type": "array", "items": avro}))
        }
        _ => return None,
    })
}

fn decimal(precision: u8, scale: i8) -> Value {
    json!({"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale})
}

/// The type `avro` with null beside it, where `is_nullable`; and whether null is a value of it.
fn nullable(avro: Value, is_nullable: bool) -> (Value, bool) {
    let is_null = avro == "null";
    match is_nullable && !is_null {
        true => (json!(["null", avro]), true),
        false => (avro, is_null),
    }
}

/// Whether Avro takes `name` as one.
fn is_name(name: &str) -> bool {
    let is_letter = |character: char| character.is_ascii_alphabetic() || character == '_';
    name.starts_with(is_letter) && name.chars().all(|c| is_letter(c) || c.is_ascii_digit())
}

/// What Avro takes as the name of a record, made of that of a relation.
fn record_name(relation: &str) -> String {
    let name: String = relation.chars().map(|c| if is_name(&format!("_{c}")) { c } else { '_' }).collect();
    if is_name(&name) { name } else { format!("_{name}") }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Decimal128Array, DictionaryArray, Int64Array, ListArray, StringArray};
    use arrow::array::{TimestampNanosecondArray, UInt64Array};
    use arrow::datatypes::{Int32Type, Int64Type};

    use super::*;
    use crate::sql::statement::{Statement, parse};

    fn sink(key: &str, envelope: &str) -> CreateSink {
        let sql = format!(
            "CREATE SINK k FROM \"my view\" INTO KAFKA (brokers = 'b:1', topic = 't', schema.registry.url = 'http://r') \
             {key} FORMAT AVRO {envelope}"
        );
        let Statement::CreateSink(sink) = parse(&sql).unwrap().remove(0) else { panic!("no sink") };
        *sink
    }

    fn rows() -> RecordBatch {
        let list = ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(3), None]), None]);
        let columns: [(&str, ArrayRef); 6] = [
            ("id", Arc::new(Int64Array::from(vec![27, -1]))),
            ("name", Arc::new(StringArray::from(vec![Some("foo"), None]))),
            ("kind", Arc::new(DictionaryArray::<Int32Type>::from_iter(["a", "b"]))),
            ("n", Arc::new(UInt64Array::from(vec![1, 2]))),
            ("list", Arc::new(list)),
            (
                "price",
                Arc::new(Decimal128Array::from(vec![12_345, -1]).with_precision_and_scale(10, 2).unwrap()),
            ),
        ];
        RecordBatch::try_from_iter_with_nullable(
            columns.map(|(name, values)| (name, values.clone(), values.null_count() > 0)),
        )
        .unwrap()
    }

    /// The record behind the frame of `message`, of `schema`, as JSON.
    fn read(schema: &Value, columns: &[(&str, DataType)], message: &[u8]) -> String {
        let definition = Definition { schema: schema.clone(), named: HashMap::new() };
        let columns: Vec<Field> =
            columns.iter().map(|(name, of)| Field::new(*name, of.clone(), true)).collect();
        let layout = Layout::new(0, &definition, &Arc::new(Schema::new(columns))).unwrap();
        let rows = layout.rows(&[message]).unwrap();
        String::from_utf8(json_lines(&rows).unwrap()).unwrap().trim_end().to_owned()
    }

    #[test]
    fn a_schema_says_what_the_columns_are() {
        let rows = rows();
        let writer = AvroWriter::new(&sink("KEY (id)", ""), &rows.schema(), &[0]).unwrap();
        let expected = json!({
            "type": "record", "namespace": "undercurrent", "name": "my_view", "fields": [
                {"name": "id", "type": "long"},
                {"name": "name", "type": ["null", "string"], "default": null},
                {"name": "kind", "type": "string"},
                {"name": "n", "type": "long"},
                {"name": "list", "type": ["null", {"type": "array", "items": ["null", "long"]}], "default": null},
                {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}},
            ],
        });
        assert_eq!(writer.value, expected);
        let key = &writer.key.as_ref().unwrap().avro;
        assert_eq!(key["name"], "my_view_key");
        assert_eq!(key["fields"], json!([{"name": "id", "type": "long"}]));
    }

    #[test]
    fn rows_are_as_the_specification_has_them() {
        let rows = rows();
        let mut writer = AvroWriter::new(&sink("KEY (id)", ""), &rows.schema(), &[0]).unwrap();
        (writer.key_frame, writer.value_frame) = ([0, 0, 0, 0, 9], [0, 0, 0, 1, 0]);
        let records = writer.rows(&rows).unwrap();
        assert_eq!(records[0], b"\x36\x02\x06foo\x02a\x02\x02\x04\x02\x06\x00\x00\x04\x30\x39");
        assert_eq!(records[1], b"\x01\x00\x02b\x04\x00\x02\xff");
        assert_eq!(writer.value(&records[1])[..6], [0, 0, 0, 1, 0, 1]);
        let keys = writer.keys(&rows.project(&[0]).unwrap()).unwrap();
        assert_eq!(keys, [[0, 0, 0, 0, 9, 0x36], [0, 0, 0, 0, 9, 0x01]]);
        assert_eq!(writer.shown(&keys[0], true), "{\"id\":27}");
        assert!(writer.shown(&records[0], false).starts_with("{\"id\":27,\"name\":\"foo\",\"kind\":\"a\""));
    }

    #[test]
    fn a_change_has_a_before_and_an_after() {
        let rows = rows().project(&[0, 1]).unwrap();
        let writer = AvroWriter::new(&sink("", "ENVELOPE DEBEZIUM"), &rows.schema(), &[]).unwrap();
        let records = writer.rows(&rows).unwrap();
        let change = writer.change(Some(&records[0]), Some(&records[1]), "u", 1_000);
        assert_eq!(change, b"\x00\x00\x00\x00\x00\x02\x36\x02\x06foo\x02\x01\x00\x02u\xd0\x0f");
        let columns = [
            ("before", DataType::Utf8),
            ("after", DataType::Utf8),
            ("op", DataType::Utf8),
            ("ts_ms", DataType::Int64),
        ];
        assert_eq!(
            read(&writer.value, &columns, &change),
            r#"{"before":"{\"id\":27,\"name\":\"foo\"}","after":"{\"id\":-1,\"name\":null}","op":"u","ts_ms":1000}"#
        );
        let gone = writer.change(Some(&records[0]), None, "d", 1_767_225_600_000);
        assert_eq!(
            read(&writer.value, &columns, &gone),
            r#"{"before":"{\"id\":27,\"name\":\"foo\"}","after":null,"op":"d","ts_ms":1767225600000}"#
        );
    }

    #[test]
    fn all_types_of_views_are_read_as_they_were_written() {
        use DataType::*;
        let at = |unit, zone: Option<&str>| Timestamp(unit, zone.map(Into::into));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(5)]));
        let times: ArrayRef =
            Arc::new(TimestampNanosecondArray::from(vec![Some(1_500_000_000), None, Some(0)]));
        let (mut fields, mut columns) = (vec![], vec![]);
        for (of, values) in [Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64, Float32, Float64]
            .into_iter()
            .chain([Utf8, LargeUtf8, Utf8View, Decimal128(20, 3), Decimal256(50, 3), Boolean])
            .map(|of| (of, &numbers))
            .chain([Date32, Date64].map(|of| (of, &times)))
            .chain(
                [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond]
                    .into_iter()
                    .flat_map(|unit| [(at(unit, None), &times), (at(unit, Some("+00:00")), &times)]),
            )
        {
            fields.push(Field::new(format!("c{}", fields.len()), of.clone(), true));
            columns.push(arrow::compute::cast(values, &of).unwrap());
        }
        let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
        let writer = AvroWriter::new(&sink("", ""), &rows.schema(), &[]).unwrap();
        let json = json_lines(&rows).unwrap();
        let expected = std::str::from_utf8(&json).unwrap().lines();
        for (record, expected) in writer.rows(&rows).unwrap().iter().zip(expected) {
            let (got, expected): (Value, Value) = (
                serde_json::from_str(&writer.shown(record, false)).unwrap(),
                serde_json::from_str(expected).unwrap(),
            );
            assert_eq!(got, expected);
        }
    }

    #[test]
    fn what_has_no_form_is_said() {
        let of = |name: &str, data_type: DataType| Schema::new(vec![Field::new(name, data_type, true)]);
        let error =
            |columns: &Schema| AvroWriter::new(&sink("", ""), columns, &[]).err().unwrap().to_string();
        assert_eq!(
            error(&of("count(*)", DataType::Int64)),
            "column \"count(*)\" has no form in Avro: names have letters, digits and \"_\", and begin with no digit"
        );
        let nested = DataType::Struct(vec![Field::new("x", DataType::Int64, true)].into());
        assert!(error(&of("s", nested)).starts_with("column \"s\" has no form in Avro: it is Struct"));
        assert_eq!(["a-b", "1x", "ä", "ok_1"].map(record_name), ["a_b", "_1x", "_", "ok_1"]);
        let large =
            RecordBatch::try_from_iter([("n", Arc::new(UInt64Array::from(vec![u64::MAX])) as ArrayRef)]);
        let large = large.unwrap();
        assert!(AvroWriter::new(&sink("", ""), &large.schema(), &[]).unwrap().rows(&large).is_err());
    }
}
