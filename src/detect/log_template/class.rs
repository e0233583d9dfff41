//! What a byte of a log message may be part of, as bits in a table, so that a word's bits are one OR.

/// `a`-`f`, `A`-`F`.
pub(super) const HEX: u16 = 1;
/// Any other letter of ASCII.
pub(super) const LETTER: u16 = 1 << 1;
/// Set beside [`HEX`] or [`LETTER`].
pub(super) const UPPER: u16 = 1 << 2;
pub(super) const DIGIT: u16 = 1 << 3;
/// May stand inside a chunk, between two words of it: `_-#$+~`.
pub(super) const JOINER: u16 = 1 << 4;
/// `.`, a joiner.
pub(super) const DOT: u16 = 1 << 5;
/// `:`, a joiner.
pub(super) const COLON: u16 = 1 << 6;
/// `@`, a joiner.
pub(super) const AT: u16 = 1 << 7;
/// `/`, a joiner.
pub(super) const SLASH: u16 = 1 << 8;
/// `\`, a joiner.
pub(super) const BACKSLASH: u16 = 1 << 9;
/// Space and control characters.
pub(super) const BLANK: u16 = 1 << 10;
/// Any byte outside of ASCII.
pub(super) const WIDE: u16 = 1 << 11;
/// Punctuation at which something happens: brackets, quotes, `=`, `,` and `<`.
pub(super) const ACTIVE: u16 = 1 << 12;
/// Ends a path or an address: brackets, quotes, `,`, `;`, `=`, `|`, `<`, `>`, besides blanks.
pub(super) const BREAK: u16 = 1 << 13;
/// May stand between two values of a list that is one placeholder.
pub(super) const SEPARATOR: u16 = 1 << 14;
/// `<`, which may begin a placeholder. Among the bits of a chunk: there is one in it.
pub(super) const HOLE: u16 = 1 << 15;

/// What words are made of.
pub(super) const WORD: u16 = HEX | LETTER | DIGIT;
/// What may stand between two words of a chunk.
pub(super) const JOINERS: u16 = JOINER | DOT | COLON | AT | SLASH | BACKSLASH;

const CLASSES: [u16; 256] = classes();

const fn classes() -> [u16; 256] {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = class_of(byte as u8);
        byte += 1;
    }
    classes
}

const fn class_of(byte: u8) -> u16 {
    match byte {
        b'0'..=b'9' => DIGIT,
        b'a'..=b'f' => HEX,
        b'A'..=b'F' => HEX | UPPER,
        b'g'..=b'z' => LETTER,
        b'G'..=b'Z' => LETTER | UPPER,
        b' ' => BLANK | BREAK | SEPARATOR,
        0..=31 | 127 => BLANK | BREAK,
        128.. => WIDE,
        b'.' => DOT | SEPARATOR,
        b':' => COLON | SEPARATOR,
        b'@' => AT,
        b'/' => SLASH | SEPARATOR,
        b'\\' => BACKSLASH,
        b'-' | b'+' | b'#' | b'~' => JOINER | SEPARATOR,
        b'_' | b'$' => JOINER,
        b',' => ACTIVE | BREAK | SEPARATOR,
        b'|' | b';' => BREAK | SEPARATOR,
        b'>' => BREAK,
        b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'"' | b'\'' | b'=' => ACTIVE | BREAK,
        b'<' => ACTIVE | BREAK | HOLE,
        _ => 0,
    }
}

/// The bits of one byte.
#[inline(always)]
pub(super) fn class(byte: u8) -> u16 {
    CLASSES[byte as usize]
}
