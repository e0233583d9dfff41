//! Segments whose records become shorter.

use std::io::ErrorKind;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::memory::{Fault, Memory};
use super::*;
use crate::journal::Rewriter;

/// What is left of a record: its first letter, where it has more.
fn first_letter(record: &Record) -> Option<Record> {
    (record.bytes.len() > 1).then(|| Record { kind: record.kind, bytes: record.bytes[..1].to_vec() })
}

#[test]
fn ended_segments_become_shorter_and_stay_whole() {
    let random = &mut StdRng::seed_from_u64(1);
    for _ in 0..100 {
        let files = Memory::default();
        let texts: Vec<String> = (0..random.random_range(2..30))
            .map(|n| {
                vec![format!("{n}-{}", "x".repeat(random.random_range(1..40))); random.random_range(1..4)]
                    .join(" ")
            })
            .collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let mut journal = with(&files, options(200), &texts);
        let (before, names) = (journal.bytes(), files.file_names());
        let through = random.random_range(0..journal.next());
        let mut shorter = 0;
        Rewriter::new(Box::new(files.clone()))
            .rewrite(through, first_letter, |bytes| shorter += bytes)
            .unwrap();
        let mut again = 0;
        Rewriter::new(Box::new(files.clone()))
            .rewrite(through, first_letter, |bytes| again += bytes)
            .unwrap();
        assert_eq!(again, 0);
        journal.shortened(shorter);
        journal.append(&[&group("last one")]).unwrap();
        assert!(shorter == 0 || journal.bytes() < before + 100);
        // Groups come back whole, those of ended segments up to `through` shorter.
        let (mut sequence, mut expected) = (1, vec![]);
        let ended = names.iter().filter_map(|name| name[..20].parse::<u64>().ok()).skip(1);
        let ended = ended.filter(|next| *next <= through + 1).max().unwrap_or(1);
        for text in texts.iter().chain(&["last one"]) {
            let is_shorter = sequence < ended;
            let word = |word: &str| if is_shorter { word[..1].to_owned() } else { word.to_owned() };
            expected.push(text.split(' ').map(word).collect::<Vec<_>>().join(" "));
            sequence += text.split(' ').count() as u64;
        }
        assert_eq!(groups(&files), expected);
    }
}

#[test]
fn what_cannot_be_shortened_stays() {
    let files = Memory::default();
    let _journal = with(&files, options(60), &["aa", "bb", "cc"]);
    let rewrite = |rewriter: &mut Rewriter| {
        let mut shorter = vec![];
        let outcome = rewriter.rewrite(2, first_letter, |bytes| shorter.push(bytes));
        (outcome.map_err(|error| error.to_string()), shorter)
    };
    let mut rewriter = Rewriter::new(Box::new(files.clone()));
    files.fail(Fault::Replace(ErrorKind::StorageFull));
    let (outcome, shorter) = rewrite(&mut rewriter);
    let refused = outcome.unwrap_err();
    assert!(refused.starts_with("cannot replace \"data/00000000000000000001.journal\": "), "{refused}");
    assert_eq!((shorter, groups(&files)), (vec![], ["aa", "bb", "cc"].map(str::to_owned).to_vec()));
    assert_eq!(rewrite(&mut rewriter), (Ok(()), vec![2]));
    assert_eq!(groups(&files), ["a", "b", "cc"]);
    let name = &files.file_names()[0];
    let mut bytes = files.bytes(name);
    *bytes.last_mut().unwrap() ^= 1;
    files.put(name, bytes);
    let damaged = rewrite(&mut Rewriter::new(Box::new(files.clone()))).0.unwrap_err();
    assert!(damaged.starts_with("the journal is damaged: record 2 in"), "{damaged}");
}
