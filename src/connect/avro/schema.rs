//! Schemas as they are registered, made plain: without names, defaults and notes, all of which only get in the way of reading
//! rows, and within limits, since anybody may register one.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};

use super::error::SchemaError;
use super::size::Size;
use crate::connect::error::cut;
use crate::connect::registry::Definition;

/// The most types of a schema, each counted wherever it is used.
pub(super) const TYPES_MAX: usize = 1_000;

/// The most bytes of a schema, made plain, each type counted wherever it is used.
pub(super) const SCHEMA_BYTES_MAX: usize = 1 << 20;

/// How deep types may be nested.
pub(super) const DEPTH_MAX: usize = 64;

const PRIMITIVES: [&str; 8] = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];

/// `definition` as one schema of a record that needs no other, and the size of records.
pub(super) fn plain(definition: &Definition) -> Result<(Value, Size), SchemaError> {
    let (known, open, defined) = Default::default();
    let mut plainer = Plainer { named: &definition.named, known, open, defined };
    let plain = plainer.plain(&definition.schema, "", 0)?;
    match plain.schema["type"] == "record" {
        true => Ok((plain.schema, plain.size)),
        false => Err(SchemaError::NoRecord(cut(definition.schema.to_string()))),
    }
}

/// A schema, and how large what it says is.
#[derive(Clone)]
struct Plain {
    schema: Value,
    types: usize,
    depth: usize,
    bytes: usize,
    /// How large its values are.
    size: Size,
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
            other => Err(no_schema(other.to_string())),
        }?;
        // A type that is used again is not read again: how deep and large it is, is known from before.
        match &plain {
            plain if plain.types > TYPES_MAX => Err(SchemaError::Large),
            plain if plain.depth > DEPTH_MAX => Err(SchemaError::Deep),
            plain if plain.bytes > SCHEMA_BYTES_MAX => Err(SchemaError::Long),
            _ => Ok(plain),
        }
    }

    fn used(&mut self, name: &str, namespace: &str, depth: usize) -> Result<Plain, SchemaError> {
        if PRIMITIVES.contains(&name) {
            return Ok(leaf(json!(name)));
        }
        let full = full_name(name, namespace);
        // A name without a namespace may be that of a type that has none.
        for candidate in [full.as_str(), name] {
            if self.open.contains(candidate) {
                return Err(SchemaError::Recursive(cut(candidate.to_owned())));
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
        Err(SchemaError::Undefined(cut(full)))
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
        let size = Size::union(all.iter().map(|branch| &branch.size));
        Ok(around(Value::Array(schemas), &all, size))
    }

    fn object(
        &mut self,
        object: &Map<String, Value>,
        namespace: &str,
        depth: usize,
    ) -> Result<Plain, SchemaError> {
        let no_schema = || no_schema(Value::Object(object.clone()).to_string());
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
                if items.size.least == 0 {
                    return Err(SchemaError::Empty(cut(inner("items")?.to_string())));
                }
                let size = Size::array(&items.size);
                Ok(around(json!({"type": "array", "items": items.schema}), &[items], size))
            }
            "map" => {
                let values = self.plain(inner("values")?, namespace, depth + 1)?;
                let size = Size::map(&values.size);
                Ok(around(json!({"type": "map", "values": values.schema}), &[values], size))
            }
            name if PRIMITIVES.contains(&name) => Ok(leaf(annotated(name, object))),
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
        let no_schema = || no_schema(Value::Object(object.clone()).to_string());
        let full = full_name_of(object, namespace).ok_or_else(no_schema)?;
        if !self.open.insert(full.clone()) {
            return Err(SchemaError::Recursive(cut(full)));
        }
        // A name that needs no namespace, which is looked up in different ways.
        let own = format!("t{}", self.defined);
        self.defined += 1;
        let plain = match kind {
            "enum" => {
                let symbols = object.get("symbols").ok_or_else(no_schema)?;
                leaf(json!({"type": "enum", "name": own, "symbols": symbols}))
            }
            "fixed" => {
                let size = object.get("size").and_then(Value::as_u64).ok_or_else(no_schema)?;
                let mut fixed = annotated("fixed", object);
                if fixed.is_string() {
                    fixed = json!({"type": "fixed"});
                }
                (fixed["name"], fixed["size"]) = (json!(own), json!(size));
                leaf(fixed)
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
        let no_schema = || no_schema(Value::Object(object.clone()).to_string());
        let (mut all, mut fields, mut names) = (vec![], vec![], vec![]);
        for field in object.get("fields").and_then(Value::as_array).ok_or_else(no_schema)? {
            let name = field["name"].as_str().ok_or_else(no_schema)?;
            let plain = self.plain(&field["type"], namespace, depth + 1)?;
            fields.push(json!({"name": name, "type": plain.schema}));
            all.push(plain);
            names.push(name);
        }
        let size = Size::record(names.into_iter().zip(all.iter().map(|field| &field.size)));
        Ok(around(json!({"type": "record", "name": own, "fields": fields}), &all, size))
    }
}

fn no_schema(what: String) -> SchemaError {
    SchemaError::NoSchema(cut(what))
}

fn leaf(schema: Value) -> Plain {
    let (bytes, size) = (schema.to_string().len(), Size::leaf(&schema));
    Plain { schema, types: 1, depth: 1, bytes, size }
}

/// A type made of `parts`.
fn around(schema: Value, parts: &[Plain], size: Size) -> Plain {
    let sum = |of: fn(&Plain) -> usize| parts.iter().map(of).fold(0, usize::saturating_add);
    let depth = 1 + parts.iter().map(|part| part.depth).max().unwrap_or(0);
    // What is used again is only named here, and is read as often as it is used.
    let bytes = schema.to_string().len().max(sum(|part| part.bytes));
    Plain { schema, types: sum(|part| part.types).saturating_add(1), depth, bytes, size }
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
