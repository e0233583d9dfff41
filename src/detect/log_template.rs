//! The template of a log message: what its lines have in common, with `<*>` where they vary.
//!
//! ```
//! use undercurrent::detect::log_template::template;
//! let message = "Received block blk_-1608999687919862906 of size 91178 from 10.250.10.6:50010 in 12.5 ms";
//! assert_eq!(template(message), "Received block blk_<*> of size <*> from <*> in <*>");
//! ```
//!
//! Two steps, both pure functions, so that a view of the patterns equals the batch query whatever the order of
//! arrival, and workers share nothing:
//!
//! 1. [`template`] looks at one message alone. It masks what is variable by its form, in one pass over the bytes.
//! 2. [`merge()`] looks at the set of templates, and makes those one pattern that differ in a word that is variable
//!    because many were seen in its place. Only templates of the same [`merge_key`] merge: a maintained query
//!    partitions the distinct templates by it and calls [`merge_group`] on the partitions that changed.
//!
//! No setting depends on the system that logs. What is measured is grouping accuracy as of Zhu et al., *Tools and
//! Benchmarks for Automated Log Parsing*, 2019: the share of lines whose group holds exactly the lines of their true
//! template (see the tests).
//!
//! # What is masked
//!
//! | form | message | template |
//! |---|---|---|
//! | numbers, with sign, per cent and unit | `took -1.5 ms, 80%` | `took <*>` |
//! | dates, times, addresses, hosts, UUIDs, hashes | `at Sat May 04 09:51:52 CST 2013 by 10.0.0.1:80` | `at <*> by <*>` |
//! | identifiers, from the first word with a digit on | `blk_12 node-3-a Foo.java:7 Bar@1f` | `blk_<*> node-<*> Foo.java:<*> Bar@<*>` |
//! | paths, URLs, mail addresses | `GET http://a/b?c=d /etc/hosts` | `GET <*>` |
//! | quoted text without a blank, and empty brackets | `file 'a' of "" ()` | `file '<*>' of "<*>" (<*>)` |
//! | values of keys | `Seat(type=a b, no=1) user=x` | `Seat(type=<*>, no=<*>) user=<*>` |
//! | values of JSON | `{"id":"a b","n":null}` | `{"id":"<*>","n":<*>}` |
//! | values in a row, lists of words | `1, 2, 3 [a, b]` | `<*> [<*>]` |
//! | an element after one that reads the same | `[A(x=1), A(x=2)]` | `[A(x=<*>)]` |
//!
//! Kept are words with digits that are names of the trade (`ssh2`, `utf8`) or have a single digit within
//! (`flush2DB`); the values of keys that say what happened (`msg`, `error`, `level` and such), in which only what is
//! variable is masked; names before brackets; text that is not ASCII. Of a message of several lines, indented ones are
//! left out unless they stand in brackets: stack frames, and the text of statements. Blanks and control characters
//! are one space.
//!
//! # Limits
//!
//! Total: any text has a template, that of the empty one is empty. Of a message the first [`SCANNED_BYTES_MAX`] bytes
//! are looked at, a template has no more than [`TEMPLATE_BYTES_MAX`] bytes and [`TEMPLATE_TOKENS_MAX`] tokens, and
//! what is cut ends in `…`. The template of a template is that template, but for text that abounds in punctuation
//! without meaning.

mod chunk;
mod class;
mod merge;
mod output;
mod parts;
mod scan;
#[cfg(test)]
mod tests;
mod words;

pub use merge::{
    CONTEXT_WORDS_MIN, DISTINCT_WORDS_MIN, OPEN_WORDS_MIN, PAIR_WORDS_MAX, merge, merge_group, merge_key,
};
use scan::Scanner;

/// Stands for what is variable.
pub const PLACEHOLDER: &str = "<*>";
/// No template is longer, in bytes.
pub const TEMPLATE_BYTES_MAX: usize = 1024;
/// No template has more tokens, which spaces separate, but for the `…` of what was cut.
pub const TEMPLATE_TOKENS_MAX: usize = 128;
/// No more of a message is looked at, in bytes.
pub const SCANNED_BYTES_MAX: usize = 2048;

/// The template of a message, as [above](self).
pub fn template(message: &str) -> String {
    let mut template = String::new();
    template_into(message, &mut template);
    template
}

/// As [`template`], into a string whose content is replaced, so that many messages need one allocation.
pub fn template_into(message: &str, template: &mut String) {
    Scanner::new(message, template, ()).run(message.len() > SCANNED_BYTES_MAX);
}

/// What the placeholders of [`template`] stand for, as written in the message: as many as there are placeholders, in
/// their order. Values in a row that are one placeholder are one parameter (`1, 2, 3`), and the values of an element
/// that was left out are not among them.
///
/// ```
/// use undercurrent::detect::log_template::parameters;
/// assert_eq!(parameters("Invalid user anna7 from 10.0.0.1 port 22"), ["anna7", "10.0.0.1", "22"]);
/// ```
pub fn parameters(message: &str) -> Vec<&str> {
    let mut template = String::new();
    let mut scanner = Scanner::new(message, &mut template, Vec::new());
    scanner.run(message.len() > SCANNED_BYTES_MAX);
    let spans = scanner.output.into_spans();
    spans.into_iter().map(|(start, end)| &message[start..end]).collect()
}
