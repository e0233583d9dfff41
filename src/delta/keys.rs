//! Rows numbered by their value.

use arrow::array::{Array, ArrayData, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, make_array};
use arrow::compute::filter;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use datafusion::common::utils::normalize_float_zero;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::EmitTo;
use datafusion::physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion::physical_plan::aggregates::order::GroupOrdering;

/// Gives equal rows equal numbers, counted from 0: the grouping of DataFusion's own hash aggregate,
/// so that what is equal here is what a batch GROUP BY finds equal (null with null, NaN with NaN).
pub struct Keys {
    values: Option<Box<dyn GroupValues>>,
    schema: SchemaRef,
    /// Whether doubles count as the same only when all of their bits are.
    is_exact: bool,
}

impl Keys {
    /// No rows yet, of `schema`. Fails where DataFusion cannot group by a type.
    pub fn new(schema: SchemaRef) -> DataFusionResult<Self> {
        let values = match schema.fields().is_empty() {
            true => None,
            false => Some(new_group_values(schema.clone(), &GroupOrdering::None)?),
        };
        Ok(Keys { values, schema, is_exact: false })
    }

    /// The same for rows that stand for themselves: `-0.0` is not `0.0` here, and no NaN another.
    pub fn exact(schema: &Schema) -> DataFusionResult<Self> {
        let fields =
            schema.fields().iter().map(|f| f.as_ref().clone().with_data_type(bits_type(f.data_type())));
        let keys = Keys::new(SchemaRef::new(Schema::new(fields.collect::<Vec<_>>())))?;
        Ok(Keys { is_exact: true, ..keys })
    }

    /// The number of each of `rows` rows over `columns`, into `numbers`. New numbers follow the old
    /// without a gap, but not always in the order of the rows: rows whose hashes are equal (nulls do not
    /// count in a hash) come last. Fails only when the keys outgrow what Arrow can address in one column.
    pub fn number(
        &mut self,
        columns: &[ArrayRef],
        rows: usize,
        numbers: &mut Vec<usize>,
    ) -> DataFusionResult<()> {
        numbers.clear();
        match &mut self.values {
            Some(values) if self.is_exact => {
                let bits: Vec<ArrayRef> = columns.iter().map(|c| make_array(bits(c.to_data()))).collect();
                values.intern(&bits, numbers)
            }
            Some(values) => values.intern(columns, numbers),
            None => {
                numbers.resize(rows, 0);
                Ok(())
            }
        }
    }

    /// How many numbers are given out.
    pub fn count(&self) -> usize {
        self.values.as_ref().map_or(1, |values| values.len())
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.values.as_ref().map_or(0, |values| values.size())
    }

    /// The columns of all numbered rows, by number; none are left.
    pub fn take_all(&mut self) -> DataFusionResult<Vec<ArrayRef>> {
        self.values.as_mut().map_or(Ok(vec![]), |values| values.emit(EmitTo::All))
    }

    /// All numbered rows, by number, under `schema`, whose types are those of the keys.
    pub fn rows(&mut self, schema: SchemaRef) -> DataFusionResult<RecordBatch> {
        if self.count() == 0 {
            // Some keys of DataFusion cannot tell of nothing.
            return Ok(RecordBatch::new_empty(schema));
        }
        let columns = self.take_all()?;
        if self.values.is_some() {
            // They were numbered before, so there is room for them.
            self.renew(&columns)?;
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.count()));
        Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
    }

    /// Forgets the numbers that are false in `keep` and renumbers the others from 0, in order.
    pub fn retain(&mut self, keep: &[bool]) -> DataFusionResult<()> {
        let Some(values) = &mut self.values else { return Ok(()) };
        let columns = values.emit(EmitTo::All)?;
        let mask = BooleanArray::from(keep.to_vec());
        let columns = columns.iter().map(|c| filter(c, &mask)).collect::<Result<Vec<_>, _>>()?;
        self.renew(&columns)
    }

    /// Begins anew with the distinct rows of `columns`, taken out of these keys, numbered in their order.
    pub fn renew(&mut self, columns: &[ArrayRef]) -> DataFusionResult<()> {
        let fresh = |schema: &SchemaRef| new_group_values(schema.clone(), &GroupOrdering::None);
        let mut values = fresh(&self.schema)?;
        let mut numbers = Vec::new();
        values.intern(columns, &mut numbers)?;
        if !numbers.iter().enumerate().all(|(row, number)| row == *number) {
            values = fresh(&self.schema)?;
            for row in 0..numbers.len() {
                let one: Vec<ArrayRef> = columns.iter().map(|c| c.slice(row, 1)).collect();
                values.intern(&one, &mut Vec::new())?;
            }
        }
        self.values = Some(values);
        Ok(())
    }
}

