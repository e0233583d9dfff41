//! Answers in the format asked for.

use std::io::{self, Write};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::util::pretty::pretty_format_batches_with_schema;
use parquet::arrow::ArrowWriter;

use super::CommandError;
use super::arguments::Format;

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

/// CSV has no nested values: they are written as text, as a table shows them.
fn write_csv(
    out: &mut dyn Write,
    schema: &SchemaRef,
    batches: &[RecordBatch],
    with_header: bool,
) -> Result<(), ArrowError> {
    let flat: Vec<Field> = schema
        .fields()
        .iter()
        .map(|f| match f.data_type().is_nested() {
            true => Field::new(f.name(), DataType::Utf8, true),
            false => f.as_ref().clone(),
        })
        .collect();
    let flat = std::sync::Arc::new(Schema::new(flat));
    let mut writer = arrow::csv::WriterBuilder::new().with_header(with_header).build(out);
    if batches.is_empty() {
        writer.write(&RecordBatch::new_empty(flat.clone()))?;
    }
    for batch in batches {
        let columns = batch.columns().iter().map(|c| match c.data_type().is_nested() {
            true => as_text(c),
            false => Ok(c.clone()),
        });
        writer.write(&RecordBatch::try_new(flat.clone(), columns.collect::<Result<_, _>>()?)?)?;
    }
    Ok(())
}

fn as_text(column: &arrow::array::ArrayRef) -> Result<arrow::array::ArrayRef, ArrowError> {
    use arrow::array::{Array, StringArray};
    use arrow::util::display::{ArrayFormatter, FormatOptions};
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(column, &options)?;
    let texts = (0..column.len()).map(|row| column.is_valid(row).then(|| formatter.value(row).to_string()));
    Ok(std::sync::Arc::new(texts.collect::<StringArray>()))
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
