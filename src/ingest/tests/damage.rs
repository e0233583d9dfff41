//! Files that are broken: what is lost is told, and the rest is read.

use expect_test::{Expect, expect};
use prost::Message;
use rand::prelude::*;

use super::support::*;
use crate::ingest::{Replay, ReplayOptions};

#[track_caller]
fn check(name: &str, bytes: impl AsRef<[u8]>, options: ReplayOptions, seconds: &[i64], expected: Expect) {
    let files = folder(&[(name, bytes.as_ref())]);
    let steps = steps(&[files.path().into()], options);
    assert_eq!(span_seconds(&steps), seconds);
    expected.assert_eq(&errors(&steps));
}

#[test]
fn a_truncated_stream_gives_what_it_holds() {
    let text = span_lines("x", &(0..5000).collect::<Vec<_>>());
    for (name, whole) in [("x.jsonl.gz", gzip(text.as_bytes())), ("x.jsonl.zst", zstd(text.as_bytes()))] {
        let files = folder(&[
            (name.to_owned(), &whole[..whole.len() / 2]),
            ("y.jsonl".to_owned(), span_lines("y", &[9999]).as_bytes()),
        ]);
        let steps = steps(&[files.path().into()], options());
        let seconds = span_seconds(&steps);
        let (last, before) = seconds.split_last().unwrap();
        assert!(before.len() > 1000, "{name} gave {} spans", before.len());
        assert!(before.iter().copied().eq(0..before.len() as i64));
        assert_eq!(*last, 9999);
        let errors = errors(&steps);
        let told = format!("{name}:{} file: cannot be read further", before.len() + 1);
        assert!(errors.starts_with(&told) && errors.lines().count() == 1, "{errors}");
    }
}

#[test]
fn broken_lines_cost_only_themselves() {
    let good = |second| span_lines("x", &[second]).into_bytes();
    let bad_utf8 = good(0).iter().map(|&byte| if byte == b'x' { 0xff } else { byte }).collect::<Vec<u8>>();
    let bytes = [good(1), b"{\"resourceSpans\":[\n".to_vec(), bad_utf8, good(2), b"[1]\n".to_vec(), good(3)];
    let files = folder(&[("x.jsonl", bytes.concat())]);
    let steps = steps(&[files.path().into()], options());
    assert_eq!(span_seconds(&steps), [1, 2, 3]);
    let errors = errors(&steps);
    let places: Vec<&str> = errors.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(places, ["x.jsonl:2", "x.jsonl:3", "x.jsonl:5"], "{errors}");
}

#[test]
fn a_first_line_that_is_cut_off_is_no_document() {
    for lines in [1, 2, 5] {
        let first = span_lines("x", &[0]);
        let cut = &first[..first.len() - 10];
        let rest = span_lines("x", &(1..=lines).collect::<Vec<_>>());
        let files = folder(&[("x.jsonl", format!("{cut}\n{rest}"))]);
        let steps = steps(&[files.path().into()], options());
        assert_eq!(span_seconds(&steps), (1..=lines).collect::<Vec<_>>());
        assert!(errors(&steps).starts_with("x.jsonl:1 ") && errors(&steps).lines().count() == 1);
    }
}

