//! One pass over a message: what is a word, what is a value, what is punctuation.

use super::class::{ACTIVE, BLANK, BREAK, COLON, WIDE, WORD, class};
use super::output::{CUT, Output, Spans};
use super::words::{is_http_method, is_speaking, is_unit};
use super::{PLACEHOLDER, SCANNED_BYTES_MAX, TEMPLATE_BYTES_MAX, TEMPLATE_TOKENS_MAX};

/// A closing quote is looked for within this many bytes.
const QUOTED_BYTES_MAX: usize = 1024;
/// The end of a value of several words in brackets is looked for within this many bytes.
const VALUE_BYTES_MAX: usize = 100;

/// What the next word or quoted text is, by what stands before it.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Expected {
    /// Nothing is known.
    Any,
    /// The value of a key.
    Value,
    /// The value of a key that holds text, as `msg` does.
    Text,
}

pub(super) struct Scanner<'a, P> {
    pub(super) bytes: &'a [u8],
    pub(super) output: Output<'a, P>,
    pub(super) expected: Expected,
    /// The last chunk: the key of a value, perhaps.
    pub(super) last_word: (usize, usize),
    /// Where the quote closes whose text is being scanned.
    quote_end: usize,
    /// Where the colon after a quoted key is.
    colon: usize,
    colon_expects: Expected,
}

impl<'a, P: Spans> Scanner<'a, P> {
    #[inline(always)]
    pub(super) fn new(message: &'a str, out: &'a mut String, spans: P) -> Self {
        Scanner {
            bytes: scanned(message),
            output: Output::new(message, out, spans),
            expected: Expected::Any,
            last_word: (0, 0),
            quote_end: usize::MAX,
            colon: usize::MAX,
            colon_expects: Expected::Any,
        }
    }

    /// Scans to the end; `is_part` when the message goes on after it. What is frequent is inlined here, and what is
    /// rare kept out: the loop is faster the smaller it is.
    pub(super) fn run(&mut self, is_part: bool) {
        let mut at = 0;
        while self.class_at(at) & BLANK != 0 {
            at = self.blank_end(at);
        }
        self.output.skip(0, at, false);
        while at < self.bytes.len() {
            if self.output.position(at) > TEMPLATE_BYTES_MAX {
                return self.output.finish(at, true);
            }
            let byte = self.bytes[at];
            let class = class(byte);
            at = if class & WORD != 0 {
                self.word(at)
            } else if class & BLANK != 0 {
                let next = self.blank(at);
                if self.output.tokens() > TEMPLATE_TOKENS_MAX && !self.bytes[next..].eq(&CUT.as_bytes()[1..])
                {
                    return self.output.finish(next, true);
                }
                next
            } else if class & ACTIVE != 0 {
                self.active(at, byte)
            } else if class & WIDE != 0 {
                self.wide(at)
            } else {
                self.other(at, byte)
            };
        }
        let len = self.bytes.len();
        self.output.finish(len, is_part)
    }

    /// Scans the chunk that begins with the word at `at`, and the space after it.
    #[inline(always)]
    fn word(&mut self, at: usize) -> usize {
        let end = if self.expected == Expected::Value {
            self.value(at)
        } else {
            let (end, bits) = self.word_end(at);
            if self.is_plain(at, end, bits) {
                self.expected = Expected::Any;
                self.output.word();
                self.last_word = (at, end);
                end
            } else {
                self.chunk_after(at, at, end, bits)
            }
        };
        if self.is_single_space(end) && self.output.tokens() < TEMPLATE_TOKENS_MAX {
            self.output.token();
            end + 1
        } else {
            end
        }
    }

    #[inline]
    pub(super) fn is_placeholder(&self, at: usize) -> bool {
        self.bytes.get(at..).is_some_and(|rest| rest.starts_with(PLACEHOLDER.as_bytes()))
    }

    #[inline]
    pub(super) fn class_at(&self, at: usize) -> u16 {
        self.bytes.get(at).map_or(0, |byte| class(*byte))
    }

    /// Blanks are one space. Of a message of several lines the indented ones are left out, unless they stand in
    /// brackets: they are the frames of a stack, or the detail of what is above them.
    fn blank(&mut self, at: usize) -> usize {
        if self.is_single_space(at) {
            self.output.token();
            return at + 1;
        }
        let mut end = at;
        let mut is_line = false;
        loop {
            while self.class_at(end) & BLANK != 0 {
                is_line |= self.bytes[end] == b'\n';
                end = self.blank_end(end);
            }
            let is_detail = is_line && self.bytes[end - 1] != b'\n' && !self.output.in_brackets();
            if !is_detail || end == self.bytes.len() {
                break;
            }
            let line = self.bytes[end..].iter().position(|byte| *byte == b'\n');
            end = line.map_or(self.bytes.len(), |line| end + line);
        }
        if !is_line
            && self.output.is_after_hole(at)
            && let Some(unit) = self.unit(end)
        {
            self.output.extend_hole(unit);
            return unit;
        }
        let is_last = end == self.bytes.len();
        if end > at + 1 || self.bytes[at] != b' ' || is_last {
            self.output.skip(at, end, !is_last);
        }
        if !is_last {
            self.output.token();
        }
        end
    }

