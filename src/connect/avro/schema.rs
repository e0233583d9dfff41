//! Schemas as they are registered, made plain: without names, defaults and notes, all of which only get in the way of reading
//! rows, and within limits, since anybody may register one.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};

use super::error::SchemaError;
use crate::connect::registry::Definition;

/// The most types of a schema, each counted wherever it is used.
pub(super) const TYPES_MAX: usize = 10_000;

/// How deep types may be nested.
pub(super) const DEPTH_MAX: usize = 64;

const PRIMITIVES: [&str; 8] = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];

/// `definition` as one schema of a record that needs no other.
pub(super) fn plain(definition: &Definition) -> Result<Value, SchemaError> {
    let (known, open, defined) = Default::default();
    let mut plainer = Plainer { named: &definition.named, known, open, defined };
    let plain = plainer.plain(&definition.schema, "", 0)?;
    match plain.schema["type"] == "record" {
        true => Ok(plain.schema),
        false => Err(SchemaError::NoRecord(definition.schema.to_string())),
    }
}

/// A schema, and how large what it says is.
#[derive(Clone)]
struct Plain {
    schema: Value,
    types: usize,
    depth: usize,
    /// Whether a value may take no bytes.
    is_empty: bool,
}

struct Plainer<'a> {
    /// Types that other schemas define.
    named: &'a HashMap<String, Value>,
    /// Types by their full names, as they are used again.
    known: HashMap<String, Plain>,
    /// Types that are being read.
    open: HashSet<String>,
    /// How many have a name.
    defined: usize,
}

