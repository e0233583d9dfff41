//! The only row of each key: what a subquery used as a value gives.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow::compute::interleave;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::row::{RowConverter, SortField};
use datafusion::error::Result as DataFusionResult;
use hashbrown::{HashMap, HashSet};

use super::distinct::COMPACT_ROWS_MIN;
use super::expression::message;
use super::keys::{Keys, with_one_zero};
use super::operator::{Changes, Operator, Part};
use super::stats::Counters;
use super::updates::{Diff, Run, Tick};

/// What is said of a key with several rows: PostgreSQL's words.
pub const SEVERAL_ROWS: &str = "more than one row returned by a subquery used as an expression";

/// Which columns are the key.
#[derive(Clone, Debug)]
pub struct SingleSpec {
    /// How many columns make the key; none where there is to be one row in all.
    pub key_columns: usize,
    /// The schema of input and result: the key, then the values.
    pub schema: SchemaRef,
}

/// The row of each key that has one; [`SEVERAL_ROWS`] is an error of each key while it has more, however equal they are.
///
/// Output: input rows, once each. Without key columns there is always exactly one row, of nulls while the input is empty.
/// State: the distinct values of each key with their multiplicities. Late and retracted rows are rows like others.
pub struct Single {
    spec: SingleSpec,
    keys: Keys,
    converter: RowConverter,
    /// A row of nulls, as the converter writes it.
    nulls: Value,
    groups: Vec<Group>,
    /// Whether the row without a key is out.
    is_started: bool,
    /// Bytes of all values.
    value_bytes: usize,
    counters: Arc<Counters>,
}

/// The values of a row beside its key, in Arrow's row format.
type Value = Box<[u8]>;

/// The rows of a key.
#[derive(Default)]
struct Group {
    count: Diff,
    values: HashMap<Value, Diff>,
}

/// What a key contributes.
#[derive(PartialEq)]
enum Standing {
    Nothing,
    One(Value),
    Several,
}

/// A key that a tick touches: where one of its rows stands in the input, and what it contributed before.
struct Touched {
    number: usize,
    place: (usize, usize),
    before: Standing,
}

impl Single {
    /// No rows yet. Fails where DataFusion cannot group by a type of the key or Arrow cannot compare one of the values.
    pub fn new(spec: SingleSpec, counters: Arc<Counters>) -> DataFusionResult<Self> {
        let (key, values) = spec.schema.fields().split_at(spec.key_columns);
        let converter =
            RowConverter::new(values.iter().map(|f| SortField::new(f.data_type().clone())).collect())?;
        let nulls: Vec<ArrayRef> = values.iter().map(|f| new_null_array(f.data_type(), 1)).collect();
        let nulls = converter.convert_columns(&nulls)?.row(0).as_ref().into();
        let keys = Keys::new(Arc::new(Schema::new(key.to_vec())))?;
        let groups = vec![];
        Ok(Single { spec, keys, converter, nulls, groups, is_started: false, value_bytes: 0, counters })
    }

    fn singles(&mut self, parts: Vec<Part>) -> DataFusionResult<Changes> {
        let normalized = |(rows, diffs)| (with_one_zero(rows, self.spec.key_columns), diffs);
        let parts: Vec<Part> = parts.into_iter().map(normalized).collect();
        let mut touched = vec![];
        if self.spec.key_columns == 0 {
            self.groups.resize_with(1, Group::default);
            let before = if self.is_started { self.standing(0) } else { Standing::Nothing };
            touched.push(Touched { number: 0, place: (0, 0), before });
            self.is_started = true;
        }
        let mut seen: HashSet<usize> = touched.iter().map(|t| t.number).collect();
        let mut numbers = vec![];
        for (part, (rows, diffs)) in parts.iter().enumerate() {
            let (key, values) = rows.columns().split_at(self.spec.key_columns);
            self.keys.number(key, rows.num_rows(), &mut numbers)?;
            self.groups.resize_with(self.keys.count(), Group::default);
            let values = self.converter.convert_columns(values)?;
            for (row, number) in numbers.iter().enumerate() {
                if seen.insert(*number) {
                    touched.push(Touched {
                        number: *number,
                        place: (part, row),
                        before: self.standing(*number),
                    });
                }
                self.add(*number, values.row(row).as_ref(), diffs.get(row));
            }
        }
        let changes = self.difference(&parts, touched)?;
        self.compact()?;
        Ok(changes)
    }

