//! `undercurrent demo`: what it shows of the simulated system.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use crate::python;

/// The cells of the rows of a table that has a frame.
fn rows(text: &str, title: &str) -> Vec<Vec<String>> {
    let table = text.lines().skip_while(|line| !line.starts_with(title)).skip(4);
    let table = table.take_while(|line| line.starts_with('|'));
    table.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

#[test]
fn the_last_view_tells_the_map_and_the_worst_operations() {
    let output = Command::new(env!("CARGO_BIN_EXE_undercurrent"))
        .args(["demo", "--speed", "max", "--duration", "40m", "--cycle", "40m", "--rate", "5"])
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Where the machine is slow there are views before the last.
    let begin = "undercurrent demo: a simulated web shop at Mon 05 Jan 2026 00:";
    let last = &text[text.rfind(begin).expect("a view")..];
    let minute: u32 = last[begin.len()..begin.len() + 2].parse().expect("minutes");
    assert!((39..43).contains(&minute), "{last}");
    let map = rows(last, "service map, last 5 minutes");
    let callers: BTreeSet<&str> = map.iter().map(|row| row[0].as_str()).collect();
    assert!(["user", "gateway", "web"].iter().all(|caller| callers.contains(caller)), "{last}");
    assert!(map.iter().all(|row| row[3].parse::<f64>().expect("a rate") > 0.0), "{last}");
    assert_eq!(rows(last, "worst operations").len(), 6, "{last}");
    assert!(last.contains("injected now:"), "{last}");
    assert!(last.contains("psql -h 127.0.0.1 -p "), "{last}");
    assert!(last.contains("a Jaeger data source at http://127.0.0.1:"), "{last}");
}

/// The lines to paste are true while it runs: psql answers, and the signal ends it in order.
#[test]
fn what_it_says_to_paste_answers_until_it_is_interrupted() {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_undercurrent"))
        .args(["demo", "--speed", "600x", "--rate", "5"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(demo.stdout.take().expect("a pipe")));
    let line = lines
        .by_ref()
        .map(|line| line.expect("text"))
        .find(|line| line.starts_with("psql "))
        .expect("a line");
    let (arguments, sql) = line["psql ".len()..].split_once(" -c ").expect("a statement");
    let answer = Command::new(python::psql())
        .args(arguments.split(' '))
        .args(["--csv", "--tuples-only", "-c", sql.trim_matches('"')])
        .output()
        .expect("psql");
    let answer = String::from_utf8(answer.stdout).expect("text");
    assert!(answer.lines().any(|row| row.starts_with("gateway,web,")), "{answer}");
    let id = demo.id().to_string();
    assert!(Command::new("kill").args(["-s", "INT", &id]).status().expect("kill").success());
    std::thread::spawn(move || lines.for_each(drop));
    assert!(demo.wait().expect("an end").success());
}
