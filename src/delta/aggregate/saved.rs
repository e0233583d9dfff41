//! The state of an aggregation as a record batch, from which another goes on.
//!
//! A row is a group:
//!
//! | column | type | what it is |
//! |---|---|---|
//! | `group_0`, ... | those of the group | the group |
//! | `rows` | Int64 | its row count; zero or negative where retractions came before their insertions |
//! | `until` | UInt64 | the tick from which it is gone; null for never |
//! | `state_0`, ... | LargeBinary | what each aggregate knows of it; together they can exceed 2 GiB |
//! | `checksum` | UInt32 | CRC-32 of all others |
//!
//! Rows stand by themselves: any of them can be loaded without the others. What belongs to no group is in the schema's
//! metadata: the version of these bytes, what is aggregated, and the tick at which values are settled next.
//!
//! Values of types other than numbers and times are saved as rows in Arrow's row format, which may differ from release
//! to release: `tests` has the bytes of this version.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, LargeBinaryArray, RecordBatch, RecordBatchOptions, UInt32Array,
    UInt64Array,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, UInt32Type, UInt64Type};
use arrow::row::{RowConverter, SortField};
use datafusion::error::{DataFusionError, Result as DataFusionResult};

use super::{Aggregate, GroupBySpec};
use crate::delta::updates::{Tick, take_rows};
use crate::detect::DecodeError;

/// The version of what is saved. Each change of the bytes of a state, also one of Arrow's, is another.
const VERSION: &str = "1";

/// Keys of the schema's metadata.
const VERSION_KEY: &str = "version";
const AGGREGATION_KEY: &str = "aggregation";
const SETTLING_KEY: &str = "next_settling";

/// Why saved groups cannot be loaded; the source of an [External](DataFusionError::External) error.
#[derive(Debug, thiserror::Error)]
pub enum SavedError {
    /// They were saved by another version of the engine.
    #[error("saved groups have version \"{found}\", \"{}\" expected", VERSION)]
    Version {
        /// Their version; empty where they say none.
        found: String,
    },
    /// They were saved by another aggregation: other columns, functions or conditions.
    #[error("saved groups are those of {found}, and not of {expected}")]
    Aggregation {
        /// What they say.
        found: String,
        /// The aggregation to load them into.
        expected: String,
    },
    /// A row is not what was saved.
    #[error("row {row} of saved groups does not match its checksum")]
    Checksum {
        /// Its place in the batch.
        row: usize,
    },
    /// What is said about all groups is not what was saved.
    #[error("saved groups have {key} \"{value}\", a tick expected")]
    Metadata {
        /// The key in the metadata.
        key: &'static str,
        /// Its value.
        value: String,
    },
    /// The state of a group is not what was saved.
    #[error(transparent)]
    State(#[from] DecodeError),
    /// Values in the state of a group are not what was saved.
    #[error("state of {kind} holds bytes that are no row of its columns")]
    Rows {
        /// The state that they are in.
        kind: &'static str,
    },
    /// A group is there already.
    #[error("row {row} of saved groups is a group that was loaded before")]
    Duplicate {
        /// Its place in the batch.
        row: usize,
    },
}

impl From<SavedError> for DataFusionError {
    fn from(error: SavedError) -> Self {
        DataFusionError::External(Box::new(error))
    }
}

/// The columns of saved groups.
struct Columns {
    group: Vec<ArrayRef>,
    rows: Int64Array,
    until: UInt64Array,
    states: Vec<LargeBinaryArray>,
}

impl Aggregate {
    /// The state, a row a group: the group's columns, then `rows` (Int64), `until` (UInt64, null for a group that
    /// never ends), a LargeBinary for each aggregate and a `checksum` (UInt32).
    /// [`load_groups`](Self::load_groups) takes it in.
    ///
    /// Groups without rows that nothing is left of are not among them, nor are groups that have ended. One whose
    /// retraction is still to be sent is; its `until` is in the past. Without group columns there is one row from the
    /// first tick on, and none before. Nothing changes, but the groups are numbered anew, which costs as much as
    /// [`snapshot`](crate::delta::operator::Operator::snapshot). Fails only where a column outgrows what Arrow can
    /// address.
    pub fn save_groups(&mut self) -> DataFusionResult<RecordBatch> {
        let groups = match self.spec.group_columns {
            0 => (0..u32::from(self.is_started)).collect(),
            _ => self.live(),
        };
        let untils = self.expiry.untils(self.counts.len());
        let until = |group: &u32| untils[*group as usize].filter(|until| *until < Tick::MAX);
        let states = self.accumulators.iter_mut().map(|a| a.save(&groups));
        let columns = Columns {
            states: states.collect::<Result<_, _>>()?,
            group: self.saved_keys(&groups)?,
            rows: groups.iter().map(|group| self.counts[*group as usize]).collect::<Vec<_>>().into(),
            until: groups.iter().map(until).collect(),
        };
        let checksums = UInt32Array::from(columns.checksums()?);
        let mut metadata = HashMap::from([
            (VERSION_KEY.to_owned(), VERSION.to_owned()),
            (AGGREGATION_KEY.to_owned(), aggregation(&self.spec)),
        ]);
        // Where no tick came before, none is known.
        if self.next_settling > 0 {
            metadata.insert(SETTLING_KEY.to_owned(), self.next_settling.to_string());
        }
        let Columns { group, rows, until, states } = columns;
        let mut all = group;
        all.extend([Arc::new(rows) as ArrayRef, Arc::new(until)]);
        all.extend(states.into_iter().map(|state| Arc::new(state) as ArrayRef));
        all.push(Arc::new(checksums));
        let schema = Arc::new(Schema::new_with_metadata(fields(&self.spec), metadata));
        let options = RecordBatchOptions::new().with_row_count(Some(groups.len()));
        Ok(RecordBatch::try_new_with_options(schema, all, &options)?)
    }

