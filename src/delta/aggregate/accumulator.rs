//! The state of one aggregate over all groups.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, LargeBinaryArray, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::error::{DataFusionError, Result as DataFusionResult};

use super::bits::BitAccumulator;
use super::count::{BoolAccumulator, CountAccumulator, DistinctAccumulator};
use super::extreme::extreme;
use super::integer::IntegerAccumulator;
use super::recomputed::{Call, RecomputedAccumulator};
use super::statistic::{PairsAccumulator, StatisticAccumulator};
use crate::delta::updates::{Diff, Run};
use crate::detect::exact_sum::moments::Divisor;
use crate::detect::pairs::PairsQuestion;
use crate::detect::quantile_sketch::{Bins, Mapping};
use crate::detect::retractable::{PercentileQuestion, Spread, SpreadQuestion, Total, TotalQuestion};

/// An aggregate function, and the state that it keeps a group.
#[derive(Clone, Debug, PartialEq)]
pub enum Function {
    /// Rows whose arguments are all not null; without arguments all rows. A number.
    Count,
    /// The sum of a number. An integer, or an exact sum of floats.
    Sum,
    /// The mean of a number. As the sum, and a count.
    Avg,
    /// The variance of floats, `is_sample` dividing by n - 1, or its root. Two exact sums and a count.
    Variance {
        /// Divides by n - 1 and not by n.
        is_sample: bool,
        /// Gives the standard deviation.
        is_root: bool,
    },
    /// The least value. The value where rows only come, else all distinct values.
    Min,
    /// The greatest value, as the least.
    Max,
    /// The bits of integers combined. A number for each of 64 bits, and one of values.
    Bits(BitFunction),
    /// Whether all are true. Two numbers.
    BoolAnd,
    /// Whether any is true. Two numbers.
    BoolOr,
    /// DDSketch quantiles, one output each. A sketch: a number for each bin in use.
    Percentile {
        /// Between 0 and 1, ascending or not.
        ranks: Vec<f64>,
        /// How far a result may be from the exact one, relatively.
        relative_error: f64,
    },
    /// Statistics of pairs of floats, one output each. Five exact sums and a count.
    Pairs {
        /// What is asked of the pairs.
        questions: Vec<PairsQuestion>,
    },
    /// Any other function, called anew for each group that changes. All of the group's values.
    Recomputed(Call),
}

/// How bits are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BitFunction {
    /// Those set in all values.
    And,
    /// Those set in any.
    Or,
    /// Those set in an odd number of values.
    Xor,
}

/// One aggregate of a [`GroupBySpec`](super::GroupBySpec).
#[derive(Clone, Debug, PartialEq)]
pub struct AggregateSpec {
    /// What is computed.
    pub function: Function,
    /// The columns of the input that are its arguments.
    pub arguments: Vec<usize>,
    /// The boolean column of the input that must be true for a row to count.
    pub filter: Option<usize>,
    /// Whether equal arguments count once.
    pub is_distinct: bool,
    /// The type of each output.
    pub output: DataType,
}

/// The state of one aggregate, by group number.
pub(super) trait Accumulator {
    /// Makes room for groups below `groups`.
    fn grow(&mut self, groups: usize);

    /// Adds or takes away `rows`, each to its group.
    fn update(&mut self, rows: &RecordBatch, groups: &[u32], diffs: &Run<Diff>) -> DataFusionResult<()>;

    /// The results of `groups`: an array for each output.
    fn evaluate(&self, groups: &[u32]) -> DataFusionResult<Vec<ArrayRef>>;

    /// Forgets all groups but `kept` (ascending) and renumbers those from 0.
    fn retain(&mut self, kept: &[u32]);

    /// Keeps of what came before the last call but one only what cannot be taken away; called once in a
    /// horizon. How many retractions came for what was settled already.
    fn settle(&mut self) -> u64 {
        0
    }

    /// Forgets what is settled of `group`, which has no rows any more.
    fn vanish(&mut self, _group: u32) {}

    /// Whether `group` is as if no row of it had come.
    fn is_empty(&self, group: u32) -> bool;

    /// The state of each of `groups` (ascending) as bytes.
    fn save(&mut self, groups: &[u32]) -> DataFusionResult<LargeBinaryArray>;

    /// Takes in what `save` gave for as many groups; `groups` are empty. Fails where the bytes are damaged; part of
    /// them may be taken in then.
    fn load(&mut self, groups: &[u32], states: &LargeBinaryArray) -> DataFusionResult<()>;

    /// Bytes held, about.
    fn bytes(&self) -> usize;
}

