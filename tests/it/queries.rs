//! The built-in views: the rules they follow, and that each is at every tick what its SELECT gives.

mod graph;
mod notation;
mod oracle;
mod summaries;

use expect_test::Expect;

use self::notation::{Session, lines, shown};

/// The rows of `sql` after `text` has come line by line, a tick each.
fn after(text: &[String], sql: &str) -> String {
    let mut session = Session::new(1);
    session.prepare(sql);
    for line in text {
        session.append(std::slice::from_ref(line));
        session.close();
    }
    shown(&session.rows(sql))
}

/// Compares the rows of `sql` after `text` with `expected`: in the order given, backwards, and twice each within one
/// tick.
fn check(text: &str, sql: &str, expected: Expect) {
    let mut text = lines(text);
    let forwards = after(&text, sql);
    text.reverse();
    assert_eq!(after(&text, sql), forwards, "backwards, the rows of `{sql}` differ");
    expected.assert_eq(&forwards);
}

/// Likewise, with every line coming once more at the end: what is exported twice counts once.
fn check_retried(text: &str, sql: &str, expected: Expect) {
    let twice = [lines(text), lines(text)].concat();
    let mut session = Session::new(2);
    session.prepare(sql);
    session.append(&twice);
    session.close();
    let retried = shown(&session.rows(sql));
    check(text, sql, expected);
    assert_eq!(after(&lines(text), sql), retried, "exported twice, the rows of `{sql}` differ");
}