    /// Takes in groups that [`save_groups`](Self::save_groups) gave: all of them or some of the rows, under the same
    /// metadata. Called before the first tick, once or several times, each group at most once. With all of them loaded
    /// the results, and what each later tick changes, are those of the aggregation that saved them. Of several parts
    /// with another tick at which values are settled next, the latest counts, so that no value is settled sooner than
    /// after a horizon.
    ///
    /// Fails with a [`SavedError`] where they are of another version or aggregation, or damaged; a part of them may be
    /// loaded then, and this aggregate is of no use.
    pub fn load_groups(&mut self, saved: &RecordBatch) -> DataFusionResult<()> {
        assert_eq!(self.round, 0, "groups are loaded before the first tick");
        let next_settling = check(saved.schema_ref(), &self.spec)?;
        self.next_settling = self.next_settling.max(next_settling);
        let columns = Columns::of(saved, &self.spec)?;
        let numbers = self.load_keys(&columns.group, saved.num_rows())?;
        self.grow();
        for (group, rows) in numbers.iter().zip(columns.rows.values()) {
            self.counts[*group as usize] = *rows;
        }
        for (accumulator, states) in self.accumulators.iter_mut().zip(&columns.states) {
            accumulator.load(&numbers, states)?;
        }
        if !self.expiry.is_never() {
            let fields = self.spec.schema.fields()[..self.spec.group_columns].to_vec();
            let options = RecordBatchOptions::new().with_row_count(Some(numbers.len()));
            let schema = Arc::new(Schema::new(fields));
            let keys = RecordBatch::try_new_with_options(schema, columns.group, &options)?;
            let untils: Vec<Tick> = columns.until.iter().map(|until| until.unwrap_or(Tick::MAX)).collect();
            self.expiry.add(&keys, &numbers, &untils);
        }
        self.note_state();
        Ok(())
    }

    /// The columns of `groups`.
    fn saved_keys(&mut self, groups: &[u32]) -> DataFusionResult<Vec<ArrayRef>> {
        let fields = self.spec.schema.fields()[..self.spec.group_columns].to_vec();
        let schema = Arc::new(Schema::new(fields));
        if self.spec.group_columns == 0 {
            return Ok(vec![]);
        }
        let rows = self.keys.rows(schema)?;
        Ok(take_rows(&rows, &UInt32Array::from(groups.to_vec())).columns().to_vec())
    }

