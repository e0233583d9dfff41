//! Rows as CSV.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow::csv::WriterBuilder;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// Writes `batches` to `out`, after a line with the names of the columns of `schema` where `with_header` says
/// so. CSV has no nested values: they are written as text, as a table shows them.
pub fn write_csv(
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
    let flat = Arc::new(Schema::new(flat));
    let mut writer = WriterBuilder::new().with_header(with_header).build(out);
    if batches.is_empty() {
        writer.write(&RecordBatch::new_empty(flat.clone()))?;
    }
    for batch in batches {
        let columns = batch.columns().iter().map(|c| match c.data_type().is_nested() {
            true => as_text(c),
            false => Ok(c.clone()),
        });
        let columns = columns.collect::<Result<_, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        writer.write(&RecordBatch::try_new_with_options(flat.clone(), columns, &options)?)?;
    }
    Ok(())
}

fn as_text(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(column, &options)?;
    let texts = (0..column.len()).map(|row| column.is_valid(row).then(|| formatter.value(row).to_string()));
    Ok(Arc::new(texts.collect::<StringArray>()))
}
