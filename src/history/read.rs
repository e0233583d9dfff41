//! Rows from a file.

use std::fs::File;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, Scalar, UInt32Array};
use arrow::compute::kernels::cmp::lt;
use arrow::compute::{cast, concat_batches, max, min};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit, TimestampNanosecondType, UInt32Type};
use arrow::error::ArrowError;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_reader::{
    ArrowPredicate, ArrowPredicateFn, ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder, RowFilter,
};
use parquet::file::reader::ChunkReader;

use super::order::as_they_came;
use super::{HistoryError, HistoryFile};
use crate::delta::expression::guarded;

/// Rows of a batch that is read.
const BATCH_ROWS: usize = 8192;

/// A file that is open, of which nothing but what it says of itself has been read.
pub(super) type Opened<T = File> = ParquetRecordBatchReaderBuilder<T>;

/// The batches of a file. Bytes that are not what was written are an error and no panic, though the reader of Parquet
/// meets some with one.
pub(super) struct Batches<'a> {
    file: &'a HistoryFile,
    reader: ParquetRecordBatchReader,
}

impl Iterator for Batches<'_> {
    type Item = Result<RecordBatch, HistoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = guarded(|| Ok(self.reader.next().transpose()?));
        next.map_err(|error| HistoryError::damaged(self.file.path(), error)).transpose()
    }
}

impl HistoryFile {
    /// Opens the file.
    pub(super) fn open(&self) -> Result<Opened, HistoryError> {
        let file = File::open(self.path());
        self.opened(file.map_err(|error| HistoryError::file("open", self.path(), &error))?)
    }

    fn opened<T: ChunkReader + 'static>(&self, bytes: T) -> Result<Opened<T>, HistoryError> {
        let opened = guarded(|| {
            let metadata = ArrowReaderMetadata::load(&bytes, ArrowReaderOptions::new())?;
            Ok(ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, metadata)
                .with_batch_size(BATCH_ROWS))
        });
        let opened = opened.map_err(|error| HistoryError::damaged(self.path(), error))?;
        let rows = opened.metadata().file_metadata().num_rows();
        match u64::try_from(rows) == Ok(self.count()) {
            true => Ok(opened),
            false => Err(HistoryError::damaged(self.path(), format!("it has {rows} rows"))),
        }
    }

    /// The first and the last time in the column `name`, in nanoseconds since 1970 UTC; `None` where they are not known.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn times_ns(&self, name: &str) -> Result<Option<(i64, i64)>, HistoryError> {
        let opened = self.open()?;
        let times = guarded(|| {
            let converter = StatisticsConverter::try_new(name, opened.schema(), opened.parquet_schema())?;
            let groups = opened.metadata().row_groups();
            let nanoseconds = DataType::Timestamp(TimeUnit::Nanosecond, None);
            let first = cast(&converter.row_group_mins(groups)?, &nanoseconds)?;
            let last = cast(&converter.row_group_maxes(groups)?, &nanoseconds)?;
            let is_known = first.null_count() + last.null_count() == 0;
            let first = min(first.as_primitive::<TimestampNanosecondType>());
            let last = max(last.as_primitive::<TimestampNanosecondType>());
            Ok(first.zip(last).filter(|_| is_known))
        });
        times.map_err(|error| HistoryError::damaged(self.path(), error))
    }

    /// An error where `opened` has other columns than a stream with `schema`.
    pub(super) fn check(&self, opened: &Opened, schema: &SchemaRef) -> Result<(), HistoryError> {
        let fields = opened.schema().fields();
        let is_same = fields.len() == schema.fields().len() + 1
            && schema
                .fields()
                .iter()
                .zip(fields)
                .all(|(a, b)| a.name() == b.name() && a.data_type() == b.data_type());
        if is_same { Ok(()) } else { Err(HistoryError::damaged(self.path(), "it has other columns")) }
    }

    /// The batches that `opened` gives.
    pub(super) fn batches<T: ChunkReader + 'static>(
        &self,
        opened: Opened<T>,
    ) -> Result<Batches<'_>, HistoryError> {
        let reader = guarded(|| Ok(opened.build()?));
        let reader = reader.map_err(|error| HistoryError::damaged(self.path(), error))?;
        Ok(Batches { file: self, reader })
    }

    /// The first `count` of its rows, in any order, with the columns called `names`.
    ///
    /// # Errors
    ///
    /// The iterator and its items: when the file cannot be read.
    pub fn some_columns<'a>(
        &'a self,
        count: u64,
        names: &[String],
    ) -> Result<impl Iterator<Item = Result<RecordBatch, HistoryError>> + use<'a>, HistoryError> {
        let mut opened = self.open()?;
        let schema = opened.schema().clone();
        let columns = names.iter().map(|name| schema.index_of(name)).collect::<Result<Vec<usize>, _>>();
        let columns = columns.map_err(|error| HistoryError::damaged(self.path(), error))?;
        if count < self.count() {
            let first = self.first_rows(&opened, count);
            opened = opened.with_row_filter(RowFilter::new(vec![first]));
        }
        let mask = ProjectionMask::roots(opened.parquet_schema(), columns);
        self.batches(opened.with_projection(mask))
    }

    /// A condition that the first `count` of the file's rows meet.
    pub(super) fn first_rows(&self, opened: &Opened, count: u64) -> Box<dyn ArrowPredicate> {
        let place = opened.schema().fields().len() - 1;
        let mask = ProjectionMask::roots(opened.parquet_schema(), [place]);
        let limit = Scalar::new(UInt32Array::from(vec![u32::try_from(count).unwrap_or(u32::MAX)]));
        let is_first = move |rows: RecordBatch| -> Result<BooleanArray, ArrowError> {
            lt(rows.column(0).as_primitive::<UInt32Type>(), &limit)
        };
        Box::new(ArrowPredicateFn::new(mask, is_first))
    }

    /// All rows, of a stream with `schema`, in the order in which they came.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or has other columns.
    pub fn as_they_came(&self, schema: &SchemaRef) -> Result<RecordBatch, HistoryError> {
        let rows = self.whole()?;
        rows.with_schema(schema.clone()).map_err(|error| HistoryError::damaged(self.path(), error))
    }

    /// The same with the columns that it has.
    pub(super) fn whole(&self) -> Result<RecordBatch, HistoryError> {
        let opened = self.opened(Bytes::from(self.read()?))?;
        let schema: SchemaRef = opened.schema().clone();
        let batches: Vec<RecordBatch> = self.batches(opened)?.collect::<Result<_, _>>()?;
        let rows = guarded(|| Ok(as_they_came(&concat_batches(&schema, &batches)?)?));
        rows.map_err(|error| HistoryError::damaged(self.path(), error))
    }
}
