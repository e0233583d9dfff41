//! A template taken apart into words and what stands between them.

use std::hash::Hasher;

use super::PLACEHOLDER;
use super::class::{COLON, JOINERS, WIDE, WORD, class};

/// `gaps[i]` stands before `words[i]`; the last gap, one more than there are words, after all of them.
pub(super) struct Parts<'a> {
    pub(super) gaps: Vec<&'a str>,
    pub(super) words: Vec<&'a str>,
}

impl<'a> Parts<'a> {
    pub(super) fn of(template: &'a str) -> Self {
        let bytes = template.as_bytes();
        let mut parts = Parts { gaps: Vec::new(), words: Vec::new() };
        let (mut gap, mut at) = (0, 0);
        while at < bytes.len() {
            let end = word_end(bytes, at);
            if end > at {
                parts.gaps.push(&template[gap..at]);
                parts.words.push(&template[at..end]);
                gap = end;
            }
            at = end.max(at + 1);
        }
        parts.gaps.push(&template[gap..]);
        parts
    }

    /// The first word, which never changes; any with a placeholder counts as the same.
    pub(super) fn first(&self) -> &'a str {
        match self.words.first() {
            Some(first) if !first.contains(PLACEHOLDER) => first,
            Some(_) => PLACEHOLDER,
            None => "",
        }
    }

    pub(super) fn key(&self) -> u64 {
        let mut hash = Fnv::default();
        for part in std::iter::once(self.first()).chain(self.gaps.iter().copied()) {
            hash.write(part.as_bytes());
            hash.write_u8(0);
        }
        hash.finish()
    }

    /// The template with other words.
    pub(super) fn with_words(&self, words: &[&str]) -> String {
        let after = self.gaps[1..].iter();
        let mut text = String::from(self.gaps[0]);
        words.iter().zip(after).for_each(|(word, gap)| {
            text.push_str(word);
            text.push_str(gap);
        });
        text
    }
}

/// The end of the word at `start`, `start` where there is none: letters, digits, placeholders, text that is not
/// ASCII, and what joins them; but for the colon, which separates.
fn word_end(bytes: &[u8], start: usize) -> usize {
    let len_at = |at: usize| match bytes.get(at) {
        Some(byte) if class(*byte) & (WORD | WIDE) != 0 => 1,
        Some(b'<') if bytes[at..].starts_with(PLACEHOLDER.as_bytes()) => PLACEHOLDER.len(),
        _ => 0,
    };
    let mut end = start;
    while end < bytes.len() {
        let is_joined = end > start && class(bytes[end]) & JOINERS & !COLON != 0;
        end += match len_at(end) {
            0 if is_joined && len_at(end + 1) > 0 => 1,
            0 => break,
            len => len,
        };
    }
    end
}

/// Fowler, Noll and Vo's hash, FNV-1a, with the bits mixed at the end: the same everywhere, as a key that is
/// partitioned by must be.
pub(super) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        self.0 =
            bytes.iter().fold(self.0, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    }

    fn write_usize(&mut self, value: usize) {
        self.write(&(value as u64).to_le_bytes());
    }

    fn finish(&self) -> u64 {
        let hash = (self.0 ^ self.0 >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash ^ hash >> 29
    }
}
