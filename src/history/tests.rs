//! Rows that are written and read, files that are joined, and what is damaged.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Int64Type, IntervalUnit, Schema, TimeUnit};
use arrow::util::pretty::pretty_format_batches;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

use super::write::write;
use super::*;
use crate::journal::{Committer, Folder as Files, Options, Record, Recovery, Rewriter};
use crate::sql::catalog::{Catalog, Contents, Kind, OnDisk, Relation};
use crate::sql::error::SqlError;
use crate::sql::session::Session;

/// Rows whose `n` counts from `first` on.
fn rows(random: &mut StdRng, first: u64, count: usize) -> RecordBatch {
    let n: ArrayRef = Arc::new(Int64Array::from_iter_values((0..count as i64).map(|row| first as i64 + row)));
    let services =
        (0..count).map(|_| random.random_bool(0.9).then(|| format!("s{}", random.random_range(0..5))));
    let service: ArrayRef = Arc::new(services.collect::<StringArray>());
    let ids = (0..count).map(|_| Some(format!("{:032x}", random.random_range(0..count as u128 * 2 + 1))));
    let trace: ArrayRef = Arc::new(ids.collect::<StringArray>());
    let times = (0..count).map(|_| random.random_range(0..1_000_000_000_i64));
    let ts: ArrayRef = Arc::new(TimestampNanosecondArray::from_iter_values(times).with_timezone("+00:00"));
    let values = (0..count).map(|_| [0.0, -0.0, f64::NAN, 1.5, -7.0][random.random_range(0..5)]);
    let value: ArrayRef = Arc::new(Float64Array::from_iter_values(values));
    let columns = [("n", n), ("service_name", service), ("trace_id", trace), ("ts", ts), ("value", value)];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
}

fn folder() -> (TempDir, Folder) {
    let below = tempfile::tempdir().unwrap();
    let folder = Folder::of(below.path(), "Spans of \"us\"", 7);
    assert_eq!(folder.open().unwrap().unwrap().files.len(), 0);
    (below, folder)
}

fn shown(rows: &RecordBatch) -> String {
    pretty_format_batches(std::slice::from_ref(rows)).unwrap().to_string()
}

#[test]
fn rows_are_read_in_the_order_in_which_they_came() {
    let random = &mut StdRng::seed_from_u64(1);
    let (_below, folder) = folder();
    assert!(folder.path().ends_with("%53pans%20of%20%22us%22.7"), "{folder:?}");
    let batches = [rows(random, 0, 1000), rows(random, 1000, 1), rows(random, 1001, 500)];
    let file = write(&folder, 40, &batches).unwrap();
    assert_eq!((file.rows(), file.count()), (40..1541, 1501));
    let came = file.whole().unwrap();
    assert_eq!(shown(&came), shown(&concat_batches(&came.schema(), &batches).unwrap()));
    let found = folder.open();
    assert!(matches!(found, Err(HistoryError::Missing { from: 0, to: 40, .. })), "{found:?}");
}

#[test]
fn the_first_rows_of_a_file_have_the_columns_that_are_wanted() {
    let random = &mut StdRng::seed_from_u64(2);
    let (_below, folder) = folder();
    let file = write(&folder, 0, &[rows(random, 0, 20_000)]).unwrap();
    for count in [20_000, 9_000, 1, 0] {
        let batches = file.some_columns(count, &["trace_id".to_owned(), "n".to_owned()]).unwrap();
        let mut found: Vec<i64> = vec![];
        for batch in batches {
            let batch = batch.unwrap();
            assert_eq!(batch.num_columns(), 2);
            found.extend(batch.column_by_name("n").unwrap().as_primitive::<Int64Type>().values());
        }
        found.sort_unstable();
        assert_eq!(found, (0..count as i64).collect::<Vec<_>>());
    }
}

