//! Checkpoints come back as they were, or not at all.

use std::fs;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use tempfile::TempDir;

use super::*;
use crate::delta::updates::Run;

fn batch(values: &[i64]) -> RecordBatch {
    let numbers: ArrayRef = Arc::new(Int64Array::from(values.to_vec()));
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(values.iter().map(i64::to_string)));
    RecordBatch::try_from_iter([("n", numbers), ("t", texts)]).unwrap()
}

fn contents(tick: u64) -> Contents {
    let key = OperatorKey { dataflow: 3, node: 1 };
    let losses = Losses { late_rows: 7, expired_rows: 0 };
    Contents {
        tick,
        reach_ms: 1_000,
        views: vec![ViewContents {
            name: "v".to_owned(),
            definition: "d".to_owned(),
            operators: vec![(key, losses)],
            rows: vec![(batch(&[1, 2]), Run::from_vec(vec![1, 2])), (batch(&[3]), Run::Constant(4))],
            errors: vec![],
        }],
        operators: vec![(key, vec![batch(&[4]), batch(&[])])],
        sinks: vec![SinkContents {
            id: 9,
            failure: Some("too much".to_owned()),
            open: vec![(batch(&[5]), Run::Constant(-1))],
        }],
    }
}

fn check(saved: &Saved, tick: u64) {
    let expected = contents(tick);
    assert_eq!((saved.tick(), saved.from_tick()), (tick, tick - 1_000));
    assert!(saved.view("v", "other").is_none() && saved.view("w", "d").is_none());
    let view = saved.view("v", "d").unwrap();
    assert_eq!(view.operators, expected.views[0].operators);
    assert_eq!(saved.rows(view).unwrap(), expected.views[0].rows);
    assert!(saved.errors(view).unwrap().is_empty());
    let (key, state) = &expected.operators[0];
    assert_eq!(saved.state(*key).unwrap().as_ref(), Some(state));
    assert!(saved.state(OperatorKey { dataflow: 3, node: 2 }).unwrap().is_none());
    let sink = saved.sink(9).unwrap();
    assert_eq!(sink.failure.as_deref(), Some("too much"));
    assert_eq!(saved.open_rows(sink).unwrap(), expected.sinks[0].open);
}

#[test]
fn what_is_written_counts_once_it_is_in_place() {
    let root = TempDir::new().unwrap();
    let (folder, none) = Folder::open(root.path()).unwrap();
    assert!(none.is_none());
    folder.write(&contents(5_000)).unwrap();
    assert!(Folder::open(root.path()).unwrap().1.is_none(), "it was not in place, and is gone");
    folder.write(&contents(5_000)).unwrap();
    folder.commit(5_000).unwrap();
    let first = Folder::open(root.path()).unwrap().1.unwrap();
    check(&first, 5_000);
    folder.write(&contents(6_000)).unwrap();
    check(&Folder::open(root.path()).unwrap().1.unwrap(), 5_000);
    folder.write(&contents(6_000)).unwrap();
    folder.commit(6_000).unwrap();
    // Whoever reads the one before can go on.
    check(&first, 5_000);
    check(&Folder::open(root.path()).unwrap().1.unwrap(), 6_000);
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
}

#[test]
fn a_byte_that_is_not_what_was_written_is_an_error() {
    let root = TempDir::new().unwrap();
    let (folder, _) = Folder::open(root.path()).unwrap();
    folder.write(&contents(5_000)).unwrap();
    folder.commit(5_000).unwrap();
    let read_all = || -> Result<(), CheckpointError> {
        let saved = Folder::open(root.path())?.1.expect("a checkpoint");
        let view = saved.view("v", "d").expect("a view");
        saved.rows(view)?;
        saved.errors(view)?;
        saved.state(OperatorKey { dataflow: 3, node: 1 })?;
        saved.open_rows(saved.sink(9).expect("a sink"))?;
        Ok(())
    };
    read_all().unwrap();
    for name in ["state", "manifest.json"] {
        let path = root.path().join(format!("{:020}", 5_000)).join(name);
        let whole = fs::read(&path).unwrap();
        for at in (0..whole.len()).step_by(7) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
            assert!(read_all().is_err(), "{name}, byte {at}");
        }
        for length in [0, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(read_all().is_err(), "{name}, {length} bytes");
        }
        fs::write(&path, whole).unwrap();
    }
}

#[test]
fn another_version_is_told_of() {
    let root = TempDir::new().unwrap();
    let (folder, _) = Folder::open(root.path()).unwrap();
    folder.write(&contents(5_000)).unwrap();
    folder.commit(5_000).unwrap();
    let path = root.path().join(format!("{:020}", 5_000)).join("manifest.json");
    let text = fs::read_to_string(&path).unwrap().replace("\"version\": 1", "\"version\": 2");
    let (text, _) = text.trim_end().rsplit_once('\n').unwrap();
    let text = format!("{text}\n");
    fs::write(&path, format!("{text}{:08x}\n", crc32fast::hash(text.as_bytes()))).unwrap();
    let error = Folder::open(root.path()).unwrap_err().to_string();
    assert!(error.ends_with("is of version 2, 1 can be read; use the version that wrote it"), "{error}");
}
