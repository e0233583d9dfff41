//! Rows of a table from a Parquet file.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, TimestampNanosecondArray,
    new_null_array,
};
use arrow::compute::{self, filter_record_batch};
use arrow::datatypes::{Schema, SchemaRef, TimestampNanosecondType};
use arrow::error::ArrowError;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;

use super::parquet_table::TablePlan;
use super::records::kind;
use super::{IngestError, ReplayOptions};
use crate::telemetry::{Batch, Decoder, Limits, Origin};

/// Names of ignored columns that are spelled out.
const EXTRA_NAMED_MAX: usize = 10;

/// A Parquet file, read row group by row group: a damaged one costs its own rows and no others.
pub(super) struct ParquetFile {
    file: File,
    metadata: ArrowReaderMetadata,
    plan: TablePlan,
    /// The columns of `plan` with the types of the table.
    schema: SchemaRef,
    limits: Limits,
    batch_rows: usize,
    /// The file and the row, from 1, that the last batch started with.
    origin: Origin,
    /// The row group that `reader` is at is the one before it.
    next_row_group: usize,
    reader: Option<ParquetRecordBatchReader>,
    /// Rows read or given up so far, and those before the row group that is being read.
    rows_done: u64,
    rows_before_group: u64,
    rows_total: u64,
    extra_reported: bool,
}