    /// The numbers of `rows` new groups of `columns`.
    fn load_keys(&mut self, columns: &[ArrayRef], rows: usize) -> DataFusionResult<Vec<u32>> {
        let mut numbers = Vec::new();
        if rows == 0 {
            return Ok(vec![]);
        }
        let mut known = self.keys.count();
        if self.spec.group_columns == 0 {
            // The one group has its number from the beginning.
            known = usize::from(std::mem::replace(&mut self.is_started, true));
        }
        self.keys.number(columns, rows, &mut numbers)?;
        let mut is_seen = vec![false; self.keys.count()];
        is_seen[..known].fill(true);
        for (row, number) in numbers.iter().enumerate() {
            if std::mem::replace(&mut is_seen[*number], true) {
                return Err(SavedError::Duplicate { row }.into());
            }
        }
        Ok(numbers.into_iter().map(|number| number as u32).collect())
    }
}

impl Columns {
    /// Those of `saved`, whose schema is checked.
    fn of(saved: &RecordBatch, spec: &GroupBySpec) -> DataFusionResult<Self> {
        let (group, others) = saved.columns().split_at(spec.group_columns);
        let (states, last) = others[2..].split_at(spec.aggregates.len());
        let columns = Columns {
            group: group.to_vec(),
            rows: others[0].as_primitive::<Int64Type>().clone(),
            until: others[1].as_primitive::<UInt64Type>().clone(),
            states: states.iter().map(|state| state.as_binary::<i64>().clone()).collect(),
        };
        let checksums = columns.checksums()?;
        let expected = last[0].as_primitive::<UInt32Type>();
        let damaged = (0..saved.num_rows()).find(|row| {
            let has_null =
                others.iter().enumerate().any(|(column, values)| column != 1 && values.is_null(*row));
            has_null || expected.value(*row) != checksums[*row]
        });
        damaged.map_or(Ok(columns), |row| Err(SavedError::Checksum { row }.into()))
    }

    fn checksums(&self) -> DataFusionResult<Vec<u32>> {
        let sorts = self.group.iter().map(|column| SortField::new(column.data_type().clone()));
        let converter = RowConverter::new(sorts.collect())?;
        let groups = match self.group.is_empty() {
            true => converter.empty_rows(0, 0),
            false => converter.convert_columns(&self.group)?,
        };
        let checksum = |row: usize| {
            let mut checksum = crc32fast::Hasher::new();
            if !self.group.is_empty() {
                checksum.update(groups.row(row).data());
            }
            checksum.update(&self.rows.value(row).to_le_bytes());
            let until = self.until.is_valid(row).then(|| self.until.value(row));
            checksum.update(&[u8::from(until.is_some())]);
            checksum.update(&until.unwrap_or_default().to_le_bytes());
            for states in &self.states {
                checksum.update(&(states.value(row).len() as u64).to_le_bytes());
                checksum.update(states.value(row));
            }
            checksum.finalize()
        };
        Ok((0..self.rows.len()).map(checksum).collect())
    }
}

/// The columns of the saved groups of `spec`.
fn fields(spec: &GroupBySpec) -> Vec<Field> {
    let group = spec.input.fields()[..spec.group_columns].iter().enumerate();
    // Two columns of a group can have one name.
    let mut fields: Vec<Field> =
        group.map(|(i, f)| Field::new(format!("group_{i}"), f.data_type().clone(), true)).collect();
    fields.push(Field::new("rows", DataType::Int64, false));
    fields.push(Field::new("until", DataType::UInt64, true));
    let states = 0..spec.aggregates.len();
    fields.extend(states.map(|i| Field::new(format!("state_{i}"), DataType::LargeBinary, false)));
    fields.push(Field::new("checksum", DataType::UInt32, false));
    fields
}

/// What is aggregated, for comparison with itself: states of two aggregations of one text are of the same form.
fn aggregation(spec: &GroupBySpec) -> String {
    let GroupBySpec { aggregates, input, retracts, until, .. } = spec;
    let types: Vec<&DataType> = input.fields().iter().map(|f| f.data_type()).collect();
    format!("{aggregates:?} over {types:?}, retracts {retracts}, until {until:?}")
}

/// Refuses what was not saved by `spec`; the tick at which values are settled next, 0 where none is known.
fn check(schema: &Schema, spec: &GroupBySpec) -> Result<Tick, SavedError> {
    let metadata = |key: &str| schema.metadata().get(key).map(String::as_str);
    let found = metadata(VERSION_KEY).unwrap_or_default();
    if found != VERSION {
        return Err(SavedError::Version { found: found.to_owned() });
    }
    let (found, expected) = (metadata(AGGREGATION_KEY).unwrap_or_default(), aggregation(spec));
    if found != expected {
        return Err(SavedError::Aggregation { found: found.to_owned(), expected });
    }
    let types = |fields: &[Field]| fields.iter().map(|f| f.data_type().clone()).collect::<Vec<_>>();
    let (found, expected) = (schema.fields().iter(), types(&fields(spec)));
    let found: Vec<DataType> = found.map(|field| field.data_type().clone()).collect();
    if found.len() != expected.len() || !found.iter().zip(&expected).all(|(a, b)| a.equals_datatype(b)) {
        return Err(SavedError::Aggregation {
            found: format!("{found:?}"),
            expected: format!("{expected:?}"),
        });
    }
    let value = metadata(SETTLING_KEY).unwrap_or("0");
    value.parse().map_err(|_| SavedError::Metadata { key: SETTLING_KEY, value: value.to_owned() })
}