    fn add(&mut self, number: usize, value: &[u8], diff: Diff) {
        let group = &mut self.groups[number];
        group.count += diff;
        let count = group.values.entry_ref(value).or_insert_with(|| {
            self.value_bytes += value.len();
            0
        });
        *count += diff;
        if *count == 0 {
            group.values.remove(value);
            self.value_bytes -= value.len();
        }
    }

    fn standing(&self, number: usize) -> Standing {
        let group = &self.groups[number];
        match group.count {
            1 => {
                let value = group.values.iter().find(|(_, count)| **count > 0);
                value.map_or(Standing::Nothing, |(value, _)| Standing::One(value.clone()))
            }
            2.. => Standing::Several,
            _ if self.spec.key_columns == 0 => Standing::One(self.nulls.clone()),
            _ => Standing::Nothing,
        }
    }

    /// What the tick changes about the keys `touched`.
    fn difference(&self, parts: &[Part], touched: Vec<Touched>) -> DataFusionResult<Changes> {
        let mut changes = Changes::default();
        let (mut places, mut values, mut diffs) = (vec![], vec![], vec![]);
        let mut errors = 0;
        for Touched { number, place, before } in touched {
            let after = self.standing(number);
            if before == after {
                continue;
            }
            for (standing, diff) in [(before, -1), (after, 1)] {
                match standing {
                    Standing::Nothing => {}
                    Standing::Several => errors += diff,
                    Standing::One(value) => {
                        places.push(place);
                        values.push(value);
                        diffs.push(diff);
                    }
                }
            }
        }
        if errors != 0 {
            changes.errors.push((SEVERAL_ROWS.to_owned(), errors));
        }
        if !diffs.is_empty() {
            let mut columns = self.key_columns(parts, &places)?;
            let parser = self.converter.parser();
            columns.extend(self.converter.convert_rows(values.iter().map(|v| parser.parse(v)))?);
            changes.push(RecordBatch::try_new(self.spec.schema.clone(), columns)?, Run::from_vec(diffs));
        }
        Ok(changes)
    }

    fn key_columns(&self, parts: &[Part], places: &[(usize, usize)]) -> DataFusionResult<Vec<ArrayRef>> {
        let column = |index: usize| {
            let columns: Vec<&dyn Array> =
                parts.iter().map(|(rows, _)| rows.column(index).as_ref()).collect();
            Ok(interleave(&columns, places)?)
        };
        (0..self.spec.key_columns).map(column).collect()
    }

    /// Gives numbers back once most of them stand for keys that are gone.
    fn compact(&mut self) -> DataFusionResult<()> {
        let live = self.groups.iter().filter(|g| !g.values.is_empty()).count();
        if self.spec.key_columns == 0 || self.groups.len() < COMPACT_ROWS_MIN || live * 2 > self.groups.len()
        {
            return Ok(());
        }
        self.keys.retain(&self.groups.iter().map(|g| !g.values.is_empty()).collect::<Vec<_>>())?;
        self.groups.retain(|g| !g.values.is_empty());
        Ok(())
    }
}

impl Operator for Single {
    fn tick(&mut self, _tick: Tick, mut inputs: Vec<Vec<Part>>) -> Changes {
        let changes = self.singles(inputs.swap_remove(0)).unwrap_or_else(|error| {
            let errors = vec![(message(&error), 1)];
            Changes { errors, ..Changes::default() }
        });
        let groups = self.groups.len() * size_of::<Group>();
        self.counters.state_bytes(self.keys.bytes() + groups + self.value_bytes);
        self.counters.state_rows(self.groups.len());
        changes
    }
}

