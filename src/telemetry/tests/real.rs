//! The Train-Ticket data set, where it is at hand.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use crate::telemetry::{Decoder, Limits, Origin};

/// Rows of each table, and records rejected, of one file.
fn decoded(name: &str) -> Option<([usize; 6], u64, Decoder)> {
    let Some(shared) = std::env::var_os("UNDERCURRENT_SHARED") else {
        eprintln!("left out: UNDERCURRENT_SHARED is not set, so {name} cannot be found");
        return None;
    };
    let path = PathBuf::from(shared).join("datasets/trainticket").join(name);
    let file = std::fs::File::open(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines = BufReader::new(flate2::read::MultiGzDecoder::new(file)).split(b'\n');
    let mut decoder = Decoder::new(Limits::default(), 0);
    let mut rows = [0; 6];
    for (line, number) in lines.zip(1..) {
        decoder.json(&line.unwrap(), &Origin { source: name.into(), position: Some(number) });
        for batch in decoder.finish() {
            rows[batch.table as usize] += batch.rows.num_rows();
        }
    }
    Some((rows, decoder.rejected(), decoder))
}

#[test]
fn train_ticket_traces() {
    let Some((rows, rejected, decoder)) = decoded("traces.jsonl.gz") else { return };
    assert_eq!(rows, [328_848, 0, 0, 0, 0, 0]);
    assert_eq!((decoder.accepted(), rejected), (328_848, 0));
}

#[test]
fn train_ticket_metrics() {
    let Some((rows, rejected, _)) = decoded("metrics.jsonl.gz") else { return };
    assert_eq!(rows, [0, 0, 0, 767_559, 0, 0]);
    assert_eq!(rejected, 0);
}

/// 45 of 168,642 log records have times before 1970.
#[test]
fn train_ticket_logs() {
    let Some((rows, rejected, decoder)) = decoded("logs.jsonl.gz") else { return };
    assert_eq!(rows, [0, 0, 0, 0, 168_642 - 45, 45]);
    assert_eq!((decoder.accepted(), rejected), (168_642 - 45, 45));
}
