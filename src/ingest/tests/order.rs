//! The merge of files, and the stream clock.

use expect_test::expect;
use rand::prelude::*;

use super::support::*;
use crate::telemetry::Table;

#[test]
fn files_are_merged_by_event_time_and_the_clock_is_the_last_of_them() {
    let files = folder(&[
        ("a.jsonl", span_lines("a", &[0, 4, 5, 9])),
        ("b.jsonl", span_lines("b", &[2, 4, 20])),
        ("c.jsonl", span_lines("c", &[3])),
    ]);
    expect![[r#"
        spans a@0; clock 2
        spans b@2; clock 3
        spans c@3; clock 4
        spans a@4; clock 4
        spans b@4; clock 5
        spans a@5; clock 9
        spans a@9; clock 20
        spans b@20; clock 20
    "#]]
    .assert_eq(&text(&steps(&[files.path().into()], options())));
}

#[test]
fn slack_lets_a_file_run_ahead_of_the_others() {
    let files =
        folder(&[("a.jsonl", span_lines("a", &[0, 1, 2, 3, 4, 5])), ("b.jsonl", span_lines("b", &[2, 7]))]);
    let mut options = options();
    options.merge_slack_ns = 2 * SECOND_NS;
    expect![[r#"
        spans a@0; clock 1
        spans a@1 a@2 a@3 a@4; clock 2
        spans b@2; clock 5
        spans a@5; clock 7
        spans b@7; clock 7
    "#]]
    .assert_eq(&text(&steps(&[files.path().into()], options)));
}

#[test]
fn a_record_that_spans_the_time_of_others_is_cut() {
    let files =
        folder(&[("a.jsonl", line(&spans("a", &[0, 10, 20, 30]))), ("b.jsonl", span_lines("b", &[5, 15]))]);
    assert_eq!(span_seconds(&steps(&[files.path().into()], options())), [0, 5, 10, 15, 20, 30]);
}

#[test]
fn a_file_out_of_order_keeps_its_order_and_the_clock_stands() {
    let files = folder(&[("a.jsonl", span_lines("a", &[5, 9, 1, 2, 12]))]);
    let mut options = options();
    options.batch_rows = 1;
    expect![[r#"
        spans a@5; clock 9
        spans a@9; clock 9
        spans a@1; clock 9
        spans a@2; clock 12
        spans a@12; clock 12
    "#]]
    .assert_eq(&text(&steps(&[files.path().into()], options)));
}

#[test]
fn errors_come_at_once_and_do_not_move_the_clock() {
    let files = folder(&[
        ("a.jsonl", "nonsense\n".to_owned() + &span_lines("a", &[7])),
        ("b.jsonl", span_lines("b", &[1, 2])),
    ]);
    let mut options = options();
    options.batch_rows = 1;
    expect![[r#"
        ingest_errors 1; clock 1
        spans b@1; clock 2
        spans b@2; clock 7
        spans a@7; clock 7
    "#]]
    .assert_eq(&text(&steps(&[files.path().into()], options)));
}

#[test]
fn huge_records_are_not_gathered() {
    let files = folder(&[("a.jsonl", span_lines(&"x".repeat(1 << 20), &(0..100).collect::<Vec<_>>()))]);
    let steps = steps(&[files.path().into()], options());
    assert!((3..10).contains(&steps.len()), "{} steps", steps.len());
    assert!(span_seconds(&steps).into_iter().eq(0..100));
}

/// 3,000 spans over 1,000 seconds in six sorted files of several formats, dealt at random.
fn dealt(random: &mut StdRng) -> tempfile::TempDir {
    let mut hands: [Vec<i64>; 6] = Default::default();
    for row in 0..3000 {
        hands[random.random_range(0..6)].push(row / 3);
    }
    let mut files = Vec::new();
    for (index, hand) in hands.iter().enumerate() {
        let requests = || hand.chunk_by(|a, b| a / 7 == b / 7).map(|seconds| spans("dealt", seconds));
        let text: String = requests().map(|request| line(&request)).collect();
        let frames: Vec<u8> =
            requests().flat_map(|request| frame(&prost::Message::encode_to_vec(&request))).collect();
        files.push(match index {
            0 => ("0.pb".to_owned(), frames),
            1 => ("1.binpb.zst".to_owned(), zstd(&frames)),
            2 => ("2.jsonl.gz".to_owned(), gzip(text.as_bytes())),
            _ => (format!("{index}.jsonl"), text.into_bytes()),
        });
    }
    folder(&files)
}

#[test]
fn shuffled_files_equal_sorted_ones() {
    let mut random = StdRng::seed_from_u64(7);
    for _ in 0..5 {
        let files = dealt(&mut random);
        let sorted: Vec<i64> = (0..3000).map(|row| row / 3).collect();
        let in_folder = steps(&[files.path().into()], options());
        assert_eq!(span_seconds(&in_folder), sorted);

        let mut paths: Vec<_> = std::fs::read_dir(files.path()).unwrap().map(|e| e.unwrap().path()).collect();
        paths.shuffle(&mut random);
        assert_eq!(all_rows(&steps(&paths, options())), all_rows(&in_folder));
    }
}

#[test]
fn batches_of_any_size_hold_the_same_rows() {
    let files = dealt(&mut StdRng::seed_from_u64(8));
    write(files.path(), "logs.jsonl", line(&logs(&(0..1000).collect::<Vec<_>>())) + "broken\n");
    let mut expected = None;
    for batch_rows in [1, 7, 8192] {
        let mut options = options();
        options.batch_rows = batch_rows;
        let steps = steps(&[files.path().into()], options);
        let rows = all_rows(&steps);
        assert_eq!(rows[Table::Spans as usize].as_ref().unwrap().num_rows(), 3000);
        assert_eq!(rows[Table::Logs as usize].as_ref().unwrap().num_rows(), 1000);
        assert_eq!(rows[Table::IngestErrors as usize].as_ref().unwrap().num_rows(), 1);
        assert_eq!(&rows, expected.get_or_insert(rows.clone()));
    }
}

/// Of files in order, no row may come that the clock has passed, and the clock is as far as that allows: at the first
/// row to come, since each file's next row is known.
#[test]
fn the_clock_is_the_minimum_over_the_files() {
    let files = dealt(&mut StdRng::seed_from_u64(9));
    for (batch_rows, slack_s) in [(1, 0), (7, 0), (8192, 0), (64, 3), (8192, 100)] {
        let mut options = options();
        options.batch_rows = batch_rows;
        options.merge_slack_ns = slack_s * SECOND_NS;
        let steps = steps(&[files.path().into()], options);
        for (index, step) in steps.iter().enumerate() {
            let bounds = |step: &crate::ingest::Step| step.batches[0].event_time_ns.unwrap();
            let first_to_come = steps[index + 1..].iter().map(|step| bounds(step).0).min();
            let last = steps[..=index].iter().map(|step| bounds(step).1).max();
            assert_eq!(step.clock_ns, first_to_come.or(last), "step {index} of {}", steps.len());
        }
    }
}

#[test]
fn a_replay_may_run_on_a_thread_of_its_own() {
    fn sendable<T: Send>() {}
    sendable::<crate::ingest::Replay>();
}
