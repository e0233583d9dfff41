//! The built-in views: the rules they follow, and that each is at every tick what its SELECT gives.

mod detectors;
mod forecasts;
mod graph;
mod models;
mod node_graph;
pub mod notation;
mod objectives;
mod oracle;
mod recursive;
mod summaries;

use expect_test::Expect;
use undercurrent::built_in::{MODELS, QUERIES};

use self::notation::{Session, lines, shown};

/// The rows of `sql` after `text` has come line by line, a tick each, and the stream clock stands `minutes` minutes after the
/// first telemetry; before it for none.
fn after(text: &[String], sql: &str, minutes: i64) -> String {
    let mut session = Session::new(1);
    session.prepare(sql);
    for line in text {
        session.append(std::slice::from_ref(line));
        session.close();
    }
    if minutes > 0 {
        session.close_after(minutes);
    }
    shown(&session.rows(sql))
}

/// Compares the rows of `sql` after `text` with `expected`: in the order given, backwards, and twice each within one
/// tick.
fn check(text: &str, sql: &str, expected: Expect) {
    check_after(0, text, sql, expected);
}

/// Likewise, once the stream clock stands `minutes` minutes after the first telemetry.
fn check_after(minutes: i64, text: &str, sql: &str, expected: Expect) {
    let mut text = lines(text);
    let forwards = after(&text, sql, minutes);
    text.reverse();
    assert_eq!(after(&text, sql, minutes), forwards, "backwards, the rows of `{sql}` differ");
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
    assert_eq!(after(&lines(text), sql, 0), retried, "exported twice, the rows of `{sql}` differ");
}

#[test]
fn every_file_of_queries_and_models_is_compiled_in() {
    for (folder, compiled) in [("queries", QUERIES), ("models", MODELS)] {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let compiled: Vec<&str> = compiled.iter().map(|(file, _)| *file).collect();
        assert_eq!(compiled, files);
    }
}

#[test]
fn every_view_can_be_read() {
    let mut session = Session::with_built_ins(1);
    session.close();
    for (file, _) in QUERIES {
        let name = file.trim_end_matches(".sql");
        assert_eq!(
            session.rows(&format!("SELECT * FROM {name} ORDER BY 1 LIMIT 1")),
            [] as [Vec<String>; 0],
            "{name}"
        );
    }
}
