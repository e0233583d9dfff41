//! `var`, `var_pop`, `stddev`, `stddev_pop`: from exact sums and sums of squares.

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, GroupsAccumulator, ReversedUDAF, Signature, Volatility,
};

use super::accumulator::{accumulator, state_fields};
use super::groups::Groups;
use super::names;
use crate::detect::exact_sum::moments::Divisor;
use crate::detect::retractable::{self, SpreadQuestion};

/// One of the four functions; arguments are coerced to doubles.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Spread {
    name: &'static str,
    aliases: Vec<String>,
    divisor: Divisor,
    is_deviation: bool,
    signature: Signature,
}

impl Spread {
    pub(super) fn all() -> [Self; 4] {
        let function = |name, aliases: &[&str], divisor, is_deviation| Self {
            name,
            aliases: aliases.iter().map(ToString::to_string).collect(),
            divisor,
            is_deviation,
            signature: Signature::exact(vec![DataType::Float64], Volatility::Immutable),
        };
        [
            function(names::VAR, &["var_samp", "var_sample", "variance"], Divisor::Sample, false),
            function(names::VAR_POP, &["var_population"], Divisor::Population, false),
            function(names::STDDEV, &["stddev_samp"], Divisor::Sample, true),
            function(names::STDDEV_POP, &[], Divisor::Population, true),
        ]
    }

    fn question(&self) -> SpreadQuestion {
        SpreadQuestion { divisor: self.divisor, is_deviation: self.is_deviation }
    }
}

impl AggregateUDFImpl for Spread {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(accumulator::<retractable::Spread>(self.question(), args.is_distinct))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(state_fields(&args))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Groups::<retractable::Spread>::new(self.question())))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }
}
