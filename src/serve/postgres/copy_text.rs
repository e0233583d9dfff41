//! Rows that are written as text or CSV, read as they come.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringBuilder};
use datafusion::arrow::datatypes::SchemaRef;

use super::copy::Format;
use super::error::Fault;

/// Rows of one batch.
const BATCH_ROWS: usize = 8192;

/// The most bytes of one value: what a column of texts can still tell the places of, many times over.
const VALUE_BYTES_MAX: usize = 64 << 20;

/// The most bytes of the values of one batch.
const BATCH_BYTES_MAX: usize = 256 << 20;

/// Where within a value the next byte is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Outside quotes.
    Plain,
    /// Behind a backslash, which stays in the value until it is whole.
    Escape,
    /// Within quotes.
    Quoted,
    /// Behind a quote within quotes: it ends them, or is doubled.
    Quote,
}

/// Reads rows from bytes that come in pieces.
pub(super) struct Reader {
    format: Format,
    schema: SchemaRef,
    columns: Vec<StringBuilder>,
    batches: Vec<RecordBatch>,
    /// Rows and bytes of the batch that is not whole.
    rows: usize,
    bytes: usize,
    line: u64,
    value: Vec<u8>,
    place: Place,
    /// Whether the value began with a quote.
    was_quoted: bool,
    /// Values of the row before this one.
    values: usize,
    /// Whether the line that says the end has come.
    has_ended: bool,
}

impl Reader {
    /// For rows of `schema`, all of whose columns are texts.
    pub fn new(format: &Format, schema: SchemaRef) -> Self {
        Reader {
            format: format.clone(),
            columns: schema.fields().iter().map(|_| StringBuilder::new()).collect(),
            schema,
            batches: vec![],
            rows: 0,
            bytes: 0,
            line: 1,
            value: vec![],
            place: Place::Plain,
            was_quoted: false,
            values: 0,
            has_ended: false,
        }
    }

    /// Takes the next bytes.
    pub fn read(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        for byte in bytes {
            if self.has_ended {
                break;
            }
            match self.format.is_csv {
                true => self.csv(*byte)?,
                false => self.text(*byte)?,
            }
            if self.value.len() > VALUE_BYTES_MAX {
                return Err(self.wrong("54000", format!("a value is longer than {VALUE_BYTES_MAX} bytes")));
            }
        }
        Ok(())
    }

    /// All rows, once the last byte has come: at least one batch.
    pub fn finish(mut self) -> Result<Vec<RecordBatch>, Fault> {
        if self.place == Place::Quoted {
            return Err(self.wrong("22P04", "unterminated CSV quoted field".to_owned()));
        }
        // The last line may end without its end.
        if !self.has_ended && (!self.value.is_empty() || self.was_quoted || self.values > 0) {
            self.end_row()?;
        }
        self.end_batch()?;
        Ok(self.batches)
    }

    fn text(&mut self, byte: u8) -> Result<(), Fault> {
        match (self.place, byte) {
            (Place::Escape, _) => {
                self.value.push(byte);
                self.place = Place::Plain;
            }
            (_, b'\\') => {
                self.value.push(byte);
                self.place = Place::Escape;
            }
            (_, b'\n') => return self.end_row(),
            (_, byte) if byte == self.format.delimiter => return self.end_value(),
            _ => self.value.push(byte),
        }
        Ok(())
    }

    fn csv(&mut self, byte: u8) -> Result<(), Fault> {
        match (self.place, byte) {
            (Place::Quoted, b'"') => self.place = Place::Quote,
            (Place::Quote, b'"') => {
                self.value.push(byte);
                self.place = Place::Quoted;
            }
            (Place::Quoted, _) => self.value.push(byte),
            (_, b'"') if self.value.is_empty() && !self.was_quoted => {
                (self.place, self.was_quoted) = (Place::Quoted, true);
            }
            (_, b'\n') => return self.end_row(),
            (_, byte) if byte == self.format.delimiter => return self.end_value(),
            _ => {
                self.place = Place::Plain;
                self.value.push(byte);
            }
        }
        Ok(())
    }

    fn end_row(&mut self) -> Result<(), Fault> {
        if self.value.last() == Some(&b'\r') {
            self.value.pop();
        }
        let is_first = self.values == 0;
        if is_first && !self.was_quoted && self.value == b"\\." {
            self.has_ended = true;
            self.value.clear();
            return Ok(());
        }
        if self.line == 1 && self.format.has_header {
            self.skip_row();
            return Ok(());
        }
        self.end_value()?;
        if self.values < self.columns.len() {
            let missing = self.schema.field(self.values).name();
            return Err(self.wrong("22P04", format!("missing data for column \"{missing}\"")));
        }
        self.values = 0;
        self.line += 1;
        self.rows += 1;
        if self.rows == BATCH_ROWS || self.bytes > BATCH_BYTES_MAX { self.end_batch() } else { Ok(()) }
    }

    fn skip_row(&mut self) {
        self.value.clear();
        (self.place, self.was_quoted, self.values) = (Place::Plain, false, 0);
        self.line += 1;
    }

