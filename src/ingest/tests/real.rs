//! A day of a real system, when it is at hand.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::ingest::{Replay, ReplayOptions};
use crate::telemetry::Table;

/// A time after the recording.
const NOW_NS: i64 = 1_700_000_000_000_000_000;

fn trainticket() -> Option<PathBuf> {
    let folder =
        std::env::var_os("UNDERCURRENT_SHARED").map(|shared| Path::new(&shared).join("datasets/trainticket"));
    let found = folder.filter(|folder| folder.is_dir());
    if found.is_none() {
        println!("left out: UNDERCURRENT_SHARED does not lead to datasets/trainticket");
    }
    found
}

/// Rows of each table; prints how fast they came.
fn count(paths: &[PathBuf], options: ReplayOptions) -> BTreeMap<Table, usize> {
    let started = Instant::now();
    let mut replay = Replay::open(paths, options).unwrap();
    let mut rows = BTreeMap::new();
    let mut clock_ns = None;
    let mut steps = 0;
    for step in replay.by_ref() {
        steps += 1;
        assert!(clock_ns <= step.clock_ns);
        clock_ns = step.clock_ns;
        for batch in step.batches {
            *rows.entry(batch.table).or_default() += batch.rows.num_rows();
        }
    }
    assert_eq!(replay.bytes_read(), replay.bytes_total());
    let seconds = started.elapsed().as_secs_f64();
    let total: usize = rows.values().sum();
    let megabytes = replay.bytes_total() as f64 / 1e6;
    println!(
        "{total} rows in {steps} steps and {seconds:.2} s: {:.0} rows/s, {:.1} MB/s on the disk",
        total as f64 / seconds,
        megabytes / seconds
    );
    rows
}

#[test]
fn a_recorded_day_is_read_whole() {
    let Some(folder) = trainticket() else { return };
    for name in ["traces.jsonl.gz", "metrics.jsonl.gz", "logs.jsonl.gz"] {
        print!("{name}: ");
        count(&[folder.join(name)], ReplayOptions::at(NOW_NS));
    }
    for batch_rows in [8192, 100] {
        print!("all, batches of {batch_rows}: ");
        let rows =
            count(std::slice::from_ref(&folder), ReplayOptions { batch_rows, ..ReplayOptions::at(NOW_NS) });
        assert_eq!(rows[&Table::Spans], 328_848);
        assert_eq!(rows[&Table::Metrics], 767_559);
        assert_eq!(rows[&Table::Logs], 168_642 - 45);
        // Log records before 1970, and faults.json, a document that is no telemetry.
        assert_eq!(rows[&Table::IngestErrors], 45 + 1);
    }
}

#[test]
fn a_recorded_day_comes_back_from_parquet() {
    let Some(folder) = trainticket() else { return };
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("spans.parquet");
    let zstd = Compression::ZSTD(ZstdLevel::try_new(1).unwrap());
    let properties = WriterProperties::builder().set_compression(zstd).build();
    let schema = Table::Spans.schema();
    let mut writer = ArrowWriter::try_new(File::create(&path).unwrap(), schema, Some(properties)).unwrap();
    let replay = Replay::open(&[folder.join("traces.jsonl.gz")], ReplayOptions::at(NOW_NS)).unwrap();
    for step in replay {
        for batch in step.batches.iter().filter(|batch| batch.table == Table::Spans) {
            writer.write(&batch.rows).unwrap();
        }
    }
    writer.close().unwrap();

    let needed = [
        "trace_id",
        "span_id",
        "parent_span_id",
        "service_name",
        "name",
        "started_at",
        "duration_ns",
        "status_code",
    ];
    let needed = BTreeMap::from([(Table::Spans, needed.map(str::to_owned).to_vec())]);
    for (what, columns) in [("16 columns", None), ("8 columns", Some(needed))] {
        print!("{what} of Parquet: ");
        let rows = count(std::slice::from_ref(&path), ReplayOptions { columns, ..ReplayOptions::at(NOW_NS) });
        assert_eq!(rows, BTreeMap::from([(Table::Spans, 328_848)]));
    }
}
