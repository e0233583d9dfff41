//! A chunk: words of letters and digits with what joins them (`blk_12`, `10.0.0.1:80`, `a.b.C$D@1f`), and which part
//! of it is variable.

use super::PLACEHOLDER;
use super::class::{
    AT, BACKSLASH, BLANK, BREAK, COLON, DIGIT, DOT, HEX, HOLE, JOINER, JOINERS, LETTER, SLASH, UPPER, WORD,
    class,
};
use super::output::Spans;
use super::scan::{Expected, Scanner};
use super::words::{is_calendar, is_host, is_word_with_digits};

/// A run of hexadecimal letters of this length is no word.
const HEX_LETTERS_MIN: usize = 8;

/// Where a chunk ends, and what is in it.
struct Chunk {
    end: usize,
    /// Of all that is in it, with [`HOLE`].
    bits: u16,
    /// The first word with a digit, if there is one; not told where there is a placeholder.
    numbered: (usize, usize),
}

impl<P: Spans> Scanner<'_, P> {
    /// Scans the chunk that begins at `at`, its first word at `word` (after a sign).
    pub(super) fn chunk(&mut self, at: usize, word: usize) -> usize {
        if self.expected == Expected::Value {
            return self.value(at);
        }
        let (end, bits) = self.word_end(word);
        self.chunk_after(at, word, end, bits)
    }

    /// Scans the chunk that begins at `at`, whose first word ends at `end`.
    pub(super) fn chunk_after(&mut self, at: usize, word: usize, end: usize, bits: u16) -> usize {
        self.expected = Expected::Any;
        let Chunk { end, bits, numbered } = self.chunk_end(word, end, bits);
        if self.bytes.get(end) == Some(&b':') {
            if self.bytes[end..].starts_with(b"://") {
                return self.url(at, end + 3);
            }
            if self.bytes[end..].starts_with(b":\\") && end == at + 1 && bits & DIGIT == 0 {
                return self.path(at, end + 2);
            }
        }
        self.output.word();
        self.last_word = (word, end);
        if bits & (DIGIT | HOLE) != 0 {
            if bits & HOLE == 0 && self.is_function(at, end) {
                return end;
            }
            self.with_digits(at, end, bits, numbered);
            if self.bytes.get(end) == Some(&b'%') && self.output.is_after_hole(end) {
                self.output.extend_hole(end + 1);
                return end + 1;
            }
        } else if bits & (LETTER | JOINERS) == 0 && end - at >= HEX_LETTERS_MIN {
            self.output.hole(at, end);
        } else if bits & (AT | BACKSLASH) != 0 || bits & (DOT | UPPER) == DOT {
            self.pieces(at, end, bits, numbered);
        } else if end - at == 3 && bits & UPPER != 0 && self.is_date(at, end) {
            self.output.hole(at, end);
        }
        end
    }

    /// The end of the word that begins at `start`, and the bits of all that is in it.
    #[inline(always)]
    pub(super) fn word_end(&self, start: usize) -> (usize, u16) {
        let (mut end, mut bits) = (start, 0);
        for byte in &self.bytes[start..] {
            let class = class(*byte);
            bits |= class;
            if class & WORD == 0 {
                break;
            }
            end += 1;
        }
        // Without those of the byte after it.
        (end, bits & (WORD | UPPER))
    }

    /// Is a word with these bits, with nothing joined to it, kept as it is whatever stands beside it?
    #[inline(always)]
    pub(super) fn is_plain(&self, start: usize, end: usize, bits: u16) -> bool {
        let is_hex = bits & LETTER == 0 && end - start >= HEX_LETTERS_MIN;
        let is_name_of_day = bits & UPPER != 0 && end - start == 3;
        bits & DIGIT == 0 && self.is_alone(end, bits) && !is_hex && !is_name_of_day
    }

    /// Is nothing joined to a word with these bits, none of which is a digit, that ends at `end`?
    #[inline(always)]
    fn is_alone(&self, end: usize, bits: u16) -> bool {
        let next = self.class_at(end);
        if next & (JOINERS | HOLE) == 0 {
            return true;
        }
        let after = self.class_at(end + 1);
        let joined = if next & COLON != 0 && bits & LETTER != 0 { 0 } else { WORD | JOINER | HOLE };
        next & HOLE == 0 && after & (joined | SLASH | BACKSLASH) == 0
    }

    /// The chunk whose first word is given.
    #[inline(always)]
    fn chunk_end(&self, start: usize, mut end: usize, mut bits: u16) -> Chunk {
        let bytes = self.bytes;
        let mut numbered = if bits & DIGIT != 0 { (start, end) } else { (end, end) };
        while let Some(byte) = bytes.get(end) {
            let joins = class(*byte) & JOINERS;
            if joins == 0 {
                if *byte != b'<' || !self.is_placeholder(end) {
                    break;
                }
                bits |= HOLE;
                end += PLACEHOLDER.len();
            } else {
                let joiners = if self.class_at(end + 1) & JOINER != 0 { 2 } else { 1 };
                let is_apart = joins == COLON && bits & (DIGIT | HOLE) == 0 && bits & LETTER != 0;
                if is_apart || self.class_at(end + joiners) & WORD == 0 && !self.is_placeholder(end + joiners)
                {
                    break;
                }
                bits |= joins;
                end += joiners;
            }
            let (word_end, word_bits) = self.word_end(end);
            if bits & DIGIT == 0 {
                numbered = (end, word_end);
            }
            bits |= word_bits;
            end = word_end;
        }
        Chunk { end, bits, numbered }
    }

    /// An address goes on to a blank, a quote or a bracket; punctuation that ends it is not part of it.
    fn url(&mut self, at: usize, from: usize) -> usize {
        let is_end = |byte: &u8| class(*byte) & BREAK != 0 && !matches!(byte, b',' | b';' | b'=' | b'|');
        let len = self.bytes[from..].iter().position(is_end).unwrap_or(self.bytes.len() - from);
        let mut end = from + len;
        while matches!(self.bytes[end - 1], b'.' | b',' | b';' | b':') {
            end -= 1;
        }
        self.output.word();
        self.output.hole(at, end);
        end
    }

    /// Is this the name of a month or day with a number or another such name beside it?
    fn is_date(&self, at: usize, end: usize) -> bool {
        if !is_calendar(&self.bytes[at..end]) {
            return false;
        }
        let rest = self.bytes[end..].strip_prefix(b",").unwrap_or(&self.bytes[end..]);
        let blanks = rest.iter().take_while(|byte| class(**byte) & BLANK != 0).count();
        let rest = &rest[blanks..];
        let is_before =
            rest.iter().take_while(|byte| byte.is_ascii_alphanumeric()).any(|byte| byte.is_ascii_digit())
                || rest.starts_with(PLACEHOLDER.as_bytes())
                || rest.get(..3).is_some_and(is_calendar);
        is_before || at > 0 && self.output.is_after_hole(at - 1)
    }

    /// Is this a name before a bracket, with a single digit that is not its end (`jk2_init(`)?
    fn is_function(&self, at: usize, end: usize) -> bool {
        let name = &self.bytes[at..end];
        self.bytes.get(end) == Some(&b'(')
            && name[0].is_ascii_alphabetic()
            && !name[name.len() - 1].is_ascii_digit()
            && name.iter().filter(|byte| byte.is_ascii_digit()).count() == 1
    }

    fn with_digits(&mut self, at: usize, end: usize, bits: u16, numbered: (usize, usize)) {
        if bits & (LETTER | HEX | AT | BACKSLASH | HOLE) == 0 && self.bytes[at].is_ascii_digit() {
            return self.output.hole(at, end);
        }
        if bits & (COLON | DOT | AT | BACKSLASH) == 0 {
            return if self.bytes[at].is_ascii_digit() {
                self.output.hole(at, end)
            } else {
                self.masked(at, end, bits, numbered)
            };
        }
        if bits & (LETTER | AT | SLASH | BACKSLASH) == 0 && bits & COLON != 0 {
            let colons = self.bytes[at..end].iter().filter(|byte| **byte == b':').count();
            if colons >= 2 {
                return self.output.hole(at, end);
            }
        }
        self.pieces(at, end, bits, numbered);
    }

    /// Masks a chunk from its first word with a digit on, which was seen already, as [`Scanner::words`] does.
    fn masked(&mut self, at: usize, end: usize, bits: u16, (word, word_end): (usize, usize)) {
        if bits & HOLE != 0 {
            self.words(at, at, end);
        } else if bits & DIGIT != 0 {
            if is_word_with_digits(&self.bytes[word..word_end]) {
                self.words(at, word_end, end);
            } else {
                self.output.hole_after(at, self.signed(at, word), end);
            }
        }
    }

    /// What colons separate is looked at for itself: an address may have a word after it.
    fn pieces(&mut self, at: usize, end: usize, bits: u16, numbered: (usize, usize)) {
        if bits & (COLON | AT | BACKSLASH) == 0 && bits & (DOT | UPPER) != DOT {
            return self.masked(at, end, bits, numbered);
        }
        let mut start = at;
        while bits & COLON != 0
            && let Some(colon) = self.bytes[start..end].iter().position(|byte| *byte == b':')
        {
            self.piece(start, start + colon, bits);
            start += colon + 1;
        }
        self.piece(start, end, bits);
    }

    /// Masks all of a piece where it is the name of a host or an address, else from its first word with a digit on.
    fn piece(&mut self, start: usize, end: usize, bits: u16) {
        let piece = &self.bytes[start..end];
        if bits & AT != 0
            && let Some(sign) = piece.iter().position(|byte| *byte == b'@')
        {
            let (owner, rest) = (&piece[..sign], &piece[sign + 1..]);
            let is_hash = rest.iter().all(u8::is_ascii_hexdigit) || rest == PLACEHOLDER.as_bytes();
            let is_class = owner.iter().any(|byte| byte.is_ascii_uppercase() || *byte == b'.');
            let from = if is_hash && is_class && !owner.contains(&b'<') { start + sign + 1 } else { start };
            return self.output.hole_after(start, from, end);
        }
        let is_path = bits & BACKSLASH != 0 && piece.contains(&b'\\');
        if is_path || bits & DOT != 0 && !piece.iter().any(u8::is_ascii_uppercase) && is_host(piece) {
            return self.output.hole(start, end);
        }
        self.words(start, start, end);
    }

    /// Masks from the first word with a digit on, and with its sign, unless that word is known. `from` is where a word
    /// begins or ends before which there is none.
    fn words(&mut self, start: usize, from: usize, end: usize) {
        let (mut word, mut at) = (from, from);
        while at < end {
            let bits = class(self.bytes[at]);
            if bits & JOINERS != 0 {
                word = at + 1;
            } else if bits & DIGIT != 0 || self.bytes[at] == b'<' {
                let is_end = |byte: &u8| class(*byte) & JOINERS != 0;
                let len = self.bytes[at..end].iter().position(is_end).unwrap_or(end - at);
                if bits & DIGIT == 0 || !is_word_with_digits(&self.bytes[word..at + len]) {
                    return self.output.hole_after(start, self.signed(start, word), end);
                }
                at += len - 1;
            }
            at += 1;
        }
    }

    /// Where the number begins whose first digit may be at `word`: at its sign, if it has one.
    fn signed(&self, start: usize, word: usize) -> usize {
        let is_sign = word > start && matches!(self.bytes[word - 1], b'-' | b'+');
        let is_apart = word == start + 1 || word > start + 1 && class(self.bytes[word - 2]) & JOINER != 0;
        if is_sign && is_apart { word - 1 } else { word }
    }
}
