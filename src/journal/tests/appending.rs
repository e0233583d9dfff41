use std::io::ErrorKind;
use std::sync::mpsc;

use expect_test::expect;

use super::memory::{Fault, Memory};
use super::{group, groups, options, record, recover, with};
use crate::journal::frame::FRAME_BYTES;
use crate::journal::{Committer, Folder, JournalError, Options, Recovery};

#[test]
fn what_is_appended_comes_back_in_its_order() {
    let files = Memory::default();
    let mut journal = with(&files, options(1 << 20), &["a", "b c d"]);
    assert_eq!(journal.next(), 5);
    journal.append(&[&group("e"), &group("f g")]).unwrap();
    assert_eq!(groups(&files), ["a", "b c d", "e", "f g"]);
    let (_, _, mut journal) = recover(&files, options(1 << 20)).unwrap();
    journal.append(&[&group("h")]).unwrap();
    assert_eq!(groups(&files), ["a", "b c d", "e", "f g", "h"]);
}

#[test]
fn a_segment_ends_when_it_is_full_and_a_group_stays_whole() {
    let files = Memory::default();
    let journal = with(&files, options(80), &["a", "b", "c d e f", "g"]);
    assert_eq!(journal.segments(), 3);
    expect![[r#"
        00000000000000000001.journal
        00000000000000000003.journal
        00000000000000000007.journal"#]]
    .assert_eq(&files.file_names().join("\n"));
    let total: usize = files.file_names().iter().map(|name| files.bytes(name).len()).sum();
    assert_eq!(journal.bytes(), total as u64);
    let (all, torn, again) = recover(&files, options(80)).unwrap();
    assert_eq!(all, ["a", "b", "c d e f", "g"]);
    assert_eq!((torn, again.bytes(), again.segments(), again.next()), (0, total as u64, 3, 8));
}

#[test]
fn a_full_disk_refuses_until_there_is_space_and_leaves_no_gap() {
    let files = Memory::default();
    let mut journal = with(&files, options(1 << 20), &["a"]);
    for written in [0, 5, FRAME_BYTES + 1, 2 * FRAME_BYTES] {
        files.fail(Fault::Write(written, ErrorKind::StorageFull));
        let error = journal.append(&[&group("lost also")]).unwrap_err();
        expect![[r#"cannot write "data/00000000000000000001.journal": no storage space; free some space: nothing is taken until there is"#]]
            .assert_eq(&error.to_string());
        assert_eq!(groups(&files), ["a"]);
    }
    journal.append(&[&group("b")]).unwrap();
    assert_eq!(groups(&files), ["a", "b"]);
    assert_eq!(journal.segments(), 1);
}

#[test]
fn what_cannot_be_taken_back_is_left_behind_the_end_of_its_segment() {
    let files = Memory::default();
    let mut journal = with(&files, options(1 << 20), &["a"]);
    files.fail(Fault::Write(FRAME_BYTES + 4, ErrorKind::StorageFull));
    files.fail(Fault::Truncate);
    journal.append(&[&group("lost also")]).unwrap_err();
    // Nor is there space for a new segment.
    files.fail(Fault::Create(ErrorKind::StorageFull));
    let error = journal.append(&[&group("lost")]).unwrap_err();
    assert!(error.to_string().starts_with("cannot create \"data/00000000000000000002.journal\""), "{error}");
    journal.append(&[&group("b")]).unwrap();
    assert_eq!(groups(&files), ["a", "b"]);
    assert_eq!(journal.segments(), 2);
}

#[test]
fn after_a_failed_sync_a_new_segment_begins() {
    let files = Memory::default();
    let mut journal = with(&files, options(1 << 20), &["a"]);
    files.fail(Fault::Sync);
    files.fail(Fault::Truncate);
    journal.append(&[&group("lost")]).unwrap_err();
    journal.append(&[&group("b")]).unwrap();
    assert_eq!(groups(&files), ["a", "b"]);
    assert_eq!(files.file_names().len(), 2);
    files.fail(Fault::Sync);
    journal.append(&[&group("lost")]).unwrap_err();
    files.fail(Fault::SyncNames);
    journal.append(&[&group("lost")]).unwrap_err();
    journal.append(&[&group("c")]).unwrap();
    assert_eq!(groups(&files), ["a", "b", "c"]);
}

#[test]
fn the_limit_is_an_error_that_says_what_to_do() {
    let files = Memory::default();
    let limits = Options { segment_bytes_max: 1 << 20, bytes_max: 100 };
    let mut journal = with(&files, limits, &["a"]);
    let error = journal.append(&[&group("more-than-what-is-left-of-it")]).unwrap_err();
    expect!["the journal has 53 bytes and would pass its limit of 100 (journal.bytes_max); raise it, and start again"]
        .assert_eq(&error.to_string());
    // Until it is opened with more room.
    journal.append(&[&group("b")]).unwrap_err();
    assert_eq!(groups(&files), ["a"]);
}

#[test]
fn those_who_wait_share_a_sync_and_are_told_in_order() {
    let files = Memory::default();
    let committer = Committer::start(with(&files, options(1 << 20), &[])).unwrap();
    let (sender, told) = mpsc::channel();
    // The first to be told holds the thread up until all others wait.
    let (go, wait) = mpsc::channel::<()>();
    let (begun, is_begun) = mpsc::channel::<()>();
    committer.append(group("first"), move |outcome| {
        begun.send(()).unwrap();
        wait.recv().unwrap();
        outcome.unwrap();
    });
    is_begun.recv().unwrap();
    for n in 0..100 {
        let sender = sender.clone();
        committer.append(vec![record(&n.to_string())], move |outcome| sender.send((n, outcome)).unwrap());
    }
    go.send(()).unwrap();
    for n in 0..100 {
        assert_eq!(told.recv().unwrap(), (n, Ok(n + 2)));
    }
    assert_eq!((committer.health().syncs(), committer.health().records()), (2, 101));
    assert_eq!(groups(&files).len(), 101);
}

#[test]
fn threads_that_append_are_answered_when_their_records_are_there() {
    let files = Memory::default();
    let committer = Committer::start(with(&files, options(500), &[])).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (committer, files) = (committer.clone(), files.clone());
            scope.spawn(move || {
                for n in 0..50 {
                    let text = format!("{thread}:{n}");
                    let last = committer.append_and_wait(group(&text)).unwrap();
                    // What others write meanwhile may be torn in a copy; what is answered is not.
                    assert!(groups(&files)[..last as usize].contains(&text));
                }
            });
        }
    });
    let all = groups(&files);
    assert_eq!(all.len(), 200);
    for thread in 0..4 {
        let begin = format!("{thread}:");
        let own: Vec<&str> = all.iter().filter_map(|text| text.strip_prefix(&begin)).collect();
        assert_eq!(own, (0..50).map(|n| n.to_string()).collect::<Vec<_>>());
    }
}

#[test]
fn a_failure_is_told_to_all_who_wait_and_ends_when_the_disk_recovers() {
    let files = Memory::default();
    let committer = Committer::start(with(&files, options(1 << 20), &["a"])).unwrap();
    files.fail(Fault::Write(3, ErrorKind::PermissionDenied));
    let refused = committer.append_and_wait(group("lost")).unwrap_err();
    expect![[r#"cannot write "data/00000000000000000001.journal": permission denied; let this process write there: nothing is taken until it can"#]]
        .assert_eq(&refused.to_string());
    assert_eq!((committer.health().failure(), committer.health().failures()), (Some(refused), 1));
    assert_eq!(committer.append_and_wait(group("b")), Ok(2));
    assert_eq!(committer.health().failure(), None);
    assert_eq!(groups(&files), ["a", "b"]);
}

#[test]
fn a_folder_is_for_one_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let files = Folder::open(&path).unwrap();
    let refused = Folder::open(&path).unwrap_err();
    assert_eq!(refused, JournalError::Locked(path.display().to_string()));
    let mut recovery = Recovery::open(Box::new(files), options(60)).unwrap();
    assert_eq!(recovery.next_group().unwrap(), None);
    let mut journal = recovery.finish().unwrap();
    for text in ["a", "b c", "d"] {
        journal.append(&[&group(text)]).unwrap();
    }
    drop(journal);
    let mut recovery = Recovery::open(Box::new(Folder::open(&path).unwrap()), options(60)).unwrap();
    for (first, text) in [(1, "a"), (2, "b c"), (4, "d")] {
        assert_eq!(recovery.next_group().unwrap(), Some((first, group(text))));
    }
    assert_eq!(recovery.next_group().unwrap(), None);
}