#[cfg(test)]
mod tests {
    use datafusion::physical_expr::expressions::{Column, IsNullExpr};
    use expect_test::expect;

    use super::*;
    use crate::delta::expression::RowMap;
    use crate::delta::plan::Node;
    use crate::delta::testing::{Bag, batch, oracle, plan, render, row_texts, schema};
    use crate::delta::updates::Updates;

    fn tick(single: &mut Single, rows: &[(&[(i64, &str)], Diff)]) -> String {
        let parts = rows.iter().map(|(rows, diff)| (batch(rows), Run::Constant(*diff))).collect();
        let changes = single.tick(1, vec![parts]);
        let updates: Vec<_> = changes.rows.into_iter().map(|(rows, d)| Updates::at(rows, 1, d)).collect();
        let errors = changes.errors.iter().map(|(message, diff)| format!("{message} {diff:+}\n"));
        render(&updates) + &errors.collect::<String>()
    }

    fn single(key_columns: usize) -> Single {
        Single::new(SingleSpec { key_columns, schema: batch(&[]).schema() }, Arc::default()).unwrap()
    }

    #[test]
    fn several_rows_of_a_key_are_an_error_until_one_is_left() {
        let mut single = single(1);
        expect![[r#"
            1 a @1 +1
            2 b @1 +1
        "#]]
        .assert_eq(&tick(&mut single, &[(&[(1, "a"), (2, "b")], 1)]));
        // Two equal rows are two rows.
        expect![[r#"
            1 a @1 -1
            more than one row returned by a subquery used as an expression +1
        "#]]
        .assert_eq(&tick(&mut single, &[(&[(1, "a")], 1)]));
        expect![""].assert_eq(&tick(&mut single, &[(&[(1, "c")], 1)]));
        expect![[r#"
            1 c @1 +1
            more than one row returned by a subquery used as an expression -1
        "#]]
        .assert_eq(&tick(&mut single, &[(&[(1, "a"), (1, "a")], -1)]));
        expect![[r#"
            1 c @1 -1
            1 d @1 +1
            2 b @1 -1
        "#]]
        .assert_eq(&tick(&mut single, &[(&[(1, "c"), (2, "b")], -1), (&[(1, "d")], 1)]));
    }

    #[test]
    fn without_keys_there_is_always_a_row() {
        let mut single = single(0);
        assert_eq!(tick(&mut single, &[]), "null null @1 +1\n");
        assert_eq!(tick(&mut single, &[]), "");
        assert_eq!(tick(&mut single, &[(&[(1, "a")], 1)]), "1 a @1 +1\nnull null @1 -1\n");
        assert_eq!(tick(&mut single, &[(&[(1, "a")], -1)]), "1 a @1 -1\nnull null @1 +1\n");
    }

    /// Keys are whole rows here, so that none has several; numbers that come and go are compacted.
    #[test]
    fn equals_recomputation() {
        let is_null = Arc::new(IsNullExpr::new(Arc::new(Column::new("at", 2))));
        let map = RowMap { predicate: Some(is_null), projection: None, schema: schema() };
        for retracts in [false, true] {
            let nodes = vec![
                (Node::Distinct { input: 0, retracts, horizon_ms: None }, schema()),
                (Node::Map { input: 1, map: map.clone() }, schema()),
                (Node::Single { input: 2, spec: SingleSpec { key_columns: 2, schema: schema() } }, schema()),
            ];
            oracle(&plan(1, nodes), 1, retracts, |inputs, _| {
                let alone = inputs[0].iter().filter(|row| row.2.is_none());
                alone.map(|row| (row_texts(row), 1)).collect::<Bag>()
            });
        }
    }
}
