//! Rows in the formats of the HTTP API, piece by piece.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::StreamWriter;
use serde_json::json;

use super::accept::Format;
use super::error::ApiError;
use crate::sql::csv::write_csv;
use crate::sql::error::SqlError;
use crate::sql::json_lines::json_lines;

/// Turns rows into bytes.
pub(super) enum Encoder {
    Json { schema: SchemaRef, has_rows: bool },
    Csv { schema: SchemaRef },
    Arrow(Box<StreamWriter<Vec<u8>>>),
}

impl Encoder {
    /// An encoder for rows of `schema`.
    ///
    /// # Errors
    ///
    /// When the format cannot hold them.
    pub fn new(format: Format, schema: SchemaRef) -> Result<Self, SqlError> {
        Ok(match format {
            Format::Json => {
                refuse_equal_names(&schema)?;
                Encoder::Json { schema, has_rows: false }
            }
            Format::Csv => Encoder::Csv { schema },
            Format::Arrow => Encoder::Arrow(Box::new(StreamWriter::try_new(vec![], &schema)?)),
        })
    }

    /// What comes before the rows. `command` is what a statement without rows did.
    pub fn begin(&mut self, command: Option<&str>) -> Result<Vec<u8>, SqlError> {
        match self {
            Encoder::Json { schema, .. } => {
                let columns = schema.fields().iter();
                let columns = columns.map(|f| json!({ "name": f.name(), "type": f.data_type().to_string() }));
                let columns = serde_json::Value::from_iter(columns);
                let command = command.map_or(String::new(), |c| format!("\"command\":\"{c}\","));
                Ok(format!("{{{command}\"columns\":{columns},\"rows\":[").into_bytes())
            }
            Encoder::Csv { .. } if command.is_some() => Ok(vec![]),
            Encoder::Csv { schema } => {
                let mut bytes = vec![];
                write_csv(&mut bytes, schema, &[], true)?;
                Ok(bytes)
            }
            Encoder::Arrow(writer) => Ok(std::mem::take(writer.get_mut())),
        }
    }

    /// The rows of `batch`.
    pub fn rows(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, SqlError> {
        let mut bytes = vec![];
        match self {
            Encoder::Json { has_rows, .. } => {
                for line in json_lines(batch)?.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                    bytes.extend_from_slice(if *has_rows { b",\n" } else { b"\n" });
                    bytes.extend_from_slice(line);
                    *has_rows = true;
                }
            }
            Encoder::Csv { schema } => write_csv(&mut bytes, schema, std::slice::from_ref(batch), false)?,
            Encoder::Arrow(writer) => {
                writer.write(batch)?;
                bytes = std::mem::take(writer.get_mut());
            }
        }
        Ok(bytes)
    }

    /// What comes after the last row.
    pub fn end(&mut self) -> Result<Vec<u8>, SqlError> {
        match self {
            Encoder::Json { .. } => Ok(b"\n]}\n".to_vec()),
            Encoder::Csv { .. } => Ok(vec![]),
            Encoder::Arrow(writer) => {
                writer.finish()?;
                Ok(std::mem::take(writer.get_mut()))
            }
        }
    }

    /// What comes after rows that are not all there are; nothing where the format cannot say so, and the
    /// connection has to be cut.
    pub fn fail(&self, error: &SqlError) -> Option<Vec<u8>> {
        match self {
            Encoder::Json { .. } => {
                Some(format!("\n],\"error\":{}}}\n", ApiError::from(error).to_json()).into_bytes())
            }
            _ => None,
        }
    }
}

/// An object has each name once.
fn refuse_equal_names(schema: &SchemaRef) -> Result<(), SqlError> {
    let mut names: Vec<&String> = schema.fields().iter().map(|f| f.name()).collect();
    names.sort();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        None => Ok(()),
        Some(pair) => Err(SqlError::Syntax(format!(
            "column \"{}\" is there twice, which JSON cannot hold; name one of the two with AS, or ask for CSV or Arrow",
            pair[0]
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, StringArray};

    use super::*;

    fn batch() -> RecordBatch {
        let text: ArrayRef = Arc::new(StringArray::from(vec![Some("a,\n\"b\""), None]));
        let number: ArrayRef = Arc::new(Float64Array::from(vec![1.5, f64::NAN]));
        RecordBatch::try_from_iter([("text", text), ("number", number)]).unwrap()
    }

    fn encoded(format: Format) -> Vec<u8> {
        let mut encoder = Encoder::new(format, batch().schema()).unwrap();
        let mut bytes = encoder.begin(None).unwrap();
        bytes.extend(encoder.rows(&batch()).unwrap());
        bytes.extend(encoder.rows(&batch().slice(0, 1)).unwrap());
        bytes.extend(encoder.end().unwrap());
        bytes
    }

    #[test]
    fn json_is_one_object() {
        let value: serde_json::Value = serde_json::from_slice(&encoded(Format::Json)).unwrap();
        assert_eq!(value["columns"][1], json!({ "name": "number", "type": "Float64" }));
        assert_eq!(
            value["rows"],
            json!([
                { "text": "a,\n\"b\"", "number": 1.5 },
                { "text": null, "number": null },
                { "text": "a,\n\"b\"", "number": 1.5 },
            ])
        );
    }

    #[test]
    fn json_that_ends_early_says_why() {
        let mut encoder = Encoder::new(Format::Json, batch().schema()).unwrap();
        let mut bytes = encoder.begin(None).unwrap();
        bytes.extend(encoder.fail(&SqlError::Syntax("no".to_owned())).unwrap());
        let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(value["error"]["message"], "no");
        assert!(
            Encoder::new(Format::Csv, batch().schema())
                .unwrap()
                .fail(&SqlError::Syntax(String::new()))
                .is_none()
        );
    }

    #[test]
    fn csv_has_its_header_once() {
        let text = String::from_utf8(encoded(Format::Csv)).unwrap();
        assert_eq!(text, "text,number\n\"a,\n\"\"b\"\"\",1.5\n,NaN\n\"a,\n\"\"b\"\"\",1.5\n");
    }

    #[test]
    fn arrow_is_read_back() {
        let bytes = encoded(Format::Arrow);
        let reader = arrow::ipc::reader::StreamReader::try_new(bytes.as_slice(), None).unwrap();
        assert_eq!(reader.map(|b| b.unwrap().num_rows()).collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn json_refuses_two_columns_of_one_name() {
        let column: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
        let twice = RecordBatch::try_from_iter([("a", column.clone()), ("a", column)]).unwrap();
        assert!(Encoder::new(Format::Json, twice.schema()).is_err());
        assert!(Encoder::new(Format::Csv, twice.schema()).is_ok());
    }
}