impl Plainer<'_> {
    fn plain(&mut self, schema: &Value, namespace: &str, depth: usize) -> Result<Plain, SchemaError> {
        if depth > DEPTH_MAX {
            return Err(SchemaError::Deep);
        }
        let plain = match schema {
            Value::String(name) => self.used(name, namespace, depth),
            Value::Array(branches) => self.union(branches, namespace, depth),
            Value::Object(object) => self.object(object, namespace, depth),
            other => Err(SchemaError::NoSchema(other.to_string())),
        }?;
        // A type that is used again is not read again: how deep and large it is, is known from before.
        match (plain.types > TYPES_MAX, plain.depth > DEPTH_MAX) {
            (true, _) => Err(SchemaError::Large),
            (_, true) => Err(SchemaError::Deep),
            _ => Ok(plain),
        }
    }

    fn used(&mut self, name: &str, namespace: &str, depth: usize) -> Result<Plain, SchemaError> {
        if PRIMITIVES.contains(&name) {
            return Ok(leaf(json!(name), name == "null"));
        }
        let full = full_name(name, namespace);
        // A name without a namespace may be that of a type that has none.
        for candidate in [full.as_str(), name] {
            if self.open.contains(candidate) {
                return Err(SchemaError::Recursive(candidate.to_owned()));
            }
            if let Some(known) = self.known.get(candidate) {
                return Ok(known.clone());
            }
            if let Some(definition) = self.named.get(candidate) {
                // It may use itself, by way of this name.
                self.open.insert(candidate.to_owned());
                let used = self.referred(candidate, definition, depth);
                self.open.remove(candidate);
                return used;
            }
        }
        Err(SchemaError::Undefined(full))
    }

    /// A type that another schema defines, which knows nothing of this one.
    fn referred(&mut self, name: &str, definition: &Value, depth: usize) -> Result<Plain, SchemaError> {
        let is_own = |object: &Map<String, Value>| full_name_of(object, "").as_deref() == Some(name);
        if definition.as_object().is_some_and(is_own) {
            self.open.remove(name);
        }
        self.plain(definition, "", depth + 1)
    }

    fn union(&mut self, branches: &[Value], namespace: &str, depth: usize) -> Result<Plain, SchemaError> {
        let mut all = vec![];
        for branch in branches {
            all.push(self.plain(branch, namespace, depth + 1)?);
        }
        let schemas = all.iter().map(|branch| branch.schema.clone()).collect();
        Ok(around(Value::Array(schemas), &all, false))
    }

    fn object(
        &mut self,
        object: &Map<String, Value>,
        namespace: &str,
        depth: usize,
    ) -> Result<Plain, SchemaError> {
        let no_schema = || SchemaError::NoSchema(Value::Object(object.clone()).to_string());
        let kind = match object.get("type") {
            Some(Value::String(kind)) => kind.as_str(),
            Some(inner) => return self.plain(inner, namespace, depth + 1),
            None => return Err(no_schema()),
        };
        let inner = |name: &str| object.get(name).ok_or_else(no_schema);
        match kind {
            "record" | "error" | "enum" | "fixed" => self.define(kind, object, namespace, depth),
            "array" => {
                let items = self.plain(inner("items")?, namespace, depth + 1)?;
                match items.is_empty {
                    true => Err(SchemaError::Empty(inner("items")?.to_string())),
                    false => Ok(around(json!({"type": "array", "items": items.schema}), &[items], false)),
                }
            }
            "map" => {
                let values = self.plain(inner("values")?, namespace, depth + 1)?;
                Ok(around(json!({"type": "map", "values": values.schema}), &[values], false))
            }
            name if PRIMITIVES.contains(&name) => Ok(leaf(annotated(name, object), name == "null")),
            name => self.used(name, namespace, depth),
        }
    }

    /// A type with a name.
    fn define(
        &mut self,
        kind: &str,
        object: &Map<String, Value>,
        namespace: &str,
        depth: usize,
    ) -> Result<Plain, SchemaError> {
        let no_schema = || SchemaError::NoSchema(Value::Object(object.clone()).to_string());
        let full = full_name_of(object, namespace).ok_or_else(no_schema)?;
        if !self.open.insert(full.clone()) {
            return Err(SchemaError::Recursive(full));
        }
        // A name that needs no namespace, which is looked up in different ways.
        let own = format!("t{}", self.defined);
        self.defined += 1;
        let plain = match kind {
            "enum" => {
                let symbols = object.get("symbols").ok_or_else(no_schema)?;
                leaf(json!({"type": "enum", "name": own, "symbols": symbols}), false)
            }
            "fixed" => {
                let size = object.get("size").and_then(Value::as_u64).ok_or_else(no_schema)?;
                let mut fixed = annotated("fixed", object);
                if fixed.is_string() {
                    fixed = json!({"type": "fixed"});
                }
                (fixed["name"], fixed["size"]) = (json!(own), json!(size));
                leaf(fixed, size == 0)
            }
            _ => {
                let namespace = full.rsplit_once('.').map_or("", |(namespace, _)| namespace);
                self.record(&own, object, namespace, depth)?
            }
        };
        self.open.remove(&full);
        self.known.insert(full, Plain { schema: json!(own), ..plain.clone() });
        Ok(plain)
    }

    fn record(
        &mut self,
        own: &str,
        object: &Map<String, Value>,
        namespace: &str,
        depth: usize,
    ) -> Result<Plain, SchemaError> {
        let no_schema = || SchemaError::NoSchema(Value::Object(object.clone()).to_string());
        let (mut all, mut fields) = (vec![], vec![]);
        for field in object.get("fields").and_then(Value::as_array).ok_or_else(no_schema)? {
            let name = field["name"].as_str().ok_or_else(no_schema)?;
            let plain = self.plain(&field["type"], namespace, depth + 1)?;
            fields.push(json!({"name": name, "type": plain.schema}));
            all.push(plain);
        }
        let is_empty = all.iter().all(|field| field.is_empty);
        Ok(around(json!({"type": "record", "name": own, "fields": fields}), &all, is_empty))
    }
}

fn leaf(schema: Value, is_empty: bool) -> Plain {
    Plain { schema, types: 1, depth: 1, is_empty }
}

/// A type made of `parts`.
fn around(schema: Value, parts: &[Plain], is_empty: bool) -> Plain {
    let types = parts.iter().fold(1, |sum: usize, part| sum.saturating_add(part.types));
    let depth = 1 + parts.iter().map(|part| part.depth).max().unwrap_or(0);
    Plain { schema, types, depth, is_empty }
}

/// The type `name` with what `object` says of its values.
fn annotated(name: &str, object: &Map<String, Value>) -> Value {
    let logical = object.get("logicalType").and_then(Value::as_str);
    // A text is a text, whether or not it is a UUID.
    let Some(logical) = logical.filter(|logical| (name, *logical) != ("string", "uuid")) else {
        return json!(name);
    };
    let mut schema = json!({"type": name, "logicalType": logical});
    for attribute in ["precision", "scale"] {
        if let Some(value) = object.get(attribute) {
            schema[attribute] = value.clone();
        }
    }
    schema
}

fn full_name_of(object: &Map<String, Value>, namespace: &str) -> Option<String> {
    let namespace = object.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
    Some(full_name(object.get("name")?.as_str()?, namespace))
}

fn full_name(name: &str, namespace: &str) -> String {
    match namespace.is_empty() || name.contains('.') {
        true => name.to_owned(),
        false => format!("{namespace}.{name}"),
    }
}
