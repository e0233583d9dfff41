//! Aggregates that are computed anew from all values of a group whenever one of them changes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, LargeBinaryArray, RecordBatch, RecordBatchOptions, new_empty_array};
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::row::{RowConverter, RowParser, SortField};
use datafusion::common::ScalarValue;
use datafusion::common::utils::normalize_float_zero;
use datafusion::error::Result as DataFusionResult;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

use super::accumulator::{Accumulator, AggregateSpec, retain};
use super::state::{decode, read_each, write_each};
use crate::delta::expression::guarded;
use crate::delta::updates::{Diff, Run};
use crate::detect::bytes::{put_bytes, put_signed};

/// A call of any aggregate function of DataFusion, made over the values of a group in one canonical order: that
/// of its arguments, the first before the others.
#[derive(Clone)]
pub struct Call {
    /// The function, over a schema of the columns [`AggregateSpec::arguments`], in that order. A DISTINCT that it
    /// is not told of is seen to here: it gets each row of arguments once, and `0.0` for `-0.0`.
    pub function: Arc<AggregateFunctionExpr>,
    /// How each of those columns is sorted.
    pub order: Vec<SortOptions>,
    /// Which of the sorted rows it reads.
    pub reads: Reads,
    /// What was written, by which calls are told apart.
    pub text: String,
}

/// Which of its rows a function reads once they are sorted. The others are not kept where rows only come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// All.
    All,
    /// So many from the beginning.
    First(usize),
    /// So many from the end.
    Last(usize),
}

impl PartialEq for Call {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.order == other.order
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// All rows of arguments of each group, sorted, in Arrow's row format, with their multiplicities.
pub(super) struct RecomputedAccumulator {
    spec: AggregateSpec,
    call: Call,
    /// The columns of the arguments, over which the function is called.
    schema: SchemaRef,
    converter: RowConverter,
    parser: RowParser,
    /// The rows that are enough for each group.
    kept: Reads,
    groups: Vec<Group>,
}

#[derive(Default)]
struct Group {
    rows: BTreeMap<Box<[u8]>, Diff>,
    bytes: usize,
}

impl Group {
    /// Forgets what is not to be read, if no row is ever taken away.
    fn prune(&mut self, reads: Reads) {
        let gone = match reads {
            Reads::First(count) if self.rows.len() > count => self.rows.pop_last(),
            Reads::Last(count) if self.rows.len() > count => self.rows.pop_first(),
            _ => None,
        };
        self.bytes -= gone.map_or(0, |(row, _)| row.len());
    }

    fn add(&mut self, row: &[u8], diff: Diff) {
        match self.rows.get_mut(row) {
            Some(count) => {
                *count += diff;
                if *count == 0 {
                    self.rows.remove(row);
                    self.bytes -= row.len();
                }
            }
            None if diff != 0 => {
                self.rows.insert(row.into(), diff);
                self.bytes += row.len();
            }
            None => {}
        }
    }
}

impl RecomputedAccumulator {
    /// Fails where the function cannot be called over these columns, or they cannot be sorted.
    pub fn new(
        spec: &AggregateSpec,
        call: &Call,
        input: &SchemaRef,
        retracts: bool,
    ) -> DataFusionResult<Self> {
        let fields: Vec<_> = spec.arguments.iter().map(|a| input.fields()[*a].clone()).collect();
        let sort = fields.iter().zip(&call.order);
        let sort = sort.map(|(f, options)| SortField::new_with_options(f.data_type().clone(), *options));
        let converter = RowConverter::new(sort.collect())?;
        call.function.create_accumulator()?;
        Ok(RecomputedAccumulator {
            spec: spec.clone(),
            call: call.clone(),
            schema: Arc::new(Schema::new(fields)),
            parser: converter.parser(),
            converter,
            kept: if retracts { Reads::All } else { call.reads },
            groups: vec![],
        })
    }

    /// Whether equal rows are left out here, and not by the function.
    fn is_distinct_here(&self) -> bool {
        self.spec.is_distinct && !self.call.function.is_distinct()
    }

