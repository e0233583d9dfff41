//! How much memory values take, for the bytes that they are read from: whoever registers a schema may say that much becomes
//! of little, as of nulls that are as large as values, or of fields that take no bytes and have names.

use serde_json::Value;

/// The most bytes of memory that the messages that are read together may take as records.
pub(super) const MEMORY_MAX: usize = 256 << 20;

/// How many times its bytes a value may take as a text.
pub(super) const TEXT_TIMES_MAX: usize = 256;

/// How many bytes the text of a record may take besides.
pub(super) const TEXT_BYTES_MAX: usize = 64 << 10;

/// What a number or a time takes as a text, at most, for a byte.
const NUMBER_TEXT: usize = 32;

/// What a decimal takes, of 76 digits.
const DECIMAL_TEXT: usize = 80;
const DECIMAL_MEMORY: usize = 32;

/// What each value of a union takes besides, and the offset of what has a length.
const UNION_MEMORY: usize = 5;
const LENGTH_MEMORY: usize = 8;

/// What a value takes, at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cost {
    /// For itself.
    pub once: usize,
    /// For each of its bytes.
    pub each: usize,
}

/// The sizes of values of one type.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    /// The fewest bytes of a message that one takes.
    pub least: usize,
    /// The memory that a null takes in its place.
    null: usize,
    /// What one takes as part of a record.
    pub memory: Cost,
    /// What one takes as JSON.
    pub text: Cost,
}

impl Cost {
    /// Of a value that takes `bytes` of a message.
    pub fn of(self, bytes: usize) -> usize {
        self.once.saturating_add(self.each.saturating_mul(bytes))
    }

    /// For each byte, of values that take `least` each.
    fn spread(self, least: usize) -> usize {
        self.once.div_ceil(least.max(1)).saturating_add(self.each)
    }
}

impl Size {
    /// Of what is in no other type: `schema`, which has no names but its own.
    pub fn leaf(schema: &Value) -> Size {
        let kind = schema["type"].as_str().or(schema.as_str()).unwrap_or_default();
        let size = schema["size"].as_u64().map_or(usize::MAX, |size| size as usize);
        let (least, mut null, mut text) = match kind {
            "null" => return Size { text: Cost { once: 4, each: 0 }, ..Size::nothing() },
            "fixed" => (size, size, Cost { once: 2, each: 4 }),
            "boolean" => (1, 1, Cost { once: 0, each: 5 }),
            "int" => (1, 4, Cost { once: 0, each: NUMBER_TEXT }),
            "float" => (4, 4, Cost { once: 0, each: NUMBER_TEXT }),
            "double" => (8, 8, Cost { once: 0, each: NUMBER_TEXT }),
            "enum" => (1, 4, Cost { once: 0, each: longest(&schema["symbols"]) }),
            "string" | "bytes" => (1, LENGTH_MEMORY, Cost { once: 0, each: 8 }),
            _ => (1, 8, Cost { once: 0, each: NUMBER_TEXT }),
        };
        if schema["logicalType"] == "decimal" {
            (null, text.each) = (null.max(DECIMAL_MEMORY), DECIMAL_TEXT);
        }
        let each = if kind == "fixed" { DECIMAL_MEMORY } else { null };
        Size { least, null, memory: Cost { once: 0, each }, text }
    }

    fn nothing() -> Size {
        Size { least: 0, null: 0, memory: Cost::default(), text: Cost::default() }
    }

