//! Isolation forests: trained by an aggregate, asked by a scalar function.

use std::collections::VecDeque;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, BinaryViewArray, BooleanArray, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::external;
use super::options::Options;
use crate::detect::isolation_forest::{Forest, Options as Training, SAMPLE_SIZE_MAX, Sample, TREES_MAX};

/// The most forests that are kept for the next batch.
const RECENT_MAX: usize = 64;
/// The most bytes that those take, where they are more than one.
const RECENT_BYTES_MAX: usize = 32 << 20;

/// The options of the aggregate, which come before the features.
pub(super) const OPTIONS: &[&str] = &["trees", "sample_size", "seed"];

/// The type of a forest: a view of its bytes, which rows beside it share.
pub(super) const FOREST: DataType = DataType::BinaryView;

/// `isolation_forest(feature, ... [, trees => n, sample_size => n, seed => n])`: a forest trained on the rows of the group;
/// null without rows. A feature that is null is missing.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Train {
    signature: Signature,
}

impl Default for Train {
    fn default() -> Self {
        Train { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for Train {
    fn name(&self) -> &str {
        "isolation_forest"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        match types.split_at_checked(OPTIONS.len()) {
            Some((options, features)) if !features.is_empty() && features.iter().all(is_feature) => {
                let features = features.iter().map(|_| DataType::Float64);
                Ok(options.iter().cloned().chain(features).collect())
            }
            _ => plan_err!("isolation_forest: numbers, which are its features, are expected"),
        }
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(FOREST)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> DataFusionResult<Box<dyn Accumulator>> {
        let options = Options::read(OPTIONS, args.exprs.get(..OPTIONS.len()).unwrap_or_default())?;
        let defaults = Training::default();
        let count = |count: Option<usize>, default: u32| count.map_or(default, |count| count as u32);
        let training = Training {
            trees: count(options.count("trees", 1..=TREES_MAX as usize)?, defaults.trees),
            sample_size: count(
                options.count("sample_size", 2..=SAMPLE_SIZE_MAX as usize)?,
                defaults.sample_size,
            ),
            seed: options.count("seed", 0..=i64::MAX as usize)?.map_or(defaults.seed, |seed| seed as u64),
            ..defaults
        };
        let features = args.exprs.len().saturating_sub(OPTIONS.len());
        Ok(Box::new(Trainer { training, is_distinct: args.is_distinct, sample: Sample::new(features) }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> DataFusionResult<Vec<FieldRef>> {
        let name = format!("{}[sample]", args.name);
        Ok(vec![Arc::new(Field::new(name, DataType::Binary, true))])
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// Whether values of this type can be features.
fn is_feature(data_type: &DataType) -> bool {
    data_type.is_numeric() || data_type.is_null() || data_type == &DataType::Boolean
}

#[derive(Debug)]
struct Trainer {
    training: Training,
    is_distinct: bool,
    sample: Sample,
}

impl Trainer {
    fn add(&mut self, arguments: &[ArrayRef], weight: i64) -> DataFusionResult<()> {
        let columns = features(arguments.get(OPTIONS.len()..).unwrap_or_default())?;
        let rows = columns.first().map_or(0, |column| column.len());
        let mut row = vec![0.0; columns.len()];
        for index in 0..rows {
            row.iter_mut().zip(&columns).for_each(|(value, column)| *value = column[index]);
            self.sample.add(&row, weight);
        }
        Ok(())
    }
}

/// The values of columns; NaN where there is none.
fn features(columns: &[ArrayRef]) -> DataFusionResult<Vec<Vec<f64>>> {
    let values = |column: &ArrayRef| {
        let column = cast(column, &DataType::Float64)?;
        let column: &Float64Array = column.as_primitive::<Float64Type>();
        Ok(match column.null_count() {
            0 => column.values().to_vec(),
            _ => column.iter().map(|value| value.unwrap_or(f64::NAN)).collect(),
        })
    };
    columns.iter().map(values).collect()
}

impl Accumulator for Trainer {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        self.add(values, 1)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> DataFusionResult<()> {
        self.add(values, -1)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> DataFusionResult<ScalarValue> {
        if self.sample.distinct() == 0 {
            return Ok(ScalarValue::BinaryView(None));
        }
        let once = self.is_distinct.then(|| self.sample.each_once());
        let forest =
            Forest::train_on(once.as_ref().unwrap_or(&self.sample), &self.training).map_err(external)?;
        Ok(ScalarValue::BinaryView(Some(forest.to_bytes())))
    }

    fn state(&mut self) -> DataFusionResult<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Binary(Some(self.sample.to_bytes()))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DataFusionResult<()> {
        let [states] = states else { return exec_err!("the state of a sample has one column") };
        for bytes in states.as_binary::<i32>().iter().flatten() {
            let sample = Sample::from_bytes(bytes).map_err(external)?;
            self.sample.merge(&sample).map_err(external)?;
        }
        Ok(())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.sample.heap_bytes()
    }
}

/// `isolation_forest_score(forest, feature, ...)`: from 0 to 1, how anomalous a row is; null without a forest.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Score {
    signature: Signature,
    recent: Recent,
}

impl Default for Score {
    fn default() -> Self {
        Score { signature: Signature::user_defined(Volatility::Immutable), recent: Recent::default() }
    }
}

impl ScalarUDFImpl for Score {
    fn name(&self) -> &str {
        "isolation_forest_score"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        match types {
            [
                DataType::BinaryView | DataType::Binary | DataType::LargeBinary | DataType::Null,
                features @ ..,
            ] if !features.is_empty() && features.iter().all(is_feature) => {
                let features = features.iter().map(|_| DataType::Float64);
                Ok([FOREST].into_iter().chain(features).collect())
            }
            _ => plan_err!("isolation_forest_score: a model and numbers are expected"),
        }
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let Some((forests, columns)) = arrays.split_first() else {
            return exec_err!("isolation_forest_score: a model is expected");
        };
        let forests = cast(forests, &FOREST)?;
        Ok(ColumnarValue::Array(Arc::new(scores(&self.recent, forests.as_binary_view(), columns)?)))
    }
}

/// Runs of rows with one forest are scored together.
fn scores(
    recent: &Recent,
    forests: &BinaryViewArray,
    columns: &[ArrayRef],
) -> DataFusionResult<Float64Array> {
    let columns = features(columns)?;
    let mut scores: Vec<f64> = Vec::with_capacity(forests.len());
    let mut known = vec![];
    let mut start = 0;
    while start < forests.len() {
        let end =
            (start + 1..forests.len()).find(|row| !is_same(forests, start, *row)).unwrap_or(forests.len());
        if forests.is_valid(start) {
            let forest = recent.forest(forests.value(start))?;
            let slices: Vec<&[f64]> = columns.iter().map(|column| &column[start..end]).collect();
            scores.extend(forest.scores(&slices).map_err(external)?);
        } else {
            scores.resize(end, 0.0);
        }
        known.resize(end, forests.is_valid(start));
        start = end;
    }
    Ok(Float64Array::new(scores.into(), Some(BooleanArray::from(known).values().clone().into())))
}

/// Whether two rows have one forest: views of the same bytes are equal without a look at these.
fn is_same(forests: &BinaryViewArray, left: usize, right: usize) -> bool {
    match (forests.is_valid(left), forests.is_valid(right)) {
        (true, true) => {
            forests.views()[left] == forests.views()[right] || forests.value(left) == forests.value(right)
        }
        (left, right) => left == right,
    }
}

/// The forests that rows were scored by of late, the last one first: to read one takes as long as to
/// score about a thousand rows, and the next batch is likely to ask it again.
#[derive(Default)]
struct Recent(Mutex<VecDeque<(Vec<u8>, Arc<Forest>)>>);

impl Recent {
    /// The forest that these bytes are.
    fn forest(&self, bytes: &[u8]) -> DataFusionResult<Arc<Forest>> {
        if let Some(forest) = self.find(bytes) {
            return Ok(forest);
        }
        let forest = Arc::new(Forest::from_bytes(bytes).map_err(external)?);
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recent.push_front((bytes.to_vec(), Arc::clone(&forest)));
        let mut size = 0;
        let kept = recent.iter().take(RECENT_MAX).take_while(|(bytes, forest)| {
            size += bytes.len() + forest.heap_bytes();
            size <= RECENT_BYTES_MAX
        });
        let kept = kept.count().max(1);
        recent.truncate(kept);
        Ok(forest)
    }

    fn find(&self, bytes: &[u8]) -> Option<Arc<Forest>> {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = recent.iter().position(|(of, _)| of == bytes)?;
        let found = recent.remove(at)?;
        let forest = Arc::clone(&found.1);
        recent.push_front(found);
        Some(forest)
    }
}

/// Plans are printed with their functions: without all nodes of all forests.
impl fmt::Debug for Recent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recent").finish_non_exhaustive()
    }
}

/// What was read of late changes no score: functions are equal whatever it is.
impl PartialEq for Recent {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Recent {}

impl Hash for Recent {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

#[cfg(test)]
mod recent_tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::detect::isolation_forest::DEPTH_MAX;

    /// Trees as deep as can be: of all sizes of rows, one after the other is parted from the rest.
    fn bytes_of(trees: u32, seed: u64) -> Vec<u8> {
        let values: Vec<f64> = (0..60).map(|power| 2_f64.powi(power)).collect();
        let training = Training { trees, seed, depth_max: Some(DEPTH_MAX), ..Training::default() };
        Forest::train(&[&values], &training).unwrap().to_bytes()
    }

    #[test]
    fn forests_are_read_once_while_there_is_room() {
        let recent = Recent::default();
        let [one, other] = [bytes_of(1, 0), bytes_of(1, 1)];
        let first = recent.forest(&one).unwrap();
        let second = recent.forest(&other).unwrap();
        assert!(recent.forest(&one[1..]).is_err());
        assert!(Arc::ptr_eq(&first, &recent.forest(&one).unwrap()));
        assert!(Arc::ptr_eq(&second, &recent.forest(&other).unwrap()));
        assert_eq!((first.to_bytes(), second.to_bytes()), (one.clone(), other.clone()));

        // Of the two, the other one was asked last.
        (2..1 + RECENT_MAX as u64).for_each(|seed| _ = recent.forest(&bytes_of(1, seed)).unwrap());
        assert!(Arc::ptr_eq(&second, &recent.forest(&other).unwrap()));
        let again = recent.forest(&one).unwrap();
        assert!(!Arc::ptr_eq(&first, &again));
        assert_eq!(first, again);
    }

    #[test]
    fn a_forest_larger_than_there_is_room_for_is_kept_alone() {
        let recent = Recent::default();
        let [small, large] = [bytes_of(1, 0), bytes_of(TREES_MAX, 1)];
        let first = recent.forest(&small).unwrap();
        let second = recent.forest(&large).unwrap();
        assert!(second.heap_bytes() > RECENT_BYTES_MAX);
        assert!(Arc::ptr_eq(&second, &recent.forest(&large).unwrap()));
        assert!(!Arc::ptr_eq(&first, &recent.forest(&small).unwrap()));
    }
}
