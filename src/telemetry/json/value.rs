//! Attributes and log bodies of JSON, written straight into their columns.

use crate::telemetry::Limits;
use crate::telemetry::columns::Map;
use crate::telemetry::record::too_deep;
use crate::telemetry::text::{self, Place};

use super::reader::{Fault, Reader};

/// Reads the array of attributes here into the open row of `map`, which is emptied before.
#[inline]
pub(super) fn attributes(reader: &mut Reader<'_>, map: &mut Map, limits: &Limits) -> Result<(), Fault> {
    map.discard();
    reader.array("attributes")?;
    let mut first = true;
    while reader.item(&mut first)? {
        if map.open_entries() >= limits.attributes_max {
            return Err(Fault::Record(format!(
                "more than {0} attributes, {0} allowed",
                limits.attributes_max
            )));
        }
        key_value(reader, map, limits)?;
    }
    Ok(())
}

/// One attribute. A key that was not given is empty, a value that was not given null.
#[inline]
fn key_value(reader: &mut Reader<'_>, map: &mut Map, limits: &Limits) -> Result<(), Fault> {
    map.keys.discard();
    map.values.discard();
    let (mut has_value, mut first) = (false, true);
    reader.object("attribute")?;
    while let Some(key) = reader.field(&mut first)? {
        match key.as_ref() {
            "key" => reader.string_into("attribute key", map.keys.open())?,
            "value" => has_value = any_value(reader, map.values.open(), Place::Alone, 0, limits)?,
            _ => reader.skip()?,
        }
    }
    map.keys.close(true);
    map.values.close(has_value);
    Ok(())
}

/// Appends an `AnyValue` to `out`; false when it holds none, and then nothing is appended. `depth` is how many
/// arrays and lists it is in.
pub(super) fn any_value(
    reader: &mut Reader<'_>,
    out: &mut String,
    place: Place,
    depth: usize,
    limits: &Limits,
) -> Result<bool, Fault> {
    let (start, mut has_value, mut first) = (out.len(), false, true);
    reader.object("value of an attribute or body")?;
    while let Some(key) = reader.field(&mut first)? {
        let key = key.as_ref();
        if !matches!(
            key,
            "stringValue"
                | "intValue"
                | "doubleValue"
                | "boolValue"
                | "bytesValue"
                | "arrayValue"
                | "kvlistValue"
        ) {
            reader.skip()?;
            continue;
        }
        out.truncate(start);
        has_value = true;
        match key {
            "stringValue" if place == Place::Alone => reader.string_into("stringValue", out)?,
            "stringValue" => text::quoted(out, &reader.string("stringValue")?),
            "intValue" => {
                let value = reader.integer("intValue")?;
                match i64::try_from(value) {
                    Ok(value) => text::integer(out, value),
                    Err(_) => {
                        let allowed = format!("{} to {}", i64::MIN, i64::MAX);
                        return Err(Fault::Record(format!("intValue {value} is outside {allowed}")));
                    }
                }
            }
            "doubleValue" => text::double(out, reader.double("doubleValue")?, place),
            "boolValue" => text::boolean(out, reader.boolean("boolValue")?),
            "bytesValue" => match text::base64(&reader.string("bytesValue")?) {
                Some(bytes) => text::bytes(out, &bytes, place),
                None => return Err(Fault::Record("bytesValue is not base64".to_owned())),
            },
            _ if depth >= limits.nesting_max => return Err(Fault::Record(too_deep(limits))),
            "arrayValue" => array(reader, out, depth + 1, limits)?,
            _ => key_value_list(reader, out, depth + 1, limits)?,
        }
    }
    Ok(has_value)
}

/// Appends an `AnyValue` as JSON, `null` when it holds none.
fn nested(reader: &mut Reader<'_>, out: &mut String, depth: usize, limits: &Limits) -> Result<(), Fault> {
    if !any_value(reader, out, Place::InJson, depth, limits)? {
        out.push_str("null");
    }
    Ok(())
}

/// Appends an `ArrayValue` as a JSON array.
fn array(reader: &mut Reader<'_>, out: &mut String, depth: usize, limits: &Limits) -> Result<(), Fault> {
    let (start, mut first) = (out.len(), true);
    out.push_str("[]");
    reader.object("arrayValue")?;
    while let Some(key) = reader.field(&mut first)? {
        if key != "values" {
            reader.skip()?;
            continue;
        }
        out.truncate(start);
        out.push('[');
        reader.array("values")?;
        let mut first = true;
        while reader.item(&mut first)? {
            if out.len() > start + 1 {
                out.push(',');
            }
            nested(reader, out, depth, limits)?;
        }
        out.push(']');
    }
    Ok(())
}

/// Appends a `KeyValueList` as a JSON object.
fn key_value_list(
    reader: &mut Reader<'_>,
    out: &mut String,
    depth: usize,
    limits: &Limits,
) -> Result<(), Fault> {
    let (start, mut first) = (out.len(), true);
    out.push_str("{}");
    reader.object("kvlistValue")?;
    while let Some(key) = reader.field(&mut first)? {
        if key != "values" {
            reader.skip()?;
            continue;
        }
        out.truncate(start);
        out.push('{');
        reader.array("values")?;
        let mut first = true;
        while reader.item(&mut first)? {
            if out.len() > start + 1 {
                out.push(',');
            }
            list_entry(reader, out, depth, limits)?;
        }
        out.push('}');
    }
    Ok(())
}

/// Appends a `KeyValue` as a field of a JSON object, its key first wherever that stands.
fn list_entry(reader: &mut Reader<'_>, out: &mut String, depth: usize, limits: &Limits) -> Result<(), Fault> {
    let (mut name, mut value, mut first) = (Default::default(), None, true);
    reader.object("element of kvlistValue")?;
    while let Some(key) = reader.field(&mut first)? {
        match key.as_ref() {
            "key" => name = reader.string("key")?,
            "value" => {
                value = Some(reader.place());
                reader.skip()?;
            }
            _ => reader.skip()?,
        }
    }
    text::quoted(out, &name);
    out.push(':');
    let Some(place) = value else {
        out.push_str("null");
        return Ok(());
    };
    let here = reader.place();
    reader.rewind(place);
    nested(reader, out, depth, limits)?;
    reader.rewind(here);
    Ok(())
}