/// The accumulator of `spec` over rows of schema `input`.
pub(super) fn new_accumulator(
    spec: &AggregateSpec,
    input: &SchemaRef,
    retracts: bool,
) -> DataFusionResult<Box<dyn Accumulator>> {
    let arguments = spec.arguments.clone();
    // Behind a DISTINCT a value comes and goes only with its first and last row.
    let column = spec.arguments.first().copied().unwrap_or_default();
    let data_type = input.fields().get(column).map_or(DataType::Null, |f| f.data_type().clone());
    let inner: Box<dyn Accumulator> = match &spec.function {
        Function::Recomputed(call) => {
            return filtered(spec, RecomputedAccumulator::new(spec, call, input, retracts)?);
        }
        Function::Count => Box::new(CountAccumulator::new(arguments, spec.output.clone())),
        Function::Bits(function) => Box::new(BitAccumulator::new(*function, column, spec.output.clone())),
        Function::Pairs { questions } => Box::new(PairsAccumulator::new(questions.clone(), &arguments)),
        Function::Sum | Function::Avg if data_type != DataType::Float64 => {
            Box::new(IntegerAccumulator::new(spec.function.clone(), column, data_type, spec.output.clone())?)
        }
        Function::Sum => Box::new(StatisticAccumulator::<Total>::new(vec![TotalQuestion::Sum], column)),
        Function::Avg => Box::new(StatisticAccumulator::<Total>::new(vec![TotalQuestion::Mean], column)),
        Function::Variance { is_sample, is_root } => {
            let divisor = if *is_sample { Divisor::Sample } else { Divisor::Population };
            let question = SpreadQuestion { divisor, is_deviation: *is_root };
            Box::new(StatisticAccumulator::<Spread>::new(vec![question], column))
        }
        Function::Percentile { ranks, relative_error } => {
            let mapping = Mapping::new(*relative_error);
            let questions = ranks.iter().map(|p| PercentileQuestion { p: *p, mapping }).collect();
            Box::new(StatisticAccumulator::<Bins>::new(questions, column))
        }
        Function::Min | Function::Max => {
            extreme(spec.function == Function::Max, column, data_type, retracts)?
        }
        Function::BoolAnd | Function::BoolOr => {
            Box::new(BoolAccumulator::new(spec.function == Function::BoolAnd, column))
        }
    };
    match spec.is_distinct {
        true => filtered(spec, DistinctAccumulator::new(inner, spec.arguments.clone(), input)?),
        false => filtered(spec, inner),
    }
}

/// `inner` behind the FILTER of `spec`, if it has one.
fn filtered(
    spec: &AggregateSpec,
    inner: impl Into<Box<dyn Accumulator>>,
) -> DataFusionResult<Box<dyn Accumulator>> {
    Ok(match spec.filter {
        Some(filter) => Box::new(Filtered { inner: inner.into(), filter }),
        None => inner.into(),
    })
}

impl<A: Accumulator + 'static> From<A> for Box<dyn Accumulator> {
    fn from(accumulator: A) -> Self {
        Box::new(accumulator)
    }
}

/// An accumulator that sees only the rows for which a column is true.
struct Filtered {
    inner: Box<dyn Accumulator>,
    filter: usize,
}

impl Accumulator for Filtered {
    fn grow(&mut self, groups: usize) {
        self.inner.grow(groups);
    }

    fn update(&mut self, rows: &RecordBatch, groups: &[u32], diffs: &Run<Diff>) -> DataFusionResult<()> {
        let mask = rows
            .column(self.filter)
            .as_any()
            .downcast_ref::<BooleanArray>()
            .ok_or_else(|| DataFusionError::Internal("a FILTER that is no boolean".to_owned()))?;
        let mask = crate::delta::updates::without_nulls(mask);
        let picks: Vec<u32> = mask.values().set_indices().map(|i| i as u32).collect();
        if picks.len() == rows.num_rows() {
            return self.inner.update(rows, groups, diffs);
        }
        let kept: Vec<u32> = picks.iter().map(|i| groups[*i as usize]).collect();
        let diffs = diffs.take(&picks);
        let indices = UInt32Array::from(picks);
        let columns = rows.columns().iter().map(|c| take(c, &indices, None)).collect::<Result<_, _>>()?;
        self.inner.update(&RecordBatch::try_new(rows.schema(), columns)?, &kept, &diffs)
    }

    fn evaluate(&self, groups: &[u32]) -> DataFusionResult<Vec<ArrayRef>> {
        self.inner.evaluate(groups)
    }

    fn settle(&mut self) -> u64 {
        self.inner.settle()
    }

    fn vanish(&mut self, group: u32) {
        self.inner.vanish(group);
    }

    fn retain(&mut self, kept: &[u32]) {
        self.inner.retain(kept);
    }

    fn is_empty(&self, group: u32) -> bool {
        self.inner.is_empty(group)
    }

    fn save(&mut self, groups: &[u32]) -> DataFusionResult<LargeBinaryArray> {
        self.inner.save(groups)
    }

    fn load(&mut self, groups: &[u32], states: &LargeBinaryArray) -> DataFusionResult<()> {
        self.inner.load(groups, states)
    }

    fn bytes(&self) -> usize {
        self.inner.bytes()
    }
}

/// Keeps the entries of `values` at `kept`, which is ascending.
pub(super) fn retain<T>(values: &mut Vec<T>, kept: &[u32]) {
    for (to, from) in kept.iter().enumerate() {
        values.swap(to, *from as usize);
    }
    values.truncate(kept.len());
}

/// `column` as the array type that the plan says it has.
pub(super) fn downcast<A: Array + 'static>(column: &ArrayRef) -> DataFusionResult<&A> {
    column.as_any().downcast_ref::<A>().ok_or_else(|| {
        DataFusionError::Internal(format!(
            "a column of type {} where the plan says otherwise",
            column.data_type()
        ))
    })
}

/// `array` shared.
pub(super) fn one(array: impl Array + 'static) -> Vec<ArrayRef> {
    vec![Arc::new(array)]
}