    /// Of one of `branches`, and which it is.
    pub fn union<'a>(branches: impl Iterator<Item = &'a Size>) -> Size {
        let (mut union, mut least) = (Size::nothing(), usize::MAX);
        for branch in branches {
            least = least.min(branch.least);
            // Where it is null, so are all.
            union.null = union.null.saturating_add(branch.null);
            union.memory.once = union.memory.once.max(branch.memory.once);
            union.memory.each = union.memory.each.max(branch.memory.each);
            union.text.each = union.text.each.max(branch.text.spread(branch.least.saturating_add(1)));
        }
        union.least = least.saturating_add(1);
        union.memory.once = union.memory.once.max(union.null);
        union.memory.each = union.memory.each.saturating_add(UNION_MEMORY);
        union
    }

    /// Of all of `fields`, which have names.
    pub fn record<'a>(fields: impl Iterator<Item = (&'a str, &'a Size)>) -> Size {
        let mut record = Size::nothing();
        record.text.once = 2;
        for (name, field) in fields {
            record.least = record.least.saturating_add(field.least);
            record.null = record.null.saturating_add(field.null);
            record.memory.once = record.memory.once.saturating_add(field.memory.once);
            record.memory.each = record.memory.each.max(field.memory.each);
            let text = field.text.once.saturating_add(quoted(name) + 2);
            record.text.once = record.text.once.saturating_add(text);
            record.text.each = record.text.each.max(field.text.each);
        }
        record
    }

    /// Of any number of `items`, each of which takes a byte at least.
    pub fn array(items: &Size) -> Size {
        let memory = items.memory.spread(items.least).saturating_add(LENGTH_MEMORY);
        let text = items.text.spread(items.least).saturating_add(2);
        Size::list(memory, text)
    }

    /// Of any number of `values`, which have names that are a byte at least each.
    pub fn map(values: &Size) -> Size {
        let least = values.least.saturating_add(1);
        let memory = values.memory.spread(least).saturating_add(2 * LENGTH_MEMORY);
        Size::list(memory, values.text.spread(least).saturating_add(8))
    }

    fn list(memory: usize, text: usize) -> Size {
        let of = |each| Cost { once: 0, each };
        Size { least: 1, null: LENGTH_MEMORY, memory: of(memory), text: of(text) }
    }

    /// Whether texts of values are so long for what they are read from that nobody means it.
    pub fn is_wordy(&self) -> bool {
        self.text.each > TEXT_TIMES_MAX || self.text.once > TEXT_BYTES_MAX
    }
}

/// The bytes of the longest of `symbols`.
fn longest(symbols: &Value) -> usize {
    symbols.as_array().into_iter().flatten().filter_map(Value::as_str).map(quoted).max().unwrap_or(0)
}

/// The bytes of `text` as a text of JSON.
fn quoted(text: &str) -> usize {
    Value::from(text).to_string().len()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_null_is_as_large_as_a_value() {
        let null = Size::leaf(&json!("null"));
        let fixed = Size::leaf(&json!({"type": "fixed", "name": "f", "size": 2_000_000_000}));
        let nullable = Size::union([null, fixed].iter());
        assert_eq!((nullable.least, nullable.memory.once), (1, 2_000_000_000));
        assert!(nullable.memory.of(1) > MEMORY_MAX);
        let long = Size::leaf(&json!("long"));
        let row = Size::record((0..500).map(|_| ("name", &long)));
        let before = Size::union([null, row].iter());
        // Once in a message it is little, in an array it is for each byte.
        assert_eq!(before.memory.once, 4_000);
        assert!(before.memory.of(1_000) < 1 << 15);
        assert!(Size::array(&before).memory.each > 4_000);
        let optional = Size::union([null, long].iter());
        let item = Size::record((0..500).map(|_| ("name", &optional)));
        assert!(Size::array(&item).memory.each < 32);
    }

    #[test]
    fn names_of_nothing_are_many() {
        let (null, long) = (Size::leaf(&json!("null")), Size::leaf(&json!("long")));
        let of = |times: usize| std::iter::once(("n", &long)).chain((0..times).map(|_| ("a_name", &null)));
        assert!(!Size::array(&Size::record(of(10))).is_wordy());
        assert!(Size::array(&Size::record(of(20))).is_wordy());
        assert!(!Size::record(of(20)).is_wordy());
        assert!(Size::record(of(10_000)).is_wordy());
        let plain = Size::record((0..100).map(|_| ("the_name_of_a_column", &long)));
        let optional = Size::union([null, plain].iter());
        assert!(!Size::array(&optional).is_wordy());
        assert!(!Size::array(&Size::record([("address", &optional)].into_iter())).is_wordy());
        let word = |length: usize| json!({"type": "enum", "name": "e", "symbols": ["A", "x".repeat(length)]});
        assert!(!Size::array(&Size::leaf(&word(200))).is_wordy());
        assert!(Size::array(&Size::leaf(&word(300))).is_wordy());
    }
}
