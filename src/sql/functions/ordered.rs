//! Aggregates whose result depends on the order of rows, over one canonical order.
//!
//! DataFusion gives these functions rows in the order in which they happen to come, where the query leaves it
//! open: without an ORDER BY in the call, and where rows are equal by it. Here the order is always whole: first
//! as the call says, then by the arguments from left to right, ascending and with nulls last. So the result is a
//! function of the multiset of rows, the same in a batch query and in a view.

use std::any::Any;
use std::mem::size_of;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray};
use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::arrow::row::{RowConverter, RowParser, SortField};
use datafusion::common::utils::normalize_float_zero;
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, exec_err};
use datafusion::logical_expr::expr::AggregateFunctionParams;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, ReversedUDAF, Signature,
};
use datafusion::physical_expr::expressions::Literal;

use crate::delta::aggregate::Reads;

/// The functions of DataFusion whose result depends on the order of rows. The estimates of percentiles are among
/// them: what a t-digest merges depends on what it saw before.
const ORDERED: [&str; 9] = [
    "any_value",
    "approx_median",
    "approx_percentile_cont",
    "approx_percentile_cont_with_weight",
    "array_agg",
    "first_value",
    "last_value",
    "nth_value",
    "string_agg",
];

/// How many rows are kept before those are dropped that will not be read.
const PRUNE_ROWS_MIN: usize = if cfg!(test) { 8 } else { 1024 };

/// How an argument is sorted after what the call says.
pub const ARGUMENT_ORDER: SortOptions = SortOptions { descending: false, nulls_first: false };

/// The function `stock` over the canonical order.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Ordered {
    stock: Arc<AggregateUDF>,
}

impl Ordered {
    /// What takes the place of `function` in an aggregation, if its result depends on the order of rows; also of
    /// `bit_xor(DISTINCT x)`, whose states DataFusion cannot hand from one stage to the next.
    pub fn in_place_of(function: &Arc<AggregateUDF>, is_distinct: bool) -> Option<AggregateUDF> {
        let is_ordered = ORDERED.contains(&function.name()) || is_distinct && function.name() == "bit_xor";
        let is_new = Ordered::stock(function).is_none();
        (is_ordered && is_new).then(|| AggregateUDF::new_from_impl(Ordered { stock: Arc::clone(function) }))
    }

    /// The function that `function` is in place of, which must be given its rows in the canonical order.
    pub fn stock(function: &AggregateUDF) -> Option<&Arc<AggregateUDF>> {
        let implementation: &dyn Any = function.inner().as_ref();
        implementation.downcast_ref::<Ordered>().map(|ordered| &ordered.stock)
    }
}

/// Whether `stock` must be told of the ORDER BY although its rows come sorted: percentiles of a WITHIN GROUP
/// count from its other end if it is descending.
pub fn reads_order(stock: &AggregateUDF) -> bool {
    stock.supports_within_group_clause()
}

/// Which of its sorted rows the function called `name` reads; `second` is its second argument.
pub fn rows_read(name: &str, second: Option<&ScalarValue>, has_order: bool, ignores_nulls: bool) -> Reads {
    match (name, second) {
        _ if ignores_nulls => Reads::All,
        ("first_value", _) => Reads::First(1),
        // It passes over nulls, which are last by themselves.
        ("any_value", _) if !has_order => Reads::First(1),
        ("last_value", _) => Reads::Last(1),
        ("nth_value", Some(ScalarValue::Int64(Some(n)))) if *n > 0 => Reads::First(*n as usize),
        ("nth_value", Some(ScalarValue::Int64(Some(n)))) => Reads::Last(n.unsigned_abs() as usize),
        _ => Reads::All,
    }
}

impl AggregateUDFImpl for Ordered {
    fn name(&self) -> &str {
        self.stock.name()
    }

    fn aliases(&self) -> &[String] {
        self.stock.aliases()
    }

    fn schema_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.stock.schema_name(params)
    }

    fn human_display(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.stock.human_display(params)
    }

    fn display_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.stock.display_name(params)
    }

    fn signature(&self) -> &Signature {
        self.stock.signature()
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.stock.coerce_types(arg_types)
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.stock.return_type(arg_types)
    }

    fn return_field(&self, arg_fields: &[FieldRef]) -> Result<FieldRef> {
        self.stock.return_field(arg_fields)
    }

    fn is_nullable(&self) -> bool {
        self.stock.is_nullable()
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.stock.default_value(data_type)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Sorting::new(&self.stock, args)?))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format_state_name(args.name, "rows"), DataType::LargeBinary, true))])
    }

    /// Not insensitive: only so does DataFusion hand over what the call orders by.
    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Beneficial
    }

    fn with_beneficial_ordering(self: Arc<Self>, _: bool) -> Result<Option<Arc<dyn AggregateUDFImpl>>> {
        Ok(Some(self))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::NotSupported
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.stock.supports_null_handling_clause()
    }

    fn supports_within_group_clause(&self) -> bool {
        self.stock.supports_within_group_clause()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.stock.documentation()
    }
}

