//! Any text has a template, and none is too long.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

const FRAGMENTS: [&str; 65] = [
    "<*>",
    "<",
    "*",
    ">",
    " ",
    "  ",
    "\n",
    "\n ",
    "\t",
    "=",
    "= ",
    " = ",
    ":",
    "::",
    "://",
    ",",
    ", ",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'",
    "\\",
    "/",
    "/a",
    "./",
    "../",
    "-",
    "--",
    "+",
    "_",
    "@",
    "#",
    "$",
    "%",
    "|",
    ";",
    ".",
    "..",
    "…",
    "é",
    "日本",
    "12",
    "0x1f",
    "deadbeef",
    "abc",
    "Abc",
    "ms",
    "/s",
    "Mon",
    "ssh2",
    "flush2DB",
    "a1b2",
    "msg",
    "user",
    "example.com",
    "null",
    "\u{1b}[31m",
    "\u{1b}[",
    "\0",
    "C:\\",
    "10.0.0.1",
];

fn check_bounds(message: &str) {
    let template = template(message);
    assert!(template.len() <= TEMPLATE_BYTES_MAX, "{} bytes, of {message:?}", template.len());
    let tokens = template.trim_end_matches(" …").split(' ').count();
    assert!(tokens <= TEMPLATE_TOKENS_MAX, "{tokens} tokens, of {message:?}");
    check_parameters(message);
    let parameters = parameters(message);
    let range = message.as_bytes().as_ptr_range();
    assert!(
        parameters
            .iter()
            .all(|parameter| range.start <= parameter.as_ptr() && parameter.as_ptr() <= range.end)
    );
}

#[test]
fn any_text_has_a_template_within_bounds() {
    let mut random = StdRng::seed_from_u64(3);
    for _ in 0..20_000 {
        let count = random.random_range(0..20);
        let message: String =
            (0..count).map(|_| FRAGMENTS[random.random_range(0..FRAGMENTS.len())]).collect();
        check_bounds(&message);
    }
    for _ in 0..500 {
        let count = random.random_range(0..4000);
        let message: String =
            (0..count).map(|_| FRAGMENTS[random.random_range(0..FRAGMENTS.len())]).collect();
        check_bounds(&message);
        let message: String = (0..count).map(|_| random.random::<char>()).collect();
        check_bounds(&message);
    }
}

/// What is left out must not be taken for what stands before the next value.
#[test]
fn a_value_after_an_element_that_was_left_out_stands_for_itself() {
    assert_eq!(template("[A(x=é1), A(x=é1), 2]"), "[A(x=<*>), <*>]");
    assert_eq!(template("[A(é=1, b=22), A(é=1, b=22)é 2]"), "[A(é=<*>, b=<*>)é <*>]");
    check_parameters("[A(x=é1), A(x=é1), 2]");
}

#[test]
fn a_colour_that_is_not_complete_takes_no_part_of_a_character() {
    assert_eq!(template("a \u{1b}[31é b"), "a é b");
    assert_eq!(template("a \u{1b}[日"), "a 日");
    assert_eq!(template("a \u{1b}[31"), "a");
    assert_eq!(template("a \u{1b}[31mb\u{1b}[0m"), "a b");
    check_parameters("x=1 \u{1b}[é=2");
}

#[test]
fn what_is_repeated_without_end_is_cut() {
    for fragment in
        FRAGMENTS.into_iter().chain(["word ", "a1 b ", "(", "[(", "{\"a\":", "x,", "k=v, ", "\" ", "' "])
    {
        let message = fragment.repeat(5000);
        check_bounds(&message);
        let cut = template(&message);
        assert_eq!(template(&cut), cut, "of many {fragment:?}");
    }
}

#[test]
fn a_cut_shows_and_drops_no_more_than_it_must() {
    let words = template(&"word ".repeat(TEMPLATE_TOKENS_MAX));
    assert_eq!(words, "word ".repeat(TEMPLATE_TOKENS_MAX).trim_end());
    let words = template(&"word ".repeat(TEMPLATE_TOKENS_MAX + 1));
    assert_eq!(words, "word ".repeat(TEMPLATE_TOKENS_MAX) + "…");
    let letters = template(&"q".repeat(SCANNED_BYTES_MAX + 1));
    assert_eq!(letters, "q".repeat(TEMPLATE_BYTES_MAX - " …".len()) + " …");
    let list = (0..500).map(|number| format!("A(x={number}, y={number})")).collect::<Vec<_>>().join(", ");
    assert_eq!(template(&format!("all [{list}]")), "all [A(x=<*>, y=<*>) …");
}

#[test]
fn a_buffer_is_replaced() {
    let mut buffer = String::from("before");
    template_into("took 3 ms", &mut buffer);
    assert_eq!(buffer, "took <*>");
}
