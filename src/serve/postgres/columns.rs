//! Arrow columns as PostgreSQL's types.
//!
//! | Arrow | PostgreSQL |
//! |---|---|
//! | numbers, text, booleans, dates, times | theirs; `uint64` is `numeric`, a smaller unsigned the next larger integer |
//! | timestamps | `timestamptz`, or `timestamp` without a zone; cut off at microseconds |
//! | durations, intervals | `interval` |
//! | binary | `bytea` |
//! | dictionaries | what they hold |
//! | lists of plain values | arrays |
//! | maps (attributes), structs, lists of those | `json` |

use std::sync::Arc;

use arrow_pg::datatypes::field_into_pg_type;
use arrow_pg::encoder::{Encoder, encode_value};
use datafusion::arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StringBuilder};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json::writer::{EncoderOptions, make_encoder};
use pgwire::api::Type;
use pgwire::api::results::{DataRowEncoder, FieldFormat, FieldInfo};
use pgwire::messages::data::{DataRow, RowDescription};

use super::error::Fault;

/// What becomes of a column before it is encoded.
enum Shape {
    Same,
    Cast(DataType),
    Json,
}

/// The columns of an answer.
pub(super) struct Columns {
    schema: SchemaRef,
    shapes: Vec<Shape>,
    infos: Arc<Vec<FieldInfo>>,
}

impl Columns {
    /// Those of `schema`, each as text or as binary as `formats` say: none for text, one for all, or one each.
    pub fn new(schema: &Schema, formats: &[i16]) -> Result<Self, Fault> {
        let count = schema.fields().len();
        if formats.len() > 1 && formats.len() != count {
            let message = format!("{} formats are given for {count} columns", formats.len());
            return Err(Fault::error("08P01", message));
        }
        let mut infos = vec![];
        let mut shapes = vec![];
        let mut fields = vec![];
        for (column, field) in schema.fields().iter().enumerate() {
            let (shape, field, pg_type) = shape_of(field)?;
            let code = formats.get(column).or(formats.first().filter(|_| formats.len() == 1));
            let format = FieldFormat::from(code.copied().unwrap_or_default());
            let size = size_of(&pg_type);
            infos
                .push(FieldInfo::new(field.name().clone(), None, None, pg_type, format).with_type_size(size));
            shapes.push(shape);
            fields.push(field);
        }
        Ok(Columns { schema: Arc::new(Schema::new(fields)), shapes, infos: Arc::new(infos) })
    }

    /// The message that describes them.
    pub fn description(&self) -> RowDescription {
        RowDescription::new(self.infos.iter().map(Into::into).collect())
    }

    /// Name and type of each.
    pub fn types(&self) -> Vec<(String, Type)> {
        self.infos.iter().map(|info| (info.name().to_owned(), info.datatype().clone())).collect()
    }

    /// What encodes their rows.
    pub fn encoder(&self) -> DataRowEncoder {
        DataRowEncoder::new(self.infos.clone())
    }

    /// `rows` as they can be encoded.
    pub fn shape(&self, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let columns = rows.columns().iter().zip(&self.shapes).map(|(column, shape)| match shape {
            Shape::Same => Ok(column.clone()),
            Shape::Cast(to) => cast(column, to),
            Shape::Json => json(column),
        });
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        let schema = match rows.schema_ref().fields() == self.schema.fields() {
            true => self.schema.clone(),
            // An expression may say that its column has no nulls where the plan did not know.
            false => retyped(&self.schema, &columns),
        };
        RecordBatch::try_new_with_options(schema, columns, &options)
    }

    /// One row of a batch that was [shaped](Self::shape).
    pub fn encode(
        &self,
        encoder: &mut DataRowEncoder,
        rows: &RecordBatch,
        row: usize,
    ) -> Result<DataRow, Fault> {
        for ((column, field), info) in rows.columns().iter().zip(self.schema.fields()).zip(self.infos.iter())
        {
            match column.is_null(row) {
                true => Encoder::encode_field(encoder, &None::<i8>, info)?,
                false => encode_value(encoder, column, row, field, info)?,
            }
        }
        Ok(encoder.take_row())
    }
}