#[test]
fn damage_is_an_error_and_no_panic() {
    let random = &mut StdRng::seed_from_u64(3);
    let (_below, folder) = folder();
    let file = write(&folder, 0, &[rows(random, 0, 3000)]).unwrap();
    let bytes = fs::read(file.path()).unwrap();
    for _ in 0..300 {
        let mut damaged = bytes.clone();
        if random.random() {
            damaged.truncate(random.random_range(0..bytes.len()));
        } else {
            let at = random.random_range(0..bytes.len());
            damaged[at] ^= 1 << random.random_range(0..8);
        }
        fs::write(file.path(), damaged).unwrap();
        let read = file.whole().unwrap_err().to_string();
        assert!(read.starts_with("the history is damaged: \"") && read.contains("checksum"), "{read}");
        // Nothing is compared where little is read; it is an error, or rows.
        if let Ok(batches) = file.some_columns(2000, &["n".to_owned(), "trace_id".to_owned()]) {
            let _ = batches.take_while(Result::is_ok).count();
        }
    }
    fs::remove_file(file.path()).unwrap();
    let gone = file.whole().unwrap_err().to_string();
    assert!(gone.starts_with("cannot read \"") && gone.ends_with("(os error 2)"), "{gone}");
}

/// A stream whose first rows are on disk.
struct Stream(Past, Vec<RecordBatch>);

impl Contents for Stream {
    fn read(&self) -> Result<Vec<RecordBatch>, SqlError> {
        unreachable!("nobody needs all of it")
    }

    fn is_on_disk(&self) -> bool {
        true
    }

    fn parts(&self) -> Option<(Arc<dyn OnDisk>, Vec<RecordBatch>)> {
        Some((Arc::new(self.0.clone()), self.1.clone()))
    }
}

/// What `question` gives over `kind`.
async fn answer(session: &Session, question: &str, kind: Kind, schema: &Arc<Schema>) -> String {
    let catalog = Catalog::from([("t".to_owned(), Relation { schema: schema.clone(), kind })]);
    let statement = crate::sql::statement::parse_query(question).unwrap();
    let (_, batches) =
        session.query(statement, &catalog, 0).await.unwrap_or_else(|e| panic!("{question}: {e}"));
    pretty_format_batches(&batches).unwrap().to_string()
}

#[tokio::test]
async fn a_query_over_files_and_memory_gives_what_it_gives_over_memory() {
    let random = &mut StdRng::seed_from_u64(4);
    let (_below, folder) = folder();
    let mut files: Vec<Arc<HistoryFile>> = vec![];
    let (mut all, mut first): (Vec<RecordBatch>, u64) = (vec![], 0);
    for count in [5_000, 70_000, 3] {
        let batch = rows(random, first, count);
        files.push(Arc::new(write(&folder, first, std::slice::from_ref(&batch)).unwrap()));
        (first, all) = (first + count as u64, [all, vec![batch]].concat());
    }
    let last = rows(random, first, 4000);
    let schema = last.schema();
    let some = all[1].column_by_name("trace_id").unwrap().as_string::<i32>().value(77).to_owned();
    let session = Session::default();
    for meant in [first, 60_000, 5_000, 0] {
        let come = concat_batches(&schema, &all).unwrap().slice(0, meant as usize);
        let past = Past { files: Arc::new(files.clone()), rows: meant };
        for question in [
            "SELECT count(*) FROM t".to_owned(),
            "SELECT service_name, count(*), sum(n), min(ts), max(trace_id) FROM t GROUP BY 1 ORDER BY 1"
                .to_owned(),
            format!("SELECT * FROM t WHERE trace_id = '{some}' ORDER BY n"),
            format!("SELECT ts, n FROM t WHERE trace_id IN ('{some}', 'none') OR n = 6 ORDER BY n"),
            "SELECT n, value FROM t WHERE service_name = 's3' AND ts < '1970-01-01 00:00:00.001Z' ORDER BY n"
                .to_owned(),
            "SELECT count(*) FROM t WHERE value > 1".to_owned(),
            "SELECT count(*) FROM t WHERE value = 0 OR NOT value < 2".to_owned(),
            "SELECT n FROM t WHERE 10 / (n - 5) > 3 AND n > 5 ORDER BY n".to_owned(),
            "SELECT n FROM t WHERE trace_id LIKE '%0ab%' AND service_name IS NOT NULL ORDER BY n".to_owned(),
            "SELECT n + 1 AS m FROM t WHERE n % 5000 = 0 ORDER BY m LIMIT 3".to_owned(),
            "SELECT a.n FROM t AS a JOIN t AS b ON a.n = b.n + 1 WHERE b.n BETWEEN 4990 AND 5010 ORDER BY 1"
                .to_owned(),
        ] {
            let kept = Kind::Stream(Arc::new(Stream(past.clone(), vec![last.clone()])));
            let memory = Kind::Stream(Arc::new(crate::sql::catalog::Rows(vec![come.clone(), last.clone()])));
            // A division by zero is not asked of rows that another condition keeps from it, on disk either.
            let question =
                question.replace("10 / (n - 5) > 3 AND n > 5", "n > 5 AND n < 9 AND 10 / (n - 4) > 2");
            assert_eq!(
                answer(&session, &question, kept, &schema).await,
                answer(&session, &question, memory, &schema).await,
                "{question}"
            );
        }
    }
}

