//! The keys of a table's rows.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::row::{RowConverter, Rows, SortField};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::utils::normalize_float_zero;

use super::Part;
use crate::sql::error::{SqlError, WriteError};
use crate::sql::table::TableDefinition;

/// What a key takes beside its own bytes.
const KEY_BYTES: usize = 48;

/// The keys of all rows of a table: no two rows have the same.
pub struct KeyIndex {
    table: Arc<str>,
    definition: Arc<TableDefinition>,
    converter: RowConverter,
    keys: HashSet<Box<[u8]>>,
    bytes: usize,
}

impl KeyIndex {
    /// No keys yet, of the table `table`; `None` where it has no primary key.
    ///
    /// # Errors
    ///
    /// When a column of the key is of a type that cannot be compared.
    pub fn new(table: &str, definition: &Arc<TableDefinition>) -> Result<Option<Self>, SqlError> {
        if definition.primary_key.is_empty() {
            return Ok(None);
        }
        let field = |at: &usize| SortField::new(definition.schema.field(*at).data_type().clone());
        let converter = RowConverter::new(definition.primary_key.iter().map(field).collect())?;
        let definition = definition.clone();
        Ok(Some(KeyIndex { table: table.into(), definition, converter, keys: HashSet::new(), bytes: 0 }))
    }

    /// About how many bytes it takes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes the keys of `parts` in or out, by the sign of their diffs, one part after the other; all of
    /// them, or none where a key would be there twice.
    ///
    /// # Errors
    ///
    /// [`WriteError::Duplicate`].
    pub fn apply(&mut self, parts: &[Part]) -> Result<(), SqlError> {
        let mut done: Vec<(Box<[u8]>, bool)> = vec![];
        for (rows, diffs) in parts {
            let keys = self.keys_of(rows)?;
            for row in 0..keys.num_rows() {
                let key: Box<[u8]> = keys.row(row).data().into();
                let diff = diffs.get(row);
                let is_added = diff > 0;
                if is_added && (diff > 1 || self.keys.contains(&key)) {
                    self.undo(done);
                    return Err(self.duplicate(rows, row).into());
                }
                if self.set(key.clone(), is_added) {
                    done.push((key, is_added));
                }
            }
        }
        Ok(())
    }

    /// Which of `rows` have a key that no earlier one of them has.
    pub fn firsts(&self, rows: &RecordBatch) -> Result<Vec<bool>, SqlError> {
        let keys = self.keys_of(rows)?;
        let mut seen = HashSet::new();
        Ok((0..keys.num_rows()).map(|row| seen.insert(keys.row(row).data().to_vec())).collect())
    }

    /// Puts a key in or takes it out; whether that changed anything.
    fn set(&mut self, key: Box<[u8]>, is_added: bool) -> bool {
        let bytes = key.len() + KEY_BYTES;
        let is_changed = if is_added { self.keys.insert(key) } else { self.keys.remove(&key) };
        match (is_changed, is_added) {
            (true, true) => self.bytes += bytes,
            (true, false) => self.bytes -= bytes,
            (false, _) => {}
        }
        is_changed
    }

    fn undo(&mut self, done: Vec<(Box<[u8]>, bool)>) {
        for (key, is_added) in done.into_iter().rev() {
            self.set(key, !is_added);
        }
    }

    fn keys_of(&self, rows: &RecordBatch) -> Result<Rows, SqlError> {
        let columns = self.definition.primary_key.iter();
        // The two zeros are one key.
        let columns: Vec<ArrayRef> = columns.map(|at| normalize_float_zero(rows.column(*at))).collect();
        Ok(self.converter.convert_columns(&columns)?)
    }

    fn duplicate(&self, rows: &RecordBatch, row: usize) -> WriteError {
        let options = FormatOptions::default().with_null("null");
        let text = |at: &usize| {
            let column: &dyn Array = rows.column(*at).as_ref();
            let formatter = ArrayFormatter::try_new(column, &options);
            formatter.map_or_else(|error| error.to_string(), |f| f.value(row).to_string())
        };
        let names =
            self.definition.primary_key.iter().map(|at| self.definition.schema.field(*at).name().clone());
        WriteError::Duplicate {
            constraint: TableDefinition::key_name(&self.table),
            columns: names.collect::<Vec<_>>().join(", "),
            values: self.definition.primary_key.iter().map(text).collect::<Vec<_>>().join(", "),
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;
    use crate::delta::updates::Run;

    fn index() -> KeyIndex {
        let schema = Schema::new(vec![
            Field::new("x", DataType::Float64, false),
            Field::new("s", DataType::Utf8, false),
        ]);
        let definition = TableDefinition { primary_key: vec![0], ..TableDefinition::of_columns(&schema) };
        KeyIndex::new("t", &Arc::new(definition)).unwrap().unwrap()
    }

    fn rows(values: &[(f64, &str)]) -> RecordBatch {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Float64Array::from_iter_values(values.iter().map(|v| v.0))),
            Arc::new(StringArray::from_iter_values(values.iter().map(|v| v.1))),
        ];
        RecordBatch::try_new(index().definition.schema.clone(), columns).unwrap()
    }

    #[test]
    fn a_key_is_there_once_and_a_refused_change_leaves_none() {
        let mut index = index();
        index.apply(&[(rows(&[(0.0, "a"), (1.0, "b")]), Run::Constant(1))]).unwrap();
        let refused = index.apply(&[
            (rows(&[(1.0, "b")]), Run::Constant(-1)),
            (rows(&[(2.0, "c"), (-0.0, "d")]), Run::Constant(1)),
        ]);
        let text =
            "duplicate key value violates unique constraint \"t_pkey\": key (x) = (-0.0) already exists";
        assert_eq!(refused.unwrap_err().to_string(), text);
        // Nothing of it was done: 1 is still there, 2 is not.
        assert!(index.apply(&[(rows(&[(1.0, "z")]), Run::Constant(1))]).is_err());
        index
            .apply(&[
                (rows(&[(1.0, "b")]), Run::Constant(-1)),
                (rows(&[(1.0, "z"), (2.0, "c")]), Run::Constant(1)),
            ])
            .unwrap();
        assert_eq!(index.keys.len(), 3);
        let before = index.bytes();
        index
            .apply(&[(rows(&[(3.0, "")]), Run::Constant(1)), (rows(&[(3.0, "")]), Run::Constant(-1))])
            .unwrap();
        assert_eq!(index.bytes(), before);
    }

    #[test]
    fn the_first_of_each_key_is_told() {
        let rows = rows(&[(0.0, "a"), (f64::NAN, "b"), (-0.0, "c"), (f64::NAN, "d")]);
        assert_eq!(index().firsts(&rows).unwrap(), [true, true, false, false]);
    }
}
