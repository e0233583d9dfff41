//! Telling the three export requests apart.

use crate::telemetry::Signal;

use super::wire::{Fields, Value};

/// Records looked at before giving up.
const RECORDS_MAX: usize = 64;

/// The signal of an `Export*ServiceRequest` in protobuf. The three requests have the same layout down to their
/// records, so those tell: the signal is the one that all fields of the first records fit, by number and wire type.
/// Nothing when there is no record, when it fits none (another message, or damaged), or when several fit.
pub fn sniff(request: &[u8]) -> Option<Signal> {
    let mut candidates = Signal::ALL.to_vec();
    let mut records = 0;
    for resource in messages(request, 1) {
        for scope in messages(resource, 2) {
            for record in messages(scope, 2) {
                candidates.retain(|&signal| fits(signal, record));
                records += 1;
                if candidates.len() <= 1 || records == RECORDS_MAX {
                    return if candidates.len() == 1 { candidates.pop() } else { None };
                }
            }
        }
    }
    None
}

/// The messages of a repeated field; a message that is cut off is the last, as far as it goes.
fn messages(message: &[u8], field: u32) -> impl Iterator<Item = &[u8]> {
    let mut fields = Fields::new(message);
    std::iter::from_fn(move || fields.next_or_cut().ok().flatten()).filter_map(move |(number, value)| {
        match value {
            Value::Bytes(inner) if number == field => Some(inner),
            _ => None,
        }
    })
}

/// Whether the fields of a record, as far as they can be read, are those of the signal's records. A record without
/// any field is none.
fn fits(signal: Signal, record: &[u8]) -> bool {
    let mut fields = Fields::new(record);
    // A span says when it was, and so do no metrics: by name and description alone they may look like ids.
    let mut has_time = signal != Signal::Traces;
    let mut is_empty = true;
    while let Ok(Some((number, value))) = fields.next() {
        is_empty = false;
        has_time |= matches!((number, value), (7 | 8, Value::Fixed64(_)));
        let known = match signal {
            Signal::Traces => span_field(number, value),
            Signal::Metrics => metric_field(number, value),
            Signal::Logs => log_field(number, value),
        };
        if !known {
            return false;
        }
    }
    has_time && !is_empty
}

fn span_field(number: u32, value: Value<'_>) -> bool {
    match value {
        Value::Bytes(id) if number == 1 => id.len() == 16,
        Value::Bytes(id) if number == 2 => id.len() == 8,
        Value::Bytes(_) => matches!(number, 3 | 4 | 5 | 9 | 11 | 13 | 15),
        Value::Varint(_) => matches!(number, 6 | 10 | 12 | 14),
        Value::Fixed64(_) => matches!(number, 7 | 8),
        Value::Fixed32(_) => number == 16,
    }
}

fn metric_field(number: u32, value: Value<'_>) -> bool {
    match value {
        Value::Bytes(text) if number <= 3 => std::str::from_utf8(text).is_ok(),
        Value::Bytes(_) => matches!(number, 5 | 7 | 9 | 10 | 11 | 12),
        _ => false,
    }
}

fn log_field(number: u32, value: Value<'_>) -> bool {
    match value {
        Value::Bytes(_) => matches!(number, 3 | 5 | 6 | 9 | 10 | 12),
        Value::Varint(_) => matches!(number, 2 | 7),
        Value::Fixed64(_) => matches!(number, 1 | 11),
        Value::Fixed32(_) => number == 8,
    }
}