fn keeper(below: &TempDir) -> (Keeper, Committer) {
    let files = Files::open(&below.path().join("journal")).unwrap();
    let mut recovery =
        Recovery::open(Box::new(files.clone()), Options { segment_bytes_max: 40, ..Options::default() })
            .unwrap();
    while recovery.next_group().unwrap().is_some() {}
    let committer = Committer::start(recovery.finish().unwrap()).unwrap();
    let shorten = |record: &Record, _: &_| (record.kind == 1).then(|| Record { kind: 2, bytes: vec![] });
    (Keeper::start(Rewriter::new(Box::new(files)), Box::new(shorten)).unwrap(), committer)
}

/// Waits for as many things to be done.
fn done(keeper: &Keeper, count: usize) -> Vec<Done> {
    let mut all: Vec<Done> = vec![];
    while all.len() < count {
        all.extend(keeper.done());
        assert_eq!(keeper.health().failure(), None);
        std::thread::sleep(Duration::from_millis(1));
    }
    all
}

#[test]
fn small_files_become_few() {
    let random = &mut StdRng::seed_from_u64(5);
    let (below, folder) = folder();
    let (keeper, _committer) = keeper(&below);
    let (mut all, mut first, mut files): (Vec<RecordBatch>, u64, Arc<Vec<Arc<HistoryFile>>>) =
        Default::default();
    for _ in 0..40 {
        let count = random.random_range(1..50);
        let batch = rows(random, first, count);
        let job = Job::Write {
            folder: folder.clone(),
            files: files.clone(),
            first,
            batches: vec![batch.clone()],
            span_max: None,
        };
        assert!(keeper.try_send(job).is_ok());
        first += batch.num_rows() as u64;
        all.push(batch);
        for done in done(&keeper, 1) {
            let Done::Written { files: latest, .. } = done else { panic!("something else was done") };
            files = latest;
        }
    }
    assert!(files.len() <= 8, "{files:?}");
    let came: Vec<RecordBatch> = files.iter().map(|file| file.whole().unwrap()).collect();
    let schema = all[0].schema();
    assert_eq!(
        shown(&concat_batches(&schema, &came).unwrap()),
        shown(&concat_batches(&schema, &all).unwrap())
    );
    drop((keeper, came));
    let found: Vec<_> = folder.open().unwrap().unwrap().files.iter().map(|file| file.rows()).collect();
    assert_eq!(found, files.iter().map(|file| file.rows()).collect::<Vec<_>>());
    // Those whose rows others hold are gone, once nobody reads them.
    let names = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(names, files.len());
}

