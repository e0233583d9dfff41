//! What the JSON reader does to bytes: finding the end of a string, undoing escapes, reading integers.

/// Where the run of characters that need no care ends: at a quote, a backslash, a control character or the end.
#[inline]
pub(super) fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    // Eight bytes at once. A byte that is zero borrows from the next higher one, so bits above the lowest one set may
    // be wrong; the lowest is right, and it alone is used.
    while let Some(Ok(chunk)) = bytes.get(at..at + 8).map(<[u8; 8]>::try_from) {
        let word = u64::from_le_bytes(chunk);
        let quote = word ^ (ONES * 0x22);
        let backslash = word ^ (ONES * 0x5c);
        let found = word.wrapping_sub(ONES * 0x20) & !word
            | quote.wrapping_sub(ONES) & !quote
            | backslash.wrapping_sub(ONES) & !backslash;
        let found = found & HIGHS;
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while let Some(&byte) = bytes.get(at) {
        if byte == b'"' || byte == b'\\' || byte < 0x20 {
            break;
        }
        at += 1;
    }
    at
}

/// Appends a string without its escapes, which are known to be well formed. Half a surrogate pair becomes U+FFFD.
pub(super) fn unescape(raw: &str, out: &mut String) {
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let (escape, after) = match rest.as_bytes().get(at + 1) {
            Some(b'u') => {
                let (character, length) = unicode(&rest[at..]);
                (character, at + length)
            }
            Some(b'b') => ('\u{8}', at + 2),
            Some(b'f') => ('\u{c}', at + 2),
            Some(b'n') => ('\n', at + 2),
            Some(b'r') => ('\r', at + 2),
            Some(b't') => ('\t', at + 2),
            Some(&byte) => (char::from(byte), at + 2),
            None => break,
        };
        out.push(escape);
        rest = rest.get(after..).unwrap_or_default();
    }
    out.push_str(rest);
}

/// The character that `\u` with four hexadecimal digits, or a pair of these, at the start of `text` stands for, and how long it is written.
fn unicode(text: &str) -> (char, usize) {
    let unit = |at: usize| match text.get(at..at + 2) {
        Some("\\u") => text.get(at + 2..at + 6).and_then(|digits| u32::from_str_radix(digits, 16).ok()),
        _ => None,
    };
    let first = unit(0).unwrap_or(0xfffd);
    if let (0xd800..0xdc00, Some(second @ 0xdc00..0xe000)) = (first, unit(6)) {
        let character = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        return (char::from_u32(character).unwrap_or(char::REPLACEMENT_CHARACTER), 12);
    }
    (char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER), 6)
}

/// A decimal integer of up to 38 digits with an optional minus.
#[inline]
pub(super) fn integer(text: &str) -> Option<i128> {
    let bytes = text.as_bytes();
    // Up to 18 digits never overflow; times of this age have 19.
    if let 1..=19 = bytes.len() {
        let mut value = 0u64;
        let mut all_digits = true;
        for &byte in bytes {
            let digit = byte.wrapping_sub(b'0');
            all_digits &= digit < 10;
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
        }
        if all_digits {
            return Some(i128::from(value));
        }
    }
    if text.starts_with('+') { None } else { text.parse().ok() }
}
