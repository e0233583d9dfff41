//! `corr`, `covar_samp`, `covar_pop` and the `regr_` functions: from exact sums.

use std::mem::size_of;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::cast::{as_binary_array, as_float64_array};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::functions_aggregate::{correlation, covariance, regr};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, ReversedUDAF, Signature,
};
use hashbrown::HashMap;

use super::accumulator::{decode_error, state_fields};
use crate::detect::pairs::{Pairs, PairsQuestion};

/// One of the functions, in place of DataFusion's; its arguments, `(y, x)`, are coerced to doubles.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Paired {
    stock: Arc<AggregateUDF>,
    question: PairsQuestion,
}

impl Paired {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        use PairsQuestion::*;
        let functions = [
            (correlation::corr_udaf(), Correlation),
            (covariance::covar_samp_udaf(), CovarianceSample),
            (covariance::covar_pop_udaf(), CovariancePopulation),
            (regr::regr_slope_udaf(), Slope),
            (regr::regr_intercept_udaf(), Intercept),
            (regr::regr_r2_udaf(), Determination),
            (regr::regr_avgx_udaf(), MeanX),
            (regr::regr_avgy_udaf(), MeanY),
            (regr::regr_sxx_udaf(), DeviationX),
            (regr::regr_syy_udaf(), DeviationY),
            (regr::regr_sxy_udaf(), DeviationXY),
        ];
        functions.into_iter().map(|(stock, question)| Paired { stock, question })
    }
}

/// What the function called `name` asks of pairs, if it is one of these.
pub fn pairs_question(name: &str) -> Option<PairsQuestion> {
    Paired::all().find(|function| function.name() == name).map(|function| function.question)
}

impl AggregateUDFImpl for Paired {
    fn name(&self) -> &str {
        self.stock.name()
    }

    fn aliases(&self) -> &[String] {
        self.stock.aliases()
    }

    fn signature(&self) -> &Signature {
        self.stock.signature()
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let counts = args.is_distinct.then(HashMap::new);
        Ok(Box::new(PairsAccumulator { question: self.question, state: Pairs::default(), counts }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(state_fields(&args))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.stock.documentation()
    }
}

/// One group's pairs.
#[derive(Debug)]
struct PairsAccumulator {
    question: PairsQuestion,
    state: Pairs,
    /// With DISTINCT, occurrences by bit pattern; zero ones are absent.
    counts: Option<HashMap<[u64; 2], i64>>,
}

impl PairsAccumulator {
    fn add_all(&mut self, values: &[ArrayRef], weight: i64) -> Result<()> {
        let [y, x, ..] = values else { return exec_err!("{:?} needs two arguments", self.question) };
        let (y, x) = (as_float64_array(y)?, as_float64_array(x)?);
        for row in (0..y.len()).filter(|row| y.is_valid(*row) && x.is_valid(*row)) {
            self.add(y.value(row), x.value(row), weight);
        }
        Ok(())
    }

    fn add(&mut self, y: f64, x: f64, weight: i64) {
        let Some(counts) = &mut self.counts else { return self.state.add(y, x, weight) };
        // Adding zero makes -0.0 the 0.0 it equals in GROUP BY.
        let (y, x) = (y + 0.0, x + 0.0);
        let key = [y.to_bits(), x.to_bits()];
        let count = counts.entry(key).or_insert(0);
        let was_present = *count > 0;
        *count += weight;
        let (is_present, is_gone) = (*count > 0, *count == 0);
        if is_gone {
            counts.remove(&key);
        }
        if is_present != was_present {
            self.state.add(y, x, if is_present { 1 } else { -1 });
        }
    }
}

impl Accumulator for PairsAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add_all(values, 1)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add_all(values, -1)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(self.state.answer(self.question)))
    }

    /// The sums; with DISTINCT the pairs, sixteen bytes each, in no particular order.
    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let bytes = match &self.counts {
            Some(counts) => counts.keys().flatten().flat_map(|bits| bits.to_le_bytes()).collect(),
            None => {
                let mut bytes = Vec::new();
                self.state.write_bytes(&mut bytes);
                bytes
            }
        };
        Ok(vec![ScalarValue::Binary(Some(bytes))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let Some(states) = states.first() else { return exec_err!("an aggregate's state has one column") };
        for bytes in as_binary_array(states)?.iter().flatten() {
            if self.counts.is_none() {
                self.state.merge_bytes(bytes).map_err(decode_error)?;
                continue;
            }
            let (values, rest) = bytes.as_chunks::<8>();
            let (pairs, single) = values.as_chunks::<2>();
            if !rest.is_empty() || !single.is_empty() {
                return exec_err!("state of distinct pairs has {} bytes", bytes.len());
            }
            pairs.iter().for_each(|[y, x]| self.add(f64::from_le_bytes(*y), f64::from_le_bytes(*x), 1));
        }
        Ok(())
    }

    fn size(&self) -> usize {
        let counts = self.counts.as_ref().map_or(0, HashMap::allocation_size);
        size_of::<Self>() + self.state.heap_bytes() + counts
    }
}
