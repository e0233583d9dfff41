//! Rows to a file.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, new_null_array};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::scalar::ScalarValue;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::file::name_of;
use super::folder::UNFINISHED;
use super::order::{is_place, sorted};
use super::{Folder, HistoryError, HistoryFile};
use crate::delta::expression::guarded;
use crate::fault;

/// The most rows of a file: there is a number of 32 bits for each.
pub const FILE_ROWS_MAX: u64 = u32::MAX as u64;

/// Rows of a row group: what a query reads at least of a column.
const ROW_GROUP_ROWS: usize = 65_536;

/// Of zstd.
const COMPRESSION_LEVEL: i32 = 3;

/// Bytes of the different values of a column in a row group up to which each is written once.
const DICTIONARY_BYTES_MAX: usize = 4 << 20;

/// Columns by whose values single rows are looked for.
const IDS: [&str; 2] = ["trace_id", "span_id"];

/// How often a Bloom filter says that an id may be there that is not.
const FALSE_POSITIVES: f64 = 0.01;

/// Whether there is a form for rows with `schema`.
pub fn can_hold(schema: &SchemaRef) -> bool {
    let written = guarded(|| {
        // The writer meets a type that it does not know when it has a value of it.
        let mut columns: Vec<(String, ArrayRef)> = vec![];
        for field in schema.fields() {
            columns.push((field.name().clone(), new_null_array(field.data_type(), 1)));
            for leaf in leaves(field.data_type()) {
                let value = ScalarValue::new_default(leaf)?.to_array_of_size(1)?;
                columns.push((format!("{} {}", field.name(), columns.len()), value));
            }
        }
        let columns = columns.into_iter().map(|(name, column)| (name, column, true));
        Ok(encode(&sorted(&RecordBatch::try_from_iter_with_nullable(columns)?)?)?)
    });
    !is_place(schema) && written.is_ok()
}

/// The types of the values that those of `data_type` are made of.
fn leaves(data_type: &DataType) -> Vec<&DataType> {
    match data_type {
        DataType::List(of)
        | DataType::LargeList(of)
        | DataType::FixedSizeList(of, _)
        | DataType::Map(of, _) => leaves(of.data_type()),
        DataType::Struct(fields) => fields.iter().flat_map(|field| leaves(field.data_type())).collect(),
        other => vec![other],
    }
}

/// Writes `batches`, whose first row is number `first`, to a file of `folder`, and returns once it is durable.
///
/// # Errors
///
/// No file is there then.
pub(super) fn write(
    folder: &Folder,
    first: u64,
    batches: &[RecordBatch],
) -> Result<HistoryFile, HistoryError> {
    let count: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let rows = first..first + count as u64;
    let failed = |reason: String| HistoryError::Rows {
        file: folder.path().display().to_string(),
        from: rows.start,
        to: rows.end,
        reason,
    };
    let Some(batch) = batches.first() else { return Err(failed("there are none".to_owned())) };
    if count as u64 > FILE_ROWS_MAX {
        return Err(failed(format!("a file has {FILE_ROWS_MAX} rows at most")));
    }
    let bytes = guarded(|| Ok(encode(&sorted(&concat_batches(&batch.schema(), batches)?)?)?));
    let bytes = bytes.map_err(|error| failed(error.to_string()))?;
    let path = folder.path().join(name_of(&rows, crc32fast::hash(&bytes)));
    let mut unfinished = path.clone().into_os_string();
    unfinished.push(UNFINISHED);
    let unfinished = PathBuf::from(unfinished);
    let io = |action| {
        let unfinished = &unfinished;
        move |error| HistoryError::file(action, unfinished, &error)
    };
    let mut file = File::create(&unfinished).map_err(io("create"))?;
    fault::point("history.writing");
    let written = file.write_all(&bytes).map_err(io("write")).and_then(|()| {
        file.sync_all().map_err(io("sync"))?;
        fs::rename(&unfinished, &path).map_err(io("rename"))
    });
    written.inspect_err(|_| drop(fs::remove_file(&unfinished)))?;
    folder.sync()?;
    fault::point("history.written");
    let missing = || HistoryError::file("find", &path, &io::ErrorKind::NotFound.into());
    HistoryFile::at(path.clone())?.ok_or_else(missing)
}

/// The bytes of a file of `rows`.
fn encode(rows: &RecordBatch) -> Result<Vec<u8>, ParquetError> {
    let mut writer = ArrowWriter::try_new(vec![], rows.schema(), Some(properties(rows)?))?;
    writer.write(rows)?;
    writer.into_inner()
}

/// How `rows` are written.
fn properties(rows: &RecordBatch) -> Result<WriterProperties, ParquetError> {
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(COMPRESSION_LEVEL)?))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_dictionary_page_size_limit(DICTIONARY_BYTES_MAX)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_created_by("undercurrent".to_owned());
    for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
        let path = ColumnPath::from(field.name().as_str());
        if matches!(field.data_type(), DataType::Timestamp(..) | DataType::Int64 | DataType::UInt32) {
            // Neighbours are near each other, and hardly ever equal.
            builder = builder
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path.clone(), Encoding::DELTA_BINARY_PACKED);
        }
        if IDS.contains(&field.name().as_str()) && *field.data_type() == DataType::Utf8 {
            let texts = column.as_string::<i32>().iter().take(ROW_GROUP_ROWS).flatten();
            let different = texts.collect::<HashSet<_>>().len();
            builder = builder
                // Where nearly each is another there is nothing to write once.
                .set_column_dictionary_enabled(path.clone(), different * 2 < column.len().min(ROW_GROUP_ROWS))
                .set_column_bloom_filter_enabled(path.clone(), true)
                .set_column_bloom_filter_fpp(path.clone(), FALSE_POSITIVES)
                .set_column_bloom_filter_max_ndv(path, different.max(1) as u64);
        }
    }
    Ok(builder.build())
}

/// The file that holds the rows of `files`, which follow each other, in their place.
///
/// # Errors
///
/// They stay as they are then.
pub(super) fn join(folder: &Folder, files: &[&Arc<HistoryFile>]) -> Result<HistoryFile, HistoryError> {
    let rows: Vec<RecordBatch> = files.iter().map(|file| file.whole()).collect::<Result<_, _>>()?;
    let first = files.first().map_or(0, |file| file.rows().start);
    let joined = write(folder, first, &rows)?;
    files.iter().for_each(|file| file.replaced());
    Ok(joined)
}
