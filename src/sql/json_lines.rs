//! Rows as JSON.

use arrow::array::RecordBatch;
use arrow::json::WriterBuilder;
use arrow::json::writer::LineDelimited;

use super::error::SqlError;

/// Each row of `batch` as a JSON object and a line feed; no value holds a line feed of its own.
pub fn json_lines(batch: &RecordBatch) -> Result<Vec<u8>, SqlError> {
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(vec![]);
    writer.write(batch)?;
    writer.finish()?;
    Ok(writer.into_inner())
}
