//! The template as it grows: literal text, placeholders, and the groups that brackets make.

use super::class::{SEPARATOR, class};
use super::{PLACEHOLDER, TEMPLATE_BYTES_MAX};

/// Ends a template that was cut.
pub(super) const CUT: &str = " …";
/// Brackets within brackets that are told apart; what is deeper is plain text.
const DEPTH_MAX: usize = 8;
/// Between two values of one list stands at most this: ` - `.
const SEPARATOR_BYTES_MAX: usize = 3;

/// The end of the last placeholder where there is none: no position is as large, nor is one less than zero.
const NO_HOLE: usize = usize::MAX / 2;

/// Where in the message the placeholders stand, for those who ask; `()` does not.
pub(super) trait Spans {
    fn push(&mut self, start: usize, end: usize);
    /// The last one is longer.
    fn extend(&mut self, end: usize);
    fn truncate(&mut self, len: usize);
}

impl Spans for () {
    fn push(&mut self, _: usize, _: usize) {}
    fn extend(&mut self, _: usize) {}
    fn truncate(&mut self, _: usize) {}
}

impl Spans for Vec<(usize, usize)> {
    fn push(&mut self, start: usize, end: usize) {
        self.push((start, end));
    }
    fn extend(&mut self, end: usize) {
        if let Some(last) = self.last_mut() {
            last.1 = end;
        }
    }
    fn truncate(&mut self, len: usize) {
        self.truncate(len);
    }
}

/// A state of the output that can be gone back to: what was written after it is dropped.
#[derive(Clone, Copy, Default)]
struct Mark {
    len: usize,
    holes: usize,
    tokens: usize,
}

/// What is known of the text within one pair of brackets; the outermost is the whole message.
#[derive(Clone, Copy, Default)]
struct Level {
    open: u8,
    /// Of the text after the opening bracket, in the message.
    source: usize,
    /// After the opening bracket, in the output.
    mark: Mark,
    /// In the output, where what follows the last comma begins.
    element: usize,
    /// The element before the last comma, where it ended in a bracket.
    previous: Option<(usize, Mark)>,
    /// What was seen before the opening bracket, and with it.
    seen: Seen,
}

/// How many there were so far in the message, at any depth.
#[derive(Clone, Copy, Default)]
struct Seen {
    words: usize,
    commas: usize,
    /// Whatever makes a pair of brackets more than a list of words: opening brackets, `=`, `:` and such.
    punctuation: usize,
}

impl Level {
    /// Single words in square brackets, with commas between.
    fn is_list(&self, seen: &Seen) -> bool {
        let commas = seen.commas - self.seen.commas;
        self.open == b'['
            && seen.punctuation == self.seen.punctuation
            && commas > 0
            && seen.words - self.seen.words == commas + 1
    }
}

/// The template of `message`, written behind the scanner. Literal text is copied late and in one piece:
/// `message[copied..]` is what the output has yet to see, so a position in the message that was scanned has its
/// position in the output already.
pub(super) struct Output<'a, P> {
    message: &'a str,
    out: &'a mut String,
    spans: P,
    copied: usize,
    /// What takes a position in the message to the one in the output, modulo 2^64: the output's length less `copied`.
    shift: usize,
    /// In the output, the end of the last placeholder.
    hole_end: usize,
    /// In the output, where the word begins that the last placeholder ends.
    hole_word: usize,
    holes: usize,
    tokens: usize,
    seen: Seen,
    levels: [Level; DEPTH_MAX],
    depth: usize,
    /// Open brackets beyond the deepest level.
    deeper: usize,
}

impl<'a, P: Spans> Output<'a, P> {
    #[inline(always)]
    pub(super) fn new(message: &'a str, out: &'a mut String, spans: P) -> Self {
        out.clear();
        Output {
            message,
            out,
            spans,
            copied: 0,
            shift: 0,
            hole_end: NO_HOLE,
            hole_word: 0,
            holes: 0,
            tokens: 1,
            seen: Seen::default(),
            levels: [Level::default(); DEPTH_MAX],
            depth: 0,
            deeper: 0,
        }
    }

    /// Where in the output the byte `at` of the message is or will be.
    #[inline(always)]
    pub(super) fn position(&self, at: usize) -> usize {
        at.wrapping_add(self.shift)
    }

    #[inline]
    pub(super) fn tokens(&self) -> usize {
        self.tokens
    }

    #[inline]
    pub(super) fn in_brackets(&self) -> bool {
        self.depth > 0
    }

