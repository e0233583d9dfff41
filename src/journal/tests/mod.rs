mod appending;
mod crashes;
mod damage;
mod memory;
mod rewriting;

use self::memory::Memory;
use super::{Journal, JournalError, Options, Record, Recovery};

fn record(text: &str) -> Record {
    Record { kind: 1, bytes: text.as_bytes().to_vec() }
}

fn group(text: &str) -> Vec<Record> {
    text.split(' ').map(record).collect()
}

fn options(segment_bytes_max: u64) -> Options {
    Options { segment_bytes_max, ..Options::default() }
}

/// All groups in `files`, how many bytes were taken away, and the journal to go on with.
fn recover(files: &Memory, options: Options) -> Result<(Vec<String>, u64, Journal), JournalError> {
    let mut recovery = Recovery::open(Box::new(files.clone()), options)?;
    let (mut groups, mut expected) = (vec![], 1);
    while let Some((first, records)) = recovery.next_group()? {
        assert_eq!(first, expected);
        expected += records.len() as u64;
        let texts = records.iter().map(|r| String::from_utf8_lossy(&r.bytes).into_owned());
        groups.push(texts.collect::<Vec<_>>().join(" "));
    }
    assert_eq!(recovery.bytes_read(), recovery.bytes_total());
    let torn = recovery.torn_end().map_or(0, |torn| torn.bytes);
    Ok((groups, torn, recovery.finish()?))
}

/// The groups in `files`, which stay as they are.
fn groups(files: &Memory) -> Vec<String> {
    let recovered = recover(&files.copy(), options(1 << 20));
    recovered.map(|(groups, ..)| groups).unwrap_or_else(|error| panic!("{error}"))
}

/// A journal in `files`, to which each of `texts` was appended, a group and a sync each.
fn with(files: &Memory, options: Options, texts: &[&str]) -> Journal {
    let (_, _, mut journal) = recover(files, options).expect("a journal");
    for text in texts {
        journal.append(&[&group(text)]).expect("an append");
    }
    journal
}
