//! Parquet files of our tables, and of tables much like them.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use expect_test::expect;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use rand::prelude::*;

use super::support::*;
use crate::ingest::{IngestError, Replay};
use crate::telemetry::Table;

/// The spans of these seconds as the decoder makes them.
fn decoded(seconds: &[i64]) -> RecordBatch {
    let files = folder(&[("x.jsonl", line(&spans("x", seconds)))]);
    rows_of(&steps(&[files.path().into()], options()), Table::Spans).unwrap()
}

/// `rows` as a Parquet file of row groups of 100 rows.
fn write_parquet(path: &Path, rows: &RecordBatch) {
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(100)).build();
    let mut writer =
        ArrowWriter::try_new(File::create(path).unwrap(), rows.schema(), Some(properties)).unwrap();
    writer.write(rows).unwrap();
    writer.close().unwrap();
}

fn parquet(rows: &RecordBatch) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_parquet(&folder.path().join("x.parquet"), rows);
    folder
}

/// `rows` with another column in the place of `name`; `None` leaves it out, a new name is added at the end.
fn with(rows: &RecordBatch, name: &str, column: Option<ArrayRef>) -> RecordBatch {
    let mut columns: Vec<(String, ArrayRef)> = Vec::new();
    for (field, old) in rows.schema().fields().iter().zip(rows.columns()) {
        if field.name() != name {
            columns.push((field.name().clone(), old.clone()));
        } else if let Some(new) = &column {
            columns.push((name.to_owned(), new.clone()));
        }
    }
    if let Some(new) = column.filter(|_| rows.column_by_name(name).is_none()) {
        columns.push((name.to_owned(), new));
    }
    let fields: Vec<Field> =
        columns.iter().map(|(n, c)| Field::new(n, c.data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, c)| c).collect())
        .unwrap()
}

fn times_of(times: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(TimestampNanosecondArray::from_iter(times).with_timezone("+00:00"))
}

#[test]
fn a_table_comes_back_as_it_was_written() {
    let seconds: Vec<i64> = (0..1000).collect();
    let rows = decoded(&seconds);
    let files = parquet(&rows);
    for batch_rows in [1, 7, 8192] {
        let mut options = options();
        options.batch_rows = batch_rows;
        let steps = steps(&[files.path().into()], options);
        assert_eq!(rows_of(&steps, Table::Spans).unwrap(), rows);
        assert_eq!(errors(&steps), "");
        assert_eq!(steps.last().unwrap().clock_ns, Some(START_NS + 999 * SECOND_NS));
    }
}

#[test]
fn parquet_is_merged_with_other_files() {
    let files = parquet(&decoded(&[0, 5, 6, 9]));
    write(files.path(), "y.jsonl", span_lines("y", &[3, 7]));
    assert_eq!(span_seconds(&steps(&[files.path().into()], options())), [0, 3, 5, 6, 7, 9]);
}

#[test]
fn only_the_columns_needed_are_delivered() {
    let rows = decoded(&[0, 1, 2]);
    let files = parquet(&rows);
    let needed = |columns: &[&str]| {
        let mut options = options();
        options.columns =
            Some([(Table::Spans, columns.iter().map(|name| name.to_string()).collect())].into());
        let steps = steps(&[files.path().into()], options);
        assert_eq!(steps.last().unwrap().clock_ns, Some(START_NS + 2 * SECOND_NS));
        assert_eq!(steps[0].batches[0].event_time_ns, Some((START_NS, START_NS + 2 * SECOND_NS)));
        assert_eq!(errors(&steps), "");
        rows_of(&steps, Table::Spans).unwrap()
    };
    // In the order of the table, whatever the order they are named in.
    assert_eq!(needed(&["duration_ns", "started_at", "name"]), rows.project(&[5, 7, 9]).unwrap());
    assert_eq!(needed(&["duration_ns", "name"]), rows.project(&[5, 9]).unwrap());
    assert_eq!(needed(&["attributes"]), rows.project(&[14]).unwrap());
    assert_eq!(needed(&[]).num_rows(), 3);
    assert_eq!(needed(&[]).num_columns(), 0);
}

