//! Attribute values and log bodies as text: strings as they are, booleans and numbers plainly, bytes in base64,
//! arrays and key-value lists as JSON.

use std::fmt::Write;

/// Where a value is written: by itself, or within the JSON text of an array or key-value list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Alone,
    InJson,
}

/// Appends text: as it is, or as a JSON string.
pub(super) fn string(out: &mut String, value: &str, place: Place) {
    match place {
        Place::Alone => out.push_str(value),
        Place::InJson => quoted(out, value),
    }
}

/// Appends a JSON string.
pub(super) fn quoted(out: &mut String, value: &str) {
    out.push('"');
    let mut plain = 0;
    for (at, byte) in value.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x00..0x20 => "",
            _ => continue,
        };
        out.push_str(&value[plain..at]);
        match escape {
            "" => _ = write!(out, "\\u{byte:04x}"),
            _ => out.push_str(escape),
        }
        plain = at + 1;
    }
    out.push_str(&value[plain..]);
    out.push('"');
}

pub(super) fn boolean(out: &mut String, value: bool) {
    out.push_str(if value { "true" } else { "false" });
}

pub(super) fn integer(out: &mut String, value: i64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        out.push('-');
    }
    out.extend(digits[at..].iter().map(|&digit| char::from(digit)));
}

/// Appends the shortest decimal that reads back as `value`; with an exponent outside 1e-6 .. 1e21, as the
/// OpenTelemetry Collector does. What is no number is `NaN`, `Infinity` or `-Infinity`, a string within JSON.
pub(super) fn double(out: &mut String, value: f64, place: Place) {
    let written = match value {
        _ if value.is_nan() => return string(out, "NaN", place),
        f64::INFINITY => return string(out, "Infinity", place),
        f64::NEG_INFINITY => return string(out, "-Infinity", place),
        _ if value == 0.0 || (1e-6..1e21).contains(&value.abs()) => write!(out, "{value}"),
        _ => write!(out, "{value:e}"),
    };
    debug_assert!(written.is_ok(), "writing to a string does not fail");
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Appends bytes in base64, padded.
pub(super) fn bytes(out: &mut String, value: &[u8], place: Place) {
    if place == Place::InJson {
        out.push('"');
    }
    for chunk in value.chunks(3) {
        let group =
            chunk.iter().fold(0u32, |group, &byte| group << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let index = (group >> (18 - 6 * digit)) & 63;
            out.push(if digit <= chunk.len() { char::from(BASE64[index as usize]) } else { '=' });
        }
    }
    if place == Place::InJson {
        out.push('"');
    }
}

/// The bytes that base64 text stands for, padded or not, in the standard or the URL alphabet; nothing when it is not
/// base64.
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=').as_bytes();
    let mut decoded = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    for chunk in digits.chunks(4) {
        let mut group = 0u32;
        for &digit in chunk {
            let value = match digit {
                b'A'..=b'Z' => digit - b'A',
                b'a'..=b'z' => digit - b'a' + 26,
                b'0'..=b'9' => digit - b'0' + 52,
                b'+' | b'-' => 62,
                b'/' | b'_' => 63,
                _ => return None,
            };
            group = group << 6 | u32::from(value);
        }
        group <<= 6 * (4 - chunk.len());
        match chunk.len() {
            1 => return None,
            len => decoded.extend_from_slice(&group.to_be_bytes()[1..len]),
        }
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut String)) -> String {
        let mut out = String::new();
        write(&mut out);
        out
    }

    #[test]
    fn numbers_are_plain() {
        for value in [0, 7, -1, 10, i64::MAX, i64::MIN] {
            assert_eq!(written(|out| integer(out, value)), value.to_string());
        }
        let doubles = [0.0, 3.0, -0.25, 1e-6, 9.9e-7, 1e20, 1e21, f64::MAX, f64::NAN, f64::NEG_INFINITY];
        let text: Vec<_> =
            doubles.iter().map(|&value| written(|out| double(out, value, Place::Alone))).collect();
        let expected = [
            "0",
            "3",
            "-0.25",
            "0.000001",
            "9.9e-7",
            "100000000000000000000",
            "1e21",
            "1.7976931348623157e308",
            "NaN",
            "-Infinity",
        ];
        assert_eq!(text, expected);
    }

    #[test]
    fn base64_reads_what_it_writes() {
        // The test vectors of RFC 4648.
        let vectors = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"];
        for (length, vector) in vectors.iter().enumerate() {
            let value = &b"foobar"[..length];
            assert_eq!(written(|out| bytes(out, value, Place::Alone)), *vector);
            assert_eq!(base64(vector).as_deref(), Some(value));
            assert_eq!(base64(vector.trim_end_matches('=')).as_deref(), Some(value));
        }
        assert_eq!(base64("-_8"), base64("+/8="));
        assert_eq!(base64("Zg=g"), None);
        assert_eq!(base64("Z"), None);
        assert_eq!(base64("Zm 9v"), None);
    }

    #[test]
    fn json_strings_are_escaped() {
        assert_eq!(written(|out| quoted(out, "a\"b\\c\n\u{1}é")), r#""a\"b\\c\n\u0001é""#);
        assert_eq!(written(|out| string(out, "a\"b", Place::Alone)), "a\"b");
    }
}