    /// Does a placeholder end right before `at`?
    #[inline]
    pub(super) fn is_after_hole(&self, at: usize) -> bool {
        self.position(at) == self.hole_end
    }

    #[inline]
    fn flush(&mut self, at: usize) {
        self.out.push_str(&self.message[self.copied..at]);
        self.copied = at;
    }

    /// The output goes on with what is at `at` in the message.
    #[inline]
    fn go_on(&mut self, at: usize) {
        self.copied = at;
        self.shift = self.out.len().wrapping_sub(at);
    }

    fn go_back(&mut self, mark: Mark) {
        self.out.truncate(mark.len);
        self.spans.truncate(mark.holes);
        (self.holes, self.tokens) = (mark.holes, mark.tokens);
        // The last placeholder may be among what was dropped; the one before it is not looked for.
        self.hole_end = NO_HOLE;
        self.go_on(self.copied);
    }

    /// Leaves out what is between the two, or puts one space for it.
    pub(super) fn skip(&mut self, from: usize, to: usize, space: bool) {
        self.flush(from);
        if space {
            self.out.push(' ');
        }
        self.go_on(to);
    }

    #[inline]
    pub(super) fn token(&mut self) {
        self.tokens += 1;
    }

    #[inline]
    pub(super) fn word(&mut self) {
        self.seen.words += 1;
    }

    #[inline]
    pub(super) fn punctuation(&mut self) {
        self.seen.punctuation += 1;
    }

    /// A placeholder for what is between the two.
    #[inline]
    pub(super) fn hole(&mut self, start: usize, end: usize) {
        self.hole_after(start, start, end);
    }

    /// A placeholder for what is between `start` and `end`, after a constant part of the same word that begins at
    /// `word`. It is one with the placeholder before it where that has the same constant part, and only what
    /// separates the values of a list stands between.
    pub(super) fn hole_after(&mut self, word: usize, start: usize, end: usize) {
        let is_near = self.position(word).wrapping_sub(self.hole_end) <= SEPARATOR_BYTES_MAX;
        if is_near && self.joins_hole(word, start, end) {
            return;
        }
        self.flush(start);
        self.hole_word = self.out.len() - (start - word);
        self.push_hole(start, end);
    }

    /// Makes the value one with the placeholder before it, if it may be.
    #[inline(never)]
    fn joins_hole(&mut self, word: usize, start: usize, end: usize) -> bool {
        let Some(spaces) = self.spaces_since_hole(word) else { return false };
        let constant = &self.out[self.hole_word..self.hole_end - PLACEHOLDER.len()];
        if *constant != self.message[word..start] && (word != start || !self.is_port(start)) {
            return false;
        }
        self.out.truncate(self.hole_end);
        self.tokens -= spaces;
        self.extend_hole(end);
        true
    }

    /// Is the value at `start` the port after a host, or the line after a file: right after a placeholder and `:`?
    fn is_port(&self, start: usize) -> bool {
        self.position(start) == self.hole_end + 1 && self.message[..start].ends_with(':')
    }

    fn push_hole(&mut self, start: usize, end: usize) {
        self.out.push_str(PLACEHOLDER);
        self.hole_end = self.out.len();
        self.go_on(end);
        self.spans.push(start, end);
        self.holes += 1;
    }

    /// The last placeholder covers what follows it up to `end` as well.
    #[inline]
    pub(super) fn extend_hole(&mut self, end: usize) {
        self.go_on(end);
        self.spans.extend(end);
    }

    /// How many spaces stand between the last placeholder and `start`, if there is nothing but separators.
    fn spaces_since_hole(&self, start: usize) -> Option<usize> {
        let between = self.position(start).checked_sub(self.hole_end)?;
        if between > SEPARATOR_BYTES_MAX {
            return None;
        }
        let written = self.out.as_bytes().get(self.hole_end..)?;
        let ahead = &self.message.as_bytes()[self.copied..start];
        let mut spaces = 0;
        for byte in written.iter().chain(ahead) {
            if class(*byte) & SEPARATOR == 0 {
                return None;
            }
            spaces += usize::from(*byte == b' ');
        }
        Some(spaces)
    }

    /// An opening bracket at `at`.
    pub(super) fn open(&mut self, at: usize) {
        self.punctuation();
        if self.depth + 1 == DEPTH_MAX {
            self.deeper += 1;
            return;
        }
        let len = self.position(at + 1);
        self.depth += 1;
        self.levels[self.depth] = Level {
            open: self.message.as_bytes()[at],
            source: at + 1,
            mark: Mark { len, holes: self.holes, tokens: self.tokens },
            element: len,
            previous: None,
            seen: self.seen,
        };
    }

