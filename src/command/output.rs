//! Answers in the format asked for.

use std::io::{self, Write};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::util::pretty::pretty_format_batches_with_schema;
use parquet::arrow::ArrowWriter;

use super::CommandError;
use super::arguments::Format;
use crate::sql::csv::write_csv;

/// Writes the rows of one answer to `out`. A reader that went away is no error.
pub(super) fn write(
    out: &mut dyn Write,
    format: Format,
    schema: &SchemaRef,
    batches: &[RecordBatch],
) -> Result<(), CommandError> {
    write_part(out, format, schema, batches, true)
}

/// As [`write()`], with the header of CSV only where `with_header` says so.
pub(super) fn write_part(
    out: &mut dyn Write,
    format: Format,
    schema: &SchemaRef,
    batches: &[RecordBatch],
    with_header: bool,
) -> Result<(), CommandError> {
    let result = match format {
        Format::Table => pretty_format_batches_with_schema(schema.clone(), batches)
            .and_then(|table| Ok(writeln!(out, "{table}")?)),
        Format::Csv => write_csv(out, schema, batches, with_header),
        Format::Json => write_json(out, batches),
        Format::Parquet => write_parquet(out, schema, batches),
    };
    let result = result.and_then(|()| Ok(out.flush()?));
    match result {
        Err(ArrowError::IoError(_, error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(ArrowError::IoError(_, error)) => Err(CommandError::Write(error)),
        Err(source) => Err(CommandError::Format { format: name(format), source }),
        Ok(()) => Ok(()),
    }
}

fn name(format: Format) -> &'static str {
    match format {
        Format::Table => "a table",
        Format::Csv => "CSV",
        Format::Json => "JSON",
        Format::Parquet => "Parquet",
    }
}

fn write_json(out: &mut dyn Write, batches: &[RecordBatch]) -> Result<(), ArrowError> {
    let mut writer = arrow::json::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, arrow::json::writer::JsonArray>(&mut *out);
    batches.iter().try_for_each(|batch| writer.write(batch))?;
    writer.finish()?;
    Ok(writeln!(out)?)
}

fn write_parquet(out: &mut dyn Write, schema: &SchemaRef, batches: &[RecordBatch]) -> Result<(), ArrowError> {
    let mut bytes = vec![];
    let mut writer = ArrowWriter::try_new(&mut bytes, schema.clone(), None)?;
    batches.iter().try_for_each(|batch| writer.write(batch))?;
    writer.close()?;
    Ok(out.write_all(&bytes)?)
}
