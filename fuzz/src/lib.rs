//! What the targets check: input of any kind is taken in or rejected, and all of it is accounted for.

use std::io::Write;

use undercurrent::ingest::{Replay, ReplayOptions};
use undercurrent::telemetry::{Batch, Decoder, Limits, Origin, Signal, Table};

/// 2023-11-14T22:13:20Z, when the input is received.
const NOW_NS: i64 = 1_700_000_000_000_000_000;

/// Decodes `request` as JSON.
pub fn json(request: &[u8]) {
    decode(|decoder, origin| decoder.json(request, origin));
}

/// Decodes `request` as protobuf.
pub fn protobuf(signal: Signal, request: &[u8]) {
    decode(|decoder, origin| decoder.protobuf(signal, request, origin));
}

fn decode(decode: impl FnOnce(&mut Decoder, &Origin)) {
    let mut decoder = Decoder::new(Limits::default(), NOW_NS);
    decode(&mut decoder, &Origin { source: "fuzz".to_owned(), position: None });
    let (rows, accepted, rejected) = (decoder.rows(), decoder.accepted(), decoder.rejected());
    let batches = decoder.finish();
    assert_eq!(batches.iter().map(|batch| batch.rows.num_rows()).sum::<usize>(), rows);
    let count = |is_error: bool| -> u64 {
        let of = batches.iter().filter(|batch| (batch.table == Table::IngestErrors) == is_error);
        of.map(|batch| batch.rows.num_rows() as u64).sum()
    };
    assert_eq!(count(false), accepted);
    // One row may speak for several records.
    assert!(count(true) <= rejected);
    assert_eq!(count(true) == 0, rejected == 0);
    batches.iter().for_each(check);
}

fn check(batch: &Batch) {
    assert!(batch.rows.num_rows() > 0);
    assert_eq!(batch.rows.schema(), batch.table.schema());
}

/// Replays a file called `name` that holds `content`.
pub fn replay(name: &str, content: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    std::fs::File::create(&path).and_then(|mut file| file.write_all(content)).expect("a file");
    // A file that cannot be replayed at all is an answer too.
    let Ok(replay) = Replay::open(&[path], ReplayOptions::at(NOW_NS)) else { return };
    for step in replay {
        step.batches.iter().for_each(check);
    }
}