impl ParquetFile {
    /// Reads the file's footer. The inner error says why it cannot be read, which is damage, not a mistake.
    ///
    /// # Errors
    /// The file's columns are not those of a table of ours.
    pub fn open(
        file: File,
        path: &Path,
        options: &ReplayOptions,
    ) -> Result<Result<ParquetFile, String>, IngestError> {
        let metadata = match guarded(|| ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())) {
            Ok(metadata) => metadata,
            Err(error) => return Ok(Err(format!("cannot be read as parquet: {error}"))),
        };
        let plan = TablePlan::new(path, metadata.schema(), options.columns.as_ref())?;
        let preferred = Arc::new(plan.preferred(metadata.schema()));
        let preferred = ArrowReaderOptions::new().with_schema(preferred);
        // What the reader cannot do by itself is cast afterwards.
        let metadata =
            ArrowReaderMetadata::try_new(metadata.metadata().clone(), preferred).unwrap_or(metadata);
        let rows_total = metadata.metadata().row_groups().iter().map(rows_of).fold(0, u64::saturating_add);
        let schema = Schema::new(plan.columns.iter().map(|column| column.field.clone()).collect::<Vec<_>>());
        Ok(Ok(ParquetFile {
            file,
            metadata,
            plan,
            schema: Arc::new(schema),
            limits: options.limits.clone(),
            batch_rows: options.batch_rows,
            origin: Origin { source: path.display().to_string(), position: None },
            next_row_group: 0,
            reader: None,
            rows_done: 0,
            rows_before_group: 0,
            rows_total,
            extra_reported: false,
        }))
    }

    /// How many of the file's `bytes` have been read, by the share of its rows: columns that are not needed count
    /// as read with the others.
    pub fn bytes_read(&self, bytes: u64) -> u64 {
        if self.rows_total == 0 {
            return bytes;
        }
        let read = u128::from(bytes) * u128::from(self.rows_done) / u128::from(self.rows_total);
        u64::try_from(read).unwrap_or(bytes)
    }

    /// The next rows; `None` at the end. What cannot be taken in becomes rows of `ingest_errors` in `decoder`.
    pub fn next(&mut self, decoder: &mut Decoder) -> Option<Batch> {
        self.report_extra_columns(decoder);
        loop {
            if self.reader.is_none() {
                match self.open_row_group()? {
                    Ok(reader) => self.reader = Some(reader),
                    Err(error) => self.give_up_row_group(decoder, &error),
                }
            }
            let reader = self.reader.as_mut();
            match guarded(|| Ok(reader.and_then(Iterator::next).transpose()?)) {
                Ok(None) => self.reader = None,
                Err(error) => self.give_up_row_group(decoder, &error),
                Ok(Some(rows)) => {
                    self.origin.position = Some(self.rows_done + 1);
                    self.rows_done += rows.num_rows() as u64;
                    let placed =
                        self.rows_of_table(&rows, decoder).and_then(|rows| self.placed(rows, decoder));
                    match placed {
                        Ok(Some(batch)) => return Some(batch),
                        Ok(None) => {}
                        Err(error) => {
                            let reason = format!("{} rows cannot be used: {error}", rows.num_rows());
                            decoder.reject(&self.origin, kind::ROWS, &reason, &[]);
                        }
                    }
                }
            }
        }
    }

    /// A reader of the next row group; `None` after the last.
    fn open_row_group(&mut self) -> Option<Result<ParquetRecordBatchReader, String>> {
        let index = self.next_row_group;
        let group = self.metadata.metadata().row_groups().get(index)?;
        self.rows_before_group = self.rows_done;
        self.next_row_group += 1;
        let mask = ProjectionMask::roots(group.schema_descr(), self.plan.roots.iter().copied());
        Some(guarded(|| {
            ParquetRecordBatchReaderBuilder::new_with_metadata(self.file.try_clone()?, self.metadata.clone())
                .with_row_groups(vec![index])
                .with_projection(mask)
                .with_batch_size(self.batch_rows)
                .build()
        }))
    }

    fn give_up_row_group(&mut self, decoder: &mut Decoder, error: &str) {
        self.reader = None;
        let index = self.next_row_group.saturating_sub(1);
        let rows = self.metadata.metadata().row_groups().get(index).map_or(0, rows_of);
        let end = self.rows_before_group.saturating_add(rows);
        let lost = end.saturating_sub(self.rows_done);
        self.origin.position = Some(self.rows_done + 1);
        self.rows_done = end.max(self.rows_done);
        let reason = format!("row group {index} cannot be read: {error}. Its last {lost} rows are skipped");
        decoder.reject(&self.origin, kind::FILE, &reason, &[]);
    }

    fn report_extra_columns(&mut self, decoder: &mut Decoder) {
        if std::mem::replace(&mut self.extra_reported, true) || self.plan.extra.is_empty() {
            return;
        }
        let count = self.plan.extra.len();
        let named = self.plan.extra.iter().take(EXTRA_NAMED_MAX).map(|name| format!("{name:?}"));
        let mut names = named.collect::<Vec<_>>().join(", ");
        if count > EXTRA_NAMED_MAX {
            names.push_str(" and more");
        }
        let reason =
            format!("table {:?} has no such columns, {count} ignored: {names}", self.plan.table.name());
        decoder.reject(&self.origin, kind::COLUMNS, &reason, &[]);
    }

    /// The columns of the plan, made from what was read. A row lacking a value that the table needs is left out.
    fn rows_of_table(&self, read: &RecordBatch, decoder: &mut Decoder) -> Result<RecordBatch, ArrowError> {
        let mut columns = Vec::with_capacity(self.plan.columns.len());
        let mut keep: Option<BooleanArray> = None;
        for column in &self.plan.columns {
            let Some(root) = column.root else {
                columns.push(new_null_array(column.field.data_type(), read.num_rows()));
                continue;
            };
            // What was read has just the planned columns, in the order of the file.
            let from = read.column(self.plan.roots.partition_point(|&other| other < root));
            let made = compute::cast(from, column.field.data_type())?;
            let lost = made.null_count().saturating_sub(from.logical_null_count());
            let name = column.field.name();
            if lost > 0 {
                let reason = format!(
                    "{lost} of {} values of column {name:?} do not fit {}: they are null",
                    read.num_rows(),
                    column.field.data_type()
                );
                decoder.reject(&self.origin, kind::COLUMNS, &reason, &[]);
            }
            if !column.field.is_nullable() && made.null_count() > 0 {
                let reason = format!(
                    "{} of {} rows have no value in column {name:?}: they are left out",
                    made.null_count(),
                    read.num_rows()
                );
                decoder.reject(&self.origin, kind::ROWS, &reason, &[]);
                let present = compute::is_not_null(&made)?;
                keep = Some(keep.map_or(Ok(present.clone()), |keep| compute::and(&keep, &present))?);
            }
            columns.push(made);
        }
        self.batch(columns, read.num_rows(), keep)
    }

    fn batch(
        &self,
        mut columns: Vec<ArrayRef>,
        rows: usize,
        keep: Option<BooleanArray>,
    ) -> Result<RecordBatch, ArrowError> {
        let mut kept = rows;
        if let Some(keep) = keep {
            kept = keep.true_count();
            for column in &mut columns {
                *column = compute::filter(column, &keep)?;
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(kept));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
    }

    /// The rows whose event time is within the limits, with its bounds; `None` when there are none.
    fn placed(&self, mut rows: RecordBatch, decoder: &mut Decoder) -> Result<Option<Batch>, ArrowError> {
        let (first_ns, last_ns) = (self.limits.event_time_ns_min, self.limits.event_time_ns_max);
        let bounds = |rows: &RecordBatch| {
            let times = self.times(rows);
            compute::min(times).zip(compute::max(times))
        };
        let Some(mut event_time_ns) = bounds(&rows) else { return Ok(None) };
        if event_time_ns.0 < first_ns || event_time_ns.1 > last_ns {
            let times = self.times(&rows);
            let within = |time: &i64| (first_ns..=last_ns).contains(time);
            let keep: BooleanArray = times.values().iter().map(|time| Some(within(time))).collect();
            let example =
                times.values().iter().find(|time| !within(time)).map(i64::to_string).unwrap_or_default();
            let reason = format!(
                "{} of {} rows have a {} not in {first_ns}..={last_ns} ns: they are left out",
                keep.false_count(),
                rows.num_rows(),
                self.plan.table.event_time_column(),
            );
            decoder.reject(&self.origin, kind::ROWS, &reason, example.as_bytes());
            rows = filter_record_batch(&rows, &keep)?;
            let Some(kept) = bounds(&rows) else { return Ok(None) };
            event_time_ns = kept;
        }
        if self.plan.event_time_dropped {
            rows.remove_column(self.plan.event_time);
        }
        // The same schema object for every batch, as those of the decoder have.
        let rows = rows.with_schema(self.plan.schema.clone())?;
        Ok(Some(Batch { table: self.plan.table, rows, event_time_ns: Some(event_time_ns) }))
    }

    /// Event times of rows that have the schema of the table, where they are not null.
    fn times<'a>(&self, rows: &'a RecordBatch) -> &'a TimestampNanosecondArray {
        rows.column(self.plan.event_time).as_primitive::<TimestampNanosecondType>()
    }
}

/// What `read` gives, or what went wrong in words.
///
/// The parquet crate meets some damage with a panic (parquet 59.3 divides by zero when a dictionary page says that it
/// holds no values, for one; flipping bytes at random finds a dozen). A file must not take the process with it, and what panicked is dropped: hence, only here, the net.
fn guarded<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(read) => read.map_err(|error| error.to_string()),
        Err(panic) => {
            let message = panic.downcast_ref::<&str>().copied().map(str::to_owned);
            let message = message.or_else(|| panic.downcast_ref::<String>().cloned());
            Err(format!("damaged: {}", message.as_deref().unwrap_or("unknown")))
        }
    }
}

/// The rows a row group says it has; a damaged footer may say anything.
fn rows_of(group: &parquet::file::metadata::RowGroupMetaData) -> u64 {
    u64::try_from(group.num_rows()).unwrap_or(0)
}