    /// Is at `at` a space that stays as it is: one between words, with no unit to look for after it?
    #[inline]
    fn is_single_space(&self, at: usize) -> bool {
        self.bytes.get(at) == Some(&b' ')
            && self.bytes.get(at + 1).is_some_and(|byte| class(*byte) & BLANK == 0)
            && !self.output.is_after_hole(at)
    }

    /// After one blank, or after a sequence that colours a terminal.
    fn blank_end(&self, at: usize) -> usize {
        if self.bytes[at] != 0x1b || self.bytes.get(at + 1) != Some(&b'[') {
            return at + 1;
        }
        let parameters = self.bytes[at + 2..].iter().take_while(|byte| matches!(byte, b'0'..=b'?')).count();
        // The letter that ends the sequence, unless it is missing: the text may go on in another script.
        let last = at + 2 + parameters;
        if self.bytes.get(last).is_some_and(u8::is_ascii) { last + 1 } else { last }
    }

    /// The end of the unit at `at`, if there is one.
    fn unit(&self, at: usize) -> Option<usize> {
        let len = self.bytes[at..].iter().take(5).take_while(|byte| byte.is_ascii_alphabetic()).count();
        let end = at + len;
        if len == 0 || !is_unit(&self.bytes[at..end]) || self.class_at(end) & WORD != 0 {
            return None;
        }
        let per_second = self.bytes[end..].starts_with(b"/s") && self.class_at(end + 2) & WORD == 0;
        Some(if per_second { end + 2 } else { end })
    }

    /// Text that is not ASCII has no form to go by.
    #[inline(never)]
    fn wide(&mut self, at: usize) -> usize {
        if self.expected == Expected::Value && self.bytes[at..] != CUT.as_bytes()[1..] {
            return self.value(at);
        }
        self.expected = Expected::Any;
        self.output.word();
        at + self.bytes[at..].iter().take_while(|byte| class(**byte) & WIDE != 0).count()
    }

    fn active(&mut self, at: usize, byte: u8) -> usize {
        match byte {
            b'"' | b'\'' => return self.quote(at, byte),
            b'<' if self.is_placeholder(at) => return self.chunk(at, at),
            b'=' => self.equals(at),
            b',' => {
                self.output.comma(at);
                self.expected = Expected::Any;
            }
            b'(' | b'[' | b'{' => {
                self.output.open(at);
                let is_list = byte == b'[' && self.expected == Expected::Value;
                self.expected = if is_list { Expected::Value } else { Expected::Any };
            }
            b')' | b']' | b'}' => {
                self.output.close(at);
                self.expected = Expected::Any;
            }
            _ => self.output.punctuation(),
        }
        at + 1
    }

    /// `=` between a key and a value, unless it is part of `==`, `<=`, `=>` and the like.
    fn equals(&mut self, at: usize) {
        self.output.punctuation();
        let before = self.bytes[..at].last().copied().unwrap_or(b' ');
        let after = self.bytes.get(at + 1).copied().unwrap_or(b' ');
        if matches!(before, b'=' | b'<' | b'>' | b'!' | b'~') || matches!(after, b'=' | b'>' | b'~') {
            self.expected = Expected::Any;
            return;
        }
        if before != b' ' && class(after) & BLANK != 0 {
            self.output.hole(at + 1, at + 1);
            self.expected = Expected::Any;
            return;
        }
        let end = match before {
            b' ' => self.bytes[..at].iter().rposition(|byte| *byte != b' ').map_or(0, |last| last + 1),
            _ => at,
        };
        let (word, word_end) = self.last_word;
        let key = if word_end == end { &self.bytes[word..end] } else { &[] };
        self.expected = expected_of(key);
    }

    /// Quoted text without a blank in it is a value, and so is what is expected to be one; else its words are
    /// scanned as those outside.
    #[inline(never)]
    fn quote(&mut self, at: usize, quote: u8) -> usize {
        let is_apostrophe = at > 0 && class(self.bytes[at - 1]) & WORD != 0 || self.output.is_after_hole(at);
        let end = if is_apostrophe || at == self.quote_end { None } else { self.quote_close(at, quote) };
        let Some(end) = end else {
            self.expected = Expected::Any;
            return at + 1;
        };
        self.quote_end = end;
        let blanks = self.bytes[end + 1..].iter().take_while(|byte| **byte == b' ').count();
        let is_key =
            quote == b'"' && self.output.in_brackets() && self.bytes.get(end + 1 + blanks) == Some(&b':');
        let has_blank = self.bytes[at + 1..end].iter().any(|byte| class(*byte) & BLANK != 0);
        let expected = std::mem::replace(&mut self.expected, Expected::Any);
        if is_key {
            self.colon = end + 1 + blanks;
            self.colon_expects = expected_of(&self.bytes[at + 1..end]);
            return at + 1;
        }
        if expected == Expected::Text || expected == Expected::Any && has_blank {
            return at + 1;
        }
        self.output.word();
        self.output.hole(at + 1, end);
        end
    }

