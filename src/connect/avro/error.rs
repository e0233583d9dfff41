//! Why a message in Avro is no row.

use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use super::schema::{DEPTH_MAX, SCHEMA_BYTES_MAX, TYPES_MAX};
use super::size::{MEMORY_MAX, TEXT_BYTES_MAX, TEXT_TIMES_MAX};
use crate::connect::error::cut;
use crate::connect::registry::NoSchema;

/// Why a message cannot be read.
#[derive(Debug, thiserror::Error)]
pub(in crate::connect) enum AvroError {
    /// It does not name a schema.
    #[error("a message begins with a zero byte and the four bytes of a schema's id")]
    Frame,
    /// Its schema is not there.
    #[error("schema {id}: {reason}")]
    NoSchema {
        /// The number of the schema.
        id: u32,
        /// Why not.
        reason: NoSchema,
    },
    /// Nothing can be read by its schema.
    #[error("schema {id}: {reason}")]
    Schema {
        /// The number of the schema.
        id: u32,
        /// Why not.
        reason: SchemaError,
    },
    /// It ends before its row does.
    #[error("the record does not end")]
    CutOff,
    /// It goes on behind its row.
    #[error("something follows the record")]
    LeftOver,
    /// It is not what its schema says.
    #[error("the record cannot be read: {0}")]
    Body(String),
    /// A value is not one of its column.
    #[error("{0}")]
    Value(String),
    /// Much may become of it.
    #[error("{bytes} bytes of its schema may take more than {MEMORY_MAX} of memory")]
    Memory {
        /// How long it is.
        bytes: usize,
    },
}

impl From<ArrowError> for AvroError {
    fn from(error: ArrowError) -> Self {
        AvroError::Value(cut(error.to_string()))
    }
}

/// Why a schema is none to read rows by.
#[derive(Debug, thiserror::Error)]
pub(in crate::connect) enum SchemaError {
    /// A row is a record.
    #[error("{0} is no record")]
    NoRecord(String),
    /// It is no schema.
    #[error("{0} is no schema")]
    NoSchema(String),
    /// A type is used that is not defined.
    #[error("the type \"{0}\" is not defined")]
    Undefined(String),
    /// A type is part of itself.
    #[error("the type \"{0}\" is part of itself, which rows have no form for")]
    Recursive(String),
    /// An array may have any number of items in no bytes.
    #[error("an array of {0}, which takes no bytes, has no end")]
    Empty(String),
    /// There are too many types in it.
    #[error("it has more than {TYPES_MAX} types, each counted wherever it is used")]
    Large,
    /// It is too long.
    #[error("it has more than {SCHEMA_BYTES_MAX} bytes, each type counted wherever it is used")]
    Long,
    /// Much text becomes of little.
    #[error(
        "texts may take more than {TEXT_TIMES_MAX} times what they are read from, or {TEXT_BYTES_MAX} bytes of names"
    )]
    Wordy,
    /// Types are in types too often.
    #[error("types are nested more than {DEPTH_MAX} deep")]
    Deep,
    /// The library does not read it.
    #[error("{0}")]
    Library(String),
    /// A column has to have values, and the schema has none for it.
    #[error("it has no field \"{0}\", and the column is NOT NULL")]
    Missing(String),
    /// A column does not take what a field holds.
    #[error("field \"{name}\" is {from}, which a column of the type {to} does not take")]
    Type {
        /// The name of both.
        name: String,
        /// The type of the field.
        from: String,
        /// That of the column.
        to: DataType,
    },
}
