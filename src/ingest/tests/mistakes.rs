//! What a user sees who asked for something that cannot be.

use std::path::PathBuf;

use expect_test::{Expect, expect};

use super::support::*;
use crate::ingest::{Replay, ReplayOptions};
use crate::telemetry::Table;

#[track_caller]
fn check(paths: &[PathBuf], options: ReplayOptions, folder: &tempfile::TempDir, expected: Expect) {
    let error = Replay::open(paths, options).err().expect("it should be refused");
    expected.assert_eq(&error.to_string().replace(&folder.path().display().to_string(), ""));
}

#[test]
fn paths_that_lead_nowhere_are_refused() {
    let files = folder(&[("a.txt", ""), ("empty/b.txt", "")]);
    let at = |name: &str| vec![files.path().join(name)];
    check(&[], options(), &files, expect!["no file to replay. Name at least one file or folder"]);
    check(
        &at("gone"),
        options(),
        &files,
        expect![[r#"cannot find "/gone". Check the spelling and that the folder above it may be entered"#]],
    );
    check(
        &at("a.txt"),
        options(),
        &files,
        expect![[
            r#"the ending of "/a.txt" is not known. Known endings: .jsonl, .ndjson, .json, .pb, .binpb, .protobuf, .proto.bin (each also with .gz or .zst) and .parquet"#
        ]],
    );
    check(
        &at("empty"),
        options(),
        &files,
        expect![[
            r#"the folder "/empty" holds no recorded telemetry. Known endings: .jsonl, .ndjson, .json, .pb, .binpb, .protobuf, .proto.bin (each also with .gz or .zst) and .parquet"#
        ]],
    );
}

#[test]
fn options_out_of_range_are_refused() {
    let files = folder(&[("a.jsonl", ""), ("b.jsonl", "")]);
    let refused = |change: fn(&mut ReplayOptions), expected: Expect| {
        let mut options = options();
        change(&mut options);
        check(&[files.path().into()], options, &files, expected);
    };
    refused(|options| options.batch_rows = 0, expect!["batch_rows 0 is not in 1..=1048576"]);
    refused(|options| options.merge_slack_ns = -1, expect!["merge_slack_ns -1 is not in 0..=86400000000000"]);
    refused(
        |options| options.files_max = 1,
        expect!["2 files are more than the 1 that may be open at once. Replay them in several parts"],
    );
    refused(
        |options| options.columns = Some([(Table::Spans, vec!["nmae".to_owned()])].into()),
        expect![[r#"table "spans" has no column "nmae""#]],
    );
}