#[test]
fn a_column_not_needed_may_have_any_type() {
    let rows = decoded(&[0]);
    let files = parquet(&with(&rows, "duration_ns", Some(Arc::new(StringArray::from(vec!["5 ms"])))));
    let mut options = options();
    options.columns = Some([(Table::Spans, vec!["name".to_owned()])].into());
    assert_eq!(span_names(&steps(&[files.path().into()], options)), ["x"]);
}

fn span_names(steps: &[crate::ingest::Step]) -> Vec<String> {
    let rows = rows_of(steps, Table::Spans).unwrap();
    let names = rows.column_by_name("name").unwrap().as_string::<i32>();
    names.iter().flatten().map(str::to_owned).collect()
}

#[test]
fn missing_and_extra_columns_are_borne() {
    let rows = decoded(&(0..250).collect::<Vec<_>>());
    let mut file = with(&rows, "service_name", None);
    file = with(&file, "color", Some(Arc::new(StringArray::from(vec!["red"; 250]))));
    file = with(&file, "weight", Some(Arc::new(Int64Array::from(vec![1; 250]))));
    let files = parquet(&file);
    let steps = steps(&[files.path().into()], options());
    assert_eq!(rows_of(&steps, Table::Spans).unwrap(), rows);
    expect![[r#"
        x.parquet columns: table "spans" has no such columns, 2 ignored: "color", "weight"
    "#]]
    .assert_eq(&errors(&steps));
}

#[test]
fn variants_of_a_type_are_cast() {
    let rows = decoded(&[0, 1, 2]);
    let as_type = |file: &RecordBatch, name: &str, data_type: DataType| {
        let column = cast(file.column_by_name(name).unwrap(), &data_type).unwrap();
        with(file, name, Some(column))
    };
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let mut file = as_type(&rows, "name", dictionary);
    file = as_type(&file, "trace_id", DataType::LargeUtf8);
    file = as_type(&file, "span_id", DataType::Utf8View);
    file = as_type(&file, "started_at", DataType::Timestamp(TimeUnit::Microsecond, None));
    file =
        as_type(&file, "ended_at", DataType::Timestamp(TimeUnit::Nanosecond, Some("Europe/Berlin".into())));
    file = as_type(&file, "duration_ns", DataType::UInt32);
    let files = parquet(&file);
    let steps = steps(&[files.path().into()], options());
    assert_eq!(errors(&steps), "");
    assert_eq!(rows_of(&steps, Table::Spans).unwrap(), rows);
}

#[test]
fn columns_of_another_kind_are_refused() {
    let rows = decoded(&[0]);
    let refused = |file: RecordBatch| {
        let files = parquet(&file);
        let error = Replay::open(&[files.path().into()], options()).err().expect("it should be refused");
        assert!(matches!(error, IngestError::ParquetColumn { .. } | IngestError::ParquetTable { .. }));
        error.to_string().replace(&files.path().display().to_string(), "")
    };
    expect![[r#"
        "/x.parquet" has column "duration_ns" as Utf8, but table "spans" has it as Int64. Cast it to that
        "/x.parquet" has column "started_at" as Int64, but table "spans" has it as Timestamp(ns, "+00:00"). Cast it to that
        "/x.parquet" fits no table: "spans", the nearest, needs the missing column "span_id"
    "#]]
    .assert_eq(&format!(
        "{}\n{}\n{}\n",
        refused(with(&rows, "duration_ns", Some(Arc::new(StringArray::from(vec!["5 ms"]))))),
        refused(with(&rows, "started_at", Some(Arc::new(Int64Array::from(vec![START_NS]))))),
        refused(with(&rows, "span_id", None)),
    ));
}

#[test]
fn rows_without_a_time_in_the_limits_are_counted() {
    let rows = decoded(&[0, 1, 2, 3, 4]);
    let second = |second: i64| Some(START_NS + second * SECOND_NS);
    let times = times_of([second(0), None, Some(-5), second(3), Some(i64::MAX)]);
    let files = parquet(&with(&rows, "started_at", Some(times)));
    let steps = steps(&[files.path().into()], options());
    assert_eq!(span_seconds(&steps), [0, 3]);
    expect![[r#"
        x.parquet:1 rows: 1 of 5 rows have no value in column "started_at": they are left out
        x.parquet:1 rows: 2 of 4 rows have a started_at not in 946684800000000000..=1700086460000000000 ns: they are left out
    "#]]
    .assert_eq(&errors(&steps));

    let none = parquet(&with(&rows, "started_at", Some(times_of([None; 5]))));
    assert_eq!(span_seconds(&super::support::steps(&[none.path().into()], options())), [0; 0]);
}

#[test]
fn values_that_do_not_fit_are_counted() {
    let rows = decoded(&[0, 1]);
    let huge = arrow::array::UInt64Array::from(vec![u64::MAX, 5]);
    let files = parquet(&with(&rows, "duration_ns", Some(Arc::new(huge))));
    let steps = steps(&[files.path().into()], options());
    assert_eq!(span_seconds(&steps), [1]);
    expect![[r#"
        x.parquet:1 columns: 1 of 2 values of column "duration_ns" do not fit Int64: they are null
        x.parquet:1 rows: 1 of 2 rows have no value in column "duration_ns": they are left out
    "#]]
    .assert_eq(&errors(&steps));
}

#[test]
fn a_damaged_row_group_costs_its_own_rows() {
    let rows = decoded(&(0..300).collect::<Vec<_>>());
    let files = parquet(&rows);
    let path = files.path().join("x.parquet");
    let mut bytes = std::fs::read(&path).unwrap();
    let reader = parquet::file::reader::SerializedFileReader::new(File::open(&path).unwrap()).unwrap();
    let group = parquet::file::reader::FileReader::metadata(&reader).row_group(1);
    let (start, length) = group.column(0).byte_range();
    bytes[start as usize..(start + length) as usize].fill(0xff);
    std::fs::write(&path, &bytes).unwrap();
    let steps = steps(&[files.path().into()], options());
    assert_eq!(span_seconds(&steps), (0..100).chain(200..300).collect::<Vec<_>>());
    let errors = errors(&steps);
    assert!(errors.starts_with("x.parquet:101 file: row group 1 cannot be read: "), "{errors}");
    assert!(errors.ends_with("Its last 100 rows are skipped\n"), "{errors}");
}

#[test]
fn a_file_without_its_footer_is_told_and_others_are_read() {
    let files = parquet(&decoded(&[0]));
    let path = files.path().join("x.parquet");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 10]).unwrap();
    write(files.path(), "y.jsonl", span_lines("y", &[3]));
    let steps = steps(&[files.path().into()], options());
    assert_eq!(span_seconds(&steps), [3]);
    assert!(errors(&steps).starts_with("x.parquet file: cannot be read as parquet: "));
}

#[test]
fn flipped_bytes_never_stop_a_replay() {
    let mut random = StdRng::seed_from_u64(3);
    let files = parquet(&decoded(&(0..250).collect::<Vec<_>>()));
    let path = files.path().join("x.parquet");
    let good = std::fs::read(&path).unwrap();
    for round in 0..400 {
        let mut bytes = good.clone();
        for _ in 0..random.random_range(1..5) {
            // Half of them in the footer, where a byte decides more.
            let first = if round % 2 == 0 { bytes.len() * 9 / 10 } else { 0 };
            let at = random.random_range(first..bytes.len());
            bytes[at] = random.random();
        }
        std::fs::write(&path, &bytes).unwrap();
        // A footer may be changed into that of a file which fits no table.
        let Ok(mut replay) = Replay::open(std::slice::from_ref(&path), options()) else { continue };
        while replay.next().is_some() {}
    }
}