    fn end_value(&mut self) -> Result<(), Fault> {
        let is_header = self.line == 1 && self.format.has_header;
        if is_header {
            self.value.clear();
            (self.place, self.was_quoted) = (Place::Plain, false);
            self.values += 1;
            return Ok(());
        }
        if self.values == self.columns.len() {
            return Err(self.wrong("22P04", "extra data after last expected column".to_owned()));
        }
        let is_null = !self.was_quoted && self.value == self.format.null.as_bytes();
        let value = match self.format.is_csv {
            true => std::mem::take(&mut self.value),
            false => unescaped(&std::mem::take(&mut self.value)),
        };
        let text = String::from_utf8(value);
        let text = text.map_err(|_| self.wrong("22021", "a value is not valid UTF-8".to_owned()))?;
        self.bytes += text.len();
        self.columns[self.values].append_option((!is_null).then_some(text));
        self.values += 1;
        (self.place, self.was_quoted) = (Place::Plain, false);
        Ok(())
    }

    fn end_batch(&mut self) -> Result<(), Fault> {
        if self.rows == 0 && !self.batches.is_empty() {
            return Ok(());
        }
        let columns = self.columns.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef).collect();
        let batch = RecordBatch::try_new(self.schema.clone(), columns);
        self.batches.push(batch.map_err(|error| Fault::of(error.into(), ""))?);
        (self.rows, self.bytes) = (0, 0);
        Ok(())
    }

    fn wrong(&self, code: &'static str, message: String) -> Fault {
        Fault::error(code, format!("{message} in line {} of the COPY", self.line))
    }
}

/// `value` with what its backslashes stand for.
fn unescaped(value: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(value.len());
    let mut bytes = value.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            plain.push(byte);
            continue;
        }
        let Some(escaped) = bytes.next() else { break };
        plain.push(match escaped {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            b'0'..=b'7' => {
                let mut code = u32::from(escaped - b'0');
                for _ in 0..2 {
                    let Some(digit) = bytes.next_if(|b| (b'0'..=b'7').contains(b)) else { break };
                    code = code * 8 + u32::from(digit - b'0');
                }
                code as u8
            }
            other => other,
        });
    }
    plain
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Array, AsArray};
    use datafusion::arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    /// The rows of `text`, in pieces of `piece` bytes; a null is `None`.
    fn rows(options: &str, text: &[u8], piece: usize) -> Result<Vec<[Option<String>; 2]>, Fault> {
        let keys: Vec<&str> = options.split(' ').filter(|s| !s.is_empty()).collect();
        let fields = ["a", "b"].map(|name| Field::new(name, DataType::Utf8, true));
        let mut reader =
            Reader::new(&Format::parse(&keys, &keys).unwrap(), Arc::new(Schema::new(fields.to_vec())));
        text.chunks(piece).try_for_each(|piece| reader.read(piece))?;
        let batches = reader.finish()?;
        let value = |batch: &RecordBatch, column: usize, row: usize| {
            let values = batch.column(column).as_string::<i32>();
            (!values.is_null(row)).then(|| values.value(row).to_owned())
        };
        let rows =
            batches.iter().flat_map(|b| (0..b.num_rows()).map(move |row| [0, 1].map(|c| value(b, c, row))));
        Ok(rows.collect())
    }

    fn row(a: Option<&str>, b: Option<&str>) -> [Option<String>; 2] {
        [a.map(str::to_owned), b.map(str::to_owned)]
    }

    #[test]
    fn values_are_read_as_they_were_written() {
        for piece in [1, 3, 1000] {
            assert_eq!(
                rows("", b"a\\tb\\\\\\n\t\\N\n\t\\101\\x\r\n\\.\nx", piece).unwrap(),
                [row(Some("a\tb\\\n"), None), row(Some(""), Some("Ax"))]
            );
            assert_eq!(
                rows("CSV", b"\"a\"\"b\",\n\"x\ny\",\"\"\r\n1,2", piece).unwrap(),
                [row(Some("a\"b"), None), row(Some("x\ny"), Some("")), row(Some("1"), Some("2"))]
            );
            assert_eq!(
                rows("CSV HEADER DELIMITER ; NULL none", b"a;b\nnone;\"none\"\n", piece).unwrap(),
                [row(None, Some("none"))]
            );
            assert!(rows("", b"", piece).unwrap().is_empty());
        }
    }

    #[test]
    fn rows_that_do_not_fit_are_refused() {
        for (options, text, code) in [
            ("", &b"a\n"[..], "22P04"),
            ("", b"a\tb\tc\n", "22P04"),
            ("CSV", b"a,\"b", "22P04"),
            ("CSV", b"a,\xff\n", "22021"),
        ] {
            let Err(Fault::Told(told)) = rows(options, text, 2) else { panic!("not refused") };
            assert_eq!(told.code, code);
            assert!(told.message.ends_with("in line 1 of the COPY"), "{}", told.message);
        }
    }
}