    /// The rows of `groups`, each as often as it is there (if distinct, once), and how many each group has.
    fn rows(&self, groups: &[u32]) -> DataFusionResult<(RecordBatch, Vec<usize>)> {
        let (mut rows, mut lengths) = (vec![], vec![]);
        for group in groups {
            let before = rows.len();
            // A row that was retracted before it came has a negative multiplicity.
            for (row, count) in self.groups[*group as usize].rows.iter().filter(|(_, count)| **count > 0) {
                let times = if self.spec.is_distinct { 1 } else { *count as usize };
                rows.extend(std::iter::repeat_n(self.parser.parse(row), times));
            }
            lengths.push(rows.len() - before);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let columns = match rows.is_empty() {
            true => self.schema.fields().iter().map(|f| new_empty_array(f.data_type())).collect(),
            false => self.converter.convert_rows(rows)?,
        };
        Ok((RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?, lengths))
    }

    fn results(&self, groups: &[u32]) -> DataFusionResult<Vec<ScalarValue>> {
        let (rows, lengths) = self.rows(groups)?;
        let function = &self.call.function;
        let ordering = function.order_bys().iter().map(|item| item.expr.clone());
        let expressions: Vec<Arc<dyn PhysicalExpr>> =
            function.expressions().into_iter().chain(ordering).collect();
        let evaluate = |e: &Arc<dyn PhysicalExpr>| e.evaluate(&rows)?.into_array(rows.num_rows());
        let values = expressions.iter().map(evaluate).collect::<DataFusionResult<Vec<_>>>()?;
        let mut first = 0;
        let mut results = Vec::with_capacity(groups.len());
        for length in lengths {
            let mut accumulator = function.create_accumulator()?;
            if length > 0 {
                let slices: Vec<ArrayRef> = values.iter().map(|v| v.slice(first, length)).collect();
                accumulator.update_batch(&slices)?;
            }
            first += length;
            results.push(accumulator.evaluate()?);
        }
        Ok(results)
    }
}

impl Accumulator for RecomputedAccumulator {
    fn grow(&mut self, groups: usize) {
        self.groups.resize_with(groups, Group::default);
    }

    fn update(&mut self, rows: &RecordBatch, groups: &[u32], diffs: &Run<Diff>) -> DataFusionResult<()> {
        let columns = self.spec.arguments.iter().map(|a| rows.column(*a));
        let columns: Vec<ArrayRef> = match self.is_distinct_here() {
            true => columns.map(normalize_float_zero).collect(),
            false => columns.cloned().collect(),
        };
        if columns.is_empty() {
            groups.iter().enumerate().for_each(|(r, g)| self.groups[*g as usize].add(&[], diffs.get(r)));
            return Ok(());
        }
        let encoded = self.converter.convert_columns(&columns)?;
        for (row, group) in groups.iter().enumerate() {
            let group = &mut self.groups[*group as usize];
            group.add(encoded.row(row).as_ref(), diffs.get(row));
            group.prune(self.kept);
        }
        Ok(())
    }

    fn evaluate(&self, groups: &[u32]) -> DataFusionResult<Vec<ArrayRef>> {
        if groups.is_empty() {
            return Ok(vec![new_empty_array(&self.spec.output)]);
        }
        let results = guarded(|| self.results(groups))?;
        let array = ScalarValue::iter_to_array(results)?;
        Ok(vec![if *array.data_type() == self.spec.output {
            array
        } else {
            cast(&array, &self.spec.output)?
        }])
    }

    fn retain(&mut self, kept: &[u32]) {
        retain(&mut self.groups, kept);
    }

    fn is_empty(&self, group: u32) -> bool {
        self.groups[group as usize].rows.is_empty()
    }

    fn save(&mut self, groups: &[u32]) -> DataFusionResult<LargeBinaryArray> {
        Ok(write_each(groups, |group, out| {
            for (row, count) in &self.groups[group as usize].rows {
                put_bytes(out, row);
                put_signed(out, *count);
            }
        }))
    }

    fn load(&mut self, groups: &[u32], states: &LargeBinaryArray) -> DataFusionResult<()> {
        let mut all = vec![];
        read_each("rows", groups, states, |group, reader| {
            while !reader.is_at_end() {
                let (row, count) = (reader.bytes()?, reader.signed()?);
                let group = &mut self.groups[group as usize];
                if group.rows.insert(row.into(), count).is_some() || count == 0 {
                    return Err(reader.out_of_range("count", count));
                }
                group.bytes += row.len();
                all.push(row);
            }
            Ok(())
        })?;
        // Only to see that they are rows.
        let types = self.schema.fields().iter().map(|field| field.data_type());
        decode("rows", &self.converter, types, &all).map(drop)
    }