/// `schema` with the types that `columns` really have.
fn retyped(schema: &SchemaRef, columns: &[ArrayRef]) -> SchemaRef {
    let fields = schema.fields().iter().zip(columns).map(|(field, column)| {
        field.as_ref().clone().with_data_type(column.data_type().clone()).with_nullable(true)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// How a column is encoded: what becomes of it first, what it is then, and its type.
fn shape_of(field: &FieldRef) -> Result<(Shape, FieldRef, Type), Fault> {
    let with = |data_type: DataType| Arc::new(field.as_ref().clone().with_data_type(data_type));
    match simple(field.data_type()) {
        Some(plain) if plain == *field.data_type() => {
            let pg_type = match plain {
                // As in PostgreSQL, what says nothing of its type is text.
                DataType::Null => Type::TEXT,
                _ => field_into_pg_type(field)?,
            };
            Ok((Shape::Same, field.clone(), pg_type))
        }
        Some(plain) => {
            let field = with(plain.clone());
            let pg_type = field_into_pg_type(&field)?;
            Ok((Shape::Cast(plain), field, pg_type))
        }
        None => Ok((Shape::Json, with(DataType::Utf8), Type::JSON)),
    }
}

/// The type that can be encoded and holds the values of `data_type`; `None`: JSON alone can.
fn simple(data_type: &DataType) -> Option<DataType> {
    use DataType::{
        Binary, Decimal32, Decimal64, Decimal128, Decimal256, Dictionary, FixedSizeBinary, FixedSizeList,
        Float16, Float32, Int8, Int16, LargeList, LargeListView, List, ListView, Map, RunEndEncoded, Struct,
        Union, Utf8,
    };
    Some(match data_type {
        Map(..) | Struct(_) | Union(..) => return None,
        Dictionary(_, of) => simple(of)?,
        RunEndEncoded(_, of) => simple(of.data_type())?,
        Int8 => Int16,
        Float16 => Float32,
        FixedSizeBinary(_) => Binary,
        Decimal32(precision, scale) | Decimal64(precision, scale) => Decimal128(*precision, *scale),
        Decimal256(..) => Utf8,
        List(of) | LargeList(of) | FixedSizeList(of, _) | ListView(of) | LargeListView(of) => {
            match simple(of.data_type())? {
                List(_) => return None,
                item => List(Arc::new(of.as_ref().clone().with_data_type(item))),
            }
        }
        other => other.clone(),
    })
}

/// The width of the values of a type; -1 where they differ.
fn size_of(pg_type: &Type) -> i16 {
    match *pg_type {
        Type::BOOL | Type::CHAR => 1,
        Type::INT2 => 2,
        Type::INT4 | Type::FLOAT4 | Type::DATE | Type::OID => 4,
        Type::INT8 | Type::FLOAT8 | Type::TIMESTAMP | Type::TIMESTAMPTZ | Type::TIME => 8,
        Type::INTERVAL => 16,
        _ => -1,
    }
}

/// Each value as JSON.
fn json(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let field: FieldRef = Arc::new(Field::new("value", column.data_type().clone(), true));
    let options = EncoderOptions::default().with_explicit_nulls(true);
    let mut encoder = make_encoder(&field, column.as_ref(), &options)?;
    let mut texts = StringBuilder::new();
    let mut buffer = vec![];
    for row in 0..column.len() {
        if column.is_null(row) {
            texts.append_null();
            continue;
        }
        buffer.clear();
        encoder.encode(row, &mut buffer);
        texts.append_value(String::from_utf8_lossy(&buffer));
    }
    Ok(Arc::new(texts.finish()))
}

/// The Arrow type that stands for a type of PostgreSQL that a client names for a parameter.
pub(super) fn arrow_type(pg_type: &Type) -> Option<DataType> {
    use datafusion::arrow::datatypes::{IntervalUnit, TimeUnit};
    let list = |of: Type| Some(DataType::List(Arc::new(Field::new_list_field(arrow_type(&of)?, true))));
    Some(match *pg_type {
        Type::BOOL_ARRAY => list(Type::BOOL)?,
        Type::INT2_ARRAY => list(Type::INT2)?,
        Type::INT4_ARRAY => list(Type::INT4)?,
        Type::INT8_ARRAY => list(Type::INT8)?,
        Type::FLOAT4_ARRAY => list(Type::FLOAT4)?,
        Type::FLOAT8_ARRAY => list(Type::FLOAT8)?,
        Type::TEXT_ARRAY | Type::VARCHAR_ARRAY => list(Type::TEXT)?,
        Type::BOOL => DataType::Boolean,
        Type::INT2 => DataType::Int16,
        Type::INT4 | Type::OID | Type::REGCLASS | Type::REGTYPE => DataType::Int32,
        Type::INT8 => DataType::Int64,
        Type::FLOAT4 => DataType::Float32,
        Type::FLOAT8 => DataType::Float64,
        Type::NUMERIC => DataType::Decimal128(38, 10),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UUID | Type::JSON | Type::JSONB => {
            DataType::Utf8
        }
        Type::BYTEA => DataType::Binary,
        Type::DATE => DataType::Date32,
        Type::TIME => DataType::Time64(TimeUnit::Microsecond),
        Type::TIMESTAMP => DataType::Timestamp(TimeUnit::Microsecond, None),
        Type::TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
        Type::INTERVAL => DataType::Interval(IntervalUnit::MonthDayNano),
        _ => return None,
    })
}

/// The type of PostgreSQL for a parameter of which the planner knows its Arrow type.
pub(super) fn parameter_type(data_type: &DataType) -> Result<Type, Fault> {
    let field: FieldRef = Arc::new(Field::new("parameter", data_type.clone(), true));
    shape_of(&field).map(|(_, _, pg_type)| pg_type)
}
