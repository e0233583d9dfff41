//! Where the columns of a table are in records of one schema.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow_avro::reader::{Decoder, ReaderBuilder};
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore};
use serde_json::Value;

use super::convert::{convert, fits};
use super::error::{AvroError, SchemaError};
use super::schema::plain;
use super::size::{Cost, MEMORY_MAX};
use crate::connect::error::cut;
use crate::connect::registry::Definition;

/// The bytes before a record: a zero byte, and the id of its schema.
pub(super) const FRAME_BYTES: usize = 5;

/// How records of one schema become rows of a table.
pub(super) struct Layout {
    schemas: SchemaStore,
    /// The columns of records.
    fields: SchemaRef,
    /// Those of the table.
    columns: SchemaRef,
    /// Where each of these is in a record, if it is there.
    places: Vec<Option<usize>>,
    /// How much memory records take.
    memory: Cost,
    /// How long the schema is.
    pub bytes: usize,
}

/// The id of the schema of the message `payload`.
pub(super) fn schema_id(payload: &[u8]) -> Result<u32, AvroError> {
    match payload.first_chunk::<FRAME_BYTES>() {
        Some([0, id @ ..]) => Ok(u32::from_be_bytes(*id)),
        _ => Err(AvroError::Frame),
    }
}

impl Layout {
    /// Of records of the schema `definition`, which messages call `id`, for a table with `columns`.
    pub fn new(id: u32, definition: &Definition, columns: &SchemaRef) -> Result<Self, SchemaError> {
        let (plain, size) = plain(definition)?;
        let mut schemas = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
        let text = plain.to_string();
        let bytes = text.len();
        let set = schemas.set(Fingerprint::Id(id), AvroSchema::new(text));
        set.map_err(|error| SchemaError::Library(cut(error.to_string())))?;
        let fields = guarded(|| Ok(decoder(&schemas, 1)?.schema())).map_err(|error| match error {
            AvroError::Body(reason) => SchemaError::Library(reason),
            other => SchemaError::Library(other.to_string()),
        })?;
        let places: Vec<Option<usize>> =
            columns.fields().iter().map(|column| place(column, &fields, &plain)).collect::<Result<_, _>>()?;
        let is_text = |place: &usize| {
            let of = fields.field(*place).data_type();
            of.is_nested() || matches!(of, DataType::Dictionary(..))
        };
        if size.is_wordy() && places.iter().flatten().any(is_text) {
            return Err(SchemaError::Wordy);
        }
        Ok(Layout { schemas, fields, columns: columns.clone(), places, memory: size.memory, bytes })
    }

    /// The rows that the messages `payloads` are.
    ///
    /// # Errors
    ///
    /// Where one of them is none.
    pub fn rows(&self, payloads: &[&[u8]]) -> Result<RecordBatch, AvroError> {
        let memory = payloads.iter().map(|payload| self.memory.of(payload.len()));
        if memory.fold(0, usize::saturating_add) > MEMORY_MAX {
            return Err(AvroError::Memory { bytes: payloads.iter().map(|payload| payload.len()).sum() });
        }
        guarded(|| {
            let mut decoder = decoder(&self.schemas, payloads.len())?;
            for payload in payloads {
                decode(&mut decoder, payload)?;
            }
            let records = decoder.flush().map_err(body)?.ok_or(AvroError::CutOff)?;
            let columns = self.columns.fields().iter().zip(&self.places);
            let columns = columns
                .map(|(column, place)| self.column(&records, column, *place))
                .collect::<Result<_, _>>()?;
            let options = RecordBatchOptions::new().with_row_count(Some(records.num_rows()));
            Ok(RecordBatch::try_new_with_options(self.columns.clone(), columns, &options)?)
        })
    }

    fn column(
        &self,
        records: &RecordBatch,
        column: &Field,
        place: Option<usize>,
    ) -> Result<ArrayRef, AvroError> {
        let Some(place) = place else {
            return Ok(new_null_array(column.data_type(), records.num_rows()));
        };
        Ok(convert(records.column(place), self.fields.field(place), column.data_type())?)
    }
}

/// Where the field of `column` is among `fields`, which the schema `plain` says.
fn place(column: &Field, fields: &SchemaRef, plain: &Value) -> Result<Option<usize>, SchemaError> {
    match fields.column_with_name(column.name()) {
        None if column.is_nullable() => Ok(None),
        None => Err(SchemaError::Missing(column.name().clone())),
        Some((place, field)) if fits(field, column.data_type()) => Ok(Some(place)),
        Some((place, _)) => Err(SchemaError::Type {
            name: column.name().clone(),
            from: cut(plain["fields"][place]["type"].to_string()),
            to: column.data_type().clone(),
        }),
    }
}

/// A decoder of as many as `rows`. One that failed over a message is of no use any more, so that each batch has its own.
fn decoder(schemas: &SchemaStore, rows: usize) -> Result<Decoder, AvroError> {
    let builder = ReaderBuilder::new().with_batch_size(rows + 1).with_writer_schema_store(schemas.clone());
    builder.build_decoder().map_err(|error| AvroError::Body(cut(error.to_string())))
}

/// Takes the one record that `payload` is.
fn decode(decoder: &mut Decoder, payload: &[u8]) -> Result<(), AvroError> {
    let before = decoder.capacity();
    let taken = match payload.len() {
        // A record of no bytes is taken only where something follows it.
        FRAME_BYTES => decoder.decode(&[payload, &[0]].concat()),
        _ => decoder.decode(payload),
    };
    let records = before - decoder.capacity();
    match taken {
        _ if records > 1 => Err(AvroError::LeftOver),
        Err(_) if records == 1 => Err(AvroError::LeftOver),
        Err(error) => Err(body(error)),
        Ok(taken) if records == 0 || taken > payload.len() => Err(AvroError::CutOff),
        Ok(taken) if taken < payload.len() => Err(AvroError::LeftOver),
        Ok(_) => Ok(()),
    }
}

fn body(error: arrow_avro::errors::AvroError) -> AvroError {
    AvroError::Body(cut(error.to_string()))
}

/// Runs `f`; where the library panics over what anybody may have sent, that is an error as any other.
fn guarded<T>(f: impl FnOnce() -> Result<T, AvroError>) -> Result<T, AvroError> {
    catch_unwind(AssertUnwindSafe(f))
        .unwrap_or_else(|_| Err(AvroError::Body("the decoder panicked".to_owned())))
}
