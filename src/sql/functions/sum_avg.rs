//! `sum` and `avg`: exact over doubles, DataFusion's own over everything else.

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions_aggregate::{average, sum};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, Documentation, Expr, GroupsAccumulator, Operator, ReversedUDAF,
    SetMonotonicity, Signature, StatisticsArgs,
};

use super::accumulator::{accumulator, state_fields};
use super::groups::Groups;
use crate::detect::retractable::{Total, TotalQuestion};

/// DataFusion's function for all types but doubles.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Sum {
    stock: sum::Sum,
}

/// DataFusion's function for all types but doubles, among which integers are here: their average
/// has been one of doubles all along.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Avg {
    stock: average::Avg,
}

/// Whether the argument, after coercion, is of doubles: then and only then the result is.
fn is_double(result: &DataType) -> bool {
    *result == DataType::Float64
}

/// `sum(x + 1)` may become `sum(x) + count(x)` only where addition does not round.
fn rounds(literal: &Expr) -> bool {
    matches!(literal, Expr::Literal(value, _) if value.data_type().is_floating())
}

macro_rules! exact_or_stock {
    ($function:ty, $question:expr) => {
        impl AggregateUDFImpl for $function {
            fn name(&self) -> &str {
                self.stock.name()
            }

            fn aliases(&self) -> &[String] {
                self.stock.aliases()
            }

            fn signature(&self) -> &Signature {
                self.stock.signature()
            }

            fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
                self.stock.return_type(arg_types)
            }

            fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
                if is_double(args.return_type()) {
                    return Ok(accumulator::<Total>($question, args.is_distinct));
                }
                self.stock.accumulator(args)
            }

            fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
                if is_double(args.return_type()) {
                    return self.accumulator(args);
                }
                self.stock.create_sliding_accumulator(args)
            }

            fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
                if is_double(args.return_type()) {
                    return Ok(state_fields(&args));
                }
                self.stock.state_fields(args)
            }

            fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
                self.stock.groups_accumulator_supported(args)
            }

            fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
                if is_double(args.return_type()) {
                    return Ok(Box::new(Groups::<Total>::new($question)));
                }
                self.stock.create_groups_accumulator(args)
            }

            fn simplify_expr_op_literal(
                &self,
                function: &AggregateFunction,
                argument: &Expr,
                operator: Operator,
                literal: &Expr,
                argument_is_left: bool,
            ) -> Result<Option<Expr>> {
                if rounds(literal) {
                    return Ok(None);
                }
                self.stock.simplify_expr_op_literal(function, argument, operator, literal, argument_is_left)
            }

            fn value_from_stats(&self, args: &StatisticsArgs) -> Option<ScalarValue> {
                if is_double(args.return_type) {
                    return None;
                }
                self.stock.value_from_stats(args)
            }

            fn order_sensitivity(&self) -> AggregateOrderSensitivity {
                AggregateOrderSensitivity::Insensitive
            }

            fn reverse_expr(&self) -> ReversedUDAF {
                ReversedUDAF::Identical
            }

            fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
                self.stock.set_monotonicity(data_type)
            }

            fn documentation(&self) -> Option<&Documentation> {
                self.stock.documentation()
            }
        }
    };
}

exact_or_stock!(Sum, TotalQuestion::Sum);
exact_or_stock!(Avg, TotalQuestion::Mean);
