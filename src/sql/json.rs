//! JSON in text: PostgreSQL's operators and functions, over `datafusion-functions-json`.
//!
//! | written | gives |
//! |---|---|
//! | `x -> 'key'`, `x -> 0`, `x #> ARRAY['a', 'b']`, `json_get_json(x, ...)` | a member, as JSON |
//! | `x ->> 'key'`, `x #>> ARRAY['a', 'b']`, `json_as_text(x, ...)` | a member, as text; null for JSON's `null` |
//! | `x ? 'key'`, `json_contains(x, ...)` | whether there is such a member |
//! | `json_get_int`, `json_get_float`, `json_get_bool`, `json_get_str` | a member of that type; null for another |
//! | `json_get_array(x, ...)`, `json_array_elements(x)` | the elements, as a list or as rows; each as JSON |
//! | `json_length(x, ...)`, `json_object_keys(x, ...)` | how many, and which |
//!
//! JSON is text here, so it can be compared, grouped by and sent like any other. What is no JSON has no members: null.

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::registry::FunctionRegistry;
use datafusion::logical_expr::{Expr, ScalarUDF};
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::BinaryOperator;
use datafusion_functions_json::udfs;

/// Functions, and the names that PostgreSQL has for them.
fn functions() -> Vec<(Arc<ScalarUDF>, Vec<&'static str>)> {
    vec![
        (
            udfs::json_get_json_udf(),
            // Of a union of types, which is what the library has under this name, nothing can be made in SQL.
            vec!["json_get", "json_extract_path", "jsonb_extract_path"],
        ),
        (udfs::json_as_text_udf(), vec!["json_extract_path_text", "jsonb_extract_path_text"]),
        (udfs::json_get_bool_udf(), vec![]),
        (udfs::json_get_float_udf(), vec![]),
        (udfs::json_get_int_udf(), vec![]),
        (udfs::json_get_str_udf(), vec![]),
        (udfs::json_get_array_udf(), vec![]),
        (udfs::json_contains_udf(), vec![]),
        (udfs::json_length_udf(), vec!["json_array_length", "jsonb_array_length"]),
        (udfs::json_object_keys_udf(), vec![]),
    ]
}

/// Registers functions and operators.
///
/// # Errors
///
/// When the session takes no functions.
pub fn register(context: &mut SessionContext) -> DataFusionResult<()> {
    for (function, aliases) in functions() {
        context.register_udf(Arc::new(function.as_ref().clone().with_aliases(aliases)))?;
    }
    FunctionRegistry::register_expr_planner(context, Arc::new(Operators))
}

/// PostgreSQL's operators as calls of functions.
#[derive(Debug)]
struct Operators;

impl ExprPlanner for Operators {
    fn plan_binary_op(
        &self,
        expr: RawBinaryExpr,
        _schema: &DFSchema,
    ) -> DataFusionResult<PlannerResult<RawBinaryExpr>> {
        let func = match expr.op {
            BinaryOperator::Arrow | BinaryOperator::HashArrow => udfs::json_get_json_udf(),
            BinaryOperator::LongArrow | BinaryOperator::HashLongArrow => udfs::json_as_text_udf(),
            BinaryOperator::Question => udfs::json_contains_udf(),
            _ => return Ok(PlannerResult::Original(expr)),
        };
        let mut args = match expr.left {
            // A member of a member is found in one reading.
            Expr::ScalarFunction(inner) if is_path(&inner) => inner.args,
            left => vec![left],
        };
        args.push(expr.right);
        Ok(PlannerResult::Planned(Expr::ScalarFunction(ScalarFunction { func, args })))
    }
}

/// Whether `call` gives a member by constant keys.
fn is_path(call: &ScalarFunction) -> bool {
    call.func.name() == udfs::json_get_json_udf().name()
        && call.args[1..].iter().all(|key| matches!(key, Expr::Literal(..)))
}
