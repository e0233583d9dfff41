//! The options of a detector's call.

use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Literal;

use crate::sql::error::SqlError;

/// What a call says of each option that its detector has: a constant, or nothing.
#[derive(Debug)]
pub struct Options {
    values: Vec<(&'static str, ScalarValue)>,
}

impl Options {
    /// The options `names`, which `arguments` give in this order; those at the end may be left out.
    ///
    /// # Errors
    ///
    /// One that is no constant: it would be another for each row.
    pub fn read(names: &[&'static str], arguments: &[Arc<dyn PhysicalExpr>]) -> DataFusionResult<Self> {
        let constant = |(name, argument): (&&'static str, &Arc<dyn PhysicalExpr>)| match argument
            .downcast_ref::<Literal>()
        {
            Some(literal) => Ok((*name, literal.value().clone())),
            None => Err(refused(name, &argument.to_string(), "a constant is expected")),
        };
        let values = names.iter().zip(arguments).map(constant).collect::<Result<_, _>>()?;
        Ok(Options { values })
    }

    fn value(&self, name: &str) -> Option<&ScalarValue> {
        self.values.iter().find(|(n, value)| *n == name && !value.is_null()).map(|(_, value)| value)
    }

    /// The number of option `name`.
    pub fn number(&self, name: &'static str, range: RangeInclusive<f64>) -> DataFusionResult<Option<f64>> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let expected = || format!("a number from {} to {} is expected", range.start(), range.end());
        match value.cast_to(&DataType::Float64) {
            Ok(ScalarValue::Float64(Some(number))) if range.contains(&number) => Ok(Some(number)),
            _ => Err(refused(name, &value.to_string(), &expected())),
        }
    }

    /// The whole number of option `name`.
    pub fn count(&self, name: &'static str, range: RangeInclusive<usize>) -> DataFusionResult<Option<usize>> {
        let Some(value) = self.value(name) else { return Ok(None) };
        whole(value, &range).map(Some).ok_or_else(|| {
            let expected = format!("a whole number from {} to {} is expected", range.start(), range.end());
            refused(name, &value.to_string(), &expected)
        })
    }

    /// The whole number or the numbers of option `name`.
    pub fn counts(
        &self,
        name: &'static str,
        range: RangeInclusive<usize>,
    ) -> DataFusionResult<Option<Vec<usize>>> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let counts = match value {
            ScalarValue::List(list) if list.len() == 1 => elements(&list.value(0), &range),
            other => whole(other, &range).map(|count| vec![count]),
        };
        counts.filter(|counts| !counts.is_empty()).map(Some).ok_or_else(|| {
            let expected = format!(
                "a whole number from {} to {}, or a list of them, is expected",
                range.start(),
                range.end()
            );
            refused(name, &value.to_string(), &expected)
        })
    }

    /// The switch of option `name`, off by default.
    pub fn is_on(&self, name: &'static str) -> DataFusionResult<bool> {
        match self.value(name) {
            None => Ok(false),
            Some(ScalarValue::Boolean(Some(value))) => Ok(*value),
            Some(value) => Err(refused(name, &value.to_string(), "true or false is expected")),
        }
    }

    /// What the text of option `name` stands for among `words`.
    pub fn word<T: Copy>(&self, name: &'static str, words: &[(&str, T)]) -> DataFusionResult<Option<T>> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let text = value.try_as_str().flatten().map(str::to_lowercase);
        let found = words.iter().find(|(word, _)| text.as_deref() == Some(*word));
        found.map(|(_, meaning)| Some(*meaning)).ok_or_else(|| {
            let known: Vec<String> = words.iter().map(|(word, _)| format!("'{word}'")).collect();
            refused(name, &value.to_string(), &format!("one of {} is expected", known.join(", ")))
        })
    }

    /// Whether option `name` is a text.
    pub fn is_text(&self, name: &str) -> bool {
        self.value(name).is_some_and(|value| value.try_as_str().is_some())
    }

    /// Whether option `name` is an interval.
    pub fn is_interval(&self, name: &str) -> bool {
        self.value(name).is_some_and(|value| matches!(value.data_type(), DataType::Interval(_)))
    }

    /// The interval of option `name`, in nanoseconds.
    pub fn interval_ns(&self, name: &'static str) -> DataFusionResult<Option<i64>> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let wrong =
            || refused(name, &value.to_string(), "an interval above zero, of days at most, is expected");
        let ns = match value {
            ScalarValue::IntervalMonthDayNano(Some(interval)) if interval.months == 0 => {
                let days_ns = i64::from(interval.days).checked_mul(86_400_000_000_000);
                days_ns.and_then(|ns| ns.checked_add(interval.nanoseconds))
            }
            ScalarValue::DurationNanosecond(Some(ns)) => Some(*ns),
            _ => None,
        };
        ns.filter(|ns| *ns > 0).map(Some).ok_or_else(wrong)
    }
}

fn whole(value: &ScalarValue, range: &RangeInclusive<usize>) -> Option<usize> {
    // A fraction is not cut off.
    let is_whole = value.data_type().is_integer();
    let number = value.cast_to(&DataType::Int64).ok().filter(|_| is_whole);
    match number {
        Some(ScalarValue::Int64(Some(number))) => usize::try_from(number).ok().filter(|n| range.contains(n)),
        _ => None,
    }
}

fn elements(list: &arrow::array::ArrayRef, range: &RangeInclusive<usize>) -> Option<Vec<usize>> {
    if !list.data_type().is_integer() || list.null_count() > 0 {
        return None;
    }
    let numbers = cast(list, &DataType::Int64).ok()?;
    let numbers = numbers.as_primitive::<Int64Type>().values().iter();
    numbers.map(|n| usize::try_from(*n).ok().filter(|n| range.contains(n))).collect()
}

/// That option `name` cannot be `value`.
pub fn refused(name: &str, value: &str, expected: &str) -> DataFusionError {
    let (name, value, expected) = (name.to_owned(), value.to_owned(), expected.to_owned());
    DataFusionError::External(Box::new(SqlError::Option { name, value, expected }))
}
