use expect_test::expect;

use super::memory::Memory;
use super::{group, groups, options, recover, with};
use crate::journal::JournalError;

const TEXTS: [&str; 4] = ["first", "second and third", "fourth", "fifth of them all"];

/// The places at which the header and the groups of a segment of [`TEXTS`] end.
fn ends() -> Vec<usize> {
    let mut ends = vec![24];
    for text in TEXTS {
        let bytes: usize = text.split(' ').map(|word| 28 + word.len()).sum();
        ends.push(ends[ends.len() - 1] + bytes);
    }
    ends
}

#[test]
fn an_end_cut_off_anywhere_leaves_the_groups_before_it() {
    let whole = Memory::default();
    drop(with(&whole, options(1 << 20), &TEXTS));
    let name = &whole.file_names()[0];
    let bytes = whole.bytes(name);
    assert_eq!(bytes.len(), ends()[TEXTS.len()]);
    for length in 0..=bytes.len() {
        let files = Memory::default();
        files.put(name, bytes[..length].to_vec());
        let (kept, begin) = match ends().iter().rposition(|end| *end <= length) {
            Some(place) => (place, ends()[place]),
            None => (0, 0),
        };
        let (found, torn, mut journal) = recover(&files, options(1 << 20)).unwrap();
        assert_eq!(found, TEXTS[..kept], "{length} bytes");
        assert_eq!(torn, (length - begin) as u64, "{length} bytes");
        journal.append(&[&group("and on")]).unwrap();
        assert_eq!(groups(&files), [&TEXTS[..kept], &["and on"]].concat(), "{length} bytes");
    }
}

#[test]
fn a_byte_changed_anywhere_is_found() {
    let whole = Memory::default();
    drop(with(&whole, options(1 << 20), &TEXTS));
    let name = &whole.file_names()[0];
    let (bytes, last) = (whole.bytes(name), ends()[TEXTS.len() - 1]);
    for at in 0..bytes.len() {
        for bit in [0, 3, 7] {
            let files = Memory::default();
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            files.put(name, changed);
            match recover(&files, options(1 << 20)) {
                // Nobody can tell a damaged last write from one that did not end.
                Ok((found, torn, _)) => {
                    assert!(at >= last, "byte {at}");
                    assert_eq!(found, TEXTS[..3], "byte {at}");
                    assert_eq!(torn, (bytes.len() - last) as u64, "byte {at}");
                }
                Err(JournalError::Corrupt { offset, .. }) => {
                    let begin = ends().into_iter().rev().find(|end| *end <= at).unwrap_or(0);
                    assert_eq!(offset, begin as u64, "byte {at}");
                    assert!(at < last, "byte {at}");
                }
                Err(other) => panic!("byte {at}: {other}"),
            }
        }
    }
}

#[test]
fn damage_before_the_end_names_the_place_and_what_to_do() {
    let files = Memory::default();
    drop(with(&files, options(1 << 20), &TEXTS));
    let name = &files.file_names()[0];
    let mut bytes = files.bytes(name);
    bytes[60] ^= 1;
    files.put(name, bytes);
    let error = recover(&files, options(1 << 20)).map(drop).unwrap_err();
    expect![[r#"the journal is damaged: record 2 in "data/00000000000000000001.journal" at byte 57 does not match its checksum, and what was acknowledged comes after it; restore the file from a copy, or move it and all later ones away to start from the records before it"#]]
        .assert_eq(&error.to_string());
    // It is found each time: nothing was changed.
    assert_eq!(recover(&files, options(1 << 20)).map(drop).unwrap_err(), error);
}

#[test]
fn records_written_at_once_are_one_torn_end() {
    let files = Memory::default();
    let mut journal = with(&files, options(1 << 20), &["a"]);
    journal.append(&[&group("b"), &group("c"), &group("d")]).unwrap();
    drop(journal);
    let name = &files.file_names()[0];
    let mut bytes = files.bytes(name);
    // The power failed while these were written: the first did not get to the disk, those behind it did.
    bytes[24 + 29..24 + 40].fill(0);
    files.put(name, bytes);
    let (found, torn, _) = recover(&files, options(1 << 20)).unwrap();
    assert_eq!(found, ["a"]);
    assert_eq!(torn, 3 * 29);
}

#[test]
fn a_segment_that_is_missing_cut_or_strange_is_an_error() {
    let whole = Memory::default();
    drop(with(&whole, options(1), &["a", "b", "c"]));
    let names = whole.file_names();
    assert_eq!(names.len(), 3);
    let error = |change: &dyn Fn(&Memory)| {
        let files = whole.copy();
        change(&files);
        recover(&files, options(1)).map(drop).unwrap_err().to_string()
    };
    expect![[r#"the journal is not whole: "data/00000000000000000002.journal" begins with record 2, record 1 is missing; restore the segment that holds it from a copy"#]]
        .assert_eq(&error(&|files| files.take_away(&names[0])));
    expect![[r#"the journal is not whole: "data/00000000000000000003.journal" begins with record 3, record 2 is missing; restore the segment that holds it from a copy"#]]
        .assert_eq(&error(&|files| files.take_away(&names[1])));
    let cut = |length: usize| error(&|files| files.put(&names[1], files.bytes(&names[1])[..length].to_vec()));
    let (empty, torn, headless) = (cut(24), cut(40), cut(10));
    assert!(empty.contains("record 2 is missing"), "{empty}");
    assert!(torn.contains("record 2 in \"data/00000000000000000002.journal\" at byte 24"), "{torn}");
    assert!(headless.contains("at byte 0 has no header before it"), "{headless}");
    let mut strange = whole.bytes(&names[2]);
    strange[8] = 9;
    let checksum = crc32fast::hash(&strange[..20]).to_le_bytes();
    strange[20..24].copy_from_slice(&checksum);
    expect![[r#""data/00000000000000000003.journal" has format 9 of the journal, and this version reads 1; use the version that wrote it"#]]
        .assert_eq(&error(&|files| files.put(&names[2], strange.clone())));
}