#[test]
fn a_line_over_the_limit_is_skipped() {
    let long = format!("{{\"x\":\"{}\"}}\n", "y".repeat(2_000_000));
    let mut options = options();
    options.line_bytes_max = 1000;
    check(
        "x.jsonl",
        span_lines("x", &[1]) + &long + &span_lines("x", &[2]) + long.trim_end(),
        options.clone(),
        &[1, 2],
        expect![[r#"
            x.jsonl:2 line: line 2 has 2000009 bytes, the limit is 1000: skipped
            x.jsonl:4 line: line 4 has 2000008 bytes, the limit is 1000: skipped
        "#]],
    );
    check(
        "x.jsonl",
        long.clone() + &span_lines("x", &[3]),
        options.clone(),
        &[3],
        expect![[r#"
            x.jsonl:1 line: line 1 has 2000009 bytes, the limit is 1000: skipped
        "#]],
    );
    // At the limit it is taken, a byte above it is not.
    let line = span_lines("x", &[1]);
    options.line_bytes_max = line.len() - 1;
    check("x.jsonl", &line, options.clone(), &[1], expect![[""]]);
    options.line_bytes_max = line.len() - 2;
    let files = folder(&[("x.jsonl", line.trim_end())]);
    assert_eq!(errors(&steps(&[files.path().into()], options)).lines().count(), 1);
}

#[test]
fn a_broken_document_is_told_once() {
    let document = serde_json::to_string_pretty(&spans("x", &[1])).unwrap();
    let cut = &document[..document.len() - 20];
    let files = folder(&[("x.json", format!("{document}\n{cut}"))]);
    let steps = steps(&[files.path().into()], options());
    assert_eq!(span_seconds(&steps), [1]);
    let errors = errors(&steps);
    assert!(
        errors.contains("message: not JSON from here on: EOF") && errors.lines().count() == 1,
        "{errors}"
    );

    let mut options = options();
    options.line_bytes_max = 400;
    check(
        "x.json",
        &document,
        options,
        &[],
        expect![[r#"
            x.json:1 message: the documents are longer than the limit of 400 bytes: the rest is skipped. Write one request a line
        "#]],
    );
}

#[test]
fn broken_frames_are_told() {
    let good = |second| frame(&spans("x", &[second]).encode_to_vec());
    check(
        "x.pb",
        [good(1), frame(b"\xff\xff\xff\xff"), good(2)].concat(),
        options(),
        &[1, 2],
        expect![[r#"
            x.pb:2 message: neither spans, metrics nor logs in OTLP protobuf
        "#]],
    );
    check(
        "x.pb",
        [good(1), good(2)[..30].to_vec()].concat(),
        options(),
        &[1],
        expect![[r#"
            x.pb:2 file: cannot be read further: frame 2 is cut off in its message. What was read before stays
        "#]],
    );
    check(
        "x.pb",
        [good(1), vec![0, 0, 1]].concat(),
        options(),
        &[1],
        expect![[r#"
            x.pb:2 file: cannot be read further: frame 2 is cut off in its length. What was read before stays
        "#]],
    );
    let mut small = options();
    small.line_bytes_max = 1000;
    check(
        "x.pb",
        [good(1), frame(&[7; 5000]), good(2), vec![0xff; 9]].concat(),
        small.clone(),
        &[1, 2],
        expect![[r#"
            x.pb:2 message: frame 2 has 5000 bytes, the limit is 1000: skipped
            x.pb:4 message: frame 4 has 4294967295 bytes, the limit is 1000: skipped
            x.pb:4 file: cannot be read further: frame 4 is cut off in its message. What was read before stays
        "#]],
    );
    let seconds: Vec<i64> = (0..100).collect();
    check(
        "x.pb",
        spans("x", &seconds).encode_to_vec(),
        small.clone(),
        &[],
        expect![[r#"
            x.pb message: the request is longer than the limit of 1000 bytes: skipped
        "#]],
    );
    check(
        "x.pb",
        frame(&zstd(&vec![0; 10_000_000])),
        small,
        &[],
        expect![[r#"
            x.pb:1 message: longer than the limit of 1000 bytes once decompressed: skipped
        "#]],
    );
}

/// Whatever the bytes are, there is no panic and there are no spans.
#[test]
fn noise_under_any_ending_is_no_telemetry() {
    let mut random = StdRng::seed_from_u64(1);
    for round in 0..300 {
        let length = random.random_range(1..400);
        let mut noise: Vec<u8> = (0..length).map(|_| random.random()).collect();
        if round % 3 == 0 {
            noise.iter_mut().for_each(|byte| *byte %= 4);
        }
        for ending in ["jsonl", "json.gz", "json.zst", "pb", "pb.gz", "binpb.zst", "parquet"] {
            let files = folder(&[(format!("x.{ending}"), &noise)]);
            let steps = steps(&[files.path().into()], options());
            assert_eq!(span_seconds(&steps), [0; 0]);
        }
    }
}

/// Good files with a few bytes changed.
#[test]
fn flipped_bytes_never_stop_a_replay() {
    let mut random = StdRng::seed_from_u64(2);
    let text = span_lines("x", &(0..50).collect::<Vec<_>>());
    let frames: Vec<u8> = (0..50).flat_map(|second| frame(&spans("x", &[second]).encode_to_vec())).collect();
    let good = [
        ("x.jsonl", text.clone().into_bytes()),
        ("x.jsonl.gz", gzip(text.as_bytes())),
        ("x.jsonl.zst", zstd(text.as_bytes())),
        ("x.pb", frames.clone()),
        ("x.pb.gz", gzip(&frames)),
    ];
    for _ in 0..100 {
        for (name, bytes) in &good {
            let mut bytes = bytes.clone();
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..bytes.len());
                bytes[at] = random.random();
            }
            let files = folder(&[(name, bytes)]);
            let mut replay = Replay::open(&[files.path().into()], options()).unwrap();
            while replay.next().is_some() {}
        }
    }
}