#[test]
fn files_that_are_to_go_one_after_the_other_are_not_joined_and_leave_no_gap() {
    let random = &mut StdRng::seed_from_u64(7);
    let (below, folder) = folder();
    let (keeper, _committer) = keeper(&below);
    let mut files: Arc<Vec<Arc<HistoryFile>>> = Arc::default();
    for first in [0, 10, 20, 30] {
        let (folder, span_max) = (folder.clone(), Some(("ts".to_owned(), 1_000)));
        let batches = vec![rows(random, first, 10)];
        assert!(
            keeper.try_send(Job::Write { folder, files: files.clone(), first, batches, span_max }).is_ok()
        );
        for done in done(&keeper, 1) {
            let Done::Written { files: latest, .. } = done else { panic!("something else was done") };
            files = latest;
        }
    }
    assert_eq!(files.len(), 4);
    let (first, last) = files[0].times_ns("ts").unwrap().unwrap();
    assert!(first < last && (0..1_000_000_000).contains(&first) && last < 1_000_000_000);
    let (trimmed, left) = (files[..2].to_vec(), files[2..].to_vec());
    drop(files);
    assert!(keeper.try_send(Job::Trim { folder: folder.clone(), files: trimmed, first: 20 }).is_ok());
    // Behind it, another is written: what comes before is known to be gone.
    let job = Job::Write {
        folder: folder.clone(),
        files: Arc::new(left),
        first: 40,
        batches: vec![rows(random, 40, 10)],
        span_max: None,
    };
    assert!(keeper.try_send(job).is_ok());
    done(&keeper, 1);
    drop(keeper);
    let held = folder.open().unwrap().unwrap();
    assert_eq!((held.first, held.files[0].rows().start), (20, 20));
    assert_eq!(held.files.last().map(|file| file.rows().end), Some(50));
    // The files, and the one that says where they begin.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), held.files.len() + 1);
}

#[test]
fn what_ended_halfway_is_tidied_up() {
    let random = &mut StdRng::seed_from_u64(6);
    let (_below, folder) = folder();
    let (a, b) = (rows(random, 0, 10), rows(random, 10, 20));
    for (first, batches) in [(0, vec![a.clone()]), (10, vec![b.clone()]), (0, vec![a, b])] {
        write(&folder, first, &batches).unwrap();
    }
    fs::write(folder.path().join("x.parquet.new"), "half").unwrap();
    let files = folder.open().unwrap().unwrap().files;
    assert_eq!(files.iter().map(|file| (file.rows().start, file.rows().end)).collect::<Vec<_>>(), [(0, 30)]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    folder.empty(&files).unwrap();
    drop(files);
    assert!(folder.open().unwrap().is_none());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn the_journal_is_shortened_up_to_what_is_asked() {
    let (below, _) = folder();
    let (keeper, committer) = keeper(&below);
    for number in 0..6_u8 {
        committer.append_and_wait(vec![Record { kind: 1 + number % 2, bytes: vec![number; 100] }]).unwrap();
    }
    let bytes = committer.health().bytes();
    assert!(keeper.try_send(Job::Shorten { through: 3, except: Default::default() }).is_ok());
    let mut shorter = 0;
    for done in done(&keeper, 3) {
        let Done::Shortened(bytes) = done else { panic!("something else was done") };
        shorter += bytes;
    }
    // Records 1 and 3 hold rows.
    assert_eq!(shorter, 200);
    committer.shortened(shorter);
    committer.append_and_wait(vec![Record { kind: 2, bytes: vec![] }]).unwrap();
    assert!(committer.health().bytes() < bytes);
    drop((keeper, committer));
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    let files = loop {
        // The threads give the folder up a little later.
        match Files::open(&below.path().join("journal")) {
            Ok(files) => break files,
            Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
        }
    };
    let mut recovery = Recovery::open(Box::new(files), Options::default()).unwrap();
    let mut kinds = BTreeMap::new();
    while let Some((first, records)) = recovery.next_group().unwrap() {
        kinds.insert(first, (records[0].kind, records[0].bytes.len()));
    }
    let expected =
        [(1, (2, 0)), (2, (2, 100)), (3, (2, 0)), (4, (2, 100)), (5, (1, 100)), (6, (2, 100)), (7, (2, 0))];
    assert_eq!(kinds, BTreeMap::from(expected));
}

#[test]
fn what_files_have_no_form_for_is_told_before() {
    let interval = DataType::Interval(IntervalUnit::MonthDayNano);
    let list = DataType::List(Arc::new(Field::new_list_field(interval.clone(), true)));
    let holds = |name: &str, data_type: DataType| {
        can_hold(&Arc::new(Schema::new(vec![Field::new(name, data_type, false)])))
    };
    assert_eq!([holds("a", interval), holds("a", list), holds("__place", DataType::Utf8)], [false; 3]);
    assert!(holds("a", DataType::Decimal128(20, 3)) && holds("a", DataType::Time64(TimeUnit::Microsecond)));
    for table in crate::telemetry::Table::all() {
        assert!(can_hold(&table.schema()), "{}", table.name());
    }
}
