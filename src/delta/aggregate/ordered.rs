//! Values of a column as keys that sort as the values do.

use std::cmp::Ordering;
use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, PrimitiveArray, new_empty_array, new_null_array};
use arrow::compute::interleave;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, RowParser, Rows, SortField};
use datafusion::error::Result as DataFusionResult;

use super::accumulator::downcast;
use super::state::decode;
use crate::detect::bytes::{DecodeError, Reader, put_bytes, put_wide};

/// How the values of a type are kept one by one.
pub(super) trait Ordered: 'static {
    /// A value by itself, in the order of the values.
    type Key: Ord + Clone + 'static;
    /// The values of a column.
    type Column;

    /// The values of `column`; what stands for a null means nothing.
    fn column(&self, column: &ArrayRef) -> DataFusionResult<Self::Column>;

    /// How the value of `row` compares with `key`.
    fn compare(column: &Self::Column, row: usize, key: &Self::Key) -> Ordering;

    /// The value of `row`.
    fn key(column: &Self::Column, row: usize) -> Self::Key;

    /// `keys` as an array; null for none.
    fn array(&self, keys: &[Option<&Self::Key>]) -> DataFusionResult<ArrayRef>;

    /// Appends `key` to `out`.
    fn write(key: &Self::Key, out: &mut Vec<u8>);

    /// The key that [`Ordered::write`] wrote.
    fn read(reader: &mut Reader<'_>) -> Result<Self::Key, DecodeError>;

    /// Fails unless all `keys`, which were read, stand for values.
    fn check(&self, _keys: &mut dyn Iterator<Item = &Self::Key>) -> DataFusionResult<()> {
        Ok(())
    }

    /// Bytes that `key` holds outside of itself.
    fn outer_bytes(_key: &Self::Key) -> usize {
        0
    }
}

/// Numbers whose order is that of their machine type: integers, decimals, times.
pub(super) struct Numbers<T> {
    data_type: DataType,
    native: PhantomData<T>,
}

impl<T> Numbers<T> {
    pub fn new(data_type: DataType) -> Self {
        Numbers { data_type, native: PhantomData }
    }
}

impl<T: ArrowPrimitiveType> Ordered for Numbers<T>
where
    T::Native: Ord + Into<i128> + TryFrom<i128>,
{
    type Key = T::Native;
    type Column = PrimitiveArray<T>;

    fn column(&self, column: &ArrayRef) -> DataFusionResult<PrimitiveArray<T>> {
        downcast::<PrimitiveArray<T>>(column).cloned()
    }

    #[inline]
    fn compare(column: &PrimitiveArray<T>, row: usize, key: &T::Native) -> Ordering {
        column.value(row).cmp(key)
    }

    #[inline]
    fn key(column: &PrimitiveArray<T>, row: usize) -> T::Native {
        column.value(row)
    }

    fn array(&self, keys: &[Option<&T::Native>]) -> DataFusionResult<ArrayRef> {
        let values: PrimitiveArray<T> = keys.iter().map(|key| key.copied()).collect();
        Ok(Arc::new(values.with_data_type(self.data_type.clone())))
    }

    fn write(key: &T::Native, out: &mut Vec<u8>) {
        put_wide(out, (*key).into());
    }

    fn read(reader: &mut Reader<'_>) -> Result<T::Native, DecodeError> {
        let wide = reader.wide()?;
        T::Native::try_from(wide).map_err(|_| reader.out_of_range("value", wide))
    }
}

/// Values of any type in Arrow's row format, whose bytes sort as the values.
pub(super) struct Encoded {
    data_type: DataType,
    converter: RowConverter,
    parser: RowParser,
}

impl Encoded {
    /// Fails where Arrow cannot order values of `data_type`.
    pub fn new(data_type: DataType) -> DataFusionResult<Self> {
        let converter = RowConverter::new(vec![SortField::new(data_type.clone())])?;
        Ok(Encoded { data_type, parser: converter.parser(), converter })
    }
}

impl Ordered for Encoded {
    type Key = Box<[u8]>;
    type Column = Rows;

    fn column(&self, column: &ArrayRef) -> DataFusionResult<Rows> {
        Ok(self.converter.convert_columns(std::slice::from_ref(column))?)
    }

    fn compare(column: &Rows, row: usize, key: &Box<[u8]>) -> Ordering {
        column.row(row).as_ref().cmp(key)
    }

    fn key(column: &Rows, row: usize) -> Box<[u8]> {
        column.row(row).as_ref().into()
    }

    fn array(&self, keys: &[Option<&Box<[u8]>>]) -> DataFusionResult<ArrayRef> {
        let rows = keys.iter().flatten().map(|key| self.parser.parse(key));
        let values = match keys.iter().any(Option::is_some) {
            true => self.converter.convert_rows(rows)?.swap_remove(0),
            false => new_empty_array(&self.data_type),
        };
        if values.len() == keys.len() {
            return Ok(values);
        }
        let null = new_null_array(&self.data_type, 1);
        let mut next = 0;
        let place = |key: &Option<_>| {
            next += key.is_some() as usize;
            if key.is_some() { (1, next - 1) } else { (0, 0) }
        };
        let places: Vec<(usize, usize)> = keys.iter().map(place).collect();
        Ok(interleave(&[null.as_ref(), values.as_ref()], &places)?)
    }

    fn write(key: &Box<[u8]>, out: &mut Vec<u8>) {
        put_bytes(out, key);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Box<[u8]>, DecodeError> {
        reader.bytes().map(Box::from)
    }

    fn check(&self, keys: &mut dyn Iterator<Item = &Box<[u8]>>) -> DataFusionResult<()> {
        let keys: Vec<&[u8]> = keys.map(AsRef::as_ref).collect();
        decode("extreme", &self.converter, [&self.data_type].into_iter(), &keys).map(drop)
    }

    fn outer_bytes(key: &Box<[u8]>) -> usize {
        key.len()
    }
}
