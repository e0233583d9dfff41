//! x
#![allow(missing_docs)]
mod chunk;
mod class;
mod merge;
mod output;
mod parts;
mod scan;
mod words;
pub use merge::*;
use scan::Scanner;

/// Stands for what is variable in a template.
pub const PLACEHOLDER: &str = "<*>";
/// No template is longer, in bytes.
pub const TEMPLATE_BYTES_MAX: usize = 1024;
/// No template has more tokens, which blanks separate; the mark of the cut is one more.
pub const TEMPLATE_TOKENS_MAX: usize = 128;
/// Of a message no more is looked at, in bytes.
pub const SCANNED_BYTES_MAX: usize = 2048;

pub fn template(message: &str) -> String {
    let mut template = String::new();
    template_into(message, &mut template);
    template
}

pub fn template_into(message: &str, template: &mut String) {
    Scanner::new(message, template, ()).run(message.len() > SCANNED_BYTES_MAX);
}

pub fn parameters(message: &str) -> Vec<&str> {
    let mut template = String::new();
    let spans = Scanner::new(message, &mut template, Vec::new()).run(message.len() > SCANNED_BYTES_MAX);
    spans.into_iter().map(|(start, end)| &message[start..end]).collect()
}