/// `rows` with `0.0` for `-0.0` in their first `columns` columns: the two are one group, and a batch
/// GROUP BY shows it as `0.0` whichever came first.
pub fn with_one_zero(rows: RecordBatch, columns: usize) -> RecordBatch {
    let is_float = |f: &std::sync::Arc<Field>| f.data_type().is_floating();
    if !rows.schema_ref().fields()[..columns].iter().any(is_float) {
        return rows;
    }
    let (group, rest) = rows.columns().split_at(columns);
    let all = group.iter().map(normalize_float_zero).chain(rest.iter().cloned()).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    RecordBatch::try_new_with_options(rows.schema(), all, &options).expect("columns of the same types")
}

/// `data_type` with integers in place of floats, inside nested types too.
fn bits_type(data_type: &DataType) -> DataType {
    let field = |f: &std::sync::Arc<Field>| {
        std::sync::Arc::new(f.as_ref().clone().with_data_type(bits_type(f.data_type())))
    };
    match data_type {
        DataType::Float16 => DataType::Int16,
        DataType::Float32 => DataType::Int32,
        DataType::Float64 => DataType::Int64,
        DataType::List(item) => DataType::List(field(item)),
        DataType::LargeList(item) => DataType::LargeList(field(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(field(item), *size),
        DataType::Map(entries, is_sorted) => DataType::Map(field(entries), *is_sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(field).collect::<Fields>()),
        other => other.clone(),
    }
}

/// `data` as an array of its [`bits_type`].
fn bits(data: ArrayData) -> ArrayData {
    let data_type = bits_type(data.data_type());
    if data_type == *data.data_type() {
        return data;
    }
    let children = data.child_data().iter().cloned().map(bits).collect();
    let retyped = data.into_builder().data_type(data_type).child_data(children).build();
    retyped.expect("floats and integers of one width have one layout")
}

/// Which rows are the first of a number that is not below `known`.
pub fn firsts(numbers: &[usize], known: usize) -> impl Iterator<Item = bool> {
    let mut is_seen = vec![false; numbers.iter().map(|n| n + 1).max().unwrap_or(0).saturating_sub(known)];
    numbers.iter().map(move |number| {
        number.checked_sub(known).is_some_and(|index| !std::mem::replace(&mut is_seen[index], true))
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::StringArray;

    use super::*;

    /// Rows of four columns that differ only in where their nulls are have the same hash.
    fn columns(rows: &[[Option<&str>; 4]]) -> Vec<ArrayRef> {
        let column =
            |c: usize| std::sync::Arc::new(rows.iter().map(|r| r[c]).collect::<StringArray>()) as ArrayRef;
        (0..4).map(column).collect()
    }

    #[test]
    fn keys_without_rows_have_none() {
        let list = DataType::new_list(DataType::Utf8, true);
        for types in [vec![DataType::Utf8], vec![DataType::Utf8, DataType::Int64], vec![list]] {
            let fields = types.into_iter().map(|data_type| Field::new("c", data_type, true));
            let schema = SchemaRef::new(Schema::new(fields.collect::<Vec<_>>()));
            let mut keys = Keys::new(schema.clone()).unwrap();
            assert_eq!(keys.rows(schema).unwrap().num_rows(), 0);
        }
    }

    #[test]
    fn rows_of_equal_hashes_are_numbered_late_and_found_all_the_same() {
        let fields = (0..4).map(|i| Field::new(format!("c{i}"), DataType::Utf8, true));
        let mut keys = Keys::new(SchemaRef::new(Schema::new(fields.collect::<Vec<_>>()))).unwrap();
        let mut numbers = vec![];
        keys.number(&columns(&[[Some("s"), None, Some("t"), Some("")]]), 1, &mut numbers).unwrap();
        let known = keys.count();
        let rows = columns(&[[Some("s"), Some(""), Some("t"), None], [Some("x"), None, None, None]]);
        keys.number(&rows, 2, &mut numbers).unwrap();
        assert_eq!(numbers, [2, 1]);
        assert_eq!(firsts(&numbers, known).collect::<Vec<_>>(), [true, true]);
        let all = columns(&[
            [Some("s"), None, Some("t"), Some("")],
            [Some("s"), Some(""), Some("t"), None],
            [Some("x"); 4],
        ]);
        keys.renew(&all).unwrap();
        keys.number(&all, 3, &mut numbers).unwrap();
        assert_eq!(numbers, [0, 1, 2]);
    }
}