/// Keeps all rows, and gives them to `inner` once they are sorted.
#[derive(Debug)]
struct Sorting {
    inner: Box<dyn Accumulator>,
    reads_order: bool,
    is_distinct: bool,
    reads: Reads,
    arguments: usize,
    /// Rows of what the call orders by, then of the arguments, in a format whose bytes sort as they do.
    converter: RowConverter,
    parser: RowParser,
    rows: Vec<Box<[u8]>>,
    bytes: usize,
}

impl Sorting {
    fn new(stock: &AggregateUDF, args: AccumulatorArgs) -> Result<Self> {
        let is_distinct = args.is_distinct;
        if is_distinct && !args.order_bys.iter().all(|o| args.exprs.iter().any(|e| e.eq(&o.expr))) {
            return exec_err!(
                "In an aggregate with DISTINCT, ORDER BY expressions must appear in argument list"
            );
        }
        let ordered = args.order_bys.iter().map(|o| Ok((o.expr.data_type(args.schema)?, o.options)));
        let arguments = args.exprs.iter().map(|e| Ok((e.data_type(args.schema)?, ARGUMENT_ORDER)));
        let fields = ordered
            .chain(arguments)
            .map(|field| field.map(|(data_type, options)| SortField::new_with_options(data_type, options)));
        let converter = RowConverter::new(fields.collect::<Result<_>>()?)?;
        let (reads_order, arguments) = (reads_order(stock), args.exprs.len());
        let second = args.exprs.get(1).and_then(|e| e.downcast_ref::<Literal>()).map(Literal::value);
        let reads = rows_read(stock.name(), second, !args.order_bys.is_empty(), args.ignore_nulls);
        let order_bys = if reads_order { args.order_bys } else { &[] };
        let inner = stock.accumulator(AccumulatorArgs { order_bys, is_distinct: false, ..args })?;
        let parser = converter.parser();
        Ok(Sorting {
            inner,
            reads_order,
            is_distinct,
            reads,
            arguments,
            converter,
            parser,
            rows: vec![],
            bytes: 0,
        })
    }

    fn sort(&mut self) {
        self.rows.sort_unstable();
        if self.is_distinct {
            self.rows.dedup();
        }
    }

    /// Forgets what will not be read, once it is the most.
    fn prune(&mut self) {
        let (Reads::First(count) | Reads::Last(count)) = self.reads else { return };
        if self.rows.len() < PRUNE_ROWS_MIN || self.rows.len() / 2 < count {
            return;
        }
        self.sort();
        let excess = self.rows.len().saturating_sub(count);
        match self.reads {
            Reads::Last(_) => drop(self.rows.drain(..excess)),
            _ => self.rows.truncate(count),
        }
        self.bytes = self.rows.iter().map(|row| row.len()).sum();
    }

    fn push(&mut self, row: &[u8]) {
        self.bytes += row.len();
        self.rows.push(row.into());
    }
}

impl Accumulator for Sorting {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let (arguments, ordered) = values.split_at(self.arguments.min(values.len()));
        let columns = ordered.iter().chain(arguments);
        let columns: Vec<ArrayRef> = match self.is_distinct {
            true => columns.map(normalize_float_zero).collect(),
            false => columns.cloned().collect(),
        };
        let rows = self.converter.convert_columns(&columns)?;
        rows.iter().for_each(|row| self.push(row.as_ref()));
        self.prune();
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.sort();
        let rows = std::mem::take(&mut self.rows);
        if !rows.is_empty() {
            let columns = self.converter.convert_rows(rows.iter().map(|row| self.parser.parse(row)))?;
            let (ordered, arguments) = columns.split_at(columns.len() - self.arguments);
            let ordered = if self.reads_order { ordered } else { &[] };
            self.inner.update_batch(&[arguments, ordered].concat())?;
        }
        self.inner.evaluate()
    }

    /// All rows, each after its length.
    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let mut bytes = Vec::with_capacity(self.bytes + self.rows.len() * 4);
        for row in std::mem::take(&mut self.rows) {
            let length = u32::try_from(row.len()).map_err(|_| {
                exec_datafusion_err!("a row of {} bytes in an ordered aggregate, 4 GiB allowed", row.len())
            })?;
            bytes.extend(length.to_le_bytes());
            bytes.extend(row);
        }
        Ok(vec![ScalarValue::LargeBinary(Some(bytes))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let Some(states) = states.first().and_then(|s| s.as_binary_opt::<i64>()) else {
            return exec_err!("an ordered aggregate's state is a column of bytes");
        };
        for mut rest in states.iter().flatten() {
            while let Some((length, after)) = rest.split_first_chunk::<4>() {
                let Some((row, after)) = after.split_at_checked(u32::from_le_bytes(*length) as usize) else {
                    return exec_err!("an ordered aggregate's state ends early");
                };
                self.push(row);
                rest = after;
            }
            self.prune();
        }
        Ok(())
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.bytes + self.rows.capacity() * size_of::<Box<[u8]>>() + self.inner.size()
    }
}