    #[inline]
    pub(super) fn comma(&mut self, at: usize) {
        let position = self.position(at);
        self.seen.commas += 1;
        let level = &mut self.levels[self.depth];
        level.previous = level.previous.filter(|(_, end)| end.len == position);
        level.element = position + 1;
    }

    /// A closing bracket at `at`. A list of single words is one placeholder, and an element that reads as the one
    /// before it is left out.
    pub(super) fn close(&mut self, at: usize) {
        if self.deeper > 0 || self.depth == 0 {
            self.deeper = self.deeper.saturating_sub(1);
            return;
        }
        let inner = &self.levels[self.depth];
        self.depth -= 1;
        if inner.source == at && self.is_apart(at) {
            self.hole(at, at);
        } else if inner.is_list(&self.seen) {
            let (source, mark) = (inner.source, inner.mark);
            self.flush(at);
            self.go_back(mark);
            self.hole_word = self.out.len();
            self.push_hole(source, at);
        }
        self.close_element(at + 1);
    }

    /// A bracket closed that ends before `at`, and with it perhaps an element.
    fn close_element(&mut self, at: usize) {
        let Level { element, previous, .. } = self.levels[self.depth];
        let end = Mark { len: self.position(at), holes: self.holes, tokens: self.tokens };
        let Some(start) = self.element_start(element, end.len) else { return };
        if let Some((previous, previous_end)) = previous
            && previous_end.len + 1 == element
        {
            self.flush(at);
            if self.out.get(previous..previous_end.len) == self.out.get(start..) {
                return self.go_back(previous_end);
            }
        }
        self.levels[self.depth].previous = Some((start, end));
    }

    /// The first place in the output from `element` to `end` that holds no space; nothing where `element` is within a
    /// character, as it may be after an element that was left out.
    fn element_start(&self, element: usize, end: usize) -> Option<usize> {
        let (written, ahead) = (self.out.as_bytes(), self.message.as_bytes());
        let byte_at = |place: usize| match written.get(place) {
            Some(byte) => *byte,
            None => ahead[place.wrapping_sub(self.shift)],
        };
        let is_within = element > end || element < end && byte_at(element) & 0xc0 == 0x80;
        let start = (element..end).find(|place| byte_at(*place) != b' ').unwrap_or(end);
        (!is_within).then_some(start)
    }

    /// Are the empty brackets that close at `at` a value, and not part of a word as those of `run()` and `int[]`?
    fn is_apart(&self, at: usize) -> bool {
        let bytes = self.message.as_bytes();
        bytes[at] != b'}'
            && at.checked_sub(2).is_none_or(|before| matches!(bytes[before], b' ' | b'=' | b':' | b','))
    }

    /// The end of the message, or of what is looked at of it.
    pub(super) fn finish(&mut self, at: usize, is_cut: bool) {
        self.flush(at);
        if is_cut || self.out.len() > TEMPLATE_BYTES_MAX {
            self.cut();
        }
    }

    pub(super) fn into_spans(self) -> P {
        self.spans
    }

    /// Drops an element that was begun as the one before it, then what is too long, by whole tokens where it can.
    fn cut(&mut self) {
        let repeated = self.levels[..=self.depth].iter().find_map(|level| {
            let (start, end) = level.previous.filter(|(_, end)| end.len + 1 == level.element)?;
            let previous = self.out.get(start..end.len)?.as_bytes();
            let begun = self.out.get(level.element..)?.trim_start_matches(' ').as_bytes();
            let same = begun.iter().zip(previous).take_while(|(left, right)| left == right).count();
            (same >= begun.len().min(8)).then_some(end)
        });
        if let Some(end) = repeated {
            self.go_back(end);
        }
        let room = TEMPLATE_BYTES_MAX - CUT.len();
        if self.out.len() > room {
            let room = self.out.floor_char_boundary(room);
            let space = self.out[..room].rfind(' ').filter(|space| *space > room / 2);
            self.out.truncate(space.unwrap_or(room));
        }
        self.out.truncate(self.out.trim_end_matches(' ').len());
        self.spans.truncate(self.out.matches(PLACEHOLDER).count());
        self.out.push_str(if self.out.is_empty() { CUT.trim_start() } else { CUT });
    }
}