    fn bytes(&self) -> usize {
        // A node of the tree holds a pointer, a length and a count for each row.
        self.groups.iter().map(|g| size_of::<Group>() + g.bytes + g.rows.len() * 32).sum()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use arrow::datatypes::{DataType, Field};
    use datafusion::functions_aggregate::array_agg::array_agg_udaf;
    use datafusion::functions_aggregate::first_last::{first_value_udaf, last_value_udaf};
    use datafusion::functions_aggregate::median::median_udaf;
    use datafusion::logical_expr::AggregateUDF;
    use datafusion::physical_expr::aggregate::AggregateExprBuilder;
    use datafusion::physical_expr::expressions::Column;

    use super::*;
    use crate::delta::aggregate::{BitFunction, Function, GroupBySpec};
    use crate::delta::expression::RowMap;
    use crate::delta::plan::{Node, Plan};
    use crate::delta::testing::{Bag, Row, oracle, plan, schema};

    const LAST: SortOptions = SortOptions { descending: false, nulls_first: false };
    const DESCENDING: SortOptions = SortOptions { descending: true, nulls_first: true };

    /// `function` over the column `argument` in the order of `columns`, of which it is one.
    pub fn call(
        function: Arc<AggregateUDF>,
        reads: Reads,
        argument: usize,
        columns: &[(usize, SortOptions)],
        input: &SchemaRef,
    ) -> AggregateSpec {
        let places: Vec<usize> = columns.iter().map(|(column, _)| *column).collect();
        let kept = Arc::new(input.project(&places).unwrap());
        let place = places.iter().position(|column| *column == argument).unwrap();
        let argument = Arc::new(Column::new(kept.field(place).name(), place));
        let text = format!("{} {columns:?}", function.name());
        let function = AggregateExprBuilder::new(function, vec![argument]).schema(kept).alias(text.clone());
        let function = Arc::new(function.build().unwrap());
        let output = function.field().data_type().clone();
        let order = columns.iter().map(|(_, options)| *options).collect();
        let function = Function::Recomputed(Call { function, order, reads, text });
        AggregateSpec { function, arguments: places, filter: None, is_distinct: false, output }
    }

    /// `s`, and of `n`: all values, the distinct ones, all by `at` from the last on, the median, the first, the
    /// last by `at` from the last on, `bit_xor`, `bit_or`.
    fn groups(retracts: bool) -> Plan {
        let order = [1, 0, 2];
        let input = Arc::new(schema().project(&order).unwrap());
        let column = |i: &usize| Arc::new(Column::new(schema().field(*i).name(), *i)) as _;
        let projection = Some(order.iter().map(column).collect());
        let map = RowMap { predicate: None, projection, schema: input.clone() };
        let bits = |function| AggregateSpec {
            function: Function::Bits(function),
            arguments: vec![1],
            filter: None,
            is_distinct: false,
            output: DataType::Int64,
        };
        let all = call(array_agg_udaf(), Reads::All, 1, &[(1, LAST)], &input);
        let aggregates = vec![
            all.clone(),
            AggregateSpec { is_distinct: true, ..all },
            call(array_agg_udaf(), Reads::All, 1, &[(2, DESCENDING), (1, LAST)], &input),
            call(median_udaf(), Reads::All, 1, &[(1, LAST)], &input),
            call(first_value_udaf(), Reads::First(1), 1, &[(1, LAST)], &input),
            call(last_value_udaf(), Reads::Last(1), 1, &[(2, DESCENDING), (1, LAST)], &input),
            bits(BitFunction::Xor),
            bits(BitFunction::Or),
        ];
        let outputs = aggregates.iter().enumerate();
        let outputs = outputs.map(|(i, a)| Field::new(format!("a{i}"), a.output.clone(), true));
        let fields = [input.field(0).clone()].into_iter().chain(outputs);
        let output = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let spec = GroupBySpec {
            group_columns: 1,
            aggregates,
            input: input.clone(),
            schema: output.clone(),
            retracts,
            until: vec![],
            horizon_ms: None,
        };
        plan(1, vec![(Node::Map { input: 0, map }, input), (Node::Aggregate { input: 1, spec }, output)])
    }

    fn list(values: impl Iterator<Item = Option<i64>>) -> String {
        let texts: Vec<String> = values.map(|n| n.map_or("null".to_owned(), |n| n.to_string())).collect();
        format!("[{}]", texts.join(", "))
    }

    fn expected(rows: &[Row]) -> Bag {
        let mut groups: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
        rows.iter().for_each(|row| groups.entry(&row.1).or_default().push(row));
        let row = |(s, mut rows): (&str, Vec<&Row>)| {
            rows.sort_by_key(|row| (row.0.is_none(), row.0));
            let all: Vec<Option<i64>> = rows.iter().map(|row| row.0).collect();
            let distinct: BTreeSet<(bool, Option<i64>)> = all.iter().map(|n| (n.is_none(), *n)).collect();
            // Stable: rows of one time stay in the order of their numbers.
            rows.sort_by_key(|row| std::cmp::Reverse(row.2.unwrap_or(i64::MAX)));
            let known: Vec<i64> = all.iter().copied().flatten().collect();
            let middle = |half: usize| known[(known.len() - 1 + half) / 2];
            let null = "null".to_owned();
            let of_known = |value: &dyn Fn() -> String| if known.is_empty() { null.clone() } else { value() };
            let texts = vec![
                s.to_owned(),
                list(all.iter().copied()),
                list(distinct.iter().map(|(_, n)| *n)),
                list(rows.iter().map(|row| row.0)),
                of_known(&|| ((middle(0) + middle(1)) / 2).to_string()),
                all[0].map_or(null.clone(), |n| n.to_string()),
                rows.last().and_then(|row| row.0).map_or(null.clone(), |n| n.to_string()),
                of_known(&|| known.iter().fold(0, |bits, n| bits ^ n).to_string()),
                of_known(&|| known.iter().fold(0, |bits, n| bits | n).to_string()),
            ];
            (texts, 1)
        };
        groups.into_iter().map(row).collect()
    }

    #[test]
    fn equals_recomputation() {
        for retracts in [false, true] {
            oracle(&groups(retracts), 1, retracts, |inputs, _| expected(&inputs[0]));
        }
    }
}
