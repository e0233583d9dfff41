//! The same spans, however they are written.

use prost::Message;

use super::support::*;
use crate::telemetry::Table;

const SECONDS: [&[i64]; 3] = [&[0, 1], &[2], &[3, 4, 5]];

fn json_lines() -> String {
    SECONDS.iter().map(|seconds| line(&spans("x", seconds))).collect()
}

/// A replay of `bytes` under `name` gives the spans of [`SECONDS`] and no error.
#[track_caller]
fn check(name: &str, bytes: impl AsRef<[u8]>) {
    let files = folder(&[(name, bytes.as_ref())]);
    let steps = steps(&[files.path().join(name)], options());
    assert_eq!(errors(&steps), "", "{name}");
    let plain = folder(&[("plain.jsonl", json_lines())]);
    let expected = super::support::steps(&[plain.path().into()], options());
    assert_eq!(span_seconds(&expected), [0, 1, 2, 3, 4, 5]);
    assert_eq!(rows_of(&steps, Table::Spans), rows_of(&expected, Table::Spans), "{name}");
}

/// Also compressed, in one piece and in two.
#[track_caller]
fn check_compressed(name: &str, bytes: impl AsRef<[u8]>) {
    let bytes = bytes.as_ref();
    let (head, tail) = bytes.split_at(bytes.len() / 2);
    check(name, bytes);
    check(&format!("{name}.gz"), gzip(bytes));
    check(&format!("{name}.gz"), [gzip(head), gzip(tail)].concat());
    check(&format!("{name}.zst"), zstd(bytes));
    check(&format!("{name}.zst"), [zstd(head), zstd(tail)].concat());
}

#[test]
fn json_lines_are_read() {
    check_compressed("x.jsonl", json_lines());
    check("x.ndjson", json_lines());
    check("x.json", json_lines());
    check("X.JSONL", json_lines());
}

#[test]
fn other_ends_of_lines_and_a_byte_order_mark_are_read() {
    let windows = json_lines().replace('\n', "\r\n");
    check("x.jsonl", &windows);
    check("x.jsonl", windows.replace("\r\n", "\r\n\r\n"));
    check("x.jsonl", format!("\u{feff}{windows}"));
    check("x.jsonl", format!("\n \n{}", json_lines()));
    check("x.jsonl", json_lines().trim_end());
}

#[test]
fn documents_of_many_lines_are_read() {
    let whole = serde_json::to_string_pretty(&spans("x", &[0, 1, 2, 3, 4, 5])).unwrap();
    check_compressed("x.json", &whole);
    check("x.json", format!("\u{feff}\n{}\r\n", whole.replace('\n', "\r\n")));
    let several = SECONDS.map(|seconds| serde_json::to_string_pretty(&spans("x", seconds)).unwrap());
    check("x.json", several.join("\n"));
}

#[test]
fn protobuf_is_read() {
    let frames: Vec<u8> =
        SECONDS.iter().flat_map(|seconds| frame(&spans("x", seconds).encode_to_vec())).collect();
    let whole = spans("x", &[0, 1, 2, 3, 4, 5]).encode_to_vec();
    for ending in ["pb", "binpb", "protobuf", "proto.bin"] {
        check_compressed(&format!("x.{ending}"), &frames);
        check_compressed(&format!("x.{ending}"), &whole);
    }
    check("x.pb", [frame(b""), frames].concat());
}

#[test]
fn frames_compressed_each_by_itself_are_read() {
    let json = SECONDS.map(|seconds| frame(&zstd(line(&spans("x", seconds)).as_bytes())));
    check("x.json", json.concat());
    let protobuf = SECONDS.map(|seconds| frame(&zstd(&spans("x", seconds).encode_to_vec())));
    check("x.pb", protobuf.concat());
}

#[test]
fn empty_files_hold_nothing() {
    let files = folder(&[("a.jsonl", ""), ("b.pb", ""), ("c.json", "\n\n")]);
    assert_eq!(text(&steps(&[files.path().into()], options())), "");
}

#[test]
fn folders_are_read_to_the_bottom_and_each_file_once() {
    let files = folder(&[
        ("2/deep/er/a.jsonl", span_lines("a", &[1])),
        ("1/b.jsonl", span_lines("b", &[1])),
        ("c.jsonl", span_lines("c", &[1])),
        ("1/notes.txt", "not telemetry".to_owned()),
    ]);
    let root = files.path();
    let expected = "spans b@1; clock 1\nspans a@1; clock 1\nspans c@1; clock 1\n";
    assert_eq!(text(&steps(&[root.into()], options())), expected);
    let again = [root.join("c.jsonl"), root.join("1/../c.jsonl"), root.into(), root.join("1"), root.into()];
    assert_eq!(span_seconds(&steps(&again, options())), [1, 1, 1]);
}

#[cfg(unix)]
#[test]
fn links_are_followed_but_not_round_in_circles() {
    let files = folder(&[("1/a.jsonl", span_lines("a", &[1]))]);
    let link =
        |to: &str, from: &str| std::os::unix::fs::symlink(files.path().join(to), files.path().join(from));
    link(".", "1/up").unwrap();
    link("1/a.jsonl", "b.jsonl").unwrap();
    link("nowhere", "c.jsonl").unwrap();
    assert_eq!(span_seconds(&steps(&[files.path().into()], options())), [1]);
}
