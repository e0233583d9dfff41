//! Attributes and log bodies of protobuf, written straight into their columns.

use crate::telemetry::Limits;
use crate::telemetry::columns::Map;
use crate::telemetry::record::{Reason, too_deep};
use crate::telemetry::text::{self, Place};

use super::wire::{Fields, Value};

/// Adds the `KeyValue` to the open row of `map`. A key that was not given is empty, a value that was not given null.
#[inline]
pub(super) fn attribute(value: Value<'_>, map: &mut Map, limits: &Limits) -> Result<(), Reason> {
    if map.open_entries() >= limits.attributes_max {
        return Err(format!("more than {0} attributes, {0} allowed", limits.attributes_max));
    }
    let mut fields = value.message("attribute")?;
    map.keys.discard();
    map.values.discard();
    let mut has_value = false;
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => map.keys.open().push_str(value.text("attribute key")?),
            2 => has_value = any_value(value, map.values.open(), Place::Alone, 0, limits)?,
            _ => {}
        }
    }
    map.keys.close(true);
    map.values.close(has_value);
    Ok(())
}

/// Appends an `AnyValue` to `out`; false when it holds none, and then nothing is appended. `depth` is how many
/// arrays and lists it is in.
#[inline]
pub(super) fn any_value(
    value: Value<'_>,
    out: &mut String,
    place: Place,
    depth: usize,
    limits: &Limits,
) -> Result<bool, Reason> {
    let (start, mut has_value) = (out.len(), false);
    let mut fields = value.message("value of an attribute or body")?;
    while let Some((number, value)) = fields.next()? {
        if !(1..=7).contains(&number) {
            continue;
        }
        out.truncate(start);
        has_value = true;
        match number {
            1 => text::string(out, value.text("string value")?, place),
            2 => text::boolean(out, value.varint("bool value")? != 0),
            3 => text::integer(out, value.varint("int value")?.cast_signed()),
            4 => text::double(out, value.double("double value")?, place),
            7 => text::bytes(out, value.bytes("bytes value")?, place),
            _ if depth >= limits.nesting_max => return Err(too_deep(limits)),
            5 => array(value.message("array value")?, out, depth + 1, limits)?,
            _ => key_value_list(value.message("kvlist value")?, out, depth + 1, limits)?,
        }
    }
    Ok(has_value)
}

/// Appends an `AnyValue` as JSON, `null` when it holds none.
fn nested(value: Option<Value<'_>>, out: &mut String, depth: usize, limits: &Limits) -> Result<(), Reason> {
    let has_value = match value {
        Some(value) => any_value(value, out, Place::InJson, depth, limits)?,
        None => false,
    };
    if !has_value {
        out.push_str("null");
    }
    Ok(())
}

/// Appends an `ArrayValue` as a JSON array.
fn array(mut fields: Fields<'_>, out: &mut String, depth: usize, limits: &Limits) -> Result<(), Reason> {
    let mut separator = '[';
    while let Some((number, value)) = fields.next()? {
        if number == 1 {
            out.push(separator);
            separator = ',';
            nested(Some(value), out, depth, limits)?;
        }
    }
    out.push_str(if separator == '[' { "[]" } else { "]" });
    Ok(())
}

/// Appends a `KeyValueList` as a JSON object.
fn key_value_list(
    mut fields: Fields<'_>,
    out: &mut String,
    depth: usize,
    limits: &Limits,
) -> Result<(), Reason> {
    let mut separator = '{';
    while let Some((number, value)) = fields.next()? {
        if number == 1 {
            out.push(separator);
            separator = ',';
            list_entry(value.message("element of a kvlist value")?, out, depth, limits)?;
        }
    }
    out.push_str(if separator == '{' { "{}" } else { "}" });
    Ok(())
}

/// Appends a `KeyValue` as a field of a JSON object, its key first wherever that stands.
fn list_entry(mut fields: Fields<'_>, out: &mut String, depth: usize, limits: &Limits) -> Result<(), Reason> {
    let (mut key, mut inner) = ("", None);
    while let Some((number, value)) = fields.next()? {
        match number {
            1 => key = value.text("attribute key")?,
            2 => inner = Some(value),
            _ => {}
        }
    }
    text::quoted(out, key);
    out.push(':');
    nested(inner, out, depth, limits)
}
