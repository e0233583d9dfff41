//! Whatever the bytes, decoding does not panic and loses nothing in silence.

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use prost::Message;
use rand::Rng;
use serde::Serialize;

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

/// All rows but those of `ingest_errors`.
fn kept(mut decoder: Decoder) -> String {
    let batches = decoder.finish();
    let kept: Vec<_> = batches.into_iter().filter(|batch| batch.table != Table::IngestErrors).collect();
    super::shown(&kept)
}

/// Decodes a request of which some records are wrong, and the same without them: the rows are the same. Nothing of a
/// rejected record, such as its attributes, ends up in the next.
fn leaves_nothing(signal: Signal, wrong: &(impl Message + Serialize), without: &impl Message) {
    let expected = kept(decode(Some(signal), &without.encode_to_vec()));
    assert_eq!(kept(decode(Some(signal), &wrong.encode_to_vec())), expected);
    assert_eq!(kept(decode(None, &serde_json::to_vec(wrong).unwrap())), expected);
}

#[test]
fn a_rejected_record_leaves_nothing_behind() {
    for seed in 0..100 {
        let mut made = Made::new(seed);
        let (mut wrong, mut random) = (made.traces(4), made.random.clone());
        let mut without = wrong.clone();
        for (wrong, without) in wrong.resource_spans.iter_mut().zip(&mut without.resource_spans) {
            for (wrong, without) in wrong.scope_spans.iter_mut().zip(&mut without.scope_spans) {
                let span = random.random_range(0..4);
                wrong.spans[span].end_time_unix_nano = 1;
                without.spans.remove(span);
            }
        }
        leaves_nothing(Signal::Traces, &wrong, &without);

        let mut wrong = made.logs(4);
        let mut without = wrong.clone();
        for (wrong, without) in wrong.resource_logs.iter_mut().zip(&mut without.resource_logs) {
            let log = random.random_range(0..4);
            wrong.scope_logs[0].log_records[log].time_unix_nano = 1;
            without.scope_logs[0].log_records.remove(log);
        }
        leaves_nothing(Signal::Logs, &wrong, &without);

        let mut wrong = made.metrics(4);
        let mut without = wrong.clone();
        for (wrong, without) in wrong.resource_metrics.iter_mut().zip(&mut without.resource_metrics) {
            let metrics =
                wrong.scope_metrics[0].metrics.iter_mut().zip(&mut without.scope_metrics[0].metrics);
            for (wrong, without) in metrics {
                spoil(wrong.data.as_mut().unwrap(), without.data.as_mut().unwrap());
            }
        }
        leaves_nothing(Signal::Metrics, &wrong, &without);
    }
}

/// Makes the first point wrong in one metric and takes it out of the other.
fn spoil(wrong: &mut Data, without: &mut Data) {
    match (wrong, without) {
        (Data::Gauge(wrong), Data::Gauge(without)) => {
            wrong.data_points[0].time_unix_nano = 1;
            without.data_points.remove(0);
        }
        (Data::Sum(wrong), Data::Sum(without)) => {
            wrong.data_points[0].time_unix_nano = 1;
            without.data_points.remove(0);
        }
        (Data::Histogram(wrong), Data::Histogram(without)) => {
            wrong.data_points[0].time_unix_nano = 1;
            without.data_points.remove(0);
        }
        (Data::ExponentialHistogram(wrong), Data::ExponentialHistogram(without)) => {
            wrong.data_points[0].time_unix_nano = 1;
            without.data_points.remove(0);
        }
        (Data::Summary(wrong), Data::Summary(without)) => {
            wrong.data_points[0].time_unix_nano = 1;
            without.data_points.remove(0);
        }
        _ => unreachable!("one is a copy of the other"),
    }
}
