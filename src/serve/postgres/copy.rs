//! The formats of COPY, and rows on their way to STDOUT as text or CSV.

use bytes::{BufMut, Bytes, BytesMut};
use pgwire::messages::copy::CopyData;
use pgwire::messages::data::DataRow;

use super::error::Fault;

/// How rows are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Format {
    pub is_csv: bool,
    pub delimiter: u8,
    pub null: String,
    /// Whether the names of the columns come first.
    pub has_header: bool,
}

impl Format {
    /// The format that the words behind `TO STDOUT` ask for: in upper case, and as values.
    pub fn parse(keys: &[&str], values: &[&str]) -> Result<Format, Fault> {
        let mut format =
            Format { is_csv: false, delimiter: b'\t', null: "\\N".to_owned(), has_header: false };
        let (mut delimiter, mut null) = (None, None);
        let mut at = 0;
        while at < keys.len() {
            let value = values.get(at + 1).copied().unwrap_or_default();
            at += match keys[at] {
                "WITH" | "(" | ")" | "," => 1,
                "CSV" => {
                    format.is_csv = true;
                    1
                }
                "FORMAT" => {
                    format.is_csv = match value.to_lowercase().as_str() {
                        "csv" => true,
                        "text" => false,
                        _ => return Err(unsupported(&format!("the format {value}"))),
                    };
                    2
                }
                "HEADER" => {
                    let word = value.to_lowercase();
                    format.has_header = !["false", "off", "0"].contains(&word.as_str());
                    if ["true", "on", "1", "false", "off", "0"].contains(&word.as_str()) { 2 } else { 1 }
                }
                "DELIMITER" => {
                    delimiter = Some(value);
                    2
                }
                "NULL" => {
                    null = Some(value);
                    2
                }
                other => return Err(unsupported(&format!("the option {other}"))),
            };
        }
        if format.is_csv {
            (format.delimiter, format.null) = (b',', String::new());
        }
        if let Some(text) = delimiter {
            format.delimiter = match text.as_bytes() {
                [byte] if byte.is_ascii_graphic() || *byte == b'\t' || *byte == b' ' => *byte,
                _ => return Err(Fault::error("22023", "the delimiter of COPY is one ASCII character")),
            };
        }
        if let Some(text) = null {
            format.null = text.to_owned();
        }
        Ok(format)
    }

    /// One row that was encoded as text.
    pub fn row(&self, row: &DataRow) -> CopyData {
        let mut line = BytesMut::with_capacity(row.data.len());
        let mut rest: &[u8] = &row.data;
        let mut is_first = true;
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let length = usize::try_from(i32::from_be_bytes(*length)).ok();
            let (value, after) = after.split_at(length.unwrap_or(0).min(after.len()));
            rest = after;
            if !is_first {
                line.put_u8(self.delimiter);
            }
            is_first = false;
            match length {
                None => line.put_slice(self.null.as_bytes()),
                Some(_) => self.value(value, &mut line),
            }
        }
        line.put_u8(b'\n');
        CopyData::new(line.freeze())
    }

    /// The names of the columns as a line.
    pub fn header(&self, names: impl Iterator<Item = String>) -> CopyData {
        let mut line = BytesMut::new();
        for (column, name) in names.enumerate() {
            if column > 0 {
                line.put_u8(self.delimiter);
            }
            self.value(name.as_bytes(), &mut line);
        }
        line.put_u8(b'\n');
        CopyData::new(Bytes::from(line))
    }

    fn value(&self, value: &[u8], line: &mut BytesMut) {
        if !self.is_csv {
            for byte in value {
                match byte {
                    b'\\' => line.put_slice(b"\\\\"),
                    b'\n' => line.put_slice(b"\\n"),
                    b'\r' => line.put_slice(b"\\r"),
                    b'\t' => line.put_slice(b"\\t"),
                    byte if *byte == self.delimiter => line.put_slice(&[b'\\', *byte]),
                    byte => line.put_u8(*byte),
                }
            }
            return;
        }
        let is_special = |byte: &u8| *byte == self.delimiter || [b'"', b'\n', b'\r'].contains(byte);
        // What reads like a null, or like the end of the data, is quoted too.
        let is_quoted = value == self.null.as_bytes() || value == b"\\." || value.iter().any(is_special);
        if !is_quoted {
            return line.put_slice(value);
        }
        line.put_u8(b'"');
        for byte in value {
            if *byte == b'"' {
                line.put_u8(b'"');
            }
            line.put_u8(*byte);
        }
        line.put_u8(b'"');
    }
}

fn unsupported(what: &str) -> Fault {
    Fault::error("0A000", format!("{what} of COPY is not supported"))
        .hint("WITH (FORMAT text | csv, HEADER, DELIMITER ';', NULL 'NULL') is what there is.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(options: &str, values: &[Option<&str>]) -> String {
        let keys: Vec<&str> = options.split(' ').filter(|s| !s.is_empty()).collect();
        let format = Format::parse(&keys, &keys).unwrap();
        let mut data = BytesMut::new();
        for value in values {
            data.put_i32(value.map_or(-1, |v| v.len() as i32));
            data.put_slice(value.unwrap_or_default().as_bytes());
        }
        String::from_utf8(format.row(&DataRow::new(data, values.len() as i16)).data.to_vec()).unwrap()
    }

    #[test]
    fn values_read_back_as_they_were() {
        let values = [Some("a\tb\\\n"), None, Some(""), Some("x,\"y\"")];
        assert_eq!(line("", &values), "a\\tb\\\\\\n\t\\N\t\tx,\"y\"\n");
        assert_eq!(line("WITH ( FORMAT csv )", &values), "\"a\tb\\\n\",,\"\",\"x,\"\"y\"\"\"\n");
        assert_eq!(
            line("CSV DELIMITER ; NULL none", &[Some("none"), None, Some("a;b")]),
            "\"none\";none;\"a;b\"\n"
        );
        assert!(Format::parse(&["FORMAT"], &["FORMAT", "binary"]).is_err());
    }
}
