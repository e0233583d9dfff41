//! Detectors as window functions.

use std::fmt::Debug;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Float64Type, Int64Type, TimeUnit};
use datafusion::common::{exec_err, plan_err};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawWindowExpr};
use datafusion::logical_expr::{
    PartitionEvaluator, ScalarUDF, Signature, Volatility, WindowFunctionDefinition, WindowUDFImpl, lit,
};
use datafusion::physical_expr::PhysicalExpr;

use super::key_hash::KeyHash;
use super::options::Options;
use crate::delta::series::{Edit, SeriesFunction, column};

/// Something that looks at the values of a series in their order, and says a struct of each.
pub trait Detector: Debug + Send + Sync {
    /// Its name in SQL.
    fn name(&self) -> &'static str;

    /// The names of its options, in the order in which they may be given without names.
    fn options(&self) -> &'static [&'static str];

    /// Whether it asks for a hash of the key of its series.
    fn is_spread(&self) -> bool {
        false
    }

    /// The columns of its struct.
    fn fields(&self) -> Fields;

    /// It with `options`, over rows that are ordered by times or by whole numbers.
    ///
    /// # Errors
    ///
    /// An option out of its range.
    fn configure(&self, options: &Options, has_times: bool) -> DataFusionResult<Arc<dyn SeriesFunction>>;
}

/// A detector as DataFusion sees it.
#[derive(Debug)]
pub struct DetectorFunction {
    detector: Arc<dyn Detector>,
    signature: Signature,
}

impl DetectorFunction {
    /// The window function `detector(value, options ...) OVER (... ORDER BY place)`.
    pub fn new(detector: Arc<dyn Detector>) -> Self {
        DetectorFunction { detector, signature: Signature::user_defined(Volatility::Immutable) }
    }

    /// The columns of its struct.
    pub fn fields(&self) -> Fields {
        self.detector.fields()
    }

    /// Where among its arguments the hash of the key of its series is, if it asks for one: behind place and value.
    pub fn hash_at(&self) -> Option<usize> {
        self.detector.is_spread().then_some(2)
    }

    /// Arguments before the options.
    fn values(&self) -> usize {
        2 + usize::from(self.detector.is_spread())
    }

    /// What it is with `arguments`, of which the first is of type `place`.
    ///
    /// # Errors
    ///
    /// An option that is no constant or out of its range.
    pub fn configure(
        &self,
        place: &DataType,
        arguments: &[Arc<dyn PhysicalExpr>],
    ) -> DataFusionResult<Arc<dyn SeriesFunction>> {
        let options =
            Options::read(self.detector.options(), arguments.get(self.values()..).unwrap_or_default())?;
        self.detector.configure(&options, matches!(place, DataType::Timestamp(..)))
    }
}

impl PartialEq for DetectorFunction {
    fn eq(&self, other: &Self) -> bool {
        self.detector.name() == other.detector.name()
    }
}

impl Eq for DetectorFunction {}

impl Hash for DetectorFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.detector.name().hash(state);
    }
}

impl WindowUDFImpl for DetectorFunction {
    fn name(&self) -> &str {
        self.detector.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        let name = self.detector.name();
        let wrong = |expected: &str| plan_err!("{name}: {expected} is expected");
        match types {
            [place, value, others @ ..] if types.len() <= self.values() + self.detector.options().len() => {
                if !value.is_numeric() && !value.is_null() {
                    return wrong("a number");
                }
                let place = match place {
                    DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Nanosecond, zone.clone()),
                    DataType::Date32 | DataType::Date64 => DataType::Timestamp(TimeUnit::Nanosecond, None),
                    integer if integer.is_integer() => DataType::Int64,
                    _ => return wrong("ORDER BY a timestamp or a whole number"),
                };
                Ok([place, DataType::Float64].into_iter().chain(others.iter().cloned()).collect())
            }
            _ => wrong("one number and options"),
        }
    }

    fn field(&self, args: WindowUDFFieldArgs) -> DataFusionResult<FieldRef> {
        Ok(Arc::new(Field::new(args.name(), DataType::Struct(self.detector.fields()), true)))
    }

    fn partition_evaluator(
        &self,
        args: PartitionEvaluatorArgs,
    ) -> DataFusionResult<Box<dyn PartitionEvaluator>> {
        let place = args.input_fields().first().map_or(&DataType::Null, |field| field.data_type());
        let function = self.configure(place, args.input_exprs())?;
        Ok(Box::new(Evaluator { fields: self.detector.fields(), function, hash_at: self.hash_at() }))
    }
}

#[derive(Debug)]
struct Evaluator {
    fields: Fields,
    function: Arc<dyn SeriesFunction>,
    hash_at: Option<usize>,
}

impl PartitionEvaluator for Evaluator {
    fn evaluate_all(&mut self, arguments: &[ArrayRef], rows: usize) -> DataFusionResult<ArrayRef> {
        let [places, values, ..] = arguments else { return exec_err!("a detector without a value") };
        let places = cast(places, &DataType::Int64)?.as_primitive::<Int64Type>().clone();
        let values = cast(values, &DataType::Float64)?.as_primitive::<Float64Type>().clone();
        let edits =
            places.iter().zip(&values).map(|(place, value)| Edit::first(place, value.unwrap_or(f64::NAN)));
        let hash = match self.hash_at.and_then(|at| arguments.get(at)) {
            Some(hashes) => {
                cast(hashes, &DataType::Int64)?.as_primitive::<Int64Type>().iter().next().flatten()
            }
            None => None,
        };
        let mut state = self.function.begin(hash.unwrap_or(0) as u64);
        state.apply(&edits.collect::<Vec<_>>());
        let mut numbers = Vec::with_capacity(rows * self.fields.len());
        (0..rows).for_each(|row| state.result(row, &mut numbers));
        column(&self.fields, &numbers, self.fields.len(), 0)
    }
}

/// Gives detectors what their rows are ordered by as the first argument, and a hash of what they are partitioned by as the
/// third to those that ask for it: a window function does not see them otherwise.
#[derive(Debug)]
pub struct Places;

impl ExprPlanner for Places {
    fn plan_window(&self, mut call: RawWindowExpr) -> DataFusionResult<PlannerResult<RawWindowExpr>> {
        let WindowFunctionDefinition::WindowUDF(function) = &call.func_def else {
            return Ok(PlannerResult::Original(call));
        };
        let Some(detector) = function.inner().downcast_ref::<DetectorFunction>() else {
            return Ok(PlannerResult::Original(call));
        };
        let hash_at = detector.hash_at();
        let name = function.name();
        let [sort] = call.order_by.as_slice() else {
            return plan_err!("{name}: OVER (... ORDER BY one column) is expected, its rows are a series");
        };
        if !sort.asc {
            return plan_err!("{name}: ORDER BY {} is expected to ascend", sort.expr);
        }
        call.args.insert(0, sort.expr.clone());
        if let Some(at) = hash_at.filter(|at| *at <= call.args.len()) {
            let hash = match call.partition_by.is_empty() {
                true => lit(0_i64),
                false => ScalarUDF::new_from_impl(KeyHash::default()).call(call.partition_by.clone()),
            };
            call.args.insert(at, hash);
        }
        Ok(PlannerResult::Original(call))
    }
}
