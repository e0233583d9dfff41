//! Whatever the bytes, decoding does not panic and loses nothing in silence.

use prost::Message;
use rand::Rng;

use super::made::Made;
use super::{decoder, origin};
use crate::telemetry::{Decoder, Signal, Table};

/// Requests of each signal in both formats, and how many records they hold.
fn requests(made: &mut Made) -> [(Signal, Vec<u8>, Vec<u8>); 3] {
    let (traces, metrics, logs) = (made.traces(2), made.metrics(2), made.logs(2));
    [
        (Signal::Traces, traces.encode_to_vec(), serde_json::to_vec(&traces).unwrap()),
        (Signal::Metrics, metrics.encode_to_vec(), serde_json::to_vec(&metrics).unwrap()),
        (Signal::Logs, logs.encode_to_vec(), serde_json::to_vec(&logs).unwrap()),
    ]
}

fn decode(signal: Option<Signal>, request: &[u8]) -> Decoder {
    let mut decoder = decoder();
    match signal {
        Some(signal) => decoder.protobuf(signal, request, &origin()),
        None => decoder.json(request, &origin()),
    }
    decoder
}

/// What must hold of any decoder: the counts are those of the rows, the batches are valid.
fn check(mut decoder: Decoder) {
    let (rows, accepted, rejected) = (decoder.rows(), decoder.accepted(), decoder.rejected());
    let batches = decoder.finish();
    let of = |errors: bool| {
        let some = batches.iter().filter(|batch| (batch.table == Table::IngestErrors) == errors);
        some.map(|batch| batch.rows.num_rows()).sum::<usize>()
    };
    assert_eq!(of(false) + of(true), rows);
    assert_eq!(of(false) as u64, accepted);
    assert!(of(true) as u64 <= rejected);
    for batch in &batches {
        for column in batch.rows.columns() {
            column.to_data().validate_full().unwrap();
        }
    }
}

fn damaged(made: &mut Made, request: &[u8]) -> Vec<u8> {
    let mut bytes = request.to_vec();
    for _ in 0..made.random.random_range(1..4) {
        let at = made.random.random_range(0..bytes.len());
        match made.random.random_range(0..6) {
            0 => bytes[at] = made.random.random(),
            1 => bytes[at] ^= 1 << made.random.random_range(0..8),
            2 => _ = bytes.remove(at),
            3 => bytes.insert(at, made.random.random()),
            4 => bytes[at] = b"{}[]\",:0n\\"[made.random.random_range(0..10)],
            _ => {
                let end = made.random.random_range(at..bytes.len().min(at + 40));
                bytes.copy_within(at..end, at / 2);
            }
        }
        if bytes.is_empty() {
            return request.to_vec();
        }
    }
    bytes
}

#[test]
fn damage_never_panics() {
    for seed in 0..150 {
        let mut made = Made::new(seed);
        for (signal, protobuf, json) in requests(&mut made) {
            for _ in 0..40 {
                check(decode(Some(signal), &damaged(&mut made, &protobuf)));
                check(decode(None, &damaged(&mut made, &json)));
            }
        }
    }
}

#[test]
fn every_cut_is_reported_and_what_is_whole_is_kept() {
    let mut made = Made::new(7);
    for (signal, protobuf, json) in requests(&mut made) {
        for (signal, request) in [(Some(signal), &protobuf), (None, &json)] {
            let mut accepted = 0;
            for len in 0..request.len() {
                let decoder = decode(signal, &request[..len]);
                assert!(decoder.accepted() >= accepted, "a longer part gives fewer rows at {len}");
                accepted = decoder.accepted();
                // A part of a protobuf request that ends between two resources is a request of its own.
                let whole = signal.is_some() && decoder.rejected() == 0;
                assert!(whole || decoder.rejected() == 1, "{} rejected at {len}", decoder.rejected());
                check(decoder);
            }
            assert_eq!(decode(signal, request).rejected(), 0);
        }
    }
}

/// Damage inside the value of one field of one record costs no other record.
#[test]
fn damage_within_a_record_costs_that_record() {
    for seed in 0..100 {
        let mut made = Made::new(seed);
        let traces = made.traces(2);
        let whole = decode(Some(Signal::Traces), &traces.encode_to_vec()).accepted();
        let mut wrong = traces.clone();
        let span = &mut wrong.resource_spans[0].scope_spans[1].spans[0];
        let parts = 1 + span.links.len() + span.events.len();
        span.trace_id.pop();
        for decoder in [
            decode(Some(Signal::Traces), &wrong.encode_to_vec()),
            decode(None, &serde_json::to_vec(&wrong).unwrap()),
        ] {
            assert_eq!(decoder.accepted(), whole - parts as u64);
            assert_eq!(decoder.rejected(), 1);
        }
    }
}

/// The reader takes for JSON exactly what serde_json takes for it.
#[test]
fn json_is_what_serde_json_says_it_is() {
    let mut made = Made::new(11);
    let whole =
        br#" {"resourceLogs":[],"a":[1,-2.5e+3,true,{"b\n":null}],"c":{"d":"\u00e9","e":[]},"f":-0.1}"#;
    let mut valid = 0;
    for _ in 0..20_000 {
        let text = damaged(&mut made, whole);
        if std::str::from_utf8(&text).is_err() {
            continue;
        }
        let is_object = text.trim_ascii_start().starts_with(b"{");
        let expected = serde_json::from_slice::<serde::de::IgnoredAny>(&text).is_ok();
        let mut decoder = decode(None, &text);
        let batches = decoder.finish();
        let taken = !batches.iter().any(|batch| {
            (0..batch.rows.num_rows()).any(|row| super::text(batch, "reason", row).starts_with("not JSON"))
        });
        if is_object {
            assert_eq!(taken, expected, "{}", String::from_utf8_lossy(&text));
        }
        valid += usize::from(expected);
    }
    assert!(valid > 100, "{valid}");
}