    fn quote_close(&self, at: usize, quote: u8) -> Option<usize> {
        let mut end = at + 1;
        let limit = self.bytes.len().min(at + QUOTED_BYTES_MAX);
        while end < limit {
            let byte = self.bytes[end];
            if byte == quote && (quote == b'"' || self.class_at(end + 1) & WORD == 0) {
                return Some(end);
            }
            if byte == b'\n' {
                return None;
            }
            end += if byte == b'\\' { 2 } else { 1 };
        }
        None
    }

    /// Masks the value that begins at `at`: up to the comma or the bracket after it where no other key comes
    /// before, else up to the next blank. The name before an opening bracket is no value.
    pub(super) fn value(&mut self, at: usize) -> usize {
        self.expected = Expected::Any;
        let mut end = at;
        loop {
            let len = self.bytes[end..].iter().position(|byte| class(*byte) & BREAK != 0);
            end = len.map_or(self.bytes.len(), |len| end + len);
            if !self.is_placeholder(end) {
                break;
            }
            end += PLACEHOLDER.len();
        }
        let is_word = self.class_at(at) & WORD != 0 || self.is_placeholder(at);
        if is_word && matches!(self.bytes.get(end), Some(b'(' | b'{')) {
            return self.chunk(at, at);
        }
        if self.output.in_brackets() && self.class_at(end) & BLANK != 0 {
            let ahead = self.bytes[end..].iter().take(VALUE_BYTES_MAX);
            let ahead = ahead.take_while(|byte| class(**byte) & ACTIVE == 0 && **byte != b'\n').count();
            let is_closed = matches!(self.bytes.get(end + ahead), Some(b',' | b')' | b']' | b'}'));
            let last = self.bytes[end..end + ahead].iter().rposition(|byte| *byte != b' ');
            end += if is_closed { last.map_or(0, |last| last + 1) } else { 0 };
        }
        self.output.word();
        self.output.hole(at, end);
        end
    }

    #[inline(never)]
    fn other(&mut self, at: usize, byte: u8) -> usize {
        let next = self.bytes.get(at + 1).copied().unwrap_or(b' ');
        let is_sign = matches!(byte, b'-' | b'+') && next.is_ascii_digit();
        if self.expected == Expected::Value && byte != b';' && byte != b'|' {
            return self.value(at);
        }
        if is_sign {
            return self.chunk(at, at + 1);
        }
        if self.is_path(at) {
            return self.path(at, at + 1);
        }
        self.output.punctuation();
        self.expected = if at == self.colon { self.colon_expects } else { Expected::Any };
        if byte == b'\\' && next == b'"' { at + 2 } else { at + 1 }
    }

    /// Does a path begin at `at`: one from the root, the directory or the one above, or the home, or of a share? The
    /// root alone is one where it is asked for.
    fn is_path(&self, at: usize) -> bool {
        let before = if at == 0 { b' ' } else { self.bytes[at - 1] };
        if before == b'<' || class(before) & (BREAK | COLON) == 0 {
            return false;
        }
        let rest = &self.bytes[at..];
        let is_named = rest.get(1).is_some_and(|byte| class(*byte) & (BREAK | WIDE) == 0);
        match rest[0] {
            b'/' if rest.get(1) == Some(&b' ') => {
                let (word, end) = self.last_word;
                end + 1 == at && is_http_method(&self.bytes[word..end])
            }
            b'/' => is_named && rest[1] != b'/',
            b'.' | b'~' => [&b"./"[..], b"../", b"~/"].iter().any(|start| rest.starts_with(start)),
            _ => rest.starts_with(br"\\") && is_named,
        }
    }

    /// A path that begins at `at` and goes on from `from` ends at a blank, a bracket, a quote, a colon or a comma; a
    /// full stop that ends it is not part of it.
    pub(super) fn path(&mut self, at: usize, from: usize) -> usize {
        let mut end = from;
        while end < self.bytes.len() {
            if self.is_placeholder(end) {
                end += PLACEHOLDER.len();
            } else if self.bytes[end] == b':' || class(self.bytes[end]) & BREAK != 0 {
                break;
            } else {
                end += 1;
            }
        }
        while self.bytes[end - 1] == b'.' {
            end -= 1;
        }
        self.expected = Expected::Any;
        self.output.word();
        self.output.hole(at, end);
        end
    }
}

/// As much of the message as is looked at, by whole tokens where it can.
fn scanned(message: &str) -> &[u8] {
    let bytes = &message.as_bytes()[..message.floor_char_boundary(SCANNED_BYTES_MAX)];
    if bytes.len() == message.len() {
        return bytes;
    }
    let blank = bytes.iter().rposition(|byte| class(*byte) & BLANK != 0);
    &bytes[..blank.filter(|blank| *blank > bytes.len() / 2).unwrap_or(bytes.len())]
}

fn expected_of(key: &[u8]) -> Expected {
    if is_speaking(key) { Expected::Text } else { Expected::Value }
}
